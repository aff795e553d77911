"""A recorded market over a whole book, through exactly the code that runs in production.

Nothing is decided here: each step of the recording calls what the jobs call (record prices, sweep, accrue), at
the step's own time. What is particular to a replay is when things happen, and the waits that fit bars of a
minute to an hour where production sees a price every few seconds (`publish_watch`).
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import groupby, pairwise
from statistics import median

from django.db.models import DecimalField, ExpressionWrapper, F, Min, QuerySet, Sum

from accounts.commands import Actor
from accounts.money import ONE, ZERO, exact
from accounts.words import tell
from risk import accrual, parameters, prices, sweep
from risk.arrays import Book
from risk.feeds import Tick
from risk.feeds.file import LONGEST_BAR, Bar, steps
from risk.models import (
    CollateralGroup,
    CureRun,
    DebtEntry,
    Liquidation,
    LiquidationDelay,
    MarginCall,
    ProductCode,
    Sale,
)
from risk.sweep import SweepReport
from risk.workout import TAKEOVER

SOURCE = "replay"
DOLLAR = "USDT"  # what the recordings are quoted in; they take it for a dollar
SHORTEST_OUTAGE = timedelta(minutes=10)

Jobs = Callable[[datetime], None]


class GroupsUndecided(Exception):
    """A sweep could not decide some groups: a bug, so the replay's figures would mean nothing."""


@dataclass(frozen=True, slots=True)
class Step:
    """The bars that close at one instant, and so become known then."""

    at: datetime
    bars: tuple[Bar, ...]


@dataclass(frozen=True, slots=True)
class Course:
    """A recording, ready to be fed. `longest` is each coin's longest bar.

    At `opens_at` every coin that trades from the beginning has a price; until then there is nothing to lend on.
    """

    steps: tuple[Step, ...]
    longest: dict[str, timedelta]
    opens_at: datetime
    first_day: datetime  # 00:00 UTC before the first bar: what is published then is in force throughout

    @property
    def coins(self) -> list[str]:
        """The coins that have a price at the opening: the dollar and those of the recording, by symbol."""
        known = {bar.asset for step in self.before() for bar in step.bars}
        return sorted({DOLLAR, *known})

    def before(self) -> list[Step]:
        return [step for step in self.steps if step.at <= self.opens_at]

    def after(self) -> list[Step]:
        return [step for step in self.steps if step.at > self.opens_at]


