"""The page of chosen de-leveraging: the plan before the choice, the choice, its end, and who may do what. R-FTR-05"""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse

from accounts.commands import acting
from accounts.models import Membership
from risk import deleveraging, sweep
from risk.models import Deleveraging, Liquidation
from tests import build
from tests.loans.test_pages_delays import House, page, post, text_of

D = Decimal
NOON = build.NOON
SECOND = timedelta(seconds=1)
TYPED = {"start": "82", "target": "76", "step_share": "10"}

pytestmark = pytest.mark.django_db


@pytest.fixture
def house(db: None) -> House:
    """1,000,000 USDT against 25 BTC at 60,000: 66.67 %."""
    found = House()
    found.quote("60000", NOON)
    return found


def seen(answer: Any) -> str:
    found = re.search(r'name="seen" value="(\w+)"', answer.content.decode())
    assert found, "the choice is not offered"
    return found[1]


def choose(house: House, **typed: str) -> Any:
    shown = post(house.member, "risk:soft", house.group.pk, **(TYPED | typed))
    assert shown.status_code == 200
    return post(house.member, "risk:soft", house.group.pk, **(TYPED | typed), seen=seen(shown))


def test_the_plan_is_shown_before_anything_is_chosen(house: House) -> None:
    """R-FTR-05: at 82 % a tenth of the debt, 100,000, for 500 instead of 2,000"""
    first = page(house.member, "risk:soft", house.group.pk)
    assert first.status_code == 200
    assert "Nothing is chosen" in text_of(first)
    shown = post(house.member, "risk:soft", house.group.pk, **TYPED)

    text = text_of(shown)
    assert not Deleveraging.objects.exists()
    assert "nothing is chosen yet" in text
    assert "The fee is 0.5 % of what a step repays; a liquidation takes 2 %" in text
    assert "82.00 % collateral coins" in text
    assert "100,000.00" in text
    assert "500.00" in text
    assert "Sell from 82 % on, as shown" in text


def test_the_button_chooses_what_was_shown_and_nothing_else(house: House) -> None:
    """R-FTR-05"""
    shown = post(house.member, "risk:soft", house.group.pk, **TYPED)
    changed = post(house.member, "risk:soft", house.group.pk, **(TYPED | {"start": "83"}), seen=seen(shown))
    assert changed.status_code == 200
    assert not Deleveraging.objects.exists()

    assert choose(house).status_code == 302
    row = Deleveraging.objects.get()
    assert (row.start, row.target, row.step_share, row.set_by) == (
        D("0.82"),
        D("0.76"),
        D("0.1"),
        house.member,
    )
    assert "Sold from 82 % on" in text_of(page(house.member, "risk:soft", house.group.pk))
    assert "You chose on" in text_of(page(house.member, "risk:group", house.group.pk))
    assert "The client chose on" in text_of(page(house.manager, "risk:group", house.group.pk))


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ({"start": "79.9"}, "It may begin from 80 % to 85 %"),
        ({"start": "90"}, "It may begin from 80 % to 85 %"),
        ({"target": "71"}, "from your initial line of 72 %"),
        ({"step_share": "51"}, "from 1 % to 50 %"),
        ({"start": "abc"}, ""),
        ({"start": ""}, ""),
        ({"target": "1e1"}, ""),
    ],
)
def test_what_cannot_be_chosen_is_refused_with_its_bounds(
    house: House, typed: dict[str, str], said: str
) -> None:
    """R-FTR-05"""
    answer = post(house.member, "risk:soft", house.group.pk, **(TYPED | typed))
    assert answer.status_code == 422
    assert said in text_of(answer)
    assert 'name="seen"' not in answer.content.decode()
    assert not Deleveraging.objects.exists()


def test_it_is_ended_at_once_and_only_once(house: House) -> None:
    """R-FTR-05"""
    choose(house)
    assert post(house.member, "risk:soft_end", house.group.pk).status_code == 302
    assert Deleveraging.objects.get().removed_at == NOON
    assert post(house.member, "risk:soft_end", house.group.pk).status_code == 302
    with_message = page(house.member, "risk:soft", house.group.pk)
    assert "Not chosen" in text_of(with_message)


def test_the_steps_are_listed_and_their_story_says_who_chose(house: House) -> None:
    """R-FTR-05, R-GEN-81: and neither the list of liquidations nor the group's panels call them one"""
    deleveraging.choose(
        group_id=house.group.pk,
        start=D("0.82"),
        target=D("0.76"),
        step_share=D("0.1"),
        actor=build.BUILDER,
        at=NOON - SECOND,
    )
    for seconds in (60, 120):
        at = NOON + seconds * SECOND
        house.quote("48000", at)
        sweep.sweep(at=at)
    row = Liquidation.objects.get()
    at = NOON + 121 * SECOND
    steps = text_of(page(house.member, "risk:soft", house.group.pk, at=at))
    assert "83.33 % → 81.85 %" in steps
    story = text_of(page(house.member, "loans:liquidation", row.pk, at=at))
    assert "You chose this: one step of de-leveraging, at LTV 83.33 %" in story
    assert "It is no liquidation" in story
    theirs = text_of(page(house.manager, "loans:liquidation", row.pk, at=at))
    assert "The client chose this" in theirs
    assert str(row) not in text_of(page(house.member, "loans:liquidations", at=at))
    group = text_of(page(house.member, "risk:group", house.group.pk, at=at))
    assert f"Liquidation {row}" not in group
    assert "Some collateral sold" in group


def test_only_the_borrower_chooses_and_a_stranger_finds_nothing(house: House) -> None:
    """R-FTR-05, R-ADM-09, R-GEN-95: the house reads; a stranger and who may use one account only see no page"""
    limited, stranger = build.user(), build.user()
    build.customer(member=stranger)
    with acting(build.BUILDER):
        Membership.objects.create(
            customer=house.client, user=limited, account=house.group.receiver, since=NOON
        )
    for user in (house.manager, build.user("risk_officer")):
        assert page(user, "risk:soft", house.group.pk).status_code == 200
        assert post(user, "risk:soft", house.group.pk, **TYPED).status_code == 404
        assert post(user, "risk:soft_end", house.group.pk).status_code == 404
    for user in (stranger, limited, build.user("vip_manager")):
        assert page(user, "risk:soft", house.group.pk).status_code == 404
        assert post(user, "risk:soft", house.group.pk, **TYPED).status_code == 404
        assert post(user, "risk:soft_end", house.group.pk).status_code == 404
    assert not Deleveraging.objects.exists()


def test_a_viewer_reads_the_plan_and_is_told_who_may_choose(house: House) -> None:
    """R-ADM-09"""
    viewer = build.user()
    with acting(build.BUILDER):
        Membership.objects.create(customer=house.client, user=viewer, role="viewer", since=NOON)
    text = text_of(page(viewer, "risk:soft", house.group.pk))
    assert "Show the plan" not in text
    shown = post(viewer, "risk:soft", house.group.pk, **TYPED, key=str(uuid4()))
    body = shown.content.decode()
    found = re.search(r'name="seen" value="(\w+)"', body)
    tried = post(viewer, "risk:soft", house.group.pk, **TYPED, seen=found[1] if found else "")
    assert tried.status_code in (200, 422)
    assert not Deleveraging.objects.exists()
    assert reverse("risk:soft_end", args=[house.group.pk]) not in body
