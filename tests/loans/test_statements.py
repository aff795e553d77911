"""The monthly statement: exact figures, the same any later day, once per month, equal to the pages (R-GEN-94)."""

import csv
import io
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts.commands import acting
from accounts.models import Notice
from loans import histories, statements
from loans.histories import Asked, Scope
from loans.models import Loan, Statement
from loans.statements import Month, NotCharged, NothingOwed, NotOver
from loans.vip import expiry, repayment
from risk import accrual, debts, gate, sweep
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
JANUARY = Month(date(2026, 1, 1))
FEBRUARY_1 = datetime(2026, 2, 1, tzinfo=UTC)
DAILY = Decimal("230.13698631")  # EX-01


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


@pytest.fixture
def lived(desk: Desk) -> Loan:
    """January: drawn on the 1st, half repaid on the 11th, BTC falls to 50,000 on the 20th, due on the 31st."""
    loan = desks.drawn(desk)
    repayment.repay(loan_id=loan.pk, amount=Decimal(500_000), actor=desk.borrower, at=TEN + 10 * DAY)
    desks.quote(TEN + 19 * DAY, BTC="50000")
    gate.deposit(account_uid=desk.sub.pk, asset="BTC", amount=Decimal(1), actor=BUILDER, at=TEN + 20 * DAY)
    at = FEBRUARY_1 + HOUR
    expiry.expire_due(at=at)
    accrual.accrue(at=at)
    return Loan.objects.get(pk=loan.pk)


def body_of(desk: Desk, at: datetime = FEBRUARY_1 + 2 * HOUR) -> dict[str, Any]:
    return statements.of(desk.owner, JANUARY, at=at)


def total(parts: dict[str, str]) -> list[Decimal]:
    return [Decimal(parts[name]) for name in ("principal", "interest", "late_fee")]


def test_a_loans_month_has_opening_movements_charges_and_closing(desk: Desk, lived: Loan) -> None:
    """R-GEN-94, R-FTR-08, EX-01: 10 days on 1,000,000, 20 on 502,301.37, the last of them overdue."""
    [loan] = body_of(desk)["loans"]

    left = Decimal(1_000_000) - (500_000 - 10 * DAILY)
    assert total(loan["opening"]) == [0, 0, 0]
    assert [
        (move["kind"], Decimal(move["principal"]), Decimal(move["interest"])) for move in loan["movements"]
    ] == [
        ("borrow", Decimal(1_000_000), Decimal(0)),
        ("repayment", 10 * DAILY - 500_000, -10 * DAILY),
    ]
    assert all(isinstance(move["entry"], int) for move in loan["movements"] + loan["charges"])
    first, second, late = loan["segments"]
    assert (first["days"], first["basis"], Decimal(first["interest"])) == (10, "1000000", 10 * DAILY)
    day = Decimal("115.59812348")  # 502301.3698631 x 0.084 / 365, rounded up
    assert (second["days"], Decimal(second["basis"]), Decimal(second["daily_interest"])) == (20, left, day)
    assert (late["days"], Decimal(late["interest"])) == (1, day)
    assert Decimal(late["late_fee"]) == Decimal("231.19624695") == Decimal(late["daily_late_fee"])
    closing = total(loan["closing"])
    assert closing == [left, 21 * day, Decimal("231.19624695")]
    sums = [total(row) for row in loan["movements"]]
    sums += [[Decimal(0), Decimal(row["interest"]), Decimal(row["late_fee"])] for row in loan["charges"]]
    assert [sum(column) for column in zip(*sums, strict=True)] == closing


def test_the_sums_of_a_statement_are_those_of_the_pages(desk: Desk, lived: Loan) -> None:
    """R-GEN-94: interest, late fees, repayments and flows of January, page by page."""
    body = body_of(desk)
    [loan] = body["loans"]
    asked = Asked(JANUARY.since, JANUARY.until, size=100)
    mine = Scope(desk.owner)

    charged, paid = histories.interest(mine, asked), histories.repayments(mine, asked)
    assert charged.total == len(charged.rows) == 31
    assert sum(row.interest for row in charged.rows) == sum(
        Decimal(row["interest"]) for row in loan["segments"]
    )
    assert sum(row.late_fee for row in charged.rows) == sum(
        Decimal(row["late_fee"]) for row in loan["segments"]
    )
    assert [(row.total, row.entry_id) for row in paid.rows] == [
        (-Decimal(row["total"]), row["entry"]) for row in loan["movements"] if row["kind"] == "repayment"
    ]
    shown: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for row in histories.flows(mine, asked).rows:
        shown[row.type.value, row.asset] += row.amount
    assert shown == {(row["type"], row["asset"]): Decimal(row["amount"]) for row in body["totals"]}
    debt = Loan.objects.get(pk=lived.pk).debt
    assert Decimal(loan["closing"]["total"]) == debts.owed_at([debt], at=JANUARY.until)[debt.pk].parts.total


