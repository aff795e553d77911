"""The counter-offer calculator: yields by hand, sales against the worked examples, and what must hold of every sale."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loans.dealing import FALL_STEPS, Position, break_even, sold_out, yield_of
from risk.handling import FeeBase
from risk.valuation import Tier
from risk.waterfall import Due, Stock

ALL = (Tier(floor=Decimal(0), ratio=Decimal(1)),)
STEP = Decimal(1) / FALL_STEPS


def stock(asset: str, amount: str, price: str, **changes: Any) -> Stock:
    base = Stock(asset, Decimal(amount), Decimal(price), ALL, 8, stable=asset.startswith("USD"), rank=100)
    return replace(base, **changes)


def due(asset: str, owed: str, price: str = "1", number: int = 1) -> Due:
    return Due(debt_id=number, asset=asset, owed=Decimal(owed), price=Decimal(price), places=8)


def position(*stocks: Stock, dues: tuple[Due, ...] = (due("USDT", "1000000"),), **changes: Any) -> Position:
    base = Position(dues=dues, stocks=stocks, fee=Decimal("0.02"), slippage=Decimal(0))
    return replace(base, **changes)


# --- Yield ------------------------------------------------------------------------------------------------

YIELDS = [
    # amount, rate, days, cost of funds, fees -> interest, cost, net, annual
    ("1000000", "0.084", 30, "0", "0", "6904.10958930", "0", "6904.10958930", "0.084000000003"),
    (
        "1000000",
        "0.084",
        30,
        "0.05",
        "0",
        "6904.10958930",
        "4109.58904110",
        "2794.52054820",
        "0.034000000003",
    ),
    ("1000000", "0.084", 30, "0", "1000", "6904.10958930", "0", "7904.10958930", "0.096166666669"),
    ("365", "0.1", 1, "0.1", "0", "0.1", "0.1", "0", "0"),
    ("365", "0.1", 10, "0.2", "0", "1", "2", "-1", "-0.1"),
    ("1000", "0", 7, "0", "0", "0", "0", "0", "0"),
]


@pytest.mark.parametrize(
    ("amount", "rate", "days", "cost", "fees", "interest", "costs", "net", "annual"), YIELDS
)
def test_what_a_loan_brings(
    amount: str,
    rate: str,
    days: int,
    cost: str,
    fees: str,
    interest: str,
    costs: str,
    net: str,
    annual: str,
) -> None:
    """R-FTR-15, EX-01: 30 days of 230.13698631 are 6,904.10958930; rounding up shows in the last digit of the yield."""
    found = yield_of(
        amount=Decimal(amount),
        annual_rate=Decimal(rate),
        days=days,
        places=8,
        cost_of_funds=Decimal(cost),
        fees=Decimal(fees),
    )
    told = (found.interest, found.fees, found.cost, found.net, found.annual)
    assert told == tuple(Decimal(one) for one in (interest, fees, costs, net, annual))


# --- Stress -----------------------------------------------------------------------------------------------


def test_a_sale_after_a_fall() -> None:
    """R-FTR-15: 25 BTC at 60,000 for 1,000,000: after 40 % they bring 900,000, and no fee is left to take."""
    found = sold_out(position(stock("BTC", "25", "60000")), fall=Decimal("0.4"))
    assert (found.owed, found.loss, found.fee, found.fee_missed) == (1_000_000, 100_000, 0, 20_000)
    assert found.uncovered == 120_000


def test_the_shortfall_of_the_worked_example() -> None:
    """R-FTR-15, EX-13: BTC at 40,000 leaves 6,904.11 of 1,006,904.11 unpaid; the fee ranks last."""
    owes = (due("USDT", "1006904.11"),)
    found = sold_out(position(stock("BTC", "25", "40000"), dues=owes), fall=Decimal(0))
    assert (found.loss, found.fee) == (Decimal("6904.11"), 0)


def test_a_sale_that_covers_everything() -> None:
    """R-FTR-15, EX-10: at 44,000 debt and fee are both paid: 2 % of 1,006,904.11 is 20,138.0822."""
    owes = (due("USDT", "1006904.11"),)
    found = sold_out(position(stock("BTC", "25", "44000"), dues=owes), fall=Decimal(0))
    assert (found.loss, found.fee, found.fee_missed) == (0, Decimal("20138.0822"), 0)


def test_the_coin_that_is_owed_does_not_fall_against_itself() -> None:
    """R-FTR-15: 400,000 USDT pay their own debt one for one; 25 BTC at half of 60,000 pay the rest and the fee."""
    held = position(stock("BTC", "25", "60000"), stock("USDT", "400000", "1"))
    assert sold_out(held, fall=Decimal("0.5")).uncovered == 0
    assert sold_out(held, fall=Decimal(1)).loss == 600_000


def test_no_fee_is_taken_before_every_debt_is_paid() -> None:
    """R-FTR-15, R-GEN-76: two debts of 600,000 and 400,000, and 980,000 to pay them with."""
    owes = (due("USDT", "600000", number=1), due("USDC", "400000", number=2))
    found = sold_out(position(stock("BTC", "19.6", "50000"), dues=owes), fall=Decimal(0))
    assert (found.loss, found.fee, found.fee_missed) == (20_000, 0, 20_000)


def test_a_coin_with_an_old_price_is_not_counted_on() -> None:
    """R-FTR-15, R-GEN-22"""
    held = position(stock("BTC", "25", "60000", for_sale=False))
    assert sold_out(held, fall=Decimal(0)).loss == 1_000_000
    assert break_even(held) is None


# --- Break-even -------------------------------------------------------------------------------------------

BREAK_EVENS = [
    # slippage, fee base -> with the fee, the debt alone
    ("0", FeeBase.DEBT_REPAID, "0.32", "0.333333"),  # 40,800 and 40,000 of 60,000
    ("0.005", FeeBase.DEBT_REPAID, "0.316582", "0.329983"),  # 41,005.03 and 40,201.01
    ("0", FeeBase.COLLATERAL_SOLD, "0.319727", "0.333333"),  # 1,000,000 / 0.98 / 25 = 40,816.33
]


@pytest.mark.parametrize(("slippage", "base", "with_fee", "debt_alone"), BREAK_EVENS)
def test_the_fall_that_a_sale_still_covers(
    slippage: str, base: FeeBase, with_fee: str, debt_alone: str
) -> None:
    """R-FTR-15"""
    held = position(stock("BTC", "25", "60000"), slippage=Decimal(slippage), fee_base=base)
    assert break_even(held) == Decimal(with_fee)
    assert break_even(held, with_fee=False) == Decimal(debt_alone)


def test_a_break_even_may_be_everywhere_or_nowhere() -> None:
    """R-FTR-15: its own coin always pays; too little never does; nothing owed cannot be short."""
    assert break_even(position(stock("USDT", "1020000", "1"))) == 1
    assert break_even(position(stock("BTC", "10", "60000"))) is None
    assert break_even(position(stock("BTC", "17", "60000"))) == 0
    assert break_even(position(stock("BTC", "1", "60000"), dues=())) == 1


# --- What must hold ---------------------------------------------------------------------------------------

amounts = st.decimals(min_value="0.00000001", max_value=10**7, places=8)
prices = st.decimals(min_value="0.01", max_value=10**5, places=2)
falls = st.decimals(min_value=0, max_value=1, places=6)


@st.composite
def positions(draw: st.DrawFn) -> Position:
    coins = draw(st.lists(st.sampled_from(["BTC", "ETH", "USDT", "USDC"]), min_size=1, unique=True))
    owed = draw(st.lists(st.sampled_from(["USDT", "BTC"]), min_size=1, unique=True))
    worth = {coin: draw(prices) for coin in {*coins, *owed}}
    return Position(
        dues=tuple(
            Due(number, coin, draw(amounts), worth[coin], 8) for number, coin in enumerate(owed, start=1)
        ),
        stocks=tuple(stock(coin, str(draw(amounts)), str(worth[coin])) for coin in coins),
        fee=draw(st.sampled_from([Decimal(0), Decimal("0.02"), Decimal("0.0333")])),
        slippage=draw(st.sampled_from([Decimal(0), Decimal("0.005")])),
        fee_base=draw(st.sampled_from(list(FeeBase))),
    )


@given(held=positions(), fall=falls)
def test_nothing_is_lost_or_made_in_a_sale(held: Position, fall: Decimal) -> None:
    """R-FTR-15: the debt is paid or lost, the fee is taken or missed, and no fee is kept while debt is short."""
    found = sold_out(held, fall=fall)
    assert 0 <= found.loss <= found.owed
    assert min(found.fee, found.fee_missed) >= 0
    assert found.loss == 0 or found.fee == 0


@given(held=positions(), with_fee=st.booleans())
def test_the_break_even_is_the_last_step_that_is_covered(held: Position, with_fee: bool) -> None:
    """R-FTR-15: nothing is missing at it, something is one step beyond."""

    def missing(fall: Decimal) -> Decimal:
        found = sold_out(held, fall=fall)
        return found.uncovered if with_fee else found.loss

    point = break_even(held, with_fee=with_fee)
    if point is None:
        assert missing(Decimal(0)) > 0
    else:
        assert missing(point) == 0
        assert point == 1 or missing(point + STEP) > 0


@given(held=positions(), falls=st.tuples(falls, falls))
def test_a_deeper_fall_never_loses_less(held: Position, falls: tuple[Decimal, Decimal]) -> None:
    """R-FTR-15: but for the crumbs of whole units, a dollar's worth at most of each coin."""
    lower, deeper = sorted(falls)
    crumbs = sum((one.price for one in held.stocks), Decimal(0)) / 10**8 + len(held.stocks)
    assert sold_out(held, fall=deeper).loss >= sold_out(held, fall=lower).loss - crumbs
