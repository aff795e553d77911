"""Parameters: facts with dates. What was in force then is used for then."""

from typing import Any

from django.db import models
from django.db.models import F, Q

from accounts.models import Asset, Customer, rate_field
from accounts.words import tell


def usd_field(**options: Any) -> "models.DecimalField[Any, Any]":
    """A price or value in USD: NUMERIC(38, 18), because coins cost from 1e-12 to 1e6."""
    return models.DecimalField(max_digits=38, decimal_places=18, **options)


class ProductCode(models.TextChoices):
    """Which family of contracts a group's debts come from; rules differ by parameters only."""

    VIP = "vip", tell("VIP loan")


class Settings(models.Model):
    """The engine's waits and tolerances, in force from `effective_at` (R-GEN-23, 24, 61, 62, 80)."""

    effective_at = models.DateTimeField(unique=True)
    confirm_seconds = models.PositiveIntegerField(default=5)  # a breach must still hold this much later
    outage_seconds = models.PositiveIntegerField(default=600)  # blind for longer than this gives a grace
    outage_grace_seconds = models.PositiveIntegerField(default=1800)
    call_hold_seconds = models.PositiveIntegerField(default=60)  # a call notice may be overtaken this long
    call_repeat_seconds = models.PositiveIntegerField(default=86400)
    hysteresis = rate_field(default="0.005")
    slippage = rate_field(default=0)  # what the built-in venue takes off the index
    delay_hours = models.PositiveIntegerField(default=24)  # delayed liquidation (R-VIP-60)
    delay_rest_hours = models.PositiveIntegerField(default=168)  # at most one delay in this long (R-VIP-62)
    early_warnings = models.JSONField(default=list)  # LTVs as text, told on the way up (R-GEN-64)
    soft_start_least = rate_field(default="0.80")  # where a borrower's own de-leveraging may begin (R-FTR-05)
    soft_start_most = rate_field(default="0.85")
    soft_fee = rate_field(default="0.005")  # of the debt it repays; below the fee of a liquidation
    soft_step_seconds = models.PositiveIntegerField(default=60)  # between two of its steps

    def __str__(self) -> str:
        return tell("settings from {effective_at:%Y-%m-%d %H:%M:%S}", effective_at=self.effective_at)


class FeedRule(models.Model):
    """What makes a price of this asset believable, in force from `effective_at` (R-GEN-21).

    A row without an asset is the default for all.
    """

    asset = models.ForeignKey(Asset, models.PROTECT, null=True, related_name="+")
    effective_at = models.DateTimeField()
    max_age_seconds = models.PositiveIntegerField(default=60)
    max_jump = rate_field(default="0.3")  # per tick, as a fraction of the last good price
    min_sources = models.PositiveSmallIntegerField(default=1)
    floor = usd_field(null=True)
    ceiling = usd_field(null=True)
    max_spread = rate_field(default="0.03")  # between the highest and the lowest source, of their median
    max_still_seconds = models.PositiveIntegerField(null=True)  # the same price for longer is a frozen feed

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["asset", "effective_at"], name="one_feed_rule_per_time", nulls_distinct=False
            ),
        )

    def __str__(self) -> str:
        return tell("feed rule of {asset}", asset=self.asset_id or tell("all"))


