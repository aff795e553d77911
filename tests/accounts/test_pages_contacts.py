"""Contacts on the preferences page, and the button that says that somebody has it in hand. R-FTR-03"""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts import notices
from accounts.models import Customer, Notice, NoticeContact, User
from tests import build
from tests.accounts.test_pages_notices import text_of
from tests.build import NOON
from tests.loans import visit

pytestmark = pytest.mark.django_db
NIGHT = {
    "name": "Night desk",
    "channel": "sms",
    "address": "+41 79 123 45 67",
    "after_minutes": "15",
    "urgent_only": "on",
}


@pytest.fixture
def member() -> User:
    return build.user(name="Mia Halden")


@pytest.fixture
def customer(member: User) -> Iterator[Customer]:
    with visit.at(NOON):
        yield build.customer("Aare AG", member=member)


def add(client: Client, **asked: str) -> Any:
    return client.post(reverse("accounts:contact_add"), NIGHT | {"key": str(uuid4())} | asked)


def urgent(to: Customer, title: str = "LTV is 78 %", kind: str = "margin_call") -> Notice:
    return notices.send(
        customer=to, event=f"call:{uuid4()}", kind=kind, title=title, body="Repay.", facts={}, at=NOON
    )


def test_a_contact_is_added_listed_tried_and_removed(customer: Customer, member: User) -> None:
    """R-FTR-03"""
    client, page = visit.client_of(member), reverse("accounts:preferences")
    key = str(uuid4())
    for _ in range(2):  # pressed twice
        assert add(client, key=key).status_code == 302
    row = NoticeContact.objects.get()
    assert (row.name, row.address, row.after_minutes, row.urgent_only) == (
        "Night desk",
        "+41791234567",
        15,
        True,
    )
    assert "urgent, after 15 min without an acknowledgement" in text_of(client.get(page))
    tried = reverse("accounts:contact_test", args=[row.pk])
    assert client.post(tried).status_code == 302
    again = client.post(tried)
    assert again.status_code == 422
    assert "the next can go at 12:01:00 UTC" in text_of(again)
    assert client.post(reverse("accounts:contact_remove", args=[row.pk])).status_code == 302
    row.refresh_from_db()
    assert row.removed_at == NOON
    assert "Only the members above are told" in text_of(client.get(page))


def test_a_webhooks_secret_is_shown_on_the_next_page_and_never_again(
    customer: Customer, member: User
) -> None:
    """R-FTR-03"""
    client = visit.client_of(member)
    add(client, name="<b>Robot</b>", channel="webhook", address="https://aare.example/x", after_minutes="0")
    secret = NoticeContact.objects.get().secret
    shown = client.get(reverse("accounts:preferences"))
    assert secret in text_of(shown)
    assert shown["Cache-Control"] == "no-store"
    assert b"<b>Robot</b>" not in shown.content
    assert secret not in text_of(client.get(reverse("accounts:preferences")))


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"name": ""}, "Say who it is"),
        ({"address": "079"}, "An SMS needs an international number"),
        ({"channel": "webhook", "address": "http://aare.example/"}, "begins with https://"),
        ({"after_minutes": "1500"}, "between 1 and 1440 minutes"),
        ({"urgent_only": ""}, "Only what is urgent is escalated"),
        ({"after_minutes": "soon"}, "Write whole minutes"),
        ({"channel": "pigeon"}, "pigeon is not one of"),
    ],
)
def test_what_cannot_be_told_is_said_at_the_form(
    customer: Customer, member: User, asked: dict[str, str], words: str
) -> None:
    """R-FTR-03"""
    response = add(visit.client_of(member), **asked)
    assert response.status_code == 422
    assert words in text_of(response)
    assert not NoticeContact.objects.exists()


def test_contacts_of_others_do_not_exist(customer: Customer, member: User) -> None:
    """R-FTR-03, R-GEN-95"""
    add(visit.client_of(member))
    row, stranger = NoticeContact.objects.get(), build.user()
    build.customer(member=stranger)
    for user in (stranger, build.user("vip_manager"), build.user("auditor")):
        client = visit.client_of(user)
        for name in ("contact_test", "contact_remove"):
            assert client.post(reverse(f"accounts:{name}", args=[row.pk])).status_code == 404
    assert Client().post(reverse("accounts:contact_add")).status_code == 302
    row.refresh_from_db()
    assert (row.removed_at, NoticeContact.objects.count()) == (None, 1)


