"""A liquidation again, taking by taking, from its journal entries: what was owed and held before and after each.

A taking is one coin for one debt at one price: seized account by account, then settled once, so LTV is told where the
books are whole. It begins from the snapshot that the liquidation keeps (R-GEN-81); a later step of one that went in
steps begins from the group as it was just before (`past`), at the prices of the step. From there on nothing is worked
out: each entry's transfers move the wallets, its debt entries the debts.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Any

from django.db.models import Q
from django.utils.dateparse import parse_datetime

from accounts.models import Asset, JournalEntry, LedgerAccount, Transfer
from accounts.money import ZERO, exact
from risk import parameters, past
from risk.book import WALLET, GroupState, Wallet
from risk.debts import OwedDebt
from risk.levels import Lines
from risk.models import Debt, DebtEntry, GroupCoin, Liquidation, Sale
from risk.past_market import Parameters, quotes_at
from risk.prices import PriceState, Quote
from risk.valuation import Worth
from risk.waterfall import Parts

INSTANT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Taking:
    """One coin taken for one debt. Amounts of `coin` sold; of the debt's coin brought, repaid and taken as fee.

    Without `sales` fees of earlier steps were given back to a debt that stayed short (R-GEN-76). `is_first`: of its
    step, before which prices, deposits or repayments may have moved LTV.
    """

    number: int
    at: datetime
    sales: tuple[Sale, ...]
    entries: tuple[JournalEntry, ...]
    postings: tuple[Transfer, ...]
    debt: Debt
    repaid: Parts
    before: Worth
    after: Worth
    is_first: bool

    @property
    def sold(self) -> Decimal:
        return sum((sale.sold for sale in self.sales), ZERO)

    @property
    def brought(self) -> Decimal:
        return sum((sale.proceeds for sale in self.sales), ZERO)

    @property
    def fee(self) -> Decimal:
        return sum((sale.fee for sale in self.sales), ZERO)

    @property
    def crumb(self) -> Decimal:
        """What whole units of the coin brought too much, back in an account. R-GEN-77"""
        return self.brought - self.fee - self.repaid.total if self.sales else ZERO


def takings(row: Liquidation) -> list[Taking]:
    """Every taking of a liquidation in the order of its entries; its lines are `lines_of`. R-GEN-81"""
    entries = list(JournalEntry.objects.filter(reference__startswith=f"liquidation:{row.pk}:").order_by("pk"))
    rows = _Rows.of(row, entries)
    found: list[Taking] = []
    steps = [(at, list(parts)) for at, parts in groupby(_split(entries), key=lambda part: part[-1].at)]
    between = _Between(row, [at for at, _ in steps if at != row.started_at])
    for at, parts in steps:
        state = _opened(row) if at == row.started_at else between.state(at, first=parts[0][0].pk)
        for part in parts:
            after = rows.applied(state, part)
            found.append(
                rows.taking(part, len(found) + 1, state=state, after=after, is_first=part is parts[0])
            )
            state = after
    return found


def lines_of(row: Liquidation) -> Lines:
    """The lines that it was decided on."""
    return Lines(**{name: Decimal(text) for name, text in row.snapshot["lines"].items()})


# --- Private ----------------------------------------------------------------------------------------


def _split(entries: Iterable[JournalEntry]) -> Iterator[list[JournalEntry]]:
    """Seizures with the entry that settles them; an entry without any stands alone."""
    part: list[JournalEntry] = []
    for entry in entries:
        part.append(entry)
        if not entry.reference.endswith(":seize"):
            yield part
            part = []


@dataclass(frozen=True, slots=True)
class _Rows:
    """The rows behind the entries, read once."""

    sales: Mapping[int, Sale]
    postings: Mapping[int, list[Transfer]]
    changes: Mapping[int, list[DebtEntry]]

    @classmethod
    def of(cls, row: Liquidation, entries: Sequence[JournalEntry]) -> "_Rows":
        sales = Sale.objects.filter(liquidation=row)
        moved = Transfer.objects.filter(entry__in=entries).select_related("debit__asset", "credit")
        changed = DebtEntry.objects.filter(entry__in=entries).select_related("debt__asset")
        related = ("coin", "account", "debt__asset", "mark", "debt_mark")
        return cls(
            sales={sale.step: sale for sale in sales.select_related(*related)},
            postings=_by_entry(moved.order_by("pk")),
            changes=_by_entry(changed.order_by("pk")),
        )

    @exact
    def applied(self, state: GroupState, part: Sequence[JournalEntry]) -> GroupState:
        """The state after these entries."""
        moved = [line for entry in part for line in self.postings.get(entry.pk, ())]
        changed = [one for entry in part for one in self.changes.get(entry.pk, ())]
        return _owing(state.changed(balances=_deltas(moved)), changed)

    def taking(
        self,
        part: Sequence[JournalEntry],
        number: int,
        *,
        state: GroupState,
        after: GroupState,
        is_first: bool,
    ) -> Taking:
        steps = [int(entry.reference.split(":")[2]) for entry in part if entry.reference.endswith(":seize")]
        sales = tuple(self.sales[step] for step in steps)
        changed = self.changes.get(part[-1].pk, [])
        return Taking(
            number=number,
            at=part[-1].at,
            sales=sales,
            entries=tuple(part),
            postings=tuple(line for entry in part for line in self.postings.get(entry.pk, ())),
            debt=changed[0].debt if changed else sales[0].debt,
            repaid=_negated(changed),
            before=state.worth(permission=False),
            after=after.worth(permission=False),
            is_first=is_first,
        )


def _by_entry(rows: Iterable[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for row in rows:
        found.setdefault(row.entry_id, []).append(row)
    return found


@exact
def _negated(changed: Iterable[DebtEntry]) -> Parts:
    rows = list(changed)
    return Parts(
        late_fee=-sum((one.late_fee for one in rows), ZERO),
        interest=-sum((one.interest for one in rows), ZERO),
        principal=-sum((one.principal for one in rows), ZERO),
    )


@exact
def _deltas(moved: Iterable[Transfer]) -> dict[tuple[int, str], Decimal]:
    """What the transfers did to counting wallets."""
    found: dict[tuple[int, str], Decimal] = {}
    for line in moved:
        for side, change in ((line.credit, line.amount), (line.debit, -line.amount)):
            if side.kind == WALLET and side.account_id is not None:
                key = (side.account_id, side.asset_id)
                found[key] = found.get(key, ZERO) + change
    return found


@exact
def _owing(state: GroupState, changed: Iterable[DebtEntry]) -> GroupState:
    """The state with what debt entries changed."""
    by_debt: dict[int, list[DebtEntry]] = {}
    for one in changed:
        by_debt.setdefault(one.debt_id, []).append(one)
    return replace(
        state,
        debts=tuple(
            replace(owed, parts=_less(owed.parts, _negated(by_debt.get(owed.debt.pk, ()))))
            for owed in state.debts
        ),
    )


def _less(parts: Parts, paid: Parts) -> Parts:
    return Parts(
        late_fee=parts.late_fee - paid.late_fee,
        interest=parts.interest - paid.interest,
        principal=parts.principal - paid.principal,
    )


def _opened(row: Liquidation) -> GroupState:
    """The group as the liquidation found it, from its own snapshot."""
    told, at = row.snapshot, row.started_at
    wallets = tuple(
        Wallet(one["uid"], one["asset"], Decimal(one["balance"])) for one in told.get("wallets", [])
    )
    debts = Debt.objects.select_related("asset").in_bulk([one["id"] for one in told.get("debts", [])])
    chosen = GroupCoin.objects.filter(group=row.group_id, since__lte=at)
    coins = frozenset(
        chosen.filter(Q(released_at__isnull=True) | Q(released_at__gte=at)).values_list("asset", flat=True)
    )
    symbols = sorted(coins | {debt.asset_id for debt in debts.values()})
    return GroupState(
        group=row.group,
        at=at,
        lines=lines_of(row),
        members=tuple(sorted({wallet.uid for wallet in wallets})),
        coins=coins,
        wallets=wallets,
        debts=tuple(
            OwedDebt(
                debt=debts[one["id"]],
                parts=Parts(*(Decimal(one[part]) for part in ("late_fee", "interest", "principal"))),
                annual_rate=ZERO,
            )
            for one in told.get("debts", [])
        ),
        quotes={symbol: _quote(symbol, price) for symbol, price in told.get("prices", {}).items()},
        terms=parameters.terms_at(at, assets=symbols),
        assets=Asset.objects.in_bulk(symbols),
        is_liquidating=True,
    )


def _quote(symbol: str, told: Mapping[str, Any]) -> Quote:
    seen = parse_datetime(told["observed_at"])
    assert seen is not None
    return Quote(told["id"], symbol, Decimal(told["usd"]), seen, PriceState(told["state"]))


class _Between:
    """The group just before each later step, at the prices of the step. What was booked at its very instant, but
    before it, counts. A constant number of queries, however many steps."""

    def __init__(self, row: Liquidation, instants: Sequence[datetime]) -> None:
        self._states = {
            state.at + INSTANT: state
            for state in past.states(row.group, instants=[at - INSTANT for at in instants])
        }
        if not instants:
            return
        states = self._states.values()
        self._symbols = frozenset().union(*(state.coins | state.owed_assets for state in states))
        self._quotes = quotes_at(instants, self._symbols)
        self._in_force = Parameters(row.group, self._symbols, min(instants), max(instants))
        members = frozenset().union(*(state.members for state in states))
        wallets = LedgerAccount.objects.filter(account__in=members, kind=WALLET)
        moved = Transfer.objects.filter(Q(debit__in=wallets) | Q(credit__in=wallets), entry__at__in=instants)
        self._moved = list(moved.select_related("entry", "debit", "credit").order_by("pk"))
        changed = DebtEntry.objects.filter(debt__group=row.group_id, at__in=instants)
        self._changed = list(changed.order_by("pk"))

    def state(self, at: datetime, *, first: int) -> GroupState:
        """At `at`, before the entry `first`."""
        moved = [line for line in self._moved if line.entry.at == at and line.entry_id < first]
        changed = [one for one in self._changed if one.at == at and one.entry_id < first]
        state = replace(self._states[at], at=at, quotes=self._quotes[at], terms=self._in_force.terms(at))
        return _owing(state.changed(balances=_deltas(moved)), changed)
