"""The pages of the fixed-rate market: finance offers, the house looks, a borrower sees, checks and takes (R-VIP-26)."""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts import approvals, firms, people
from accounts.commands import Actor
from accounts.firms import ACTS
from accounts.models import Approval, User
from loans.models import Loan, SupplyOrder, SupplyTake
from loans.vip import at_expiry
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans import supplies, visit
from tests.loans.desk import Desk, everything
from tests.loans.supplies import entered, of, taken
from tests.loans.test_pages_residual import text_of

pytestmark = pytest.mark.django_db
INDEX, OFFERS, TAKE = "/desk/supply/", "/fixed-market/", "/fixed-market/USDT/30/"


@pytest.fixture(autouse=True)
def _at_ten() -> Iterator[None]:
    with visit.at(TEN):
        yield


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def page_of(order: SupplyOrder) -> str:
    return reverse("loans:supply_order", args=[order.pk])


def enter(user: User, **typed: str) -> Any:
    sent = {
        "key": str(uuid4()),
        "asset": "USDT",
        "annual_rate": "5",
        "amount": "1000000",
        "minimum": "1000",
        "term_days": "30",
        "ends_at": "",
        "reason": "Treasury has it",
    }
    return visit.client_of(user).post(INDEX, sent | typed)


def untouched() -> dict[str, Any]:
    return everything() | {"takes": SupplyTake.objects.count()}


# --- The desk -------------------------------------------------------------------------------------------------


def test_the_house_looks_and_a_borrower_finds_nothing(desk: Desk) -> None:
    """R-VIP-26"""
    order = entered()
    for role in ("finance", "admin", "risk_officer", "auditor", "ops", "vip_manager"):
        user = build.user(role)
        for url in (INDEX, page_of(order)):
            seen = visit.client_of(user).get(url)
            assert seen.status_code == 200, (role, url)
            has_form = b'name="reason"' in seen.content
            assert has_form == (role in ("finance", "admin")), (role, url)
    for url in (INDEX, page_of(order)):
        assert visit.client_of(desk.applicant).get(url).status_code == 404
        assert Client().get(url).status_code == 302


def test_finance_proposes_another_releases_and_it_is_on_offer(desk: Desk) -> None:
    """R-VIP-26, R-ADM-03"""
    maker, checker = build.user("finance"), build.user("risk_officer")

    assert enter(maker).status_code == 302

    waits = Approval.objects.get()
    assert waits.title.replace("\u00a0", " ") == "Offer 1,000,000.00 USDT at 5.00 % for 30 days"
    assert f"{waits} waits." in text_of(visit.client_of(maker).get(INDEX))
    approvals.release(approval_id=waits.pk, actor=Actor.user(checker), at=TEN)
    order = SupplyOrder.objects.get()
    assert (order.annual_rate, order.minimum, order.entered_by) == (Decimal("0.05"), 1000, maker)
    assert "1,000,000.00 USDT of 1,000,000.00 USDT" in text_of(visit.client_of(checker).get(INDEX))


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ({"minimum": "1000001"}, "is more than the 1000000 USDT offered"),
        ({"amount": "1e6"}, "Write the amount in plain digits"),
        ({"term_days": "366"}, "less than or equal to 365"),
        ({"annual_rate": "-1"}, "greater than or equal to 0"),
        ({"ends_at": "2026-01-01T10:00"}, "ends in the future"),
        ({"asset": "NONE"}, "valid choice"),
        ({"reason": ""}, "required"),
    ],
)
def test_a_bad_order_is_shown_again_with_the_reason(desk: Desk, typed: dict[str, str], says: str) -> None:
    """R-VIP-26"""
    answer = enter(build.user("finance"), **typed)

    assert answer.status_code == 422
    assert says in text_of(answer)
    assert not Approval.objects.exists()


def test_others_may_not_enter_or_close(desk: Desk) -> None:
    """R-VIP-26"""
    order = entered()
    for role in ("risk_officer", "auditor", "ops", "vip_manager"):
        user = build.user(role)
        assert enter(user).status_code == 403
        sent = {"key": str(uuid4()), "reason": "no"}
        assert visit.client_of(user).post(page_of(order), sent).status_code == 403
    assert not Approval.objects.exists()
    assert SupplyOrder.objects.get().closed_at is None


def test_finance_closes_it_alone_with_a_reason(desk: Desk) -> None:
    """R-VIP-26"""
    order, finance = entered(), visit.client_of(build.user("finance"))

    assert finance.post(page_of(order), {"key": str(uuid4()), "reason": ""}).status_code == 422
    assert finance.post(page_of(order), {"key": str(uuid4()), "reason": "Rates rose"}).status_code == 302

    assert SupplyOrder.objects.get().closed_at == TEN
    assert "Closed" in text_of(finance.get(page_of(order)))
    again = finance.post(page_of(order), {"key": str(uuid4()), "reason": "Rates rose"})
    assert again.status_code == 422
    assert "was closed on 1 January 2026, 10:00 UTC" in text_of(again)


