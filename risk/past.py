"""The state of a group as it was at an instant, recomputed from rows alone: "explain this LTV at that time".

Nothing that changes in place is trusted: wallets are the sum of their transfers, debts the sum of their entries,
accounts and coins belong by their dates, prices and parameters are those known and in force then. The state is a
`book.GroupState`, valued by the same functions as now; of the present moment it is what `book.state_of` says. What the
sweep remembers on the group's own row (band, graces) has no past and stays as it is now.

A month of hours costs some ten queries (R-GEN-94).
"""

from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db.models import Max, Q, Sum

from accounts import ledger
from accounts.models import Asset, LedgerAccount, Transfer
from accounts.money import ZERO
from risk import overdue, rates
from risk.book import WALLET, GroupState, Wallet
from risk.debts import OwedDebt
from risk.interest import DailyTerms, Pause, RateStep, due_charges
from risk.models import CollateralGroup, Debt, DebtEntry, GroupCoin, Liquidation, Member
from risk.past_market import Parameters, quotes_at
from risk.waterfall import Parts

SLICE = 200  # instants whose prices are held at once


@dataclass(frozen=True, slots=True)
class Point:
    """LTV at an instant, with debt and recognised collateral in USD. `ltv` None: a debt and nothing that counts.

    `is_known` False: something owed had no price yet, so nothing can be said.
    """

    at: datetime
    ltv: Decimal | None
    debt: Decimal
    collateral: Decimal
    is_known: bool

    @property
    def owes(self) -> bool:
        return self.debt > 0 or not self.is_known


def state_at(group: CollateralGroup, *, at: datetime) -> GroupState:
    """The group's state at `at`, its own instant included."""
    return next(states(group, instants=[at]))


def ltvs(group: CollateralGroup, *, instants: Iterable[datetime]) -> list[Point]:
    """What its LTV was at each instant, in order: last good prices, as the sweep decides (R-GEN-40)."""
    return [point_of(state) for state in states(group, instants=instants)]


def point_of(state: GroupState) -> Point:
    worth = state.worth(permission=False)
    is_known = all(asset in state.quotes for asset in state.owed_assets)
    return Point(state.at, worth.ltv if is_known else None, worth.debt, worth.collateral, is_known)


def states(group: CollateralGroup, *, instants: Iterable[datetime]) -> Iterator[GroupState]:
    """The group's state at each of the instants, oldest first."""
    moments = sorted(set(instants))
    if not moments:
        return
    since, until = moments[0], moments[-1]
    members = list(Member.objects.filter(_belonging(since, until), group=group))
    coins = list(GroupCoin.objects.filter(_belonging(since, until), group=group))
    debts = _Debts(group, since, until)
    symbols = frozenset({coin.asset_id for coin in coins} | {debt.asset_id for debt in debts.rows})
    wallets = _Wallets({member.account_id for member in members}, since, until)
    in_force = Parameters(group, symbols, since, until)
    assets = Asset.objects.in_bulk(sorted(symbols))
    sales = list(Liquidation.objects.filter(group=group, started_at__lte=until))
    for start in range(0, len(moments), SLICE):
        part = moments[start : start + SLICE]
        quotes = quotes_at(part, symbols)
        for at in part:
            owed = debts.owed(at)
            uids = tuple(sorted({row.account_id for row in members if _holds(row, at)}))
            chosen = frozenset(row.asset_id for row in coins if _holds(row, at))
            yield GroupState(
                group=group,
                at=at,
                lines=in_force.lines(at, frozenset(one.debt.asset_id for one in owed)),
                members=uids,
                coins=chosen,
                wallets=wallets.at(at, uids),
                debts=owed,
                quotes=quotes[at],
                terms=in_force.terms(at),
                assets=assets,
                is_liquidating=any(
                    row.started_at <= at and (row.ended_at is None or row.ended_at > at) for row in sales
                ),
                handling=in_force.handling(at),
                frozen_coins=in_force.frozen_coins(at) & chosen,
            )


def debts_at(group: CollateralGroup, *, at: datetime) -> list[OwedDebt]:
    """What the group's debts owed at `at`, residual ones too, booked and pending; those opened later are absent."""
    return list(_Debts(group, at, at).owed(at, with_residual=True))


# --- Private ----------------------------------------------------------------------------------------


def _belonging(since: datetime, until: datetime) -> Q:
    """Members or coins that belonged to their group at some instant between the two."""
    return Q(released_at__isnull=True, since__lte=until) | Q(released_at__gt=since, since__lte=until)


def _holds(row: Member | GroupCoin, at: datetime) -> bool:
    """Half-open: it belongs from `since`, and no more at the instant it is released."""
    return row.since <= at and (row.released_at is None or row.released_at > at)


class _Wallets:
    """The counting wallets, moved forward transfer by transfer. Ask in order of time."""

    def __init__(self, uids: set[int], since: datetime, until: datetime) -> None:
        opening = ledger.balances_at(account_ids=uids, kinds=[WALLET], at=since)
        self._held = {(uid, asset): balance for (uid, _, asset), balance in opening.items()}
        self._moves = _moves(uids, since, until)
        self._next = 0

    def at(self, at: datetime, uids: Sequence[int]) -> tuple[Wallet, ...]:
        while self._next < len(self._moves) and self._moves[self._next][0] <= at:
            _, key, change = self._moves[self._next]
            self._held[key] = self._held.get(key, ZERO) + change
            self._next += 1
        wanted = set(uids)
        return tuple(
            Wallet(uid, asset, balance)
            for (uid, asset), balance in sorted(self._held.items())
            if uid in wanted and balance
        )


