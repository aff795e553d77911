"""Pages about delayed liquidation and early warnings: the countdown, what is needed now, and who may do what."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts import approvals
from accounts.commands import Actor, acting
from accounts.models import Approval, Membership, User
from risk import delays, early_warnings, freezes, sweep
from risk.models import CollateralGroup, DelayEnrolment, LiquidationDelay, WarningLine
from tests import build
from tests.loans import visit

D = Decimal
NOON = build.NOON
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
JOB = Actor.job("test")

pytestmark = pytest.mark.django_db


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()).replace("\xa0", " "))


class House:
    """One client with a manager, a member and a group whose liquidation call runs."""

    def __init__(self) -> None:
        self.group: CollateralGroup = build.secured_debt(rate="0").group
        self.manager, self.member = build.user("vip_manager"), build.user()
        self.client = self.group.customer
        with acting(build.BUILDER):
            self.client.manager = self.manager
            self.client.save(update_fields=["manager"])
            Membership.objects.create(customer=self.client, user=self.member, since=NOON)

    def enrol(self) -> DelayEnrolment:
        return delays.enrol(
            customer_id=self.client.pk,
            starts_at=NOON,
            ends_at=None,
            actor=Actor.user(self.manager),
            at=NOON,
        )

    def delay(self) -> LiquidationDelay:
        self.enrol()
        for seconds in (0, 5):
            self.quote("43900", NOON + seconds * SECOND)
            sweep.sweep(at=NOON + seconds * SECOND)
        row = delays.running(self.group)
        assert row is not None
        return row

    def quote(self, btc: str, at: Any) -> None:
        build.prices(at, BTC=btc, USDT="1")


@pytest.fixture
def house(db: None) -> House:
    return House()


def page(user: User, name: str, *args: object, at: Any = NOON) -> Any:
    with visit.later(user, at) as client:
        return client.get(reverse(name, args=args))


def post(user: User, name: str, *args: object, at: Any = NOON, **data: object) -> Any:
    with visit.later(user, at) as client:
        return client.post(reverse(name, args=args), {"key": str(uuid4())} | data)


# --- The countdown ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["risk:group", "loans:home"])
def test_the_borrower_sees_the_time_left_and_what_each_coin_would_have_to_be(house: House, name: str) -> None:
    """R-VIP-60: with a link to repay and to add, exactly as much as is needed now"""
    row = house.delay()
    at = NOON + HOUR
    house.quote("43900", at)

    response = page(house.member, name, *([house.group.pk] if name == "risk:group" else []), at=at)

    text = text_of(response)
    assert response.status_code == 200
    assert "Nothing is sold for another 23 h 0 min" in text
    assert "until 2 Jan 2026, 12:00 UTC" in text
    assert "unless LTV rises above 95 %" in text
    # 1,000,000 - 0.72 x 25 x 43,900 = 209,800 to repay, or 1,000,000 / 0.72 / 43,900 - 25 = 6.6375601...
    html = response.content.decode()
    debt = house.group.debts.get()
    assert (
        f'href="{reverse("loans:of_debt", args=[debt.pk])}?amount=209800&amp;cure=to%3A0.72%3A209800%3A0.72"'
        in html
    )
    member = house.group.members.get().account_id
    assert f"target={member}&amp;asset=BTC&amp;amount=6.63756012" in html
    assert f'datetime="{row.ends_at:%Y-%m-%dT%H:%M:%SZ}"' in html


def test_once_time_is_up_the_page_does_not_count_backwards(house: House) -> None:
    """R-VIP-62: a blind group waits past the end"""
    house.delay()
    text = text_of(page(house.member, "risk:group", house.group.pk, at=NOON + 30 * HOUR))
    assert "Its time was up at 2 Jan 2026, 12:00 UTC" in text
    assert "ago" not in text.split("Its time was up")[1][:120]


def test_without_a_delay_no_page_speaks_of_one(house: House) -> None:
    """R-VIP-60"""
    house.quote("60000", NOON)
    assert "Liquidation call" not in text_of(page(house.member, "risk:group", house.group.pk))


# --- The desk ------------------------------------------------------------------------------------------------------


def test_the_desk_lists_delays_graces_pauses_and_reviews(house: House) -> None:
    """R-VIP-60, R-VIP-62, R-GEN-24, R-ADM-05"""
    house.delay()
    other = build.secured_debt(rate="0").group
    with acting(build.BUILDER):
        CollateralGroup.objects.filter(pk=other.pk).update(grace_until=NOON + HOUR)
        DelayEnrolment.objects.update(review_since=NOON)
    officer = build.user("risk_officer")
    freezes.place(
        what="liquidate", reason="venue down", ends_at=NOON + HOUR, actor=Actor.user(officer), at=NOON
    )
    at = NOON + 10 * SECOND
    house.quote("43900", at)

    text = text_of(page(officer, "loans:desk_calls", at=at))

    assert "1 in delay" in text
    assert "repay 209,800.00 USDT" in text
    assert "In grace" in text
    assert str(other) in text
    assert "Nothing is liquidated. Every group until 1 Jan 2026, 13:00 UTC : venue down" in text
    assert "To review" in text
    mine = text_of(page(house.manager, "loans:desk_calls", at=at))
    assert str(house.group) in mine
    assert str(other) not in mine
    nobodys = text_of(page(build.user("vip_manager"), "loans:desk_calls", at=at))
    assert str(house.group) not in nobodys
    assert "To review" not in nobodys


def test_the_lists_of_the_desk_ask_no_more_for_more_delays(house: House) -> None:
    """STYLE 15"""
    house.delay()
    officer, at = build.user("risk_officer"), NOON + 10 * SECOND
    house.quote("43900", at)

    def queries() -> int:
        with visit.later(officer, at) as client, CaptureQueriesContext(connection) as seen:
            client.get(reverse("loans:desk_calls"))
        return len(seen)

    one = queries()
    for _ in range(3):
        group = build.secured_debt(rate="0").group
        with acting(build.BUILDER):
            LiquidationDelay.objects.create(
                group=group,
                enrolment=DelayEnrolment.objects.get(),
                started_at=NOON,
                ends_at=NOON + 24 * HOUR,
            )
    assert queries() == one


def test_a_manager_enrols_reviews_and_ends(house: House) -> None:
    """R-VIP-60, R-VIP-62, R-ADM-02"""
    done = post(house.manager, "loans:desk_delays", house.client.pk, reason="ten years with us")
    assert done.status_code == 302
    row = DelayEnrolment.objects.get()
    assert (row.customer, row.starts_at, row.ends_at, row.granted_by) == (
        house.client,
        NOON,
        None,
        house.manager,
    )

    again = post(house.manager, "loans:desk_delays", house.client.pk, reason="twice")
    assert again.status_code == 422
    assert "is enrolled from 2026-01-01 12:00 UTC. End that enrolment first." in text_of(again)

    with acting(build.BUILDER):
        DelayEnrolment.objects.update(review_since=NOON)
    shown = text_of(page(house.manager, "loans:desk_delays", house.client.pk))
    assert "to review" in shown
    change = {"enrolment": row.pk}
    post(house.manager, "loans:desk_delays_change", house.client.pk, what="keep", **change)
    row.refresh_from_db()
    assert (row.review_since, row.ends_at) == (None, None)
    post(house.manager, "loans:desk_delays_change", house.client.pk, what="end", at=NOON + HOUR, **change)
    row.refresh_from_db()
    assert row.ends_at == NOON + HOUR


def test_others_neither_enrol_nor_look(house: House) -> None:
    """R-VIP-60, R-ADM-01: 404 for a stranger, a reason for staff whose work it is not"""
    for role, status in (("vip_manager", 404), ("borrower", 404), ("auditor", 422), ("finance", 422)):
        answer = post(build.user(role), "loans:desk_delays", house.client.pk, reason="please")
        assert answer.status_code == status, role
    assert not DelayEnrolment.objects.exists()


def test_more_time_is_proposed_and_counts_once_released(house: House) -> None:
    """R-ADM-05, R-ADM-03"""
    row = house.delay()
    ends_at = row.ends_at
    at = NOON + HOUR
    house.quote("43900", at)

    bad = post(
        house.manager, "loans:desk_more_time", house.group.pk, at=at, until="2026-01-02 11:00", reason="x"
    )
    assert bad.status_code == 422
    assert "must be after 2026-01-02 12:00 UTC" in text_of(bad)
    done = post(
        house.manager,
        "loans:desk_more_time",
        house.group.pk,
        at=at,
        until="2026-01-02 18:00",
        reason="the wire",
    )
    assert done.status_code == 302
    row.refresh_from_db()
    assert row.ends_at == ends_at

    approval = Approval.objects.get()
    assert "until 2026-01-02 18:00 UTC" in approval.title
    approvals.release(approval_id=approval.pk, actor=Actor.user(build.user("risk_officer")), at=at + SECOND)
    row.refresh_from_db()
    assert row.ends_at == NOON + 30 * HOUR


def test_the_page_says_how_much_more_time_there_may_be(house: House) -> None:
    """R-FTR-17: the limits before, and the same ones when more is asked for; nothing is proposed then."""
    row, at = house.delay(), NOON + HOUR
    url = reverse("loans:desk_more_time", args=[house.group.pk])
    with visit.at(at):
        page = text_of(visit.client_of(house.manager).get(url))
    assert "At the latest 3 Jan 2026, 12:00 UTC" in page
    assert "at most 24 h at a time and 48 h within 168 h." in page
    bad = post(
        house.manager,
        "loans:desk_more_time",
        house.group.pk,
        at=at,
        until="2026-01-03 12:01",
        reason="the wire",
    )
    assert bad.status_code == 422
    assert "at the latest 2026-01-03 12:00 UTC: at most 24 h at a time" in text_of(bad)
    assert not Approval.objects.exists()
    assert LiquidationDelay.objects.get().ends_at == row.ends_at


# --- Early warnings ---------------------------------------------------------------------------------------------


def test_a_borrower_sets_and_removes_a_line(house: House) -> None:
    """R-GEN-63"""
    house.quote("60000", NOON)
    name, args = "risk:warnings", [house.group.pk]
    assert page(house.member, name, *args).status_code == 200
    high = post(house.member, name, *args, ltv="77.01", coin="")
    assert high.status_code == 422
    assert "at most the margin call line of 77 %" in text_of(high)
    for typed in ("abc", "", "1e1", "0.123456789"):
        assert post(house.member, name, *args, ltv=typed, coin="").status_code == 422
    assert not WarningLine.objects.exists()

    assert post(house.member, name, *args, ltv="70.5", coin="BTC").status_code == 302
    row = WarningLine.objects.get()
    assert (row.ltv, row.asset_id, row.set_at) == (D("0.705"), "BTC", NOON)
    shown = text_of(page(house.member, name, *args))
    assert "70.5 % while it holds BTC not crossed" in shown
    assert "Early warnings (1)" in text_of(page(house.member, "risk:group", *args))

    assert post(house.member, "risk:warnings_remove", *args, line=row.pk).status_code == 302
    assert early_warnings.own_lines(house.group) == []


def test_only_the_owner_has_warning_lines(house: House) -> None:
    """R-GEN-63, TRUST section 7: a stranger, the manager and staff find nothing; nor who may use one account only"""
    house.quote("60000", NOON)
    limited = build.user()
    with acting(build.BUILDER):
        Membership.objects.create(
            customer=house.client, user=limited, account=house.group.receiver, since=NOON
        )
    stranger = build.user()
    build.customer(member=stranger)
    for user in (stranger, house.manager, build.user("admin"), limited):
        for name in ("risk:warnings", "risk:warnings_remove"):
            answer = post(user, name, house.group.pk, ltv="70", coin="", line="1")
            assert answer.status_code == 404, (user.role, name)
    assert not WarningLine.objects.exists()
    assert Client().get(reverse("risk:warnings", args=[house.group.pk])).status_code == 302


def test_a_cure_that_the_sweep_has_not_seen_yet_is_said(house: House) -> None:
    """R-VIP-60: the page reads newer prices than the last pass did"""
    house.delay()
    at = NOON + HOUR
    house.quote("60000", at)
    text = text_of(page(house.member, "risk:group", house.group.pk, at=at))
    assert "below 72 %: the call ends at the next look at the group" in text
    assert "Needed now" not in text
