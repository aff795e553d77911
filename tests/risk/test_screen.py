"""Whatever the exact rule would do about any group, the screen asks for it; and it asks for little else."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Any

import numpy as np
import pytest
from django.db import transaction
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from accounts.commands import acting
from risk import cases, debts, judging, parameters, screen, sweep, valuation
from risk.arrays import Book
from risk.models import (
    CollateralGroup,
    Debt,
    Deleveraging,
    Liquidation,
    LiquidationDelay,
    MarginCall,
    RiskEvent,
    Settings,
    WarningLine,
)
from risk.valuation import Holding, Tier
from tests import build
from tests.build import BUILDER, NOON
from tests.risk import groups as shapes

D = Decimal
UNIT = D("1e-8")
COINS = ("AAA", "BBB", "CCC")
TIERS = {
    "AAA": (("0", "1"), ("1000000", "0.8")),
    "BBB": (("0", "0.75"), ("200000", "0.5"), ("500000", "0")),
    "CCC": (("0", "0"), ("1000000", "1")),  # rises: all that counts is the difference to a floor
}
PRICES = {"AAA": D("60000.5"), "BBB": D("0.4461"), "CCC": D(1), "USDT": D(1)}
LINES = {name: D(value) for name, value in [("i", "0.72"), ("m", "0.77"), ("l", "0.91"), ("c", "0.95")]}

amounts = st.one_of(
    st.sampled_from(["0.00000001", "1000000.00000001", "99999999999.12345678"]),
    st.decimals(min_value=D("0.00000001"), max_value=10**7, places=8, allow_nan=False).map(str),
)


@dataclass(frozen=True)
class Shape:
    """A group: what its accounts hold, how far its debt is from a line in units, or a share of what it has."""

    held: tuple[tuple[int, str, str], ...]
    line: str
    units: int
    rate: str | None
    is_late: bool
    lines: str
    warned: tuple[str, str | None] | None
    is_soft: bool


shapes_of = st.builds(
    Shape,
    held=st.lists(st.tuples(st.integers(0, 1), st.sampled_from(COINS), amounts), max_size=3).map(tuple),
    line=st.sampled_from(["0.72", "0.77", "0.91", "0.95", "0.765", "0.66", "0.83", "0.5", "0.3", "0.9097"]),
    units=st.sampled_from([-1, 0, 1, 0, 100]),
    rate=st.sampled_from(["0", "0.084", "1.5", None]),
    is_late=st.booleans(),
    lines=st.sampled_from(["", "", "customer", "group"]),
    warned=st.one_of(st.none(), st.tuples(st.sampled_from(["0.66", "0.5"]), st.sampled_from([None, "AAA"]))),
    is_soft=st.booleans(),
)
happenings = st.one_of(
    st.tuples(st.just("tick"), st.sampled_from(["1", "1", "0.999999", "0.9", "1.2"])),
    st.tuples(st.just("old"), st.sampled_from([*COINS, "USDT"])),
    st.tuples(st.just("midnight"), st.integers(1, 3)),
    st.tuples(st.just("charges"), st.just(0)),
    st.tuples(st.just("ratio"), st.sampled_from(["0.9", "1"])),
    st.tuples(st.just("lines"), st.sampled_from(["AAA", "USDT"])),
    st.tuples(st.just("release"), st.just(0)),
)


@dataclass
class World:
    """Some groups, the clock, and the book that follows them."""

    shapes: Sequence[Shape]
    book: Book = field(default_factory=Book)
    at: Any = NOON
    factor: Decimal = D(1)
    groups: list[CollateralGroup] = field(default_factory=list)

    def __post_init__(self) -> None:
        for symbol in (*COINS, "USDT"):
            build.ratios(symbol, *TIERS.get(symbol, ()))
        build.limits()
        with acting(BUILDER):
            Settings.objects.create(effective_at=build.LONG_AGO, early_warnings=["0.66"])
        build.flexible_rate("USDT", "0.08")
        build.fund_pool("USDT", "90000000000000000")
        for shape in self.shapes:
            self.groups.append(self.built(shape))

    def built(self, shape: Shape) -> CollateralGroup:
        owner = build.customer(is_screened=False)
        accounts = [build.account(owner), build.account(owner)]
        for number, symbol, amount in shape.held:
            build.deposit(accounts[number], symbol, amount, at=build.LONG_AGO)
        group = build.group(build.master(owner), accounts, ["AAA", "BBB", "CCC"])
        scope = {"customer": {"customer": owner}, "group": {"group": group}}.get(shape.lines)
        if scope:
            build.limits("0.5", "0.66", "0.77", "0.83", at=build.LONG_AGO, **scope)
        owed = max(self.at_line(shape), UNIT)
        due_at = NOON - timedelta(hours=1) if shape.is_late else None
        build.debt(group, amount=f"{owed:f}", rate=shape.rate, due_at=due_at)
        with acting(BUILDER):
            if shape.warned:
                ltv, asset = shape.warned
                WarningLine.objects.create(group=group, asset_id=asset, ltv=D(ltv), set_at=NOON)
            if shape.is_soft:
                Deleveraging.objects.create(
                    group=group, start=D("0.83"), target=D("0.76"), step_share=D("0.1"), set_at=NOON
                )
        return group

    def at_line(self, shape: Shape) -> Decimal:
        """What owes exactly that line, as nearly as units allow, and so many of them more."""
        holdings = [
            Holding(symbol, D(amount), PRICES[symbol], tuple(Tier(D(f), D(r)) for f, r in TIERS[symbol]), 8)
            for _, symbol, amount in shape.held
        ]
        worth = valuation.worth(holdings=holdings, debts=[])
        rounding = ROUND_CEILING if shape.units >= 0 else ROUND_FLOOR
        owed = (worth.collateral * D(shape.line)).quantize(UNIT, rounding)
        return min(owed, D("9999999999999")) + shape.units * UNIT

    # --- What may happen ------------------------------------------------------------------------------------

    def tick(self, factor: str = "1", *, without: str = "") -> None:
        self.at += timedelta(seconds=6)
        self.factor *= D(factor)
        moving = {symbol: PRICES[symbol] * self.factor for symbol in COINS} | {"USDT": D(1)}
        moving.pop(without, None)
        build.prices(self.at, **{symbol: f"{price:.18f}" for symbol, price in moving.items()})

    def old(self, symbol: str) -> None:
        self.at += timedelta(seconds=70)
        self.tick(without=symbol)

    def midnight(self, days: int) -> None:
        self.at = (self.at + timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
        self.tick()

    def charges(self, _: int) -> None:
        """Half of the debts are charged."""
        mine = Debt.objects.filter(group__in=self.groups[::2]).values_list("pk", flat=True)
        with acting(BUILDER):
            debts.bring_up_to_date(Debt.objects.locked(*mine), at=self.at)

    def ratio(self, ratio: str) -> None:
        self.tick()
        build.ratios("AAA", ("0", ratio), at=self.at)

    def lines(self, symbol: str) -> None:
        self.tick()
        build.limits("0.6", "0.72", "0.77", "0.9", at=self.at, asset=build.asset(symbol))

    def release(self, _: int) -> None:
        self.tick()
        with acting(BUILDER):
            self.groups[0].coins.filter(asset="AAA").update(released_at=self.at)

    # --- What is asked ----------------------------------------------------------------------------------------

    def look(self) -> screen.Screen:
        rules = parameters.settings_at(self.at)
        seen = screen.look(product="vip", at=self.at, settings=rules, book=self.book)
        assert seen == screen.look(product="vip", at=self.at, settings=rules), "warm and cold see the same"
        return seen

    def judge(self, near: Sequence[int]) -> None:
        """Nothing happens to those that are not near; then the near ones are judged, without a sale."""
        far = CollateralGroup.objects.exclude(pk__in=near)
        before = rows()
        self._decide([group.pk for group in far], may_wait=False)
        assert rows() == before, "the exact rule did something about a group that was not near"
        self._decide(near, may_wait=True)

    def _decide(self, ids: Sequence[int], *, may_wait: bool) -> None:
        with acting(sweep.JOB):
            for case in cases.read(CollateralGroup.objects.locked(*ids), self.at):
                outcome = judging.decide(case, may_sell=False)
                assert outcome is not None or may_wait, f"{case.group} is to be sold and was not near"


def rows() -> list[Any]:
    models = (RiskEvent, MarginCall, WarningLine, LiquidationDelay, Liquidation, CollateralGroup)
    return [list(model.objects.order_by("pk").values()) for model in models]


AT_LINES = [
    Shape(((0, coin, amount),), line, units, "0.084", True, lines, None, is_soft=False)
    for coin, amount, lines in [
        ("AAA", "30.12345678", ""),
        ("CCC", "1000000.00000001", ""),
        ("BBB", "9", "group"),
    ]
    for line in ("0.72", "0.77", "0.91")
    for units in (-1, 0, 1)
]

# Only charges that are due take them over the line.
NEARLY = [
    Shape(((0, "AAA", "9"),), line, 0, rate, is_late, "", None, is_soft=False)
    for line, is_late in [
        ("0.7197", True),
        ("0.7697", True),
        ("0.9097", True),
        ("0.9099", False),
        ("0.6598", True),
    ]
    for rate in ("0.084", None)
]


@pytest.mark.django_db
@pytest.mark.timeout(900)
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    groups=st.lists(shapes_of, min_size=1, max_size=6),
    happened=st.lists(happenings, min_size=2, max_size=5),
)
@example(groups=AT_LINES, happened=[("tick", "1"), ("old", "AAA"), ("midnight", 1), ("tick", "0.999999")])
@example(groups=NEARLY, happened=[("midnight", 2), ("charges", 0), ("old", "USDT"), ("tick", "1")])
def test_whatever_the_exact_rule_would_act_on_is_near(
    groups: list[Shape], happened: list[tuple[str, Any]]
) -> None:
    """R-GEN-22, 30, 31, 33, 34, 40, 41, 42, 62, 63, 64, R-VIP-43, R-FTR-05: at a line and a unit beside it too"""
    with transaction.atomic():
        world = World(groups)
        world.tick()
        for what, how in [("tick", "1"), *happened]:
            getattr(world, what)(how)
            world.judge(world.look().near)
        transaction.set_rollback(True)


@pytest.mark.django_db
def test_what_is_surely_to_be_sold_is_guessed_and_the_most_dangerous_comes_first() -> None:
    """R-GEN-23, R-GEN-24, R-GEN-41: seen over the line once is not sold; above the cut-off it is at once"""
    world = World(
        [Shape(((0, "AAA", "10"),), line, 0, "0", False, "", None, False) for line in ("0.92", "0.97", "0.8")]
    )
    world.tick()
    first = world.look()
    liquidated, cut_off, called = (group.pk for group in world.groups)
    assert first.near == [cut_off, liquidated, called]
    assert first.danger == pytest.approx([0.97, 0.92, 0.8], rel=1e-9)
    assert first.sells == [True, False, False]
    world.judge(first.near)
    world.tick()
    second = world.look()
    assert (second.near, second.sells) == ([cut_off, liquidated], [True, True])
    with acting(BUILDER):
        CollateralGroup.objects.filter(pk=liquidated).update(grace_until=world.at + timedelta(hours=1))
    assert world.look().sells == [True, False]


@pytest.mark.django_db
def test_of_equally_dangerous_groups_the_oldest_comes_first() -> None:
    """R-GEN-23: wherever the database keeps its row, and however the book was read"""
    world = World([Shape(((0, "AAA", "10"),), "0.92", 0, "0", False, "", None, False)] * 3)
    world.tick()
    world.look()
    with acting(BUILDER):
        CollateralGroup.objects.filter(pk=world.groups[0].pk).update(name="Renamed, so written anew")
    assert world.look().near == [group.pk for group in world.groups]


@pytest.mark.django_db
def test_a_random_book_is_hardly_looked_at() -> None:
    """ARCHITECTURE 5: at midnight too, before anything is charged, far from every line nobody is near"""
    lines = [f"{0.30 + 0.013 * number:.3f}" for number in range(25)]
    world = World([Shape(((0, "AAA", "10"),), line, 0, "0.2", True, "", None, False) for line in lines])
    world.tick()
    assert world.look().near == []
    world.midnight(1)
    assert world.look().near == []


@given(shapes.tiers_of_a_coin(), st.lists(shapes.amounts, min_size=1, max_size=20))
def test_float_tiers_are_the_exact_tiers(tiers: tuple[Tier, ...], values: list[Decimal]) -> None:
    """R-GEN-30, R-GEN-31: to a millionth of what the screen allows for"""
    found = screen.recognised(np.array([float(value) for value in values]), tiers)
    exact = [float(valuation.recognised(market_value=value, tiers=tiers)) for value in values]
    assert found == pytest.approx(exact, rel=1e-12, abs=1e-300)
