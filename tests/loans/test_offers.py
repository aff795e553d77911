"""The negotiation room: versions by turns, who may move, what binds, and when it is over (R-VIP-11, 18, 24)."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts import approvals
from accounts.commands import Actor, NeedsApproval, NotYourRole
from accounts.models import Notice
from config.celery import TIMETABLE
from loans import tasks
from loans.lifecycle import APPLICATION_MOVES
from loans.models import Loan, LoanEvent, Offer, SignedSheet
from loans.vip import applications, offers, origination, terms
from loans.vip.moves import BorrowerOnly, Lapsed, ManagerOnly, WrongState
from loans.vip.offers import LongMessage, NothingChanged, NotYourMove, OtherVersion
from loans.vip.sheets import BadTerms, CoinRate, Wanted
from risk.models import Limits
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans import visit
from tests.loans.desk import Desk, everything
from tests.loans.talks import asked, body, last, move, statuses, wanted

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)
TIGHT = ("0.60", "0.65", "0.80", "0.85")
LOOSE = {"initial": Decimal("0.75"), "margin_call": Decimal("0.8")}  # above the published 72 and 77 %


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def talked() -> dict[str, Any]:
    return everything() | {"offers": list(Offer.objects.order_by("pk").values_list("version", "status"))}


# --- The flow ---------------------------------------------------------------------------------------------


def test_accepting_the_published_terms_is_version_one_of_nobody(desk: Desk) -> None:
    """R-VIP-11, R-VIP-18: it binds the desk for 72 hours."""
    application = desks.submitted(desk)

    [offer] = application.offers.all()
    assert (offer.version, offer.side, offer.author, offer.status) == (1, "desk", None, "accepted")
    assert (offer.answered_by, application.accepted) == (desk.applicant, offer)
    assert application.expires_at == TEN + 72 * HOUR
    assert offer.body["loans"] == [{"asset": "USDT", "amount": "1000000", "rate": "0.084", "spread": "0"}]


def test_unsatisfied_opens_a_negotiation_beside_the_published_terms(desk: Desk) -> None:
    """R-VIP-11, R-VIP-24"""
    application = asked(desk, wanted("0.08", term_days=45, overdue_hours=200))

    assert application.status == "negotiating"
    assert statuses(application) == [(1, "desk", "countered"), (2, "borrower", "open")]
    assert (last(application).author, last(application).message) == (desk.applicant, "Please.")
    assert last(application).body["term_days"] == 45
    assert application.accepted is None
    assert Loan.objects.count() == 0


def test_the_desk_offers_the_borrower_accepts_and_the_loan_has_these_terms(desk: Desk) -> None:
    """R-VIP-11, R-VIP-20, R-VIP-24: rate, term, overdue hours and lines as agreed, the unlisted 45 days too."""
    application = asked(desk, wanted("0.07"))
    tight = {"initial": Decimal("0.7"), "margin_call": Decimal("0.75"), "liquidation": Decimal("0.9")}
    want = wanted("0.0775", term_days=45, overdue_hours=240, fee=Decimal("0.03"), **tight)
    offer = move("counter_offer", application, desk, wanted=want, message="For 45 days.")
    assert (application.status, offer.expires_at) == ("offered", TEN + 24 * HOUR)
    assert "version 3" in Notice.objects.get().body

    move("accept_offer", application, desk)
    assert (application.status, application.expires_at) == ("submitted", TEN + 72 * HOUR)
    desks.approved(desk, application)

    loan = Loan.objects.get()
    assert (loan.annual_rate, loan.term_days, loan.debt.overdue_hours) == (Decimal("0.0775"), 45, 240)
    assert loan.due_at == TEN + timedelta(days=45)
    signed = Limits.objects.get(group=loan.group)
    assert (signed.initial, signed.margin_call, signed.liquidation, signed.fee) == (
        Decimal("0.7"),
        Decimal("0.75"),
        Decimal("0.9"),
        Decimal("0.03"),
    )
    assert loan.sheet_sha256 == last(application).sha256 == SignedSheet.objects.get().sha256


def test_the_manager_accepts_the_borrowers_terms_and_then_approves(desk: Desk) -> None:
    """R-VIP-11: acceptance goes to review; only the review pays out."""
    application = asked(desk)

    move("accept_counter", application, desk)

    assert (application.status, build.balance(desk.master, "USDT")) == ("submitted", 0)
    assert statuses(application) == [(1, "desk", "countered"), (2, "borrower", "accepted")]
    assert Notice.objects.get().kind == "offer_accepted"
    desks.approved(desk, application)
    assert Loan.objects.get().annual_rate == Decimal("0.08")


def test_a_negotiated_spread_stays_on_the_flexible_rate(desk: Desk) -> None:
    """R-VIP-23, R-VIP-24: half a point under a market that goes on moving; open term."""
    want = wanted("-0.005", term_days=None)
    application = asked(desk, want, rate_type="flexible", term_days=None)
    move("accept_counter", application, desk)
    build.flexible_rate("USDT", "0.09", at=TEN + timedelta(seconds=5))

    desks.approved(desk, application, at=TEN + timedelta(seconds=10))

    loan = Loan.objects.get()
    segment = loan.debt.rates.get()
    assert (segment.fixed_rate, segment.spread) == (None, Decimal("-0.005"))
    assert (loan.annual_rate, loan.due_at) == (Decimal("0.085"), None)


def test_turns_go_back_and_forth_until_somebody_agrees(desk: Desk) -> None:
    """R-VIP-11: versions are numbered on, each answered once."""
    application = asked(desk, wanted("0.07"))
    move("counter_offer", application, desk, wanted=wanted("0.082"))
    move("counter", application, desk, wanted=wanted("0.075"))
    assert application.status == "negotiating"
    move("counter_offer", application, desk, wanted=wanted("0.08"))
    move("accept_offer", application, desk)

    assert statuses(application) == [
        (1, "desk", "countered"),
        (2, "borrower", "countered"),
        (3, "desk", "countered"),
        (4, "borrower", "countered"),
        (5, "desk", "accepted"),
    ]
    kinds = list(LoanEvent.objects.order_by("pk").values_list("kind", flat=True))
    assert kinds == ["negotiating", "offered", "negotiating", "offered", "submitted"]


def test_declining_ends_the_offer_and_not_the_request(desk: Desk) -> None:
    """R-VIP-11: either side may make the next one."""
    application = asked(desk)
    move("counter_offer", application, desk, wanted=wanted("0.083"))

    move("decline_offer", application, desk)

    assert (application.status, application.expires_at) == ("negotiating", TEN + 72 * HOUR)
    assert statuses(application)[-1] == (3, "desk", "declined")
    move("counter", application, desk, wanted=wanted("0.079"))
    assert statuses(application)[2:] == [(3, "desk", "declined"), (4, "borrower", "open")]
    assert LoanEvent.objects.latest("pk").kind == "countered"


def test_a_manager_may_counter_what_was_accepted_already(desk: Desk) -> None:
    """R-VIP-11, R-VIP-12: then nothing is accepted until the borrower answers."""
    application = desks.submitted(desk)
    move("counter_offer", application, desk, wanted=wanted("0.09"))

    assert application.accepted is None
    assert statuses(application) == [(1, "desk", "countered"), (2, "desk", "open")]
    with pytest.raises(WrongState, match="an offer waits"):
        desks.approved(desk, application)


@pytest.mark.parametrize(("end", "status"), [("cancel", "withdrawn"), ("reject", "declined")])
def test_an_ended_negotiation_leaves_no_offer_open_or_accepted(desk: Desk, end: str, status: str) -> None:
    """R-VIP-12: the borrower's own offer is withdrawn, or the desk declines it."""
    application = asked(desk)
    if end == "cancel":
        applications.cancel(application_id=application.pk, actor=desk.borrower, at=TEN)
    else:
        origination.reject(application_id=application.pk, actor=desk.decider, at=TEN, reason="Too low.")

    assert statuses(application)[-1] == (2, "borrower", status)
    with pytest.raises(WrongState):
        move("counter", application, desk, wanted=wanted("0.079"))


