"""The review: automatic, by the manager, by two persons; coin by coin or all or nothing (R-VIP-06, 12, 13, 19)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts import approvals, books, ledger
from accounts.commands import Actor, NeedsApproval, acting
from accounts.errors import Refused
from accounts.models import Notice
from loans import ratecards
from loans.models import Application, Loan, LoanEvent, Product, SignedSheet
from loans.vip import origination
from loans.vip.moves import ManagerOnly, TermsRefused
from loans.vip.origination import AllOrNothing, NotAutomatic, ReasonNeeded, SheetChanged
from loans.vip.terms import Wish
from risk import freezes
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk, everything
from tests.loans.talks import asked, move, wanted

pytestmark = pytest.mark.django_db
SOON = timedelta(seconds=30)  # prices are still fresh
TWO = (Wish("USDC", Decimal(100000)), Wish("USDT", Decimal(600000)))


@pytest.fixture
def desk(db: None) -> Desk:
    desk = desks.set_up()
    build.asset("USDC")
    build.ratios("USDC")
    build.fund_pool("USDC")
    desks.loan_limit("USDC")
    desks.card("USDC", "0.08")
    desks.quote(TEN, USDC="1")
    return desk


def product(**terms: Any) -> None:
    fields = {"auto_approve_usd": "0", "auto_approve_ltv": "0.65", "four_eyes_usd": "5000000"} | terms
    with acting(BUILDER):
        Product.objects.create(code="vip", effective_at=TEN - timedelta(days=1), **fields)


def decide(desk: Desk, application: Application, *, at: Any = TEN, **told: Any) -> Application:
    application.refresh_from_db()
    sheet = application.accepted.sha256 if application.accepted else ""
    told = {"sheet_sha256": sheet, "actor": desk.decider} | told
    return origination.approve(application_id=application.pk, at=at, **told)


# --- Coin by coin -----------------------------------------------------------------------------------------


def test_the_manager_may_pay_out_some_coins_and_says_why(desk: Desk) -> None:
    """R-VIP-06, R-VIP-12"""
    application = desks.submitted(desk, wishes=TWO)
    with pytest.raises(ReasonNeeded):
        decide(desk, application, coins=("USDT",))
    with pytest.raises(ReasonNeeded):
        decide(desk, application, coins=(), note="None.")
    with pytest.raises(ReasonNeeded):
        decide(desk, application, coins=("BTC",), note="Another.")

    decide(desk, application, coins=("USDT",), note="USDC later.")

    assert [loan.asset_id for loan in Loan.objects.all()] == ["USDT"]
    event = LoanEvent.objects.get(kind="partially_approved")
    assert event.facts["left_out"] == {"USDC": "USDC later."}
    assert "USDC was left out: USDC later." in Notice.objects.get().body
    application.refresh_from_db()
    assert (application.status, application.decision_reason) == ("disbursed", "USDC later.")


def test_a_coin_over_its_limit_by_now_stays_out_and_the_other_is_paid(desk: Desk) -> None:
    """R-VIP-06, R-VIP-13: the limit came down after the request."""
    application = desks.submitted(desk, wishes=TWO)
    desks.loan_limit("USDC", maximum="50000", at=TEN + timedelta(seconds=1))
    desks.quote(TEN + SOON, USDC="1")

    decide(desk, application, at=TEN + SOON)

    assert [loan.asset_id for loan in Loan.objects.all()] == ["USDT"]
    left_out = LoanEvent.objects.get(kind="partially_approved").facts["left_out"]
    assert list(left_out) == ["USDC"]
    assert left_out["USDC"] in Notice.objects.get().body
    assert Loan.objects.get().sheet_sha256 == application.offers.get().sha256


def test_a_coin_the_pool_has_too_little_of_by_now_stays_out(desk: Desk) -> None:
    """R-VIP-06, R-VIP-13, R-GEN-38"""
    application = desks.submitted(desk, wishes=TWO)
    pool = books.pool("USDC")
    with acting(BUILDER):
        line = ledger.Line(books.capital("USDC"), pool, pool.balance - 99999)
        ledger.post(kind="funding", reference="test:drain", lines=[line], at=TEN)

    decide(desk, application)

    assert [loan.asset_id for loan in Loan.objects.all()] == ["USDT"]
    assert list(LoanEvent.objects.get(kind="partially_approved").facts["left_out"]) == ["USDC"]
    assert pool.__class__.objects.get(pk=pool.pk).balance == 99999


def test_a_frozen_account_gets_nothing(desk: Desk) -> None:
    """R-VIP-13, R-ADM-04"""
    application = desks.submitted(desk)
    officer = Actor.user(build.user("risk_officer"))
    freezes.place(
        what="full",
        reason="Court order.",
        ends_at=TEN + timedelta(days=1),
        account_uid=desk.sub.pk,
        actor=officer,
        at=TEN,
    )
    before = everything()

    with pytest.raises(Refused, match="Court order"):
        decide(desk, application)

    assert everything() == before


def test_all_or_nothing_is_not_paid_out_in_part(desk: Desk) -> None:
    """R-VIP-19"""
    application = desks.submitted(desk, wishes=TWO, all_or_nothing=True)
    with pytest.raises(AllOrNothing):
        decide(desk, application, coins=("USDT",), note="USDC later.")
    desks.loan_limit("USDC", maximum="50000", at=TEN + timedelta(seconds=1))
    desks.quote(TEN + SOON, USDC="1")
    before = everything()

    with pytest.raises(TermsRefused):
        decide(desk, application, at=TEN + SOON)

    assert everything() == before


def test_a_stale_price_of_one_coin_stops_the_whole_decision(desk: Desk) -> None:
    """R-GEN-22, R-VIP-13: it passes by itself, so no coin is left out for it."""
    application = desks.submitted(desk, wishes=TWO)
    later = TEN + timedelta(minutes=10)
    build.prices(at=later, BTC="60000", USDT="1")
    before = everything()

    with pytest.raises(TermsRefused) as refusal:
        decide(desk, application, at=later)

    assert {problem.code for problem in refusal.value.problems} == {"stale_price"}
    assert everything() == before


def test_an_approval_is_about_the_sheet_the_manager_saw(desk: Desk) -> None:
    """R-VIP-12, R-VIP-15"""
    application = desks.submitted(desk)
    seen = application.offers.get().sha256
    move("counter_offer", application, desk, wanted=wanted("0.09"))
    move("accept_offer", application, desk)
    before = everything()

    with pytest.raises(SheetChanged, match="version 2"):
        decide(desk, application, sheet_sha256=seen)

    assert everything() == before


# --- Automatic --------------------------------------------------------------------------------------------


def test_a_small_safe_request_is_paid_out_at_once(desk: Desk) -> None:
    """R-VIP-12: 600,000 USD at 40 % LTV, under both lines; by a job, without a manager."""
    product(auto_approve_usd="600000")

    application = desks.submitted(desk, "600000")

    application.refresh_from_db()
    assert (application.status, application.decided_by) == ("disbursed", None)
    assert build.balance(desk.master, "USDT") == 600000
    actors = dict(LoanEvent.objects.values_list("kind", "actor"))
    assert actors["submitted"] == desk.borrower.label
    assert actors["approved"] == "job:auto-approval"
    assert SignedSheet.objects.get().sha256 == Loan.objects.get().sheet_sha256


@pytest.mark.parametrize(
    ("amount", "line", "ltv"),
    [("600000.00000001", "600000", "0.65"), ("600000", "600000", "0.3999"), ("600000", "0", "0.65")],
)
def test_above_a_line_the_manager_decides(desk: Desk, amount: str, line: str, ltv: str) -> None:
    """R-VIP-12: by one unit of the coin, by LTV, or because nothing is automatic."""
    product(auto_approve_usd=line, auto_approve_ltv=ltv)

    application = desks.submitted(desk, amount)

    application.refresh_from_db()
    assert application.status == "submitted"
    assert Loan.objects.count() == 0
    decide(desk, application)


def test_many_small_requests_are_no_way_around_the_manager(desk: Desk) -> None:
    """R-VIP-12: what was granted automatically within 24 hours counts towards the line."""
    product(auto_approve_usd="600000")
    desks.submitted(desk, "500000")
    desks.submitted(desk, "100000")
    third = desks.submitted(desk, "50000")

    third.refresh_from_db()
    assert (third.status, Loan.objects.count()) == ("submitted", 2)
    next_day = TEN + timedelta(hours=24)
    desks.quote(next_day)
    fourth = desks.submitted(desk, "50000", at=next_day)
    fourth.refresh_from_db()
    assert fourth.status == "disbursed"


def test_negotiated_terms_are_never_granted_automatically(desk: Desk) -> None:
    """R-VIP-12"""
    product(auto_approve_usd="10000000", auto_approve_ltv="0.9")
    application = asked(desk)
    move("accept_counter", application, desk)

    with pytest.raises(NotAutomatic):
        origination.auto_approve(application_id=application.pk, actor=origination.AUTO, at=TEN)
    with pytest.raises(ManagerOnly):
        origination.auto_approve(application_id=application.pk, actor=desk.decider, at=TEN)

    assert Loan.objects.count() == 0


def test_a_coin_left_out_leaves_the_automatic_request_to_the_manager(desk: Desk) -> None:
    """R-VIP-12, R-VIP-13: a request with a coin that stays out is looked at."""
    product(auto_approve_usd="10000000", auto_approve_ltv="0.9")
    desks.loan_limit("USDC", maximum="1000", at=TEN - timedelta(hours=1))

    application = desks.submitted(desk, wishes=TWO)

    application.refresh_from_db()
    assert application.status == "submitted"


# --- Four eyes --------------------------------------------------------------------------------------------


def test_above_the_second_line_another_person_releases_this_very_sheet(desk: Desk) -> None:
    """R-VIP-12, R-ADM-03, TRUST I-24: bound to the exact payload."""
    product(four_eyes_usd="999999.99")
    application = desks.submitted(desk)
    sheet = application.offers.get().sha256
    with pytest.raises(NeedsApproval):
        decide(desk, application)
    proposal = approvals.run_or_propose(
        command="vip.approve",
        arguments={"application_id": application.pk, "sheet_sha256": sheet, "coins": ("USDT",), "note": ""},
        title="Approve",
        preview={},
        reason="Good client.",
        actor=desk.decider,
        at=TEN,
    )
    assert proposal is not None
    assert Loan.objects.count() == 0
    with pytest.raises(approvals.OwnProposal):
        approvals.release(approval_id=proposal.pk, actor=desk.decider, at=TEN)

    other = Actor.user(build.user("vip_manager"))
    approvals.release(approval_id=proposal.pk, actor=other, at=TEN + SOON)

    application.refresh_from_db()
    assert (application.status, application.decided_by) == ("disbursed", desk.manager)
    assert Loan.objects.get().sheet_sha256 == sheet


def test_exactly_at_the_second_line_one_person_is_enough(desk: Desk) -> None:
    """R-VIP-12: above it, not at it; and only what is paid out counts."""
    product(four_eyes_usd="600000")
    decide(desk, desks.submitted(desk, wishes=TWO), coins=("USDT",), note="USDC later.")

    assert Loan.objects.get().amount == 600000


def test_many_requests_of_one_day_are_no_way_around_the_second_person(desk: Desk) -> None:
    """R-VIP-12, R-ADM-03: what the client was lent within 24 hours counts; nothing is paid out alone above the line."""
    product(four_eyes_usd="600000")
    decide(desk, desks.submitted(desk, "500000"))

    second = desks.submitted(desk, "100000.01")
    with pytest.raises(NeedsApproval):
        decide(desk, second)
    assert [loan.amount for loan in Loan.objects.all()] == [500000]
    tomorrow = TEN + timedelta(hours=24)
    desks.quote(tomorrow)
    desks.approved(desk, second, at=tomorrow)

    assert Loan.objects.count() == 2


def test_product_terms_are_read_as_of_their_date(desk: Desk) -> None:
    """R-VIP-11, R-VIP-12: the waits are the product's, not constants."""
    product(quote_hours=5, offer_hours=2)
    application = desks.submitted(desk)
    assert ratecards.product_at("vip", at=TEN).quote_hours == 5
    assert application.expires_at == TEN + timedelta(hours=5)
    offer = move("counter_offer", application, desk, wanted=wanted("0.09"))
    assert offer.expires_at == TEN + timedelta(hours=2)


def test_the_choice_to_repay_at_expiry_is_kept_with_the_loan(desk: Desk) -> None:
    """R-VIP-47: default off; the first event when it is on."""
    decide(desk, desks.submitted(desk, "500000", auto_repay=True))
    decide(desk, desks.submitted(desk, "50000"))

    kept = LoanEvent.objects.filter(kind="auto_repay_on")
    assert [event.loan.amount for event in kept if event.loan] == [500000]
