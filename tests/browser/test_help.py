"""R-FTR-01, R-FTR-02, R-FTR-04: in a real browser, with scripts and without, a what-if, a cure and a rule."""

import os
from pathlib import Path

import pytest
from django.urls import reverse
from django.utils import timezone
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from accounts.commands import acting
from loans import auto_cure
from risk.models import CollateralGroup, CureRule
from tests import build
from tests.browser.driving import PASSWORD, find, in_a_browser, patiently, press, words
from tests.loans import desk

pytestmark = in_a_browser


def shot(driver: webdriver.Chrome, name: str) -> None:
    """Kept where SHOTS says, for people to look at."""
    folder = os.environ.get("SHOTS")
    if folder:
        height = driver.execute_script("return document.documentElement.scrollHeight")
        driver.set_window_size(1360, height + 40)
        driver.save_screenshot(str(Path(folder) / f"{name}.png"))


@pytest.fixture
def called(here: desk.Desk) -> CollateralGroup:
    """1,000,000 USDT against 20 BTC and 100 ETH at 60,000: LTV 76.92 % at 57,500, and 300,000 USDT to act with."""
    at = timezone.now()
    build.asset("ETH", places=6)
    build.ratios("ETH", ("0", "0.5"))
    build.price("ETH", "3000", at=at)
    build.deposit(here.sub, "ETH", "100")
    group = desk.drawn(here, coins=("BTC", "ETH", "USDT"), at=at).group
    build.deposit(here.master, "BTC", "3", wallet="funding")
    desk.quote(timezone.now(), BTC="46000")
    return group


def test_a_borrower_asks_what_if_and_sets_a_rule(
    browser: webdriver.Chrome, live_site: str, here: desk.Desk, called: CollateralGroup
) -> None:
    """R-FTR-01, R-FTR-02, R-FTR-04: with scripts and without"""
    browser.get(f"{live_site}{reverse('risk:what_if', args=[called.pk])}")
    find(browser, "[name=login]").send_keys(here.applicant.email)
    find(browser, "[name=password]").send_keys(PASSWORD)
    press(browser, "main button", then="what-if")
    find(browser, "[name=p_BTC]").send_keys("-10")
    find(browser, "[name=repay]").send_keys("100000")
    find(browser, "form.body button.main").click()
    patiently(browser).until(lambda page: "LTV would be" in words(page))
    said = words(browser)
    assert "Repay 100,000.00 USDT" in said
    assert "Cheapest cures" in said
    shot(browser, "what_if")

    browser.get(f"{live_site}{reverse('risk:group', args=[called.pk])}")
    assert "Cheapest cure" in words(browser)
    shot(browser, "group_cure")

    browser.get(f"{live_site}{reverse('loans:cure_rules', args=[called.pk])}")
    Select(find(browser, "[name=asset]")).select_by_value("USDT")
    find(browser, "[name=trigger]").send_keys("75")
    find(browser, "[name=target]").send_keys("70")
    find(browser, "form.body button.main").click()
    patiently(browser).until(lambda page: "Rule set." in page.find_element(By.TAG_NAME, "body").text)
    assert CureRule.objects.get().group_id == called.pk
    with acting(build.BUILDER):
        auto_cure.run_due(at=timezone.now())
    browser.refresh()
    assert "→ 70.00 %" in words(browser)
    shot(browser, "rules")
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert severe == []
