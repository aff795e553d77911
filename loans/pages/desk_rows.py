"""What the desk's lists show, row by row; each list costs a constant number of queries.

Valued by the same states the sweep and the approval decide on, so a manager sees what would be decided.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Case, Count, Exists, IntegerField, OuterRef, Q, QuerySet, Value, When

from accounts import ledger
from accounts.models import Account, Customer
from accounts.money import ZERO, exact
from accounts.words import joined, tell
from loans.models import Loan
from loans.scoring import Record
from risk import book, delays, prices
from risk.models import (
    CollateralGroup,
    Debt,
    DelayEnrolment,
    Freeze,
    Liquidation,
    LiquidationDelay,
    MarginCall,
    RiskEvent,
)
from risk.overdue import ends as overdue_ends
from risk.pages.standing import Standing, standing_of

BANDS = ("LIQ", "CALL", "WATCH", "SAFE")  # worst first
MOST_ROWS = 100  # of a list that should be short
DUE_WITHIN = timedelta(days=7)


# --- Groups -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group as it stands, and what runs against it: its call, what is overdue, a sale."""

    standing: Standing
    call: MarginCall | None = None
    overdue: tuple[Debt, ...] = ()
    sold_at: datetime | None = None  # when collateral may be sold for the first of them (R-VIP-44, R-VIP-45)

    @property
    def group(self) -> CollateralGroup:
        return self.standing.group

    @property
    def delay(self) -> LiquidationDelay | None:
        return self.standing.delay


def live_groups(clients: QuerySet[Customer]) -> QuerySet[CollateralGroup]:
    """The open groups of these clients that owe something."""
    owing = Debt.objects.watched().filter(group=OuterRef("pk"))
    return CollateralGroup.objects.open().filter(Exists(owing), customer__in=clients)


def troubled(clients: QuerySet[Customer]) -> QuerySet[CollateralGroup]:
    """Called, at or over the liquidation line, in a delay, being sold, or with something overdue."""
    # Each of these is few; to ask of every group whether it is one of them is not.
    bad = CollateralGroup.objects.open().filter(band__in=["CALL", "LIQ"]).values("pk")
    running = (
        Debt.objects.watched().filter(overdue_since__isnull=False),
        Liquidation.objects.filter(status=Liquidation.Status.RUNNING),
        MarginCall.objects.filter(ended_at__isnull=True),
        LiquidationDelay.objects.filter(ended_at__isnull=True),
    )
    bad = bad.union(*(rows.order_by().values("group") for rows in running))
    return live_groups(clients).filter(pk__in=bad)


def group_rows(groups: QuerySet[CollateralGroup], *, at: datetime, most: int = MOST_ROWS) -> list[GroupRow]:
    """Worst first, by the band and the LTV of this moment; debt without collateral is the worst there is.

    Of more than `most` those that the sweep last saw in the worst bands.
    """
    seen = Case(
        *(When(band=name, then=Value(number)) for number, name in enumerate(BANDS)),
        output_field=IntegerField(),
    )
    rows = list(groups.select_related("customer", "receiver").order_by(seen, "pk")[:most])
    if not rows:
        return []
    states = book.states(rows, at=at)
    calls = MarginCall.objects.filter(group__in=rows, ended_at__isnull=True)
    called = {call.group_id: call for call in calls}
    running = delays.running_by_group(rows)
    late = {
        pk: tuple(owed.debt for owed in state.debts if owed.debt.overdue_since is not None)
        for pk, state in states.items()
    }
    ends = overdue_ends(debt for debts in late.values() for debt in debts)
    found = [
        GroupRow(
            standing=standing_of(row, states[row.pk], delay=running.get(row.pk)),
            call=called.get(row.pk),
            overdue=late[row.pk],
            sold_at=min((ends[debt.pk] for debt in late[row.pk]), default=None),
        )
        for row in rows
    ]
    return sorted(found, key=_by_danger)


def in_delay(clients: QuerySet[Customer]) -> QuerySet[CollateralGroup]:
    """Groups whose liquidation call runs (R-VIP-60)."""
    running = LiquidationDelay.objects.filter(group=OuterRef("pk"), ended_at__isnull=True)
    return CollateralGroup.objects.filter(Exists(running), customer__in=clients)


def in_grace(clients: QuerySet[Customer], *, at: datetime) -> QuerySet[CollateralGroup]:
    """Groups that owe something and have the grace after an outage (R-GEN-24)."""
    return live_groups(clients).filter(grace_until__gt=at)


def pauses(clients: QuerySet[Customer], *, at: datetime) -> list[Freeze]:
    """By whose order nothing is liquidated now: everywhere, or one of these clients' groups (R-ADM-05)."""
    rows = Freeze.objects.filter(what=Freeze.What.LIQUIDATE, lifted_at__isnull=True)
    rows = rows.filter(starts_at__lte=at, ends_at__gt=at).filter(
        Q(group__isnull=True) | Q(group__customer__in=clients)
    )
    return list(rows.select_related("group__customer").order_by("ends_at", "pk")[:MOST_ROWS])


