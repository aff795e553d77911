"""Who may do what over /api/v1: tokens, sessions, members of one account, viewers, strangers, and two of a firm."""

import json
from typing import Any

import pytest
from django.test import Client

from accounts import approvals, people, screenings
from accounts.commands import Actor
from loans.models import Application
from loans.vip import papers
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans import native, talks, visit
from tests.loans.api_house import NOT_THERE, House, reads, rows, state, writes
from tests.loans.desk import Desk, everything
from tests.loans.native import WANTED, asking, ok, refusal
from tests.loans.test_firm_second import firm_of
from tests.native import Native, browser, program

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _at_ten() -> Any:
    with visit.at(TEN):
        yield


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


@pytest.fixture
def house(desk: Desk) -> House:
    return House(desk)


# --- Ids of others ----------------------------------------------------------------------------------------


def test_what_is_anothers_is_not_there_byte_for_byte(house: House) -> None:
    """R-GEN-95, TRUST B-14: every read and write of another firm's ids is answered as ids that do not exist."""
    user = build.user()
    other = build.customer(member=user)
    them = program(build.master(other), user)
    before = state()
    for path in rows(**house.ids):
        assert them.get(path) == NOT_THERE, path
    for path in rows(application=10**9, loan=10**9):
        assert them.get(path) == NOT_THERE, path
    theirs, nobodys = house.writes(), writes(house.desk, application=10**9, loan=10**9, enquiry=10**9)
    for (path, body), (unknown, _) in zip(theirs, nobodys, strict=True):
        if path != unknown:
            assert them.post(path, body) == them.post(unknown, body) == NOT_THERE, path
    assert them.post(f"loans/{house.loan.pk}/repay", {"wrong": 1}) == NOT_THERE
    assert ok(them.get("loans")) == ok(them.get("applications")) == {"rows": [], "total": 0}
    assert state() == before


def test_anothers_accounts_cannot_be_named_in_a_request(house: House) -> None:
    """R-VIP-03, R-GEN-95: as accounts that do not exist; the words name the number that was sent."""
    other = build.customer(member=build.user())
    theirs, us = build.master(other).pk, native.of(house.desk)
    before = state()
    for uid in (theirs, 10**9):
        sheet = ok(us.post("applications/check", asking(house.desk, account_uids=[uid])))
        problem = next(one for one in sheet["problems"] if one["field"] == "account_uids")
        assert problem["code"] == "not_your_account"
        assert problem["message"] == f"Account {uid} is not one of your accounts."
    assert state() == before


# --- Members ----------------------------------------------------------------------------------------------


def test_who_acts_for_the_receiver_only_sees_its_loans_and_changes_nothing(house: House) -> None:
    """R-GEN-95, R-VIP-02: the loan with its charges and sheet; no request, no limit of the firm; no write."""
    user = build.colleague(house.desk.owner, "signatory", only=house.desk.master)
    us = browser(user)
    for path in rows(**house.ids):
        if path.endswith(".pdf"):
            continue
        assert us.get(path)[0] == (404 if path.startswith("applications") else 200), path
    assert ok(us.get("loans"))["total"] == 1
    me = ok(us.get("me"))
    assert (me["for_one_account"], [one["uid"] for one in me["accounts"]]) == (True, [house.desk.master.pk])
    assert me["powers"] == ["look", "move", "trade", "withdraw"]
    for path in ("applications", "limits", "enquiries", "agreement"):
        assert us.get(path) == NOT_THERE
    before = state()
    for path, body in house.writes():
        expected = (409, "not_your_part") if path.startswith("loans/") else (404, "not_found")
        assert refusal(us.post(path, body)) == expected, path
    assert us.post("applications/check", asking(house.desk)) == NOT_THERE
    assert state() == before


def test_who_acts_for_the_collateral_only_and_a_key_of_it_see_no_loan(house: House) -> None:
    """R-GEN-95: a sub-account's key of somebody who acts for all is bound to that account all the same."""
    one = build.colleague(house.desk.owner, "treasurer", only=house.desk.sub)
    for us in (browser(one), program(house.desk.sub, house.desk.applicant, "can_read")):
        assert ok(us.get("loans")) == {"rows": [], "total": 0}
        assert [each["uid"] for each in ok(us.get("me"))["accounts"]] == [house.desk.sub.pk]
        for path in rows(**house.ids):
            assert us.get(path) == NOT_THERE, path


def test_a_viewer_looks_at_all_of_it_and_changes_nothing(house: House) -> None:
    """R-ADM-09: every read is served, every write refused with who may."""
    us = browser(build.colleague(house.desk.owner, "viewer"))
    for path in reads(**house.ids):
        if not path.endswith(".pdf"):
            assert us.get(path)[0] == 200, path
    ok(us.post("applications/check", asking(house.desk)))
    before = state()
    for path, body in house.writes():
        answer = us.post(path, body)
        if path.startswith("enquiries/"):
            assert answer == NOT_THERE  # whoever did not ask it does not see it
        else:
            assert refusal(answer) == (409, "not_your_part"), path
            assert "Ask a signatory" in answer[1]["message"]
    assert state() == before


