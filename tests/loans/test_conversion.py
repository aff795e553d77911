"""What becomes of a loan of the fixed-rate market at its expiry: repaid, or going on (R-VIP-26)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import books, ledger
from accounts.commands import acting
from accounts.models import Notice
from loans import histories, queries, statements
from loans.histories import Asked, Income, Scope
from loans.lifecycle import LoanStatus
from loans.models import ClientTerms, Loan, LoanEvent
from loans.vip import at_expiry, auto_repay, expiry, reminders, renewal, repayment, sheets
from risk import accrual, debts
from risk.models import Debt, DebtEntry, Liquidation
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk
from tests.loans.supplies import entered, example, of, taken

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
EXPIRY = datetime(2026, 1, 31, 10, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
RATE = Decimal("0.065")
PER_DAY = Decimal("178.08219179")  # 1,000,000 x 6.5 % / 365, rounded up
PER_DAY_AFTER = Decimal("219.17808220")  # 1,000,000 x 8 % / 365, rounded up


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def going_on(desk: Desk, *, at: datetime = EXPIRY) -> tuple[Loan, Loan]:
    """The example, not repaid at its expiry: the old order and the new one."""
    loan = example(desk, auto_repay=False)
    expiry.expire_due(at=at)
    return loan, Loan.objects.get(renews=loan)


def test_with_auto_repay_it_is_repaid_from_spot(desk: Desk) -> None:
    """R-VIP-26, R-VIP-47: 30 days of 178.08219179."""
    loan = example(desk)
    build.deposit(desk.master, "USDT", "10000")

    expiry.expire_due(at=EXPIRY)

    assert queries.loan_row(loan, at=EXPIRY).status == LoanStatus.REPAID
    assert build.balance(desk.master, "USDT") == Decimal(10000) - 30 * PER_DAY


def test_with_auto_repay_and_too_little_in_spot_it_is_overdue(desk: Desk) -> None:
    """R-VIP-26, R-VIP-47, R-VIP-43: it was not asked to go on."""
    loan = example(desk)

    expiry.expire_due(at=EXPIRY)

    assert queries.loan_row(loan, at=EXPIRY).status == LoanStatus.OVERDUE
    assert not Loan.objects.filter(renews=loan).exists()


def test_without_it_the_loan_goes_on_at_the_flexible_rate(desk: Desk) -> None:
    """R-VIP-26: principal and unpaid interest are carried over at the expiry; nothing is paid, no late fee."""
    old, new = going_on(desk)

    assert queries.loan_row(old, at=EXPIRY).status == LoanStatus.RENEWED
    assert (new.amount, new.rate_type, new.annual_rate) == (1000000, "flexible", Decimal("0.08"))
    assert (new.drawn_at, new.due_at, new.term_days, new.renews) == (EXPIRY, None, None, old)
    assert (new.debt.principal, new.debt.interest, new.debt.late_fee) == (1000000, 30 * PER_DAY, 0)
    old.debt.refresh_from_db()
    assert (old.debt.booked, old.debt.closed_reason, old.debt.closed_at) == (0, "renewed", EXPIRY)
    assert build.balance(desk.master, "USDT") == 1000000
    assert books.principal("USDT").balance == 1000000
    assert books.interest("USDT").balance == 30 * PER_DAY
    accrual.accrue(at=FEBRUARY + DAY)
    new.debt.refresh_from_db()
    assert new.debt.interest == 30 * PER_DAY + 2 * PER_DAY_AFTER
    assert books.late_fee_income("USDT").balance == 0


def test_the_borrower_is_told_and_a_sheet_says_so(desk: Desk) -> None:
    """R-VIP-26, R-VIP-15: once; the first sheet said that it would."""
    old, new = going_on(desk)
    expiry.expire_due(at=EXPIRY + DAY)

    body = Notice.objects.get(kind="loan_converted").body
    assert "1,000,000 USDT of principal and 5,342.4657537 USDT of interest" in body
    assert "8 % a year" in body
    assert not Notice.objects.filter(kind="loan_overdue").exists()
    assert new.sheet is not None
    assert old.sheet is not None
    assert new.sheet.signed_by == old.sheet.signed_by == f"user:{desk.applicant.pk}"
    terms = new.sheet.body
    assert (terms["rate_type"], terms["term_days"], terms["renews"]) == ("flexible", None, old.pk)
    assert terms["carried"] == "5342.4657537"
    assert sheets.tampered() == []
    kinds = list(LoanEvent.objects.filter(loan=old).order_by("pk").values_list("kind", flat=True))
    assert kinds == ["drawn", "converted"]


def test_the_loan_that_goes_on_is_repaid_like_any_other(desk: Desk) -> None:
    """R-VIP-26, R-VIP-31: it pays no least day again."""
    _, new = going_on(desk)
    build.deposit(desk.master, "USDT", "10000")

    repayment.repay(loan_id=new.pk, share=Decimal(1), actor=desk.borrower, at=EXPIRY)

    assert queries.loan_row(new, at=EXPIRY).status == LoanStatus.REPAID
    assert build.balance(desk.master, "USDT") == Decimal(10000) - 30 * PER_DAY


@pytest.mark.parametrize("accrual_first", [True, False])
def test_a_late_job_writes_the_rows_of_a_punctual_one(desk: Desk, *, accrual_first: bool) -> None:
    """R-VIP-26, R-GEN-04: an outage over three midnights, whatever wakes first. The flexible rate moved meanwhile."""
    build.flexible_rate("USDT", "0.1", at=FEBRUARY + DAY)
    late = FEBRUARY + timedelta(days=2, hours=9)

    def rows(*, at: datetime) -> list[Any]:
        with transaction.atomic():
            example(desk, auto_repay=False)
            if at == late and accrual_first:
                accrual.accrue(at=late)
            expiry.expire_due(at=at)
            accrual.accrue(at=late)
            columns = ("at", "kind", "principal", "interest", "late_fee", "period_end", "annual_rate")
            found = [
                list(DebtEntry.objects.order_by("at", "pk").values_list(*columns)),
                list(Debt.objects.order_by("pk").values_list("opened_at", "closed_at", "accrued_through")),
                list(Loan.objects.order_by("pk").values_list("drawn_at", "annual_rate", "rate_type")),
                list(LoanEvent.objects.order_by("at", "pk").values_list("at", "kind")),
            ]
            assert ledger.problems() == []
            transaction.set_rollback(True)
        return found

    punctual, late_rows = rows(at=EXPIRY), rows(at=late)

    assert late_rows == punctual
    rates = [row[6] for row in punctual[0] if row[1] == "charge"]
    assert rates == [RATE] * 30 + [Decimal("0.08")] * 2 + [Decimal("0.1")]


def test_the_flexible_rate_is_the_clients_own(desk: Desk) -> None:
    """R-VIP-26, R-VIP-24: 8 % and a spread of 1 % agreed for all its loans."""
    with acting(BUILDER):
        ClientTerms.objects.create(
            customer=desk.owner, starts_at=TEN, spread=Decimal("0.01"), set_by=desk.manager, reason="agreed"
        )
    _, new = going_on(desk)

    accrual.accrue(at=FEBRUARY)

    assert new.annual_rate == Decimal("0.09")
    charge = new.debt.entries.get(kind="charge")
    assert (charge.annual_rate, charge.interest) == (Decimal("0.09"), Decimal("246.57534247"))


def test_an_expiry_at_midnight_is_charged_once_before_and_once_after(desk: Desk) -> None:
    """R-VIP-26, R-VIP-32: the day that ends at the expiry costs the old rate."""
    midnight = datetime(2026, 1, 2, tzinfo=UTC)
    desks.quote(midnight)
    order = entered()
    old = taken(desk, of(order, "600000"), at=midnight, auto_repay=False)
    due_at = midnight + 30 * DAY

    expiry.expire_due(at=due_at)
    accrual.accrue(at=due_at + DAY)

    charges = DebtEntry.objects.filter(kind="charge").order_by("period_start")
    assert [row.debt_id == old.debt_id for row in charges] == [True] * 30 + [False]
    assert [row.annual_rate for row in charges] == [Decimal("0.05")] * 30 + [Decimal("0.08")]


def test_what_was_done_between_the_expiry_and_a_late_job_stays(desk: Desk) -> None:
    """R-VIP-26: paid an hour after the expiry, before the job: the new order begins then, with what was left."""
    loan = example(desk, auto_repay=False)
    hour_later = EXPIRY + timedelta(hours=1)
    paid = 30 * PER_DAY + 400000
    repayment.repay(loan_id=loan.pk, amount=paid, actor=desk.borrower, at=hour_later)

    expiry.expire_due(at=FEBRUARY + timedelta(hours=9))

    new = Loan.objects.get(renews=loan)
    assert (new.drawn_at, new.amount, new.debt.interest) == (hour_later, 600000, 0)
    assert ledger.problems() == []


def test_nobody_pays_a_late_fee_because_the_job_is_late(desk: Desk) -> None:
    """R-VIP-26, R-GEN-04: refused until the expiry is settled; then the order that goes on is repaid."""
    loan = example(desk, auto_repay=False)
    build.deposit(loan.group.receiver, "USDT", "10000", at=EXPIRY)
    morning = FEBRUARY + timedelta(hours=9)
    before = build.balance(loan.group.receiver, "USDT")

    with pytest.raises(repayment.GoingOn):
        repayment.repay(loan_id=loan.pk, share=Decimal(1), actor=desk.borrower, at=morning)

    assert build.balance(loan.group.receiver, "USDT") == before
    expiry.expire_due(at=morning)
    new = Loan.objects.get(renews=loan)
    repayment.repay(loan_id=new.pk, share=Decimal(1), actor=desk.borrower, at=morning)
    assert not DebtEntry.objects.filter(debt__loan__in=[loan, new]).exclude(late_fee=0).exists()
    assert ledger.problems() == []


def test_without_a_flexible_rate_it_is_overdue_and_the_notice_says_why(desk: Desk) -> None:
    """R-VIP-26, R-VIP-43"""
    build.ratios("USDC")
    build.fund_pool("USDC")
    desks.loan_limit("USDC")
    desks.quote(TEN, USDC="1")
    order = entered(asset="USDC")
    loan = taken(desk, of(order, "600000"), asset="USDC", auto_repay=False)

    expiry.expire_due(at=EXPIRY)

    assert queries.loan_row(loan, at=EXPIRY).status == LoanStatus.OVERDUE
    body = Notice.objects.get(kind="loan_overdue").body
    assert "It could not go on at the flexible rate: none was published for USDC at its expiry." in body
    assert not Loan.objects.filter(renews=loan).exists()


def test_while_collateral_is_being_sold_it_does_not_go_on(desk: Desk) -> None:
    """R-VIP-26, R-VIP-43"""
    loan = example(desk, auto_repay=False)
    with acting(BUILDER):
        Liquidation.objects.create(
            group=loan.group,
            cause=Liquidation.Cause.LTV,
            started_at=EXPIRY,
            mode="full",
            ltv=Decimal("0.92"),
            debt_value=Decimal(1000000),
            collateral_value=Decimal(1086000),
            market_value=Decimal(1086000),
            snapshot={},
        )

    expiry.expire_due(at=EXPIRY)

    loan.debt.refresh_from_db()
    assert loan.debt.overdue_since == EXPIRY
    assert "collateral of" in Notice.objects.get(kind="loan_overdue").body
    failed = histories.repayments(Scope(desk.owner), Asked(TEN, EXPIRY)).rows
    assert failed == ()  # it never meant to repay itself


def test_the_choice_may_be_changed_until_the_expiry(desk: Desk) -> None:
    """R-VIP-26, R-VIP-47"""
    loan = example(desk, auto_repay=False)
    assert at_expiry.converts(loan)

    auto_repay.set_auto_repay(loan_id=loan.pk, on=True, actor=desk.borrower, at=TEN)
    assert not at_expiry.converts(loan)
    auto_repay.set_auto_repay(loan_id=loan.pk, on=False, actor=desk.borrower, at=TEN)
    assert at_expiry.converts(loan)


def test_the_reminder_says_that_it_goes_on(desk: Desk) -> None:
    """R-VIP-26, R-VIP-46"""
    example(desk, auto_repay=False)

    reminders.remind_due(at=EXPIRY - DAY)

    assert "it goes on as an open loan at the flexible rate" in Notice.objects.get(kind="loan_due").body


def test_it_renews_by_hand_in_its_window_and_is_then_a_loan_like_any_other(desk: Desk) -> None:
    """R-VIP-26, R-VIP-40: at the published rate of the new term; what was the market's is not carried on."""
    loan = example(desk, auto_repay=False)
    at = EXPIRY - DAY
    desks.quote(at)

    new = renewal.renew(loan_id=loan.pk, term_days=30, actor=desk.borrower, at=at)

    assert not at_expiry.converts(new)
    assert (new.rate_type, new.annual_rate) == ("fixed", Decimal("0.084"))


