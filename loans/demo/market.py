"""The visitor's hand on the simulated market: one push, believed at once.

A push larger than the price gate takes as one tick comes as several, a millisecond apart, as a fast market
would show it. The simulated feed goes on from the last recorded price, so the market stays where it was put.
"""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.conf import settings

from accounts.errors import Refused
from accounts.money import ONE, exact, round_down
from risk import parameters, prices
from risk.feeds import Tick
from risk.models import Price

SOURCE: Final = "demo panel"
LEAST, MOST = Decimal("-0.9"), Decimal(2)  # of a price, as fractions
SHARE_OF_JUMP: Final = Decimal("0.9")  # of what one tick may jump, so that rounding never decides
BETWEEN_TICKS: Final = timedelta(milliseconds=1)
PLACES: Final = 12  # decimals of a pushed price in USD


class NotADemo(Refused):
    code = "not_a_demo"


class BadPush(Refused):
    """Not a push that a market can take; the message says why."""

    code = "bad_push"


def push(asset: str | None, fraction: Decimal, at: datetime) -> list[Price]:
    """Move one coin's price, or every coin's that is not stable, by `fraction` of it: -0.1 is ten per cent down.

    Returns the ticks recorded, oldest first. What follows (calls, liquidations) is the next sweep's to decide.

    Raises:
        NotADemo: this desk is not a demo, or its prices are not simulated.
        BadPush: the fraction is not between -90 % and +200 %, or the coin has no simulated price.
    """
    if not settings.DEMO or settings.PRICE_FEED.partition(":")[0] != "simulated":
        raise NotADemo("Prices can be pushed only in a demo, on simulated prices.")
    if not fraction.is_finite() or not LEAST <= fraction <= MOST or fraction == 0:
        raise BadPush(f"A push is between {LEAST:.0%} and {MOST:+.0%} and not 0 %.")
    moving = {
        symbol
        for symbol, walk in prices.walks().items()
        if asset == symbol or (not asset and not walk.stable)
    }
    quotes = prices.latest(at=at, assets=moving)
    if not quotes:
        raise BadPush(f"{asset or 'No coin'} has no simulated price to push.")
    rule_of = parameters.feed_rules_at(at)
    ticks = [
        Tick(symbol, price, at + number * BETWEEN_TICKS, SOURCE)
        for symbol, quote in sorted(quotes.items())
        for number, price in enumerate(
            _steps(quote.price, fraction, rule_of(symbol).max_jump * SHARE_OF_JUMP), start=1
        )
    ]
    return prices.record(ticks, at=at)


@exact
def _steps(price: Decimal, fraction: Decimal, most: Decimal) -> list[Decimal]:
    """Prices on the way, each at most `most` (a fraction) from the one before; the last is the target."""
    if most <= 0:
        raise BadPush("The feed rule of this coin lets no price move at all.")
    target = round_down(price * (ONE + fraction), PLACES)
    steps = []
    while price != target:
        price = min(max(target, round_down(price * (ONE - most), PLACES)), price * (ONE + most))
        steps.append(price)
    return steps
