"""R-GEN-94, R-GEN-40, R-GEN-95: an LTV explained on a page, at any moment, and who may look."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.templatetags import figures
from risk import gate, groups, past
from risk.models import CollateralGroup, Debt, DebtEntry
from risk.pages.explain import NOT_YET, UNREADABLE, link_to
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans import visit
from tests.loans.desk import Desk
from tests.risk.test_pages_wallets import text_of

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
NOW = TEN + 2 * DAY


@pytest.fixture
def desk() -> Iterator[Desk]:
    made = desks.set_up()
    desks.drawn(made)
    desks.quote(TEN + DAY, BTC="50000")
    gate.deposit(account_uid=made.sub.pk, asset="BTC", amount=Decimal(5), actor=BUILDER, at=TEN + DAY)
    desks.quote(NOW, BTC="40000")
    with visit.at(NOW):
        yield made


@pytest.fixture
def group(desk: Desk) -> CollateralGroup:
    return CollateralGroup.objects.select_related("customer").get()


@pytest.fixture
def borrower(desk: Desk) -> Client:
    return visit.client_of(desk.applicant)


def test_a_moment_of_the_past_shows_what_it_was_then(borrower: Client, group: CollateralGroup) -> None:
    """R-GEN-94: 1,000,000 over 25 BTC at 60,000; the deposit and the prices of later are not in it."""
    text = text_of(borrower.get(link_to(group, TEN + HOUR)))

    assert "66.66 %" in text
    assert "1,000,000.00 USD ÷ 1,500,000.00 USD = 0.666666666666." in text
    assert "25.00 BTC × 60,000.00" in text
    assert "40,000.00" not in text
    assert "30.00 BTC" not in text


def test_now_is_what_the_group_page_says(borrower: Client, group: CollateralGroup) -> None:
    """R-GEN-40: the live LTV, exactly."""
    live = past.point_of(past.state_at(group, at=NOW)).ltv

    explained = text_of(borrower.get(reverse("risk:explain", args=[group.pk])))
    shown = text_of(borrower.get(reverse("risk:group", args=[group.pk])))

    assert figures.ltv(live).replace("\u00a0", " ") in explained
    assert figures.ltv(live).replace("\u00a0", " ") in shown
    assert "30.00 BTC × 40,000.00" in explained


def test_the_form_asks_for_a_day_and_a_time_of_utc(borrower: Client, group: CollateralGroup) -> None:
    address = reverse("risk:explain", args=[group.pk])
    then = TEN + HOUR

    asked = borrower.get(address, {"day": f"{then:%Y-%m-%d}", "time": f"{then:%H:%M}"})

    assert "66.66 %" in text_of(asked)
    assert f'value="{then:%H:%M:%S}"' in asked.content.decode()


@pytest.mark.parametrize("told", ["", "yesterday", "2026-13-01T00:00Z", "0001-01-01T00:00+14:00"])
def test_a_moment_that_is_none_is_refused_in_words(
    borrower: Client, group: CollateralGroup, told: str
) -> None:
    page = borrower.get(reverse("risk:explain", args=[group.pk]), {"at": told})

    assert page.status_code == 422
    assert UNREADABLE in text_of(page)


def test_before_the_group_and_after_now_there_is_nothing(borrower: Client, group: CollateralGroup) -> None:
    """Said, with a way to the nearest moment of which something can be told."""
    for at, why in ((TEN - DAY, "The group was opened on"), (NOW + HOUR, NOT_YET)):
        page = borrower.get(link_to(group, at))
        assert page.status_code == 422
        assert why in text_of(page)
        assert "÷" not in text_of(page)


def test_the_rows_behind_a_balance_and_a_debt_end_at_the_moment(
    borrower: Client, group: CollateralGroup, desk: Desk
) -> None:
    """R-GEN-94: one transfer by TEN + 1 h, two by now; a debt's charges by their midnights."""
    wallet = reverse("risk:explain_wallet", args=[group.pk, desk.sub.pk, "BTC"])
    then, now = link_to(group, TEN + HOUR).partition("?")[2], link_to(group, NOW).partition("?")[2]
    assert "the sum of 1 transfer" in text_of(borrower.get(f"{wallet}?{then}"))
    text = text_of(borrower.get(f"{wallet}?{now}"))
    assert "the sum of 2 transfers" in text
    assert "+5.00 BTC" in text

    row = Debt.objects.get()
    entries = reverse("risk:explain_debt", args=[group.pk, row.pk])
    text = text_of(borrower.get(f"{entries}?{now}"))
    assert "1,000,000.00 USDT" in text
    assert "was due and booked later" in text
    assert DebtEntry.objects.count() == 1  # looking books nothing
    assert borrower.get(f"{entries}?{link_to(group, TEN - DAY).partition('?')[2]}").status_code == 404


def test_who_may_look(desk: Desk, group: CollateralGroup) -> None:
    """R-GEN-95: the borrower, the own manager, the staff; to others it does not exist."""
    other = build.user()
    build.customer(vip_level=1, member=other)
    addresses = (
        link_to(group, TEN + HOUR),
        reverse("risk:explain_wallet", args=[group.pk, desk.sub.pk, "BTC"]),
        reverse("risk:explain_debt", args=[group.pk, Debt.objects.get().pk]),
    )
    for user, status in (
        (desk.applicant, 200),
        (desk.manager, 200),
        (build.user("risk_officer"), 200),
        (build.user("auditor"), 200),
        (other, 404),
        (build.user("vip_manager"), 404),
    ):
        client = visit.client_of(user)
        assert [client.get(address).status_code for address in addresses] == [status] * 3, user
    assert Client().get(addresses[0]).status_code == 302


def test_who_acts_for_one_account_sees_no_other_accounts_rows(desk: Desk, group: CollateralGroup) -> None:
    """R-GEN-95: the receiver's member sees what secures it, and not how another account came to it."""
    client = visit.client_of(build.colleague(desk.owner, only=desk.master))

    page = client.get(link_to(group, NOW))
    rows = reverse("risk:explain_wallet", args=[group.pk, desk.sub.pk, "BTC"])

    assert page.status_code == 200
    assert rows not in page.content.decode()
    assert client.get(rows).status_code == 404


def test_the_house_opens_the_journal_and_the_borrower_does_not(desk: Desk, group: CollateralGroup) -> None:
    address = reverse("risk:explain_wallet", args=[group.pk, desk.sub.pk, "BTC"])
    assert "/ledger/entries/" in visit.client_of(desk.manager).get(address).content.decode()
    assert "/ledger/" not in visit.client_of(desk.applicant).get(address).content.decode()


def test_an_old_price_is_said(desk: Desk, group: CollateralGroup) -> None:
    """R-GEN-22: an hour after its price BTC counts nothing for borrowing, and its last good price is told."""
    text = text_of(visit.client_of(desk.applicant).get(link_to(group, TEN + HOUR)))

    assert "Old prices then." in text
    assert "nothing could leave the group" in text


def test_it_asks_the_database_as_often_for_many_accounts(
    desk: Desk, group: CollateralGroup, borrower: Client
) -> None:
    address = link_to(group, NOW)
    borrower.get(address)
    with CaptureQueriesContext(connection) as before:
        borrower.get(address)
    for _ in range(5):
        account = build.account(desk.owner)
        build.deposit(account, "BTC", "1", at=NOW)
        groups.add_account(group_id=group.pk, uid=account.pk, max_accounts=50, actor=BUILDER, at=NOW)
    with CaptureQueriesContext(connection) as after:
        assert borrower.get(address).status_code == 200

    assert len(after) == len(before)
    assert len(after) <= 45