# --- Who and which ------------------------------------------------------------------------------------------


def test_each_side_makes_its_own_moves_only(desk: Desk) -> None:
    """R-VIP-11, TRUST I-24"""
    application = asked(desk)
    stranger, staff = Actor.user(build.user("vip_manager")), Actor.user(build.user("risk_officer"))
    before = talked()

    for actor in (desk.borrower, staff):
        with pytest.raises(NotYourRole):
            move("accept_counter", application, desk, actor=actor)
        with pytest.raises(NotYourRole):
            move("counter_offer", application, desk, actor=actor, wanted=wanted("0.083"))
    with pytest.raises(ManagerOnly, match=desk.manager.name):
        move("accept_counter", application, desk, actor=stranger)
    for actor in (desk.decider, stranger, Actor.job("expire-offers")):
        with pytest.raises(BorrowerOnly):
            move("counter", application, desk, actor=actor, wanted=wanted("0.079"))
        with pytest.raises(BorrowerOnly):
            applications.cancel(application_id=application.pk, actor=actor, at=TEN)

    assert talked() == before


def test_nobody_answers_their_own_offer_or_an_old_one(desk: Desk) -> None:
    """R-VIP-11: what was replaced while the page was open cannot be accepted."""
    application = asked(desk)
    with pytest.raises(NotYourMove):
        move("counter", application, desk, wanted=wanted("0.079"))
    with pytest.raises(OtherVersion, match="version 2"):
        move("accept_counter", application, desk, version=1)
    move("counter_offer", application, desk, wanted=wanted("0.083"))
    before = talked()

    with pytest.raises(NotYourMove, match="2 January 2026, 10:00 UTC"):
        move("counter_offer", application, desk, wanted=wanted("0.082"))
    with pytest.raises(OtherVersion):
        move("accept_offer", application, desk, version=2)
    with pytest.raises(WrongState):
        move("accept_counter", application, desk)

    assert talked() == before


