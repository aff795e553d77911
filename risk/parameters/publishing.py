"""Publish settings, price rules, lines and flexible rates: one command per kind of row.

Ratios are in `ratios.py`, amounts and handling in `caps.py`. Every command refuses with Backdated,
AlreadyPublished or BadParameter, and then nothing is published. Without `effective_at` a row is in force as soon
as it is published, which for one that needs four eyes is when it is released (R-ADM-03).
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

from accounts.commands import Actor, FourEyes, command
from accounts.models import Asset, Customer, User
from accounts.money import ONE, ZERO
from accounts.words import tell
from risk.levels import Lines
from risk.models import CollateralGroup, FeedRule, FlexibleRate, Limits, Settings
from risk.parameters.checks import (
    LONGEST_WAIT_SECONDS,
    RATE_BOUND,
    BadParameter,
    check_rate,
    check_usd,
    check_whole,
    known_asset,
    known_product,
    publish,
    refuse_strange_manager,
    starts_at,
)
from risk.parameters.in_force import LINE_NAMES, NotPublished, lines_for, settings_at

MOST_SOURCES = 100
LONGEST_DELAY_HOURS = 31 * 24
MOST_WARNINGS = 5
HIGHEST_LIQUIDATION = Decimal("0.91")  # above it a second person looks, whatever the default (R-ADM-03)

PRICERS = frozenset({User.Role.RISK_OFFICER, User.Role.FINANCE, User.Role.ADMIN})
RATES = FourEyes(makers=PRICERS, checkers=PRICERS)


@command("risk.publish_settings", returns=Settings, four_eyes=FourEyes())
def publish_settings(
    *,
    effective_at: datetime | None = None,
    confirm_seconds: int | None = None,
    outage_seconds: int | None = None,
    outage_grace_seconds: int | None = None,
    call_hold_seconds: int | None = None,
    call_repeat_seconds: int | None = None,
    hysteresis: Decimal | None = None,
    slippage: Decimal | None = None,
    delay_hours: int | None = None,
    delay_rest_hours: int | None = None,
    early_warnings: Sequence[Decimal] | None = None,
    soft_start_least: Decimal | None = None,
    soft_start_most: Decimal | None = None,
    soft_fee: Decimal | None = None,
    soft_step_seconds: int | None = None,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> Settings:
    """Publish the engine's waits and tolerances; what is not given stays as in force at `effective_at`.

    `early_warnings` are LTVs as fractions, rising, at which a borrower is warned before the margin call (R-GEN-64).
    `soft_…` bound the de-leveraging that a borrower may choose; what was chosen before stays chosen (R-FTR-05).
    """
    starts = starts_at(effective_at, at)
    waits = {
        "confirm_seconds": confirm_seconds,
        "outage_seconds": outage_seconds,
        "outage_grace_seconds": outage_grace_seconds,
        "call_hold_seconds": call_hold_seconds,
        "call_repeat_seconds": call_repeat_seconds,
        "soft_step_seconds": soft_step_seconds,
    }
    hours = {"delay_hours": delay_hours, "delay_rest_hours": delay_rest_hours}
    shares = {
        "hysteresis": hysteresis,
        "slippage": slippage,
        "soft_start_least": soft_start_least,
        "soft_start_most": soft_start_most,
        "soft_fee": soft_fee,
    }
    _check_settings(waits, hours, shares)
    warnings = None if early_warnings is None else _warnings(early_warnings)
    row = settings_at(starts)
    row.pk, row.effective_at = None, starts
    for name, value in (waits | hours | shares | {"early_warnings": warnings}).items():
        if value is not None:
            setattr(row, name, value)
    _check_soft_starts(row)
    return publish(row)


@command("risk.publish_feed_rule", returns=FeedRule, four_eyes=FourEyes())
def publish_feed_rule(
    *,
    effective_at: datetime | None = None,
    asset: Asset | str | None = None,
    max_age_seconds: int = 60,
    max_jump: Decimal = Decimal("0.3"),
    min_sources: int = 1,
    floor: Decimal | None = None,
    ceiling: Decimal | None = None,
    max_spread: Decimal = Decimal("0.03"),
    max_still_seconds: int | None = None,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> FeedRule:
    """Publish what makes a price of `asset` believable, or of every coin without a rule of its own (R-GEN-21).

    `max_spread` is how far sources may be apart, and from their median; `max_still_seconds` how long a price may stay
    the same before it is taken for a frozen feed, None for ever; a price on the `floor` itself is doubted.
    """
    starts = starts_at(effective_at, at)
    check_whole("max_age_seconds", max_age_seconds, least=1, most=LONGEST_WAIT_SECONDS)
    check_whole("min_sources", min_sources, least=1, most=MOST_SOURCES)
    check_rate("max_jump", max_jump)
    check_rate("max_spread", max_spread)
    if not max_spread:
        raise BadParameter("max_spread must be above 0: two sources never say quite the same.")
    if max_still_seconds is not None:
        check_whole("max_still_seconds", max_still_seconds, least=1, most=LONGEST_WAIT_SECONDS)
    for name, bound in (("floor", floor), ("ceiling", ceiling)):
        if bound is not None:
            check_usd(name, bound)
    if floor is not None and ceiling is not None and floor >= ceiling:
        raise BadParameter(
            tell("The floor {floor} is not below the ceiling {ceiling}.", floor=floor, ceiling=ceiling)
        )
    return publish(
        FeedRule(
            asset_id=None if asset is None else known_asset(asset),
            effective_at=starts,
            max_age_seconds=max_age_seconds,
            max_jump=max_jump,
            min_sources=min_sources,
            floor=floor,
            ceiling=ceiling,
            max_spread=max_spread,
            max_still_seconds=max_still_seconds,
        )
    )


def _limits_need_release(given: Mapping[str, Any]) -> bool:
    """Whether somebody gets easier lines or a lower fee than all get, whatever coin they owe (R-ADM-03).

    Always for more than one customer. A client's lines stand before those of coins, so the strictest count (R-GEN-42).
    """
    lines, product = given["lines"], given["product"]
    if given.get("customer") is None:
        return True
    coins = Limits.objects.filter(product=product, asset__isnull=False).values_list("asset_id", flat=True)
    try:
        defaults = [
            lines_for(product=product, customer=None, assets=owed, at=given["at"]) for owed in ((), coins)
        ]
    except NotPublished:
        return True
    risen = [name for name in LINE_NAMES if name != "fee"]
    looser = any(getattr(lines, name) > getattr(default, name) for default in defaults for name in risen)
    waived = any(lines.fee < default.fee for default in defaults)
    return looser or waived or lines.liquidation > HIGHEST_LIQUIDATION


@command(
    "risk.publish_limits",
    returns=Limits,
    four_eyes=FourEyes(
        makers=frozenset({User.Role.VIP_MANAGER, User.Role.RISK_OFFICER, User.Role.ADMIN}),
        needed=_limits_need_release,
    ),
)
def publish_limits(
    *,
    product: str,
    lines: Lines,
    effective_at: datetime | None = None,
    asset: Asset | str | None = None,
    customer: Customer | None = None,
    ends_at: datetime | None = None,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> Limits:
    """Publish the lines of a product, of one of its coins, or of one customer until `ends_at` (R-GEN-42, R-GEN-43).

    A group's own lines are not published but signed, see `sign_lines`. A VIP manager publishes for their own
    clients only (R-ADM-02).
    """
    starts = starts_at(effective_at, at)
    if asset is not None and customer is not None:
        raise BadParameter(tell("Lines are for a coin or for a customer, not for both at once."))
    if ends_at is not None and customer is None:
        raise BadParameter(tell("Only a customer's own lines end; those of a product or coin are replaced."))
    if ends_at is not None and ends_at <= starts:
        raise BadParameter(
            tell(
                "Lines from {starts:%Y-%m-%d %H:%M} UTC cannot end at {ends_at:%Y-%m-%d %H:%M} UTC.",
                starts=starts,
                ends_at=ends_at,
            )
        )
    refuse_strange_manager(actor, customer)
    row = _limits(product, lines, starts)
    row.asset_id = None if asset is None else known_asset(asset)
    row.customer, row.ends_at = customer, ends_at
    return publish(row)


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
    return publish(row)


@command("risk.publish_flexible_rate", returns=FlexibleRate, four_eyes=RATES)
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
    starts_at(effective_at, at)
    if effective_at.astimezone(UTC).time() != time():
        raise BadParameter(
            tell("A rate starts at 00:00 UTC, not at {utc:%H:%M:%S}.", utc=effective_at.astimezone(UTC))
        )
    check_rate("annual_rate", annual_rate)
    return publish(
        FlexibleRate(
            product=known_product(product),
            asset_id=known_asset(asset),
            effective_at=effective_at,
            annual_rate=annual_rate,
        )
    )


# --- Private ----------------------------------------------------------------------------------------


def _limits(product: str, lines: Lines, effective_at: datetime) -> Limits:
    values = {name: getattr(lines, name) for name in LINE_NAMES}
    for name, value in values.items():
        check_rate(name, value, bound=ONE if name == "fee" else RATE_BOUND)
    return Limits(product=known_product(product), effective_at=effective_at, **values)


def _check_settings(
    waits: Mapping[str, int | None], hours: Mapping[str, int | None], shares: Mapping[str, Decimal | None]
) -> None:
    for name, seconds in waits.items():
        if seconds is not None:
            check_whole(name, seconds, least=0, most=LONGEST_WAIT_SECONDS)
    for name, count in hours.items():
        if count is not None:
            check_whole(name, count, least=1, most=LONGEST_DELAY_HOURS)
    for name, share in shares.items():
        if share is not None:
            check_rate(name, share, bound=ONE)


def _check_soft_starts(row: Settings) -> None:
    """Between them a borrower chooses, so there must be something between them. R-FTR-05"""
    if not 0 < row.soft_start_least <= row.soft_start_most:
        raise BadParameter(
            tell(
                "De-leveraging must begin above 0 and between its bounds, not between"
                " {soft_start_least} and {soft_start_most}.",
                soft_start_least=row.soft_start_least,
                soft_start_most=row.soft_start_most,
            )
        )


def _warnings(levels: Sequence[Decimal]) -> list[str]:
    """As the row keeps them: text, rising."""
    for level in levels:
        check_rate("early_warnings", level, bound=ONE)
    if len(levels) > MOST_WARNINGS or list(levels) != sorted(set(levels)) or ZERO in levels:
        raise BadParameter(
            tell(
                "Early warnings are at most {most_warnings} rising LTVs above 0.", most_warnings=MOST_WARNINGS
            )
        )
    return [f"{level:f}" for level in levels]