@dataclass(frozen=True, slots=True)
class Help:
    """How often something that borrowers chose beforehand acted, for how much, and for which fees. USD."""

    times: int = 0
    moved_usd: Decimal = ZERO
    fees_usd: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the replay did to the book; amounts in USD, each at the price of its own moment.

    `leads` are the minutes from a group's first margin call to its liquidation, of those that had a call. `steps`
    are the transactions in which collateral was taken; `delays` the liquidation calls of enrolled borrowers, of
    which `delays_cured` ended with LTV at the initial line or nothing owed (R-VIP-60…62). `soft` is chosen
    de-leveraging, which is no liquidation and in none of their figures (R-FTR-05); `cures` are the borrowers' own
    rules by kind (R-FTR-04).
    """

    groups: int
    calls: int
    liquidations: int
    groups_liquidated: int
    steps: int
    delays: int
    delays_cured: int
    leads: tuple[float, ...]
    sold_usd: Decimal
    taken_over_usd: Decimal
    fees_usd: Decimal
    shortfall_usd: Decimal
    interest_usd: Decimal
    soft: Help = Help()
    cures: Mapping[str, Help] = field(default_factory=dict)

    @property
    def lead_minutes(self) -> dict[str, float | None]:
        if not self.leads:
            return {"min": None, "median": None, "max": None}
        return {"min": min(self.leads), "median": median(self.leads), "max": max(self.leads)}


def survey(bars: Sequence[Bar]) -> Course:
    """Arrange bars, as `read_bars` sorts them, into the steps at which they become known."""
    begins = min(bar.opened_at for bar in bars)
    longest: dict[str, timedelta] = {}
    first_close: dict[str, datetime] = {}
    for bar in bars:
        longest[bar.asset] = max(longest.get(bar.asset, timedelta()), bar.closes_at - bar.opened_at)
        if bar.opened_at < begins + LONGEST_BAR:
            first_close.setdefault(bar.asset, bar.closes_at)
    return Course(
        steps=tuple(Step(at, tuple(together)) for at, together in steps(bars)),
        longest=longest,
        opens_at=max(first_close.values()),
        first_day=datetime.combine(begins.astimezone(UTC).date(), time(), UTC),
    )


def thinned(bars: Sequence[Bar], every: timedelta) -> list[Bar]:
    """Bars of `every`, from shorter ones: highest high, lowest low, last close; longer ones stay as they are.

    Each is known when its whole time is over, whatever is missing at its end. As `read_bars` sorts them.
    """

    def place(bar: Bar) -> tuple[str, int]:
        return bar.asset, int(bar.opened_at.timestamp()) // int(every.total_seconds())

    long = [bar for bar in bars if bar.closes_at - bar.opened_at >= every]
    short = sorted((bar for bar in bars if bar.closes_at - bar.opened_at < every), key=_opened)
    joined = [_joined(list(together), every) for _, together in groupby(short, key=place)]
    return sorted([*long, *joined], key=lambda bar: (bar.closes_at, bar.asset))


def within(bars: Sequence[Bar], *, since: datetime | None, until: datetime | None) -> list[Bar]:
    """The bars that open at `since` or later and close at `until` or earlier; None is no bound."""
    return [
        bar
        for bar in bars
        if (since is None or bar.opened_at >= since) and (until is None or bar.closes_at <= until)
    ]


def publish_watch(course: Course, *, actor: Actor, at: datetime) -> None:
    """Publish the waits and the price rules that fit the recording; all else stays as it is by default.

    - `confirm_seconds`: the shortest time between two steps, so a breach is confirmed by the step after the one
      that saw it, as it is by the reading after it in production (R-GEN-23).
    - `max_age_seconds`, per coin: 2.5 times its longest bar. Its price is due every bar and may be one bar late
      before it is stale; an hourly coin must not be stale for 59 minutes of each hour (R-GEN-21).
    - `outage_seconds`: 2.5 times the longest bar of all. Bars are not outages: sweeps are as far apart as steps
      are, and only a hole in the recording may start a grace (R-GEN-24).
    - The dollar is told anew at every step, so it is due as often as the slowest coin.
    """
    longest = max(course.longest.values())
    gaps = [later.at - earlier.at for earlier, later in pairwise(course.steps)]
    parameters.publish_settings(
        confirm_seconds=_seconds(min(gaps, default=timedelta())),
        outage_seconds=_seconds(max(SHORTEST_OUTAGE, 2.5 * longest)),
        effective_at=at,
        actor=actor,
        at=at,
    )
    for asset, length in sorted({DOLLAR: longest, **course.longest}.items()):
        parameters.publish_feed_rule(
            asset=asset, max_age_seconds=_seconds(2.5 * length), effective_at=at, actor=actor, at=at
        )


def warm_up(course: Course) -> None:
    """Record what is known by the opening, when there is nobody to watch yet."""
    for step in course.before():
        _record(step)


def run(
    course: Course, *, jobs: Jobs, before_sweep: Jobs | None = None
) -> Iterator[tuple[Step, SweepReport]]:
    """Feed the rest of the recording, step by step, and yield what each sweep did.

    At every step: the midnights since the last one, the prices, the sweep. `jobs` is what the timetable runs
    besides (expiry, overdue): before each midnight's accrual, as it would have by then, and every hour.
    `before_sweep` runs at every step on its new prices, such as the borrowers' own rules.

    Raises:
        GroupsUndecided: a sweep failed on a group.
    """
    last, book = course.opens_at, Book()
    for step in course.after():
        for midnight in _midnights(last, step.at):
            jobs(midnight)
            accrual.accrue(at=midnight)
        _record(step)
        if before_sweep is not None:
            before_sweep(step.at)
        report = sweep.sweep(at=step.at, product=ProductCode.VIP, book=book)
        if report.failed:
            raise GroupsUndecided(
                tell("At {at:%Y-%m-%d %H:%M} UTC: groups {failed}.", at=step.at, failed=report.failed)
            )
        if _hour(step.at) > _hour(last):
            jobs(step.at)
        last = step.at
        yield step, report


def outcome(groups: Collection[int] | None = None) -> Outcome:
    """Read what happened from the rows it left: of the whole book, or of `groups`."""
    calls = MarginCall.objects.all() if groups is None else MarginCall.objects.filter(group__in=groups)
    delays = LiquidationDelay.objects.all()
    delays = delays if groups is None else delays.filter(group__in=groups)
    forced = _sales(groups).exclude(cause=Liquidation.Cause.SOFT)
    sums = forced.aggregate(
        sold=Sum("sold_usd", default=ZERO),
        fees=Sum("fee_usd", default=ZERO),
        shortfall=Sum("shortfall_usd", default=ZERO),
        steps=Sum("steps", default=0),
    )
    cured = (LiquidationDelay.Ended.CURED, LiquidationDelay.Ended.SETTLED)
    worth = ExpressionWrapper(F("sold") * F("price"), output_field=DecimalField())
    over = Sale.objects.filter(venue=TAKEOVER, liquidation__in=forced).aggregate(
        total=Sum(worth, default=ZERO)
    )
    return Outcome(
        groups=CollateralGroup.objects.count() if groups is None else len(groups),
        calls=calls.count(),
        liquidations=forced.count(),
        groups_liquidated=forced.values("group").distinct().count(),
        steps=sums["steps"],
        delays=delays.count(),
        delays_cured=delays.filter(ended__in=cured).count(),
        leads=_leads(calls, forced),
        sold_usd=sums["sold"],
        taken_over_usd=over["total"],
        fees_usd=sums["fees"],
        shortfall_usd=sums["shortfall"],
        interest_usd=_interest_usd(groups),
        soft=_soft(groups),
        cures=_cures(groups),
    )


# --- Private ----------------------------------------------------------------------------------------


def _opened(bar: Bar) -> tuple[str, datetime]:
    return bar.asset, bar.opened_at


def _joined(bars: Sequence[Bar], every: timedelta) -> Bar:
    opened = datetime.fromtimestamp(
        int(bars[0].opened_at.timestamp()) // int(every.total_seconds()) * int(every.total_seconds()), UTC
    )
    return Bar(
        asset=bars[0].asset,
        opened_at=opened,
        closes_at=opened + every,
        close=bars[-1].close,
        high=max(bar.high for bar in bars),
        low=min(bar.low for bar in bars),
    )


def _record(step: Step) -> None:
    ticks = [Tick(bar.asset, bar.close, step.at, SOURCE) for bar in step.bars]
    if DOLLAR not in {tick.asset for tick in ticks}:
        ticks.append(Tick(DOLLAR, ONE, step.at, SOURCE))
    prices.record(ticks, at=step.at)


def _midnights(after: datetime, until: datetime) -> Iterator[datetime]:
    """Every 00:00 UTC later than `after`, up to `until` itself."""
    midnight = datetime.combine(after.astimezone(UTC).date(), time(), UTC) + timedelta(days=1)
    while midnight <= until:
        yield midnight
        midnight += timedelta(days=1)


def _hour(instant: datetime) -> datetime:
    return instant.replace(minute=0, second=0, microsecond=0)


def _seconds(length: timedelta) -> int:
    return int(length.total_seconds())


def _sales(groups: Collection[int] | None) -> "QuerySet[Liquidation]":
    return Liquidation.objects.all() if groups is None else Liquidation.objects.filter(group__in=groups)


def _leads(calls: "QuerySet[MarginCall]", forced: "QuerySet[Liquidation]") -> tuple[float, ...]:
    first_calls = dict(calls.values_list("group").annotate(Min("opened_at")).order_by())
    sold = forced.filter(cause=Liquidation.Cause.LTV)
    first_sales = sold.values_list("group").annotate(Min("started_at")).order_by("group")
    return tuple(
        round((started - first_calls[group]).total_seconds() / 60, 1)
        for group, started in first_sales
        if group in first_calls and started >= first_calls[group]
    )


@exact
def _interest_usd(groups: Collection[int] | None) -> Decimal:
    """Interest charged, each charge at the price of its own instant."""
    kinds = (DebtEntry.Kind.CHARGE, DebtEntry.Kind.MINIMUM)
    rows = DebtEntry.objects.filter(kind__in=kinds)
    rows = rows if groups is None else rows.filter(debt__group__in=groups)
    sums = rows.values_list("at", "debt__asset").annotate(total=Sum("interest")).order_by("at", "debt__asset")
    charged: dict[datetime, dict[str, Decimal]] = defaultdict(dict)
    for at, asset, amount in sums:
        charged[at][asset] = amount
    total = ZERO
    for at, amounts in charged.items():
        quotes = prices.latest(at=at, assets=amounts)
        total += sum((amount * quotes[asset].price for asset, amount in amounts.items()), ZERO)
    return total


@exact
def _soft(groups: Collection[int] | None) -> Help:
    rows = _sales(groups).filter(cause=Liquidation.Cause.SOFT)
    sums = rows.aggregate(sold=Sum("sold_usd", default=ZERO), fees=Sum("fee_usd", default=ZERO))
    return Help(times=rows.count(), moved_usd=sums["sold"], fees_usd=sums["fees"])


@exact
def _cures(groups: Collection[int] | None) -> dict[str, Help]:
    """What the borrowers' own rules did, by kind, each use at the price of its own instant. R-FTR-04"""
    found: dict[str, Help] = {}
    rows = CureRun.objects.filter(outcome=CureRun.Outcome.DONE, amount__isnull=False)
    rows = rows if groups is None else rows.filter(rule__group__in=groups)
    quotes: dict[datetime, dict[str, prices.Quote]] = {}
    for kind, asset, amount, at in rows.order_by("pk").values_list(
        "rule__kind", "rule__asset", "amount", "at"
    ):
        if at not in quotes:
            quotes[at] = prices.latest(at=at)
        before = found.get(kind, Help())
        usd = amount * quotes[at][asset].price
        found[kind] = Help(times=before.times + 1, moved_usd=before.moved_usd + usd)
    return found
