"""Everything that came, went and was charged, as one list by type of income (R-GEN-93).

Each row is one fact of the books: a debt entry, a sale, or coins in a wallet that secures a group. A debt's flows add
up: opening + borrowIn + interest + lateFee - repayAmount - writeOff (+ correction) = closing. So do a group's coins:
opening + addCollateral - removeCollateral - collateralSpent - collateralReturn + collateralReturnAfterLiquidation =
closing. Renewals move a debt from one order to the next and are no flow.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from functools import partial
from typing import Any

from django.db.models import Q, QuerySet

from accounts.exchange import SEIZURE
from accounts.models import LedgerAccount, Transfer
from accounts.words import tell
from loans.histories.charges import CHARGES, PAYING, WAYS
from loans.histories.scope import Asked, Part, Scope
from risk import pledged
from risk.models import CollateralGroup, Debt, DebtEntry, Member, Sale
from risk.pledged import Change, Span


class Income(StrEnum):
    """R-GEN-93; the last two are what no type of it names."""

    BORROW_IN = "borrowIn"
    COLLATERAL_SPENT = "collateralSpent"
    REPAY_AMOUNT = "repayAmount"
    COLLATERAL_RETURN = "collateralReturn"
    ADD_COLLATERAL = "addCollateral"
    REMOVE_COLLATERAL = "removeCollateral"
    RETURN_AFTER_LIQUIDATION = "collateralReturnAfterLiquidation"
    INTEREST = "interest"
    LATE_FEE = "lateFee"
    LIQUIDATION_FEE = "liquidationFee"
    REBATE = "rebate"  # a fee given back to the debt it was taken for (R-GEN-76)
    WRITE_OFF = "writeOff"
    CORRECTION = "correction"  # the other side of a reversed entry; signed (R-ADM-11)


@dataclass(frozen=True, slots=True)
class Flow:
    """`amount` of `asset`, above 0 except for corrections; of which order, group, account, sale and journal entry."""

    at: datetime
    type: Income
    asset: str
    amount: Decimal
    group: int
    loan: int | None = None
    account: int | None = None
    liquidation: int | None = None
    entry_id: int | None = None
    note: str = ""
    order: int = 0  # among the rows of one instant and type


@dataclass(frozen=True, slots=True)
class _Source:
    """Rows of one table that are flows of one type each; `at` names the field of their time."""

    rows: QuerySet[Any]
    at: str
    made: Callable[[Any], Flow]

    def newest(self, most: int) -> list[Flow]:
        return [self.made(row) for row in self.rows.order_by(f"-{self.at}", "-pk")[:most]]

    def all(self) -> list[Flow]:
        return [self.made(row) for row in self.rows.order_by(self.at, "pk")]


def flows(scope: Scope, asked: Asked) -> Part[Flow]:
    """One page, newest first. A constant number of queries; as many rows are read as lead up to the page."""
    sources, changed = _sources(scope, asked), _changes(scope, asked)
    total = len(changed) + sum(source.rows.count() for source in sources)
    found = [flow for source in sources for flow in source.newest(asked.span.stop)] + changed
    found.sort(key=_place, reverse=True)
    return Part(tuple(found[asked.span]), total)


def all_flows(scope: Scope, asked: Asked) -> list[Flow]:
    """Every row of the period, oldest first: for files and statements; pages of `asked` do not matter."""
    found = [flow for source in _sources(scope, asked) for flow in source.all()]
    return sorted([*found, *_changes(scope, asked)], key=_place)


def totals(flows: Iterable[Flow]) -> dict[tuple[str, str], Decimal]:
    """What each type came to by coin, by (type, coin)."""
    sums: dict[tuple[str, str], Decimal] = {}
    for flow in flows:
        key = (flow.type.value, flow.asset)
        sums[key] = sums.get(key, Decimal(0)) + flow.amount
    return sums


# --- Private ----------------------------------------------------------------------------------------


def _place(flow: Flow) -> tuple[datetime, str, int, int]:
    return flow.at, flow.type.value, flow.entry_id or 0, flow.order


def _sources(scope: Scope, asked: Asked) -> list[_Source]:
    return [*_of_debts(scope, asked), *_of_sales(scope, asked), *_of_wallets(scope, asked)]


# --- Debts


def _of_debts(scope: Scope, asked: Asked) -> list[_Source]:
    debts = Debt.objects.filter(group__in=scope.groups())
    if asked.coin:
        debts = debts.filter(asset=asked.coin)
    if asked.account is not None:
        debts = debts.filter(group__receiver=asked.account)
    if asked.loan is not None:
        debts = debts.filter(loan=asked.loan)
    entries = DebtEntry.objects.filter(debt__in=debts, **asked.during("at"))
    entries = entries.select_related("debt__loan", "debt__group")

    def source(type_: Income, rows: QuerySet[DebtEntry], amount: Callable[[DebtEntry], Decimal]) -> _Source:
        return _Source(rows, "at", partial(_of_entry, type_=type_, amount=amount))

    kinds = DebtEntry.Kind
    return [
        source(Income.BORROW_IN, entries.filter(kind=kinds.BORROW), lambda row: row.principal),
        source(Income.INTEREST, entries.filter(kind__in=CHARGES, interest__gt=0), lambda row: row.interest),
        source(Income.LATE_FEE, entries.filter(kind__in=CHARGES, late_fee__gt=0), lambda row: row.late_fee),
        source(Income.REPAY_AMOUNT, entries.filter(kind__in=PAYING), lambda row: -_total(row)),
        source(Income.WRITE_OFF, entries.filter(kind=kinds.WRITE_OFF), lambda row: -_total(row)),
        source(Income.CORRECTION, entries.filter(kind=kinds.CORRECTION), _total),
    ]


def _total(row: DebtEntry) -> Decimal:
    total: Decimal = row.principal + row.interest + row.late_fee
    return total


def _of_entry(row: DebtEntry, *, type_: Income, amount: Callable[[DebtEntry], Decimal]) -> Flow:
    loan = getattr(row.debt, "loan", None)
    return Flow(
        at=row.at,
        type=type_,
        asset=row.debt.asset_id,
        amount=amount(row),
        group=row.debt.group_id,
        loan=None if loan is None else loan.pk,
        account=row.debt.group.receiver_id,
        entry_id=row.entry_id,
        note=WAYS.get(DebtEntry.Kind(row.kind), "") if type_ is Income.REPAY_AMOUNT else "",
        order=row.pk,
    )


# --- Sales


def _of_sales(scope: Scope, asked: Asked) -> list[_Source]:
    sales = Sale.objects.filter(liquidation__group__in=scope.groups(), fee__gt=0, **asked.during("at"))
    back = Transfer.objects.filter(
        debit__kind=LedgerAccount.Kind.FEE_INCOME,
        entry__kind="liquidation",
        entry__debt_entries__debt__group__in=scope.groups(),
        **asked.during("entry__at"),
    )
    if asked.coin:
        sales, back = sales.filter(debt__asset=asked.coin), back.filter(debit__asset=asked.coin)
    if asked.account is not None:
        receiver = {"group__receiver": asked.account}
        sales = sales.filter(liquidation__group__receiver=asked.account)
        back = back.filter(entry__debt_entries__debt__in=Debt.objects.filter(**receiver))
    if asked.loan is not None:
        sales = sales.filter(debt__loan=asked.loan)
        back = back.filter(entry__debt_entries__debt__loan=asked.loan)
    back = back.select_related("entry", "debit").prefetch_related("entry__debt_entries__debt__loan")
    sales = sales.select_related("liquidation", "debt__loan")
    return [_Source(sales, "at", _fee), _Source(back, "entry__at", _given_back)]


def _fee(row: Sale) -> Flow:
    loan = getattr(row.debt, "loan", None)
    return Flow(
        at=row.at,
        type=Income.LIQUIDATION_FEE,
        asset=row.debt.asset_id,
        amount=row.fee,
        group=row.liquidation.group_id,
        loan=None if loan is None else loan.pk,
        account=row.account_id,
        liquidation=row.liquidation_id,
        order=row.pk,
    )


def _given_back(row: Transfer) -> Flow:
    [paid] = row.entry.debt_entries.all()
    loan = getattr(paid.debt, "loan", None)
    return Flow(
        at=row.entry.at,
        type=Income.REBATE,
        asset=row.debit.asset_id,
        amount=row.amount,
        group=paid.debt.group_id,
        loan=None if loan is None else loan.pk,
        entry_id=row.entry_id,
        note=tell("a liquidation fee given back"),
        order=row.pk,
    )


# --- Wallets that count


def _spans(scope: Scope, asked: Asked) -> list[Span]:
    """Whose coins may be shown: of the groups seen, and of an account that secures another, its own. R-GEN-95"""
    if asked.loan is not None:  # collateral secures the group, not one order
        return []
    groups = set(scope.groups().values_list("pk", flat=True))
    own: set[int] = set()
    if scope.account is not None:
        pledges = Member.objects.filter(account=scope.account)
        own = set(pledges.values_list("group", flat=True)) - groups
    found = pledged.spans(groups | own, since=asked.since, until=asked.until)
    if own:
        found = [span for span in found if span.group in groups or span.account == _pk(scope)]
    if asked.coin:
        found = [span for span in found if span.asset == asked.coin]
    if asked.account is not None:
        received = CollateralGroup.objects.filter(receiver=asked.account, pk__in=groups)
        bound = set(received.values_list("pk", flat=True))
        found = [span for span in found if span.account == asked.account or span.group in bound]
    return found


def _pk(scope: Scope) -> int | None:
    return None if scope.account is None else scope.account.pk


def _of_wallets(scope: Scope, asked: Asked) -> list[_Source]:
    found = _spans(scope, asked)
    ask = partial(pledged.transfers, found, since=asked.since, until=asked.until)
    arrived, left = ask(side="credit"), ask(side="debit")
    sold, back = Q(entry__kind=SEIZURE), Q(entry__kind="liquidation")
    by_wallet: dict[int, list[Span]] = {}
    for span in found:
        by_wallet.setdefault(span.wallet, []).append(span)
    made = partial(_moved, spans=by_wallet)
    return [
        _Source(
            arrived.filter(back),
            "entry__at",
            partial(made, side="credit", type_=Income.RETURN_AFTER_LIQUIDATION),
        ),
        _Source(
            arrived.exclude(back), "entry__at", partial(made, side="credit", type_=Income.ADD_COLLATERAL)
        ),
        _Source(left.filter(sold), "entry__at", partial(made, side="debit", type_=Income.COLLATERAL_SPENT)),
        _Source(left.exclude(sold), "entry__at", partial(made, side="debit", type_=Income.REMOVE_COLLATERAL)),
    ]


def _moved(row: Transfer, *, side: str, type_: Income, spans: Mapping[int, list[Span]]) -> Flow:
    wallet, at = getattr(row, side), row.entry.at
    span = next(
        span
        for span in spans[wallet.pk]
        if span.since < at and (span.released_at is None or at <= span.released_at)
    )
    return Flow(
        at=at,
        type=type_,
        asset=wallet.asset_id,
        amount=row.amount,
        group=span.group,
        account=wallet.account_id,
        liquidation=_liquidation_of(row.entry.reference),
        entry_id=row.entry_id,
        note=row.entry.kind_words,
        order=row.pk,
    )


def _liquidation_of(reference: str) -> int | None:
    """`liquidation:42:3:seize` is of liquidation 42."""
    kind, _, rest = reference.partition(":")
    number = rest.partition(":")[0]
    return int(number) if kind == "liquidation" and number.isdecimal() else None


def _changes(scope: Scope, asked: Asked) -> list[Flow]:
    """Accounts and coins that joined or left a group, with their whole balances. Nothing moved in the ledger."""
    changed = pledged.changes(_spans(scope, asked), since=asked.since, until=asked.until)
    groups = CollateralGroup.objects.filter(pk__in={change.span.group for change in changed})
    closed = dict(groups.values_list("pk", "closed_at"))
    return [_change(change, closed[change.span.group]) for change in changed]


def _change(change: Change, closed_at: datetime | None) -> Flow:
    flow = Flow(
        at=change.at,
        type=Income.ADD_COLLATERAL,
        asset=change.span.asset,
        amount=abs(change.amount),
        group=change.span.group,
        account=change.span.account,
        note=tell("began to count"),
        order=change.span.wallet,
    )
    if change.amount > 0:
        return flow
    if closed_at == change.at:
        return replace(flow, type=Income.COLLATERAL_RETURN, note=tell("free again: the group owes nothing"))
    return replace(flow, type=Income.REMOVE_COLLATERAL, note=tell("ceased to count"))
