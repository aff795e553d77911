"""What several sources come to, and what is wrong with a price beside the last one: the rules of the price gate."""

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from statistics import median
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from risk.consensus import JUMP, Known, Said, Terms, doubt, hear, spread

D = Decimal
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TERMS = Terms(max_age=60 * SECOND, max_jump=D("0.3"), max_spread=D("0.03"))


def said(*usd: str, ages: tuple[float, ...] = ()) -> list[Said]:
    late = [*ages, *(0.0 for _ in usd)]
    return [
        Said(f"venue{place}", D(price), NOON - timedelta(seconds=late[place]))
        for place, price in enumerate(usd)
    ]


def terms(**changed: Any) -> Terms:
    return Terms(**{"max_age": 60 * SECOND, "max_jump": D("0.3"), "max_spread": D("0.03")} | changed)


@pytest.mark.parametrize(
    ("usd", "price", "agreeing"),
    [
        (("100", "101", "102"), "101", 3),
        (("1", "1.001", "1.30"), "1.0005", 2),  # Compound, November 2020: one venue of three prints 1.30
        (("430", "3580", "3590"), "3585", 2),  # October 2025: a staked coin at -88 % on one book
        (("91500000", "91500", "91510", "91490"), "91500", 3),
        (("97", "100", "100", "100"), "100", 4),  # 3 % off the median is not further than 3 %
    ],
)
def test_one_mad_source_is_left_out_and_the_median_of_the_others_stands(
    usd: tuple[str, ...], price: str, agreeing: int
) -> None:
    """R-GEN-20, R-GEN-21, TRUST E22"""
    found = hear(said(*usd), TERMS, at=NOON)
    assert found is not None
    assert (found.price, found.agreeing, found.doubt) == (D(price), agreeing, "")
    assert len(found.left_out) == len(usd) - agreeing


@pytest.mark.parametrize(
    ("usd", "why"),
    [
        (("1", "1.1", "1.3"), "3 sources are 27.27% apart"),  # nobody is near the middle but itself
        (("1", "1", "1.3", "1.3"), "4 sources are 26.09% apart"),  # two against two
        (("98", "100", "102.5"), "3 sources are 4.50% apart"),  # each near the median, but not each other
    ],
)
def test_sources_that_do_not_agree_pause_the_coin(usd: tuple[str, ...], why: str) -> None:
    """R-GEN-21, TRUST E22: more than 3 % apart is no price."""
    found = hear(said(*usd), TERMS, at=NOON)
    assert found is not None
    assert (found.doubt, found.is_thin) == (why, False)


def test_a_rule_may_ask_for_more_or_fewer_sources_than_three() -> None:
    """R-GEN-20, R-GEN-21: three must answer and two of them agree, unless the coin's rule says how many."""
    two = said("100", "100.5")
    thin = hear(two, TERMS, at=NOON)
    assert thin is not None
    assert (thin.is_thin, thin.doubt) == (True, "2 of 3 sources needed")
    enough = hear(two, terms(min_sources=2), at=NOON)
    assert enough is not None
    assert (enough.price, enough.doubt) == (D("100.25"), "")
    strict = hear(said("100", "100.5", "150"), terms(min_sources=3), at=NOON)
    assert strict is not None
    assert (strict.is_thin, strict.doubt) == (False, "2 of 3 sources agree")


def test_each_source_has_its_own_age_and_the_price_is_as_old_as_the_oldest_that_counts() -> None:
    """R-GEN-21, TRUST E19: an hour-old word does not count, a future one neither."""
    found = hear(said("100", "101", "102", "5", "7", ages=(3, 59, 0, 3600, -6)), TERMS, at=NOON)
    assert found is not None
    assert (found.price, found.agreeing, found.observed_at) == (D(101), 3, NOON - 59 * SECOND)
    assert found.left_out == {"venue3": "too old", "venue4": "from the future"}
    ahead = hear(said("100", "101", "102", ages=(-5, -5, -5)), TERMS, at=NOON)
    assert ahead is not None
    assert ahead.observed_at == NOON  # a clock ahead of ours makes no price of tomorrow
    assert hear(said("100", ages=(61,)), TERMS, at=NOON) is None
    assert hear([], TERMS, at=NOON) is None


prices = st.decimals("0.01", 1_000_000, places=4)


@given(
    honest=prices,
    noise=st.lists(st.decimals("-0.009", "0.009", places=4), min_size=2, max_size=7),
    wild=prices,
)
def test_one_wild_source_never_moves_the_price_beyond_the_honest_ones(
    honest: Decimal, noise: list[Decimal], wild: Decimal
) -> None:
    """R-GEN-20, TRUST E22: of three sources or more; the coin may be paused, but never wrong."""
    true = [honest * (1 + each) for each in noise]
    found = hear([Said(str(n), p, NOON) for n, p in enumerate([*true, wild])], TERMS, at=NOON)
    assert found is not None
    assert found.doubt or min(true) <= found.price <= max(true)
    if abs(wild - median(true)) > D("0.06") * honest:
        assert found.doubt == ""  # far off, it shields nobody either
        assert found.agreeing == len(true)


