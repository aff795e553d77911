"""Enquiries: for those who cannot apply online, and for terms that no list has (R-VIP-17)."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Edge
from accounts.api.lists import Paged, page_of
from accounts.api.wire import Body, Instant, Line, Nothing, Uid, asked, key_of, read
from loans import enquiries
from loans.enquiries import LONGEST_CONTACT, LONGEST_WISH
from loans.models import Enquiry


class EnquiryOut(serializers.Serializer[Any]):
    """A wish, and what the manager answered."""

    id = serializers.IntegerField()
    reference = serializers.CharField()
    status = serializers.CharField()
    contact = serializers.CharField()
    wish = serializers.CharField()
    account_uid = serializers.IntegerField(allow_null=True)
    asked_at = Instant()
    answer = serializers.CharField()
    handled_at = Instant(allow_null=True)


class EnquiryPage(serializers.Serializer[Any]):
    rows = EnquiryOut(many=True)
    total = serializers.IntegerField()


class Enquiries(Edge):
    class Filter(Paged):
        pass

    class Input(Body):
        contact = Line(max_length=LONGEST_CONTACT)
        wish = Line(max_length=LONGEST_WISH)
        account_uid = Uid(required=False, allow_null=True, default=None)

    @extend_schema(
        operation_id="enquiries_list", parameters=[Filter], responses=EnquiryPage, tags=["enquiries"]
    )
    def get(self, request: Request) -> Response:
        """What you asked, newest first."""
        told, asker = asked(self.Filter, request), self.asker(whole=True)
        mine = Enquiry.objects.visible_to(asker.user).filter(customer=asker.customer)
        page = page_of(mine.order_by("-asked_at", "-pk"), told, lambda rows: map(_told, rows))
        return Response(EnquiryPage(page).data)

    @extend_schema(
        operation_id="enquiries_ask", request=Input, responses={201: EnquiryOut}, tags=["enquiries"]
    )
    def post(self, request: Request) -> Response:
        """Put a wish before a VIP manager; the answer comes as a notice."""
        asker, told = self.asker(whole=True), read(self.Input, request)
        if told["account_uid"] is not None:
            get_object_or_404(asker.customer.accounts, pk=told["account_uid"])
        row = enquiries.ask(
            customer_id=asker.customer.pk,
            **told,
            actor=asker.actor,
            at=asker.at,
            key=key_of(request),
        )
        return Response(EnquiryOut(_told(row)).data, status=201)


class WithdrawEnquiry(Edge):
    @extend_schema(
        operation_id="enquiries_withdraw", request=Nothing, responses=EnquiryOut, tags=["enquiries"]
    )
    def post(self, request: Request, enquiry_id: int) -> Response:
        """Take back what nobody has answered yet."""
        asker = self.asker(whole=True)
        mine = Enquiry.objects.visible_to(asker.user).filter(customer=asker.customer)
        row = get_object_or_404(mine, pk=enquiry_id)
        read(Nothing, request)
        row = enquiries.withdraw(enquiry_id=row.pk, actor=asker.actor, at=asker.at, key=key_of(request))
        return Response(EnquiryOut(_told(row)).data)


def _told(row: Enquiry) -> dict[str, Any]:
    names = ("status", "contact", "wish", "asked_at", "answer", "handled_at")
    told = {"id": row.pk, "reference": str(row), "account_uid": row.account_id}
    return told | {name: getattr(row, name) for name in names}
