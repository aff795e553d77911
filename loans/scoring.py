"""How a request looks at a glance, and how long the desk has had to answer it (R-FTR-13, R-ADM-08).

The score is a sum of named parts, each with its points and the words for them, so that a manager can disagree with
one. It orders a list and decides nothing. The clock runs while the desk has the move and stands still while the
borrower has it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Final

from accounts.money import ONE, RATE_PLACES, ZERO, divide_down, exact
from accounts.words import joined, tell

# Points of each part; together 100. More is safer.
LTV_POINTS: Final = 30
CONCENTRATION_POINTS: Final = 20
EXIT_POINTS: Final = 20
HISTORY_POINTS: Final = 20
SIZE_POINTS: Final = 10

SPREAD_OUT: Final = Decimal("0.25")  # an HHI of four equal coins or better has all the points
QUICK_EXIT: Final = ONE  # days
SLOW_EXIT: Final = Decimal(7)  # days; from here on no points
NEW_CLIENT: Final = 10  # points of somebody without a history
PER_REPAID, MOST_FOR_REPAID = 2, 10
PER_UNCURED_CALL, PER_LIQUIDATION, PER_OVERDUE, STILL_OWED = 3, 5, 3, 10


# --- Score ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Coin:
    """One collateral coin over all accounts, in USD. `daily`: what its market takes a day; None is not published."""

    asset: str
    market: Decimal
    recognised: Decimal
    daily: Decimal | None


@dataclass(frozen=True, slots=True)
class Record:
    """What the desk remembers of a client, counted. `owing`: something is still owed after a liquidation."""

    loans: int = 0
    repaid: int = 0
    calls: int = 0
    cured: int = 0
    liquidations: int = 0
    overdue: int = 0
    owing: bool = False


@dataclass(frozen=True, slots=True)
class Facts:
    """What a score looks at. `ltv` after paying out, None without collateral; `value` in USD, None without a price.

    `large`: the USD line from which a second person releases an approval.
    """

    ltv: Decimal | None
    initial: Decimal
    coins: tuple[Coin, ...]
    record: Record
    value: Decimal | None
    large: Decimal


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a score: `points` of at most `most`, and why in words."""

    name: str
    points: int
    most: int
    words: str


@dataclass(frozen=True, slots=True)
class Score:
    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        return sum(part.points for part in self.parts)

    @property
    def most(self) -> int:
        return sum(part.most for part in self.parts)


def score_of(facts: Facts) -> Score:
    """The parts in a fixed order, 100 points in all; whole points, rounded down. R-FTR-13"""
    return Score(
        (
            _of_ltv(facts.ltv, facts.initial),
            _of_concentration(facts.coins),
            _of_exit(facts.coins),
            _of_history(facts.record),
            _of_size(facts.value, facts.large),
        )
    )


@exact
def concentration(coins: Iterable[Coin]) -> tuple[Coin | None, Decimal, Decimal]:
    """The largest coin, its share of recognised collateral, and the HHI: the sum of squared shares. R-FTR-13

    Fractions, rounded down at 12 decimals. Nothing recognised: (None, 1, 1), as concentrated as can be.
    """
    counted = [coin for coin in coins if coin.recognised > 0]
    total = sum((coin.recognised for coin in counted), ZERO)
    if not total:
        return None, ONE, ONE
    largest = max(counted, key=lambda coin: (coin.recognised, coin.asset))
    squares = sum((coin.recognised**2 for coin in counted), ZERO)
    return (
        largest,
        divide_down(largest.recognised, total, RATE_PLACES),
        divide_down(squares, total * total, RATE_PLACES),
    )


@exact
def days_to_exit(coin: Coin) -> Decimal | None:
    """Days until the market has taken all of a coin, down at 12 decimals; None: not known, or never. R-GEN-79"""
    if not coin.daily:
        return None
    return divide_down(coin.market, coin.daily, RATE_PLACES)


# --- Parts ------------------------------------------------------------------------------------------------


def _of_ltv(ltv: Decimal | None, initial: Decimal) -> Part:
    """All points up to half of the initial line, none from the line on, in proportion between."""
    if ltv is None:
        return Part(tell("LTV afterwards"), 0, LTV_POINTS, tell("no collateral counts"))
    words = tell("{ltv} against an initial line of {initial}", ltv=_percent(ltv), initial=_percent(initial))
    return Part(tell("LTV afterwards"), _share(LTV_POINTS, (initial - ltv) * 2, initial), LTV_POINTS, words)


def _of_concentration(coins: Iterable[Coin]) -> Part:
    largest, share, index = concentration(coins)
    name = tell("Concentration")
    if largest is None:
        return Part(name, 0, CONCENTRATION_POINTS, tell("no collateral counts"))
    words = tell(
        "{asset} is {share} of what counts; HHI {index}",
        asset=largest.asset,
        share=_percent(share),
        index=_decimals(index),
    )
    points = _share(CONCENTRATION_POINTS, ONE - index, ONE - SPREAD_OUT)
    return Part(name, points, CONCENTRATION_POINTS, words)


