"""Repayment: any part, any time, in the order late fee, interest, principal (R-VIP-27, 31, 33, 34, R-GEN-51, 52)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import books
from accounts.commands import Actor, acting
from accounts.models import Notice
from loans import queries
from loans.lifecycle import LoanStatus
from loans.models import Loan, LoanEvent
from loans.vip import repayment
from loans.vip.repayment import (
    BadRepayment,
    LeavesDust,
    LoanClosed,
    NotEnough,
    RepaymentsClosed,
    TooMuch,
)
from risk import accrual, debts, freezes, groups
from risk.models import CollateralGroup, Debt, DebtEntry
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk, everything

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
DAILY = Decimal("230.13698631")  # EX-01


@pytest.fixture
def desk(db: None) -> Desk:
    desk = desks.set_up()
    build.deposit(desk.master, "USDT", "10000")
    return desk


def repay(
    desk: Desk, loan: Loan, amount: str | None = None, *, at: datetime = TEN + DAY, **more: Any
) -> DebtEntry:
    given_amount = None if amount is None else Decimal(amount)
    return repayment.repay(loan_id=loan.pk, amount=given_amount, actor=desk.borrower, at=at, **more)


def left_of(loan: Loan) -> tuple[Decimal, Decimal, Decimal]:
    debt = Debt.objects.get(pk=loan.debt_id)
    return debt.late_fee, debt.interest, debt.principal


def test_a_part_pays_interest_before_principal(desk: Desk) -> None:
    """R-GEN-51, R-VIP-31: the midnight in between is booked first."""
    loan = desks.drawn(desk)
    pool = books.pool("USDT").balance

    entry = repay(desk, loan, "1000")

    assert (entry.late_fee, entry.interest, entry.principal) == (0, -DAILY, -(1000 - DAILY))
    assert left_of(loan) == (0, 0, 1000000 - (1000 - DAILY))
    assert build.balance(desk.master, "USDT") == 1009000
    assert books.pool("USDT").balance == pool + 1000
    assert queries.loan_row(loan, at=TEN + DAY).status == LoanStatus.ACCRUING
    assert [event.kind for event in LoanEvent.objects.filter(loan=loan).order_by("pk")] == [
        "drawn",
        "repayment",
    ]
    assert "1,000 USDT was paid" in Notice.objects.get(kind="repayment").body


def test_less_than_the_interest_pays_interest_only(desk: Desk) -> None:
    """R-GEN-51, R-VIP-33"""
    loan = desks.drawn(desk)

    repay(desk, loan, "0.00000001")

    assert left_of(loan) == (0, DAILY - Decimal("0.00000001"), 1000000)


def test_late_fee_comes_first(desk: Desk) -> None:
    """R-GEN-51, EX-06: 230.13698631 interest and 460.27397260 late fee for the first overdue day."""
    loan = desks.drawn(desk)
    at = datetime(2026, 2, 1, 9, tzinfo=UTC)

    entry = repay(desk, loan, "460.27397261", at=at)

    assert (entry.late_fee, entry.interest) == (Decimal("-460.27397260"), Decimal("-0.00000001"))


def test_everything_closes_the_loan_and_frees_the_group(desk: Desk) -> None:
    """R-VIP-27, R-GEN-34: no penalty; the accounts and coins are free again."""
    loan = desks.drawn(desk)

    entry = repay(desk, loan, share=Decimal(1))

    assert -entry.interest == DAILY
    assert left_of(loan) == (0, 0, 0)
    assert build.balance(desk.master, "USDT") == 1010000 - 1000000 - DAILY
    assert queries.loan_row(loan, at=TEN + DAY).status == LoanStatus.REPAID
    group = CollateralGroup.objects.get()
    assert group.closed_at == TEN + DAY
    assert not group.members.filter(released_at__isnull=True).exists()
    assert not group.coins.filter(released_at__isnull=True).exists()
    assert "Nothing is left to pay" in Notice.objects.get(kind="loan_repaid").body


def test_one_of_two_loans_leaves_the_group_standing(desk: Desk) -> None:
    """R-GEN-34"""
    first, second = desks.drawn(desk, "500000"), desks.drawn(desk, "50000")

    repay(desk, first, share=Decimal(1))

    assert CollateralGroup.objects.get().closed_at is None
    repay(desk, second, share=Decimal(1))
    assert CollateralGroup.objects.get().closed_at is not None


def test_before_the_first_midnight_one_day_is_paid(desk: Desk) -> None:
    """R-VIP-31"""
    loan = desks.drawn(desk)

    entry = repay(desk, loan, share=Decimal(1), at=TEN + timedelta(hours=1))

    assert (entry.interest, entry.principal) == (-DAILY, -1000000)
    assert books.interest_income("USDT").balance == DAILY
    assert [row.kind for row in queries.charges(loan)] == ["minimum"]


def test_paying_the_principal_alone_does_not_dodge_that_day(desk: Desk) -> None:
    """R-VIP-31: the message names the amount that closes the loan."""
    loan = desks.drawn(desk)
    before = everything()

    with pytest.raises(LeavesDust, match="repay 1,000,230.13698631 USDT"):
        repay(desk, loan, "1000000", at=TEN + timedelta(hours=1))

    assert everything() == before
    repay(desk, loan, "1000230.13698631", at=TEN + timedelta(hours=1))
    assert queries.loan_row(loan, at=TEN).status == LoanStatus.REPAID


def test_a_late_run_and_a_repayment_at_midnight_agree(desk: Desk) -> None:
    """R-VIP-31, R-GEN-04: repaid at 00:20, the job comes at 00:40; the day is charged once."""
    loan = desks.drawn(desk)
    midnight = datetime(2026, 1, 2, tzinfo=UTC)

    repay(desk, loan, share=Decimal("0.5"), at=midnight + timedelta(minutes=20))
    accrual.accrue(at=midnight + timedelta(minutes=40))

    [row] = queries.charges(loan)
    assert (row.at, row.basis, row.interest) == (midnight, 1000000, DAILY)


# --- Amounts ----------------------------------------------------------------------------------------


def test_a_share_is_of_what_closes_the_loan_and_rounds_up(desk: Desk) -> None:
    """R-VIP-34, R-GEN-02: a third of 1,000,230.13698631."""
    loan = desks.drawn(desk)

    repay(desk, loan, share=Decimal("0.333333333333"))

    assert sum(left_of(loan)) == Decimal("1000230.13698631") - Decimal("333410.04566177")


def test_ten_dollars_may_stay_and_less_may_not(desk: Desk) -> None:
    """R-GEN-52"""
    loan = desks.drawn(desk)
    before = everything()

    with pytest.raises(LeavesDust, match=r"leave 9\.99999999 USDT .* repay 1,000,230\.13698631 USDT"):
        repay(desk, loan, "1000220.13698632")

    assert everything() == before
    repay(desk, loan, "1000220.13698631")
    assert left_of(loan) == (0, 0, 10)


def test_a_repayment_needs_no_fresh_price(desk: Desk) -> None:
    """R-GEN-22: repayments stay open always; a day later every price is stale."""
    loan = desks.drawn(desk)

    repay(desk, loan, "1000", at=TEN + DAY)
    with pytest.raises(LeavesDust):  # dust is measured at the last good price
        repay(desk, loan, "999229", at=TEN + DAY)
    repay(desk, loan, share=Decimal(1), at=TEN + DAY)

    assert left_of(loan) == (0, 0, 0)


def test_a_coin_without_any_price_is_repaid_all_the_same(desk: Desk) -> None:
    """R-GEN-22, R-GEN-52: dust cannot be measured, but the one day is still not dodged."""
    loan = desks.drawn(desk)
    build.fund_pool("USDC", "100")
    debt = build.debt(loan.group, "USDC", "100")
    unpriced = desks.booked(desk, debt, renews=loan)

    repay(desk, unpriced, "95", at=TEN)
    with pytest.raises(LeavesDust, match=r"repay 5\.0230137 USDC"):
        repay(desk, unpriced, "5", at=TEN)

    assert left_of(unpriced) == (0, 0, 5)


def test_more_than_is_owed_is_refused_with_the_exact_amount(desk: Desk) -> None:
    loan = desks.drawn(desk)
    before = everything()

    with pytest.raises(TooMuch, match=r"1,000,230\.13698631 USDT repays L-\d+ in full"):
        repay(desk, loan, "1000230.13698632")

    assert everything() == before


@pytest.mark.parametrize(
    "what",
    [
        {},
        {"amount": "1", "share": Decimal(1)},
        {"amount": "0"},
        {"amount": "-5"},
        {"amount": "NaN"},
        {"amount": "0.000000001"},
        {"share": Decimal(0)},
        {"share": Decimal("1.01")},
        {"share": Decimal("NaN")},
    ],
)
def test_amounts_that_are_none(desk: Desk, what: dict[str, Any]) -> None:
    loan = desks.drawn(desk)
    before = everything()

    with pytest.raises(BadRepayment):
        repay(desk, loan, **what)

    assert everything() == before


def test_a_closed_loan_takes_nothing(desk: Desk) -> None:
    loan = desks.drawn(desk)
    repay(desk, loan, share=Decimal(1))
    before = everything()

    with pytest.raises(LoanClosed, match="is repaid"):
        repay(desk, loan, "1")

    assert everything() == before


def test_the_same_key_pays_once(desk: Desk) -> None:
    """R-GEN-06"""
    loan = desks.drawn(desk)

    first, second = (repay(desk, loan, "1000", key="once") for _ in "ab")

    assert first == second
    assert build.balance(desk.master, "USDT") == 1009000


# --- From where -------------------------------------------------------------------------------------


def test_spot_is_drawn_before_fiat(desk: Desk) -> None:
    """R-VIP-34"""
    loan = desks.drawn(desk)
    desks.spend(desk, "1009500")
    build.deposit(desk.master, "USDT", "2000", wallet="fiat")

    repay(desk, loan, "800")

    assert (build.balance(desk.master, "USDT"), build.balance(desk.master, "USDT", wallet="fiat")) == (
        0,
        1700,
    )


def test_funding_and_other_accounts_do_not_pay(desk: Desk) -> None:
    """R-VIP-34: the same coin's Spot and Fiat of the receiver, nothing else."""
    loan = desks.drawn(desk)
    desks.spend(desk, "1009500")
    build.deposit(desk.master, "USDT", "5000", wallet="funding")
    build.deposit(desk.sub, "USDT", "5000")
    before = everything()

    with pytest.raises(NotEnough, match=r"500\.1 USDT is needed .* has 500 USDT"):
        repay(desk, loan, "500.1")

    assert everything() == before


