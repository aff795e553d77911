"""Loans as they stand: what is owed, at which rate, until when, how to renew, and every charge and payment.

Who asks for one account only sees the loans it receives (R-GEN-95). Amounts are in the loan's coin.
"""

from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Asker, Edge
from accounts.api.lists import Paged, page_of
from accounts.api.wire import Choice, Figure, Instant, Query, asked
from loans import queries, ratecards
from loans.histories import Scope
from loans.models import Loan
from loans.pages.loan_panels import available, plan_of
from loans.policy import policy_of
from loans.queries import LoanRow
from loans.vip import at_expiry, renewal
from risk import freezes
from risk.models import DebtEntry

RELATED = ("asset", "customer", "debt__asset", "group__receiver")


class LoanOwed(serializers.Serializer[Any]):
    """Booked and pending."""

    principal = Figure()
    interest = Figure()
    late_fee = Figure()
    total = Figure()


class LoanOut(serializers.Serializer[Any]):
    """One loan. `annual_rate`: borne now; of a flexible loan today's. `due_at` null: open. R-GEN-91, R-GEN-92"""

    id = serializers.IntegerField()
    reference = serializers.CharField()
    status = serializers.CharField()
    is_open = serializers.BooleanField()
    asset = serializers.CharField()
    amount = Figure()
    owed = LoanOwed()
    rate_type = serializers.CharField()
    annual_rate = Figure()
    daily_interest = Figure()
    drawn_at = Instant()
    due_at = Instant(allow_null=True)
    term_days = serializers.IntegerField(allow_null=True)
    receiver_uid = serializers.IntegerField()
    group_id = serializers.IntegerField()
    renews_id = serializers.IntegerField(allow_null=True)


class LoanPage(serializers.Serializer[Any]):
    rows = LoanOut(many=True)
    total = serializers.IntegerField()


class TermRate(serializers.Serializer[Any]):
    term_days = serializers.IntegerField()
    annual_rate = Figure()


class Renewal(serializers.Serializer[Any]):
    """When it can be renewed and for what; `reasons`: why not now, in words. R-VIP-40…42"""

    opens_at = Instant(allow_null=True)
    reasons = serializers.ListField(child=serializers.CharField())
    interest_due = Figure(help_text="Paid first, from Spot.")
    interest_missing = Figure(help_text="What Spot lacks for it.")
    rates = TermRate(many=True)


class RateFrom(serializers.Serializer[Any]):
    """A rate of the debt from an instant on; null: flexible, with the spread on it."""

    starts_at = Instant()
    annual_rate = Figure(source="fixed_rate", allow_null=True)
    spread = Figure()


class InstalmentOut(serializers.Serializer[Any]):
    due_at = Instant()
    amount = Figure()
    paid_at = Instant(allow_null=True)


class Closed(serializers.Serializer[Any]):
    until = Instant()
    reason = serializers.CharField()


class LoanDetail(LoanOut):
    """One loan with what closes it and what can be done about it."""

    payoff = Figure(help_text="Closes it now, the one day at least that a loan pays included. R-VIP-31")
    available = Figure(help_text="In the receiver's Spot, then Fiat wallets. R-VIP-34")
    auto_repay = serializers.BooleanField()
    converts = serializers.BooleanField(help_text="At its expiry it goes on at the flexible rate. R-VIP-26")
    renewal = Renewal(allow_null=True, help_text="null: it is closed.")
    overdue_since = Instant(allow_null=True)
    liquidated_from = Instant(allow_null=True, help_text="When its collateral may be sold. R-VIP-44")
    called_at = Instant(allow_null=True, help_text="When an open loan was called back.")
    residual_since = Instant(allow_null=True, help_text="Since a liquidation left this rest. R-GEN-78")
    closed_at = Instant(allow_null=True)
    repayments_closed = Closed(allow_null=True)
    rates = RateFrom(many=True)
    instalments = InstalmentOut(many=True)
    sheet_sha256 = serializers.CharField()
    renewed_by_id = serializers.IntegerField(allow_null=True)


class Charge(serializers.Serializer[Any]):
    """Interest of one day, and the late fee on it; without a period it is the one day a loan pays at least."""

    at = Instant()
    period_start = Instant(allow_null=True)
    period_end = Instant(allow_null=True)
    basis = Figure(allow_null=True)
    annual_rate = Figure(allow_null=True)
    interest = Figure()
    late_fee = Figure()
    entry_id = serializers.IntegerField()


class ChargePage(serializers.Serializer[Any]):
    rows = Charge(many=True)
    total = serializers.IntegerField()


class Payment(serializers.Serializer[Any]):
    """What one entry took off the debt: late fee, then interest, then principal. R-GEN-51"""

    loan_id = serializers.IntegerField()
    at = Instant()
    kind = serializers.CharField()
    total = Figure()
    principal = Figure()
    interest = Figure()
    late_fee = Figure()
    entry_id = serializers.IntegerField()


class PaymentPage(serializers.Serializer[Any]):
    rows = Payment(many=True)
    total = serializers.IntegerField()


class Loans(Edge):
    class Filter(Paged):
        status = Choice(["open", "closed"], required=False)

    @extend_schema(operation_id="loans_list", parameters=[Filter], responses=LoanPage, tags=["loans"])
    def get(self, request: Request) -> Response:
        """My loans with what they owe now, newest first."""
        told, asker = asked(self.Filter, request), self.asker()
        rows = Scope(asker.customer, asker.only).loans()
        if "status" in told:
            rows = rows.filter(debt__closed_at__isnull=told["status"] == "open")
        page = page_of(rows.order_by("-drawn_at", "-pk"), told, lambda page: _rows(page, asker.at))
        return Response(LoanPage(page).data)


