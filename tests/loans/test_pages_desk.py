"""The manager's desk: who may look, what they see, and that a decision is made once and by the right person."""

import re
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Customer, JournalEntry, User
from loans.models import Application, Loan
from loans.pages import desk_rows
from risk import sweep
from risk.levels import Band
from risk.models import Liquidation, MarginCall
from tests import build
from tests.build import TEN
from tests.loans import desk
from tests.loans.desk import Desk

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
STAFF = ("risk_officer", "finance", "auditor", "admin")


@pytest.fixture(autouse=True)
def _at_ten() -> Any:
    with time_machine.travel(TEN, tick=False):
        yield


@pytest.fixture
def house(db: None) -> Desk:
    return desk.set_up()


def as_user(user: User) -> Client:
    client = Client()
    client.force_login(user, backend=BACKEND)
    return client


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()).replace("\xa0", " "))


def decide(client: Client, verb: str, application: Application, **data: str) -> Any:
    told: dict[str, Any] = {"key": str(uuid4())} | data
    if verb == "approve" and "sheet" not in told:
        application.refresh_from_db()
        told["sheet"] = application.accepted.sha256 if application.accepted else ""
        told["coins"] = [line.asset_id for line in application.lines.all()]
    return client.post(reverse(f"loans:desk_{verb}", args=[application.pk]), told)


# --- Who ----------------------------------------------------------------------------------------------


def test_the_queue_is_the_managers_only(house: Desk) -> None:
    """R-ADM-01"""
    url = reverse("loans:desk")
    assert as_user(house.manager).get(url).status_code == 200
    assert as_user(house.applicant).get(url).status_code == 404
    for role in STAFF:
        assert as_user(build.user(role)).get(url).status_code == 403
    assert Client().get(url).status_code == 302


def test_foreign_requests_and_clients_do_not_exist(house: Desk) -> None:
    """R-ADM-01, TRUST section 7: 404 for foreign."""
    application = desk.submitted(house)
    other = as_user(build.user("vip_manager"))
    before = desk.everything()
    assert other.get(reverse("loans:desk_request", args=[application.pk])).status_code == 404
    assert other.get(reverse("loans:desk_client", args=[house.owner.pk])).status_code == 404
    assert decide(other, "approve", application).status_code == 404
    assert decide(other, "reject", application, reason="no").status_code == 404
    assert decide(as_user(house.applicant), "approve", application).status_code == 404
    for role in STAFF:
        assert decide(as_user(build.user(role)), "approve", application).status_code == 403
    assert desk.everything() == before


def test_staff_see_every_client_and_borrowers_none(house: Desk) -> None:
    url = reverse("loans:desk_client", args=[house.owner.pk])
    for role in STAFF:
        assert as_user(build.user(role)).get(url).status_code == 200
        assert as_user(build.user(role)).get(reverse("loans:clients")).status_code == 200
    assert as_user(house.applicant).get(url).status_code == 404
    assert as_user(house.applicant).get(reverse("loans:clients")).status_code == 404
    assert as_user(house.applicant).get(reverse("loans:desk_calls")).status_code == 404


# --- The queue ----------------------------------------------------------------------------------------


def test_the_queue_shows_what_paying_out_would_do_now(house: Desk) -> None:
    """R-VIP-12: 1,000,000 USDT against 25 BTC at 60,000 is 66.66 %; at 50,000 it is 80.00 %."""
    desk.submitted(house)
    seen = text_of(as_user(house.manager).get(reverse("loans:desk")))
    assert "1,000,000.00 USDT" in seen
    assert "0.00 % → 66.66 %" in seen
    assert "over the initial line" not in seen
    with time_machine.travel(TEN + timedelta(seconds=30), tick=False):
        desk.quote(TEN + timedelta(seconds=30), BTC="50000")
        seen = text_of(as_user(house.manager).get(reverse("loans:desk")))
    assert "0.00 % → 80.00 %" in seen
    assert "over the initial line" in seen


