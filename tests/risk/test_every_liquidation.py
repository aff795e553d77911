"""Forced sales of whatever is held for whatever is owed: R-GEN-05, R-GEN-75 to 78 as properties."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from accounts.ledger import problems
from accounts.models import Asset
from risk.models import Debt
from tests import build
from tests.risk.forced_sales import World, carry_on, liquidate, owes, stepped

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


class EveryLiquidationInSteps(TestCase):
    """Whatever the prices do between the steps: it ends, the books are whole, and the fee ranks last over all of it."""

    @settings(max_examples=15, suppress_health_check=[HealthCheck.too_slow])
    @given(data=st.data())
    def test_nothing_is_created_or_lost_and_no_fee_is_kept_from_a_debt(self, data: st.DataObject) -> None:
        """R-GEN-05, R-GEN-70, R-GEN-73, R-GEN-76, R-GEN-78"""
        for symbol in ("BTC", "ETH", "USDC", "USDT"):
            build.asset(symbol, places=data.draw(places))
            build.ratios(symbol, ("0", "1"), ("50000", "0.8"), rank=data.draw(st.integers(0, 3)))
        build.prices(BTC="40000", ETH="2000", USDC="1", USDT="1")
        world = World(["BTC", "ETH", "USDT"], BTC=("1", "1"), ETH=("5", "0"), USDT=("1000", "0"))
        # 91,000 USD of collateral, of which 85,000 count; LTV is 91.8 to 94.1 %.
        parts = data.draw(st.integers(1, 77))
        owed = [
            world.owe("USDC", f"{parts}000"),
            world.owe("USDT", f"{data.draw(st.integers(78, 80)) - parts}000"),
        ]
        for symbol in ("USDC", "USDT"):
            build.fund_pool(symbol)
        stepped(step_share=data.draw(st.sampled_from([D("0.2"), D("0.5"), D(1)])))

        row, at = liquidate(world.group), build.NOON
        assert row is not None
        assert row.mode == "stepped"
        for _ in range(60):
            if row.status != "running":
                break
            at += timedelta(seconds=5)
            falls = data.draw(st.decimals("0.6", "1.1", places=2, allow_nan=False))
            build.prices(at, BTC=str(40000 * falls), ETH=str(2000 * falls), USDC="1", USDT="1")
            row = carry_on(row, at=at)

        assert row.status != "running"
        assert not problems()
        left = {debt.asset_id: Debt.objects.get(pk=debt.pk) for debt in owed}
        kept = {symbol: owes(symbol)[1] for symbol in left}
        paid = total(debt.principal - left[debt.asset_id].booked for debt in owed)
        brought = total(sale.proceeds for sale in row.sales.all())
        assert (
            paid + total(kept.values()) <= brought
        )  # both coins are a dollar, so what came in is what went out
        for debt in owed:
            assert kept[debt.asset_id] <= total(sale.fee for sale in row.sales.filter(debt=debt))
        if row.status == "done_shortfall":
            assert all(debt.residual_since or debt.closed_at for debt in left.values())
            smallest = max(D(1).scaleb(-debt.asset.places) for debt in owed)
            assert total(kept.values()) <= 2 * smallest  # no whole unit of the debt is in what is kept
        if row.status == "stopped_healthy":
            assert row.end_ltv is not None
            assert row.end_ltv <= D("0.72")


def total(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, D(0))
