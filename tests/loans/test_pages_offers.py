"""The negotiation room through its pages, from both sides (R-VIP-06, 11, 12, 15, 24)."""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from accounts.commands import acting
from accounts.models import Approval
from loans.models import Application, Loan, Product, SignedSheet
from risk import parameters
from risk.handling import CallTrades, FeeBase
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans import visit
from tests.loans.desk import Desk
from tests.loans.talks import asked, last, move, statuses, wanted
from tests.loans.test_pages_borrower import text_of, wish

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk() -> Iterator[Desk]:
    with visit.at(TEN):
        yield desks.set_up()


@pytest.fixture
def borrower(desk: Desk) -> Client:
    return visit.client_of(desk.applicant)


@pytest.fixture
def manager(desk: Desk) -> Client:
    return visit.client_of(desk.manager)


def want(rate: str = "7.75", **changes: Any) -> dict[str, Any]:
    """The form of other terms as filled in, in percent."""
    base = {
        "rate_USDT": rate,
        "initial": "72",
        "margin_call": "77",
        "liquidation": "91",
        "cutoff": "95",
        "fee": "2",
        "term": "30",
        "overdue": "168",
        "message": "Hello <b>there</b>",
    }
    return {f"want-{name}": value for name, value in (base | changes).items()}


def send(client: Client, name: str, application: Application, **told: Any) -> Any:
    told = {"key": str(uuid4()), "version": last(application).version} | told
    answer = client.post(reverse(f"loans:{name}", args=[application.pk]), told)
    application.refresh_from_db()
    return answer


def hidden_inputs(answer: Any) -> dict[str, list[str]]:
    """What a browser would send of the term sheet's form without touching it."""
    form = answer.content.decode().split('class="body stack wide"')[1]
    found: dict[str, list[str]] = {}
    for tag in re.findall(r"<input[^>]*>", form):
        attributes = dict(re.findall(r'([\w-]+)="([^"]*)"', tag))
        if attributes.get("type") in {"hidden", "text", "number"}:
            found.setdefault(attributes["name"], []).append(attributes.get("value", ""))
    return found


# --- The borrower ---------------------------------------------------------------------------------------


def test_unsatisfied_sends_other_terms_to_the_manager(desk: Desk, borrower: Client) -> None:
    """R-VIP-11: the sheet's own form, sent as it stands but for the rate."""
    sheet = borrower.post(reverse("loans:apply"), wish(desk))
    form: dict[str, Any] = hidden_inputs(sheet)
    assert form["want-rate_USDT"] == ["8.4"]
    assert (form["all_or_nothing"], form["auto_repay"]) == (["False"], ["False"])
    form |= {"step": "negotiate", "want-rate_USDT": "7.75", "want-message": "We always repaid."}

    answer = borrower.post(reverse("loans:apply"), form)

    application = Application.objects.get()
    assert answer["Location"] == reverse("loans:request", args=[application.pk])
    assert statuses(application) == [(1, "desk", "countered"), (2, "borrower", "open")]
    assert last(application).body["loans"][0]["rate"] == "0.0775"
    page = text_of(borrower.get(answer["Location"]))
    assert "7.75 % changed" in page
    assert "Your manager’s move." in page
    assert "4 Jan 2026, 10:00 UTC" in page


def test_a_swede_reads_and_writes_percentages_with_a_comma(
    desk: Desk, borrower: Client, settings: Settings
) -> None:
    borrower.cookies[settings.LANGUAGE_COOKIE_NAME] = "sv"
    sheet = borrower.post(reverse("loans:apply"), wish(desk) | {"step": "check"})
    assert re.search(
        r'value="8,\d+"[^>]*name="want-rate_USDT"|name="want-rate_USDT"[^>]*value="8,\d+"',
        sheet.content.decode(),
    )
    told: dict[str, Any] = hidden_inputs(sheet) | want("7,75", margin_call="76,5") | {"step": "negotiate"}
    assert borrower.post(reverse("loans:apply"), told).status_code == 302
    body = last(Application.objects.get()).body
    assert body["loans"][0]["rate"] == "0.0775"
    assert body["lines"]["margin_call"] == "0.765"


