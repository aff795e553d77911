"""Who else is told, when, and what stops it: contacts, escalation and acknowledging. R-FTR-03"""

from collections.abc import Iterator
from datetime import time, timedelta
from typing import Any

import pytest
from django.core import mail

from accounts import contacts, notices
from accounts.commands import Actor, acting
from accounts.errors import Refused
from accounts.models import AuditRecord, Customer, Delivery, Notice, NoticeContact, NoticePreference, User
from tests import build
from tests.build import BUILDER, NOON

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)
SAID: list[tuple[str, str]] = []


def keep_sms(to: str, text: str) -> str:
    SAID.append((to, text))
    return "taken"


@pytest.fixture(autouse=True)
def _outside(settings: Any) -> Iterator[None]:
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    settings.SMS_BACKEND = f"{__name__}.keep_sms"
    SAID.clear()
    yield
    notices.over.pop("probe", None)


@pytest.fixture
def member() -> User:
    return build.user(name="Mia Halden")


@pytest.fixture
def owner(member: User) -> Customer:
    """A firm whose member hears by e-mail only."""
    row = build.customer("Aare AG", member=member)
    with acting(BUILDER):
        NoticePreference.objects.create(customer=row, by_sms=False)
    return row


def add(owner: Customer, **asked: Any) -> NoticeContact:
    told: dict[str, Any] = {"name": "Night desk", "channel": "sms", "address": "+41 79 123 45 67"} | asked
    return contacts.add(customer_id=owner.pk, actor=BUILDER, at=NOON, **told)


def send(owner: Customer, kind: str = "margin_call", event: str = "call:1", hold_seconds: int = 0) -> Notice:
    return notices.send(
        customer=owner,
        event=event,
        kind=kind,
        title="LTV is 78 %",
        body="Repay.",
        facts={},
        at=NOON,
        hold_seconds=hold_seconds,
    )


def to_contact(notice: Notice) -> Delivery:
    return notice.deliveries.get(contact__isnull=False)


# --- Contacts ---------------------------------------------------------------------------------------------


def test_a_contact_is_told_what_is_urgent_besides_the_members(owner: Customer) -> None:
    """R-FTR-03"""
    contact = add(owner)
    assert (contact.name, contact.address, contact.secret) == ("Night desk", "+41791234567", "")
    send(owner)
    send(owner, kind="loan_repaid", event="repaid:1")
    assert notices.deliver_due(at=NOON) == 3
    assert SAID == [("+41791234567", "LTV is 78 %")]
    assert [message.to for message in mail.outbox] == [[owner.memberships.get().user.email]] * 2


def test_a_contact_may_ask_for_every_notice_and_gets_mail_at_their_own_address(owner: Customer) -> None:
    """R-FTR-03"""
    add(owner, channel="email", address=" books@aare.example ", urgent_only=False)
    send(owner, kind="loan_repaid", event="repaid:1")
    notices.deliver_due(at=NOON)
    assert sorted(message.to[0] for message in mail.outbox) == sorted(
        ["books@aare.example", owner.memberships.get().user.email]
    )


def test_a_webhook_gets_a_secret_that_no_record_keeps(owner: Customer) -> None:
    """R-FTR-03, TRUST 7: the trail says that it was made, not what it is"""
    one = add(owner, channel="webhook", address="https://robots.aare.example/lombard?team=1")
    two = add(owner, channel="webhook", address="https://robots.aare.example/other")
    assert len(one.secret) == len(two.secret) == 64
    assert one.secret != two.secret
    trail = AuditRecord.objects.filter(subject__in=[f"accounts_noticecontact:{one.pk}", "contacts.add"])
    assert trail.count() == 3
    assert one.secret not in str(list(trail.values()))


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"name": "  "}, "bad_contact"),
        ({"name": "x" * 81}, "bad_contact"),
        ({"channel": "pigeon"}, "bad_contact"),
        ({"address": "079 123 45 67"}, "bad_contact_address"),
        ({"channel": "email", "address": "night desk@aare.example"}, "bad_contact_address"),
        ({"channel": "email", "address": "a@b.example\nBcc: c@d.example"}, "bad_contact_address"),
        ({"channel": "webhook", "address": "http://aare.example/"}, "bad_webhook_address"),
        ({"channel": "webhook", "address": "https://user:pass@aare.example/"}, "bad_webhook_address"),
        ({"channel": "webhook", "address": "https://127.0.0.1/"}, "bad_webhook_address"),
        ({"channel": "webhook", "address": "https://[::1]/"}, "bad_webhook_address"),
        ({"channel": "webhook", "address": "https://2130706433/"}, "bad_webhook_address"),
        ({"channel": "webhook", "address": "https://localhost/"}, "bad_webhook_address"),
        ({"channel": "webhook", "address": "https://aare.example:99999/"}, "bad_webhook_address"),
        ({"channel": "webhook", "address": "https://aare.example/a b"}, "bad_webhook_address"),
        ({"channel": "webhook", "address": "https://aare.example/\r\nX: y"}, "bad_webhook_address"),
        ({"channel": "webhook", "address": "file:///etc/passwd"}, "bad_webhook_address"),
        ({"channel": "webhook", "address": "javascript:alert(1)"}, "bad_webhook_address"),
        ({"after_minutes": -1}, "bad_escalation"),
        ({"after_minutes": 1441}, "bad_escalation"),
        ({"after_minutes": 5, "urgent_only": False}, "bad_escalation"),
        ({"address": "+41 79 999 99 99"}, "contact_exists"),
    ],
)
def test_a_contact_that_cannot_be_told_is_not_kept(owner: Customer, asked: dict[str, Any], code: str) -> None:
    """R-FTR-03, TRUST B-16"""
    add(owner, address="+41799999999")
    with pytest.raises(Refused) as refused:
        add(owner, **asked)
    assert refused.value.code == code
    assert NoticeContact.objects.count() == 1


