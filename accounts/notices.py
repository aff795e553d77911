"""Messages to customers: an inbox row, then e-mail and SMS, at most once each and best effort.

A notice is written in the transaction of the event it tells of, with its figures already in it, so it can
neither be lost nor tell of what did not happen. What leaves the house goes later, from the `Delivery` rows: a
row is claimed and that claim committed before anything is sent, so no failure can send twice, and none can
stop the event (R-GEN-60). Which channels, and when, is the customer's choice within accounts/reach.py.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from django.db import transaction

from accounts import channels, reach
from accounts.models import Customer, Delivery, Notice, NoticePreference

logger = logging.getLogger(__name__)

MOST_PER_RUN = 500  # so that one run ends well before the task's time limit


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
) -> Notice:
    """Put a notice into the inbox and its e-mail and SMS into the queue. Inside the event's transaction.

    `event` names what it tells of; a second notice of the same event is the first one. `facts` must be JSON.
    The deliveries wait `hold_seconds`, in which `drop_unsent` may still call them back (R-GEN-61), and what can
    wait waits for the end of the customer's quiet hours. R-GEN-65
    """
    notice, is_new = Notice.objects.get_or_create(
        event=event,
        defaults={
            "customer": customer,
            "kind": kind,
            "title": title[:200],
            "body": body,
            "facts": dict(facts),
            "at": at,
        },
    )
    if is_new:
        preference = preference_of(customer)
        leaves_at = at + timedelta(seconds=hold_seconds)
        due_at = reach.due_at(kind=kind, at=leaves_at, preference=preference)
        Delivery.objects.bulk_create(
            Delivery(notice=notice, channel=channel, due_at=due_at)
            for channel in reach.channels(kind=kind, preference=preference)
        )
    return notice


def preference_of(customer: Customer) -> reach.Preference:
    """How the customer wants to be told; e-mail and SMS at any hour until they say otherwise."""
    row = NoticePreference.objects.filter(customer=customer).first()
    if row is None:
        return reach.Preference()
    return reach.Preference(
        by_email=row.by_email,
        by_sms=row.by_sms,
        phone=row.phone,
        quiet_from=row.quiet_from,
        quiet_until=row.quiet_until,
        time_zone=row.time_zone,
    )


def drop_unsent(*, customer: Customer, event_prefix: str, at: datetime) -> int:
    """Call back what has not left yet of the customer's notices of these events; returns how many. R-GEN-61

    A notice of which one channel is out already stays in the inbox; only its other channel is called back.
    """
    waiting = Delivery.objects.filter(
        notice__customer=customer,
        notice__event__startswith=event_prefix,
        status=Delivery.Status.PENDING,
    )
    # The rows are locked in one order and judged again after any wait: a claimed one is no longer pending.
    called_back = list(waiting.select_for_update(of=("self",)).order_by("pk").values_list("pk", "notice_id"))
    Delivery.objects.filter(pk__in=[pk for pk, _ in called_back]).update(status=Delivery.Status.DROPPED)
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


def _never() -> bool:
    return False


def deliver_due(*, at: datetime, most: int = MOST_PER_RUN, enough: Callable[[], bool] = _never) -> int:
    """Send what is due at `at`, oldest first; returns how many went out. Safe to run many at once.

    Call it outside a transaction: each claim must be committed before its message is sent. A run that dies in
    between leaves one delivery SENDING, which is never tried again: at most once (R-GEN-60). A channel that
    does not answer is left alone for the rest of the run, and the run ends when `enough` says so, so that a dead
    provider does not keep a worker from the work on money.
    """
    sent = 0
    silent: set[str] = set()
    for _ in range(most):
        delivery = _claim_next(at, silent)
        if delivery is None:
            break
        sent += _deliver(delivery, at, silent)
        if enough():
            break
    return sent


# --- Private ----------------------------------------------------------------------------------------


def _claim_next(at: datetime, silent: set[str]) -> Delivery | None:
    with transaction.atomic():
        queue = Delivery.objects.filter(status=Delivery.Status.PENDING, due_at__lte=at)
        queue = queue.exclude(channel__in=silent).order_by("due_at", "pk")
        delivery = queue.select_for_update(skip_locked=True, of=("self",)).first()
        if delivery is not None:
            delivery.status = Delivery.Status.SENDING
            delivery.save(update_fields=["status"])
    return delivery


def _deliver(delivery: Delivery, at: datetime, silent: set[str]) -> bool:
    try:
        answer = _CHANNELS[delivery.channel](delivery.notice)
    except Exception as error:  # the provider's trouble is not ours: note it and go on
        is_no = isinstance(error, channels.NotTaken)
        logger.warning("delivery %s by %s failed", delivery.pk, delivery.channel, exc_info=not is_no)
        delivery.status, delivery.error = Delivery.Status.FAILED, _said(error)
        if not is_no:
            silent.add(delivery.channel)
    else:
        delivery.status, delivery.sent_at, delivery.answer = Delivery.Status.SENT, at, answer
    delivery.save(update_fields=["status", "sent_at", "answer", "error"])
    return delivery.status == Delivery.Status.SENT


def _said(error: Exception) -> str:
    if isinstance(error, channels.NotTaken):
        return str(error)[: channels.ANSWER_KEPT]
    return f"{type(error).__name__}: {error}"[: channels.ANSWER_KEPT]


_CHANNELS: dict[str, Callable[[Notice], str]] = {
    Delivery.Channel.EMAIL: channels.email,
    Delivery.Channel.SMS: channels.sms,
}
