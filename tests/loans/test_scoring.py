"""The score of a request, part by part, and the clock of the desk's answer."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loans.scoring import (
    Coin,
    Facts,
    Record,
    average,
    clock_of,
    concentration,
    days_to_exit,
    limit_at,
    score_of,
)
from tests.build import TEN

HOUR = timedelta(hours=1)


def coin(asset: str, market: str, daily: str | None = "1000000", recognised: str | None = None) -> Coin:
    return Coin(
        asset, Decimal(market), Decimal(recognised or market), None if daily is None else Decimal(daily)
    )


def facts(**changes: Any) -> Facts:
    """600,000 USD at half of the initial line, four equal coins that sell within a day, a new client."""
    base = Facts(
        ltv=Decimal("0.36"),
        initial=Decimal("0.72"),
        coins=tuple(coin(name, "400000") for name in ("A", "B", "C", "D")),
        record=Record(),
        value=Decimal(0),
        large=Decimal(5_000_000),
    )
    return replace(base, **changes)


def points(**changes: Any) -> dict[str, int]:
    return {part.name: part.points for part in score_of(facts(**changes)).parts}


def words(name: str, **changes: Any) -> str:
    return next(part.words for part in score_of(facts(**changes)).parts if part.name == name)


def test_a_score_is_the_sum_of_its_parts_of_100() -> None:
    """R-FTR-13: a new client gets half of the points for history, and all the others here."""
    score = score_of(facts())
    assert [(part.name, part.points, part.most) for part in score.parts] == [
        ("LTV afterwards", 30, 30),
        ("Concentration", 20, 20),
        ("Days to sell it all", 20, 20),
        ("History", 10, 20),
        ("Size", 10, 10),
    ]
    assert (score.total, score.most) == (90, 100)


@pytest.mark.parametrize(
    ("ltv", "expected"),
    [
        ("0", 30),
        ("0.36", 30),
        ("0.37", 29),
        ("0.54", 15),
        ("0.719999", 0),
        ("0.72", 0),
        ("0.9", 0),
        (None, 0),
    ],
)
def test_points_for_ltv(ltv: str | None, expected: int) -> None:
    """R-FTR-13: all up to half of the initial line, none from it on."""
    assert points(ltv=None if ltv is None else Decimal(ltv))["LTV afterwards"] == expected


def test_points_for_concentration() -> None:
    """R-FTR-13: one coin has an HHI of 1 and no points; two equal ones 0.5 and two thirds of 20, cut to 13."""
    one = (coin("BTC", "1500000"),)
    two = (coin("BTC", "750000"), coin("ETH", "750000"))
    assert concentration(one)[1:] == (1, 1)
    assert concentration(two)[1:] == (Decimal("0.5"), Decimal("0.5"))
    assert concentration([coin("BTC", "900000"), coin("ETH", "100000")])[1:] == (
        Decimal("0.9"),
        Decimal("0.82"),
    )
    assert (points(coins=one)["Concentration"], points(coins=two)["Concentration"]) == (0, 13)
    assert words("Concentration", coins=one) == "BTC is 100.00 % of what counts; HHI 1.00"
    assert words("Concentration", coins=()) == "no collateral counts"


def test_concentration_looks_at_what_is_recognised() -> None:
    """R-FTR-13: 1,000,000 of a coin that counts half weighs as much as 500,000 of one that counts whole."""
    coins = [coin("BTC", "500000"), coin("ALT", "1000000", recognised="500000")]
    assert concentration(coins)[1:] == (Decimal("0.5"), Decimal("0.5"))


@pytest.mark.parametrize(
    ("market", "daily", "expected", "said"),
    [
        ("1000000", "1000000", 20, "1.00 days for BTC at its share of the daily volume"),
        ("4000000", "1000000", 10, "4.00 days for BTC at its share of the daily volume"),
        ("6999999", "1000000", 0, "6.99 days for BTC at its share of the daily volume"),
        ("7000000", "1000000", 0, "7.00 days for BTC at its share of the daily volume"),
        ("1", None, 0, "unknown: no market depth is published for BTC"),
        ("1", "0", 0, "never: the market takes no BTC"),
        ("0", None, 0, "there is nothing to sell"),
    ],
)
def test_points_for_days_to_sell(market: str, daily: str | None, expected: int, said: str) -> None:
    """R-FTR-13, R-GEN-79: all within a day, none from seven on; what is not known says so."""
    held = (coin("BTC", market, daily),)
    assert points(coins=held)["Days to sell it all"] == expected
    assert words("Days to sell it all", coins=held) == said


def test_the_slowest_coin_decides_how_long_a_sale_takes() -> None:
    """R-FTR-13"""
    held = (coin("BTC", "1000000"), coin("ALT", "1000000", "250000"))
    assert days_to_exit(held[1]) == 4
    assert "4.00 days for ALT" in words("Days to sell it all", coins=held)
    assert "ALT" in words("Days to sell it all", coins=(held[0], coin("ALT", "1", None)))


@pytest.mark.parametrize(
    ("record", "expected", "said"),
    [
        (Record(), 10, "no loan before"),
        (Record(loans=3, repaid=3), 16, "3 loans so far, 3 repaid"),
        (Record(loans=9, repaid=9), 20, "9 loans so far, 9 repaid"),
        (Record(loans=1, repaid=1, calls=2, cured=1), 9, "1 loan so far, 1 repaid; 2 margin calls, 1 cured"),
        (Record(loans=2, repaid=1, liquidations=1), 7, "2 loans so far, 1 repaid; 1 liquidation"),
        (Record(loans=2, repaid=2, overdue=2), 8, "2 loans so far, 2 repaid; 2 times overdue"),
        (
            Record(loans=1, owing=True),
            0,
            "1 loan so far, 0 repaid; something is still owed after a liquidation",
        ),
    ],
)
def test_points_for_history(record: Record, expected: int, said: str) -> None:
    """R-FTR-13: a cured call costs nothing."""
    assert points(record=record)["History"] == expected
    assert words("History", record=record) == said


@pytest.mark.parametrize(
    ("value", "expected"), [("0", 10), ("1000000", 8), ("4999999", 0), ("6000000", 0), (None, 0)]
)
def test_points_for_size(value: str | None, expected: int) -> None:
    """R-FTR-13, R-VIP-12"""
    assert points(value=None if value is None else Decimal(value))["Size"] == expected


money = st.decimals(min_value=0, max_value=10**9, places=2)
all_facts = st.builds(
    Facts,
    ltv=st.none() | st.decimals(min_value=0, max_value=3, places=6),
    initial=st.decimals(min_value="0.1", max_value="0.9", places=2),
    coins=st.lists(
        st.builds(Coin, st.sampled_from(["A", "B", "C"]), money, money, st.none() | money),
        max_size=3,
        unique_by=lambda one: one.asset,
    ).map(tuple),
    record=st.builds(Record, *(st.integers(0, 20) for _ in range(6)), st.booleans()),
    value=st.none() | money,
    large=money,
)


@given(given_facts=all_facts)
def test_every_part_stays_within_its_points_and_says_why(given_facts: Facts) -> None:
    """R-FTR-13: never a black box."""
    score = score_of(given_facts)
    assert all(0 <= part.points <= part.most and part.words for part in score.parts)
    assert (score.total, score.most) == (sum(part.points for part in score.parts), 100)


@given(given_facts=all_facts, more=st.decimals(min_value=0, max_value=1, places=6))
def test_a_higher_ltv_never_scores_better(given_facts: Facts, more: Decimal) -> None:
    """R-FTR-13"""
    if given_facts.ltv is not None:
        worse = replace(given_facts, ltv=given_facts.ltv + more)
        assert score_of(worse).total <= score_of(given_facts).total


# --- Clock ------------------------------------------------------------------------------------------------


def moves(*told: tuple[str, int]) -> list[tuple[str, datetime]]:
    return [(status, TEN + hours * HOUR) for status, hours in told]


def test_the_clock_runs_from_the_request() -> None:
    """R-ADM-08: late at the very instant."""
    clock = clock_of(moves(("submitted", 0)), limit=24 * HOUR)
    assert clock.due_at == TEN + 24 * HOUR
    assert (clock.left(TEN + 20 * HOUR), clock.is_late(TEN + 20 * HOUR)) == (4 * HOUR, False)
    assert clock.is_late(TEN + 24 * HOUR)


def test_the_clock_stands_still_while_the_borrower_has_the_move() -> None:
    """R-ADM-08: 5 hours, an offer that waited 30 hours, then 10 more: 9 are left."""
    told = moves(("negotiating", 0), ("offered", 5), ("negotiating", 35))
    clock = clock_of(told, limit=24 * HOUR)
    assert clock_of(told[:2], limit=24 * HOUR).due_at is None
    assert clock_of(told[:2], limit=24 * HOUR).left(TEN + 34 * HOUR) == 19 * HOUR
    assert (clock.due_at, clock.left(TEN + 45 * HOUR)) == (TEN + 54 * HOUR, 9 * HOUR)


def test_another_wish_of_the_borrower_gives_the_desk_no_more_time() -> None:
    """R-ADM-08"""
    clock = clock_of(moves(("negotiating", 0), ("countered", 20)), limit=24 * HOUR)
    assert clock.due_at == TEN + 24 * HOUR


@pytest.mark.parametrize("end", ["approved", "rejected", "cancelled", "expired"])
def test_a_decision_stops_the_clock(end: str) -> None:
    """R-ADM-08"""
    clock = clock_of(moves(("submitted", 0), (end, 7)), limit=24 * HOUR)
    assert (clock.since, clock.taken(TEN + 100 * HOUR)) == (None, 7 * HOUR)


def test_averages_and_limits() -> None:
    """R-ADM-08: what was in force when the request came counts."""
    assert average([]) is None
    assert average([HOUR, 3 * HOUR]) == 2 * HOUR
    limits = {TEN: 24, TEN + 10 * HOUR: 4}
    assert limit_at(limits, TEN - HOUR, default=48) == 48 * HOUR
    assert limit_at(limits, TEN + 9 * HOUR, default=48) == 24 * HOUR
    assert limit_at(limits, TEN + 10 * HOUR, default=48) == 4 * HOUR
