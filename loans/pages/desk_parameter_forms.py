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
from accounts.pages.forms import LongSelect
from accounts.words import joined, tell
from loans import ratecards
from loans.pages.client_field import ClientField
from loans.pages.desk_price_forms import FeedRuleForm, PriceForm, RedemptionForm, price_rule_now
from loans.pages.proposal_form import PercentField, ProposalForm, UsdField, percentage_of
from risk import parameters
from risk.handling import CallTrades, FeeBase, Mode
from risk.levels import Lines
from risk.models import ProductCode

LINE_LABELS = {
    "initial": tell("Initial (%)"),
    "margin_call": tell("Margin call (%)"),
    "liquidation": tell("Liquidation (%)"),
    "cutoff": tell("Cut-off (%)"),
    "fee": tell("Liquidation fee (%)"),
}


def _product() -> forms.ChoiceField:
    return forms.ChoiceField(label=tell("Product"), choices=ProductCode.choices)


def _customer() -> ClientField:
    return ClientField(
        Customer.objects.none(),
        label=tell("Client"),
        required=False,
        help_text=tell("Name, part of it, or number; nobody in particular is everybody"),
    )


def _ends_at() -> forms.DateTimeField:
    return forms.DateTimeField(
        label=tell("Until (UTC)"),
        required=False,
        help_text=tell("For a client only; then the product's count again."),
    )


