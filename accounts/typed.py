"""Amounts as people type them in their language, made into what the one grammar reads (accounts/money.py).

English is read as it is typed. A Swedish reader may also write a decimal comma and spaces between thousands. What
could be meant in two ways, factor 1000 apart, is refused and never guessed.
"""

import re
from decimal import Decimal
from typing import Final

from accounts.errors import BadAmount
from accounts.tongue import SWEDISH, reads
from accounts.words import tell

_SPACES: Final = " \u00a0\u202f"
_SPACED: Final = re.compile(rf"[1-9][0-9]{{0,2}}(?:([{_SPACES}])[0-9]{{3}})(?:\1[0-9]{{3}})*(?:[,.][0-9]+)?")
_TWO_WAYS: Final = re.compile(r"([1-9][0-9]{0,2})[,.]([0-9]{3})")
_DECIMALS: Final = re.compile(r"([0-9]+)[,.]([0-9]+)")
_THREE_DECIMALS: Final = re.compile(r"[0-9]+\.[0-9]{3}")


def as_sent(text: object) -> object:
    """What was typed, with the point and without the spaces; anything strange is left for the grammar to refuse.

    Raises:
        BadAmount: it can be read in two ways, such as 1,234.
    """
    if not isinstance(text, str) or not reads(SWEDISH):
        return text
    if two := _TWO_WAYS.fullmatch(text):
        whole, rest = two.groups()
        raise BadAmount(
            tell(
                "{typed} can be read in two ways. Write {large} for the large amount or {small} for the small one.",
                typed=str(text),
                large=f"{whole}{rest}",
                small=f"{whole},{rest}0",
            )
        )
    if _SPACED.fullmatch(text):
        text = text.translate(dict.fromkeys(map(ord, _SPACES)))
    parts = _DECIMALS.fullmatch(text)
    return f"{parts[1]}.{parts[2]}" if parts else text


def as_shown(text: str) -> str:
    """An amount the house fills in, as its reader would type it; text that is none is left alone."""
    if not reads(SWEDISH) or not _DECIMALS.fullmatch(text) or _TWO_WAYS.fullmatch(text):
        return text
    return text.replace(".", ",")


def unmistakable(text: str) -> str:
    """Plain digits with a point, such that no reader takes the decimals for thousands."""
    return f"{text}0" if reads(SWEDISH) and _THREE_DECIMALS.fullmatch(text) else text


def as_typed(amount: Decimal) -> str:
    """`amount` in plain digits, as its reader types it: what `as_sent` and the grammar read back as the same."""
    return as_shown(unmistakable(f"{amount.normalize():f}"))
