"""The feed that PRICE_FEED names, over the prices on record (R-GEN-20)."""

import gzip
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from pytest_django import Settings

from accounts import catalogue
from risk import price_feed, prices
from risk.feeds import FeedUnavailable, ccxt_feed
from risk.feeds.file import BadPriceFile
from risk.models import Price
from tests import build
from tests.build import NOON
from tests.risk.ticks import SECOND, rule, tick


def test_the_simulated_market_starts_where_the_catalogue_says_and_walks_on(
    db: None, settings: Settings
) -> None:
    settings.PRICE_FEED = "simulated"
    build.asset("BTC")
    build.asset("NOTINDEMO")
    figures = {each.symbol: each for each in catalogue.read_demo_parameters()}

    prices.record(prices.feed()(NOON), at=NOON)
    later = NOON + 5 * SECOND
    prices.record(prices.feed()(later), at=later)

    first, second = Price.objects.order_by("observed_at")
    assert (first.asset_id, first.price, first.source) == ("BTC", figures["BTC"].start_price, "simulated")
    assert second.observed_at == later
    assert second.price != first.price
    assert abs(second.price / first.price - 1) < Decimal("0.01")


def test_any_process_computes_the_same_next_tick_of_a_seed(db: None, settings: Settings) -> None:
    build.price("BTC", "91500", at=NOON)
    later = NOON + 5 * SECOND
    settings.PRICE_FEED = "simulated:7"
    same = [prices.feed()(later), prices.feed()(later)]
    settings.PRICE_FEED = "simulated:8"

    assert same[0] == same[1]
    assert prices.feed()(later) != same[0]


def test_the_market_walks_on_from_where_it_was_pushed_believed_or_not(db: None, settings: Settings) -> None:
    """R-GEN-21: a push of a half is quarantined, and the next tick of the walk confirms it."""
    settings.PRICE_FEED = "simulated"
    build.price("BTC", "100000", at=NOON)
    [pushed] = prices.record([tick("50000", at=NOON + SECOND)], at=NOON + SECOND)

    after = NOON + 6 * SECOND
    [walked] = prices.record(prices.feed()(after), at=after)

    assert (pushed.status, walked.status) == ("quarantined", "good")
    assert abs(walked.price - 50000) < 500


def test_the_unit_is_one_and_always_believed(db: None, settings: Settings) -> None:
    """R-GEN-20: USD can be borrowed too, whatever number of sources coins need."""
    settings.PRICE_FEED = "simulated"
    build.asset("USD", kind="fiat", places=2)
    rule(min_sources=100)

    prices.record(prices.feed()(NOON), at=NOON)

    quote = prices.latest(at=NOON)["USD"]
    assert (quote.price, quote.fresh) == (1, True)


def test_a_file_is_replayed_bar_by_bar_and_read_again_when_it_changes(
    db: None, settings: Settings, tmp_path: Path
) -> None:
    path = tmp_path / "bars.csv.gz"
    settings.PRICE_FEED = f"file:{path}"
    header, row = "time_utc,asset,open,high,low,close\n", "2026-01-01T{}:00Z,BTC,1,3,1,{}\n"
    bars = [row.format("11:00", 1), row.format("11:30", 2)]
    path.write_bytes(gzip.compress("".join([header, *bars]).encode()))

    half_past = datetime(2026, 1, 1, 11, 30, tzinfo=UTC)
    assert [(t.price, t.observed_at) for t in prices.feed()(half_past)] == [(1, half_past)]
    assert [(t.price, t.observed_at) for t in prices.feed()(NOON)] == [(2, NOON)]

    path.write_bytes(gzip.compress("".join([header, *bars, row.format("11:40", 3)]).encode()))
    assert [(t.price, t.observed_at) for t in prices.feed()(NOON)] == [
        (3, datetime(2026, 1, 1, 11, 50, tzinfo=UTC))
    ]


def test_a_bad_or_missing_file_says_so(db: None, settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    settings.PRICE_FEED = f"file:{path}"
    with pytest.raises(FeedUnavailable, match="bars.csv cannot be read"):
        prices.feed()
    path.write_text("time_utc,asset,open,high,low,close\n2026-01-01T11:00:00Z,BTC,1,1,1,x\n")
    with pytest.raises(BadPriceFile, match="line 2"):
        prices.feed()


def test_the_ccxt_feed_is_asked_for_every_coin_lent_or_taken_as_collateral(
    db: None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.PRICE_FEED = "ccxt"
    build.asset("BTC")
    build.asset("EUR", kind="fiat")
    recorded = {"BTC/USDT": {"last": "91500.5", "timestamp": None}}
    # The network is the outside.
    monkeypatch.setattr(ccxt_feed, "CcxtFetch", lambda exchanges: lambda exchange, markets: recorded)

    try:
        assert [(t.asset, t.price, t.sources) for t in prices.feed()(NOON)] == [
            ("BTC", Decimal("91500.5"), len(ccxt_feed.MARKET_NAMES))
        ]
    finally:
        price_feed._from_exchanges.cache_clear()


@pytest.mark.parametrize(
    "name", ["", "binance", "file", "file:", "simulated:x", "simulated:-1", "simulated:٣", "ccxt:1"]
)
def test_a_setting_that_makes_no_sense_is_refused_in_words(db: None, settings: Settings, name: str) -> None:
    settings.PRICE_FEED = name
    with pytest.raises(FeedUnavailable, match="must be"):
        prices.feed()
