"""Notices, contacts and preferences over our own API (R-GEN-60, R-GEN-65, R-FTR-03)."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import contacts, notices
from accounts.models import Customer, Notice, User
from tests import build
from tests.build import BUILDER, NOON
from tests.loans.visit import at
from tests.native import Native, browser, program

pytestmark = pytest.mark.django_db


class World:
    def __init__(self) -> None:
        self.user = build.user()
        self.owner = build.customer(member=self.user)
        self.api = program(build.master(self.owner), self.user)
        self.call = sent(self.owner, "call:1", "margin_call")
        self.note = sent(self.owner, "statement:1", "statement", minutes=1)


def sent(owner: Customer, event: str, kind: str, *, minutes: int = 0) -> Notice:
    return notices.send(
        customer=owner,
        event=f"{event}:{owner.pk}",
        kind=kind,
        title=f"About {kind}",
        body="Words.",
        facts={"ltv": "0.8"},
        at=NOON + timedelta(minutes=minutes),
    )


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with at(NOON + timedelta(hours=1)):
        yield made


def test_the_inbox_newest_first_by_what_is_urgent_and_read(world: World) -> None:
    """R-GEN-60, R-GEN-65"""
    status, told = world.api.get("notices")
    assert (status, told["total"]) == (200, 2)
    assert [row["id"] for row in told["rows"]] == [world.note.pk, world.call.pk]
    assert [row["is_urgent"] for row in told["rows"]] == [False, True]
    assert told["rows"][1]["at"] == "2026-01-01T12:00:00Z"
    assert [row["id"] for row in world.api.get("notices", urgent="true")[1]["rows"]] == [world.call.pk]
    assert [row["id"] for row in world.api.get("notices", urgent="false")[1]["rows"]] == [world.note.pk]
    status, detail = world.api.get(f"notices/{world.call.pk}")
    assert (detail["body"], detail["facts"], detail["read_at"]) == ("Words.", {"ltv": "0.8"}, None)
    status, row = world.api.post(f"notices/{world.call.pk}/read")
    assert (status, row["read_at"]) == (200, "2026-01-01T13:00:00Z")
    assert world.api.get("notices", unread="true")[1]["total"] == 1
    with at(NOON + timedelta(hours=2)):
        assert world.api.post(f"notices/{world.call.pk}/read")[1]["read_at"] == "2026-01-01T13:00:00Z"


def test_what_was_called_back_was_never_said(world: World) -> None:
    """R-GEN-61"""
    notices.drop_unsent(customer=world.owner, event_prefix="call:1", at=NOON)
    assert world.api.get("notices")[1]["total"] == 1
    assert world.api.get(f"notices/{world.call.pk}")[0] == 404


def test_acknowledging_is_done_once(world: World) -> None:
    """R-FTR-03, R-GEN-06: the same key again gets the first outcome, another is told who was first."""
    path = f"notices/{world.call.pk}/acknowledge"
    status, row = world.api.post(path, key="a1")
    assert (status, row["acknowledged_at"], row["asks_for_an_answer"]) == (
        200,
        "2026-01-01T13:00:00Z",
        False,
    )
    assert world.api.post(path, key="a1") == (200, row)
    status, told = world.api.post(path)
    assert (status, told["code"]) == (409, "already_acknowledged")
    assert world.user.name in told["message"]
    status, told = world.api.post(f"notices/{world.note.pk}/acknowledge")
    assert (status, told["code"]) == (409, "nothing_to_acknowledge")


def test_what_is_not_theirs_is_not_there(world: World) -> None:
    """R-GEN-95: of another firm, and for who acts for one account only; a viewer reads and acknowledges nothing."""
    theirs = World()
    unknown = f"notices/{theirs.note.pk + 999}"
    for path in (f"notices/{theirs.call.pk}",):
        assert world.api.get(path) == world.api.get(unknown)
        assert world.api.post(f"{path}/read") == world.api.post(f"{unknown}/read")
        assert world.api.post(f"{path}/acknowledge")[0] == 404
    sub = build.account(world.owner)
    bound = program(sub, world.user, "can_read")
    for path in ("notices", f"notices/{world.call.pk}", "contacts", "preferences"):
        assert bound.get(path)[0] == 404
    viewer = browser(build.colleague(world.owner, "viewer"))
    assert viewer.get("notices")[1]["total"] == 2
    status, told = viewer.post(f"notices/{world.call.pk}/acknowledge")
    assert (status, told["code"]) == (409, "not_your_part")
    assert not Notice.objects.exclude(acknowledged_at=None).exists()


def test_contacts_and_preferences_are_read_without_secrets(world: World) -> None:
    """R-FTR-03, R-GEN-60"""
    contacts.add(
        customer_id=world.owner.pk,
        name="Night desk",
        channel="email",
        address="night@example.com",
        after_minutes=15,
        actor=BUILDER,
        at=NOON,
    )
    status, told = world.api.get("contacts")
    assert (status, told["total"]) == (200, 1)
    assert told["rows"][0] | {"id": 0} == {
        "id": 0,
        "name": "Night desk",
        "channel": "email",
        "address": "night@example.com",
        "urgent_only": True,
        "after_minutes": 15,
        "added_at": "2026-01-01T12:00:00Z",
    }
    assert world.api.get("preferences") == (
        200,
        {
            "by_email": True,
            "by_sms": True,
            "phone": "",
            "quiet_from": None,
            "quiet_until": None,
            "time_zone": "UTC",
        },
    )


def test_a_longer_inbox_asks_no_more(world: World) -> None:
    """ARCHITECTURE: constant query counts."""

    def counted() -> int:
        with CaptureQueriesContext(connection) as found:
            world.api.get("notices")
        return len(found)

    world.api.get("notices")
    before = counted()
    for number in range(5):
        sent(world.owner, f"call:{number + 2}", "margin_call")
    assert counted() == before


def test_staff_have_no_inbox_here() -> None:
    """R-ADM-09: who acts for no customer finds nothing."""
    manager: User = build.user("vip_manager")
    with at(NOON):
        assert browser(manager).get("notices")[0] == 404
        assert Native().get("notices")[0] == 401
