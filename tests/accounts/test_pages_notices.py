"""The inbox, the agreement, and the answers for whoever watches the process."""

from collections.abc import Iterator
from datetime import timedelta
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts import notices, people
from accounts.models import Acceptance, Customer, Notice, User
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
