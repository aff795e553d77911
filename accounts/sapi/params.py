"""What a parameter of the dialect may be, read strictly: text in, a typed value out, or the dialect's code.

Clients write decimals as Python and JavaScript print them, so `1e-05` is taken where an amount is meant; what it stands
for has to pass the one grammar for amounts all the same. No message repeats what was sent.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

from accounts.errors import BadAmount
from accounts.models import UID_LIMIT
from accounts.money import MAX_AMOUNT, parse_amount
from accounts.sapi.errors import EMPTY, ILLEGAL, INVALID, MISSING, PRECISION, Denied

LONGEST: Final = 2000  # characters of any one value
MOST_PLACES: Final = 8
LAST_MS: Final = 4_102_444_800_000  # 2100-01-01; nothing is asked about later days
_WHOLE: Final = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_MILLIS: Final = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
_SCIENTIFIC: Final = re.compile(r"[1-9](\.[0-9]{1,24})?[eE][+-]?[0-9]{1,2}", re.ASCII)
_FINER: Final = re.compile(r"(0|[1-9][0-9]{0,16})\.[0-9]{9,}", re.ASCII)
_POINT_ZERO: Final = re.compile(r"([1-9][0-9]{0,16})\.0+", re.ASCII)
_SYMBOL: Final = re.compile(r"[A-Z0-9]{1,20}", re.ASCII)
_EMAIL: Final = re.compile(r"[^@\s]{1,64}@[A-Za-z0-9.-]{1,189}")
Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Param:
    """One parameter of an endpoint: its name, how its text is read, and what it is when it is not sent."""

    name: str
    read: Callable[[str], Any]
    schema: Schema
    required: bool = False
    default: Any = None
    about: str = ""

    def value(self, text: str | None) -> Any:
        """The value of `text`; None is a parameter that was not sent.

        Raises:
            Denied: missing, empty, too long, or not what it should be.
        """
        if text is None:
            if self.required:
                raise Denied(
                    MISSING, f"Mandatory parameter '{self.name}' was not sent, was empty/null, or malformed."
                )
            return self.default
        if text == "":
            code = MISSING if self.required else EMPTY
            raise Denied(code, f"Parameter '{self.name}' was empty.")
        if len(text) > LONGEST:
            raise Denied(ILLEGAL, f"Parameter '{self.name}' is too long.")
        try:
            return self.read(text)
        except Bad as bad:
            raise Denied(bad.code, bad.words.format(name=self.name)) from None


class Bad(Exception):
    """The text cannot be read; `words` has a place for the parameter's {name}."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


def whole(
    name: str,
    *,
    low: int = 0,
    high: int = UID_LIMIT,
    required: bool = False,
    default: int | None = None,
    about: str = "",
) -> Param:
    """A whole number, `low` to `high`."""

    def read(text: str) -> int:
        plain = _POINT_ZERO.fullmatch(text)
        text = plain[1] if plain else text
        if not _WHOLE.fullmatch(text):
            raise Bad(
                ILLEGAL, "Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,19}}$'."
            )
        if not low <= int(text) <= high:
            raise Bad(INVALID, f"Parameter '{{name}}' must be {low} to {high}.")
        return int(text)

    schema: Schema = {"type": "integer", "format": "int64", "minimum": low, "maximum": high}
    return Param(name, read, schema, required, default, about)


def identity(name: str, *, required: bool = False, about: str = "") -> Param:
    """The id of a row: 1 to below 2^53, so that no client's numbers lose a digit."""
    return whole(name, low=1, high=UID_LIMIT - 1, required=required, about=about)