def test_there_are_ten_contacts_and_a_removed_one_makes_room(owner: Customer) -> None:
    """R-FTR-03"""
    rows = [add(owner, address=f"+4179123450{number}") for number in range(10)]
    with pytest.raises(contacts.TooManyContacts, match="10 contacts"):
        add(owner, address="+41791234599")
    contacts.remove(customer_id=owner.pk, contact_id=rows[0].pk, actor=BUILDER, at=NOON)
    again = add(owner, address="+41791234500")
    assert again.pk != rows[0].pk
    assert notices.contacts_of(owner).count() == 10


def test_a_removed_contact_hears_nothing_more_not_even_what_waits(owner: Customer) -> None:
    """R-FTR-03"""
    contact = add(owner, after_minutes=15)
    waits = to_contact(send(owner))
    contacts.remove(customer_id=owner.pk, contact_id=contact.pk, actor=BUILDER, at=NOON)
    waits.refresh_from_db()
    assert (waits.status, waits.error) == ("dropped", "The contact was removed.")
    assert not send(owner, event="call:2").deliveries.filter(contact__isnull=False).exists()
    with pytest.raises(contacts.NoSuchContact):
        contacts.remove(customer_id=owner.pk, contact_id=contact.pk, actor=BUILDER, at=NOON)
    notices.deliver_due(at=NOON + 60 * MINUTE)
    assert SAID == []


def test_nobody_touches_the_contacts_of_another_customer(owner: Customer) -> None:
    """R-FTR-03, R-GEN-95"""
    contact, other = add(owner), build.customer()
    stranger = build.user()
    other.memberships.create(user=stranger, since=NOON)
    for act in (contacts.remove, contacts.send_test):
        with pytest.raises(contacts.NoSuchContact):
            act(customer_id=other.pk, contact_id=contact.pk, actor=BUILDER, at=NOON)
        for asked in (owner, other):
            with pytest.raises(Refused):
                act(customer_id=asked.pk, contact_id=contact.pk, actor=Actor.user(stranger), at=NOON)
    contact.refresh_from_db()
    assert (contact.removed_at, Notice.objects.count()) == (None, 0)


def test_a_contact_is_tried_alone_at_once_and_once_a_minute(owner: Customer) -> None:
    """R-FTR-03"""
    contact = add(owner, after_minutes=60)
    add(owner, channel="email", address="books@aare.example", urgent_only=False)

    def tried(at: Any) -> Notice:
        return contacts.send_test(customer_id=owner.pk, contact_id=contact.pk, actor=BUILDER, at=at)

    row = tried(NOON)
    assert [(each.contact, each.due_at) for each in row.deliveries.all()] == [(contact, NOON)]
    with pytest.raises(contacts.ContactTestedJustNow, match="12:01:00 UTC"):
        tried(NOON + timedelta(seconds=59))
    tried(NOON + MINUTE)
    assert notices.deliver_due(at=NOON + MINUTE) == 2
    assert SAID == [("+41791234567", "Test message from Lombard")] * 2
    assert mail.outbox == []


# --- When -------------------------------------------------------------------------------------------------


def test_quiet_hours_hold_what_can_wait_for_people_and_never_a_call(owner: Customer) -> None:
    """R-FTR-03, R-GEN-60: NOON is quiet until 13:00"""
    NoticePreference.objects.filter(customer=owner).update(quiet_from=time(11), quiet_until=time(13))
    add(owner, name="at once", urgent_only=False)
    add(owner, name="program", channel="webhook", address="https://aare.example/x", urgent_only=False)
    add(owner, name="later", address="+41791234568", after_minutes=15)

    def due(kind: str) -> dict[str, Any]:
        rows = send(owner, kind=kind, event=kind).deliveries.all()
        return {row.contact.name if row.contact else "member": row.due_at - NOON for row in rows}

    none, hour = timedelta(0), timedelta(hours=1)
    assert due("margin_call") == {"member": none, "at once": none, "program": none, "later": 15 * MINUTE}
    assert due("loan_repaid") == {"member": hour, "at once": hour, "program": none}


