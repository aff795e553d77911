"""What a benchmark promises, whether it held, and how fast it grows."""

import math
from dataclasses import dataclass

HEAD = "| What | Measured | Bar | Holds |\n|---|---:|---:|---|"


@dataclass(frozen=True, slots=True)
class Bar:
    """One figure beside what it may at most, or must at least, be; `None`: told, not judged."""

    what: str
    value: float
    most: float | None = None
    least: float | None = None
    unit: str = ""

    @property
    def holds(self) -> bool:
        # NaN compares as False with everything: a figure that is missing holds nothing.
        return (self.most is None or self.value <= self.most) and (
            self.least is None or self.value >= self.least
        )

    def line(self) -> str:
        bound = "·"
        if self.most is not None:
            bound = f"≤ {told(self.most)}"
        elif self.least is not None:
            bound = f"≥ {told(self.least)}"
        judged = self.most is not None or self.least is not None
        mark = ("yes" if self.holds else "**no**") if judged else ""
        return f"| {self.what} | {told(self.value)} {self.unit}".rstrip() + f" | {bound} | {mark} |"


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """By which power of the size the time grows from the smallest to the largest; 1 is in proportion."""
    return math.log(seconds[-1] / seconds[0]) / math.log(sizes[-1] / sizes[0])


def told(value: float) -> str:
    """Three digits that count, no more."""
    if math.isnan(value):
        return "none"
    if value == 0 or abs(value) >= 1000:
        return f"{value:,.0f}"
    places = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:.{places}f}"