def test_the_queue_agrees_with_the_review_of_an_open_group(house: Desk) -> None:
    """The list's live figure and the one approval rests on come from different queries, not from different sums."""
    desk.drawn(house, "600000")
    application = desk.submitted(house, "300000")
    client = as_user(house.manager)
    queue = text_of(client.get(reverse("loans:desk")))
    page = client.get(reverse("loans:desk_request", args=[application.pk])).context
    now, after = page["effect"].now.ltv, page["effect"].after.ltv
    assert (now, after) == (Decimal("0.4"), Decimal("0.6"))
    assert "40.00 % → 60.00 %" in queue


def test_clients_in_trouble_and_loans_due_soon_are_listed(house: Desk) -> None:
    """R-GEN-62, R-VIP-44"""
    loan = desk.drawn(house)
    later = TEN + timedelta(days=24)
    with time_machine.travel(later, tick=False):
        desk.quote(later, BTC="50000")
        sweep.sweep(at=later)
        seen = text_of(as_user(house.manager).get(reverse("loans:desk")))
        calls = text_of(as_user(house.manager).get(reverse("loans:desk_calls")))
    assert MarginCall.objects.get().ended_at is None
    assert "CALL" in seen
    assert str(loan) in seen.split("Due in 7 days")[-1]
    assert house.owner.name in calls


def test_the_queues_queries_do_not_grow_with_its_rows(house: Desk) -> None:
    def ask() -> int:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert as_user(house.manager).get(reverse("loans:desk")).status_code == 200
        return len(asked)

    def one_more() -> None:
        sub = build.account(house.owner)
        receiver = build.account(house.owner)
        build.deposit(sub, "BTC", "20", at=build.LONG_AGO)
        where = {"account_uids": (sub.pk,), "receiver_uid": receiver.pk}
        desk.drawn(house, "600000", **where)
        desk.submitted(house, "100000", **where)

    one_more()
    few = ask()
    for _ in range(3):
        one_more()
    assert ask() == few


# --- A decision ---------------------------------------------------------------------------------------


def test_approving_pays_out_once_and_shows_the_loan(house: Desk) -> None:
    """R-VIP-13, R-VIP-14, R-GEN-06"""
    application = desk.submitted(house)
    client, key = as_user(house.manager), str(uuid4())
    page = client.get(reverse("loans:desk_request", args=[application.pk]))
    assert "Approve and pay out 1,000,000.00 USDT" in text_of(page)
    assert "66.66 %" in text_of(page)
    for _ in range(2):
        answer = decide(client, "approve", application, key=key)
        assert answer.status_code == 302
    assert build.balance(house.master, "USDT") == 1_000_000
    loan = Loan.objects.get()
    seen = client.get(answer.url)
    assert reverse("loans:loan", args=[loan.pk]) in seen.content.decode()
    assert "1,000,000.00 000000 USDT" in text_of(seen)


def test_an_approval_that_is_refused_says_why_and_moves_nothing(house: Desk) -> None:
    """R-VIP-13: checked again at approval."""
    application = desk.submitted(house)
    later = TEN + timedelta(seconds=30)
    with time_machine.travel(later, tick=False):
        desk.quote(later, BTC="50000")
        before = desk.everything()
        client = as_user(house.manager)
        page = text_of(client.get(reverse("loans:desk_request", args=[application.pk])))
        assert "Approve and pay out" not in page
        assert "LTV would be 80.00 %, above the initial line of 72 %." in page
        answer = decide(client, "approve", application)
        assert answer.status_code == 422
        assert "Nothing was paid out." in text_of(answer)
        assert desk.everything() == before


def test_old_prices_stop_an_approval(house: Desk) -> None:
    """R-GEN-22"""
    application = desk.submitted(house)
    with time_machine.travel(TEN + timedelta(minutes=10), tick=False):
        before = desk.everything()
        answer = decide(as_user(house.manager), "approve", application)
        assert answer.status_code == 422
        assert "no fresh price for USDT" in text_of(answer)
        assert desk.everything() == before


