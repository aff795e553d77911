"""Notices: one inbox row per event, each channel at most once, and no failure that stops anything. R-GEN-60, 61, 65"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.core import mail

from accounts import notices
from accounts.models import Customer, Delivery, Notice, NoticePreference
from tests import build

NOON = build.NOON
TEXTS: list[str] = []


PHONE = "+41791234567"


def keep_sms(to: str, text: str) -> str:
    assert to == PHONE
    TEXTS.append(text)
    return "taken as 1"


def broken_sms(to: str, text: str) -> str:
    raise ConnectionError("no carrier")


@pytest.fixture(autouse=True)
def _outside(settings: Any) -> None:
    """The two things outside: a mailbox (Django's) and an SMS provider (this module's)."""
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.SMS_BACKEND = f"{__name__}.keep_sms"
    TEXTS.clear()


def firm(members: int = 1, **preference: Any) -> Customer:
    """A firm that can be reached by e-mail and telephone."""
    owner = build.customer(member=build.user())
    with build.acting(build.BUILDER):
        NoticePreference.objects.create(customer=owner, **({"phone": PHONE} | preference))
    for _ in range(members - 1):
        with build.acting(build.BUILDER):
            owner.memberships.create(user=build.user(), since=NOON)
    return owner


def send(owner: Customer, event: str = "call:1", hold_seconds: int = 0) -> Notice:
    return notices.send(
        customer=owner,
        event=event,
        kind="margin_call",
        title="LTV is 78 %",
        body="Repay or add.",
        facts={"ltv": "0.78"},
        at=NOON,
        hold_seconds=hold_seconds,
    )


def states(notice: Notice) -> dict[str, str]:
    return dict(notice.deliveries.values_list("channel", "status"))


@pytest.mark.django_db
def test_a_notice_is_an_inbox_row_an_email_to_each_member_and_an_sms() -> None:
    """R-GEN-60"""
    notice = send(firm(members=2))
    assert (notice.dropped_at, notice.facts) == (None, {"ltv": "0.78"})
    assert notices.deliver_due(at=NOON) == 2
    assert states(notice) == {"email": "sent", "sms": "sent"}
    assert [(len(message.to), message.subject) for message in mail.outbox] == [(1, "LTV is 78 %")] * 2
    assert all(message.body.startswith("Repay or add.\n\nLTV: 78.00 %\n") for message in mail.outbox)
    assert TEXTS == ["LTV is 78 %"]
    answers = dict(notice.deliveries.values_list("channel", "answer"))
    assert answers["sms"] == "taken as 1"  # R-GEN-65
    assert answers["email"] == f"accepted for 2 of 2, {mail.outbox[0].extra_headers['Message-ID']}"


@pytest.mark.django_db
def test_the_same_event_is_told_once() -> None:
    """R-GEN-62, TRUST E27"""
    owner = firm()
    assert send(owner).pk == send(owner).pk
    assert notices.deliver_due(at=NOON) == 2
    assert notices.deliver_due(at=NOON + timedelta(days=1)) == 0
    assert (Notice.objects.count(), len(mail.outbox), len(TEXTS)) == (1, 1, 1)


@pytest.mark.django_db
def test_a_hold_keeps_it_back_until_its_second() -> None:
    """R-GEN-61"""
    send(firm(), hold_seconds=60)
    assert notices.deliver_due(at=NOON + timedelta(seconds=59)) == 0
    assert notices.deliver_due(at=NOON + timedelta(seconds=60)) == 2


@pytest.mark.django_db
def test_what_has_not_left_can_be_called_back_and_only_that() -> None:
    """R-GEN-61"""
    owner = firm()
    gone, waiting, other = send(owner, "call:1:1"), send(owner, "call:1:2", 60), send(owner, "call:12:1", 60)
    strangers = send(firm(), "call:1:3", 60)
    notices.deliver_due(at=NOON)

    assert notices.drop_unsent(customer=owner, event_prefix="call:1:", at=NOON) == 1

    waiting.refresh_from_db()
    assert (waiting.dropped_at, states(waiting)) == (NOON, {"email": "dropped", "sms": "dropped"})
    for notice, status in ((gone, "sent"), (other, "pending"), (strangers, "pending")):
        notice.refresh_from_db()
        assert (notice.dropped_at, states(notice)) == (None, {"email": status, "sms": status})
    assert notices.deliver_due(at=NOON + timedelta(seconds=60)) == 4


@pytest.mark.django_db
def test_a_notice_with_one_channel_out_stays_in_the_inbox() -> None:
    """R-GEN-61"""
    owner = firm()
    notice = send(owner)
    assert notices.deliver_due(at=NOON, most=1) == 1
    assert notices.drop_unsent(customer=owner, event_prefix="call", at=NOON) == 0
    notice.refresh_from_db()
    assert notice.dropped_at is None
    assert sorted(states(notice).values()) == ["dropped", "sent"]


@pytest.mark.django_db
def test_a_provider_that_fails_is_noted_and_never_tried_again(settings: Any) -> None:
    """R-GEN-60, TRUST E27: at most once, best effort"""
    settings.SMS_BACKEND = f"{__name__}.broken_sms"
    notice = send(firm())
    assert notices.deliver_due(at=NOON) == 1
    assert states(notice) == {"email": "sent", "sms": "failed"}
    assert notice.deliveries.get(channel="sms").error == "ConnectionError: no carrier"
    settings.SMS_BACKEND = f"{__name__}.keep_sms"
    assert notices.deliver_due(at=NOON + timedelta(hours=1)) == 0
    assert TEXTS == []


@pytest.mark.django_db
def test_a_customer_without_a_member_is_told_in_the_inbox_only() -> None:
    """R-GEN-60"""
    notice = send(build.customer())
    assert notices.deliver_due(at=NOON) == 0
    assert states(notice) == {"email": "failed", "sms": "failed"}
    errors = dict(notice.deliveries.values_list("channel", "error"))
    assert errors == {
        "email": "No active member has an e-mail address.",
        "sms": "No phone number is known.",
    }


@pytest.mark.django_db
def test_a_claim_that_died_is_not_sent_again() -> None:
    """R-GEN-60: at most once"""
    notice = send(firm())
    notice.deliveries.filter(channel="email").update(status=Delivery.Status.SENDING)
    assert notices.deliver_due(at=NOON) == 1
    assert (mail.outbox, len(TEXTS)) == ([], 1)


def test_many_deliverers_at_once_send_each_once(
    committed_db: object, in_threads: Callable[[list[Callable[[], Any]]], list[Any]]
) -> None:
    """TRUST E1, E27: rows are claimed with SKIP LOCKED, and the claim is committed before anything leaves"""
    owner = firm()
    for number in range(10):
        send(owner, f"event:{number}")
    sent = in_threads([lambda: notices.deliver_due(at=NOON)] * 6)
    assert sum(sent) == 20
    assert (len(mail.outbox), len(TEXTS)) == (10, 10)
    assert set(Delivery.objects.values_list("status", flat=True)) == {"sent"}
