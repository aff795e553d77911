"""What the desk and the client said about a margin call: contacts, promises and notes of the client's manager.

That the client knows of it is not written here: it is their own acknowledgement of a notice of the call
(`Notice.acknowledged_at`), so there is one truth. What all this amounts to is derived in risk/call_stages.py.
R-FTR-18
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db.models import BigIntegerField, Exists, OuterRef, Q, QuerySet, Subquery
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from accounts import people
from accounts.commands import Actor, acting_user, command
from accounts.errors import Refused
from accounts.models import Notice, User
from accounts.words import tell
from risk import call_stages
from risk.call_stages import Promise, Stage
from risk.models import CallRecord, CollateralGroup, MarginCall, RiskEvent

PROMISED_AT_MOST: Final = timedelta(days=7)  # a later time is no answer to a margin call
LONGEST_NOTE: Final = 2000
OF_A_CALL: Final = ("margin_call", "call_message")
"""Kinds of notices whose acknowledgement says that the client knows of the call they name."""


BROKEN: Final = "broken"
UNANSWERED: Final = "unanswered"


class CallIsOver(Refused):
    code = "call_is_over"


class BadPromise(Refused):
    code = "bad_promise"


class BadCallRecord(Refused):
    """No such way of reaching somebody, or nothing is said."""

    code = "bad_call_record"


@command("risk.call_contacted", returns=CallRecord)
def contacted(
    *, call_id: int, way: str, actor: Actor, at: datetime, note: str = "", key: str = "", reason: str = ""
) -> CallRecord:
    """The client's manager reached, or tried to reach, them. R-FTR-18

    Raises:
        NotYourRole, people.NotYourClient: not the client's VIP manager.
        CallIsOver: the call has ended; a note can still be left. BadCallRecord: no such way.
    """
    call, user = hold(call_id, actor, doing="record a contact", is_open=True)
    return write(call, CallRecord.Kind.CONTACTED, user=user, at=at, way=way, note=note)


@command("risk.call_promised", returns=CallRecord)
def promised(
    *,
    call_id: int,
    promised_by: datetime,
    way: str,
    actor: Actor,
    at: datetime,
    note: str = "",
    key: str = "",
    reason: str = "",
) -> CallRecord:
    """The client said that the call is cured by `promised_by`; a later promise takes its place. R-FTR-18

    Raises:
        NotYourRole, people.NotYourClient: not the client's VIP manager.
        CallIsOver: the call has ended. BadCallRecord: no such way.
        BadPromise: the time is past, or more than a week away.
    """
    call, user = hold(call_id, actor, doing="record a promise", is_open=True)
    if not at < promised_by <= at + PROMISED_AT_MOST:
        latest = (at + PROMISED_AT_MOST).astimezone(UTC)
        raise BadPromise(
            tell(
                "A promise names a time after now and at the latest {latest:%-d %B %Y, %H:%M} UTC.",
                latest=latest,
            )
        )
    return write(
        call, CallRecord.Kind.PROMISED, user=user, at=at, way=way, note=note, promised_by=promised_by
    )


@command("risk.call_noted", returns=CallRecord)
def noted(
    *, call_id: int, note: str, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> CallRecord:
    """A note of the client's manager, also after the call has ended. R-FTR-18

    Raises:
        NotYourRole, people.NotYourClient: not the client's VIP manager. BadCallRecord: nothing is said.
    """
    call, user = hold(call_id, actor, doing="leave a note", is_open=False)
    if not note.strip():
        raise BadCallRecord(tell("Write what is to be remembered."))
    return write(call, CallRecord.Kind.NOTE, user=user, at=at, way=CallRecord.Way.SITE, note=note)


def hold(call_id: int, actor: Actor, *, doing: str, is_open: bool) -> tuple[MarginCall, User]:
    """Lock the call's group, and make sure that this is its client's manager. Inside a transaction.

    Raises:
        NotYourRole, people.NotYourClient: it is not. CallIsOver: it has ended, and `is_open` asks that it has not.
    """
    user = acting_user(
        actor, roles={User.Role.VIP_MANAGER}, doing=tell("{doing} about a margin call", doing=doing)
    )
    group_id = MarginCall.objects.values_list("group_id", flat=True).get(pk=call_id)
    [group] = CollateralGroup.objects.locked(group_id)
    people.refuse_others_client(customer=group.customer, actor=actor)
    call = MarginCall.objects.select_related("group__customer", "group__receiver").get(pk=call_id)
    if is_open and call.ended_at is not None:
        ended = call.ended_at.astimezone(UTC)
        raise CallIsOver(
            tell(
                "This margin call of {group} ended on {ended:%-d %B %Y, %H:%M} UTC: it is {ended2}."
                " You can still leave a note.",
                group=group,
                ended=ended,
                ended2=call.ended,
            )
        )
    return call, user


def write(
    call: MarginCall,
    kind: str,
    *,
    user: User,
    at: datetime,
    way: str,
    note: str,
    promised_by: datetime | None = None,
) -> CallRecord:
    """The record and its event. The caller holds the group. R-FTR-18"""
    if way not in CallRecord.Way.values:
        raise BadCallRecord(tell("Say how: by phone, e-mail, chat, at a meeting or on the site."))
    if len(note) > LONGEST_NOTE:
        raise BadCallRecord(tell("A note has at most {longest_note} characters.", longest_note=LONGEST_NOTE))
    row = CallRecord.objects.create(
        call=call, kind=kind, way=way, note=note.strip(), promised_by=promised_by, at=at, by=user
    )
    facts = {
        "margin_call": call.pk,
        "record": row.pk,
        "kind": kind,
        "promised_by": promised_by.isoformat() if promised_by else None,
    }
    RiskEvent.objects.create(group=call.group, kind=RiskEvent.Kind.CALL_RECORD, at=at, facts=facts)
    return row


# --- Reads --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Followed:
    """A call with its notices and records, oldest first, as it stands at `at`."""

    call: MarginCall
    told: tuple[Notice, ...]
    records: tuple[CallRecord, ...]
    at: datetime

    @property
    def acknowledged(self) -> Notice | None:
        """The notice of this call that the client acknowledged first."""
        known = [(row.acknowledged_at, row.pk, row) for row in self.told if row.acknowledged_at]
        return min(known)[2] if known else None

    @property
    def promises(self) -> list[CallRecord]:
        return [row for row in self.records if row.kind == CallRecord.Kind.PROMISED]

    @property
    def last_promise(self) -> CallRecord | None:
        return self.promises[-1] if self.promises else None

    @property
    def last_contact(self) -> CallRecord | None:
        spoken = [row for row in self.records if row.kind != CallRecord.Kind.NOTE]
        return spoken[-1] if spoken else None

    @property
    def stage(self) -> Stage:
        return call_stages.stage(
            ended=self.call.ended,
            is_acknowledged=self.acknowledged is not None,
            has_promise=self.last_promise is not None,
        )

    def state_of(self, record: CallRecord) -> Promise | None:
        if record.promised_by is None:
            return None
        return call_stages.promise(
            promised_by=record.promised_by, ended=self.call.ended, ended_at=self.call.ended_at, at=self.at
        )

    @property
    def promise(self) -> Promise | None:
        return None if self.last_promise is None else self.state_of(self.last_promise)

    @property
    def is_broken(self) -> bool:
        return self.promise == Promise.BROKEN and not self.call.ended

    @property
    def is_unanswered(self) -> bool:
        return call_stages.is_unanswered(
            opened_at=self.call.opened_at,
            is_acknowledged=self.acknowledged is not None,
            ended=self.call.ended,
            at=self.at,
        )

    @property
    def minutes(self) -> int:
        """Whole minutes from the call to its end, or to now."""
        return int(((self.call.ended_at or self.at) - self.call.opened_at).total_seconds()) // 60


def marked(calls: "QuerySet[MarginCall]") -> "QuerySet[MarginCall]":
    """With `is_known`, whether a notice of it was acknowledged, and `promised_by`, the latest promise's time."""
    call = Cast(KeyTextTransform("margin_call", "facts"), BigIntegerField())
    known = Notice.objects.annotate(about=call).filter(
        about=OuterRef("pk"),
        customer=OuterRef("group__customer"),
        at__gte=OuterRef("opened_at"),
        kind__in=OF_A_CALL,
        acknowledged_at__isnull=False,
    )
    promised = CallRecord.objects.filter(call=OuterRef("pk"), kind=CallRecord.Kind.PROMISED)
    last = promised.order_by("-at", "-pk").values("promised_by")[:1]
    return calls.annotate(is_known=Exists(known), promised_by=Subquery(last))