def _of_exit(coins: Iterable[Coin]) -> Part:
    """Coins are sold beside each other, so the slowest one decides. One that is not known gives no points."""
    held = sorted((coin for coin in coins if coin.market > 0), key=lambda coin: coin.asset)
    name = tell("Days to sell it all")
    if not held:
        return Part(name, 0, EXIT_POINTS, tell("there is nothing to sell"))
    unknown = [coin.asset for coin in held if coin.daily is None]
    if unknown:
        words = tell("unknown: no market depth is published for {unknown}", unknown=joined(", ", unknown))
        return Part(name, 0, EXIT_POINTS, words)
    never = [coin.asset for coin in held if not coin.daily]
    if never:
        return Part(
            name, 0, EXIT_POINTS, tell("never: the market takes no {never}", never=joined(", ", never))
        )
    days, slowest = max((days_to_exit(coin) or ZERO, coin.asset) for coin in held)
    words = tell(
        "{days} days for {slowest} at its share of the daily volume", days=_decimals(days), slowest=slowest
    )
    return Part(name, _share(EXIT_POINTS, SLOW_EXIT - days, SLOW_EXIT - QUICK_EXIT), EXIT_POINTS, words)


def _of_history(record: Record) -> Part:
    """A new client begins in the middle; loans repaid add, calls not cured, sales and late loans take away."""
    uncured = max(record.calls - record.cured, 0)
    points = NEW_CLIENT + min(PER_REPAID * record.repaid, MOST_FOR_REPAID)
    points -= (
        PER_UNCURED_CALL * uncured + PER_LIQUIDATION * record.liquidations + PER_OVERDUE * record.overdue
    )
    points -= STILL_OWED if record.owing else 0
    said = [
        tell(
            "{loans} so far, {repaid} repaid",
            loans=_one_or_many(record.loans, tell("1 loan"), tell("{number} loans", number=record.loans)),
            repaid=record.repaid,
        )
        if record.loans
        else tell("no loan before"),
        tell(
            "{calls}, {cured} cured",
            calls=_one_or_many(
                record.calls, tell("1 margin call"), tell("{number} margin calls", number=record.calls)
            ),
            cured=record.cured,
        )
        if record.calls
        else "",
        _one_or_many(
            record.liquidations,
            tell("1 liquidation"),
            tell("{number} liquidations", number=record.liquidations),
        )
        if record.liquidations
        else "",
        _one_or_many(
            record.overdue, tell("1 time overdue"), tell("{number} times overdue", number=record.overdue)
        )
        if record.overdue
        else "",
        tell("something is still owed after a liquidation") if record.owing else "",
    ]
    words = joined("; ", (one for one in said if one))
    return Part(tell("History"), min(max(points, 0), HISTORY_POINTS), HISTORY_POINTS, words)


def _of_size(value: Decimal | None, large: Decimal) -> Part:
    """Small ones are easy: no points from the second person's line on."""
    if value is None:
        return Part(tell("Size"), 0, SIZE_POINTS, tell("a coin has no price"))
    words = tell(
        "{value:,.0f} USD; a second person releases from {large:,.0f} USD on", value=value, large=large
    )
    return Part(tell("Size"), _share(SIZE_POINTS, large - value, large), SIZE_POINTS, words)


@exact
def _share(most: int, part: Decimal, whole: Decimal) -> int:
    """`most` x part / whole, between 0 and `most`, rounded down."""
    if whole <= 0:
        return 0
    return min(max(int((most * part / whole).to_integral_value(ROUND_FLOOR)), 0), most)


@exact
def _percent(value: Decimal) -> str:
    return tell("{value} %", value=(value * 100).quantize(Decimal("0.01"), rounding=ROUND_FLOOR))


@exact
def _decimals(value: Decimal) -> str:
    return f"{value.quantize(Decimal('0.01'), rounding=ROUND_FLOOR)}"


def _one_or_many(number: int, one: str, many: str) -> str:
    return one if number == 1 else many


# --- Clock ------------------------------------------------------------------------------------------------

IN_REVIEW: Final = frozenset({"submitted", "negotiating"})  # the desk has the move


@dataclass(frozen=True, slots=True)
class Clock:
    """How long the desk has had the move of one request, of the `limit` it promised. `since` None: it stands still."""

    limit: timedelta
    used: timedelta  # in earlier turns
    since: datetime | None

    def taken(self, at: datetime) -> timedelta:
        return self.used + (at - self.since if self.since is not None else timedelta())

    def left(self, at: datetime) -> timedelta:
        """Below zero: by how much it is late."""
        return self.limit - self.taken(at)

    def is_late(self, at: datetime) -> bool:
        """At the very instant it is due it is late. R-ADM-08"""
        return self.left(at) <= timedelta()

    @property
    def due_at(self) -> datetime | None:
        """When the desk has to have answered; None while the borrower has the move."""
        return None if self.since is None else self.since + self.limit - self.used


def clock_of(moves: Sequence[tuple[str, datetime]], *, limit: timedelta) -> Clock:
    """The clock of a request from its moves, (status, instant), oldest first. R-ADM-08

    A move that is not a change of turn (a second wish of the borrower) lets the clock run on.
    """
    used, since = timedelta(), None
    for status, instant in moves:
        is_desks = status in IN_REVIEW
        if is_desks and since is None:
            since = instant
        elif not is_desks and status != "countered" and since is not None:
            used, since = used + (instant - since), None
    return Clock(limit=limit, used=used, since=since)


def average(spans: Iterable[timedelta]) -> timedelta | None:
    """None of nothing."""
    told = list(spans)
    return sum(told, timedelta()) / len(told) if told else None


def limit_at(limits: Mapping[datetime, int], at: datetime, *, default: int) -> timedelta:
    """The hours in force at `at`, of those that start at each instant. R-ADM-08"""
    begun = [start for start in limits if start <= at]
    return timedelta(hours=limits[max(begun)] if begun else default)
