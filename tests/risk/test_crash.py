"""A stress says beforehand what the sweep then does: whom it calls, whom it sells, and what that comes to. R-FTR-27"""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from accounts.money import round_down
from risk import shocks, stress_runs, sweep
from risk.models import CollateralGroup, Liquidation, MarginCall
from risk.shocks import Path
from risk.stress_tables import Group, groups_of
from tests import build
from tests.build import NOON
from tests.risk.forced_sales import World, stepped

D = Decimal
SHOCKED = NOON + timedelta(seconds=30)
PASS = timedelta(seconds=45)  # longer than a confirmation takes, shorter than a price is fresh for
PRICES = {"BTC": D("40000.5"), "ETH": D("2001.25"), "USDC": D("0.9995"), "USDT": D(1)}
LINES = (D("0.77"), D("0.91"), D("0.95"))
moves = st.decimals("-0.7", "0.3", places=4, allow_nan=False)


def answered(path: Path, **more: Any) -> dict[int, Group]:
    """What becomes of each group in the stress, as the book is at NOON."""
    found = stress_runs.answer(stress_runs.scenario_of(path, **more), at=NOON)
    return {one.group: one for one in groups_of(found["columns"][0]["groups"])}


def market() -> None:
    build.limits()
    for symbol, rank in (("BTC", 2), ("ETH", 1), ("USDC", 5), ("USDT", 5)):
        build.asset(symbol)
        tiers = [("0", "1"), ("100000", "0.8")] if symbol == "BTC" else [("0", "0.95")]
        build.ratios(symbol, *tiers, rank=rank)
        build.price(symbol, str(PRICES[symbol]))


def shocked(path: Path) -> dict[str, D]:
    kinds = {"BTC": "crypto", "ETH": "crypto", "USDC": "stable", "USDT": "stable"}
    factors = shocks.spread(path, kinds=kinds, follow={})
    return {coin: round_down(PRICES[coin] * factors[coin][-1], 18) for coin in PRICES}


def happens(path: Path, passes: int) -> None:
    """The prices are recorded, again and again, and the sweep sees them."""
    for number in range(passes):
        if number > 1 and not Liquidation.objects.filter(status=Liquidation.Status.RUNNING).exists():
            return
        at = SHOCKED + number * PASS
        for coin, usd in shocked(path).items():
            build.price(coin, f"{usd:f}", at=at)
        sweep.sweep(at=at)


def a_group(data: st.DataObject, after: Mapping[str, D], number: int) -> CollateralGroup:
    """Anything between far from and far over its lines; every second one within units of a line after the shock."""
    amount = st.decimals("0.00000001", "20", places=8, allow_nan=False)
    held = {coin: (str(data.draw(amount)), str(data.draw(amount))) for coin in ("BTC", "ETH")}
    world = World(["BTC", "ETH", "USDC"], **held, USDC=("0", str(100 * data.draw(st.integers(0, 300)))))
    counted = stress_value(world, after)
    coin = data.draw(st.sampled_from(["USDT", "USDC", "ETH"]))
    share = data.draw(st.sampled_from(LINES) if number % 2 else st.decimals("0.3", "1.2", places=3))
    off = data.draw(st.integers(-2, 2)) * D("1e-8")
    owed = max(round_down(share * counted / after[coin], 8) + off, D("0.00000001"))
    if data.draw(st.booleans()) and owed > D("0.01"):  # in two debts
        world.owe(coin, "0.01")
        owed -= D("0.01")
    world.owe(coin, f"{owed:f}")
    return world.group


def stress_value(world: World, after: Mapping[str, D]) -> D:
    from risk import book

    state = book.state_of(world.group, at=NOON)
    held: dict[str, D] = {}
    for wallet in state.wallets:
        held[wallet.asset] = held.get(wallet.asset, D(0)) + wallet.balance
    return sum(
        (stress_counted(coin, amount * after[coin]) for coin, amount in held.items() if coin in state.coins),
        D(0),
    )


def stress_counted(coin: str, market_value: D) -> D:
    if coin == "BTC":
        return min(market_value, D(100_000)) + max(market_value - 100_000, D(0)) * D("0.8")
    return market_value * D("0.95")


class EveryCrash(TestCase):
    """Whatever is held and owed, and however near the lines."""

    @settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(data=st.data())
    def test_the_groups_called_and_sold_are_those_that_the_sweep_calls_and_sells(
        self, data: st.DataObject
    ) -> None:
        """R-FTR-27, R-GEN-41: in one step exactly, to the last unit on a line; amounts to whole dollars"""
        market()
        path = shocks.joint({"BTC": data.draw(moves), "ETH": data.draw(moves), "USDC": data.draw(moves)})
        after = shocked(path)
        for number in range(data.draw(st.integers(1, 5))):
            a_group(data, after, number)

        said = answered(path)
        happens(path, 2)

        assert {pk for pk, one in said.items() if one.called} == set(
            MarginCall.objects.values_list("group", flat=True)
        )
        sold = {row.group_id: row for row in Liquidation.objects.all()}
        assert {pk for pk, one in said.items() if one.sold_at} == set(sold)
        for pk, row in sold.items():
            one = said[pk]
            coins = row.sales.values("coin").distinct().count()
            assert abs(one.owed - row.debt_value) <= 1
            assert abs(one.sold - row.sold_usd) <= 1 + coins
            assert abs(one.fee - row.fee_usd) <= 1
            assert abs(one.lost - row.shortfall_usd) <= 1 + 2

    @settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(data=st.data())
    def test_steps_come_to_what_the_sweeps_steps_come_to(self, data: st.DataObject) -> None:
        """R-FTR-27, R-GEN-73: the same groups, and about the same dollars, once every step is done"""
        market()
        stepped()
        path = shocks.joint({"BTC": data.draw(moves), "ETH": data.draw(moves)})
        after = shocked(path)
        for number in range(data.draw(st.integers(1, 3))):
            a_group(data, after, number)

        said = answered(path)
        happens(path, 9)

        sold = {row.group_id: row for row in Liquidation.objects.all()}
        assert {pk for pk, one in said.items() if one.sold_at} == set(sold)
        for pk, row in sold.items():
            one = said[pk]
            assert abs(one.sold - row.sold_usd) <= 3 + row.sold_usd / 100
            assert abs(one.lost - row.shortfall_usd) <= 3 + row.sold_usd / 100
