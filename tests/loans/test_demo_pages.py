"""Every login of the demo sees every page that its menu leads to, and one step further, without an error."""

import re

import pytest
from django.test import Client
from django.urls import resolve, reverse

from accounts.models import User
from loans.demo import cast
from loans.demo.seeding import Seeded
from tests.loans import visit
from tests.loans.conftest import DEMO_NOW as NOW

OF_EACH_PAGE = 2  # as many as are opened of one kind of page, such as a loan's; the rest look the same
PASSED_OVER = ("/static/", "/accounts/logout", "/admin/logout", "/admin/jsi18n")
MENU = re.compile(r'<nav class="nav".*?</nav>', re.DOTALL)
LINK = re.compile(r'href="(/[^"#]*)"')


def client_of(name: str) -> Client:
    return visit.client_of(User.objects.get(email=f"{name}@{cast.MAIL}"))


def page(client: Client, address: str) -> str:
    answer = client.get(address, follow=True)
    assert answer.status_code == 200, f"{address}: {answer.status_code}"
    assert not answer.request["PATH_INFO"].startswith("/accounts/login"), f"{address} asks to sign in"
    return "" if answer.streaming else answer.content.decode(errors="replace")


def links(html: str) -> list[str]:
    found = [link.replace("&amp;", "&") for link in LINK.findall(html)]
    return [link for link in dict.fromkeys(found) if not link.startswith(PASSED_OVER)]


@pytest.mark.parametrize("name", [login.name for login in cast.logins()])
def test_every_page_that_a_login_can_reach_answers(demo: Seeded, name: str) -> None:
    """R-ADM-01"""
    seen: dict[str, int] = {}
    with visit.at(NOW):
        client = client_of(name)
        found = MENU.search(page(client, reverse("risk:groups")))
        assert found is not None
        menu = links(found.group())
        assert len(menu) > 5
        rows = [row for entry in menu for row in links(page(client, entry))]
        for row in dict.fromkeys(rows):
            kind = resolve(row.partition("?")[0]).view_name
            seen[kind] = seen.get(kind, 0) + 1
            if row not in menu and seen[kind] <= OF_EACH_PAGE:
                page(client, row)