def test_a_payer_that_secures_another_group_keeps_what_that_needs(desk: Desk) -> None:
    """R-VIP-53: coins that pay one loan leave the other's collateral; within its lines they may."""
    first = desks.drawn(desk, "600000")  # to the master
    other = build.account(desk.owner)
    build.deposit(desk.master, "BTC", "10", at=LONG_AGO)
    at = TEN
    second = desks.drawn(
        desk, "800000", at=at, receiver_uid=other.pk, account_uids=(desk.master.pk,), coins=("BTC", "USDT")
    )
    # The second group: 10 BTC and 610,000 USDT of the master against 800,000 = 66.1 %.
    later = TEN + timedelta(hours=1)
    desks.quote(later)
    before = everything()

    with pytest.raises(groups.NotPermitted):
        repay(desk, first, "100000", at=later)

    assert everything() == before
    repay(desk, first, "98000", at=later)
    assert left_of(first) == (0, 0, 502000)
    assert left_of(second) == (0, 0, 800000)


def test_what_a_liquidation_left_owing_can_be_repaid(desk: Desk) -> None:
    """R-GEN-78: 0 % from then on, and a repayment clears it."""
    loan = desks.drawn(desk)
    accrual.accrue(at=TEN + DAY)
    with acting(BUILDER):
        [debt] = Debt.objects.locked(loan.debt_id)
        debts.make_residual(debt, at=TEN + DAY)

    repay(desk, loan, "1000230.13698631", at=TEN + 10 * DAY)

    row = queries.loan_row(loan, at=TEN + 10 * DAY)
    assert (row.status, row.daily_interest, row.owed.total) == (LoanStatus.REPAID, 0, 0)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shares=st.lists(st.integers(1, 60), min_size=1, max_size=4),
    hours=st.lists(st.integers(0, 72), min_size=4, max_size=4),
)
def test_nothing_is_created_or_lost_on_the_way_to_zero(
    desk: Desk, shares: list[int], hours: list[int]
) -> None:
    """R-GEN-51, R-GEN-52: what the borrower pays is what the pool gets, and adds up to principal and interest."""
    with transaction.atomic():
        loan = desks.drawn(desk)
        build.deposit(desk.master, "USDT", "100000")
        start, pool = build.balance(desk.master, "USDT"), books.pool("USDT").balance
        at = TEN
        for share, wait in zip(shares, hours, strict=False):
            at += timedelta(hours=wait)
            repay(desk, loan, share=Decimal(share) / 100, at=at)
        repay(desk, loan, share=Decimal(1), at=at)

        paid = start - build.balance(desk.master, "USDT")
        assert paid == books.pool("USDT").balance - pool
        assert paid == 1000000 + sum(row.interest for row in queries.charges(loan))
        assert left_of(loan) == (0, 0, 0)
        transaction.set_rollback(True)


