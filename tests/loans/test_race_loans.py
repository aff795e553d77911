"""Contended commands with real commits: one approval, one repayment, and collateral that cannot slip away."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction

from accounts.errors import Refused
from loans.models import Application, Loan
from loans.vip import expiry, repayment
from risk import book, gate
from risk.models import CollateralGroup, Debt, DebtEntry
from tests import build
from tests.build import TEN
from tests.loans import desk as desks

InThreads = Callable[[list[Callable[[], Any]]], list[Any]]


def test_a_request_approved_eight_times_at_once_is_paid_out_once(
    committed_db: object, in_threads: InThreads
) -> None:
    """TRUST I-23"""
    desk = desks.set_up()
    application = desks.submitted(desk)

    results = in_threads([lambda: desks.approved(desk, application)] * 8)

    assert sum(isinstance(result, Application) for result in results) == 1
    assert sum(isinstance(result, Refused) for result in results) == 7
    assert Loan.objects.count() == 1
    assert build.balance(desk.master, "USDT") == 1000000


def test_a_loan_repaid_in_full_eight_times_at_once_is_paid_once(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-GEN-06, TRUST E1"""
    desk = desks.set_up()
    loan = desks.drawn(desk)
    build.deposit(desk.master, "USDT", "10000000")

    def repay() -> DebtEntry:
        at = TEN + timedelta(days=1)
        return repayment.repay(loan_id=loan.pk, share=Decimal(1), actor=desk.borrower, at=at)

    results = in_threads([repay] * 8)

    assert sum(isinstance(result, DebtEntry) for result in results) == 1
    assert sum(isinstance(result, repayment.LoanClosed) for result in results) == 7
    assert build.balance(desk.master, "USDT") == 10000000 - Decimal("230.13698631")
    assert CollateralGroup.objects.get().closed_at == TEN + timedelta(days=1)


def test_an_expiry_settled_by_several_workers_and_repaid_by_hand_at_once_is_paid_once(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-VIP-47, R-GEN-06: whoever comes first pays it; nobody marks a repaid loan overdue."""
    desk = desks.set_up()
    loan = desks.drawn(desk, auto_repay=True)
    build.deposit(desk.master, "USDT", "10000000")
    at = TEN + timedelta(days=30)

    def repay() -> DebtEntry:
        return repayment.repay(loan_id=loan.pk, share=Decimal(1), actor=desk.borrower, at=at)

    results = in_threads([*[lambda: expiry.expire_due(at=at)] * 4, *[repay] * 2])

    assert not [
        result for result in results if isinstance(result, Exception) and not isinstance(result, Refused)
    ]
    assert build.balance(desk.master, "USDT") == 11000000 - Decimal("1006904.10958930")
    debt = Debt.objects.get()
    assert (debt.closed_reason, debt.overdue_since) == ("repaid", None)
    assert debt.entries.filter(kind="repayment").count() == 1


def test_one_key_sent_eight_times_at_once_pays_once(committed_db: object, in_threads: InThreads) -> None:
    """R-GEN-06, TRUST I-25: everybody gets the one payment."""
    desk = desks.set_up()
    loan = desks.drawn(desk)

    def repay() -> DebtEntry:
        return repayment.repay(loan_id=loan.pk, amount=Decimal(1000), actor=desk.borrower, at=TEN, key="one")

    results = in_threads([repay] * 8)

    assert {result.pk for result in results} == {DebtEntry.objects.get(kind="repayment").pk}
    assert Debt.objects.get().principal == 999000


@pytest.mark.parametrize("first", ["approval", "withdrawal"])
def test_collateral_cannot_leave_while_a_loan_is_paid_out_on_it(
    committed_db: object, in_threads: InThreads, first: str
) -> None:
    """R-VIP-13, R-GEN-13: an account becomes collateral and is emptied at once; whoever comes second is refused.

    The first holds its transaction open while the second starts, so the second must wait for it and look again.
    """
    desk = desks.set_up()
    application = desks.submitted(desk)
    has_run = threading.Event()

    def approve() -> object:
        return desks.approved(desk, application)

    def withdraw() -> object:
        return gate.withdraw(
            account_uid=desk.sub.pk,
            asset="BTC",
            amount=Decimal(20),
            address="bc1q",
            actor=desk.borrower,
            at=TEN,
        )

    def run_first(call: Callable[[], object]) -> object:
        with transaction.atomic():
            result = call()
            has_run.set()
            time.sleep(0.5)
        return result

    def run_second(call: Callable[[], object]) -> object:
        assert has_run.wait(30)
        return call()

    early, late = (approve, withdraw) if first == "approval" else (withdraw, approve)
    done, refused = in_threads([lambda: run_first(early), lambda: run_second(late)])

    assert not isinstance(done, Exception), done
    assert isinstance(refused, Refused), refused
    for group in CollateralGroup.objects.all():
        state = book.state_of(group, at=TEN)
        assert state.worth().is_at_most(state.lines.initial)
