"""Liquidations in steps as the sweep drives them: one step per pass, and an end whatever happens. R-GEN-70, 73"""

from datetime import timedelta
from decimal import Decimal

import pytest

from accounts import books
from accounts.commands import acting
from risk import debts, groups, sweep
from risk.models import CollateralGroup, Debt, Liquidation, Settings
from tests import build
from tests.risk.forced_sales import SWEEPER, stepped

D = Decimal
NOON = build.NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def debt() -> Debt:
    row = build.secured_debt(amount="1006904.11", rate="0")
    build.fund_pool("USDT", "1000")
    stepped()
    with acting(SWEEPER):
        Settings.objects.create(effective_at=build.LONG_AGO, confirm_seconds=5)
    return row


def passes(count: int, *, btc: str = "44000", first: int = 0) -> list[sweep.SweepReport]:
    """A pass of the sweep every 5 seconds, each on a new price."""
    reports = []
    for number in range(first, first + count):
        at = NOON + timedelta(seconds=5 * number)
        build.prices(at, BTC=btc, USDT="1")
        reports.append(sweep.sweep(at=at))
    return reports


def test_one_step_per_pass_until_it_is_healthy(debt: Debt) -> None:
    """R-GEN-23, R-GEN-70, R-GEN-73, EX-11: seen, confirmed, and three steps in three passes; then left alone"""
    passes(1)
    assert not Liquidation.objects.exists()
    passes(3, first=1)
    row = Liquidation.objects.get()
    assert (row.status, row.steps) == ("stopped_healthy", 3)
    at = {sale.at for sale in row.sales.all()}
    assert at == {NOON + timedelta(seconds=5 * number) for number in (1, 2, 3)}
    passes(2, first=4)
    assert Liquidation.objects.count() == 1


def test_a_group_that_repaid_everything_in_between_is_not_left_running(debt: Debt) -> None:
    """R-GEN-70: as a repayment does it: the last debt closed, the group released"""
    passes(2)
    assert Liquidation.objects.get().status == "running"
    at = NOON + timedelta(seconds=7)
    with acting(SWEEPER):
        [group] = CollateralGroup.objects.locked(debt.group_id)
        [locked] = Debt.objects.locked(debt.pk)
        wallet = books.wallet(group.receiver, "USDT")
        debts.take_payment(debt=locked, amount=locked.booked, wallets=[wallet], reference="test:all", at=at)
        groups.release_empty(group, at=at)

    passes(1, first=2)

    row = Liquidation.objects.get()
    assert (row.status, row.steps, row.end_ltv) == ("stopped_healthy", 1, 0)


def test_deposits_between_passes_stop_it(debt: Debt) -> None:
    """R-GEN-70"""
    passes(2)
    build.deposit(debt.group.members.get().account, "BTC", "3", at=NOON + timedelta(seconds=7))
    passes(1, first=2)
    row = Liquidation.objects.get()
    assert (row.status, row.steps) == ("stopped_healthy", 1)
    assert CollateralGroup.objects.get().band == "SAFE"
