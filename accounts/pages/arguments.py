"""The arguments of a proposed command in words, for who decides it (R-ADM-03, R-ADM-09)."""

from dataclasses import fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any

from accounts.pages.argument_words import CHOICES, CHOSEN, LABELS
from accounts.templatetags import figures
from accounts.words import capital, joined, tell

SHARES = frozenset(
    {
        "annual_rate",
        "fixed_rate",
        "spread",
        "hysteresis",
        "slippage",
        "max_jump",
        "max_spread",
        "target",
        "step_share",
        "max_share",
        "early_warnings",
    }
    | {"initial", "margin_call", "liquidation", "cutoff", "fee", "ltv"}
)  # fractions, shown in per cent


def facts_of(arguments: dict[str, Any]) -> list[tuple[str, str]]:
    """A line for each argument that says something; the parts of a dataclass a line each."""
    found = []
    for name, value in arguments.items():
        if is_dataclass(value) and not isinstance(value, type):
            parts = {part.name: getattr(value, part.name) for part in fields(value)}
            found += [(label_of(part), text_of(part, each)) for part, each in parts.items()]
        elif value is not None and value != "":
            found.append((label_of(name), text_of(name, value)))
    if "effective_at" in arguments and arguments["effective_at"] is None:
        found.append((tell("Effective at"), tell("as soon as it is released")))
    return found


def label_of(name: str) -> str:
    return LABELS.get(name) or tell(capital(name.replace("_", " ")))


def text_of(name: str, value: Any) -> str:
    """One argument in words: shares in per cent, instants in UTC, the parts of a row one after another."""
    if name == "tiers":
        return joined(
            "; ",
            (
                tell("{ratio} from {floor}", ratio=figures.line(ratio), floor=figures.plain(floor, "USD"))
                for floor, ratio in value
            ),
        )
    if isinstance(value, bool):
        return tell("yes") if value else tell("no")
    if isinstance(value, Decimal):
        return figures.line(value) if name in SHARES else figures.plain(value)
    if isinstance(value, datetime):
        return tell("{value:%Y-%m-%d %H:%M} UTC", value=value)
    if isinstance(value, Enum):
        return CHOICES.get(value.value) or str(value.value).replace("_", " ")
    if is_dataclass(value) and not isinstance(value, type):
        return joined(" ", (text_of(part.name, getattr(value, part.name)) for part in fields(value)))
    if isinstance(value, (list, tuple, set, frozenset)):
        return joined(", ", (text_of(name, one) for one in value))
    return CHOICES.get(value, value) if isinstance(value, str) and name in CHOSEN else str(value)
