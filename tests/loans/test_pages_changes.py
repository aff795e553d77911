"""What a proposal changes, before and after, who may release it and why one may not; and the history of it. R-ADM-03"""

import csv
import io
import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from accounts import approvals, inbox
from accounts.commands import Actor
from accounts.models import Approval, User
from loans.pages.desk_changes import Change, changes
from loans.pages.desk_parameter_forms import KINDS
from risk import parameters
from risk.handling import Mode
from risk.levels import Lines
from tests import build
from tests.build import TEN
from tests.loans import desk, visit
from tests.loans.desk import Desk
from tests.loans.visit import client_of

LATER = TEN + timedelta(hours=1)


@pytest.fixture(autouse=True)
def _at_ten() -> Iterator[None]:
    with visit.at(TEN):
        yield


@pytest.fixture
def house(db: None) -> Desk:
    house = desk.set_up()
    desk.drawn(house)
    return house


def text_of(response: Any) -> str:
    plain = re.sub(r"<[^>]+>", " ", response.content.decode())
    return re.sub(r"\s+", " ", plain.replace("\xa0", " ").replace("&nbsp;", " "))


def compared(command: str, **arguments: Any) -> dict[str, tuple[str | None, str]]:
    """Label: before, after; of what is changed only."""
    found = changes(command, arguments, at=TEN)
    return {
        str(one.label): (str(one.before).replace("\xa0", " "), str(one.after).replace("\xa0", " "))
        for one in found
        if one.is_changed
    }


def put_up(maker: User, command: str, **arguments: Any) -> Approval:
    return approvals.propose(
        command=command,
        arguments=arguments,
        title="Something",
        preview={},
        reason="The books are thin",
        actor=Actor.user(maker),
        at=TEN,
    )


# --- What changes -----------------------------------------------------------------------------------------


def test_lines_are_compared_with_what_counts_for_their_scope(house: Desk) -> None:
    """R-GEN-42: a client without own lines is compared with the product's; what stays is no change."""
    given = Lines(
        initial=Decimal("0.65"),
        margin_call=Decimal("0.77"),
        liquidation=Decimal("0.91"),
        cutoff=Decimal("0.95"),
        fee=Decimal("0.015"),
    )
    for customer in (None, house.owner):
        asked = {"product": "vip", "lines": given, "asset": None, "customer": customer, "ends_at": None}
        assert compared("risk.publish_limits", **asked) == {
            "Initial": ("72 %", "65 %"),
            "Liquidation fee": ("2 %", "1.5 %"),
        }


def test_ratios_by_tiers_and_rank(house: Desk) -> None:
    """R-GEN-31, R-GEN-72"""
    tiers = [(Decimal(0), Decimal("0.9")), (Decimal(1_000_000), Decimal("0.8"))]
    assert compared("risk.publish_ratios", asset="BTC", tiers=tiers, rank=100) == {
        "Ratio from 0.00\xa0USD": ("100 %", "90 %"),
        "Ratio from 1,000,000.00\xa0USD": ("100 %", "80 %"),
    }
    same = [(Decimal(0), Decimal(1))]
    assert compared("risk.publish_ratios", asset="BTC", tiers=same, rank=7) == {
        "Sold in this order": ("100", "7")
    }


def test_where_nothing_stood_it_says_none(house: Desk) -> None:
    """R-GEN-37, R-GEN-79"""
    caps = {"platform_borrow": None, "user_collateral": None, "platform_collateral": Decimal(1000)}
    assert compared("risk.publish_asset_cap", product="vip", asset="BTC", **caps) == {
        "Lent by the desk at most": ("none", "none"),
        "Collateral of one client at most": ("none", "none"),
        "Collateral of all clients at most": ("none", "1,000.00 USD"),
    }
    depth = {"volume_usd": Decimal(1_000_000), "max_share": Decimal("0.1")}
    parameters.publish_depth(asset="BTC", effective_at=TEN, **depth, **_by_the_house())
    assert compared("risk.publish_depth", asset="BTC", volume_usd=Decimal(5), max_share=Decimal("0.1")) == {
        "Volume of 24 h": ("1,000,000.00 USD", "5.00 USD")
    }


