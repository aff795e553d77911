"""English text that remembers what it was made of, so that a page can say it in its reader's language.

English is the record: logs, the database, programs and files keep the text itself, which a `Words` simply is. A page
that prints one asks the reader's tongue (accounts/tongue.py), through `__html__`, which Django's templates and
`format_html` call. Pure: nothing here knows a language, and without a reader every page is English.
"""

import html
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Self, SupportsIndex

KEPT: Final = (str, int, float, Decimal, date, time, timedelta, type(None))
"""Facts kept as they are; of anything else its text is, so that a later change of it changes nothing said."""

_readers: list[Callable[["Words"], str]] = []


def read_by(reader: Callable[["Words"], str]) -> None:
    """Name who says words on a page. Once, when the site starts."""
    _readers[:] = [reader]


class Words(str):
    """The English text of `template` with `facts` in it. Without facts the template is the text, braces and all."""

    __slots__ = ("context", "facts", "template")
    template: str
    facts: Mapping[str, Any]
    context: str

    def __new__(cls, template: str, facts: Mapping[str, Any] | None = None, *, context: str = "") -> Self:
        made = super().__new__(cls, _filled(template, facts) if facts else template)
        made.template, made.context = template, context
        made.facts = {name: _fixed(fact) for name, fact in facts.items()} if facts else {}
        return made

    @property
    def english(self) -> str:
        """The record: the text alone."""
        return str.__str__(self)

    def __str__(self) -> str:
        return self  # `str()` of words is words; frameworks ask for it on the way to a page

    def __html__(self) -> str:
        return html.escape(_readers[0](self) if _readers else self.english)

    def __getitem__(self, key: SupportsIndex | slice) -> str:
        cut = super().__getitem__(key)
        return self if len(cut) == len(self) and isinstance(key, slice) and key.step in {None, 1} else cut

    def __add__(self, other: str) -> str:
        return Words("{first}{second}", {"first": self, "second": other})

    def __radd__(self, other: str) -> str:
        return Words("{first}{second}", {"first": other, "second": self})

    def format(self, *args: object, **facts: object) -> str:
        """A text without facts is a template: `tell("{} is closed.").format(loan)`."""
        placed = {str(place): fact for place, fact in enumerate(args)}
        return Words(self.template, placed | facts, context=self.context)

    def lower(self) -> str:
        return Cased(self, "lower")

    def upper(self) -> str:
        return Cased(self, "upper")

    def capitalize(self) -> str:
        return Cased(self, "capitalize")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        return str, (self.english,)  # what leaves the process is the record


class Figure(Words):
    """Text that is a number written the English way ("1,234.5 USDT"): a reader's language writes it its own way."""

    __slots__ = ()


class Said(StrEnum):
    """Names that are words: a page says one in its reader's language, programs and the database get the English."""

    def __html__(self) -> str:
        value: str = self.value
        return value.__html__() if isinstance(value, Words) else html.escape(value)


class Cased(Words):
    """Words in other letters: the same is done to what a reader reads."""

    __slots__ = ("how",)
    how: str

    def __new__(cls, words: str, how: str) -> Self:
        made = super().__new__(cls, CASES[how](str.__str__(words)))
        made.template, made.facts, made.context, made.how = "{words}", {"words": words}, "", how
        return made


CASES: Final[Mapping[str, Callable[[str], str]]] = {
    "lower": str.lower,
    "upper": str.upper,
    "capitalize": str.capitalize,
    "capital": lambda text: text[:1].upper() + text[1:],
    "unitless": lambda text: text.partition(" (")[0],
}


def tell(template: str, /, *, context: str = "", **facts: object) -> str:
    """Words for people: `tell("{loan} is closed.", loan=loan)`. The template is what translators see.

    `context` tells apart what English says with one word: `tell("Open", context="verb")`.
    """
    return Words(template, facts, context=context)


def figure(text: str) -> str:
    """A number as the house writes it in English: `figure("1,234.5")`. Never one that a program reads."""
    return Figure(text)


def capital(text: str) -> str:
    """With a capital letter first, the rest as it is; words stay words."""
    return Cased(text, "capital") if isinstance(text, Words) else CASES["capital"](text)


def unitless(text: str) -> str:
    """A field's label without the unit in its brackets, for a value that has its unit; words stay words."""
    return Cased(text, "unitless") if isinstance(text, Words) else CASES["unitless"](text)


def joined(separator: str, parts: Iterable[str]) -> str:
    """`separator.join(parts)` that stays words when a part is."""
    listed = list(parts)
    if not any(isinstance(part, Words) for part in [separator, *listed]):
        return separator.join(listed)
    facts: dict[str, str] = {f"part{place}": part for place, part in enumerate(listed)}
    template = "{separator}".join(f"{{{name}}}" for name in facts)
    return Words(template, facts | {"separator": separator}) if facts else ""


def _filled(template: str, facts: Mapping[str, Any]) -> str:
    """Facts named "0", "1" … stand in their places."""
    placed = [facts[str(place)] for place in range(len(facts)) if str(place) in facts]
    return template.format(*placed, **facts)


def _fixed(fact: object) -> object:
    return fact if type(fact) in KEPT or isinstance(fact, Words | datetime) else format(fact, "")


# --- Kept in the database beside the English text -----------------------------------------------------------


def kept(text: str) -> Any:
    """As JSON, from which `recalled` makes the words again; None when the text is only text."""
    return _kept(text) if isinstance(text, Words) else None


def recalled(text: str, memory: Any) -> str:
    """The words of a stored text. A memory that does not say exactly this text is left aside: English is the record."""
    if not memory:
        return text
    try:
        words = _recalled(memory)
    except (KeyError, ValueError, TypeError, IndexError, ArithmeticError):
        return text
    return words if isinstance(words, Words) and words.english == text else text


def _kept(fact: Any) -> Any:
    if isinstance(fact, Figure):
        return {"figure": fact.english}
    if isinstance(fact, Cased):
        return {"cased": fact.how, "words": _kept(fact.facts["words"])}
    if isinstance(fact, Words):
        told = {"template": fact.template, "facts": {name: _kept(one) for name, one in fact.facts.items()}}
        return told | ({"context": fact.context} if fact.context else {})
    if isinstance(fact, Decimal):
        return {"decimal": str(fact)}
    if isinstance(fact, datetime):
        return {"instant": fact.isoformat()}
    if isinstance(fact, date):
        return {"day": fact.isoformat()}
    return fact if isinstance(fact, str | int | None) else str(fact)


_RECALLED: Final[Mapping[str, Callable[[str], object]]] = {
    "figure": Figure,
    "decimal": Decimal,
    "instant": datetime.fromisoformat,
    "day": date.fromisoformat,
}


def _recalled(memory: Any) -> Any:
    if not isinstance(memory, dict):
        return memory
    if "template" in memory:
        facts = {name: _recalled(one) for name, one in memory["facts"].items()}
        return Words(memory["template"], facts, context=memory.get("context", ""))
    if "cased" in memory:
        return Cased(_recalled(memory["words"]), memory["cased"])
    (kind, value), *_ = memory.items()
    return _RECALLED[kind](value)
