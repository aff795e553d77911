"""What a group would have been worth at every step of a recorded market, if nobody had touched it.

A replay is judged with it: was what was sold over its line, was all that was over its line sold, and would it have
come back by itself. Nearly every group is far from its lines nearly always, so whole stretches of the recording are
decided at once, on the best and the worst prices in them; only where these disagree is looked more closely, down to
the single step. Every answer is exact (R-GEN-41).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from accounts.money import ZERO, exact
from risk.valuation import Tiers, recognised


@dataclass(frozen=True, slots=True)
class Position:
    """What a group holds and owes, in the coins, from step `start` up to and not including `stop`."""

    start: int
    stop: int
    held: Mapping[str, Decimal]
    owed: Mapping[str, Decimal]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive steps, `stop` not included, at all of which LTV is at or over a line, or at none."""

    start: int
    stop: int
    is_over: bool


class Tape:
    """One coin's price at every step, with the lowest and the highest of every 2, 4, 8... steps."""

    def __init__(self, prices: Sequence[Decimal]) -> None:
        self.lows, self.highs = [list(prices)], [list(prices)]
        while len(self.lows[-1]) > 1:
            self.lows.append(_paired(self.lows[-1], min))
            self.highs.append(_paired(self.highs[-1], max))


@dataclass(frozen=True, slots=True)
class Market:
    """The tapes that collateral and debts are valued on, all equally long, and what the coins count for.

    They differ where a price was doubted: collateral is then worth the most it may be (R-GEN-22).
    """

    collateral: Mapping[str, Tape]
    debts: Mapping[str, Tape]
    tiers: Mapping[str, Tiers]
    steps: int

    @exact
    def stretches(self, position: Position, *, line: Decimal) -> list[Stretch]:
        """The whole of `position`, cut where LTV crosses `line`, in order. Owing nothing is below every line."""
        joined: list[Stretch] = []
        for found in self._descend(position, line, len(_levels(self.steps)) - 1, 0):
            if joined and joined[-1].is_over == found.is_over:
                joined[-1] = Stretch(joined[-1].start, found.stop, found.is_over)
            else:
                joined.append(found)
        return joined

    def first_below(self, position: Position, *, line: Decimal) -> int | None:
        """The first step at which LTV is below `line`; None where it is at none."""
        found = self.stretches(position, line=line)
        return next((stretch.start for stretch in found if not stretch.is_over), None)

    def _descend(self, position: Position, line: Decimal, level: int, index: int) -> Iterator[Stretch]:
        start, stop = index << level, min((index + 1) << level, self.steps)
        if stop <= position.start or start >= position.stop:
            return
        if position.start <= start and stop <= position.stop:
            verdict = self._verdict(position, line, level, index)
            if verdict is not None:
                yield Stretch(start, stop, verdict)
                return
        yield from self._descend(position, line, level - 1, 2 * index)
        if (2 * index + 1) << (level - 1) < self.steps:
            yield from self._descend(position, line, level - 1, 2 * index + 1)

    def _verdict(self, position: Position, line: Decimal, level: int, index: int) -> bool | None:
        """Over at every step of the block, at none, or (None) it depends on the step; never None for one step."""
        most = self._owed(position, level, index, highest=True)
        if most == 0 or most < line * self._counted(position, level, index, highest=False):
            return False
        least = self._owed(position, level, index, highest=False)
        if least > 0 and least >= line * self._counted(position, level, index, highest=True):
            return True
        return None

    def _owed(self, position: Position, level: int, index: int, *, highest: bool) -> Decimal:
        total = ZERO
        for coin, amount in position.owed.items():
            tape = self.debts[coin]
            total += amount * (tape.highs if highest else tape.lows)[level][index]
        return total

    def _counted(self, position: Position, level: int, index: int, *, highest: bool) -> Decimal:
        total = ZERO
        for coin, amount in position.held.items():
            tape = self.collateral[coin]
            price = (tape.highs if highest else tape.lows)[level][index]
            total += recognised(market_value=amount * price, tiers=self.tiers.get(coin, ()))
        return total


def _paired(prices: Sequence[Decimal], of: Callable[[Sequence[Decimal]], Decimal]) -> list[Decimal]:
    return [of(prices[start : start + 2]) for start in range(0, len(prices), 2)]


def _levels(steps: int) -> list[int]:
    """How many blocks each level has, the single steps first."""
    counts = [steps]
    while counts[-1] > 1:
        counts.append((counts[-1] + 1) // 2)
    return counts
