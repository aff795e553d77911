"""The forms that propose a parameter: what can be asked for, by whom, and the arguments of the command behind it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import QuerySet

from accounts.commands import registered
from accounts.models import Customer, User
from accounts.money import exact
from loans import ratecards
from loans.pages.client_field import ClientField
from loans.pages.desk_price_forms import FeedRuleForm, PriceForm, RedemptionForm, price_rule_now
from loans.pages.proposal_form import PercentField, ProposalForm, UsdField, percentage_of
from risk import parameters
from risk.handling import CallTrades, FeeBase, Mode
from risk.levels import Lines
from risk.models import ProductCode

LINE_LABELS = {
    "initial": "Initial (%)",
    "margin_call": "Margin call (%)",
    "liquidation": "Liquidation (%)",
    "cutoff": "Cut-off (%)",
    "fee": "Liquidation fee (%)",
}


def _product() -> forms.ChoiceField:
    return forms.ChoiceField(label="Product", choices=ProductCode.choices)


def _customer() -> ClientField:
    return ClientField(
        Customer.objects.none(),
        label="Client",
        required=False,
        help_text="Name, part of it, or number; nobody in particular is everybody",
    )


def _ends_at() -> forms.DateTimeField:
    return forms.DateTimeField(
        label="Until (UTC)", required=False, help_text="For a client only; then the product's count again."
    )


class RatiosForm(ProposalForm):
    asset = forms.ChoiceField(label="Coin")
    tiers = forms.CharField(
        label="Tiers",
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text="One per line: floor in USD, then the ratio in per cent, such as “0 95” and “1000000 80”.",
    )
    rank = forms.IntegerField(label="Sold in this order", min_value=0, max_value=9999, initial=100)
    ramp_days = forms.IntegerField(
        label="In daily steps over this many days",
        min_value=0,
        max_value=365,
        initial=0,
        help_text="0 is at once; otherwise LTVs move a little every day until the target.",
    )

    def clean_tiers(self) -> list[tuple[Decimal, Decimal]]:
        floor_field, ratio_field = UsdField(), PercentField()
        found = []
        for line in self.cleaned_data["tiers"].splitlines():
            if line.strip():
                floor, _, share = line.strip().partition(" ")
                found.append((floor_field.clean(floor), ratio_field.clean(share.strip())))
        return found


class LinesForm(ProposalForm):
    product = _product()
    asset = forms.ChoiceField(label="Coin", required=False)
    customer = _customer()
    initial_line = PercentField(label=LINE_LABELS["initial"])
    margin_call = PercentField(label=LINE_LABELS["margin_call"])
    liquidation = PercentField(label=LINE_LABELS["liquidation"])
    cutoff = PercentField(label=LINE_LABELS["cutoff"])
    fee = PercentField(label=LINE_LABELS["fee"])
    ends_at = _ends_at()

    def clean(self) -> dict[str, Any]:
        """R-GEN-43, in words, before anybody is asked to release it."""
        given: dict[str, Any] = super().clean() or {}
        names = {line: "initial_line" if line == "initial" else line for line in LINE_LABELS}
        if all(given.get(name) is not None for name in names.values()):
            try:
                given["lines"] = Lines(**{line: given.pop(name) for line, name in names.items()})
            except ValueError as error:
                raise forms.ValidationError(str(error)) from error
        return given


class CapForm(ProposalForm):
    product = _product()
    asset = forms.ChoiceField(label="Coin")
    platform_borrow = UsdField(
        label="Lent by the desk at most (USD)", required=False, help_text="Empty is no cap."
    )
    user_collateral = UsdField(label="Collateral of one client at most (USD)", required=False)
    platform_collateral = UsdField(label="Collateral of all clients at most (USD)", required=False)


class LoanLimitForm(ProposalForm):
    product = _product()
    asset = forms.ChoiceField(label="Coin")
    vip_level = forms.IntegerField(
        label="VIP level",
        min_value=0,
        max_value=9,
        required=False,
        help_text="Empty is every level without its own.",
    )
    minimum = UsdField(label="Least of one order (USD)")
    maximum = UsdField(label="Most of one order (USD)")
    user_maximum = UsdField(label="One client may owe at most (USD)", required=False)


class HandlingForm(ProposalForm):
    product = _product()
    customer = _customer()
    mode = forms.TypedChoiceField(
        label="Sold", coerce=Mode, choices=[("full", "all at once"), ("stepped", "in steps")]
    )
    target = PercentField(
        label="Steps stop at LTV (%)", required=False, help_text="Empty is the initial line."
    )
    step_share = PercentField(label="One step is at most (% of the debt)", initial=50)
    full_below_usd = UsdField(label="A rest is repaid whole below (USD)", initial=200)
    fee_base = forms.TypedChoiceField(
        label="Fee on", coerce=FeeBase, choices=[(one.value, one.value.replace("_", " ")) for one in FeeBase]
    )
    call_trades = forms.TypedChoiceField(
        label="Trades in a margin call",
        coerce=CallTrades,
        choices=[(one.value, one.value.replace("_", " ")) for one in CallTrades],
        initial=CallTrades.LOWERING,
    )
    ends_at = _ends_at()


class FlexibleRateForm(ProposalForm):
    product = _product()
    asset = forms.ChoiceField(label="Coin")
    annual_rate = PercentField(label="Annual rate (%)")
    effective_at = forms.DateTimeField(label="From (00:00 UTC)", help_text="YYYY-MM-DD, not in the past.")


class RateCardForm(FlexibleRateForm):
    term_days = forms.TypedChoiceField(
        label="Term", coerce=int, choices=[(days, f"{days} days") for days in ratecards.FIXED_TERMS]
    )
    vip_level = forms.IntegerField(label="VIP level", min_value=0, max_value=9)


class DepthForm(ProposalForm):
    asset = forms.ChoiceField(label="Coin")
    volume_usd = UsdField(label="Volume of 24 h (USD)")
    max_share = PercentField(label="One sale is at most (% of it)", initial=10)


class PaceForm(ProposalForm):
    asset = forms.ChoiceField(label="Coin")
    most_usd = UsdField(
        label="Sold by liquidations at most (USD)", required=False, help_text="Empty is no limit."
    )
    span_seconds = forms.IntegerField(label="In a span of (s)", min_value=1, max_value=86_400, initial=600)


class SettingsForm(ProposalForm):
    """Empty stays as it is."""

    confirm_seconds = forms.IntegerField(label="Second reading after (s)", min_value=0, required=False)
    outage_seconds = forms.IntegerField(label="Outage from (s)", min_value=0, required=False)
    outage_grace_seconds = forms.IntegerField(label="Grace after an outage (s)", min_value=0, required=False)
    call_hold_seconds = forms.IntegerField(label="Hold a call notice back (s)", min_value=0, required=False)
    call_repeat_seconds = forms.IntegerField(label="Repeat a call every (s)", min_value=0, required=False)
    hysteresis = PercentField(label="Hysteresis (% points)", required=False)
    slippage = PercentField(label="Slippage of the venue (%)", required=False)
    delay_hours = forms.IntegerField(label="Delayed liquidation waits (h)", min_value=1, required=False)
    delay_rest_hours = forms.IntegerField(label="At most one delay in (h)", min_value=1, required=False)
    soft_start_least = PercentField(label="De-leveraging may begin from LTV (%)", required=False)
    soft_start_most = PercentField(label="De-leveraging may begin up to LTV (%)", required=False)
    soft_fee = PercentField(label="Fee of de-leveraging (% of the debt repaid)", required=False)
    soft_step_seconds = forms.IntegerField(label="Between two steps of it (s)", min_value=0, required=False)


class PolicyForm(ProposalForm):
    """R-ADM-03: four eyes are configured per action and amount."""

    governed = forms.ChoiceField(label="Action")
    required = forms.BooleanField(label="A second person is needed", required=False, initial=True)
    above_usd = UsdField(label="Only above (USD)", required=False, help_text="Empty is whatever it is worth.")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = sorted(name for name, one in registered.items() if one.four_eyes and name != POLICY)
        governed = self.fields["governed"]
        assert isinstance(governed, forms.ChoiceField)
        governed.choices = [(name, name) for name in names]


POLICY = "approvals.publish_policy"

Name = Callable[[dict[str, Any]], str]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of parameter on the desk: the command that publishes it, its form, and what a proposal is called."""

    slug: str
    label: str
    command: str
    form: type[ProposalForm]
    title: Name

    def may_propose(self, user: User) -> bool:
        rule = registered[self.command].four_eyes
        return rule is not None and user.is_active and user.role in rule.makers


