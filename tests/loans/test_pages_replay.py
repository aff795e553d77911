"""R-GEN-81: a liquidation replayed on a page, sale by sale; its figures are those of its story and its rows."""

import re
from collections.abc import Iterator
from decimal import Decimal

import pytest
from django.test import Client
from django.urls import reverse

from accounts.templatetags import figures
from risk import takings
from risk.models import Liquidation
from tests import build
from tests.loans import visit
from tests.loans.desk import everything
from tests.risk.forced_sales import World, liquidate
from tests.risk.test_pages_wallets import text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def world() -> Iterator[World]:
    """100,000 USDT owed against 0.5 BTC at 100,000, 15 ETH at 4,000: two coins have to go."""
    for symbol in ("BTC", "ETH", "USDT"):
        build.asset(symbol)
        build.ratios(symbol)
    build.prices(BTC="100000", ETH="4000", USDT="1")
    made = World(["BTC", "ETH"], BTC=("0.3", "0.2"), ETH=("15", "0"))
    made.owe("USDT", "100000")
    build.fund_pool("USDT")
    with visit.at(build.NOON):
        yield made


@pytest.fixture
def row(world: World) -> Liquidation:
    found = liquidate(world.group)
    assert found is not None
    return found


@pytest.fixture
def officer() -> Client:
    return visit.client_of(build.user("risk_officer"))


def shown(client: Client, row: Liquidation, step: object) -> str:
    return text_of(client.get(reverse("loans:liquidation_replay", args=[row.pk]), {"step": step}))


def test_each_sale_shows_its_figures_and_leads_to_the_next(row: Liquidation, officer: Client) -> None:
    first, second = takings.takings(row)
    for one in (first, second):
        text = shown(officer, row, one.number)
        assert f"Sale {one.number} of 2" in text
        for ltv in (one.before.ltv, one.after.ltv):
            assert figures.ltv(ltv).replace("\u00a0", " ") in text
        assert figures.plain(one.sold, one.sales[0].coin).replace("\u00a0", " ") + " was sold at" in text
        assert figures.plain(one.repaid.total, "USDT").replace("\u00a0", " ") in text
    page = officer.get(reverse("loans:liquidation_replay", args=[row.pk])).content.decode()
    assert re.findall(r'rel="(prev|next)" href="([^"]+)"', page) == [("next", "?step=2")]
    page = officer.get(reverse("loans:liquidation_replay", args=[row.pk]), {"step": 2}).content.decode()
    assert re.findall(r'rel="(prev|next)" href="([^"]+)"', page) == [("prev", "?step=1")]


def test_the_sums_are_those_of_the_story(row: Liquidation, officer: Client) -> None:
    """R-GEN-81: sold and fee of the row, to the cent; the fee is 2 % of what was repaid."""
    text = shown(officer, row, 2)

    assert (
        f"Sold {figures.usd(row.sold_usd)} in all"
        in officer.get(reverse("loans:liquidation_replay", args=[row.pk])).content.decode()
    )
    assert "Fee 2,000.00 USD" in text
    assert sum(one.repaid.total for one in takings.takings(row)) == Decimal(100_000)
    assert row.sold_usd == Decimal(102_000)


def test_the_postings_are_every_transfer_of_the_sale(row: Liquidation, officer: Client) -> None:
    one = takings.takings(row)[0]
    page = officer.get(reverse("loans:liquidation_replay", args=[row.pk])).content.decode()

    for line in one.postings:
        assert reverse("loans:ledger_entry", args=[line.entry_id]) in page
        assert line.debit.code in page
        assert line.credit.code in page
    assert [str(line.amount.normalize()) for line in one.postings] == ["15", "15", "6E+4"]


@pytest.mark.parametrize(
    ("asked", "is_shown"), [("0", 1), ("99", 2), ("x", 1), ("-1", 1), ("9" * 40, 1), ("", 1)]
)
def test_what_is_no_step_shows_the_nearest(
    row: Liquidation, officer: Client, asked: str, is_shown: int
) -> None:
    assert f"Sale {is_shown} of 2" in shown(officer, row, asked)


def test_who_may_look_and_looking_changes_nothing(world: World, row: Liquidation) -> None:
    """R-GEN-95: the client without the journal, their manager, the staff; to others it does not exist."""
    mine = build.colleague(world.owner)
    address = reverse("loans:liquidation_replay", args=[row.pk])
    other, auditor = build.colleague(build.customer()), build.user("auditor")
    was = everything()

    answer = visit.client_of(mine).get(address)
    assert answer.status_code == 200
    assert "/ledger/" not in answer.content.decode()
    assert visit.client_of(auditor).get(address).status_code == 200
    for stranger in (build.user("vip_manager"), other):
        assert visit.client_of(stranger).get(address).status_code == 404
    assert Client().get(address).status_code == 302
    assert everything() == was


def test_the_story_leads_to_it(row: Liquidation, officer: Client) -> None:
    story = officer.get(reverse("loans:liquidation", args=[row.pk])).content.decode()

    assert reverse("loans:liquidation_replay", args=[row.pk]) in story
