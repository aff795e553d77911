"""R-GEN-45, R-VIP-53, EX-09: how much may be borrowed or withdrawn, and which price reaches a line."""

from decimal import Decimal, localcontext

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from risk.valuation import (
    Holding,
    Owed,
    Tier,
    Worth,
    fall_to,
    line_price,
    max_borrow,
    max_withdraw,
    worth,
)
from tests.risk.groups import A_TIERS, EX03_DEBT, FULL, INITIAL, ex03, groups, lines, prices

D = Decimal


def test_ex03_what_can_be_withdrawn() -> None:
    """R-GEN-45, EX-03: 706,088.27 recognised is 882,610.34 of A (in its 80 % slice) or 11.76813796 BTC."""
    cents = ex03(places=2)
    assert max_withdraw(holdings=cents, debts=EX03_DEBT, asset="A", initial=INITIAL) == D("882610.34")
    assert max_withdraw(holdings=ex03(), debts=EX03_DEBT, asset="A", initial=INITIAL) == D("882610.34722222")
    assert max_withdraw(holdings=ex03(), debts=EX03_DEBT, asset="BTC", initial=INITIAL) == D("11.76813796")


def test_ex03_the_slice_that_counts_nothing_leaves_first() -> None:
    """R-GEN-45: of C 100,000 count nothing, then 300,000 count half, then the rest three quarters."""
    # 706,088.2777… recognised is more than the 300,000 that all of C counts for.
    assert max_withdraw(holdings=ex03(), debts=EX03_DEBT, asset="C", initial=INITIAL) == 600_000
    # 100,000 of room: the free slice and 200,000 at one half; the last unit would land on the line.
    debts = [Owed("USDT", D("0.72") * 6_200_000, D(1))]
    assert max_withdraw(holdings=ex03(), debts=debts, asset="C", initial=INITIAL) == D("299999.99999999")


def test_ex05_the_collateral_of_a_first_loan() -> None:
    """EX-05: 500,000 / 0.72 = 694,444.44…"""

    def borrowable(collateral: str) -> Decimal:
        group = Worth(debt=D(0), collateral=D(collateral), market=D(collateral))
        return max_borrow(worth=group, initial=INITIAL, price=D(1), places=8)

    assert borrowable("694444.44") == D("499999.9968")
    assert borrowable("694444.45") == D("500000.004")
    assert borrowable("695000") == 500_400


@pytest.mark.parametrize(
    ("line", "price"),
    [("0.72", "55555.56"), ("0.77", "51948.05"), ("0.91", "43956.04"), ("0.95", "42105.26")],
)
def test_ex09_the_price_at_which_a_line_is_reached(line: str, price: str) -> None:
    """EX-09: 1,000,000 owed, 25 BTC at 100 %, whatever BTC costs now."""
    for now in ("60000", "40000"):
        holdings = [Holding("BTC", D(10), D(now), FULL, 8), Holding("BTC", D(15), D(now), FULL, 8)]
        found = line_price(
            holdings=holdings, debts=[Owed("USDT", D(1_000_000), D(1))], asset="BTC", line=D(line)
        )
        assert found is not None
        assert round(found, 2) == D(price)


def test_the_line_price_of_a_coin_that_is_only_owed_is_above() -> None:
    """EX-09: 10 ETH owed against 60,000 of collateral reach 91 % at 5,460 each."""
    found = line_price(
        holdings=[Holding("BTC", D(1), D(60_000), FULL, 8)],
        debts=[Owed("ETH", D(4), D(3_000)), Owed("ETH", D(6), D(3_000))],
        asset="ETH",
        line=D("0.91"),
    )
    assert found == 5_460


def test_the_line_price_of_a_coin_on_both_sides() -> None:
    """10 BTC secure 400,000 USD and 2 BTC: 400,000 + 2p = 0.9 × 10p at 400,000 / 7."""
    holdings = [Holding("BTC", D(10), D(100_000), FULL, 8)]
    debts = [Owed("USDT", D(400_000), D(1)), Owed("BTC", D(2), D(100_000))]
    found = line_price(holdings=holdings, debts=debts, asset="BTC", line=D("0.9"))
    assert found is not None
    assert round(found, 10) == D("57142.8571428571")


def test_a_coin_on_both_sides_that_is_mostly_owed_is_dangerous_when_it_rises() -> None:
    """2 BTC and 100,000 secure 3 BTC: 3p = 0.8 × (2p + 100,000) at 80,000 / 1.4."""
    holdings = [Holding("BTC", D(2), D(30_000), FULL, 8), Holding("USDC", D(100_000), D(1), FULL, 8)]
    found = line_price(holdings=holdings, debts=[Owed("BTC", D(3), D(30_000))], asset="BTC", line=D("0.8"))
    assert found is not None
    assert round(found, 10) == D("57142.8571428571")


