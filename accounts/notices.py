"""Messages to customers: an inbox row, then e-mail, SMS and webhooks, at most once each and best effort.

A notice is written in the transaction of the event it tells of, with its figures already in it, so it can
neither be lost nor tell of what did not happen. What leaves the house goes later, from the `Delivery` rows: a
row is claimed and that claim committed before anything is sent, so no failure can send twice, and none can
stop the event (R-GEN-60). Which channels, and when, is the customer's choice within accounts/reach.py.

Contacts besides the members (accounts/contacts.py) have deliveries of their own. Those that wait for an answer, the
escalations, are judged again when they are due: nobody is woken for what was acknowledged or is over (R-FTR-03).
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import transaction
from django.db.models import QuerySet

from accounts import channels, membership, reach, webhooks
from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Customer, Delivery, Notice, NoticeContact, NoticePreference
from accounts.powers import MemberRule, Power
from accounts.words import kept, tell

logger = logging.getLogger(__name__)

MOST_PER_RUN = 500  # so that one run ends well before the task's time limit
PUT_OFF = timedelta(minutes=1)  # how long a webhook that does not answer is left alone

OVERTAKEN: Final = tell("Something later overtook it.")
OVER: Final = tell("What it told of was over by then.")
REMOVED: Final = tell("The contact was removed.")

over: dict[str, Callable[[Notice, datetime], bool]] = {}
"""By kind: whether what a notice told of is over at a time. Apps add their own; other kinds are never over."""


class NotForYou(Refused):
    code = "not_for_you"


class NothingToAcknowledge(Refused):
    """It asks for no answer, or was called back before it left."""

    code = "nothing_to_acknowledge"


class AlreadyAcknowledged(Refused):
    code = "already_acknowledged"


def send(
    *,
    customer: Customer,
    event: str,
    kind: str,
    title: str,
    body: str,
    facts: Mapping[str, object],
    at: datetime,
    hold_seconds: int = 0,
    only_to: NoticeContact | None = None,
) -> Notice:
    """Put a notice into the inbox and what leaves the house into the queue. Inside the event's transaction.

    `event` names what it tells of; a second notice of the same event is the first one. `facts` must be JSON.
    The deliveries wait `hold_seconds`, in which `drop_unsent` may still call them back (R-GEN-61), and what can
    wait waits for the end of the customer's quiet hours. `only_to` tries one contact, at once. R-GEN-65, R-FTR-03
    """
    notice, is_new = Notice.objects.get_or_create(
        event=event,
        defaults={
            "customer": customer,
            "kind": kind,
            "title": title[:200],
            "body": body,
            "memory": _memory(title, body),
            "facts": dict(facts),
            "at": at,
        },
    )
    if is_new and only_to is not None:
        Delivery.objects.create(notice=notice, channel=only_to.channel, contact=only_to, due_at=at)
    elif is_new:
        _queue([notice], leaves_at=at + timedelta(seconds=hold_seconds))
    return notice


@dataclass(frozen=True, slots=True)
class Message:
    """One notice that is to be sent, as `send` takes it."""

    customer: Customer
    event: str
    kind: str
    title: str
    body: str
    facts: Mapping[str, object]


def send_all(messages: Sequence[Message], *, at: datetime) -> None:
    """As `send`, of some at once, in a constant number of statements.

    Of events that nobody else may tell meanwhile, because what they tell of is locked; one told before is left alone.
    """
    told = set(
        Notice.objects.filter(event__in=[one.event for one in messages]).values_list("event", flat=True)
    )
    notices = Notice.objects.bulk_create(
        Notice(
            customer=one.customer,
            event=one.event,
            kind=one.kind,
            title=one.title[:200],
            body=one.body,
            memory=_memory(one.title, one.body),
            facts=dict(one.facts),
            at=at,
        )
        for one in messages
        if one.event not in told
    )
    _queue(notices, leaves_at=at)


def _memory(title: str, body: str) -> dict[str, object] | None:
    """What a reader of another language needs of these words; None of text that is not words."""
    parts = {"title": kept(title[:200]), "body": kept(body)}
    return {name: part for name, part in parts.items() if part is not None} or None


def _queue(notices: Sequence[Notice], *, leaves_at: datetime) -> None:
    """To the members by the channels they chose, and to every contact that hears of this kind."""
    customers = {notice.customer_id for notice in notices}
    preferences, contacts = _preferences_of(customers), defaultdict(list)
    for contact in _contacts().filter(customer__in=customers):
        contacts[contact.customer_id].append(contact)
    Delivery.objects.bulk_create(
        delivery
        for notice in notices
        for delivery in _deliveries(
            notice,
            preferences.get(notice.customer_id, reach.Preference()),
            contacts[notice.customer_id],
            leaves_at=leaves_at,
        )
    )


def _deliveries(
    notice: Notice, preference: reach.Preference, contacts: Iterable[NoticeContact], *, leaves_at: datetime
) -> list[Delivery]:
    kind = notice.kind
    due_at = reach.due_at(kind=kind, at=leaves_at, preference=preference)
    rows = [
        Delivery(notice=notice, channel=channel, due_at=due_at)
        for channel in reach.channels(kind=kind, preference=preference)
    ]
    for contact in contacts:
        if reach.is_for_contact(kind=kind, urgent_only=contact.urgent_only):
            due_at = reach.contact_due_at(
                kind=kind,
                at=leaves_at,
                channel=contact.channel,
                after_minutes=contact.after_minutes,
                preference=preference,
            )
            rows.append(Delivery(notice=notice, channel=contact.channel, contact=contact, due_at=due_at))
    return rows


def contacts_of(customer: Customer) -> QuerySet[NoticeContact]:
    """Who besides the members is told, those first that are told first. R-FTR-03"""
    return _contacts().filter(customer=customer)


def _contacts() -> QuerySet[NoticeContact]:
    return NoticeContact.objects.filter(removed_at__isnull=True).order_by("after_minutes", "pk")


def preference_of(customer: Customer) -> reach.Preference:
    """How the customer wants to be told; e-mail and SMS at any hour until they say otherwise."""
    return _preferences_of([customer.pk]).get(customer.pk, reach.Preference())


def _preferences_of(customers: Collection[int]) -> dict[int, reach.Preference]:
    """Of those who have said how they want to be told."""
    return {
        row.customer_id: reach.Preference(
            by_email=row.by_email,
            by_sms=row.by_sms,
            phone=row.phone,
            quiet_from=row.quiet_from,
            quiet_until=row.quiet_until,
            time_zone=row.time_zone,
            language=row.language,
        )
        for row in NoticePreference.objects.filter(customer__in=customers)
    }


def drop_unsent(*, customer: Customer, event_prefix: str, at: datetime, why: str = OVERTAKEN) -> int:
    """Call back what has not left yet of the customer's notices of these events; returns how many. R-GEN-61

    A notice of which one channel is out already stays in the inbox; only its other channels are called back.
    """
    waiting = Delivery.objects.filter(
        notice__customer=customer,
        notice__event__startswith=event_prefix,
        status=Delivery.Status.PENDING,
    )
    # The rows are locked in one order and judged again after any wait: a claimed one is no longer pending.
    called_back = list(waiting.select_for_update(of=("self",)).order_by("pk").values_list("pk", "notice_id"))
    dropped = Delivery.objects.filter(pk__in=[pk for pk, _ in called_back])
    dropped.update(status=Delivery.Status.DROPPED, error=why)
    touched = {notice_id for _, notice_id in called_back}
    rest = Delivery.objects.filter(notice__in=touched).exclude(status=Delivery.Status.DROPPED)
    out = set(rest.values_list("notice_id", flat=True))
    return Notice.objects.filter(pk__in=touched - out).update(dropped_at=at)


def hold_unsent(*, customer: Customer, event_prefix: str, until: datetime) -> None:
    """Keep these notices back until `until`: something that may overtake them is about to be decided."""
    Delivery.objects.filter(
        notice__customer=customer,
        notice__event__startswith=event_prefix,
        status=Delivery.Status.PENDING,
        due_at__lt=until,
    ).update(due_at=until)


# --- Acknowledging ------------------------------------------------------------------------------------


@command("notices.acknowledge", returns=Notice, member=MemberRule(Power.RULES))
def acknowledge(*, notice_id: int, actor: Actor, at: datetime, key: str = "", reason: str = "") -> Notice:
    """Somebody of the customer has it in hand: kept once, with who and when, and nobody further is told. R-FTR-03

    Raises:
        NotForYou: the actor acts for nobody, for somebody else, or for one account only.
        NothingToAcknowledge: it asks for no answer, or was never said.
        AlreadyAcknowledged: by whom and when.
    """
    # Deliveries before the notice, as `drop_unsent` does, so that the two cannot wait for each other.
    waiting = Delivery.objects.filter(
        notice=notice_id, status=Delivery.Status.PENDING, contact__after_minutes__gt=0
    )
    escalations = list(waiting.select_for_update(of=("self",)).order_by("pk").values_list("pk", flat=True))
    notice = Notice.objects.select_for_update(of=("self",), no_key=True).get(pk=notice_id)
    member = membership.of_user(actor.user_id, notice.customer_id)
    if member is None or member.account is not None:
        raise NotForYou(
            tell(
                "Only who acts for all of {customer} can acknowledge what it was told.",
                customer=notice.customer.name,
            )
        )
    if notice.dropped_at is not None or not reach.asks_for_an_answer(notice.kind):
        raise NothingToAcknowledge(
            tell("“{notice}” asks for no answer; there is nothing to acknowledge.", notice=notice.title)
        )
    if notice.acknowledged_at is not None:
        raise AlreadyAcknowledged(tell("{notice} Nothing more is needed.", notice=_acknowledgement(notice)))
    notice.acknowledged_at, notice.acknowledged_by = at, member.user
    notice.save(update_fields=["acknowledged_at", "acknowledged_by"])
    dropped = Delivery.objects.filter(pk__in=escalations)
    dropped.update(status=Delivery.Status.DROPPED, error=_acknowledgement(notice)[: channels.ANSWER_KEPT])
    return notice


def is_over(notice: Notice, *, at: datetime) -> bool:
    """Whether what it told of needs nobody any more; when that cannot be said, it is not. R-FTR-03"""
    judge = over.get(notice.kind)
    try:
        with transaction.atomic():
            return judge is not None and judge(notice, at)
    except Exception:  # one time too many is better than never
        logger.exception("notice %s could not be judged", notice.pk)
        return False


def _acknowledgement(notice: Notice) -> str:
    assert notice.acknowledged_at is not None
    assert notice.acknowledged_by is not None
    at = notice.acknowledged_at.astimezone(UTC)
    return tell(
        "{acknowledged_by} acknowledged it on {at:%-d %B %Y, %H:%M:%S} UTC.",
        acknowledged_by=notice.acknowledged_by.name,
        at=at,
    )


# --- Delivering ---------------------------------------------------------------------------------------


def _never() -> bool:
    return False


def deliver_due(*, at: datetime, most: int = MOST_PER_RUN, enough: Callable[[], bool] = _never) -> int:
    """Send what is due at `at`, oldest first; returns how many went out. Safe to run many at once.

    Call it outside a transaction: each claim must be committed before its message is sent. A run that dies in
    between leaves one delivery SENDING, which is never tried again: at most once (R-GEN-60). A provider that
    does not answer is left alone for the rest of the run, and the run ends when `enough` says so, so that a dead
    one does not keep a worker from the work on money.

    People come first: customers choose their webhooks, and a dead one may cost others one wait of
    `webhooks.TIMEOUT` a run. What else waits for that one is put off by a minute. R-FTR-03
    """
    people = Delivery.objects.exclude(channel=Delivery.Channel.WEBHOOK)
    programs = Delivery.objects.filter(channel=Delivery.Channel.WEBHOOK)
    return sum(_deliver_some(queue, at, most, enough) for queue in (people, programs))


# --- Private ----------------------------------------------------------------------------------------


def _deliver_some(queue: QuerySet[Delivery], at: datetime, most: int, enough: Callable[[], bool]) -> int:
    sent = 0
    silent: set[str] = set()
    for _ in range(most):
        delivery = _claim_next(queue.exclude(channel__in=silent), at)
        if delivery is None:
            break
        sent += _deliver(delivery, at, silent)
        if enough():
            break
    return sent


def _claim_next(queue: QuerySet[Delivery], at: datetime) -> Delivery | None:
    with transaction.atomic():
        due = queue.filter(status=Delivery.Status.PENDING, due_at__lte=at).order_by("due_at", "pk")
        delivery = due.select_for_update(skip_locked=True, of=("self",)).first()
        if delivery is not None:
            delivery.status = Delivery.Status.SENDING
            delivery.save(update_fields=["status"])
    return delivery


def _deliver(delivery: Delivery, at: datetime, silent: set[str]) -> bool:
    why_not = _why_not(delivery, at)
    if why_not:
        delivery.status, delivery.error = Delivery.Status.DROPPED, why_not[: channels.ANSWER_KEPT]
        delivery.save(update_fields=["status", "error"])
        return False
    try:
        answer = _send(delivery, at)
    except Exception as error:  # the provider's trouble is not ours: note it and go on
        is_no = isinstance(error, channels.NotTaken)
        logger.warning("delivery %s by %s failed", delivery.pk, delivery.channel, exc_info=not is_no)
        delivery.status, delivery.error = Delivery.Status.FAILED, _said(error)
        if not is_no:
            _leave_alone(delivery, at, silent)
    else:
        delivery.status, delivery.sent_at, delivery.answer = Delivery.Status.SENT, at, answer
    delivery.save(update_fields=["status", "sent_at", "answer", "error"])
    return delivery.status == Delivery.Status.SENT


def _why_not(delivery: Delivery, at: datetime) -> str:
    """Why a contact need not hear of it any more; empty: they do. R-FTR-03"""
    contact, notice = delivery.contact, delivery.notice
    if contact is None:
        return ""
    if contact.removed_at is not None:
        return REMOVED
    if not contact.after_minutes:
        return ""
    if notice.acknowledged_at is not None:
        return _acknowledgement(notice)
    if notice.dropped_at is not None:
        return OVERTAKEN
    return OVER if is_over(notice, at=at) else ""


def _send(delivery: Delivery, at: datetime) -> str:
    notice, contact = delivery.notice, delivery.contact
    match Delivery.Channel(delivery.channel):
        case Delivery.Channel.EMAIL:
            return channels.email(notice) if contact is None else channels.email_to(notice, contact.address)
        case Delivery.Channel.SMS:
            return channels.sms(notice) if contact is None else channels.sms_to(notice, contact.address)
        case Delivery.Channel.WEBHOOK:
            return webhooks.post(delivery, at=at)


def _leave_alone(delivery: Delivery, at: datetime, silent: set[str]) -> None:
    """A dead webhook is one contact's; a dead mail server or telephone provider is everybody's."""
    if delivery.channel == Delivery.Channel.WEBHOOK:
        waiting = Delivery.objects.filter(contact=delivery.contact, status=Delivery.Status.PENDING)
        waiting.filter(due_at__lt=at + PUT_OFF).update(due_at=at + PUT_OFF)
    else:
        silent.add(delivery.channel)


def _said(error: Exception) -> str:
    if isinstance(error, channels.NotTaken):
        return str(error)[: channels.ANSWER_KEPT]
    return tell("{name}: {error}", name=type(error).__name__, error=error)[: channels.ANSWER_KEPT]
