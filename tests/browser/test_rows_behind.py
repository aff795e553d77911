"""Every figure leads to its rows, and time that is left counts on by the server's clock, in Chromium."""

import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
from django.urls import reverse
from django.utils import timezone
from selenium import webdriver
from selenium.webdriver.common.by import By

from accounts.money import ZERO
from loans.models import Loan
from loans.vip import repayment
from risk import accrual
from risk.models import DebtEntry
from tests import build
from tests.browser.driving import (
    chromium,
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
from tests.loans.desk import Desk

pytestmark = in_a_browser
DAY = timedelta(days=1)
CLOCK = "const real = Date.now.bind(Date); window.shift = 0; Date.now = () => real() + window.shift;"


@pytest.fixture
def page() -> Iterator[webdriver.Chrome]:
    with chromium() as driver:
        yield driver


def borrowed(here: Desk, since: datetime) -> Loan:
    """Interest of each midnight since, and a repayment of 1,000 USDT a minute ago."""
    now = timezone.now()
    desk.quote(since)
    loan = desk.drawn(here, at=since)
    accrual.accrue(at=now)
    desk.quote(now)
    repayment.repay(
        loan_id=loan.pk,
        amount=build.Decimal(1000),
        actor=here.borrower,
        at=now - timedelta(minutes=1),
        key=str(uuid4()),
    )
    return loan


def test_an_ltv_leads_down_to_the_postings_behind_it(
    live_site: str, here: Desk, page: webdriver.Chrome
) -> None:
    """R-GEN-94, R-GEN-05: LTV, its division, the debt's entries, one entry; and a coin, its transfers, one entry."""
    loan = borrowed(here, timezone.now() - 3 * DAY)
    entry = DebtEntry.objects.get(kind="repayment").entry_id
    sign_in(page, live_site, here.applicant, reverse("risk:group", args=[loan.group_id]))

    press(page, "#standing a[href$='/explain/']", then="/explain/")
    says(page, "÷")
    press(page, "#debts a[href*='/debts/']", then="/explain/debts/")
    says(page, "−1,000.00" if not interest_of(loan) else "Repayment")
    press(page, f"#entries a[href$='/entries/{entry}/']", then=f"/history/entries/{entry}/")
    says(page, f"Spot of {here.master.label}")
    assert "1,000.00" in words(page)
    press(page, "#debts th a", then=f"/loans/{loan.pk}/")

    page.get(f"{live_site}{reverse('risk:explain', args=[loan.group_id])}")
    press(page, "main a[href*='/explain/accounts/']", then="/explain/accounts/")
    says(page, "25.00 BTC")
    press(page, "#transfers tbody a", then="/history/entries/")
    says(page, f"Spot of {here.sub.label}")
    no_troubles(page)


def interest_of(loan: Loan) -> bool:
    return any(row.interest != ZERO for row in DebtEntry.objects.filter(kind="repayment", debt=loan.debt))


@pytest.mark.parametrize("tab", ["repayments", "interest", "flows"])
def test_a_row_of_the_history_opens_its_entry(
    tab: str, live_site: str, here: Desk, page: webdriver.Chrome
) -> None:
    """R-GEN-90, R-GEN-05: the figure of the row is in the books that it leads to."""
    loan = borrowed(here, timezone.now() - 3 * DAY)
    sign_in(page, live_site, here.applicant, reverse("loans:history_list", args=[tab]))
    address = find(page, "#rows tbody a[href*='/entries/']").get_attribute("href")
    press(page, "#rows tbody a[href*='/entries/']", then="/history/entries/")
    assert page.current_url == address
    says(page, "Entry J-")
    if tab != "flows":
        says(page, str(loan))
    no_troubles(page)


def minutes(page: webdriver.Chrome) -> int:
    text = str(find(page, "time[data-left]").text).replace("\u00a0", " ")
    found = re.fullmatch(r"(?:(\d+) h )?(\d+) min", text)
    assert found, text
    return 60 * int(found[1] or 0) + int(found[2])


def move_clock(page: webdriver.Chrome, hours: int, minutes: int = 0) -> None:
    """The visitor's clock is set, and the page looks at it, as it does every five seconds."""
    page.execute_script(
        "window.shift = arguments[0]; document.dispatchEvent(new Event('visibilitychange'));",
        (60 * hours + minutes) * 60_000,
    )


def test_time_left_is_the_servers(live_site: str, here: Desk, page: webdriver.Chrome) -> None:
    """R-VIP-46: a visitor's clock that is wrong does not matter, one that is set is put right by the next answer.

    While the server is silent the time counts on by itself.
    """
    loan = borrowed(here, timezone.now() - 29 * DAY)
    page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": CLOCK})
    sign_in(page, live_site, here.applicant, reverse("loans:loan", args=[loan.pk]))

    def left() -> int:
        assert loan.due_at is not None
        return int((loan.due_at - timezone.now()).total_seconds() // 60)

    assert abs(minutes(page) - left()) <= 1
    move_clock(page, 5)
    patiently(page).until(lambda driver: abs(minutes(driver) - left()) <= 1, "it was not put right")
    page.execute_cdp_cmd("Network.enable", {})
    nothing = {"offline": True, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.execute_cdp_cmd("Network.emulateNetworkConditions", nothing)
    before = minutes(page)
    move_clock(page, 5, minutes=7)
    assert before - minutes(page) in {7, 8}
    page.execute_cdp_cmd("Network.emulateNetworkConditions", nothing | {"offline": False})
    patiently(page).until(lambda driver: abs(minutes(driver) - left()) <= 1, "it was not put right again")


def test_without_scripts_the_moment_itself_stands(live_site: str, here: Desk) -> None:
    """R-VIP-46: how long, when the page was written; and when."""
    loan = borrowed(here, timezone.now() - 29 * DAY)
    with chromium(scripts=False) as page:
        sign_in(page, live_site, here.applicant, reverse("loans:loan", args=[loan.pk]))
        place = page.find_element(By.CSS_SELECTOR, "time[data-left]")
        assert "h" in place.text
        assert loan.due_at is not None
        assert place.get_attribute("datetime") == loan.due_at.isoformat(timespec="seconds").replace(
            "+00:00", "Z"
        )
