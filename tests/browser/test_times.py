"""Times are UTC on the page; the clock on the wall is told to a pointer, a finger and a keyboard."""

from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from accounts.models import User
from tests import build
from tests.browser.driving import chromium, find, in_a_browser, may_sign_in, patiently, sign_in

pytestmark = in_a_browser


@pytest.fixture
def page() -> Iterator[webdriver.Chrome]:
    with chromium() as driver:
        yield driver


@pytest.fixture
def member(committed_db: object) -> User:
    user = build.user(name="Mia Halden")
    build.customer("Aare AG", member=user)
    may_sign_in(user)
    return user


def tip(page: webdriver.Chrome) -> str:
    return (
        patiently(page).until(lambda driver: driver.find_element(By.CSS_SELECTOR, ".tip:not([hidden])")).text
    )


def test_the_keyboard_reaches_the_local_time(live_site: str, page: webdriver.Chrome, member: User) -> None:
    zone, says = "Europe/Stockholm", "Your time: "
    page.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": zone})
    sign_in(page, live_site, member, "/security/")
    time = find(page, "#sign-ins time")
    assert time.get_attribute("tabindex") == "0"
    page.execute_script("arguments[0].focus()", time)
    assert tip(page).startswith(says)
    local = page.execute_script(
        "return new Intl.DateTimeFormat('en', {timeZone: arguments[1], dateStyle: 'medium', timeStyle: 'long'})"
        ".format(new Date(arguments[0].dateTime))",
        time,
        zone,
    )
    assert tip(page) == says + local
    assert time.get_attribute("aria-describedby") == "tip"
    time.send_keys(Keys.ESCAPE)
    assert not page.find_element(By.ID, "tip").is_displayed()
    assert time.get_attribute("aria-describedby") is None
