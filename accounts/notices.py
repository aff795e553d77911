"""Messages to customers: an inbox row, then e-mail and SMS, at most once each and best effort.

A notice is written in the transaction of the event it tells of, with its figures already in it, so it can
neither be lost nor tell of what did not happen. What leaves the house goes later, from the `Delivery` rows: a
row is claimed and that claim committed before anything is sent, so no failure can send twice, and none can
stop the event (R-GEN-60).
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import send_mail
from django.db import transaction
from django.utils.module_loading import import_string

from accounts.models import Customer, Delivery, Notice

logger = logging.getLogger(__name__)

MOST_PER_RUN = 500  # so that one run ends well before the task's time limit
DEFAULT_SMS_BACKEND = "accounts.notices.log_sms"

SmsBackend = Callable[[Customer, str], None]
"""Takes the customer and the text. Whose telephone rings is the provider's address book."""


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
    The deliveries wait `hold_seconds`, in which `drop_unsent` may still call them back (R-GEN-61). R-GEN-65
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
        due_at = at + timedelta(seconds=hold_seconds)
        Delivery.objects.bulk_create(
            Delivery(notice=notice, channel=channel, due_at=due_at) for channel in Delivery.Channel.values
        )
    return notice


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


def deliver_due(*, at: datetime, most: int = MOST_PER_RUN) -> int:
    """Send what is due at `at`, oldest first; returns how many went out. Safe to run many at once.

    Call it outside a transaction: each claim must be committed before its message is sent. A run that dies in
    between leaves one delivery SENDING, which is never tried again: at most once (R-GEN-60).
    """
    sent = 0
    for _ in range(most):
        delivery = _claim_next(at)
        if delivery is None:
            break
        sent += _deliver(delivery, at)
    return sent


def log_sms(customer: Customer, text: str) -> None:
    """The default SMS backend: a line in the log."""
    logger.info("sms to customer %s: %s", customer.pk, text)


# --- Private ----------------------------------------------------------------------------------------


def _claim_next(at: datetime) -> Delivery | None:
    with transaction.atomic():
        queue = Delivery.objects.filter(status=Delivery.Status.PENDING, due_at__lte=at)
        delivery = queue.select_for_update(skip_locked=True, of=("self",)).order_by("due_at", "pk").first()
        if delivery is not None:
            delivery.status = Delivery.Status.SENDING
            delivery.save(update_fields=["status"])
    return delivery


def _deliver(delivery: Delivery, at: datetime) -> bool:
    try:
        _CHANNELS[delivery.channel](delivery.notice)
    except Exception as error:  # the provider's trouble is not ours: note it and go on
        logger.warning("delivery %s by %s failed", delivery.pk, delivery.channel, exc_info=True)
        delivery.status, delivery.error = Delivery.Status.FAILED, f"{type(error).__name__}: {error}"[:200]
    else:
        delivery.status, delivery.sent_at = Delivery.Status.SENT, at
    delivery.save(update_fields=["status", "sent_at", "error"])
    return delivery.status == Delivery.Status.SENT


class NobodyToTell(Exception):
    """The customer has no active member with an address."""


def _email(notice: Notice) -> None:
    members = notice.customer.memberships.filter(user__is_active=True).order_by("user__email")
    addresses = list(members.values_list("user__email", flat=True))
    if not addresses:
        raise NobodyToTell(f"{notice.customer} has no active member")
    for address in addresses:  # one message each: members need not see each other's addresses
        send_mail(notice.title, notice.body, settings.DEFAULT_FROM_EMAIL, [address])


def _sms(notice: Notice) -> None:
    backend: SmsBackend = import_string(getattr(settings, "SMS_BACKEND", DEFAULT_SMS_BACKEND))
    backend(notice.customer, notice.title)


_CHANNELS: dict[str, Callable[[Notice], None]] = {
    Delivery.Channel.EMAIL: _email,
    Delivery.Channel.SMS: _sms,
}