@given(
    values=st.lists(prices, min_size=1, max_size=8),
    chance=st.randoms(use_true_random=False),
    least=st.integers(1, 4),
)
def test_what_is_agreed_does_not_depend_on_the_order_and_is_within_the_spread(
    values: list[Decimal], chance: random.Random, least: int
) -> None:
    """R-GEN-21"""
    each = [Said(str(n), p, NOON) for n, p in enumerate(values)]
    rule = terms(min_sources=least)
    found = hear(each, rule, at=NOON)
    assert found == hear(chance.sample(each, len(each)), rule, at=NOON)
    assert found is not None
    if not found.doubt:
        counted = [one.price for one in each if one.source not in found.left_out]
        assert len(counted) == found.agreeing >= max(2, least)
        assert 2 * len(counted) > len(values)
        assert spread(counted) <= D("0.03")
        assert min(counted) <= found.price <= max(counted)


# --- Beside the last price --------------------------------------------------------------------------------------------


def why(usd: str, known: Known, *, sources: int = 1, after: float = 5, **rule: Any) -> str:
    return doubt(D(usd), NOON + timedelta(seconds=after), sources, terms(**rule), known)


def test_a_jump_is_confirmed_by_the_second_tick_at_its_level() -> None:
    """R-GEN-21"""
    assert why("70", Known(good=D(100), newest=D(100))) == ""
    assert why("60", Known(good=D(100), newest=D(100))) == f"{JUMP} 30.00% from 100 USD"
    assert why("59", Known(good=D(100), newest=D(60), awaits_second=True)) == ""
    assert why("59", Known(good=D(100), newest=D(60), awaits_second=False)) != ""
    assert why("40", Known(good=D(100), newest=D(60), awaits_second=True)) != ""


def test_one_source_alone_is_never_believed_more_than_tenfold_away() -> None:
    """R-GEN-21, TRUST E21: units go wrong by a thousand, markets between two ticks do not."""
    for level in ("100000", "0.1"):
        again = Known(good=D(100), newest=D(level), awaits_second=True)
        assert why(level, again) == "more than tenfold off 100 USD, by one source alone"
        assert why(level, again, sources=2) == ""
    assert why("1000", Known(good=D(100), newest=D(1000), awaits_second=True)) == ""
    assert why("10", Known(good=D(100), newest=D(10), awaits_second=True)) == ""


def test_a_price_that_stands_still_too_long_is_a_frozen_feed() -> None:
    """R-GEN-21, TRUST E19: LUNA, May 2022. The edge itself is not too long; a coin without such a rule may rest."""
    known = Known(good=D(100), newest=D(100), still_since=NOON)
    frozen = terms(max_still=600 * SECOND)
    assert doubt(D(100), NOON + 600 * SECOND, 1, frozen, known) == ""
    assert doubt(D(100), NOON + 601 * SECOND, 1, frozen, known) == "the same price for more than 600 s"
    assert doubt(D("100.01"), NOON + 601 * SECOND, 1, frozen, known) == ""
    assert why("100", known, after=10**6) == ""


@pytest.mark.parametrize(
    ("usd", "doubted"), [("0.1", True), ("0.09", True), ("0.11", False), ("2", False), ("2.01", True)]
)
def test_a_price_on_the_floor_is_doubted_as_one_below_it(usd: str, doubted: bool) -> None:
    """R-GEN-21: a feed that is cut off at its floor says the floor for ever."""
    assert bool(why(usd, Known(), floor=D("0.1"), ceiling=D(2))) == doubted


@given(good=prices, first=prices, second=prices, sources=st.integers(1, 3))
def test_whatever_comes_twice_close_together_is_believed_unless_it_is_absurd(
    good: Decimal, first: Decimal, second: Decimal, sources: int
) -> None:
    """R-GEN-21: a true crash is never quarantined for ever."""
    assume(abs(second - first) <= D("0.3") * first)
    found = why(str(second), Known(good=good, newest=first, awaits_second=True), sources=sources)
    absurd = second > 10 * good or good > 10 * second
    jumps = abs(second - good) > D("0.3") * good
    assert bool(found) == (sources == 1 and absurd and jumps)


def test_a_source_that_speaks_three_times_is_one_source() -> None:
    """R-GEN-20: and its newest word counts"""
    alone = [Said("venue0", D(price), NOON - age * SECOND) for price, age in ((5, 0), (6, 1), (7, 2))]
    heard = hear(alone, TERMS, at=NOON)
    assert heard is not None
    assert (heard.is_thin, heard.price) == (True, 5)