def test_rejecting_needs_a_reason(house: Desk) -> None:
    """R-VIP-12"""
    application, client = desk.submitted(house), as_user(house.manager)
    before = desk.everything()
    for reason in ("", "   "):
        answer = decide(client, "reject", application, reason=reason)
        assert answer.status_code == 422
        assert "Say why the request is rejected" in text_of(answer)
    assert desk.everything() == before
    assert decide(client, "reject", application, reason="Too concentrated").status_code == 302
    application.refresh_from_db()
    assert (application.status, application.decision_reason) == ("rejected", "Too concentrated")
    again = decide(client, "reject", application, reason="Too concentrated")
    assert again.status_code == 422
    assert "there is nothing to decide" in text_of(again)


def test_a_damaged_key_does_nothing(house: Desk) -> None:
    application = desk.submitted(house)
    before = desk.everything()
    assert decide(as_user(house.manager), "approve", application, key="1 OR 1=1").status_code == 422
    assert desk.everything() == before


# --- A client -----------------------------------------------------------------------------------------


def test_the_client_page_shows_groups_loans_requests_and_accounts(house: Desk) -> None:
    loan = desk.drawn(house)
    seen = text_of(as_user(house.manager).get(reverse("loans:desk_client", args=[house.owner.pk])))
    assert "66.66 %" in seen
    assert str(loan) in seen
    assert f"secures G-{loan.group_id:04d}" in seen
    assert "1,500,000.00 USD" in seen  # what the collateral account holds
    found = as_user(house.manager).get(reverse("loans:clients"), {"q": house.owner.name[:4]})
    assert house.owner.name in text_of(found)


# --- A liquidation and its journal ---------------------------------------------------------------------


@pytest.fixture
def sold(house: Desk) -> Liquidation:
    """25 BTC at 42,000 against 1,000,000 USDT: LTV 95.24 %, above the cut-off, so at once."""
    desk.drawn(house)
    later = TEN + timedelta(minutes=5)
    desk.quote(later, BTC="42000")
    sweep.sweep(at=later)
    return Liquidation.objects.get()


def test_the_story_of_a_liquidation_is_for_the_client_and_the_house(house: Desk, sold: Liquidation) -> None:
    """R-GEN-81"""
    url = reverse("loans:liquidation", args=[sold.pk])
    assert as_user(build.user()).get(url).status_code == 404
    assert as_user(build.user("vip_manager")).get(url).status_code == 404
    sale = sold.sales.get()
    for user in (house.applicant, house.manager, build.user("auditor")):
        page = as_user(user).get(url)
        assert page.status_code == 200
        seen = text_of(page)
        assert "LTV was 95.23 %; the liquidation line is 91 %" in seen
        assert "42,000.00" in seen
        assert f"{sale.sold.normalize():f}"[:5] in seen
        assert as_user(user).get(reverse("loans:liquidations")).status_code == 200
    assert (
        reverse("loans:ledger_entry", args=[JournalEntry.objects.latest("pk").pk])
        not in as_user(house.applicant).get(url).content.decode()
    )


def test_every_sale_leads_to_its_journal_entries(house: Desk, sold: Liquidation) -> None:
    """TRUST I-27: a figure is a row."""
    page = as_user(house.manager).get(reverse("loans:liquidation", args=[sold.pk])).content.decode()
    entries = JournalEntry.objects.filter(reference__startswith=f"liquidation:{sold.pk}:")
    assert entries.count() == 2
    for entry in entries:
        url = reverse("loans:ledger_entry", args=[entry.pk])
        assert url in page
        assert as_user(house.manager).get(url).status_code == 200
        assert as_user(build.user("finance")).get(url).status_code == 200
        assert as_user(house.applicant).get(url).status_code == 404
        assert as_user(build.user("vip_manager")).get(url).status_code == 404


def test_what_was_taken_and_what_is_left_add_up(house: Desk, sold: Liquidation) -> None:
    """R-GEN-77"""
    context = as_user(house.manager).get(reverse("loans:liquidation", args=[sold.pk])).context
    [rest] = context["rests"]
    assert rest.before == 25
    assert rest.left == build.balance(house.sub, "BTC") == 25 - sold.sales.get().sold
    assert sum(one.parts.total for one in context["repaid"]) == 1_000_000


