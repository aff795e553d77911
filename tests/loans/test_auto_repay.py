"""Auto-repay at expiry: the borrower's choice, from Spot alone, with the figures of the expiry (R-VIP-47)."""

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
from loans.vip import at_expiry, auto_repay, expiry, renewal, repayment
from loans.vip.auto_repay import NotSwitchable
from risk import accrual, debts, freezes
from risk.models import CollateralGroup, Debt
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk, everything

pytestmark = pytest.mark.django_db
EXPIRY = datetime(2026, 1, 31, 10, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
PAYOFF = Decimal("1006904.10958930")  # EX-01 with 30 days of interest
JOB = Actor.job("test")


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def drawn(desk: Desk, *, spot: str, on: bool = True, **changes: Any) -> Loan:
    """EX-01's loan, whose receiver holds `spot` USDT besides what it was lent."""
    loan = desks.drawn(desk, **changes)
    if Decimal(spot):
        build.deposit(desk.master, "USDT", spot)
    if on:
        switch(desk, loan, on=True)
    return loan


def switch(desk: Desk, loan: Loan, *, on: bool, at: datetime = TEN) -> Loan:
    return auto_repay.set_auto_repay(loan_id=loan.pk, on=on, actor=desk.borrower, at=at)


def status_of(loan: Loan, at: datetime) -> LoanStatus:
    return queries.loan_row(loan, at=at).status


# --- The choice -------------------------------------------------------------------------------------------


def test_it_is_off_unless_chosen(desk: Desk) -> None:
    """R-VIP-47: with all the coins there, the loan is overdue."""
    loan = drawn(desk, spot="6904.1095893", on=False)

    assert not at_expiry.auto_repays(loan)
    expiry.expire_due(at=EXPIRY)

    assert status_of(loan, EXPIRY) == LoanStatus.OVERDUE
    assert build.balance(desk.master, "USDT") == PAYOFF
    assert "Auto-repay" not in Notice.objects.get(kind="loan_overdue").body


def test_the_choice_of_the_request_counts_until_it_is_switched(desk: Desk) -> None:
    """R-VIP-47"""
    loan = desks.drawn(desk, auto_repay=True)
    assert at_expiry.auto_repays(loan)

    switch(desk, loan, on=False)
    assert not at_expiry.auto_repays(loan)

    switch(desk, loan, on=True, at=EXPIRY - timedelta(microseconds=1))
    assert at_expiry.auto_repays(loan)


def test_it_is_switched_until_the_expiry_and_not_to_what_it_is(desk: Desk) -> None:
    """R-VIP-47"""
    loan = drawn(desk, spot="0")
    before = everything()

    with pytest.raises(NotSwitchable, match="is on already"):
        switch(desk, loan, on=True)
    with pytest.raises(NotSwitchable, match="expired on 31 January 2026 10:00 UTC; repay it by hand"):
        switch(desk, loan, on=False, at=EXPIRY)

    assert everything() == before


def test_a_residual_or_closed_loan_has_nothing_to_switch(desk: Desk) -> None:
    """R-VIP-47, R-GEN-78"""
    loan = drawn(desk, spot="1000", on=False)
    with acting(BUILDER):
        [debt] = Debt.objects.locked(loan.debt_id)
        debts.make_residual(debt, at=TEN)

    with pytest.raises(NotSwitchable, match="was liquidated"):
        switch(desk, loan, on=True)
    repayment.repay(loan_id=loan.pk, share=Decimal(1), actor=desk.borrower, at=TEN)
    with pytest.raises(repayment.LoanClosed):
        switch(desk, loan, on=True)


def test_a_renewal_carries_the_choice_on(desk: Desk) -> None:
    """R-VIP-47, R-VIP-42"""
    loan = drawn(desk, spot="0")
    day_26 = datetime(2026, 1, 26, 9, tzinfo=UTC)
    desks.quote(day_26)

    new = renewal.renew(loan_id=loan.pk, term_days=30, actor=desk.borrower, at=day_26)

    assert at_expiry.auto_repays(new)
    assert new.sheet is not None
    assert new.sheet.body["auto_repay"] is True


# --- The expiry ---------------------------------------------------------------------------------------------


def test_at_its_expiry_the_loan_is_repaid_from_spot(desk: Desk) -> None:
    """R-VIP-47, EX-01: 1,006,904.10958930 leaves Spot, nothing else moves, the group is free."""
    loan = drawn(desk, spot="10000")
    pool = books.pool("USDT").balance

    assert expiry.expire_due(at=EXPIRY) == 1
    assert expiry.expire_due(at=EXPIRY) == 0

    assert status_of(loan, EXPIRY) == LoanStatus.REPAID
    assert build.balance(desk.master, "USDT") == 1010000 - PAYOFF
    assert books.pool("USDT").balance == pool + PAYOFF
    assert CollateralGroup.objects.get().closed_at == EXPIRY
    kinds = [event.kind for event in LoanEvent.objects.filter(loan=loan).order_by("pk")]
    assert kinds[-1] == "repaid"
    assert "overdue" not in kinds
    assert "Nothing is left to pay" in Notice.objects.get(kind="loan_repaid").body


def test_one_unit_short_takes_nothing_and_says_how_much(desk: Desk) -> None:
    """R-VIP-47, R-VIP-43: all or nothing; overdue as usual."""
    loan = drawn(desk, spot="6904.10958929")

    expiry.expire_due(at=EXPIRY)

    assert status_of(loan, EXPIRY) == LoanStatus.OVERDUE
    assert build.balance(desk.master, "USDT") == PAYOFF - Decimal("0.00000001")
    body = Notice.objects.get(kind="loan_overdue").body
    assert "1,006,904.1095893 USDT was needed" in body
    assert "0.00000001 USDT is missing" in body


def test_fiat_does_not_pay(desk: Desk) -> None:
    """R-VIP-47: Spot only, unlike a repayment by hand (R-VIP-34)."""
    loan = drawn(desk, spot="0")
    build.deposit(desk.master, "USDT", "10000", wallet="fiat")

    expiry.expire_due(at=EXPIRY)

    assert status_of(loan, EXPIRY) == LoanStatus.OVERDUE
    assert build.balance(desk.master, "USDT", wallet="fiat") == 10000


@pytest.mark.parametrize("accrual_first", [True, False])
def test_a_late_job_takes_the_same_as_a_punctual_one(desk: Desk, *, accrual_first: bool) -> None:
    """R-VIP-47, R-VIP-31, R-GEN-04: an outage over three midnights, whatever wakes first, costs no late fee."""
    loan = drawn(desk, spot="10000")
    at = FEBRUARY + timedelta(days=2, hours=9)

    if accrual_first:
        accrual.accrue(at=at)
    expiry.expire_due(at=at)
    accrual.accrue(at=at)

    assert status_of(loan, at) == LoanStatus.REPAID
    assert build.balance(desk.master, "USDT") == 1010000 - PAYOFF
    assert queries.charges(loan).count() == 30
    assert books.late_fee_income("USDT").balance == 0


def test_the_accrual_waits_for_the_expiry_and_then_catches_up(desk: Desk) -> None:
    """R-GEN-04, EX-06: the rows of a debt that was not repaid are the same as ever."""
    loan = drawn(desk, spot="0", on=False)
    at = FEBRUARY + timedelta(days=2)

    assert accrual.accrue(at=at) == 30
    expiry.expire_due(at=at)

    loan.debt.refresh_from_db()
    assert loan.debt.booked == Decimal("1008975.34246603")
    assert queries.charges(loan).count() == 33


def test_a_midnight_expiry_pays_its_own_midnight_and_no_more(desk: Desk) -> None:
    """R-VIP-31, R-VIP-43: the charge at the instant of the expiry is not late."""
    midnight = datetime(2026, 1, 2, tzinfo=UTC)
    desks.quote(midnight)
    loan = desks.drawn(desk, at=midnight)
    build.deposit(desk.master, "USDT", "10000", at=midnight)
    auto_repay.set_auto_repay(loan_id=loan.pk, on=True, actor=desk.borrower, at=midnight)

    expiry.expire_due(at=FEBRUARY + timedelta(days=1))  # due 1 February 00:00, a day late

    assert build.balance(desk.master, "USDT") == 1010000 - PAYOFF


def test_coins_that_secure_another_loan_stay_when_it_needs_them(desk: Desk) -> None:
    """R-VIP-47, R-VIP-53: overdue, and the notice says why."""
    loan = drawn(desk, spot="10000")
    other = build.account(desk.owner)
    build.deposit(desk.master, "BTC", "1", at=LONG_AGO)
    desks.drawn(desk, "700000", receiver_uid=other.pk, account_uids=(desk.master.pk,), coins=("BTC", "USDT"))
    desks.quote(EXPIRY)

    expiry.expire_due(at=EXPIRY)

    assert status_of(loan, EXPIRY) == LoanStatus.OVERDUE
    assert build.balance(desk.master, "USDT") == 1010000
    told = Notice.objects.get(kind="loan_overdue", facts__loan=loan.pk)
    assert "Auto-repay could not repay it: LTV would be" in told.body


def test_closed_repayments_stop_it_in_words(desk: Desk) -> None:
    """R-VIP-47, R-VIP-45, R-ADM-04"""
    loan = drawn(desk, spot="10000")
    freezes.place(
        what="repay",
        reason="Custody is down",
        ends_at=EXPIRY + timedelta(hours=3),
        starts_at=EXPIRY - timedelta(hours=1),
        actor=JOB,
        at=TEN,
    )

    expiry.expire_due(at=EXPIRY)

    assert status_of(loan, EXPIRY) == LoanStatus.OVERDUE
    body = Notice.objects.get(kind="loan_overdue").body
    assert "cannot take repayments in USDT until 31 January 2026 13:00 UTC: Custody is down" in body


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(spare=st.integers(-2, 2), hours_late=st.integers(0, 80))
def test_it_pays_exactly_the_payoff_of_the_expiry_or_nothing(desk: Desk, spare: int, hours_late: int) -> None:
    """R-VIP-47: whatever Spot holds and however late the job, nothing is created or lost."""
    with transaction.atomic():
        extra = Decimal("6904.1095893") + Decimal(spare) / 10**8
        loan = drawn(desk, spot=str(extra))
        pool, had = books.pool("USDT").balance, build.balance(desk.master, "USDT")

        expiry.expire_due(at=EXPIRY + timedelta(hours=hours_late))

        paid = had - build.balance(desk.master, "USDT")
        assert paid == books.pool("USDT").balance - pool
        assert paid == (PAYOFF if spare >= 0 else 0)
        assert (Debt.objects.get(pk=loan.debt_id).closed_reason == "repaid") == (spare >= 0)
        transaction.set_rollback(True)
