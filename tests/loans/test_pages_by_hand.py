"""Selling by hand, releasing what was taken over, and the story of a liquidation in steps. R-ADM-05, R-GEN-79, 81"""

import re
import subprocess
import sys
from datetime import timedelta
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.urls import reverse

from accounts import approvals, books
from accounts.commands import Actor, acting, registered
from accounts.models import Approval
from risk.models import Debt, Liquidation, MarketDepth
from tests import build
from tests.build import NOON
from tests.loans.visit import at, client_of
from tests.risk.forced_sales import SWEEPER, carry_on, liquidate, stepped

D = Decimal

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _at_noon() -> Any:
    with at(NOON):
        yield


@pytest.fixture
def debt() -> Debt:
    """880,000 against 1,100,000: LTV 80 %."""
    row = build.secured_debt(amount="880000", rate="0")
    build.prices(BTC="44000", USDT="1")
    return row


def text_of(response: Any) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", response.content.decode()).replace("\xa0", " "))


def sell(debt: Debt) -> str:
    return reverse("loans:desk_sell", args=[debt.group_id])


def asked(**data: str) -> dict[str, str]:
    return {"mode": "full", "reason": "The client asked us to.", "key": str(uuid4())} | data


def test_the_page_shows_both_ways_before_anything_is_proposed(debt: Debt) -> None:
    """R-ADM-05"""
    shown = text_of(client_of(build.user("risk_officer")).get(sell(debt)))
    assert "80.00" in shown
    assert "20.40 BTC" in shown  # everything: 897,600
    assert "897,600.00" in shown
    assert "331,325.30" in shown  # in steps, to 72 %
    assert not Approval.objects.exists()


def test_one_proposes_another_releases_and_the_story_says_who_decided(debt: Debt) -> None:
    """R-ADM-03, R-ADM-05, R-GEN-81"""
    maker, checker = build.user("risk_officer"), build.user("risk_officer")
    response = client_of(maker).post(sell(debt), asked())
    assert (response.status_code, response.url) == (302, reverse("risk:group", args=[debt.group_id]))
    proposal = Approval.objects.get()
    assert proposal.preview["LTV before"].startswith("80.00")
    assert proposal.preview["Would be sold"].startswith("20.4")
    assert not Liquidation.objects.exists()
    assert client_of(checker).get(reverse("loans:approval", args=[proposal.pk])).status_code == 200

    approvals.release(approval_id=proposal.pk, actor=Actor.user(checker), at=NOON)

    row = Liquidation.objects.get()
    story = text_of(client_of(checker).get(reverse("loans:liquidation", args=[row.pk])))
    assert "Two people of the desk decided to sell" in story
    assert "cause by hand" in story


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"reason": ""}, "Say why"),
        ({"mode": "sudden"}, "not one of the available"),
        ({"mode": ""}, "Say how"),
    ],
)
def test_a_form_without_a_mode_or_a_reason_is_shown_again(
    debt: Debt, data: dict[str, str], said: str
) -> None:
    """R-ADM-05"""
    response = client_of(build.user("risk_officer")).post(sell(debt), asked(**data))
    assert response.status_code == 422
    assert said in text_of(response)
    assert not Approval.objects.exists()


def test_what_the_command_refuses_is_said_on_the_form(debt: Debt) -> None:
    """R-GEN-22: the price is too old"""
    with at(NOON + timedelta(hours=1)):
        response = client_of(build.user("risk_officer")).post(sell(debt), asked())
    assert response.status_code == 422
    assert "too old to sell" in text_of(response)
    assert not Approval.objects.exists()


def test_the_web_process_knows_every_command_that_somebody_releases() -> None:
    """R-ADM-03, R-ADM-05: a process that never sells by itself could neither propose nor release a sale by hand."""
    for app in ("accounts", "risk", "loans"):
        for found in walk_packages([str(Path(settings.BASE_DIR) / app)], f"{app}."):
            if ".migrations" not in found.name:
                import_module(found.name)
    asked = "import django; django.setup(); import config.urls; from accounts.commands import registered as r"
    asked += "; print(*(name for name, one in r.items() if one.four_eyes))"
    told = subprocess.run(
        [sys.executable, "-c", asked], capture_output=True, text=True, check=False, cwd=settings.BASE_DIR
    )
    assert told.returncode == 0, told.stderr
    ours = {name for name, one in registered.items() if one.four_eyes and not name.startswith("test")}
    assert ours <= set(told.stdout.split())


@pytest.mark.parametrize(
    ("role", "status"), [("vip_manager", 403), ("finance", 403), ("auditor", 403), ("borrower", 404)]
)
def test_only_risk_officers_propose_it(debt: Debt, role: str, status: int) -> None:
    """R-ADM-03"""
    client = client_of(build.user(role))
    assert client.get(sell(debt)).status_code == status
    assert client.post(sell(debt), asked()).status_code == status
    assert not Approval.objects.exists()


def test_the_story_of_a_liquidation_in_steps(debt: Debt) -> None:
    """R-GEN-73, R-GEN-81: while it runs and when it has stopped"""
    build.fund_pool("USDT", "10")
    build.price("BTC", "38500", at=NOON + timedelta(seconds=1))
    stepped()
    row = liquidate(debt.group, at=NOON + timedelta(seconds=1))
    assert row is not None
    page = reverse("loans:liquidation", args=[row.pk])
    officer = client_of(build.user("risk_officer"))
    running = text_of(officer.get(page))
    assert "It goes on in steps until LTV is at 72" in running
    assert "1 sale in 1 step" in running
    while row.status == "running":
        row = carry_on(row, at=NOON + timedelta(seconds=1))
    stopped = text_of(officer.get(page))
    assert "It stopped with LTV at 71.99" in stopped
    assert "in steps" in text_of(officer.get(reverse("loans:liquidations")))


@pytest.fixture
def taken_over(debt: Debt) -> Debt:
    with acting(SWEEPER):
        MarketDepth.objects.create(asset_id="BTC", effective_at=build.LONG_AGO, volume_usd=D(0))
    build.price("BTC", "38000", at=NOON + timedelta(seconds=1))
    liquidate(debt.group, at=NOON + timedelta(seconds=1))
    return debt


def test_finance_releases_what_was_taken_over(taken_over: Debt) -> None:
    """R-GEN-79"""
    held, page = books.workout("BTC").balance, reverse("loans:taken_over")
    finance = client_of(build.user("finance"))
    assert f"{int(held)}." in text_of(finance.get(page))
    too_much = finance.post(page, {"asset": "BTC", "amount": "24", "key": str(uuid4())})
    assert too_much.status_code == 422
    assert "lie in workout" in text_of(too_much)
    done = finance.post(page, {"asset": "BTC", "amount": "3.5", "key": str(uuid4())})
    assert (done.status_code, done.url) == (302, page)
    assert (books.workout("BTC").balance, books.pool("BTC").balance) == (held - D("3.5"), D("3.5"))


@pytest.mark.parametrize(
    ("role", "seen", "done"),
    [("risk_officer", 200, 403), ("auditor", 200, 403), ("vip_manager", 404, 404), ("borrower", 404, 404)],
)
def test_nobody_else_releases(taken_over: Debt, role: str, seen: int, done: int) -> None:
    """R-GEN-79"""
    client, page = client_of(build.user(role)), reverse("loans:taken_over")
    held = books.workout("BTC").balance
    assert client.get(page).status_code == seen
    asked_for = {"asset": "BTC", "amount": "1", "key": str(uuid4())}
    assert client.post(page, asked_for).status_code == done
    assert books.workout("BTC").balance == held
