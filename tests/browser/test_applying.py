"""In a real browser: a request is put together with live figures, survives the browser, and says who cannot secure it.

R-VIP-03, R-VIP-04, R-VIP-10, R-GEN-13, R-FTR-01.
"""

from collections.abc import Iterator

import pytest
from django.utils import timezone
from selenium import webdriver
from selenium.webdriver.common.by import By

from loans.models import Application, ApplicationDraft
from risk import freezes
from tests import build
from tests.browser.driving import (
    Open,
    choose,
    chromium,
    chromiums,
    fill,
    find,
    in_a_browser,
    no_troubles,
    patiently,
    press,
    says,
    sign_in,
    words,
)
from tests.loans import desk

pytestmark = in_a_browser

KINDS: dict[str, dict[str, bool]] = {
    "laptop": {},
    "phone": {"phone": True},
    "without scripts": {"scripts": False},
}


@pytest.fixture(params=KINDS.values(), ids=KINDS)
def open_browser(request: pytest.FixtureRequest) -> Iterator[Open]:
    with chromiums(**request.param) as opened:
        yield opened


@pytest.fixture
def typist() -> Iterator[webdriver.Chrome]:
    with chromium() as driver:
        yield driver


def value_of(page: webdriver.Chrome, css: str) -> str | None:
    return find(page, css).get_attribute("value")


def test_figures_follow_the_typing(live_site: str, here: desk.Desk, typist: webdriver.Chrome) -> None:
    """R-VIP-10, R-FTR-01: no press; LTV, interest and falls change; what is typed stays; nothing is sent."""
    at = timezone.now()
    desk.quote(at)
    sign_in(typist, live_site, here.applicant, "/apply/")
    says(typist, "1,500,000.00 USD recognised by 1 account")
    choose(typist, "#id_asset_1", "USDT")
    fill(typist, "#id_amount_1", "1000000")
    says(typist, "BTC at 51,948.05 would call you")
    says(typist, "230.13698631 USDT")
    says(typist, "83.33 %")  # all prices 20 % lower
    assert value_of(typist, "#id_amount_1") == "1000000"

    fill(typist, "#id_amount_1", "750000")
    says(typist, "BTC at 38,961.04 would call you")

    typist.execute_script(
        "const s = document.querySelector('[data-slides=id_fall_BTC]'); s.value = -40;"
        "s.dispatchEvent(new Event('input', {bubbles: true}));"
    )
    assert value_of(typist, "#id_fall_BTC") == "-40"
    says(typist, "As you typed")
    fill(typist, "#id_amount_1", "1e6")
    says(typist, "Amount: Write the amount in plain digits")
    assert not Application.objects.exists()
    no_troubles(typist)


def test_a_draft_outlives_the_browser_and_a_refused_account_says_why(
    live_site: str, here: desk.Desk, open_browser: Open
) -> None:
    """R-VIP-03, R-VIP-04: begun on one device, gone on with on another; sent, it is a draft no more."""
    now = timezone.now()
    desk.quote(now)
    held = build.account(here.owner, label="Disputed")
    build.deposit(held, "BTC", "1", at=now)
    freezes.place(
        what="borrow",
        reason="Ownership is disputed",
        account_uid=held.pk,
        ends_at=now + freezes.LONGEST / 2,
        actor=here.decider,
        at=now,
    )
    first = open_browser()
    sign_in(first, live_site, here.applicant, "/apply/")
    says(first, "It receives this loan, so it cannot secure it.")
    says(first, "The reason: Ownership is disputed.")
    choose(first, "#id_asset_1", "USDT")
    fill(first, "#id_amount_1", "900000")
    fill(first, "#id_purpose", "A bridge until April")
    press(first, "button[name=look]", then="/apply/")
    says(first, "60.00 %")
    no_troubles(first)
    first.quit()

    second = open_browser()
    sign_in(second, live_site, here.applicant, "/apply/")
    says(second, "Your draft.")
    assert value_of(second, "#id_amount_1") == "900000"
    assert value_of(second, "#id_purpose") == "A bridge until April"
    says(second, "60.00 %")
    desk.quote(timezone.now())
    press(second, "button[value=check]", then="/apply/")
    press(second, "button[value=accept]", then="/requests/")
    assert Application.objects.get().purpose == "A bridge until April"
    assert not ApplicationDraft.objects.exists()
    second.get(f"{live_site}/apply/")
    assert "Your draft." not in words(second)
    no_troubles(second)


def test_a_draft_is_discarded(live_site: str, here: desk.Desk, open_browser: Open) -> None:
    """R-VIP-10"""
    desk.quote(timezone.now())
    page = open_browser()
    sign_in(page, live_site, here.applicant, "/apply/")
    fill(page, "#id_purpose", "Never mind")
    press(page, "button[name=look]", then="/apply/")
    page.get(f"{live_site}/apply/")
    press(page, "button[value=discard]", then="/apply/")
    patiently(page).until(lambda p: not p.find_elements(By.CSS_SELECTOR, "button[value=discard]"))
    assert not value_of(page, "#id_purpose")
    assert not ApplicationDraft.objects.exists()
