"""The console's pages themselves: nothing but our own, long tables paged and never counted, a row's history told."""

import re
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import AuditRecord, Notice, User
from tests import build
from tests.build import TEN
from tests.test_admin import as_user

pytestmark = pytest.mark.django_db

TRAIL = "admin:accounts_auditrecord_changelist"


@pytest.fixture(autouse=True)
def _at_ten() -> Any:
    with time_machine.travel(TEN, tick=False):
        yield


def read(client: Client, name: str, *args: object, **query: str) -> str:
    answer = client.get(reverse(name, args=args), query)
    assert answer.status_code == 200, answer.status_code
    return answer.content.decode()


def records(number: int) -> None:
    AuditRecord.objects.bulk_create(
        AuditRecord(kind=AuditRecord.Kind.COMMAND, subject=f"test.{at}", actor="user:1")
        for at in range(number)
    )


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("admin:index", []),
        ("admin:jobs", []),
        ("admin:app_list", ["risk"]),
        ("admin:accounts_user_changelist", []),
        ("admin:accounts_user_open_user", []),
        ("admin:risk_price_board", []),
    ],
)
def test_a_page_runs_nothing_and_loads_nothing_of_others(name: str, args: list[str]) -> None:
    """TRUST section 7: the strict content policy holds in the console too; its scripts are the desk's two."""
    answer = as_user(build.user("admin")).get(reverse(name, args=args))
    text = answer.content.decode()
    policy = answer["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "script-src 'self'" in policy
    assert not re.search(r"<style|\sstyle=|<script>|\son\w+=", text)
    assert not re.search(r'(?:src|href)="(?:https?:)?//', text)
    assert "/static/admin/" not in text


def test_a_long_table_is_paged_and_never_counted() -> None:
    """A count over a million rows is a page that waits."""
    client = as_user(build.user("auditor"))
    before = AuditRecord.objects.count()
    records(120 - before)
    with CaptureQueriesContext(connection) as asked:
        first = read(client, TRAIL)
    assert not [query for query in asked if "COUNT(" in query["sql"] and "auditrecord" in query["sql"]]
    assert first.count('<tr role="row">') == 1 + 50
    assert 'href="?p=2">Further' in first
    assert ">Back</a>" not in first
    last = read(client, TRAIL, p="3")
    assert last.count('<tr role="row">') == 1 + 20
    assert 'href="?p=2">Back' in last
    assert ">Further</a>" not in last
    assert read(client, TRAIL, all="").count('<tr role="row">') == 1 + 50


@pytest.mark.parametrize("page", ["4", "0", "-1", "x", "9" * 30])
def test_a_page_that_is_not_there_leads_to_the_first(page: str) -> None:
    """B-07: never an error of the server."""
    records(60)
    answer = as_user(build.user("auditor")).get(reverse(TRAIL), {"p": page}, follow=True)
    assert answer.status_code == 200


def test_rows_are_chosen_sorted_and_searched() -> None:
    build.user("finance", name="Zoe Zander")
    build.user("ops", name="Ada Anders")
    client, users = as_user(build.user("auditor", name="Mia Moor")), "admin:accounts_user_changelist"
    assert "Zoe Zander" not in read(client, users, role__exact="ops")
    found = read(client, users, q="zander")
    assert "Zoe Zander" in found
    assert "Ada Anders" not in found
    turned = read(client, users, o="-0")
    assert turned.index("Zoe Zander") < turned.index("Ada Anders")
    assert 'aria-sort="descending"' in turned
    assert "No row fits what was asked for." in read(client, users, q="nobody at all")


def test_a_filter_keeps_what_is_searched_for() -> None:
    text = read(as_user(build.user("auditor")), "admin:accounts_user_changelist", role__exact="ops", q="a")
    assert '<input type="hidden" name="role__exact" value="ops">' in text


def test_the_history_of_a_row_is_for_those_who_may_see_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    row = build.customer("Aare AG")
    client = as_user(build.user("auditor"))
    address = reverse("admin:accounts_customer_history", args=[row.pk])
    assert client.get(address).status_code == 200
    monkeypatch.setattr(User, "has_perm", lambda self, perm, obj=None: not perm.endswith("_customer"))
    assert client.get(address).status_code == 403


def test_the_history_of_a_row_is_what_the_audit_trail_says() -> None:
    """TRUST I-21, R-ADM-07"""
    customer, boss = build.customer(vip_level=1), build.user("admin")
    form = {"key": str(uuid4()), "reason": "asked for by letter", "vip_level": "7"}
    url = reverse("admin:accounts_customer_set_vip_level", args=[customer.pk])
    assert as_user(boss).post(url, form).status_code == 302
    told = read(as_user(build.user("auditor")), "admin:accounts_customer_history", customer.pk)
    assert "<b>vip_level</b>: 1 → 7" in told
    assert f"user:{boss.pk}" in told
    assert "<b>name</b>" in told  # its first row, when it was opened


def test_signing_out_of_the_console_is_a_form() -> None:
    client = as_user(build.user("admin"))
    assert client.get(reverse("admin:logout")).status_code == 405
    answer = client.post(reverse("admin:logout"))
    assert (answer.status_code, answer["Location"]) == (302, reverse("account_login"))
    assert client.get(reverse("admin:index")).status_code == 302


def test_what_people_wrote_is_shown_and_never_run() -> None:
    customer = build.customer()
    bad = "<script>alert(1)</script>"
    Notice.objects.create(customer=customer, event="x", kind="test", title=bad, body=bad, at=TEN)
    row = Notice.objects.get(event="x")
    client = as_user(build.user("auditor"))
    for text in (
        read(client, "admin:accounts_notice_changelist"),
        read(client, "admin:accounts_notice_change", row.pk),
    ):
        assert bad not in text
        assert "&lt;script&gt;" in text


@pytest.mark.parametrize("role", [User.Role.AUDITOR, User.Role.ADMIN])
def test_buttons_are_shown_to_those_who_may_press_them(role: str) -> None:
    """R-ADM-01"""
    text = read(as_user(build.user(role)), "admin:accounts_user_changelist")
    assert ("Open a user" in text) == (role == User.Role.ADMIN)