def _whose(given: dict[str, Any]) -> str:
    if given.get("customer") is not None:
        return f"{given['customer']}"
    return given.get("asset") or f"the product {given['product']}"


def _price_rule(given: dict[str, Any]) -> str:
    return f"Price rule of {given['asset'] or 'every coin'}"


KINDS = {
    kind.slug: kind
    for kind in (
        Kind(
            "ratios", "Ratios", "risk.publish_ratios", RatiosForm, lambda given: f"Ratios of {given['asset']}"
        ),
        Kind("lines", "Lines", "risk.publish_limits", LinesForm, lambda given: f"Lines of {_whose(given)}"),
        Kind("caps", "Caps", "risk.publish_asset_cap", CapForm, lambda given: f"Caps of {given['asset']}"),
        Kind(
            "loan-limits",
            "Loan limits",
            "risk.publish_loan_limit",
            LoanLimitForm,
            lambda given: f"Loan limits of {given['asset']}",
        ),
        Kind(
            "flexible-rates",
            "Flexible rates",
            "risk.publish_flexible_rate",
            FlexibleRateForm,
            lambda given: f"Flexible rate of {given['asset']}",
        ),
        Kind(
            "rate-cards",
            "Fixed rates",
            "loans.publish_card",
            RateCardForm,
            lambda given: f"{given['term_days']}-day rate of {given['asset']}, VIP {given['vip_level']}",
        ),
        Kind(
            "handling",
            "Handling",
            "risk.publish_handling",
            HandlingForm,
            lambda given: f"Handling of {_whose(given)}",
        ),
        Kind(
            "depth",
            "Market depth",
            "risk.publish_depth",
            DepthForm,
            lambda given: f"Depth of {given['asset']}",
        ),
        Kind(
            "pace",
            "Pace of sales",
            "risk.publish_pace_limit",
            PaceForm,
            lambda given: f"Pace of {given['asset']}",
        ),
        Kind("feed-rules", "Price rules", "risk.publish_feed_rule", FeedRuleForm, _price_rule),
        Kind(
            "redemptions",
            "Redemption ratios",
            "risk.publish_redemption",
            RedemptionForm,
            lambda given: f"Redemption of {given['asset']}",
        ),
        Kind("policies", "Four eyes", POLICY, PolicyForm, lambda given: f"Four eyes for {given['governed']}"),
        Kind("settings", "Waits", "risk.publish_settings", SettingsForm, lambda _: "Waits and tolerances"),
        Kind(
            "price",
            "Manual price",
            "prices.record_by_hand",
            PriceForm,
            lambda given: f"Price of {given['asset']}",
        ),
    )
}