def test_statements_and_histories_stay_whole(desk: Desk) -> None:
    """R-VIP-26, R-GEN-93, R-GEN-94: the carrying over is no flow; the months close and open alike."""
    old, new = going_on(desk)
    march = datetime(2026, 3, 1, tzinfo=UTC)
    accrual.accrue(at=march)

    flows = histories.all_flows(Scope(desk.owner), Asked(TEN - DAY, march))
    sums = histories.totals(flows)
    assert sums[Income.BORROW_IN.value, "USDT"] == 1000000
    assert sums[Income.INTEREST.value, "USDT"] == new_interest(new)
    first = statements.of(desk.owner, statements.Month(TEN.date()), at=march)
    second = statements.of(desk.owner, statements.Month(FEBRUARY.date()), at=march)
    closing = {row["loan"]: row["closing"] for row in first["loans"]}
    assert closing[old.pk]["total"] == "0"
    assert {row["loan"]: row["opening"] for row in second["loans"]} == {new.pk: closing[new.pk]}
    [renewed] = histories.renewals(Scope(desk.owner), Asked(TEN, march)).rows
    assert (renewed.loan, renewed.renewed, renewed.interest_paid) == (new, old, 0)
    assert queries.latest_order(old) == new


def new_interest(new: Loan) -> Decimal:
    new.debt.refresh_from_db()
    interest: Decimal = new.debt.interest
    return interest


