"""What a program reads of the market: rates, their history, limits by VIP level, and collateral by slices."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from accounts.commands import acting
from accounts.money import exact
from loans.models import ClientTerms
from loans.sapi import codes
from loans.sapi.rates import slices
from risk.models import LoanLimit
from risk.valuation import Tier, Tiers, recognised
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk
from tests.loans.dialect import DAY, VIP, Clock, ms, read, told
from tests.programs import Program, api_key

D = Decimal
MIDNIGHT = TEN.replace(hour=0)
pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("uncounted")]


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


@pytest.fixture
def program(desk: Desk, now: Clock) -> Program:
    now(TEN)
    return Program(api_key(desk.master, desk.applicant))


# --- Rates ------------------------------------------------------------------------------------------


def test_the_flexible_rate_a_year_a_day_and_an_hour(program: Program) -> None:
    """R-GEN-02, R-GEN-03: 8 % over 365 days and over 8,760 hours, rounded up at 12 decimals; in the order asked."""
    build.flexible_rate("BTC", "0.0365")
    assert read(program, "request/interestRate", loanCoin="USDT,BTC") == [
        {
            "asset": "USDT",
            "flexibleHourlyInterestRate": "0.000009132421",
            "flexibleDailyInterestRate": "0.000219178083",
            "flexibleYearlyInterestRate": "0.08",
            "time": ms(TEN),
        },
        {
            "asset": "BTC",
            "flexibleHourlyInterestRate": "0.000004166667",
            "flexibleDailyInterestRate": "0.0001",
            "flexibleYearlyInterestRate": "0.0365",
            "time": ms(TEN),
        },
    ]


def test_a_coin_without_a_flexible_rate_and_an_eleventh_are_refused(program: Program) -> None:
    """R-VIP-05, R-VIP-23"""
    assert told(program.get(f"{VIP}/request/interestRate", loanCoin="USDT,BTC")) == (400, codes.NOT_LOANABLE)
    assert told(program.get(f"{VIP}/request/interestRate", loanCoin="DOGE")) == (400, codes.NOT_LOANABLE)
    assert told(program.get(f"{VIP}/request/interestRate")) == (400, -1102)
    eleven = ",".join(f"C{number}" for number in range(11))
    assert told(program.get(f"{VIP}/request/interestRate", loanCoin=eleven)) == (400, -1130)


def test_the_history_has_each_rate_from_its_day_on(program: Program, now: Clock) -> None:
    """R-GEN-53, R-VIP-23, EX-02: 8, 9 and 7.5 %; the one in force when the period begins is told as of then."""
    build.flexible_rate("USDT", "0.09", at=MIDNIGHT + DAY)
    build.flexible_rate("USDT", "0.075", at=MIDNIGHT + 2 * DAY)
    now(MIDNIGHT + 10 * DAY)

    def row(rate: str, at: int) -> dict[str, Any]:
        return {"coin": "USDT", "annualizedInterestRate": rate, "time": at}

    first, second, third = ms(MIDNIGHT), ms(MIDNIGHT + DAY), ms(MIDNIGHT + 2 * DAY)
    found = read(program, "interestRateHistory", coin="USDT", startTime=first, recvWindow=5000)
    assert found == {"rows": [row("0.075", third), row("0.09", second), row("0.08", first)], "total": 3}
    edge = read(program, "interestRateHistory", coin="USDT", startTime=second, endTime=third)
    assert edge == {"rows": [row("0.075", third), row("0.09", second)], "total": 2}
    later = read(program, "interestRateHistory", coin="USDT", startTime=second + 1, endTime=third - 1)
    assert later == {"rows": [row("0.09", second + 1)], "total": 1}
    page = read(program, "interestRateHistory", coin="USDT", startTime=first, limit=2, current=2)
    assert page == {"rows": [row("0.08", first)], "total": 3}
    quiet = read(program, "interestRateHistory", coin="USDT")
    assert quiet["total"] == 3


def test_the_history_of_a_coin_that_is_not_lent_is_refused(program: Program) -> None:
    """R-GEN-53"""
    assert told(program.get(f"{VIP}/interestRateHistory", coin="DOGE")) == (400, codes.NOT_LOANABLE)
    assert told(program.get(f"{VIP}/interestRateHistory")) == (400, -1102)
    assert read(program, "interestRateHistory", coin="BTC") == {"rows": [], "total": 0}


# --- Limits -----------------------------------------------------------------------------------------


def test_what_can_be_borrowed_at_a_level(desk: Desk, program: Program) -> None:
    """R-VIP-06, R-VIP-22: rates and USD limits of the caller's level, or of the one asked for."""
    desks.card("USDT", "0.07", vip_level=5)
    with acting(BUILDER):
        LoanLimit.objects.create(
            product="vip",
            asset_id="USDT",
            vip_level=5,
            effective_at=LONG_AGO,
            minimum=D(100),
            maximum=D(50_000_000),
        )
    own = {
        "loanCoin": "USDT",
        "_flexibleDailyInterestRate": "0.000219178083",
        "_flexibleYearlyInterestRate": "0.08",
        "_30dDailyInterestRate": "0.000230136987",
        "_30dYearlyInterestRate": "0.084",
        "_60dDailyInterestRate": "0.000246575343",
        "_60dYearlyInterestRate": "0.09",
        "minLimit": "100",
        "maxLimit": "10000000",
        "vipLevel": 1,
    }
    fifth = own | {
        "_30dDailyInterestRate": "0.000191780822",
        "_30dYearlyInterestRate": "0.07",
        "maxLimit": "50000000",
        "vipLevel": 5,
    }
    assert read(program, "loanable/data") == {"rows": [own], "total": 1}
    assert read(program, "loanable/data", loanCoin="USDT", vipLevel=5) == {"rows": [fifth], "total": 1}
    assert read(program, "loanable/data", loanCoin="BTC") == {"rows": [], "total": 0}
    assert told(program.get(f"{VIP}/loanable/data", vipLevel=10)) == (400, -1130)


