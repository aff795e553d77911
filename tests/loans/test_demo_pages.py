"""Every login of the demo sees every page that its menu leads to, and one step further, without an error.

And of the pages below the menu each login gets those that are its business, and the others as if they did not exist.
"""

import re
from collections.abc import Iterable
from typing import Any, Final

import pytest
from django.test import Client
from django.urls import resolve, reverse

from accounts.models import Approval, Customer, JournalEntry, User
from loans.demo import cast
from loans.demo.seeding import Seeded
from loans.models import BalanceConfirmation, ClientDocument, Statement
from risk.models import CollateralGroup, MarginCall, Tranche
from tests.demo import DEMO_NOW as NOW
from tests.loans import visit

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


# --- Whose business a page is ---------------------------------------------------------------------------------------

FIRM: Final = frozenset({"borrower", "treasurer", "trader", "viewer"})
STAFF: Final = frozenset(member.login.name for member in cast.STAFF)
BORROWERS: Final = frozenset(login.name for login in cast.logins()) - STAFF
MANAGERS: Final = frozenset({"manager", "manager2"})
CONTROL: Final = STAFF - MANAGERS  # look at all clients
THEIRS: Final = CONTROL | {"manager"}  # whose client the firm is
BOOKS: Final = frozenset({"finance", "auditor", "admin"})
ASKED: Final = {"loans:book_groups": {"from": "0"}}  # pages that are asked about something
PERSONS: Final = frozenset({"recalled", "novip", "new"})  # who sign alone


def pages_of_the_round() -> Iterable[tuple[str, list[Any], frozenset[str]]]:
    """Name, arguments, and who gets it."""
    firm = Customer.objects.get(name="Alder Street Capital")
    pushed = CollateralGroup.objects.open().get(customer=firm, name="Trading").pk
    called = CollateralGroup.objects.open().get(customer__name="Kestrel Digital").pk
    asked = BalanceConfirmation.objects.get().pk
    entry = JournalEntry.objects.get(reverses__isnull=False).pk
    for name in ("risk:what_if", "loans:cure_rules", "risk:soft"):
        yield name, [pushed], FIRM | THEIRS
    yield "risk:soft", [called], THEIRS | {"called"}
    yield "loans:history_list", ["flows"], BORROWERS
    yield "loans:client_history_list", [firm.pk, "adjustments"], THEIRS
    yield "loans:statements", [], BORROWERS
    yield "loans:client_statements", [firm.pk], THEIRS
    yield "loans:statement_pdf", [Statement.objects.get(customer=firm).pk], FIRM | THEIRS
    yield "loans:confirmations", [], BORROWERS
    yield "loans:confirmation", [asked], FIRM
    yield "loans:confirmation_paper", [asked], FIRM | BOOKS
    yield "accounts:firm", [], BORROWERS - PERSONS
    yield "accounts:firm_waiting", [], BORROWERS
    yield "accounts:firm_proposal", [Approval.objects.get(side=Approval.Side.FIRM).pk], FIRM
    yield "accounts:preferences", [], BORROWERS
    yield "accounts:exports", [], BORROWERS | STAFF
    yield "accounts:access_review", [], frozenset({"risk", "risk2", "auditor", "admin"})
    yield "loans:book", [], STAFF
    yield "loans:book_coin", ["BTC"], STAFF
    yield "loans:book_groups", [], STAFF
    for name, of_it in (("funding", []), ("funding_ladder", []), ("funding_coin", ["USDT"])):
        yield f"loans:{name}", of_it, CONTROL
    yield "loans:funding_tranche", [Tranche.objects.latest("pk").pk], CONTROL
    yield "loans:ledger_account", ["pool:USDT"], CONTROL
    yield "loans:ledger_entry", [entry], THEIRS
    yield "loans:ledger_reverse", [entry], frozenset({"finance", "admin"})
    for name, of_it in (("books", []), ("books_period", [2026, 10]), ("desk_confirmation", [asked])):
        yield f"loans:{name}", of_it, BOOKS
    yield "loans:desk_authority", [], STAFF
    for name in ("desk_screening", "desk_policy", "client_timeline", "client_file"):
        yield f"loans:{name}", [firm.pk], THEIRS
    yield "loans:client_document", [ClientDocument.objects.get().pk], THEIRS
    yield "loans:desk_calls", [], STAFF
    yield "loans:margin_call", [MarginCall.objects.get(group=called).pk], THEIRS


@pytest.mark.parametrize("name", [login.name for login in cast.logins()])
def test_a_page_is_there_for_those_whose_business_it_is(demo: Seeded, name: str) -> None:
    """R-ADM-01, R-ADM-09, R-GEN-95: a borrower is not even told that a page exists"""
    hidden = {404} if name in BORROWERS else {403, 404}
    with visit.at(NOW):
        client = client_of(name)
        for view, arguments, theirs in pages_of_the_round():
            expected = {200} if name in theirs else hidden
            answer = client.get(reverse(view, args=arguments), ASKED.get(view))
            assert answer.status_code in expected, f"{view} {arguments}: {answer.status_code}"
