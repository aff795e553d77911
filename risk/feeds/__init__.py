"""Where prices come from. A feed is one function: given an instant, the ticks known at it.

Feeds never write and never decide: `risk/prices.py` records what they say, or quarantines it, and forms the median
where several sources were asked. What every feed refuses at its own door is text that is no price at all (TRUST E20).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from accounts.errors import Refused
from risk.consensus import Said

# USD. Coins cost from 1e-9 to 1e6; what lies outside these is a fault of the source.
LEAST_PRICE = Decimal("1e-12")
PRICE_BOUND = Decimal("1e12")  # exclusive
BY_DEFINITION = (
    "unit"  # the source of a price that is 1 by definition: it stands still, and no feed is frozen
)

# Plain or scientific ASCII. Decimal() alone would also take full-width digits, underscores and NaN.
PRICE = re.compile(r"[0-9]{1,20}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Tick:
    """One asset's price in USD as `source` saw it; `sources` is how many markets agreed on it.

    A feed that asked several hands over what each `said`; what that comes to is for the gate to say, and the price
    and the time here are then only the first of them. See `polled`.
    """

    asset: str
    price: Decimal
    observed_at: datetime
    source: str
    sources: int = 1
    said: tuple[Said, ...] = ()


Feed = Callable[[datetime], list[Tick]]


class BadPrice(Refused):
    """What a source sent is not a usable price."""

    code = "bad_price"


class FeedUnavailable(Refused):
    """A feed cannot work as it is set up."""

    code = "feed_unavailable"


def polled(asset: str, said: Sequence[Said], *, source: str) -> Tick:
    """What several sources, at least one, said of one asset."""
    first = said[0]
    return Tick(asset, first.price, first.observed_at, source, len(said), tuple(said))


def parse_price(text: object) -> Decimal:
    """A price in USD, exactly as written.

    Raises:
        BadPrice: not text, not a number, not positive, or not between 1e-12 and 1e12.
    """
    if not isinstance(text, str):  # A float has already lost digits, and True is an int.
        raise BadPrice(f"{type(text).__name__} is not the text of a number")
    if not PRICE.fullmatch(text):
        raise BadPrice(f"{text[:40]!r} is not a number")
    price = Decimal(text)
    if price == 0:
        raise BadPrice(f"{text[:40]!r} is not positive")
    if not LEAST_PRICE <= price < PRICE_BOUND:
        raise BadPrice(f"{text[:40]!r} is not a price in USD between 1e-12 and 1e12")
    return price