def _moves(
    uids: set[int], since: datetime, until: datetime
) -> list[tuple[datetime, tuple[int, str], Decimal]]:
    """Every change of these wallets after `since` and up to `until`, oldest first."""
    if since == until or not uids:
        return []
    rows = LedgerAccount.objects.filter(account__in=uids, kind=WALLET)
    wallets = {row.pk: (row.account_id or 0, row.asset_id) for row in rows}
    touching = Q(debit__in=wallets) | Q(credit__in=wallets)
    found = Transfer.objects.filter(touching, entry__at__gt=since, entry__at__lte=until)
    moves = []
    for at, debit, credit, amount in found.order_by("entry__at", "pk").values_list(
        "entry__at", "debit", "credit", "amount"
    ):
        if credit in wallets:
            moves.append((at, wallets[credit], amount))
        if debit in wallets:
            moves.append((at, wallets[debit], -amount))
    return moves


@dataclass
class _Running:
    """One debt's totals so far."""

    debt: Debt
    principal: Decimal = ZERO
    interest: Decimal = ZERO
    late_fee: Decimal = ZERO
    through: datetime | None = None
    entries: list[DebtEntry] = field(default_factory=list)
    next: int = 0

    def add(self, principal: Decimal, interest: Decimal, late_fee: Decimal, through: datetime | None) -> None:
        self.principal += principal
        self.interest += interest
        self.late_fee += late_fee
        if through is not None:
            self.through = max(self.through or through, through)

    def forward(self, at: datetime) -> None:
        while self.next < len(self.entries) and self.entries[self.next].at <= at:
            row = self.entries[self.next]
            self.add(row.principal, row.interest, row.late_fee, row.period_end)
            self.next += 1


class _Debts:
    """The debts that were open at some instant, moved forward entry by entry. Ask in order of time."""

    def __init__(self, group: CollateralGroup, since: datetime, until: datetime) -> None:
        still = Q(closed_at__isnull=True) | Q(closed_at__gt=since)
        rows = Debt.objects.filter(still, group=group, opened_at__lte=until)
        self.rows = list(rows.select_related("asset").order_by("pk"))
        self._running = {debt.pk: _Running(debt) for debt in self.rows}
        self._read(since, until)
        self._steps: dict[int, tuple[RateStep, ...]] = rates.steps_of(self.rows)
        self._pauses: dict[str, tuple[Pause, ...]] = overdue.pauses_of(self.rows, at=until)

    def _read(self, since: datetime, until: datetime) -> None:
        entries = DebtEntry.objects.filter(debt__in=self._running)
        sums = (
            entries.filter(at__lte=since)
            .values("debt")
            .annotate(
                principal_sum=Sum("principal"),
                interest_sum=Sum("interest"),
                late_fee_sum=Sum("late_fee"),
                through=Max("period_end"),
            )
        )
        for row in sums:
            running = self._running[row["debt"]]
            running.add(row["principal_sum"], row["interest_sum"], row["late_fee_sum"], row["through"])
        for entry in entries.filter(at__gt=since, at__lte=until).order_by("at", "pk"):
            self._running[entry.debt_id].entries.append(entry)

    def owed(self, at: datetime, *, with_residual: bool = False) -> tuple[OwedDebt, ...]:
        found = []
        for running in self._running.values():
            running.forward(at)
            debt = running.debt
            if debt.opened_at > at or (debt.closed_at is not None and debt.closed_at <= at):
                continue
            if debt.residual_since is not None and debt.residual_since <= at and not with_residual:
                continue
            found.append(self._owed(running, at))
        return tuple(found)

    def _owed(self, running: _Running, at: datetime) -> OwedDebt:
        debt, steps = _as_it_was(running, at), self._steps[running.debt.pk]
        terms = DailyTerms(
            principal=debt.principal,
            accrued_through=debt.accrued_through,
            due_at=debt.due_at,
            late_multiplier=debt.late_multiplier,
            places=debt.asset.places,
            steps=steps,
            pauses=self._pauses.get(debt.asset_id, ()),
        )
        due = [] if debt.residual_since is not None else due_charges(terms, at)
        parts = Parts(
            late_fee=debt.late_fee + sum((charge.late_fee for charge in due), ZERO),
            interest=debt.interest + sum((charge.interest for charge in due), ZERO),
            principal=debt.principal,
        )
        return OwedDebt(debt=debt, parts=parts, annual_rate=rates.rate_at(steps, at))


def _as_it_was(running: _Running, at: datetime) -> Debt:
    """The row with its totals and dates of then; never saved."""
    debt = copy(running.debt)
    debt.principal, debt.interest, debt.late_fee = running.principal, running.interest, running.late_fee
    debt.accrued_through = running.through or debt.opened_at
    if debt.called_at is not None and debt.called_at > at:  # an open loan that was called back later
        debt.called_at = debt.due_at = None
    if debt.overdue_since is not None and debt.overdue_since > at:
        debt.overdue_since = None
    if debt.residual_since is not None and debt.residual_since > at:
        debt.residual_since = None
    if debt.closed_at is not None and debt.closed_at > at:
        debt.closed_at, debt.closed_reason = None, ""
    return debt