class Limits(models.Model):
    """LTV lines and liquidation fee in force from `effective_at`, for one scope (R-GEN-42, R-VIP-50).

    Scope, most specific first: a group's signed terms, a customer's override, product + asset, product.
    """

    product = models.CharField(max_length=12, choices=ProductCode.choices)
    asset = models.ForeignKey(Asset, models.PROTECT, null=True, related_name="+")
    customer = models.ForeignKey(Customer, models.PROTECT, null=True, related_name="limits")
    group = models.ForeignKey("CollateralGroup", models.PROTECT, null=True, related_name="limits")
    effective_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)  # a customer's override ends; then the wider scope counts again
    initial = rate_field()
    margin_call = rate_field()
    liquidation = rate_field()
    cutoff = rate_field()
    fee = rate_field()

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="lines_in_order",  # R-GEN-43
                condition=Q(initial__gt=0)
                & Q(initial__lt=F("margin_call"))
                & Q(margin_call__lt=F("liquidation"))
                & Q(liquidation__lt=F("cutoff"))
                & Q(fee__gte=0, fee__lt=1),
            ),
            models.CheckConstraint(
                name="a_sale_at_the_cutoff_still_helps", condition=Q(cutoff__lte=1 / (1 + F("fee")))
            ),
            models.CheckConstraint(
                name="limits_have_one_scope",
                condition=Q(asset__isnull=True, customer__isnull=True)
                | Q(asset__isnull=True, group__isnull=True)
                | Q(customer__isnull=True, group__isnull=True),
            ),
            models.UniqueConstraint(
                name="one_limit_per_scope_and_time",
                fields=["product", "asset", "customer", "group", "effective_at"],
                nulls_distinct=False,
            ),
        )

    def __str__(self) -> str:
        return tell(
            "{product} limits {initial:.2%}/{margin_call:.2%}/{liquidation:.2%}",
            product=self.product,
            initial=self.initial,
            margin_call=self.margin_call,
            liquidation=self.liquidation,
        )


class RatioSchedule(models.Model):
    """A coin's collateral ratios in marginal tiers, in force from `effective_at` (R-GEN-30, 31, 36)."""

    asset = models.ForeignKey(Asset, models.PROTECT, related_name="ratio_schedules")
    effective_at = models.DateTimeField()
    announced_at = models.DateTimeField(null=True)  # when it was published; clients are told from then on
    liquidation_rank = models.PositiveSmallIntegerField(default=100)  # sold in this order (R-GEN-72)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["asset", "effective_at"], name="one_schedule_per_time"),
        )

    def __str__(self) -> str:
        return tell(
            "{asset} ratios from {effective_at:%Y-%m-%d}", asset=self.asset_id, effective_at=self.effective_at
        )


class CollateralTier(models.Model):
    """`ratio` of the slice of market value (USD) from `floor` up to the next tier's floor counts."""

    schedule = models.ForeignKey(RatioSchedule, models.PROTECT, related_name="tiers")
    floor = usd_field()
    ratio = rate_field()

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["schedule", "floor"], name="one_tier_per_floor"),
            models.CheckConstraint(
                name="tier_ratio_0_to_1", condition=Q(ratio__gte=0, ratio__lte=1, floor__gte=0)
            ),
        )

    def __str__(self) -> str:
        return tell("{ratio:.2%} from {floor}", ratio=self.ratio, floor=self.floor)


class LoanLimit(models.Model):
    """How much of a coin may be borrowed per order, in USD, by VIP level (R-VIP-06, R-GEN-37)."""

    product = models.CharField(max_length=12, choices=ProductCode.choices)
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    vip_level = models.PositiveSmallIntegerField(null=True)  # NULL = every level without a row of its own
    effective_at = models.DateTimeField()
    minimum = usd_field()
    maximum = usd_field()
    user_maximum = usd_field(null=True)  # all that one customer may owe of the coin; NULL = no such cap

    class Meta:
        constraints = (
            models.CheckConstraint(
                name="loan_limit_in_order", condition=Q(minimum__gte=0, minimum__lte=F("maximum"))
            ),
            models.UniqueConstraint(
                name="one_loan_limit_per_time",
                fields=["product", "asset", "vip_level", "effective_at"],
                nulls_distinct=False,
            ),
        )

    def __str__(self) -> str:
        return tell(
            "{asset} {minimum:f}-{maximum:f} USD",
            asset=self.asset_id,
            minimum=self.minimum.normalize(),
            maximum=self.maximum.normalize(),
        )


