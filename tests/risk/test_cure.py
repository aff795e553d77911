"""R-GEN-65: the way back to a line, as named in notices (EX-03), and never too small."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.money import round_up, unit
from risk.cure import add_to, repay_amount, repay_to
from risk.valuation import Worth

D = Decimal
EX03_IN_CALL = Worth(debt=D("4027616.44"), collateral=D(5_100_000), market=D(6_200_000))

amounts = st.decimals(min_value=0, max_value=10**9, places=8, allow_nan=False)
prices = st.decimals(min_value=D("0.0001"), max_value=10**6, places=10, allow_nan=False).filter(bool)
lines = st.decimals(min_value=D("0.01"), max_value=D("0.98"), places=4, allow_nan=False)
worths = st.builds(Worth, debt=amounts, collateral=amounts, market=amounts)


@pytest.mark.parametrize(
    ("line", "add", "repay"),
    [("0.77", "130670.71", "100616.44"), ("0.72", "493911.73", "355616.44")],
)
def test_ex03_what_brings_the_group_back(line: str, add: str, repay: str) -> None:
    """R-GEN-65, EX-03: in cents, rounded up."""
    assert round_up(add_to(worth=EX03_IN_CALL, line=D(line)), 2) == D(add)
    assert repay_to(worth=EX03_IN_CALL, line=D(line)) == D(repay)


def test_a_group_at_or_below_the_line_needs_nothing() -> None:
    """R-GEN-65"""
    for debt in ("0", "76.99", "77"):
        group = Worth(debt=D(debt), collateral=D(100), market=D(100))
        assert add_to(worth=group, line=D("0.77")) == 0
        assert repay_to(worth=group, line=D("0.77")) == 0


def test_the_value_to_add_is_never_too_little_though_a_third_has_no_end() -> None:
    """R-GEN-65"""
    group = Worth(debt=D(1), collateral=D(0), market=D(0))
    assert Fraction(add_to(worth=group, line=D("0.3"))) * Fraction(3, 10) >= 1


@pytest.mark.parametrize(
    ("debt", "collateral", "price", "places", "strictly_below", "amount"),
    [
        ("80", "100", "1", 8, False, "3"),
        ("80", "100", "1", 8, True, "3.00000001"),  # 3 lands on the line: one unit more
        ("80", "100", "1", 0, True, "4"),
        ("80.5", "100", "1", 0, True, "4"),  # 3.5 rounded up is below already
        ("80", "100", "7", 2, False, "0.43"),
        ("77", "100", "1", 2, False, "0"),
        ("77", "100", "1", 2, True, "0.01"),
        ("76.99", "100", "1", 2, True, "0"),
        ("50", "0", "1", 2, True, "50"),  # without collateral everything must be repaid, and no more
        ("0", "0", "1", 2, True, "0"),
    ],
)
def test_the_amount_to_repay(
    debt: str, collateral: str, price: str, places: int, strictly_below: bool, amount: str
) -> None:
    """R-GEN-41, R-GEN-65"""
    group = Worth(debt=D(debt), collateral=D(collateral), market=D(collateral))
    found = repay_amount(
        worth=group, line=D("0.77"), price=D(price), places=places, strictly_below=strictly_below
    )
    assert found == D(amount)


@given(worth=worths, line=lines, price=prices, places=st.integers(0, 8), strictly_below=st.booleans())
def test_the_amount_to_repay_is_enough_and_one_unit_less_is_not(
    worth: Worth, line: Decimal, price: Decimal, places: int, strictly_below: bool
) -> None:
    """R-GEN-65"""

    def is_cured(repaid: Decimal) -> bool:
        debt = max(worth.debt - repaid * price, D(0))
        after = Worth(debt=debt, collateral=worth.collateral, market=worth.market)
        return after.is_below(line) if strictly_below else after.is_at_most(line)

    amount = repay_amount(worth=worth, line=line, price=price, places=places, strictly_below=strictly_below)
    assert is_cured(amount)
    assert amount == 0 or not is_cured(amount - unit(places))


@given(worth=worths, line=lines)
def test_repaying_or_adding_the_named_value_reaches_the_line(worth: Worth, line: Decimal) -> None:
    """R-GEN-65: and a cent less does not."""
    repay, add = repay_to(worth=worth, line=line), round_up(add_to(worth=worth, line=line), 2)

    def after(repaid: Decimal, added: Decimal) -> Worth:
        return Worth(debt=worth.debt - repaid, collateral=worth.collateral + added, market=worth.market)

    assert after(repay, D(0)).is_at_most(line)
    assert after(D(0), add).is_at_most(line)
    assert repay == 0 or after(repay - D("0.0000000001"), D(0)).is_above(line)
    assert add == 0 or after(D(0), add - D("0.01")).is_above(line)
