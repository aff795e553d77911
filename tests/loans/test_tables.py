"""Long lists: sorted, narrowed, paged and as a file, by one mechanism (`accounts/pages/tables.py`). R-ADM-11"""

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.test import Client
from django.urls import reverse

from accounts.models import Customer, LedgerAccount, Transfer
from accounts.pages import tables
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk
from tests.loans.visit import client_of

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _at_ten() -> Any:
    with time_machine.travel(TEN + timedelta(hours=1), tick=False):
        yield


@pytest.fixture
def clients(db: None) -> list[Customer]:
    """Thirty, in an order that is none of those asked for; every fifth a person, VIP levels in ties."""
    made = []
    for number in range(30):
        kind = Customer.Kind.PERSON if number % 5 == 0 else Customer.Kind.FIRM
        owner = build.customer()
        Customer.objects.filter(pk=owner.pk).update(
            name=f"Client {(number * 7) % 30:02d}", kind=kind, vip_level=number % 3
        )
        made.append(owner)
    return made


def rows_of(response: Any) -> list[list[str]]:
    text = b"".join(response.streaming_content).decode()
    return list(csv.reader(io.StringIO(text)))


def listed(client: Client, **asked: object) -> Any:
    return client.get(reverse("loans:clients"), asked).context["list"]


def every_page(client: Client, **asked: object) -> list[Customer]:
    found: list[Customer] = []
    for number in range(1, listed(client, **asked).page.paginator.num_pages + 1):
        found += listed(client, **asked, page=number).page.object_list
    return found


def test_rows_lie_as_asked_and_none_falls_between_two_pages(clients: list[Customer]) -> None:
    staff = client_of(build.user("risk_officer"))

    assert [row.name for row in every_page(staff)] == sorted(row.name for row in every_page(staff))
    falling = every_page(staff, sort="-level")
    levels = [row.vip_level for row in falling]
    assert levels == sorted(levels, reverse=True)
    assert sorted(row.pk for row in falling) == sorted(row.pk for row in Customer.objects.all())
    ties = [row.name for row in falling if row.vip_level == 1]
    assert ties == sorted(ties)


@pytest.mark.parametrize("asked", ["password", "-manager__password", "debt", "--level", "", "pk"])
def test_what_the_list_does_not_know_is_not_followed(clients: list[Customer], asked: str) -> None:
    """A field that is not a column's cannot be sorted by, so an address tells nothing of it."""
    staff = client_of(build.user("risk_officer"))

    found = listed(staff, sort=asked, kind="robot", page="no")

    assert [row.pk for row in found.page] == [row.pk for row in listed(staff).page]
    assert (found.sort, found.is_narrowed) == ("", False)


def test_a_list_is_narrowed_and_its_other_pages_stay_so(clients: list[Customer]) -> None:
    staff = client_of(build.user("risk_officer"))

    firms = every_page(staff, kind="firm", sort="-client")
    assert len(firms) == Customer.objects.filter(kind="firm").count() > tables.PER_PAGE - 2
    page = staff.get(reverse("loans:clients"), {"kind": "firm", "q": "client 1"})
    found = page.context["list"]
    assert {row.name[:8] for row in found.page} == {"Client 1"}
    assert {row.kind for row in found.page} == {"firm"}
    assert (found.query, found.file) == ("q=client+1&kind=firm&", "?q=client+1&kind=firm&csv=1")
    assert 'value="firm" selected' in page.content.decode()


def test_a_head_sorts_and_turns_round(clients: list[Customer]) -> None:
    """Names begin with the first, figures with the largest; screen readers are told."""
    staff = client_of(build.user("risk_officer"))

    heads = {head.title: head for head in listed(staff, q="client").heads}
    assert heads["Client"].href == "?q=client&sort=client"
    assert heads["VIP"].href == "?q=client&sort=-level"
    assert heads["LTV"].href == ""
    page = staff.get(reverse("loans:clients"), {"sort": "-level"}).content.decode()
    assert re.search(r'aria-sort="descending"><a href="\?sort=level">VIP</a>', page)
    assert page.count("aria-sort") == 1


def test_the_file_holds_all_the_rows_that_were_chosen_and_runs_nothing(clients: list[Customer]) -> None:
    """R-ADM-11, TRUST B-16: every page of them, in their order, and a name that is a formula stays a name."""
    Customer.objects.filter(pk=clients[3].pk).update(name='=HYPERLINK("http://x")', kind="firm")
    staff = client_of(build.user("risk_officer"))

    answer = staff.get(reverse("loans:clients"), {"kind": "firm", "sort": "-level", "csv": "1", "page": "2"})

    header, *rows = rows_of(answer)
    assert header == ["Client", "Kind", "VIP", "Manager", "Joined"]
    assert len(rows) == Customer.objects.filter(kind="firm").count()
    assert [row[2] for row in rows] == sorted((row[2] for row in rows), reverse=True)
    assert [row[0] for row in rows if "HYPER" in row[0]] == ['\'=HYPERLINK("http://x")']
    assert answer["Content-Disposition"] == 'attachment; filename="clients.csv"'
    assert not any("borrower" in cell for row in rows for cell in row)


def test_a_file_holds_no_more_than_its_reader_may_see(clients: list[Customer]) -> None:
    """R-GEN-95: a manager's holds their own clients; to a borrower there is none."""
    manager, borrower = build.user("vip_manager"), build.user("borrower")
    Customer.objects.filter(pk=clients[0].pk).update(manager=manager)

    _, *rows = rows_of(client_of(manager).get(reverse("loans:clients"), {"csv": "1"}))

    assert [row[0] for row in rows] == [Customer.objects.get(pk=clients[0].pk).name]
    assert client_of(borrower).get(reverse("loans:clients"), {"csv": "1"}).status_code == 404


def test_the_changes_of_a_ledger_account_add_up_to_its_balance(db: None) -> None:
    """R-GEN-05: whichever way they lie; debits and credits apart make the two sides."""
    house: Desk = desks.set_up()
    desks.drawn(house)
    pool = LedgerAccount.objects.get(code="pool:USDT")
    auditor, page = client_of(build.user("auditor")), reverse("loans:ledger_account", args=[pool.code])

    def changes(**asked: str) -> list[Decimal]:
        header, *rows = rows_of(auditor.get(page, {"csv": "1", **asked}))
        assert header == ["Entry", "What", "Reference", "Other side", "Effective", "Change"]
        return [Decimal(row[5].lstrip("'")) for row in rows]

    pool.refresh_from_db()
    assert sum(changes()) == pool.balance
    assert (
        len(changes())
        == Transfer.objects.filter(debit=pool).count() + Transfer.objects.filter(credit=pool).count()
    )
    assert changes(sort="-change") == sorted(changes(), reverse=True)
    assert sorted(changes(side="debit") + changes(side="credit")) == sorted(changes())
    assert abs(sum(changes(side="debit"))) == pool.debits


def test_a_borrowers_loans_by_state(db: None) -> None:
    house = desks.set_up()
    loan = desks.drawn(house)
    member = client_of(house.applicant)

    def keys(**asked: str) -> list[int]:
        return [row.pk for row in member.get(reverse("loans:list"), asked).context["list"].page]

    assert keys() == keys(state="open") == keys(q="usdt") == [loan.pk]
    assert keys(state="closed") == keys(q="zzz") == []
    _, *rows = rows_of(member.get(reverse("loans:list"), {"csv": "1"}))
    assert [row[0] for row in rows] == [str(loan)]
