"""The inbox, the agreement, and the answers for whoever watches the process."""

import html
import re
from collections.abc import Iterator
from datetime import time, timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts import notices, people
from accounts.models import Acceptance, Customer, Notice, NoticePreference, User
from tests import build
from tests.build import NOON
from tests.loans import visit

pytestmark = pytest.mark.django_db


@pytest.fixture
def member() -> User:
    return build.user(name="Mia Halden")


@pytest.fixture
def customer(member: User) -> Iterator[Customer]:
    with visit.at(NOON):
        yield build.customer(member=member)


def notice(to: Customer, title: str = "Margin call") -> Notice:
    return notices.send(
        customer=to,
        event=f"test:{uuid4()}",
        kind="test",
        title=title,
        body="Repay 5 USDT.",
        facts={},
        at=NOON,
    )


def test_a_notice_is_read_once_it_is_opened(customer: Customer, member: User) -> None:
    """R-GEN-65: read time is kept; the first reading counts."""
    row, client = notice(customer), visit.client_of(member)
    assert b"New" in client.get(reverse("accounts:notices")).content
    assert b"Repay 5 USDT." in client.get(reverse("accounts:notice", args=[row.pk])).content
    with visit.later(member, NOON + timedelta(hours=1)) as later:
        later.get(reverse("accounts:notice", args=[row.pk]))
    row.refresh_from_db()
    assert row.read_at == NOON
    assert b">New<" not in client.get(reverse("accounts:notices")).content


def test_a_notice_that_never_left_is_not_shown(customer: Customer, member: User) -> None:
    """R-GEN-61"""
    row = notice(customer, "Never said")
    notices.drop_unsent(customer=customer, event_prefix="test:", at=NOON)
    client = visit.client_of(member)
    assert row.title.encode() not in client.get(reverse("accounts:notices")).content
    assert client.get(reverse("accounts:notice", args=[row.pk])).status_code == 404


def test_notices_of_others_do_not_exist(customer: Customer, member: User) -> None:
    row = notice(build.customer())
    path = reverse("accounts:notice", args=[row.pk])
    assert visit.client_of(member).get(path).status_code == 404
    assert visit.client_of(build.user("auditor")).get(path).status_code == 404
    assert Client().get(path).status_code == 302
    row.refresh_from_db()
    assert row.read_at is None


def test_the_agreement_is_accepted_for_the_customer_once(customer: Customer, member: User) -> None:
    """R-VIP-16"""
    people.publish_agreement(
        version="2026-1", text="Read me.", actor=build.BUILDER, at=NOON - timedelta(days=1)
    )
    client, path = visit.client_of(member), reverse("accounts:agreement")
    assert b"Read me." in client.get(path).content
    stale = client.post(path, {"version": "2025-1", "key": str(uuid4())})
    assert stale.status_code == 422
    assert b"version 2026-1 is in force" in stale.content
    assert not Acceptance.objects.exists()
    assert client.post(path, {"version": "2026-1", "key": str(uuid4())}).status_code == 302
    assert client.post(path, {"version": "2026-1", "key": str(uuid4())}).status_code == 422
    assert Acceptance.objects.get().user == member
    assert b"Accepted by Mia Halden" in client.get(path).content


def test_health_answers_anybody() -> None:
    """TRUST: whether it runs, and whether it can serve; nothing more."""
    assert Client().get(reverse("accounts:livez")).content == b"live\n"
    assert Client().get(reverse("accounts:readyz")).content == b"ready\n"


# --- What a notice keeps, and where it went ---------------------------------------------------------------

