"""Forced sales of whatever is held for whatever is owed: R-GEN-05, R-GEN-75 to 78 as properties."""

from collections.abc import Iterable
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from accounts.ledger import problems
from accounts.models import Asset
from risk.models import Debt
from tests import build
from tests.risk.forced_sales import World, liquidate, owes

D = Decimal

places = st.integers(0, 8)
coin_prices = st.decimals(min_value="0.01", max_value="100000", places=4, allow_nan=False)


class EveryLiquidation(TestCase):
    """Whatever is held and owed: nothing is created or lost, and nobody is paid before the debt."""

    @settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
    @given(data=st.data())
    def test_nothing_is_created_or_lost(self, data: st.DataObject) -> None:
        """R-GEN-05, R-GEN-75, R-GEN-76, R-GEN-77, R-GEN-78"""
        for symbol in ("BTC", "ETH", "USDC", "USDT"):
            build.asset(symbol, places=data.draw(places))
            build.ratios(symbol, rank=data.draw(st.integers(0, 3)))
            build.price(symbol, str(data.draw(coin_prices)))

        def amount(symbol: str, least: int) -> str:
            exponent = Asset.objects.get(pk=symbol).places
            return str(data.draw(st.decimals(least, 10**5, places=exponent, allow_nan=False)))

        held = {symbol: (amount(symbol, 0), amount(symbol, 0)) for symbol in ("BTC", "ETH", "USDT")}
        world = World(["BTC", "ETH", "USDT"], **held)
        owed = [world.owe(symbol, amount(symbol, 1)) for symbol in ("USDC", "USDT")]
        for symbol in ("USDC", "USDT"):
            build.fund_pool(symbol)

        row = liquidate(world.group)

        assert row is not None
        assert not problems()
        left = {debt.asset_id: Debt.objects.get(pk=debt.pk).booked for debt in owed}
        fees = {symbol: owes(symbol)[1] for symbol in left}
        crumbs = {}
        for debt in owed:
            paid, sales = debt.principal - left[debt.asset_id], row.sales.filter(debt=debt)
            brought, fee = total(sale.proceeds for sale in sales), total(sale.fee for sale in sales)
            assert fee == fees[debt.asset_id] <= paid * D("0.02") + D(1).scaleb(-debt.asset.places)
            crumbs[debt.asset_id] = brought - paid - fee
        assert min(crumbs.values()) >= 0
        if any(left.values()):
            assert fees == {"USDC": 0, "USDT": 0}
        for symbol, amounts in held.items():
            taken = total(sale.sold for sale in row.sales.filter(coin=symbol))
            wallets = build.balance(world.first, symbol) + build.balance(world.second, symbol)
            assert wallets == total(map(D, amounts)) - taken + crumbs.get(symbol, 0)


def total(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, D(0))