def to_review(clients: QuerySet[Customer], *, at: datetime) -> list[DelayEnrolment]:
    """Enrolments of which a delay ran out with nothing sold: somebody has to look at them (R-VIP-62)."""
    rows = DelayEnrolment.objects.filter(review_since__isnull=False, customer__in=clients)
    rows = rows.filter(Q(ends_at__isnull=True) | Q(ends_at__gt=at))
    return list(rows.select_related("customer").order_by("review_since", "pk")[:MOST_ROWS])


def _by_danger(row: GroupRow) -> tuple[int, bool, Decimal, int]:
    """By band first: with negotiated lines a higher LTV may be the safer one."""
    ltv = row.standing.worth.ltv
    return (BANDS.index(row.standing.band.value), ltv is not None, -(ltv or ZERO), row.group.pk)


def band_counts(groups: QuerySet[CollateralGroup]) -> list[tuple[str, int]]:
    """How many groups are in each band, as the sweep last saw them; worst first, every band named."""
    found = dict(groups.order_by().values_list("band").annotate(Count("pk")))
    return [(band, found.get(band, 0)) for band in BANDS]


# --- Loans and history ----------------------------------------------------------------------------------


def due_soon(clients: QuerySet[Customer], *, at: datetime) -> QuerySet[Loan]:
    """Loans that expire within a week and are not overdue yet."""
    # The debt's date, not the loan's: an open loan may be called.
    soon = {"debt__due_at__gt": at, "debt__due_at__lte": at + DUE_WITHIN}
    loans = Loan.objects.filter(customer__in=clients, **soon)
    return loans.filter(debt__closed_at__isnull=True, debt__overdue_since__isnull=True)


@dataclass(frozen=True, slots=True)
class History:
    """What the desk remembers of a client. A step that the client chose beforehand is no liquidation."""

    loans: int
    repaid: int
    calls: int
    cured: int
    liquidations: int
    overdue: int
    residual: tuple[Debt, ...]

    @property
    def record(self) -> Record:
        return Record(
            loans=self.loans,
            repaid=self.repaid,
            calls=self.calls,
            cured=self.cured,
            liquidations=self.liquidations,
            overdue=self.overdue,
            owing=bool(self.residual),
        )


def history_of(customer: Customer) -> History:
    return histories_of([customer.pk])[customer.pk]


def histories_of(customers: Iterable[int]) -> dict[int, History]:
    """What the desk remembers of each of these clients, by key, in a constant number of queries."""
    pks = sorted(set(customers))
    closed, calls = defaultdict(list), defaultdict(list)
    for pk, reason in Loan.objects.filter(customer__in=pks).values_list("customer", "debt__closed_reason"):
        closed[pk].append(reason)
    episodes = MarginCall.objects.filter(group__customer__in=pks)
    for pk, ended in episodes.values_list("group__customer", "ended"):
        calls[pk].append(ended)
    sales = Liquidation.objects.filter(group__customer__in=pks).exclude(cause=Liquidation.Cause.SOFT)
    sold = Counter(sales.values_list("group__customer", flat=True))
    late = RiskEvent.objects.filter(group__customer__in=pks, kind=RiskEvent.Kind.DEBT_OVERDUE)
    overdue = Counter(late.values_list("group__customer", flat=True))
    residual: dict[int, list[Debt]] = defaultdict(list)
    owing = Debt.objects.open().filter(customer__in=pks, residual_since__isnull=False)
    for debt in owing.select_related("asset").order_by("pk"):
        residual[debt.customer_id].append(debt)
    return {
        pk: History(
            loans=len(closed[pk]),
            repaid=sum(reason in {"repaid", "renewed"} for reason in closed[pk]),
            calls=len(calls[pk]),
            cured=calls[pk].count(MarginCall.Ended.CURED),
            liquidations=sold[pk],
            overdue=overdue[pk],
            residual=tuple(residual[pk]),
        )
        for pk in pks
    }


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account, what it does in a group, and what its wallets are worth at the last good prices."""

    account: Account
    role: str
    value: Decimal


@exact
def account_rows(customer: Customer, groups: Iterable[GroupRow], *, at: datetime) -> list[AccountRow]:
    accounts = list(customer.accounts.order_by("uid"))
    balances = ledger.balances(account_ids=[row.pk for row in accounts], kinds=["spot", "fiat", "funding"])
    quotes = prices.latest(at=at, assets={asset for _, _, asset in balances})
    worth = {row.pk: ZERO for row in accounts}
    for (uid, _, asset), balance in balances.items():
        worth[uid] += balance * quotes[asset].price if asset in quotes else ZERO
    roles: dict[int, list[str]] = {row.pk: [] for row in accounts}
    for row in groups:
        roles[row.group.receiver_id].append(tell("receives in {group}", group=row.group))
        for uid in row.standing.state.members:
            roles[uid].append(tell("secures {group}", group=row.group))
    return [AccountRow(row, joined(", ", roles[row.pk]), worth[row.pk]) for row in accounts]
