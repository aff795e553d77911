"""R-ADM-09: in a real browser, with scripts and without, a key is made, shown once, used as the page says, revoked."""

import json
import shutil
import subprocess

import pytest
from django.urls import reverse
from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from accounts import keys
from accounts.models import ApiKey
from tests.browser.driving import PASSWORD, find, in_a_browser, words
from tests.browser.test_help import shot
from tests.loans import desk

pytestmark = in_a_browser


def told(driver: webdriver.Chrome, css: str, *, then: str) -> None:
    """Press, and wait until the page says `then`."""
    find(driver, css).click()
    replaced = WebDriverWait(driver, 20, ignored_exceptions=[WebDriverException])
    replaced.until(lambda page: then in words(page))


def test_a_key_is_made_used_and_revoked(browser: webdriver.Chrome, live_site: str, here: desk.Desk) -> None:
    """R-ADM-09"""
    browser.get(f"{live_site}{reverse('accounts:keys')}")
    find(browser, "[name=login]").send_keys(here.applicant.email)
    find(browser, "[name=password]").send_keys(PASSWORD)
    told(browser, "main button", then="API keys")
    assert "No program has a key yet." in words(browser)
    assert not any(box.is_selected() for box in browser.find_elements(By.CSS_SELECTOR, "[name=permissions]"))
    shot(browser, "keys_none")
    find(browser, "[name=label]").send_keys("Night robot")
    find(browser, "[name=permissions][value=can_borrow]").click()
    told(browser, "#make-key button.main", then="names the addresses it is used from")
    find(browser, "[name=permissions][value=can_read]").click()
    find(browser, "[name=networks]").send_keys("127.0.0.1\n2001:db8::/48")
    told(browser, "#make-key button.main", then="Copy it now")
    shot(browser, "keys_made")
    row = ApiKey.objects.get()
    assert keys.secret_of(row) in words(browser)
    example = browser.find_elements(By.TAG_NAME, "pre")[-1].text
    if shutil.which("curl") and shutil.which("openssl"):  # what the page says works when it is copied
        ran = subprocess.run(["bash", "-c", example], capture_output=True, check=True, timeout=30)
        assert json.loads(ran.stdout) == {"data": "Normal"}
    else:
        pytest.skip("curl and openssl are not there to try the example with")

    browser.get(f"{live_site}{reverse('accounts:keys')}")
    assert keys.secret_of(row) not in browser.page_source
    assert "from 127.0.0.1" in words(browser)
    shot(browser, "keys")
    told(browser, "table a.btn", then="It cannot be taken back into use")
    shot(browser, "keys_revoke")
    told(browser, "form.body button.main", then="it opens nothing any more")
    assert ApiKey.objects.get().revoked_at is not None
    severe = [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert all("422" in entry["message"] for entry in severe)
