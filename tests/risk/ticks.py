"""Ticks for tests of prices, one per second from NOON."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from risk import parameters, prices
from risk.feeds import Tick
from tests import build
from tests.build import BUILDER, LONG_AGO, NOON

SECOND = timedelta(seconds=1)


def tick(price: Any, *, asset: str = "BTC", at: datetime = NOON, sources: int = 1) -> Tick:
    """A price is text here; anything else is passed on as it is, as a broken feed would."""
    value = Decimal(price) if isinstance(price, str) else price
    return Tick(asset, value, at, "test", sources)


def record(*usd: str, asset: str = "BTC", start: datetime = NOON) -> list[str]:
    """One tick per second; what became of each, as `good` or `quarantined`."""
    build.asset(asset)
    fates = []
    for number, price in enumerate(usd):
        at = start + number * SECOND
        [row] = prices.record([tick(price, asset=asset, at=at)], at=at)
        fates.append(str(row.status))
    return fates


def rule(**values: Any) -> None:
    parameters.publish_feed_rule(effective_at=LONG_AGO, actor=BUILDER, at=LONG_AGO, **values)