def test_wishes_that_make_no_sense_stay_on_the_sheet_with_the_reason(desk: Desk, borrower: Client) -> None:
    """R-GEN-43, R-VIP-11: 422, and no request."""
    sheet = borrower.post(reverse("loans:apply"), wish(desk))
    form: dict[str, Any] = hidden_inputs(sheet) | {"step": "negotiate"}
    for changes, words in (
        ({"want-rate_USDT": "much"}, "Write a number"),
        ({"want-margin_call": "71"}, "The lines must rise"),
        ({}, "change something, or accept it"),
    ):
        answer = borrower.post(reverse("loans:apply"), form | changes)
        assert answer.status_code == 422
        assert words in text_of(answer)
        assert '<details class="stack" id="unsatisfied" open' in answer.content.decode()
    assert not Application.objects.exists()


def test_the_sheet_shows_how_the_client_is_handled(desk: Desk, borrower: Client) -> None:
    """R-VIP-24, R-GEN-75"""
    asked = {"product": "vip", "customer": desk.owner, "actor": BUILDER, "at": TEN}
    parameters.publish_handling(fee_base=FeeBase.START_ASSETS, call_trades=CallTrades.NONE, **asked)
    words = text_of(borrower.post(reverse("loans:apply"), wish(desk) | {"step": "check"}))
    for said in ("2 % of the assets at the start", "Sold", "all at once", "Trades in a margin call"):
        assert said in words


def test_the_choices_of_a_bundle_are_kept_with_the_request(desk: Desk, borrower: Client) -> None:
    """R-VIP-19, R-VIP-47"""
    sheet = borrower.post(reverse("loans:apply"), wish(desk, all_or_nothing="on", auto_repay="on"))
    assert "All or nothing" in text_of(sheet)
    borrower.post(reverse("loans:apply"), hidden_inputs(sheet) | {"step": "accept"})

    application = Application.objects.get()
    assert (application.all_or_nothing, application.auto_repay) == (True, True)
    assert application.offers.get().body["all_or_nothing"] is True


def test_the_borrower_accepts_an_offer_they_were_shown(desk: Desk, borrower: Client) -> None:
    """R-VIP-11, R-GEN-42: with its countdown and what it does to the group's lines."""
    desks.drawn(desk, "500000")
    application = asked(desk, wishes=desks.request(desk, "50000").wishes)
    tight = {"initial": Decimal("0.7"), "margin_call": Decimal("0.75")}
    move("counter_offer", application, desk, wanted=wanted("0.081", **tight), message="<i>Best</i> I can.")
    page = borrower.get(reverse("loans:request", args=[application.pk]))
    words = text_of(page)
    assert "Your move." in words
    assert re.search(r"Your manager offers ?Version 3 .*Waits for you, 24 h 0 min left\.", words)
    assert "changes the lines of the whole group to 70 % / 75 % / 91 %; until now 72 % / 77 % / 91 %" in words
    assert "&lt;i&gt;Best&lt;/i&gt; I can." in page.content.decode()

    key = str(uuid4())
    for _ in range(2):
        assert send(borrower, "accept_offer", application, version=3, key=key).status_code == 302

    assert application.status == "submitted"
    assert "bind the desk until 4 Jan 2026, 10:00 UTC" in text_of(borrower.get(page.request["PATH_INFO"]))


def test_the_borrower_declines_and_asks_for_other_terms(desk: Desk, borrower: Client) -> None:
    """R-VIP-11"""
    application = asked(desk)
    move("counter_offer", application, desk, wanted=wanted("0.083"))
    assert send(borrower, "decline_offer", application).status_code == 302
    assert "You declined the last offer" in text_of(
        borrower.get(reverse("loans:request", args=[application.pk]))
    )

    assert send(borrower, "counter", application, **want("7.9")).status_code == 302

    assert statuses(application)[2:] == [(3, "desk", "declined"), (4, "borrower", "open")]
    assert last(application).message == "Hello <b>there</b>"


