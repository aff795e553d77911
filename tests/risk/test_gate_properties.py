"""What holds for any movements a customer may think of: R-VIP-52 to 54, R-GEN-02, TRUST R2."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal, localcontext

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import books
from accounts.errors import Refused
from accounts.money import unit
from risk import book, gate, moves
from risk.models import Debt
from risk.valuation import Worth
from tests import build
from tests.build import NOON
from tests.risk.movements import BORROWER, UNIT, D, choose, member_of, sibling

amounts = st.decimals(min_value=UNIT, max_value=10**9, places=8, allow_nan=False)
usd = st.decimals(min_value=D("0.000001"), max_value=10**6, places=6, allow_nan=False)


@given(amount=amounts, sell=usd, buy=usd, places=st.integers(0, 8))
def test_a_trade_pays_what_was_sold_less_under_a_unit(
    amount: Decimal, sell: Decimal, buy: Decimal, places: int
) -> None:
    """R-GEN-02, R-VIP-54: never more, and at the coin's places."""
    got = moves.bought(amount=amount, sell=sell, buy=buy, places=places)
    with localcontext(prec=80):
        assert got * buy <= amount * sell < (got + unit(places)) * buy
        assert got == round(got, places)


Ask = Callable[..., object]


def _transfer(source: str, target: str) -> Ask:
    def ask(debt: Debt, amount: Decimal, at: datetime) -> object:
        uids = {"first": member_of(debt).uid, "second": debt.group.members.latest("pk").account_id}
        (source_uid, source_wallet), (target_uid, target_wallet) = source.split(), target.split()
        return gate.transfer(
            source_uid=uids[source_uid],
            source_wallet=source_wallet,
            target_uid=uids[target_uid],
            target_wallet=target_wallet,
            asset="BTC",
            amount=amount,
            actor=BORROWER,
            at=at,
        )

    return ask


def _deposit(debt: Debt, amount: Decimal, at: datetime) -> object:
    uid = member_of(debt).uid
    return gate.deposit(account_uid=uid, asset="BTC", amount=amount, actor=BORROWER, at=at)


def _withdraw(debt: Debt, amount: Decimal, at: datetime) -> object:
    uid = member_of(debt).uid
    return gate.withdraw(account_uid=uid, asset="BTC", amount=amount, address="bc1q", actor=BORROWER, at=at)


def _trade(debt: Debt, amount: Decimal, at: datetime) -> object:
    uid = member_of(debt).uid
    return gate.trade(account_uid=uid, sell="BTC", amount=amount, buy="ETH", actor=BORROWER, at=at)


def _left(before: Worth, after: Worth) -> bool:
    return before.is_below(D("0.72")) and after.is_below(D("0.72"))


def _unchanged(before: Worth, after: Worth) -> bool:
    return before == after and before.is_below(D("0.77"))


def _topped_up(before: Worth, after: Worth) -> bool:
    return after.collateral > before.collateral and after.debt == before.debt


def _traded(before: Worth, after: Worth) -> bool:
    return after.is_below(D("0.77")) or after.is_safer_than(before)


# What is asked, what the group must look like after a yes, and how many of the coins come from outside.
ASKS: dict[str, tuple[Ask, Callable[[Worth, Worth], bool], int]] = {
    "deposit": (_deposit, _topped_up, 1),
    "withdraw": (_withdraw, _left, -1),
    "inside": (_transfer("first spot", "second spot"), _unchanged, 0),
    "out": (_transfer("first spot", "first funding"), _left, 0),
    "back": (_transfer("first funding", "first spot"), _topped_up, 0),
    "trade": (_trade, _traded, 0),
}
steps = st.tuples(
    st.sampled_from(sorted(ASKS)),
    st.decimals(min_value=UNIT, max_value=12, places=8, allow_nan=False),
    st.integers(38_000, 70_000),
)


@pytest.fixture
def market() -> None:
    for symbol in ("BTC", "ETH"):
        build.asset(symbol)
    build.ratios("ETH", ("0", "0.5"))
    build.fund_pool("ETH", "1000000")


@pytest.mark.django_db
@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(plan=st.lists(steps, min_size=1, max_size=10))
def test_whatever_is_asked_in_whatever_order_the_matrix_holds_and_coins_are_conserved(
    market: None, plan: list[tuple[str, Decimal, int]]
) -> None:
    """R-VIP-52 to 54, R-GEN-05: prices move between the steps; a refusal leaves everything as it was."""
    debt = build.secured_debt(btc="20", amount="720000", rate="0")
    choose(debt, "ETH")
    build.prices(BTC="60000", ETH="3000", USDT="1")
    sibling(debt)
    for second, (name, amount, btc) in enumerate(plan):
        at = NOON + timedelta(seconds=second)
        build.prices(at, BTC=str(btc), ETH="3000", USDT="1")
        ask, holds, from_outside = ASKS[name]
        before, coins = book.state_of(debt.group, at=at).worth(), _btc()
        try:
            ask(debt, amount, at)
        except Refused:
            assert (book.state_of(debt.group, at=at).worth(), _btc()) == (before, coins)
            continue
        after = book.state_of(debt.group, at=at).worth()
        assert holds(before, after)
        assert _btc() == coins + from_outside * amount


def _btc() -> Decimal:
    return books.custody("BTC").balance + books.pool("BTC").balance
