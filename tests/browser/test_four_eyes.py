"""In a real browser, with scripts and without: new ratios from proposal to force, by two people."""

from decimal import Decimal

import pytest
from django.utils import timezone
from selenium import webdriver
from selenium.webdriver.support.ui import Select

from accounts.models import Approval, User
from risk import parameters
from tests import build
from tests.browser.driving import find, in_a_browser, may_sign_in, patiently, press, sign_in, words
from tests.conftest import CommittedDatabase
from tests.loans import desk

pytestmark = in_a_browser


@pytest.fixture
def officers(committed_db: CommittedDatabase) -> tuple[User, User]:
    """Two risk officers of a desk with one loan, at prices of now."""
    house, now = desk.set_up(), timezone.now()
    desk.quote(now)
    desk.drawn(house, at=now)
    pair = build.user("risk_officer", name="Mia Maker"), build.user("risk_officer", name="Chris Checker")
    may_sign_in(*pair)
    return pair


def test_ratios_are_proposed_previewed_and_released(
    live_site: str, officers: tuple[User, User], browser: webdriver.Chrome
) -> None:
    """R-ADM-03, R-GEN-36: the second person sees what the first one saw, computed anew."""
    maker, checker = officers
    sign_in(browser, live_site, maker, "/desk/approvals/")
    assert "Nothing waits for your decision" in words(browser)
    browser.get(f"{live_site}/desk/parameters/")
    assert "Change and history" in words(browser)
    browser.get(f"{live_site}/desk/parameters/ratios/propose/?asset=BTC")
    Select(find(browser, "#id_asset")).select_by_value("BTC")
    find(browser, "#id_tiers").clear()
    find(browser, "#id_tiers").send_keys("0 80\n1000000 75")
    find(browser, "#id_reason").send_keys("Thin market")
    press(browser, "#form form button", then="/propose/")
    find(browser, "#preview")
    assert "1 group would enter CALL." in words(browser)
    press(browser, "#form form button", then="/desk/approvals/")
    approval = Approval.objects.get()
    assert f"{approval} is proposed" in words(browser)
    assert "You cannot release this." in words(browser)
    assert "somebody else releases or refuses it" in words(browser)
    assert "Chris Checker" in words(browser)  # who may, by name

    sign_in(browser, live_site, checker, "/desk/approvals/")
    browser.get(f"{live_site}/desk/approvals/{approval.pk}/")
    assert "1 group would enter CALL." in words(browser)
    find(browser, "#decide .main").click()
    patiently(browser).until(lambda page: f"{approval} is released and done" in words(page))
    browser.get(f"{live_site}/desk/parameters/ratios/history/?asset=BTC")
    told = " ".join(words(browser).split())
    assert "Ratio from 0.00 USD: before: 100 % → after: 80 %" in told
    assert "Ratio from 1,000,000.00 USD: before: 100 % → after: 75 %" in told
    assert parameters.terms_at(timezone.now())["BTC"].tiers[0].ratio == Decimal("0.8")
    troubles = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert troubles == []
