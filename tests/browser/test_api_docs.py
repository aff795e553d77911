"""The page that describes /api/v1 works in a real browser under the strict content policy: nothing of it is blocked."""

from selenium import webdriver
from selenium.webdriver.common.by import By

from tests.browser.driving import find, in_a_browser, patiently, words
from tests.browser.test_help import shot

pytestmark = in_a_browser


def test_the_description_is_shown_and_opens(browser: webdriver.Chrome, live_site: str) -> None:
    """TRUST section 7: scripts and styles from our own files only, and no violation is logged."""
    browser.get(f"{live_site}/api/v1/docs")
    if find(browser, "body").text.startswith("This page needs JavaScript"):
        assert find(browser, "a").get_attribute("href") == f"{live_site}/api/v1/schema.json"
        return
    patiently(browser).until(lambda page: page.find_elements(By.CSS_SELECTOR, ".opblock"))
    assert "groups/{group_id}/what-if" in words(browser)
    operation = find(browser, "[id$=groups_what_if] button")
    browser.execute_script("arguments[0].click()", operation)
    patiently(browser).until(lambda page: "Idempotency-Key" in words(page))
    assert "Nothing is done, and nothing is kept." in words(browser)
    shot(browser, "api_docs")
    blocked = [
        line["message"] for line in browser.get_log("browser") if "Content Security" in line["message"]
    ]
    assert blocked == []