def test_terms_nobody_may_offer_are_refused_in_words(desk: Desk) -> None:
    """R-GEN-43, R-VIP-20, R-VIP-21"""
    application = asked(desk)
    move("counter_offer", application, desk, wanted=wanted("0.083"))
    before = talked()
    bad: list[tuple[Wanted, str]] = [
        (wanted(initial=Decimal("0.78")), "must rise"),
        (wanted(cutoff=Decimal("0.99")), "no room for a fee"),
        (wanted(term_days=None), "needs a term"),
        (wanted(term_days=366), "1 to 365 days"),
        (wanted(overdue_hours=0), "overdue period"),
        (wanted("-0.01"), "annual rate"),
        (wanted("0.0000000000001"), "10 decimals"),
        (replace(wanted(), rates=(CoinRate("BTC", Decimal("0.1")),)), "one rate for each coin"),
    ]
    for want, words in bad:
        with pytest.raises(BadTerms, match=words):
            move("counter", application, desk, wanted=want)
    with pytest.raises(NothingChanged, match="version 3"):
        move("counter", application, desk, wanted=wanted("0.083"))
    with pytest.raises(LongMessage):
        move("counter", application, desk, wanted=wanted("0.081"), message="x" * 2001)

    assert talked() == before


# --- Four eyes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "loose",
    [
        LOOSE,
        {"liquidation": Decimal("0.92")},
        {"fee": Decimal("0.015")},
        {"cutoff": Decimal("0.96")},
    ],
)
def test_looser_lines_or_a_lower_fee_need_a_second_person(desk: Desk, loose: dict[str, Decimal]) -> None:
    """R-VIP-24, R-ADM-03: offered by the desk, or wished by the borrower and accepted by the desk."""
    application = asked(desk, wanted("0.08", **loose))
    before = talked()

    with pytest.raises(NeedsApproval):
        move("accept_counter", application, desk)
    with pytest.raises(NeedsApproval):
        move("counter_offer", application, desk, wanted=wanted("0.082", **loose))

    assert talked() == before
    move("counter_offer", application, desk, wanted=wanted("0.082"))  # as published: one person


