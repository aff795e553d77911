"""Published rates and product terms: from when they hold, for whom, and what cannot be published."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts.models import AuditRecord
from loans import ratecards
from loans.models import Product, RateCard
from loans.ratecards import BadCard, BadProductTerms, NoRate
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN

pytestmark = pytest.mark.django_db
FIRST = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = datetime(2026, 1, 2, tzinfo=UTC)


def publish(rate: str = "0.084", **changes: Any) -> RateCard:
    build.asset("USDT")
    card = {"term_days": 30, "vip_level": 1, "effective_at": FIRST, "at": LONG_AGO} | changes
    return ratecards.publish_card(
        product="vip", asset="USDT", annual_rate=Decimal(rate), actor=BUILDER, reason="Weekly review", **card
    )


def rate(vip_level: int = 1, *, rate_type: str = "fixed", term_days: int = 30, at: datetime = TEN) -> Decimal:
    return ratecards.rate_for(
        product="vip", asset="USDT", rate_type=rate_type, term_days=term_days, vip_level=vip_level, at=at
    )


def test_a_card_holds_from_its_midnight_until_the_next() -> None:
    """R-GEN-53, R-VIP-18, R-VIP-22"""
    publish("0.084")
    publish("0.09", effective_at=SECOND)

    assert rate(at=FIRST) == Decimal("0.084")
    assert rate(at=SECOND - timedelta(microseconds=1)) == Decimal("0.084")
    assert rate(at=SECOND) == Decimal("0.09")
    with pytest.raises(NoRate, match="No fixed 30-day rate is published for USDT"):
        rate(at=FIRST - timedelta(microseconds=1))


def test_the_rate_is_that_of_the_level_or_of_the_nearest_below() -> None:
    """R-VIP-22: an older card of one's own level wins over a newer one of a lower level."""
    publish("0.084", vip_level=1, effective_at=SECOND)
    publish("0.07", vip_level=3)
    publish("0.05", vip_level=9)

    at = SECOND + timedelta(hours=1)
    assert [rate(level, at=at) for level in (1, 2, 3, 8, 9)] == [
        Decimal(text) for text in ("0.084", "0.084", "0.07", "0.07", "0.05")
    ]
    with pytest.raises(NoRate):
        rate(0, at=at)


def test_terms_do_not_mix() -> None:
    publish("0.084", term_days=60)

    with pytest.raises(NoRate):
        rate(term_days=30)


def test_the_flexible_rate_needs_no_level_and_no_term() -> None:
    """R-VIP-23"""
    build.flexible_rate("USDT", "0.08")
    build.flexible_rate("USDT", "0.085", at=SECOND)

    assert rate(0, rate_type="flexible", at=TEN) == Decimal("0.08")
    assert rate(9, rate_type="flexible", term_days=60, at=SECOND) == Decimal("0.085")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"effective_at": TEN}, "00:00 UTC"),
        ({"at": FIRST + timedelta(microseconds=1)}, "backdated"),
        ({"term_days": 45}, "30 or 60 days"),
        ({"vip_level": 10}, "0 to 9"),
        ({"vip_level": -1}, "0 to 9"),
        ({"rate": "10"}, "fraction"),
        ({"rate": "-0.01"}, "fraction"),
        ({"rate": "NaN"}, "fraction"),
        ({"rate": "0.0000000000001"}, "12 decimals"),
    ],
)
def test_cards_that_cannot_be_published(changes: dict[str, Any], words: str) -> None:
    """R-VIP-18, R-GEN-53"""
    with pytest.raises(BadCard, match=words):
        publish(**changes)

    assert RateCard.objects.count() == 0


def test_a_card_is_published_once_and_names_who_did() -> None:
    """TRUST I-21, I-31"""
    card = publish()

    with pytest.raises(BadCard, match="already has a card"):
        publish("0.09")

    assert rate() == Decimal("0.084")
    row = AuditRecord.objects.get(subject=f"loans_ratecard:{card.pk}")
    assert (row.actor, row.reason) == (BUILDER.label, "Weekly review")


def test_a_coin_that_is_not_lent_has_no_card() -> None:
    with pytest.raises(BadCard, match="NOPE"):
        ratecards.publish_card(
            product="vip",
            asset="NOPE",
            term_days=30,
            vip_level=1,
            annual_rate=Decimal("0.1"),
            effective_at=FIRST,
            actor=BUILDER,
            at=LONG_AGO,
        )


def test_product_terms_start_as_the_defaults_and_change_by_date() -> None:
    """RULES section 12"""
    ratecards.publish_product(code="vip", effective_at=SECOND, max_coins=5, actor=BUILDER, at=TEN)

    before, after = (ratecards.product_at("vip", at=at) for at in (TEN, SECOND))

    assert (before.pk, before.max_coins, before.overdue_hours, before.renewal_days) == (None, 10, 168, 7)
    assert (after.max_coins, after.max_accounts, after.first_minimum) == (5, 50, 500000)


def test_what_is_not_given_stays_as_in_force() -> None:
    """RULES section 12, R-VIP-11, R-VIP-12, R-VIP-18, R-VIP-44"""
    third = SECOND + timedelta(days=1)
    lines = {
        "auto_approve_usd": Decimal(100000),
        "auto_approve_ltv": Decimal("0.5"),
        "four_eyes_usd": Decimal(10**6),
    }
    hours = {"offer_hours": 12, "quote_hours": 48, "call_notice_hours": 36}
    ratecards.publish_product(code="vip", effective_at=SECOND, actor=BUILDER, at=TEN, **lines, **hours)
    ratecards.publish_product(code="vip", effective_at=third, max_coins=3, actor=BUILDER, at=TEN)

    before, after = (ratecards.product_at("vip", at=at) for at in (TEN, third))

    assert (before.offer_hours, before.quote_hours, before.call_notice_hours) == (24, 72, 24)
    assert (before.auto_approve_usd, before.auto_approve_ltv, before.four_eyes_usd) == (
        0,
        Decimal("0.65"),
        5000000,
    )
    assert {name: getattr(after, name) for name in (*lines, *hours)} == lines | hours
    assert (after.max_coins, after.first_minimum) == (3, 500000)


@pytest.mark.parametrize(
    "changes",
    [
        {"effective_at": TEN - timedelta(seconds=1)},
        {"max_coins": 0},
        {"offer_hours": 0},
        {"quote_hours": 0},
        {"call_notice_hours": 23},
        {"auto_approve_usd": Decimal(-1)},
        {"auto_approve_ltv": Decimal(1)},
        {"late_multiplier": 0},
        {"renewal_days": 30},
        {"later_minimum": Decimal(600000)},
        {"first_minimum": Decimal(-1), "later_minimum": Decimal(-2)},
    ],
)
def test_product_terms_that_cannot_be_published(changes: dict[str, Any]) -> None:
    with pytest.raises(BadProductTerms):
        ratecards.publish_product(
            **({"code": "vip", "effective_at": SECOND, "actor": BUILDER, "at": TEN} | changes)
        )

    assert Product.objects.count() == 0
