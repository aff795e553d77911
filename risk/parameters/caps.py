"""Publish amounts and ways: how much may be lent and taken of a coin, how deep its market is, how a group is sold."""

from datetime import datetime
from decimal import Decimal

from accounts.commands import Actor, FourEyes, command
from accounts.models import Asset, Customer, User
from accounts.money import ONE
from accounts.words import tell
from risk.handling import CallTrades, FeeBase, Mode
from risk.models import AssetCap, HandlingRule, LoanLimit, MarketDepth, PaceLimit
from risk.parameters.checks import (
    HIGHEST_VIP_LEVEL,
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


@command("risk.publish_loan_limit", returns=LoanLimit, four_eyes=FourEyes())
def publish_loan_limit(
    *,
    product: str,
    asset: Asset | str,
    minimum: Decimal,
    maximum: Decimal,
    effective_at: datetime | None = None,
    vip_level: int | None = None,
    user_maximum: Decimal | None = None,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> LoanLimit:
    """Publish how much of a coin, in USD, one order may borrow, for one VIP level or for all (R-VIP-06).

    `user_maximum` is all that one customer may owe of it; None is no such cap (R-GEN-37).
    """
    starts = starts_at(effective_at, at)
    check_usd("minimum", minimum)
    check_usd("maximum", maximum)
    if minimum > maximum:
        raise BadParameter(
            tell("The minimum {minimum} is above the maximum {maximum}.", minimum=minimum, maximum=maximum)
        )
    if user_maximum is not None:
        check_usd("user_maximum", user_maximum)
    if vip_level is not None:
        check_whole("vip_level", vip_level, least=0, most=HIGHEST_VIP_LEVEL)
    return publish(
        LoanLimit(
            product=known_product(product),
            asset_id=known_asset(asset),
            vip_level=vip_level,
            effective_at=starts,
            minimum=minimum,
            maximum=maximum,
            user_maximum=user_maximum,
        )
    )


@command("risk.publish_asset_cap", returns=AssetCap, four_eyes=FourEyes())
def publish_asset_cap(
    *,
    product: str,
    asset: Asset | str,
    platform_borrow: Decimal | None,
    user_collateral: Decimal | None,
    platform_collateral: Decimal | None,
    effective_at: datetime | None = None,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> AssetCap:
    """Publish what the desk lends and takes of a coin in all, in USD; None is no cap (R-GEN-37).

    A cap stops new use only: what is there already stays, and counts.
    """
    starts = starts_at(effective_at, at)
    caps = {
        "platform_borrow": platform_borrow,
        "user_collateral": user_collateral,
        "platform_collateral": platform_collateral,
    }
    for name, cap in caps.items():
        if cap is not None:
            check_usd(name, cap)
    row = AssetCap(product=known_product(product), asset_id=known_asset(asset), effective_at=starts, **caps)
    return publish(row)


@command(
    "risk.publish_handling",
    returns=HandlingRule,
    four_eyes=FourEyes(makers=frozenset({User.Role.VIP_MANAGER, User.Role.RISK_OFFICER, User.Role.ADMIN})),
)
def publish_handling(
    *,
    product: str,
    mode: Mode = Mode.FULL,
    target: Decimal | None = None,
    step_share: Decimal = Decimal("0.5"),
    full_below_usd: Decimal = Decimal(200),
    fee_base: FeeBase = FeeBase.DEBT_REPAID,
    call_trades: CallTrades = CallTrades.LOWERING,
    customer: Customer | None = None,
    effective_at: datetime | None = None,
    ends_at: datetime | None = None,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> HandlingRule:
    """Publish how groups of a product, or of one of its customers until `ends_at`, are handled (R-GEN-73, R-VIP-63).

    `target` is the LTV at which steps stop, None the group's initial line; `step_share` the largest fraction of the
    debt in one step. A VIP manager publishes for their own clients only (R-ADM-02).
    """
    starts = starts_at(effective_at, at)
    if ends_at is not None and (customer is None or ends_at <= starts):
        raise BadParameter(tell("Only a customer's own handling ends, and after it began."))
    if target is not None and not 0 < target < ONE:
        raise BadParameter(tell("The target must be above 0 and below 1, not {target}.", target=target))
    if not 0 < step_share <= ONE:
        raise BadParameter(
            tell(
                "A step is more than 0 and at most all of the debt, not {step_share}.", step_share=step_share
            )
        )
    for name, share in (("target", target), ("step_share", step_share)):
        if share is not None:
            check_rate(name, share)
    check_usd("full_below_usd", full_below_usd)
    refuse_strange_manager(actor, customer)
    return publish(
        HandlingRule(
            product=known_product(product),
            customer=customer,
            effective_at=starts,
            ends_at=ends_at,
            mode=Mode(mode),
            target=target,
            step_share=step_share,
            full_below_usd=full_below_usd,
            fee_base=FeeBase(fee_base),
            call_trades=CallTrades(call_trades),
        )
    )


@command("risk.publish_depth", returns=MarketDepth, four_eyes=FourEyes())
def publish_depth(
    *,
    asset: Asset | str,
    volume_usd: Decimal,
    max_share: Decimal = Decimal("0.1"),
    effective_at: datetime | None = None,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> MarketDepth:
    """Publish a coin's market volume of 24 h in USD and the fraction of it that one sale may be (R-GEN-79)."""
    starts = starts_at(effective_at, at)
    check_usd("volume_usd", volume_usd)
    check_rate("max_share", max_share)
    if max_share > ONE:
        raise BadParameter(
            tell("One sale cannot be more than the whole volume, not {max_share} of it.", max_share=max_share)
        )
    return publish(
        MarketDepth(
            asset_id=known_asset(asset), effective_at=starts, volume_usd=volume_usd, max_share=max_share
        )
    )


LONGEST_SPAN = 24 * 60 * 60  # seconds


@command("risk.publish_pace_limit", returns=PaceLimit, four_eyes=FourEyes())
def publish_pace_limit(
    *,
    asset: Asset | str,
    most_usd: Decimal | None,
    span_seconds: int = 600,
    effective_at: datetime | None = None,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> PaceLimit:
    """Publish how much of a coin, in USD, liquidations sell in a span before the next ones wait (R-FTR-22).

    `most_usd` None: from then on as much as there is. The span is 1 second to 24 hours.
    """
    starts = starts_at(effective_at, at)
    if most_usd is not None:
        check_usd("most_usd", most_usd)
        if most_usd == 0:
            raise BadParameter(
                tell("A pace of 0 would stop every sale; pause liquidations instead, with an end.")
            )
    check_whole("span_seconds", span_seconds, least=1, most=LONGEST_SPAN)
    return publish(
        PaceLimit(
            asset_id=known_asset(asset), effective_at=starts, most_usd=most_usd, span_seconds=span_seconds
        )
    )
