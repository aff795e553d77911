"""Reminders before an expiry and daily after it: once each, the latest only, figures of the moment. R-VIP-46"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.models import Notice
from loans.models import Loan
from loans.tasks import remind as remind_task
from loans.vip import auto_repay, expiry, reminders, renewal, repayment
from loans.vip.reminders import NothingToSay
from risk import accrual
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk, everything

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
INSTANT = timedelta(microseconds=1)
EXPIRY = datetime(2026, 1, 31, 10, tzinfo=UTC)
STEPS = {"7d": 7 * DAY, "3d": 3 * DAY, "1d": DAY, "1h": HOUR}


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def told() -> list[str]:
    rows = Notice.objects.filter(kind__in=["loan_due", "loan_overdue"]).order_by("pk")
    return [row.event.split(":", 2)[2] for row in rows]


@pytest.mark.parametrize("step", STEPS)
def test_each_step_is_told_at_its_instant_and_once(desk: Desk, step: str) -> None:
    """R-VIP-46: T-7 d, T-3 d, T-1 d, T-1 h; not a moment before."""
    desks.drawn(desk)
    at = EXPIRY - STEPS[step]
    earlier = {"7d": 0}.get(step, 1)  # a run a moment before tells the step before, late

    assert reminders.remind_due(at=at - INSTANT) == earlier
    assert [reminders.remind_due(at=at + late) for late in (0 * HOUR, 0 * HOUR, HOUR / 2)] == [1, 0, 0]

    assert told()[-1] == f"due:2026-01-31T10:00:00Z:{step}"


def test_a_punctual_job_tells_every_step_and_every_overdue_day(desk: Desk) -> None:
    """R-VIP-46: hour by hour from a week before to the end of the overdue period."""
    desks.drawn(desk)

    for hour in range(-170, 168):
        at = EXPIRY + hour * HOUR
        accrual.accrue(at=at)
        expiry.expire_due(at=at)
        reminders.remind_due(at=at)

    due = [f"due:2026-01-31T10:00:00Z:{step}" for step in STEPS]
    assert told() == [*due, "overdue", *(f"overdue:{day}" for day in range(1, 7))]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(minutes=st.integers(-8 * 24 * 60, 6 * 24 * 60))
def test_a_job_that_was_away_tells_the_latest_step_only(desk: Desk, minutes: int) -> None:
    """R-VIP-46: never a burst, whenever it comes back."""
    at = EXPIRY + timedelta(minutes=minutes)
    with transaction.atomic():
        desks.drawn(desk)
        expired, sent = expiry.expire_due(at=at), reminders.remind_due(at=at)
        again = reminders.remind_due(at=at)

        passed = [name for name, before in STEPS.items() if EXPIRY - before <= at < EXPIRY]
        days = (at - EXPIRY) // DAY
        expected = [f"due:2026-01-31T10:00:00Z:{passed[-1]}"] if passed else []
        if at >= EXPIRY:
            expected = ["overdue", *([f"overdue:{days}"] if days else [])]
        assert told() == expected
        assert (expired + sent, again) == (len(expected), 0)
        transaction.set_rollback(True)


def test_a_reminder_says_what_closes_it_now(desk: Desk) -> None:
    """R-VIP-46, EX-20: 26 runs of 230.13698631 at T-3 d 14 h, said at T-4 d."""
    loan = desks.drawn(desk)

    reminders.remind(loan_id=loan.pk, actor=reminders.JOB, at=EXPIRY - 4 * DAY)

    notice = Notice.objects.get(kind="loan_due")
    assert notice.title == f"{loan} is due on 31 January 2026, 10:00 UTC"
    assert "in 4 days. 1,005,983.56164406 USDT closes it now. Repay or renew it by then" in notice.body
    assert notice.facts["payoff"] == "1005983.56164406"


def test_with_auto_repay_it_says_whether_spot_covers_it(desk: Desk) -> None:
    """R-VIP-46, R-VIP-47"""
    loan = desks.drawn(desk)
    auto_repay.set_auto_repay(loan_id=loan.pk, on=True, actor=desk.borrower, at=TEN)

    reminders.remind_due(at=EXPIRY - HOUR)

    body = Notice.objects.get(kind="loan_due").body
    assert "in 1 hour." in body
    assert "Auto-repay is on" in body
    assert "holds 1,000,000 USDT; 6,904.1095893 USDT more is needed today" in body


def test_an_overdue_day_says_what_is_owed_and_how_long_is_left(desk: Desk) -> None:
    """R-VIP-46, EX-06: after three overdue midnights 1,008,975.34246603, four days and 10 h left less 20 h."""
    desks.drawn(desk)
    expiry.expire_due(at=EXPIRY)

    reminders.remind_due(at=datetime(2026, 2, 3, 10, tzinfo=UTC))

    notice = Notice.objects.get(event__endswith=":overdue:3")
    assert "1,008,975.34246603 USDT is owed" in notice.body
    assert "Each day costs 690.41095891 USDT more" in notice.body
    assert "by 7 February 2026, 10:00 UTC, in 4 days, collateral is sold" in notice.body


def test_repaid_and_renewed_loans_get_none(desk: Desk) -> None:
    """R-VIP-46: the new order has its own, later."""
    build.deposit(desk.master, "USDT", "20000")
    repaid, renewed = desks.drawn(desk, "500000"), desks.drawn(desk, "60000")
    at = EXPIRY - 5 * DAY
    desks.quote(at)
    repayment.repay(loan_id=repaid.pk, share=Decimal(1), actor=desk.borrower, at=at)
    new = renewal.renew(loan_id=renewed.pk, term_days=30, actor=desk.borrower, at=at)

    assert reminders.remind_due(at=EXPIRY - DAY) == 0
    for loan in (repaid, renewed):
        with pytest.raises(repayment.LoanClosed):
            reminders.remind(loan_id=loan.pk, actor=reminders.JOB, at=EXPIRY - DAY)
    assert reminders.remind_due(at=EXPIRY + 23 * DAY) == 1
    assert Notice.objects.get(kind="loan_due").facts["loan"] == new.pk


def test_open_loans_are_not_reminded_of(desk: Desk) -> None:
    """R-VIP-46"""
    loan = desks.drawn(desk, rate_type="flexible", term_days=None)
    before = everything()

    assert reminders.remind_due(at=EXPIRY) == 0
    with pytest.raises(NothingToSay):
        reminders.remind(loan_id=loan.pk, actor=reminders.JOB, at=EXPIRY)

    assert everything() == before


def test_the_task_tells_what_is_due_now(desk: Desk) -> None:
    """R-VIP-46: the demo's past is long gone, so the loan is overdue for many days; one notice."""
    loan = desks.drawn(desk)
    expiry.expire_due(at=EXPIRY)

    remind_task(sent_by="an older release")

    assert Notice.objects.filter(event__startswith=f"loan:{loan.pk}:overdue:").count() == 1
    assert Loan.objects.count() == 1
