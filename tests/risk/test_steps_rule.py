"""R-GEN-73, R-GEN-74, R-GEN-75: how much one step sells, slice by slice, and what its fee is a fraction of."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.money import ONE, exact, round_down, round_up, unit
from risk.handling import FeeBase
from risk.valuation import Tier, Tiers, recognised
from risk.waterfall import Due, Stock, Taking, Terms, fee_on_debt, plan_step
from tests.risk.groups import tiers_of_a_coin

D = Decimal
ZERO = D(0)
WHOLE: Tiers = (Tier(D(0), D(1)),)
TARGET = D("0.72")
USUAL = Terms(fee_rate=D("0.02"), slippage=ZERO)


def owed(amount: str, asset: str = "USDT", *, price: str = "1", places: int = 8, number: int = 1) -> Due:
    return Due(debt_id=number, asset=asset, owed=D(amount), price=D(price), places=places)


def coin(
    asset: str, amount: str, price: str, tiers: Tiers = WHOLE, *, places: int = 8, rank: int = 1
) -> Stock:
    return Stock(asset, D(amount), D(price), tiers, places, asset.startswith("USD"), rank)


def step(
    debts: list[Due],
    stocks: list[Stock],
    *,
    target: str = "0.72",
    terms: Terms = USUAL,
    share: str = "1",
    full_below: str = "0",
) -> list[Taking]:
    return plan_step(
        debts=debts,
        stocks=stocks,
        target=D(target),
        terms=terms,
        share=D(share),
        full_below_usd=D(full_below),
    )


@exact
def ltv(debts: list[Due], stocks: list[Stock], plan: list[Taking]) -> Decimal:
    """After the plan."""
    debt = sum((due.owed * due.price for due in debts), ZERO)
    price = {due.debt_id: due.price for due in debts}
    debt -= sum((taking.repaid * price[taking.debt_id] for taking in plan), ZERO)
    return debt / secured(stocks, plan)


@exact
def secured(stocks: list[Stock], plan: list[Taking]) -> Decimal:
    sold = {stock.asset: ZERO for stock in stocks}
    for taking in plan:
        sold[taking.coin] += taking.sold
    return sum(
        (
            recognised(market_value=(stock.amount - sold[stock.asset]) * stock.price, tiers=stock.tiers)
            for stock in stocks
        ),
        ZERO,
    )


EX11 = ([owed("1006904.11")], [coin("BTC", "25", "44000")])


def test_ex11_one_step_to_the_target_is_the_formula() -> None:
    """R-GEN-74, EX-11: x = (D - t C) / (1 - t (1 + f)) = 809,126.93"""
    [taking] = step(*EX11)

    assert round_up(taking.repaid, 2) == D("809126.93")
    assert taking.sold == D("18.75703315")
    assert round_down(taking.sold * 44000, 2) == D("825309.45")  # 825,309.4586; the book rounds it to .46
    assert round_down(taking.fee, 2) == D("16182.53")  # 16,182.5384
    assert round_down(D("1006904.11") - taking.repaid, 2) == D("197777.18")
    assert round_down((25 - taking.sold) * 44000, 2) == D("274690.54")
    assert ltv(*EX11, [taking]).quantize(D("0.00001")) == D("0.72000")


def test_ex11_in_steps_of_half_the_debt() -> None:
    """R-GEN-73, EX-11: 503,452.06, then 251,726.03, then 53,948.84; LTV 85.84, 76.35, 72.00 %"""
    debts, stocks = EX11
    told = []
    while plan := step(debts, stocks, share="0.5", full_below="200"):
        [taking] = plan
        debts = [replace(debts[0], owed=debts[0].owed - taking.repaid)]
        stocks = [replace(stocks[0], amount=stocks[0].amount - taking.sold)]
        told.append((round_up(taking.repaid, 2), round_down(100 * ltv(debts, stocks, []), 2)))

    assert told == [
        (D("503452.06"), D("85.84")),
        (D("251726.03"), D("76.34")),  # 76.3457, which the book rounds up
        (D("53948.84"), D("71.99")),  # 71.99999997
    ]


@pytest.mark.parametrize(
    ("start", "target", "share"),
    [
        ("91", "72", "78.6"),
        ("91", "77", "71.7"),
        ("91", "85", "49.6"),
        ("85", "80", "32.0"),
        ("80", "77", "17.5"),
    ],
)
def test_ex11_the_share_of_the_debt_that_a_target_takes(start: str, target: str, share: str) -> None:
    """R-GEN-74, EX-11: acting at 91 % is nearly a full close whatever the mode"""
    debts, stocks = [owed(start)], [coin("BTC", "1", "100")]
    [taking] = step(debts, stocks, target=f"0.{target}")
    assert (100 * taking.repaid / D(start)).quantize(D("0.1")) == D(share)


def test_nothing_is_sold_at_or_below_the_target() -> None:
    """R-GEN-73"""
    assert step([owed("72")], [coin("BTC", "1", "100")]) == []


def test_the_topmost_slice_is_sold_first_so_its_ratio_counts() -> None:
    """R-GEN-30, R-GEN-74: 1.5 m of A counts 1.4 m; its upper 500,000 secure only 80 cents a dollar"""
    tiers = (Tier(D(0), D(1)), Tier(D(1_000_000), D("0.8")))
    debts, stocks = [owed("1120000")], [coin("A", "1500000", "1", tiers)]
    [taking] = step(debts, stocks)
    # (1,120,000 - 0.72 x 1,400,000) / (1 - 0.72 x 0.8 x 1.02) = 271,528.317, all of it above 1 m
    assert round_up(taking.repaid, 2) == D("271528.32")
    assert taking.sold == round_up(taking.repaid * D("1.02"), 8)
    # Deeper, into the first tier: 500,000 at 0.8 bring 490,196.07843137 first.
    [deep] = step([owed("1300000")], stocks)
    assert deep.sold > 500_000
    rest = (
        D("1300000") - D("0.72") * 1_400_000 - D("490196.07843137") * (1 - D("0.72") * D("0.8") * D("1.02"))
    ) / (1 - D("0.72") * D("1.02"))
    assert abs(deep.repaid - D("490196.07843137") - rest) < D("0.0001")


def test_the_debts_coin_is_netted_first_then_stable_coins_then_by_rank() -> None:
    """R-GEN-72, R-GEN-74: in their order, and no further than the target asks for"""
    stocks = [coin("BTC", "1", "600", rank=1), coin("USDC", "200", "1"), coin("USDT", "100", "1")]
    plan = step([owed("800")], stocks)
    assert [taking.coin for taking in plan] == ["USDT", "USDC", "BTC"]
    assert [taking.sold for taking in plan[:2]] == [D(100), D(200)]
    assert D("0.7199999") < ltv([owed("800")], stocks, plan) <= D("0.72")


def test_several_debts_are_repaid_in_their_order() -> None:
    """R-GEN-71, R-GEN-73: the first is repaid whole before the second is touched"""
    debts = [owed("100", "USDC", number=7), owed("800", number=3)]
    plan = step(debts, [coin("BTC", "1", "1000")], share="0.5")
    assert [(taking.debt_id, taking.repaid) for taking in plan] == [(7, D(100)), (3, D(350))]


@pytest.mark.parametrize(("debt", "repaid"), [("400", "400"), ("400.02", "200.01")])
def test_so_little_debt_left_is_repaid_whole(debt: str, repaid: str) -> None:
    """R-GEN-73: with no more than 200 USD left after the step, everything is"""
    plan = step([owed(debt)], [coin("BTC", "1", "440")], share="0.5", full_below="200")
    assert sum(taking.repaid for taking in plan) == D(repaid)


def test_an_old_coin_secures_but_is_not_sold() -> None:
    """R-GEN-22"""
    stocks = [replace(coin("ETH", "1", "300"), for_sale=False), coin("BTC", "1", "700")]
    assert {taking.coin for taking in step([owed("910")], stocks)} == {"BTC"}


def test_with_slippage_more_is_sold_for_the_same_repayment() -> None:
    """R-GEN-74: spent is x (1 + f) / (1 - s); x = 214,904.11 / (1 - 0.72 x 1.02 / 0.995)"""
    [taking] = step(*EX11, terms=Terms(fee_rate=D("0.02"), slippage=D("0.005")))
    x = D("214904.11") / (1 - D("0.72") * D("1.02") / D("0.995"))
    assert abs(taking.repaid - x) < D("0.01")
    assert abs(taking.sold * 44000 - taking.repaid * D("1.02") / D("0.995")) < D("0.001")


@pytest.mark.parametrize(
    ("base", "rate", "fee"),
    [
        (FeeBase.DEBT_REPAID, D("0.02"), "20138.09"),  # 2 % of 1,006,904.11
        (FeeBase.COLLATERAL_SOLD, D("0.020408163265306122448979591836"), "20549.07"),  # 2 % of 1,027,453.1735
        (FeeBase.START_ASSETS, D("0.021849151057691084407233177347"), "22000.00"),  # 2 % of 1,100,000
    ],
)
def test_the_three_bases_of_the_fee(base: FeeBase, rate: Decimal, fee: str) -> None:
    """R-GEN-75, EX-10: on 1,006,904.11 owed and 1,100,000 of collateral, all of it repaid"""
    found = fee_on_debt(base=base, rate=D("0.02"), assets=D(1_100_000), debt=D("1006904.11"))
    assert abs(found - rate) < D("1e-18")
    [taking] = step(*EX11, target="0", terms=Terms(fee_rate=found, slippage=ZERO))
    assert (taking.repaid, round_up(taking.fee, 2)) == (D("1006904.11"), D(fee))


def test_a_fee_of_what_is_sold_is_exactly_that_share_of_it() -> None:
    """R-GEN-75: 98 repaid and 2 of fee are 100 sold at 2 %, not a unit more"""
    rate = fee_on_debt(base=FeeBase.COLLATERAL_SOLD, rate=D("0.02"), assets=ONE, debt=ONE)
    [taking] = step([owed("98")], [coin("BTC", "1", "110")], target="0", terms=Terms(rate, ZERO))
    assert (taking.repaid, taking.fee) == (D(98), D(2))


amounts = st.decimals(min_value="0.01", max_value=10**6, places=8, allow_nan=False)
prices = st.decimals(min_value="0.01", max_value=10**5, places=6, allow_nan=False)
shares = st.decimals(min_value="0.05", max_value=1, places=3, allow_nan=False)


@st.composite
def books(draw: st.DrawFn) -> tuple[list[Due], list[Stock]]:
    """One to three debts, one to four coins, some of them the debts' own; any places."""
    assets = {symbol: (draw(prices), draw(st.integers(0, 8))) for symbol in ("USDT", "USDC", "BTC", "ETH")}

    def amount(symbol: str) -> Decimal:
        return round_down(draw(amounts), assets[symbol][1]) + unit(assets[symbol][1])

    debts = [
        Due(number, symbol, amount(symbol), assets[symbol][0], assets[symbol][1])
        for number, symbol in enumerate(
            draw(st.lists(st.sampled_from(sorted(assets)), min_size=1, max_size=3))
        )
    ]
    held = draw(st.lists(st.sampled_from(sorted(assets)), min_size=1, max_size=4, unique=True))
    stocks = [
        Stock(symbol, amount(symbol), assets[symbol][0], draw(tiers_of_a_coin()), assets[symbol][1],
              symbol.startswith("USD"), draw(st.integers(0, 3)), draw(st.booleans()))
        for symbol in held
    ]  # fmt: skip
    return debts, stocks


