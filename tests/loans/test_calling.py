"""Calling an open loan back: notice, who may, what follows (R-VIP-44, R-ADM-05)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse

from accounts.commands import Actor, NotYourRole, acting
from accounts.models import AuditRecord, Notice
from loans import queries, ratecards
from loans.lifecycle import LoanStatus
from loans.models import Loan, LoanEvent
from loans.vip import calling, expiry, reminders, renewal, repayment
from loans.vip.calling import BadCall, NotCallable, NotYourClient
from risk import accrual, overdue, overdue_sales
from risk.models import RiskEvent
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans import visit
from tests.loans.desk import Desk, everything
from tests.loans.test_pages_borrower import text_of

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DUE = TEN + 24 * HOUR
DAILY = Decimal("219.17808220")  # 8 % flexible on 1,000,000


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def open_loan(desk: Desk) -> Loan:
    return desks.drawn(desk, rate_type="flexible", term_days=None)


def call(desk: Desk, loan: Loan, **changes: Any) -> Loan:
    asked: dict[str, Any] = {"due_at": DUE, "reason": "The coin is scarce", "actor": desk.decider, "at": TEN}
    return calling.call_loan(loan_id=loan.pk, **asked | changes)


def test_a_call_sets_a_due_date_and_tells_the_borrower_why(desk: Desk) -> None:
    """R-VIP-44, R-ADM-05: logged with before and after."""
    loan = open_loan(desk)

    call(desk, loan)

    loan.debt.refresh_from_db()
    assert (loan.debt.called_at, loan.debt.due_at, loan.debt.overdue_since) == (TEN, DUE, None)
    assert queries.loan_row(loan, at=TEN).status == LoanStatus.ACCRUING
    notice = Notice.objects.get(kind="loan_called")
    assert notice.title == f"{loan} is called: repay it by 2 January 2026, 10:00 UTC"
    assert "The coin is scarce. 1,000,219.1780822 USDT closes it now" in notice.body
    assert RiskEvent.objects.filter(kind="debt_called", debt=loan.debt).count() == 1
    event = LoanEvent.objects.get(loan=loan, kind="called")
    assert event.actor == desk.decider.label
    row = (
        AuditRecord.objects.filter(subject=f"risk_debt:{loan.debt_id}", kind="update").order_by("-pk").first()
    )
    assert row is not None
    assert row.before["due_at"] is None
    assert row.after["due_at"].startswith("2026-01-02")


def test_its_rate_goes_on_and_then_it_is_overdue_like_any_loan(desk: Desk) -> None:
    """R-VIP-44, R-VIP-43, R-VIP-45: the flexible rate, three times after the due date, sold 168 h after it."""
    loan = open_loan(desk)
    call(desk, loan)
    build.flexible_rate("USDT", "0.09", at=datetime(2026, 1, 2, tzinfo=UTC))

    expiry.expire_due(at=DUE)
    accrual.accrue(at=TEN + 2 * DAY)

    loan.debt.refresh_from_db()
    assert loan.debt.overdue_since == DUE
    first, late = queries.charges(loan).order_by("at")
    assert (first.interest, first.late_fee) == (DAILY, 0)
    assert (late.interest, late.interest + late.late_fee) == (
        Decimal("246.57534247"),
        Decimal("739.72602740"),
    )
    assert overdue.ends_at(loan.debt) == DUE + 168 * HOUR
    at = DUE + 168 * HOUR
    build.prices(at, BTC="100000", USDT="1")
    assert overdue_sales.run_overdue(at=at).liquidated == (loan.debt_id,)


def test_it_is_repaid_as_ever_before_that(desk: Desk) -> None:
    """R-VIP-27, R-VIP-44"""
    loan = open_loan(desk)
    build.deposit(desk.master, "USDT", "1000")
    call(desk, loan)

    repayment.repay(loan_id=loan.pk, share=Decimal(1), actor=desk.borrower, at=DUE - HOUR)

    assert expiry.expire_due(at=DUE) == 0
    assert queries.loan_row(loan, at=DUE).status == LoanStatus.REPAID


def test_it_does_not_renew(desk: Desk) -> None:
    """R-VIP-40, R-VIP-44"""
    loan = open_loan(desk)
    call(desk, loan)
    before = everything()

    with pytest.raises(
        renewal.NotRenewable, match="was called: it does not renew. Repay it by 2 January 10:00"
    ):
        renewal.renew(loan_id=loan.pk, term_days=30, actor=desk.borrower, at=TEN + HOUR)

    assert everything() == before


@pytest.mark.parametrize("hours", [24, 72])
def test_the_notice_is_what_the_product_gives(desk: Desk, hours: int) -> None:
    """R-VIP-44: a microsecond less is refused, and the message says from when on."""
    loan = open_loan(desk)
    if hours != 24:
        with acting(BUILDER):
            terms = ratecards.product_at("vip", at=TEN)
            terms.effective_at, terms.call_notice_hours = TEN - DAY, hours
            terms.save()
    earliest = TEN + hours * HOUR
    assert calling.earliest_due_at(loan, at=TEN) == earliest
    before = everything()

    with pytest.raises(
        BadCall, match=rf"at least {hours} hours .* from {earliest:%-d} January 2026 10:00 UTC on"
    ):
        call(desk, loan, due_at=earliest - timedelta(microseconds=1))
    with pytest.raises(BadCall, match="at most a year"):
        call(desk, loan, due_at=TEN + 366 * DAY)
    with pytest.raises(BadCall, match="Say why"):
        call(desk, loan, due_at=earliest, reason=" ")

    assert everything() == before
    call(desk, loan, due_at=earliest)


def test_only_an_open_loan_is_called_and_once(desk: Desk) -> None:
    """R-VIP-44"""
    loan, term_loan = open_loan(desk), desks.drawn(desk, "50000")
    call(desk, loan)
    before = everything()

    with pytest.raises(NotCallable, match="was called for 2 January 2026 10:00 UTC"):
        call(desk, loan, due_at=DUE + DAY)
    with pytest.raises(NotCallable, match="expires on 31 January 2026 10:00 UTC; only an open loan"):
        call(desk, term_loan)

    assert everything() == before


def test_its_clients_manager_or_a_risk_officer_calls_it_and_nobody_else(desk: Desk) -> None:
    """R-ADM-05, R-VIP-44"""
    loan = open_loan(desk)
    before = everything()

    with pytest.raises(NotYourClient):
        call(desk, loan, actor=Actor.user(build.user("vip_manager")))
    for role in ("borrower", "auditor", "finance"):
        with pytest.raises(NotYourRole):
            call(desk, loan, actor=Actor.user(build.user(role)))

    assert everything() == before
    call(desk, loan, actor=Actor.user(build.user("risk_officer")))


def test_a_reminder_of_a_step_that_the_call_itself_told_is_not_sent(desk: Desk) -> None:
    """R-VIP-46, R-VIP-44: called with a day's notice, the next word comes an hour before."""
    loan = open_loan(desk)
    call(desk, loan)

    assert [reminders.remind_due(at=TEN + hours * HOUR) for hours in (0, 1, 22, 23)] == [0, 0, 0, 1]
    assert "Repay it by then" in Notice.objects.get(kind="loan_due").body


