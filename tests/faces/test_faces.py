"""Pages in a real browser: axe-core finds nothing in light, dark and on a phone; nobody else is asked for anything.

Five of them in every run of the tests, all of them with FACES=all (`make browser`), which takes a quarter of an hour.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from tests.faces import look
from tests.faces.conftest import Desk
from tests.faces.pages import NOBODY, Visit, visits

BASE = Path(__file__).resolve().parents[2]
REPORTS = BASE / ".local" / "faces"
SHOTS = BASE / ".local" / "screenshots"
ALL = os.environ.get("FACES") == "all"
SHOOT = os.environ.get("FACES") == "shoot"
FIVE = (
    Visit("account_login", NOBODY),
    Visit("loans:home", "borrower"),
    Visit("risk:group", "called", "called"),
    Visit("loans:desk", "manager"),
    Visit("loans:approval", "risk2"),
)


pytestmark = [
    pytest.mark.skipif(
        not (look.CHROMIUM and look.DRIVER),
        reason="NOT VERIFIED in a browser: chromium and chromedriver are not on PATH",
    ),
    pytest.mark.timeout(600),  # the first page waits for the demo
]


@pytest.fixture(scope="module")
def driver() -> Iterator[webdriver.Chrome]:
    with look.chromium() as found:
        yield found


def opened(driver: webdriver.Chrome, face: Desk, visit: Visit) -> str:
    address = visit.address
    look.become(driver, face.url, face.cookies(visit.who))
    look.dress(driver, look.LIGHT)
    driver.get(face.url + address)
    return address


@pytest.mark.skipif(SHOOT, reason="only pictures are taken")
@pytest.mark.parametrize("visit", visits() if ALL else FIVE, ids=lambda visit: visit.slug)
def test_a_page_is_whole_for_everybody(driver: webdriver.Chrome, face: Desk, visit: Visit) -> None:
    address = opened(driver, face, visit)
    seen, cookies = look.Seen(visit.name, visit.who, address), face.cookies(visit.who)
    look.weigh(seen, face.url, cookies, look.fetched(driver))
    for name in look.LOOKS:
        look.dress(driver, name)
        seen.violations[name] = look.violations(driver)
    out = look.sticking_out(driver)  # dressed as a phone by now
    if ALL:
        seen.milliseconds = look.server_time(face.url, address, cookies)
        seen.keep(REPORTS / f"{visit.slug}.json")
    assert seen.broken == []
    assert seen.foreign == []
    assert seen.bytes <= look.HEAVIEST, seen.heaviest
    assert out == []
    assert seen.milliseconds <= look.SLOWEST


@pytest.mark.skipif(not SHOOT, reason="pictures are taken by make screenshots")
@pytest.mark.parametrize("visit", visits() if SHOOT else FIVE[:1], ids=lambda visit: visit.slug)
def test_a_page_is_pictured(driver: webdriver.Chrome, face: Desk, visit: Visit) -> None:
    opened(driver, face, visit)
    for name in look.LOOKS:
        look.dress(driver, name)
        look.picture(driver, SHOTS / name / f"{visit.slug}.png")
