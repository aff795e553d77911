"""A loan's whole life over /api/v1, with exact figures, and the same request sent twice."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from loans.models import Application, Loan
from loans.vip import sheets
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans import native, supplies, talks, visit
from tests.loans.desk import Desk, everything
from tests.loans.native import WANTED, asking, ok, refusal
from tests.native import Native

pytestmark = pytest.mark.django_db
THIRD = datetime(2026, 1, 3, 9, tzinfo=UTC)
DAY_26 = datetime(2026, 1, 26, 9, tzinfo=UTC)


@pytest.fixture
def desk(db: None) -> Desk:
    desk = desks.set_up()
    for at in (THIRD, DAY_26):
        desks.quote(at)
    return desk


@pytest.fixture
def us(desk: Desk) -> Native:
    return native.of(desk)


def negotiated(desk: Desk, us: Native) -> dict:
    """Checked, other terms asked for: 8 % instead of 8.4 %."""
    sheet = ok(us.post("applications/check", asking(desk)))
    wish = asking(desk, accepted=sheet["fingerprint"], wanted=WANTED, message="Please.")
    return ok(us.post("applications/negotiate", wish), 201)


def drawn(desk: Desk, us: Native) -> int:
    """Negotiated to 8.2 %, accepted and paid out; the loan's id."""
    number = negotiated(desk, us)["id"]
    row = Application.objects.get(pk=number)
    talks.move("counter_offer", row, desk, wanted=talks.wanted("0.082"))
    ok(us.post(f"applications/{number}/offers/3/accept"))
    desks.approved(desk, row)
    [line] = ok(us.get(f"applications/{number}"))["loans"]
    return line["loan"]


def test_from_the_check_to_the_last_payment(desk: Desk, us: Native) -> None:
    """R-VIP-11, R-VIP-14, R-VIP-30, R-VIP-34, R-VIP-40…42: every figure as the books have it."""
    with visit.at(TEN):
        sheet = ok(us.post("applications/check", asking(desk)))
        assert (sheet["is_acceptable"], sheet["problems"], sheet["value_usd"]) == (True, [], "1000000")
        [coin] = sheet["loans"]
        assert (coin["annual_rate"], coin["daily_interest"]) == ("0.084", "230.13698631")
        assert coin["max_borrow"] == "1080000"
        effect = sheet["effect"]
        assert (effect["ltv_now"], effect["ltv_after"]) == ("0", "0.666666666666")
        assert effect["lines"] == {name: WANTED[name] for name in effect["lines"]}
        assert effect["collateral"][0]["liquidation_price"] == "43956.04395604"
        assert sheet["wanted"] == WANTED | {"rates": [{"asset": "USDT", "rate": "0.084"}]}
        assert not Application.objects.exists()
        number = drawn(desk, us)
        loan = ok(us.get(f"loans/{number}"))
        assert (loan["status"], loan["amount"], loan["annual_rate"]) == (
            "Accruing interest",
            "1000000",
            "0.082",
        )
        assert (loan["drawn_at"], loan["due_at"]) == ("2026-01-01T10:00:00Z", "2026-01-31T10:00:00Z")
        assert loan["renewal"]["opens_at"] == "2026-01-24T00:00:00Z"
        assert loan["renewal"]["reasons"][0].startswith("Renewal opens on 24 January 00:00 UTC")

    with visit.at(THIRD):
        owed = ok(us.get(f"loans/{number}"))["owed"]
        assert owed == {
            "principal": "1000000",
            "interest": "449.3150685",
            "late_fee": "0",
            "total": "1000449.3150685",
        }
        paid = ok(us.post(f"loans/{number}/repay", {"amount": "100449.3150685"}, key="pay-1"))
        assert (paid["interest"], paid["principal"], paid["total"]) == (
            "449.3150685",
            "100000",
            "100449.3150685",
        )
        rows = ok(us.get(f"loans/{number}/charges"))["rows"]
        assert [row["interest"] for row in rows] == ["224.65753425", "224.65753425"]
        assert [row["period_end"] for row in rows] == ["2026-01-03T00:00:00Z", "2026-01-02T00:00:00Z"]

    with visit.at(DAY_26):
        assert ok(us.get(f"loans/{number}"))["renewal"]["reasons"] == []
        new = ok(us.post(f"loans/{number}/renew", {"term_days": 30}, key="renew-1"), 201)
        assert (new["renews_id"], new["amount"], new["due_at"]) == (number, "900000", "2026-03-02T10:00:00Z")
        # 1,000,000 came in, 100,449.3150685 was repaid, 23 days of 202.19178083 were paid at the renewal
        assert build.balance(desk.master, "USDT") == Decimal("894900.27397241")
        old = ok(us.get(f"loans/{number}"))
        assert (old["status"], old["renewal"], old["renewed_by_id"]) == ("Renewed", None, new["id"])
        build.deposit(desk.master, "USDT", "6000", at=DAY_26)
        last = ok(us.post(f"loans/{new['id']}/repay", {"share": "1"}))
        assert (last["total"], last["kind"]) == ("900000", "repayment")
        assert build.balance(desk.master, "USDT") == Decimal("900.27397241")
        done = ok(us.get(f"loans/{new['id']}"))
        assert (done["status"], done["is_open"], done["payoff"]) == ("Repaid", False, "0")
        assert ok(us.get("loans", status="open")) == {"rows": [], "total": 0}
        assert ok(us.get("loans", status="closed"))["total"] == 2
        kinds = [row["kind"] for row in ok(us.get(f"loans/{number}/payments"))["rows"]]
        assert kinds == ["renewal", "repayment", "repayment"]


