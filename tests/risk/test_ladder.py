"""The maturity ladder as pure arithmetic: every principal in one bucket, and gaps that add up. R-ADM-12"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.ladder import LABELS, Bucket, bucket_of, rungs

AT = datetime(2026, 1, 10, 9, 30, tzinfo=UTC)
D = Decimal
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)

amounts = st.decimals(min_value=0, max_value=10**12, places=8)
dates = st.none() | st.timedeltas(timedelta(days=-40), timedelta(days=400)).map(lambda left: AT + left)
rows = st.lists(st.tuples(dates, amounts), max_size=12)


@pytest.mark.parametrize(
    ("left", "bucket"),
    [
        (-DAY, Bucket.OVERDUE),
        (timedelta(0), Bucket.OVERDUE),
        (SECOND, Bucket.DAY),
        (DAY, Bucket.DAY),
        (DAY + SECOND, Bucket.WEEK),
        (7 * DAY, Bucket.WEEK),
        (7 * DAY + SECOND, Bucket.MONTH),
        (30 * DAY, Bucket.MONTH),
        (30 * DAY + SECOND, Bucket.TWO_MONTHS),
        (60 * DAY, Bucket.TWO_MONTHS),
        (60 * DAY + SECOND, Bucket.THREE_MONTHS),
        (90 * DAY, Bucket.THREE_MONTHS),
        (90 * DAY + SECOND, Bucket.LATER),
    ],
)
def test_a_bucket_ends_at_its_end(left: timedelta, bucket: Bucket) -> None:
    """R-ADM-12"""
    assert bucket_of(AT + left, at=AT) is bucket


def test_a_ladder_by_hand() -> None:
    """R-ADM-12: what has no date is in no running gap"""
    ladder = rungs(
        loans=[(AT - DAY, D(5)), (AT + DAY, D(100)), (AT + 20 * DAY, D(40)), (None, D(7))],
        tranches=[(AT + 3 * DAY, D(130)), (None, D(1000))],
        at=AT,
    )
    found = {rung.bucket: (rung.loans, rung.tranches, rung.gap, rung.running) for rung in ladder}
    assert found == {
        Bucket.OVERDUE: (5, 0, 5, 5),
        Bucket.DAY: (100, 0, 100, 105),
        Bucket.WEEK: (0, 130, -130, -25),
        Bucket.MONTH: (40, 0, 40, 15),
        Bucket.TWO_MONTHS: (0, 0, 0, 15),
        Bucket.THREE_MONTHS: (0, 0, 0, 15),
        Bucket.LATER: (0, 0, 0, 15),
        Bucket.OPEN: (7, 1000, -993, None),
    }
    assert [rung.label for rung in ladder] == [LABELS[bucket] for bucket in Bucket]


@given(loans=rows, tranches=rows)
def test_nothing_is_lost_and_the_last_running_gap_is_the_whole_of_what_has_a_date(
    loans: list[tuple[datetime | None, Decimal]], tranches: list[tuple[datetime | None, Decimal]]
) -> None:
    """R-ADM-12"""
    ladder = rungs(loans=loans, tranches=tranches, at=AT)
    assert sum(rung.loans for rung in ladder) == sum(amount for _, amount in loans)
    assert sum(rung.tranches for rung in ladder) == sum(amount for _, amount in tranches)
    dated = sum(amount for due, amount in loans if due) - sum(amount for due, amount in tranches if due)
    assert ladder[-2].running == dated
    assert ladder[-1].bucket is Bucket.OPEN
    assert ladder[-1].running is None