def test_what_was_replaced_or_is_over_is_refused_with_the_reason(desk: Desk, borrower: Client) -> None:
    """R-VIP-11: 422, and nothing changes."""
    application = asked(desk)
    move("counter_offer", application, desk, wanted=wanted("0.083"))
    before = statuses(application)
    answer = send(borrower, "accept_offer", application, version=2)
    assert answer.status_code == 422
    assert "is at version 3, not at version 2" in text_of(answer)
    late = TEN + timedelta(hours=24)
    with visit.later(desk.applicant, late) as client:
        answer = send(client, "accept_offer", application)
        page = text_of(client.get(reverse("loans:request", args=[application.pk])))
    assert answer.status_code == 422
    assert "lapsed on 2 January 2026, 10:00 UTC" in text_of(answer)
    assert "Lapsed." in page
    assert "Accept version" not in page
    assert statuses(application) == before


def test_others_find_no_room_and_no_sheet(desk: Desk, borrower: Client, manager: Client) -> None:
    """R-VIP-15, R-ADM-01, TRUST section 7: 404 for foreign; the owner, their manager and staff have the sheet."""
    application = asked(desk)
    move("counter_offer", application, desk, wanted=wanted("0.083"))
    other = build.user()
    build.customer(member=other)
    stranger, foreign = visit.client_of(other), visit.client_of(build.user("vip_manager"))
    for name in ("accept_offer", "decline_offer", "counter"):
        assert send(stranger, name, application, **want()).status_code == 404
    for name in ("desk_counter_offer", "desk_accept_counter"):
        assert send(foreign, name, application, **want()).status_code == 404
        assert send(borrower, name, application, **want()).status_code == 404
    assert application.status == "offered"
    move("accept_offer", application, desk)
    desks.approved(desk, application)

    url = reverse("loans:sheet", args=[SignedSheet.objects.get().pk])
    for client in (stranger, foreign):
        assert client.get(url).status_code == 404
    for client in (borrower, manager, visit.client_of(build.user("auditor"))):
        answer = client.get(url)
        assert (answer.status_code, answer["Content-Type"]) == (200, "application/pdf")
        assert "attachment" in answer["Content-Disposition"]
        assert answer.content == bytes(SignedSheet.objects.get().pdf)
    page = borrower.get(reverse("loans:request", args=[application.pk])).content.decode()
    assert url in page
    assert SignedSheet.objects.get().sha256 in page


# --- The manager ----------------------------------------------------------------------------------------


def test_the_queue_shows_whose_move_it_is_and_the_time_left(desk: Desk, manager: Client) -> None:
    """R-VIP-11"""
    application = asked(desk)
    seen = text_of(manager.get(reverse("loans:desk")))
    assert "your move" in seen.split("Negotiations")[1]
    move("counter_offer", application, desk, wanted=wanted("0.083"))
    seen = text_of(manager.get(reverse("loans:desk"))).split("Negotiations")[1]
    assert "the client’s" in seen
    assert "24 h" in seen


def test_the_manager_answers_with_an_offer(desk: Desk, manager: Client) -> None:
    """R-VIP-11, R-VIP-24"""
    application = asked(desk)
    answer = manager.get(reverse("loans:desk_request", args=[application.pk]))
    page = text_of(answer)
    assert "Your move" in page
    assert "8.00 % changed" in page
    published, wished = [version.prices[0] for version in answer.context["talks"].versions]
    assert (published.step, wished.step) == (Decimal(0), Decimal("-0.004"))
    # 1,000,000 x 8 % / 365, up at 8 places, for 30 days (R-GEN-51, EX-01)
    assert (wished.days, wished.interest) == (30, Decimal("219.17808220") * 30)

    assert send(manager, "desk_counter_offer", application, **want("8.25", term="45")).status_code == 302

    assert application.status == "offered"
    assert last(application).body["term_days"] == 45
    assert "The client’s move" in text_of(manager.get(reverse("loans:desk_request", args=[application.pk])))


def test_the_manager_accepts_the_clients_terms_and_pays_out(desk: Desk, manager: Client) -> None:
    """R-VIP-11, R-VIP-12"""
    application = asked(desk)
    assert send(manager, "desk_accept_counter", application).status_code == 302
    assert application.accepted is not None
    page = manager.get(reverse("loans:desk_request", args=[application.pk]))
    assert application.accepted.sha256 in page.content.decode()

    told = {"key": str(uuid4()), "sheet": application.accepted.sha256, "coins": ["USDT"]}
    answer = manager.post(reverse("loans:desk_approve", args=[application.pk]), told)

    assert answer.status_code == 302
    assert Loan.objects.get().annual_rate == Decimal("0.08")
    assert "(PDF)" in text_of(manager.get(answer["Location"]))


