"""What publishing a parameter leaves behind, and what cannot be published."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from django.db import Error, models, transaction
from hypothesis import given
from hypothesis import strategies as st

from accounts.models import AuditRecord
from risk import parameters
from risk.handling import Mode
from risk.levels import Lines
from risk.models import (
    AssetCap,
    CollateralTier,
    FeedRule,
    FlexibleRate,
    HandlingRule,
    Limits,
    LoanLimit,
    MarketDepth,
    PaceLimit,
    RatioSchedule,
    Settings,
)
from risk.parameters import AlreadyPublished, Backdated, BadParameter
from risk.parameters.ratios import ramp_steps
from risk.valuation import Tier, Tiers, check_tiers, recognised
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
    "asset cap": (
        AssetCap,
        parameters.publish_asset_cap,
        {
            "product": "vip",
            "asset": "BTC",
            "platform_borrow": Decimal(10),
            "user_collateral": None,
            "platform_collateral": Decimal(0),
        },
    ),
    "handling": (HandlingRule, parameters.publish_handling, {"product": "vip", "mode": Mode.STEPPED}),
    "depth": (MarketDepth, parameters.publish_depth, {"asset": "BTC", "volume_usd": Decimal(10**9)}),
    "pace limit": (PaceLimit, parameters.publish_pace_limit, {"asset": "BTC", "most_usd": Decimal(10**6)}),
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
        ("settings", {"delay_hours": 0}),
        ("settings", {"early_warnings": [Decimal("0.7"), Decimal("0.7")]}),
        ("settings", {"early_warnings": [Decimal(0)]}),
        ("settings", {"early_warnings": [Decimal(1)]}),
        ("asset cap", {"asset": "NOSUCH"}),
        ("asset cap", {"platform_borrow": Decimal(-1)}),
        ("asset cap", {"user_collateral": Decimal("Infinity")}),
        ("handling", {"product": "margin"}),
        ("handling", {"target": Decimal(1)}),
        ("handling", {"step_share": Decimal(0)}),
        ("handling", {"step_share": Decimal("1.1")}),
        ("handling", {"full_below_usd": Decimal("NaN")}),
        ("handling", {"ends_at": MIDNIGHT + SECOND}),
        ("depth", {"volume_usd": Decimal(-1)}),
        ("depth", {"max_share": Decimal("1.1")}),
        ("loan limit", {"user_maximum": Decimal("NaN")}),
        ("ratios", {"ramp_days": -1}),
        ("ratios", {"ramp_days": 366}),
        ("ratios", {"ramp_days": 2}),
        ("limits", {"ends_at": MIDNIGHT + SECOND}),
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


# --- In force as soon as published, and until it ends ---------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind in ONE_OF_EACH if kind != "flexible rate"])
def test_without_a_date_it_is_in_force_at_once(db: None, kind: str) -> None:
    """R-GEN-36, R-ADM-03"""
    _, publish, values = ONE_OF_EACH[kind]
    build.asset("BTC")
    assert publish(**values, actor=BUILDER, at=NOON).effective_at == NOON


def test_a_customers_lines_end_and_the_wider_scope_counts_again(db: None) -> None:
    """R-GEN-42, R-ADM-02: and not the customer's row from before."""
    owner = build.customer()
    build.limits()
    ends = NOON + timedelta(days=10)
    for starts, own in ((NOON, "0.5"), (NOON + SECOND, "0.6")):
        parameters.publish_limits(
            product="vip",
            lines=lines(own),
            customer=owner,
            effective_at=starts,
            ends_at=None if own == "0.5" else ends,
            actor=BUILDER,
            at=NOON,
        )

    def initial(at: datetime) -> Decimal:
        return parameters.lines_for(product="vip", customer=owner, assets=(), at=at).initial

    assert [initial(at) for at in (NOON - SECOND, NOON, NOON + SECOND, ends - SECOND, ends)] == [
        Decimal(each) for each in ("0.72", "0.5", "0.6", "0.6", "0.72")
    ]
    with pytest.raises(BadParameter, match="cannot end"):
        parameters.publish_limits(
            product="vip", lines=lines(), customer=owner, ends_at=NOON, actor=BUILDER, at=NOON
        )


def test_lines_out_of_order_are_refused_in_words() -> None:
    """R-GEN-43, EX-12: 95.1 % with a fee of 5.2 % would make LTV worse by selling."""
    with pytest.raises(ValueError, match="must rise: 0 < initial < margin call < liquidation < cut-off"):
        lines(margin_call="0.72")
    with pytest.raises(ValueError, match="leaves no room for a fee of 5.2 %"):
        lines(cutoff="0.951", fee="0.052")
    lines(cutoff="0.98", fee="0.02")


