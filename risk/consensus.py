"""Whether a price can be believed: what several sources come to, and what is wrong with a price beside the last one.

One venue can print anything: a stable coin at 1.30, a staked coin at an eighth, a thousand times too much, or the
same price for an hour because nobody is there any more. So a price of several sources is their median, as long as
most of them stand behind it, and a price that leaves the last one far behind has to be seen twice (R-GEN-20, R-GEN-21;
TRUST E19, E21, E22).
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median

from accounts.money import exact
from accounts.words import tell

LEAST_ANSWERS = 3  # R-GEN-20; a median of two is moved by either
LEAST_AGREEING = 2  # R-GEN-21: one source alone is no level where there are more
FURTHEST_AHEAD = timedelta(seconds=5)  # clocks differ a little
# Units go wrong by powers of ten, markets between two ticks do not: however often one lone source says it.
FURTHEST_ALONE = Decimal(10)

# How doubts begin. The first is the one that a second tick may clear.
JUMP = "a jump of more than"
ALONE = "more than tenfold off"
STILL = "the same price for"
FLOOR, BELOW, ABOVE = "on the floor of", "below the floor of", "above the ceiling of"


@dataclass(frozen=True, slots=True)
class Said:
    """What one source said: USD, and when it says it saw that."""

    source: str
    price: Decimal
    observed_at: datetime


@dataclass(frozen=True, slots=True)
class Terms:
    """What makes a price of one coin believable. Fractions; USD; `max_still` None: a price may stand still for ever.

    `min_sources` 1 is a feed of one source, or for a feed of several the usual number (LEAST_ANSWERS).
    """

    max_age: timedelta
    max_jump: Decimal
    max_spread: Decimal
    min_sources: int = 1
    floor: Decimal | None = None
    ceiling: Decimal | None = None
    max_still: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Heard:
    """What the sources come to. `doubt` says in words why it is not to be used, or is empty.

    `is_thin`: too few answered at all, which is silence rather than a doubt. `left_out` says why, by source.
    """

    price: Decimal
    observed_at: datetime
    agreeing: int
    doubt: str = ""
    is_thin: bool = False
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Known:
    """What is on record of a coin: its last good price; its newest observation and since when it has been the same;
    and whether that one was doubted for its jump only, so that a second tick can confirm it.
    """

    good: Decimal | None = None
    newest: Decimal | None = None
    still_since: datetime | None = None
    awaits_second: bool = False


@exact
def hear(said: Iterable[Said], terms: Terms, *, at: datetime) -> Heard | None:
    """The median of the sources that count, as old as the oldest of them; None when nobody's word is of now.

    A source counts when what it says is no older than `max_age` and no further than 5 s ahead; of those, the ones
    within `max_spread` of the median of all agree. They must be most, at least two, and at least `min_sources`; and
    not further apart than `max_spread` of their median, or else the coin is in doubt (R-GEN-20, R-GEN-21, TRUST E22).
    A source that spoke more than once counts once, with its newest word.
    """
    newest = {one.source: one for one in sorted(said, key=lambda one: one.observed_at)}
    given = [newest[source] for source in sorted(newest)]
    left_out = {one.source: late for one in given if (late := _untimely(one.observed_at, terms, at))}
    timely = [one for one in given if one.source not in left_out]
    if not timely:
        return None
    middle = median(one.price for one in timely)
    far = {one.source for one in timely if abs(one.price - middle) > terms.max_spread * middle}
    near = [one for one in timely if one.source not in far]
    needed = LEAST_ANSWERS if terms.min_sources == 1 else terms.min_sources
    if len(timely) < needed:
        return _unheard(
            timely,
            at,
            tell("{count} of {needed} sources needed", count=len(timely), needed=needed),
            left_out,
            is_thin=True,
        )
    least = LEAST_AGREEING if terms.min_sources == 1 else terms.min_sources
    if 2 * len(near) <= len(timely) or len(near) < LEAST_AGREEING:
        return _unheard(timely, at, _apart(timely), left_out)
    if len(near) < least:
        return _unheard(
            timely, at, tell("{count} of {least} sources agree", count=len(near), least=least), left_out
        )
    if spread([one.price for one in near]) > terms.max_spread:
        return _unheard(near, at, _apart(near), left_out)
    off = {
        one.source: tell("{price:+.1%} off the median", price=(one.price - middle) / middle)
        for one in timely
        if one.source in far
    }
    return Heard(
        price=median(one.price for one in near),
        observed_at=_oldest(near, at),
        agreeing=len(near),
        left_out=left_out | off,
    )


@exact
def spread(prices: Collection[Decimal]) -> Decimal:
    """How far the highest is from the lowest, as a fraction of their median; 0 for one or none."""
    return (max(prices) - min(prices)) / median(prices) if prices else Decimal(0)


def doubt(price: Decimal, observed_at: datetime, sources: int, terms: Terms, known: Known) -> str:
    """Why a price goes into quarantine, for people; empty when it is believed (R-GEN-21).

    Outside its bounds, or on the floor itself, where a feed that is cut off stands (LUNA, 2022); of too few sources;
    the same for longer than `max_still`; or a jump of more than `max_jump` from the last good price, unless the
    observation just before was doubted for that only and is within `max_jump`. One source alone is never believed
    more than tenfold away.
    """
    broken = _broken_bound(price, sources, terms)
    if broken:
        return broken
    if terms.max_still is not None and _is_still(price, observed_at, terms.max_still, known):
        return tell(
            "{still} more than {total_seconds:.0f} s",
            still=STILL,
            total_seconds=terms.max_still.total_seconds(),
        )
    if known.good is None or not is_jump(known.good, price, terms.max_jump):
        return ""
    if sources < LEAST_AGREEING and _is_absurd(known.good, price):
        return tell("{alone} {good:f} USD, by one source alone", alone=ALONE, good=known.good.normalize())
    if known.awaits_second and known.newest is not None and not is_jump(known.newest, price, terms.max_jump):
        return ""
    return tell(
        "{jump} {max_jump:.2%} from {good:f} USD",
        jump=JUMP,
        max_jump=terms.max_jump,
        good=known.good.normalize(),
    )


def way_out(doubted: str) -> str:
    """What people can do about a doubt, in plain words."""
    for begins, words in WAYS_OUT:
        if doubted.startswith(begins):
            return words
    return tell("Wait until enough sources agree again. If you know the price meanwhile, set it by hand.")


WAYS_OUT = (
    (
        JUMP,
        tell("Wait: the next tick at this level confirms it by itself. Set the price by hand if none comes."),
    ),
    (ALONE, tell("One source alone is not believed this far off. If it is true, set the price by hand.")),
    (STILL, tell("The feed looks frozen: have it looked at. Until it moves, set the price by hand.")),
    (
        FLOOR,
        tell(
            "A feed may be cut off there. If the price is true, lower the floor; until then set it by hand."
        ),
    ),
    (BELOW, tell("If the price is true, change the price rule; until then set the price by hand.")),
    (ABOVE, tell("If the price is true, change the price rule; until then set the price by hand.")),
)


@exact
def is_jump(before: Decimal, after: Decimal, max_jump: Decimal) -> bool:
    """Whether a price is more than `max_jump`, a fraction, away from the one before. R-GEN-21"""
    return abs(after - before) > max_jump * before


@exact
def _is_absurd(before: Decimal, after: Decimal) -> bool:
    return after > FURTHEST_ALONE * before or before > FURTHEST_ALONE * after


def _is_still(price: Decimal, observed_at: datetime, most: timedelta, known: Known) -> bool:
    return known.still_since is not None and price == known.newest and observed_at - known.still_since > most


def _broken_bound(price: Decimal, sources: int, terms: Terms) -> str:
    if terms.floor is not None and price <= terms.floor:
        return tell(
            "{floor} {floor2:f} USD",
            floor=FLOOR if price == terms.floor else BELOW,
            floor2=terms.floor.normalize(),
        )
    if terms.ceiling is not None and price > terms.ceiling:
        return tell("{above} {ceiling:f} USD", above=ABOVE, ceiling=terms.ceiling.normalize())
    if sources < terms.min_sources:
        return tell(
            "{sources} of {min_sources} sources needed", sources=sources, min_sources=terms.min_sources
        )
    return ""


def _untimely(observed_at: datetime, terms: Terms, at: datetime) -> str:
    if observed_at > at + FURTHEST_AHEAD:
        return "from the future"
    return "too old" if at - observed_at > terms.max_age else ""


def _unheard(
    said: Collection[Said], at: datetime, why: str, left_out: dict[str, str], *, is_thin: bool = False
) -> Heard:
    middle = median(one.price for one in said)
    return Heard(middle, _oldest(said, at), len(said), why, is_thin, left_out)


def _apart(said: Collection[Said]) -> str:
    return tell(
        "{count} sources are {said:.2%} apart", count=len(said), said=spread([one.price for one in said])
    )


def _oldest(said: Iterable[Said], at: datetime) -> datetime:
    """Freshness is never overstated, and a clock ahead of ours makes no price of tomorrow."""
    return min(at, *(one.observed_at for one in said))
