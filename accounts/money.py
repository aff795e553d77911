"""Exact arithmetic on money, and the one grammar for amounts that arrive from outside.

Python's default context silently rounds products to 28 digits. An amount has up to 18 digits before the
point and 8 after, a rate has 12 decimals, so a product of several of them needs more: every rule that
multiplies runs under `exact`, and rounds once, at the end, in a direction with a name: owed to the desk up,
owed by the desk down (R-GEN-01, R-GEN-02).
"""

import re
from collections.abc import Callable
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Context, Decimal, localcontext
from functools import wraps
from typing import Final, ParamSpec, TypeVar

from accounts.errors import BadAmount
from accounts.words import tell

P = ParamSpec("P")
R = TypeVar("R")

ZERO: Final = Decimal(0)
ONE: Final = Decimal(1)
MAX_AMOUNT: Final = Decimal(10) ** 18  # Exclusive; the database has the same bound, which also keeps NaN out.
RATE_PLACES: Final = 12  # Rates and ratios are stored as fractions with 12 decimals.

_EXACT: Final = Context(prec=60, rounding=ROUND_HALF_EVEN)
_GRAMMAR: Final = re.compile(r"(0|[1-9][0-9]{0,16})(\.[0-9]{1,8})?")
_LONGEST: Final = 26  # 17 digits, a point and 8 digits.


def exact(function: Callable[P, R]) -> Callable[P, R]:
    """Run `function` with 60 significant digits, whatever context its caller is in."""

    @wraps(function)
    def in_exact_context(*args: P.args, **kwargs: P.kwargs) -> R:
        with localcontext(_EXACT):
            return function(*args, **kwargs)

    return in_exact_context


@exact
def round_up(value: Decimal, places: int) -> Decimal:
    """The least number with `places` decimals that is not below `value`: for what is owed to the desk."""
    return value.quantize(unit(places), rounding=ROUND_CEILING)


@exact
def round_down(value: Decimal, places: int) -> Decimal:
    """The greatest number with `places` decimals that is not above `value`: for what the desk gives."""
    return value.quantize(unit(places), rounding=ROUND_FLOOR)


@exact
def divide_up(dividend: Decimal, divisor: Decimal, places: int) -> Decimal:
    """`dividend / divisor` (0 or more, above 0) rounded up, exact: no intermediate quotient is rounded."""
    whole, rest = divmod(dividend.scaleb(places), divisor)
    return (whole + 1 if rest else whole).scaleb(-places)


@exact
def divide_down(dividend: Decimal, divisor: Decimal, places: int) -> Decimal:
    """`dividend / divisor` (0 or more, above 0) rounded down, exact: no intermediate quotient is rounded."""
    return (dividend.scaleb(places) // divisor).scaleb(-places)


def unit(places: int) -> Decimal:
    """The smallest amount that exists at `places` decimals: 0.01 for 2."""
    return ONE.scaleb(-places)


def parse_amount(text: object, *, places: int) -> Decimal:
    """Read an amount of an asset with `places` decimals (0 to 8) from what a client sent.

    One strict ASCII grammar: digits without a leading zero, then at most `places` decimals; no sign,
    exponent, space, separator or other alphabet. The message never repeats the input.

    Raises:
        BadAmount: not text, not in the grammar, too many decimals, or not more than zero.
    """
    if not isinstance(text, str):
        raise BadAmount(tell("Send the amount as text, such as 1250.50."))
    if len(text) > _LONGEST or not _GRAMMAR.fullmatch(text):
        raise BadAmount(
            tell(
                "Write the amount in plain digits, at most 17 before the point and 8 after it, such"
                " as 1250.50."
            )
        )
    if len(text.partition(".")[2]) > places:
        raise BadAmount(tell("This asset has at most {places} decimals; the amount has more.", places=places))
    amount = Decimal(text)
    if amount == 0:
        raise BadAmount(tell("The amount must be more than zero."))
    return amount
