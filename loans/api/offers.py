"""The negotiation room: every version of a request's terms, and the borrower's answers (R-VIP-11, R-VIP-24)."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Asker, Edge
from accounts.api.lists import Paged, page_of
from accounts.api.second import WAITS, put_up
from accounts.api.wire import Instant, Line, Nothing, Query, asked, key_of, read
from accounts.commands import NeedsApproval
from loans.api.applications import application_of
from loans.api.asking import WANTED, WantedTerms, shown, wanted_of
from loans.api.sheets import Sheet, sheet_told
from loans.models import Application, Offer
from loans.pages import second_person
from loans.vip import offers, origination, papers, sheets
from loans.vip.offers import LONGEST_MESSAGE


class OfferOut(serializers.Serializer[Any]):
    """One version of the term sheet. `body` never changes; `sha256` is the digest of its canonical JSON. R-VIP-15"""

    version = serializers.IntegerField()
    side = serializers.CharField()
    status = serializers.CharField()
    made_at = Instant()
    expires_at = Instant()
    answered_at = Instant(allow_null=True)
    message = serializers.CharField()
    terms = WantedTerms()
    changed = serializers.ListField(
        child=serializers.CharField(), help_text="What differs from the version before."
    )
    body = serializers.DictField()
    sha256 = serializers.CharField()


class OfferPage(serializers.Serializer[Any]):
    rows = OfferOut(many=True)
    total = serializers.IntegerField()


class Offers(Edge):
    class Filter(Paged):
        pass

    @extend_schema(operation_id="offers_list", parameters=[Filter], responses=OfferPage, tags=["offers"])
    def get(self, request: Request, application_id: int) -> Response:
        """Every version, newest first."""
        told = asked(self.Filter, request)
        row = application_of(self.asker(whole=True), application_id)
        return Response(OfferPage(page_of(row.offers.order_by("-version"), told, _told)).data)


class OneOffer(Edge):
    class Output(OfferOut):
        """`review`: what these terms would do now, while the version waits for an answer; null after that."""

        review = Sheet(allow_null=True)

    @extend_schema(operation_id="offers_read", responses=Output, tags=["offers"])
    def get(self, request: Request, application_id: int, version: int) -> Response:
        """One version, and what it would do to the group today."""
        asked(Query, request)
        asker = self.asker(whole=True)
        row = application_of(asker, application_id)
        offer = get_object_or_404(row.offers, version=version)
        waits = offer.status == Offer.Status.OPEN and offer.expires_at > asker.at
        return Response(offer_told(offer) | {"review": _review(row, offer, asker.at) if waits else None})


class Accept(Edge):
    @extend_schema(
        operation_id="offers_accept", request=Nothing, responses={200: OfferOut, **WAITS}, tags=["offers"]
    )
    def post(self, request: Request, application_id: int, version: int) -> Response:
        """Accept the desk's offer; it is in review then, and binds the desk for its time. R-VIP-18"""
        asker, told, key = _answering(self, request, application_id, version)
        try:
            offer = offers.accept_offer(**told, actor=asker.actor, at=asker.at, key=key)
        except NeedsApproval:
            return put_up(
                asker,
                command="vip.accept_offer",
                arguments=told,
                title=f"Accept version {version} of request {_named(application_id)}",
                facts=second_person.of_offer(told, asker.at),
                key=key,
            )
        return Response(offer_told(offer))


class Decline(Edge):
    @extend_schema(operation_id="offers_decline", request=Nothing, responses=OfferOut, tags=["offers"])
    def post(self, request: Request, application_id: int, version: int) -> Response:
        """Decline the desk's offer; the request stays open for another one by either side."""
        asker, told, key = _answering(self, request, application_id, version)
        return Response(offer_told(offers.decline_offer(**told, actor=asker.actor, at=asker.at, key=key)))


class Counter(Edge):
    class Input(WantedTerms):
        message = Line(max_length=LONGEST_MESSAGE, required=False, default="", allow_blank=True)

    @extend_schema(
        operation_id="offers_counter",
        examples=[shown("8 % instead", WANTED)],
        request=Input,
        responses={201: OfferOut, **WAITS},
        tags=["offers"],
    )
    def post(self, request: Request, application_id: int, version: int) -> Response:
        """Answer a version with other terms: the next version, which waits for the VIP manager."""
        asker = self.asker(whole=True)
        row = _with_version(asker, application_id, version)
        said, key = read(self.Input, request), key_of(request)
        told = {
            "application_id": row.pk,
            "version": version,
            "wanted": wanted_of(said),
            "message": said["message"],
        }
        try:
            offer = offers.counter(**told, actor=asker.actor, at=asker.at, key=key)
        except NeedsApproval:
            return put_up(
                asker,
                command="vip.counter",
                arguments=told,
                title=f"Ask for other terms than version {version} of request {row}",
                facts=second_person.of_wanted(told["wanted"], rate_type=row.rate_type),
                key=key,
            )
        return Response(offer_told(offer), status=201)


def offer_told(offer: Offer) -> dict[str, Any]:
    """One version as it goes out."""
    [told] = _told([offer])
    return dict(OfferOut(told).data)


# --- Private ----------------------------------------------------------------------------------------


def _answering(
    edge: Edge, request: Request, application_id: int, version: int
) -> tuple[Asker, dict[str, Any], str]:
    """Who answers which version, with which request key."""
    asker = edge.asker(whole=True)
    row = _with_version(asker, application_id, version)
    read(Nothing, request)
    return asker, {"application_id": row.pk, "version": version}, key_of(request)


def _review(row: Application, offer: Offer, at: datetime) -> dict[str, Any]:
    """What the desk would look at, but for the customer's checks: those are said to nobody they are about. R-ADM-10"""
    return sheet_told(origination.review(row, at=at, offer=offer).without(papers.CODES))


def _with_version(asker: Asker, application_id: int, version: int) -> Application:
    """The asker's request, if it has this version; of any other address nothing is there."""
    row = application_of(asker, application_id)
    get_object_or_404(row.offers.only("pk"), version=version)
    return row


def _named(application_id: int) -> str:
    return str(Application(pk=application_id))


def _told(page: list[Offer]) -> Iterator[dict[str, Any]]:
    """Newest first; each beside the version before it, which for the last of a page is one more query."""
    before: list[Offer | None] = [*page[1:], _before(page[-1])] if page else []
    names = ("version", "side", "status", "made_at", "expires_at", "answered_at", "message", "body", "sha256")
    for offer, older in zip(page, before, strict=True):
        changed = sheets.differences(older.body, offer.body) if older is not None else frozenset()
        yield {name: getattr(offer, name) for name in names} | {
            "terms": sheets.wanted_of(offer.body),
            "changed": sorted(changed),
        }


def _before(offer: Offer) -> Offer | None:
    return Offer.objects.filter(application=offer.application_id, version=offer.version - 1).first()
