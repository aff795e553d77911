"""R-GEN-51, R-GEN-71, R-GEN-72, R-GEN-74 to R-GEN-77: who is paid, from what, in which order."""

import random
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.money import round_up, unit
from risk.waterfall import (
    CoinFacts,
    DebtFacts,
    Parts,
    Shares,
    allocate,
    amount_to_sell,
    needed_for,
    order_coins,
    order_debts,
    pro_rata,
    proceeds_of,
    split_proceeds,
)

D = Decimal
ZERO = D(0)
FEE = D("0.02")
EX10_OWED = Parts(late_fee=ZERO, interest=D("6904.11"), principal=D(1_000_000))

amounts = st.decimals(min_value=0, max_value=10**12, places=8, allow_nan=False)
prices = st.decimals(min_value=D("0.0001"), max_value=10**6, places=10, allow_nan=False).filter(bool)
fractions = st.decimals(min_value=0, max_value=D("0.5"), places=4, allow_nan=False)
debts = st.builds(Parts, late_fee=amounts, interest=amounts, principal=amounts)


@pytest.mark.parametrize(
    ("amount", "late_fee", "interest", "principal"),
    [
        ("0", "0", "0", "0"),
        ("5", "5", "0", "0"),
        ("10", "10", "0", "0"),
        ("10.00000001", "10", "0.00000001", "0"),
        ("30", "10", "20", "0"),
        ("100", "10", "20", "70"),
        ("1030", "10", "20", "1000"),
        ("5000", "10", "20", "1000"),
    ],
)
def test_a_payment_pays_late_fee_then_interest_then_principal(
    amount: str, late_fee: str, interest: str, principal: str
) -> None:
    """R-GEN-51"""
    owed = Parts(late_fee=D(10), interest=D(20), principal=D(1000))
    assert allocate(amount=D(amount), owed=owed) == Parts(D(late_fee), D(interest), D(principal))


@given(amount=amounts, owed=debts)
def test_a_payment_is_conserved_and_ordered(amount: Decimal, owed: Parts) -> None:
    """R-GEN-51"""
    paid = allocate(amount=amount, owed=owed)
    assert paid.total == min(amount, owed.total)
    assert 0 <= paid.late_fee <= owed.late_fee
    assert 0 <= paid.interest <= owed.interest
    assert 0 <= paid.principal <= owed.principal
    assert paid.interest == 0 or paid.late_fee == owed.late_fee
    assert paid.principal == 0 or paid.interest == owed.interest


def test_a_negative_payment_is_a_bug() -> None:
    """R-GEN-51"""
    with pytest.raises(AssertionError):
        allocate(amount=D(-1), owed=EX10_OWED)


def due(day: int) -> datetime:
    return datetime(2026, 1, day, tzinfo=UTC)


# In the order they must come out.
DEBTS = [
    DebtFacts(debt_id=9, overdue=True, due_at=due(5), annual_rate=D("0.05")),
    DebtFacts(debt_id=8, overdue=True, due_at=due(6), annual_rate=D("0.20")),
    DebtFacts(debt_id=7, overdue=False, due_at=due(4), annual_rate=D("0.01")),
    DebtFacts(debt_id=6, overdue=False, due_at=due(9), annual_rate=D("0.09")),
    DebtFacts(debt_id=2, overdue=False, due_at=due(9), annual_rate=D("0.08")),
    DebtFacts(debt_id=3, overdue=False, due_at=due(9), annual_rate=D("0.08")),
    DebtFacts(debt_id=5, overdue=False, due_at=None, annual_rate=D("0.30")),
    DebtFacts(debt_id=1, overdue=False, due_at=None, annual_rate=D("0.10")),
    DebtFacts(debt_id=4, overdue=False, due_at=None, annual_rate=D("0.10")),
]


@given(seed=st.integers())
def test_debts_come_overdue_then_by_expiry_rate_and_id(seed: int) -> None:
    """R-GEN-71"""
    shuffled = DEBTS.copy()
    random.Random(seed).shuffle(shuffled)
    assert order_debts(shuffled) == DEBTS


