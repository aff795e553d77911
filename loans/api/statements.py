"""Monthly statements as they were issued, with their proof; and balance confirmations to answer. R-GEN-94, R-ADM-11"""

from typing import Any

from django.db.models import QuerySet
from django.http import Http404, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Asker, Edge
from accounts.api.lists import Paged, listed, page_of
from accounts.api.wire import Body, Flag, Instant, Line, Nothing, Query, asked, key_of, read
from loans import confirmations, statements
from loans.models import BalanceConfirmation, Statement
from risk.api.shapes import Row


class StatementRow(serializers.Serializer[Any]):
    """`month` is its first day; `sha256` is of the body as canonical JSON: sorted keys, no spaces, UTF-8."""

    id = serializers.IntegerField(source="pk")
    month = serializers.DateField()
    sha256 = serializers.CharField()
    made_at = Instant()


class StatementDetail(StatementRow):
    """With every figure as it was issued; amounts are text."""

    body = serializers.DictField()


class Proof(serializers.Serializer[Any]):
    """Whether the ledger says today what the statement said; `differs` names the parts that do not agree."""

    holds = Flag()
    sha256 = serializers.CharField()
    differs = serializers.ListField(child=serializers.CharField())


class ConfirmationRow(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    as_of = Instant()
    status = serializers.ChoiceField(BalanceConfirmation.Status.values)
    sha256 = serializers.CharField()
    requested_at = Instant()
    answered_at = Instant(allow_null=True)
    answer = serializers.CharField()


class ConfirmationDetail(ConfirmationRow):
    """With what our books say: wallets, debts, collateral."""

    body = serializers.DictField()


class NewAnswer(Body):
    """`agrees` false needs `words`: which figure, and what it should be."""

    agrees = Flag()
    words = Line(default="", allow_blank=True, max_length=confirmations.LONGEST_ANSWER)


class Statements(Edge):
    @extend_schema(operation_id="statements_list", parameters=[Paged], responses=listed(StatementRow))
    def get(self, request: Request) -> Response:
        """What was issued, newest month first."""
        asker, told = self.asker(whole=True), asked(Paged, request)
        rows = _statements(asker).defer("pdf", "body").order_by("-month")
        return Response(page_of(rows, told, lambda page: StatementRow(page, many=True).data))


class StatementEdge(Edge):
    @extend_schema(operation_id="statements_read", responses=StatementDetail)
    def get(self, request: Request, statement_id: int) -> Response:
        """The statement's body and its digest."""
        asker = self.asker(whole=True)
        asked(Query, request)
        return Response(StatementDetail(_statement(asker, statement_id)).data)


class FileEdge(Edge):
    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Whoever wants the file gets it; a refusal is JSON all the same."""
        return super().perform_content_negotiation(request, force=True)


class StatementPdf(FileEdge):
    @extend_schema(operation_id="statements_pdf", responses={(200, "application/pdf"): OpenApiTypes.BINARY})
    def get(self, request: Request, statement_id: int) -> HttpResponse:
        """The paper as it was issued."""
        asker = self.asker(whole=True)
        asked(Query, request)
        row = _one(_statements(asker), statement_id)
        return _file(bytes(row.pdf), "application/pdf", f"statement-{row.month:%Y-%m}.pdf")


class StatementCsv(FileEdge):
    @extend_schema(operation_id="statements_csv", responses={(200, "text/csv"): OpenApiTypes.BINARY})
    def get(self, request: Request, statement_id: int) -> HttpResponse:
        """Every line of the body as it was issued."""
        asker = self.asker(whole=True)
        asked(Query, request)
        file = statements.csv_of(_statement(asker, statement_id).body)
        return _file(file.content, file.content_type, file.name)


class StatementProof(Edge):
    permission = "can_read"  # it is a question; nothing is kept

    @extend_schema(operation_id="statements_verify", request=None, responses={200: Proof})
    def post(self, request: Request, statement_id: int) -> Response:
        """Make the month again from the ledger of today and compare."""
        asker = self.asker(whole=True)
        read(Nothing, request)
        found = statements.verify(_statement(asker, statement_id), at=asker.at)
        told: Row = {"holds": found.holds, "sha256": found.sha256, "differs": found.differs}
        return Response(Proof(told).data)


class Confirmations(Edge):
    @extend_schema(operation_id="confirmations_list", parameters=[Paged], responses=listed(ConfirmationRow))
    def get(self, request: Request) -> Response:
        """What we asked to be confirmed, newest first."""
        asker, told = self.asker(whole=True), asked(Paged, request)
        rows = _confirmations(asker).defer("pdf", "body").order_by("-requested_at", "-pk")
        return Response(page_of(rows, told, lambda page: ConfirmationRow(page, many=True).data))


class Confirmation(Edge):
    @extend_schema(operation_id="confirmations_read", responses=ConfirmationDetail)
    def get(self, request: Request, row_id: int) -> Response:
        """What our books say of that instant."""
        asker = self.asker(whole=True)
        asked(Query, request)
        return Response(ConfirmationDetail(_one(_confirmations(asker).defer("pdf"), row_id)).data)


class ConfirmationAnswer(Edge):
    @extend_schema(operation_id="confirmations_answer", request=NewAnswer, responses={200: ConfirmationRow})
    def post(self, request: Request, row_id: int) -> Response:
        """Say that it is right, or what is not; once."""
        asker = self.asker(whole=True)
        row = _one(_confirmations(asker).defer("pdf"), row_id)
        told = read(NewAnswer, request)
        row = confirmations.answer(
            confirmation_id=row.pk, **told, actor=asker.actor, at=asker.at, key=key_of(request)
        )
        return Response(ConfirmationRow(row).data)


# --- Private ----------------------------------------------------------------------------------------


def _statements(asker: Asker) -> QuerySet[Statement]:
    return Statement.objects.filter(customer=asker.customer)


def _statement(asker: Asker, statement_id: int) -> Statement:
    row: Statement = _one(_statements(asker).select_related("customer").defer("pdf"), statement_id)
    return row


def _confirmations(asker: Asker) -> QuerySet[BalanceConfirmation]:
    return BalanceConfirmation.objects.filter(customer=asker.customer)


def _one(rows: "QuerySet[Any]", pk: int) -> Any:
    row = rows.filter(pk=pk).first()
    if row is None:
        raise Http404
    return row


def _file(content: bytes, content_type: str, name: str) -> HttpResponse:
    return HttpResponse(
        content,
        content_type=content_type,
        headers={
            "Content-Disposition": f'attachment; filename="{name}"',
            "X-Content-Type-Options": "nosniff",
        },
    )
