"""A borrower's own early warning lines of a group: see, set, remove (R-GEN-63)."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts.errors import Refused
from accounts.models import Customer
from accounts.money import ONE, exact
from accounts.pages.access import actor_of, for_customer, limited_to
from accounts.pages.forms import REFUSED, amount_field, key_field, key_of, read_amount, refuse
from accounts.words import tell
from risk import book, delays, early_warnings, parameters
from risk.models import CollateralGroup
from risk.pages.standing import standing_of

PERCENT_PLACES = 8  # of what is typed; kept as a fraction with two more


class LineForm(forms.Form):
    """`coin` empty: the line counts whatever the group holds."""

    ltv = amount_field(tell("Warn me from this LTV on, in per cent"))
    coin = forms.ChoiceField(label=tell("While the group holds"), required=False)
    key = key_field()

    def __init__(self, *args: Any, coins: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["coin"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", tell("any of its coins")), *((coin, coin) for coin in coins)]

    @exact
    def clean(self) -> dict[str, Any]:
        typed = read_amount(self, "ltv", places=PERCENT_PLACES)
        if typed is not None:
            self.cleaned_data["ltv"] = typed * ONE / 100
        return self.cleaned_data


class RemoveForm(forms.Form):
    line = forms.IntegerField(widget=forms.HiddenInput())
    key = key_field()


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def warnings(request: HttpRequest, customer: Customer, group_id: int) -> HttpResponse:
    """The lines, and the form that sets one."""
    group, at = _group(request, customer, group_id), timezone.now()
    state = book.state_of(group, at=at)
    form = LineForm(request.POST or None, coins=sorted(state.coins))
    if request.method == "POST" and form.is_valid():
        ltv: Decimal = form.cleaned_data["ltv"]
        try:
            early_warnings.set_line(
                group_id=group.pk,
                ltv=ltv,
                asset=form.cleaned_data["coin"] or None,
                actor=actor_of(request),
                at=at,
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, tell("Line set: you are told each time LTV rises to it."))
            return redirect("risk:warnings", group.pk)
    context = {
        "group": group,
        "standing": standing_of(group, state, delay=delays.running(group)),
        "form": form,
        "rows": [(row, RemoveForm(initial={"line": row.pk})) for row in early_warnings.own_lines(group)],
        "ladder": early_warnings.ladder(parameters.settings_at(at)),
        "most": early_warnings.MOST_LINES,
        "at": at,
    }
    return render(request, "risk/warnings.html", context, status=REFUSED if form.errors else 200)


@require_POST
@for_customer
def remove(request: HttpRequest, customer: Customer, group_id: int) -> HttpResponse:
    group, form = _group(request, customer, group_id), RemoveForm(request.POST)
    if not form.is_valid():
        raise Http404
    try:
        early_warnings.remove_line(
            group_id=group.pk,
            line_id=form.cleaned_data["line"],
            actor=actor_of(request),
            at=timezone.now(),
            key=key_of(form),
        )
    except Refused as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, tell("Line removed."))
    return redirect("risk:warnings", group.pk)


def _group(request: HttpRequest, customer: Customer, group_id: int) -> CollateralGroup:
    """Their own open group; who is limited to one account has no say over the whole group (R-GEN-95)."""
    if limited_to(request) is not None:
        raise Http404
    rows = CollateralGroup.objects.open().filter(customer=customer).select_related("receiver", "customer")
    return get_object_or_404(rows, pk=group_id)
