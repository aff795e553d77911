"""Statements, confirmations and histories over our own API: what was issued, and the books' rows (R-GEN-90…95)."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from loans import confirmations, statements
from loans.models import BalanceConfirmation
from loans.vip import expiry, repayment
from risk import accrual, gate
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans.visit import at
from tests.native import Native, browser, program

pytestmark = pytest.mark.django_db
FEBRUARY = datetime(2026, 2, 1, 3, tzinfo=UTC)
DAILY = "230.13698631"  # EX-01
LISTS = ["repayments", "interest", "flows", "liquidations", "adjustments", "orders"]


class World:
    """A loan of January, a thousand repaid on the 4th, five BTC more; the month is stated."""

    def __init__(self) -> None:
        self.desk = desks.set_up()
        self.loan = desks.drawn(self.desk)
        fourth = TEN + timedelta(days=3)
        accrual.accrue(at=fourth)
        desks.quote(fourth)
        repayment.repay(loan_id=self.loan.pk, amount=Decimal(1000), actor=self.desk.borrower, at=fourth)
        gate.deposit(account_uid=self.desk.sub.pk, asset="BTC", amount=Decimal(5), actor=BUILDER, at=fourth)
        expiry.expire_due(at=FEBRUARY)
        accrual.accrue(at=FEBRUARY)
        desks.quote(FEBRUARY)
        self.api = program(self.desk.master, self.desk.applicant)

    def stated(self) -> statements.Proof:
        row = statements.issue(
            customer_id=self.desk.owner.pk, month=date(2026, 1, 1), actor=BUILDER, at=FEBRUARY
        )
        return statements.verify(row, at=FEBRUARY)

    def asked(self) -> BalanceConfirmation:
        return confirmations.issue(
            customer_id=self.desk.owner.pk,
            as_of=datetime(2026, 2, 1, tzinfo=UTC),
            actor=BUILDER,
            at=FEBRUARY,
        )


@pytest.fixture
def world(db: None) -> Iterator[World]:
    made = World()
    with at(FEBRUARY):
        yield made


def stranger() -> Native:
    user = build.user()
    other = build.customer(member=user)
    return program(build.master(other), user)


# --- Statements ---------------------------------------------------------------------------------------------


def test_a_statement_is_given_as_it_was_issued(world: World) -> None:
    """R-GEN-94, R-FTR-08: list, body with its digest, paper, rows; and the ledger says the same today."""
    proof = world.stated()
    row = proof.statement
    path = f"statements/{row.pk}"
    status, told = world.api.get("statements")
    assert (status, told["total"]) == (200, 1)
    assert told["rows"][0]["month"] == "2026-01-01"
    assert told["rows"][0]["sha256"] == row.sha256
    _, detail = world.api.get(path)
    assert detail["body"] == row.body
    assert statements.digest(detail["body"]) == detail["sha256"]
    paper = world.api.client.get(f"/api/v1/{path}.pdf", headers=world.api.headers)
    assert (paper["Content-Type"], paper.content[:5]) == ("application/pdf", b"%PDF-")
    assert paper["Content-Disposition"] == 'attachment; filename="statement-2026-01.pdf"'
    rows = world.api.client.get(f"/api/v1/{path}.csv", headers=world.api.headers)
    assert rows["Content-Type"].startswith("text/csv")
    assert rows.content == statements.csv_of(row.body).content
    assert world.api.post(f"{path}/verify") == (200, {"holds": True, "sha256": row.sha256, "differs": []})


def test_statements_of_others_are_not_there(world: World) -> None:
    """R-GEN-95: of another firm, and for who acts for one account only."""
    row, other = world.stated().statement, stranger()
    bound = program(world.desk.sub, world.desk.applicant, "can_read")
    for end in ("", ".pdf", ".csv"):
        assert other.get(f"statements/{row.pk}{end}") == other.get(f"statements/999{end}")
        assert other.get(f"statements/{row.pk}{end}")[0] == 404
        assert bound.get(f"statements/{row.pk}{end}")[0] == 404
    assert other.post(f"statements/{row.pk}/verify")[0] == 404
    assert other.get("statements") == (200, {"rows": [], "total": 0})


# --- Confirmations ------------------------------------------------------------------------------------------


def test_a_confirmation_is_answered_once(world: World) -> None:
    """R-ADM-11, R-GEN-06"""
    row = world.asked()
    path = f"confirmations/{row.pk}"
    assert world.api.get("confirmations")[1]["rows"][0]["status"] == "waiting"
    assert world.api.get(path)[1]["body"] == row.body
    assert world.api.post(f"{path}/answer", {"agrees": False})[1]["code"] == "reason_needed"
    status, told = world.api.post(f"{path}/answer", {"agrees": True}, key="c1")
    assert (status, told["status"], told["answered_at"]) == (200, "confirmed", "2026-02-01T03:00:00Z")
    assert world.api.post(f"{path}/answer", {"agrees": True}, key="c1") == (200, told)
    assert world.api.post(f"{path}/answer", {"agrees": True})[1]["code"] == "already_answered"


def test_who_may_not_answer_leaves_it_waiting(world: World) -> None:
    """R-ADM-11, R-ADM-09, R-GEN-95"""
    row, viewer = world.asked(), browser(build.colleague(world.desk.owner, "viewer"))
    path = f"confirmations/{row.pk}"
    status, told = viewer.post(f"{path}/answer", {"agrees": True})
    assert (status, told["code"]) == (409, "not_your_part")
    assert stranger().get(path)[0] == 404
    assert stranger().post(f"{path}/answer", {"agrees": True}) == stranger().post(
        "confirmations/999/answer", {"agrees": True}
    )
    row.refresh_from_db()
    assert row.status == "waiting"


# --- Histories ----------------------------------------------------------------------------------------------


def test_the_rows_say_what_the_books_say(world: World) -> None:
    """R-GEN-90, R-GEN-91, R-GEN-92, R-GEN-93, EX-01: figures as text, ids as numbers, times with Z."""
    api, loan = world.api, world.loan
    status, told = api.get("histories/interest", size=100)
    assert (status, told["total"]) == (200, 31)
    first = told["rows"][-1]
    assert (first["loan"], first["interest"], first["annual_rate"], first["principal"]) == (
        loan.pk,
        DAILY,
        "0.084",
        "1000000",
    )
    assert (first["at"], first["formula"]) == ("2026-01-02T00:00:00Z", "1000000 x 0.084 / 365, rounded up")
    [paid] = api.get("histories/repayments")[1]["rows"]
    assert (paid["status"], paid["total"], paid["interest"], paid["principal"]) == (
        "Repaying",
        "1000",
        "690.41095893",
        "309.58904107",
    )
    [order] = api.get("histories/orders")[1]["rows"]
    assert (order["loan"], order["status"], order["rate"], order["term_days"]) == (
        loan.pk,
        "Overdue",
        "0.084",
        30,
    )
    assert order["collateral_accounts"] == [world.desk.sub.pk]
    flows = api.get("histories/flows", size=100)[1]["rows"]
    assert {row["type"] for row in flows} >= {"borrowIn", "interest", "repayAmount", "addCollateral"}
    adjusted = api.get("histories/adjustments")[1]["rows"]
    assert [row["effects"][0]["direction"] for row in adjusted] == ["ADDITIONAL", "ADDITIONAL"]
    assert adjusted[0]["effects"][0]["group"] == loan.group_id
    assert api.get("histories/liquidations") == (200, {"rows": [], "total": 0})


def test_a_period_leaves_its_first_instant_out(world: World) -> None:
    """R-GEN-90: January is (1 Jan 00:00, 1 Feb 00:00]; the charge of its last day is booked at its end."""

    def charges(**query: str) -> int:
        status, told = world.api.get("histories/interest", **query)
        assert status == 200, told
        return int(told["total"])

    assert charges(since="2026-01-01T00:00:00Z", until="2026-02-01T00:00:00Z") == 31
    assert charges(since="2026-01-01T00:00:00Z", until="2026-01-31T23:59:59Z") == 30
    assert charges(since="2026-01-02T00:00:00Z", until="2026-01-03T00:00:00Z") == 1
    assert charges(asset="BTC") == 0
    assert charges(loan=str(world.loan.pk)) == 31
    assert charges(loan="999") == 0


@pytest.mark.parametrize("name", LISTS)
def test_every_list_is_paged_and_strict(world: World, name: str) -> None:
    """R-GEN-90, B-18: in a constant number of queries."""
    path = f"histories/{name}"
    status, told = world.api.get(path, page=1000)
    assert (status, told["rows"]) == (200, [])
    for query in (
        {"since": "2026-01-04T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
        {"since": "2025-01-01T00:00:00Z"},
        {"since": "2026-01-01"},
        {"since": "2026-01-01T00:00:00"},
        {"since": "2026-13-01T00:00:00Z"},
        {"until": "9999-12-31T23:59:59Z"},
        {"asset": "DOGE"},
        {"loan": "L-0001"},
        {"account": "-1"},
        {"offset": "5"},
    ):
        assert world.api.get(path, **query)[0] == 400, query
    assert stranger().get(path) == (200, {"rows": [], "total": 0})

    with CaptureQueriesContext(connection) as one:
        world.api.get(path, size=1)
    with CaptureQueriesContext(connection) as many:
        world.api.get(path, size=100)
    assert len(many) <= len(one)


def test_who_acts_for_the_collateral_account_sees_its_coins_and_no_ltv(world: World) -> None:
    """R-GEN-95"""
    bound = program(world.desk.sub, world.desk.applicant, "can_read")
    for name in ("repayments", "interest", "orders", "liquidations"):
        assert bound.get(f"histories/{name}")[1]["total"] == 0
    [moved] = bound.get("histories/adjustments")[1]["rows"]
    assert moved["amount"] == "5"
    assert (moved["effects"][0]["ltv_before"], moved["effects"][0]["ltv_after"]) == (None, None)
