"""A client's policy in one view: in force, coming and past, beside what is published, with who and why (R-FTR-14)."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test.utils import CaptureQueriesContext

from accounts import approvals
from accounts.commands import Actor
from accounts.models import User
from loans import clients
from loans.pages.desk_policy import Subject, subjects_of
from risk import delays, parameters
from risk.levels import Lines
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk
from tests.loans.visit import at, client_of

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def settle(desk: Desk, **told: Any) -> None:
    told = {"reason": "As agreed", "actor": desk.decider, "at": TEN} | told
    clients.set_client_terms(customer_id=desk.owner.pk, **told)


def subject(desk: Desk, slug: str, instant: datetime = TEN) -> Subject:
    return next(one for one in subjects_of(desk.owner, at=instant) if one.slug == slug)


def cells(found: Subject, label: str) -> list[tuple[str, bool, bool]]:
    term = next(one for one in found.terms if one.label == label)
    return [(cell.text.replace("\xa0", " "), cell.is_own, cell.is_changed) for cell in term.cells]


def page(desk: Desk, by: User | None = None, instant: datetime = TEN) -> HttpResponse:
    with at(instant):
        return client_of(by or desk.manager).get(f"/desk/clients/{desk.owner.pk}/policy/")


def text_of(response: HttpResponse) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()).replace("\xa0", " "))


def test_a_client_without_own_terms_has_the_published_ones(desk: Desk) -> None:
    """R-FTR-14"""
    assert all(not one.versions and one.now is None for one in subjects_of(desk.owner, at=TEN))
    seen = text_of(page(desk))
    assert "Everything is as published." in seen
    assert "168 h" in seen
    assert "72 %" in seen
    assert "not enrolled: sold at once" in seen


def test_versions_are_in_force_coming_or_past(desk: Desk) -> None:
    """R-FTR-14, R-ADM-02: an end of its own, or the start of the next; at that very instant the next counts."""
    settle(desk, spread=Decimal("0.005"), overdue_hours=48)
    settle(desk, spread=Decimal("0.01"), starts_at=TEN + DAY, ends_at=TEN + 2 * DAY)

    def states(instant: datetime) -> list[str]:
        return [one.state for one in subject(desk, "terms", instant).versions]

    assert states(TEN) == ["in force", "coming"]
    assert states(TEN + DAY) == ["past", "in force"]
    assert states(TEN + 2 * DAY) == ["past", "past"]  # and the first does not come back
    first, second = subject(desk, "terms").versions
    assert (first.starts_at, first.ends_at, first.is_replaced) == (TEN, TEN + DAY, True)
    assert (second.ends_at, second.is_replaced) == (TEN + 2 * DAY, False)


def test_each_version_is_laid_beside_the_published_and_the_one_before(desk: Desk) -> None:
    """R-FTR-14: what is own and what changed are told apart."""
    settle(desk, spread=Decimal("0.005"), overdue_hours=48)
    settle(desk, spread=Decimal("0.005"), overdue_hours=168, starts_at=TEN + DAY)
    found = subject(desk, "terms")
    assert cells(found, "Spread on the published rate, a year") == [
        ("+0.50 pp", True, True),
        ("+0.50 pp", True, False),
    ]
    assert cells(found, "From expiry to forced sale") == [("48 h", True, True), ("168 h", False, True)]
    assert cells(found, "Coins it may borrow") == [("as published", False, False)] * 2


def test_no_coin_at_all_is_not_as_published(desk: Desk) -> None:
    """R-FTR-14, R-ADM-02"""
    settle(desk, allowed_coins=())
    assert cells(subject(desk, "terms"), "Coins it may borrow") == [("none", True, True)]


def test_a_coin_has_terms_of_its_own(desk: Desk) -> None:
    """R-FTR-14, R-VIP-06: only what a coin can have."""
    settle(desk, asset="USDT", spread=Decimal("0.01"))
    found = subject(desk, "terms-usdt")
    assert [term.label for term in found.terms] == [
        "Spread on the published rate, a year",
        "Maximum per order",
    ]
    assert found.title == "Rate, hours and limits, USDT"


def test_lines_say_who_set_and_who_released_them(desk: Desk) -> None:
    """R-FTR-14, R-ADM-03: looser lines, proposed by the manager and released by an officer."""
    officer = build.user("risk_officer", name="Olga")
    looser = Lines(*(Decimal(one) for one in ("0.73", "0.78", "0.91", "0.95", "0.02")))
    proposal = approvals.propose(
        command="risk.publish_limits",
        arguments={"product": "vip", "customer": desk.owner, "lines": looser, "ends_at": TEN + 30 * DAY},
        title="Own LTV lines",
        preview={},
        reason="Ten years without a call",
        actor=desk.decider,
        at=TEN,
        customer=desk.owner,
    )
    assert "Own LTV lines" in text_of(page(desk))  # it waits
    later = TEN + timedelta(hours=1)
    approvals.release(approval_id=proposal.pk, actor=Actor.user(officer), at=later)
    [version] = subject(desk, "lines", later).versions
    assert (version.by, version.released_by, version.why) == (
        desk.manager.name,
        "Olga",
        "Ten years without a call",
    )
    assert (version.state, version.ends_at) == ("in force", TEN + 30 * DAY)
    assert cells(subject(desk, "lines", later), "Initial LTV") == [("73 %", True, True)]
    assert cells(subject(desk, "lines", later), "Liquidation at") == [("91 %", False, False)]
    seen = text_of(page(desk, instant=later))
    assert "released by Olga" in seen
    assert "Own now: ltv lines until 31 Jan 2026, 10:00 UTC" in seen


def test_handling_and_delays_are_part_of_it(desk: Desk) -> None:
    """R-FTR-14, R-VIP-60, R-VIP-63: an enrolment that was ended before it began never was."""
    parameters.publish_handling(
        product="vip",
        customer=desk.owner,
        mode="stepped",
        target=Decimal("0.65"),
        actor=build.BUILDER,
        at=TEN,
    )
    told = {"customer_id": desk.owner.pk, "actor": desk.decider, "at": TEN}
    never = delays.enrol(starts_at=TEN + DAY, ends_at=TEN + 2 * DAY, **told)  # type: ignore[arg-type]
    delays.end_enrolment(enrolment_id=never.pk, actor=desk.decider, at=TEN)
    delays.enrol(starts_at=TEN, ends_at=TEN + 90 * DAY, **told)  # type: ignore[arg-type]
    handling = subject(desk, "handling")
    assert cells(handling, "Liquidation") == [("in steps", True, True)]
    assert cells(handling, "Steps stop at LTV") == [("65 %", True, True)]
    assert cells(handling, "Trades in a call") == [("only those that lower LTV", False, False)]
    [enrolment] = subject(desk, "delay").versions
    assert (enrolment.state, enrolment.ends_at, enrolment.by) == (
        "in force",
        TEN + 90 * DAY,
        desk.manager.name,
    )


def test_many_versions_are_counted_not_shown(desk: Desk) -> None:
    """R-FTR-14: the four latest, and the change of the first shown is against the one before it."""
    for number in range(6):
        settle(desk, overdue_hours=10 + number // 2, starts_at=TEN + number * DAY)
    found = subject(desk, "terms")
    assert (len(found.versions), found.hidden) == (4, 2)
    assert [changed for _, _, changed in cells(found, "From expiry to forced sale")] == [
        True,
        False,
        True,
        False,
    ]


def test_the_page_asks_no_more_questions_for_more_versions(desk: Desk) -> None:
    """STYLE 15, R-FTR-14"""

    def ask() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert page(desk).status_code == 200
        return len(asked)

    settle(desk, overdue_hours=10)
    ask()
    few = ask()
    for number in range(1, 4):
        settle(desk, overdue_hours=10 + number, starts_at=TEN + number * DAY)
        settle(desk, asset="USDT", spread=Decimal("0.01"), starts_at=TEN + number * DAY)
    assert ask() == few


def test_the_forms_are_one_press_away(desk: Desk) -> None:
    """R-FTR-14, R-ADM-02"""
    seen = page(desk).content.decode()
    assert f"/desk/clients/{desk.owner.pk}/terms/" in seen
    assert f"/desk/clients/{desk.owner.pk}/delays/" in seen
