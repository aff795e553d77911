"""Parameters in the console: published, never edited. A new row takes over from its date; history stays as it was."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone

from accounts import approvals
from accounts.console import CommandForm, RateField, ReadOnly, Rows, button, figure, percent, run_command
from accounts.models import Approval, Customer
from accounts.templatetags import figures
from risk.levels import Lines
from risk.models import (
    CollateralTier,
    FeedRule,
    FlexibleRate,
    Limits,
    LoanLimit,
    ProductCode,
    RatioSchedule,
    Redemption,
    Settings,
)
from risk.parameters import preview, settings_at

# --- Parameters -----------------------------------------------------------------------------------------


class DatedForm(CommandForm):
    """Something that takes effect at an instant; empty is now."""

    effective_at = forms.DateTimeField(
        label="In force from (UTC)",
        required=False,
        help_text="YYYY-MM-DD HH:MM; empty is as soon as it is released.",
    )


def product_field() -> forms.ChoiceField:
    return forms.ChoiceField(choices=ProductCode.choices)


def asset_field(*, required: bool = True, hint: str = "A symbol, such as BTC.") -> forms.CharField:
    return forms.CharField(label="Coin", max_length=20, required=required, help_text=hint)


def usd_field(label: str, **options: Any) -> forms.DecimalField:
    """Dollars in plain or long form; as many digits as the column has."""
    return forms.DecimalField(label=label, min_value=0, max_digits=36, decimal_places=18, **options)


def seconds_field(label: str, *, min_value: int = 0, **options: Any) -> forms.IntegerField:
    """A wait of up to a year."""
    return forms.IntegerField(label=label, min_value=min_value, max_value=31_536_000, **options)


class Published(ReadOnly):
    """A kind of parameter: its history, newest first, and the form that proposes the next row (R-ADM-03).

    What `command` needs no second person for is published at once.
    """

    ordering = ("-effective_at", "-pk")
    actions_list = ("publish",)
    form_class: type[CommandForm]
    command = ""

    @button(title="Publish", path="publish")
    def publish(self, request: HttpRequest) -> HttpResponse:
        meta = self.opts
        form = self.form_class(request.POST or None)
        return run_command(
            request,
            self,
            form,
            title=f"Propose {meta.verbose_name}",
            run=self._propose,
            verb="Propose",
            back=reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"),
        )

    def _propose(self, given: dict[str, Any]) -> Approval | None:
        signed = {name: given.pop(name) for name in ("actor", "at", "key", "reason")}
        arguments = self.arguments(given)
        return approvals.run_or_propose(
            command=self.command,
            arguments=arguments,
            title=f"{self.opts.verbose_name} {arguments.get('asset') or ''}".strip().capitalize(),
            preview=preview.of(self.command, arguments, at=signed["at"]),
            customer=arguments.get("customer"),
            **signed,
        )

    def arguments(self, given: dict[str, Any]) -> dict[str, Any]:
        """The command's own arguments; a coin left empty is none."""
        return given | {"asset": given["asset"] or None} if "asset" in given else given


class SettingsForm(DatedForm):
    confirm_seconds = seconds_field("Second reading after (s)", required=False)
    outage_seconds = seconds_field("Outage from (s)", required=False)
    outage_grace_seconds = seconds_field("Grace after an outage (s)", required=False)
    call_hold_seconds = seconds_field("Hold a call notice back (s)", required=False)
    call_repeat_seconds = seconds_field("Repeat a call every (s)", required=False)
    hysteresis = RateField(label="Hysteresis (% points)", required=False)
    slippage = RateField(label="Slippage of the venue (%)", required=False)

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        now = settings_at(timezone.now())
        for name, field in self.fields.items():
            if hasattr(now, name) and not field.help_text:
                value = getattr(now, name)
                shown = figures.line(value) if isinstance(field, RateField) else f"{value:,} s"
                field.help_text = f"{shown} now; empty leaves it so."


@admin.register(Settings)
class SettingsAdmin(Published):
    plural = "settings"
    list_display = (
        "effective_at",
        "confirm_seconds",
        "outage_seconds",
        "outage_grace_seconds",
        "call_hold_seconds",
        "call_repeat_seconds",
    )
    command = "risk.publish_settings"
    form_class = SettingsForm


class FeedRuleForm(DatedForm):
    asset = asset_field(required=False, hint="Empty is every coin without a rule of its own.")
    max_age_seconds = seconds_field("Stale after (s)", min_value=1, initial=60)
    max_jump = RateField(label="Largest jump per tick (%)", initial=30)
    min_sources = forms.IntegerField(label="Sources needed", min_value=1, max_value=100, initial=1)
    floor = usd_field("Floor (USD)", required=False)
    ceiling = usd_field("Ceiling (USD)", required=False)
    max_spread = RateField(label="Sources may be apart by (%)", initial=3)
    max_still_seconds = seconds_field("Frozen when the same for (s)", min_value=1, required=False)


