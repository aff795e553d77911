"""How the loan endpoints write what several of them say: lists, terms, infinite LTVs."""

from collections.abc import Iterable
from decimal import Decimal
from typing import Final

from accounts.sapi.wire import dec

NO_COLLATERAL: Final = "999"  # LTV of a debt that nothing secures; the dialect writes infinite levels so
OPEN: Final = "open term"


def listed(items: Iterable[object]) -> str:
    return ",".join(map(str, items))


def ltv(value: Decimal | None) -> str:
    """A fraction; infinite is a number too, for clients that compute with it."""
    return NO_COLLATERAL if value is None else dec(value)


def term(days: int | None, *, suffix: str = "") -> str:
    return OPEN if days is None else f"{days}{suffix}"
