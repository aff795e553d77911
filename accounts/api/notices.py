"""Notices as they were sent: the inbox, reading and acknowledging; and who is told, and how. R-GEN-60, R-FTR-03"""

from typing import Any

from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import notices, reach
from accounts.api.edge import Asker, Edge
from accounts.api.lists import Paged, listed, page_of
from accounts.api.wire import Flag, Instant, Nothing, Query, asked, key_of, read
from accounts.models import Notice, NoticeContact


class NoticeRow(serializers.Serializer[Any]):
    """`asks_for_an_answer`: somebody should acknowledge it, or the next contact is told."""

    id = serializers.IntegerField(source="pk")
    kind = serializers.CharField()
    title = serializers.CharField()
    at = Instant()
    is_urgent = serializers.SerializerMethodField()
    asks_for_an_answer = serializers.SerializerMethodField()
    read_at = Instant(allow_null=True)
    acknowledged_at = Instant(allow_null=True)

    def get_is_urgent(self, row: Notice) -> bool:
        return not reach.may_wait(row.kind)

    def get_asks_for_an_answer(self, row: Notice) -> bool:
        return reach.asks_for_an_answer(row.kind) and row.acknowledged_at is None


class NoticeDetail(NoticeRow):
    """With its words, and the figures it told of."""

    body = serializers.CharField()
    facts = serializers.DictField()


class ContactRow(serializers.Serializer[Any]):
    """Somebody or some program besides the members. `after_minutes` above 0: told only if nobody has answered then."""

    id = serializers.IntegerField(source="pk")
    name = serializers.CharField()
    channel = serializers.ChoiceField(NoticeContact.Channel.values)
    address = serializers.CharField()
    urgent_only = Flag()
    after_minutes = serializers.IntegerField()
    added_at = Instant()


class PreferenceRow(serializers.Serializer[Any]):
    """How the members are told. Quiet hours are wall-clock times in `time_zone`; they hold back what can wait only."""

    by_email = Flag()
    by_sms = Flag()
    phone = serializers.CharField()
    quiet_from = serializers.TimeField(allow_null=True)
    quiet_until = serializers.TimeField(allow_null=True)
    time_zone = serializers.CharField()


class Notices(Edge):
    class Asked(Paged):
        unread = Flag(required=False)
        urgent = Flag(required=False)

    @extend_schema(operation_id="notices_list", parameters=[Asked], responses=listed(NoticeRow))
    def get(self, request: Request) -> Response:
        """The inbox, newest first; what was called back before it left was never said."""
        asker, told = self.asker(whole=True), asked(self.Asked, request)
        rows = _notices(asker)
        if "unread" in told:
            rows = rows.filter(read_at__isnull=told["unread"])
        if "urgent" in told:
            waiting = rows.filter(kind__in=reach.CAN_WAIT)
            rows = rows.exclude(kind__in=reach.CAN_WAIT) if told["urgent"] else waiting
        rows = rows.defer("body", "facts").order_by("-at", "-pk")
        return Response(page_of(rows, told, lambda page: NoticeRow(page, many=True).data))


class NoticeEdge(Edge):
    @extend_schema(operation_id="notices_read", responses=NoticeDetail)
    def get(self, request: Request, notice_id: int) -> Response:
        """One notice. Looking does not mark it as read."""
        asker = self.asker(whole=True)
        asked(Query, request)
        return Response(NoticeDetail(_one(asker, notice_id)).data)


class NoticeRead(Edge):
    permission = "can_read"

    @extend_schema(operation_id="notices_mark_read", request=None, responses={200: NoticeRow})
    def post(self, request: Request, notice_id: int) -> Response:
        """It was seen; the first time counts. That is no acknowledgement."""
        asker = self.asker(whole=True)
        row = _one(asker, notice_id)
        read(Nothing, request)
        Notice.objects.filter(pk=row.pk, read_at__isnull=True).update(read_at=asker.at)
        row.refresh_from_db(fields=["read_at"])
        return Response(NoticeRow(row).data)


class NoticeAcknowledge(Edge):
    @extend_schema(operation_id="notices_acknowledge", request=None, responses={200: NoticeRow})
    def post(self, request: Request, notice_id: int) -> Response:
        """Somebody has it in hand: nobody further is told, and the desk sees it."""
        asker = self.asker(whole=True)
        row = _one(asker, notice_id)
        read(Nothing, request)
        row = notices.acknowledge(notice_id=row.pk, actor=asker.actor, at=asker.at, key=key_of(request))
        return Response(NoticeRow(row).data)


class Contacts(Edge):
    @extend_schema(operation_id="contacts_list", parameters=[Paged], responses=listed(ContactRow))
    def get(self, request: Request) -> Response:
        """Who besides the members is told, those first that are told first."""
        asker, told = self.asker(whole=True), asked(Paged, request)
        rows = notices.contacts_of(asker.customer)
        return Response(page_of(rows, told, lambda page: ContactRow(page, many=True).data))


class Preferences(Edge):
    @extend_schema(operation_id="preferences_read", responses=PreferenceRow)
    def get(self, request: Request) -> Response:
        """How the members are told."""
        asker = self.asker(whole=True)
        asked(Query, request)
        return Response(PreferenceRow(notices.preference_of(asker.customer)).data)


# --- Private ----------------------------------------------------------------------------------------


def _notices(asker: Asker) -> QuerySet[Notice]:
    return Notice.objects.filter(customer=asker.customer, dropped_at__isnull=True)


def _one(asker: Asker, notice_id: int) -> Notice:
    row = _notices(asker).filter(pk=notice_id).first()
    if row is None:
        raise Http404
    return row
