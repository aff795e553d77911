"""What a borrower does about a loan: repay, renew, choose auto-repay, take its sheet away (R-VIP-15, 34, 40, 47)."""

from typing import Any

from django.http import Http404, HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Edge
from accounts.api.wire import Amount, Body, Flag, Fraction, Instant, Number, Query, asked, key_of, read
from loans.api.asking import shown
from loans.api.loans import LoanOut, Payment, loan_of, loan_told, paid_row
from loans.models import SignedSheet
from loans.vip import at_expiry, auto_repay, renewal, repayment
from loans.vip.eligibility import LONGEST_TERM

PDF = "application/pdf"


class Repay(Edge):
    class Input(Body):
        """Either an amount of the loan's coin, or a share of what closes it: "0.25", or "1" for all."""

        amount = Amount(required=False)
        share = Fraction(required=False)

    @extend_schema(
        operation_id="loans_repay",
        request=Input,
        responses=Payment,
        tags=["loans"],
        examples=[shown("An amount", {"amount": "50000"}), shown("All of it", {"share": "1"})],
    )
    def post(self, request: Request, loan_id: int) -> Response:
        """Pay from the receiver's Spot, then Fiat: late fee, interest, principal. R-VIP-34, R-GEN-51"""
        asker = self.asker()
        row = loan_of(asker, loan_id)
        told = read(self.Input, request)
        entry = repayment.repay(loan_id=row.pk, **told, actor=asker.actor, at=asker.at, key=key_of(request))
        return Response(Payment(paid_row(row.pk, entry)).data)


class Renew(Edge):
    class Input(Body):
        term_days = Number(min_value=1, max_value=LONGEST_TERM, help_text="30 or 60.")

    @extend_schema(operation_id="loans_renew", request=Input, responses={201: LoanOut}, tags=["loans"])
    def post(self, request: Request, loan_id: int) -> Response:
        """Pay the interest from Spot and carry the principal into a new order, which is the answer. R-VIP-40…42"""
        asker = self.asker()
        row = loan_of(asker, loan_id)
        told = read(self.Input, request)
        new = renewal.renew(loan_id=row.pk, **told, actor=asker.actor, at=asker.at, key=key_of(request))
        return Response(loan_told(new, at=asker.at), status=201)


class AutoRepay(Edge):
    class Input(Body):
        on = Flag()

    class Output(serializers.Serializer[Any]):
        loan_id = serializers.IntegerField()
        auto_repay = serializers.BooleanField()

    @extend_schema(operation_id="loans_auto_repay", request=Input, responses=Output, tags=["loans"])
    def post(self, request: Request, loan_id: int) -> Response:
        """Choose whether it repays itself from Spot at its expiry. R-VIP-47"""
        asker = self.asker()
        row = loan_of(asker, loan_id)
        told = read(self.Input, request)
        row = auto_repay.set_auto_repay(
            loan_id=row.pk, **told, actor=asker.actor, at=asker.at, key=key_of(request)
        )
        return Response(self.Output({"loan_id": row.pk, "auto_repay": at_expiry.auto_repays(row)}).data)


class LoanSheet(Edge):
    class Output(serializers.Serializer[Any]):
        """The agreed terms; `sha256` is the digest of `body` as canonical JSON: sorted keys, no spaces, UTF-8."""

        reference = serializers.CharField()
        signed_at = Instant()
        sha256 = serializers.CharField()
        pdf_sha256 = serializers.CharField()
        body = serializers.DictField()

    @extend_schema(operation_id="loans_sheet", responses=Output, tags=["loans"])
    def get(self, request: Request, loan_id: int) -> Response:
        """The signed term sheet that the loan stands on. R-VIP-15"""
        sheet = _sheet(self, request, loan_id)
        names = ("signed_at", "sha256", "pdf_sha256", "body")
        told = {"reference": str(sheet)} | {name: getattr(sheet, name) for name in names}
        return Response(self.Output(told).data)


class LoanSheetPaper(Edge):
    @extend_schema(
        operation_id="loans_sheet_pdf", responses={(200, PDF): OpenApiTypes.BINARY}, tags=["loans"]
    )
    def get(self, request: Request, loan_id: int) -> HttpResponse:
        """The same sheet on paper."""
        sheet = _sheet(self, request, loan_id)
        answer = HttpResponse(bytes(sheet.pdf), content_type=PDF)
        answer["Content-Disposition"] = f'attachment; filename="term-sheet-{sheet}.pdf"'
        return answer

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """Whoever wants a PDF gets it; a refusal is JSON all the same."""
        return super().perform_content_negotiation(request, force=True)


def _sheet(edge: Edge, request: Request, loan_id: int) -> SignedSheet:
    asked(Query, request)
    row = loan_of(edge.asker(), loan_id)
    if row.sheet is None:
        raise Http404
    return row.sheet