def test_a_month_is_not_stated_or_closed_before_the_expiry_at_its_end_is_settled(desk: Desk) -> None:
    """R-VIP-26, R-GEN-94, R-ADM-11: what the expiry books would be dated in it."""
    february = datetime(2026, 2, 1, tzinfo=UTC)
    drawn = february - 30 * DAY
    desks.quote(drawn)
    order = entered()
    taken(desk, of(order, "600000"), at=drawn, auto_repay=False)
    accrual.accrue(at=february)

    assert accrual.still_to_charge(february)
    with pytest.raises(statements.NotCharged):
        statements.of(desk.owner, statements.Month(TEN.date()), at=february)
    expiry.expire_due(at=february)

    assert accrual.still_to_charge(february) == []
    assert statements.of(desk.owner, statements.Month(TEN.date()), at=february)["loans"]


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    principal=st.decimals(min_value="0.00000001", max_value=10**9, places=8),
    rate=st.decimals(min_value=0, max_value=2, places=12),
    days=st.integers(0, 40),
    late=st.integers(0, 5),
)
def test_carrying_over_keeps_every_unit(
    db: None, principal: Decimal, rate: Decimal, days: int, late: int
) -> None:
    """R-VIP-26: what both debts owe together does not change by a unit, part by part, nor do the controls."""
    with transaction.atomic():
        build.flexible_rate("USDT", "0.08")
        due_at = TEN + days * DAY
        old = build.secured_debt(amount=str(principal), rate=str(rate), due_at=due_at)
        at = due_at + late * DAY
        with acting(BUILDER):
            [locked] = Debt.objects.locked(old.pk)
            debts.bring_up_to_date([locked], at=at)
            before = (locked.principal, locked.interest, locked.late_fee)
            controls = controls_now()
            new = debts.renew(old=locked, due_at=None, fixed_rate=None, at=at)
        old.refresh_from_db()
        assert (old.booked, old.closed_reason) == (0, "renewed")
        assert (new.principal, new.interest, new.late_fee) == before
        assert controls_now() == controls
        assert ledger.problems() == []
        transaction.set_rollback(True)


def controls_now() -> tuple[Decimal, Decimal, Decimal]:
    return (
        books.principal("USDT").balance,
        books.interest("USDT").balance,
        books.late_fee("USDT").balance,
    )
