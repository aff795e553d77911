"""Requests: look at the terms, accept them or say what is wanted instead, follow and cancel them (R-VIP-10…12, 16)."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Asker, Edge
from accounts.api.lists import Paged, page_of
from accounts.api.second import WAITS, put_up
from accounts.api.wire import Choice, Figure, Instant, Line, Nothing, Query, asked, key_of, read
from accounts.commands import NeedsApproval
from accounts.templatetags import figures
from loans import queries
from loans.api.asking import REQUEST, WANTED, Asking, WantedTerms, request_of, shown, wanted_of
from loans.api.sheets import Sheet, sheet_told
from loans.models import Application, Offer
from loans.pages import second_person
from loans.pages.requests import left_out_of, words_of
from loans.queries import RequestRow
from loans.vip import applications, papers, terms
from loans.vip.moves import UNDECIDED
from loans.vip.offers import LONGEST_MESSAGE

STATUSES = [choice for choice in Application.Status.choices if choice[0] != Application.Status.DRAFT]
MOVES = (
    "LTV before",
    "LTV after",
)  # of a second person's figures these move with the prices; a repeat must not


class LineOut(serializers.Serializer[Any]):
    """A coin of the request at its published rate; `loan` when it was paid out."""

    asset = serializers.CharField()
    amount = Figure()
    annual_rate = Figure(allow_null=True)


class PaidLine(LineOut):
    loan = serializers.IntegerField(allow_null=True)


class ApplicationRow(serializers.Serializer[Any]):
    """One request. `expires_at`: it lapses then when nobody answered or decided. R-VIP-18"""

    id = serializers.IntegerField()
    reference = serializers.CharField()
    status = serializers.CharField()
    status_text = serializers.CharField()
    receiver_uid = serializers.IntegerField()
    rate_type = serializers.CharField()
    term_days = serializers.IntegerField(allow_null=True)
    submitted_at = Instant()
    expires_at = Instant(allow_null=True)
    loans = LineOut(many=True)


class Happened(serializers.Serializer[Any]):
    at = Instant()
    kind = serializers.CharField()
    text = serializers.CharField()
    version = serializers.IntegerField(allow_null=True)


class LeftOut(serializers.Serializer[Any]):
    asset = serializers.CharField()
    why = serializers.CharField()


class ApplicationOut(ApplicationRow):
    """One request with all that was asked for and what became of it."""

    loans = PaidLine(many=True)
    account_uids = serializers.ListField(child=serializers.IntegerField())
    coins = serializers.ListField(child=serializers.CharField())
    contact = serializers.CharField()
    purpose = serializers.CharField()
    all_or_nothing = serializers.BooleanField()
    auto_repay = serializers.BooleanField()
    is_live = serializers.BooleanField(help_text="Something may still be done about it.")
    last_version = serializers.IntegerField(allow_null=True)
    open_version = serializers.IntegerField(
        allow_null=True, help_text="The desk's offer that waits for your answer."
    )
    accepted_version = serializers.IntegerField(allow_null=True)
    decided_at = Instant(allow_null=True)
    decision_reason = serializers.CharField(help_text="Of a rejection.")
    left_out = LeftOut(many=True)
    papers = serializers.CharField(help_text="What the desk still has to check before it pays out; or empty.")
    timeline = Happened(many=True)


class ApplicationPage(serializers.Serializer[Any]):
    rows = ApplicationRow(many=True)
    total = serializers.IntegerField()


class Applications(Edge):
    """My requests, and a new one on the published terms."""

    class Filter(Paged):
        status = Choice(STATUSES, required=False)

    class Input(Asking):
        accepted = Line(max_length=64, help_text="The fingerprint of the terms that are accepted.")

    @extend_schema(
        operation_id="applications_list",
        parameters=[Filter],
        responses=ApplicationPage,
        tags=["applications"],
    )
    def get(self, request: Request) -> Response:
        """My requests, newest first."""
        told, mine = asked(self.Filter, request), _mine(self.asker(whole=True))
        if "status" in told:
            mine = mine.filter(status=told["status"])
        page = page_of(mine.order_by("-submitted_at", "-pk"), told, _rows)
        return Response(ApplicationPage(page).data)

    @extend_schema(
        operation_id="applications_submit",
        examples=[shown("Accept the terms", REQUEST | {"accepted": "0" * 64})],
        request=Input,
        responses={201: ApplicationOut, **WAITS},
        tags=["applications"],
    )
    def post(self, request: Request) -> Response:
        """Accept the published terms, named by their fingerprint, and ask for the loans."""
        asker, said, key = self.asker(whole=True), read(self.Input, request), key_of(request)
        told = {"request": request_of(said, asker), "accepted": said["accepted"]}
        try:
            row = applications.submit(**told, actor=asker.actor, at=asker.at, key=key)
        except NeedsApproval:
            return _put_up(asker, "vip.submit", told, key=key)
        return Response(application_told(row, at=asker.at), status=201)


class Check(Edge):
    """What a loan would cost and do, before anybody decides anything."""

    permission = "can_read"

    class Input(Asking):
        pass

    @extend_schema(
        operation_id="applications_check",
        examples=[shown("A million for 30 days", REQUEST)],
        request=Input,
        responses=Sheet,
        tags=["applications"],
    )
    def post(self, request: Request) -> Response:
        """Check the terms: rates, lines, LTV, and everything in the way. Writes nothing."""
        asker = self.asker(whole=True)
        sheet = terms.check(request_of(read(self.Input, request), asker), at=asker.at)
        return Response(sheet_told(sheet))


class Negotiate(Edge):
    """A new request on other terms than the published ones."""

    class Input(Asking):
        accepted = Line(
            max_length=64, help_text="The fingerprint of the published terms that the wish answers."
        )
        wanted = WantedTerms()
        message = Line(max_length=LONGEST_MESSAGE, required=False, default="", allow_blank=True)

    @extend_schema(
        operation_id="applications_negotiate",
        examples=[shown("8 % instead", REQUEST | {"accepted": "0" * 64, "wanted": WANTED})],
        request=Input,
        responses={201: ApplicationOut, **WAITS},
        tags=["applications"],
    )
    def post(self, request: Request) -> Response:
        """Ask for the loans on other terms; the VIP manager accepts them or answers with an offer."""
        asker, said, key = self.asker(whole=True), read(self.Input, request), key_of(request)
        told = {
            "request": request_of(said, asker),
            "accepted": said["accepted"],
            "wanted": wanted_of(said["wanted"]),
            "message": said["message"],
        }
        try:
            row = applications.negotiate(**told, actor=asker.actor, at=asker.at, key=key)
        except NeedsApproval:
            return _put_up(asker, "vip.negotiate", told, key=key)
        return Response(application_told(row, at=asker.at), status=201)


class OneApplication(Edge):
    @extend_schema(operation_id="applications_read", responses=ApplicationOut, tags=["applications"])
    def get(self, request: Request, application_id: int) -> Response:
        """One request: what was asked for, its timeline, and the loans it led to."""
        asked(Query, request)
        asker = self.asker(whole=True)
        return Response(application_told(application_of(asker, application_id), at=asker.at))


class Cancel(Edge):
    @extend_schema(
        operation_id="applications_cancel", request=Nothing, responses=ApplicationOut, tags=["applications"]
    )
    def post(self, request: Request, application_id: int) -> Response:
        """Take the request back, as long as it is not decided."""
        asker = self.asker(whole=True)
        row = application_of(asker, application_id)
        read(Nothing, request)
        row = applications.cancel(application_id=row.pk, actor=asker.actor, at=asker.at, key=key_of(request))
        return Response(application_told(row, at=asker.at))


def application_of(asker: Asker, application_id: int) -> Application:
    """The asker's request of that number; another's is not there."""
    return get_object_or_404(_mine(asker).select_related("accepted"), pk=application_id)


def application_told(row: Application, *, at: datetime) -> dict[str, Any]:
    """One request as it goes out."""
    is_live = row.status in UNDECIDED and (row.expires_at is None or row.expires_at > at)
    last = row.offers.defer("body").order_by("-version").first()
    is_my_move = last is not None and (last.status, last.side) == (Offer.Status.OPEN, Offer.Side.DESK)
    lines = row.lines.prefetch_related("loans").order_by("asset_id")
    told = _row(row) | {
        "loans": [
            {"asset": line.asset_id, "amount": line.amount, "annual_rate": line.annual_rate}
            | {"loan": next((loan.pk for loan in line.loans.all()), None)}
            for line in lines
        ],
        "account_uids": sorted(row.collateral_accounts.values_list("pk", flat=True)),
        "coins": sorted(row.collateral_coins.values_list("pk", flat=True)),
        "contact": row.contact,
        "purpose": row.purpose,
        "all_or_nothing": row.all_or_nothing,
        "auto_repay": row.auto_repay,
        "is_live": is_live,
        "last_version": last.version if last is not None else None,
        "open_version": last.version if last is not None and is_live and is_my_move else None,
        "accepted_version": row.accepted.version if row.accepted is not None else None,
        "decided_at": row.decided_at,
        "decision_reason": row.decision_reason if row.status == Application.Status.REJECTED else "",
        "left_out": [{"asset": asset, "why": why} for asset, why in left_out_of(row)],
        "papers": papers.note_for(row.customer, at=at) if is_live else "",
        "timeline": [
            {
                "at": event.at,
                "kind": event.kind,
                "text": words_of(event),
                "version": event.facts.get("version"),
            }
            for event in row.events.filter(loan__isnull=True).order_by("at", "pk")
        ],
    }
    return dict(ApplicationOut(told).data)


# --- Private ----------------------------------------------------------------------------------------


def _mine(asker: Asker) -> QuerySet[Application]:
    return Application.objects.filter(customer=asker.customer).exclude(status=Application.Status.DRAFT)


def _rows(page: Iterable[Application]) -> list[dict[str, Any]]:
    found = queries.request_rows(Application.objects.filter(pk__in=[row.pk for row in page]))
    return [_listed(row) for row in found]


def _listed(row: RequestRow) -> dict[str, Any]:
    lines = [
        {"asset": line.asset_id, "amount": line.amount, "annual_rate": line.annual_rate} for line in row.lines
    ]
    return _row(row.application) | {"loans": lines}


def _row(row: Application) -> dict[str, Any]:
    body = row.accepted.body if row.accepted is not None else None
    return {
        "id": row.pk,
        "reference": str(row),
        "status": row.status,
        "status_text": row.get_status_display(),
        "receiver_uid": row.receiver_id,
        "rate_type": row.rate_type,
        "term_days": row.term_days if body is None else body["term_days"],
        "submitted_at": row.submitted_at,
        "expires_at": row.expires_at,
    }


def _put_up(asker: Asker, command: str, told: dict[str, Any], *, key: str) -> Response:
    """Before the firm's other people, with the figures that its maker accepted. R-ADM-09"""
    sheet = terms.check(told["request"], at=asker.at)
    facts = {name: text for name, text in second_person.of_sheet(sheet).items() if name not in MOVES}
    coins = ", ".join(figures.plain(line.amount, line.asset) for line in sheet.accepted_lines)
    title = f"Borrow {coins}"
    if "wanted" in told:
        facts |= second_person.of_wanted(told["wanted"], rate_type=told["request"].rate_type)
        title = f"Ask for {coins} on other terms"
    return put_up(asker, command=command, arguments=told, title=title, facts=facts, key=key)