def test_daily_ltv_is_sampled_from_the_ledger_each_full_hour(desk: Desk, lived: Loan) -> None:
    """R-GEN-94: two thirds on the first day, higher after the fall, lower after the top-up."""
    [section] = body_of(desk)["ltv"]

    days = {row["day"]: row for row in section["days"]}
    assert len(days) == 31
    assert days["2026-01-01"] == {
        "day": "2026-01-01",
        "least": "0.666666666666",
        "most": "0.666820091324",  # the day's own charge, at 24:00
        "average": "0.666676894976",
        "hours": 15,
        "uncovered": 0,
        "unknown": 0,
    }
    assert Decimal(days["2026-01-20"]["most"]) > Decimal("0.40") > Decimal(days["2026-01-20"]["least"])
    assert Decimal(days["2026-01-21"]["least"]) < Decimal(days["2026-01-20"]["most"])
    assert section["month"]["hours"] == 15 + 30 * 24


def test_collateral_and_wallets_open_move_and_close(desk: Desk, lived: Loan) -> None:
    """R-GEN-94, R-GEN-93"""
    body = body_of(desk)

    [pledged] = body["collateral"]
    assert (pledged["asset"], pledged["opening"], pledged["closing"]) == ("BTC", "0", "26")
    assert [(row["type"], row["amount"]) for row in pledged["movements"]] == [
        ("addCollateral", "25"),
        ("addCollateral", "1"),
    ]
    wallets = {(row["account"], row["asset"]): (row["opening"], row["closing"]) for row in body["wallets"]}
    assert wallets == {
        (desk.master.pk, "USDT"): ("0", "500000"),
        (desk.sub.pk, "BTC"): ("25", "26"),
    }


def test_it_is_the_same_any_later_day(desk: Desk, lived: Loan) -> None:
    """R-GEN-94: repaying, new prices, ratios and lines, another loan and a new name change nothing in it."""
    issued = statements.issue(
        customer_id=desk.owner.pk, month=JANUARY.first, actor=desk.decider, at=FEBRUARY_1 + 2 * HOUR
    )
    at = FEBRUARY_1 + 10 * DAY
    build.deposit(desk.master, "USDT", "100000", at=at)
    desks.quote(at, BTC="70000")
    build.ratios("BTC", ("0", "0.8"), at=at)
    build.limits("0.5", "0.6", "0.7", "0.8", at=at)
    build.flexible_rate("USDT", "0.2", at=at)
    repayment.repay(loan_id=lived.pk, share=Decimal(1), actor=desk.borrower, at=at)
    with acting(BUILDER):
        desk.owner.name = "Renamed"
        desk.owner.save(update_fields=["name"])

    proof = statements.verify(issued, at=at + DAY)

    assert (proof.holds, proof.sha256, proof.differs) == (True, issued.sha256, ())
    assert statements.recompute(issued, at=at + 100 * DAY) == issued.body


def test_a_statement_that_is_not_the_ledgers_is_found_out(desk: Desk, lived: Loan) -> None:
    """R-GEN-94: verify says which part differs."""
    issued = statements.issue(
        customer_id=desk.owner.pk, month=JANUARY.first, actor=desk.decider, at=FEBRUARY_1 + 2 * HOUR
    )
    issued.body["totals"][0]["amount"] = "1"

    proof = statements.verify(issued, at=FEBRUARY_1 + DAY)

    assert proof.differs == ("totals", "the kept body is not the one its digest is of")