def test_the_same_key_twice_is_one_effect_and_the_same_answer(desk: Desk, us: Native) -> None:
    """R-GEN-06, TRUST I-25: a payment, a request, a renewal; another body with that key is refused."""
    with visit.at(TEN):
        number = drawn(desk, us)
    with visit.at(THIRD):
        first = us.post(f"loans/{number}/repay", {"amount": "50000"}, key="pay")
        before = everything()
        again = us.post(f"loans/{number}/repay", {"amount": "50000"}, key="pay")
        assert first == again
        other = us.post(f"loans/{number}/repay", {"amount": "50001"}, key="pay")
        assert refusal(other) == (409, "idempotency_key_reused")
        elsewhere = us.post(f"loans/{number}/auto-repay", {"on": True}, key="pay")
        assert refusal(elsewhere) == (409, "idempotency_key_reused")
        assert everything() == before
        on = us.post(f"loans/{number}/auto-repay", {"on": True}, key="auto")
        assert ok(on) == {"loan_id": number, "auto_repay": True}
        assert us.post(f"loans/{number}/auto-repay", {"on": True}, key="auto") == on
        assert refusal(us.post(f"loans/{number}/auto-repay", {"on": True})) == (
            409,
            "auto_repay_not_switchable",
        )
    with visit.at(DAY_26):
        renewed = us.post(f"loans/{number}/renew", {"term_days": 60}, key="renew")
        assert us.post(f"loans/{number}/renew", {"term_days": 60}, key="renew") == renewed
        assert Loan.objects.count() == 2


def test_accepting_the_published_terms_once(desk: Desk, us: Native) -> None:
    """R-VIP-11, R-GEN-06: a repeat with other prices is the same request; stale terms are not accepted."""
    with visit.at(TEN):
        sheet = ok(us.post("applications/check", asking(desk)))
        body = asking(desk, accepted=sheet["fingerprint"])
        first = ok(us.post("applications", body, key="ask"), 201)
        assert (first["status"], first["accepted_version"], first["is_live"]) == ("submitted", 1, True)
        desks.quote(TEN, BTC="61000")
        assert ok(us.post("applications", body, key="ask"), 201)["id"] == first["id"]
        assert Application.objects.count() == 1
        before = everything()
        other = asking(desk, accepted="0" * 64)
        assert refusal(us.post("applications", other)) == (409, "terms_changed")
        assert everything() == before


def test_what_stands_in_the_way_is_said_field_by_field(desk: Desk, us: Native) -> None:
    """R-VIP-05, R-VIP-13, R-VIP-20: in the check as in the refusal, and nothing is written."""
    with visit.at(TEN):
        before = everything()
        bad = asking(desk, term_days=45, wishes=[{"asset": "USDT", "amount": "2000000"}])
        sheet = ok(us.post("applications/check", bad))
        found = {(one["field"], one["code"]) for one in sheet["problems"]}
        assert found >= {("term_days", "bad_term"), ("account_uids", "ltv_too_high")}
        assert not sheet["is_acceptable"]
        answer = us.post("applications", bad | {"accepted": sheet["fingerprint"]})
        assert refusal(answer) == (409, "terms_refused")
        assert answer[1]["problems"] == sheet["problems"]
        assert everything() == before


