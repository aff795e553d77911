"""What is a price at all, and the live feed: a median of exchanges that fail in every way, off the network.

`recorded/*.json` hold one answer per exchange, in the shape the exchange documents (`answer`, with figures of
our own) and in the shape ccxt gives it with numbers as text (`tickers`).
"""

import importlib
import io
import json
import random
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.feeds import BadPrice, FeedUnavailable, Tick, ccxt_feed, parse_price
from risk.feeds.ccxt_feed import MARKET_NAMES, Agreement, CcxtFetch, Quote, agreed, read_at_most

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


def test_the_price_is_the_median_of_four_exchanges_as_old_as_the_oldest() -> None:
    """R-GEN-20"""
    a_second_ago = NOON - timedelta(seconds=1)
    assert ask("BTC", "SHIB") == {
        # 91228.9, 91230.1, 91234.5, 91240
        "BTC": Tick("BTC", Decimal("91232.3"), a_second_ago, "ccxt", 4),
        # 0.00000912, 0.00000912, 0.000009121, 0.00000913
        "SHIB": Tick("SHIB", Decimal("0.0000091205"), a_second_ago, "ccxt", 4),
    }


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
    tick = ask(asset)[asset]
    assert (tick.price, tick.sources) == (Decimal(price), sources)


def test_two_sources_make_no_price() -> None:
    """R-GEN-20: XRP is listed on two."""
    assert ask("XRP", "BTC").keys() == {"BTC"}


def test_three_that_disagree_make_no_price() -> None:
    """TRUST E22: without the one that is 30 % off, two are left."""
    exchanges = ["okx", "bybit", "kucoin"]
    assert ask("DAI", "BTC", exchanges=exchanges).keys() == {"BTC"}
    loose = Agreement(most_off_median=Decimal("0.5"))
    assert ask("DAI", exchanges=exchanges, agreement=loose)["DAI"].price == Decimal("0.9999")


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
    tick = ask("BTC", fetch=Recording(bybit=answer))["BTC"]
    assert (tick.price, tick.sources) == (Decimal("91234.5"), 3)


def test_when_most_sources_fail_there_is_no_price_and_no_error() -> None:
    """R-GEN-21, TRUST E19: the last price grows old instead."""
    fetch = Recording(bybit=TimeoutError(), okx=TimeoutError())
    assert ask("BTC", "USDT", fetch=fetch) == {}


def test_a_source_from_the_future_or_the_past_does_not_count() -> None:
    """R-GEN-21: three of the four send their time, so a minute later only bybit is left."""
    assert ask("BTC", at=NOON + timedelta(seconds=60)) == {}
    assert ask("BTC", at=NOON - timedelta(seconds=10)) == {}
    asked = NOON - timedelta(seconds=3)
    ahead = ask("BTC", at=asked, exchanges=["okx", "kucoin", "bitget"])["BTC"]
    assert (ahead.sources, ahead.observed_at) == (
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
        tick = ask("BTC", fetch=Hanging(), timeout_seconds=0.2)["BTC"]
    finally:
        gate.set()
    assert (tick.price, tick.sources) == (Decimal("91234.5"), 3)


def test_the_quote_coin_is_one_by_definition_while_enough_sources_answer() -> None:
    """R-GEN-20: prices are in USDT, taken as USD."""
    assert ask("USDT") == {"USDT": Tick("USDT", Decimal(1), NOON, "ccxt", 4)}


prices = st.decimals("0.01", 1_000_000, places=4)


@given(
    honest=prices,
    noise=st.lists(st.decimals("-0.009", "0.009", places=4), min_size=3, max_size=7),
    wild=prices,
)
def test_one_wild_source_never_moves_the_price_beyond_the_honest_ones(
    honest: Decimal, noise: list[Decimal], wild: Decimal
) -> None:
    """R-GEN-20, TRUST E22"""
    true = [honest * (1 + each) for each in noise]
    near = agreed([Quote(price, NOON) for price in [*true, wild]], Agreement())
    assert len(near) >= 3
    assert min(true) <= median(quote.price for quote in near) <= max(true)


@given(values=st.lists(prices, max_size=8), chance=st.randoms(use_true_random=False))
def test_agreement_does_not_depend_on_the_order_of_answers(
    values: list[Decimal], chance: random.Random
) -> None:
    mixed = chance.sample(values, len(values))
    near, other = (agreed([Quote(price, NOON) for price in each], Agreement()) for each in (values, mixed))
    assert sorted(quote.price for quote in near) == sorted(quote.price for quote in other)
    assert not near or len(near) >= 3


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