@admin.register(FeedRule)
class FeedRuleAdmin(Published):
    list_display = (
        "effective_at",
        "asset_id",
        "max_age_seconds",
        "jump",
        "apart",
        "max_still_seconds",
        "min_sources",
        "floor",
        "ceiling",
    )
    search_fields = ("=asset__symbol",)
    command = "risk.publish_feed_rule"
    form_class = FeedRuleForm
    jump = percent("max_jump", "Largest jump")
    apart = percent("max_spread", "Apart at most")


class RedemptionForm(DatedForm):
    asset = asset_field()
    underlying = asset_field()
    ratio = forms.DecimalField(
        max_digits=28,
        decimal_places=18,
        required=False,
        help_text="Empty ends it. A ratio moves by 1 % at most at a time.",
    )


@admin.register(Redemption)
class RedemptionAdmin(Published):
    list_display = ("asset_id", "underlying_id", "ratio", "effective_at")
    search_fields = ("=asset__symbol",)
    command = "risk.publish_redemption"
    form_class = RedemptionForm


class LimitsForm(DatedForm):
    product = product_field()
    asset = asset_field(required=False, hint="Empty is the whole product, or the customer below.")
    customer = forms.ModelChoiceField(Customer.objects.order_by("name"), required=False)
    initial_line = RateField(label="Initial (%)", initial=72)
    margin_call = RateField(label="Margin call (%)", initial=77)
    liquidation = RateField(label="Liquidation (%)", initial=91)
    cutoff = RateField(label="Cut-off (%)", initial=95)
    fee = RateField(label="Liquidation fee (%)", initial=2)

    def clean(self) -> dict[str, Any]:
        given: dict[str, Any] = super().clean() or {}
        names = {"initial": "initial_line"} | {
            name: name for name in ("margin_call", "liquidation", "cutoff", "fee")
        }
        if all(given.get(name) is not None for name in names.values()):
            try:
                given["lines"] = Lines(**{line: given.pop(name) for line, name in names.items()})
            except ValueError as error:
                raise forms.ValidationError(str(error)) from error
        return given


@admin.register(Limits)
class LimitsAdmin(Published):
    plural = "limits"
    list_display = ("effective_at", "product", "asset_id", "customer", "group", "i", "m", "l", "c", "f")
    list_select_related = ("customer", "group")
    search_fields = ("=asset__symbol", "customer__name")
    command = "risk.publish_limits"
    form_class = LimitsForm
    i = percent("initial", "Initial")
    m = percent("margin_call", "Call")
    l = percent("liquidation", "Liquidation")  # noqa: E741
    c = percent("cutoff", "Cut-off")
    f = percent("fee", "Fee")


class RatiosForm(DatedForm):
    asset = asset_field()
    tiers = forms.CharField(
        label="Tiers",
        widget=forms.Textarea(),
        help_text="One per line: floor in USD, then the ratio in per cent, such as “0 95” and “1000000 80”.",
    )
    rank = forms.IntegerField(label="Sold in this order", min_value=0, max_value=10000, initial=100)

    def clean_tiers(self) -> list[tuple[Any, Any]]:
        number, ratio = forms.DecimalField(max_digits=38, decimal_places=18), RateField()
        found = []
        for line in self.cleaned_data["tiers"].splitlines():
            if not line.strip():
                continue
            floor, _, share = line.strip().partition(" ")
            found.append((number.clean(floor), ratio.clean(share.strip())))
        return found


class TierRows(Rows):
    model = CollateralTier
    fields = readonly_fields = ("floor", "ratio")
    ordering = ("floor",)


@admin.register(RatioSchedule)
class RatioScheduleAdmin(Published):
    list_display = ("asset_id", "effective_at", "liquidation_rank")
    search_fields = ("=asset__symbol",)
    inlines = (TierRows,)
    command = "risk.publish_ratios"
    form_class = RatiosForm


class LoanLimitForm(DatedForm):
    product = product_field()
    asset = asset_field()
    vip_level = forms.IntegerField(
        label="VIP level",
        min_value=0,
        max_value=9,
        required=False,
        help_text="Empty is every level without its own.",
    )
    minimum = usd_field("Least (USD)")
    maximum = usd_field("Most (USD)")


@admin.register(LoanLimit)
class LoanLimitAdmin(Published):
    list_display = ("asset_id", "vip_level", "effective_at", "least", "most")
    search_fields = ("=asset__symbol",)
    command = "risk.publish_loan_limit"
    form_class = LoanLimitForm
    least = figure("minimum", "Least", asset="")
    most = figure("maximum", "Most", asset="")


class FlexibleRateForm(CommandForm):
    product = product_field()
    asset = asset_field()
    annual_rate = RateField(label="Annual rate (%)")
    effective_at = forms.DateTimeField(label="From (00:00 UTC)", help_text="YYYY-MM-DD, not in the past.")


@admin.register(FlexibleRate)
class FlexibleRateAdmin(Published):
    list_display = ("asset_id", "product", "effective_at", "yearly")
    search_fields = ("=asset__symbol",)
    command = "risk.publish_flexible_rate"
    form_class = FlexibleRateForm
    yearly = percent("annual_rate", "Annual rate")