@given(
    book=books(),
    target=st.decimals(min_value="0.3", max_value="0.9", places=3, allow_nan=False),
    share=shares,
    fee_rate=st.decimals(min_value=0, max_value="0.05", places=4, allow_nan=False),
    slippage=st.decimals(min_value=0, max_value="0.03", places=4, allow_nan=False),
)
@exact
def test_every_step_is_conserved_and_bounded(
    book: tuple[list[Due], list[Stock]], target: Decimal, share: Decimal, fee_rate: Decimal, slippage: Decimal
) -> None:
    """R-GEN-05, R-GEN-73, R-GEN-74: no coin twice, no debt overpaid, no more than its share, and the fee in full"""
    debts, stocks = book
    terms = Terms(fee_rate=fee_rate, slippage=slippage)
    plan = step(debts, stocks, target=str(target), terms=terms, share=str(share))

    due, held = {one.debt_id: one for one in debts}, {one.asset: one for one in stocks}
    most = share * sum((one.owed * one.price for one in debts), ZERO)
    repaid_usd = ZERO
    for debt_id, one in due.items():
        mine = [taking for taking in plan if taking.debt_id == debt_id]
        paid = sum((taking.repaid for taking in mine), ZERO)
        fee = sum((taking.fee for taking in mine), ZERO)
        assert paid <= one.owed
        assert fee == round_up(paid * fee_rate, one.places)
        repaid_usd += paid * one.price
        for taking in mine:
            stock = held[taking.coin]
            off = ZERO if stock.asset == one.asset else slippage
            brought = taking.sold * stock.price * (1 - off)
            assert brought >= (taking.repaid + taking.fee) * one.price  # what is paid was brought
            assert stock.for_sale
    for asset, stock in held.items():
        assert sum((taking.sold for taking in plan if taking.coin == asset), ZERO) <= stock.amount
    finest = sum((unit(one.places) * one.price for one in debts), ZERO)  # each debt's part may round up
    assert repaid_usd <= most + finest