def test_a_viewer_changes_nothing(customer: Customer) -> None:
    """R-FTR-03, R-ADM-09"""
    viewer = build.user()
    customer.memberships.create(user=viewer, since=NOON, role="viewer")
    client, notice = visit.client_of(viewer), urgent(customer)
    for path in (reverse("accounts:notices"), reverse("accounts:notice", args=[notice.pk])):
        assert b"I have it in hand" not in client.get(path).content
    text = text_of(client.get(reverse("accounts:preferences")))
    assert "Ask a signatory or treasurer of your firm" in text
    assert "Add the contact" not in text
    assert add(client).status_code == 422
    assert client.post(reverse("accounts:acknowledge", args=[notice.pk])).status_code == 422
    notice.refresh_from_db()
    assert (notice.acknowledged_at, NoticeContact.objects.count()) == (None, 0)


# --- In hand ----------------------------------------------------------------------------------------------


def test_what_is_urgent_asks_on_home_inbox_and_its_page_until_it_is_in_hand(
    customer: Customer, member: User
) -> None:
    """R-FTR-03"""
    client, notice = visit.client_of(member), urgent(customer)
    urgent(customer, "Repaid", kind="loan_repaid")
    acknowledge = reverse("accounts:acknowledge", args=[notice.pk])
    pages = [reverse("loans:home"), reverse("accounts:notices"), reverse("accounts:notice", args=[notice.pk])]
    for path in pages:
        assert client.get(path).content.count(b"I have it in hand") == 1, path
        assert acknowledge.encode() in client.get(path).content
    response = client.post(acknowledge, {"next": "/"})
    assert (response.status_code, response["Location"]) == (302, "/")
    for path in pages:
        assert b"I have it in hand" not in client.get(path).content, path
    text = text_of(client.get(pages[2]))
    assert "Acknowledged by Mia Halden on 1 Jan 2026, 12:00:00 UTC" in text
    again = client.post(acknowledge)
    assert again.status_code == 422
    assert "Mia Halden acknowledged it on 1 January 2026, 12:00:00 UTC." in text_of(again)


def test_an_old_or_settled_notice_asks_no_more(customer: Customer, member: User) -> None:
    """R-FTR-03"""
    urgent(customer)
    notices.over["margin_call"], kept = (lambda notice, at: True), notices.over.get("margin_call")
    try:
        assert b"I have it in hand" not in visit.client_of(member).get(reverse("accounts:notices")).content
    finally:
        assert kept is not None
        notices.over["margin_call"] = kept
    with visit.later(member, NOON + timedelta(hours=73)) as later:
        assert b"I have it in hand" not in later.get(reverse("accounts:notices")).content


def test_the_answer_leads_back_inside_only(customer: Customer, member: User) -> None:
    """R-FTR-03, TRUST B-15"""
    for target in ("https://evil.example/", "//evil.example/", "javascript:alert(1)"):
        notice = urgent(customer)
        path = reverse("accounts:acknowledge", args=[notice.pk])
        response = visit.client_of(member).post(path, {"next": target})
        assert response["Location"] == reverse("accounts:notice", args=[notice.pk])


def test_nobody_answers_for_a_stranger(customer: Customer) -> None:
    """R-FTR-03"""
    notice, stranger = urgent(customer), build.user()
    build.customer(member=stranger)
    for user in (stranger, build.user("vip_manager"), build.user("auditor")):
        path = reverse("accounts:acknowledge", args=[notice.pk])
        assert visit.client_of(user).post(path).status_code == 404
    notice.refresh_from_db()
    assert notice.acknowledged_at is None


def test_the_page_says_where_each_contact_was_told(customer: Customer, member: User) -> None:
    """R-FTR-03, R-GEN-65"""
    client = visit.client_of(member)
    add(client)
    notice = urgent(customer)
    path = reverse("accounts:notice", args=[notice.pk])
    words = (
        "SMS to Night desk waits 1 Jan 2026, 12:15:00 UTC until it is due, unless somebody acknowledges it"
    )
    assert words in text_of(client.get(path))
    client.post(reverse("accounts:acknowledge", args=[notice.pk]))
    assert "SMS to Night desk called back Mia Halden acknowledged it" in text_of(client.get(path))
