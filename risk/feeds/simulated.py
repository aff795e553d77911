"""A market that does not exist but behaves: a seeded random walk with a common factor and rare jumps.

There is no hidden state. The next prices follow from the last recorded ones, the seed and the instant, so any
process, restarted or not, computes the same tick. Everything is Decimal, and chance comes from SHA-256, so
every machine and Python version comes to the same figures.

Per step of d days a coin moves by exp(v·√d·(m·M + i·I) - v²·d/2 + jumps), where M is the market's draw, I the
coin's own, and v its daily volatility. A stable coin is pulled back to 1 and does not jump.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Context, Decimal, localcontext
from types import MappingProxyType

from risk.feeds import LEAST_PRICE, PRICE_BOUND, Feed, Tick

SOURCE = "simulated"

# Share of a coin's movement that is the whole market's; the squares of the two add up to 1.
MARKET_SHARE = Decimal("0.8")
OWN_SHARE = Decimal("0.6")

JUMPS_PER_DAY = Decimal(1) / 20  # a coin of its own, and again the market as one
JUMP_SIZE = Decimal("1.5")  # standard deviation, in days of volatility

PULL_PER_DAY = Decimal(12)  # how fast a stable coin returns to 1: half of the way in about 80 minutes

# A market nobody watched has slept too: a restart after a week must not look like a crash.
LONGEST_STEP = timedelta(hours=1)

# Contexts of our own: a caller who works with more digits must not get another market.
WALKING = Context(prec=28)
TIDY = Context(prec=8)  # digits that a price keeps
# Well inside what feeds accept, however long a walk falls or a visitor pushes.
LEAST_SIMULATED_PRICE = LEAST_PRICE * 10**4
GREATEST_SIMULATED_PRICE = PRICE_BOUND / 10**4

ONE = Decimal(1)
NOTHING: Mapping[str, Decimal] = MappingProxyType({})
NO_SHOCKS: Mapping[timedelta, Mapping[str, Decimal]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Walk:
    """How one coin walks: where it starts (USD) and its daily volatility as a fraction."""

    start: Decimal
    daily_volatility: Decimal
    stable: bool = False


@dataclass(frozen=True, slots=True)
class Draws:
    """Chance for one coin at one step: `normal` and `size` have mean 0, deviation 1; `luck` is in [0, 1)."""

    normal: Decimal
    luck: Decimal
    size: Decimal


def step(
    *,
    prices: Mapping[str, Decimal],
    walks: Mapping[str, Walk],
    seed: int,
    since: datetime,
    at: datetime,
    factors: Mapping[str, Decimal] = NOTHING,
) -> list[Tick]:
    """The ticks at `at`, given the prices last recorded at `since`.

    A coin without a last price starts at its walk's start. `factors` multiply a coin's price this once, which
    is how the demo pushes the market. Prices keep 8 significant digits.

    Raises:
        ValueError: `at` is not after `since`.
    """
    if at <= since:
        raise ValueError(f"The next tick must come after {since}, not at {at}.")
    moved = _next(prices, walks, seed=seed, moment=at.isoformat(), elapsed=at - since, factors=factors)
    return _ticks(moved, at)


def path(
    *,
    start_prices: Mapping[str, Decimal],
    walks: Mapping[str, Walk],
    seed: int,
    start: datetime,
    end: datetime,
    every: timedelta,
    shocks: Mapping[timedelta, Mapping[str, Decimal]] = NO_SHOCKS,
) -> Iterator[list[Tick]]:
    """A history from `start` to `end`, both included where `every` meets them.

    Chance follows the time since `start`, so the same seed tells the same story whenever it is told. `shocks`
    are factors by time since `start`; one whose time is between two steps applies at the later one.

    Raises:
        ValueError: `every` is not positive or longer than a step may be, or a shock comes too late to happen.
    """
    if not timedelta(0) < every <= LONGEST_STEP:
        raise ValueError(f"Steps of {every} are not above 0 and at most {LONGEST_STEP}.")
    if any(not timedelta(0) < offset <= end - start for offset in shocks):
        raise ValueError(f"Shocks must come after the start and at most {end - start} later.")
    return _story(dict(start_prices), walks, seed, start, end, every, shocks)


def feed(
    *,
    last: Callable[[], tuple[datetime, Mapping[str, Decimal]] | None],
    walks: Mapping[str, Walk],
    seed: int,
    factors: Callable[[], Mapping[str, Decimal]] = lambda: NOTHING,
) -> Feed:
    """A feed over the recorded prices: `last` reads when they were recorded and what they are, None if never.

    Asked for an instant that is not after the last record, it knows nothing new.
    """

    def known(at: datetime) -> list[Tick]:
        recorded = last()
        if recorded is None:
            return _ticks({asset: _tidy(walk.start) for asset, walk in sorted(walks.items())}, at)
        since, prices = recorded
        if at <= since:
            return []
        return step(prices=prices, walks=walks, seed=seed, since=since, at=at, factors=factors())

    return known


def _story(
    prices: dict[str, Decimal],
    walks: Mapping[str, Walk],
    seed: int,
    start: datetime,
    end: datetime,
    every: timedelta,
    shocks: Mapping[timedelta, Mapping[str, Decimal]],
) -> Iterator[list[Tick]]:
    prices = {asset: _tidy(prices.get(asset, walk.start)) for asset, walk in sorted(walks.items())}
    yield _ticks(prices, start)
    offset = every
    while start + offset <= end:
        due = [factors for when, factors in sorted(shocks.items()) if offset - every < when <= offset]
        moment = str(offset // timedelta(microseconds=1))
        prices = _next(prices, walks, seed=seed, moment=moment, elapsed=every, factors=_product(due))
        yield _ticks(prices, start + offset)
        offset += every


def _next(
    prices: Mapping[str, Decimal],
    walks: Mapping[str, Walk],
    *,
    seed: int,
    moment: str,
    elapsed: timedelta,
    factors: Mapping[str, Decimal],
) -> dict[str, Decimal]:
    moved = {}
    with localcontext(WALKING):
        days = Decimal(min(elapsed, LONGEST_STEP) // timedelta(microseconds=1)) / 86_400_000_000
        market = _draws(f"{seed}:{moment}:")
        for asset, walk in sorted(walks.items()):
            own = _draws(f"{seed}:{moment}:{asset}")
            before = prices.get(asset, walk.start)
            after = (
                _drift_back(before, walk, own, days)
                if walk.stable
                else _wander(before, walk, market, own, days)
            )
            moved[asset] = _tidy(after * factors.get(asset, ONE))
    return moved


def _wander(price: Decimal, walk: Walk, market: Draws, own: Draws, days: Decimal) -> Decimal:
    volatility = walk.daily_volatility
    move = volatility * days.sqrt() * (MARKET_SHARE * market.normal + OWN_SHARE * own.normal)
    move -= volatility * volatility * days / 2  # so that the expected price stays where it is
    for draws in (market, own):
        if draws.luck < JUMPS_PER_DAY * days:
            move += volatility * JUMP_SIZE * draws.size
    return price * move.exp()


def _drift_back(price: Decimal, walk: Walk, own: Draws, days: Decimal) -> Decimal:
    pulled = ONE + (price - ONE) * (-PULL_PER_DAY * days).exp()
    return pulled * (walk.daily_volatility * days.sqrt() * own.normal).exp()


def _draws(key: str) -> Draws:
    """Chance from a name. The sum of six uniform 16-bit words, scaled, is near enough to normal."""
    digest = hashlib.sha256(key.encode()).digest()
    words = [int.from_bytes(digest[place : place + 2]) for place in range(0, 32, 2)]
    # Six uniforms have variance 6/12, hence the root of 2.
    normal, size = (
        (Decimal(2 * sum(six) + 6) / 2**17 - 3) * Decimal(2).sqrt() for six in (words[0:6], words[6:12])
    )
    return Draws(normal=normal, luck=Decimal(int.from_bytes(digest[24:32])) / 2**64, size=size)


def _product(factors: list[Mapping[str, Decimal]]) -> dict[str, Decimal]:
    product: dict[str, Decimal] = {}
    for each in factors:
        for asset, factor in each.items():
            product[asset] = product.get(asset, ONE) * factor
    return product


def _tidy(price: Decimal) -> Decimal:
    return min(max(TIDY.plus(price), LEAST_SIMULATED_PRICE), GREATEST_SIMULATED_PRICE)


def _ticks(prices: Mapping[str, Decimal], at: datetime) -> list[Tick]:
    return [Tick(asset, price, at, SOURCE) for asset, price in prices.items()]
