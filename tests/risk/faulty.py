"""A book of borrowers near their lines, fed step by step, and judged by what coins truly were worth.

The judge knows nothing of the gate: what each group owes and holds, at the true prices, against the liquidation line.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_CEILING, Decimal

from risk import prices, sweep
from risk.consensus import Said
from risk.feeds import Tick, polled
from risk.models import CollateralGroup, Liquidation
from tests import build
from tests.build import LONG_AGO, NOON

D = Decimal
LINE = D("0.91")
BORROWERS = 30
CAPITAL = D(1000)  # USD of collateral of each, at the start
VENUES = ("alpha", "beta", "gamma")
EVERY = timedelta(seconds=5)

Word = tuple[str, str, float]  # venue, USD, seconds its clock is off
Told = Mapping[str, tuple[Word, ...]]


@dataclass(frozen=True)
class Step:
    """What coins are worth, and what the feed says of them; of a coin it does not name it says the truth."""

    true: Mapping[str, str]
    told: Told = field(default_factory=dict)

    def ticks(self, at: datetime) -> list[Tick]:
        words = {coin: one(usd) for coin, usd in self.true.items()} | dict(self.told)
        return [_tick(coin, each, at) for coin, each in words.items() if each]


def one(usd: str, *, off: float = 0) -> tuple[Word, ...]:
    """What the only source says."""
    return (("only", usd, off),)


def venues(*usd: str | None, off: tuple[float, ...] = (0, 0, 0)) -> tuple[Word, ...]:
    """What three sources say; None says nothing."""
    words = zip(VENUES, usd, off, strict=True)
    return tuple((venue, price, seconds) for venue, price, seconds in words if price is not None)


def _tick(coin: str, words: tuple[Word, ...], at: datetime) -> Tick:
    said = [Said(venue, D(usd), at + timedelta(seconds=off)) for venue, usd, off in words]
    if words[0][0] == "only":
        return Tick(coin, said[0].price, said[0].observed_at, "only")
    return polled(coin, said, source="venues")


@dataclass(frozen=True)
class Position:
    group: CollateralGroup
    held: Decimal
    owed: Decimal

    def ltv(self, coin: Decimal, owed: Decimal) -> Decimal:
        return self.owed * owed / (self.held * coin)


@dataclass
class Book:
    """Thirty groups at 61 to 90 % LTV, all on one coin and owing another; and what was sold at which step."""

    coin: str
    owes: str
    positions: list[Position]
    sold_at: dict[int, int] = field(default_factory=dict)
    wrong: list[tuple[int, int]] = field(default_factory=list)  # step, group
    steps: list[Step] = field(default_factory=list)

    def over(self, true: Mapping[str, str | Decimal]) -> set[int]:
        """The groups at or over their liquidation line at these prices."""
        coin, owed = D(true[self.coin]), D(true[self.owes])
        return {each.group.pk for each in self.positions if each.ltv(coin, owed) >= LINE}

    def harmed(self, steps: Iterable[Step]) -> set[int]:
        """Whom believing some word of the feed would have sold although the truth would not."""
        found: set[int] = set()
        for step in steps:
            for coin in step.told:
                for _, usd, _ in step.told[coin]:
                    if coin in (self.coin, self.owes):
                        found |= self.over({**step.true, coin: usd}) - self.over(step.true)
        return found

    def run(self, steps: Iterable[Step], *, every: timedelta = EVERY, start: datetime = NOON) -> "Book":
        """Record what is told and sweep, step by step, and note every sale that the truth does not bear out."""
        for step in steps:
            number = len(self.steps)
            self.steps.append(step)
            at = start + number * every
            prices.record(step.ticks(at), at=at)
            report = sweep.sweep(at=at)
            assert report.failed == ()
            sold = set(Liquidation.objects.values_list("group_id", flat=True)) - set(self.sold_at)
            self.sold_at |= dict.fromkeys(sold, number)
            self.wrong += [(number, group) for group in sorted(sold - self.over(step.true))]
        return self

    def missed(self, *, patience: int) -> set[int]:
        """Groups that were truly over their line for `patience` steps after the one that put them there, unsold."""
        late: set[int] = set()
        since: dict[int, int] = {}
        for number, step in enumerate(self.steps):
            over = self.over(step.true)
            since = {group: since.get(group, number) for group in over}
            waited = {group for group, first in since.items() if number - first >= patience}
            late |= {group for group in waited if self.sold_at.get(group, number + 1) > number}
        return late


def book_of(coin: str, owes: str, *, coin_usd: str, owed_usd: str = "1") -> Book:
    """LTVs of 61, 62 … 90 % at these prices, a hair below at most."""
    build.limits()
    for symbol in (coin, owes):
        build.asset(symbol)
        build.ratios(symbol)
    build.fund_pool(owes, "1000000000")
    held = (CAPITAL / D(coin_usd)).quantize(D("1e-8"), rounding=ROUND_CEILING)
    positions = []
    for number in range(BORROWERS):
        share = D(61 + number) / 100
        owed = (share * CAPITAL / D(owed_usd)).quantize(D("1e-8"))
        owner = build.customer()
        sub = build.account(owner)
        build.deposit(sub, coin, str(held), at=LONG_AGO)
        group = build.group(build.master(owner), [sub], [coin])
        build.debt(group, owes, str(owed), rate="0")
        positions.append(Position(group, held, owed))
    return Book(coin, owes, positions)
