"""Who asks: for whom they act, with which powers and accounts; the agreement (R-ADM-09, R-GEN-95, R-VIP-16)."""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import membership, people
from accounts.api.edge import Asker, Edge
from accounts.api.wire import Body, Instant, Line, Query, asked, key_of, read
from accounts.models import Agreement
from accounts.powers import powers_of


class AccountOut(serializers.Serializer[Any]):
    uid = serializers.IntegerField()
    label = serializers.CharField()  # type: ignore[assignment]  # the name on the wire
    kind = serializers.CharField()
    email = serializers.CharField()


class Manager(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()


class CustomerOut(serializers.Serializer[Any]):
    id = serializers.IntegerField()
    name = serializers.CharField()
    kind = serializers.CharField()
    vip_level = serializers.IntegerField()
    manager = Manager(allow_null=True)


class AgreementOut(serializers.Serializer[Any]):
    """The version in force, and when the customer accepted it."""

    version = serializers.CharField()
    published_at = Instant()
    accepted_at = Instant(allow_null=True)
    text = serializers.CharField()


class Me(Edge):
    class Output(serializers.Serializer[Any]):
        """`powers`: what the member may do. `accounts`: those that are reached. `agreement`: the version to accept."""

        user_id = serializers.IntegerField()
        name = serializers.CharField()
        role = serializers.CharField()
        powers = serializers.ListField(child=serializers.CharField())
        for_one_account = serializers.BooleanField()
        customer = CustomerOut()
        accounts = AccountOut(many=True)
        agreement = serializers.CharField(allow_null=True)
        at = Instant()

    @extend_schema(operation_id="me", responses=Output, tags=["me"])
    def get(self, request: Request) -> Response:
        """Who you are here, and what you may do."""
        asked(Query, request)
        asker = self.asker()
        mine = membership.of_user(asker.user.pk, asker.customer.pk)
        assert mine is not None, "who has no membership has no asker"
        accounts = asker.customer.accounts.order_by("pk")
        if asker.only is not None:
            accounts = accounts.filter(pk=asker.only.pk)
        due = people.needs_agreement(customer=asker.customer, at=asker.at)
        told = {
            "user_id": asker.user.pk,
            "name": asker.user.name,
            "role": mine.role,
            "powers": sorted(powers_of(mine.role, one_account=asker.only is not None)),
            "for_one_account": asker.only is not None,
            "customer": asker.customer,
            "accounts": accounts,
            "agreement": None if due is None else due.version,
            "at": asker.at,
        }
        return Response(self.Output(told).data)


class AgreementInForce(Edge):
    @extend_schema(operation_id="agreement_read", responses=AgreementOut, tags=["me"])
    def get(self, request: Request) -> Response:
        """The borrowing agreement in force, with its text."""
        asked(Query, request)
        asker = self.asker(whole=True)
        current = people.current_agreement(at=asker.at)
        if current is None:
            raise Http404
        return Response(_agreement_told(current, asker))


class AcceptAgreement(Edge):
    class Input(Body):
        version = Line(max_length=20, help_text="The one that was read.")

    @extend_schema(operation_id="agreement_accept", request=Input, responses=AgreementOut, tags=["me"])
    def post(self, request: Request) -> Response:
        """Accept it for the customer, once a version. R-VIP-16"""
        asker = self.asker(whole=True)
        made = people.accept_agreement(
            customer_id=asker.customer.pk,
            user_id=asker.user.pk,
            **read(self.Input, request),
            actor=asker.actor,
            at=asker.at,
            key=key_of(request),
        )
        return Response(_agreement_told(made.agreement, asker))


def _agreement_told(agreement: Agreement, asker: Asker) -> dict[str, Any]:
    accepted = agreement.acceptances.filter(customer=asker.customer).first()
    told = {
        "version": agreement.version,
        "published_at": agreement.published_at,
        "accepted_at": None if accepted is None else accepted.at,
        "text": agreement.text,
    }
    return dict(AgreementOut(told).data)
