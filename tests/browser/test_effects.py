"""In a real browser: what an act does to LTV appears while it is typed, in place, and leaves the typing alone."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.utils import timezone
from selenium import webdriver

from accounts.commands import acting
from risk.models import CollateralGroup
from tests import build
from tests.browser.driving import chromium, fill, find, in_a_browser, no_troubles, patiently, says, sign_in
from tests.loans import desk

pytestmark = in_a_browser


@pytest.fixture
def typist() -> Iterator[webdriver.Chrome]:
    with chromium() as driver:
        yield driver


def typed_into(page: webdriver.Chrome) -> tuple[str | None, str | None]:
    field = page.switch_to.active_element
    return field.get_attribute("id"), field.get_attribute("value")


def test_the_effect_follows_the_typing(live_site: str, here: desk.Desk, typist: webdriver.Chrome) -> None:
    """R-FTR-01: no press; the cursor stays; a refusal appears and leaves in the same place; then one press does it."""
    at = timezone.now()
    desk.quote(at)
    loan = desk.drawn(here, at=at)
    sign_in(typist, live_site, here.applicant, f"/loans/{loan.pk}/")

    fill(typist, "#id_amount", "250000")
    says(typist, "LTV falls from 66.66 % to 50.00 %.")
    says(typist, "Repay 250,000.00 USDT")
    assert typed_into(typist) == ("id_amount", "250000")

    fill(typist, "#id_amount", "99999999")
    says(typist, "you cannot repay more.")
    patiently(typist).until(lambda page: not page.find_elements("css selector", "#repay [name=seen]"))
    assert typed_into(typist) == ("id_amount", "99999999")

    fill(typist, "#id_amount", "100000")
    says(typist, "LTV falls from 66.66 % to 60.00 %.")
    find(typist, "#repay .btn.main").click()
    says(typist, "100,000.00 USDT is paid on")
    says(typist, "is 60.00 % now.")
    loan.debt.refresh_from_db()
    assert loan.debt.booked == 900000
    no_troubles(typist)


def left_after(page: webdriver.Chrome, hours: int) -> str:
    """What the page says is left when so many hours have passed since the server's last answer."""
    told = page.execute_script(
        """
        const now = Date.now, place = document.querySelector("time[data-left]");
        Date.now = () => now() + arguments[0] * 3600 * 1000;
        document.dispatchEvent(new Event("visibilitychange"));
        Date.now = now;
        return place.textContent;
        """,
        hours,
    )
    return str(told).replace("\u00a0", " ")


def test_what_is_left_of_a_grace_counts_on(live_site: str, here: desk.Desk, typist: webdriver.Chrome) -> None:
    """R-GEN-24: as time passes; the server's next answer decides what time it is. No screen reader reads it out."""
    at = timezone.now()
    desk.quote(at)
    loan = desk.drawn(here, at=at)
    with acting(build.BUILDER):
        until = at + timedelta(hours=4, minutes=12, seconds=50)
        CollateralGroup.objects.filter(pk=loan.group_id).update(grace_until=until)
    sign_in(typist, live_site, here.applicant, f"/loans/{loan.pk}/")
    says(typist, "a grace runs, 4 h 12 min left, until")
    assert find(typist, "time[data-left]").get_attribute("aria-live") == "off"
    assert [left_after(typist, hours) for hours in (1, 4, 5)] == ["3 h 12 min", "12 min", "0 min"]
    says(
        typist, "a grace runs, 4 h 12 min left, until"
    )  # the server's next answer knows that no time has passed
    no_troubles(typist)
