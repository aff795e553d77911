"""What counts in a group, read from rows: R-GEN-11, 33, 34, R-VIP-51, 56."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.commands import acting
from accounts.models import Account
from risk import book
from risk.models import CollateralGroup, Debt
from tests import build
from tests.build import NOON

pytestmark = pytest.mark.django_db


@pytest.fixture
def debt() -> Debt:
    debt = build.secured_debt(btc="25")
    build.prices(NOON, BTC="60000", USDT="1", ETH="3000")
    return debt


def pledged(debt: Debt) -> Account:
    return debt.group.members.get().account


def test_only_spot_counts_and_nothing_moves_when_it_is_pledged(debt: Debt) -> None:
    """R-GEN-11, R-VIP-51, R-VIP-56: coins in Funding and Fiat are the customer's, not the group's."""
    build.deposit(pledged(debt), "BTC", "5", wallet="funding")
    build.deposit(pledged(debt), "BTC", "3", wallet="fiat")

    assert book.state_of(debt.group, at=NOON).worth().collateral == 25 * 60000
    assert build.balance(pledged(debt), "BTC") == 25


def test_only_chosen_coins_with_ratios_count(debt: Debt) -> None:
    """R-GEN-33, R-GEN-34: ETH is held but not chosen; the borrowed coin counts only if it is."""
    build.deposit(pledged(debt), "ETH", "100")
    build.ratios("ETH")
    build.deposit(pledged(debt), "USDT", "1000")

    assert book.state_of(debt.group, at=NOON).worth().collateral == 25 * 60000


def test_a_stale_coin_counts_nothing_for_permissions_and_its_last_price_otherwise(debt: Debt) -> None:
    """R-GEN-22"""
    later = NOON + timedelta(minutes=5)
    build.price("USDT", "1", at=later)
    state = book.state_of(debt.group, at=later)

    assert state.stale_coins == ["BTC"]
    assert state.worth().collateral == 0
    assert state.worth(permission=False).collateral == 25 * 60000
    assert state.stale_debts == []


def test_what_is_owed_includes_the_midnights_not_booked_yet(debt: Debt) -> None:
    """R-GEN-40: booked and pending are one debt, whenever the job runs."""
    night = NOON + timedelta(days=1)
    build.prices(night, BTC="60000", USDT="1")

    assert book.state_of(debt.group, at=night).worth().debt == Decimal("1000230.13698631")


def test_a_change_is_judged_without_being_made(debt: Debt) -> None:
    """What the gate and the term check ask: balances, new debts and accounts gone, on the same rows."""
    state = book.state_of(debt.group, at=NOON)
    uid = pledged(debt).pk

    less = state.changed(balances={(uid, "BTC"): Decimal(-5)}, borrowed={"USDT": Decimal(50)})
    gone = state.changed(without_members=[uid])

    assert (less.worth().collateral, less.worth().debt) == (20 * 60000, 1000050)
    assert (gone.members, gone.worth().collateral) == ((), 0)
    assert state.worth().collateral == 25 * 60000


def test_reading_many_groups_costs_no_more_queries_than_one(debt: Debt) -> None:
    with acting(build.BUILDER):
        for _ in range(4):
            build.secured_debt()

    def queries(groups: list[CollateralGroup]) -> int:
        with CaptureQueriesContext(connection) as captured:
            book.states(groups, at=NOON)
        return len(captured)

    assert queries(list(CollateralGroup.objects.all())) == queries([debt.group])