def test_it_is_issued_once_with_a_notice(desk: Desk, lived: Loan) -> None:
    """R-GEN-94: the job and a second run."""
    at = FEBRUARY_1 + 2 * HOUR
    assert statements.issue_due(at=FEBRUARY_1 + HOUR) == 0  # not before 02:00
    assert statements.issue_due(at=at) == 1
    assert statements.issue_due(at=at + HOUR) == 0

    [row] = Statement.objects.all()
    assert (row.customer, row.month, row.made_at) == (desk.owner, JANUARY.first, at)
    assert row.sha256 == statements.digest(row.body)
    assert bytes(row.pdf).startswith(b"%PDF")
    assert Notice.objects.filter(kind="statement").count() == 1
    assert statements.tampered() == []


def test_an_outage_of_weeks_is_caught_up(desk: Desk, lived: Loan) -> None:
    """R-GEN-94: the database is the schedule."""
    at = datetime(2026, 3, 15, tzinfo=UTC)
    accrual.accrue(at=at)

    assert statements.issue_due(at=at) == 2
    assert list(Statement.objects.order_by("month").values_list("month", flat=True)) == [
        date(2026, 1, 1),
        date(2026, 2, 1),
    ]


def test_a_month_that_is_not_over_not_charged_or_empty_is_refused(desk: Desk) -> None:
    """R-GEN-94: the reason and when it will be possible; nothing is kept."""
    desks.drawn(desk, term_days=60)

    with pytest.raises(NotOver, match="ends on 1 February 2026 00:00 UTC"):
        body_of(desk, at=FEBRUARY_1 - timedelta(seconds=1))
    with pytest.raises(NotCharged, match="not booked yet"):
        body_of(desk, at=FEBRUARY_1)
    with pytest.raises(NothingOwed):
        statements.of(desk.owner, JANUARY.before, at=FEBRUARY_1)
    assert statements.issue_due(at=FEBRUARY_1 + 2 * HOUR) == 0
    assert not Statement.objects.exists()
    accrual.accrue(at=FEBRUARY_1)
    assert body_of(desk, at=FEBRUARY_1)["loans"][0]["closing"]["interest"] == str(
        31 * Decimal("246.57534247")
    )


def test_sales_stand_in_it_with_the_fee(desk: Desk) -> None:
    """R-GEN-94, EX-10: the liquidation of 25 BTC at 44,000."""
    loan = desks.drawn(desk)
    at = datetime(2026, 1, 31, 9, tzinfo=UTC)
    accrual.accrue(at=at)
    for moment in (at, at + timedelta(seconds=10)):
        desks.quote(moment, BTC="44000")
        sweep.sweep(at=moment)

    body = body_of(desk)

    [sold] = body["liquidations"]
    [sale] = sold["sales"]
    assert (sold["group"], sold["cause"], sale["coin"], sale["sold"]) == (
        loan.group_id,
        "ltv",
        "BTC",
        "23.341868",
    )
    assert sale["fee"] == "20138.08219179"
    [pledged] = body["collateral"]
    assert [row["type"] for row in pledged["movements"]] == [
        "addCollateral",
        "collateralReturn",
        "collateralSpent",
    ]
    assert pledged["closing"] == "0"
    assert sum(Decimal(row["amount"]) for row in pledged["movements"]) == 0
    [told] = body["loans"]
    assert (told["closed"]["as"], told["closing"]["total"]) == ("liquidated", "0")


def test_the_files_have_every_line_and_the_digest(desk: Desk, lived: Loan) -> None:
    """R-GEN-94, R-FTR-08: CSV with plain figures; a PDF of the same bytes for the same date."""
    told: list[tuple[int, int]] = []
    arguments = {"customer": desk.owner.pk, "month": "2026-01"}
    at = FEBRUARY_1 + 2 * HOUR

    file = statements.as_csv(arguments, at, lambda done, of: told.append((done, of)))
    rows = list(csv.DictReader(io.StringIO(file.content.decode())))
    paper = [statements.as_pdf(arguments, at, lambda done, of: None) for _ in range(2)]

    assert told == [(1, 1)]
    assert (file.name, paper[0].name) == ("statement-2026-01.csv", "statement-2026-01.pdf")
    charges = [row for row in rows if row["what"] == "charge"]
    assert (len(charges), charges[0]["interest"], charges[0]["annual_rate"]) == (31, "230.13698631", "0.084")
    [paid] = [row for row in rows if row["what"] == "repayment"]
    assert paid["amount"] == "-500000"
    assert rows[-1]["note"] == statements.digest(body_of(desk))
    assert paper[0].content == paper[1].content
    assert paper[0].content.startswith(b"%PDF")