def test_a_manager_does_not_open_entries_of_the_house_alone(house: Desk) -> None:
    """Funding a pool is finance's business."""
    entry = JournalEntry.objects.get(kind="funding")
    assert as_user(house.manager).get(reverse("loans:ledger_entry", args=[entry.pk])).status_code == 404
    assert (
        as_user(build.user("finance")).get(reverse("loans:ledger_entry", args=[entry.pk])).status_code == 200
    )


# --- Looking at what is the client's ---------------------------------------------------------------------


def test_the_house_looks_at_a_loan_and_cannot_act_on_it(house: Desk) -> None:
    """Every loan the desk names can be opened by whoever it is shown to; the borrower alone repays and renews."""
    loan = desk.drawn(house)
    url, of_debt = reverse("loans:loan", args=[loan.pk]), reverse("loans:of_debt", args=[loan.debt_id])
    for user in (house.manager, build.user("auditor")):
        client = as_user(user)
        assert client.get(of_debt)["Location"] == url
        page = client.get(url)
        assert page.status_code == 200
        assert f"Only {house.owner.name} repays and renews this loan" in text_of(page)
        assert reverse("loans:repay", args=[loan.pk]) not in page.content.decode()
        entry = loan.debt.entries.latest("pk").entry_id
        assert client.get(reverse("loans:ledger_entry", args=[entry])).status_code == 200
        assert reverse("loans:ledger_entry", args=[entry]) in page.content.decode()
        before = desk.everything()
        sent = {"key": str(uuid4()), "how": "100"}
        assert client.post(reverse("loans:repay", args=[loan.pk]), sent).status_code == 404
        assert desk.everything() == before
    other = as_user(build.user("vip_manager"))
    assert (other.get(url).status_code, other.get(of_debt).status_code) == (404, 404)


def test_every_link_of_the_desk_leads_somewhere(house: Desk, settings: Any) -> None:
    """R-ADM-01: what is shown to a manager as a link exists for them; other managers' clients are no links."""
    desk.drawn(house, "600000")
    desk.submitted(house, "100000")
    settings.DEMO = True
    build.secured_debt(amount="1000")
    client, seen = as_user(house.manager), {"/"}
    ahead = ["/"]
    while ahead:
        answer = client.get(ahead.pop(), follow=True)
        assert answer.status_code == 200, answer.request["PATH_INFO"]
        if not answer["Content-Type"].startswith("text/html"):
            continue  # a signed sheet
        for link in re.findall(r'href="(/[^"#]*)', answer.content.decode()):
            if link not in seen and not link.startswith(("/static/", "/accounts/")):
                seen.add(link)
                ahead.append(link)
    assert len(seen) > 12


def test_the_worst_band_comes_first_even_when_its_ltv_is_lower(house: Desk) -> None:
    """Negotiated lines: 84 % may be WATCH while 79 % is CALL."""
    desk.drawn(house)
    [row] = desk_rows.group_rows(desk_rows.live_groups(Customer.objects.filter(pk=house.owner.pk)), at=TEN)
    worse = replace(row, standing=replace(row.standing, band=Band.CALL))
    higher = replace(
        row, standing=replace(row.standing, worth=replace(row.standing.worth, debt=Decimal(1_400_000)))
    )
    assert sorted([higher, worse], key=desk_rows._by_danger) == [worse, higher]


def test_a_search_with_a_nul_in_it_finds_what_is_there(house: Desk) -> None:
    """B-17: PostgreSQL has no text with a NUL."""
    assert as_user(house.manager).get(reverse("loans:clients") + "?q=%00").status_code == 400


@pytest.mark.parametrize("verb", ["approve", "reject"])
def test_the_address_of_a_decision_leads_back_to_its_request(verb: str, house: Desk) -> None:
    application = desk.submitted(house)
    answer = as_user(house.manager).get(reverse(f"loans:desk_{verb}", args=[application.pk]))
    assert answer["Location"] == reverse("loans:desk_request", args=[application.pk])
