"""The borrower's pages: home, apply, requests, loan, accounts of a group. Who may look, and what they do."""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import people
from accounts.models import Acceptance
from loans import clients
from loans.models import Application, Loan
from risk.models import Member
from tests import build
from tests.build import TEN
from tests.loans import desk, visit
from tests.loans.visit import HTMX

pytestmark = pytest.mark.django_db


@pytest.fixture
def here() -> Iterator[desk.Desk]:
    """One VIP customer, its manager, 25 BTC; and the pages' clock at TEN."""
    with visit.at(TEN):
        yield desk.set_up()


@pytest.fixture
def borrower(here: desk.Desk) -> Client:
    return visit.client_of(here.applicant)


def text_of(answer: Any) -> str:
    """The words of a page: tags gone, spaces single."""
    bare = re.sub(r"<[^>]+>", "", answer.content.decode()).replace("\u00a0", " ").replace("&nbsp;", " ")
    return re.sub(r"\s+", " ", bare)


def hidden(answer: Any, name: str) -> str:
    found = re.search(rf'<input type="hidden" name="{name}" value="([^"]*)"', answer.content.decode())
    assert found, f"no hidden {name}"
    return found[1]


def wish(here: desk.Desk, **changes: Any) -> dict[str, Any]:
    """The apply form as filled in: 1,000,000 USDT for 30 days."""
    return {
        "key": str(uuid4()),
        "asset_1": "USDT",
        "amount_1": "1000000",
        "term": "30",
        "rate_type": "fixed",
        "receiver": here.master.pk,
        "accounts": [here.sub.pk],
        "coins": ["BTC"],
        "manager": here.manager.pk,
        "contact": "ops@example.com",
        "purpose": "Working capital",
    } | changes


# --- Who may look -----------------------------------------------------------------------------------------

PAGES = [
    "loans:home",
    "loans:apply",
    "loans:list",
    "loans:requests",
    "risk:wallets",
    "risk:groups",
    "risk:market",
]


@pytest.mark.parametrize("name", [*PAGES, "accounts:notices", "accounts:agreement", "risk:movements"])
def test_the_borrower_sees_every_page_and_a_visitor_is_asked_to_sign_in(
    name: str, here: desk.Desk, borrower: Client
) -> None:
    assert borrower.get(reverse(name)).status_code == 200
    answer = Client().get(reverse(name))
    assert answer.status_code == 302
    assert answer["Location"].startswith(reverse("account_login"))


@pytest.mark.parametrize("role", ["vip_manager", "auditor", "admin"])
@pytest.mark.parametrize("name", ["loans:apply", "loans:list", "risk:wallets", "accounts:notices"])
def test_pages_of_a_customer_do_not_exist_for_the_desk(name: str, role: str, here: desk.Desk) -> None:
    assert visit.client_of(build.user(role)).get(reverse(name)).status_code == 404


def test_home_sends_the_desk_to_its_own_pages(here: desk.Desk) -> None:
    assert visit.client_of(here.manager).get("/")["Location"] == reverse("loans:desk")
    assert visit.client_of(build.user("auditor")).get("/")["Location"] == reverse("admin:index")


def test_a_borrower_without_a_customer_is_told_what_to_do(here: desk.Desk) -> None:
    assert "do not act for any customer" in text_of(visit.client_of(build.user()).get("/"))


def test_what_is_not_yours_does_not_exist(here: desk.Desk) -> None:
    """404 for a stranger, with the body of a page that never was; only the request's own number differs."""
    loan = desk.drawn(here)
    stranger = build.user()
    build.customer(member=stranger)
    client = visit.client_of(stranger)
    key = {"key": str(uuid4()), "how": "100", "term": "30"}
    for name, pk in (
        ("loans:loan", loan.pk),
        ("loans:request", loan.line.application_id),
        ("risk:group", loan.group_id),
        ("loans:collateral", loan.group_id),
        ("loans:of_debt", loan.debt_id),
    ):
        theirs, nobodys = client.get(reverse(name, args=[pk])), client.get(reverse(name, args=[10**9]))
        assert (theirs.status_code, nobodys.status_code) == (404, 404)
        same = {re.sub(r"web:[0-9a-f]{32}", "web:", text_of(answer)) for answer in (theirs, nobodys)}
        assert len(same) == 1
    before = desk.everything()
    for name, pk in (
        ("loans:repay", loan.pk),
        ("loans:renew", loan.pk),
        ("loans:request", loan.line.application_id),
    ):
        assert client.post(reverse(name, args=[pk]), key).status_code == 404
    assert desk.everything() == before


