"""R-GEN-01, R-GEN-02: rounding has a direction, nothing is rounded on the way, one grammar reads amounts."""

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.errors import BadAmount, Refused
from accounts.money import (
    MAX_AMOUNT,
    ZERO,
    divide_down,
    divide_up,
    exact,
    parse_amount,
    round_down,
    round_up,
    unit,
)

amounts = st.decimals(min_value=0, max_value=10**18, places=8, allow_nan=False)
places_of_an_asset = st.integers(min_value=0, max_value=8)


@pytest.mark.parametrize(
    ("value", "places", "up", "down"),
    [
        ("7.0944764221", 8, "7.09447643", "7.09447642"),  # R-GEN-02's published sample
        ("7.09447642", 8, "7.09447642", "7.09447642"),
        ("0", 8, "0", "0"),
        ("0.000000001", 8, "0.00000001", "0"),
        ("1.01", 0, "2", "1"),
        ("999999999999999999.999999991", 8, "1000000000000000000", "999999999999999999.99999999"),
    ],
)
def test_round_up_and_round_down(value: str, places: int, up: str, down: str) -> None:
    """R-GEN-02"""
    assert round_up(Decimal(value), places) == Decimal(up)
    assert round_down(Decimal(value), places) == Decimal(down)


@given(
    value=st.decimals(min_value=0, max_value=10**18, places=20, allow_nan=False), places=places_of_an_asset
)
def test_rounding_is_the_nearest_amount_on_its_side(value: Decimal, places: int) -> None:
    """R-GEN-02"""
    up, down = round_up(value, places), round_down(value, places)
    exactly = Fraction(value)
    assert Fraction(down) <= exactly <= Fraction(up)
    assert Fraction(up) - exactly < Fraction(unit(places)) > exactly - Fraction(down)
    assert up.as_tuple().exponent == down.as_tuple().exponent == -places


@given(
    dividend=amounts,
    divisor=st.decimals(min_value=Decimal("0.000000000001"), max_value=10**9, places=12, allow_nan=False),
    places=places_of_an_asset,
)
def test_division_equals_rational_arithmetic(dividend: Decimal, divisor: Decimal, places: int) -> None:
    """R-GEN-02: no quotient is rounded before the rounding that is asked for."""
    scale = 10**places
    quotient = Fraction(dividend) / Fraction(divisor) * scale
    assert Fraction(divide_up(dividend, divisor, places)) * scale == math.ceil(quotient)
    assert Fraction(divide_down(dividend, divisor, places)) * scale == math.floor(quotient)


def test_a_quotient_a_hair_above_the_grid_rounds_up() -> None:
    """R-GEN-02: (3 + 1e-20) / 3 at 0 places is 2, though 28 digits of context would not always see it."""
    assert divide_up(Decimal("3.00000000000000000001"), Decimal(3), 0) == 2
    assert divide_up(Decimal(3), Decimal(3), 0) == 1
    assert divide_down(Decimal("2.99999999999999999999"), Decimal(3), 0) == 0


def test_exact_does_not_care_about_its_callers_context() -> None:
    """R-GEN-01: the largest amount squared has 52 digits."""

    @exact
    def square(value: Decimal) -> Decimal:
        return value * value

    largest = MAX_AMOUNT - unit(8)
    with localcontext(prec=5):
        squared = square(largest)
    assert Fraction(squared) == Fraction(largest) ** 2


@pytest.mark.parametrize(
    ("text", "places", "amount"),
    [
        ("1", 8, "1"),
        ("0.00000001", 8, "0.00000001"),
        ("1250.50", 2, "1250.50"),
        ("1250", 0, "1250"),
        ("99999999999999999.99999999", 8, "99999999999999999.99999999"),
    ],
)
def test_an_amount_in_the_grammar_is_read_exactly(text: str, places: int, amount: str) -> None:
    """R-GEN-01"""
    assert parse_amount(text, places=places) == Decimal(amount)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ".", "-", "+", ".5", "1.", "0001", "01", "00", "0.", "--1", "+1", "-1", "-0", "1-"),
        *(
            "1e17",
            "1e-18",
            "1E5",
            "1e999",
            "1e-999",
            "1e1000000",
            "NaN",
            "sNaN",
            "Infinity",
            "-Infinity",
            "inf",
        ),
        *(
            "null",
            "true",
            "[]",
            "{}",
            "0x10",
            "1_000",
            "1,000",
            "1,5",
            " 1",
            "1 ",
            "1\n",
            "\n1",
            "1\x00",
            "1\r\n",
        ),
        *("１２３", "٣", "१", "²", "1\u00a0000", "\u200f1", "1\u200b", "١٢٣٫٥", "1．5", "½"),
        *("1.123456789", "1.1234567890123456789", "1" * 18, "9" * 5000, "1." + "0" * 5000, "1.2.3", "1..2"),
        *("'; DROP TABLE x", "<b>1</b>", "=1+1", "1$", "$1", "\ud800", "😀"),
    ],
)
def test_what_is_not_in_the_grammar_is_refused_without_repeating_it(text: str) -> None:
    """R-GEN-01: the message is one short line in plain words."""
    with pytest.raises(BadAmount) as refusal:
        parse_amount(text, places=8)
    assert str(refusal.value) == (
        "Write the amount in plain digits, at most 17 before the point and 8 after it, such as 1250.50."
    )


@pytest.mark.parametrize("text", ["0", "0.0", "0.00000000"])
def test_zero_is_no_amount(text: str) -> None:
    with pytest.raises(BadAmount, match="more than zero"):
        parse_amount(text, places=8)


@pytest.mark.parametrize(("text", "places"), [("1.001", 2), ("1.10", 1), ("0.000", 2), ("1.0", 0)])
def test_more_decimals_than_the_asset_has_are_refused_not_rounded(text: str, places: int) -> None:
    """R-GEN-01"""
    with pytest.raises(BadAmount, match=f"at most {places} decimals"):
        parse_amount(text, places=places)


@pytest.mark.parametrize("value", [None, True, 1, 1.5, Decimal(1), b"1", ["1"], {"1": "1"}, float("nan")])
def test_only_text_is_an_amount(value: object) -> None:
    with pytest.raises(BadAmount, match="as text"):
        parse_amount(value, places=8)


@given(text=st.text(max_size=30))
def test_whatever_is_typed_is_an_exact_amount_or_refused(text: str) -> None:
    """R-GEN-01"""
    try:
        amount = parse_amount(text, places=8)
    except BadAmount:
        return
    assert ZERO < amount < MAX_AMOUNT
    assert text.isascii()
    assert format(amount, "f") == text


@given(amount=amounts.filter(lambda amount: 0 < amount < 10**17))
def test_every_amount_survives_being_written_and_read(amount: Decimal) -> None:
    """R-GEN-01"""
    assert parse_amount(format(amount, "f"), places=8) == amount


def test_a_refusal_carries_its_code_and_its_words() -> None:
    refusal = BadAmount("The amount must be more than zero.")
    assert isinstance(refusal, Refused)
    assert (refusal.code, refusal.sapi, str(refusal)) == (
        "bad_amount",
        -10002,
        "The amount must be more than zero.",
    )
