"""What is a price at all, and the live feed: a median of exchanges that fail in every way, off the network.

`recorded/*.json` hold one answer per exchange, in the shape the exchange documents (`answer`, with figures of
our own) and in the shape ccxt gives it with numbers as text (`tickers`).
"""

import importlib
import io
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from risk.consensus import Heard, Terms, hear
from risk.feeds import BadPrice, FeedUnavailable, Tick, ccxt_feed, parse_price
from risk.feeds.ccxt_feed import MARKET_NAMES, CcxtFetch, read_at_most

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
RECORDED = Path(__file__).parent / "recorded"


@pytest.mark.parametrize("text", ["91234.5", "4e-05", "0.000000000001", "1E5", "999999999999.99"])
def test_a_price_is_taken_exactly_as_written(text: str) -> None:
    assert parse_price(text) == Decimal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-0",
        "0.0",
        "0e5",
        "-1",
        "+1",
        "NaN",
        "sNaN",
        "Infinity",
        "-inf",
        "null",
        "1e999",
        "1e-999",
        "1e12",
    ]
    + [
        "9" * 5000,
        "1_000",
        "1,000",
        " 1",
        "1 ",
        "1\n",
        "1\x00",
        "１２３",
        "٣",
        "²",
        "0x10",
        ".5",
        "5.",
        "1e",
        "--1",
    ]
    + ["1e-13", None, True, 1, 1.5, [], {}, Decimal(1)],
)
def test_what_is_no_price_is_refused_at_the_door(text: object) -> None:
    """R-GEN-21, TRUST E20 and B-01 to B-05"""
    with pytest.raises(BadPrice):
        parse_price(text)


# -- Exchanges --
def recorded(exchange: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RECORDED / f"{exchange}.json").read_text())
    return content


class Recording:
    """The exchanges as recorded, with some of them changed, for a feed to ask."""

    def __init__(self, **changed: Any) -> None:
        self.changed = changed
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    def __call__(self, exchange: str, markets: Sequence[str]) -> Mapping[str, Mapping[str, object]]:
        self.asked.append((exchange, tuple(markets)))
        answer = self.changed.get(exchange, recorded(exchange)["tickers"])
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]


def ask(*assets: str, fetch: Any = None, at: datetime = NOON, **options: Any) -> dict[str, Tick]:
    feed = ccxt_feed.feed(assets=assets, fetch=fetch or Recording(), **options)
    return {tick.asset: tick for tick in feed(at)}


TERMS = Terms(max_age=timedelta(seconds=60), max_jump=Decimal("0.3"), max_spread=Decimal("0.03"))


def heard(asset: str, *, at: datetime = NOON, **options: Any) -> Heard | None:
    """What the gate makes of the feed's answers under the default rule; None without any answer of now."""
    tick = ask(asset, at=at, **options).get(asset)
    return None if tick is None else hear(tick.said, TERMS, at=at)


def test_the_price_is_the_median_of_four_exchanges_as_old_as_the_oldest() -> None:
    """R-GEN-20"""
    a_second_ago = NOON - timedelta(seconds=1)
    # 91228.9, 91230.1, 91234.5, 91240
    assert heard("BTC") == Heard(Decimal("91232.3"), a_second_ago, 4)
    # 0.00000912, 0.00000912, 0.000009121, 0.00000913
    assert heard("SHIB") == Heard(Decimal("0.0000091205"), a_second_ago, 4)


def test_the_feed_hands_over_what_each_exchange_said_and_decides_nothing() -> None:
    """R-GEN-21: one gate for every feed."""
    tick = ask("DAI")["DAI"]
    assert (tick.source, tick.sources) == ("ccxt", 4)
    assert sorted(str(one.price) for one in tick.said) == ["0.9998", "0.9999", "1", "1.3"]
    assert {one.source for one in tick.said} == set(MARKET_NAMES)


def test_every_exchange_is_asked_once_for_all_markets_but_the_quote_itself() -> None:
    fetch = Recording()
    ask("BTC", "USDT", "ETH", fetch=fetch)
    assert sorted(fetch.asked) == [(name, ("BTC/USDT", "ETH/USDT")) for name in sorted(MARKET_NAMES)]


@pytest.mark.parametrize(
    ("asset", "price", "sources"),
    [
        ("SOL", "138.02", 3),  # not listed on one
        ("DAI", "0.9999", 3),  # TRUST E22: 1.30 on one venue moves nothing
        ("LINK", "13.402", 3),  # 11 % high on one
        ("DOGE", "0.1512", 3),  # an hour old on one
    ],
)
def test_three_of_four_still_make_a_price(asset: str, price: str, sources: int) -> None:
    """R-GEN-20, R-GEN-21, TRUST E22"""
    found = heard(asset)
    assert found is not None
    assert (found.price, found.agreeing, found.doubt) == (Decimal(price), sources, "")


def test_two_sources_make_no_price() -> None:
    """R-GEN-20: XRP is listed on two."""
    found = heard("XRP")
    assert found is not None
    assert (found.doubt, found.is_thin) == ("2 of 3 sources needed", True)


@pytest.mark.parametrize(
    "answer",
    [TimeoutError("3 s"), ValueError("500"), {}, {"BTC/USDT": None}, {"BTC/USDT": []}, {"BTC/USDT": {}}]
    + [
        {"BTC/USDT": {"last": last}}
        for last in (None, "0", "-1", "NaN", "Infinity", "1e999", "", True, 91230.1, [])
    ]
    + [{"BTC/USDT": {"last": "91230", "timestamp": stamp}} for stamp in (0, -5, "now", 1.5, True, 10**30)],
)
def test_a_source_that_fails_or_talks_nonsense_does_not_count(answer: Any) -> None:
    """TRUST E20, E23: the other three are used."""
    found = heard("BTC", fetch=Recording(bybit=answer))
    assert found is not None
    assert (found.price, found.agreeing) == (Decimal("91234.5"), 3)