# --- The pages ------------------------------------------------------------------------------------------


def test_the_manager_calls_it_on_the_desk_and_both_see_it(desk: Desk) -> None:
    """R-VIP-44: form, refusal in words, then the call; the borrower's pages say so."""
    loan = open_loan(desk)
    at, page = reverse("loans:desk_call", args=[loan.pk]), reverse("loans:loan", args=[loan.pk])
    with visit.at(TEN):
        manager, borrower = visit.client_of(desk.manager), visit.client_of(desk.applicant)
        assert at in manager.get(page).content.decode()
        assert at not in borrower.get(page).content.decode()
        assert "2 Jan 2026, 10:00 UTC" in text_of(manager.get(at))
        form = {"key": str(uuid4()), "due_at": "2026-01-02 09:59", "reason": "Scarce"}
        refused = manager.post(at, form)
        assert refused.status_code == 422
        assert "A call gives at least 24 hours" in text_of(refused)
        assert manager.post(at, {"key": str(uuid4()), "due_at": "soon"}).status_code == 422
        done = manager.post(at, form | {"key": str(uuid4()), "due_at": "2026-01-02 10:00"})
        assert done["Location"] == page
        assert (
            "The desk wants this open loan back by 2 Jan 2026, 10:00 UTC: Scarce. Until then it costs what it did"
            in text_of(borrower.get(page))
        )
        assert "Called back." in text_of(borrower.get(reverse("loans:home")))
        assert manager.get(at).status_code == 302


def test_the_call_page_is_for_its_manager_and_risk_officers(desk: Desk) -> None:
    """R-VIP-44: a borrower and another manager find nothing; an auditor is told no."""
    loan = open_loan(desk)
    at = reverse("loans:desk_call", args=[loan.pk])
    with visit.at(TEN):
        found = {
            role: visit.client_of(build.user(role)).get(at).status_code
            for role in ("borrower", "vip_manager", "auditor", "risk_officer")
        }
    assert found == {"borrower": 404, "vip_manager": 404, "auditor": 403, "risk_officer": 200}
