"""Sums that only grow, drawn over the steps in which they grew. Pure, so that a drawing can be tested as numbers."""

from collections.abc import Sequence
from decimal import Decimal

from accounts.money import exact
from accounts.words import joined

TENTH = 1  # decimals of a coordinate


@exact
def points_of(curve: Sequence[tuple[int, int]], *, steps: int, most: int, width: int, height: int) -> str:
    """The corners of the line as `x,y x,y`; y grows downwards. `most` is what reaches the top, `steps` the right edge.

    A sum stands until the step that changes it, and the line begins at 0 before the first step.
    """
    corners, last = [(0, 0)], 0
    for step, value in curve:
        corners += [(step, last), (step, value)]
        last = value
    return joined(
        " ",
        (
            f"{round(Decimal(step * width) / max(steps, 1), TENTH):f},"
            f"{round(height - Decimal(value * height) / max(most, 1), TENTH):f}"
            for step, value in corners
        ),
    )
