"""Every look of the house at a client's data stands in the trail. R-ADM-07"""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.core.cache import cache
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from accounts.commands import Actor
from accounts.membership import owners
from accounts.models import AuditRecord, JournalEntry
from accounts.pages.trail import NAMED_OTHERWISE
from loans import client_file, confirmations
from loans.models import SignedSheet
from risk import sweep
from risk.models import MarginCall
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk, visit
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> Iterator[Desk]:
    cache.clear()
    with visit.at(TEN + timedelta(minutes=1)):
        house = desk.set_up()
        desk.drawn(house)
        yield house


def looks() -> list[tuple[str, str, str]]:
    rows = AuditRecord.objects.filter(kind=AuditRecord.Kind.VIEW).order_by("pk")
    return [(row.subject, row.actor, row.after["page"]) for row in rows]


def test_pages_about_one_client_are_written_down(house: Desk) -> None:
    """R-ADM-07: by whom, of whom and which page."""
    client, group = visit.client_of(house.manager), house.owner.groups.get()
    client.get(reverse("loans:desk_client", args=[house.owner.pk]))
    client.get(reverse("risk:group", args=[group.pk]))
    client.get(reverse("loans:loan", args=[group.loans.get().pk]))
    whom, who = f"accounts_customer:{house.owner.pk}", f"user:{house.manager.pk}"
    assert looks() == [
        (whom, who, "loans:desk_client"),
        (whom, who, "risk:group"),
        (whom, who, "loans:loan"),
    ]


def test_the_console_is_no_way_round_it(house: Desk) -> None:
    """R-ADM-07"""
    admin = visit.client_of(build.user("admin"))
    admin.get(reverse("admin:accounts_customer_change", args=[house.owner.pk]))
    admin.get(reverse("admin:accounts_account_change", args=[house.master.pk]))
    admin.get(reverse("admin:accounts_asset_change", args=["USDT"]))  # nobody's data
    assert [look[2] for look in looks()] == [
        "admin:accounts_customer_change",
        "admin:accounts_account_change",
    ]


def test_what_was_not_shown_is_not_written_down(house: Desk) -> None:
    """R-ADM-07: a refusal shows nothing, and a borrower looks at their own."""
    stranger = build.user("vip_manager")
    assert (
        visit.client_of(stranger).get(reverse("loans:desk_client", args=[house.owner.pk])).status_code == 404
    )
    assert visit.client_of(house.applicant).get(reverse("risk:group", args=[house.owner.groups.get().pk]))
    visit.client_of(house.manager).get(reverse("loans:clients"))
    assert looks() == []


def test_a_page_that_asks_again_is_one_look(house: Desk) -> None:
    """R-ADM-07: once in five minutes, whatever a header says about partial pages."""
    client, url = visit.client_of(house.manager), reverse("loans:desk_client", args=[house.owner.pk])
    client.get(url)
    client.get(url, headers=visit.HTMX)
    assert len(looks()) == 1
    cache.clear()
    client.get(url, headers=visit.HTMX)
    assert len(looks()) == 2


def test_papers_of_a_client_are_written_down_under_whatever_number_they_are_opened(house: Desk) -> None:
    """R-ADM-07: a call, a wallet, an entry, a document, a term sheet, a confirmation and its files"""
    desk.quote(TEN + timedelta(minutes=1), BTC="50000")
    sweep.sweep(at=TEN + timedelta(minutes=1))
    call, sheet = MarginCall.objects.get(), SignedSheet.objects.get()
    document = client_file.add_document(
        customer_id=house.owner.pk,
        title="Passport",
        file_name="passport.pdf",
        content=b"%PDF-1.4\n%%EOF\n",
        actor=Actor.user(house.manager),
        at=TEN,
    )
    asked = confirmations.issue(customer_id=house.owner.pk, as_of=TEN, actor=BUILDER, at=TEN)
    deposit = JournalEntry.objects.filter(kind="deposit").latest("pk")
    manager, auditor = visit.client_of(house.manager), visit.client_of(build.user("auditor"))
    for client, name, argument in (
        (manager, "margin_call", call.pk),
        (manager, "ledger_account", f"spot:{house.sub.pk}:BTC"),
        (manager, "ledger_entry", deposit.pk),
        (manager, "client_document", document.pk),
        (manager, "sheet", sheet.pk),
        (auditor, "desk_confirmation", asked.pk),
        (auditor, "confirmation_paper", asked.pk),
        (auditor, "confirmation_data", asked.pk),
    ):
        assert client.get(reverse(f"loans:{name}", args=[argument])).status_code == 200
        [last] = looks()[-1:]
        assert (last[0], last[2]) == (f"accounts_customer:{house.owner.pk}", f"loans:{name}")
    assert len(looks()) == 8


OF_NOBODY = {
    *("symbol", "slug", "template", "bucket", "action", "year", "month", "days"),  # what of it, not whose
    *("freeze_id", "tranche_id", "supply_id", "note_id"),  # the desk's own, or a button only
    *(
        "uid",
        "rule_id",
        "line_id",
        "version",
    ),  # of our own API, beside the id of whose it is; the house has none there
    "run_id",  # of a stress: a question about the whole book
    "name",  # of a letter in a demo's mailbox, read by its addressee only
    "export_id",  # what one asked for oneself, from a page that is written down
}


def test_no_address_names_a_clients_row_that_is_not_known(db: None) -> None:
    """R-ADM-07: whoever adds an address says whose row it opens, or that it is nobody's."""
    named = {
        name for pattern in _patterns(get_resolver().url_patterns) for name in pattern.pattern.converters
    }
    assert {NAMED_OTHERWISE.get(name, name) for name in named - OF_NOBODY} <= owners.keys()
    assert not OF_NOBODY & owners.keys()


def _patterns(found: list[URLPattern | URLResolver]) -> Iterator[URLPattern]:
    """Ours, without the console: it names its pages after the table."""
    for one in found:
        if isinstance(one, URLPattern):
            yield one
        elif one.namespace != "admin":
            yield from _patterns(one.url_patterns)
