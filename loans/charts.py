"""A rate's history as a drawing: dated steps become points on a page. Pure, so that a chart can be tested as numbers.

A rate holds until the next one starts, so the line goes level and then straight up or down.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from accounts.money import ONE, ZERO, exact, round_down, round_up

MARKS = 4  # lines across, at round rates
TENTH = 1  # decimals of a coordinate


@dataclass(frozen=True, slots=True)
class Step:
    """From `starts_at` on the annual rate is this fraction."""

    starts_at: datetime
    rate: Decimal


@dataclass(frozen=True, slots=True)
class Frame:
    """A period and a range of rates on a sheet of `width` by `height`; y grows downwards."""

    since: datetime
    until: datetime
    low: Decimal
    high: Decimal
    width: int
    height: int

    @exact
    def x(self, instant: datetime) -> Decimal:
        """Where an instant stands; what lies outside the period stands on its edge."""
        inside = min(max(instant, self.since), self.until) - self.since
        share = Decimal(inside // timedelta(seconds=1)) / Decimal(
            (self.until - self.since) // timedelta(seconds=1)
        )
        return round(share * self.width, TENTH)

    @exact
    def y(self, rate: Decimal) -> Decimal:
        return round((self.high - rate) / (self.high - self.low) * self.height, TENTH)


def frame_of(steps: Sequence[Step], *, since: datetime, until: datetime, width: int, height: int) -> Frame:
    """A frame that shows all the steps, with whole per cents at its edges; at least one per cent high."""
    rates = [step.rate for step in steps] or [ZERO]
    low, high = round_down(min(rates), 2), round_up(max(rates), 2)
    return Frame(since, until, low, high if high > low else low + ONE.scaleb(-2), width, height)


def marks_of(frame: Frame) -> list[Decimal]:
    """The rates to draw a line at: the edges and evenly between, highest first."""
    each = (frame.high - frame.low) / MARKS
    return [frame.high - each * number for number in range(MARKS + 1)]


def points_of(steps: Sequence[Step], frame: Frame) -> str:
    """The corners of the line as `x,y x,y`, oldest first; empty when nothing is in force in the period.

    `steps` are in order of time; one that began before the period counts from its start.
    """
    shown = [step for step in steps if step.starts_at < frame.until]
    begun = [step for step in shown if step.starts_at <= frame.since][-1:]
    corners: list[tuple[Decimal, Decimal]] = []
    for step in [*begun, *(step for step in shown if step.starts_at > frame.since)]:
        x, y = frame.x(step.starts_at), frame.y(step.rate)
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    if corners:
        corners.append((frame.x(frame.until), corners[-1][1]))
    return " ".join(f"{x:f},{y:f}" for x, y in corners)
