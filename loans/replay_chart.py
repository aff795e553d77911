"""LTV over the takings of a liquidation as a drawing. Pure, so that a chart can be tested as numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from typing import Final

from accounts.money import ZERO, exact
from accounts.words import joined
from loans import labels

WIDTH: Final = 420
HEIGHT: Final = 200
LABEL: Final = Decimal(15)  # the least from one label to the next
TENTH: Final = Decimal("0.1")
HIGHEST: Final = Decimal("1.5")  # LTVs over it, and those without a number, stand at the top


@dataclass(frozen=True, slots=True)
class Mark:
    """A line of the terms: drawn at `y`, named at `label_y`."""

    y: Decimal
    label_y: Decimal
    line: Decimal
    word: str


@dataclass(frozen=True, slots=True)
class Dot:
    """LTV after a taking; number 0 is the start. `is_here`: the one that is looked at."""

    number: int
    x: Decimal
    y: Decimal
    ltv: Decimal | None
    is_here: bool

    @property
    def percent(self) -> Decimal:
        """Of the drawing's width."""
        return round(self.x * 100 / WIDTH, 2)


@dataclass(frozen=True, slots=True)
class Chart:
    """`points` are the corners of the line, `x,y x,y`."""

    points: str
    dots: tuple[Dot, ...]
    marks: tuple[Mark, ...]
    width: int = WIDTH
    height: int = HEIGHT


@exact
def chart(
    path: Sequence[tuple[Decimal | None, Decimal | None]],
    lines: Sequence[tuple[Decimal, str]],
    *,
    here: int,
) -> Chart:
    """`path`: LTV before and after each taking, at least one; where one began elsewhere the line goes straight there.

    `lines`: the lines of the terms with their words. `here`: the number of the taking that is looked at, from 1.
    """
    shown = [_shown(ltv) for pair in path for ltv in pair]
    known = [*shown, *(line for line, _ in lines)]
    low = min(known).quantize(TENTH, rounding=ROUND_FLOOR)
    high = max(max(known).quantize(TENTH, rounding=ROUND_CEILING), low + TENTH)

    def x(number: int) -> Decimal:
        return round(Decimal(number * WIDTH) / len(path), 1)

    def y(ltv: Decimal | None) -> Decimal:
        return round((high - _shown(ltv)) / (high - low) * HEIGHT, 1)

    corners = [(x(0), y(path[0][0]))]
    for number, (before, after) in enumerate(path, start=1):
        if corners[-1] != (x(number - 1), y(before)):
            corners.append((x(number - 1), y(before)))
        corners.append((x(number), y(after)))
    after_each = [path[0][0], *(after for _, after in path)]
    spots = labels.spread([y(line) for line, _ in lines], gap=LABEL, low=ZERO, high=Decimal(HEIGHT))
    return Chart(
        points=joined(" ", (f"{left:f},{top:f}" for left, top in corners)),
        dots=tuple(
            Dot(number, x(number), y(ltv), ltv, is_here=number == here)
            for number, ltv in enumerate(after_each)
        ),
        marks=tuple(
            Mark(y(line), round(spot, 1), line, word) for (line, word), spot in zip(lines, spots, strict=True)
        ),
    )


def _shown(ltv: Decimal | None) -> Decimal:
    return HIGHEST if ltv is None else min(ltv, HIGHEST)