def test_when_most_sources_fail_there_is_no_price_and_no_error() -> None:
    """R-GEN-21, TRUST E19: the last price grows old instead."""
    fetch = Recording(bybit=TimeoutError(), okx=TimeoutError())
    for coin in ("BTC", "USDT"):
        found = heard(coin, fetch=fetch)
        assert found is not None
        assert found.is_thin
    nobody = {name: TimeoutError() for name in MARKET_NAMES}
    assert ask("BTC", "USDT", fetch=Recording(**nobody)) == {}


def test_a_source_from_the_future_or_the_past_does_not_count() -> None:
    """R-GEN-21: three of the four send their time, so a minute later only bybit is left."""
    for asked in (NOON + timedelta(seconds=60), NOON - timedelta(seconds=10)):
        found = heard("BTC", at=asked)
        assert found is not None
        assert (found.agreeing, found.doubt) == (1, "1 of 3 sources needed")
    asked = NOON - timedelta(seconds=3)
    ahead = heard("BTC", at=asked, exchanges=["okx", "kucoin", "bitget"])
    assert ahead is not None
    assert (ahead.agreeing, ahead.observed_at) == (
        3,
        asked,
    )  # a clock ahead of ours makes no price of tomorrow


def test_a_source_that_hangs_is_not_waited_for() -> None:
    """TRUST E23"""
    gate = threading.Event()

    class Hanging(Recording):
        def __call__(self, exchange: str, markets: Sequence[str]) -> Mapping[str, Mapping[str, object]]:
            if exchange == "bybit":
                gate.wait(30)
            return super().__call__(exchange, markets)

    try:
        found = heard("BTC", fetch=Hanging(), timeout_seconds=0.2)
    finally:
        gate.set()
    assert found is not None
    assert (found.price, found.agreeing) == (Decimal("91234.5"), 3)


def test_the_quote_coin_is_one_by_definition_while_enough_sources_answer() -> None:
    """R-GEN-20: prices are in USDT, taken as USD."""
    assert heard("USDT") == Heard(Decimal(1), NOON, 4)


def test_fewer_exchanges_than_must_agree_are_refused_at_once() -> None:
    """R-GEN-20"""
    with pytest.raises(FeedUnavailable, match="at least 3 exchanges; it was given 2"):
        ccxt_feed.feed(assets=["BTC"], fetch=Recording(), exchanges=["okx", "bybit", "okx"])


def test_a_body_is_read_under_a_bound_of_size_and_time() -> None:
    """TRUST E23"""
    assert read_at_most([b"ab", b"c"], until=5, clock=lambda: 5, limit=3) == b"abc"
    with pytest.raises(FeedUnavailable, match="larger than 3 bytes"):
        read_at_most([b"ab", b"cd"], until=5, clock=lambda: 5, limit=3)
    with pytest.raises(FeedUnavailable, match="too slowly"):
        read_at_most([b"a"], until=5, clock=lambda: 6)


def test_without_the_library_the_feed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ccxt", None)  # as if it were not there, even where it is
    with pytest.raises(FeedUnavailable, match="install the extra `prices`"):
        ccxt_feed.feed(assets=["BTC"])


# -- The library itself, where it is installed --
def client_answering(fetch: CcxtFetch, exchange: str, body: bytes, **headers: str) -> Any:
    """Put a stub in place of the network under one ccxt client."""
    adapters = importlib.import_module("requests.adapters")
    responses = importlib.import_module("urllib3.response")

    class Stub(adapters.HTTPAdapter):  # type: ignore[misc, name-defined]
        urls: list[str] = []

        def send(self, request: Any, **_: Any) -> Any:
            self.urls.append(request.url)
            status = 302 if "location" in headers else 200
            raw = responses.HTTPResponse(io.BytesIO(body), headers, status, preload_content=False)
            return self.build_response(request, raw)

    stub = Stub()
    fetch.clients[exchange].session.mount("https://", stub)
    return stub


@pytest.mark.parametrize("exchange", sorted(MARKET_NAMES))
def test_ccxt_reads_the_recorded_answers_as_text_in_one_request(exchange: str) -> None:
    pytest.importorskip("ccxt", reason="the extra `prices` (ccxt) is not installed")
    fetch = CcxtFetch([exchange])
    stub = client_answering(fetch, exchange, json.dumps(recorded(exchange)["answer"]).encode())
    tickers = recorded(exchange)["tickers"]
    read = fetch(exchange, list(tickers))
    assert {name: (each["last"], each["timestamp"]) for name, each in read.items()} == {
        name: (each["last"], each["timestamp"]) for name, each in tickers.items()
    }
    assert len(stub.urls) == 1


def test_ccxt_is_held_to_our_bounds() -> None:
    """TRUST E23: 50 MB and a redirect end in an error, not in memory and not elsewhere."""
    pytest.importorskip("ccxt", reason="the extra `prices` (ccxt) is not installed")
    fetch = CcxtFetch(["okx"])
    client_answering(fetch, "okx", b" " * 50_000_000)
    with pytest.raises(FeedUnavailable, match="larger than 1000000 bytes"):
        fetch("okx", ["BTC/USDT"])
    stub = client_answering(fetch, "okx", b"", location="https://elsewhere.example/")
    ccxt = importlib.import_module("ccxt")
    with pytest.raises(ccxt.ExchangeError) as refusal:
        fetch("okx", ["BTC/USDT"])
    assert type(refusal.value.__cause__).__name__ == "TooManyRedirects"
    assert len(stub.urls) == 1
    with pytest.raises(FeedUnavailable, match="binance is not one of"):
        CcxtFetch(["binance"])
