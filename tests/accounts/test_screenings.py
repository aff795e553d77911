"""What is found out about a customer: who records it, what counts, and until when. R-ADM-10"""

from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from accounts import people, screenings
from accounts.commands import Actor, NotYourRole, acting
from accounts.models import AuditRecord, Customer, Screening, User
from accounts.screenings import BadScreening
from tests import build
from tests.build import BUILDER, NOON

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def firm(db: None) -> Customer:
    return build.customer("Firm", is_screened=False)


def record(firm: Customer, kind: str = "identity", status: str = "clear", **changes: Any) -> Screening:
    told = {"actor": BUILDER, "at": NOON} | changes
    return screenings.record(customer_id=firm.pk, kind=kind, status=status, **told)


def codes(firm: Customer, *, is_first: bool = True, at: Any = NOON) -> list[str]:
    return [problem.code for problem in screenings.problems(firm, is_first=is_first, at=at)]


def test_both_checks_are_clear_before_the_first_payout(firm: Customer) -> None:
    """R-ADM-10"""
    assert codes(firm) == ["not_screened", "not_screened"]
    assert [check.words for check in screenings.summary(firm, NOON)] == ["not checked yet"] * 2
    record(firm, "identity")
    assert codes(firm) == ["not_screened"]
    record(firm, "sanctions", "pending")
    assert codes(firm) == ["not_screened"]
    [problem] = screenings.problems(firm, is_first=True, at=NOON)
    assert problem.message.startswith(
        "Sanctions: Firm is being checked since 1 January 2026. The first payout waits"
    )
    assert "Operations, a risk officer or an administrator records it" in problem.message
    record(firm, "sanctions", "clear")
    assert codes(firm) == []
    assert [check.words for check in screenings.summary(firm, NOON)] == ["clear"] * 2


def test_a_later_payout_only_asks_that_nothing_was_refused(firm: Customer) -> None:
    """R-ADM-10"""
    assert codes(firm, is_first=False) == []
    record(firm, "sanctions", "pending")
    assert codes(firm, is_first=False) == []
    record(firm, "sanctions", "refused", note="On a list of 1 January")
    assert codes(firm, is_first=False) == ["screening_refused"]
    assert codes(firm, is_first=True) == ["screening_refused"]
    record(firm, "sanctions", "clear", note="A namesake")
    assert codes(firm, is_first=False) == []


@pytest.mark.parametrize("is_first", [True, False])
def test_looking_into_a_refusal_again_does_not_lift_it(firm: Customer, is_first: bool) -> None:
    """R-ADM-10: only a clear check does"""
    record(firm, "identity")
    record(firm, "sanctions", "refused", note="On a list")
    record(firm, "sanctions", "pending", at=NOON + DAY)
    [problem] = screenings.problems(firm, is_first=is_first, at=NOON + DAY)
    assert problem.code == "screening_refused"
    assert "was refused on 1 January 2026" in problem.message
    assert screenings.status_of(firm, at=NOON + DAY)["sanctions"].words == "refused, and being checked again"
    record(firm, "sanctions", "clear", at=NOON + DAY)
    assert codes(firm, is_first=is_first, at=NOON + DAY) == []


def test_the_row_recorded_last_counts_whenever_it_was_checked(firm: Customer) -> None:
    """R-ADM-10"""
    record(firm, "identity", "clear")
    record(firm, "identity", "refused", note="False papers", checked_at=NOON - DAY)
    assert codes(firm) == ["screening_refused"]


def test_a_check_is_over_at_its_time(firm: Customer) -> None:
    """R-ADM-10: valid up to it, and not at it"""
    until = NOON + 30 * DAY
    record(firm, "identity", valid_until=until)
    record(firm, "sanctions")
    assert codes(firm, at=until - timedelta(microseconds=1)) == []
    assert codes(firm, at=until) == ["not_screened"]
    assert codes(firm, is_first=False, at=until) == []
    [problem] = screenings.problems(firm, is_first=True, at=until)
    assert "valid until 31 January 2026, 12:00 UTC, and has to be checked again" in problem.message
    assert screenings.status_of(firm, at=until)["identity"].words == "has to be done again"


def test_what_was_published_has_been_accepted_before_the_first_payout(firm: Customer) -> None:
    """R-ADM-10, R-VIP-16"""
    build.screened(firm)
    member = build.user()
    people.add_member(customer_id=firm.pk, user_id=member.pk, actor=BUILDER, at=NOON)
    people.publish_agreement(version="1", text="Risky.", actor=BUILDER, at=NOON)
    assert codes(firm) == ["never_agreed"]
    assert codes(firm, is_first=False) == []
    people.accept_agreement(
        customer_id=firm.pk, user_id=member.pk, version="1", actor=Actor.user(member), at=NOON
    )
    assert codes(firm) == []
    people.publish_agreement(version="2", text="Riskier.", actor=BUILDER, at=NOON + DAY)
    assert codes(firm, at=NOON + DAY) == []  # the request asks for the new one, not the payout


@pytest.mark.parametrize("role", sorted(set(User.Role.values) - {"ops", "risk_officer", "admin"}))
def test_who_lives_from_lending_does_not_clear_a_client(firm: Customer, role: str) -> None:
    """R-ADM-10: never a VIP manager, nor their own client's"""
    someone = build.user(role)
    with acting(BUILDER):
        if role == "vip_manager":
            firm.manager = someone
            firm.save(update_fields=["manager"])
    with pytest.raises(NotYourRole):
        record(firm, actor=Actor.user(someone))
    assert not Screening.objects.exists()


@pytest.mark.parametrize("role", ["ops", "risk_officer", "admin"])
def test_the_back_office_records_it_and_is_named(firm: Customer, role: str) -> None:
    """R-ADM-10, TRUST I-21"""
    someone = build.user(role)
    row = record(firm, actor=Actor.user(someone), reference=" Case 7 ")
    assert (row.recorded_by, row.reference, row.checked_at) == (someone, "Case 7", NOON)
    trail = AuditRecord.objects.filter(subject=f"accounts_screening:{row.pk}")
    assert [one.actor for one in trail] == [f"user:{someone.pk}"]


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"kind": "mood"}, "identity or of sanctions"),
        ({"status": "maybe"}, "pending, clear or refused"),
        ({"checked_at": NOON + timedelta(seconds=1)}, "still to come"),
        ({"valid_until": NOON}, "later time than now"),
        ({"valid_until": NOON + 3651 * DAY}, "ten years"),
        ({"status": "pending", "valid_until": NOON + DAY}, "Only a clear check"),
        ({"status": "refused"}, "Say in the note"),
        ({"status": "refused", "note": "  "}, "Say in the note"),
        ({"reference": "x" * 121}, "120 characters"),
        ({"note": "x" * 2001}, "2000"),
        ({"note": "a\x00b"}, "NUL"),
    ],
)
def test_what_is_no_check_is_refused(firm: Customer, told: dict[str, Any], words: str) -> None:
    """R-ADM-10: and nothing is recorded"""
    with pytest.raises(BadScreening, match=words):
        record(firm, **told)
    assert not Screening.objects.exists()


def test_what_was_found_stays(firm: Customer) -> None:
    """R-ADM-10: history, also for the application's own role"""
    row = record(firm)
    with pytest.raises(DatabaseError), transaction.atomic():
        Screening.objects.filter(pk=row.pk).update(status="refused")
    with pytest.raises(DatabaseError), transaction.atomic():
        row.delete()
    assert Screening.objects.get().status == "clear"
