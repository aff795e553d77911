"""R-FTR-02: the least of every single step that brings a group to a line, and the cheapest of them."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from accounts.money import unit
from risk.cure import DUST_USD, Goal, Kind, Loan, Position, Step, add_step, every_step, repay_step, swap_step
from risk.valuation import Holding
from tests.risk.groups import A_TIERS, BTC_TIERS, C_TIERS, D, tiers_of_a_coin

EX03_CURES = [
    # line, below it, what: amount
    ("0.77", False, Kind.REPAY, "USDT", "100616.44"),
    ("0.77", False, Kind.ADD, "BTC", "6.53353507"),
    ("0.72", False, Kind.REPAY, "USDT", "355616.44"),
    ("0.72", False, Kind.ADD, "BTC", "24.69558612"),
    ("0.72", True, Kind.REPAY, "USDT", "355616.45"),
]


def ex03() -> Position:
    """EX-03 after BTC fell to 20,000: 5,100,000 counts for a debt of 4,027,616.44."""
    held = [
        Holding("BTC", D(30), D(20_000), BTC_TIERS, 8),
        Holding("A", D(5_000_000), D(1), A_TIERS, 2),
        Holding("C", D(600_000), D(1), C_TIERS, 2),
    ]
    owed = D("4027616.44")
    loan = Loan(1, "USDT", owed, principal=D(4_000_000), payoff=owed, price=D(1), places=2)
    return Position({each.asset: each for each in held}, (loan,))


@pytest.mark.parametrize(("line", "below", "kind", "asset", "amount"), EX03_CURES)
def test_ex03_the_least_of_each(line: str, below: bool, kind: Kind, asset: str, amount: str) -> None:
    """R-FTR-02, EX-03: 130,670.71 and 493,911.73 of recognised value are so many BTC at 20,000."""
    goal = Goal(D(line), below)
    if kind is Kind.REPAY:
        step = repay_step(position=ex03(), key=1, goal=goal)
    else:
        step = add_step(position=ex03(), asset=asset, goal=goal)
    assert step is not None
    assert (step.kind, step.asset, step.amount, step.reaches) == (kind, asset, D(amount), True)


def test_ex03_what_counts_80_percent_must_be_added_a_quarter_more() -> None:
    """R-FTR-02, EX-03: 130,670.71 / 0.8 of A, whose first million is used up; none of C counts any more."""
    goal = Goal(D("0.77"))
    step = add_step(position=ex03(), asset="A", goal=goal)
    assert step is not None
    assert step.amount == D("163338.38")  # 130,670.7012… / 0.8, up
    assert add_step(position=ex03(), asset="C", goal=goal) is None


def test_ex03_swapping_moves_only_the_difference_of_two_ratios() -> None:
    """R-FTR-02, EX-03: A at 80 % into BTC at 100 % gains 20 cents a dollar: 130,670.71 needs five times as much."""
    step = swap_step(position=ex03(), sell="A", buy="BTC", goal=Goal(D("0.77")))
    assert step is not None
    assert step.reaches
    assert step.amount == D("653353.51")  # 5 x 130,670.7012…, up to the cent
    assert step.got == D("32.66767550")


def test_the_cheapest_way_moves_the_least_value() -> None:
    """R-FTR-02: repaying, since it takes the debt itself away"""
    steps = every_step(
        position=ex03(),
        goal=Goal(D("0.77")),
        offered={"BTC", "A", "C"},
        sellable={"A": D(5_000_000), "BTC": D(30)},
    )
    found = [(step.kind, step.asset, step.buy) for step in steps]
    assert found[:3] == [(Kind.REPAY, "USDT", ""), (Kind.ADD, "BTC", ""), (Kind.ADD, "A", "")]
    assert (Kind.SWAP, "A", "BTC") in found
    assert [step.usd for step in steps] == sorted(step.usd for step in steps)


def test_a_rest_that_would_be_dust_is_repaid_too() -> None:
    """R-FTR-02, R-GEN-52: 4 USDT of principal may not stay; the first day is paid with it (R-VIP-31)"""
    loan = Loan(7, "USDT", D(100), principal=D(100), payoff=D("100.03"), price=D(1), places=2)
    held = Holding("BTC", D(1), D(5), BTC_TIERS, 8)
    position = Position({"BTC": held}, (loan,))
    step = repay_step(position=position, key=7, goal=Goal(D("0.8")))
    assert step is not None
    assert (step.amount, step.after.debt) == (D("100.03"), 0)


def test_too_little_at_hand_is_still_a_help_but_never_leaves_dust() -> None:
    """R-FTR-02, R-FTR-04"""
    loan = Loan(7, "USDT", D(100), principal=D(100), payoff=D("100.03"), price=D(1), places=2)
    position = Position({"BTC": Holding("BTC", D(1), D(50), BTC_TIERS, 8)}, (loan,))
    goal = Goal(D("0.5"))
    wanted = repay_step(position=position, key=7, goal=goal)
    assert wanted is not None
    assert wanted.amount == 75
    some = repay_step(position=position, key=7, goal=goal, most=D(30))
    assert some is not None
    assert (some.amount, some.reaches, some.after.debt) == (30, False, 70)
    nearly = repay_step(position=position, key=7, goal=Goal(D("0.1")), most=D(94))
    assert nearly is not None
    assert nearly.amount == 90  # 10 USDT must stay


# --- Any group --------------------------------------------------------------------------------------------


@st.composite
def positions(draw: st.DrawFn) -> Position:
    """Small amounts at few decimals, so that every amount can be tried."""
    holdings = {}
    for asset in "ABC":
        places = draw(st.integers(0, 1))
        amount = draw(st.integers(0, 60)) * unit(places)
        price = draw(st.decimals(min_value=D("0.5"), max_value=400, places=2, allow_nan=False))
        tiers = draw(tiers_of_a_coin())
        tiers = tuple(replace(tier, floor=tier.floor / 1000) for tier in tiers)
        holdings[asset] = Holding(asset, amount, price, tiers, places)
    loans = []
    for key in range(draw(st.integers(1, 2))):
        asset = draw(st.sampled_from("ABD"))
        price = holdings[asset].price if asset in holdings else D(1)
        places = holdings[asset].places if asset in holdings else 1
        owed = draw(st.integers(1, 300)) * unit(places)
        principal = max(owed - draw(st.integers(0, 5)) * unit(places), unit(places))
        payoff = owed + draw(st.integers(0, 1)) * unit(places)
        loans.append(Loan(key, asset, owed, min(principal, owed), payoff, price, places))
    return Position(holdings, tuple(loans))


goals = st.builds(
    Goal, line=st.decimals(min_value=D("0.05"), max_value=D("0.95"), places=3), strictly_below=st.booleans()
)


def _tried(position: Position, goal: Goal) -> dict[tuple[str, str, str], Step]:
    """Every single step there is, found by trying every amount; the least that reaches, per kind and coins."""
    found: dict[tuple[str, str, str], Step] = {}

    def note(step: Step, name: tuple[str, str, str]) -> None:
        after = position.after(step).worth()
        if name not in found and goal.is_reached(after):
            found[name] = step

    nothing = position.worth()
    for loan in position.loans:
        step_unit = unit(loan.places)
        for count in range(1, int(loan.payoff / step_unit) + 1):
            amount = count * step_unit
            left = min(loan.principal, loan.owed - amount)
            if amount < loan.payoff and left * loan.price < DUST_USD:
                continue
            step = Step(Kind.REPAY, loan.asset, amount, amount * loan.price, nothing, False, loan=loan.key)
            note(step, ("repay", str(loan.key), ""))
    for sell, held in position.holdings.items():
        for buy, wanted in position.holdings.items():
            for count in range(1, int(held.amount / unit(held.places)) + 1) if sell != buy else ():
                amount = count * unit(held.places)
                got = (amount * held.price / wanted.price).quantize(
                    unit(wanted.places), rounding="ROUND_FLOOR"
                )
                step = Step(Kind.SWAP, sell, amount, amount * held.price, nothing, False, buy=buy, got=got)
                if got > 0:
                    note(step, ("swap", sell, buy))
    return found


@given(position=positions(), goal=goals)
def test_each_step_is_the_least_and_no_other_is_cheaper(position: Position, goal: Goal) -> None:
    """R-FTR-02: every amount of every repayment and swap is tried; of additions the amount and one unit less."""
    assume(not goal.is_reached(position.worth()))
    sellable = {coin: held.amount for coin, held in position.holdings.items()}
    steps = every_step(position=position, goal=goal, offered=set(position.holdings), sellable=sellable)
    tried = _tried(position, goal)
    swaps = {("swap", each.asset, each.buy): each.amount for each in steps if each.kind is Kind.SWAP}
    repaid = {("repay", str(each.loan), ""): each.amount for each in steps if each.kind is Kind.REPAY}
    assert swaps | repaid == {name: step.amount for name, step in tried.items()}
    for step in steps:
        assert goal.is_reached(position.after(step).worth())
        assert step.after == position.after(step).worth()
        if step.kind is Kind.ADD:
            less = replace(step, amount=step.amount - unit(position.holdings[step.asset].places))
            assert not goal.is_reached(position.after(less).worth())
    if tried:
        assert steps[0].usd <= min(step.usd for step in tried.values())


@given(position=positions(), goal=goals)
def test_a_coin_that_cannot_be_added_alone_gives_nothing_however_much(position: Position, goal: Goal) -> None:
    """R-FTR-02: none is left out that a very large amount would reach"""
    assume(not goal.is_reached(position.worth()))
    added = {
        coin
        for coin in position.holdings
        if (step := add_step(position=position, asset=coin, goal=goal)) is not None and step.reaches
    }
    for coin, held in position.holdings.items():
        much = Step(Kind.ADD, coin, Decimal(10**9), D(0), position.worth(), False)
        flat = held.tiers[-1].ratio == 0
        reached = goal.is_reached(position.after(much).worth())
        assert (coin in added) == reached or (not flat and reached), coin


@given(position=positions(), goal=goals, most=st.integers(1, 40))
def test_with_little_at_hand_a_step_helps_and_keeps_within_it(
    position: Position, goal: Goal, most: int
) -> None:
    """R-FTR-04: what a rule does never takes more than it may, and never worsens LTV"""
    assume(not goal.is_reached(position.worth()))
    before = position.worth()
    for coin in position.holdings:
        step = add_step(position=position, asset=coin, goal=goal, most=D(most))
        if step is not None:
            assert step.amount <= most
            assert position.after(step).worth().is_safer_than(before)
    for sell in position.holdings:
        for buy in set(position.holdings) - {sell}:
            step = swap_step(position=position, sell=sell, buy=buy, goal=goal, most=D(most))
            if step is not None:
                assert 0 < step.amount <= min(D(most), position.holdings[sell].amount)
                assert position.after(step).worth().is_safer_than(before)
    for loan in position.loans:
        step = repay_step(position=position, key=loan.key, goal=goal, most=D(most))
        if step is not None:
            left = position.after(step)
            assert step.amount <= most
            assert left.worth().debt < before.debt
            rest = [each for each in left.loans if each.key == loan.key]
            assert not rest or rest[0].principal * rest[0].price >= DUST_USD
