"""Where labels stand that would crowd each other. Pure: wanted places in, places out."""

from collections.abc import Sequence
from decimal import Decimal

from accounts.money import exact


@exact
def spread(wanted: Sequence[Decimal], *, gap: Decimal, low: Decimal, high: Decimal) -> list[Decimal]:
    """A place for each label, `gap` or more from the next, in the order wanted and as near to it as can be.

    Between `low` and `high` when all fit; more than fit begin at `low` and run over `high`, still apart. The least
    sum of squared shifts (isotonic regression): labels that touch stand around the middle of where they were wanted.
    """
    order = sorted(range(len(wanted)), key=lambda one: (wanted[one], one))
    blocks: list[tuple[Decimal, int]] = []  # the sum of what is wanted of a block's first label, how many
    for place, one in enumerate(order):
        total, count = wanted[one] - place * gap, 1
        while blocks and blocks[-1][0] * count >= total * blocks[-1][1]:
            earlier, of = blocks.pop()
            total, count = total + earlier, count + of
        blocks.append((total, count))
    last = max(high - (len(order) - 1) * gap, low)
    firsts = [min(max(total / count, low), last) for total, count in blocks for _ in range(count)]
    found = list(wanted)
    for place, (one, first) in enumerate(zip(order, firsts, strict=True)):
        found[one] = first + place * gap
    return found