def test_the_manager_may_look_at_the_group_of_a_client_but_not_at_others(here: desk.Desk) -> None:
    group = desk.drawn(here).group
    page = visit.client_of(here.manager).get(reverse("risk:group", args=[group.pk]))
    assert page.status_code == 200
    assert "Add or remove an account" not in text_of(page)
    assert "BTC at 51,948.05 calls it" in text_of(page)
    assert "calls you" not in page.content.decode()
    assert here.owner.name in text_of(page)
    other = visit.client_of(build.user("vip_manager"))
    assert other.get(reverse("risk:group", args=[group.pk])).status_code == 404
    assert (
        visit.client_of(build.user("auditor")).get(reverse("risk:group", args=[group.pk])).status_code == 200
    )


# --- Home -------------------------------------------------------------------------------------------------


def test_home_says_which_price_calls_you(here: desk.Desk, borrower: Client) -> None:
    """EX-09: 1,000,000 against 25 BTC is called at 51,948.05. R-GEN-96"""
    desk.drawn(here)
    page = text_of(borrower.get("/"))
    assert "BTC at 51,948.05 calls you" in page
    assert "66.66 %" in page
    assert "80,000.00 USDT" in page


def test_home_puts_the_call_first_and_says_so(here: desk.Desk, borrower: Client) -> None:
    """R-GEN-41: at 51,948.05 the group is called; at most three things are asked for."""
    desk.drawn(here)
    build.price("BTC", "50000", at=TEN + timedelta(seconds=1))
    with visit.later(here.applicant, TEN + timedelta(seconds=1)) as borrower:
        page = text_of(borrower.get("/"))
    assert "Margin call. LTV of" in page
    assert "80.00 %" in page


def test_home_promises_no_more_than_the_clients_own_limits_leave(here: desk.Desk, borrower: Client) -> None:
    """R-GEN-45, R-GEN-37: 600,000 USD over all coins, not the 10,000,000 of the published limit."""

    def most() -> Decimal:
        [row] = borrower.get("/").context["rates"]["rows"]
        found: Decimal = row.most
        return found

    assert most() == 10_000_000
    own = {"customer_id": here.owner.pk, "reason": "New", "actor": here.decider}
    clients.set_client_terms(max_exposure_usd=Decimal(600_000), at=TEN, **own)
    assert most() == 600_000
    desk.drawn(here, "500000")
    assert most() == 100_000


