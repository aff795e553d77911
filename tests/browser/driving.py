"""Chromium as people have it: on a laptop, on a phone, without scripts, and two of them at once."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from accounts.commands import acting
from accounts.models import User
from tests import build

PASSWORD = "correct horse battery"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
WITHOUT_SCRIPTS = {"profile.managed_default_content_settings.javascript": 2}
PHONE = {"deviceMetrics": {"width": 390, "height": 844, "pixelRatio": 2.0, "touch": True}}

in_a_browser = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="NOT VERIFIED in a browser: chromium and chromedriver are not on PATH"
)

Open = Callable[[], webdriver.Chrome]


@contextmanager
def chromium(*, scripts: bool = True, phone: bool = False) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1360,1000"):
        options.add_argument(argument)
    if not scripts:
        options.add_experimental_option("prefs", WITHOUT_SCRIPTS)
    if phone:
        options.add_experimental_option("mobileEmulation", PHONE)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    driver.set_page_load_timeout(30)
    try:
        yield driver
    finally:
        driver.quit()


@contextmanager
def chromiums(*, scripts: bool = True, phone: bool = False) -> Iterator[Open]:
    """Any number of browsers of one kind, each somebody else's."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(chromium(scripts=scripts, phone=phone))


def may_sign_in(*users: User) -> None:
    with acting(build.BUILDER):
        for user in users:
            user.set_password(PASSWORD)
            user.save(update_fields=["password"])


def sign_in(page: webdriver.Chrome, site: str, user: User, path: str = "/") -> None:
    """As `user`, from the page that asks who wants to see `path`."""
    page.delete_all_cookies()
    page.get(f"{site}{path}")
    find(page, "#id_login").send_keys(user.email)
    find(page, "#id_password").send_keys(PASSWORD)
    press(page, "main form button", then=path)


def patiently(browser: webdriver.Chrome) -> "WebDriverWait[webdriver.Chrome]":
    """A page that is just being replaced has elements that are gone when they are read: look again."""
    return WebDriverWait(browser, 20, ignored_exceptions=[StaleElementReferenceException])


def find(browser: webdriver.Chrome, css: str) -> WebElement:
    return patiently(browser).until(lambda page: page.find_element(By.CSS_SELECTOR, css))


def fill(browser: webdriver.Chrome, css: str, text: str) -> None:
    field = find(browser, css)
    field.clear()
    field.send_keys(text)


def choose(browser: webdriver.Chrome, css: str, word: str) -> None:
    """The option whose text begins with this word."""
    options = Select(find(browser, css))
    [place] = [place for place, one in enumerate(options.options) if one.text.startswith(word)]
    options.select_by_index(place)


def being_exchanged(error: WebDriverException) -> bool:
    """Whether it was asked of a page that is gone, or in the very moment of the exchange."""
    gone = "does not belong to the document"
    return isinstance(error, StaleElementReferenceException) or gone in str(error)


def is_gone(element: WebElement) -> bool:
    """Whether the page it was on, or the part of it, has been exchanged."""
    try:
        element.is_enabled()
    except WebDriverException as error:
        return being_exchanged(error)
    return False


def press(browser: webdriver.Chrome, css: str, *, then: str) -> None:
    """Press, and wait until what was pressed has been exchanged and the address holds `then`."""
    pressed = find(browser, css)
    pressed.click()
    patiently(browser).until(lambda page: is_gone(pressed))
    patiently(browser).until(lambda page: then in page.current_url)


def words(browser: webdriver.Chrome) -> str:
    return str(patiently(browser).until(_read)).replace("\u00a0", " ")


def _read(page: webdriver.Chrome) -> str:
    """Nothing while the page is being exchanged."""
    try:
        return page.find_element(By.CSS_SELECTOR, "main").text
    except WebDriverException as error:
        if being_exchanged(error):
            return ""
        raise


def says(browser: webdriver.Chrome, text: str) -> None:
    """The page says this, or will in a moment."""
    patiently(browser).until(lambda page: text in words(page), f"{text!r} is not in:\n{words(browser)}")


def no_troubles(browser: webdriver.Chrome) -> None:
    """Nothing was written to the browser's log but the refusals that were asked for."""
    troubles = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert [trouble for trouble in troubles if "422" not in trouble] == []
