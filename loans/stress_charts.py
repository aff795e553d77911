"""The course of a stress as drawings and a table: groups called and liquidated, dollars sold and lost, step by step.

Pure: rows of the stored answer in, numbers out, so that a chart can be tested as numbers (R-FTR-27).
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from accounts.money import exact
from accounts.templatetags import figures
from accounts.words import tell
from loans import curves
from risk.levels import LTV_FLOORS

WIDTH: Final = 720
HEIGHT: Final = 200
ROWS: Final = 12  # of the table beside the charts, at most
MARKS: Final = 4

Curve = Sequence[tuple[int, int]]
"""What a sum has grown to, by the step in which it did."""


@dataclass(frozen=True, slots=True)
class Series:
    """A sum that only grows. `dash` tells it apart without colour."""

    name: str
    dash: str
    curve: Curve

    @property
    def last(self) -> int:
        return self.curve[-1][1] if self.curve else 0

    def at(self, step: int) -> int:
        """What it has grown to by the end of a step."""
        place = bisect_right(self.curve, step, key=lambda point: point[0])
        return self.curve[place - 1][1] if place else 0


@dataclass(frozen=True, slots=True)
class Line:
    """A series as drawn; `last` is what it has grown to, in words, for the legend."""

    points: str
    dash: str
    label: str
    last: str


@dataclass(frozen=True, slots=True)
class Chart:
    lines: tuple[Line, ...]
    marks: tuple[tuple[Decimal, str], ...]
    width: int = WIDTH
    height: int = HEIGHT


def counted(steps: Sequence[int | None]) -> list[tuple[int, int]]:
    """How many there are by each step: `steps` are when each happened, None never."""
    known = sorted(step for step in steps if step is not None)
    return [(step, bisect_right(known, step)) for step in sorted(set(known))]


@exact
def chart(series: Sequence[Series], *, steps: int, told: Callable[[int], str]) -> Chart:
    """All series on one scale from 0; `told` writes a value. Names stand in a legend, so that none can touch."""
    most = max((one.last for one in series), default=0)
    lines = [
        Line(
            points=curves.points_of(
                [*one.curve, (steps, one.last)], steps=steps, most=most, width=WIDTH, height=HEIGHT
            ),
            dash=one.dash,
            label=one.name,
            last=told(one.last),
        )
        for one in series
    ]
    values = sorted({most * part // MARKS for part in range(MARKS + 1)}, reverse=True)
    marks = [
        (round(Decimal(HEIGHT) - Decimal(value * HEIGHT) / max(most, 1), 1), told(value)) for value in values
    ]
    return Chart(tuple(lines), tuple(marks))


@dataclass(frozen=True, slots=True)
class Bucket:
    """Some LTVs in words, and by moment how many groups owe how many dollars there; `widths` of 100 by the debt."""

    label: str
    sums: tuple[tuple[int, int], ...]
    widths: tuple[int, ...]


def buckets(moments: Sequence[Sequence[Sequence[int]]]) -> list[Bucket]:
    """The book by LTV at several moments (`stress_tables`), side by side on one scale."""
    most = max((usd for moment in moments for _, usd in moment), default=0)
    ends = (*LTV_FLOORS[1:], None)
    return [
        Bucket(
            label=_between(floor, end),
            sums=tuple((moment[place][0], moment[place][1]) for moment in moments),
            widths=tuple(100 * moment[place][1] // most if most else 0 for moment in moments),
        )
        for place, (floor, end) in enumerate(zip(LTV_FLOORS, ends, strict=True))
    ]


def _between(floor: Decimal, end: Decimal | None) -> str:
    if end is None:
        return tell("{floor} and more", floor=figures.line(floor))
    return tell("{floor} to below {end}", floor=figures.line(floor), end=figures.line(end))


def rows(series: Sequence[Series], *, steps: int) -> list[tuple[int, list[int]]]:
    """What each series has grown to, at up to `ROWS` steps evenly apart; the last step is always one of them."""
    every = max(1, -(-steps // ROWS))
    wanted = sorted({*range(every, steps + 1, every), steps})
    return [(step, [one.at(step) for one in series]) for step in wanted]
