"""A client's policy page: each form one command, dated, with a reason; history; and nobody else's client (R-ADM-02)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.http import HttpResponse

from accounts import approvals
from accounts.commands import Actor
from accounts.models import Approval, User
from loans.models import ClientTerms
from loans.pages.client_forms import fraction, percent
from loans.policy import policy_of
from risk import delays, parameters
from risk.models import AssetCap, HandlingRule, Limits
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk
from tests.loans.visit import at, client_of

pytestmark = pytest.mark.django_db

LINES = {
    "initial_line": "70",
    "margin_call": "75",
    "liquidation": "90",
    "cutoff": "95",
    "fee": "2",
}
HANDLING = {
    "mode": "stepped",
    "target": "65",
    "step_share": "25",
    "full_below_usd": "500",
    "fee_base": "debt_repaid",
    "call_trades": "none",
}


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def post(desk: Desk, what: str, *, by: User | None = None, **typed: Any) -> HttpResponse:
    sent = {"what": what, "reason": "As agreed", "key": str(uuid4())} | typed
    with at(TEN):
        return client_of(by or desk.manager).post(f"/desk/clients/{desk.owner.pk}/terms/", sent, follow=True)


def page(desk: Desk, by: User | None = None) -> str:
    with at(TEN):
        return client_of(by or desk.manager).get(f"/desk/clients/{desk.owner.pk}/terms/").content.decode()


def test_terms_are_settled_with_dates_and_reason_and_listed(desk: Desk) -> None:
    """R-ADM-02: half a per cent more, 48 hours, at most 2 m USD, USDT only, from now to the end of March."""
    answer = post(
        desk,
        "terms",
        spread="0.5",
        overdue_hours="48",
        max_exposure_usd="2000000",
        allowed_coins=["USDT"],
        ends_at="2026-03-31T00:00",
    )

    row = ClientTerms.objects.get()
    assert (row.spread, row.overdue_hours, row.max_exposure_usd) == (Decimal("0.005"), 48, 2000000)
    assert (row.allowed_coins, row.is_uncapped, row.asset) == (["USDT"], False, None)
    assert (row.starts_at, row.ends_at) == (TEN, TEN.replace(month=3, day=31, hour=0))
    assert (row.set_by, row.reason) == (desk.manager, "As agreed")
    text = answer.content.decode()
    assert "+0.5 % a year on the published rate, 48 hours from expiry to forced sale" in text
    assert 'value="0.5"' in text  # shown filled in, so that what is not touched stays


def test_no_coin_at_all_is_not_every_coin(desk: Desk) -> None:
    """R-ADM-02: an empty list stops new loans, and the form shown again does not turn it into all of them."""
    post(desk, "terms", coins="ticked")
    row = ClientTerms.objects.get()
    assert row.allowed_coins == []
    assert not policy_of(desk.owner, at=TEN).may_borrow("USDT")
    with at(TEN):
        form = client_of(desk.manager).get(f"/desk/clients/{desk.owner.pk}/terms/").context["terms_form"]
    assert (form["coins"].value(), form["allowed_coins"].value()) == ("ticked", [])
    post(desk, "terms", coins="every", starts_at="2026-01-02T00:00")
    assert ClientTerms.objects.latest("starts_at").allowed_coins is None


def test_every_coin_and_some_coins_contradict_each_other(desk: Desk) -> None:
    """R-ADM-02"""
    answer = post(desk, "terms", coins="every", allowed_coins=["USDT"])
    assert answer.status_code == 422
    assert "Untick the coins" in answer.content.decode()
    assert not ClientTerms.objects.exists()


def test_a_discount_waits_for_a_second_person(desk: Desk) -> None:
    """R-ADM-03"""
    answer = post(desk, "terms", spread="-0.5")

    proposal = Approval.objects.get()
    assert not ClientTerms.objects.exists()
    assert (proposal.command, proposal.customer, proposal.reason) == (
        "loans.set_client_terms",
        desk.owner,
        "As agreed",
    )
    assert f"{proposal} waits for a second person" in answer.content.decode()


def test_own_lines_that_are_stricter_are_published_at_once_and_looser_ones_proposed(desk: Desk) -> None:
    """R-ADM-02, R-ADM-03, R-GEN-42, R-GEN-43"""
    post(desk, "lines", **LINES, ends_at="2026-02-01T00:00")

    row = Limits.objects.get(customer=desk.owner)
    assert (row.initial, row.cutoff, row.ends_at) == (
        Decimal("0.70"),
        Decimal("0.95"),
        TEN.replace(month=2, day=1, hour=0),
    )
    post(desk, "lines", **LINES | {"initial_line": "73"}, starts_at="2026-01-02T00:00")
    assert Approval.objects.get().command == "risk.publish_limits"
    wrong = post(desk, "lines", **LINES | {"margin_call": "69"})
    assert (wrong.status_code, Limits.objects.filter(customer=desk.owner).count()) == (422, 1)
    assert "The lines must rise" in wrong.content.decode()


def test_handling_is_proposed(desk: Desk) -> None:
    """R-ADM-02, R-ADM-03, R-VIP-63: and released it is in force."""
    post(desk, "handling", **HANDLING)

    proposal = Approval.objects.get()
    assert (proposal.command, HandlingRule.objects.count()) == ("risk.publish_handling", 0)
    officer = build.user("risk_officer")
    later = TEN + timedelta(hours=1)
    approvals.release(approval_id=proposal.pk, actor=Actor.user(officer), at=later)
    handling = parameters.handling_for(product="vip", customer=desk.owner, at=later)
    assert (handling.mode, handling.target, handling.step_share) == (
        "stepped",
        Decimal("0.65"),
        Decimal("0.25"),
    )


def test_delayed_liquidation_is_one_press_away_and_in_the_history(desk: Desk) -> None:
    """R-ADM-02, R-VIP-60"""
    delays.enrol(
        customer_id=desk.owner.pk, starts_at=TEN, ends_at=TEN.replace(month=6), actor=desk.decider, at=TEN
    )

    text = page(desk)

    assert f"/desk/clients/{desk.owner.pk}/delays/" in text
    assert "enrolled" in text
    assert "1 Jun 2026, 10:00" in text


def test_the_own_manager_lets_a_client_in(db: None) -> None:
    """R-VIP-01, R-ADM-02: and the trail says when and why."""
    desk = desks.set_up(vip_level=0)

    answer = post(desk, "whitelist", whitelisted="1")

    desk.owner.refresh_from_db()
    assert desk.owner.whitelisted
    text = answer.content.decode()
    assert "let in without VIP level" in text
    assert "As agreed" in text


@pytest.mark.parametrize("what", ["terms", "whitelist", "lines"])
def test_a_reason_is_asked_for_and_nothing_moves_without(desk: Desk, what: str) -> None:
    """R-ADM-02"""
    answer = post(desk, what, **LINES, reason=" ", whitelisted="1", spread="0.5")

    assert answer.status_code == 422
    assert "Say why" in answer.content.decode()
    desk.owner.refresh_from_db()
    assert not Limits.objects.filter(customer=desk.owner).exists()
    assert (ClientTerms.objects.count(), desk.owner.whitelisted) == (0, False)


def test_who_opens_a_clients_policy(desk: Desk) -> None:
    """R-ADM-01, R-ADM-02: another manager's client does not exist; staff look; who may not change it is told."""
    other, auditor = build.user("vip_manager"), build.user("auditor")
    with at(TEN):
        statuses = [
            client_of(user).get(f"/desk/clients/{desk.owner.pk}/terms/").status_code
            for user in (desk.manager, other, desk.applicant, auditor)
        ]
    assert statuses == [200, 404, 404, 200]

    assert post(desk, "terms", by=other, spread="0.5").status_code == 404
    refused = post(desk, "terms", by=auditor, spread="0.5")
    assert refused.status_code == 422
    assert "Only these roles may" in refused.content.decode()
    assert not ClientTerms.objects.exists()


def test_limits_in_use_are_marked(desk: Desk) -> None:
    """R-GEN-37: 500,000 of 600,000 is yellow on the client's page; the desk's cap of 500,000 is red."""
    desks.drawn(desk, "500000")
    with build.acting(BUILDER):
        ClientTerms.objects.create(
            customer=desk.owner, starts_at=LONG_AGO, reason="Test", max_exposure_usd=Decimal(600000)
        )
        AssetCap.objects.create(
            product="vip", asset_id="USDT", effective_at=LONG_AGO, platform_borrow=Decimal(500000)
        )
    with at(TEN):
        client = client_of(desk.manager).get(f"/desk/clients/{desk.owner.pk}/").content.decode()
        house = client_of(desk.manager).get("/desk/limits/").content.decode()

    assert "Yellow: from 80 %" in client
    assert "Yellow: from 80 %" in page(desk)
    assert "Red: full" in house
    assert "Lent by the desk" in house


def test_per_cents_are_typed_and_kept_exactly() -> None:
    assert fraction(Decimal("0.5")) == Decimal("0.005")
    assert percent(Decimal("0.720000000000")) == "72"
    assert percent(Decimal("-0.012500000000")) == "-1.25"
    assert percent(Decimal("1.000000000000")) == "100"