def test_the_negotiation_by_turns(desk: Desk, us: Native) -> None:
    """R-VIP-11, R-VIP-24: versions with what changed, declined, countered, and taken back."""
    with visit.at(TEN):
        room = negotiated(desk, us)
        number = room["id"]
        assert (room["status"], room["last_version"], room["open_version"]) == ("negotiating", 2, None)
        mine = us.post(f"applications/{number}/offers/2/accept")
        assert refusal(mine) == (409, "application_state")  # it is not the desk's
        row = Application.objects.get(pk=number)
        talks.move("counter_offer", row, desk, wanted=talks.wanted("0.083"), message="Best we can.")
        assert ok(us.get(f"applications/{number}"))["open_version"] == 3
        offer = ok(us.get(f"applications/{number}/offers/3"))
        assert (offer["terms"]["rates"][0]["rate"], offer["changed"]) == ("0.083", ["rate.USDT"])
        assert offer["review"]["loans"][0]["daily_interest"] == "227.39726028"
        assert (offer["review"]["effect"]["ltv_after"], offer["review"]["problems"]) == ("0.666666666666", [])
        assert ok(us.get(f"applications/{number}/offers/2"))["review"] is None
        assert us.get(f"applications/{number}/offers/9")[0] == 404
        declined = ok(us.post(f"applications/{number}/offers/3/decline"))
        assert (declined["status"], declined["message"]) == ("declined", "Best we can.")
        assert refusal(us.post(f"applications/{number}/offers/3/counter", WANTED | {"fee": "2"})) == (
            409,
            "bad_terms",
        )
        again = ok(
            us.post(f"applications/{number}/offers/3/counter", WANTED | {"term_days": 45}, key="c"), 201
        )
        assert (again["version"], again["changed"]) == (4, ["rate.USDT", "term_days"])
        assert again["terms"] == WANTED | {"term_days": 45}
        offers = ok(us.get(f"applications/{number}/offers", size=2))
        assert (offers["total"], [one["version"] for one in offers["rows"]]) == (4, [4, 3])
        older = ok(us.get(f"applications/{number}/offers", size=2, page=2))["rows"]
        assert [(one["version"], one["changed"]) for one in older] == [(2, ["rate.USDT"]), (1, [])]
        assert all(sheets.digest(one["body"]) == one["sha256"] for one in [*offers["rows"], *older])
        gone = ok(us.post(f"applications/{number}/cancel", key="cancel"))
        assert (gone["status"], gone["is_live"]) == ("cancelled", False)
        assert ok(us.post(f"applications/{number}/cancel", key="cancel")) == gone
        assert [one["kind"] for one in gone["timeline"]] == [
            "negotiating",
            "offered",
            "negotiating",
            "countered",
            "cancelled",
        ]
        assert refusal(us.post(f"applications/{number}/cancel")) == (409, "application_state")
        assert refusal(us.post(f"applications/{number}/offers/4/accept"))[0] == 409
        assert ok(us.get("applications", status="cancelled"))["total"] == 1
        assert ok(us.get("applications", status="submitted")) == {"rows": [], "total": 0}


def test_the_sheet_and_its_paper(desk: Desk, us: Native) -> None:
    """R-VIP-15: the digest is that of the body, and the paper is the one that was signed."""
    with visit.at(TEN):
        number = drawn(desk, us)
        told = ok(us.get(f"loans/{number}/sheet"))
        assert told["sha256"] == sheets.digest(told["body"])
        assert told["body"]["loans"] == [
            {"asset": "USDT", "amount": "1000000", "rate": "0.082", "spread": "0"}
        ]
        sheet = Loan.objects.get(pk=number).sheet
        us.headers["Accept"] = "application/pdf"
        paper = us.client.get(f"/api/v1/loans/{number}/sheet.pdf", headers=us.headers)
        assert (paper.status_code, paper["Content-Type"]) == (200, "application/pdf")
        assert paper.content == bytes(sheet.pdf)
        assert refusal(us.get(f"loans/{number + 1}/sheet.pdf")) == (404, "not_found")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"amount": "1000000000"}, "more_than_owed"),
        ({"amount": "999999"}, "leaves_dust"),
        ({"amount": "1", "share": "1"}, "bad_repayment"),
        ({}, "bad_repayment"),
        ({"share": "1.5"}, "bad_repayment"),
        ({"share": "0"}, "bad_repayment"),
    ],
)
def test_a_repayment_that_is_refused_moves_nothing(desk: Desk, us: Native, body: dict, code: str) -> None:
    """R-GEN-52, R-VIP-34"""
    with visit.at(TEN):
        number = drawn(desk, us)
        before = everything()
        assert refusal(us.post(f"loans/{number}/repay", body)) == (409, code)
        assert refusal(us.post(f"loans/{number}/renew", {"term_days": 30})) == (409, "not_renewable")
        assert everything() == before


def test_lists_and_one_loan_cost_the_same_however_many_there_are(desk: Desk, us: Native) -> None:
    """R-GEN-91: a constant number of queries."""
    with visit.at(TEN):
        number = drawn(desk, us)
        paths = ("loans", "applications", f"loans/{number}", "limits", "rates", "me")
        few = {path: _queries(us, path) for path in paths}
        build.deposit(desk.sub, "BTC", "75")
        for _ in range(3):
            desks.drawn(desk, "100000")
        assert ok(us.get("loans"))["total"] == 4
        assert {path: _queries(us, path) for path in paths} == few


def _queries(us: Native, path: str) -> int:
    with CaptureQueriesContext(connection) as asked:
        ok(us.get(path))
    return len(asked)


def test_a_loan_of_the_market_says_that_it_goes_on(desk: Desk, us: Native) -> None:
    """R-VIP-26: at the flexible rate, unless it repays itself; a loan from the desk does not."""
    with visit.at(TEN):
        number = drawn(desk, us)
        assert ok(us.get(f"loans/{number}"))["converts"] is False
        build.deposit(desk.sub, "BTC", "50")
        order = supplies.entered()
        loan = supplies.taken(desk, supplies.of(order, "100000"), auto_repay=False)
        assert ok(us.get(f"loans/{loan.pk}"))["converts"] is True
        ok(us.post(f"loans/{loan.pk}/auto-repay", {"on": True}))
        assert ok(us.get(f"loans/{loan.pk}"))["converts"] is False