def test_lines_looser_than_todays_need_a_second_person_although_they_were_published_once(desk: Desk) -> None:
    """R-ADM-03, R-GEN-42: the desk tightened its lines while they talked; one person does not undo that."""
    mine, theirs = asked(desk), asked(desk)
    build.limits(*TIGHT, at=TEN + timedelta(seconds=10))
    later, before = TEN + timedelta(seconds=20), talked()

    with pytest.raises(NeedsApproval):
        move("counter_offer", mine, desk, at=later, wanted=wanted("0.083"))
    with pytest.raises(NeedsApproval):
        move("accept_counter", theirs, desk, at=later)

    assert talked() == before
    todays = dict(zip(("initial", "margin_call", "liquidation", "cutoff"), map(Decimal, TIGHT), strict=True))
    move("counter_offer", mine, desk, at=later, wanted=wanted("0.083", **todays))


def test_a_second_manager_releases_the_exact_offer(desk: Desk) -> None:
    """R-VIP-11, R-ADM-03: released as the maker; its time runs from the release."""
    application = asked(desk)
    want = wanted("0.08", **LOOSE)
    proposal = approvals.run_or_propose(
        command="vip.counter_offer",
        arguments={"application_id": application.pk, "version": 2, "wanted": want, "message": "Yes."},
        title="Looser lines",
        preview={},
        reason="A good client.",
        actor=desk.decider,
        at=TEN,
        customer=desk.owner,
    )
    assert proposal is not None
    assert application.offers.count() == 2

    checker = Actor.user(build.user("risk_officer"))
    approvals.release(approval_id=proposal.pk, actor=checker, at=TEN + HOUR)

    offer = last(application)
    assert (offer.version, offer.author, offer.expires_at) == (3, desk.manager, TEN + 25 * HOUR)
    assert offer.body["lines"]["initial"] == "0.75"


# --- Lines of the group -------------------------------------------------------------------------------------


def test_an_offer_with_other_lines_says_what_it_replaces(desk: Desk) -> None:
    """R-GEN-42: the whole group gets the new lines, and the sheet says so before acceptance."""
    loan = desks.drawn(desk, "500000")
    tight = {"initial": Decimal("0.7"), "margin_call": Decimal("0.75")}
    application = asked(desk, wanted("0.08", **tight), wishes=(terms.Wish("USDT", Decimal(50000)),))

    sheet = origination.review(application, offer=last(application), at=TEN)
    assert last(application).body["replaces"]["initial"] == "0.72"
    assert sheet.effect is not None
    assert sheet.effect.changes_lines

    move("accept_counter", application, desk)
    desks.approved(desk, application, at=TEN + timedelta(seconds=10))
    assert Limits.objects.filter(group=loan.group).latest("pk").initial == Decimal("0.7")


def test_negotiated_lines_bind_although_published_ones_are_tightened(desk: Desk) -> None:
    """R-GEN-42, R-VIP-18"""
    application = asked(desk)
    move("accept_counter", application, desk)
    build.limits("0.60", "0.65", "0.70", "0.75", at=TEN + timedelta(seconds=10))

    desks.approved(desk, application, at=TEN + timedelta(seconds=20))

    assert Limits.objects.get(group=Loan.objects.get().group).initial == Decimal("0.72")


def test_signed_lines_are_not_replaced_by_a_sheet_that_did_not_say_so(desk: Desk) -> None:
    """R-GEN-42: a request accepted before the group signed other lines cannot undo them silently."""
    first = desks.submitted(desk, "500000")
    tight = {"initial": Decimal("0.7"), "margin_call": Decimal("0.75")}
    second = asked(desk, wanted("0.08", **tight), wishes=(terms.Wish("USDT", Decimal(500000)),))
    move("accept_counter", second, desk)
    desks.approved(desk, second)
    before = everything()

    with pytest.raises(applications.TermsRefused, match="was not told") as refusal:
        desks.approved(desk, first)

    assert {problem.code for problem in refusal.value.problems} == {"lines_changed"}
    assert everything() == before