@st.composite
@exact
def over_the_target(draw: st.DrawFn) -> tuple[list[Due], list[Stock]]:
    """A group of one to three coins that owes up to 97 % of what they count for, in one debt or two."""
    assets = {symbol: (draw(prices), draw(st.integers(0, 8))) for symbol in ("USDT", "USDC", "BTC", "ETH")}
    held = draw(st.lists(st.sampled_from(sorted(assets)), min_size=1, max_size=3, unique=True))
    stocks = [
        Stock(symbol, round_up(draw(st.integers(10**4, 10**8)) / assets[symbol][0], assets[symbol][1]),
              assets[symbol][0], draw(tiers_of_a_coin()), assets[symbol][1], symbol.startswith("USD"), 1)
        for symbol in held
    ]  # fmt: skip
    start = draw(st.decimals(min_value=TARGET, max_value="0.97", places=4, allow_nan=False))
    value = start * secured(stocks, [])
    parts = draw(st.sampled_from([[D(1)], [D("0.4"), D("0.6")]]))
    debts = []
    for number, part in enumerate(parts):
        symbol = draw(st.sampled_from(sorted(assets)))
        amount = round_up(value * part / assets[symbol][0], assets[symbol][1])
        debts.append(Due(number, symbol, amount, assets[symbol][0], assets[symbol][1]))
    return debts, stocks


