"""Figures renew themselves, and where they cannot, a sign says so and why, in Chromium.

The server goes silent by the browser's own network switch, somebody is signed out by their session's end, and prices
get old by their clock.
"""

from collections.abc import Iterator

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone
from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.browser.driving import chromium, find, in_a_browser, may_sign_in, patiently, says, sign_in
from tests.conftest import CommittedDatabase
from tests.loans import desk
from tests.loans.desk import Desk

pytestmark = in_a_browser
SIGN = "#stopped"


@pytest.fixture
def page() -> Iterator[webdriver.Chrome]:
    with chromium() as driver:
        yield driver


def told(page: webdriver.Chrome) -> str:
    return str(find(page, SIGN).text).replace("\u00a0", " ")


def waits_for(page: webdriver.Chrome, cause: str) -> None:
    patiently(page).until(
        lambda driver: (
            (driver.find_element(By.CSS_SELECTOR, SIGN).get_attribute("data-cause") or "") == cause
        ),
        f"the sign is not {cause!r}",
    )


def colour(page: webdriver.Chrome) -> str:
    return str(find(page, ".fig dd").value_of_css_property("color"))


def reach(page: webdriver.Chrome, *, offline: bool) -> None:
    page.execute_cdp_cmd("Network.enable", {})
    conditions = {"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.execute_cdp_cmd("Network.emulateNetworkConditions", conditions)


def with_a_loan(here: Desk) -> None:
    now = timezone.now()
    desk.quote(now)
    desk.drawn(here, at=now)


def test_a_silent_server_is_told_and_the_sign_leaves(
    live_site: str, here: Desk, page: webdriver.Chrome
) -> None:
    with_a_loan(here)
    sign_in(page, live_site, here.applicant)
    waits_for(page, "")
    bright = colour(page)

    reach(page, offline=True)
    waits_for(page, "silent")
    assert "The server is silent. No figures since" in told(page)
    assert "UTC: what stands here is from then" in told(page)
    assert colour(page) != bright
    assert "Reload the page" not in find(page, "#messages").text

    reach(page, offline=False)
    waits_for(page, "")
    assert told(page) == ""
    assert colour(page) == bright


def test_who_is_signed_out_is_told_and_comes_back_here(
    live_site: str, here: Desk, page: webdriver.Chrome
) -> None:
    """The page stays, with its figures; signing in leads back to it."""
    with_a_loan(here)
    sign_in(page, live_site, here.applicant, "/groups/")
    find(page, ".tbl a").click()
    group = find(page, "#standing").get_attribute("hx-get") or ""
    Session.objects.all().delete()

    waits_for(page, "signed-out")
    assert "You are signed out. What stands here is from" in told(page)
    find(page, "[data-sign-in]").click()
    find(page, "#id_login").send_keys(here.applicant.email)
    find(page, "#id_password").send_keys("correct horse battery")
    find(page, "main form button").click()
    patiently(page).until(lambda driver: driver.current_url.endswith(group))
    waits_for(page, "")


def test_old_prices_are_told_by_the_server_and_fresh_ones_take_it_away(
    live_site: str, committed_db: CommittedDatabase, page: webdriver.Chrome
) -> None:
    """R-GEN-22: the sign names the newest price's time; repaying stays open."""
    here = desk.set_up()
    desk.drawn(here, rate_type="flexible", term_days=None)  # prices are those of 10:00 that day
    may_sign_in(here.applicant)
    sign_in(page, live_site, here.applicant)
    waits_for(page, "prices")
    assert "Prices stopped. The newest price is of 10:00:00 UTC" in told(page)
    assert "repaying and topping up stay open" in told(page)
    dim = colour(page)

    desk.quote(timezone.now(), BTC="61000")
    waits_for(page, "")
    assert colour(page) != dim
    says(page, "1,525,000.00 USD")  # 25 BTC at 61,000, without a reload


def test_what_is_unfolded_stays_unfolded(live_site: str, here: Desk, page: webdriver.Chrome) -> None:
    with_a_loan(here)
    sign_in(page, live_site, here.applicant)
    find(page, "#standing details summary").click()
    before = find(page, "#standing")
    desk.quote(timezone.now(), BTC="62000")
    says(page, "1,550,000.00 USD")
    assert find(page, "#standing") != before
    patiently(page).until(lambda driver: driver.find_elements(By.CSS_SELECTOR, "#standing details[open]"))
