"""In a real browser, with scripts and without: sign in, apply, check terms, accept, take a request back."""

import shutil
from collections.abc import Iterator

import pytest
from django.utils import timezone
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.expected_conditions import staleness_of
from selenium.webdriver.support.ui import Select, WebDriverWait

from accounts.commands import acting
from loans.models import Application
from tests import build
from tests.conftest import CommittedDatabase
from tests.loans import desk

PASSWORD = "correct horse battery"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="NOT VERIFIED in a browser: chromium and chromedriver are not on PATH"
)


@pytest.fixture(params=[True, False], ids=["with scripts", "without scripts"])
def browser(request: pytest.FixtureRequest) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1360,1000"):
        options.add_argument(argument)
    if not request.param:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(30)
    yield driver
    driver.quit()


@pytest.fixture
def here(committed_db: CommittedDatabase) -> desk.Desk:
    """The desk of the other tests, with prices of now, since a real clock runs."""
    found = desk.set_up()
    desk.quote(timezone.now())
    with acting(build.BUILDER):
        found.applicant.set_password(PASSWORD)
        found.applicant.save(update_fields=["password"])
    return found


def patiently(browser: webdriver.Chrome) -> "WebDriverWait[webdriver.Chrome]":
    """A page that is just being replaced has elements that are gone when they are read: look again."""
    return WebDriverWait(browser, 20, ignored_exceptions=[StaleElementReferenceException])


def find(browser: webdriver.Chrome, css: str) -> WebElement:
    return patiently(browser).until(lambda page: page.find_element(By.CSS_SELECTOR, css))


def press(browser: webdriver.Chrome, css: str, *, then: str) -> None:
    """Press, and wait until what was pressed has been exchanged and the address holds `then`."""
    pressed = find(browser, css)
    pressed.click()
    patiently(browser).until(staleness_of(pressed))
    patiently(browser).until(lambda page: then in page.current_url)


def words(browser: webdriver.Chrome) -> str:
    text = patiently(browser).until(lambda page: page.find_element(By.CSS_SELECTOR, "main").text)
    return str(text).replace("\u00a0", " ")


def test_from_signing_in_to_a_request_in_review(
    live_site: str, here: desk.Desk, browser: webdriver.Chrome
) -> None:
    """R-VIP-10, R-VIP-11, EX-09: what is accepted is what was shown; no script error on the way."""
    browser.get(live_site)
    find(browser, "#id_login").send_keys(here.applicant.email)
    find(browser, "#id_password").send_keys(PASSWORD)
    press(browser, "main form button", then=f"{live_site}/")
    assert "no open loan" in words(browser)

    browser.get(f"{live_site}/apply/")
    Select(find(browser, "#id_asset_1")).select_by_value("USDT")
    find(browser, "#id_amount_1").send_keys("400000")
    find(browser, "#id_purpose").send_keys("Working capital")
    press(browser, "button[value=check]", then="/apply/")
    assert "A first loan is worth at least 500,000 USD" in words(browser)
    assert find(browser, "#id_amount_1").get_attribute("value") == "400000"

    find(browser, "#id_amount_1").clear()
    find(browser, "#id_amount_1").send_keys("1000000")
    desk.quote(timezone.now())
    press(browser, "button[value=check]", then="/apply/")
    assert "BTC at 51,948.05 would call you" in words(browser)
    assert "Accept 1,000,000.00 USDT at 8.40 %" in words(browser)

    press(browser, "button[value=accept]", then="/requests/")
    assert "In review." in words(browser)
    row = Application.objects.get()
    assert (row.applicant, row.status) == (here.applicant, Application.Status.SUBMITTED)

    find(browser, "#cancel button").click()
    patiently(browser).until(lambda page: f"{row} is cancelled" in words(page))
    row.refresh_from_db()
    assert row.status == Application.Status.CANCELLED
    troubles = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [trouble for trouble in troubles if "422" not in trouble] == []


def test_a_repayment_is_looked_at_and_then_pressed(
    live_site: str, here: desk.Desk, browser: webdriver.Chrome
) -> None:
    """The panel alone is exchanged when scripts run, the page when they do not; the result is the same."""
    at = timezone.now()
    desk.quote(at)
    loan = desk.drawn(here, at=at)
    browser.get(f"{live_site}/loans/{loan.pk}/")
    find(browser, "#id_login").send_keys(here.applicant.email)
    find(browser, "#id_password").send_keys(PASSWORD)
    press(browser, "main form button", then=f"/loans/{loan.pk}/")
    find(browser, "#id_amount").send_keys("250000")
    find(browser, "#repay button").click()
    patiently(browser).until(lambda page: "Repay 250,000.00 USDT" in words(page))
    assert "50.00 %" in words(browser)
    find(browser, "#repay .btn.main").click()
    patiently(browser).until(lambda page: "250,000.00 USDT is paid" in words(page))
    loan.debt.refresh_from_db()
    assert loan.debt.booked == 750000
