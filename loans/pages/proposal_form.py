"""What every form that proposes a parameter has: when it takes effect, why, and numbers as people write them."""

from decimal import Decimal
from typing import Any

from django import forms
from django.db.models import QuerySet

from accounts.models import Asset, Customer
from accounts.money import exact
from accounts.pages.forms import key_field
from accounts.words import tell


class PercentField(forms.DecimalField):
    """A percentage as people write it, 8.4; becomes the fraction 0.084, exactly."""

    def __init__(self, **options: Any) -> None:
        given: dict[str, Any] = {"max_digits": 14, "decimal_places": 10, "widget": plain_number()} | options
        super().__init__(**given)

    @exact
    def clean(self, value: Any) -> Any:
        percentage = super().clean(value)
        return None if percentage is None else percentage / Decimal(100)


class UsdField(forms.DecimalField):
    """Dollars; as many digits as the column has."""

    def __init__(self, **options: Any) -> None:
        places = {"min_value": 0, "max_digits": 36, "decimal_places": 18}
        given: dict[str, Any] = places | {"widget": plain_number()} | options
        super().__init__(**given)


def plain_number() -> forms.TextInput:
    return forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})


class ProposalForm(forms.Form):
    """Something that takes effect at an instant, with a reason. `clients` are whom the user may set terms for."""

    effective_at = forms.DateTimeField(
        label=tell("In force from (UTC)"),
        required=False,
        help_text=tell("YYYY-MM-DD HH:MM; empty is as soon as it is released."),
    )
    reason = forms.CharField(label=tell("Why"), max_length=1000, widget=forms.Textarea(attrs={"rows": 2}))
    key = key_field()

    def __init__(self, *args: Any, clients: "QuerySet[Customer]", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        coins = list(Asset.objects.order_by("pk").values_list("pk", flat=True))
        if isinstance(asset := self.fields.get("asset"), forms.ChoiceField):
            none = [] if asset.required else [("", tell("Every coin"))]
            asset.choices = [*none, *((coin, coin) for coin in coins)]
        if isinstance(customer := self.fields.get("customer"), forms.ModelChoiceField):
            customer.queryset = clients.order_by("name", "pk")
        last = ["effective_at", "reason", "key"]
        self.order_fields([name for name in self.fields if name not in last] + last)

    def arguments(self) -> dict[str, Any]:
        """The command's own arguments, shaped; of a form that is valid."""
        given = {name: value for name, value in self.cleaned_data.items() if name not in {"reason", "key"}}
        if "asset" in given:
            given["asset"] = given["asset"] or None
        return given


@exact
def percentage_of(fraction: Decimal) -> str:
    return f"{(100 * fraction).normalize():f}"
