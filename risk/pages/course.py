"""Where an LTV was: day closes as a drawing, their lowest and highest, and the same as a sentence and rows.

Pure geometry like the track's: x in per cent of the width, y in pixels, so that letters stay readable on a phone.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Final

from accounts.money import exact
from accounts.templatetags import figures
from accounts.words import joined, tell
from risk.closes import Close
from risk.levels import Lines

MONTH: Final = 30
WEEK: Final = 7
ROOM_FOR_WEEK: Final = 12  # days on the drawing from which on a week ago has room for its name
TOP: Final = 12  # pixels
HEIGHT: Final = 108
PLOT: Final = Decimal(86)  # per cent; the names of the lines stand right of it
BESIDE: Final = 13  # pixels between two names
MARGIN: Final = Decimal("0.02")
WORDS: Final = ("initial", "call", "liquidation")
BANDS: Final = ("safe", "watch", "call", "liq")


@dataclass(frozen=True, slots=True)
class Extremes:
    """The lowest and the highest of the closes and of now, with the day each was; None: now."""

    days: int
    low: Decimal
    low_on: date | None
    high: Decimal
    high_on: date | None


@dataclass(frozen=True, slots=True)
class Segment:
    x1: str
    y1: str
    x2: str
    y2: str


@dataclass(frozen=True, slots=True)
class Dot:
    x: str
    y: str


@dataclass(frozen=True, slots=True)
class Level:
    """A line of the terms: where it is drawn, and where its name stands."""

    y: str
    label_y: str
    figure: str
    word: str


@dataclass(frozen=True, slots=True)
class Zone:
    band: str
    y: str
    height: str


@dataclass(frozen=True, slots=True)
class Course:
    """The drawing. `week_x` empty: a week ago is not on it, or too near its left end to be named."""

    segments: tuple[Segment, ...]
    dots: tuple[Dot, ...]
    now: Dot | None
    levels: tuple[Level, ...]
    zones: tuple[Zone, ...]
    first: str  # days in words: SVG knows no <time>
    week_x: str
    week_day: str
    week_ago: Decimal | None
    spans: tuple[Extremes, ...]
    closes: tuple[Close, ...]  # the newest first, for the table
    sentence: str


def course_of(closes: Sequence[Close], lines: Lines, *, now: Decimal | None, today: date) -> Course | None:
    """The last 30 closes and now, against today's lines; None where no day has a figure."""
    if all(close.ltv is None for close in closes):
        return None
    values = [close.ltv for close in closes if close.ltv is not None] + ([] if now is None else [now])
    scale = _Scale(min([*values, lines.initial]) - MARGIN, max([*values, lines.liquidation]) + MARGIN)
    xs = {close.day: _x(close.day, closes[0].day, today) for close in closes}
    spots = [None if close.ltv is None else Dot(xs[close.day], scale.y(close.ltv)) for close in closes]
    here = None if now is None else Dot(_text(PLOT), scale.y(now))
    path = [*spots, here]
    month, week = extremes(closes, now, MONTH, today), extremes(closes, now, WEEK, today)
    spans = [week] if len(closes) <= WEEK else [week, month]
    week_day = today - timedelta(days=WEEK)
    week_x = xs.get(week_day, "") if len(closes) >= ROOM_FOR_WEEK else ""
    return Course(
        segments=tuple(Segment(a.x, a.y, b.x, b.y) for a, b in pairwise(path) if a and b),
        dots=tuple(_alone(path)),
        now=here,
        levels=_levels(lines, scale),
        zones=_zones(lines, scale),
        first=_day(closes[0].day),
        week_x=week_x,
        week_day=_day(week_day),
        week_ago=next((close.ltv for close in closes if close.day == week_day), None),
        spans=tuple(span for span in spans if span is not None),
        closes=tuple(reversed(closes)),
        sentence=_sentence(closes, month, now),
    )


def extremes(closes: Iterable[Close], now: Decimal | None, days: int, today: date) -> Extremes | None:
    """Over the last so many finished days and now; None where nothing of it has a figure."""
    since = today - timedelta(days=days)
    found: list[tuple[Decimal, date | None]] = [
        (close.ltv, close.day) for close in closes if close.ltv is not None and close.day >= since
    ]
    if not found:
        return None
    found += [] if now is None else [(now, None)]
    low, high = min(found, key=lambda one: one[0]), max(found, key=lambda one: one[0])
    return Extremes(days, *low, *high)


# --- Geometry -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Scale:
    low: Decimal
    high: Decimal

    @exact
    def y(self, ltv: Decimal) -> str:
        share = (self.high - ltv) / (self.high - self.low)
        return format((TOP + share * (HEIGHT - TOP)).quantize(Decimal("0.1")), "f")


def _x(day: date, first: date, today: date) -> str:
    """A close stands at the end of its day, now at the right end."""
    return _text(PLOT * (day - first).days / max((today - first).days, 1))


def _text(x: Decimal) -> str:
    return f"{format(x.quantize(Decimal('0.01')), 'f')}%"


def _day(day: date) -> str:
    return figures.short_day(day)


def _alone(path: Sequence[Dot | None]) -> Iterable[Dot]:
    """Closes with no figure on either side; a line cannot show them."""
    around = [None, *path, None]
    for before, spot, after in zip(around, around[1:], around[2:], strict=False):
        if spot is not None and before is None and after is None:
            yield spot


def _levels(lines: Lines, scale: _Scale) -> tuple[Level, ...]:
    """Names are pushed down from the highest line on, so that none covers another."""
    found, beneath = [], Decimal(0)
    named = zip((lines.initial, lines.margin_call, lines.liquidation), WORDS, strict=True)
    for line, word in reversed(list(named)):
        y = scale.y(line)
        label = max(Decimal(y) + 4, beneath)
        beneath = label + BESIDE
        found.append(Level(y, f"{label:f}", figures.line(line), word))
    return tuple(found)


def _zones(lines: Lines, scale: _Scale) -> tuple[Zone, ...]:
    edges = [
        Decimal(HEIGHT),
        *(Decimal(scale.y(line)) for line in (lines.initial, lines.margin_call, lines.liquidation)),
        Decimal(TOP),
    ]
    return tuple(
        Zone(band, f"{upper:f}", f"{lower - upper:f}")
        for band, (lower, upper) in zip(BANDS, pairwise(edges), strict=True)
    )


# --- The same in words --------------------------------------------------------------------------------


def _sentence(closes: Sequence[Close], month: Extremes | None, now: Decimal | None) -> str:
    parts = []
    if month is not None:
        low, high = (figures.ltv(value).replace(figures.NBSP, " ") for value in (month.low, month.high))
        parts.append(
            tell(
                "Loan to value over {count} days: between {low} and {high}.",
                count=len(closes),
                low=low,
                high=high,
            )
        )
    if now is not None:
        parts.append(tell("Now {nbsp}.", nbsp=figures.ltv(now).replace(figures.NBSP, " ")))
    missing = sum(close.ltv is None for close in closes)
    if missing:
        parts.append(
            tell(
                "{missing} of these days {which} no figure.",
                missing=missing,
                which=tell("has") if missing == 1 else tell("have"),
            )
        )
    parts.append(tell("Every close is in the table."))
    return joined(" ", parts)