def kinds(*, at: datetime) -> dict[str, Q]:
    """What `Followed` says of an open call at `at`, as the database is asked it of `marked` ones. R-FTR-18"""
    is_silent = Q(is_known=False)
    return {
        Stage.CALLED.value: is_silent & Q(promised_by=None),
        Stage.ACKNOWLEDGED.value: Q(is_known=True, promised_by=None),
        Stage.PROMISED.value: Q(promised_by__isnull=False),
        BROKEN: Q(promised_by__lt=at),
        UNANSWERED: is_silent & Q(opened_at__lt=at - call_stages.UNANSWERED_AFTER),
    }


def followed(calls: Iterable[MarginCall], *, at: datetime) -> dict[int, Followed]:
    """These calls with what was said about each, by their key. Two queries."""
    calls = list(calls)
    if not calls:
        return {}
    keys = [call.pk for call in calls]
    told: dict[int, list[Notice]] = {pk: [] for pk in keys}
    sent = Notice.objects.filter(
        customer__in={call.group.customer_id for call in calls},
        at__gte=min(call.opened_at for call in calls),
        kind__in=OF_A_CALL,
        facts__margin_call__in=keys,
    )
    for notice in sent.select_related("acknowledged_by").order_by("at", "pk"):
        told[notice.facts["margin_call"]].append(notice)
    said: dict[int, list[CallRecord]] = {pk: [] for pk in keys}
    for record in CallRecord.objects.filter(call__in=keys).select_related("by").order_by("at", "pk"):
        said[record.call_id].append(record)
    return {
        call.pk: Followed(call=call, told=tuple(told[call.pk]), records=tuple(said[call.pk]), at=at)
        for call in calls
    }
