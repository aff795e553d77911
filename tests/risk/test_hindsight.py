"""Whole stretches of a recording decided at once are what every single step says."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from risk import valuation
from risk.hindsight import Market, Position, Stretch, Tape
from risk.valuation import Holding, Owed, Tier, Tiers

FULL: Tiers = (Tier(Decimal(0), Decimal(1)),)
STEPS: Tiers = (
    Tier(Decimal(0), Decimal("0.9")),
    Tier(Decimal(50), Decimal("0.5")),
    Tier(Decimal(90), Decimal(0)),
)
LINE = Decimal("0.91")


def market(*, tiers: Tiers = FULL, debt: list[int] | None = None, **coins: list[int]) -> Market:
    tapes = {coin: Tape([Decimal(price) for price in own]) for coin, own in coins.items()}
    steps = len(next(iter(coins.values())))
    debts = {"USDT": Tape([Decimal(price) for price in debt or [1] * steps])}
    return Market(tapes | debts, tapes | debts, dict.fromkeys(coins, tiers), steps)


def position(start: int, stop: int, *, owed: str = "91", **held: str) -> Position:
    return Position(start, stop, {coin: Decimal(own) for coin, own in held.items()}, {"USDT": Decimal(owed)})


def is_over(of: Market, at: Position, step: int, line: Decimal) -> bool:
    held = [
        Holding(coin, amount, of.collateral[coin].lows[0][step], of.tiers[coin], 8)
        for coin, amount in at.held.items()
    ]
    owed = [Owed(coin, amount, of.debts[coin].lows[0][step]) for coin, amount in at.owed.items()]
    return valuation.worth(holdings=held, debts=owed).is_at_least(line)


def test_exactly_on_the_line_is_over_and_one_unit_below_is_not() -> None:
    """R-GEN-41: 91 owed against 100, and a hair less"""
    of = market(BTC=[101, 100, 100, 99, 102])
    assert of.stretches(position(0, 5, BTC="1"), line=LINE) == [
        Stretch(0, 1, False),
        Stretch(1, 4, True),
        Stretch(4, 5, False),
    ]
    assert of.stretches(position(1, 3, BTC="1", owed="90.99999999"), line=LINE) == [Stretch(1, 3, False)]
    assert of.first_below(position(1, 5, BTC="1"), line=LINE) == 4
    assert of.first_below(position(1, 4, BTC="1"), line=LINE) is None


def test_owing_nothing_is_below_and_having_nothing_is_over() -> None:
    """R-GEN-40"""
    of = market(BTC=[100, 100])
    assert of.stretches(position(0, 2, BTC="1", owed="0"), line=LINE) == [Stretch(0, 2, False)]
    assert of.stretches(position(0, 2, owed="0.00000001"), line=LINE) == [Stretch(0, 2, True)]


prices = st.lists(st.integers(1, 200), min_size=1, max_size=40)


@given(
    btc=prices,
    more=st.lists(st.integers(1, 200), min_size=40, max_size=40),
    debt=st.lists(st.integers(80, 120), min_size=40, max_size=40),
    tiers=st.sampled_from([FULL, STEPS]),
    held=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    owed=st.integers(0, 3),
    bounds=st.tuples(st.integers(0, 40), st.integers(0, 40)),
)
def test_stretches_are_what_every_step_says(
    btc: list[int],
    more: list[int],
    debt: list[int],
    tiers: Tiers,
    held: tuple[int, int],
    owed: int,
    bounds: tuple[int, int],
) -> None:
    """R-GEN-30, R-GEN-31, R-GEN-41: two coins with marginal tiers against a debt that moves too, over any part"""
    steps = len(btc)
    of = market(tiers=tiers, BTC=btc, ETH=more[:steps], debt=debt[:steps])
    start, stop = sorted(min(bound, steps) for bound in bounds)
    at = position(start, stop, owed=str(owed), BTC=str(held[0]), ETH=str(held[1]))
    found = of.stretches(at, line=LINE)
    told = [each.is_over for each in found for _ in range(each.start, each.stop)]
    assert told == [is_over(of, at, step, LINE) for step in range(start, stop)]
    assert [each.start for each in found[1:]] == [each.stop for each in found[:-1]]
    assert all(one.is_over != other.is_over for one, other in zip(found, found[1:], strict=False))
