"""In a real browser, with scripts and without: a month is closed and a wrong entry undone, each by two people."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from django.utils import timezone
from selenium import webdriver

from accounts import books, closing
from accounts.exchange import exchange
from accounts.models import Approval, JournalEntry, PeriodClose, User
from risk import accrual
from tests import build
from tests.browser.driving import find, in_a_browser, may_sign_in, patiently, press, sign_in, words
from tests.conftest import CommittedDatabase
from tests.loans import desk

pytestmark = in_a_browser


@pytest.fixture
def clerks(committed_db: CommittedDatabase) -> tuple[User, User]:
    """Two of finance, of a desk with a loan that is charged up to today and a deposit that was never theirs."""
    house, now = desk.set_up(), timezone.now()
    desk.drawn(house, rate_type="flexible", term_days=None)
    accrual.accrue(at=now)
    wallet = books.wallet(house.master, "USDT")
    exchange().deposit(wallet=wallet, amount=Decimal("12.5"), key="deposit:wrong", at=now)
    pair = build.user("finance", name="Fay Finance"), build.user("admin", name="Ada Admin")
    may_sign_in(*pair)
    return pair


def test_a_month_is_closed_and_an_entry_undone_by_two(
    live_site: str, clerks: tuple[User, User], browser: webdriver.Chrome
) -> None:
    """R-ADM-11, R-ADM-03: proposed by one of finance, released by another; both sides stand side by side."""
    maker, checker = clerks
    wrong = JournalEntry.objects.get(reference="deposit:wrong")
    sign_in(browser, live_site, maker)
    browser.get(f"{live_site}/desk/books/2026/1/")
    find(browser, "#id_reason").send_keys("Reconciled with custody")
    press(browser, "#close form button", then="/desk/books/")
    assert "Close the books through 31 January 2026" in words(browser)
    browser.get(f"{live_site}/ledger/entries/{wrong.pk}/reverse/")
    assert "custody:USDT\n\u221212.50 USDT" in words(browser)
    find(browser, "#id_reason").send_keys("Another bank's")
    press(browser, "main form button", then=f"/ledger/entries/{wrong.pk}/")

    sign_in(browser, live_site, checker)
    for approval in Approval.objects.order_by("pk"):
        browser.get(f"{live_site}/desk/approvals/{approval.pk}/")
        find(browser, "#decide .main").click()
        patiently(browser).until(lambda page, one=approval: f"{one} is released and done" in words(page))
    assert PeriodClose.objects.get().through == datetime(2026, 2, 1, tzinfo=UTC)
    assert closing.tampered() == []
    browser.get(f"{live_site}/desk/books/")
    assert "closed through 1 Feb 2026, 00:00 UTC" in words(browser)
    browser.get(f"{live_site}/ledger/entries/{wrong.pk}/")
    assert f"Reversed by J-{JournalEntry.objects.get(reverses=wrong).pk}" in words(browser)
    troubles = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    assert troubles == []
