"""The page that describes /api/v1 works in a real browser under the strict content policy, and without scripts."""

from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.browser.driving import chromium, find, in_a_browser, words
from tests.browser.test_help import shot

pytestmark = in_a_browser


def test_the_description_is_shown_and_every_part_has_an_address(
    browser: webdriver.Chrome, live_site: str
) -> None:
    """TRUST section 7: scripts and styles from our own files only, and no violation is logged."""
    browser.get(f"{live_site}/api/v1/docs")
    browser.find_element(By.LINK_TEXT, "groups_what_if").click()
    assert browser.current_url.endswith("#groups_what_if")
    told = find(browser, "#groups_what_if").text
    assert "/api/v1/groups/{group_id}/what-if" in told
    assert "Idempotency-Key" in told
    assert "Nothing is done, and nothing is kept." in told
    assert f"curl -X POST '{live_site}/api/v1/groups/{{group_id}}/what-if'" in told
    find(browser, "#groups_what_if").find_element(By.LINK_TEXT, "WhatIfAnswer").click()
    assert browser.current_url.endswith("#shape-WhatIfAnswer")
    assert find(browser, "#shape-WhatIfAnswer").is_displayed()
    shot(browser, "api_docs")
    blocked = [
        line["message"] for line in browser.get_log("browser") if "Content Security" in line["message"]
    ]
    assert blocked == []


def test_the_description_needs_no_script(live_site: str) -> None:
    with chromium(scripts=False) as browser:
        browser.get(f"{live_site}/api/v1/docs")
        assert "Nothing is done, and nothing is kept." in words(browser)
