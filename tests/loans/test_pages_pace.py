"""Where the pace of sales is seen: the desk's list of liquidations, and the group whose sale waits. R-FTR-22"""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from accounts.models import Notice
from risk import parameters, sweep
from risk.models import Liquidation
from tests import build
from tests.build import NOON
from tests.loans.visit import at, client_of
from tests.risk.forced_sales import SWEEPER

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _at_noon() -> Iterator[None]:
    with at(NOON):
        yield


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()).replace("\xa0", " "))


def one_sold_one_waits() -> tuple[Any, Any]:
    first, second = (build.secured_debt(amount=amount, rate="0").group for amount in ("980000", "970000"))
    parameters.publish_pace_limit(asset="BTC", most_usd=Decimal(500000), actor=SWEEPER, at=build.LONG_AGO)
    build.prices(NOON, BTC="40000", USDT="1")
    sweep.sweep(at=NOON)
    assert Liquidation.objects.get().group_id == first.pk
    return first, second


def test_the_desk_sees_what_was_sold_of_how_much() -> None:
    """R-FTR-22"""
    one_sold_one_waits()
    shown = text_of(client_of(build.user("risk_officer")).get(reverse("loans:liquidations")))
    assert "BTC 999,600.00" in shown
    assert "500,000.00" in shown
    assert "600 s" in shown
    assert "Sales wait" in shown


def test_without_a_limit_and_for_a_borrower_there_is_no_such_panel() -> None:
    """R-FTR-22, R-GEN-95"""
    page = reverse("loans:liquidations")
    assert "Pace" not in text_of(client_of(build.user("risk_officer")).get(page))
    owner = build.customer(member=(user := build.user()))
    assert owner
    one_sold_one_waits()
    assert "Sales wait" not in text_of(client_of(user).get(page))


def test_the_group_says_that_its_sale_waits_and_until_when() -> None:
    """R-FTR-22: to its owner; to others it does not exist"""
    _, group = one_sold_one_waits()
    user = build.colleague(group.customer, "signatory")
    page = reverse("risk:group", args=[group.pk])
    shown = text_of(client_of(user).get(page))
    assert "The sale of BTC waits." in shown
    assert "By 2026-01-01 12:10:00 UTC there is room" in shown
    assert Notice.objects.get(kind="liquidation_paced").customer == group.customer
    stranger = build.user()
    build.customer(member=stranger)
    assert client_of(stranger).get(page).status_code == 404
    with at(NOON + timedelta(minutes=10)):
        build.prices(NOON + timedelta(minutes=10), BTC="40000", USDT="1")
        assert "The sale of" not in text_of(client_of(user).get(page))
