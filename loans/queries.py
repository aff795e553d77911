"""Loans and requests as pages, APIs and the console show them: frozen shapes that join several models.

Each list costs a constant number of queries, however many rows it has. Access is the caller's: pass rows that
came through `visible_to(user)`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db import connection
from django.db.models import QuerySet

from loans.lifecycle import DebtFacts, LoanStatus, status
from loans.models import Application, ApplicationLine, Loan, LoanEvent
from risk import debts, overdue
from risk.book import GroupState
from risk.interest import daily_charge, is_paused, midnights, minimum_charge
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
    first_day: Decimal  # interest still missing to the one day that closing it costs at least (R-VIP-31)

    @property
    def is_open(self) -> bool:
        return self.owed.total > 0

    @property
    def payoff(self) -> Decimal:
        """What closes it now: all it owes, and the one day a loan pays at least. R-VIP-31"""
        return self.owed.total + self.first_day


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One request with its lines."""

    application: Application
    lines: tuple[ApplicationLine, ...]

    @property
    def term_days(self) -> int | None:
        """As agreed, else as asked; None is an open term."""
        accepted = self.application.accepted
        return accepted.body["term_days"] if accepted is not None else self.application.term_days


def loan_rows(loans: QuerySet[Loan], *, at: datetime) -> list[LoanRow]:
    """The loans with what they owe at `at`, newest first. R-GEN-91, R-GEN-92"""
    loans = loans.select_related("debt", "asset", "group__receiver", "customer")
    return rows_of(loans.order_by("-drawn_at", "-pk"), at=at)


def rows_of(
    loans: Iterable[Loan], *, at: datetime, states: Mapping[int, GroupState] | None = None
) -> list[LoanRow]:
    """As `loan_rows`, of loans read with debt and asset, in their order. What `states` know is not read again."""
    rows, states = list(loans), states or {}
    for row in rows:
        row.debt.asset = row.asset  # the same one; no need to read it twice
    owed = {owed.debt.pk: owed for state in states.values() for owed in state.debts}
    owed |= debts.owed_at([row.debt for row in rows if row.debt_id not in owed], at=at)
    liquidating = _liquidating({row.group_id for row in rows} - set(states))
    liquidating |= {pk for pk, state in states.items() if state.is_liquidating}
    ends = overdue.ends([row.debt for row in rows if row.debt.closed_at is None])
    pauses = overdue.pauses_of([row.debt for row in rows], at=at)
    [midnight] = midnights(after=at, until=at + timedelta(days=1))
    unfined = {coin for coin, spans in pauses.items() if is_paused(spans, midnight)}
    return [
        _loan_row(
            row,
            owed[row.debt_id],
            is_liquidating=row.group_id in liquidating,
            is_fined=row.asset_id not in unfined,
            ends_at=ends.get(row.debt_id),
            at=at,
        )
        for row in rows
    ]


def loan_row(loan: Loan, *, at: datetime) -> LoanRow:
    """One loan, as `loan_rows`."""
    return loan_rows(Loan.objects.filter(pk=loan.pk), at=at)[0]


def charges(loan: Loan) -> QuerySet[DebtEntry]:
    """The daily interest rows of one order, newest first: period, basis, rate, interest and late fee. R-VIP-33"""
    kinds = [DebtEntry.Kind.CHARGE, DebtEntry.Kind.MINIMUM]
    return DebtEntry.objects.filter(debt=loan.debt_id, kind__in=kinds).order_by("-at", "-pk")


def interest_history(loan: Loan) -> QuerySet[DebtEntry]:
    """The daily interest of a loan's whole chain of renewals, newest first; each row's order is `row.debt.loan`.

    The order that runs now is `latest_order(loan)`: interest records point to it (R-VIP-42).
    """
    kinds = [DebtEntry.Kind.CHARGE, DebtEntry.Kind.MINIMUM]
    rows = DebtEntry.objects.filter(debt__loan__in=_chain(loan, _BEFORE), kind__in=kinds)
    return rows.select_related("debt__loan").order_by("-at", "-pk")


def latest_order(loan: Loan) -> Loan:
    """The order that carries the loan now: itself, or the last that renewed it. R-VIP-42"""
    last = _chain(loan, _AFTER)[-1]
    return loan if last == loan.pk else Loan.objects.get(pk=last)


def _chain(loan: Loan, statement: str) -> list[int]:
    """The order and those it continues, or those that continue it, from the order on. One query."""
    with connection.cursor() as cursor:
        cursor.execute(statement, [loan.pk])
        return [pk for (pk,) in cursor.fetchall()]


_BEFORE: Final = """
    WITH RECURSIVE chain (id, renews_id, step) AS (
        SELECT id, renews_id, 0 FROM loans_loan WHERE id = %s
        UNION ALL
        SELECT l.id, l.renews_id, c.step + 1 FROM chain c JOIN loans_loan l ON l.id = c.renews_id)
    SELECT id FROM chain ORDER BY step
"""
_AFTER: Final = """
    WITH RECURSIVE chain (id, step) AS (
        SELECT id, 0 FROM loans_loan WHERE id = %s
        UNION ALL
        SELECT l.id, c.step + 1 FROM chain c JOIN loans_loan l ON l.renews_id = c.id)
    SELECT id FROM chain ORDER BY step
"""


def payments(loan: Loan) -> QuerySet[DebtEntry]:
    """What reduced the debt, newest first: repayments, sales, renewal, the fund, a write-off. Amounts are negative."""
    adding = [DebtEntry.Kind.BORROW, DebtEntry.Kind.CHARGE, DebtEntry.Kind.MINIMUM, DebtEntry.Kind.CORRECTION]
    rows = DebtEntry.objects.filter(debt=loan.debt_id).exclude(kind__in=adding).exclude(principal__gt=0)
    return rows.order_by("-at", "-pk")


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
    rows = applications.select_related("customer", "receiver", "applicant", "accepted")
    rows = rows.prefetch_related("lines")
    return [
        RequestRow(application=row, lines=tuple(sorted(row.lines.all(), key=lambda line: line.asset_id)))
        for row in rows
    ]


def _loan_row(
    loan: Loan,
    owed: debts.OwedDebt,
    *,
    is_liquidating: bool,
    is_fined: bool,
    ends_at: datetime | None,
    at: datetime,
) -> LoanRow:
    debt = loan.debt
    facts = DebtFacts(
        overdue_since=debt.overdue_since,
        residual_since=debt.residual_since,
        closed_reason=debt.closed_reason,
        liquidating=is_liquidating,
    )
    is_late = debt.overdue_since is not None and is_fined
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
        liquidated_from=ends_at,
        first_day=_first_day(loan, at=at) if is_charged else Decimal(0),
    )


def _first_day(loan: Loan, *, at: datetime) -> Decimal:
    """What `debts.payoff_at` adds, without asking the database again; a renewal lends nothing. R-VIP-31"""
    is_charged = any(midnights(after=loan.debt.opened_at, until=at))
    if is_charged or loan.renews_id is not None:
        return Decimal(0)
    return minimum_charge(
        principal=loan.amount,
        annual_rate=loan.annual_rate,
        places=loan.asset.places,
        days_charged=0,
    ).interest


def _liquidating(group_ids: Collection[int]) -> set[int]:
    if not group_ids:
        return set()
    running = Liquidation.objects.filter(group__in=group_ids, status=Liquidation.Status.RUNNING)
    return set(running.values_list("group_id", flat=True))