def millis(name: str, *, about: str = "") -> Param:
    """An instant, in milliseconds since 1970; never required."""

    def read(text: str) -> datetime:
        if not _MILLIS.fullmatch(text):
            raise Bad(
                ILLEGAL, "Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,16}}$'."
            )
        if int(text) > LAST_MS:
            raise Bad(INVALID, "Parameter '{name}' is no time in milliseconds.")
        return datetime.fromtimestamp(int(text) // 1000, tz=UTC).replace(microsecond=int(text) % 1000 * 1000)

    schema: Schema = {"type": "integer", "format": "int64", "minimum": 1, "maximum": LAST_MS}
    return Param(name, read, schema, about=about)


def amount(name: str, *, required: bool = False, about: str = "") -> Param:
    """More than 0, at most 8 decimals; an asset's own decimals are its command's question."""
    schema: Schema = {
        "type": "string",
        "pattern": r"^(0|[1-9][0-9]{0,16})(\.[0-9]{1,8})?$",
        "example": "1000.5",
    }
    return Param(name, read_amount, schema, required, None, about)


def read_amount(text: str) -> Decimal:
    """An amount as clients print it: by the one grammar (accounts/money.py), or with an exponent what stands for such.

    Raises:
        Bad: not one, or with more than 8 decimals.
    """
    if _SCIENTIFIC.fullmatch(text):
        number = Decimal(text).normalize()
        text = f"{number:f}" if number < MAX_AMOUNT else text
    if _FINER.fullmatch(text):
        raise Bad(PRECISION, "Precision is over the maximum defined for parameter '{name}'.")
    try:
        return parse_amount(text, places=MOST_PLACES)
    except BadAmount:
        raise Bad(
            ILLEGAL,
            "Illegal characters found in parameter '{name}'; send an amount above 0 such as 1250.5.",
        ) from None


def flag(name: str, *, required: bool = False, default: bool | None = None, about: str = "") -> Param:
    """true or false, in any case."""

    def read(text: str) -> bool:
        if text.lower() not in {"true", "false"} or not text.isascii():
            raise Bad(ILLEGAL, "Illegal characters found in parameter '{name}'; send true or false.")
        return text.lower() == "true"

    return Param(name, read, {"type": "boolean"}, required, default, about)


def symbol(name: str, *, required: bool = False, about: str = "") -> Param:
    """A coin's symbol. Whether there is such a coin is asked of the books."""
    schema: Schema = {"type": "string", "pattern": "^[A-Z0-9]{1,20}$", "example": "USDT"}
    return Param(name, _symbol, schema, required, None, about)


def symbols(name: str, *, most: int, required: bool = False, earn: bool = False, about: str = "") -> Param:
    """Symbols with commas between, each once; with `earn`, also `BTC-Earn`."""

    def read(text: str) -> tuple[str, ...]:
        parts = [part.strip(" ") for part in text.split(",")]
        if len(parts) > most:
            raise Bad(INVALID, f"Parameter '{{name}}' has at most {most} coins.")
        for part in parts:
            _symbol(part.removesuffix("-Earn") if earn else part)
        if len(set(parts)) < len(parts):
            raise Bad(INVALID, "Parameter '{name}' names a coin twice.")
        return tuple(parts)

    schema: Schema = {"type": "string", "pattern": r"^[A-Z0-9,\-]{1,400}$", "example": "BTC,ETH"}
    return Param(name, read, schema, required, None, about)


def uids(name: str, *, most: int, required: bool = False, about: str = "") -> Param:
    """Account ids with commas between, each once."""

    def read(text: str) -> tuple[int, ...]:
        parts = [part.strip(" ") for part in text.split(",")]
        if len(parts) > most:
            raise Bad(INVALID, f"Parameter '{{name}}' has at most {most} accounts.")
        if not all(_WHOLE.fullmatch(part) and 0 < int(part) < UID_LIMIT for part in parts):
            raise Bad(
                ILLEGAL, "Illegal characters found in parameter '{name}'; send account ids with commas."
            )
        if len(set(parts)) < len(parts):
            raise Bad(INVALID, "Parameter '{name}' names an account twice.")
        return tuple(int(part) for part in parts)

    schema: Schema = {"type": "string", "pattern": "^[0-9,]{1,900}$", "example": "12345678,23456789"}
    return Param(name, read, schema, required, None, about)


def one_of(
    name: str, *choices: str, required: bool = False, default: str | None = None, about: str = ""
) -> Param:
    """One of these words, exactly."""

    def read(text: str) -> str:
        if text not in choices:
            raise Bad(INVALID, f"Parameter '{{name}}' must be one of {', '.join(choices)}.")
        return text

    return Param(name, read, {"type": "string", "enum": list(choices)}, required, default, about)


def words(
    name: str,
    *,
    longest: int,
    pattern: str = r"[\x20-\x7e]+",
    required: bool = False,
    about: str = "",
) -> Param:
    """One line of plain text that `pattern` matches whole."""
    compiled = re.compile(pattern)

    def read(text: str) -> str:
        if len(text) > longest or not compiled.fullmatch(text):
            raise Bad(ILLEGAL, "Illegal characters found in parameter '{name}', or it is too long.")
        return text

    schema: Schema = {"type": "string", "pattern": f"^{pattern}$", "minLength": 1, "maxLength": longest}
    return Param(name, read, schema, required, None, about)


def email(name: str, *, required: bool = False, about: str = "") -> Param:
    """An account's address. Some clients leave its `+` bare, which arrives as a space."""

    def read(text: str) -> str:
        text = text.strip().replace(" ", "+").lower()
        if len(text) > 254 or not text.isprintable() or not _EMAIL.fullmatch(text):
            raise Bad(ILLEGAL, "Illegal characters found in parameter '{name}'; send an e-mail address.")
        return text

    return Param(name, read, {"type": "string", "format": "email"}, required, None, about)


def _symbol(text: str) -> str:
    if not _SYMBOL.fullmatch(text):
        raise Bad(
            ILLEGAL, "Illegal characters found in parameter '{name}'; legal range is '^[A-Z0-9]{{1,20}}$'."
        )
    return text
