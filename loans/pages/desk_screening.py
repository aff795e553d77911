"""A client's checks of identity and sanctions: where they stand, every one recorded, and the form (R-ADM-10)."""

from datetime import UTC, datetime

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import screenings
from accounts.errors import Refused
from accounts.models import Customer, Screening
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.words import tell
from loans.pages.client_forms import instant_field
from loans.pages.desk_access import clients_of, for_the_house
from loans.vip import papers

NEWEST = 50


class ScreeningForm(forms.Form):
    kind = forms.ChoiceField(
        label=tell("What was checked"), choices=Screening.Kind.choices, widget=forms.RadioSelect
    )
    status = forms.ChoiceField(
        label=tell("Outcome"), choices=Screening.Status.choices, widget=forms.RadioSelect
    )
    checked_at = instant_field(tell("Checked at (UTC); now when empty"))
    valid_until = instant_field(tell("Valid until (UTC); without end when empty"))
    reference = forms.CharField(
        label=tell("Reference: the provider’s case or our file"),
        required=False,
        max_length=screenings.LONGEST_REFERENCE,
    )
    note = forms.CharField(
        label=tell("Note"),
        required=False,
        max_length=screenings.LONGEST_NOTE,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    key = key_field()


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def screening(request: HttpRequest, client_id: int) -> HttpResponse:
    """The manager looks; operations, a risk officer or an administrator records."""
    at, user = timezone.now(), user_of(request)
    customer = get_object_or_404(clients_of(user), pk=client_id)
    records = user.role in screenings.RECORDERS
    form = ScreeningForm(request.POST or None)
    if request.method == "POST":
        if not records:
            raise PermissionDenied(tell("Operations, a risk officer or an administrator records it."))
        if form.is_valid() and _recorded(request, customer, form, at):
            messages.success(request, tell("The check is recorded."))
            return redirect("loans:desk_screening", customer.pk)
    context = {
        "client": customer,
        "at": at,
        "screening": screenings.summary(customer, at),
        "problems": papers.problems_of(customer, at=at),
        "history": customer.screenings.select_related("recorded_by").order_by("-pk")[:NEWEST],
        "records": records,
        "form": form,
    }
    return render(request, "loans/desk_screenings.html", context, status=REFUSED if form.errors else 200)


def _recorded(request: HttpRequest, customer: Customer, form: ScreeningForm, at: datetime) -> bool:
    typed = form.cleaned_data
    try:
        screenings.record(
            customer_id=customer.pk,
            kind=typed["kind"],
            status=typed["status"],
            checked_at=_utc(typed["checked_at"]),
            valid_until=_utc(typed["valid_until"]),
            reference=typed["reference"],
            note=typed["note"],
            actor=actor_of(request),
            at=at,
            key=key_of(form),
        )
    except Refused as refusal:
        refuse(form, refusal)
        return False
    return True


def _utc(typed: datetime | None) -> datetime | None:
    return None if typed is None else typed.astimezone(UTC)
