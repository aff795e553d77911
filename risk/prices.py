"""What the desk believes a coin is worth, and how sure it is.

Ticks come from a feed. What is no price at all is turned away at the door; what is a price but hard to believe
is kept in quarantine, where nothing uses it, until a second tick agrees (R-GEN-21). Everyone who values
anything asks `latest`, and what an old or doubted price forbids is R-GEN-22.
"""

import logging
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import lru_cache
from operator import attrgetter
from pathlib import Path

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max, Q

from accounts import catalogue
from accounts.commands import Actor, FourEyes, command
from accounts.errors import Refused
from accounts.models import Asset
from accounts.money import ONE, exact, round_down
from risk import parameters
from risk.feeds import LEAST_PRICE, PRICE_BOUND, Feed, FeedUnavailable, Tick, ccxt_feed, file, simulated
from risk.models import FeedRule, Price

logger = logging.getLogger(__name__)

PLACES = 18  # of the price column
FURTHEST_AHEAD = timedelta(seconds=5)  # clocks differ a little
END_OF_TIME = datetime.max.replace(tzinfo=UTC)
# Serialises `record`: two at once would each judge a jump against a price that the other has just replaced.
RECORDING = 0x7072_6963  # any number that no other advisory lock uses

BY_HAND = "manual"  # the source of a price that two people set
LONGEST_PRICE_REASON = 120  # the width of the column
UNIT = "USD"  # what prices are in
EVERYBODY = 32_767  # as many sources as a row can name