# --- Tokens and sessions ----------------------------------------------------------------------------------


def test_a_token_that_may_only_read_writes_nothing(house: House) -> None:
    """R-ADM-09, TRUST B-09: it may check terms, which writes nothing; a token without read may not even look."""
    us = native.of(house.desk, "can_read")
    before = state()
    ok(us.post("applications/check", asking(house.desk)))
    for path, body in house.writes():
        assert refusal(us.post(path, body)) == (403, "not_permitted"), path
    blind = native.of(house.desk, "can_transfer")
    for path in [*reads(**house.ids), "nothing"]:
        assert refusal(blind.get(path)) == (403, "not_permitted"), path
    assert state() == before


def test_nobody_and_a_session_without_its_csrf_token_are_turned_away(house: House) -> None:
    """TRUST B-11: 401 with the scheme, 403 for the forged form; nothing moves."""
    before = state()
    for path in reads(**house.ids):
        assert refusal(Native().get(path)) == (401, "not_authenticated"), path
    assert refusal(Native(token="x" * 64 + ".y").get("me")) == (401, "not_authenticated")
    client = Client(enforce_csrf_checks=True)
    client.force_login(house.desk.applicant, backend=visit.BACKEND)
    forged = Native(client=client)
    for path, body in house.writes():
        assert refusal(Native().post(path, body)) == (401, "not_authenticated"), path
        assert refusal(forged.post(path, body)) == (403, "not_permitted"), path
    for role in ("vip_manager", "admin"):
        staff = browser(build.user(role))
        assert staff.get("loans") == staff.get("me") == NOT_THERE
    assert state() == before


def test_what_is_not_there_is_told_in_json_and_nobody_is_sent_elsewhere(house: House) -> None:
    """A slash too much is another address, and no redirect: a program would lose its body on the way."""
    us = native.of(house.desk)
    for path in ("loans/", "applications/check/", "nothing", "", f"loans/{'9' * 30}", "loans/x"):
        assert us.get(path) == NOT_THERE, path
        assert us.post(path, {}) == NOT_THERE or path == f"loans/{'9' * 30}", path
    assert refusal(us.get("loans/1/repay")) == (405, "method_not_allowed")


# --- Two of a firm ----------------------------------------------------------------------------------------


def test_a_firms_request_waits_for_a_colleague(desk: Desk) -> None:
    """R-ADM-09, R-GEN-06: 202 with the proposal's number, the same one for the same key, and released once."""
    firm, us = firm_of(desk), native.of(desk)
    body = asking(desk, accepted=ok(us.post("applications/check", asking(desk)))["fingerprint"])
    key = "k" * 64
    waiting = ok(us.post("applications", body, key=key), 202)
    sent = f"A-{waiting['proposal']:04d} is sent to your colleagues: Borrow 1,000,000.00\u00a0USDT."
    assert waiting["message"].startswith(sent)
    desks.quote(TEN, BTC="60500")  # LTV moved; what was proposed did not
    assert ok(us.post("applications", body, key=key), 202) == waiting
    assert refusal(us.post("applications", body)) == (409, "already_proposed")
    proposal = ok(us.get(f"proposals/{waiting['proposal']}"))
    assert (proposal["status"], proposal["command"], proposal["result"]) == ("pending", "vip.submit", "")
    assert not Application.objects.exists()
    approvals.release(approval_id=waiting["proposal"], actor=Actor.user(firm.checker), at=TEN)
    made = Application.objects.get()
    done = ok(us.get(f"proposals/{waiting['proposal']}"))
    assert (done["status"], done["result"]) == ("released", f"loans.application:{made.pk}")
    assert ok(us.get("proposals"))["total"] == 1
    stranger = build.user()
    other = program(build.master(build.customer(member=stranger)), stranger)
    assert other.get(f"proposals/{waiting['proposal']}") == NOT_THERE


def test_negotiating_accepting_and_countering_wait_too(desk: Desk) -> None:
    """R-ADM-09, R-VIP-11: each is what was proposed, when it is released."""
    firm, us = firm_of(desk), native.of(desk)

    def released(answer: Any) -> None:
        number = ok(answer, 202)["proposal"]
        approvals.release(approval_id=number, actor=Actor.user(firm.checker), at=TEN)

    shown = ok(us.post("applications/check", asking(desk)))["fingerprint"]
    released(us.post("applications/negotiate", asking(desk, accepted=shown, wanted=WANTED), key="n"))
    row = Application.objects.get()
    talks.move("counter_offer", row, desk, wanted=talks.wanted("0.083"))
    room = f"applications/{row.pk}/offers"
    before = everything()["states"]
    released(us.post(f"{room}/3/counter", WANTED | {"message": "Once more"}, key="c"))
    assert everything()["states"] != before
    talks.move("counter_offer", row, desk, wanted=talks.wanted("0.082"))
    released(us.post(f"{room}/5/accept", key="a"))
    row.refresh_from_db()
    assert (row.status, row.accepted.version) == ("submitted", 5)


