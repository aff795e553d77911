"""Recording prices and looking them up: exact rows, and what never becomes one (R-GEN-20, 21, 22)."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import Error, transaction
from pytest_django import DjangoAssertNumQueries

from risk import parameters, prices
from risk.feeds import Tick
from risk.models import Price
from risk.prices import PriceState
from tests import build
from tests.build import BUILDER, NOON
from tests.risk.ticks import SECOND, record, rule, tick

# --- Recording ----------------------------------------------------------------------------------------


def test_a_tick_becomes_a_row_as_it_was_seen(db: None) -> None:
    """R-GEN-20"""
    build.asset("BTC")

    [row] = prices.record([tick("91500.25", at=NOON - SECOND, sources=3)], at=NOON)

    row.refresh_from_db()
    assert (row.asset_id, row.price, row.observed_at) == ("BTC", Decimal("91500.25"), NOON - SECOND)
    assert (row.source, row.sources, row.status, row.reason) == ("test", 3, "good", "")


def test_a_price_keeps_18_decimals_of_even_the_smallest_and_largest_coin(db: None) -> None:
    build.asset("BTC")
    build.asset("PEPE")
    finest = "0.000000000001234567890123"  # 24 decimals; the row keeps 18, rounded down
    largest = "999999999999.123456789012345678"

    prices.record([tick(finest, asset="PEPE"), tick(largest)], at=NOON)

    assert Price.objects.get(asset="PEPE").price == Decimal("0.000000000001234567")
    assert Price.objects.get(asset="BTC").price == Decimal(largest)


@pytest.mark.parametrize(
    "price",
    [
        *("0", "-1", "-0", "NaN", "sNaN", "-NaN", "Infinity", "-Infinity"),
        *("1e999", "1e-999", "1e12", "1e30", "9.99e-13", "-91500"),
        *(None, 91500, 91500.0, True, b"91500", [], {}),
    ],
)
def test_what_is_no_price_is_never_stored_and_the_last_good_one_stays(db: None, price: Any) -> None:
    """TRUST E20: rejected at the door, logged, never stored."""
    record("91500")

    assert prices.record([tick(price, at=NOON + SECOND)], at=NOON + SECOND) == []

    assert Price.objects.count() == 1
    assert prices.latest(at=NOON + SECOND)["BTC"].price == 91500
    assert prices.latest(at=NOON + SECOND)["BTC"].fresh


def test_text_is_no_price(db: None) -> None:
    """TRUST E20"""
    build.asset("BTC")
    assert prices.record([Tick("BTC", "91500", NOON, "test")], at=NOON) == []  # type: ignore[arg-type]
    assert not Price.objects.exists()


def test_one_bad_tick_does_not_silence_the_others(db: None) -> None:
    """TRUST E20"""
    build.asset("BTC")
    build.asset("ETH")
    ticks = [tick("NaN"), tick("5", asset="NOSUCH"), tick("3050", asset="ETH")]

    rows = prices.record(ticks, at=NOON)

    assert [(row.asset_id, row.price) for row in rows] == [("ETH", 3050)]
    assert Price.objects.count() == 1


@pytest.mark.parametrize(
    ("ahead", "rows"), [(timedelta(seconds=5), 1), (timedelta(seconds=5, microseconds=1), 0)]
)
def test_a_clock_may_be_5_seconds_ahead_and_no_more(db: None, ahead: timedelta, rows: int) -> None:
    build.asset("BTC")

    assert len(prices.record([tick("91500", at=NOON + ahead)], at=NOON)) == rows
    assert "BTC" not in prices.latest(at=NOON)  # and nobody knows it before its time


def test_a_time_without_a_zone_is_refused(db: None) -> None:
    build.asset("BTC")
    assert prices.record([tick("91500", at=NOON.replace(tzinfo=None))], at=NOON) == []


@pytest.mark.parametrize("sources", [0, -1, 32_768])
def test_a_number_of_sources_that_cannot_be_is_refused(db: None, sources: int) -> None:
    build.asset("BTC")
    assert prices.record([tick("91500", sources=sources)], at=NOON) == []


def test_an_observation_older_than_the_last_is_refused(db: None) -> None:
    """Also when the last one is in quarantine, or else a late tick could clear it."""
    record("91500", "9")

    late = NOON + timedelta(milliseconds=500)

    assert prices.record([tick("91600", at=late)], at=NOON + 9 * SECOND) == []
    assert Price.objects.count() == 2


def test_the_same_observation_again_is_no_news_and_confirms_nothing(db: None) -> None:
    """A file or an idle market says the same until something happens; only a new one may confirm (R-GEN-21)."""
    assert record("100", "200") == ["good", "quarantined"]

    assert prices.record([tick("200", at=NOON + SECOND)], at=NOON + 2 * SECOND) == []
    assert prices.record([tick("200", at=NOON + 2 * SECOND)] * 2, at=NOON + 2 * SECOND)[0].status == "good"

    assert Price.objects.count() == 3


def test_history_is_recorded_in_one_go_and_judged_in_order_of_time(db: None) -> None:
    """R-GEN-21: as if the ticks had come one by one."""
    build.asset("BTC")
    ticks = [tick(usd, at=NOON + n * SECOND) for n, usd in enumerate(["100", "200", "201", "90", "200"])]

    rows = prices.record(reversed(ticks), at=NOON + 4 * SECOND)

    assert [(int(row.price), row.status) for row in rows] == [
        (100, "good"),
        (200, "quarantined"),
        (201, "good"),
        (90, "quarantined"),
        (200, "good"),
    ]


def test_recording_takes_the_same_queries_for_one_tick_and_for_many(
    db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    symbols = [f"C{number}" for number in range(40)]
    for symbol in symbols:
        build.asset(symbol)
    for minutes, chosen in ((0, symbols[:1]), (1, symbols)):
        at = NOON + timedelta(minutes=minutes)
        with django_assert_num_queries(7):  # savepoint, lock, rules, ratios, newest, insert, release
            rows = prices.record([tick("1", asset=symbol, at=at) for symbol in chosen], at=at)
        assert len(rows) == len(chosen)


def test_prices_are_append_only(db: None) -> None:
    """TRUST I-31"""
    record("91500")
    for change in (lambda: Price.objects.update(price=1), lambda: Price.objects.all().delete()):
        with pytest.raises(Error), transaction.atomic():
            change()
    assert Price.objects.get().price == 91500


@pytest.mark.parametrize("price", ["NaN", "0", "-1", "1e12"])
def test_the_database_refuses_a_price_that_is_none(db: None, price: str) -> None:
    """TRUST I-27: even past `record`."""
    build.asset("BTC")
    with pytest.raises(Exception, match="price_positive_and_bounded|NaN|Cannot"), transaction.atomic():
        build.price("BTC", price)
    assert not Price.objects.exists()


def test_the_same_tick_from_many_workers_at_once_is_one_row(
    committed_db: object, in_threads: Callable[[list[Callable[[], Any]]], list[Any]]
) -> None:
    """R-GEN-21: else one glitch, seen twice, would confirm itself."""
    build.asset("BTC")
    prices.record([tick("100")], at=NOON)
    later = NOON + SECOND
    glitch, outlier = tick("1000", at=later), tick("1000", at=later)

    results = in_threads([lambda t=t: prices.record([t], at=later) for t in [glitch, outlier] * 3])  # type: ignore[misc]

    assert sorted(len(rows) for rows in results) == [0, 0, 0, 0, 0, 1]
    assert [(int(row.price), row.status) for row in Price.objects.order_by("pk")] == [
        (100, "good"),
        (1000, "quarantined"),
    ]


# --- Looking up ---------------------------------------------------------------------------------------


def test_the_latest_is_the_last_good_one_known_at_the_instant(db: None) -> None:
    build.asset("BTC")
    first = build.price("BTC", "100", at=NOON)
    second = build.price("BTC", "101", at=NOON + SECOND)

    assert "BTC" not in prices.latest(at=NOON - SECOND)
    assert prices.latest(at=NOON)["BTC"] == prices.Quote(
        first.pk, "BTC", Decimal(100), NOON, PriceState.FRESH
    )
    assert prices.latest(at=NOON + timedelta(milliseconds=999))["BTC"].price_id == first.pk
    assert prices.latest(at=NOON + SECOND)["BTC"].price_id == second.pk


def test_only_the_assets_asked_for_that_have_a_price(db: None) -> None:
    build.prices(BTC="91500", ETH="3050", SOL="138")
    build.asset("ADA")

    assert set(prices.latest(at=NOON)) == {"BTC", "ETH", "SOL"}
    assert set(prices.latest(at=NOON, assets=["ETH", "ADA", "NOSUCH", "ETH"])) == {"ETH"}
    assert prices.latest(at=NOON, assets=iter(["SOL"]))["SOL"].price == 138
    assert prices.latest(at=NOON, assets=[]) == {}


@pytest.mark.parametrize(
    ("age", "state"), [(timedelta(seconds=60), "fresh"), (timedelta(seconds=60, microseconds=1), "stale")]
)
def test_a_price_is_stale_when_older_than_the_default_minute(db: None, age: timedelta, state: str) -> None:
    """R-GEN-22, TRUST E19"""
    build.price("BTC", "91500", at=NOON - age)
    quote = prices.latest(at=NOON)["BTC"]
    assert (quote.state, quote.fresh) == (state, state == "fresh")


def test_each_asset_ages_by_its_own_rule(db: None) -> None:
    """R-GEN-21: `max_age` per feed."""
    build.prices(at=NOON - timedelta(minutes=5), BTC="91500", ETH="3050", SOL="138")
    rule(max_age_seconds=300)
    rule(asset="BTC", max_age_seconds=299)
    parameters.publish_feed_rule(
        asset="SOL", max_age_seconds=1, effective_at=NOON + SECOND, actor=BUILDER, at=NOON
    )

    states = {asset: quote.state for asset, quote in prices.latest(at=NOON).items()}

    assert states == {"BTC": "stale", "ETH": "fresh", "SOL": "fresh"}


def test_an_asset_that_was_only_ever_quarantined_has_no_price(db: None) -> None:
    build.asset("BTC")
    rule(floor=Decimal(1000))
    assert record("999") == ["quarantined"]
    assert prices.latest(at=NOON) == {}


def test_a_doubt_of_later_is_not_known_before_it_came(db: None) -> None:
    """R-GEN-04: looking back shows what was believed then."""
    record("100", "300")
    assert prices.latest(at=NOON)["BTC"].state == PriceState.FRESH
    assert prices.latest(at=NOON + SECOND)["BTC"].state == PriceState.SUSPECT


def test_the_latest_of_any_number_of_assets_is_one_query(
    db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(30):
        build.price(f"C{number}", "1")
    with django_assert_num_queries(1):
        assert len(prices.latest(at=NOON)) == 30
