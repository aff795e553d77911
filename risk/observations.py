"""What is on record of each coin's price: the last good observation, and the newest whatever became of it.

The lookup behind `prices.latest`, behind the gate that judges the next observation, and behind the simulated market
that walks on from it. Reads only.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.db import connection

from accounts.words import Said, tell
from risk.models import FeedRule

PLACES = 18  # of the price column
END_OF_TIME = datetime.max.replace(tzinfo=UTC)
UNIT = "USD"  # what prices are in

# Per asset the newest good observation and the newest of any status, each one step into an index; and the age
# that makes a price stale, of the asset's own rule or else of that for all.
NEWEST = """
    SELECT asset.symbol, good.id, good.price, good.observed_at, rule.max_age_seconds,
        newest.price, newest.observed_at, newest.status = 'good', newest.reason
    FROM accounts_asset asset
    LEFT JOIN LATERAL (
        SELECT price, observed_at, status, reason FROM risk_price
        WHERE asset_id = asset.symbol AND observed_at <= %(at)s
        ORDER BY observed_at DESC, id DESC LIMIT 1) newest ON true
    LEFT JOIN LATERAL (
        SELECT id, price, observed_at FROM risk_price
        WHERE asset_id = asset.symbol AND observed_at <= %(at)s AND status = 'good'
        ORDER BY observed_at DESC, id DESC LIMIT 1) good ON true
    LEFT JOIN LATERAL (
        SELECT max_age_seconds FROM risk_feedrule
        WHERE (asset_id = asset.symbol OR asset_id IS NULL) AND effective_at <= %(at)s
        ORDER BY asset_id NULLS LAST, effective_at DESC LIMIT 1) rule ON true
    WHERE %(assets)s::text[] IS NULL OR asset.symbol = ANY (%(assets)s::text[])
"""

# Since when a coin's price has been the same: the first observation after the last that differs, looking back no
# further than `since`, so that a feed frozen for a year costs no more than one frozen for an hour.
STILL = """
    SELECT coin.symbol, (
        SELECT min(same.observed_at) FROM risk_price same
        WHERE same.asset_id = coin.symbol AND same.observed_at > coalesce((
            SELECT other.observed_at FROM risk_price other
            WHERE other.asset_id = coin.symbol AND other.observed_at >= coin.since AND other.price <> coin.price
            ORDER BY other.observed_at DESC, other.id DESC LIMIT 1), coin.since - interval '1 microsecond'))
    FROM unnest(%(symbols)s::text[], %(prices)s::numeric[], %(since)s::timestamptz[])
        AS coin(symbol, price, since)
"""


class PriceState(Said):
    FRESH = tell("fresh")
    STALE = tell("stale")  # older than its asset's max_age
    SUSPECT = tell("suspect")  # a newer observation is in quarantine


@dataclass(frozen=True, slots=True)
class Standing:
    """What is on record of an asset: its last good price, and its newest observation whatever became of it."""

    asset: str
    good_id: int | None
    good: Decimal | None
    good_at: datetime | None
    max_age_seconds: int | None
    newest: Decimal | None
    newest_at: datetime | None
    newest_is_good: bool | None
    newest_reason: str | None

    @property
    def max_age(self) -> timedelta:
        seconds = FeedRule().max_age_seconds if self.max_age_seconds is None else self.max_age_seconds
        return timedelta(seconds=seconds)


def newest(at: datetime, assets: Iterable[str] | None) -> list[Standing]:
    """One row for each known asset, priced or not, as it stood at `at`. One query."""
    with connection.cursor() as cursor:
        cursor.execute(NEWEST, {"at": at, "assets": None if assets is None else sorted(set(assets))})
        return [Standing(*row) for row in cursor.fetchall()]


def state_of(found: Standing, at: datetime) -> PriceState:
    """Of one that has a good price. R-GEN-22"""
    if not found.newest_is_good:
        return PriceState.SUSPECT
    assert found.good_at is not None, "asked of an asset that has a good price"
    return PriceState.STALE if at - found.good_at > found.max_age else PriceState.FRESH


def still_since(found: Mapping[str, tuple[Decimal, datetime]]) -> dict[str, datetime]:
    """Since when each coin has had the price given for it, looking back to the instant given. One query."""
    if not found:
        return {}
    prices, since = zip(*found.values(), strict=True)
    given = {"symbols": list(found), "prices": list(prices), "since": list(since)}
    with connection.cursor() as cursor:
        cursor.execute(STILL, given)
        return {symbol: instant for symbol, instant in cursor.fetchall() if instant is not None}