def both_sides(*, other_debt: str, other_collateral: str = "0", tiers: tuple[Tier, ...]) -> Decimal | None:
    """10 A held, 5 A owed: the price of A at which LTV reaches 80 %."""
    holdings = [Holding("A", D(10), D(1), tiers, 8), Holding("USDC", D(other_collateral), D(1), FULL, 8)]
    debts = [Owed("A", D(5), D(1)), Owed("USDT", D(other_debt), D(1))]
    return line_price(holdings=holdings, debts=debts, asset="A", line=D("0.8"))


CAPPED = (Tier(D(0), D(1)), Tier(D(1_000_000), D(0)))


def test_of_two_line_prices_the_falling_one_is_told() -> None:
    """A falls to 30,000: 5 × 30,000 + 90,000 = 0.8 × 300,000. It could also rise to 142,000."""
    assert both_sides(other_debt="90000", tiers=CAPPED) == 30_000


def test_a_line_that_is_touched_but_not_crossed_has_no_price() -> None:
    """300,000 owed besides: at its best, 100,000 a coin, LTV is exactly 80 %."""
    assert both_sides(other_debt="300000", tiers=CAPPED) is None


def test_a_line_price_on_the_corner_of_a_tier_is_found() -> None:
    """800,000 owed against a coin that counts 80 % above 1 m; and, rising, where a coin stops counting."""
    holdings = [Holding("A", D(10), D(1), A_TIERS, 8)]
    debts = [Owed("USDT", D(800_000), D(1))]
    assert line_price(holdings=holdings, debts=debts, asset="A", line=D("0.8")) == 100_000
    slices = (Tier(D(0), D(1)), Tier(D(1_000_000), D("0.5")), Tier(D(5_000_000), D(0)))
    assert both_sides(other_debt="0", other_collateral="125000", tiers=slices) == 500_000


def test_the_line_price_follows_the_tiers() -> None:
    """100 coins, 80 % above 1 m: 3,400,000 owed reach 85 % when they count for 4 m, at 4.75 m."""
    holdings = [Holding("A", D(100), D(60_000), A_TIERS, 8)]
    found = line_price(holdings=holdings, debts=[Owed("USDT", D(3_400_000), D(1))], asset="A", line=D("0.85"))
    assert found == 47_500


@pytest.mark.parametrize(
    ("holdings", "debts"),
    [
        ([Holding("BTC", D(1), D(60_000), FULL, 8)], []),  # nothing owed
        # Other collateral alone is enough, even with BTC at nothing:
        (
            [Holding("BTC", D(1), D(60_000), FULL, 8), Holding("USDC", D(10_000), D(1), FULL, 8)],
            [Owed("USDT", D(5_000), D(1))],
        ),
        # BTC counts nothing:
        ([Holding("BTC", D(1), D(60_000), (), 8)], [Owed("USDT", D(5_000), D(1))]),
        # Neither held nor owed:
        ([Holding("ETH", D(1), D(3_000), FULL, 8)], [Owed("USDT", D(1_000), D(1))]),
        # Only owed, and the line is passed at any price:
        (
            [Holding("ETH", D(1), D(3_000), FULL, 8)],
            [Owed("USDT", D(9_000), D(1)), Owed("BTC", D(1), D(60_000))],
        ),
    ],
)
def test_no_price_crosses_the_line(holdings: list[Holding], debts: list[Owed]) -> None:
    assert line_price(holdings=holdings, debts=debts, asset="BTC", line=D("0.91")) is None


@given(group=groups(), line=lines)
def test_ltv_meets_the_line_at_the_line_price(group: tuple[list[Holding], list[Owed]], line: Decimal) -> None:
    """EX-09: a millionth to one side of it the line is not reached, to the other it is."""
    holdings, debts = group
    found = line_price(holdings=holdings, debts=debts, asset="A", line=line)
    if found is None:
        return

    def is_reached(price: Decimal) -> bool:
        moved = [
            Holding(held.asset, held.amount, price, held.tiers, 8) if held.asset == "A" else held
            for held in holdings
        ]
        owed = [Owed("A", owed.amount, price) if owed.asset == "A" else owed for owed in debts]
        return worth(holdings=moved, debts=owed).is_at_least(line)

    tiny = D("0.000000000000000000001")
    assert is_reached(found * (1 - tiny)) != is_reached(found * (1 + tiny))


