"""While the desk cannot take repayments nobody is fined, and the overdue hours stand still. R-VIP-45, R-VIP-44"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.commands import Actor, acting
from risk import book, debts, freezes, liquidation, overdue, overdue_sales
from risk.interest import DailyTerms, Pause, RateStep, clock_ends_at, due_charges, is_paused
from risk.models import Debt, Freeze
from tests import build
from tests.build import TEN

D = Decimal
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DUE = datetime(2026, 1, 31, 10, tzinfo=UTC)
OVER = DUE + 168 * HOUR
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
JOB = Actor.job("test")


# --- The rule -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pauses", "ends_at"),
    [
        ((), OVER),
        (((DUE + HOUR, DUE + 3 * HOUR),), OVER + 2 * HOUR),
        (((DUE - 5 * HOUR, DUE + HOUR),), OVER + HOUR),  # only what lies after the start
        (((DUE - 5 * HOUR, DUE),), OVER),
        (((OVER, OVER + HOUR),), OVER),  # the time was up
        (((OVER - HOUR, OVER + HOUR),), OVER + 2 * HOUR),
        (((DUE, DUE + HOUR), (OVER, OVER + HOUR)), OVER + 2 * HOUR),  # the first makes room for the second
    ],
)
def test_the_clock_is_longer_by_the_pauses_in_it(pauses: tuple[Pause, ...], ends_at: datetime) -> None:
    """R-VIP-44, R-VIP-45"""
    assert clock_ends_at(starts_at=DUE, hours=168, pauses=pauses) == ends_at


spans = st.lists(st.integers(-50, 400), min_size=0, max_size=8, unique=True).map(
    lambda edges: tuple(
        (DUE + start * HOUR, DUE + end * HOUR)
        for start, end in zip(sorted(edges)[::2], sorted(edges)[1::2], strict=False)
    )
)


@given(pauses=spans, hours=st.integers(1, 200))
def test_exactly_the_hours_outside_pauses_have_run_when_it_ends(
    pauses: tuple[Pause, ...], hours: int
) -> None:
    """R-VIP-45: counted hour by hour; and it never ends inside a pause."""
    ends_at = clock_ends_at(starts_at=DUE, hours=hours, pauses=pauses)

    instants = [DUE + number * HOUR for number in range((ends_at - DUE) // HOUR)]
    assert sum(not is_paused(pauses, instant) for instant in instants) == hours
    assert not is_paused(pauses, ends_at - HOUR)


def test_a_midnight_in_a_pause_bears_interest_and_no_late_fee() -> None:
    """R-VIP-45, EX-06: half-open; the midnight at its end is late again."""
    pauses = ((FEBRUARY, FEBRUARY + DAY),)
    terms = DailyTerms(
        principal=D(1000000),
        accrued_through=FEBRUARY - DAY,
        due_at=DUE,
        late_multiplier=3,
        places=8,
        steps=(RateStep(TEN, D("0.084")),),
        pauses=pauses,
    )

    charged = [(row.multiplier, row.interest, row.late_fee) for row in due_charges(terms, FEBRUARY + 2 * DAY)]

    assert charged == [
        (1, D("230.13698631"), D(0)),
        (3, D("230.13698631"), D("460.27397260")),
        (3, D("230.13698631"), D("460.27397260")),
    ]


# --- On debts -------------------------------------------------------------------------------------------


def close_repayments(start: datetime, end: datetime, *, asset: str | None = None) -> Freeze:
    return freezes.place(
        what="repay", reason="Custody", starts_at=start, ends_at=end, asset=asset, actor=JOB, at=start
    )


def overdue_debt(*, amount: str = "1000000") -> Debt:
    """EX-01's loan, overdue since 31 January 10:00."""
    debt = build.secured_debt(amount=amount, due_at=DUE)
    with acting(JOB):
        [debt] = Debt.objects.locked(debt.pk)
        debts.bring_up_to_date([debt], at=DUE)
        debts.mark_overdue(debt, at=DUE)
    return debt


def charged(debt: Debt, *instants: datetime) -> Debt:
    for at in instants:
        with acting(JOB):
            [debt] = Debt.objects.locked(debt.pk)
            debts.bring_up_to_date([debt], at=at)
    return debt