# Per asset the newest good observation and the newest of any status, each one step into an index; and the age
# that makes a price stale, of the asset's own rule or else of that for all.
NEWEST = """
    SELECT asset.symbol, good.id, good.price, good.observed_at, rule.max_age_seconds,
        newest.price, newest.observed_at, newest.sources, newest.status = 'good'
    FROM accounts_asset asset
    LEFT JOIN LATERAL (
        SELECT price, observed_at, sources, status FROM risk_price
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


class BadManualPrice(Refused):
    code = "bad_manual_price"


class PriceState(StrEnum):
    FRESH = "fresh"
    STALE = "stale"  # older than its asset's max_age
    SUSPECT = "suspect"  # a newer observation is in quarantine


@dataclass(frozen=True, slots=True)
class Quote:
    """The last good price of an asset in USD, the row it is, and whether it may be decided on."""

    price_id: int
    asset: str
    price: Decimal
    observed_at: datetime
    state: PriceState

    @property
    def fresh(self) -> bool:
        return self.state == PriceState.FRESH


def latest(*, at: datetime, assets: Iterable[str] | None = None) -> dict[str, Quote]:
    """The last good price known at `at` of each asset that has one: of all assets, or of those named.

    One query, whatever the number of assets and prices (R-GEN-21, R-GEN-22).
    """
    return {
        found.asset: Quote(
            price_id=found.good_id,
            asset=found.asset,
            price=found.good,
            observed_at=found.good_at,
            state=_state(found, found.good_at, at),
        )
        for found in _newest(at, assets)
        if found.good_id is not None and found.good is not None and found.good_at is not None
    }


def newest_after(at: datetime, *, until: datetime, assets: Iterable[str]) -> datetime | None:
    """When the latest good price of these, of those after `at` and up to `until`, was observed; None without one."""
    later = Price.objects.filter(asset__in=list(assets), observed_at__gt=at, observed_at__lte=until)
    newest: datetime | None = later.filter(status=Price.Status.GOOD).aggregate(Max("observed_at"))[
        "observed_at__max"
    ]
    return newest


def record(ticks: Iterable[Tick], *, at: datetime) -> list[Price]:
    """Keep what `ticks` say, as good or in quarantine, and return the rows made (R-GEN-20, 21; TRUST E20, E21).

    Turned away and only logged: no positive finite price below 10^12 USD, observed more than 5 s after `at` or
    before the asset's newest observation, or of no known asset. The newest observation again is no news.
    In quarantine: outside floor and ceiling, too few sources, or a jump of more than `max_jump` from the last
    good price, unless the observation just before was quarantined for its jump only and is within `max_jump`.
    Prices keep 18 decimals. A constant number of queries.
    """
    ticks = list(ticks)  # The feed may be a network: ask it before, not under, the lock.
    usable = [tick for tick in ticks if _is_usable(tick, at)]
    if not usable:
        return []
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [RECORDING])
        return Price.objects.bulk_create(_judged(usable, at))


@command("prices.record_by_hand", returns=Price, four_eyes=FourEyes())
def record_by_hand(
    *, asset: str, price: Decimal, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Price:
    """Two people say what a coin is worth in USD, when the feed does not or is not believed (R-ADM-03).

    It counts as one good observation of `at`: floor, ceiling and largest jump do not apply, and it ages like any.

    Raises:
        BadManualPrice: no such coin, no price, without a reason, or not after the newest observation.
    """
    fault = _fault(Tick(asset, price, at, BY_HAND), at)
    if fault:
        raise BadManualPrice(f"This is no price of {asset}: {fault}.")
    if not reason.strip():
        raise BadManualPrice("A price set by hand needs a reason.")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [RECORDING])
    before = next(iter(_newest(END_OF_TIME, [asset])), None)
    if before is None:
        raise BadManualPrice(f"There is no asset {asset!r}.")
    if before.newest_at is not None and before.newest_at >= at:
        raise BadManualPrice(
            f"{asset} has a price of {before.newest_at:%Y-%m-%d %H:%M:%S} UTC already; try again."
        )
    return Price.objects.create(
        asset_id=asset,
        price=round_down(price, PLACES),
        observed_at=at,
        source=BY_HAND,
        status=Price.Status.GOOD,
        reason=reason.strip()[:LONGEST_PRICE_REASON],
    )


# --- The feed ---------------------------------------------------------------------------------------------------


def feed() -> Feed:
    """The feed that the setting PRICE_FEED names: `simulated`, `simulated:SEED`, `file:PATH` or `ccxt`.

    The unit itself, USD, is 1 in all of them, for it can be borrowed too.

    Raises:
        FeedUnavailable, BadPriceFile: the setting makes no sense, or what it names cannot be had.
    """
    source = _named(settings.PRICE_FEED)
    has_unit = Asset.objects.filter(pk=UNIT).exists()

    def known(at: datetime) -> list[Tick]:
        unit = [Tick(UNIT, ONE, at, "unit", EVERYBODY)] if has_unit else []
        return [*source(at), *unit]

    return known


def walks() -> dict[str, simulated.Walk]:
    """How the simulated market moves the assets that the desk knows and the demo has figures for."""
    kinds = dict(Asset.objects.values_list("symbol", "kind"))
    return {
        figures.symbol: simulated.Walk(
            start=figures.start_price,
            daily_volatility=figures.daily_volatility,
            stable=kinds[figures.symbol] == Asset.Kind.STABLE,
        )
        for figures in catalogue.read_demo_parameters()
        if figures.symbol in kinds
    }


def _named(name: str) -> Feed:
    kind, _, rest = name.partition(":")
    if kind == "simulated":
        return _simulated(rest)
    if kind == "file" and rest:
        return _from_file(Path(rest))
    if name == "ccxt":
        wanted = Asset.objects.filter(Q(loanable=True) | Q(collateral=True)).exclude(kind=Asset.Kind.FIAT)
        return _from_exchanges(tuple(wanted.order_by("pk").values_list("pk", flat=True)))
    raise FeedUnavailable(f"PRICE_FEED is {name!r}; it must be simulated, simulated:SEED, file:PATH or ccxt.")


def _simulated(seed: str) -> Feed:
    if seed and not (seed.isascii() and seed.isdecimal()):
        raise FeedUnavailable(f"The seed of the simulated prices is {seed!r}; it must be a whole number.")
    moving = walks()
    return simulated.feed(last=lambda: _last_recorded(moving), walks=moving, seed=int(seed or 1))


def _last_recorded(assets: Iterable[str]) -> tuple[datetime, dict[str, Decimal]] | None:
    """Quarantined observations too: the walk goes on from where it stands, believed or not."""
    found = [each for each in _newest(END_OF_TIME, assets) if each.newest_at is not None]
    if not found:
        return None
    since = max(each.newest_at for each in found if each.newest_at is not None)
    return since, {each.asset: each.newest for each in found if each.newest is not None}


def _from_file(path: Path) -> Feed:
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise FeedUnavailable(f"The price file {path} cannot be read: {error.strerror}.") from error
    return _read(path, changed)


@lru_cache(maxsize=1)
def _read(path: Path, changed: int) -> Feed:
    """Read once for every change of the file, not at every tick."""
    return file.feed(file.read_bars(path))


@lru_cache(maxsize=1)
def _from_exchanges(assets: tuple[str, ...]) -> Feed:
    """Kept, because connections to exchanges are."""
    return ccxt_feed.feed(assets=assets)


# --- Judging ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Standing:
    """What is on record of an asset: its last good price, and its newest observation whatever became of it."""

    asset: str
    good_id: int | None
    good: Decimal | None
    good_at: datetime | None
    max_age_seconds: int | None
    newest: Decimal | None
    newest_at: datetime | None
    newest_sources: int | None
    newest_is_good: bool | None


def _newest(at: datetime, assets: Iterable[str] | None) -> list[_Standing]:
    """One row for each known asset, priced or not."""
    with connection.cursor() as cursor:
        cursor.execute(NEWEST, {"at": at, "assets": None if assets is None else sorted(set(assets))})
        return [_Standing(*row) for row in cursor.fetchall()]


def _state(found: _Standing, good_at: datetime, at: datetime) -> PriceState:
    if not found.newest_is_good:
        return PriceState.SUSPECT
    seconds = FeedRule().max_age_seconds if found.max_age_seconds is None else found.max_age_seconds
    return PriceState.STALE if at - good_at > timedelta(seconds=seconds) else PriceState.FRESH


def _judged(ticks: Collection[Tick], at: datetime) -> Iterator[Price]:
    standing = {found.asset: found for found in _newest(END_OF_TIME, {tick.asset for tick in ticks})}
    rule_of = parameters.feed_rules_at(at)
    for tick in sorted(ticks, key=attrgetter("observed_at")):
        before = standing.get(tick.asset)
        if before is None:
            logger.warning("price of %s refused: there is no such asset", tick.asset)
            continue
        if before.newest_at is not None and tick.observed_at <= before.newest_at:
            if tick.observed_at < before.newest_at:
                logger.warning(
                    "price of %s refused: it is of %s, older than the last", tick.asset, tick.observed_at
                )
            continue
        doubt = _doubt(tick, before, rule_of(tick.asset))
        if doubt:
            logger.warning("price of %s quarantined at %s: %s", tick.asset, tick.price, doubt)
        yield Price(
            asset_id=tick.asset,
            price=round_down(tick.price, PLACES),
            observed_at=tick.observed_at,
            source=tick.source,
            sources=tick.sources,
            status=Price.Status.QUARANTINED if doubt else Price.Status.GOOD,
            reason=doubt,
        )
        standing[tick.asset] = replace(
            before,
            good=before.good if doubt else tick.price,
            newest=tick.price,
            newest_at=tick.observed_at,
            newest_sources=tick.sources,
            newest_is_good=not doubt,
        )


def _is_usable(tick: Tick, at: datetime) -> bool:
    fault = _fault(tick, at)
    if fault:
        logger.warning("price of %s from %s refused: %s", tick.asset, tick.source, fault)
    return not fault


def _fault(tick: Tick, at: datetime) -> str:
    # A feed's types are not proof: a price that is text or a float is a fault of the feed, not of the whole run.
    if not isinstance(tick.price, Decimal) or not tick.price.is_finite():
        return "it is not a number"
    if not LEAST_PRICE <= tick.price < PRICE_BOUND:
        return f"{tick.price} USD is not between {LEAST_PRICE} and {PRICE_BOUND}"
    if tick.observed_at.tzinfo is None:
        return "its time has no time zone"
    if tick.observed_at > at + FURTHEST_AHEAD:
        return f"it is of {tick.observed_at}, in the future"
    if not 1 <= tick.sources <= EVERYBODY:
        return f"it has {tick.sources} sources"
    return ""


def _doubt(tick: Tick, before: _Standing, rule: FeedRule) -> str:
    """Why a tick goes into quarantine, for people; empty when it is believed (R-GEN-21)."""
    broken = _broken_bound(tick.price, tick.sources, rule)
    if broken:
        return broken
    if before.good is None or not _is_jump(before.good, tick.price, rule.max_jump):
        return ""
    if _is_confirmed(tick.price, before, rule):
        return ""
    return f"a jump of more than {rule.max_jump:.2%} from {before.good.normalize():f} USD"


def _broken_bound(price: Decimal, sources: int, rule: FeedRule) -> str:
    if rule.floor is not None and price < rule.floor:
        return f"below the floor of {rule.floor.normalize():f} USD"
    if rule.ceiling is not None and price > rule.ceiling:
        return f"above the ceiling of {rule.ceiling.normalize():f} USD"
    if sources < rule.min_sources:
        return f"{sources} of {rule.min_sources} sources needed"
    return ""


def _is_confirmed(price: Decimal, before: _Standing, rule: FeedRule) -> bool:
    """The observation just before had jumped to this level too, and nothing else was wrong with it.

    Had that one been believed, it would be the last good price itself, from which this one is a jump.
    """
    if before.newest is None or before.newest_sources is None:
        return False
    if _broken_bound(before.newest, before.newest_sources, rule):
        return False
    return not _is_jump(before.newest, price, rule.max_jump)


@exact
def _is_jump(before: Decimal, after: Decimal, max_jump: Decimal) -> bool:
    return abs(after - before) > max_jump * before