def test_lines_out_of_order_are_refused_by_the_database_too(db: None) -> None:
    """R-GEN-43"""
    for wrong in (("0.72", "0.72", "0.91", "0.95"), ("0.72", "0.77", "0.91", "0.99")):
        with pytest.raises(Error, match="lines_in_order|still_helps"), transaction.atomic():
            build.limits(*wrong)


# --- A ramp ---------------------------------------------------------------------------------------------


def published() -> list[tuple[datetime, list[tuple[Decimal, Decimal]]]]:
    return [
        (row.effective_at, list(row.tiers.order_by("floor").values_list("floor", "ratio")))
        for row in RatioSchedule.objects.filter(announced_at=NOON).order_by("effective_at")
    ]


def test_a_ramp_publishes_a_schedule_a_day_that_moves_evenly_to_the_target(db: None) -> None:
    """R-GEN-36: 1 up to 1 m and 0.8 above become 0.9 up to 2 m and 0.7 above in three days; thirds are rounded down."""
    build.ratios("BTC", ("0", "1"), ("1000000", "0.8"))

    last = parameters.publish_ratios(
        asset="BTC",
        tiers=[(Decimal(0), Decimal("0.9")), (Decimal(2_000_000), Decimal("0.7"))],
        effective_at=MIDNIGHT,
        ramp_days=3,
        rank=7,
        actor=BUILDER,
        at=NOON,
    )

    day = timedelta(days=1)

    def step(*each: tuple[int, str]) -> list[tuple[Decimal, Decimal]]:
        return [(Decimal(floor), Decimal(ratio)) for floor, ratio in each]

    assert published() == [
        (MIDNIGHT, step((0, "0.966666666666"), (1_000_000, "0.833333333333"), (2_000_000, "0.766666666666"))),
        (
            MIDNIGHT + day,
            step((0, "0.933333333333"), (1_000_000, "0.866666666666"), (2_000_000, "0.733333333333")),
        ),
        (MIDNIGHT + 2 * day, step((0, "0.9"), (2_000_000, "0.7"))),
    ]
    assert last.effective_at == MIDNIGHT + 2 * day
    assert set(
        RatioSchedule.objects.filter(announced_at=NOON).values_list("liquidation_rank", flat=True)
    ) == {7}


def test_nothing_else_takes_over_inside_a_ramp(db: None) -> None:
    """R-GEN-36: refused, and no step of it is left."""
    build.ratios("BTC", ("0", "1"))
    build.ratios("BTC", ("0", "0.5"), at=MIDNIGHT + timedelta(days=2))
    with pytest.raises(BadParameter, match="inside the ramp"):
        parameters.publish_ratios(
            asset="BTC",
            tiers=[(Decimal(0), Decimal("0.9"))],
            effective_at=MIDNIGHT,
            ramp_days=3,
            actor=BUILDER,
            at=NOON,
        )
    assert published() == []


def test_a_ramp_ends_before_the_calendar_does(db: None) -> None:
    """R-GEN-36: a slip of the pen in the year is refused in words."""
    build.ratios("BTC", ("0", "1"))
    with pytest.raises(BadParameter, match="cannot start in 9999"):
        parameters.publish_ratios(
            asset="BTC",
            tiers=[(Decimal(0), Decimal("0.9"))],
            effective_at=datetime(9999, 12, 31, tzinfo=UTC),
            ramp_days=2,
            actor=BUILDER,
            at=NOON,
        )
    assert published() == []


some_tiers = st.lists(st.integers(1, 10**9), max_size=4, unique=True).flatmap(
    lambda floors: st.lists(
        st.decimals(0, 1, places=12), min_size=len(floors) + 1, max_size=len(floors) + 1
    ).map(
        lambda ratios: tuple(
            Tier(Decimal(floor), ratio) for floor, ratio in zip([0, *sorted(floors)], ratios, strict=True)
        )
    )
)


@given(before=some_tiers, target=some_tiers, days=st.integers(2, 60), value=st.integers(0, 2 * 10**9))
def test_a_ramp_goes_one_way_and_never_beyond_its_ends(
    before: Tiers, target: Tiers, days: int, value: int
) -> None:
    """R-GEN-36: whatever the tiers, what a value counts for moves steadily from the one to the other."""
    steps = ramp_steps(before=before, target=target, days=days)
    assert len(steps) == days
    assert steps[-1] == target
    for step in steps:
        check_tiers(step)
    ends = [recognised(market_value=Decimal(value), tiers=each) for each in (before, target)]
    path = [recognised(market_value=Decimal(value), tiers=each) for each in [before, *steps]]
    slack = Decimal(value).scaleb(-11)  # ratios are rounded down at 12 decimals
    for earlier, later in pairwise(path if ends[0] <= ends[1] else path[::-1]):
        assert earlier <= later + slack
    assert all(min(ends) - slack <= each <= max(ends) + slack for each in path)
