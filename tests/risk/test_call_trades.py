"""Trades between margin call and liquidation, by the client's flag: R-VIP-54. And the leak R-VIP-53 closes."""

from decimal import Decimal

import pytest

from accounts.commands import acting
from risk import book, gate, groups
from risk.handling import CallTrades
from risk.levels import Action, permits
from risk.models import Debt, HandlingRule
from risk.valuation import Worth
from tests import build
from tests.build import LONG_AGO, NOON
from tests.risk.movements import (
    BY,
    D,
    member_of,
    nothing_moves,
    price_falls_to,
    secured,
    trade,
    with_eth,
    withdraw,
)
from tests.risk.test_levels import INFINITE, LINES, at

FLAGS = list(CallTrades)
CALL = ("77", "90.99999999")


def verdict(flag: CallTrades, before: str, after: Worth, *, confirmed: bool = False):
    return permits(
        action=Action.TRADE,
        before=at(before),
        after=after,
        lines=LINES,
        liquidating=False,
        call_trades=flag,
        confirmed=confirmed,
    )


# --- The rule -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", CALL)
@pytest.mark.parametrize("after", ["10", "76.99999999", "76.9", "90"])
def test_a_client_without_trades_in_call_has_none_not_even_a_cure(before: str, after: str) -> None:
    """R-VIP-54"""
    told = verdict(CallTrades.NONE, before, at(after), confirmed=True)
    assert (told.allowed, told.to_confirm) == (False, False)
    assert told.reason.endswith("you can trade only below the margin call line of 77 %.")


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("before", ["0", "71.99999999", "72", "76.99999999"])
def test_below_margin_call_every_client_trades_to_below_margin_call(flag: CallTrades, before: str) -> None:
    """R-VIP-52, R-VIP-54: no confirmation is asked for."""
    assert verdict(flag, before, at("76.99999999")).allowed
    assert verdict(flag, before, at("77")).allowed is False


@pytest.mark.parametrize("before", ["60", "76.99999999", *CALL])
@pytest.mark.parametrize(
    ("after", "allowed"), [("77", True), ("90.99999999", True), ("91", False), ("95.1", False)]
)
def test_the_flag_opens_what_stays_below_liquidation_once_confirmed(
    before: str, after: str, allowed: bool
) -> None:
    """R-VIP-54: between margin call and liquidation, the client's flag and a confirmation; never at liquidation."""
    asked = verdict(CallTrades.BELOW_LIQUIDATION, before, at(after))
    told = verdict(CallTrades.BELOW_LIQUIDATION, before, at(after), confirmed=True)
    lowers = D(after) < D(before)
    assert (asked.allowed, asked.to_confirm) == (lowers and before in CALL, allowed and not lowers)
    assert (told.allowed, told.to_confirm) == (allowed, False)
    for flag in (CallTrades.NONE, CallTrades.LOWERING):
        assert verdict(flag, before, at(after), confirmed=True).allowed is (
            lowers and before in CALL and flag is CallTrades.LOWERING
        )


@pytest.mark.parametrize("flag", FLAGS)
@pytest.mark.parametrize("after", [at("10"), at("92"), INFINITE])
def test_at_liquidation_nobody_trades(flag: CallTrades, after: Worth) -> None:
    """R-VIP-52, R-VIP-54"""
    assert not verdict(flag, "91", after, confirmed=True).allowed


# --- Through the gate ---------------------------------------------------------------------------------


def may_trade(debt: Debt, flag: CallTrades) -> None:
    with acting(build.BUILDER):
        HandlingRule.objects.create(
            product="vip", customer=debt.customer, effective_at=LONG_AGO, call_trades=flag.value
        )


@pytest.fixture
def debt(db: None) -> Debt:
    """20 BTC at 47 000 secure 720 000: LTV 76.6 %; ETH counts half."""
    row = secured()
    with_eth(row)
    price_falls_to("47000")
    return row


def sell_btc(debt: Debt, amount: str, *, confirmed: bool):
    asked = {"account_uid": member_of(debt).uid, "sell": "BTC", "amount": D(amount), "buy": "ETH"}
    return gate.trade(**asked, confirmed=confirmed, **BY)


def test_the_gate_asks_first_and_then_lets_the_flagged_client_trade(debt: Debt) -> None:
    """R-VIP-54: 3 BTC for ETH leave 869 500 of 940 000: 82.8 %, above margin call and below liquidation."""
    may_trade(debt, CallTrades.BELOW_LIQUIDATION)
    told = gate.preview_trade(account_uid=member_of(debt).uid, sell="BTC", amount=D(3), buy="ETH", at=NOON)
    assert (told.allowed, told.to_confirm) == (False, True)
    assert told.ltv_after == D("0.828062104657")
    assert told.reason == (
        "LTV would be 82.80 %, not below the margin call line of 77 %, and at 91 % the collateral is sold:"
        " confirm that you want this trade."
    )
    with nothing_moves(groups.NeedsConfirmation):
        sell_btc(debt, "3", confirmed=False)
    row = sell_btc(debt, "3", confirmed=True)
    assert row.ltv_after == D("0.828062104657")
    with nothing_moves(groups.NotPermitted, "below the liquidation line of 91 %"):
        sell_btc(debt, "4", confirmed=True)  # 775 500: 92.8 %


@pytest.mark.parametrize("flag", [CallTrades.NONE, CallTrades.LOWERING])
def test_a_confirmation_opens_nothing_without_the_flag(flag: CallTrades, debt: Debt) -> None:
    """R-VIP-54"""
    may_trade(debt, flag)
    with nothing_moves(groups.NotPermitted, "must stay below the margin call line"):
        sell_btc(debt, "3", confirmed=True)


def test_an_unchosen_coin_is_no_way_out(debt: Debt) -> None:
    """R-VIP-53: convert to a coin that does not count, then withdraw it: both steps are stopped.

    1 BTC for USDT, unchosen, leaves 893 000: 80.6 %. And what lies there unchosen stays from initial on.
    """
    build.fund_pool("USDT", "100000")
    with nothing_moves(groups.NotPermitted, "margin call line"):
        trade(member_of(debt), "BTC", "1", "USDT")
    build.deposit(member_of(debt), "USDT", "5000")
    with nothing_moves(groups.NotPermitted, "only below the initial line of 72 %"):
        withdraw(member_of(debt), "USDT", "1")
    price_falls_to("60000")  # 60 %
    assert withdraw(member_of(debt), "USDT", "5000").ltv_after == Decimal("0.6")


def test_collateral_is_a_claim_and_not_a_lock(debt: Debt) -> None:
    """R-VIP-56: nothing is moved aside; below the lines the coins stay in Spot and are used freely."""
    price_falls_to("60000")
    held = build.balance(member_of(debt), "BTC")
    assert held == 20
    assert build.balance(member_of(debt), "BTC", wallet="funding") == 0
    assert trade(member_of(debt), "BTC", "1", "ETH").amount == 1
    assert withdraw(member_of(debt), "BTC", "1").amount == 1


def test_all_of_spot_counts(debt: Debt) -> None:
    """R-GEN-35, R-VIP-51: whatever is in Spot of a collateral account, and nothing of its other wallets."""
    build.deposit(member_of(debt), "BTC", "1", wallet="funding")
    assert book.state_of(debt.group, at=NOON).worth().collateral == 940_000
    build.deposit(member_of(debt), "BTC", "1")
    assert book.state_of(debt.group, at=NOON).worth().collateral == 987_000
