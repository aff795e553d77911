"""Ask the desk: for those who cannot apply online, and for terms that no list has (R-VIP-17)."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts.errors import Refused
from accounts.models import Account, Customer
from accounts.pages.access import actor_of, for_customer, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.words import tell
from loans import enquiries
from loans.enquiries import LONGEST_CONTACT, LONGEST_WISH
from loans.models import Enquiry


class EnquiryForm(forms.Form):
    contact = forms.CharField(
        label=tell("How we reach you"),
        max_length=LONGEST_CONTACT,
        error_messages={"required": tell("Say how we reach you: an e-mail address or a telephone number.")},
    )
    account = forms.TypedChoiceField(
        label=tell("For which account"), coerce=int, empty_value=None, required=False
    )
    wish = forms.CharField(
        label=tell("What you wish for"),
        max_length=LONGEST_WISH,
        widget=forms.Textarea(attrs={"rows": 5}),
        error_messages={"required": tell("Say what you wish for: coins, amounts, term, collateral.")},
    )
    key = key_field()

    def __init__(self, *args: Any, accounts: list[Account], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["account"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [("", tell("Any")), *((account.pk, str(account)) for account in accounts)]


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def enquiry(request: HttpRequest, customer: Customer) -> HttpResponse:
    user = user_of(request)
    accounts = list(Account.objects.visible_to(user).filter(customer=customer).order_by("pk"))
    form = EnquiryForm(request.POST or None, accounts=accounts, initial={"contact": user.email})
    if request.method == "POST" and form.is_valid():
        try:
            row = enquiries.ask(
                customer_id=customer.pk,
                contact=form.cleaned_data["contact"],
                wish=form.cleaned_data["wish"],
                account_uid=form.cleaned_data["account"],
                actor=actor_of(request),
                at=timezone.now(),
                key=key_of(form),
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, tell("{row} is sent. The answer comes as a notice.", row=row))
            return redirect("loans:enquiry")
    asked = Enquiry.objects.visible_to(user).filter(customer=customer).order_by("-asked_at", "-pk")
    context = {"form": form, "asked": asked[:50], "manager": customer.manager}
    return render(request, "loans/enquiry.html", context, status=REFUSED if form.errors else 200)


@require_POST
@for_customer
def withdraw(request: HttpRequest, customer: Customer, enquiry_id: int) -> HttpResponse:
    rows = Enquiry.objects.visible_to(user_of(request)).filter(customer=customer)
    row = get_object_or_404(rows, pk=enquiry_id)
    try:
        enquiries.withdraw(enquiry_id=row.pk, actor=actor_of(request), at=timezone.now())
    except Refused as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, tell("{row} is taken back.", row=row))
    return redirect("loans:enquiry")
