"""From a request to money in Spot: submit, review, approve, reject (R-VIP-02…16, R-GEN-42)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from accounts import books, ledger, people
from accounts.commands import Actor, NotYourRole, acting
from accounts.models import AuditRecord, Notice
from loans.models import Application, Loan, LoanEvent
from loans.vip import applications, origination, terms
from loans.vip.applications import TermsChanged, TermsRefused, WrongState
from loans.vip.origination import ManagerOnly, ReasonNeeded
from loans.vip.terms import Wish
from risk import groups
from risk.models import CollateralGroup, Limits
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk, everything

pytestmark = pytest.mark.django_db
SOON = timedelta(seconds=30)  # prices are still fresh


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def codes(refusal: pytest.ExceptionInfo[TermsRefused]) -> set[str]:
    return {problem.code for problem in refusal.value.problems}


# --- Submit -----------------------------------------------------------------------------------------


def test_an_accepted_sheet_becomes_a_request_with_its_terms_kept(desk: Desk) -> None:
    """R-VIP-11, R-VIP-15: no money moves yet."""
    sheet = terms.check(desks.request(desk), at=TEN)

    application = applications.submit(
        request=desks.request(desk), accepted=sheet.fingerprint, actor=desk.borrower, at=TEN
    )

    assert application.status == Application.Status.SUBMITTED
    [line] = application.lines.all()
    assert (line.asset_id, line.amount, line.annual_rate) == ("USDT", 1000000, Decimal("0.084"))
    assert application.terms["levels"]["liquidation"] == "0.910000000000"
    assert application.terms["ltv_after"] == "0.666666666666"
    assert application.terms["overdue_hours"] == 168
    assert list(application.collateral_accounts.all()) == [desk.sub]
    assert [event.kind for event in LoanEvent.objects.all()] == ["submitted"]
    assert build.balance(desk.master, "USDT") == 0
    assert CollateralGroup.objects.count() == 0


def test_terms_that_moved_since_they_were_shown_are_refused(desk: Desk) -> None:
    """R-VIP-11: nobody gets terms they did not see."""
    shown = terms.check(desks.request(desk), at=TEN).fingerprint
    desks.card("USDT", "0.085", at=datetime(2026, 1, 2, tzinfo=UTC))
    later = datetime(2026, 1, 2, 0, 0, 10, tzinfo=UTC)
    desks.quote(later)
    before = everything()

    with pytest.raises(TermsChanged):
        applications.submit(request=desks.request(desk), accepted=shown, actor=desk.borrower, at=later)

    assert everything() == before


def test_prices_may_move_between_showing_and_accepting(desk: Desk) -> None:
    shown = terms.check(desks.request(desk), at=TEN).fingerprint
    desks.quote(TEN + SOON, BTC="59000")

    applications.submit(request=desks.request(desk), accepted=shown, actor=desk.borrower, at=TEN + SOON)

    assert Application.objects.count() == 1


def test_a_refused_request_leaves_nothing_behind(desk: Desk) -> None:
    """R-VIP-07"""
    before = everything()

    with pytest.raises(TermsRefused) as refusal:
        desks.submitted(desk, "499999.99999999")

    assert codes(refusal) == {"below_order_minimum"}
    assert everything() == before


def test_a_coin_over_its_limit_stays_out_and_the_others_go_ahead(desk: Desk) -> None:
    """R-VIP-06"""
    build.asset("USDC")
    build.fund_pool("USDC")
    desks.loan_limit("USDC", maximum="1000")
    desks.card("USDC", "0.08")
    desks.quote(TEN, USDC="1")
    wishes = (Wish("USDT", Decimal(600000)), Wish("USDC", Decimal("1000.01")))

    application = desks.submitted(desk, wishes=wishes)

    assert [line.asset_id for line in application.lines.all()] == ["USDT"]
    assert "1,000.00 USD" in application.terms["declined"]["USDC"]


def test_the_same_key_asks_once(desk: Desk) -> None:
    """R-GEN-06"""
    first, second = (
        applications.submit(request=desks.request(desk), actor=desk.borrower, at=TEN, key="k1") for _ in "ab"
    )

    assert first == second
    assert Application.objects.count() == 1


def test_a_request_can_be_cancelled_until_it_is_decided(desk: Desk) -> None:
    """R-VIP-12"""
    application = desks.submitted(desk)

    applications.cancel(application_id=application.pk, actor=desk.borrower, at=TEN)

    application.refresh_from_db()
    assert application.status == Application.Status.CANCELLED
    with pytest.raises(WrongState, match="cancelled"):
        applications.cancel(application_id=application.pk, actor=desk.borrower, at=TEN)
    with pytest.raises(WrongState, match="cancelled"):
        desks.approved(desk, application)


# --- Approve ----------------------------------------------------------------------------------------


def test_approval_pays_out_at_once_into_the_receivers_spot(desk: Desk) -> None:
    """R-VIP-12, R-VIP-14: the whole amount, no transaction fee; due 30 days later to the second."""
    application = desks.approved(desk, desks.submitted(desk))

    assert application.status == Application.Status.DISBURSED
    assert (application.decided_by, application.decided_at) == (desk.manager, TEN)
    loan = Loan.objects.get()
    assert (loan.amount, loan.annual_rate, loan.rate_type) == (1000000, Decimal("0.084"), "fixed")
    assert loan.due_at == loan.debt.due_at == datetime(2026, 1, 31, 10, tzinfo=UTC)
    assert (loan.debt.principal, loan.debt.late_multiplier, loan.debt.overdue_hours) == (1000000, 3, 168)
    assert build.balance(desk.master, "USDT") == 1000000
    assert books.principal("USDT").balance == 1000000
    group = CollateralGroup.objects.get()
    assert [member.account for member in group.members.all()] == [desk.sub]
    assert [coin.asset_id for coin in group.coins.all()] == ["BTC"]
    assert [event.kind for event in LoanEvent.objects.order_by("pk")] == [
        "submitted",
        "approved",
        "drawn",
        "disbursed",
    ]
    notice = Notice.objects.get()
    assert (notice.event, notice.customer) == (f"application:{application.pk}:disbursed", desk.owner)
    assert "1,000,000 USDT" in notice.body
    assert AuditRecord.objects.filter(subject="vip.approve", actor=desk.decider.label).count() == 1


def test_the_accepted_fixed_rate_binds_although_the_card_has_moved(desk: Desk) -> None:
    """R-VIP-18, R-VIP-22"""
    application = desks.submitted(desk)
    desks.card("USDT", "0.12", at=datetime(2026, 1, 2, tzinfo=UTC))
    later = datetime(2026, 1, 2, 9, tzinfo=UTC)
    desks.quote(later)

    desks.approved(desk, application, at=later)

    assert Loan.objects.get().annual_rate == Decimal("0.084")
    assert Loan.objects.get().debt.rates.get().fixed_rate == Decimal("0.084")


def test_a_flexible_open_loan_has_no_expiry_and_follows_the_market(desk: Desk) -> None:
    """R-VIP-20, R-VIP-21, R-VIP-23"""
    loan = desks.drawn(desk, rate_type="flexible", term_days=None)

    assert (loan.due_at, loan.debt.due_at, loan.term_days) == (None, None, None)
    assert loan.debt.rates.get().fixed_rate is None
    assert loan.annual_rate == Decimal("0.08")


def test_a_fall_between_request_and_approval_is_seen_under_the_lock(desk: Desk) -> None:
    """R-VIP-13: 1,000,000 over 25 x 55,000 is 72.73 %, above initial."""
    application = desks.submitted(desk)
    desks.quote(TEN + SOON, BTC="55000")
    before = everything()

    with pytest.raises(TermsRefused, match=r"72\.73 %") as refusal:
        desks.approved(desk, application, at=TEN + SOON)

    assert codes(refusal) == {"ltv_too_high"}
    assert everything() == before


def test_at_exactly_the_initial_line_the_loan_is_paid_out(desk: Desk) -> None:
    """R-VIP-52: borrow if after <= initial. 1,080,000 / 1,500,000 = 72 %."""
    loan = desks.drawn(desk, "1080000")

    assert loan.amount == 1080000


def test_one_unit_over_the_initial_line_is_refused(desk: Desk) -> None:
    """R-VIP-52"""
    with pytest.raises(TermsRefused) as refusal:
        desks.submitted(desk, "1080000.00000001")

    assert codes(refusal) == {"ltv_too_high"}


def test_stale_prices_stop_an_approval(desk: Desk) -> None:
    """R-GEN-22, R-VIP-13"""
    application = desks.submitted(desk)
    before = everything()

    with pytest.raises(TermsRefused) as refusal:
        desks.approved(desk, application, at=TEN + timedelta(minutes=5))

    assert codes(refusal) == {"stale_price", "ltv_too_high"}
    assert everything() == before


def test_a_minimum_that_held_at_the_request_is_not_asked_again(desk: Desk) -> None:
    """R-VIP-07: the borrower accepted while USDT stood at 1."""
    application = desks.submitted(desk, "500000")
    desks.quote(TEN + SOON, USDT="0.9999")

    desks.approved(desk, application, at=TEN + SOON)

    assert Loan.objects.get().amount == 500000


def test_an_empty_pool_pays_nothing_out(desk: Desk) -> None:
    """R-GEN-38"""
    application = desks.submitted(desk)
    pool = books.pool("USDT")
    with acting(BUILDER):
        line = ledger.Line(books.capital("USDT"), pool, pool.balance - 999999)
        ledger.post(kind="funding", reference="test:drain", lines=[line], at=TEN)
    before = everything()

    with pytest.raises(TermsRefused) as refusal:
        desks.approved(desk, application)

    assert codes(refusal) == {"pool_empty"}
    assert everything() == before


def test_an_account_pledged_elsewhere_since_then_is_refused(desk: Desk) -> None:
    """R-GEN-13: two requests for two receivers name one collateral account; the second cannot have it."""
    other = build.account(desk.owner)
    first = desks.submitted(desk, "500000")
    second = desks.submitted(desk, "500000", receiver_uid=other.pk)
    desks.approved(desk, first)
    before = everything()

    with pytest.raises(TermsRefused, match="The current collateral account has been used") as refusal:
        desks.approved(desk, second)

    assert codes(refusal) == {"account_in_use"}
    assert everything() == before


def test_a_second_loan_joins_the_group_and_counts_what_is_owed(desk: Desk) -> None:
    """R-GEN-12, R-VIP-52: 1,000,000 is owed, so 80,000 more is the most."""
    desks.drawn(desk)
    with pytest.raises(TermsRefused):
        desks.submitted(desk, "80000.00000001")

    desks.drawn(desk, "80000")

    assert CollateralGroup.objects.count() == 1
    assert sorted(Loan.objects.values_list("amount", flat=True)) == [80000, 1000000]


def test_no_loan_for_a_group_over_its_initial_line(desk: Desk) -> None:
    """R-VIP-13, R-VIP-52: at 76.92 % the group is in WATCH."""
    desks.drawn(desk)
    later = TEN + timedelta(hours=1)
    desks.quote(later, BTC="52000")

    with pytest.raises(TermsRefused, match=r"76\.92 %"):
        desks.submitted(desk, "50000", at=later)


# --- Lines ------------------------------------------------------------------------------------------


def test_the_group_signs_the_lines_its_borrower_accepted(desk: Desk) -> None:
    """R-GEN-42: lines published later do not tighten a running group."""
    loan = desks.drawn(desk)
    build.limits("0.60", "0.65", "0.70", "0.75", at=TEN + SOON)

    signed = Limits.objects.get(group=loan.group)
    assert (signed.initial, signed.liquidation, signed.fee) == tuple(map(Decimal, ("0.72", "0.91", "0.02")))


def test_lines_tightened_after_acceptance_need_a_new_request(desk: Desk) -> None:
    """R-GEN-42, R-VIP-13"""
    application = desks.submitted(desk)
    build.limits("0.70", "0.75", "0.85", "0.90", at=TEN + SOON)
    before = everything()

    with pytest.raises(TermsRefused) as refusal:
        desks.approved(desk, application, at=TEN + SOON)

    assert codes(refusal) == {"lines_changed"}
    assert everything() == before


def test_lines_tightened_back_to_those_of_the_group_need_a_new_request_too(desk: Desk) -> None:
    """R-GEN-42, R-VIP-15: what is signed says 72 %; the group may not go on at 60 % under it."""
    step = timedelta(seconds=10)
    build.limits("0.60", "0.65", "0.80", "0.85", at=TEN + step)
    desks.drawn(desk, "500000", at=TEN + step)
    build.limits("0.72", "0.77", "0.91", "0.95", at=TEN + 2 * step)
    application = desks.submitted(desk, "50000", at=TEN + 2 * step)
    build.limits("0.60", "0.65", "0.80", "0.85", at=TEN + 3 * step)
    before = everything()

    with pytest.raises(TermsRefused) as refusal:
        desks.approved(desk, application, at=TEN + 3 * step)

    assert codes(refusal) == {"lines_changed"}
    assert everything() == before


def test_a_new_sheet_changes_the_lines_of_the_whole_group_and_says_so(desk: Desk) -> None:
    """R-GEN-42"""
    loan = desks.drawn(desk, "500000")
    build.limits("0.70", "0.75", "0.85", "0.90", at=TEN + SOON)

    sheet = terms.check(desks.request(desk, "50000"), at=TEN + SOON)
    desks.drawn(desk, "50000", at=TEN + SOON)

    assert sheet.effect is not None
    assert sheet.effect.changes_lines
    assert Limits.objects.filter(group=loan.group).latest("effective_at").liquidation == Decimal("0.85")


# --- Who decides ------------------------------------------------------------------------------------


def test_only_the_customers_own_manager_decides(desk: Desk) -> None:
    """R-VIP-12, TRUST I-24"""
    application = desks.submitted(desk)
    stranger, admin = build.user("vip_manager"), build.user("admin")
    before = everything()

    sheet = application.offers.get().sha256
    for actor in (desk.borrower, Actor.user(stranger), Actor.user(admin), Actor.job("sweep")):
        is_maker = actor in (Actor.user(stranger), Actor.job("sweep"))
        no = pytest.raises(ManagerOnly, match=desk.manager.name) if is_maker else pytest.raises(NotYourRole)
        with no:
            origination.approve(application_id=application.pk, sheet_sha256=sheet, actor=actor, at=TEN)
        with pytest.raises(ManagerOnly, match=desk.manager.name):
            origination.reject(application_id=application.pk, actor=actor, at=TEN, reason="no")

    assert everything() == before


def test_a_request_of_a_customer_without_a_manager_waits(desk: Desk) -> None:
    application = desks.submitted(desk)
    people.assign_manager(customer_id=desk.owner.pk, manager_id=None, actor=BUILDER, at=TEN)

    with pytest.raises(ManagerOnly, match="nobody yet"):
        desks.approved(desk, application)


def test_a_request_is_decided_once(desk: Desk) -> None:
    """TRUST I-23, I-24"""
    application = desks.approved(desk, desks.submitted(desk))
    before = everything()

    with pytest.raises(WrongState, match="paid out"):
        desks.approved(desk, application)

    assert everything() == before


def test_a_rejection_says_why_and_tells_the_borrower(desk: Desk) -> None:
    """R-VIP-12"""
    application = desks.submitted(desk)
    with pytest.raises(ReasonNeeded):
        origination.reject(application_id=application.pk, actor=desk.decider, at=TEN, reason="  ")

    origination.reject(application_id=application.pk, actor=desk.decider, at=TEN, reason="Too concentrated.")

    application.refresh_from_db()
    assert (application.status, application.decision_reason) == ("rejected", "Too concentrated.")
    assert application.decided_by == desk.manager
    assert "Too concentrated." in Notice.objects.get().body
    assert Loan.objects.count() == 0


def test_review_shows_the_manager_what_approval_would_do(desk: Desk) -> None:
    """R-VIP-12: the group's risk before and after."""
    application = desks.submitted(desk)

    sheet = origination.review(application, at=TEN)

    assert sheet.problems == ()
    assert sheet.effect is not None
    assert (sheet.effect.now.ltv, sheet.effect.after.ltv) == (0, Decimal("0.666666666666"))
    assert groups.pledged_to([desk.sub.pk]) == {}
