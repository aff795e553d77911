"""The forms of a loan's page: repay by amount or share, renew, auto-repay on or off."""

from decimal import Decimal
from typing import Any, Final

from django import forms

from accounts.models import Asset
from accounts.money import ONE
from accounts.pages.forms import amount_field, key_field, read_amount
from accounts.words import tell
from risk.pages.promised import cure_field

AMOUNT: Final = "amount"
SHARES: Final = {"25": Decimal("0.25"), "50": Decimal("0.5"), "75": Decimal("0.75"), "100": ONE}


class RepayForm(forms.Form):
    """By amount, or by share of what closes the loan."""

    how = forms.ChoiceField(
        label=tell("How much"),
        choices=[
            (AMOUNT, tell("Amount")),
            ("25", "25 %"),
            ("50", "50 %"),
            ("75", "75 %"),
            ("100", tell("All", context="debt")),
        ],
        widget=forms.RadioSelect,
        initial=AMOUNT,
    )
    amount = amount_field(required=False)
    key = key_field()
    cure = cure_field()

    def __init__(self, *args: Any, asset: Asset, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.asset = asset

    def clean(self) -> None:
        if self.cleaned_data.get("how") == AMOUNT and "amount" not in self.errors:
            self.cleaned_data["amount"] = read_amount(self, "amount", places=self.asset.places)
        elif self.cleaned_data.get("how") in SHARES:
            self.cleaned_data["amount"] = None  # what is typed there is not meant

    @property
    def share(self) -> Decimal | None:
        return SHARES.get(self.cleaned_data["how"])


class AutoRepayForm(forms.Form):
    """One button: the other way than it is now."""

    on = forms.TypedChoiceField(
        coerce=lambda value: value == "on",
        choices=[("on", tell("On")), ("off", tell("Off"))],
        widget=forms.HiddenInput,
    )
    key = key_field()


class RenewForm(forms.Form):
    term = forms.TypedChoiceField(
        label=tell("New term"),
        coerce=int,
        choices=[(30, tell("30 days")), (60, tell("60 days"))],
        widget=forms.RadioSelect,
        initial=30,
    )
    key = key_field()
