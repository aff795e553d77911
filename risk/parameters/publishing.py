"""Publish parameters: one command per kind of row.

Nothing can be backdated, or yesterday's decisions would stand on today's numbers (R-GEN-36, R-VIP-18). Every
command refuses with Backdated, AlreadyPublished or BadParameter, and then nothing is published.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import TypeVar

from django.db import IntegrityError, models, transaction
from psycopg import errors

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Asset, Customer
from accounts.money import ONE, RATE_PLACES, round_down
from risk.levels import Lines
from risk.models import (
    CollateralGroup,
    CollateralTier,
    FeedRule,
    FlexibleRate,
    Limits,
    LoanLimit,
    ProductCode,
    RatioSchedule,
    Settings,
)
from risk.parameters.in_force import LINE_NAMES, settings_at
from risk.valuation import Tier, check_tiers

USD_PLACES = 18
USD_BOUND = Decimal(10) ** 18  # exclusive; far above the worth of any coin's whole supply
RATE_BOUND = Decimal(10)  # exclusive; 1,000 % a year
LONGEST_WAIT_SECONDS = 366 * 86_400
MOST_SOURCES = 100
HIGHEST_RANK = 9_999
HIGHEST_VIP_LEVEL = 9

Row = TypeVar("Row", bound=models.Model)


class Backdated(Refused):
    """A parameter would change the past."""

    code = "backdated"


class AlreadyPublished(Refused):
    """There is a row of this scope from this very instant."""

    code = "already_published"


class BadParameter(Refused):
    """A value that no parameter of its kind can have."""

    code = "bad_parameter"


@command("risk.publish_settings", returns=Settings)
def publish_settings(
    *,
    effective_at: datetime,
    confirm_seconds: int | None = None,
    outage_seconds: int | None = None,
    outage_grace_seconds: int | None = None,
    call_hold_seconds: int | None = None,
    call_repeat_seconds: int | None = None,
    hysteresis: Decimal | None = None,
    slippage: Decimal | None = None,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> Settings:
    """Publish the engine's waits and tolerances; what is not given stays as in force at `effective_at`."""
    _refuse_backdated(effective_at, at)
    waits = {
        "confirm_seconds": confirm_seconds,
        "outage_seconds": outage_seconds,
        "outage_grace_seconds": outage_grace_seconds,
        "call_hold_seconds": call_hold_seconds,
        "call_repeat_seconds": call_repeat_seconds,
    }
    shares = {"hysteresis": hysteresis, "slippage": slippage}
    for name, seconds in waits.items():
        if seconds is not None:
            _check_whole(name, seconds, least=0, most=LONGEST_WAIT_SECONDS)
    for name, share in shares.items():
        if share is not None:
            _check_rate(name, share, bound=ONE)
    row = settings_at(effective_at)
    row.pk, row.effective_at = None, effective_at
    for name, value in (waits | shares).items():
        if value is not None:
            setattr(row, name, value)
    return _publish(row)


