"""The market of the last 45 days, before anybody lived in it.

The simulated walk is the same whenever it is told, because its chance follows the time since its start. It is
scaled so that it ends at the catalogue's start prices: so the prices of every moment of every story are known
beforehand, and an LTV can be wanted and had.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Context, Decimal, localcontext
from typing import Final

from risk.feeds import Tick, simulated
from risk.feeds.simulated import Walk

SPAN: Final = timedelta(days=45)
STEP: Final = timedelta(hours=1)  # the walk's longest
KEPT_EVERY: Final = 6  # steps; of the last days every one is kept
KEPT_WHOLE: Final = timedelta(days=2)
SEED: Final = 5  # a market that slides for weeks: loans once healthy are called, none of them out of the blue

PRECISE: Final = Context(prec=28)
TIDY: Final = Context(prec=8)  # digits that a price keeps


@dataclass(frozen=True, slots=True)
class Fall:
    """`factor` on the price of `coin`, or of every coin that is not stable, `days_ago`."""

    days_ago: Decimal
    factor: Decimal
    coin: str = ""


# On top of the jumps that the seed brings: bad days of single coins, and a weak night for all. The two of DOT leave a
# group that was called with less than it owes; that of TRX is what a delayed liquidation waits for.
FALLS: Final = (
    Fall(Decimal("27.5"), Decimal("0.83"), "DOT"),
    Fall(Decimal("24.3"), Decimal("0.73"), "DOT"),
    Fall(Decimal("6.95"), Decimal("0.87"), "SOL"),
    Fall(Decimal("0.6"), Decimal("0.965")),
    Fall(Decimal("0.354"), Decimal("0.93"), "TRX"),
)


@dataclass(frozen=True, slots=True)
class Past:
    """Every hour's ticks, oldest first; `kept` are those that go on record."""

    ticks: Sequence[Sequence[Tick]]
    kept: Sequence[Sequence[Tick]]

    def prices(self, at: datetime) -> dict[str, Decimal]:
        """The prices on record at `at`, in USD."""
        times = [moment[0].observed_at for moment in self.kept]
        return {tick.asset: tick.price for tick in self.kept[bisect_right(times, at) - 1]}


def until(end: datetime, *, walks: Mapping[str, Walk], seed: int = SEED) -> Past:
    """The 45 days that end at `end`, with every coin at its walk's start price there."""
    shocks = {
        SPAN - timedelta(seconds=int(fall.days_ago * 86_400)): {
            coin: fall.factor
            for coin, walk in walks.items()
            if coin == fall.coin or (not fall.coin and not walk.stable)
        }
        for fall in FALLS
    }
    raw = list(
        simulated.path(
            start_prices={},
            walks=walks,
            seed=seed,
            start=end - SPAN,
            end=end,
            every=STEP,
            shocks=shocks,
        )
    )
    with localcontext(PRECISE):
        scale = {tick.asset: walks[tick.asset].start / tick.price for tick in raw[-1]}
        ticks = [[_scaled(tick, scale[tick.asset]) for tick in moment] for moment in raw]
    return Past(ticks=ticks, kept=[moment for n, moment in enumerate(ticks) if _is_kept(n, moment, end)])


def _scaled(tick: Tick, factor: Decimal) -> Tick:
    return replace(tick, price=TIDY.plus(tick.price * factor))


def _is_kept(number: int, moment: Sequence[Tick], end: datetime) -> bool:
    return number % KEPT_EVERY == 0 or moment[0].observed_at >= end - KEPT_WHOLE
