"""The rates: the board of one's own level, and the history of a coin as a page, as JSON and as CSV (R-GEN-53)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.test import Client

from accounts.commands import acting
from loans import rates
from loans.charts import Step
from loans.models import ClientTerms
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk
from tests.loans.visit import at, client_of

pytestmark = pytest.mark.django_db
SECOND = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def desk(db: None) -> Desk:
    """30 days 8.4 %, 60 days 9 %, flexible 8 %, from 9 % on the second of January."""
    made = desks.set_up()
    build.flexible_rate("USDT", "0.09", at=SECOND)
    return made


def test_the_board_has_fixed_by_term_flexible_and_the_next_change(desk: Desk) -> None:
    """R-VIP-22, R-VIP-23"""
    [row] = rates.board(vip_level=1, at=TEN)

    assert row.asset.pk == "USDT"
    assert [rate and rate.annual_rate for rate in row.fixed] == [Decimal("0.084"), Decimal("0.09")]
    assert row.flexible == rates.Rate(Decimal("0.08"), Decimal("0.09"), SECOND)
    assert rates.board(vip_level=0, at=TEN)[0].fixed == (None, None)


def test_the_next_fixed_rate_is_one_this_level_will_feel(desk: Desk) -> None:
    """R-VIP-22: a card of a lower level changes nothing for a level with its own."""
    desks.card("USDT", "0.07", vip_level=3, at=LONG_AGO)
    desks.card("USDT", "0.2", vip_level=1, at=SECOND)

    [level_one], [level_three] = (rates.board(vip_level=level, at=TEN) for level in (1, 3))

    assert level_one.fixed[0] == rates.Rate(Decimal("0.084"), Decimal("0.2"), SECOND)
    assert level_three.fixed[0] == rates.Rate(Decimal("0.07"))


def test_the_board_shows_the_clients_own_rate(desk: Desk) -> None:
    """R-VIP-24"""
    with acting(BUILDER):
        ClientTerms.objects.create(
            customer=desk.owner, starts_at=LONG_AGO, reason="Test", spread=Decimal("-0.005")
        )

    [row] = rates.board(vip_level=1, at=TEN, customer=desk.owner)

    assert row.fixed[0] is not None
    assert row.flexible is not None
    assert (row.fixed[0].annual_rate, row.spread) == (Decimal("0.079"), Decimal("-0.005"))
    assert (row.flexible.annual_rate, row.flexible.next_rate) == (Decimal("0.075"), Decimal("0.085"))
    with at(TEN):
        page = client_of(desk.applicant).get("/rates/").content.decode()
    assert "7.90" in page
    assert "-0.50" in page or "−0.50" in page


def test_the_history_starts_with_what_was_in_force(desk: Desk) -> None:
    """R-GEN-53: half-open: what starts at the end is not in it."""
    since = datetime(2026, 1, 1, tzinfo=UTC)

    flexible, *fixed = rates.history(build.asset("USDT"), vip_level=1, since=since, until=SECOND)
    later = rates.history(
        build.asset("USDT"), vip_level=1, since=since, until=SECOND + timedelta(microseconds=1)
    )

    assert flexible.steps == (Step(LONG_AGO, Decimal("0.08")),)
    assert [one.key for one in fixed] == ["fixed_30", "fixed_60"]
    assert later[0].steps == (Step(LONG_AGO, Decimal("0.08")), Step(SECOND, Decimal("0.09")))


def test_the_page_draws_and_lists_the_same_rows(desk: Desk) -> None:
    """R-GEN-53, R-GEN-90: the last 90 days unless asked; a chart without script or style."""
    with at(SECOND + timedelta(hours=1)):
        page = client_of(desk.applicant).get("/rates/USDT/")
    text = page.content.decode()

    assert page.status_code == 200
    assert text.count("<polyline") == 3
    assert "style=" not in text.split('<svg class="plot"')[1].split("</svg>")[0]
    assert "8.40" in text
    assert page.context["since"] == datetime(2025, 10, 5, tzinfo=UTC)
    assert "/rates/USDT/data.csv?since=2025-10-05&amp;until=2026-01-02&amp;level=1" in text


def test_the_data_as_json_and_csv(desk: Desk) -> None:
    """R-GEN-53: exact rates as text."""
    with at(SECOND + timedelta(hours=1)):
        client = client_of(desk.applicant)
        told = client.get("/rates/USDT/data.json?since=2026-01-01&until=2026-01-02").json()
        sheet = client.get("/rates/USDT/data.csv?since=2026-01-01&until=2026-01-02")

    assert (told["asset"], told["since"], told["until"]) == (
        "USDT",
        "2026-01-01T00:00:00+00:00",
        "2026-01-03T00:00:00+00:00",
    )
    assert told["series"][0]["points"] == [
        {"at": "2020-01-01T00:00:00+00:00", "annual_rate": "0.080000000000"},
        {"at": "2026-01-02T00:00:00+00:00", "annual_rate": "0.090000000000"},
    ]
    assert sheet.headers["Content-Disposition"] == 'attachment; filename="rates-USDT.csv"'
    assert sheet.content.decode().splitlines()[:3] == [
        "asset,kind,effective_at_utc,annual_rate",
        "USDT,flexible,2020-01-01 00:00:00,0.080000000000",
        "USDT,flexible,2026-01-02 00:00:00,0.090000000000",
    ]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("since=2026-01-01&until=2026-06-30", "at most 180 days"),
        ("since=2026-01-02&until=2026-01-01", "first day is after the last"),
        ("since=nonsense", "valid date"),
        ("until=9999-12-31", "days from 2000 to 2100"),
        ("until=0001-01-01", "days from 2000 to 2100"),
        ("since=0001-01-01&until=0001-01-02", "days from 2000 to 2100"),
    ],
)
def test_periods_that_cannot_be_shown(desk: Desk, query: str, words: str) -> None:
    """R-GEN-90: 1 January to 30 June is 181 days; to 29 June is 180."""
    with at(TEN):
        client = client_of(desk.applicant)
        page = client.get(f"/rates/USDT/?{query}")
        told, sheet = (client.get(f"/rates/USDT/data.{kind}?{query}") for kind in ("json", "csv"))
        longest = client.get("/rates/USDT/?since=2026-01-01&until=2026-06-29")

    assert (page.status_code, told.status_code, sheet.status_code, longest.status_code) == (
        422,
        400,
        400,
        200,
    )
    assert words in page.content.decode()
    assert words in told.json()["message"]


def test_the_level_is_ones_own_and_the_house_chooses(desk: Desk) -> None:
    """R-VIP-22"""
    desks.card("USDT", "0.01", vip_level=9)
    with at(TEN):
        own = client_of(desk.applicant).get("/rates/USDT/data.json?level=9").json()
        house = client_of(desk.manager).get("/rates/USDT/data.json?level=9").json()

    assert (own["vip_level"], house["vip_level"]) == (1, 9)
    assert house["series"][1]["points"][-1]["annual_rate"] == "0.010000000000"


def test_no_such_coin_and_nobody_signed_in(desk: Desk) -> None:
    with at(TEN):
        assert client_of(desk.applicant).get("/rates/NOPE/").status_code == 404
        assert Client().get("/rates/").status_code == 302
