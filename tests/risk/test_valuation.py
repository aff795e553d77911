"""R-GEN-30 to R-GEN-33, R-GEN-40, R-GEN-41: what counts, and how LTV meets a line."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import example, given

from risk.valuation import (
    Holding,
    Owed,
    Tier,
    Worth,
    check_tiers,
    market_value_needed,
    max_borrow,
    recognised,
    worth,
)
from tests.risk.groups import (
    A_TIERS,
    BTC_TIERS,
    C_TIERS,
    EX03_DEBT,
    INITIAL,
    amounts,
    ex03,
    groups,
    lines,
    tiers_of_a_coin,
)

D = Decimal


@pytest.mark.parametrize(
    ("tiers", "market", "counts"),
    [
        (A_TIERS, "5000000", "4200000"),
        (A_TIERS, "999999.99", "999999.99"),
        (A_TIERS, "1000000", "1000000"),
        (A_TIERS, "1000000.01", "1000000.008"),  # half-open: the first cent above the bound counts 80 %
        (C_TIERS, "600000", "300000"),
        (C_TIERS, "200000", "150000"),
        (C_TIERS, "500000", "300000"),
        (C_TIERS, "900000000", "300000"),
        (C_TIERS, "0", "0"),
        ((), "5000", "0"),
    ],
)
def test_tiers_are_marginal(tiers: tuple[Tier, ...], market: str, counts: str) -> None:
    """R-GEN-30, R-GEN-31, R-GEN-33, EX-03"""
    assert recognised(market_value=D(market), tiers=tiers) == D(counts)


def test_ex03_a_group_of_two_accounts() -> None:
    """R-GEN-30, R-GEN-32, R-GEN-40, EX-03"""
    group = worth(holdings=ex03(), debts=EX03_DEBT)
    assert group == Worth(debt=D("4027616.44"), collateral=D(6_300_000), market=D(7_400_000))
    assert group.ltv == D("0.639304196825")
    levels = [group.collateral * line for line in (INITIAL, D("0.77"), D("0.91"), D("0.95"))]
    assert levels == [4_536_000, 4_851_000, 5_733_000, 5_985_000]
    assert max_borrow(worth=group, initial=INITIAL, price=D(1), places=2) == D("508383.56")


def test_ex03_after_btc_falls_the_group_is_in_call() -> None:
    """R-GEN-40, EX-03"""
    group = worth(holdings=ex03(btc_price="20000"), debts=EX03_DEBT)
    assert group.collateral == 5_100_000
    assert group.ltv == D("0.789728713725")


def test_ex04_splitting_a_coin_over_accounts_gains_nothing() -> None:
    """R-GEN-32, EX-04: 4,200,000 pooled; per account it would be 4,400,000."""
    halves = [Holding("A", D(2_500_000), D(1), A_TIERS, 8)] * 2
    assert worth(holdings=halves, debts=[]).collateral == 4_200_000


@given(market=amounts, tiers=tiers_of_a_coin())
def test_the_market_value_needed_is_the_inverse_of_what_counts(
    market: Decimal, tiers: tuple[Tier, ...]
) -> None:
    """R-GEN-30, R-GEN-45: never too little, and no less would do."""
    counts = recognised(market_value=market, tiers=tiers)
    needed = market_value_needed(recognised_value=counts, tiers=tiers)
    assert needed is not None
    assert needed - market < D("1e-40")
    assert recognised(market_value=needed, tiers=tiers) >= counts
    if needed > D("1e-6"):
        assert recognised(market_value=needed - D("1e-6"), tiers=tiers) < counts


def test_the_market_value_needed_may_be_out_of_reach() -> None:
    """R-GEN-31: nothing above 500,000 of C counts."""
    assert market_value_needed(recognised_value=D(300_000), tiers=C_TIERS) == 500_000
    assert market_value_needed(recognised_value=D("300000.01"), tiers=C_TIERS) is None
    assert market_value_needed(recognised_value=D(1), tiers=()) is None
    assert market_value_needed(recognised_value=D(0), tiers=()) == 0
    assert market_value_needed(recognised_value=D(4_200_000), tiers=A_TIERS) == 5_000_000


def test_the_market_value_needed_is_never_too_little_though_a_third_has_no_end() -> None:
    """R-GEN-30"""
    needed = market_value_needed(recognised_value=D(1), tiers=(Tier(D(0), D("0.3")),))
    assert needed is not None
    assert Fraction(needed) * Fraction(3, 10) >= 1


@given(first=amounts, second=amounts, tiers=tiers_of_a_coin())
def test_more_collateral_never_counts_for_less_nor_for_more_than_itself(
    first: Decimal, second: Decimal, tiers: tuple[Tier, ...]
) -> None:
    """R-GEN-30, R-GEN-32"""
    low, high = sorted((first, second))
    assert recognised(market_value=low, tiers=tiers) <= recognised(market_value=high, tiers=tiers) <= high
    apart = recognised(market_value=low, tiers=tiers) + recognised(market_value=high, tiers=tiers)
    assert recognised(market_value=low + high, tiers=tiers) <= apart  # hence the pooling


@given(group=groups())
def test_how_accounts_share_a_coin_does_not_matter(group: tuple[list[Holding], list[Owed]]) -> None:
    """R-GEN-32"""
    holdings, debts = group
    split = [
        Holding(held.asset, part, held.price, held.tiers, held.places)
        for held in holdings
        for part in (held.amount / 2, held.amount - held.amount / 2)
    ]
    assert worth(holdings=split[::-1], debts=debts) == worth(holdings=holdings, debts=debts)


@pytest.mark.parametrize(
    ("debt", "collateral", "line", "below", "at_most", "at_least", "above"),
    [
        ("77", "100", "0.77", False, True, True, False),
        ("76.99999999", "100", "0.77", True, True, False, False),
        ("77.00000001", "100", "0.77", False, False, True, True),
        ("0", "100", "0.77", True, True, False, False),
        ("0", "0", "0.77", True, True, False, False),  # R-GEN-40: no debt is LTV 0
        ("0.00000001", "0", "0.77", False, False, True, True),  # R-GEN-40: infinite
        # A third is not a finite decimal: 1 / 3 in 28 digits is below 0.333…3334, and so is the truth.
        ("1", "3", "0.333333333333", False, False, True, True),
        ("1", "3", "0.333333333334", True, True, False, False),
        # 0.91 × this collateral has more digits than the default context keeps.
        ("91000000000000000.00000000", "100000000000000000.00000001", "0.91", True, True, False, False),
        ("91000000000000000.00000001", "100000000000000000.00000001", "0.91", False, False, True, True),
    ],
)
def test_lines_are_compared_exactly(
    debt: str, collateral: str, line: str, below: bool, at_most: bool, at_least: bool, above: bool
) -> None:
    """R-GEN-40, R-GEN-41"""
    group = Worth(debt=D(debt), collateral=D(collateral), market=D(collateral))
    at = D(line)
    answers = (group.is_below(at), group.is_at_most(at), group.is_at_least(at), group.is_above(at))
    assert answers == (below, at_most, at_least, above)


def test_ltv_without_debt_and_without_collateral() -> None:
    """R-GEN-40"""
    assert Worth(debt=D(0), collateral=D(0), market=D(0)).ltv == 0
    assert Worth(debt=D(0), collateral=D(9), market=D(9)).ltv == 0
    assert Worth(debt=D(1), collateral=D(0), market=D(9)).ltv is None


@given(debt=amounts, collateral=amounts, line=lines)
def test_the_shown_ltv_never_contradicts_the_exact_comparison(
    debt: Decimal, collateral: Decimal, line: Decimal
) -> None:
    """R-GEN-40, R-GEN-41: rounded down at 12 decimals it reaches a line exactly when LTV does."""
    group = Worth(debt=debt, collateral=collateral, market=collateral)
    assert group.is_at_least(line) == (group.ltv is None or group.ltv >= line)


@given(debt=amounts, collateral=amounts, other_debt=amounts, other_collateral=amounts)
@example(debt=D(0), collateral=D(0), other_debt=D(1), other_collateral=D(1))
@example(debt=D(0), collateral=D(0), other_debt=D(0), other_collateral=D(1))
@example(debt=D(1), collateral=D(0), other_debt=D(2), other_collateral=D(0))
@example(debt=D(1), collateral=D(1), other_debt=D(2), other_collateral=D(0))
def test_safer_means_a_lower_ltv(
    debt: Decimal, collateral: Decimal, other_debt: Decimal, other_collateral: Decimal
) -> None:
    """R-VIP-54"""

    def ratio(debt: Decimal, collateral: Decimal) -> Fraction | float:
        if debt == 0:
            return Fraction(0)
        return Fraction(debt) / Fraction(collateral) if collateral else float("inf")

    one = Worth(debt=debt, collateral=collateral, market=collateral)
    other = Worth(debt=other_debt, collateral=other_collateral, market=other_collateral)
    assert one.is_safer_than(other) == (ratio(debt, collateral) < ratio(other_debt, other_collateral))


@pytest.mark.parametrize(
    ("tiers", "words"),
    [
        ((Tier(D(1), D(1)),), "starts at 1, not at 0"),
        ((Tier(D(0), D(1)), Tier(D(5), D("0.8")), Tier(D(5), D("0.6"))), "from 5 does not start above"),
        ((Tier(D(0), D("1.01")),), "the ratio 1.01"),
        ((Tier(D(0), D("-0.1")),), "the ratio -0.1"),
    ],
)
def test_meaningless_tiers_are_refused(tiers: tuple[Tier, ...], words: str) -> None:
    """R-GEN-31"""
    with pytest.raises(ValueError, match=words):
        check_tiers(tiers)


def test_sound_tiers_pass() -> None:
    """R-GEN-31"""
    for tiers in (BTC_TIERS, A_TIERS, C_TIERS, ()):
        check_tiers(tiers)