# --- When the desk cannot take it -----------------------------------------------------------------------


def test_closed_repayments_are_refused_with_the_reason_and_the_end(desk: Desk) -> None:
    """R-VIP-45, R-ADM-04: half-open; at its end repayments are taken again."""
    loan = desks.drawn(desk)
    end = TEN + timedelta(hours=5)
    freezes.place(what="repay", reason="Custody is down.", asset="USDT", ends_at=end, actor=BUILDER, at=TEN)
    before = everything()

    with pytest.raises(
        RepaymentsClosed, match="in USDT until 1 January 2026 15:00 UTC: Custody is down. Until then no"
    ):
        repay(desk, loan, "1000", at=end - timedelta(microseconds=1))

    assert everything() == before
    repay(desk, loan, "1000", at=end)
    assert left_of(loan) == (0, 0, 999000)


def test_another_coins_pause_does_not_stop_it(desk: Desk) -> None:
    """R-VIP-45, R-VIP-34"""
    loan = desks.drawn(desk)
    freezes.place(what="repay", reason="Fork", asset="BTC", ends_at=TEN + DAY, actor=BUILDER, at=TEN)

    repay(desk, loan, "1000", at=TEN)

    assert left_of(loan) == (0, 0, 999000)


# --- No penalty -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("days", [1, 10, 29, 30])
def test_early_or_on_time_it_costs_its_days_and_nothing_else(desk: Desk, days: int) -> None:
    """R-VIP-27, R-VIP-30, R-GEN-50: simple interest, one daily charge per midnight, whenever it is repaid."""
    loan = desks.drawn(desk)

    entry = repay(desk, loan, share=Decimal(1), at=TEN + days * DAY)

    assert (-entry.principal, -entry.interest, entry.late_fee) == (1000000, days * DAILY, 0)


def test_unpaid_interest_bears_none(desk: Desk) -> None:
    """R-GEN-50: the charge of the thirtieth day is that of the first, on the principal alone."""
    loan = desks.drawn(desk)
    repay(desk, loan, "100", at=TEN + DAY)  # of 230.13698631 interest; the rest stays unpaid

    accrual.accrue(at=TEN + 30 * DAY)

    assert {row.interest for row in queries.charges(loan)} == {DAILY}
    assert {row.basis for row in queries.charges(loan)} == {1000000}


def test_who_pays_is_written_down(desk: Desk) -> None:
    """TRUST I-21"""
    loan = desks.drawn(desk)

    repay(desk, loan, "1000")

    assert LoanEvent.objects.get(kind="repayment").actor == Actor.user(desk.applicant).label
