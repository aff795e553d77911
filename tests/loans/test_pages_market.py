"""The demo's market panel: only in a demo; a push is recorded, and what follows is the real sweep's doing."""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
import time_machine
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from risk import prices, sweep
from risk.models import Liquidation, MarginCall, Price
from tests import build
from tests.build import TEN
from tests.loans import desk
from tests.loans.desk import Desk

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"


@pytest.fixture(autouse=True)
def _demo(settings: Any) -> Any:
    settings.DEMO, settings.PRICE_FEED = True, "simulated"
    with time_machine.travel(TEN, tick=False):
        yield


@pytest.fixture
def house(db: None) -> Desk:
    """1,000,000 USDT against 25 BTC at 60,000: 66.66 %."""
    house = desk.set_up()
    desk.drawn(house)
    return house


def as_user(user: User) -> Client:
    client = Client()
    client.force_login(user, backend=BACKEND)
    return client


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()).replace("\xa0", " "))


def push(client: Client, asset: str, step: str) -> Any:
    return client.post(reverse("loans:market"), {"asset": asset, "step": step})


def test_without_a_demo_there_is_no_panel(house: Desk, settings: Any) -> None:
    settings.DEMO = False
    client = as_user(house.applicant)
    assert client.get(reverse("loans:market")).status_code == 404
    before = Price.objects.count()
    assert push(client, "BTC", "-0.10").status_code == 404
    assert Price.objects.count() == before
    assert "Demo market" not in client.get(reverse("risk:market")).content.decode()


def test_everyone_who_is_signed_in_may_look(house: Desk) -> None:
    url = reverse("loans:market")
    assert Client().get(url).status_code == 302
    for user in (house.applicant, house.manager, build.user("auditor")):
        seen = text_of(as_user(user).get(url))
        assert house.owner.name in seen
        assert "66.66 %" in seen


def test_a_push_and_a_sweep_call_the_group_and_another_push_sells(house: Desk) -> None:
    """R-GEN-61, R-GEN-41: 60,000 - 15 % calls at 78.43 %; 30 % more is past the cut-off, so it is sold at once."""
    client = as_user(house.applicant)
    assert push(client, "BTC", "-0.10").status_code == 302
    assert prices.latest(at=TEN + timedelta(seconds=1), assets=["BTC"])["BTC"].price == 54_000
    with time_machine.travel(TEN + timedelta(seconds=10), tick=False):
        assert push(client, "BTC", "-0.05").status_code == 302
        assert push(client, "", "-0.05").status_code == 302
        sweep.sweep(at=TEN + timedelta(seconds=11))
    assert MarginCall.objects.count() == 1
    with time_machine.travel(TEN + timedelta(seconds=20), tick=False):
        seen = text_of(
            client.get(reverse("loans:market"), headers={"HX-Request": "true", "HX-Target": "happens"})
        )
        assert "SAFE → CALL" in seen
        assert "margin call" in seen
        push(client, "BTC", "-0.20")
        sweep.sweep(at=TEN + timedelta(seconds=21))
        seen = text_of(client.get(reverse("loans:market")))
    assert Liquidation.objects.count() == 1
    assert "collateral sold" in seen
    assert "the story" in seen


@pytest.mark.parametrize(("asset", "step"), [("BTC", "-0.5"), ("BTC", ""), ("NOPE", "-0.10"), ("BTC", "NaN")])
def test_a_push_that_no_button_offers_is_refused(house: Desk, asset: str, step: str) -> None:
    before = Price.objects.count()
    assert push(as_user(house.applicant), asset, step).status_code == 422
    assert Price.objects.count() == before


def test_real_prices_cannot_be_pushed(house: Desk, settings: Any) -> None:
    settings.PRICE_FEED = "ccxt"
    before = Price.objects.count()
    answer = push(as_user(house.applicant), "BTC", "-0.10")
    assert answer.status_code == 422
    assert "only in a demo, on simulated prices" in text_of(answer)
    assert Price.objects.count() == before


def test_a_push_keeps_its_exact_size(house: Desk) -> None:
    push(as_user(house.applicant), "BTC", "0.05")
    last = Price.objects.filter(asset="BTC").latest("pk")
    assert (last.price, last.source) == (Decimal(63_000), "demo panel")


def test_queries_do_not_grow_with_the_groups(house: Desk) -> None:
    def ask() -> int:
        with CaptureQueriesContext(connection) as asked:
            assert as_user(house.manager).get(reverse("loans:market")).status_code == 200
        return len(asked)

    few = ask()
    for _ in range(3):
        sub, receiver = build.account(house.owner), build.account(house.owner)
        build.deposit(sub, "BTC", "20", at=build.LONG_AGO)
        desk.drawn(house, "600000", account_uids=(sub.pk,), receiver_uid=receiver.pk)
    assert ask() == few
