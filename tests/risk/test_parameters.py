"""Parameters are facts with dates: which settings, ratios, limits and rates are in force when."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from pytest_django import DjangoAssertNumQueries

from risk import parameters
from risk.interest import RateStep
from risk.models import CollateralTier, FlexibleRate, LoanLimit, Settings
from risk.parameters import BadParameter, NotPublished
from risk.valuation import Tier
from tests import build
from tests.build import BUILDER, NOON

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)
MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)
SIGNED = {"actor": BUILDER, "at": NOON, "reason": "test"}


# --- Settings -----------------------------------------------------------------------------------------


def test_before_anything_is_published_the_defaults_hold(db: None) -> None:
    """R-GEN-23, 24, 61, 62: numbers, not the text that the model's defaults are."""
    row = parameters.settings_at(NOON)

    assert (row.pk, row.confirm_seconds, row.outage_seconds, row.outage_grace_seconds) == (None, 5, 600, 1800)
    assert (row.call_hold_seconds, row.call_repeat_seconds) == (60, 86400)
    assert (row.hysteresis, row.slippage) == (Decimal("0.005"), Decimal(0))
    assert isinstance(row.hysteresis, Decimal)


def test_settings_take_over_at_their_instant_and_keep_what_they_do_not_name(db: None) -> None:
    parameters.publish_settings(effective_at=NOON, confirm_seconds=1, actor=BUILDER, at=NOON)
    later = parameters.publish_settings(
        effective_at=NOON + DAY, hysteresis=Decimal("0.01"), slippage=Decimal(0), actor=BUILDER, at=NOON
    )

    assert parameters.settings_at(NOON - SECOND).confirm_seconds == 5
    assert parameters.settings_at(NOON).hysteresis == Decimal("0.005")
    assert parameters.settings_at(NOON + DAY) == later
    assert (later.confirm_seconds, later.hysteresis) == (1, Decimal("0.01"))
    assert Settings.objects.count() == 2


# --- Ratios -------------------------------------------------------------------------------------------


def publish_ratios(
    symbol: str, *tiers: tuple[str, str], effective_at: datetime = NOON, rank: int = 100
) -> None:
    parameters.publish_ratios(
        asset=symbol,
        tiers=[(Decimal(floor), Decimal(ratio)) for floor, ratio in tiers],
        rank=rank,
        effective_at=effective_at,
        **SIGNED,
    )


def test_ratios_take_over_whole_at_their_instant(db: None) -> None:
    """R-GEN-30, 31, 36: tiers of two schedules never mix."""
    build.asset("BTC")
    publish_ratios("BTC", ("0", "1"), ("10000000", "0.8"), rank=10)
    publish_ratios("BTC", ("0", "0.95"), effective_at=NOON + DAY, rank=20)

    first, second = parameters.terms_at(NOON)["BTC"], parameters.terms_at(NOON + DAY)["BTC"]

    assert parameters.terms_at(NOON - SECOND) == {}
    assert first.tiers == (Tier(Decimal(0), Decimal(1)), Tier(Decimal(10_000_000), Decimal("0.8")))
    assert first.rank == 10
    assert (second.tiers, second.rank) == ((Tier(Decimal(0), Decimal("0.95")),), 20)


def test_tiers_come_in_order_however_they_were_stored(db: None) -> None:
    schedule = build.ratios("BTC", ("10", "0.5"), ("0", "1"))
    assert [tier.floor for tier in parameters.terms_at(NOON)["BTC"].tiers] == [0, 10]
    assert CollateralTier.objects.filter(schedule=schedule).count() == 2


def test_a_coin_not_flagged_as_collateral_or_without_ratios_counts_nothing(db: None) -> None:
    """R-GEN-33"""
    build.asset("DOGE", collateral=False)
    build.ratios("DOGE")
    build.ratios("BTC")
    build.asset("ETH")

    assert set(parameters.terms_at(NOON)) == {"BTC"}
    assert parameters.terms_at(NOON, assets=["DOGE", "ETH"]) == {}


