"""Says words in the reader's language: the template through Django's translations, the facts as it writes them.

English in, English out: without an active language other than English the record itself is said, untouched. A
translation that does not fit its facts is left aside, so that a slip of a translator never takes a page down.
"""

import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from string import Formatter
from typing import Any, Final

from django.utils.translation import get_language, gettext, pgettext

from accounts.words import CASES, Cased, Figure, Said, Words, joined, kept, read_by, recalled, tell

__all__ = ("ENGLISH", "LANGUAGES", "SWEDISH", "kept", "joined", "recalled", "reads", "say", "tell")

ENGLISH: Final = "en"
SWEDISH: Final = "sv"
LANGUAGES: Final = ((ENGLISH, "English"), (SWEDISH, "Svenska"))

NARROW_SPACE: Final = "\u202f"
MONTHS: Final = (
    *("januari", "februari", "mars", "april", "maj", "juni"),
    *("juli", "augusti", "september", "oktober", "november", "december"),
)
MONTHS_SHORT: Final = (
    *("jan.", "feb.", "mars", "apr.", "maj", "juni"),
    *("juli", "aug.", "sep.", "okt.", "nov.", "dec."),
)
_POINT_OR_COMMA: Final = re.compile(r"(?<=\d)[,.](?=\d)")


def reads(language: str) -> bool:
    """Whether the page being made is for a reader of `language`."""
    return (get_language() or ENGLISH).partition("-")[0] == language


def say(text: str) -> str:
    """`text` in the reader's language; text that is no words is said as it stands."""
    if isinstance(text, Said):
        text = text.value
    if not isinstance(text, Words):
        return text
    if reads(ENGLISH):
        return text.english
    if isinstance(text, Figure):
        return written(text.english)
    if isinstance(text, Cased):
        return CASES[text.how](say(text.facts["words"]))
    if not text.facts:
        return _translated(text) if text.template else ""
    template = _translated(text)
    try:
        return _FORMAT.vformat(template, (), text.facts)
    except (KeyError, IndexError, ValueError):
        return _FORMAT.vformat(text.template, (), text.facts)


def _translated(text: Words) -> str:
    return pgettext(text.context, text.template) if text.context else gettext(text.template)


def written(digits: str) -> str:
    """A number written the English way, the Swedish way: "1,234.5" as "1 234,5" (the space does not break)."""
    if not reads(SWEDISH):
        return digits
    return _POINT_OR_COMMA.sub(lambda sign: NARROW_SPACE if sign[0] == "," else ",", digits)


def month(day: date, *, short: bool) -> str:
    """Of a Swedish date."""
    return (MONTHS_SHORT if short else MONTHS)[day.month - 1]


class _Format(Formatter):
    def format_field(self, value: Any, format_spec: str) -> str:
        if isinstance(value, Words):
            value = say(value)
        elif isinstance(value, date) and reads(SWEDISH):
            return _dated(value, format_spec)
        elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            return written(format(value, format_spec))
        return format(value, format_spec)

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        return super().convert_field(value, conversion) if conversion else value

    def get_value(self, key: int | str, args: Any, kwargs: Mapping[str, Any]) -> Any:
        return kwargs[str(key)]


_FORMAT: Final = _Format()


def _dated(day: date, form: str) -> str:
    form = form.replace("%b", month(day, short=True)).replace("%B", month(day, short=False))
    return format(day, form.replace(", %H", " %H"))


read_by(say)
