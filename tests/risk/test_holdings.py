"""Prices that decide, coin by coin, and what each account of a group counts for."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from accounts.models import Account, Asset
from risk import book, valuation
from risk.book import GroupState
from risk.models import CollateralGroup
from risk.pages.holdings import account_rows, prices_of
from risk.pages.standing import assets_of, standing_of
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def two_coins(desk: Desk) -> tuple[CollateralGroup, Account]:
    """25 BTC at 60,000 and 20 ETH at 3,000 in one account, 5 BTC in another, against 1,000,000 USDT."""
    build.asset("ETH")
    build.ratios("ETH", ("0", "0.8"), ("30000", "0.5"), at=build.LONG_AGO)
    build.prices(at=TEN, ETH="3000")
    other = build.account(desk.owner)
    build.deposit(other, "BTC", "5", at=build.LONG_AGO)
    build.deposit(desk.sub, "ETH", "20", at=build.LONG_AGO)
    loan = desks.drawn(desk, account_uids=(desk.sub.pk, other.pk), coins=("BTC", "ETH"))
    return loan.group, other


def test_each_coin_has_its_own_prices(desk: Desk) -> None:
    """EX-09: at the price told LTV is exactly the line; ETH alone cannot; both together by one common fall."""
    group, _ = two_coins(desk)
    state = book.state_of(group, at=TEN)
    found = prices_of(state)
    assert found is not None
    assert [row.asset for row in found.rows] == ["BTC", "ETH"]
    btc, eth = found.rows
    assert (eth.call, eth.liquidation) == (None, None)
    assert btc.call is not None
    assert btc.liquidation is not None
    # ETH counts 30,000 x 0.8 + 30,000 x 0.5 = 39,000; (1,000,000 / line - 39,000) / 30 BTC
    assert btc.call.price.quantize(D("0.01")) == ((1000000 / D("0.77") - 39000) / 30).quantize(D("0.01"))
    assert btc.liquidation.price.quantize(D("0.01")) == ((1000000 / D("0.91") - 39000) / 30).quantize(
        D("0.01")
    )
    assert btc.call.price > btc.liquidation.price
    assert found.call == -valuation.fall_to(  # type: ignore[operator]
        holdings=state.holdings(permission=False), debts=state.owed(), line=D("0.77")
    )
    assert found.liquidation is not None
    assert found.call is not None
    assert found.liquidation < found.call < 0


def moved(desk: Desk, group: CollateralGroup, btc: str) -> GroupState:
    moment = TEN + timedelta(minutes=1)
    build.prices(at=moment, BTC=btc, USDT="1")
    return book.state_of(group, at=moment)


def test_in_a_call_only_the_liquidation_price_is_left(desk: Desk) -> None:
    """R-GEN-41: past the call line its price is history; past the liquidation line there is none."""
    group = desks.drawn(desk).group
    called = prices_of(moved(desk, group, "50000"))  # 1,000,000 / 1,250,000 = 80 %
    assert called is not None
    assert called.is_called
    assert (called.call, called.rows[0].call) == (None, None)
    assert called.rows[0].liquidation is not None
    assert called.rows[0].liquidation.price.quantize(D("0.01")) == D("43956.04")  # 1,000,000 / 0.91 / 25
    assert prices_of(moved(desk, group, "43000")) is None


def test_accounts_count_for_their_share_and_add_up(desk: Desk) -> None:
    """R-GEN-32: tiers apply to the sum, so 20 ETH count 39,000 wherever they lie; 1.5 m and 0.3 m of BTC."""
    group, other = two_coins(desk)
    state = book.state_of(group, at=TEN)
    standing = standing_of(group, state)
    rows = account_rows(state, standing.coins, Account.objects.in_bulk(state.members), assets_of([state]))
    found = {row.account.pk: (row.market, row.recognised) for row in rows}
    assert found == {desk.sub.pk: (D(1560000), D(1539000)), other.pk: (D(300000), D(300000))}
    assert (
        sum(row.recognised for row in rows) == standing.recognised == state.worth(permission=False).collateral
    )


def test_what_is_not_chosen_counts_nothing(desk: Desk) -> None:
    build.asset("ETH")
    build.prices(at=TEN, ETH="3000")
    group = desks.drawn(desk).group
    build.deposit(desk.sub, "ETH", "20", at=TEN)
    state = book.state_of(group, at=TEN)
    coins = standing_of(group, state).coins
    [row] = account_rows(
        state, coins, Account.objects.in_bulk(state.members), Asset.objects.in_bulk(["BTC", "ETH"])
    )
    assert row.recognised == D(1500000)
    assert [str(asset) for asset, _ in row.coins] == ["BTC", "ETH"]
