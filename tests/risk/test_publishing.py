"""What publishing a parameter leaves behind, and what cannot be published."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import Error, models, transaction

from accounts.models import AuditRecord
from risk import parameters
from risk.levels import Lines
from risk.models import CollateralTier, FeedRule, FlexibleRate, Limits, LoanLimit, RatioSchedule, Settings
from risk.parameters import AlreadyPublished, Backdated, BadParameter
from tests import build
from tests.build import BUILDER, NOON

SECOND = timedelta(seconds=1)
MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)


def lines(
    initial: str = "0.72",
    margin_call: str = "0.77",
    liquidation: str = "0.91",
    cutoff: str = "0.95",
    fee: str = "0.02",
) -> Lines:
    return Lines(*map(Decimal, (initial, margin_call, liquidation, cutoff, fee)))


Publish = Callable[..., models.Model]
ONE_OF_EACH: dict[str, tuple[type[models.Model], Publish, dict[str, Any]]] = {
    "settings": (Settings, parameters.publish_settings, {"confirm_seconds": 1}),
    "feed rule": (FeedRule, parameters.publish_feed_rule, {}),
    "limits": (Limits, parameters.publish_limits, {"product": "vip", "lines": lines()}),
    "ratios": (
        RatioSchedule,
        parameters.publish_ratios,
        {"asset": "BTC", "tiers": [(Decimal(0), Decimal(1))]},
    ),
    "loan limit": (
        LoanLimit,
        parameters.publish_loan_limit,
        {"product": "vip", "asset": "BTC", "minimum": Decimal(100), "maximum": Decimal(1000)},
    ),
    "flexible rate": (
        FlexibleRate,
        parameters.publish_flexible_rate,
        {"product": "vip", "asset": "BTC", "annual_rate": Decimal("0.05")},
    ),
}
each_kind = pytest.mark.parametrize("kind", list(ONE_OF_EACH))


@each_kind
def test_nothing_can_be_backdated_not_even_by_a_second(db: None, kind: str) -> None:
    """R-GEN-36, R-VIP-18"""
    model, publish, values = ONE_OF_EACH[kind]
    build.asset("BTC")
    with pytest.raises(Backdated, match="cannot be backdated"):
        publish(**values, effective_at=MIDNIGHT, actor=BUILDER, at=MIDNIGHT + SECOND)
    assert not model._default_manager.exists()
    publish(**values, effective_at=MIDNIGHT, actor=BUILDER, at=MIDNIGHT)
    assert model._default_manager.count() == 1


@each_kind
def test_one_instant_has_one_row(db: None, kind: str) -> None:
    model, publish, values = ONE_OF_EACH[kind]
    build.asset("BTC")
    publish(**values, effective_at=MIDNIGHT, actor=BUILDER, at=NOON)
    with pytest.raises(AlreadyPublished):
        publish(**values, effective_at=MIDNIGHT, actor=BUILDER, at=NOON)
    assert model._default_manager.count() == 1


@each_kind
def test_every_publication_is_signed_and_reasoned_and_stays(db: None, kind: str) -> None:
    """TRUST I-21, I-31"""
    model, publish, values = ONE_OF_EACH[kind]
    build.asset("BTC")
    row = publish(**values, effective_at=MIDNIGHT, actor=BUILDER, at=NOON, reason="as the committee decided")

    told = AuditRecord.objects.get(subject=f"{model._meta.db_table}:{row.pk}")
    assert (told.actor, told.kind, told.reason) == (BUILDER.label, "insert", "as the committee decided")
    with pytest.raises(Error), transaction.atomic():
        model._default_manager.filter(pk=row.pk).update(effective_at=NOON)
    with pytest.raises(Error), transaction.atomic():
        model._default_manager.filter(pk=row.pk).delete()


@each_kind
def test_a_repeat_of_the_same_request_gets_the_first_row(db: None, kind: str) -> None:
    """R-GEN-06"""
    model, publish, values = ONE_OF_EACH[kind]
    build.asset("BTC")
    rows = [publish(**values, effective_at=MIDNIGHT, actor=BUILDER, at=NOON, key="k1") for _ in range(2)]
    assert rows[0] == rows[1]
    assert model._default_manager.count() == 1


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        ("settings", {"confirm_seconds": -1}),
        ("settings", {"call_repeat_seconds": 366 * 86400 + 1}),
        ("settings", {"hysteresis": Decimal("-0.001")}),
        ("settings", {"hysteresis": Decimal("NaN")}),
        ("settings", {"slippage": Decimal(1)}),
        ("settings", {"slippage": Decimal("0.0000000000001")}),
        ("feed rule", {"asset": "NOSUCH"}),
        ("feed rule", {"max_age_seconds": 0}),
        ("feed rule", {"max_jump": Decimal("-0.1")}),
        ("feed rule", {"min_sources": 0}),
        ("feed rule", {"floor": Decimal(2), "ceiling": Decimal(2)}),
        ("feed rule", {"floor": Decimal("Infinity")}),
        ("feed rule", {"ceiling": Decimal("-1")}),
        ("limits", {"product": "margin"}),
        ("limits", {"asset": "NOSUCH"}),
        ("limits", {"lines": lines("0.7200000000001")}),
        ("limits", {"lines": lines("0.1", "0.2", "0.3", "0.4", fee="1")}),
        ("ratios", {"tiers": []}),
        ("ratios", {"tiers": [(Decimal(1), Decimal(1))]}),
        ("ratios", {"tiers": [(Decimal(0), Decimal(1)), (Decimal(0), Decimal("0.5"))]}),
        ("ratios", {"tiers": [(Decimal(0), Decimal("1.01"))]}),
        ("ratios", {"tiers": [(Decimal(0), Decimal("-0.01"))]}),
        ("ratios", {"tiers": [(Decimal("NaN"), Decimal(1))]}),
        ("ratios", {"rank": -1}),
        ("ratios", {"asset": "NOSUCH"}),
        ("loan limit", {"minimum": Decimal(1001)}),
        ("loan limit", {"minimum": Decimal(-1)}),
        ("loan limit", {"maximum": Decimal(10) ** 18}),
        ("loan limit", {"maximum": Decimal("1e999")}),
        ("loan limit", {"vip_level": 10}),
        ("loan limit", {"product": ""}),
        ("flexible rate", {"annual_rate": Decimal(10)}),
        ("flexible rate", {"annual_rate": Decimal("-0.01")}),
        ("flexible rate", {"annual_rate": Decimal("sNaN")}),
        ("flexible rate", {"asset": "btc"}),
    ],
)
def test_a_value_that_cannot_be_is_refused_and_nothing_is_published(
    db: None, kind: str, wrong: dict[str, Any]
) -> None:
    model, publish, values = ONE_OF_EACH[kind]
    build.asset("BTC")
    with pytest.raises(BadParameter):
        publish(**values | wrong, effective_at=MIDNIGHT, actor=BUILDER, at=NOON)
    assert not model._default_manager.exists()
    assert not CollateralTier.objects.exists()


def test_lines_for_a_coin_of_one_customer_do_not_exist(db: None) -> None:
    """R-GEN-42"""
    build.asset("BTC")
    with pytest.raises(BadParameter, match="not for both"):
        parameters.publish_limits(
            product="vip",
            lines=lines(),
            asset="BTC",
            customer=build.customer(),
            effective_at=NOON,
            actor=BUILDER,
            at=NOON,
        )
    assert not Limits.objects.exists()


@pytest.mark.parametrize(
    "wrong",
    [
        {"initial": "0.77"},
        {"margin_call": "0.91"},
        {"liquidation": "0.95"},
        {"cutoff": "0.98039216"},
        {"initial": "0"},
        {"fee": "-0.01"},
        {"fee": "0.06"},
    ],
)
def test_lines_out_of_order_cannot_be_made_nor_stored(db: None, wrong: dict[str, str]) -> None:
    """R-GEN-43, EX-12: in Python and, past it, in the database."""
    with pytest.raises(ValueError, match=r"must rise|no room"):
        lines(**wrong)
    given = {
        "initial": "0.72",
        "margin_call": "0.77",
        "liquidation": "0.91",
        "cutoff": "0.95",
        "fee": "0.02",
    } | wrong
    fee = given.pop("fee")
    with pytest.raises(Error, match=r"lines_in_order|a_sale_at_the_cutoff"), transaction.atomic():
        build.limits(*given.values(), fee=fee)
    assert not Limits.objects.exists()