def test_an_escalation_counts_from_when_the_notice_may_leave(owner: Customer) -> None:
    """R-FTR-03, R-GEN-61"""
    add(owner, after_minutes=15)
    assert to_contact(send(owner, hold_seconds=60)).due_at == NOON + 16 * MINUTE


def test_an_escalation_goes_out_when_nobody_acknowledged(owner: Customer) -> None:
    """R-FTR-03"""
    add(owner, after_minutes=15)
    notice = send(owner)
    assert notices.deliver_due(at=NOON + timedelta(minutes=14, seconds=59)) == 1
    assert SAID == []
    assert notices.deliver_due(at=NOON + 15 * MINUTE) == 1
    assert SAID == [("+41791234567", "LTV is 78 %")]
    assert to_contact(notice).status == "sent"


def test_acknowledging_stops_it_and_says_who(owner: Customer, member: User) -> None:
    """R-FTR-03"""
    add(owner, after_minutes=15)
    add(owner, name="at once", address="+41791234568")
    notice = send(owner)

    notices.acknowledge(notice_id=notice.pk, actor=Actor.user(member), at=NOON + 5 * MINUTE)

    notice.refresh_from_db()
    assert (notice.acknowledged_at, notice.acknowledged_by) == (NOON + 5 * MINUTE, member)
    stopped = notice.deliveries.get(contact__after_minutes=15)
    why = "Mia Halden acknowledged it on 1 January 2026, 12:05:00 UTC."
    assert (stopped.status, stopped.error) == ("dropped", why)
    assert notices.deliver_due(at=NOON + 60 * MINUTE) == 2  # the member, and who is told at once
    assert [to for to, _ in SAID] == ["+41791234568"]
    assert AuditRecord.objects.filter(subject="notices.acknowledge", actor=f"user:{member.pk}").count() == 1


def test_it_is_acknowledged_once_by_somebody_of_theirs(owner: Customer, member: User) -> None:
    """R-FTR-03, R-GEN-95"""
    notice, late = send(owner), NOON + MINUTE
    limited, stranger = build.user(), build.user()
    owner.memberships.create(user=limited, since=NOON, account=build.account(owner))
    build.customer(member=stranger)
    for user in (limited, stranger, build.user("vip_manager"), build.user("risk_officer")):
        with pytest.raises(Refused):
            notices.acknowledge(notice_id=notice.pk, actor=Actor.user(user), at=NOON)
    with pytest.raises(notices.NotForYou):
        notices.acknowledge(notice_id=notice.pk, actor=BUILDER, at=NOON)
    notice.refresh_from_db()
    assert notice.acknowledged_at is None
    notices.acknowledge(notice_id=notice.pk, actor=Actor.user(member), at=NOON)
    with pytest.raises(
        notices.AlreadyAcknowledged, match="Mia Halden acknowledged it on 1 January 2026, 12:00:00"
    ):
        notices.acknowledge(notice_id=notice.pk, actor=Actor.user(member), at=late)
    notice.refresh_from_db()
    assert notice.acknowledged_at == NOON


def test_what_asks_for_nothing_is_not_acknowledged(owner: Customer, member: User) -> None:
    """R-FTR-03, R-GEN-61"""
    dropped = send(owner)
    notices.drop_unsent(customer=owner, event_prefix="call:", at=NOON)
    for notice in (dropped, send(owner, kind="loan_repaid", event="r"), send(owner, kind="test", event="t")):
        with pytest.raises(notices.NothingToAcknowledge):
            notices.acknowledge(notice_id=notice.pk, actor=Actor.user(member), at=NOON)
    assert not Notice.objects.filter(acknowledged_at__isnull=False).exists()


def test_an_escalation_is_dropped_when_it_was_overtaken_or_is_over(owner: Customer) -> None:
    """R-FTR-03, R-GEN-61: each says why"""
    add(owner, after_minutes=15)
    ended = {"it": False}
    notices.over["probe"] = lambda notice, at: ended["it"]
    overtaken, over = send(owner, event="call:1"), send(owner, kind="probe", event="probe:1")
    goes = send(owner, event="call:2")
    notices.deliver_due(at=NOON)
    notices.drop_unsent(customer=owner, event_prefix="call:1", at=NOON)
    ended["it"] = True

    assert notices.deliver_due(at=NOON + 15 * MINUTE) == 1

    assert [(to_contact(row).status, to_contact(row).error) for row in (overtaken, over, goes)] == [
        ("dropped", "Something later overtook it."),
        ("dropped", "What it told of was over by then."),
        ("sent", ""),
    ]


def test_a_matter_that_cannot_be_judged_is_told(owner: Customer) -> None:
    """R-FTR-03: one time too many is better than never"""
    add(owner, after_minutes=15)

    def broken(notice: Notice, at: Any) -> bool:
        raise RuntimeError("no such row")

    notices.over["probe"] = broken
    send(owner, kind="probe", event="probe:1")
    notices.deliver_due(at=NOON)
    assert notices.deliver_due(at=NOON + 15 * MINUTE) == 1
    assert len(SAID) == 1