@exact
def start_from(
    slug: str, asked: dict[str, str], *, clients: "QuerySet[Customer]", at: datetime
) -> dict[str, Any]:
    """What stands now, as the form's start; a change is then what is changed in it."""
    coin = asked.get("asset", "")
    if slug == "ratios" and (terms := parameters.terms_at(at, [coin]).get(coin)):
        return {"asset": coin, "rank": terms.rank, "tiers": "\n".join(_tier_lines(terms.tiers))}
    if slug == "lines":
        customer = (
            clients.filter(pk=asked["customer"]).first() if asked.get("customer", "").isdecimal() else None
        )
        try:
            lines = parameters.lines_for(
                product=ProductCode.VIP, customer=customer, assets=[coin] if coin else [], at=at
            )
        except parameters.NotPublished:
            return {}
        shown = {name: percentage_of(getattr(lines, name)) for name in LINE_LABELS}
        return {"asset": coin, "customer": customer, "initial_line": shown.pop("initial")} | shown
    if slug == "feed-rules" and coin:
        return price_rule_now(coin, at)
    if slug == "redemptions" and (row := parameters.redemptions_at(at).get(coin)):
        return {"asset": coin, "underlying": row.underlying_id, "ratio": row.ratio}
    return {"asset": coin}


def _tier_lines(tiers: Iterable[Any]) -> list[str]:
    return [f"{tier.floor.normalize():f} {percentage_of(tier.ratio)}" for tier in tiers]