def test_a_common_fall_of_all_collateral() -> None:
    """100,000 and 200,000 at 100 % secure 136,500: 91 % after a fall by one half."""
    holdings = [Holding("BTC", D(2), D(50_000), FULL, 8), Holding("ETH", D(100), D(2_000), FULL, 8)]
    debts = [Owed("USDT", D(136_500), D(1))]
    assert fall_to(holdings=holdings, debts=debts, line=D("0.91")) == D("0.5")
    assert fall_to(holdings=holdings, debts=[], line=D("0.91")) is None
    assert fall_to(holdings=holdings, debts=[Owed("USDT", D(273_000), D(1))], line=D("0.91")) == 0
    assert fall_to(holdings=[], debts=debts, line=D("0.91")) == 0


def test_a_common_fall_follows_the_tiers() -> None:
    """EX-03's group 20 % lower: BTC 1,440,000; A 3,400,000 of 4,000,000; C 290,000 of 480,000."""
    debts = [Owed("USDT", D(5_130_000) * D("0.91"), D(1))]
    found = fall_to(holdings=ex03(), debts=debts, line=D("0.91"))
    assert found is not None
    assert round(found, 25) == D("0.2")


@given(group=groups(), line=lines)
def test_ltv_meets_the_line_after_the_common_fall(
    group: tuple[list[Holding], list[Owed]], line: Decimal
) -> None:
    holdings, debts = group
    now = worth(holdings=holdings, debts=debts)
    fall = fall_to(holdings=holdings, debts=debts, line=line)
    assert (fall is None) == (now.debt == 0)
    assume(fall)
    assert fall is not None

    def is_reached(fallen: Decimal) -> bool:
        with localcontext(prec=60):
            moved = [Holding(h.asset, h.amount, h.price * (1 - fallen), h.tiers, 8) for h in holdings]
        return worth(holdings=moved, debts=debts).is_at_least(line)

    assert 0 < fall <= 1
    with localcontext(prec=60):
        assert not is_reached(fall - D("1e-30"))
        assert is_reached(min(fall + D("1e-30"), D(1)))


@given(group=groups(), price=prices, initial=lines, places=st.integers(0, 8))
def test_max_borrow_is_accepted_and_one_unit_more_is_not(
    group: tuple[list[Holding], list[Owed]], price: Decimal, initial: Decimal, places: int
) -> None:
    """R-GEN-45: LTV stays at or below initial."""
    holdings, debts = group
    now = worth(holdings=holdings, debts=debts)
    most = max_borrow(worth=now, initial=initial, price=price, places=places)

    def after(borrowed: Decimal) -> Worth:
        return worth(holdings=holdings, debts=[*debts, Owed("NEW", borrowed, price)])

    assert most >= 0
    assert most.as_tuple().exponent == -places
    assert most == 0 or after(most).is_at_most(initial)
    assert after(most + D(1).scaleb(-places)).is_above(initial)


@given(group=groups(), initial=lines)
def test_max_withdraw_is_accepted_and_one_unit_more_is_not(
    group: tuple[list[Holding], list[Owed]], initial: Decimal
) -> None:
    """R-GEN-45, R-VIP-53: LTV stays strictly below initial."""
    holdings, debts = group
    asset = holdings[0].asset
    held = sum(holding.amount for holding in holdings if holding.asset == asset)
    most = max_withdraw(holdings=holdings, debts=debts, asset=asset, initial=initial)

    def after(withdrawn: Decimal) -> Worth:
        first = holdings[0]
        left = Holding(asset, held - withdrawn, first.price, first.tiers, 8)
        return worth(holdings=[left, *(h for h in holdings if h.asset != asset)], debts=debts)

    assert 0 <= most <= held
    assert after(D(0)).is_at_least(initial) or after(most).is_below(initial)
    assert most == held or after(most + D("0.00000001")).is_at_least(initial)


def test_max_withdraw_stops_one_unit_before_the_line() -> None:
    """R-GEN-45: 720 owed, initial 72 %: exactly 1,000 left would be on the line."""
    holdings = [Holding("USDC", D(2_000), D(1), FULL, 6)]
    debts = [Owed("USDT", D(720), D(1))]
    assert max_withdraw(holdings=holdings, debts=debts, asset="USDC", initial=INITIAL) == D("999.999999")


@pytest.mark.parametrize(
    ("debt", "asset", "most"),
    [
        ("0", "USDC", "2000"),  # nothing owed: everything
        ("1440", "USDC", "0"),  # on the line already
        ("1440", "JUNK", "0"),  # R-VIP-53: not even a coin that counts nothing
        ("1439.99", "JUNK", "7"),
        ("100", "BTC", "0"),  # not held
    ],
)
def test_max_withdraw_at_its_ends(debt: str, asset: str, most: str) -> None:
    """R-GEN-45, R-VIP-53"""
    holdings = [Holding("USDC", D(2_000), D(1), FULL, 6), Holding("JUNK", D(7), D(1), (), 6)]
    debts = [Owed("USDT", D(debt), D(1))]
    assert max_withdraw(holdings=holdings, debts=debts, asset=asset, initial=INITIAL) == D(most)
