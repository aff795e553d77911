"""The book at a glance: sums that are the rows behind them, and nobody else's. R-ADM-06"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.commands import acting
from accounts.models import Customer
from loans import dashboard
from loans.vip import expiry
from risk import accrual, book
from risk.models import CollateralGroup
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk, visit
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db

EVERYBODY = Customer.objects.all
SOON = TEN + timedelta(minutes=1)


@pytest.fixture
def house() -> Iterator[Desk]:
    with visit.at(SOON):
        house = desk.set_up()
        desk.drawn(house, term_days=60)  # 1,000,000 USDT against 25 BTC at 60,000: LTV 66.67 %
        yield house


def second_client(house: Desk, *, amount: str = "500000", btc: str = "14") -> Desk:
    """Another client of another manager."""
    manager, applicant = build.user("vip_manager"), build.user()
    owner = build.customer(vip_level=1, manager=manager, member=applicant)
    build.screened(owner)
    sub = build.account(owner)
    build.deposit(sub, "BTC", btc, at=build.LONG_AGO)
    other = Desk(owner, applicant, manager, build.master(owner), sub)
    desk.drawn(other, amount)
    return other


def test_the_sums_are_those_of_the_groups(house: Desk) -> None:
    """R-ADM-06"""
    second_client(house)
    desk.quote(SOON, BTC="50000")
    found = dashboard.book_of(EVERYBODY(), at=SOON)
    worths = [state.worth() for state in book.states(CollateralGroup.objects.all(), at=SOON).values()]
    assert (found.groups, found.debt) == (2, sum(worth.debt for worth in worths))
    assert found.debt == 1_500_000
    assert (found.recognised, found.market) == (1_950_000, 1_950_000)
    usdt, btc = found.coins["USDT"], found.coins["BTC"]
    assert (usdt.owed, usdt.owed_usd, usdt.pledged) == (1_500_000, 1_500_000, 0)
    assert (btc.pledged, btc.market, btc.recognised, btc.owed) == (39, 1_950_000, 1_950_000, 0)
    first, second = found.top(10)
    assert (first.owed, second.owed) == (1_000_000, 500_000)
    assert found.share(first.owed) == Decimal(1_000_000) / 1_500_000
    # 1,000,000 of 1,250,000 is 80 %, which is called; 500,000 of 700,000 is 71.4 %, still safe.
    assert (first.band, second.band) == ("CALL", "SAFE")
    assert found.bands == {"SAFE": 1, "WATCH": 0, "CALL": 1, "LIQ": 0}


def test_every_group_is_in_one_bar_and_the_bar_lists_it(house: Desk) -> None:
    """R-ADM-06"""
    second_client(house)
    desk.quote(SOON, BTC="50000")
    found = dashboard.book_of(EVERYBODY(), at=SOON)
    assert sum(bucket.groups for bucket in found.buckets) == found.groups
    assert sum(bucket.debt for bucket in found.buckets) == found.debt
    listed = [
        dashboard.in_bucket(EVERYBODY(), floor=bucket.floor, ceiling=bucket.ceiling, at=SOON)
        for bucket in found.buckets
    ]
    assert [len(keys) for keys in listed] == [bucket.groups for bucket in found.buckets]
    assert sorted(key for keys in listed for key in keys) == sorted(
        CollateralGroup.objects.values_list("pk", flat=True)
    )


def test_a_residual_debt_is_owed_but_is_nobodys_ltv(house: Desk) -> None:
    """R-ADM-06, R-GEN-78"""
    group = CollateralGroup.objects.get()
    debt = group.debts.get()
    with acting(BUILDER):
        debt.residual_since = TEN
        debt.save(update_fields=["residual_since"])
    found = dashboard.book_of(EVERYBODY(), at=SOON)
    assert (found.groups, found.debt, found.residual, found.owed) == (0, 0, 1_000_000, 1_000_000)
    assert found.coins["USDT"].owed == 1_000_000
    (client,) = found.top(10)
    assert (client.groups, client.residual) == (0, 1_000_000)


def test_bad_prices_come_first(house: Desk) -> None:
    """R-ADM-06, R-GEN-22"""
    later = SOON + timedelta(hours=2)
    build.prices(at=later, USDT="1")
    rows = dashboard.price_health({"USDT", "BTC", "ETH"}, since=later - timedelta(days=1), at=later)
    assert [(row.asset, row.is_good) for row in rows] == [("BTC", False), ("ETH", False), ("USDT", True)]
    assert rows[1].quote is None


def test_a_manager_sees_their_own_book_and_staff_all_of_it(house: Desk) -> None:
    """R-ADM-01, R-ADM-06"""
    other = second_client(house)
    url = reverse("loans:book")
    mine = visit.client_of(house.manager).get(url).content.decode()
    assert house.owner.name in mine
    assert other.owner.name not in mine
    assert "Insurance fund" not in mine
    for role in ("risk_officer", "finance", "auditor", "admin", "ops"):
        page = visit.client_of(build.user(role)).get(url).content.decode()
        assert house.owner.name in page
        assert other.owner.name in page
        assert "Insurance fund" in page
    assert visit.client_of(house.applicant).get(url).status_code == 404


def test_each_figure_leads_to_its_rows(house: Desk) -> None:
    """R-ADM-06"""
    other = second_client(house)
    auditor = visit.client_of(build.user("auditor"))
    coin = auditor.get(reverse("loans:book_coin", args=["USDT"])).content.decode()
    assert "1,500,000 USDT" in coin.replace("\xa0", " ").replace("\u202f", " ") or "1,500,000" in coin
    assert house.owner.name in coin
    pledged = auditor.get(reverse("loans:book_coin", args=["BTC"])).content.decode()
    assert other.owner.name in pledged
    bar = auditor.get(reverse("loans:book_groups"), {"from": "0.65"}).content.decode()
    assert house.owner.name in bar
    assert other.owner.name not in bar
    assert auditor.get(reverse("loans:book_groups"), {"from": "0.66"}).status_code == 404
    safe = auditor.get(reverse("loans:book_groups"), {"band": "SAFE"}).content.decode()
    assert house.owner.name in safe
    assert auditor.get(reverse("loans:book_groups"), {"band": "CALL"}).content.decode().count("G-00") == 0
    account = auditor.get(reverse("loans:ledger_account", args=["pool:USDT"])).content.decode()
    assert "borrow:" in account


def test_a_manager_opens_their_clients_wallets_and_no_house_account(house: Desk) -> None:
    """R-ADM-01, TRUST B-07"""
    other = second_client(house)
    client = visit.client_of(house.manager)
    for code, status in (
        (f"spot:{house.master.pk}:USDT", 200),
        (f"spot:{other.master.pk}:USDT", 404),
        ("pool:USDT", 404),
        ("nothing", 404),
    ):
        assert client.get(reverse("loans:ledger_account", args=[code])).status_code == status, code
    mine = client.get(reverse("loans:book_coin", args=["USDT"])).content.decode()
    assert other.owner.name not in mine


def test_the_page_asks_no_more_for_more_groups(house: Desk) -> None:
    """STYLE 15"""
    client, url = visit.client_of(build.user("auditor")), reverse("loans:book")

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as asked:
            assert client.get(url).status_code == 200
        return len(asked)

    queries()
    second_client(house)
    two = queries()
    second_client(house)
    assert queries() == two


def test_what_the_desk_earned_is_told_by_coin_and_month(house: Desk) -> None:
    """R-ADM-06, R-ADM-12: a day's charge belongs to the month of the midnight that ends it."""
    midnight = datetime(2026, 2, 1, tzinfo=UTC)
    accrual.accrue(at=midnight)
    with visit.later(build.user("finance"), midnight + timedelta(hours=1)) as finance:
        answer = finance.get(reverse("loans:book"))
    page = answer.content.decode()
    assert "January 2026" in page
    assert "interest_income:USDT" in page
    (row,) = [row for name, _, row in answer.context["results"] if name == "January 2026"]
    # 31 midnights, the last of which is 1 February 00:00: the charge of 31 January.
    assert (row.interest, row.net) == (31 * Decimal("246.57534247"), 31 * Decimal("246.57534247"))


def test_what_falls_due_and_what_is_overdue_is_listed(house: Desk) -> None:
    """R-ADM-06"""
    other = second_client(house)
    loan = house.owner.loans.get()
    url = reverse("loans:book_due")
    for instant, due, overdue in (
        (loan.due_at - timedelta(days=8), 0, 0),
        (loan.due_at - timedelta(days=7), 1, 0),
    ):
        with visit.later(house.manager, instant) as client:
            answer = client.get(url)
        assert (len(answer.context["due"]), len(answer.context["overdue"])) == (due, overdue)
    expiry.expire_due(at=loan.due_at)
    with visit.later(house.manager, loan.due_at) as client:
        answer = client.get(url)
        book = client.get(reverse("loans:book")).content.decode()
    assert [row.loan for row in answer.context["overdue"]] == [loan]
    assert "0 due in 7 days, 1 overdue" in book
    assert other.owner.name not in answer.content.decode()
