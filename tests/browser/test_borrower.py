"""In a real browser, with scripts and without: sign in, apply, check terms, accept, take a request back."""

from django.utils import timezone
from selenium import webdriver
from selenium.webdriver.support.ui import Select

from loans.models import Application
from tests.browser.driving import find, in_a_browser, no_troubles, patiently, press, sign_in, words
from tests.loans import desk

pytestmark = in_a_browser


def test_from_signing_in_to_a_request_in_review(
    live_site: str, here: desk.Desk, browser: webdriver.Chrome
) -> None:
    """R-VIP-10, R-VIP-11, EX-09: what is accepted is what was shown; no script error on the way."""
    sign_in(browser, live_site, here.applicant)
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
    no_troubles(browser)


def test_a_repayment_is_looked_at_and_then_pressed(
    live_site: str, here: desk.Desk, browser: webdriver.Chrome
) -> None:
    """The panel alone is exchanged when scripts run, the page when they do not; the result is the same."""
    at = timezone.now()
    desk.quote(at)
    loan = desk.drawn(here, at=at)
    sign_in(browser, live_site, here.applicant, f"/loans/{loan.pk}/")
    find(browser, "#id_amount").send_keys("250000")
    find(browser, "#repay button").click()
    patiently(browser).until(lambda page: "Repay 250,000.00 USDT" in words(page))
    assert "50.00 %" in words(browser)
    find(browser, "#repay .btn.main").click()
    patiently(browser).until(lambda page: "250,000.00 USDT is paid" in words(page))
    loan.debt.refresh_from_db()
    assert loan.debt.booked == 750000
