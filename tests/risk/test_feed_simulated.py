"""The simulated market: the same figures for everyone, and figures like a market's."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, localcontext
from itertools import pairwise
from statistics import correlation, pstdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.feeds import Tick, parse_price, simulated
from risk.feeds.simulated import Walk

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


WALKS = {
    "BTC": Walk(Decimal(91500), Decimal("0.026")),
    "DOGE": Walk(Decimal("0.151"), Decimal("0.048")),
    "ETH": Walk(Decimal(3050), Decimal("0.034")),
    "USDT": Walk(Decimal(1), Decimal("0.0004"), stable=True),
}
LAST = {"BTC": Decimal("90000.5"), "DOGE": Decimal("0.15"), "ETH": Decimal(3000), "USDT": Decimal("0.9995")}
FIVE_SECONDS = timedelta(seconds=5)


def stepped(**changes: Any) -> list[Tick]:
    arguments = {"prices": LAST, "walks": WALKS, "seed": 1, "since": NOON, "at": NOON + FIVE_SECONDS}
    return simulated.step(**(arguments | changes))


def told(days: int = 45, *, seed: int = 1, start: datetime = NOON, **changes: Any) -> list[list[Tick]]:
    arguments: dict[str, Any] = {"start_prices": {}, "walks": WALKS, "every": timedelta(minutes=30)}
    return list(
        simulated.path(seed=seed, start=start, end=start + timedelta(days=days), **(arguments | changes))
    )


def prices_of(history: list[list[Tick]], asset: str) -> list[Decimal]:
    return [tick.price for ticks in history for tick in ticks if tick.asset == asset]


def test_the_same_last_prices_give_the_same_tick_whoever_asks() -> None:
    ticks = stepped()
    for digits in (5, 60):  # as inside an exact rule, or any other context
        with localcontext(prec=digits):
            assert stepped() == ticks
    assert stepped(walks=dict(reversed(WALKS.items())), prices=dict(reversed(LAST.items()))) == ticks
    assert stepped(seed=2) != ticks
    assert stepped(at=NOON + 2 * FIVE_SECONDS) != ticks
    assert [(tick.asset, tick.source, tick.sources) for tick in ticks] == [
        (asset, "simulated", 1) for asset in ("BTC", "DOGE", "ETH", "USDT")
    ]
    assert {tick.observed_at for tick in ticks} == {NOON + FIVE_SECONDS}
    # The very digits: another machine or Python version must come to the same.
    assert [str(tick.price) for tick in ticks] == ["90000.593", "0.15001369", "3000.3454", "0.99950468"]


def test_a_coin_never_priced_starts_where_its_walk_does() -> None:
    (tick,) = simulated.step(
        prices={}, walks={"BTC": WALKS["BTC"]}, seed=1, since=NOON, at=NOON + FIVE_SECONDS
    )
    assert abs(tick.price / 91500 - 1) < Decimal("0.01")


def test_a_factor_moves_one_coin_once() -> None:
    plain = {tick.asset: tick.price for tick in stepped()}
    pushed = {tick.asset: tick.price for tick in stepped(factors={"BTC": Decimal("0.7")})}
    assert abs(pushed["BTC"] / plain["BTC"] - Decimal("0.7")) < Decimal("0.000001")
    assert {**pushed, "BTC": plain["BTC"]} == plain


def test_a_market_nobody_watched_did_not_move_further_than_in_an_hour() -> None:
    """A restart after a month is no crash: a step is an hour at most, and this is many deviations of one."""
    for seed in range(50):
        calm = Walk(Decimal(100), Decimal("0.02"))
        (tick,) = simulated.step(
            prices={}, walks={"BTC": calm}, seed=seed, since=NOON, at=NOON + timedelta(days=30)
        )
        assert abs(tick.price / 100 - 1) < Decimal("0.15")


@pytest.mark.parametrize("at", [NOON, NOON - MINUTE])
def test_a_step_back_in_time_is_a_bug(at: datetime) -> None:
    with pytest.raises(ValueError, match="must come after"):
        stepped(at=at)


walks_any = st.dictionaries(
    st.sampled_from(["BTC", "ETH", "DOGE", "USDT"]),
    st.builds(
        Walk,
        start=st.decimals("0.00000001", 1_000_000, places=8),
        daily_volatility=st.decimals(0, 1, places=4),
        stable=st.booleans(),
    ),
    min_size=1,
)


@given(
    walks=walks_any,
    seed=st.integers(),
    seconds=st.integers(1, 10**7),
    factor=st.decimals("0.000001", 1000, places=6),
)
def test_every_step_is_a_usable_price_with_few_digits(
    walks: dict[str, Walk], seed: int, seconds: int, factor: Decimal
) -> None:
    factors = dict.fromkeys(walks, factor)
    at = NOON + timedelta(seconds=seconds)
    ticks = simulated.step(prices={}, walks=walks, seed=seed, since=NOON, at=at, factors=factors)
    assert [tick.asset for tick in ticks] == sorted(walks)
    for tick in ticks:
        assert parse_price(str(tick.price)) == tick.price
        assert len(tick.price.normalize().as_tuple().digits) <= 8


def test_a_history_is_the_same_story_whenever_it_is_told() -> None:
    history = told(2)
    later = told(2, start=NOON + timedelta(days=100, seconds=7))
    assert [[tick.price for tick in ticks] for ticks in history] == [
        [t.price for t in ticks] for ticks in later
    ]
    assert [ticks[0].observed_at for ticks in history] == [
        NOON + n * timedelta(minutes=30) for n in range(97)
    ]
    assert prices_of(history, "BTC")[0] == 91500
    assert prices_of(history, "BTC") != prices_of(told(2, seed=2), "BTC")


def test_a_history_looks_like_a_market() -> None:
    """Volatility as asked, coins move together, the stable one stays, and somewhere there is a jump."""
    histories = [told(45, seed=seed) for seed in (1, 2, 3)]

    def all_prices(asset: str) -> list[Decimal]:
        return [price for history in histories for price in prices_of(history, asset)]

    def moves(asset: str) -> list[float]:
        return [
            float(after / before - 1)
            for history in histories
            for before, after in pairwise(prices_of(history, asset))
        ]

    half_hourly = 0.026 / 48**0.5
    assert 0.9 < pstdev(moves("BTC")) / half_hourly < 1.5
    assert correlation(moves("BTC"), moves("ETH")) > 0.4
    assert max(abs(move) for move in moves("BTC")) > 8 * half_hourly
    assert all(abs(price - 1) < Decimal("0.002") for price in all_prices("USDT"))
    assert all(30_000 < price < 300_000 for price in all_prices("BTC"))


def test_a_stable_coin_pushed_off_returns() -> None:
    history = told(1, shocks={timedelta(minutes=30): {"USDT": Decimal("0.9")}})
    prices = prices_of(history, "USDT")
    assert prices[1] < Decimal("0.91")
    assert abs(prices[-1] - 1) < Decimal("0.002")


def test_shocks_happen_at_their_time_and_add_up() -> None:
    calm = prices_of(told(1), "BTC")
    shocks = {
        timedelta(minutes=50): {"BTC": Decimal("0.9")},  # between two steps: at the later one
        timedelta(minutes=60): {"BTC": Decimal("0.5")},
    }
    shaken = prices_of(told(1, shocks=shocks), "BTC")
    assert shaken[:2] == calm[:2]
    assert all(
        abs(after / before - Decimal("0.45")) < Decimal("0.00001")
        for before, after in zip(calm[2:], shaken[2:], strict=True)
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"every": timedelta(0)},
        {"every": timedelta(hours=2)},
        {"shocks": {timedelta(0): {}}},
        {"shocks": {timedelta(days=2): {}}},
    ],
)
def test_a_history_that_cannot_be_told_is_refused_before_it_begins(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="Steps|Shocks"):
        told(1, **changes)


def test_the_simulated_feed_continues_what_was_recorded() -> None:
    recorded: list[tuple[datetime, Mapping[str, Decimal]]] = []
    factors: dict[str, Decimal] = {}
    feed = simulated.feed(
        last=lambda: recorded[-1] if recorded else None, walks=WALKS, seed=1, factors=lambda: factors
    )
    assert {tick.asset: tick.price for tick in feed(NOON)} == {
        asset: walk.start for asset, walk in WALKS.items()
    }
    recorded.append((NOON, LAST))
    assert feed(NOON) == []
    assert feed(NOON + FIVE_SECONDS) == stepped()
    factors["ETH"] = Decimal("0.5")
    assert feed(NOON + FIVE_SECONDS) == stepped(factors={"ETH": Decimal("0.5")})
