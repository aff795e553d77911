"""What the desk's lists show, row by row; each list costs a constant number of queries.

Valued by the same states the sweep and the approval decide on, so a manager sees what would be decided.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Exists, OuterRef, Q, QuerySet

from accounts import ledger
from accounts.models import Account, Asset, Customer
from accounts.money import ZERO, exact
from loans.models import Application, ApplicationLine, Loan
from loans.vip import sheets
from loans.vip.terms import LEVELS
from risk import book, delays, parameters, prices
from risk.book import GroupState, Wallet
from risk.levels import Lines
from risk.models import (
    CollateralGroup,
    Debt,
    DelayEnrolment,
    Freeze,
    Liquidation,
    LiquidationDelay,
    MarginCall,
)
from risk.overdue import ends as overdue_ends
from risk.pages.standing import Standing, standing_of
from risk.pages.track import Track, track
from risk.valuation import Worth

BANDS = ("LIQ", "CALL", "WATCH", "SAFE")  # worst first
MOST_ROWS = 100  # of a list that should be short
DUE_WITHIN = timedelta(days=7)
LATE_AFTER = timedelta(hours=24)  # a request older than this is pointed out
NOTHING = Worth(debt=ZERO, collateral=ZERO, market=ZERO)


# --- Groups -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group as it stands, and what runs against it: its call, what is overdue, a sale."""

    standing: Standing
    called_since: datetime | None = None
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
    overdue = Debt.objects.watched().filter(group=OuterRef("pk"), overdue_since__isnull=False)
    running = Liquidation.objects.filter(group=OuterRef("pk"), status=Liquidation.Status.RUNNING)
    called = MarginCall.objects.filter(group=OuterRef("pk"), ended_at__isnull=True)
    delayed = LiquidationDelay.objects.filter(group=OuterRef("pk"), ended_at__isnull=True)
    bad = Q(band__in=["CALL", "LIQ"]) | Exists(overdue) | Exists(running) | Exists(called) | Exists(delayed)
    return live_groups(clients).filter(bad)