class RatiosForm(ProposalForm):
    asset = forms.ChoiceField(label=tell("Coin"), widget=LongSelect)
    tiers = forms.CharField(
        label=tell("Tiers"),
        widget=forms.Textarea(attrs={"rows": 4}),
        help_text=tell(
            "One per line: floor in USD, then the ratio in per cent, such as “0 95” and “1000000 80”."
        ),
    )
    rank = forms.IntegerField(label=tell("Sold in this order"), min_value=0, max_value=9999, initial=100)
    ramp_days = forms.IntegerField(
        label=tell("In daily steps over this many days"),
        min_value=0,
        max_value=365,
        initial=0,
        help_text=tell("0 is at once; otherwise LTVs move a little every day until the target."),
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
    asset = forms.ChoiceField(label=tell("Coin"), required=False, widget=LongSelect)
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
    asset = forms.ChoiceField(label=tell("Coin"), widget=LongSelect)
    platform_borrow = UsdField(
        label=tell("Lent by the desk at most (USD)"), required=False, help_text=tell("Empty is no cap.")
    )
    user_collateral = UsdField(label=tell("Collateral of one client at most (USD)"), required=False)
    platform_collateral = UsdField(label=tell("Collateral of all clients at most (USD)"), required=False)


class LoanLimitForm(ProposalForm):
    product = _product()
    asset = forms.ChoiceField(label=tell("Coin"), widget=LongSelect)
    vip_level = forms.IntegerField(
        label=tell("VIP level"),
        min_value=0,
        max_value=9,
        required=False,
        help_text=tell("Empty is every level without its own."),
    )
    minimum = UsdField(label=tell("Least of one order (USD)"))
    maximum = UsdField(label=tell("Most of one order (USD)"))
    user_maximum = UsdField(label=tell("One client may owe at most (USD)"), required=False)


class HandlingForm(ProposalForm):
    product = _product()
    customer = _customer()
    mode = forms.TypedChoiceField(
        label=tell("Sold"),
        coerce=Mode,
        choices=[("full", tell("all at once")), ("stepped", tell("in steps"))],
    )
    target = PercentField(
        label=tell("Steps stop at LTV (%)"), required=False, help_text=tell("Empty is the initial line.")
    )
    step_share = PercentField(label=tell("One step is at most (% of the debt)"), initial=50)
    full_below_usd = UsdField(label=tell("A rest is repaid whole below (USD)"), initial=200)
    fee_base = forms.TypedChoiceField(
        label=tell("Fee on"),
        coerce=FeeBase,
        choices=[(one.value, one.value.replace("_", " ")) for one in FeeBase],
    )
    call_trades = forms.TypedChoiceField(
        label=tell("Trades in a margin call"),
        coerce=CallTrades,
        choices=[(one.value, one.value.replace("_", " ")) for one in CallTrades],
        initial=CallTrades.LOWERING,
    )
    ends_at = _ends_at()


class FlexibleRateForm(ProposalForm):
    product = _product()
    asset = forms.ChoiceField(label=tell("Coin"), widget=LongSelect)
    annual_rate = PercentField(label=tell("Annual rate (%)"))
    effective_at = forms.DateTimeField(
        label=tell("From (00:00 UTC)"), help_text=tell("YYYY-MM-DD, not in the past.")
    )


class RateCardForm(FlexibleRateForm):
    term_days = forms.TypedChoiceField(
        label=tell("Term"),
        coerce=int,
        choices=[(days, tell("{days} days", days=days)) for days in ratecards.FIXED_TERMS],
    )
    vip_level = forms.IntegerField(label=tell("VIP level"), min_value=0, max_value=9)


class DepthForm(ProposalForm):
    asset = forms.ChoiceField(label=tell("Coin"), widget=LongSelect)
    volume_usd = UsdField(label=tell("Volume of 24 h (USD)"))
    max_share = PercentField(label=tell("One sale is at most (% of it)"), initial=10)


class PaceForm(ProposalForm):
    asset = forms.ChoiceField(label=tell("Coin"), widget=LongSelect)
    most_usd = UsdField(
        label=tell("Sold by liquidations at most (USD)"), required=False, help_text=tell("Empty is no limit.")
    )
    span_seconds = forms.IntegerField(
        label=tell("In a span of (s)"), min_value=1, max_value=86_400, initial=600
    )


class SettingsForm(ProposalForm):
    """Empty stays as it is."""

    confirm_seconds = forms.IntegerField(label=tell("Second reading after (s)"), min_value=0, required=False)
    outage_seconds = forms.IntegerField(label=tell("Outage from (s)"), min_value=0, required=False)
    outage_grace_seconds = forms.IntegerField(
        label=tell("Grace after an outage (s)"), min_value=0, required=False
    )
    call_hold_seconds = forms.IntegerField(
        label=tell("Hold a call notice back (s)"), min_value=0, required=False
    )
    call_repeat_seconds = forms.IntegerField(
        label=tell("Repeat a call every (s)"), min_value=0, required=False
    )
    hysteresis = PercentField(label=tell("Hysteresis (% points)"), required=False)
    slippage = PercentField(label=tell("Slippage of the venue (%)"), required=False)
    delay_hours = forms.IntegerField(label=tell("Delayed liquidation waits (h)"), min_value=1, required=False)
    delay_rest_hours = forms.IntegerField(label=tell("At most one delay in (h)"), min_value=1, required=False)
    soft_start_least = PercentField(label=tell("De-leveraging may begin from LTV (%)"), required=False)
    soft_start_most = PercentField(label=tell("De-leveraging may begin up to LTV (%)"), required=False)
    soft_fee = PercentField(label=tell("Fee of de-leveraging (% of the debt repaid)"), required=False)
    soft_step_seconds = forms.IntegerField(
        label=tell("Between two steps of it (s)"), min_value=0, required=False
    )


class PolicyForm(ProposalForm):
    """R-ADM-03: four eyes are configured per action and amount."""

    governed = forms.ChoiceField(label=tell("Action"))
    required = forms.BooleanField(label=tell("A second person is needed"), required=False, initial=True)
    above_usd = UsdField(
        label=tell("Only above (USD)"), required=False, help_text=tell("Empty is whatever it is worth.")
    )

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
    return given.get("asset") or tell("the product {given}", given=given["product"])


def _price_rule(given: dict[str, Any]) -> str:
    return tell("Price rule of {given}", given=given["asset"] or tell("every coin"))


KINDS = {
    kind.slug: kind
    for kind in (
        Kind(
            "ratios",
            tell("Ratios"),
            "risk.publish_ratios",
            RatiosForm,
            lambda given: tell("Ratios of {given}", given=given["asset"]),
        ),
        Kind(
            "lines",
            tell("Lines"),
            "risk.publish_limits",
            LinesForm,
            lambda given: tell("Lines of {given}", given=_whose(given)),
        ),
        Kind(
            "caps",
            tell("Caps"),
            "risk.publish_asset_cap",
            CapForm,
            lambda given: tell("Caps of {given}", given=given["asset"]),
        ),
        Kind(
            "loan-limits",
            tell("Loan limits"),
            "risk.publish_loan_limit",
            LoanLimitForm,
            lambda given: tell("Loan limits of {given}", given=given["asset"]),
        ),
        Kind(
            "flexible-rates",
            tell("Flexible rates"),
            "risk.publish_flexible_rate",
            FlexibleRateForm,
            lambda given: tell("Flexible rate of {given}", given=given["asset"]),
        ),
        Kind(
            "rate-cards",
            tell("Fixed rates"),
            "loans.publish_card",
            RateCardForm,
            lambda given: tell(
                "{given}-day rate of {given2}, VIP {given3}",
                given=given["term_days"],
                given2=given["asset"],
                given3=given["vip_level"],
            ),
        ),
        Kind(
            "handling",
            tell("Handling"),
            "risk.publish_handling",
            HandlingForm,
            lambda given: tell("Handling of {given}", given=_whose(given)),
        ),
        Kind(
            "depth",
            tell("Market depth"),
            "risk.publish_depth",
            DepthForm,
            lambda given: tell("Depth of {given}", given=given["asset"]),
        ),
        Kind(
            "pace",
            tell("Pace of sales"),
            "risk.publish_pace_limit",
            PaceForm,
            lambda given: tell("Pace of {given}", given=given["asset"]),
        ),
        Kind("feed-rules", tell("Price rules"), "risk.publish_feed_rule", FeedRuleForm, _price_rule),
        Kind(
            "redemptions",
            tell("Redemption ratios"),
            "risk.publish_redemption",
            RedemptionForm,
            lambda given: tell("Redemption of {given}", given=given["asset"]),
        ),
        Kind(
            "policies",
            tell("Four eyes"),
            POLICY,
            PolicyForm,
            lambda given: tell("Four eyes for {given}", given=given["governed"]),
        ),
        Kind(
            "settings",
            tell("Waits"),
            "risk.publish_settings",
            SettingsForm,
            lambda _: tell("Waits and tolerances"),
        ),
        Kind(
            "price",
            tell("Manual price"),
            "prices.record_by_hand",
            PriceForm,
            lambda given: tell("Price of {given}", given=given["asset"]),
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
        return {"asset": coin, "rank": terms.rank, "tiers": joined("\n", _tier_lines(terms.tiers))}
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
    return [
        tell("{floor:f} {ratio}", floor=tier.floor.normalize(), ratio=percentage_of(tier.ratio))
        for tier in tiers
    ]
