"""Values as the dialect writes them: decimals and some instants as text, ids and other instants as numbers."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from accounts.money import RATE_PLACES, ZERO, round_down

Json = dict[str, Any] | list[Any]


def dec(value: Decimal | None) -> str:
    """A decimal as plain text without trailing zeros; nothing is "0"."""
    if value is None or value == ZERO:
        return "0"
    return f"{value.normalize():f}"


def rate(value: Decimal | None, *, places: int = RATE_PLACES) -> str:
    """A fraction with at most `places` decimals, cut: for display only, nothing is computed from it."""
    return "0" if value is None else dec(round_down(value, places))


def number(value: Decimal) -> int | float:
    """An amount where the dialect wants a JSON number: the nearest one that fits into 53 bits, for reading only.

    Programs that compute with it ask the newer address, which sends text.
    """
    return int(value) if value == value.to_integral_value() else float(value)


def ms(at: datetime | None) -> int:
    """Milliseconds since 1970 as a number; no instant is 0."""
    return 0 if at is None else int(at.timestamp()) * 1000 + at.microsecond // 1000


def ms_text(at: datetime | None) -> str:
    """The same as text, where the dialect wants text."""
    return str(ms(at))


def rows(found: list[dict[str, Any]], total: int) -> dict[str, Any]:
    """A page of rows, as most of the dialect sends it."""
    return {"rows": found, "total": total}
