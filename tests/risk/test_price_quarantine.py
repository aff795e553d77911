"""Prices that are hard to believe, and how they come to be believed (R-GEN-21; TRUST E21, E22)."""

from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from risk import parameters, prices
from risk.feeds import BY_DEFINITION, Tick
from risk.models import Price
from risk.prices import PriceState
from tests import build
from tests.build import BUILDER, NOON
from tests.risk.ticks import SECOND, record, rule, tick


@pytest.mark.parametrize("glitch", ["91500000", "91.5"])
def test_a_price_times_or_through_1000_for_one_tick_is_never_used(db: None, glitch: str) -> None:
    """TRUST E21, R-GEN-21: quarantined, the last good price kept and flagged, then as before."""
    assert record("91500", glitch) == ["good", "quarantined"]
    quote = prices.latest(at=NOON + SECOND)["BTC"]
    assert (quote.price, quote.state, quote.fresh) == (91500, PriceState.SUSPECT, False)

    assert record("91400", start=NOON + 2 * SECOND) == ["good"]
    quote = prices.latest(at=NOON + 2 * SECOND)["BTC"]
    assert (quote.price, quote.state, quote.fresh) == (91400, PriceState.FRESH, True)


def test_a_second_tick_at_the_new_level_accepts_a_true_fall_of_40_percent(db: None) -> None:
    """R-GEN-21: a true -40 % is not quarantined for ever."""
    assert record("100", "60", "59") == ["good", "quarantined", "good"]
    assert prices.latest(at=NOON + 2 * SECOND)["BTC"].price == 59


@pytest.mark.parametrize(
    ("then", "fate"), [("130", "good"), ("130.01", "quarantined"), ("70", "good"), ("69.99", "quarantined")]
)
def test_a_jump_is_more_than_30_percent_of_the_last_good_price(db: None, then: str, fate: str) -> None:
    """R-GEN-21: the edge itself is no jump."""
    assert record("100", then) == ["good", fate]


@pytest.mark.parametrize(
    ("second", "fate"), [("260", "good"), ("260.01", "quarantined"), ("139.99", "quarantined")]
)
def test_the_second_tick_must_be_within_the_same_jump_of_the_first(db: None, second: str, fate: str) -> None:
    """R-GEN-21. After 100 and then 200: up to 260 and down to 140 agree with 200."""
    assert record("100", "200", second) == ["good", "quarantined", fate]


def test_only_the_observation_just_before_can_be_agreed_with(db: None) -> None:
    """R-GEN-21: consecutive. The good tick in between starts it all over."""
    assert record("100", "200", "101", "200") == ["good", "quarantined", "good", "quarantined"]


def test_a_market_that_keeps_leaping_is_believed_once_it_rests(db: None) -> None:
    assert record("100", "50", "25", "24") == ["good", "quarantined", "quarantined", "good"]


def test_the_reason_says_what_was_wrong(db: None) -> None:
    record("91500", "9150")
    row = Price.objects.get(status="quarantined")
    assert row.reason == "a jump of more than 30.00% from 91500 USD"


def test_the_longest_reason_fits_its_column(db: None) -> None:
    record("999999999999.123456789012345678", "0.000000000001")
    assert Price.objects.filter(status="quarantined").count() == 1


def test_the_first_price_of_an_asset_has_nothing_to_jump_from(db: None) -> None:
    assert record("91500") == ["good"]


def test_outside_floor_and_ceiling_no_second_tick_helps(db: None) -> None:
    """R-GEN-21: hard bounds; a price on the floor itself is what a feed says that is cut off there (LUNA, 2022)."""
    build.asset("BTC")
    rule(asset="BTC", floor=Decimal(90), ceiling=Decimal(110))

    told = ["90.01", "110", "90", "89.99", "89.99", "110.01", "110.01"]
    assert record(*told) == ["good"] * 2 + ["quarantined"] * 5
    assert list(
        Price.objects.filter(status="quarantined").order_by("pk").values_list("reason", flat=True)
    ) == [
        "on the floor of 90 USD",
        *["below the floor of 90 USD"] * 2,
        *["above the ceiling of 110 USD"] * 2,
    ]


def test_too_few_sources_are_not_believed_and_confirm_nothing(db: None) -> None:
    """R-GEN-21, TRUST E22: one venue's word is not a level."""
    build.asset("BTC")
    rule(min_sources=3)
    told = [("100", 3), ("100", 2), ("200", 2), ("200", 3), ("200", 3)]

    rows = [
        prices.record([tick(usd, at=NOON + n * SECOND, sources=sources)], at=NOON + n * SECOND)[0]
        for n, (usd, sources) in enumerate(told)
    ]

    # The fourth has sources enough but the third, which it agrees with, had not: it is a first tick itself.
    assert [row.status for row in rows] == ["good", "quarantined", "quarantined", "quarantined", "good"]
    assert rows[1].reason == "2 of 3 sources needed"


def test_a_coin_follows_its_own_rule_and_the_others_the_rule_for_all(db: None) -> None:
    """R-GEN-21: per feed, not one shared value."""
    build.asset("BTC")
    rule(max_jump=Decimal("0.5"))
    rule(asset="BTC", max_jump=Decimal("0.1"))

    assert record("100", "111") == ["good", "quarantined"]
    assert record("100", "149", asset="ETH") == ["good", "good"]


def test_a_rule_counts_from_its_instant_on(db: None) -> None:
    build.asset("BTC")
    parameters.publish_feed_rule(
        asset="BTC", max_jump=Decimal("0.1"), effective_at=NOON + 2 * SECOND, actor=BUILDER, at=NOON
    )
    assert record("100", "120", "140") == ["good", "good", "quarantined"]


levels = st.sampled_from(["50", "60", "70", "99", "100", "130", "131", "170", "221"])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(usd=st.lists(levels, min_size=1, max_size=12), order=st.randoms(use_true_random=False))
def test_ticks_at_once_in_any_order_are_judged_as_ticks_one_by_one(
    db: None, usd: list[str], order: Any
) -> None:
    """R-GEN-21, R-GEN-04: and what is believed was either near the last good price or seen twice."""
    with transaction.atomic():
        one_by_one = record(*usd, asset="A")
        build.asset("B")
        ticks = [tick(value, asset="B", at=NOON + n * SECOND) for n, value in enumerate(usd)]
        order.shuffle(ticks)
        at_once = prices.record(ticks, at=NOON + len(usd) * SECOND)
        transaction.set_rollback(True)

    assert [row.status for row in at_once] == one_by_one
    good = Decimal(usd[0])
    for place, value in enumerate(map(Decimal, usd)):
        if one_by_one[place] == "quarantined":
            assert abs(value - good) > good * 3 / 10
            continue
        before = Decimal(usd[place - 1]) if place else good
        twice = (
            place > 0 and one_by_one[place - 1] == "quarantined" and abs(value - before) <= before * 3 / 10
        )
        assert twice or abs(value - good) <= good * 3 / 10
        good = value


def test_what_is_one_by_definition_is_no_frozen_feed(db: None) -> None:
    """R-GEN-21: a rule for all coins must not make every debt in dollars blind for ever"""
    build.asset("USD")
    rule(max_still_seconds=60)
    for number in range(4):
        at = NOON + 60 * number * SECOND
        [row] = prices.record([Tick("USD", Decimal(1), at, BY_DEFINITION)], at=at)
        assert row.status == "good"