def test_the_terms_of_any_number_of_coins_are_one_query(
    db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(10):
        build.ratios(f"C{number}", ("0", "1"), ("5", "0.5"))
    with django_assert_num_queries(1):
        assert len(parameters.terms_at(NOON, assets=(f"C{number}" for number in range(9)))) == 9


# --- Loan limits --------------------------------------------------------------------------------------


def publish_loan_limit(
    minimum: str = "100",
    maximum: str = "1000000",
    *,
    vip_level: int | None = None,
    effective_at: datetime = NOON,
) -> LoanLimit:
    return parameters.publish_loan_limit(
        product="vip",
        asset="USDT",
        minimum=Decimal(minimum),
        maximum=Decimal(maximum),
        vip_level=vip_level,
        effective_at=effective_at,
        **SIGNED,
    )


def find_limit(vip_level: int, at: datetime = NOON) -> LoanLimit | None:
    return parameters.loan_limit(product="vip", asset="USDT", vip_level=vip_level, at=at)


def test_a_vip_levels_own_limit_beats_the_one_for_all_even_if_older(db: None) -> None:
    """R-VIP-06"""
    build.asset("USDT")
    own = publish_loan_limit(vip_level=3)
    for_all = publish_loan_limit(effective_at=NOON + SECOND)
    newer = publish_loan_limit("1", "2", vip_level=3, effective_at=NOON + DAY)

    assert find_limit(3, at=NOON + SECOND) == own
    assert find_limit(3, at=NOON + DAY) == newer
    assert find_limit(2, at=NOON + DAY) == for_all
    assert find_limit(2) is None
    assert parameters.loan_limit(product="vip", asset=build.asset("BTC"), vip_level=3, at=NOON + DAY) is None


# --- Flexible rates -----------------------------------------------------------------------------------


def publish_rate(annual: str, effective_at: datetime = MIDNIGHT, *, asset: str = "USDT") -> FlexibleRate:
    return parameters.publish_flexible_rate(
        product="vip", asset=asset, annual_rate=Decimal(annual), effective_at=effective_at, **SIGNED
    )


def test_the_flexible_rate_in_force_and_its_whole_history(db: None) -> None:
    """R-GEN-53, R-VIP-23, EX-02: 8, 9 and 7.5 % on three days."""
    build.asset("BTC")
    days = {
        build.asset("USDT").pk: [("0.08", MIDNIGHT), ("0.09", MIDNIGHT + DAY), ("0.075", MIDNIGHT + 2 * DAY)]
    }
    for annual, since in reversed(days["USDT"]):
        publish_rate(annual, since)

    assert parameters.flexible_steps("vip", ["USDT", "BTC"]) == {
        "USDT": [RateStep(since, Decimal(annual)) for annual, since in days["USDT"]]
    }
    for annual, since in days["USDT"]:
        for at in (since, since + DAY - SECOND):
            assert parameters.flexible_rate(product="vip", asset="USDT", at=at) == Decimal(annual)


def test_a_coin_without_a_rate_yet_is_refused_in_words(db: None) -> None:
    build.asset("USDT")
    publish_rate("0.08")
    with pytest.raises(NotPublished, match="USDT has no flexible rate at 2026-01-01 23:59"):
        parameters.flexible_rate(product="vip", asset="USDT", at=MIDNIGHT - SECOND)


@pytest.mark.parametrize("late", [SECOND, timedelta(hours=12), timedelta(microseconds=1)])
def test_a_rate_starts_at_midnight_utc(db: None, late: timedelta) -> None:
    """R-GEN-53: so a day has one rate."""
    build.asset("USDT")
    with pytest.raises(BadParameter, match="00:00 UTC"):
        publish_rate("0.08", MIDNIGHT + late)
    assert not FlexibleRate.objects.exists()


def test_midnight_elsewhere_is_not_midnight_utc(db: None) -> None:
    build.asset("USDT")
    tokyo = datetime.fromisoformat("2026-01-03T00:00:00+09:00")
    with pytest.raises(BadParameter, match="not at 15:00:00"):
        publish_rate("0.08", tokyo)
    assert (
        publish_rate("0.08", datetime.fromisoformat("2026-01-03T09:00:00+09:00")).effective_at
        == MIDNIGHT + DAY
    )
