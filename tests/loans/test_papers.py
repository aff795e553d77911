"""No money leaves the desk before the customer's papers are in order; the borrower is told no more. R-ADM-10"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from accounts import people, screenings
from accounts.commands import acting
from config.celery import TIMETABLE
from loans import tasks
from loans.models import Application, Loan, Product
from loans.vip import applications, papers
from loans.vip.moves import TermsRefused
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans import visit
from tests.loans.desk import Desk, everything

SOON = timedelta(seconds=30)


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def unscreened() -> Desk:
    """The desk of `set_up`, with a customer about whom nothing is known yet."""
    known = desks.set_up()
    applicant = build.user()
    owner = build.customer(manager=known.manager, member=applicant, is_screened=False)
    sub = build.account(owner)
    build.deposit(sub, "BTC", "25", at=LONG_AGO)
    return Desk(owner, applicant, known.manager, build.master(owner), sub)


def record(desk: Desk, kind: str, status: str, **told: Any) -> None:
    screenings.record(
        customer_id=desk.owner.pk, kind=kind, status=status, **({"actor": BUILDER, "at": TEN} | told)
    )


@pytest.mark.django_db
def test_a_request_is_sent_at_once_and_paid_out_when_the_papers_are_clear() -> None:
    """R-ADM-10: checked at approval, under the locks; the manager reads who records it"""
    desk = unscreened()
    application = desks.submitted(desk)
    assert application.status == "submitted"
    before = everything()

    with pytest.raises(TermsRefused, match="records it on the client's screening page") as refusal:
        desks.approved(desk, application)
    assert {problem.code for problem in refusal.value.problems} == {"not_screened"}
    record(desk, "identity", "clear")
    with pytest.raises(TermsRefused, match="Sanctions: "):
        desks.approved(desk, application)
    assert everything() == before

    record(desk, "sanctions", "clear")
    desks.approved(desk, application)
    assert build.balance(desk.master, "USDT") == 1000000


@pytest.mark.django_db
def test_a_refusal_stops_every_payout(desk: Desk) -> None:
    """R-ADM-10"""
    desks.drawn(desk, "500000")
    application = desks.submitted(desk, "100000")
    record(desk, "sanctions", "refused", note="Listed")
    before = everything()
    with pytest.raises(TermsRefused, match="was refused on 1 January 2026; nothing is paid out"):
        desks.approved(desk, application)
    assert everything() == before
    assert Loan.objects.count() == 1


@pytest.mark.django_db
def test_a_check_that_lapsed_stops_the_first_payout_only(desk: Desk) -> None:
    """R-ADM-10"""
    record(desk, "identity", "clear", valid_until=TEN + SOON)
    first = desks.submitted(desk, "500000")
    desks.quote(TEN + SOON)
    with pytest.raises(TermsRefused, match="has to be checked again"):
        desks.approved(desk, first, at=TEN + SOON)
    desks.approved(desk, first, at=TEN + SOON - timedelta(microseconds=1))
    later = desks.submitted(desk, "100000", at=TEN + SOON)
    desks.approved(desk, later, at=TEN + SOON)
    assert Loan.objects.count() == 2


@pytest.mark.django_db
def test_the_first_payout_waits_for_the_agreement(desk: Desk) -> None:
    """R-ADM-10, R-VIP-16: one that was published after the request was made without any"""
    application = desks.submitted(desk)
    people.publish_agreement(version="1", text="Risky.", actor=BUILDER, at=TEN)
    with pytest.raises(TermsRefused, match="has not accepted the borrowing agreement yet"):
        desks.approved(desk, application, at=TEN + SOON)
    people.accept_agreement(
        customer_id=desk.owner.pk, user_id=desk.applicant.pk, version="1", actor=desk.borrower, at=TEN + SOON
    )
    desks.approved(desk, application, at=TEN + SOON)
    assert Loan.objects.count() == 1


@pytest.mark.django_db
def test_the_borrower_is_told_that_and_not_what(desk: Desk) -> None:
    """R-ADM-10: a suspicion is no news for the one under it"""
    assert papers.note_for(desk.owner, at=TEN) == ""
    record(desk, "sanctions", "pending")
    pending = papers.note_for(desk.owner, at=TEN)
    record(desk, "sanctions", "refused", note="Listed")
    assert pending == papers.note_for(desk.owner, at=TEN)
    assert "We still have to check the papers of" in pending
    for word in ("sanction", "refused", "identity", "Listed"):
        assert word not in pending


InThreads = Callable[[list[Callable[[], Any]]], list[Any]]


def test_a_refusal_recorded_at_the_moment_of_approval_is_before_it_or_after_it(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-ADM-10, TRUST I-23: never a payout that saw half of it"""
    desk = desks.set_up()
    application = desks.submitted(desk)

    def refuse() -> None:
        record(desk, "sanctions", "refused", note="Listed")

    approval, refusal = in_threads([lambda: desks.approved(desk, application), refuse])

    assert refusal is None
    assert isinstance(approval, (Application, TermsRefused))
    assert Loan.objects.count() == isinstance(approval, Application)
    with pytest.raises(TermsRefused, match="was refused"):
        desks.approved(desk, desks.submitted(desk, "600000"))


# --- The automatic review -----------------------------------------------------------------------------


def automatic() -> None:
    with acting(BUILDER):
        Product.objects.create(
            code="vip",
            effective_at=TEN - timedelta(days=1),
            auto_approve_usd="1000000",
            auto_approve_ltv="0.7",
        )


@pytest.mark.django_db
def test_the_automatic_review_waits_for_the_papers_and_then_grants() -> None:
    """R-ADM-10, R-VIP-12: it does not fail, and nobody has to ask again"""
    desk = unscreened()
    automatic()
    application = desks.submitted(desk)
    assert (application.status, Loan.objects.count()) == ("submitted", 0)
    assert application.events.filter(kind="waits_for_papers").count() == 1
    assert applications.approve_waiting(at=TEN) == 0

    build.screened(desk.owner, at=TEN)
    with visit.at(TEN):
        tasks.approve_waiting()

    application.refresh_from_db()
    assert (application.status, application.decided_by) == ("disbursed", None)
    assert build.balance(desk.master, "USDT") == 1000000
    assert applications.approve_waiting(at=TEN) == 0
    assert TIMETABLE["approve what waited for checks"]["schedule"] == timedelta(seconds=60)


@pytest.mark.django_db
def test_what_is_not_safe_any_more_waits_for_the_manager() -> None:
    """R-ADM-10, R-VIP-12"""
    desk = unscreened()
    automatic()
    application = desks.submitted(desk)
    build.screened(desk.owner, at=TEN)
    desks.quote(TEN + SOON, BTC="56000")  # 71.4 %, below the initial line and above the automatic one
    assert applications.approve_waiting(at=TEN + SOON) == 0
    application.refresh_from_db()
    assert application.status == "submitted"
    desks.approved(desk, application, at=TEN + SOON)


@pytest.mark.django_db
def test_a_request_for_the_manager_does_not_wait_for_the_papers(desk: Desk) -> None:
    """R-VIP-12: too large for the automatic review in any case"""
    automatic()
    application = desks.submitted(desk, "1000001")
    assert not application.events.filter(kind="waits_for_papers").exists()
    assert applications.approve_waiting(at=TEN) == 0