def test_looser_terms_are_proposed_to_a_second_person(desk: Desk, manager: Client) -> None:
    """R-VIP-24, R-ADM-03: without a word why it stays on the page; with one it waits for the other person."""
    application = asked(desk)
    loose = want("8.25", initial="74")
    answer = send(manager, "desk_counter_offer", application, **loose)
    assert answer.status_code == 422
    assert "Say why" in text_of(answer)

    answer = send(manager, "desk_counter_offer", application, **loose, **{"want-why": "A good client."})

    assert answer.status_code == 302
    proposal = Approval.objects.get()
    assert (proposal.command, proposal.customer) == ("vip.counter_offer", desk.owner)
    assert proposal.preview["changed"]["initial"] == "74"
    assert application.status == "negotiating"


def test_looser_wishes_of_the_client_are_accepted_by_two(desk: Desk, manager: Client) -> None:
    """R-VIP-24, R-ADM-03"""
    application = asked(desk, wanted("0.08", fee=Decimal("0.01")))
    assert "For a second person" in text_of(manager.get(reverse("loans:desk_request", args=[application.pk])))
    assert send(manager, "desk_accept_counter", application).status_code == 422

    assert send(manager, "desk_accept_counter", application, why="Old client.").status_code == 302

    assert Approval.objects.get().command == "vip.accept_counter"
    assert application.status == "negotiating"


@pytest.mark.parametrize("why", ["a\x00b", "x" * 2001])
def test_a_word_that_cannot_be_kept_is_refused_and_shown_again(why: str, desk: Desk, manager: Client) -> None:
    """R-VIP-11: it was an error of the server."""
    application = asked(desk, wanted("0.08", initial=Decimal("0.75")))
    answer = send(manager, "desk_accept_counter", application, version=2, why=why)
    assert answer.status_code == 422
    application.refresh_from_db()
    assert (application.status, Approval.objects.count()) == ("negotiating", 0)
    assert why.replace("\x00", "") in answer.content.decode().replace("\x00", "")


def test_a_large_request_is_proposed_and_says_so(desk: Desk, manager: Client) -> None:
    """R-VIP-12, R-ADM-03"""
    with acting(build.BUILDER):
        Product.objects.create(
            code="vip", effective_at=TEN - timedelta(days=1), four_eyes_usd=Decimal(999999)
        )
    application = desks.submitted(desk)
    page = text_of(manager.get(reverse("loans:desk_request", args=[application.pk])))
    assert "Two persons." in page
    assert "Propose to pay out 1,000,000.00 USDT" in page
    told = {"key": str(uuid4()), "sheet": application.offers.get().sha256, "coins": ["USDT"], "why": "Good."}

    answer = manager.post(reverse("loans:desk_approve", args=[application.pk]), told)

    assert answer.status_code == 302
    assert Approval.objects.get().preview["ltv_after"] == "66.66\u00a0%"
    assert Loan.objects.count() == 0


def test_coins_are_ticked_one_by_one(desk: Desk, manager: Client, borrower: Client) -> None:
    """R-VIP-06: an unticked coin needs a reason, which the borrower reads."""
    build.asset("USDC")
    build.fund_pool("USDC")
    desks.loan_limit("USDC")
    desks.card("USDC", "0.08")
    desks.quote(TEN, USDC="1")
    wishes = (*desks.request(desk, "100000").wishes, desks.Wish("USDC", Decimal(500000)))
    application = desks.submitted(desk, wishes=wishes)
    told = {"key": str(uuid4()), "sheet": application.offers.get().sha256}
    url = reverse("loans:desk_approve", args=[application.pk])
    for coins, words in ((["USDC"], "Say why a coin is left out"), ([], "Choose at least one coin")):
        answer = manager.post(url, told | {"coins": coins})
        assert answer.status_code == 422
        assert words in text_of(answer)

    assert manager.post(url, told | {"coins": ["USDC"], "note": "USDT is short."}).status_code == 302

    assert [loan.asset_id for loan in Loan.objects.all()] == ["USDC"]
    page = text_of(borrower.get(reverse("loans:request", args=[application.pk])))
    assert "USDT: USDT is short." in page
    assert "Approved in part" in page
