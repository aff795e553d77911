"""Real prices: what several exchanges say, through the optional library ccxt.

Sources fail in every way there is (late, wrong, huge, elsewhere, mad), so each is asked in its own thread
under a deadline. Everything that is a price at all is handed over with its own time; what they come to together is
decided at the gate, as for every feed (R-GEN-20, R-GEN-21; TRUST E22, E23). Where nobody answers there is no tick,
and the last price grows old: that is the safe side.

Prices are quoted in USDT and taken as USD, so USDT itself is 1 by definition (R-GEN-20).
"""

import importlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from threading import Lock
from typing import Any

from risk.consensus import LEAST_ANSWERS, Said
from risk.feeds import BY_DEFINITION, BadPrice, Feed, FeedUnavailable, Tick, parse_price, polled

logger = logging.getLogger(__name__)

SOURCE = "ccxt"
QUOTE = "USDT"

# How each exchange names a spot market. Only exchanges that answer for all their markets at once within
# MAX_BYTES: where markets must be named in the request, one coin not listed there fails it for all.
MARKET_NAMES: Mapping[str, str] = {
    "okx": "{asset}-{quote}",
    "bybit": "{asset}{quote}",
    "kucoin": "{asset}-{quote}",
    "bitget": "{asset}{quote}",
}

TIMEOUT_SECONDS = 3  # TRUST E23: to connect, to begin an answer, and to finish it
MAX_BYTES = 1_000_000  # TRUST E23: of one answer, unpacked
CHUNK_BYTES = 8_192  # packed; one chunk of a gzip bomb unpacks to a thousand times this

# Asked (exchange, markets) it answers market -> ticker, as ccxt's fetch_tickers does, with numbers as text.
Fetch = Callable[[str, Sequence[str]], Mapping[str, Mapping[str, object]]]


def feed(
    *,
    assets: Sequence[str],
    fetch: Fetch | None = None,
    exchanges: Sequence[str] = tuple(MARKET_NAMES),
    timeout_seconds: float = 2 * TIMEOUT_SECONDS,
) -> Feed:
    """A feed over live exchanges. `fetch` is the network; tests give recorded answers instead.

    Raises:
        FeedUnavailable: ccxt is not installed, or fewer exchanges are named than must answer.
    """
    given = len(set(exchanges))
    if given < LEAST_ANSWERS:
        raise FeedUnavailable(
            f"The ccxt feed needs at least {LEAST_ANSWERS} exchanges; it was given {given}."
        )
    ask = fetch or CcxtFetch(exchanges)

    def known(at: datetime) -> list[Tick]:
        markets = [f"{asset}/{QUOTE}" for asset in assets if asset != QUOTE]
        answers = _ask_all(ask, exchanges, markets, timeout_seconds)
        said = {asset: _said(asset, answers, at) for asset in assets}
        source = {QUOTE: BY_DEFINITION}
        return [polled(asset, each, source=source.get(asset, SOURCE)) for asset, each in said.items() if each]

    return known


def _ask_all(
    ask: Fetch, exchanges: Sequence[str], markets: Sequence[str], timeout_seconds: float
) -> dict[str, Mapping[str, Mapping[str, object]]]:
    """What answered in time. Threads that did not are left to end at their own deadline, unheard."""
    pool = ThreadPoolExecutor(max_workers=len(exchanges), thread_name_prefix="ccxt")
    futures: dict[Future[Mapping[str, Mapping[str, object]]], str] = {
        pool.submit(ask, exchange, markets): exchange for exchange in dict.fromkeys(exchanges)
    }
    done, late = wait(futures, timeout=timeout_seconds)
    pool.shutdown(wait=False, cancel_futures=True)
    for future in late:
        logger.warning("price source %s did not answer in time", futures[future])
    answers = {}
    for future in done:
        # Any failure at all: it is the outside's, the libraries under ccxt have no common error, and one
        # exchange may not silence the others.
        if (error := future.exception()) is not None:
            logger.warning("price source %s failed: %s", futures[future], repr(error)[:200])
        else:
            answers[futures[future]] = future.result()
    return answers


