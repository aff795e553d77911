"""What each person does from beginning to end, in real browsers: on a laptop, on a phone and without scripts.

What the clock and the market do is done to the desk directly; everything else is pressed.
"""

import time
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from django.test import Client
from django.utils import timezone
from selenium import webdriver
from selenium.webdriver.common.by import By

from accounts.models import Approval
from loans.models import Application, Loan
from risk import delays, parameters, sweep
from risk.models import Liquidation, LiquidationDelay, MarginCall
from tests import build
from tests.browser.driving import (
    Open,
    choose,
    chromiums,
    fill,
    find,
    in_a_browser,
    may_sign_in,
    no_troubles,
    press,
    says,
    sign_in,
    words,
)
from tests.conftest import CommittedDatabase
from tests.loans import desk
from tests.loans.desk import Desk

pytestmark = in_a_browser

KINDS: dict[str, dict[str, bool]] = {
    "laptop": {},
    "phone": {"phone": True},
    "without scripts": {"scripts": False},
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def open_browser(request: pytest.FixtureRequest) -> Iterator[Open]:
    with chromiums(**request.param) as opened:
        yield opened


def reserve(of: Desk) -> None:
    """An account of the client's that secures nothing, with 10 BTC."""
    build.deposit(build.account(of.owner, label="Reserve"), "BTC", "10", at=timezone.now())


def look(**usd: str) -> None:
    """The market's newest prices, seen by one pass of the watch."""
    now = timezone.now()
    desk.quote(now, **usd)
    assert not sweep.sweep(at=now).failed


def confirm(**usd: str) -> None:
    """Seen twice, as far apart as a breach has to last to be believed."""
    look(**usd)
    time.sleep(parameters.settings_at(timezone.now()).confirm_seconds)
    look(**usd)


def confirmed_move(page: webdriver.Chrome, link: str) -> None:
    """Follow a cure to its form, filled in already, choose where the coins come from, look at it, and press."""
    find(page, link).click()
    choose(page, "#id_account", "Reserve")
    press(page, "#move .main", then="/transfer/")
    says(page, "before and after")
    press(page, "#move .main", then="/")


def test_from_a_request_to_a_cured_call(live_site: str, here: Desk, open_browser: Open) -> None:
    """R-VIP-10 to R-VIP-18, R-GEN-60, EX-09: bargained over by two, paid out, called, cured by a top-up."""
    client, manager = open_browser(), open_browser()
    sign_in(client, live_site, here.applicant, "/apply/")
    choose(client, "#id_asset_1", "USDT")
    fill(client, "#id_amount_1", "1000000")
    fill(client, "#id_purpose", "Working capital")
    desk.quote(timezone.now())
    press(client, "button[value=check]", then="/apply/")
    says(client, "BTC at 51,948.05 would call you")
    find(client, "#unsatisfied summary").click()
    fill(client, "[name$=rate_USDT]", "7.9")
    press(client, "button[value=negotiate]", then="/requests/")
    row = Application.objects.get()
    assert row.status == Application.Status.NEGOTIATING

    sign_in(manager, live_site, here.manager, f"/desk/requests/{row.pk}/")
    fill(manager, "#counter-offer [name$=rate_USDT]", "8.2")
    press(manager, "#counter-offer button.w-full", then=f"/desk/requests/{row.pk}/")
    says(manager, "waits for the client")

    client.get(f"{live_site}/requests/{row.pk}/")
    says(client, "Your move.")
    desk.quote(timezone.now())
    press(client, "#answer .main", then=f"/requests/{row.pk}/")
    says(client, "In review.")

    desk.quote(timezone.now())
    manager.get(f"{live_site}/desk/requests/{row.pk}/")
    press(manager, "#decide .main", then="/desk/")
    loan = Loan.objects.get()
    assert (loan.annual_rate, loan.amount) == (Decimal("0.082"), 1000000)

    client.get(f"{live_site}/wallets/")
    says(client, "1,000,000.00 USDT")
    reserve(here)
    look(BTC="50000")
    assert MarginCall.objects.get().ended_at is None
    client.get(live_site)
    says(client, "Margin call.")
    client.get(f"{live_site}/groups/{loan.group_id}/")
    says(client, "Ways out")
    confirmed_move(client, "#ways a[href*='/transfer/']")
    look(BTC="50000")
    assert MarginCall.objects.get().ended_at is not None
    client.get(live_site)
    assert "Margin call." not in words(client)
    no_troubles(client)
    no_troubles(manager)


def test_a_renewal_waits_for_its_interest(
    live_site: str, committed_db: CommittedDatabase, open_browser: Open
) -> None:
    """R-VIP-30 to R-VIP-34, EX-20: short of interest nothing renews, and the page says what is missing and where."""
    house, then = desk.set_up(), timezone.now() - timedelta(days=26)
    desk.quote(then)
    loan = desk.drawn(house, at=then)
    desk.spend(house, "999999")
    desk.quote(timezone.now())
    may_sign_in(house.applicant)
    client = open_browser()
    sign_in(client, live_site, house.applicant, f"/loans/{loan.pk}/")
    says(client, "Spot lacks")
    assert not client.find_elements(By.CSS_SELECTOR, "#renew .btn.main")
    assert Loan.objects.count() == 1

    build.deposit(house.master, "USDT", "10000", at=timezone.now())
    desk.quote(timezone.now())
    client.get(f"{live_site}/loans/{loan.pk}/")
    find(client, "#renew .btn.main").click()
    says(client, "continues")
    old, new = Loan.objects.order_by("pk")
    assert (new.renews, new.amount) == (old, old.amount)
    no_troubles(client)


def test_a_delayed_liquidation_is_counted_down_and_cured(
    live_site: str, here: Desk, open_browser: Open
) -> None:
    """R-VIP-60 to R-VIP-62, EX-22"""
    now = timezone.now()
    desk.drawn(here, at=now)
    delays.enrol(customer_id=here.owner.pk, starts_at=now, ends_at=None, actor=here.decider, at=now)
    reserve(here)
    confirm(BTC="43700")
    delay = LiquidationDelay.objects.get()
    client = open_browser()
    sign_in(client, live_site, here.applicant, f"/groups/{delay.group_id}/")
    says(client, "Liquidation call.")
    says(client, "23 h 59 min")
    confirmed_move(client, "main a[href*='/transfer/']")
    look(BTC="43700")
    client.get(f"{live_site}/groups/{delay.group_id}/")
    delay.refresh_from_db()
    assert delay.ended == "cured"
    assert "Liquidation call." not in words(client)
    assert not Liquidation.objects.exists()
    no_troubles(client)


def test_what_was_sold_can_be_read_step_by_step(live_site: str, here: Desk, open_browser: Open) -> None:
    """R-GEN-70: the borrower's own story of it, each posting in it."""
    desk.drawn(here, at=timezone.now())
    confirm(BTC="43000")
    sold = Liquidation.objects.get()
    client = open_browser()
    sign_in(client, live_site, here.applicant, f"/groups/{sold.group_id}/")
    press(client, f"main a[href='/liquidations/{sold.pk}/']", then=f"/liquidations/{sold.pk}/")
    for sale in sold.sales.all():
        says(client, f"{sale.sold.normalize():f} {sale.coin_id}")
    no_troubles(client)


def test_nobody_releases_what_they_proposed(live_site: str, here: Desk, open_browser: Open) -> None:
    """R-ADM-03: no button, a plain sentence, and a refusal for whoever sends the form without one."""
    maker = build.user("risk_officer", name="Mia Maker")
    may_sign_in(maker)
    page = open_browser()
    sign_in(page, live_site, maker, "/desk/parameters/ratios/propose/?asset=BTC")
    fill(page, "#id_tiers", "0 80")
    fill(page, "#id_reason", "Thin market")
    press(page, "#form form button", then="/propose/")
    press(page, "#form form button", then="/desk/approvals/")
    approval = Approval.objects.get()
    page.get(f"{live_site}/desk/approvals/{approval.pk}/")
    says(page, "This is your own proposal: somebody else releases or refuses it")
    assert not page.find_elements(By.CSS_SELECTOR, "form[action$='/release/']")

    own = Client()
    own.force_login(maker)
    answer = own.post(f"/desk/approvals/{approval.pk}/release/", {"key": str(uuid4()), "reason": ""})
    assert answer.status_code in {403, 409, 422}
    approval.refresh_from_db()
    assert approval.status == Approval.Status.PENDING
    no_troubles(page)
