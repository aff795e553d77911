"""From the first midnight to overdue: what a loan charges over its life, through the commands (EX-01, 02, 06)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from accounts import books
from accounts.models import Notice
from loans import queries
from loans.lifecycle import LoanStatus
from loans.models import Loan, LoanEvent
from loans.tasks import expire as expire_task
from loans.vip import expiry, repayment
from loans.vip.expiry import NotDue
from risk import accrual
from risk.models import RiskEvent
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk, everything

pytestmark = pytest.mark.django_db
EXPIRY = datetime(2026, 1, 31, 10, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def mark(loan: Loan, at: datetime) -> Loan:
    return expiry.expire(loan_id=loan.pk, actor=expiry.JOB, at=at)


def test_a_fixed_loan_charges_the_same_each_day(desk: Desk) -> None:
    """EX-01: 30 runs of 230.13698631."""
    loan = desks.drawn(desk)

    accrual.accrue(at=EXPIRY)

    row = queries.loan_row(loan, at=EXPIRY)
    assert row.owed.interest == Decimal("6904.10958930")
    assert {charge.interest for charge in queries.charges(loan)} == {Decimal("230.13698631")}
    assert books.interest_income("USDT").balance == Decimal("6904.10958930")


def test_a_flexible_loan_charges_the_rate_of_each_day(desk: Desk) -> None:
    """EX-02: 8, 9 and 7.5 % on three days, whether booked or only pending."""
    build.flexible_rate("USDT", "0.09", at=datetime(2026, 1, 2, tzinfo=UTC))
    build.flexible_rate("USDT", "0.075", at=datetime(2026, 1, 3, tzinfo=UTC))
    loan = desks.drawn(desk, rate_type="flexible", term_days=None)
    fourth = datetime(2026, 1, 4, tzinfo=UTC)

    pending = queries.loan_row(loan, at=fourth)
    accrual.accrue(at=fourth)

    assert pending.owed == queries.loan_row(loan, at=fourth).owed
    assert pending.owed.interest == Decimal("671.23287673")
    assert [charge.interest for charge in queries.charges(loan)] == [
        Decimal("205.47945206"),
        Decimal("246.57534247"),
        Decimal("219.17808220"),
    ]


def test_an_unpaid_loan_is_overdue_and_costs_three_times_as_much(desk: Desk) -> None:
    """EX-06, R-VIP-43: after three overdue midnights 1,008,975.34246603 is owed."""
    loan = desks.drawn(desk)

    assert expiry.expire_due(at=EXPIRY) == 1
    accrual.accrue(at=FEBRUARY + timedelta(days=2))

    row = queries.loan_row(loan, at=FEBRUARY + timedelta(days=2))
    assert row.status == LoanStatus.OVERDUE
    assert row.owed.total == Decimal("1008975.34246603")
    late = queries.charges(loan)[0]
    assert (late.interest, late.late_fee) == (Decimal("230.13698631"), Decimal("460.27397260"))
    assert row.daily_interest == Decimal("690.41095891")
    assert row.liquidated_from == EXPIRY + timedelta(hours=168)
    assert books.late_fee_income("USDT").balance == 3 * Decimal("460.27397260")


def test_it_is_marked_from_its_expiry_however_late_the_job_comes(desk: Desk) -> None:
    """R-VIP-43, R-GEN-04: three days late writes what a punctual run would have."""
    loan = desks.drawn(desk)
    at = FEBRUARY + timedelta(days=2)

    expiry.expire_due(at=at)

    loan.debt.refresh_from_db()
    assert loan.debt.overdue_since == EXPIRY
    assert loan.debt.booked == Decimal("1008975.34246603")
    assert [event.kind for event in LoanEvent.objects.filter(loan=loan).order_by("pk")] == [
        "drawn",
        "overdue",
    ]
    assert RiskEvent.objects.filter(kind="debt_overdue", debt=loan.debt).count() == 1


def test_the_borrower_is_told_once_what_it_means(desk: Desk) -> None:
    """R-VIP-43, R-VIP-44, R-VIP-45"""
    loan = desks.drawn(desk)

    assert [expiry.expire_due(at=EXPIRY + timedelta(hours=hours)) for hours in range(3)] == [1, 0, 0]

    notice = Notice.objects.get(kind="loan_overdue")
    assert notice.event == f"loan:{loan.pk}:overdue"
    assert "1,006,904.1095893 USDT is owed" in notice.body
    assert "3 times the daily interest" in notice.body
    assert "by 7 February 2026, 10:00 UTC, collateral will be sold" in notice.body


def test_before_its_expiry_nothing_is_due(desk: Desk) -> None:
    """R-VIP-43: the instant of the expiry counts, the one before it does not."""
    loan = desks.drawn(desk)
    before = everything()
    early = EXPIRY - timedelta(microseconds=1)

    assert expiry.expire_due(at=early) == 0
    with pytest.raises(NotDue, match="not due yet"):
        mark(loan, early)

    assert everything() == before
    mark(loan, EXPIRY)
    with pytest.raises(NotDue, match="overdue already"):
        mark(loan, EXPIRY)


def test_open_and_repaid_loans_do_not_expire(desk: Desk) -> None:
    """R-VIP-40"""
    build.deposit(desk.master, "USDT", "10000")
    desks.drawn(desk, "500000", rate_type="flexible", term_days=None)
    repaid = desks.drawn(desk, "50000")
    repayment.repay(loan_id=repaid.pk, share=Decimal(1), actor=desk.borrower, at=TEN + timedelta(days=1))

    assert expiry.expire_due(at=EXPIRY + timedelta(days=100)) == 0


def test_an_overdue_loan_can_still_be_repaid(desk: Desk) -> None:
    """R-VIP-43, R-GEN-51"""
    loan = desks.drawn(desk)
    build.deposit(desk.master, "USDT", "10000")
    expiry.expire_due(at=EXPIRY)

    entry = repayment.repay(loan_id=loan.pk, share=Decimal(1), actor=desk.borrower, at=FEBRUARY)

    assert (entry.late_fee, entry.interest) == (Decimal("-460.27397260"), Decimal("-7134.24657561"))
    assert queries.loan_row(loan, at=FEBRUARY).status == LoanStatus.REPAID


def test_one_broken_loan_does_not_shield_the_others(desk: Desk) -> None:
    """A flexible debt of a coin without any published rate cannot be charged: somebody must look."""
    sound = desks.drawn(desk)
    build.fund_pool("USDC", "1")
    debt = build.debt(sound.group, "USDC", "1", rate=None, due_at=EXPIRY)
    broken = desks.booked(desk, debt, renews=sound)

    with pytest.raises(expiry.ExpiryIncomplete, match=rf"\[{broken.pk}\]"):
        expiry.expire_due(at=EXPIRY)

    sound.debt.refresh_from_db()
    debt.refresh_from_db()
    assert (sound.debt.overdue_since, debt.overdue_since) == (EXPIRY, None)


def test_the_task_marks_what_is_due_now(desk: Desk) -> None:
    loan = desks.drawn(desk)

    expire_task(sent_by="an older release")

    assert queries.loan_row(loan, at=EXPIRY).status == LoanStatus.OVERDUE
