"""Spot trades by customers, and what the gate answers before anything moves: R-VIP-54, R-GEN-01."""

from datetime import timedelta

import pytest

from accounts import books
from accounts.models import JournalEntry, LedgerAccount
from risk import gate, groups, moves
from risk.models import Debt
from tests import build
from tests.build import NOON
from tests.risk.movements import (
    BORROWER,
    D,
    member_of,
    nothing_moves,
    price_falls_to,
    secured,
    trade,
    with_eth,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def debt() -> Debt:
    return secured()


@pytest.fixture
def eth(debt: Debt) -> None:
    with_eth(debt)


def test_a_trade_at_the_index_passes_through_the_desks_position(debt: Debt, eth: None) -> None:
    """R-VIP-54: 1 BTC = 60 000 = 20 ETH; 60 000 of 1 200 000 counts half afterwards.

    R-GEN-35: it settles at once, so no coin waits in an order and all of Spot counts before and after.
    """
    row = trade(member_of(debt), "BTC", "1", "ETH")

    assert (row.asset_id, row.amount, row.got_asset_id, row.got_amount) == ("BTC", 1, "ETH", 20)
    assert (build.balance(member_of(debt), "BTC"), build.balance(member_of(debt), "ETH")) == (19, 20)
    assert (books.pool("BTC").balance, books.pool("ETH").balance) == (1, 980)
    assert (books.position("BTC").balance, books.position("ETH").balance) == (1, -20)
    assert (books.custody("BTC").balance, books.custody("ETH").balance) == (19, 20)
    assert (row.ltv_before, row.ltv_after) == (D("0.6"), D("0.615384615384"))
    assert row.facts["prices"]["ETH"]["usd"] == "3000"


def test_what_is_bought_rounds_down(debt: Debt) -> None:
    """R-GEN-02: the desk owes it. 1 USDT at 3 000 buys 0.00033333…"""
    build.fund_pool("ETH", "1")
    assert trade(debt.group.receiver, "USDT", "1", "ETH").got_amount == D("0.00033333")


def test_a_trade_that_would_reach_margin_call_is_refused(debt: Debt, eth: None) -> None:
    """R-VIP-54: selling 8 BTC leaves 12 × 60 000 + 480 000 / 2 = 960 000: 75 %; selling 9 leaves 77.4 %."""
    with nothing_moves(groups.NotPermitted, "must stay below the margin call line of 77 %"):
        trade(member_of(debt), "BTC", "9", "ETH")
    assert trade(member_of(debt), "BTC", "8", "ETH").ltv_after == D("0.75")
    with nothing_moves(groups.NotPermitted):
        trade(member_of(debt), "BTC", "1", "ETH")
    assert trade(member_of(debt), "BTC", "0.1", "ETH").ltv_after < D("0.77")  # WATCH trades on


def test_in_margin_call_only_a_trade_that_lowers_ltv_passes_and_at_liquidation_none(
    debt: Debt, eth: None
) -> None:
    """R-VIP-54: a cure by swapping into better collateral must work."""
    trade(member_of(debt), "BTC", "2", "ETH")  # 18 BTC and 40 ETH
    build.fund_pool("BTC", "10")
    price_falls_to("47000")  # 846 000 + 60 000: 79.5 %
    with nothing_moves(groups.NotPermitted, "only a trade that lowers it"):
        trade(member_of(debt), "BTC", "1", "ETH")
    row = trade(member_of(debt), "ETH", "40", "BTC")
    assert row.got_amount == D("2.55319148")
    assert row.ltv_after < row.ltv_before

    price_falls_to("38000")
    build.deposit(member_of(debt), "ETH", "1")
    with nothing_moves(groups.NotPermitted, "below the liquidation line of 91 %"):
        trade(member_of(debt), "ETH", "1", "BTC")


def test_a_trade_needs_two_fresh_prices_two_coins_and_at_least_one_unit(debt: Debt, eth: None) -> None:
    """R-GEN-22; outside any group too."""
    receiver, later = debt.group.receiver, NOON + timedelta(minutes=30)
    build.prices(later, USDT="1")
    with nothing_moves(groups.PriceTooOld, "ETH"):
        gate.trade(account_uid=receiver.uid, sell="USDT", amount=D(1), buy="ETH", actor=BORROWER, at=later)
    build.asset("DUST")
    with nothing_moves(groups.PriceTooOld, "DUST"):
        trade(receiver, "USDT", "1", "DUST")
    with nothing_moves(moves.BadTrade, "two coins"):
        trade(receiver, "USDT", "1", "USDT")
    with nothing_moves(moves.BadTrade, "would buy 0"):
        trade(receiver, "USDT", "0.00000001", "BTC")


def test_the_desk_sells_no_more_than_it_has(debt: Debt) -> None:
    """R-GEN-38's pattern: an own refusal, and the customer keeps the coins."""
    build.fund_pool("ETH", "1")
    with nothing_moves(moves.DeskShort, "too little ETH"):
        trade(debt.group.receiver, "USDT", "3001", "ETH")


# --- Previews ---------------------------------------------------------------------------------------


def test_a_preview_says_what_the_gate_would_and_moves_nothing(debt: Debt, eth: None) -> None:
    """The same plan judged without the lock."""
    uid = member_of(debt).uid
    wallets, entries = LedgerAccount.objects.count(), JournalEntry.objects.count()

    fine = gate.preview_withdraw(account_uid=uid, asset="BTC", amount=D(2), at=NOON)
    assert (fine.allowed, fine.reason, fine.group) == (True, "", debt.group)
    assert (fine.ltv_before, fine.ltv_after) == (D("0.6"), D("0.666666666666"))
    assert fine.lines.initial == D("0.72")

    high = gate.preview_withdraw(account_uid=uid, asset="BTC", amount=D(5), at=NOON)
    assert (high.allowed, high.ltv_after) == (False, D("0.8"))
    assert "must stay below the initial line" in high.reason

    swap = gate.preview_trade(account_uid=uid, sell="BTC", amount=D(1), buy="ETH", at=NOON)
    assert (swap.allowed, swap.got, swap.ltv_after) == (True, 20, D("0.615384615384"))

    away = gate.preview_transfer(
        source_uid=uid,
        source_wallet="spot",
        target_uid=uid,
        target_wallet="funding",
        asset="BTC",
        amount=D(2),
        at=NOON,
    )
    assert (away.allowed, away.ltv_after) == (True, D("0.666666666666"))

    nonsense = gate.preview_withdraw(account_uid=uid, asset="BTC", amount=D(0), at=NOON)
    assert (nonsense.allowed, nonsense.ltv_before) == (False, None)
    free = gate.preview_withdraw(account_uid=debt.group.receiver_id, asset="USDT", amount=D(1), at=NOON)
    assert (free.allowed, free.group, free.ltv_before) == (True, None, None)
    assert (LedgerAccount.objects.count(), JournalEntry.objects.count()) == (wallets, entries)