# --- Time ---------------------------------------------------------------------------------------------------


def test_an_offer_ends_at_its_time_whether_or_not_the_job_ran(desk: Desk) -> None:
    """R-VIP-11: 24 hours to the second."""
    application = asked(desk)
    move("counter_offer", application, desk, wanted=wanted("0.083"))
    end = TEN + 24 * HOUR
    before = talked()

    for name, told in (
        ("accept_offer", {}),
        ("decline_offer", {}),
        ("counter", {"wanted": wanted("0.081")}),
        ("counter_offer", {"wanted": wanted("0.081")}),
    ):
        with pytest.raises(Lapsed, match="2 January 2026, 10:00 UTC"):
            move(name, application, desk, at=end, **told)
    with pytest.raises(Lapsed):
        applications.cancel(application_id=application.pk, actor=desk.borrower, at=end)
    assert talked() == before

    move("accept_offer", application, desk, at=end - timedelta(microseconds=1))


def test_what_nobody_answered_lapses_once_and_the_borrower_is_told(desk: Desk) -> None:
    """R-VIP-11, R-VIP-12"""
    offered, waiting, decided = asked(desk), desks.submitted(desk), desks.submitted(desk, "600000")
    move("counter_offer", offered, desk, wanted=wanted("0.083"))
    origination.reject(application_id=decided.pk, actor=desk.decider, at=TEN, reason="No.")
    assert offers.expire_due(at=TEN + 24 * HOUR - timedelta(seconds=1)) == 0
    assert offers.expire_due(at=TEN + 24 * HOUR) == 1
    assert offers.expire_due(at=TEN + 80 * HOUR) == 1
    assert offers.expire_due(at=TEN + 80 * HOUR) == 0

    for row in (offered, waiting, decided):
        row.refresh_from_db()
    assert [row.status for row in (offered, waiting, decided)] == ["expired", "expired", "rejected"]
    assert statuses(offered)[-1] == (3, "desk", "expired")
    assert statuses(waiting) == [(1, "desk", "expired")]
    told = Notice.objects.filter(kind="application_expired").order_by("pk")
    assert [notice.body.split(",")[0] for notice in told] == [
        "Your manager's offer was not answered by 2 January 2026",
        "It was not decided by 4 January 2026",
    ]


def test_the_timetable_wakes_the_job_that_ends_offers(desk: Desk) -> None:
    """R-VIP-11: each minute, by the clock of the worker."""
    application = desks.submitted(desk)
    with visit.at(TEN + 72 * HOUR):
        tasks.expire_offers()

    application.refresh_from_db()
    assert application.status == "expired"
    entry = TIMETABLE["expire requests and offers"]
    assert (entry["task"], entry["schedule"]) == ("loans.tasks.expire_offers", timedelta(seconds=60))


def test_a_lapsed_request_is_not_approved(desk: Desk) -> None:
    """R-VIP-18: an accepted quote binds until it lapses, and not a second longer."""
    application = desks.submitted(desk)
    late = datetime(2026, 1, 4, 10, tzinfo=UTC)
    desks.quote(late)
    before = everything()

    with pytest.raises(Lapsed):
        desks.approved(desk, application, at=late)

    assert everything() == before
    desks.quote(late - timedelta(seconds=1))
    desks.approved(desk, application, at=late - timedelta(seconds=1))
    assert body(application)["version"] == 1


def test_the_tables_of_moves_in_python_and_in_the_database_agree(desk: Desk) -> None:
    """RULES section 13: no transition out of DISBURSED, none back to DRAFT."""
    ends = {before for before, _ in APPLICATION_MOVES}
    assert not ends & {"disbursed", "rejected", "cancelled", "expired"}
    assert all(after != "draft" for _, after in APPLICATION_MOVES)
    assert {before for before, after in APPLICATION_MOVES if after == "approved"} == {"submitted"}