def test_home_marks_interest_that_spot_cannot_pay(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-33: 230.13698631 accrued, and the loan is spent."""
    desk.drawn(here)
    desk.spend(here, "1000000")
    day = TEN + timedelta(days=1)
    desk.quote(day)
    with visit.later(here.applicant, day) as borrower:
        page = text_of(borrower.get("/"))
    assert "230.14 USDT" in page
    assert "Spot is 230.14 USDT short" in page


def test_lists_cost_the_same_however_long_they_are(here: desk.Desk, borrower: Client) -> None:
    desk.drawn(here, "500000")
    borrower.get("/")

    def queries(name: str) -> int:
        with CaptureQueriesContext(connection) as asked:
            assert borrower.get(reverse(name)).status_code == 200
        return len(asked)

    names = ["loans:home", "loans:list", "loans:requests", "risk:wallets", "risk:groups", "accounts:notices"]
    few = {name: queries(name) for name in names}
    for _ in range(3):
        desk.drawn(here, "60000")
    for symbol in ("USDC", "DAI"):  # the rates of home are a list too
        build.asset(symbol)
        desk.card(symbol, "0.08")
        desk.loan_limit(symbol)
        build.prices(at=TEN, **{symbol: "1"})
    assert "DAI" in text_of(borrower.get("/"))
    assert {name: queries(name) for name in names} == few


# --- Apply ------------------------------------------------------------------------------------------------


def test_apply_check_accept_makes_the_request(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-10, R-VIP-11: nothing is written by checking; accepting sends what was shown."""
    form = wish(here)
    sheet = borrower.post(reverse("loans:apply"), form)
    assert sheet.status_code == 200
    words = text_of(sheet)
    assert "Accept 1,000,000.00 USDT at 8.40 %" in words
    assert "BTC at 51,948.05 would call you" in words
    assert "230.13698631 USDT" in words
    assert not Application.objects.exists()
    accepted = form | {"step": "accept", "accepted": hidden(sheet, "accepted")}
    answer = borrower.post(reverse("loans:apply"), accepted)
    row = Application.objects.get()
    assert answer["Location"] == reverse("loans:request", args=[row.pk])
    assert row.lines.get().amount == 1_000_000
    assert borrower.post(reverse("loans:apply"), accepted)["Location"] == answer["Location"]
    assert Application.objects.count() == 1
    assert "In review" in text_of(borrower.get(answer["Location"]))


def test_a_request_tells_when_its_answer_is_due_and_when_it_is_late(
    here: desk.Desk, borrower: Client
) -> None:
    """R-ADM-08: 24 hours from its coming; at that very instant it is late."""
    page = reverse("loans:request", args=[desk.submitted(here).pk])
    with visit.at(TEN + timedelta(hours=1)):
        due = "You have an answer by 2 Jan 2026, 10:00 UTC (23 h 0 min left)."
        assert due in text_of(borrower.get(page))
    with visit.at(TEN + timedelta(hours=24)):
        borrower = visit.client_of(here.applicant)  # their session is over by now
        assert "The answer was due by 2 Jan 2026, 10:00 UTC and is late" in text_of(borrower.get(page))


@pytest.mark.parametrize(("name", "most"), [("home", 40), ("apply", 45), ("request", 50), ("rates", 20)])
def test_a_page_asks_the_database_a_bounded_number_of_times(
    name: str, most: int, here: desk.Desk, borrower: Client, django_assert_max_num_queries: Any
) -> None:
    """Each question costs a page of its 150 ms."""
    row = desk.submitted(here)
    path = reverse(f"loans:{name}", args=[row.pk] if name == "request" else [])
    borrower.get(path)
    with django_assert_max_num_queries(most):
        assert borrower.get(path).status_code == 200


def test_a_request_that_cannot_be_granted_says_why_at_the_field_and_keeps_what_was_typed(
    here: desk.Desk, borrower: Client
) -> None:
    """R-VIP-07, R-GEN-14: 422, the reasons, the typed values, and nothing written."""
    form = wish(here, amount_1="400000", accounts=[here.master.pk, here.sub.pk], purpose="A long story")
    answer = borrower.post(reverse("loans:apply"), form)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "A first loan is worth at least 500,000 USD" in page
    assert "receives the loan, so it cannot be one of its collateral accounts" in page
    assert 'value="400000"' in page
    assert "A long story" in page
    assert not Application.objects.exists()


@pytest.mark.parametrize("amount", ["1e6", "NaN", "-1", "0", "１０", "1,000", " 5", "1.123456789", "9" * 400])
def test_an_amount_outside_the_grammar_is_refused_at_its_field(
    amount: str, here: desk.Desk, borrower: Client
) -> None:
    """R-GEN-01: one strict grammar; what was typed is not read as something else."""
    answer = borrower.post(reverse("loans:apply"), wish(here, amount_1=amount))
    assert answer.status_code == 422
    assert 'id="id_amount_1_error"' in answer.content.decode()


def test_a_foreign_account_cannot_be_chosen(here: desk.Desk, borrower: Client) -> None:
    """R-GEN-15"""
    other = build.master(build.customer())
    for field in ("receiver", "accounts"):
        answer = borrower.post(reverse("loans:apply"), wish(here, **{field: [other.pk]}))
        assert answer.status_code == 422
    assert not Application.objects.exists()


def test_more_coins_are_added_without_judging_the_rest(here: desk.Desk, borrower: Client) -> None:
    answer = borrower.post(reverse("loans:apply"), wish(here, amount_1="half", step="more"))
    page = answer.content.decode()
    assert answer.status_code == 200
    assert 'name="amount_2"' in page
    assert 'value="half"' in page
    assert 'class="error"' not in page


def test_terms_that_changed_are_shown_again(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-18: what is accepted is what was shown."""
    form = wish(here, rate_type="flexible")
    sheet = borrower.post(reverse("loans:apply"), form)
    build.flexible_rate("USDT", "0.12", at=TEN - timedelta(hours=10))
    answer = borrower.post(
        reverse("loans:apply"), form | {"step": "accept", "accepted": hidden(sheet, "accepted")}
    )
    assert answer.status_code == 422
    assert "The terms have changed since you saw them" in text_of(answer)
    assert "12.00 %" in text_of(answer)
    assert not Application.objects.exists()


def test_the_agreement_is_accepted_with_the_first_request(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-16: without the tick nothing is sent; with it both are written."""
    people.publish_agreement(
        version="2026-1",
        text="You may lose your collateral.",
        actor=build.BUILDER,
        at=TEN - timedelta(days=1),
    )
    form = wish(here)
    sheet = borrower.post(reverse("loans:apply"), form)
    assert "You may lose your collateral." in text_of(sheet)
    accepted = form | {"step": "accept", "accepted": hidden(sheet, "accepted")}
    assert borrower.post(reverse("loans:apply"), accepted).status_code == 422
    assert not Acceptance.objects.exists()
    assert borrower.post(reverse("loans:apply"), accepted | {"agreed": "2026-1"}).status_code == 302
    assert (Acceptance.objects.get().agreement.version, Application.objects.count()) == ("2026-1", 1)


# --- Requests ---------------------------------------------------------------------------------------------


def test_a_request_is_taken_back_once(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-12"""
    row = desk.submitted(here)
    at = reverse("loans:request", args=[row.pk])
    assert borrower.post(at, {"key": str(uuid4())}).status_code == 302
    answer = borrower.post(at, {"key": str(uuid4())})
    assert answer.status_code == 422
    assert "is cancelled; there is nothing to cancel" in text_of(answer)
    row.refresh_from_db()
    assert row.status == Application.Status.CANCELLED


# --- Loan -------------------------------------------------------------------------------------------------


def test_a_repayment_is_shown_before_it_is_made(here: desk.Desk, borrower: Client) -> None:
    """R-GEN-51, EX-01: interest first; the button names the amount; LTV before and after."""
    loan = desk.drawn(here)
    at, day = reverse("loans:repay", args=[loan.pk]), TEN + timedelta(days=1)
    desk.quote(day)
    form = {"key": str(uuid4()), "how": "amount", "amount": "100000"}
    with visit.later(here.applicant, day) as borrower:
        shown = borrower.post(at, form, headers=HTMX)
        assert shown.status_code == 200
        assert "<html" not in shown.content.decode()
        words = text_of(shown)
        assert "To interest230.13698631 USDT" in words
        assert "Repay 100,000.00 USDT" in words
        assert "60.01 %" in words
        assert Loan.objects.get().debt.principal == 1_000_000
        confirmed = form | {"seen": hidden(shown, "seen")}
        answer = borrower.post(at, confirmed)
        assert answer["Location"] == reverse("loans:loan", args=[loan.pk])
        borrower.post(at, confirmed)
        page = text_of(borrower.get(answer["Location"]))
    assert Loan.objects.get().debt.principal == Decimal("900230.13698631")
    assert "900,230.13698631 USDT" in page
    assert "100,000.00 USDT is paid" in page


def test_an_amount_edited_after_it_was_shown_is_shown_again(here: desk.Desk, borrower: Client) -> None:
    loan = desk.drawn(here)
    at = reverse("loans:repay", args=[loan.pk])
    form = {"key": str(uuid4()), "how": "amount", "amount": "100"}
    seen = hidden(borrower.post(at, form), "seen")
    answer = borrower.post(at, form | {"amount": "900000", "seen": seen})
    assert answer.status_code == 200
    assert "Repay 900,000.00 USDT" in text_of(answer)
    assert Loan.objects.get().debt.principal == 1_000_000


@pytest.mark.parametrize(
    ("amount", "why"),
    [
        ("999999.99", "to close"),  # R-GEN-52: dust
        ("1000500", "you cannot repay more"),
        ("١", "plain digits"),
    ],
)
def test_a_repayment_that_is_refused_keeps_what_was_typed(
    amount: str, why: str, here: desk.Desk, borrower: Client
) -> None:
    loan = desk.drawn(here)
    at = reverse("loans:repay", args=[loan.pk])
    form = {"key": str(uuid4()), "how": "amount", "amount": amount}
    answer = borrower.post(at, form)
    if answer.status_code == 200:
        answer = borrower.post(at, form | {"seen": hidden(answer, "seen")})
    assert answer.status_code == 422
    assert why in text_of(answer)
    assert f'value="{amount}"' in answer.content.decode()
    assert Loan.objects.get().debt.principal == 1_000_000


def test_all_of_it_closes_the_loan(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-31: before the first midnight one day is paid."""
    loan = desk.drawn(here)
    build.deposit(here.master, "USDT", "1000")
    at = reverse("loans:repay", args=[loan.pk])
    form = {"key": str(uuid4()), "how": "100"}
    shown = borrower.post(at, form)
    assert "Repay 1,000,230.13698631 USDT" in text_of(shown)
    borrower.post(at, form | {"seen": hidden(shown, "seen")})
    loan.debt.refresh_from_db()
    assert loan.debt.closed_reason == "repaid"
    assert "Repaid" in text_of(borrower.get(reverse("loans:loan", args=[loan.pk])))


def test_a_repayment_spot_cannot_pay_has_no_button(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-33, R-VIP-34"""
    loan = desk.drawn(here)
    desk.spend(here, "999000")
    answer = borrower.post(
        reverse("loans:repay", args=[loan.pk]), {"key": str(uuid4()), "how": "amount", "amount": "5000"}
    )
    assert "Spot and Fiat lack 4,000.00 USDT" in text_of(answer)
    assert 'name="seen"' not in answer.content.decode()


def test_renewal_is_offered_in_its_window_and_says_what_is_paid_first(
    here: desk.Desk, borrower: Client
) -> None:
    """R-VIP-40…42, EX-20: 25 runs later 5,753.42465775 is due."""
    loan = desk.drawn(here)
    at, day = reverse("loans:loan", args=[loan.pk]), TEN + timedelta(days=25)
    assert "Renewal opens on 25 January 00:00 UTC" not in text_of(borrower.get(at))
    assert "Renewal opens on 24 January 00:00 UTC" in text_of(borrower.get(at))
    desk.quote(day)
    with visit.later(here.applicant, day) as borrower:
        assert "Pay 5,753.42465775 USDT and renew" in text_of(borrower.get(at))
        answer = borrower.post(reverse("loans:renew", args=[loan.pk]), {"key": str(uuid4()), "term": "60"})
        new = Loan.objects.get(renews=loan)
        assert answer["Location"] == reverse("loans:loan", args=[new.pk])
        assert borrower.get(answer["Location"]).status_code == 200
        again = borrower.post(reverse("loans:renew", args=[loan.pk]), {"key": str(uuid4()), "term": "60"})
    assert again.status_code == 422
    assert new.due_at == TEN + timedelta(days=90)


def test_renewal_says_red_when_spot_is_short(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-33, R-VIP-41"""
    loan = desk.drawn(here)
    desk.spend(here, "1000000")
    day = TEN + timedelta(days=25)
    desk.quote(day)
    with visit.later(here.applicant, day) as borrower:
        page = borrower.get(reverse("loans:loan", args=[loan.pk]))
        assert "Spot lacks 5,753.42465775 USDT for the interest" in text_of(page)
        assert "and renew" not in text_of(page)
        refused = borrower.post(reverse("loans:renew", args=[loan.pk]), {"key": str(uuid4()), "term": "30"})
    assert refused.status_code == 422
    assert "A renewal pays the interest first" in text_of(refused)
    assert Loan.objects.count() == 1


def test_daily_interest_comes_in_pages(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-30, EX-01"""
    loan = desk.drawn(here)
    day = TEN + timedelta(days=26)
    desk.quote(day)
    with visit.later(here.applicant, day) as borrower:
        key = {"key": str(uuid4()), "how": "amount", "amount": "100"}
        at = reverse("loans:repay", args=[loan.pk])
        borrower.post(at, key | {"seen": hidden(borrower.post(at, key), "seen")})
        page = text_of(borrower.get(reverse("loans:loan", args=[loan.pk]) + "?page=3"))
    assert "26 charges" in page
    assert "Page 3 of 3" in page
    assert "2 Jan 2026" in page
    assert "230.13698631 USDT" in page


# --- Accounts of a group ----------------------------------------------------------------------------------


def test_an_account_is_added_and_removed_with_ltv_before_and_after(here: desk.Desk, borrower: Client) -> None:
    """R-GEN-13, R-VIP-55"""
    group = desk.drawn(here).group
    more = build.account(here.owner, label="More")
    build.deposit(more, "BTC", "25", at=TEN)
    at = reverse("loans:collateral", args=[group.pk])
    for what, words in (("add", "33.33 %"), ("remove", "33.33 %")):
        form = {"key": str(uuid4()), "what": what, "account": more.pk}
        shown = borrower.post(at, form)
        assert shown.status_code == 200
        assert words in text_of(shown)
        assert borrower.post(at, form | {"seen": hidden(shown, "seen")}).status_code == 302
    assert [row.released_at for row in Member.objects.filter(account=more)] == [TEN]
    form = {"key": str(uuid4()), "what": "remove", "account": here.sub.pk}
    refused = borrower.post(at, form)
    assert refused.status_code == 422
    assert "LTV would be infinite" in text_of(refused)
    assert Member.objects.filter(account=here.sub, released_at=None).exists()