CALL = {
    "lines": {
        "initial": "0.72",
        "margin_call": "0.77",
        "liquidation": "0.91",
        "cutoff": "0.95",
        "fee": "0.02",
    },
    "debt_usd": "1006904.11",
    "collateral_usd": "1290900.00",
    "prices": {
        "BTC": {"id": 7, "usd": "51636.0", "observed_at": "2026-01-01T11:59:58+00:00", "state": "fresh"},
        "USDT": {"id": 8, "usd": "1", "observed_at": "2026-01-01T11:50:00+00:00", "state": "stale"},
    },
    "group": None,
    "below_call": {
        "line": "0.77",
        "repay": {"USDT": "12911.12"},
        "add_usd": "16767.68",
        "add": {"BTC": "0.33"},
    },
    "to_initial": {"line": "0.72", "repay": {"USDT": "77456.11"}, "add_usd": "107577.94", "add": {}},
}


def text_of(response: Any) -> str:
    """The words of a page, without its markup."""
    words = html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode()))
    return " ".join(words.replace("\u00a0", " ").split())


def called(to: Customer, facts: dict[str, Any]) -> Notice:
    return notices.send(
        customer=to,
        event=f"test:{uuid4()}",
        kind="margin_call",
        title="Margin call",
        body="!",
        facts=facts,
        at=NOON,
    )


def test_a_notice_shows_its_ltv_prices_and_amounts(customer: Customer, member: User) -> None:
    """R-GEN-65"""
    page = visit.client_of(member).get(reverse("accounts:notice", args=[called(customer, CALL).pk]))
    text = text_of(page)
    for words in (
        "LTV 78.00 %",
        "Initial line 72 % Margin call line 77 % Liquidation line 91 %",
        "77 % 12,911.12 USDT 16,767.68 USD 0.33 BTC",
        "72 % 77,456.11 USDT 107,577.94 USD no single coin",
        "BTC 51,636.00 1 Jan 2026, 11:59:58 UTC USDT 1.00 1 Jan 2026, 11:50:00 UTC old then",
    ):
        assert words in text, words


def test_an_announcement_shows_the_ltv_it_leads_to(customer: Customer, member: User) -> None:
    """R-GEN-36, R-GEN-65"""
    facts = {
        "ltv": "0.7",
        "ltv_then": "0.78996",
        "effective_at": "2026-02-01T00:00:00+00:00",
        "prices": {"BTC": "60000"},
    }
    text = text_of(visit.client_of(member).get(reverse("accounts:notice", args=[called(customer, facts).pk])))
    assert "LTV 70.00 % LTV under what is announced 78.99 % In force from 1 Feb 2026, 00:00 UTC" in text
    assert "BTC 60,000.00" in text


@pytest.mark.parametrize(
    "facts",
    [
        {},
        {"ltv": None, "prices": None, "lines": [], "below_call": {"add_usd": "x"}},
        {
            "ltv": "NaN",
            "debt_usd": "1",
            "collateral_usd": "0",
            "prices": {"BTC": "1"},
            "sold_at": "2026-02-30",
        },
        {
            "ltv": 0.78,
            "coin": 7,
            "paid": "x",
            "add": {"line": "0.7", "add_usd": "1", "repay": [], "add": {"A": None}},
        },
    ],
)
def test_facts_that_say_little_are_shown_as_little(
    customer: Customer, member: User, facts: dict[str, Any]
) -> None:
    """R-GEN-65: what an older notice kept must never break its page"""
    response = visit.client_of(member).get(reverse("accounts:notice", args=[called(customer, facts).pk]))
    assert response.status_code == 200


def test_a_notice_shows_what_each_channel_answered(customer: Customer, member: User, settings: Any) -> None:
    """R-GEN-60, R-GEN-65"""
    settings.EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
    row = called(customer, {})
    path = reverse("accounts:notice", args=[row.pk])
    assert "E-mail waits 1 Jan 2026, 12:00:00 UTC until it is due" in text_of(
        visit.client_of(member).get(path)
    )
    notices.deliver_due(at=NOON)
    text = text_of(visit.client_of(member).get(path))
    assert "Inbox there 1 Jan 2026, 12:00:00 UTC read 1 Jan 2026, 12:00 UTC" in text
    assert "E-mail sent 1 Jan 2026, 12:00:00 UTC accepted for 1 of 1" in text
    assert "SMS not delivered No phone number is known." in text
    with build.acting(build.BUILDER):
        row.deliveries.filter(channel="sms").update(error="OSError: 10.0.0.7 refused")
    assert "10.0.0.7" not in text_of(
        visit.client_of(member).get(path)
    )  # whose trouble it is stays in the house


