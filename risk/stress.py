"""A recorded market over a whole book, through exactly the code that runs in production.

Nothing is decided here: each step of the recording calls what the jobs call (record prices, sweep, accrue), at
the step's own time. What is particular to a replay is when things happen, and the waits that fit bars of a
minute to an hour where production sees a price every few seconds (`publish_watch`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from itertools import pairwise
from statistics import median

from django.db.models import DecimalField, ExpressionWrapper, F, Min, Q, Sum

from accounts.commands import Actor
from accounts.money import ONE, ZERO, exact, unit
from risk import accrual, parameters, prices, sweep
from risk.feeds import Tick
from risk.feeds.file import LONGEST_BAR, Bar, steps
from risk.handling import Mode
from risk.levels import Lines
from risk.models import (
    CollateralGroup,
    CureRun,
    DebtEntry,
    Deleveraging,
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
USD_PLACES = 18  # of a liquidation's value columns, which are rounded down

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
    last = course.opens_at
    for step in course.after():
        for midnight in _midnights(last, step.at):
            jobs(midnight)
            accrual.accrue(at=midnight)
        _record(step)
        if before_sweep is not None:
            before_sweep(step.at)
        report = sweep.sweep(at=step.at, product=ProductCode.VIP)
        if report.failed:
            raise GroupsUndecided(f"At {step.at:%Y-%m-%d %H:%M} UTC: groups {report.failed}.")
        if _hour(step.at) > _hour(last):
            jobs(step.at)
        last = step.at
        yield step, report


def outcome() -> Outcome:
    """Read what happened from the rows it left."""
    forced = Liquidation.objects.exclude(cause=Liquidation.Cause.SOFT)
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
        groups=CollateralGroup.objects.count(),
        calls=MarginCall.objects.count(),
        liquidations=forced.count(),
        groups_liquidated=forced.values("group").distinct().count(),
        steps=sums["steps"],
        delays=LiquidationDelay.objects.count(),
        delays_cured=LiquidationDelay.objects.filter(ended__in=cured).count(),
        leads=_leads(),
        sold_usd=sums["sold"],
        taken_over_usd=over["total"],
        fees_usd=sums["fees"],
        shortfall_usd=sums["shortfall"],
        interest_usd=_interest_usd(),
        soft=_soft(),
        cures=_cures(),
    )


def faults() -> list[str]:
    """Each sale for LTV that should not have been: below its line, or on a price that was not fresh.

    A chosen step has its own line, and must not be where a liquidation would be. Judged on the stored rows alone,
    apart from the code that decided them. R-GEN-22, R-GEN-41, R-FTR-05
    """
    rows = Liquidation.objects.filter(cause__in=[Liquidation.Cause.LTV, Liquidation.Cause.SOFT])
    return [
        fault
        for row in rows.select_related("group").order_by("pk")
        for fault in (
            *(_not_as_chosen(row) if row.cause == Liquidation.Cause.SOFT else _below_its_line(row)),
            *_not_fresh(row),
        )
    ]


# --- Private ----------------------------------------------------------------------------------------


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


def _leads() -> tuple[float, ...]:
    first_calls = dict(MarginCall.objects.values_list("group").annotate(Min("opened_at")).order_by())
    sold = Liquidation.objects.filter(cause=Liquidation.Cause.LTV, group__in=first_calls)
    first_sales = sold.values_list("group").annotate(Min("started_at")).order_by("group")
    return tuple(
        round((started - first_calls[group]).total_seconds() / 60, 1)
        for group, started in first_sales
        if started >= first_calls[group]
    )


@exact
def _interest_usd() -> Decimal:
    """Interest charged, each charge at the price of its own instant."""
    kinds = (DebtEntry.Kind.CHARGE, DebtEntry.Kind.MINIMUM)
    rows = DebtEntry.objects.filter(kind__in=kinds).values_list("at", "debt__asset")
    charged = list(rows.annotate(total=Sum("interest")).order_by("at", "debt__asset"))
    total = ZERO
    for at in sorted({row[0] for row in charged}):
        quotes = prices.latest(at=at, assets=_of(charged, at))
        total += sum((amount * quotes[asset].price for when, asset, amount in charged if when == at), ZERO)
    return total


def _of(charged: Iterable[tuple[datetime, str, Decimal]], at: datetime) -> list[str]:
    return [asset for when, asset, _ in charged if when == at]


@exact
def _soft() -> Help:
    rows = Liquidation.objects.filter(cause=Liquidation.Cause.SOFT)
    sums = rows.aggregate(sold=Sum("sold_usd", default=ZERO), fees=Sum("fee_usd", default=ZERO))
    return Help(times=rows.count(), moved_usd=sums["sold"], fees_usd=sums["fees"])


@exact
def _cures() -> dict[str, Help]:
    """What the borrowers' own rules did, by kind, each use at the price of its own instant. R-FTR-04"""
    found: dict[str, Help] = {}
    rows = CureRun.objects.filter(outcome=CureRun.Outcome.DONE, amount__isnull=False)
    for kind, asset, amount, at in rows.order_by("pk").values_list(
        "rule__kind", "rule__asset", "amount", "at"
    ):
        before = found.get(kind, Help())
        usd = amount * prices.latest(at=at, assets=[asset])[asset].price
        found[kind] = Help(times=before.times + 1, moved_usd=before.moved_usd + usd)
    return found