COINS = [
    CoinFacts(asset="USDT", stable=True, rank=99, value=D(1)),  # what is owed: netted, not sold
    CoinFacts(asset="USDC", stable=True, rank=1, value=D(1)),
    CoinFacts(asset="DAI", stable=True, rank=2, value=D(900)),
    CoinFacts(asset="BTC", stable=False, rank=1, value=D(5)),
    CoinFacts(asset="ETH", stable=False, rank=2, value=D(800)),
    CoinFacts(asset="ADA", stable=False, rank=2, value=D(700)),
    CoinFacts(asset="SOL", stable=False, rank=2, value=D(700)),
]


@given(seed=st.integers())
def test_coins_come_own_then_stable_then_by_rank_value_and_symbol(seed: int) -> None:
    """R-GEN-72"""
    shuffled = COINS.copy()
    random.Random(seed).shuffle(shuffled)
    assert order_coins(shuffled, debt_asset="USDT") == COINS


def test_the_coin_owed_comes_first_though_it_is_not_stable() -> None:
    """R-GEN-72"""
    assert [coin.asset for coin in order_coins(COINS, debt_asset="SOL")][:2] == ["SOL", "USDC"]


@pytest.mark.parametrize(
    ("amount", "balances", "places", "taken"),
    [
        ("3", [(1, "1"), (2, "2"), (3, "3")], 8, [(1, "0.5"), (2, "1"), (3, "1.5")]),
        (
            "1",
            [(30, "1"), (10, "1"), (20, "1")],
            8,
            [(10, "0.33333334"), (20, "0.33333333"), (30, "0.33333333")],
        ),
        (
            "2",
            [(1, "1"), (2, "1"), (3, "1")],
            0,
            [(1, "1"), (2, "1")],
        ),  # the lowest uid is empty, then the next
        ("6", [(1, "1"), (2, "2"), (3, "3")], 8, [(1, "1"), (2, "2"), (3, "3")]),
        ("1", [(1, "0"), (2, "5")], 8, [(2, "1")]),
        ("0", [(1, "1")], 8, []),
        ("0", [], 8, []),
    ],
)
def test_a_coin_is_taken_pro_rata_and_the_rest_from_the_lowest_uid(
    amount: str, balances: list[tuple[int, str]], places: int, taken: list[tuple[int, str]]
) -> None:
    """R-GEN-72"""
    held = [(uid, D(balance)) for uid, balance in balances]
    assert pro_rata(amount=D(amount), balances=held, places=places) == [(uid, D(part)) for uid, part in taken]


@given(data=st.data(), places=st.integers(0, 8))
def test_pro_rata_takes_exactly_the_amount_and_never_more_than_there_is(
    data: st.DataObject, places: int
) -> None:
    """R-GEN-72"""
    units = data.draw(st.dictionaries(st.integers(1, 10**6), st.integers(0, 10**14), min_size=1, max_size=8))
    balances = {uid: count * unit(places) for uid, count in units.items()}
    amount = data.draw(st.integers(0, sum(units.values()))) * unit(places)
    taken = pro_rata(amount=amount, balances=list(balances.items()), places=places)
    held = sum(balances.values(), ZERO)
    assert sum((part for _, part in taken), ZERO) == amount
    assert [uid for uid, _ in taken] == sorted({uid for uid, _ in taken})
    for uid, part in taken:
        assert 0 < part <= balances[uid]
        assert part == round(part, places)
    lowest = min(uid for uid in balances)
    for uid, part in taken:  # Only the remainder, less than a unit per account, departs from the proportion.
        assert part * held >= balances[uid] * amount - unit(places) * held
        if uid != lowest and dict(taken).get(lowest, ZERO) < balances[lowest]:
            assert part * held <= balances[uid] * amount