def test_a_client_reads_what_they_would_pay_and_not_what_is_not_published(
    desk: Desk, program: Program
) -> None:
    """R-VIP-24: the client's spread is in the rates; a term without a rate is left out, as is a coin without limits."""
    build.flexible_rate("BTC", "0.02")  # no limits: not lent online
    build.asset("USDC")
    build.flexible_rate("USDC", "0.05")
    desks.loan_limit("USDC")
    desks.card("USDC", "0.06")
    with acting(BUILDER):
        ClientTerms.objects.create(
            customer=desk.owner, asset_id="USDC", starts_at=LONG_AGO, spread=D("0.01"), reason="Test"
        )

    found = read(program, "loanable/data")

    assert [row["loanCoin"] for row in found["rows"]] == ["USDC", "USDT"]
    usdc = found["rows"][0]
    assert (usdc["_flexibleYearlyInterestRate"], usdc["_30dYearlyInterestRate"]) == ("0.06", "0.07")
    assert "_60dYearlyInterestRate" not in usdc
    [rate] = read(program, "request/interestRate", loanCoin="USDC")
    assert rate["flexibleYearlyInterestRate"] == "0.06"


# --- Collateral -------------------------------------------------------------------------------------


def test_collateral_counts_by_four_slices(program: Program) -> None:
    """R-GEN-30, R-GEN-31, EX-03: coin A counts in full to 1 m USD and 80 % above; one tier is cut at its own ratio."""
    build.asset("AAA")
    build.ratios("AAA", ("0", "1"), ("1000000", "0.8"), ("2000000", "0.375"), ("3000000", "0"))
    full = {
        "collateralCoin": "BTC",
        "_1stCollateralRatio": "100%",
        "_1stCollateralRange": "0-10000000",
        "_2ndCollateralRatio": "100%",
        "_2ndCollateralRange": "10000000-100000000",
        "_3rdCollateralRatio": "100%",
        "_3rdCollateralRange": "100000000-1000000000",
        "_4thCollateralRatio": "100%",
        "_4thCollateralRange": ">1000000000",
    }
    tiered = {
        "collateralCoin": "AAA",
        "_1stCollateralRatio": "100%",
        "_1stCollateralRange": "0-1000000",
        "_2ndCollateralRatio": "80%",
        "_2ndCollateralRange": "1000000-2000000",
        "_3rdCollateralRatio": "37.5%",
        "_3rdCollateralRange": "2000000-3000000",
        "_4thCollateralRatio": "0%",
        "_4thCollateralRange": ">3000000",
    }
    found = read(program, "collateral/data")
    assert (found["rows"][:2], found["total"]) == ([tiered, full], 3)
    assert read(program, "collateral/data", collateralCoin="BTC") == {"rows": [full], "total": 1}
    assert read(program, "collateral/data", collateralCoin="DOGE") == {"rows": [], "total": 0}


dollars = st.decimals(min_value=1, max_value=10**12, places=2, allow_nan=False)
ratios = st.decimals(min_value=0, max_value=1, places=4, allow_nan=False)


@st.composite
def tiers(draw: st.DrawFn) -> Tiers:
    floors = sorted(draw(st.sets(dollars, max_size=7)))
    return tuple(Tier(floor=floor, ratio=draw(ratios)) for floor in [D(0), *floors])


@exact
def _counted(value: Decimal, of: Tiers) -> Decimal:
    total = D(0)
    for floor, ceiling, ratio in slices(of):
        reached = value if ceiling is None else min(value, ceiling)
        total += max(reached - floor, D(0)) * ratio
    return total


@given(of=tiers(), value=st.decimals(min_value=0, max_value=10**14, places=2, allow_nan=False))
def test_the_slices_count_for_what_the_tiers_do_and_never_for_more(of: Tiers, value: Decimal) -> None:
    """R-GEN-31: four slices without a gap; exactly the tiers up to four of them, at most what counts beyond."""
    cut = list(slices(of))
    assert [floor for floor, _, _ in cut] == [D(0), *(ceiling for _, ceiling, _ in cut[:-1])]
    assert (len(cut), cut[-1][1]) == (4, None)
    assert all(ceiling is None or ceiling > floor for floor, ceiling, _ in cut)
    counts = recognised(market_value=value, tiers=of)
    assert _counted(value, of) <= counts
    if len(of) <= 4:
        assert _counted(value, of) == counts


@pytest.mark.parametrize("what", ["loanable/data", "collateral/data"])
def test_the_board_costs_as_many_queries_with_five_coins_as_with_two(what: str, program: Program) -> None:
    """R-GEN-90"""

    def cost() -> tuple[int, int]:
        read(program, "request/data")
        with CaptureQueriesContext(connection) as seen:
            found = read(program, what)
        return len(seen), found["total"]

    few, rows = cost()
    for symbol in ("AAA", "BBB", "CCC"):
        build.asset(symbol)
        build.ratios(symbol)
        build.flexible_rate(symbol, "0.05")
        desks.loan_limit(symbol)
    assert cost() == (few, rows + 3)


def test_times_of_rates_are_whole_milliseconds(program: Program, now: Clock) -> None:
    """SAPI 1.6: an instant between two milliseconds is told as the earlier one."""
    now(TEN + timedelta(microseconds=1999))
    [row] = read(program, "request/interestRate", loanCoin="USDT")
    assert row["time"] == ms(TEN) + 1
