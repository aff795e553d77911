"""In a real browser, with scripts and without: a margin call between the client, its robot and its manager."""

from datetime import UTC, timedelta

import pytest
from django.utils import timezone
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from accounts.models import Notice, NoticeContact
from risk import sweep
from risk.models import CallRecord, MarginCall
from tests.browser.driving import find, in_a_browser, may_sign_in, patiently, sign_in, words
from tests.conftest import CommittedDatabase
from tests.loans import desk
from tests.loans.desk import Desk

pytestmark = in_a_browser


@pytest.fixture
def called(committed_db: CommittedDatabase) -> Desk:
    """A client in margin call now: 1,000,000 USDT on 25 BTC at 50,000."""
    house, now = desk.set_up(), timezone.now()
    desk.quote(now - timedelta(minutes=3))
    desk.drawn(house, at=now - timedelta(minutes=3))
    desk.quote(now, BTC="50000")
    sweep.sweep(at=now)
    may_sign_in(house.manager, house.applicant)
    return house


def test_a_call_is_acknowledged_promised_and_spoken_of(
    live_site: str, called: Desk, browser: webdriver.Chrome
) -> None:
    """R-FTR-03, R-FTR-18: what the client says once is what the desk sees; no script error on the way."""
    sign_in(browser, live_site, called.applicant, "/notices/preferences/")
    find(browser, "#contact_name").send_keys("Risk robot")
    Select(find(browser, "#contact_channel")).select_by_value("webhook")
    find(browser, "#contact_address").send_keys("https://robots.example.com/lombard")
    find(browser, "#add-contact .main").click()
    patiently(browser).until(lambda page: "The secret of Risk robot" in words(page))
    assert NoticeContact.objects.get().secret in words(browser)
    browser.get(f"{live_site}/notices/")
    find(browser, "section[aria-label='To acknowledge'] button").click()
    patiently(browser).until(lambda page: "Acknowledged: your manager sees it" in words(page))
    assert Notice.objects.get(kind="margin_call").acknowledged_by == called.applicant

    sign_in(browser, live_site, called.manager, "/desk/calls/")
    assert "ACKNOWLEDGED" in words(browser)
    assert "Ask by when it is cured" in words(browser)
    browser.get(f"{live_site}/desk/calls/{MarginCall.objects.get().pk}/")
    until = (timezone.now() + timedelta(hours=2)).astimezone(UTC)
    find(browser, "#write input[value=promised]").find_element(By.XPATH, "..").click()
    find(browser, "#id_promised_by").send_keys(f"{until:%Y-%m-%d %H:%M}")
    find(browser, "#id_note").send_keys("By wire, in part")
    find(browser, "#write .main").click()
    patiently(browser).until(lambda page: "Written down." in words(page))
    assert "PROMISED" in words(browser)
    assert CallRecord.objects.get().note == "By wire, in part"
    find(browser, "#send a").click()
    patiently(browser).until(lambda page: "Send it to" in words(page))
    find(browser, "main form .main").click()
    patiently(browser).until(lambda page: "Message from your manager" in words(page))
    assert Notice.objects.filter(kind="call_message").count() == 1
    troubles = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert troubles == []
