"""Calling an open loan back from the desk: what is owed, from when on it may be asked for, and why (R-VIP-44)."""

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts.errors import Refused
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.words import tell
from loans import queries
from loans.models import Loan
from loans.pages.desk_access import clients_of, for_the_house
from loans.pages.loan_panels import can_be_called, may_call
from loans.vip import calling


class CallForm(forms.Form):
    due_at = forms.DateTimeField(
        label=tell("Repay by, UTC"),
        input_formats=["%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"],
        widget=forms.DateTimeInput(format="%Y-%m-%d %H:%M", attrs={"autocomplete": "off"}),
        error_messages={
            "required": tell("Say by when, such as 2026-02-01 10:00."),
            "invalid": tell("Write the time in UTC as 2026-02-01 10:00."),
        },
    )
    reason = forms.CharField(
        label=tell("Why; the client reads this"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": tell("Say why the loan is called; the client will read it.")},
    )
    key = key_field()


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def call(request: HttpRequest, loan_id: int) -> HttpResponse:
    user, at = user_of(request), timezone.now()
    rows = Loan.objects.filter(customer__in=clients_of(user)).select_related(
        "asset", "customer", "debt__asset", "group__receiver"
    )
    row = get_object_or_404(rows, pk=loan_id)
    if not may_call(user, row):
        raise PermissionDenied("An open loan is called by its client's VIP manager or a risk officer.")
    if request.method != "POST" and not can_be_called(row):
        return redirect("loans:loan", row.pk)  # the page says what it is now
    earliest = calling.earliest_due_at(row, at=at)
    form = CallForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            calling.call_loan(
                loan_id=row.pk,
                due_at=form.cleaned_data["due_at"],
                reason=form.cleaned_data["reason"],
                actor=actor_of(request),
                at=at,
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(
                request,
                tell(
                    "{row} is called for {cleaned_data:%-d %b %Y, %H:%M} UTC.",
                    row=row,
                    cleaned_data=form.cleaned_data["due_at"],
                ),
            )
            return redirect("loans:loan", row.pk)
    context = {
        "form": form,
        "loan": row,
        "row": queries.loan_row(row, at=at),
        "earliest": earliest,
        "at": at,
    }
    return render(request, "loans/desk_call.html", context, status=REFUSED if form.errors else 200)
