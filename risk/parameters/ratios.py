"""Publish collateral ratios: at once, or as a ramp that moves a little every day so that nobody falls off an edge.

A coin's new ratios lower or raise every LTV that it secures at one instant. A ramp of N days publishes N dated
schedules between the ratios in force and the target instead (R-GEN-36).
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from accounts.commands import Actor, FourEyes, command
from accounts.models import Asset
from accounts.money import RATE_PLACES, divide_down, exact
from accounts.words import tell
from risk.models import CollateralTier, RatioSchedule
from risk.parameters.checks import (
    BadParameter,
    check_rate,
    check_usd,
    check_whole,
    known_asset,
    publish,
    starts_at,
)
from risk.parameters.in_force import terms_at
from risk.valuation import Tier, Tiers, check_tiers

HIGHEST_RANK = 9_999
LONGEST_RAMP_DAYS = 365
DAY = timedelta(days=1)
LAST_RAMP = datetime.max.replace(tzinfo=UTC) - LONGEST_RAMP_DAYS * DAY


@command("risk.publish_ratios", returns=RatioSchedule, four_eyes=FourEyes())
def publish_ratios(
    *,
    asset: Asset | str,
    tiers: Sequence[tuple[Decimal, Decimal]],
    effective_at: datetime | None = None,
    rank: int = 100,
    ramp_days: int = 0,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> RatioSchedule:
    """Publish a coin's collateral ratios as (floor in USD of market value, ratio from there up) (R-GEN-30, 31).

    With `ramp_days` they are reached in as many equal daily steps, the first at `effective_at`, ratios rounded
    down to 12 decimals. Returns the schedule of the target, the last of them (R-GEN-36).
    """
    starts = starts_at(effective_at, at)
    target = _checked(tiers)
    check_whole("rank", rank, least=0, most=HIGHEST_RANK)
    check_whole("ramp_days", ramp_days, least=0, most=LONGEST_RAMP_DAYS)
    symbol = known_asset(asset)
    steps = [target] if ramp_days <= 1 else _ramp(symbol, target, starts=starts, days=ramp_days)
    rows = [
        publish(
            RatioSchedule(
                asset_id=symbol, effective_at=starts + day * DAY, announced_at=at, liquidation_rank=rank
            )
        )
        for day in range(len(steps))
    ]
    CollateralTier.objects.bulk_create(
        CollateralTier(schedule=row, floor=tier.floor, ratio=tier.ratio)
        for row, step in zip(rows, steps, strict=True)
        for tier in step
    )
    return rows[-1]


@exact
def ramp_steps(*, before: Tiers, target: Tiers, days: int) -> list[Tiers]:
    """The tiers of each day from `before` (exclusive) to `target`: floors of both, ratios rounded down. R-GEN-36"""
    floors = sorted({tier.floor for tier in (*before, *target)})
    return [
        tuple(
            Tier(
                floor=floor,
                ratio=divide_down(
                    ratio_from(before, floor) * (days - day) + ratio_from(target, floor) * day,
                    Decimal(days),
                    RATE_PLACES,
                ),
            )
            for floor in floors
        )
        for day in range(1, days)
    ] + [target]


def ratio_from(tiers: Tiers, floor: Decimal) -> Decimal:
    """The ratio of the slice that begins at `floor`."""
    return next(tier.ratio for tier in reversed(tiers) if tier.floor <= floor)


def _checked(tiers: Sequence[tuple[Decimal, Decimal]]) -> Tiers:
    if not tiers:
        raise BadParameter(tell("A coin needs at least one tier, from 0 up; a ratio of 0 counts nothing."))
    for floor, ratio in tiers:
        check_usd("tier floor", floor)
        check_rate("tier ratio", ratio)
    found = tuple(Tier(floor=floor, ratio=ratio) for floor, ratio in tiers)
    try:
        check_tiers(found)
    except ValueError as error:
        raise BadParameter(str(error)) from error
    return found


def _ramp(symbol: str, target: Tiers, *, starts: datetime, days: int) -> list[Tiers]:
    """A ramp leaves from what is in force, and nothing else may take over while it runs."""
    if starts > LAST_RAMP:
        raise BadParameter(
            tell(
                "A ramp cannot start in {year}; its last day would be after the calendar's.", year=starts.year
            )
        )
    before = terms_at(starts, [symbol]).get(symbol)
    if before is None:
        raise BadParameter(
            tell("{symbol} has no ratios in force from which a ramp could start.", symbol=symbol)
        )
    ends = starts + (days - 1) * DAY
    between = RatioSchedule.objects.filter(asset=symbol, effective_at__range=(starts, ends))
    other = between.order_by("effective_at").first()
    if other is not None:
        raise BadParameter(
            tell(
                "{symbol} has other ratios from {effective_at:%Y-%m-%d %H:%M} UTC, inside the ramp"
                " from {starts:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC.",
                symbol=symbol,
                effective_at=other.effective_at,
                starts=starts,
                ends=ends,
            )
        )
    return ramp_steps(before=before.tiers, target=target, days=days)
