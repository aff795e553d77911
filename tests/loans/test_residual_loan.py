"""A loan whose liquidation fell short, seen from the loan: its status, repaying it, and borrowing again. R-GEN-78"""

from datetime import timedelta
from decimal import Decimal

import pytest

from accounts.errors import Refused
from loans import queries
from loans.lifecycle import LoanStatus
from loans.models import Loan
from loans.vip import repayment
from risk import insurance, residual
from risk.models import CollateralGroup, Debt
from tests import build
from tests.build import BUILDER, NOON, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk
from tests.risk.forced_sales import liquidate

pytestmark = pytest.mark.django_db
D = Decimal


@pytest.fixture
def desk() -> Desk:
    return desks.set_up()


def short_loan(desk: Desk) -> Loan:
    """1,000,000 USDT against 25 BTC that were sold at 36,000: 100,000 is left, and the group is closed."""
    loan = desks.drawn(desk)
    build.prices(at=NOON, BTC="36000", USDT="1")
    liquidate(loan.group, at=NOON)
    return Loan.objects.get(pk=loan.pk)


def status(loan: Loan) -> LoanStatus:
    return queries.loan_row(Loan.objects.get(pk=loan.pk), at=NOON).status


def test_the_borrower_repays_what_is_left_of_a_closed_group(desk: Desk) -> None:
    """R-GEN-78, R-VIP-34: in parts, without interest, and nothing is left to release"""
    loan = short_loan(desk)
    group = CollateralGroup.objects.get(pk=loan.group_id)
    assert (status(loan), group.closed_at) == (LoanStatus.RESIDUAL, NOON)
    assert Debt.objects.get(pk=loan.debt_id).booked == 100000

    later = NOON + timedelta(days=30)
    for amount in ("40000", "60000"):
        repayment.repay(loan_id=loan.pk, amount=D(amount), actor=desk.borrower, at=later)

    assert status(loan) == LoanStatus.REPAID
    assert build.balance(desk.master, "USDT") == 900000
    group.refresh_from_db()
    assert group.closed_at == NOON


def test_a_repayment_leaves_no_dust_of_it_either(desk: Desk) -> None:
    """R-GEN-52, R-GEN-78"""
    loan = short_loan(desk)
    before = desks.everything()
    with pytest.raises(repayment.LeavesDust):
        repayment.repay(loan_id=loan.pk, amount=D("99995"), actor=desk.borrower, at=NOON)
    assert desks.everything() == before


def test_new_borrowing_waits_until_it_is_cleared(desk: Desk) -> None:
    """R-GEN-78: blocks new borrowing until cleared, by whatever way"""
    loan = short_loan(desk)
    build.deposit(desk.sub, "BTC", "25")
    with pytest.raises(Refused, match="still owed after a liquidation"):
        desks.submitted(desk, "100000", at=NOON)

    residual.write_off(debt_id=loan.debt_id, actor=BUILDER, at=NOON, reason="Settled out of court")

    assert status(loan) == LoanStatus.WRITTEN_OFF
    desks.submitted(desk, "100000", at=NOON)


def test_a_set_off_repays_the_loan(desk: Desk) -> None:
    """R-GEN-78: status follows the debt"""
    loan = short_loan(desk)
    entry = residual.set_off(debt_id=loan.debt_id, actor=desk.decider, at=NOON)
    assert -entry.principal == 100000
    assert (status(loan), build.balance(desk.master, "USDT")) == (LoanStatus.REPAID, 900000)


def test_the_fund_ends_the_loan_as_liquidated(desk: Desk) -> None:
    """R-GEN-78, CX-9: the borrower did not repay it"""
    loan = short_loan(desk)
    insurance.fund(asset="USDT", amount=D("100000"), actor=BUILDER, at=TEN)
    residual.settle_from_fund(debt_id=loan.debt_id, amount=D("100000"), actor=BUILDER, at=NOON)
    assert status(loan) == LoanStatus.LIQUIDATED
