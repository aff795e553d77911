"""A price that two people set: it counts like any good price, from its release on."""

from datetime import timedelta
from decimal import Decimal

import pytest

from accounts.commands import Actor, NeedsApproval
from risk import parameters, prices
from risk.feeds import Tick
from risk.models import Price
from risk.prices import BadManualPrice
from tests import build
from tests.build import BUILDER, LONG_AGO, NOON

SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _coin(db: None) -> None:
    build.asset("BTC")
    parameters.publish_feed_rule(
        effective_at=LONG_AGO,
        max_age_seconds=60,
        max_jump=Decimal("0.1"),
        floor=Decimal(100),
        actor=BUILDER,
        at=LONG_AGO,
    )


def by_hand(
    usd: str, *, asset: str = "BTC", reason: str = "The feed is down", actor: Actor = BUILDER
) -> Price:
    return prices.record_by_hand(asset=asset, price=Decimal(usd), actor=actor, at=NOON, reason=reason)


def test_it_is_good_whatever_the_jump_and_ages_like_any() -> None:
    """R-ADM-03, R-GEN-21, R-GEN-22"""
    build.price("BTC", "60000", at=NOON - SECOND)
    row = by_hand("50.5")
    assert (row.price, row.source, row.status) == (Decimal("50.5"), "manual", Price.Status.GOOD)
    quote = prices.latest(at=NOON, assets=["BTC"])["BTC"]
    assert (quote.price, quote.fresh) == (Decimal("50.5"), True)
    assert not prices.latest(at=NOON + 61 * SECOND, assets=["BTC"])["BTC"].fresh


def test_it_ends_a_quarantine_and_the_feed_is_judged_against_it() -> None:
    """R-GEN-21, R-ADM-03"""
    build.price("BTC", "60000", at=NOON - 2 * SECOND)
    prices.record([Tick("BTC", Decimal(40_000), NOON - SECOND, "feed")], at=NOON)
    assert not prices.latest(at=NOON, assets=["BTC"])["BTC"].fresh
    by_hand("40000")
    prices.record([Tick("BTC", Decimal(40_100), NOON + SECOND, "feed")], at=NOON + SECOND)
    quote = prices.latest(at=NOON + SECOND, assets=["BTC"])["BTC"]
    assert (quote.price, quote.fresh) == (Decimal(40_100), True)


def test_one_person_alone_sets_no_price() -> None:
    """R-ADM-03"""
    with pytest.raises(NeedsApproval):
        by_hand("50000", actor=Actor.user(build.user("risk_officer")))
    assert not Price.objects.exists()


@pytest.mark.parametrize(
    ("usd", "asset", "reason", "words"),
    [
        ("0", "BTC", "x", "not between"),
        ("-1", "BTC", "x", "not between"),
        ("NaN", "BTC", "x", "not a number"),
        ("1e12", "BTC", "x", "not between"),
        ("1", "NOSUCH", "x", "no asset"),
        ("1", "BTC", "  ", "needs a reason"),
    ],
)
def test_what_is_no_price_is_refused(usd: str, asset: str, reason: str, words: str) -> None:
    """R-ADM-03, R-GEN-21"""
    with pytest.raises(BadManualPrice, match=words):
        by_hand(usd, asset=asset, reason=reason)
    assert not Price.objects.exists()


def test_a_newer_observation_stands() -> None:
    """R-GEN-21: history is never overtaken from behind."""
    build.price("BTC", "60000", at=NOON)
    with pytest.raises(BadManualPrice, match="has a price of 2026-01-01 12:00:00 UTC already"):
        by_hand("50000")
    assert Price.objects.count() == 1