def test_more_than_there_is_cannot_be_taken() -> None:
    """R-GEN-72"""
    with pytest.raises(AssertionError):
        pro_rata(amount=D("1.00000001"), balances=[(1, D(1))], places=8)


@pytest.mark.parametrize(
    ("slippage", "sold", "surplus"),
    [("0", "23.34186801", "1.65813199"), ("0.005", "23.45916383", "1.54083617")],
)
def test_ex10_a_full_liquidation_with_surplus(slippage: str, sold: str, surplus: str) -> None:
    """R-GEN-74, R-GEN-75, R-GEN-77, EX-10: 25 BTC at 44,000 for 1,006,904.11 and 2 %."""
    needed = needed_for(owed_total=EX10_OWED.total, fee_rate=FEE, places=8)
    assert needed == D("1027042.1922")
    to_sell = amount_to_sell(
        needed=needed,
        debt_price=D(1),
        coin_price=D(44_000),
        slippage=D(slippage),
        coin_places=8,
        debt_places=8,
    )
    assert to_sell == D(sold)
    assert D(25) - to_sell == D(surplus)
    proceeds = proceeds_of(
        sold=to_sell, coin_price=D(44_000), debt_price=D(1), slippage=D(slippage), debt_places=8
    )
    shares = split_proceeds(proceeds=proceeds, owed=EX10_OWED, fee_rate=FEE, places=8)
    assert (shares.parts, shares.fee, shares.shortfall) == (EX10_OWED, D("20138.0822"), 0)
    assert 0 <= shares.surplus < D("44000") * unit(8)  # less than one unit of BTC was sold too much


@pytest.mark.parametrize(("ltv", "cushion"), [("91", "7.18"), ("95", "3.10")])
def test_ex12_the_room_for_the_fee(ltv: str, cushion: str) -> None:
    """R-GEN-43, EX-12: what a sale at this LTV leaves of 100 of collateral."""
    owed = Parts(late_fee=ZERO, interest=ZERO, principal=D(ltv))
    shares = split_proceeds(proceeds=D(100), owed=owed, fee_rate=FEE, places=8)
    assert (shares.surplus, shares.shortfall) == (D(cushion), 0)


def test_ex12_the_room_ends_at_98_04_percent() -> None:
    """EX-12: 1 / 1.02; above it the fee is cut, not the debt (R-GEN-76)."""
    owed = Parts(late_fee=ZERO, interest=ZERO, principal=D("98.04"))
    shares = split_proceeds(proceeds=D(100), owed=owed, fee_rate=FEE, places=8)
    assert (shares.fee, shares.surplus, shares.shortfall) == (D("1.96"), 0, 0)  # 2 % would be 1.9608


def test_ex13_a_shortfall_pays_no_fee() -> None:
    """R-GEN-76, R-GEN-78, EX-13: 25 BTC at 40,000; 6,904.11 stay owed."""
    proceeds = proceeds_of(sold=D(25), coin_price=D(40_000), debt_price=D(1), slippage=ZERO, debt_places=8)
    assert split_proceeds(proceeds=proceeds, owed=EX10_OWED, fee_rate=FEE, places=8) == Shares(
        parts=Parts(late_fee=ZERO, interest=D("6904.11"), principal=D("993095.89")),
        fee=ZERO,
        surplus=ZERO,
        shortfall=D("6904.11"),
    )


def test_the_fee_rounds_up_and_is_of_the_debt_repaid() -> None:
    """R-GEN-02, R-GEN-75"""
    owed = Parts(late_fee=D("0.01"), interest=D("0.01"), principal=D("0.01"))
    shares = split_proceeds(proceeds=D(1), owed=owed, fee_rate=FEE, places=2)
    assert (shares.fee, shares.surplus) == (D("0.01"), D("0.96"))  # 2 % of 0.03, at cents