def test_waits_that_are_not_given_stay_and_are_not_told(house: Desk) -> None:
    asked = {
        "confirm_seconds": 1200,
        "outage_seconds": None,
        "delay_hours": 24,
        "hysteresis": Decimal("0.01"),
    }
    found = changes("risk.publish_settings", asked, at=TEN)
    assert [(str(one.label), one.is_changed) for one in found] == [
        ("Second reading after", True),
        ("Delayed liquidation waits", False),
        ("Hysteresis (% points)", True),
    ]
    assert (found[0].before, found[0].after) == ("5\xa0s", "1,200\xa0s")


def test_handling_and_policies_are_told_as_their_forms_say_them(house: Desk) -> None:
    """R-GEN-73: a client without a rule of their own is compared with what they get."""
    asked = {"product": "vip", "customer": house.owner, "mode": Mode.STEPPED, "full_below_usd": Decimal(200)}
    assert compared("risk.publish_handling", **asked) == {"Sold": ("all at once", "in steps")}
    policy = {"governed": "risk.publish_ratios", "required": False, "above_usd": None}
    assert compared("approvals.publish_policy", **policy) == {"A second person is needed": ("yes", "no")}


def test_a_price_by_hand_is_compared_with_the_last_good_one(house: Desk) -> None:
    assert compared("prices.record_by_hand", asset="BTC", price=Decimal("50000.5")) == {
        "Price": ("60,000.00 USD", "50,000.50 USD")
    }


def test_what_is_no_parameter_is_told_as_it_was_asked(house: Desk) -> None:
    assert changes("risk.unfreeze", {"freeze_id": 7}, at=TEN) == [Change("Freeze id", "7")]


# --- Who may, and why not -----------------------------------------------------------------------------------


def test_the_page_says_who_proposed_it_why_who_may_release_it_and_until_when(house: Desk) -> None:
    """R-ADM-03: by role and by name, and each reader is told why they cannot."""
    maker = build.user("risk_officer", name="Mia Maker")
    build.user("risk_officer", name="Chris Checker")
    gone = build.user("risk_officer", name="Gone Officer")
    User.objects.filter(pk=gone.pk).update(is_active=False)
    auditor = build.user("auditor", name="Ada Audit")
    approval = put_up(
        maker, "risk.publish_depth", asset="BTC", volume_usd=Decimal(5), max_share=Decimal("0.1")
    )
    page = reverse("loans:approval", args=[approval.pk])

    own = text_of(client_of(maker).get(page))
    assert "You cannot release this. This is your own proposal: somebody else" in own
    assert "May release it Chris Checker Risk Officer" in own
    assert "Gone Officer" not in own
    assert "Why, says Mia Maker The books are thin" in own
    assert "Until 4 Jan 2026, 10:00 UTC" in own
    assert "Release A-" not in own

    others = text_of(client_of(auditor).get(page))
    assert "You cannot release this. Your role, Auditor, does not decide such proposals." in others
    assert "Take A-" not in others
    for user, words in ((maker, "is your own proposal"), (auditor, "Only these roles")):
        refused = client_of(user).post(
            reverse("loans:approval_release", args=[approval.pk]),
            {"key": "9d5a2c0e-6a5e-4b1c-9a54-5f5f5f5f5f5f"},
        )
        assert (refused.status_code, words in text_of(refused)) == (422, True)
    approval.refresh_from_db()
    assert approval.status == "pending"
    listed = text_of(client_of(maker).get(reverse("loans:approvals")))
    assert re.search(r"Mia Maker Chris Checker", listed)


def test_where_nobody_else_may_it_says_how_that_is_mended(house: Desk) -> None:
    maker = build.user("risk_officer")
    User.objects.filter(role__in=["risk_officer", "admin"]).exclude(pk=maker.pk).update(is_active=False)
    approval = put_up(
        maker, "risk.publish_depth", asset="BTC", volume_usd=Decimal(5), max_share=Decimal("0.1")
    )
    assert inbox.deciders([approval]) == {approval.pk: []}
    text = text_of(client_of(maker).get(reverse("loans:approval", args=[approval.pk])))
    assert "May release it nobody now" in text
    assert "Nobody else has a role that releases this (Risk Officer, Admin). An admin gives one." in text