def test_a_manager_sees_the_takings_of_their_own_clients_only(desk: Desk) -> None:
    """R-VIP-26"""
    order = entered()
    loan = taken(desk, of(order, "600000"))

    mine = text_of(visit.client_of(desk.manager).get(page_of(order)))
    other = text_of(visit.client_of(build.user("vip_manager")).get(page_of(order)))

    assert str(loan) in mine
    assert desk.owner.name in mine
    assert str(loan) not in other
    assert desk.owner.name not in other
    assert "400,000.00 USDT" in other
    assert loan.line is not None
    decision = visit.client_of(desk.manager).get(
        reverse("loans:desk_request", args=[loan.line.application_id])
    )
    assert f"Decided by the release of {order}" in text_of(decision)


def test_every_link_of_the_pages_leads_somewhere(desk: Desk) -> None:
    """R-VIP-26"""
    order = entered()
    taken(desk, of(order, "600000"))
    for user, urls in (
        (build.user("finance"), (INDEX, page_of(order))),
        (desk.applicant, (OFFERS, TAKE, reverse("loans:rates"))),
    ):
        client = visit.client_of(user)
        found: set[str] = set()
        for url in urls:
            page = client.get(url).content.decode()
            main = page[page.index("<main") : page.index("</main>")]
            found |= set(re.findall(r'href="(/[^"#?]*)"', main))
        assert found
        for url in sorted(found):
            assert client.get(url).status_code == 200, url
    assert OFFERS in found


# --- A borrower -------------------------------------------------------------------------------------------------


def wish(desk: Desk, **typed: Any) -> dict[str, Any]:
    sent = {
        "key": str(uuid4()),
        "receiver": str(desk.master.pk),
        "accounts": [str(desk.sub.pk)],
        "coins": ["BTC"],
        "at_expiry": "repay",
    }
    return sent | typed


