"""Orders as a borrower looks them up: running and past ones, requests, renewals, liquidations, what secures them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db.models import Q, QuerySet

from accounts.models import Account
from accounts.money import ZERO, divide_up, exact
from loans import queries
from loans.histories.scope import Asked, Part, Scope, part
from loans.lifecycle import LoanStatus
from loans.models import Application, ApplicationLine, Loan, RateType
from loans.queries import LoanRow
from risk import book
from risk.book import GroupState
from risk.models import CollateralGroup, DebtEntry, GroupCoin, Liquidation, Member
from risk.valuation import Worth

USD_PLACES: Final = 8
PENDING, FAILED = "Pending", "Failed"
PUBLIC: Final[Mapping[LoanStatus, str]] = {  # the names of R-GEN-92
    LoanStatus.ACCRUING: "Accruing_Interest",
    LoanStatus.OVERDUE: "Overdue",
    LoanStatus.LIQUIDATING: "Liquidating",
    LoanStatus.REPAID: "Repaid",
    LoanStatus.RENEWED: "Repaid",  # its debt went on as another order
    LoanStatus.LIQUIDATED: "Liquidated",
    LoanStatus.RESIDUAL: "Liquidated",
    LoanStatus.WRITTEN_OFF: "Liquidated",
}
ENDED: Final = (Application.Status.REJECTED, Application.Status.CANCELLED, Application.Status.EXPIRED)


@dataclass(frozen=True, slots=True)
class OrderRow:
    """One order as it stands (R-GEN-91). Amounts in its coin; values in USD, of the whole group (R-GEN-12).

    `rate` None: flexible, and `annual_rate` is today's. `expires_at` None: an open term. `ltv` None: nothing that
    counts secures it, or it is over. `locked_value`: recognised collateral that has to stay for LTV to be at initial.
    """

    row: LoanRow
    public_status: str
    total_debt: Decimal
    rate: Decimal | None
    annual_rate: Decimal
    residual_interest: Decimal
    collateral_accounts: tuple[int, ...]
    collateral_coins: tuple[str, ...]
    collateral_value: Decimal
    locked_value: Decimal
    ltv: Decimal | None
    loan_date: datetime
    term_days: int | None
    expires_at: datetime | None

    @property
    def loan(self) -> Loan:
        return self.row.loan


@dataclass(frozen=True, slots=True)
class RequestLine:
    """One coin of a request, what became of it, and the order it led to."""

    application: Application
    line: ApplicationLine
    loan: Loan | None
    accounts: tuple[int, ...]
    coins: tuple[str, ...]
    term_days: int | None
    status: str
    public_status: str


@dataclass(frozen=True, slots=True)
class RenewalRow:
    """An order that continues another: what was paid first, and from which rate and date to which (R-VIP-42)."""

    loan: Loan
    renewed: Loan
    at: datetime
    principal: Decimal
    interest_paid: Decimal
    due_before: datetime | None
    due_after: datetime | None


@dataclass(frozen=True, slots=True)
class CollateralRow:
    """One account that secures a group, with its chosen coins, worth USD at the last good prices.

    `collateral_value`, `locked_value` and `ltv` are of the whole group; None for who may not see it (R-GEN-95).
    """

    group: CollateralGroup
    account: Account
    coins: tuple[tuple[str, Decimal, Decimal | None], ...]  # coin, amount, market value
    chosen: tuple[str, ...]  # of these, in whatever amount it comes to hold them
    market_value: Decimal
    collateral_value: Decimal | None
    locked_value: Decimal | None
    ltv: Decimal | None


def ongoing(scope: Scope, asked: Asked, *, at: datetime) -> Part[OrderRow]:
    """Orders that owe something, newest first, whenever they began. R-GEN-91"""
    rows = _filtered(scope, asked).filter(debt__closed_at__isnull=True)
    return part(_newest(rows), asked, lambda page: order_rows(page, at=at))


def orders(scope: Scope, asked: Asked, *, at: datetime) -> Part[OrderRow]:
    """Every order drawn in the time asked for, newest first. R-GEN-90"""
    rows = _filtered(scope, asked).filter(**asked.during("drawn_at"))
    return part(_newest(rows), asked, lambda page: order_rows(page, at=at))


def order_rows(loans: Iterable[Loan], *, at: datetime) -> list[OrderRow]:
    """The orders with their groups as they stand, in the order given."""
    loans = list(loans)
    owing = {loan.group_id: loan.group for loan in loans if loan.debt.closed_at is None}
    states = book.states(owing.values(), at=at) if owing else {}
    standing = {pk: _standing(state) for pk, state in states.items()}
    return [
        _order(row, standing.get(row.loan.group_id)) for row in queries.rows_of(loans, at=at, states=states)
    ]


def requests(scope: Scope, asked: Asked, *, at: datetime) -> Part[RequestLine]:
    """Each coin asked for, newest first; who acts for one account only has asked for nothing. R-GEN-90, R-VIP-02"""
    lines = ApplicationLine.objects.filter(
        application__customer=scope.customer, **asked.during("application__submitted_at")
    )
    if scope.account is not None:
        lines = lines.none()
    if asked.coin:
        lines = lines.filter(asset=asked.coin)
    if asked.account is not None:
        lines = lines.filter(application__receiver=asked.account)
    if asked.loan is not None:
        lines = lines.filter(loans=asked.loan)
    lines = lines.select_related("application__receiver", "application__accepted", "asset")
    lines = lines.prefetch_related("application__collateral_accounts", "application__collateral_coins")
    newest = lines.order_by("-application__submitted_at", "-application_id", "asset_id")
    return part(newest, asked, lambda page: _requested(page, at=at))


def renewals(scope: Scope, asked: Asked) -> Part[RenewalRow]:
    """Orders that continue another, newest first. R-GEN-90, R-VIP-40…42"""
    rows = _filtered(scope, asked).filter(renews__isnull=False, **asked.during("drawn_at"))
    return part(_newest(rows.select_related("renews__debt", "asset", "group")), asked, _renewed)


def liquidations(scope: Scope, asked: Asked) -> Part[Liquidation]:
    """Forced sales that began in the time asked for, newest first. R-GEN-90, R-GEN-81"""
    rows = Liquidation.objects.filter(group__in=scope.groups(), **asked.during("started_at"))
    if asked.coin:
        coin = Q(sales__coin=asked.coin) | Q(sales__debt__asset=asked.coin)
        rows = rows.filter(pk__in=Liquidation.objects.filter(coin).values("pk"))
    if asked.account is not None:
        of = Q(group__receiver=asked.account) | Q(sales__account=asked.account)
        rows = rows.filter(pk__in=Liquidation.objects.filter(of).values("pk"))
    if asked.loan is not None:
        of = Q(debt__loan=asked.loan) | Q(sales__debt__loan=asked.loan)
        rows = rows.filter(pk__in=Liquidation.objects.filter(of).values("pk"))
    return part(rows.select_related("group").order_by("-started_at", "-pk"), asked, tuple)


def collateral(scope: Scope, asked: Asked, *, at: datetime) -> Part[CollateralRow]:
    """The accounts that secure open groups now, each with its chosen coins. R-GEN-90, R-GEN-95"""
    rows = Member.objects.filter(released_at__isnull=True, group__customer=scope.customer)
    if scope.account is not None:
        rows = rows.filter(Q(group__receiver=scope.account) | Q(account=scope.account))
    if asked.account is not None:
        rows = rows.filter(Q(group__receiver=asked.account) | Q(account=asked.account))
    if asked.coin:
        rows = rows.filter(group__coins__asset=asked.coin, group__coins__released_at__isnull=True)
    if asked.loan is not None:
        rows = rows.filter(group__in=scope.loans().filter(pk=asked.loan).values("group"))
    if asked.secured_by is not None:
        rows = rows.filter(account=asked.secured_by)
    rows = rows.select_related("account", "group__receiver").order_by("group_id", "account_id")
    return part(rows, asked, lambda page: _securing(scope, page, at=at))


@exact
def locked_value(state: GroupState) -> Decimal:
    """Recognised USD that has to stay for LTV to be at the initial line, all of it at most; rounded up. R-GEN-91"""
    worth = state.worth(permission=False)
    return min(divide_up(worth.debt, state.lines.initial, USD_PLACES), worth.collateral)


# --- Private ----------------------------------------------------------------------------------------


def _filtered(scope: Scope, asked: Asked) -> QuerySet[Loan]:
    rows = scope.loans()
    if asked.coin:
        rows = rows.filter(asset=asked.coin)
    if asked.loan is not None:
        rows = rows.filter(pk=asked.loan)
    if asked.account is not None:
        secured = Q(group__members__account=asked.account, group__members__released_at__isnull=True)
        either = Loan.objects.filter(Q(group__receiver=asked.account) | secured)
        rows = rows.filter(pk__in=either.values("pk"))
    if asked.secured_by is not None:
        members = Member.objects.filter(account=asked.secured_by, released_at__isnull=True)
        rows = rows.filter(group__in=members.values("group"))
    if asked.secured_with:
        coins = GroupCoin.objects.filter(asset__in=asked.secured_with, released_at__isnull=True)
        rows = rows.filter(group__in=coins.values("group"))
    return rows


def _newest(rows: QuerySet[Loan]) -> QuerySet[Loan]:
    return rows.select_related("debt", "asset", "group").order_by("-drawn_at", "-pk")


def _states(group_ids: Iterable[int], *, at: datetime) -> dict[int, GroupState]:
    groups = CollateralGroup.objects.filter(pk__in=set(group_ids)).order_by("pk")
    return book.states(groups, at=at)


@dataclass(frozen=True, slots=True)
class _Standing:
    """What all orders of one group show alike (R-GEN-12)."""

    accounts: tuple[int, ...]
    coins: tuple[str, ...]
    worth: Worth
    locked: Decimal


def _standing(state: GroupState) -> _Standing:
    return _Standing(
        accounts=state.members,
        coins=tuple(sorted(state.coins)),
        worth=state.worth(permission=False),
        locked=locked_value(state),
    )


def _order(row: LoanRow, standing: _Standing | None) -> OrderRow:
    loan = row.loan
    if loan.debt.closed_at is not None or loan.debt.residual_since is not None:
        standing = None  # nothing secures it
    return OrderRow(
        row=row,
        public_status=PUBLIC[row.status],
        total_debt=row.owed.total,
        rate=row.annual_rate if loan.rate_type == RateType.FIXED else None,
        annual_rate=row.annual_rate,
        residual_interest=row.owed.interest + row.owed.late_fee,
        collateral_accounts=standing.accounts if standing else (),
        collateral_coins=standing.coins if standing else (),
        collateral_value=standing.worth.collateral if standing else ZERO,
        locked_value=standing.locked if standing else ZERO,
        ltv=standing.worth.ltv if standing else None,
        loan_date=loan.drawn_at,
        term_days=loan.term_days,
        expires_at=loan.debt.due_at,
    )


def _requested(lines: Iterable[ApplicationLine], *, at: datetime) -> Iterator[RequestLine]:
    lines = list(lines)
    drawn = queries.loan_rows(Loan.objects.filter(line__in=lines), at=at)
    by_line = {row.loan.line_id: row for row in drawn}
    for line in lines:
        application, row = line.application, by_line.get(line.pk)
        if row is not None:
            status, public = row.status.value, PUBLIC[row.status]
        elif line.declined or application.status in (*ENDED, Application.Status.DISBURSED):
            status, public = application.get_status_display(), FAILED
        else:
            status, public = application.get_status_display(), PENDING
        yield RequestLine(
            application=application,
            line=line,
            loan=row.loan if row else None,
            accounts=tuple(sorted(account.pk for account in application.collateral_accounts.all())),
            coins=tuple(sorted(coin.pk for coin in application.collateral_coins.all())),
            term_days=application.accepted.body["term_days"]
            if application.accepted
            else application.term_days,
            status=status,
            public_status=public,
        )


def _renewed(loans: Iterable[Loan]) -> Iterator[RenewalRow]:
    loans = list(loans)
    paid = DebtEntry.objects.filter(
        entry__reference__in=[f"renewal-interest:{loan.renews.debt_id}" for loan in loans if loan.renews]
    )
    interest = {entry.debt_id: -(entry.interest + entry.late_fee) for entry in paid}
    for loan in loans:
        assert loan.renews is not None
        yield RenewalRow(
            loan=loan,
            renewed=loan.renews,
            at=loan.drawn_at,
            principal=loan.amount,
            interest_paid=interest.get(loan.renews.debt_id, ZERO),
            due_before=loan.renews.due_at,
            due_after=loan.due_at,
        )


def _securing(scope: Scope, members: Iterable[Member], *, at: datetime) -> Iterator[CollateralRow]:
    members = list(members)
    states = _states({row.group_id for row in members}, at=at)
    for row in members:
        state = states[row.group_id]
        coins = tuple(
            (wallet.asset, wallet.balance, _value(state, wallet.asset, wallet.balance))
            for wallet in state.wallets
            if wallet.uid == row.account_id and wallet.asset in state.coins and wallet.balance
        )
        may_see = scope.account is None or row.group.receiver_id == scope.account.pk
        worth = state.worth(permission=False)
        yield CollateralRow(
            group=row.group,
            account=row.account,
            coins=coins,
            chosen=tuple(sorted(state.coins)),
            market_value=sum((value for _, _, value in coins if value is not None), ZERO),
            collateral_value=worth.collateral if may_see else None,
            locked_value=locked_value(state) if may_see else None,
            ltv=worth.ltv if may_see else None,
        )


@exact
def _value(state: GroupState, asset: str, amount: Decimal) -> Decimal | None:
    quote = state.quotes.get(asset)
    return None if quote is None else amount * quote.price