def test_the_inbox_shows_one_kind_and_counts_the_unread(customer: Customer, member: User) -> None:
    """R-GEN-65"""
    for number in range(30):
        notice(customer, f"News {number}")
    call, client, path = called(customer, {}), visit.client_of(member), reverse("accounts:notices")
    text = text_of(client.get(path))
    assert "31 not opened yet" in text
    assert "Margin call 1 Test message 30" in text
    assert "Page 1 of 2" in text
    only = client.get(path, {"kind": "margin_call"}).content
    assert reverse("accounts:notice", args=[call.pk]).encode() in only
    assert b"News" not in only
    assert b"?kind=test&amp;page=2" in client.get(path, {"kind": "test"}).content
    assert "No notice of this kind." in text_of(client.get(path, {"kind": "<script>"}))


# --- How we reach you -------------------------------------------------------------------------------------

CHOICE = {"by_email": "on", "by_sms": "on", "phone": "+41 79 123 45 67", "time_zone": "Europe/Zurich"}


def choose(client: Client, **choice: str) -> Any:
    return client.post(reverse("accounts:preferences"), CHOICE | {"key": str(uuid4())} | choice)


def test_the_owner_says_how_to_be_reached(customer: Customer, member: User) -> None:
    """R-GEN-60"""
    client = visit.client_of(member)
    assert choose(client, quiet_from="22:00", quiet_until="07:00").status_code == 302
    row = NoticePreference.objects.get(customer=customer)
    assert (row.phone, row.by_sms, row.quiet_from, row.time_zone) == (
        "+41791234567",
        True,
        time(22),
        "Europe/Zurich",
    )
    page = client.get(reverse("accounts:preferences")).content
    assert b'value="+41791234567"' in page
    assert b'value="22:00"' in page


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ({"phone": ""}, "SMS needs a phone number"),
        ({"phone": "079"}, "not an international number"),
        ({"quiet_from": "22:00"}, "both a start and an end"),
        ({"time_zone": "Europe/Atlantis"}, "Europe/Atlantis is not one of"),
        ({"quiet_from": "25:00"}, "Enter a valid time"),
    ],
)
def test_a_choice_that_cannot_work_is_said_at_the_form(
    customer: Customer, member: User, choice: dict[str, str], words: str
) -> None:
    """R-GEN-60"""
    response = choose(visit.client_of(member), **choice)
    assert response.status_code == 422
    assert words in text_of(response)
    assert not NoticePreference.objects.exists()


def test_a_test_message_is_one_press_and_one_a_minute(customer: Customer, member: User) -> None:
    """R-GEN-60"""
    client, path = visit.client_of(member), reverse("accounts:test_notice")
    assert client.post(path, {"key": str(uuid4())}).status_code == 302
    again = client.post(path, {"key": str(uuid4())})
    assert again.status_code == 422
    assert "the next can go at 12:01:00 UTC" in text_of(again)
    assert Notice.objects.filter(customer=customer, kind="test").count() == 1


def test_nobody_chooses_for_a_stranger(customer: Customer) -> None:
    """R-GEN-60: who acts for no customer has no such page"""
    for role in ("auditor", "vip_manager", "finance"):
        client = visit.client_of(build.user(role))
        assert choose(client).status_code == 404
        assert client.post(reverse("accounts:test_notice")).status_code == 404
    assert Client().get(reverse("accounts:preferences")).status_code == 302
    assert not NoticePreference.objects.exists()