class FlexibleRate(models.Model):
    """The annual rate of flexible debts of a product and coin, from a 00:00 UTC on (R-VIP-23, R-GEN-53)."""

    product = models.CharField(max_length=12, choices=ProductCode.choices)
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    effective_at = models.DateTimeField()
    annual_rate = rate_field()

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["product", "asset", "effective_at"], name="one_flexible_rate_per_time"
            ),
            models.CheckConstraint(
                name="flexible_rate_0_to_10", condition=Q(annual_rate__gte=0, annual_rate__lt=10)
            ),
        )

    def __str__(self) -> str:
        return tell("{asset} flexible {annual_rate:.4%}", asset=self.asset_id, annual_rate=self.annual_rate)


class AssetCap(models.Model):
    """What the whole desk lends and takes of a coin, in USD, from `effective_at` (R-GEN-37). NULL = no cap."""

    product = models.CharField(max_length=12, choices=ProductCode.choices)
    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    effective_at = models.DateTimeField()
    platform_borrow = usd_field(null=True)
    user_collateral = usd_field(null=True)
    platform_collateral = usd_field(null=True)

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["product", "asset", "effective_at"], name="one_cap_per_time"),
        )

    def __str__(self) -> str:
        return tell(
            "caps of {asset} from {effective_at:%Y-%m-%d}",
            asset=self.asset_id,
            effective_at=self.effective_at,
        )


class HandlingRule(models.Model):
    """How a product's, or one customer's, groups are handled in a call and at liquidation (R-GEN-73…76, R-VIP-54)."""

    class Mode(models.TextChoices):
        FULL = "full", tell("Full")  # everything is repaid at once
        STEPPED = "stepped", tell("in steps")  # until LTV is back at the target

    class FeeBase(models.TextChoices):
        DEBT_REPAID = "debt_repaid", tell("debt repaid")
        COLLATERAL_SOLD = "collateral_sold", tell("collateral sold")
        START_ASSETS = "start_assets", tell("assets at the start")

    class CallTrades(models.TextChoices):
        NONE = "none", tell("None")
        LOWERING = "lowering", tell("only those that lower LTV")
        BELOW_LIQUIDATION = "below_liquidation", tell("any that stays below liquidation, once confirmed")

    product = models.CharField(max_length=12, choices=ProductCode.choices)
    customer = models.ForeignKey(Customer, models.PROTECT, null=True, related_name="handling_rules")
    effective_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    mode = models.CharField(max_length=8, choices=Mode.choices, default=Mode.FULL)
    target = rate_field(null=True)  # LTV at which steps stop; NULL = the initial line
    step_share = rate_field(default="0.5")  # at most this share of the debt in one step
    full_below_usd = usd_field(default=200)  # so little debt left is repaid whole
    fee_base = models.CharField(max_length=16, choices=FeeBase.choices, default=FeeBase.DEBT_REPAID)
    call_trades = models.CharField(max_length=18, choices=CallTrades.choices, default=CallTrades.LOWERING)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["product", "customer", "effective_at"],
                name="one_handling_rule_per_time",
                nulls_distinct=False,
            ),
            models.CheckConstraint(
                name="step_share_above_0_to_1", condition=Q(step_share__gt=0, step_share__lte=1)
            ),
        )

    def __str__(self) -> str:
        return tell(
            "{product} handling from {effective_at:%Y-%m-%d}: {mode}",
            product=self.product,
            effective_at=self.effective_at,
            mode=self.mode,
        )


class MarketDepth(models.Model):
    """How much of a coin its market takes: 24 h volume in USD and the share of it one sale may be (R-GEN-79)."""

    asset = models.ForeignKey(Asset, models.PROTECT, related_name="+")
    effective_at = models.DateTimeField()
    volume_usd = usd_field()
    max_share = rate_field(default="0.1")

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["asset", "effective_at"], name="one_depth_per_time"),
            models.CheckConstraint(
                name="max_share_0_to_1", condition=Q(max_share__gte=0, max_share__lte=1, volume_usd__gte=0)
            ),
        )

    def __str__(self) -> str:
        return tell(
            "depth of {asset} from {effective_at:%Y-%m-%d}",
            asset=self.asset_id,
            effective_at=self.effective_at,
        )
