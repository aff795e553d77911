"""The shapes pages read: exact figures, and a number of queries that does not grow with the rows."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from loans import queries
from loans.lifecycle import LoanStatus
from loans.models import Application, Loan
from loans.vip import origination, repayment
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def count_of(rows: object) -> int:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        assert callable(rows)
        assert rows()
    return len(captured)


def test_a_row_shows_what_is_owed_pending_interest_included(desk: Desk) -> None:
    """R-GEN-91, R-VIP-33: nothing is booked yet and three days are shown."""
    loan = desks.drawn(desk)

    row = queries.loan_row(loan, at=TEN + 3 * DAY)

    assert (row.status, row.is_open) == (LoanStatus.ACCRUING, True)
    assert row.owed.interest == 3 * Decimal("230.13698631")
    assert (row.annual_rate, row.daily_interest) == (Decimal("0.084"), Decimal("230.13698631"))
    assert row.liquidated_from is None


def test_lists_cost_the_same_however_long(desk: Desk) -> None:
    desks.drawn(desk, "500000")
    desks.submitted(desk, "50000")
    lists = (
        lambda: queries.loan_rows(Loan.objects.visible_to(desk.applicant), at=TEN),
        lambda: queries.request_rows(Application.objects.visible_to(desk.applicant)),
        lambda: queries.queue(Application.objects.visible_to(desk.manager)),
    )
    short = [count_of(rows) for rows in lists]

    for _ in range(3):
        desks.drawn(desk, "50000")
        desks.submitted(desk, "50000")

    assert [count_of(rows) for rows in lists] == short
    assert [len(rows()) for rows in lists] == [4, 8, 4]


def test_strangers_see_nothing(desk: Desk) -> None:
    desks.drawn(desk)
    desks.submitted(desk, "50000")

    for stranger in (build.user(), build.user("vip_manager")):
        assert queries.loan_rows(Loan.objects.visible_to(stranger), at=TEN) == []
        assert queries.queue(Application.objects.visible_to(stranger)) == []


def test_the_queue_is_oldest_first_and_holds_what_waits(desk: Desk) -> None:
    """R-VIP-12"""
    later, first = (
        desks.submitted(desk, "500000", at=TEN + wait) for wait in (timedelta(seconds=9), timedelta())
    )
    decided = desks.submitted(desk, "500000")
    origination.reject(application_id=decided.pk, actor=desk.decider, at=TEN, reason="No.")

    waiting = queries.queue(Application.objects.visible_to(desk.manager))
    mine = queries.request_rows(Application.objects.visible_to(desk.applicant))

    assert [row.application for row in waiting] == [first, later]
    assert {row.application for row in mine} == {first, later, decided}
    assert [line.asset_id for line in waiting[0].lines] == ["USDT"]


def test_the_ledger_of_a_loan_tells_charges_from_payments(desk: Desk) -> None:
    """R-GEN-90"""
    loan = desks.drawn(desk)
    repayment.repay(loan_id=loan.pk, amount=Decimal(1000), actor=desk.borrower, at=TEN + 2 * DAY)

    assert [row.kind for row in queries.charges(loan)] == ["charge", "charge"]
    assert [(row.kind, row.interest) for row in queries.payments(loan)] == [
        ("repayment", Decimal("-460.27397262"))
    ]
    assert [event.kind for event in queries.history(loan)] == ["drawn", "repayment"]