@command("risk.publish_feed_rule", returns=FeedRule)
def publish_feed_rule(
    *,
    effective_at: datetime,
    asset: Asset | str | None = None,
    max_age_seconds: int = 60,
    max_jump: Decimal = Decimal("0.3"),
    min_sources: int = 1,
    floor: Decimal | None = None,
    ceiling: Decimal | None = None,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> FeedRule:
    """Publish what makes a price of `asset` believable, or of every coin without a rule of its own (R-GEN-21)."""
    _refuse_backdated(effective_at, at)
    _check_whole("max_age_seconds", max_age_seconds, least=1, most=LONGEST_WAIT_SECONDS)
    _check_whole("min_sources", min_sources, least=1, most=MOST_SOURCES)
    _check_rate("max_jump", max_jump)
    for name, bound in (("floor", floor), ("ceiling", ceiling)):
        if bound is not None:
            _check_usd(name, bound)
    if floor is not None and ceiling is not None and floor >= ceiling:
        raise BadParameter(f"The floor {floor} is not below the ceiling {ceiling}.")
    return _publish(
        FeedRule(
            asset_id=None if asset is None else _known(asset),
            effective_at=effective_at,
            max_age_seconds=max_age_seconds,
            max_jump=max_jump,
            min_sources=min_sources,
            floor=floor,
            ceiling=ceiling,
        )
    )


@command("risk.publish_limits", returns=Limits)
def publish_limits(
    *,
    product: str,
    lines: Lines,
    effective_at: datetime,
    asset: Asset | str | None = None,
    customer: Customer | None = None,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> Limits:
    """Publish the lines of a product, of one of its coins, or of one customer (R-GEN-42, R-GEN-43).

    A group's own lines are not published but signed, see `sign_lines`.
    """
    _refuse_backdated(effective_at, at)
    if asset is not None and customer is not None:
        raise BadParameter("Lines are for a coin or for a customer, not for both at once.")
    row = _limits(product, lines, effective_at)
    row.asset_id = None if asset is None else _known(asset)
    row.customer = customer
    return _publish(row)


def sign_lines(*, group: CollateralGroup, lines: Lines, at: datetime) -> Limits:
    """Fix the lines of a group as its borrower accepted them; inside a command (R-GEN-42).

    They stand until others are signed, whatever is published meanwhile. Signing the same again changes nothing
    and returns the row that stands.
    """
    signed = Limits.objects.filter(group=group, product=group.product, effective_at__lte=at)
    standing = signed.order_by("-effective_at").first()
    if standing is not None and all(getattr(standing, name) == getattr(lines, name) for name in LINE_NAMES):
        return standing
    row = _limits(group.product, lines, at)
    row.group = group
    return _publish(row)


@command("risk.publish_ratios", returns=RatioSchedule)
def publish_ratios(
    *,
    asset: Asset | str,
    tiers: Sequence[tuple[Decimal, Decimal]],
    effective_at: datetime,
    rank: int = 100,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> RatioSchedule:
    """Publish a coin's collateral ratios as (floor in USD of market value, ratio from there up) (R-GEN-30, 31)."""
    _refuse_backdated(effective_at, at)
    if not tiers:
        raise BadParameter("A coin needs at least one tier, from 0 up; a ratio of 0 counts nothing.")
    _check_whole("rank", rank, least=0, most=HIGHEST_RANK)
    for floor, ratio in tiers:
        _check_usd("tier floor", floor)
        _check_rate("tier ratio", ratio)
    try:
        check_tiers(tuple(Tier(floor=floor, ratio=ratio) for floor, ratio in tiers))
    except ValueError as error:
        raise BadParameter(str(error)) from error
    row = _publish(RatioSchedule(asset_id=_known(asset), effective_at=effective_at, liquidation_rank=rank))
    CollateralTier.objects.bulk_create(
        CollateralTier(schedule=row, floor=floor, ratio=ratio) for floor, ratio in tiers
    )
    return row


@command("risk.publish_loan_limit", returns=LoanLimit)
def publish_loan_limit(
    *,
    product: str,
    asset: Asset | str,
    minimum: Decimal,
    maximum: Decimal,
    effective_at: datetime,
    vip_level: int | None = None,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> LoanLimit:
    """Publish how much of a coin, in USD, one order may borrow, for one VIP level or for all (R-VIP-06)."""
    _refuse_backdated(effective_at, at)
    _check_usd("minimum", minimum)
    _check_usd("maximum", maximum)
    if minimum > maximum:
        raise BadParameter(f"The minimum {minimum} is above the maximum {maximum}.")
    if vip_level is not None:
        _check_whole("vip_level", vip_level, least=0, most=HIGHEST_VIP_LEVEL)
    return _publish(
        LoanLimit(
            product=_product(product),
            asset_id=_known(asset),
            vip_level=vip_level,
            effective_at=effective_at,
            minimum=minimum,
            maximum=maximum,
        )
    )


@command("risk.publish_flexible_rate", returns=FlexibleRate)
def publish_flexible_rate(
    *,
    product: str,
    asset: Asset | str,
    annual_rate: Decimal,
    effective_at: datetime,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> FlexibleRate:
    """Publish the annual rate of a coin's flexible debts from a 00:00 UTC on, so a day has one rate (R-GEN-53)."""
    _refuse_backdated(effective_at, at)
    if effective_at.astimezone(UTC).time() != time():
        raise BadParameter(f"A rate starts at 00:00 UTC, not at {effective_at.astimezone(UTC):%H:%M:%S}.")
    _check_rate("annual_rate", annual_rate)
    return _publish(
        FlexibleRate(
            product=_product(product),
            asset_id=_known(asset),
            effective_at=effective_at,
            annual_rate=annual_rate,
        )
    )


def _publish(row: Row) -> Row:
    try:
        with transaction.atomic():
            row.save(force_insert=True)
    except IntegrityError as error:
        if not isinstance(error.__cause__, errors.UniqueViolation):
            raise
        raise AlreadyPublished(f"There is already a row from that very instant: {row}.") from error
    return row


def _limits(product: str, lines: Lines, effective_at: datetime) -> Limits:
    values = {name: getattr(lines, name) for name in LINE_NAMES}
    for name, value in values.items():
        _check_rate(name, value, bound=ONE if name == "fee" else RATE_BOUND)
    return Limits(product=_product(product), effective_at=effective_at, **values)


def _refuse_backdated(effective_at: datetime, at: datetime) -> None:
    if effective_at < at:
        raise Backdated(
            f"{effective_at:%Y-%m-%d %H:%M:%S} UTC is before {at:%Y-%m-%d %H:%M:%S} UTC;"
            " parameters cannot be backdated."
        )


def _product(code: str) -> str:
    if code not in ProductCode.values:
        raise BadParameter(f"There is no product {code!r}.")
    return code


def _known(asset: Asset | str) -> str:
    symbol: str = asset.pk if isinstance(asset, Asset) else asset
    if not Asset.objects.filter(pk=symbol).exists():
        raise BadParameter(f"There is no asset {symbol!r}.")
    return symbol


def _check_whole(name: str, value: int, *, least: int, most: int) -> None:
    if not least <= value <= most:
        raise BadParameter(f"{name} must be {least} to {most}, not {value}.")


def _check_rate(name: str, value: Decimal, *, bound: Decimal = RATE_BOUND) -> None:
    _check_number(name, value, bound=bound, places=RATE_PLACES)


def _check_usd(name: str, value: Decimal) -> None:
    _check_number(name, value, bound=USD_BOUND, places=USD_PLACES)


def _check_number(name: str, value: Decimal, *, bound: Decimal, places: int) -> None:
    """What the column would round, or take although it is no number, is refused instead."""
    if not value.is_finite() or not 0 <= value < bound or value != round_down(value, places):
        raise BadParameter(f"{name} must be 0 to below {bound} with at most {places} decimals, not {value}.")