def test_a_fee_taken_beyond_what_was_due_is_a_bug() -> None:
    """R-GEN-75"""
    with pytest.raises(AssertionError):
        split_proceeds(
            proceeds=D(10), owed=Parts(ZERO, ZERO, D(5)), fee_rate=FEE, places=8, fee_taken=D("0.11")
        )


@given(proceeds=amounts, owed=debts, fee_rate=fractions, places=st.just(8))
def test_a_sale_is_conserved_and_the_fee_ranks_last(
    proceeds: Decimal, owed: Parts, fee_rate: Decimal, places: int
) -> None:
    """R-GEN-05, R-GEN-76"""
    shares = split_proceeds(proceeds=proceeds, owed=owed, fee_rate=fee_rate, places=places)
    assert shares.parts.total + shares.fee + shares.surplus == proceeds
    assert shares.parts.total + shares.shortfall == owed.total
    assert min(shares.fee, shares.surplus, shares.shortfall) >= 0
    assert shares.shortfall == 0 or shares.fee == shares.surplus == 0
    full_fee = round_up(shares.parts.total * fee_rate, places)
    assert shares.fee <= full_fee
    assert shares.surplus == 0 or shares.fee == full_fee


@given(sales=st.lists(amounts, min_size=1, max_size=4), owed=debts, fee_rate=fractions)
def test_several_sales_pay_what_one_sale_of_their_sum_pays(
    sales: list[Decimal], owed: Parts, fee_rate: Decimal
) -> None:
    """R-GEN-75, R-GEN-76: the fee of early sales is made up by later ones."""
    once = split_proceeds(proceeds=sum(sales, ZERO), owed=owed, fee_rate=fee_rate, places=8)
    left, repaid, fee, surplus = owed, ZERO, ZERO, ZERO
    for proceeds in sales:
        shares = split_proceeds(
            proceeds=proceeds, owed=left, fee_rate=fee_rate, places=8, fee_base_paid=repaid, fee_taken=fee
        )
        paid = shares.parts
        left = Parts(
            left.late_fee - paid.late_fee, left.interest - paid.interest, left.principal - paid.principal
        )
        repaid, fee, surplus = repaid + paid.total, fee + shares.fee, surplus + shares.surplus
    assert (repaid, fee, surplus, left.total) == (once.parts.total, once.fee, once.surplus, once.shortfall)


@given(
    needed=amounts,
    debt_price=prices,
    coin_price=prices,
    slippage=fractions,
    coin_places=st.integers(0, 8),
    debt_places=st.integers(0, 8),
)
def test_the_amount_to_sell_is_enough_and_one_unit_less_is_not(
    needed: Decimal,
    debt_price: Decimal,
    coin_price: Decimal,
    slippage: Decimal,
    coin_places: int,
    debt_places: int,
) -> None:
    """R-GEN-74"""
    to_sell = amount_to_sell(
        needed=needed,
        debt_price=debt_price,
        coin_price=coin_price,
        slippage=slippage,
        coin_places=coin_places,
        debt_places=debt_places,
    )

    def brings(sold: Decimal) -> Decimal:
        return proceeds_of(
            sold=sold,
            coin_price=coin_price,
            debt_price=debt_price,
            slippage=slippage,
            debt_places=debt_places,
        )

    assert to_sell.as_tuple().exponent == -coin_places
    assert brings(to_sell) >= needed
    assert to_sell == 0 or brings(to_sell - unit(coin_places)) < needed


@given(owed_total=amounts, fee_rate=fractions)
def test_what_is_needed_pays_the_debt_and_the_whole_fee(owed_total: Decimal, fee_rate: Decimal) -> None:
    """R-GEN-75"""
    owed = Parts(late_fee=ZERO, interest=ZERO, principal=owed_total)
    needed = needed_for(owed_total=owed_total, fee_rate=fee_rate, places=8)
    shares = split_proceeds(proceeds=needed, owed=owed, fee_rate=fee_rate, places=8)
    assert (shares.shortfall, shares.surplus) == (0, 0)
    assert shares.fee == needed - owed_total