def _said(asset: str, answers: Mapping[str, Mapping[str, Mapping[str, object]]], at: datetime) -> list[Said]:
    if asset == QUOTE:  # 1 by definition, while anybody quotes in it
        return [Said(exchange, Decimal(1), at) for exchange in answers]
    said = []
    for exchange, tickers in answers.items():
        try:
            said.append(_quote(exchange, tickers[f"{asset}/{QUOTE}"], at))
        except KeyError:
            continue  # not listed there
        except BadPrice as refusal:
            logger.warning("price of %s from %s not used: %s", asset, exchange, refusal)
    return said


def _quote(exchange: str, ticker: object, at: datetime) -> Said:
    """One exchange's last trade. One that sends no time is taken to speak of the moment it was asked."""
    if not isinstance(ticker, Mapping):
        raise BadPrice("the answer has another shape")
    price = parse_price(ticker.get("last"))
    stamp = ticker.get("timestamp")
    if stamp is None:
        return Said(exchange, price, at)
    if not isinstance(stamp, int) or not 0 < stamp < 10**13:  # milliseconds, up to the year 2286
        raise BadPrice(f"its time {str(stamp)[:40]!r} is not one")
    return Said(
        exchange, price, datetime.fromtimestamp(stamp // 1000, UTC) + timedelta(milliseconds=stamp % 1000)
    )


class CcxtFetch:
    """The network: one ccxt client per exchange, kept between calls, with bounds on time, size and place."""

    def __init__(self, exchanges: Sequence[str]) -> None:
        try:
            ccxt = importlib.import_module("ccxt")
        except ModuleNotFoundError as error:
            raise FeedUnavailable(
                "The ccxt price feed needs the library ccxt, which is not installed; "
                "install the extra `prices` or choose the simulated feed."
            ) from error
        for exchange in exchanges:
            if exchange not in MARKET_NAMES:
                raise FeedUnavailable(f"{exchange} is not one of {', '.join(MARKET_NAMES)}.")
        self.clients = {exchange: self._client(ccxt, exchange) for exchange in exchanges}
        self.busy = {exchange: Lock() for exchange in exchanges}

    def __call__(self, exchange: str, markets: Sequence[str]) -> Mapping[str, Mapping[str, object]]:
        client, busy = self.clients[exchange], self.busy[exchange]
        if not busy.acquire(blocking=False):  # a client serves one thread; the last one may still hang
            raise FeedUnavailable(f"{exchange} has not finished its last answer.")
        try:
            # Naming the markets ourselves spares ccxt its download of every market there is (20 MB at some).
            client.set_markets([self._market(client, MARKET_NAMES[exchange], market) for market in markets])
            tickers: Mapping[str, Mapping[str, object]] = client.fetch_tickers(list(markets))
        finally:
            busy.release()
        return tickers

    @staticmethod
    def _client(ccxt: Any, exchange: str) -> Any:
        # number=str: ccxt would make floats of the prices.
        client = getattr(ccxt, exchange)({"number": str, "timeout": 1000 * TIMEOUT_SECONDS})
        client.session.max_redirects = 0
        client.session.hooks["response"].append(_read_bounded)
        return client

    @staticmethod
    def _market(client: Any, name: str, market: str) -> Any:
        asset, quote = market.split("/")
        return client.safe_market_structure(
            {
                "id": name.format(asset=asset, quote=quote),
                "symbol": market,
                "base": asset,
                "quote": quote,
                "type": "spot",
                "spot": True,
                "active": True,
            }
        )


def _read_bounded(response: Any, **_: Any) -> None:
    """Read a `requests` response under our bounds, before the library reads it without any."""
    # read1 returns what has come; iter_content would wait for a full chunk from a source that drips.
    chunks = iter(lambda: response.raw.read1(CHUNK_BYTES, decode_content=True), b"")
    body = read_at_most(chunks, until=time.monotonic() + TIMEOUT_SECONDS)
    # What Response.content would set; it has no public way to hand over a body.
    response._content, response._content_consumed = body, True


def read_at_most(
    chunks: Iterable[bytes],
    *,
    until: float,
    clock: Callable[[], float] = time.monotonic,
    limit: int = MAX_BYTES,
) -> bytes:
    """The whole of a body, in bytes, read before `until` on `clock`.

    Raises:
        FeedUnavailable: it is longer than `limit`, or comes too slowly.
    """
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > limit:
            raise FeedUnavailable(f"The answer is larger than {limit} bytes.")
        if clock() > until:
            raise FeedUnavailable("The answer came too slowly.")
    return bytes(body)