def group_rows(groups: QuerySet[CollateralGroup], *, at: datetime) -> list[GroupRow]:
    """Worst first, by the band and the LTV of this moment; debt without collateral is the worst there is."""
    rows = list(groups.select_related("customer", "receiver").order_by("pk")[:MOST_ROWS])
    states = book.states(rows, at=at)
    calls = MarginCall.objects.filter(group__in=rows, ended_at__isnull=True)
    since = dict(calls.values_list("group_id", "opened_at"))
    running = delays.running_by_group(rows)
    late = {
        pk: tuple(owed.debt for owed in state.debts if owed.debt.overdue_since is not None)
        for pk, state in states.items()
    }
    ends = overdue_ends(debt for debts in late.values() for debt in debts)
    found = [
        GroupRow(
            standing=standing_of(row, states[row.pk], delay=running.get(row.pk)),
            called_since=since.get(row.pk),
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
    found = list(groups.values_list("band", flat=True))
    return [(band, found.count(band)) for band in BANDS]


# --- Requests -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """A request that waits, with what paying it out would do now. `value` None: a coin has no price."""

    application: Application
    lines: tuple[ApplicationLine, ...]
    value: Decimal | None
    now: Worth
    after: Worth
    track: Track
    waits: timedelta

    @property
    def is_late(self) -> bool:
        return self.waits >= LATE_AFTER

    @property
    def is_too_high(self) -> bool:
        return self.after.is_above(accepted_lines(self.application).initial)


def waiting_rows(applications: QuerySet[Application], *, at: datetime) -> list[WaitingRow]:
    """Oldest first. A look at the queue; what a decision rests on is `origination.review`, on the request's page."""
    waiting = applications.filter(status=Application.Status.SUBMITTED).order_by("submitted_at", "pk")
    related = ("lines__asset", "collateral_accounts", "collateral_coins")
    rows = list(
        waiting.select_related("customer", "receiver", "accepted").prefetch_related(*related)[:MOST_ROWS]
    )
    receivers = [row.receiver_id for row in rows]
    groups = CollateralGroup.objects.open().filter(
        receiver__in=receivers, product__in={r.product for r in rows}
    )
    standing = {(group.receiver_id, group.product): group for group in groups}
    states = book.states(standing.values(), at=at)
    market = _market_of(rows, states.values(), at=at)
    return [_waiting_row(row, _state_for(row, standing, states), market) for row in rows]


def _state_for(
    row: Application, groups: Mapping[tuple[int, str], CollateralGroup], states: Mapping[int, GroupState]
) -> GroupState | None:
    group = groups.get((row.receiver_id, row.product))
    return states[group.pk] if group else None


def _market_of(rows: Iterable[Application], states: Iterable[GroupState], *, at: datetime) -> GroupState:
    """Prices, ratios and the Spot wallets of every account any of these requests names; a state of no group."""
    symbols, uids = set(), set()
    for row in rows:
        symbols |= {line.asset_id for line in row.lines.all()} | {
            coin.pk for coin in row.collateral_coins.all()
        }
        uids |= {account.pk for account in row.collateral_accounts.all()}
    for state in states:
        symbols |= state.coins | state.owed_assets
        uids |= set(state.members)
    balances = ledger.balances(account_ids=uids, kinds=[book.WALLET])
    return GroupState(
        group=None,
        at=at,
        lines=Lines(
            *(Decimal(part) for part in ("0.1", "0.2", "0.3", "0.4", "0"))
        ),  # replaced by each request's
        members=(),
        coins=frozenset(),
        wallets=tuple(Wallet(uid, asset, balance) for (uid, _, asset), balance in sorted(balances.items())),
        debts=(),
        quotes=prices.latest(at=at, assets=symbols),
        terms=parameters.terms_at(at, assets=symbols),
        assets=Asset.objects.in_bulk(sorted(symbols)),
    )


@exact
def _waiting_row(row: Application, state: GroupState | None, market: GroupState) -> WaitingRow:
    lines = tuple(sorted(row.lines.all(), key=lambda line: line.asset_id))
    members = {account.pk for account in row.collateral_accounts.all()} | set(state.members if state else ())
    coins = {coin.pk for coin in row.collateral_coins.all()} | (state.coins if state else frozenset())
    before = replace(
        market,
        lines=accepted_lines(row),
        members=tuple(sorted(members)),
        coins=frozenset(coins),
        wallets=tuple(wallet for wallet in market.wallets if wallet.uid in members),
        debts=state.debts if state else (),
    )
    after = before.changed(borrowed={line.asset_id: line.amount for line in lines}).worth()
    now = state.worth() if state else NOTHING
    quotes = [market.quotes.get(line.asset_id) for line in lines]
    value = sum((line.amount * quote.price for line, quote in zip(lines, quotes, strict=True) if quote), ZERO)
    return WaitingRow(
        application=row,
        lines=lines,
        value=value if all(quotes) else None,
        now=now,
        after=after,
        track=before_and_after(now, after, before.lines),
        waits=market.at - row.submitted_at,
    )


def before_and_after(now: Worth, after: Worth, lines: Lines) -> Track:
    """Where the group stands, and where paying out takes it; without cover it stands past the end."""
    return track(now.ltv, lines, after=Decimal(2) if after.ltv is None else after.ltv)


def accepted_lines(application: Application) -> Lines:
    """Those of the accepted sheet; before there is one, the published lines it began with."""
    if application.accepted is not None:
        return sheets.lines_of(application.accepted.body)
    levels = application.terms["levels"]
    return Lines(**{name: Decimal(levels[name]) for name in LEVELS})


# --- Loans and history ----------------------------------------------------------------------------------


def due_soon(clients: QuerySet[Customer], *, at: datetime) -> QuerySet[Loan]:
    """Loans that expire within a week and are not overdue yet."""
    # The debt's date, not the loan's: an open loan may be called.
    soon = {"debt__due_at__gt": at, "debt__due_at__lte": at + DUE_WITHIN}
    loans = Loan.objects.filter(customer__in=clients, **soon)
    return loans.filter(debt__closed_at__isnull=True, debt__overdue_since__isnull=True)


@dataclass(frozen=True, slots=True)
class History:
    """What the desk remembers of a client."""

    loans: int
    repaid: int
    calls: int
    cured: int
    liquidations: int
    residual: tuple[Debt, ...]


def history_of(customer: Customer) -> History:
    calls = list(MarginCall.objects.filter(group__customer=customer).values_list("ended", flat=True))
    closed = list(Loan.objects.filter(customer=customer).values_list("debt__closed_reason", flat=True))
    residual = Debt.objects.open().filter(customer=customer, residual_since__isnull=False)
    return History(
        loans=len(closed),
        repaid=sum(reason in {"repaid", "renewed"} for reason in closed),
        calls=len(calls),
        cured=calls.count(MarginCall.Ended.CURED),
        liquidations=Liquidation.objects.filter(group__customer=customer).count(),
        residual=tuple(residual.select_related("asset").order_by("pk")),
    )


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
        roles[row.group.receiver_id].append(f"receives in {row.group}")
        for uid in row.standing.state.members:
            roles[uid].append(f"secures {row.group}")
    return [AccountRow(row, ", ".join(roles[row.pk]), worth[row.pk]) for row in accounts]
