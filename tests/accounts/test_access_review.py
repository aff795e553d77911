"""Who could do what at an instant, from the trail alone. R-ADM-11"""

import csv
import io
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from accounts import access_review
from accounts.access_review import Access, ActsFor
from accounts.commands import acting
from accounts.models import Membership, User
from tests import build
from tests.build import BUILDER
from tests.loans import visit

pytestmark = pytest.mark.django_db


def now() -> datetime:
    """Between two changes by the database's clock, which the trail goes by."""
    time.sleep(0.002)
    instant = datetime.now(UTC)
    time.sleep(0.002)
    return instant


def of(user: User, instant: datetime) -> Access:
    (found,) = [one for one in access_review.as_of(instant) if one.user_id == user.pk]
    return found


def test_the_past_is_what_it_was_then() -> None:
    """R-ADM-11: roles, sign-in, memberships and clients as of a date."""
    before_all = now()
    manager, member = build.user("vip_manager"), build.user(name="Mia Halden")
    customer = build.customer("Halden AG", manager=manager, member=member)
    first = now()
    with acting(BUILDER):
        Membership.objects.filter(user=member).update(role="viewer")
        manager.role, manager.is_active = "auditor", False
        manager.save(update_fields=["role", "is_active"])
        customer.manager = None
        customer.save(update_fields=["manager"])
    second = now()

    assert access_review.as_of(before_all) == []
    assert of(member, first).acts_for == (ActsFor("Halden AG", "signatory", ""),)
    assert of(member, second).acts_for == (ActsFor("Halden AG", "viewer", ""),)
    then, later = of(manager, first), of(manager, second)
    assert (then.role, then.is_active, then.clients) == ("vip_manager", True, ("Halden AG",))
    assert (later.role, later.is_active, later.clients) == ("auditor", False, ())
    assert "vip.approve" in then.proposes
    assert later.proposes == later.releases == ()


def test_today_is_what_the_tables_say() -> None:
    """R-ADM-11: folding the trail gives the rows there are."""
    users = [build.user(role) for role in User.Role.values]
    build.customer(manager=users[1], member=users[0])
    found = {
        one.user_id: (one.name, one.email, one.role, one.is_active) for one in access_review.as_of(now())
    }
    rows = User.objects.values_list("pk", "name", "email", "role", "is_active")
    assert found == {pk: told for pk, *rest in rows for told in [tuple(rest)]}


def test_reviewers_see_it_as_a_page_and_as_a_file() -> None:
    """R-ADM-11"""
    member = build.user(name="=cmd")
    build.customer("Halden AG", member=member)
    client = visit.client_of(build.user("auditor", name="Ada Audit"))
    url = reverse("accounts:access_review")
    page = client.get(url).content.decode()
    assert "Ada Audit" in page
    assert "Halden AG as signatory" in page
    answer = client.get(url, {"at": f"{datetime.now(UTC):%Y-%m-%dT%H:%M}", "csv": "1"})
    assert answer["Content-Disposition"].startswith("attachment")
    rows = list(csv.DictReader(io.StringIO(client.get(url, {"csv": "1"}).content.decode())))
    (row,) = [row for row in rows if row["user_id"] == str(member.pk)]
    assert (row["name"], row["acts_for"]) == ("'=cmd", "Halden AG as signatory")


def test_the_page_goes_by_the_trails_own_clock_to_the_second() -> None:
    """R-ADM-11: what the trail has is not still to come for a page whose clock is slow; the field names the instant."""
    member = build.user(name="Mia Halden")
    with visit.at(datetime(2026, 1, 5, 10, tzinfo=UTC)):  # years behind the database
        client = visit.client_of(build.user("auditor"))
        page = client.get(reverse("accounts:access_review")).content.decode()
        assert member.email in page
        shown = re.search(r'name="at" value="(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)"', page)
        assert shown is not None, page
        instant = datetime.fromisoformat(f"{shown[1]}+00:00")
        assert abs(access_review.clock() - instant) < timedelta(seconds=20)
        assert f"{instant:%H:%M:%S} UTC" in page
        answer = client.get(reverse("accounts:access_review"), {"at": shown[1]})
        assert f'value="{shown[1]}"' in answer.content.decode()


def test_a_time_that_is_none_is_refused_in_words() -> None:
    answer = visit.client_of(build.user("auditor")).get(
        reverse("accounts:access_review"), {"at": "11/23/2026, 05:45 AM"}
    )
    assert answer.status_code == 422
    assert b"Write it as 2026-11-23 05:45" in answer.content


@pytest.mark.parametrize("role", ["borrower", "vip_manager", "finance", "ops"])
def test_nobody_else_does(role: str) -> None:
    """TRUST B-07"""
    assert visit.client_of(build.user(role)).get(reverse("accounts:access_review")).status_code == 404


def test_a_time_to_come_is_refused() -> None:
    client = visit.client_of(build.user("admin"))
    tomorrow = timezone.now() + timedelta(days=1)
    answer = client.get(reverse("accounts:access_review"), {"at": f"{tomorrow:%Y-%m-%dT%H:%M}"})
    assert answer.status_code == 422
    assert b"still to come" in answer.content
