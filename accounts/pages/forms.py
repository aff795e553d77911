"""What the forms of every page share: amounts in the one grammar, a key per form, and look-before-you-press.

An action that moves money is asked for twice. The first post shows what it would do; the second carries the
signature of what was shown, so a value that was edited in between is shown again instead of done.
"""

import hashlib
from decimal import Decimal
from typing import Any
from uuid import uuid4

from django import forms
from django.db.models import Model
from django.forms.utils import flatatt
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from accounts.errors import BadAmount, Refused
from accounts.money import parse_amount
from accounts.typed import as_sent, as_shown
from accounts.words import tell

REFUSED = 422
CHOSEN = SafeString(" selected")


class Typed(str):
    """What somebody typed, shown again as it was."""

    __slots__ = ()


class LongSelect(forms.Select):
    """The usual control, written in one piece: a template for each of some hundred coins takes longer than the page."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        told = self.get_context(name, value, attrs)["widget"]
        options = format_html_join(
            "\n",
            '<option value="{}"{}>{}</option>',
            (
                (one["value"], CHOSEN if one["selected"] else "", one["label"])
                for _, group, _ in told["optgroups"]
                for one in group
            ),
        )
        return format_html('<select name="{}"{}>{}</select>', told["name"], flatatt(told["attrs"]), options)


class LongChecks(forms.CheckboxSelectMultiple):
    """The usual boxes, written in one piece for the same reason; each in its label."""

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        told = self.get_context(name, value, attrs)["widget"]
        return format_html_join(
            "\n",
            '<label class="tick"><input type="checkbox" name="{}" value="{}"{}><span>{}</span></label>',
            (
                (one["name"], one["value"], flatatt(one["attrs"]), one["label"])
                for _, group, _ in told["optgroups"]
                for one in group
            ),
        )


class AmountField(forms.CharField):
    """Text; what the house fills in is written as its reader types it, what was typed stays as it was."""

    def bound_data(self, data: Any, initial: Any) -> Any:
        return Typed(data) if isinstance(data, str) else data

    def prepare_value(self, value: Any) -> Any:
        return as_shown(value) if isinstance(value, str) and not isinstance(value, Typed) else value


def amount_field(label: str = tell("Amount"), *, required: bool = True) -> forms.CharField:
    """An amount as typed; `read_amount` judges it once its asset is known. Spaces are not stripped away."""
    widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
    long = tell("An amount has at most 17 digits before the point and 8 after it.")
    return AmountField(
        label=label,
        required=required,
        strip=False,
        max_length=60,
        widget=widget,
        error_messages={"required": tell("Say how much, such as 1250.50."), "max_length": long},
    )


def key_field() -> forms.UUIDField:
    """The idempotency key: one per form shown, so that pressing twice does it once (R-GEN-06)."""
    return forms.UUIDField(initial=uuid4, widget=forms.HiddenInput())


def read_amount(form: forms.BaseForm, field: str, *, places: int) -> Decimal | None:
    """The amount in `field`, typed the reader's way, or None with the reason at the field."""
    try:
        sent = as_sent(form.cleaned_data.get(field))
        return parse_amount(_without_idle_zeros(sent, places), places=places)
    except BadAmount as refusal:
        form.add_error(field, refusal.message)
        return None


def _without_idle_zeros(text: object, places: int) -> object:
    """Zeros past the coin's places say nothing: a balance has 8, and 162,2550 is how 162,255 is told from 162255."""
    if not isinstance(text, str) or "." not in text:
        return text
    whole, _, decimals = text.partition(".")
    kept = decimals[:places] + decimals[places:].rstrip("0")
    return f"{whole}.{kept}" if kept else whole


def signature(form: forms.BaseForm) -> str:
    """Names everything a valid form asks for, except its key; a row by its number, since two may be called the same."""
    asked = sorted(
        (name, tell("{pk} {value}", pk=value.pk, value=value) if isinstance(value, Model) else str(value))
        for name, value in form.cleaned_data.items()
        if name != "key"
    )
    return hashlib.sha256(repr(asked).encode()).hexdigest()


def is_look(request: HttpRequest) -> bool:
    """Only the effect is asked for: by the button that says so, or by the page while somebody types."""
    return "look" in request.POST


def is_confirmed(request: HttpRequest, form: forms.BaseForm) -> bool:
    """The button that names the action was pressed, and the values are still those it named."""
    return not is_look(request) and request.POST.get("seen") == signature(form)


def key_of(form: forms.BaseForm) -> str:
    return str(form.cleaned_data["key"])


def refuse(form: forms.BaseForm, refusal: Refused) -> None:
    """Say no on the form. A key that was used up is replaced, so that the next try is a new one."""
    form.add_error(None, refusal.message)
    if refusal.code == "idempotency_key_reused":
        typed: Any = form.data
        data = typed.copy()
        data["key"] = str(uuid4())
        form.data = data