def test_a_repeat_after_the_release_is_answered_as_at_first(desk: Desk) -> None:
    """R-GEN-06: the offer is no longer open by then, so what a second person is shown reads differently."""
    row = talks.asked(desk)
    talks.move("counter_offer", row, desk, wanted=talks.wanted("0.083"))
    firm, us = firm_of(desk), native.of(desk)
    path = f"applications/{row.pk}/offers/{talks.last(row).version}/accept"
    first = us.post(path, key="a")
    approvals.release(approval_id=ok(first, 202)["proposal"], actor=Actor.user(firm.checker), at=TEN)
    assert us.post(path, key="a") == first


# --- What a borrower is not told ---------------------------------------------------------------------------


def test_nobody_is_told_over_the_api_that_they_are_under_suspicion(desk: Desk) -> None:
    """R-ADM-10: only that something is still being checked, never which check nor how it stands."""
    us = native.of(desk)
    row = talks.asked(desk)
    talks.move("counter_offer", row, desk, wanted=talks.wanted("0.083"))
    screenings.record(
        customer_id=desk.owner.pk, kind="sanctions", status="refused", note="Listed", actor=BUILDER, at=TEN
    )
    room = f"applications/{row.pk}"
    told = ok(us.get(room))
    assert told["papers"] == papers.note_for(desk.owner, at=TEN) != ""
    offer = ok(us.get(f"{room}/offers/3"))
    assert (offer["review"]["is_acceptable"], offer["review"]["problems"]) == (True, [])
    ok(us.post(f"{room}/offers/3/accept"))
    shown = [told, offer, *(ok(us.get(path)) for path in (room, f"{room}/offers", "me", "limits"))]
    text = json.dumps(shown).lower()
    assert not [word for word in ("sanction", "screening", "refused", "listed", "identity") if word in text]


# --- The customer's own -----------------------------------------------------------------------------------


def test_the_agreement_is_read_and_accepted_once(desk: Desk) -> None:
    """R-VIP-16: before it the check says so, and who accepts names the version they read."""
    people.publish_agreement(version="2", text="Read me.", actor=BUILDER, at=LONG_AGO)
    us = native.of(desk)
    assert ok(us.get("me"))["agreement"] == "2"
    sheet = ok(us.post("applications/check", asking(desk)))
    assert [one["code"] for one in sheet["problems"]] == ["agreement_needed"]
    told = ok(us.get("agreement"))
    assert (told["version"], told["text"], told["accepted_at"]) == ("2", "Read me.", None)
    assert refusal(us.post("agreement/accept", {"version": "1"})) == (409, "not_the_current_agreement")
    done = ok(us.post("agreement/accept", {"version": "2"}, key="yes"))
    assert done["accepted_at"] == "2026-01-01T10:00:00Z"
    assert us.post("agreement/accept", {"version": "2"}, key="yes") == (200, done)
    assert refusal(us.post("agreement/accept", {"version": "2"})) == (409, "agreement_already_accepted")
    assert ok(us.get("me"))["agreement"] is None


def test_rates_and_limits_are_the_borrowers_own(house: House) -> None:
    """R-GEN-45, R-GEN-96, R-VIP-22: 1,500,000 at 72 % less the 900,000 owed leaves 180,000."""
    us = native.of(house.desk)
    [row] = ok(us.get("rates"))["rows"]
    assert (row["asset"], row["flexible"]["annual_rate"]) == ("USDT", "0.08")
    assert [(one["term_days"], one["annual_rate"]) for one in row["fixed"]] == [(30, "0.084"), (60, "0.09")]
    told = ok(us.get("limits"))
    assert (told["first_minimum_usd"], told["later_minimum_usd"]) == ("500000", "50000")
    [coin] = told["rows"]
    assert (coin["asset"], coin["minimum_usd"], coin["most"]) == ("USDT", "100", "10000000")
    assert coin["groups"] == [{"group_id": house.loan.group_id, "max_borrow": "180000"}]


def test_an_enquiry_is_asked_and_taken_back(house: House) -> None:
    """R-VIP-17, R-GEN-06"""
    us, body = native.of(house.desk), {"contact": "ops@example.com", "wish": "90 days"}
    made = ok(us.post("enquiries", body, key="e"), 201)
    assert us.post("enquiries", body, key="e") == (201, made)
    assert ok(us.get("enquiries"))["total"] == 2
    assert ok(us.post(f"enquiries/{made['id']}/withdraw"))["status"] == "closed"
    assert refusal(us.post(f"enquiries/{made['id']}/withdraw")) == (409, "enquiry_state")
    theirs = build.master(build.customer(member=build.user())).pk
    for uid in (theirs, 10**9):  # the same for an account of others as for one that is not there
        assert us.post("enquiries", body | {"account_uid": uid}) == NOT_THERE
    sub = house.desk.sub.pk
    assert ok(us.post("enquiries", body | {"account_uid": sub}), 201)["account_uid"] == sub