def hidden(answer: Any, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', answer.content.decode())
    assert found is not None, text_of(answer)
    return found[1]


def test_a_borrower_sees_the_offers_and_others_do_not(desk: Desk) -> None:
    """R-VIP-26, R-GEN-95: whoever acts for one account only borrows nothing, and staff has a page of its own."""
    entered("0.07")
    entered("0.05")
    build.asset("USDC")
    entered(asset="USDC")  # nobody funded its pool
    seen = text_of(visit.client_of(desk.applicant).get(OFFERS))
    assert seen.index("5.00 %") < seen.index("7.00 %")
    assert "USDC" not in seen
    limited = build.colleague(desk.owner, only=desk.sub)
    for user in (limited, build.user("finance"), desk.manager):
        for url in (OFFERS, TAKE):
            assert visit.client_of(user).get(url).status_code == 404
    assert Client().get(OFFERS).status_code == 302


def test_looking_first_then_taking_of_two_offers(desk: Desk) -> None:
    """R-VIP-26: the terms are shown with the weighted rate, and nothing is taken before the second press."""
    low, high = entered("0.05", "250000"), entered("0.07", "1000000")
    client = visit.client_of(desk.applicant)
    sent = wish(desk, **{f"amount_{low.pk}": "250000", f"amount_{high.pk}": "750000"})
    before = untouched()

    shown = client.post(TAKE, sent)

    assert shown.status_code == 200
    words = text_of(shown)
    assert "Take 1,000,000.00 USDT at 6.50 %" in words
    assert "LTV after 66.66" in words or "LTV after 66.67" in words
    assert untouched() == before
    confirmed = sent | {name: hidden(shown, name) for name in ("seen", "accepted")}
    edited = client.post(TAKE, confirmed | {f"amount_{high.pk}": "740000"})
    assert edited.status_code == 200
    assert "Take 990,000.00 USDT" in text_of(edited)
    assert untouched() == before
    done = client.post(TAKE, confirmed)
    loan = Loan.objects.get()
    assert done.headers["Location"] == reverse("loans:loan", args=[loan.pk])
    assert (loan.amount, loan.annual_rate) == (1000000, Decimal("0.065"))
    assert build.balance(desk.master, "USDT") == 1000000


def test_going_on_is_chosen_here_and_said_on_the_loan(desk: Desk) -> None:
    """R-VIP-26"""
    order, client = entered(), visit.client_of(desk.applicant)
    sent = wish(desk, at_expiry="go_on", **{f"amount_{order.pk}": "600000"})
    shown = client.post(TAKE, sent)
    assert "goes on, open, at the flexible rate of that day" in text_of(shown)

    client.post(TAKE, sent | {name: hidden(shown, name) for name in ("seen", "accepted")})

    loan = Loan.objects.get()
    assert at_expiry.converts(loan)
    page = text_of(client.get(reverse("loans:loan", args=[loan.pk])))
    assert "it goes on by itself, as an open loan at the flexible rate of that day" in page
    sheet = client.get(reverse("loans:sheet", args=[loan.sheet_id]))
    assert sheet.status_code == 200


@pytest.mark.parametrize(
    ("amount", "typed", "says"),
    [
        ("", {}, "Say of at least one offer how much you take."),
        ("999", {}, "At least 1000 USDT is taken"),
        ("1000001", {}, "is left of S-"),
        ("1e6", {}, "Write the amount in plain digits"),
        ("600000.000000001", {}, "at most"),
        ("499999", {}, "A first loan is worth at least 500,000 USD"),
        ("600000", {"receiver": "1"}, "valid choice"),
        ("600000", {"accounts": []}, "collateral accounts"),
        ("600000", {"at_expiry": "x"}, "valid choice"),
        ("600000", {"key": "x"}, "missing or damaged"),
    ],
)
def test_what_cannot_be_taken_is_shown_again_with_the_reason(
    desk: Desk, amount: str, typed: dict[str, Any], says: str
) -> None:
    """R-VIP-26, R-VIP-07"""
    order = entered()
    before = untouched()

    answer = visit.client_of(desk.applicant).post(TAKE, wish(desk, **{f"amount_{order.pk}": amount}) | typed)

    assert answer.status_code == 422
    assert says in text_of(answer)
    assert untouched() == before


def test_the_agreement_is_accepted_with_a_tick(desk: Desk) -> None:
    """R-VIP-26, R-VIP-16"""
    people.publish_agreement(version="2.0", text="The borrower owes it.", actor=BUILDER, at=LONG_AGO)
    order, client = entered(), visit.client_of(desk.applicant)
    sent = wish(desk, **{f"amount_{order.pk}": "600000"})
    shown = client.post(TAKE, sent)
    assert shown.status_code == 200
    confirmed = sent | {name: hidden(shown, name) for name in ("seen", "accepted")}

    refused = client.post(TAKE, confirmed)
    assert refused.status_code == 422
    assert "Tick that you accept version 2.0" in text_of(refused)
    assert not Loan.objects.exists()

    shown = client.post(TAKE, sent)
    confirmed |= {name: hidden(shown, name) for name in ("seen", "accepted")}
    assert client.post(TAKE, confirmed | {"agreed": "2.0"}).status_code == 302
    assert Loan.objects.count() == 1


def test_an_offer_taken_by_somebody_else_meanwhile_is_said(desk: Desk) -> None:
    """R-VIP-26"""
    order, client = entered(amount="700000"), visit.client_of(desk.applicant)
    sent = wish(desk, **{f"amount_{order.pk}": "600000"})
    shown = client.post(TAKE, sent)
    applicant = build.user()
    owner = build.customer(member=applicant)
    sub = build.account(owner)
    build.deposit(sub, "BTC", "25", at=LONG_AGO)
    taken(Desk(owner, applicant, desk.manager, build.master(owner), sub), of(order, "500000"))
    before = untouched()

    answer = client.post(TAKE, sent | {name: hidden(shown, name) for name in ("seen", "accepted")})

    assert answer.status_code == 422
    assert f"200000 USDT is left of {order}" in text_of(answer)
    assert untouched() == before


def test_a_coin_or_term_without_offers_says_where_there_are_some(desk: Desk) -> None:
    """R-VIP-26"""
    entered()
    client = visit.client_of(desk.applicant)
    for url in ("/fixed-market/USDT/60/", "/fixed-market/BTC/30/", "/fixed-market/USDT/99999999999/"):
        seen = client.get(url)
        assert seen.status_code == 200, url
        assert "See what is offered" in text_of(seen)
    assert client.get("/fixed-market/NONE/30/").status_code == 404


def test_where_the_firm_asks_for_two_a_colleague_releases_it(desk: Desk) -> None:
    """R-VIP-26, R-ADM-09"""
    colleague = build.colleague(desk.owner, "treasurer")
    firms.set_policy(
        customer_id=desk.owner.pk,
        **dict.fromkeys(ACTS, False) | {"apply": True},
        actor=BUILDER,
        at=LONG_AGO,
    )
    order, client = entered(), visit.client_of(desk.applicant)
    sent = wish(desk, **{f"amount_{order.pk}": "600000"})
    shown = client.post(TAKE, sent)

    done = client.post(TAKE, sent | {name: hidden(shown, name) for name in ("seen", "accepted")})

    waits = Approval.objects.get()
    assert done.headers["Location"] == reverse("accounts:firm_proposal", args=[waits.pk])
    assert not Loan.objects.exists()
    assert "Possible yes" in text_of(visit.client_of(colleague).get(done.headers["Location"]))
    approvals.release(approval_id=waits.pk, actor=Actor.user(colleague), at=TEN + timedelta(minutes=1))
    assert Loan.objects.get().amount == 600000
    assert supplies.left(order) == 400000


def test_a_member_who_may_not_apply_takes_nothing(desk: Desk) -> None:
    """R-VIP-26, R-ADM-09"""
    order = entered()
    viewer = build.colleague(desk.owner, "viewer")
    before = untouched()

    answer = visit.client_of(viewer).post(TAKE, wish(desk, **{f"amount_{order.pk}": "600000"}))

    assert answer.status_code == 422
    assert untouched() == before