def test_once_decided_it_is_compared_with_what_stood_before_it(house: Desk) -> None:
    """R-ADM-03: the record does not turn into "72 % -> 65 %, as it is" once the change itself is in force."""
    maker, checker = build.user("risk_officer"), build.user("risk_officer")
    tiers = [(Decimal(0), Decimal("0.8"))]
    approval = put_up(maker, "risk.publish_ratios", asset="BTC", tiers=tiers, rank=100, ramp_days=0)
    approvals.release(approval_id=approval.pk, actor=Actor.user(checker), at=LATER)
    with visit.later(checker, LATER) as page:
        text = text_of(page.get(reverse("loans:approval", args=[approval.pk])))
        assert "Ratio from 0.00 USD before: 100 % → after: 80 %" in text
        assert "Struck out is what was in force just before." in text
        history = page.get(reverse("loans:parameter_history", args=["ratios"]), {"asset": "BTC"})
        told = text_of(history)
        assert re.search(
            r"BTC 1 Jan 2026, 11:00:00 UTC Ratio from 0.00 USD: before: 100 % → after: 80 %", told
        )
        assert reverse("loans:approval", args=[approval.pk]) in history.content.decode()
        assert "USDT" not in told.partition("CSV")[2]


# --- History ------------------------------------------------------------------------------------------------


def test_the_history_is_narrowed_and_kept_as_a_file(house: Desk) -> None:
    """R-ADM-11"""
    page = client_of(build.user("auditor"))
    build.limits("0.5", "0.6", "0.7", "0.8", customer=build.customer("=Secret"))
    url = reverse("loans:parameter_history", args=["lines"])
    answer = page.get(url, {"csv": "1"})
    header, *rows = list(csv.reader(io.StringIO(b"".join(answer.streaming_content).decode())))
    assert header == ["Of", "From", "What changed"]
    assert len(rows) == page.get(url).context["list"].count == 2
    assert any(row[0] == "VIP loan, =Secret" and row[2].startswith("Initial: 50\xa0%") for row in rows)
    assert page.get(url, {"q": "secret"}).context["list"].count == 1
    assert page.get(url, {"when": "coming"}).context["list"].count == 0
    manager = client_of(house.manager)
    assert manager.get(url).context["list"].count == 1


@pytest.mark.parametrize("slug", list(KINDS))
def test_every_kind_has_a_history_that_can_be_read(house: Desk, slug: str) -> None:
    answer = client_of(build.user("auditor")).get(reverse("loans:parameter_history", args=[slug]))
    assert answer.status_code == 200


def _by_the_house() -> dict[str, Any]:
    return {"actor": Actor.job("test"), "at": TEN}


def test_a_level_is_told_also_the_lowest_and_what_counts_for_it_before(house: Desk) -> None:
    """R-ADM-03, R-VIP-06, R-VIP-22: by the wider limit and by the nearest lower card, as decisions read them"""
    asked: dict[str, Any] = {"product": "vip", "asset": "USDT", "user_maximum": None, "effective_at": None}
    asked |= {"minimum": Decimal(100), "maximum": Decimal(1000)}
    every = changes("risk.publish_loan_limit", asked | {"vip_level": None}, at=LATER)
    lowest = changes("risk.publish_loan_limit", asked | {"vip_level": 0}, at=LATER)
    assert len(lowest) == len(every) + 1
    third = changes("risk.publish_loan_limit", asked | {"vip_level": 3}, at=LATER)
    assert [one.before for one in third if one.label == "Most of one order"] == ["10,000,000.00\u00a0USD"]
    card = {
        "product": "vip",
        "asset": "USDT",
        "term_days": 30,
        "vip_level": 3,
        "annual_rate": Decimal("0.07"),
    }
    [rate] = [one for one in changes("loans.publish_card", card, at=LATER) if one.label == "Annual rate"]
    assert rate.before == "8.4\u00a0%"
