"""The forms about prices: what makes one believable, what a coin is redeemed for, and a price set by hand."""

from datetime import datetime
from typing import Any

from django import forms

from accounts.pages.forms import LongSelect
from accounts.words import tell
from loans.pages.proposal_form import PercentField, ProposalForm, UsdField, percentage_of, plain_number
from risk import parameters


class FeedRuleForm(ProposalForm):
    asset = forms.ChoiceField(label=tell("Coin"), required=False, widget=LongSelect)
    max_age_seconds = forms.IntegerField(label=tell("Stale after (s)"), min_value=1, initial=60)
    max_jump = PercentField(label=tell("Largest jump per tick (%)"), initial=30)
    min_sources = forms.IntegerField(label=tell("Sources needed"), min_value=1, max_value=100, initial=1)
    max_spread = PercentField(label=tell("Sources may be apart by (%)"), initial=3)
    max_still_seconds = forms.IntegerField(
        label=tell("Frozen when the same for (s)"),
        min_value=1,
        required=False,
        help_text=tell("Empty is never."),
    )
    floor = UsdField(
        label=tell("Floor (USD)"),
        required=False,
        help_text=tell("A price on the floor itself is doubted too."),
    )
    ceiling = UsdField(label=tell("Ceiling (USD)"), required=False)


class RedemptionForm(ProposalForm):
    """R-FTR-21: what a wrapped, staked or pegged coin is worth, whatever its own market prints."""

    asset = forms.ChoiceField(label=tell("Coin"), widget=LongSelect)
    underlying = forms.ChoiceField(label=tell("Is redeemed for"), widget=LongSelect)
    ratio = forms.DecimalField(
        label=tell("How much of it for one"),
        required=False,
        max_digits=28,
        decimal_places=18,
        widget=plain_number(),
        help_text=tell(
            "Empty ends it: from then on the coin's own market counts. A ratio moves by 1 %"
            " at most at a time."
        ),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        asset, underlying = self.fields["asset"], self.fields["underlying"]
        assert isinstance(asset, forms.ChoiceField)
        assert isinstance(underlying, forms.ChoiceField)
        underlying.choices = asset.choices


class PriceForm(ProposalForm):
    """R-ADM-03: a price that two people set."""

    asset = forms.ChoiceField(label=tell("Coin"), widget=LongSelect)
    price = UsdField(
        label=tell("Price (USD)"),
        help_text=tell("Good from its release until it is as old as prices may be."),
    )
    effective_at = None  # type: ignore[assignment]  # Django's way to drop a field; a price is of its release


def price_rule_now(coin: str, at: datetime) -> dict[str, Any]:
    rule = parameters.feed_rules_at(at)(coin)
    same = ("max_age_seconds", "min_sources", "max_still_seconds", "floor", "ceiling")
    return (
        {"asset": coin}
        | {name: getattr(rule, name) for name in same}
        | {name: percentage_of(getattr(rule, name)) for name in ("max_jump", "max_spread")}
    )
