"""In a real browser: the treasurer funds a pool by two people and follows a figure to its rows; the auditor looks."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone
from selenium import webdriver
from selenium.webdriver.support.ui import Select

from accounts.models import Approval, User
from risk.models import Tranche
from tests import build
from tests.browser.driving import find, in_a_browser, may_sign_in, patiently, sign_in, words
from tests.conftest import CommittedDatabase
from tests.loans import desk

pytestmark = in_a_browser


@pytest.fixture
def people(committed_db: CommittedDatabase) -> dict[str, User]:
    """Two of finance and an auditor, on a desk with one loan of 30 days at prices of now."""
    house, now = desk.set_up(), timezone.now()
    desk.quote(now)
    desk.drawn(house, at=now)
    found = {
        name: build.user(name.partition("-")[0], name=name) for name in ("finance", "finance-2", "auditor")
    }
    may_sign_in(*found.values())
    return found


def test_a_pool_is_funded_and_the_ladder_shows_it(
    live_site: str, people: dict[str, User], browser: webdriver.Chrome
) -> None:
    """R-ADM-12, R-ADM-03"""
    sign_in(browser, live_site, people["finance"], "/desk/funding/")
    Select(find(browser, "#id_asset")).select_by_value("USDT")
    find(browser, "#id_amount").send_keys("250000")
    find(browser, "#id_lender").send_keys("Harbour Bank")
    find(browser, "#id_annual_rate").send_keys("6.5")
    matures = timezone.now() + timedelta(days=10)
    browser.execute_script(
        "document.querySelector('#id_matures_at').value = arguments[0]", f"{matures:%Y-%m-%dT%H:%M}"
    )
    find(browser, "#id_reason").send_keys("Board of this week")
    find(browser, "main form button").click()
    patiently(browser).until(lambda page: " waits." in words(page))  # the address is the same as before
    approval = Approval.objects.get()
    assert f"{approval} waits." in words(browser)
    assert not Tranche.objects.exists()

    sign_in(browser, live_site, people["finance-2"], f"/desk/approvals/{approval.pk}/")
    find(browser, "#decide .main").click()
    patiently(browser).until(lambda page: f"{approval} is released and done" in words(page))
    tranche = Tranche.objects.get()
    assert tranche.annual_rate == Decimal("0.065")

    sign_in(browser, live_site, people["auditor"], "/desk/funding/ladder/")
    find(browser, "#usdt a").click()
    patiently(browser).until(lambda page: str(tranche) in words(page))
    browser.get(f"{live_site}/desk/funding/")
    assert "Finance funds the pools and draws from them" in words(browser)
    troubles = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert troubles == []
