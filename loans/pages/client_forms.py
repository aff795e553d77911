"""The forms on a client's terms: what the manager types, read into the arguments of the commands (R-ADM-02).

Percentages and times are typed as people write them, "0.5" and UTC, and become fractions and instants here.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django import forms

from accounts.models import Asset, Customer
from accounts.money import RATE_PLACES, exact
from accounts.pages.forms import LongChecks, LongSelect, key_field
from accounts.words import tell
from risk.handling import CallTrades, FeeBase, Mode
from risk.levels import Lines
from risk.models import HandlingRule, ProductCode

EVERY_COIN, TICKED_COINS = "every", "ticked"


def instant_field(label: str) -> forms.DateTimeField:
    """A time in UTC, to the minute; empty means now, or without end."""
    widget = forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M")
    return forms.DateTimeField(
        label=label, required=False, widget=widget, input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
    )


def percent_field(label: str, *, least: int, most: int, required: bool = True) -> forms.DecimalField:
    return forms.DecimalField(
        label=label, required=required, min_value=least, max_value=most, decimal_places=RATE_PLACES - 2
    )


class NowForm(forms.Form):
    """What holds from this moment on; the trail keeps when and why."""

    reason = forms.CharField(
        label=tell("Why"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": tell("Say why; it is kept with the change.")},
    )
    what = forms.CharField(widget=forms.HiddenInput())
    key = key_field()


class ClientForm(NowForm):
    """What every change with dates has: from when, until when, and why."""

    starts_at = instant_field(tell("From (UTC); now when empty"))
    ends_at = instant_field(tell("Until (UTC); without end when empty"))

    def dates(self) -> tuple[datetime | None, datetime | None]:
        starts, ends = self.cleaned_data.get("starts_at"), self.cleaned_data.get("ends_at")
        return _utc(starts), _utc(ends)


class TermsForm(ClientForm):
    """The whole row is replaced, so it is shown filled in with what is in force."""

    asset = forms.ChoiceField(label=tell("Coin"), required=False, widget=LongSelect)
    spread = percent_field(tell("Spread on the published rate, % a year"), least=-99, most=99, required=False)
    overdue_hours = forms.IntegerField(
        label=tell("Hours from expiry to forced sale"), required=False, min_value=1
    )
    max_exposure_usd = forms.DecimalField(
        label=tell("Most that may be owed, USD"), required=False, min_value=0, max_digits=20, decimal_places=2
    )
    is_uncapped = forms.BooleanField(
        label=tell("No maximum per order and coin: good credit history"), required=False
    )
    coins = forms.ChoiceField(
        label=tell("Coins it may borrow"),
        choices=[
            (EVERY_COIN, tell("Every loan coin")),
            (TICKED_COINS, tell("Only those ticked; none is no loan at all")),
        ],
        required=False,
        widget=forms.RadioSelect,
    )
    allowed_coins = forms.MultipleChoiceField(label=tell("Ticked coins"), required=False, widget=LongChecks)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        lent = list(Asset.objects.filter(loanable=True).order_by("pk").values_list("pk", flat=True))
        for name, choices in (
            ("asset", [("", tell("Every coin")), *((symbol, symbol) for symbol in lent)]),
            ("allowed_coins", [(symbol, symbol) for symbol in lent]),
        ):
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)
            field.choices = choices

    def arguments(self, customer: Customer, at: datetime) -> dict[str, Any]:
        starts_at, ends_at = self.dates()
        typed = self.cleaned_data
        return {
            "customer_id": customer.pk,
            "asset": typed["asset"] or None,
            "starts_at": starts_at,
            "ends_at": ends_at,
            "spread": None if typed["spread"] is None else fraction(typed["spread"]),
            "overdue_hours": typed["overdue_hours"],
            "max_exposure_usd": typed["max_exposure_usd"],
            "is_uncapped": typed["is_uncapped"],
            "allowed_coins": self._allowed(),
        }

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if found.get("coins") == EVERY_COIN and found.get("allowed_coins"):
            self.add_error("coins", tell("Untick the coins, or choose “only those ticked”."))
        return found

    def _allowed(self) -> tuple[str, ...] | None:
        """No coin at all is not every coin: an empty list says that nothing may be borrowed. R-ADM-02"""
        ticked = tuple(self.cleaned_data["allowed_coins"])
        return ticked if ticked or self.cleaned_data["coins"] == TICKED_COINS else None


class LinesForm(ClientForm):
    initial_line = percent_field(tell("Initial, %"), least=0, most=100)
    margin_call = percent_field(tell("Margin call, %"), least=0, most=100)
    liquidation = percent_field(tell("Liquidation, %"), least=0, most=100)
    cutoff = percent_field(tell("Cut-off, %"), least=0, most=100)
    fee = percent_field(tell("Liquidation fee, %"), least=0, most=100)

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        if not self.errors:
            try:
                self.lines()
            except ValueError as error:
                raise forms.ValidationError(str(error)) from error
        return found

    def lines(self) -> Lines:
        """
        Raises:
            ValueError: R-GEN-43, in words.
        """
        names = ("initial_line", "margin_call", "liquidation", "cutoff", "fee")
        return Lines(*(fraction(self.cleaned_data[name]) for name in names))

    def arguments(self, customer: Customer, at: datetime) -> dict[str, Any]:
        starts_at, ends_at = self.dates()
        return {
            "product": ProductCode.VIP.value,
            "customer": customer,
            "lines": self.lines(),
            "effective_at": starts_at,
            "ends_at": ends_at,
        }


class HandlingForm(ClientForm):
    mode = forms.ChoiceField(label=tell("Liquidation"), choices=HandlingRule.Mode.choices)
    target = percent_field(
        tell("Steps stop at LTV, %; the initial line when empty"), least=1, most=99, required=False
    )
    step_share = percent_field(tell("Largest step, % of the debt"), least=1, most=100)
    full_below_usd = forms.DecimalField(
        label=tell("Debt repaid whole below, USD"), min_value=0, max_digits=20, decimal_places=2
    )
    fee_base = forms.ChoiceField(label=tell("Fee taken on"), choices=HandlingRule.FeeBase.choices)
    call_trades = forms.ChoiceField(
        label=tell("Trades in a margin call"), choices=HandlingRule.CallTrades.choices
    )

    def arguments(self, customer: Customer, at: datetime) -> dict[str, Any]:
        starts_at, ends_at = self.dates()
        typed = self.cleaned_data
        return {
            "product": ProductCode.VIP.value,
            "customer": customer,
            "mode": Mode(typed["mode"]),
            "target": None if typed["target"] is None else fraction(typed["target"]),
            "step_share": fraction(typed["step_share"]),
            "full_below_usd": typed["full_below_usd"],
            "fee_base": FeeBase(typed["fee_base"]),
            "call_trades": CallTrades(typed["call_trades"]),
            "effective_at": starts_at,
            "ends_at": ends_at,
        }


class WhitelistForm(NowForm):
    whitelisted = forms.TypedChoiceField(
        choices=[("1", tell("in")), ("0", tell("out"))],
        coerce=lambda value: value == "1",
        widget=forms.HiddenInput(),
    )


@exact
def fraction(percent: Decimal) -> Decimal:
    return percent / 100


@exact
def percent(value: Decimal) -> str:
    """A fraction as it is typed: 0.005 is 0.5."""
    digits = f"{value * 100:f}"
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def _utc(typed: datetime | None) -> datetime | None:
    return None if typed is None else typed.astimezone(UTC)


DatedForm = TermsForm | LinesForm | HandlingForm
"""Each says in `arguments` what its command is called with, for a client; of a valid form."""