def _more_to_sell(
    debts: list[Due], stocks: list[Stock], plan: list[Taking], fee_rate: Decimal
) -> list[tuple[int, str]]:
    """Debts still owed, each with a coin whose rest would pay a unit of it and that unit's fee."""
    found = []
    for one in debts:
        owed = one.owed - sum((taking.repaid for taking in plan if taking.debt_id == one.debt_id), ZERO)
        for stock in stocks:
            rest = stock.amount - sum((taking.sold for taking in plan if taking.coin == stock.asset), ZERO)
            brings = round_down(rest * stock.price / one.price, one.places)
            if owed > 0 and brings >= unit(one.places) * (1 + fee_rate):
                found.append((one.debt_id, stock.asset))
    return found


@given(book=over_the_target(), fee_rate=st.decimals(min_value=0, max_value="0.05", places=4, allow_nan=False))
@exact
def test_a_step_reaches_the_target_and_one_unit_less_does_not(
    book: tuple[list[Due], list[Stock]], fee_rate: Decimal
) -> None:
    """R-GEN-74: LTV is at the target after it, and with one unit less of the last coin sold it is above"""
    debts, stocks = book
    target = TARGET
    plan = step(debts, stocks, target=str(target), terms=Terms(fee_rate=fee_rate, slippage=ZERO))
    price = {one.debt_id: one.price for one in debts}
    left = sum((one.owed * one.price for one in debts), ZERO)
    left -= sum((taking.repaid * price[taking.debt_id] for taking in plan), ZERO)
    if left > target * secured(stocks, plan):  # out of reach: then nothing that could be sold is left
        assert not _more_to_sell(debts, stocks, plan, fee_rate)
        return
    if not plan:
        return

    last = plan[-1]
    stock = next(stock for stock in stocks if stock.asset == last.coin)
    less = replace(last, sold=last.sold - unit(stock.places))
    earlier = [taking for taking in plan[:-1] if taking.debt_id == last.debt_id]
    places = next(one.places for one in debts if one.debt_id == last.debt_id)
    based = sum((taking.repaid for taking in earlier), ZERO)
    paid = based + sum((taking.fee for taking in earlier), ZERO)
    brings = round_down(less.sold * stock.price / price[last.debt_id], places)
    most = round_down((brings + paid) / (1 + fee_rate), places) - based  # what it repays, its fee paid
    still = left + (last.repaid - min(last.repaid, most)) * price[last.debt_id]
    assert still > target * secured(stocks, [*plan[:-1], less])


@given(target=st.sampled_from(["0.5", "0.6", "0.72", "0.8"]), start=st.integers(81, 97), share=shares)
def test_steps_end_at_the_target_and_never_beyond_it_by_more_than_a_unit(
    target: str, start: int, share: Decimal
) -> None:
    """R-GEN-73: as many steps as it takes come to the same total as one step"""
    debts, stocks = [owed(f"{start}0000")], [coin("BTC", "25", "40000")]
    once = step(debts, stocks, target=target)
    total = ZERO
    for _ in range(400):
        plan = step(debts, stocks, target=target, share=str(share))
        if not plan:
            break
        for taking in plan:
            total += taking.repaid
            debts = [replace(debts[0], owed=debts[0].owed - taking.repaid)]
            stocks = [replace(stocks[0], amount=stocks[0].amount - taking.sold)]
    assert ltv(debts, stocks, []) <= D(target)
    assert abs(total - once[0].repaid) < D("0.1")  # each step rounds up by less than one unit of BTC