@pytest.mark.django_db
@pytest.mark.parametrize("asset", [None, "USDT"])
def test_a_pause_of_the_coin_or_of_all_saves_its_late_fee(asset: str | None) -> None:
    """R-VIP-45: owed and booked say the same."""
    debt = overdue_debt()
    close_repayments(FEBRUARY - HOUR, FEBRUARY + HOUR, asset=asset)
    at = FEBRUARY + 2 * DAY

    pending = debts.owed_at([debt], at=at)[debt.pk].parts
    debt = charged(debt, at)

    assert debt.late_fee == pending.late_fee == 2 * D("460.27397260")
    assert debt.interest == pending.interest == 33 * D("230.13698631")
    assert overdue.ends_at(debt) == OVER + 2 * HOUR


@pytest.mark.django_db
def test_a_pause_of_another_coin_changes_nothing() -> None:
    """R-VIP-45"""
    debt = overdue_debt()
    build.asset("USDC")
    close_repayments(FEBRUARY - HOUR, FEBRUARY + HOUR, asset="USDC")

    assert overdue.ends_at(debt) == OVER
    assert charged(debt, FEBRUARY).late_fee == D("460.27397260")


@pytest.mark.django_db
def test_late_runs_write_the_rows_of_punctual_ones_through_a_pause() -> None:
    """R-GEN-04, R-VIP-45: the pause is recorded before its start, and lifted before its end."""
    punctual, late = overdue_debt(), overdue_debt()
    freeze = close_repayments(FEBRUARY - HOUR, FEBRUARY + 5 * DAY)
    charged(punctual, FEBRUARY, FEBRUARY + DAY)
    freezes.lift(freeze_id=freeze.pk, actor=JOB, at=FEBRUARY + DAY + HOUR)
    charged(punctual, FEBRUARY + 2 * DAY, FEBRUARY + 3 * DAY)

    charged(late, FEBRUARY + 3 * DAY)

    fields = ("period_start", "period_end", "interest", "late_fee", "basis", "annual_rate", "at")
    rows = [
        list(debt.entries.filter(kind="charge").order_by("period_start").values_list(*fields))
        for debt in (punctual, late)
    ]
    assert rows[0] == rows[1]
    assert [row[3] for row in rows[0][30:]] == [0, 0, D("460.27397260"), D("460.27397260")]
    assert overdue.ends_at(late) == OVER + 26 * HOUR


@pytest.mark.django_db
def test_collateral_is_not_sold_before_the_longer_clock_is_over() -> None:
    """R-VIP-45, R-VIP-44: the job passes it over and the command names the instant; a second later it is sold."""
    debt = overdue_debt()
    close_repayments(DUE + HOUR, DUE + 6 * HOUR)
    early = OVER + 5 * HOUR - timedelta(seconds=1)
    build.prices(early, BTC="100000", USDT="1")

    assert overdue_sales.run_overdue(at=early).liquidated == ()
    with pytest.raises(overdue_sales.NotOverdue, match="until 2026-02-07 15:00 UTC"):
        overdue_sales.liquidate_overdue(debt_id=debt.pk, actor=JOB, at=early)

    build.prices(OVER + 5 * HOUR, BTC="100000", USDT="1")
    assert overdue_sales.run_overdue(at=OVER + 5 * HOUR).liquidated == (debt.pk,)


@pytest.mark.django_db
def test_a_debt_that_is_not_overdue_has_no_end() -> None:
    """R-VIP-44"""
    debt = build.secured_debt(due_at=DUE)

    assert overdue.ends_at(debt) is None
    assert overdue.ends([]) == {}


@pytest.mark.django_db
def test_a_liquidation_before_the_first_midnight_takes_no_minimum_day() -> None:
    """R-VIP-31: the one day is the price of borrowing and giving back; a sale takes what is owed, and its fee."""
    debt = build.secured_debt()
    at = TEN + HOUR
    build.prices(at, BTC="43000", USDT="1")  # 93 %

    assert debts.owed_at([debt], at=at)[debt.pk].parts.total == 1000000
    assert debts.payoff_at(debt, at=at).total == D("1000230.13698631")

    with acting(JOB):
        state = book.state_of(debt.group, at=at)
        row = liquidation.liquidate(state=state, at=at)

    assert row is not None
    debt.refresh_from_db()
    assert (debt.booked, debt.closed_reason) == (0, "liquidated")
    assert not debt.entries.filter(kind="minimum").exists()