@exact
def _not_as_chosen(row: Liquidation) -> Iterator[str]:
    """R-FTR-05: at or over the start that the borrower had chosen, below the liquidation line."""
    chosen = Deleveraging.objects.filter(group=row.group_id, set_at__lte=row.started_at)
    chosen = chosen.filter(Q(removed_at__isnull=True) | Q(removed_at__gte=row.started_at))
    choice = chosen.order_by("-set_at", "-pk").first()
    if choice is None:
        yield f"{row} of {row.group} sold early, and nobody had chosen it"
    elif row.debt_value + unit(USD_PLACES) < choice.start * row.collateral_value:
        yield f"{row} of {row.group} began at {row.ltv}, below its chosen start of {choice.start}"
    if row.debt_value >= _lines_of(row).liquidation * (row.collateral_value + unit(USD_PLACES)):
        yield f"{row} of {row.group} began at {row.ltv}, where a liquidation takes its place"


def _lines_of(row: Liquidation) -> Lines:
    owed = {row.group_id: set(row.group.debts.values_list("asset_id", flat=True))}
    return parameters.lines_by_group([row.group], at=row.started_at, owed=owed)[row.group_id]


@exact
def _below_its_line(row: Liquidation) -> Iterator[str]:
    lines = _lines_of(row)
    line = lines.margin_call if _ended_a_delay(row) else lines.liquidation
    # Both values were rounded down when stored; exactly on the line the debt may look one unit too small.
    if row.debt_value + unit(USD_PLACES) < line * row.collateral_value:
        yield f"{row} of {row.group} began at {row.ltv}, below its line of {line}"


def _ended_a_delay(row: Liquidation) -> bool:
    """A delay ran out between the margin call and the liquidation line: then steps lead to initial. R-VIP-62"""
    ended = LiquidationDelay.Ended.STEPPED
    is_stepped = row.mode == Mode.STEPPED
    return (
        is_stepped
        and LiquidationDelay.objects.filter(group=row.group_id, ended_at=row.started_at, ended=ended).exists()
    )


def _not_fresh(row: Liquidation) -> Iterator[str]:
    sales = list(Sale.objects.filter(liquidation=row).select_related("debt").order_by("step"))
    for at in sorted({sale.at for sale in sales}):
        marks = {sale.coin_id: sale.mark_id for sale in sales if sale.at == at}
        marks |= {sale.debt.asset_id: sale.debt_mark_id for sale in sales if sale.at == at}
        quotes = prices.latest(at=at, assets=marks)
        for asset, price_id in sorted(marks.items()):
            quote = quotes.get(asset)
            if quote is None or not quote.fresh or quote.price_id != price_id:
                yield f"{row} of {row.group} used price {price_id} of {asset}, which was not fresh"
