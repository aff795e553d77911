"""How benchmarks judge: bars that hold and do not, growth, and figures in few digits."""

import math

import pytest

from bench.bars import Bar, exponent, told


@pytest.mark.parametrize(
    ("bar", "holds"),
    [
        (Bar("a", 1.6, most=1.6), True),
        (Bar("a", 1.61, most=1.6), False),
        (Bar("a", 0.125, least=0.125), True),
        (Bar("a", 0.124, least=0.125), False),
        (Bar("a", math.nan, most=1), False),
        (Bar("a", math.nan, least=1), False),
        (Bar("a", 5.0), True),
    ],
)
def test_a_bar_holds_up_to_its_bound_and_never_without_a_figure(bar: Bar, holds: bool) -> None:
    assert bar.holds is holds


def test_a_line_says_what_was_measured_and_whether_it_held() -> None:
    assert (
        Bar("Accrual", 1.234, most=1.6, unit="x floor").line() == "| Accrual | 1.23 x floor | ≤ 1.60 | yes |"
    )
    assert Bar("Accrual", 2, most=1.6).line() == "| Accrual | 2.00 | ≤ 1.60 | **no** |"
    assert Bar("Loans", 1_000_000).line() == "| Loans | 1,000,000 | · |  |"
    assert Bar("Pages", math.nan, most=500).line() == "| Pages | none | ≤ 500 | **no** |"


@pytest.mark.parametrize(("power", "seconds"), [(1, [1, 10, 100]), (2, [1, 100, 10_000]), (0, [3, 3, 3])])
def test_growth_is_the_power_of_the_size(power: int, seconds: list[float]) -> None:
    assert exponent([10, 100, 1000], seconds) == pytest.approx(power)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0123456, "0.0123"), (12.345, "12.3"), (999.5, "1000"), (12345.6, "12,346")],
)
def test_three_digits_that_count(value: float, text: str) -> None:
    assert told(value) == text
