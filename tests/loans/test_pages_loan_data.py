"""Loan data without an account: what is published, searched, with its past, and as files."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.commands import acting
from loans import loan_data
from loans.models import ClientTerms
from risk import parameters
from risk.models import AssetCap
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk
from tests.loans.visit import at, client_of

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def desk(db: None) -> Desk:
    """USDT lent at 8 %, 8.4 % and 9 %; BTC and USDT count; the desk lends 40 m USDT and takes 9 m of BTC a client."""
    made = desks.set_up()
    with acting(BUILDER):
        AssetCap.objects.create(
            product="vip", asset=build.asset("USDT"), effective_at=LONG_AGO, platform_borrow=Decimal(40000000)
        )
        AssetCap.objects.create(
            product="vip", asset=build.asset("BTC"), effective_at=LONG_AGO, user_collateral=Decimal(9000000)
        )
    return made


def page(path: str, client: Client | None = None) -> str:
    with at(TEN):
        response = (client or Client()).get(path)
    assert response.status_code == 200, path
    return " ".join(response.content.decode().replace("\xa0", " ").split())


def test_everybody_sees_what_is_published(desk: Desk) -> None:
    """R-GEN-53, R-VIP-06, R-VIP-22, R-GEN-31, R-GEN-37, R-GEN-42: signed out, at VIP 1."""
    told = page("/loan-data/")
    for words in (
        *("8.00 %", "8.40 %", "9.00 %"),  # flexible, 30 and 60 days
        *("100.00", "10,000,000.00", "40,000,000.00", "9,000,000.00"),
        "call 77 %, liquidation 91 %",
        *("500,000.00", "50,000.00"),  # the first loan and later ones
        "Sign in",
    ):
        assert words in told
    assert "Main" not in told  # nobody's navigation


def test_a_level_has_its_own_rates_and_a_client_no_spread_here(desk: Desk) -> None:
    """R-VIP-22, R-VIP-24: what a client agreed on is not published."""
    desks.card("USDT", "0.07", vip_level=3)
    with acting(BUILDER):
        ClientTerms.objects.create(
            customer=desk.owner, starts_at=LONG_AGO, reason="Test", spread=Decimal("-0.005")
        )
    assert "7.00 %" not in page("/loan-data/?level=1")
    assert "7.00 %" in page("/loan-data/?level=3")
    with at(TEN):
        own = client_of(desk.applicant)
    assert "8.40 %" in page("/loan-data/", own)
    assert "7.90 %" not in page("/loan-data/", own)


@pytest.mark.parametrize(
    ("search", "lent", "counted"), [("usd", ["USDT"], ["USDT"]), ("btc", [], ["BTC"]), ("\0", [], [])]
)
def test_coins_are_found_by_a_part_of_their_name(
    desk: Desk, search: str, lent: list[str], counted: list[str]
) -> None:
    assert [row.asset.pk for row in loan_data.lent(vip_level=1, at=TEN, search=search)] == lent
    assert [row.asset.pk for row in loan_data.counted(at=TEN, search=search)] == counted
    page(f"/loan-data/?q={search}&level=x")


def test_the_files_hold_the_figures_and_no_formula(desk: Desk) -> None:
    """R-GEN-53: fractions and USD, plain; of what was searched."""
    with at(TEN):
        response = Client().get("/loan-data/loan-coins.csv?level=2")
        counted = Client().get("/loan-data/collateral-coins.csv?q=btc")
    header, row = response.content.decode().splitlines()
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    told = dict(zip(header.split(","), row.split(","), strict=True))
    assert (told["asset"], told["vip_level"]) == ("USDT", "2")
    figures = {name: Decimal(told[name]) for name in header.split(",")[2:] if told[name]}
    assert figures == {
        "flexible_rate": Decimal("0.08"),
        "fixed_30_rate": Decimal("0.084"),
        "fixed_60_rate": Decimal("0.09"),
        "minimum_usd": 100,
        "maximum_usd": 10000000,
        "of_desk_usd": 40000000,
        "initial_ltv": Decimal("0.72"),
        "margin_call_ltv": Decimal("0.77"),
        "liquidation_ltv": Decimal("0.91"),
    }
    assert counted.content.decode().count("\r\n") == 2
    assert "BTC,from 0 USD: 1,9000000" in counted.content.decode()


def test_a_coin_has_its_past_and_what_is_announced(desk: Desk) -> None:
    """R-GEN-36, R-GEN-53: new ratios are shown once they are announced, never before."""
    parameters.publish_ratios(
        asset="BTC",
        tiers=[(Decimal(0), Decimal("0.9"))],
        effective_at=TEN + 5 * DAY,
        actor=BUILDER,
        at=TEN + DAY,
    )
    asset = build.asset("BTC")
    assert [row.is_ahead for row in loan_data.ratio_changes(asset, at=TEN)] == [False]
    assert [row.is_ahead for row in loan_data.ratio_changes(asset, at=TEN + DAY)] == [True, False]

    desks.loan_limit("USDT", "200", "5000000", at=TEN)
    told = page("/loan-data/USDT/")
    assert told.index("5,000,000.00") < told.index("10,000,000.00")
    assert "Flexible" in told
    with at(TEN):
        assert Client().get("/loan-data/NONE/").status_code == 404


def test_the_rates_of_a_coin_need_no_account_and_the_board_does(desk: Desk) -> None:
    """R-GEN-53: chart, JSON and CSV are of what is published; the board may hold a client's own rates."""
    assert "Rates of USDT" in page("/rates/USDT/")
    with at(TEN):
        assert Client().get("/rates/USDT/data.json").json()["series"][0]["key"] == "flexible"
        assert Client().get("/rates/USDT/data.csv").status_code == 200
        assert Client().get("/rates/").status_code == 302


def test_it_asks_the_database_a_few_times_however_many_coins(desk: Desk) -> None:
    def asked() -> int:
        with CaptureQueriesContext(connection) as captured:
            page("/loan-data/")
        return len(captured)

    few = asked()
    for number in range(5):
        build.asset(f"C{number}")
        build.ratios(f"C{number}")
        build.flexible_rate(f"C{number}", "0.05")
    assert asked() == few <= 15
