"""What was charged and paid: repayments and the interest of each day, row by row as the books have it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db.models import QuerySet

from accounts.models import Asset
from accounts.money import ZERO
from accounts.words import tell
from loans.histories.scope import Asked, Part, Scope, part
from loans.models import Loan, LoanEvent
from risk.interest import DAYS_PER_YEAR
from risk.models import Debt, DebtEntry, GroupCoin

REPAID, REPAYING, FAILED = tell("Repaid"), tell("Repaying"), tell("Failed")  # R-GEN-92
CHARGES: Final = (DebtEntry.Kind.CHARGE, DebtEntry.Kind.MINIMUM)
PAYING: Final = (DebtEntry.Kind.REPAYMENT, DebtEntry.Kind.LIQUIDATION, DebtEntry.Kind.INSURANCE)
WAYS: Final = {
    DebtEntry.Kind.REPAYMENT: "from your wallets",
    DebtEntry.Kind.LIQUIDATION: "by a liquidation",
    DebtEntry.Kind.INSURANCE: "by the insurance fund",
}


@dataclass(frozen=True, slots=True)
class Repayment:
    """What one payment took off a debt, in its coin. `status`: Repaid when it closed the loan, else Repaying.

    Failed: what a loan should have paid by itself at its expiry, and could not; nothing moved (`note` says why).
    """

    loan: Loan
    asset: Asset
    at: datetime
    total: Decimal
    principal: Decimal
    interest: Decimal
    late_fee: Decimal
    way: str
    status: str
    entry_id: int | None
    note: str = ""
    secured_with: tuple[str, ...] = ()  # the coins of its group then


@dataclass(frozen=True, slots=True)
class InterestRow:
    """One charge: its period, what it was charged on, the yearly rate, and what it came to. R-VIP-30, R-VIP-43

    `latest` is the order the loan runs as now, after renewals (R-VIP-42).
    """

    loan: Loan
    latest: int
    asset: Asset
    at: datetime
    period_start: datetime | None  # None: the one day that a loan pays at least (R-VIP-31)
    period_end: datetime | None
    basis: Decimal | None
    annual_rate: Decimal | None
    interest: Decimal
    late_fee: Decimal
    entry_id: int

    @property
    def formula(self) -> str:
        """How the figure comes about, as a person would write it down."""
        if self.basis is None or self.annual_rate is None:
            return tell("one day at least")
        day = tell(
            "{basis} x {annual_rate} / {days_per_year}",
            basis=_plain(self.basis),
            annual_rate=_plain(self.annual_rate),
            days_per_year=DAYS_PER_YEAR,
        )
        if not self.late_fee:
            return tell("{day}, rounded up", day=day)
        return tell("{day} rounded up, and the late multiple of it less that", day=day)


def repayments(scope: Scope, asked: Asked) -> Part[Repayment]:
    """What reduced the debts, newest first, and what failed to at an expiry. R-GEN-90, R-GEN-92"""
    paid = _entries(scope, asked).filter(kind__in=PAYING, **asked.during("at"))
    failed = _failed(scope, asked)
    total = paid.count() + failed.count()
    upto = asked.span.stop
    rows = [*_paid(paid.order_by("-at", "-pk")[:upto]), *_not_paid(failed.order_by("-at", "-pk")[:upto])]
    rows.sort(key=lambda row: (row.at, row.entry_id or 0), reverse=True)
    return Part(tuple(_with_coins(rows[asked.span])), total)


def interest(scope: Scope, asked: Asked) -> Part[InterestRow]:
    """Each charge, newest first; of a loan asked for, with those of the orders it continues. R-GEN-90, R-VIP-33"""
    rows = _entries(scope, asked, with_earlier=True).filter(kind__in=CHARGES, **asked.during("at"))
    return part(rows.order_by("-at", "-pk"), asked, _charged)


# --- Private ----------------------------------------------------------------------------------------


def _entries(scope: Scope, asked: Asked, *, with_earlier: bool = False) -> QuerySet[DebtEntry]:
    rows = DebtEntry.objects.filter(debt__loan__in=_loans(scope, asked, with_earlier=with_earlier))
    return rows.select_related("debt__loan__group", "debt__asset")


def _loans(scope: Scope, asked: Asked, *, with_earlier: bool = False) -> QuerySet[Loan]:
    loans = scope.loans()
    if asked.coin:
        loans = loans.filter(asset=asked.coin)
    if asked.account is not None:
        loans = loans.filter(group__receiver=asked.account)
    if asked.loan is not None:
        wanted = _with_earlier(scope, asked.loan) if with_earlier else [asked.loan]
        loans = loans.filter(pk__in=wanted)
    return loans


def _with_earlier(scope: Scope, loan_id: int) -> list[int]:
    """The order and those it continues; one query. R-VIP-42"""
    renewed = dict(scope.loans().filter(renews__isnull=False).values_list("pk", "renews_id"))
    found = [loan_id]
    while (earlier := renewed.get(found[-1])) is not None:
        found.append(earlier)
    return found


def _failed(scope: Scope, asked: Asked) -> QuerySet[LoanEvent]:
    """Loans that should have repaid themselves at their expiry and could not. R-VIP-47"""
    events = LoanEvent.objects.filter(loan__in=_loans(scope, asked), kind="overdue", **asked.during("at"))
    return (
        events.exclude(facts__auto_repay="")
        .filter(facts__has_key="auto_repay")
        .select_related("loan__asset", "loan__group")
    )


def _paid(entries: Iterable[DebtEntry]) -> Iterator[Repayment]:
    entries = list(entries)
    closing = _closing(entries)
    for entry in entries:
        parts = (-entry.principal, -entry.interest, -entry.late_fee)
        yield Repayment(
            loan=entry.debt.loan,
            asset=entry.debt.asset,
            at=entry.at,
            total=sum(parts, ZERO),
            principal=parts[0],
            interest=parts[1],
            late_fee=parts[2],
            way=WAYS[DebtEntry.Kind(entry.kind)],
            status=REPAID if entry.pk in closing else REPAYING,
            entry_id=entry.entry_id,
        )


def _with_coins(rows: list[Repayment]) -> Iterator[Repayment]:
    """Each with the coins that secured it when it was paid. One query."""
    chosen = GroupCoin.objects.filter(group__in={row.loan.group_id for row in rows}).order_by("asset")
    coins = list(chosen)
    for row in rows:
        then = [
            coin.asset_id
            for coin in coins
            if coin.group_id == row.loan.group_id
            and coin.since <= row.at
            and (coin.released_at is None or coin.released_at >= row.at)
        ]
        yield replace(row, secured_with=tuple(dict.fromkeys(then)))


def _closing(entries: list[DebtEntry]) -> set[int]:
    """Of these, the entries after which their debt owed nothing: the last ones of closed debts."""
    over = {Debt.Closed.REPAID, Debt.Closed.LIQUIDATED}
    closed = {entry.debt_id for entry in entries if entry.debt.closed_reason in over}
    last = DebtEntry.objects.filter(debt__in=closed).order_by("debt_id", "-pk").distinct("debt_id")
    return set(last.values_list("pk", flat=True))


def _not_paid(events: Iterable[LoanEvent]) -> Iterator[Repayment]:
    for event in events:
        assert event.loan is not None
        yield Repayment(
            loan=event.loan,
            asset=event.loan.asset,
            at=event.at,
            total=ZERO,
            principal=ZERO,
            interest=ZERO,
            late_fee=ZERO,
            way="by itself at expiry",
            status=FAILED,
            entry_id=None,
            note=str(event.facts["auto_repay"]),
        )


def _charged(entries: Iterable[DebtEntry]) -> Iterator[InterestRow]:
    entries = list(entries)
    followers = _followers({entry.debt.loan.customer_id for entry in entries})
    for entry in entries:
        yield InterestRow(
            loan=entry.debt.loan,
            latest=_latest(entry.debt.loan.pk, followers),
            asset=entry.debt.asset,
            at=entry.at,
            period_start=entry.period_start,
            period_end=entry.period_end,
            basis=entry.basis,
            annual_rate=entry.annual_rate,
            interest=entry.interest,
            late_fee=entry.late_fee,
            entry_id=entry.entry_id,
        )


def _followers(customers: set[int]) -> dict[int, int]:
    """Which order renewed which, of these customers. One query."""
    renewed = Loan.objects.filter(customer__in=customers, renews__isnull=False)
    return dict(renewed.values_list("renews_id", "pk"))


def _latest(loan_id: int, followers: dict[int, int]) -> int:
    """The order that carries the loan on now. R-VIP-42"""
    while loan_id in followers:
        loan_id = followers[loan_id]
    return loan_id


def _plain(value: Decimal) -> str:
    return f"{value.normalize():f}"
