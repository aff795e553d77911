"""Which feed the desk listens to: the one that the setting PRICE_FEED names, over the prices on record.

What it says is judged elsewhere (`prices.record`); a feed never writes and never decides.
"""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.db.models import Q

from accounts import catalogue
from accounts.models import Asset
from accounts.money import ONE
from accounts.words import tell
from risk import observations
from risk.feeds import BY_DEFINITION, Feed, FeedUnavailable, Tick, ccxt_feed, file, simulated
from risk.observations import END_OF_TIME, UNIT

EVERYBODY = 32_767  # as many sources as a row can name


def feed() -> Feed:
    """The feed that the setting PRICE_FEED names: `simulated`, `simulated:SEED`, `file:PATH` or `ccxt`.

    The unit itself, USD, is 1 in all of them, for it can be borrowed too.

    Raises:
        FeedUnavailable, BadPriceFile: the setting makes no sense, or what it names cannot be had.
    """
    source = _named(settings.PRICE_FEED)
    has_unit = Asset.objects.filter(pk=UNIT).exists()

    def known(at: datetime) -> list[Tick]:
        unit = [Tick(UNIT, ONE, at, BY_DEFINITION, EVERYBODY)] if has_unit else []
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
    raise FeedUnavailable(
        tell("PRICE_FEED is {name!r}; it must be simulated, simulated:SEED, file:PATH or ccxt.", name=name)
    )


def _simulated(seed: str) -> Feed:
    if seed and not (seed.isascii() and seed.isdecimal()):
        raise FeedUnavailable(
            tell("The seed of the simulated prices is {seed!r}; it must be a whole number.", seed=seed)
        )
    moving = walks()
    return simulated.feed(last=lambda: _last_recorded(moving), walks=moving, seed=int(seed or 1))


def _last_recorded(assets: Iterable[str]) -> tuple[datetime, dict[str, Decimal]] | None:
    """Quarantined observations too: the walk goes on from where it stands, believed or not."""
    found = [each for each in observations.newest(END_OF_TIME, assets) if each.newest_at is not None]
    if not found:
        return None
    since = max(each.newest_at for each in found if each.newest_at is not None)
    return since, {each.asset: each.newest for each in found if each.newest is not None}


def _from_file(path: Path) -> Feed:
    try:
        changed = path.stat().st_mtime_ns
    except OSError as error:
        raise FeedUnavailable(
            tell("The price file {path} cannot be read: {strerror}.", path=path, strerror=error.strerror)
        ) from error
    return _read(path, changed)


@lru_cache(maxsize=1)
def _read(path: Path, changed: int) -> Feed:
    """Read once for every change of the file, not at every tick."""
    return file.feed(file.read_bars(path))


@lru_cache(maxsize=1)
def _from_exchanges(assets: tuple[str, ...]) -> Feed:
    """Kept, because connections to exchanges are."""
    return ccxt_feed.feed(assets=assets)
