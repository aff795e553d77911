"""The borrowing agreement in force: read it, and accept it for the customer (R-VIP-16)."""

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import people
from accounts.errors import Refused
from accounts.models import Customer
from accounts.pages.access import actor_of, for_customer, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.words import tell


class AcceptForm(forms.Form):
    version = forms.CharField(max_length=20, widget=forms.HiddenInput())
    key = key_field()


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def agreement(request: HttpRequest, customer: Customer) -> HttpResponse:
    at = timezone.now()
    current = people.current_agreement(at=at)
    form = AcceptForm(request.POST or None, initial={"version": current.version if current else ""})
    if request.method == "POST" and form.is_valid():
        try:
            people.accept_agreement(
                customer_id=customer.pk,
                user_id=user_of(request).pk,
                version=form.cleaned_data["version"],
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
                    "Version {cleaned_data} of the agreement is accepted.",
                    cleaned_data=form.cleaned_data["version"],
                ),
            )
            return redirect("/")
    acceptance = (
        current.acceptances.filter(customer=customer).select_related("user").first() if current else None
    )
    context = {"agreement": current, "acceptance": acceptance, "form": form}
    return render(request, "accounts/agreement.html", context, status=REFUSED if form.errors else 200)