class OneLoan(Edge):
    @extend_schema(operation_id="loans_read", responses=LoanDetail, tags=["loans"])
    def get(self, request: Request, loan_id: int) -> Response:
        """One loan: owed now, rate, due date, and when and why not it can be renewed."""
        asked(Query, request)
        asker = self.asker()
        return Response(_detail(loan_of(asker, loan_id), asker.at))


class Charges(Edge):
    class Filter(Paged):
        pass

    @extend_schema(operation_id="loans_charges", parameters=[Filter], responses=ChargePage, tags=["loans"])
    def get(self, request: Request, loan_id: int) -> Response:
        """The interest of each day of this order, newest first. R-VIP-33"""
        told = asked(self.Filter, request)
        rows = queries.charges(loan_of(self.asker(), loan_id))
        return Response(ChargePage(page_of(rows, told, list)).data)


class Payments(Edge):
    class Filter(Paged):
        pass

    @extend_schema(operation_id="loans_payments", parameters=[Filter], responses=PaymentPage, tags=["loans"])
    def get(self, request: Request, loan_id: int) -> Response:
        """What took something off this debt, newest first: repayments, sales, a renewal."""
        told = asked(self.Filter, request)
        row = loan_of(self.asker(), loan_id)
        page = page_of(queries.payments(row), told, lambda page: (paid_row(row.pk, entry) for entry in page))
        return Response(PaymentPage(page).data)


def loan_of(asker: Asker, loan_id: int) -> Loan:
    """The loan of that number, if the asker sees it; another's is not there."""
    return get_object_or_404(Scope(asker.customer, asker.only).loans().select_related(*RELATED), pk=loan_id)


def loan_told(row: Loan, *, at: datetime) -> dict[str, Any]:
    """One loan as it stands."""
    return dict(LoanOut(_row(queries.loan_row(row, at=at))).data)


def paid_row(loan_id: int, entry: DebtEntry) -> dict[str, Any]:
    """One payment, as what it took off."""
    parts = {"principal": -entry.principal, "interest": -entry.interest, "late_fee": -entry.late_fee}
    told = {"loan_id": loan_id, "at": entry.at, "kind": entry.kind, "entry_id": entry.entry_id}
    return told | {"total": sum(parts.values())} | parts


# --- Private ----------------------------------------------------------------------------------------


def _rows(page: Iterable[Loan], at: datetime) -> Iterator[dict[str, Any]]:
    shown = Loan.objects.filter(pk__in=[row.pk for row in page])
    return map(_row, queries.loan_rows(shown, at=at))


def _row(row: LoanRow) -> dict[str, Any]:
    loan = row.loan
    return {
        "id": loan.pk,
        "reference": str(loan),
        "status": row.status.value,
        "is_open": loan.debt.closed_at is None,
        "asset": loan.asset_id,
        "amount": loan.amount,
        "owed": row.owed,
        "rate_type": loan.rate_type,
        "annual_rate": row.annual_rate,
        "daily_interest": row.daily_interest,
        "drawn_at": loan.drawn_at,
        "due_at": loan.debt.due_at,
        "term_days": loan.term_days,
        "receiver_uid": loan.group.receiver_id,
        "group_id": loan.group_id,
        "renews_id": loan.renews_id,
    }


def _detail(loan: Loan, at: datetime) -> dict[str, Any]:
    row, due, debt = queries.loan_row(loan, at=at), renewal.due_amounts(loan, at=at), loan.debt
    is_open = debt.closed_at is None
    stop = freezes.repay_closed(loan.asset_id, at) if is_open else None
    shown = _row(row) | {
        "payoff": due.payoff,
        "available": available(loan),
        "auto_repay": at_expiry.auto_repays(loan),
        "converts": is_open and at_expiry.converts(loan),
        "renewal": _renewal(loan, due, at) if is_open else None,
        "overdue_since": debt.overdue_since,
        "liquidated_from": row.liquidated_from,
        "called_at": debt.called_at,
        "residual_since": debt.residual_since,
        "closed_at": debt.closed_at,
        "repayments_closed": None if stop is None else {"until": stop.ends_at, "reason": stop.reason},
        "rates": debt.rates.order_by("starts_at"),
        "instalments": plan_of(loan) if debt.residual_since else [],
        "sheet_sha256": loan.sheet_sha256,
        "renewed_by_id": Loan.objects.filter(renews=loan).values_list("pk", flat=True).first(),
    }
    return dict(LoanDetail(shown).data)


def _renewal(loan: Loan, due: renewal.Due, at: datetime) -> dict[str, Any]:
    quotes = {days: _quote(loan, days, at) for days in ratecards.FIXED_TERMS}
    return {
        "opens_at": due.window_opens_at,
        "reasons": renewal.reasons_against(loan, at=at),
        "interest_due": due.interest,
        "interest_missing": due.missing,
        "rates": [
            {"term_days": days, "annual_rate": quote.annual_rate} for days, quote in quotes.items() if quote
        ],
    }


def _quote(loan: Loan, days: int, at: datetime) -> ratecards.Quote | None:
    found = ratecards.rates_for(
        product=loan.product,
        assets=[loan.asset_id],
        rate_type=loan.rate_type,
        term_days=days,
        vip_level=loan.customer.vip_level,
        at=at,
        policy=policy_of(loan.customer, at=at),
    )
    return found.get(loan.asset_id)
