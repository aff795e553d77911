"""Loans and requests as pages, APIs and the console show them: frozen shapes that join several models.

Each list costs a constant number of queries, however many rows it has. Access is the caller's: pass rows that
came through `visible_to(user)`.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import QuerySet

from loans.lifecycle import DebtFacts, LoanStatus, status
from loans.models import Application, ApplicationLine, Loan, LoanEvent
from risk import debts
from risk.interest import daily_charge
from risk.models import DebtEntry, Liquidation
from risk.waterfall import Parts


@dataclass(frozen=True, slots=True)
class LoanRow:
    """One loan as it stands at an instant: amounts in its coin, booked and pending (R-GEN-91)."""

    loan: Loan
    status: LoanStatus
    owed: Parts
    annual_rate: Decimal  # borne now; for a flexible loan, today's
    daily_interest: Decimal  # at the next 00:00 UTC, late fee included when overdue
    liquidated_from: datetime | None  # overdue: when its collateral may be sold (R-VIP-44)

    @property
    def is_open(self) -> bool:
        return self.owed.total > 0


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request with its lines."""

    application: Application
    lines: tuple[ApplicationLine, ...]


def loan_rows(loans: QuerySet[Loan], *, at: datetime) -> list[LoanRow]:
    """The loans with what they owe at `at`, newest first. R-GEN-91, R-GEN-92"""
    rows = list(
        loans.select_related("debt__asset", "asset", "group__receiver", "customer").order_by(
            "-drawn_at", "-pk"
        )
    )
    owed = debts.owed_at([row.debt for row in rows], at=at)
    liquidating = _liquidating({row.group_id for row in rows})
    return [_loan_row(row, owed[row.debt_id], is_liquidating=row.group_id in liquidating) for row in rows]


def loan_row(loan: Loan, *, at: datetime) -> LoanRow:
    """One loan, as `loan_rows`."""
    return loan_rows(Loan.objects.filter(pk=loan.pk), at=at)[0]


def charges(loan: Loan) -> QuerySet[DebtEntry]:
    """The daily interest rows of one order, newest first: period, basis, rate, interest and late fee. R-VIP-33"""
    kinds = [DebtEntry.Kind.CHARGE, DebtEntry.Kind.MINIMUM]
    return DebtEntry.objects.filter(debt=loan.debt_id, kind__in=kinds).order_by("-at", "-pk")


def payments(loan: Loan) -> QuerySet[DebtEntry]:
    """What reduced the debt, newest first: repayments, sales of collateral, the renewal. Amounts are negative."""
    kinds = [DebtEntry.Kind.REPAYMENT, DebtEntry.Kind.LIQUIDATION, DebtEntry.Kind.RENEWAL]
    return DebtEntry.objects.filter(debt=loan.debt_id, kind__in=kinds).order_by("-at", "-pk")


def history(loan: Loan) -> QuerySet[LoanEvent]:
    """What happened to the loan, oldest first."""
    return LoanEvent.objects.filter(loan=loan).order_by("at", "pk")


def request_rows(applications: QuerySet[Application]) -> list[RequestRow]:
    """My Requests, and the manager's list: newest first."""
    return _with_lines(applications.order_by("-submitted_at", "-pk"))


def queue(applications: QuerySet[Application]) -> list[RequestRow]:
    """What waits for a decision, oldest first: pass what the manager may see. R-VIP-12"""
    waiting = applications.filter(status=Application.Status.SUBMITTED)
    return _with_lines(waiting.order_by("submitted_at", "pk"))


def _with_lines(applications: QuerySet[Application]) -> list[RequestRow]:
    rows = applications.select_related("customer", "receiver", "applicant").prefetch_related("lines")
    return [
        RequestRow(application=row, lines=tuple(sorted(row.lines.all(), key=lambda line: line.asset_id)))
        for row in rows
    ]


def _loan_row(loan: Loan, owed: debts.OwedDebt, *, is_liquidating: bool) -> LoanRow:
    debt = loan.debt
    facts = DebtFacts(
        overdue_since=debt.overdue_since,
        residual_since=debt.residual_since,
        closed_reason=debt.closed_reason,
        liquidating=is_liquidating,
    )
    is_late = debt.overdue_since is not None
    is_charged = debt.closed_at is None and debt.residual_since is None
    day = daily_charge(
        principal=debt.principal if is_charged else Decimal(0),
        annual_rate=owed.annual_rate,
        places=loan.asset.places,
        multiplier=debt.late_multiplier if is_late else 1,
    )
    return LoanRow(
        loan=loan,
        status=status(facts),
        owed=owed.parts,
        annual_rate=owed.annual_rate,
        daily_interest=day.interest + day.late_fee,
        liquidated_from=debt.overdue_since + timedelta(hours=debt.overdue_hours)
        if debt.overdue_since is not None and is_charged
        else None,
    )


def _liquidating(group_ids: Iterable[int]) -> set[int]:
    running = Liquidation.objects.filter(group__in=group_ids, status=Liquidation.Status.RUNNING)
    return set(running.values_list("group_id", flat=True))
