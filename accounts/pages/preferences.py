"""How we reach you: channels, phone, quiet hours, and a message to try them (R-GEN-60)."""

from uuid import uuid4

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts import notices, preferences, reach
from accounts.errors import Refused
from accounts.models import Customer
from accounts.pages.access import actor_of, for_customer, user_of
from accounts.pages.forms import REFUSED, key_field, key_of, refuse

FIELDS = {
    "bad_phone_number": "phone",
    "bad_quiet_hours": "quiet_until",
    "bad_time_zone": "time_zone",
}
"""At which field a refusal is shown."""


class PreferenceForm(forms.Form):
    by_email = forms.BooleanField(label="E-mail", required=False)
    by_sms = forms.BooleanField(label="SMS", required=False)
    phone = forms.CharField(
        label="Phone number",
        required=False,
        max_length=40,
        help_text="With the country, such as +41 79 123 45 67",
        widget=forms.TextInput(attrs={"autocomplete": "tel", "inputmode": "tel"}),
    )
    quiet_from = forms.TimeField(
        label="Quiet from", required=False, widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M")
    )
    quiet_until = forms.TimeField(
        label="Quiet until",
        required=False,
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        help_text="Both empty: no quiet hours",
    )
    time_zone = forms.ChoiceField(
        label="Your time zone", help_text="Quiet hours are in this time; all else is UTC"
    )
    key = key_field()

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        zones = forms.ChoiceField(choices=[(name, name.replace("_", " ")) for name in reach.time_zones()])
        field = self.fields["time_zone"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = zones.choices


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def preference(request: HttpRequest, customer: Customer) -> HttpResponse:
    form = PreferenceForm(request.POST) if request.method == "POST" else _form_of(customer)
    if form.is_bound and form.is_valid():
        chosen = {name: value for name, value in form.cleaned_data.items() if name != "key"}
        try:
            preferences.set_preference(
                customer_id=customer.pk,
                actor=actor_of(request),
                at=timezone.now(),
                key=key_of(form),
                **chosen,
            )
        except Refused as refusal:
            if refusal.code in FIELDS:
                form.add_error(FIELDS[refusal.code], refusal.message)
            else:
                refuse(form, refusal)
        else:
            messages.success(request, "Saved. It counts for every notice from now on.")
            return redirect("accounts:preferences")
    return _page(request, customer, form)


@require_POST
@for_customer
def send_test(request: HttpRequest, customer: Customer) -> HttpResponse:
    try:
        preferences.send_test(
            customer_id=customer.pk,
            actor=actor_of(request),
            at=timezone.now(),
            key=request.POST.get("key", "")[:64] or str(uuid4()),
        )
    except Refused as refusal:
        form = _form_of(customer)
        messages.error(request, refusal.message)
        return _page(request, customer, form, status=REFUSED)
    messages.success(request, "On its way. Its page among your notices shows what each channel answered.")
    return redirect("accounts:preferences")


def _form_of(customer: Customer) -> PreferenceForm:
    now = notices.preference_of(customer)
    return PreferenceForm(
        initial={
            "by_email": now.by_email,
            "by_sms": now.by_sms and bool(now.phone),
            "phone": now.phone,
            "quiet_from": now.quiet_from,
            "quiet_until": now.quiet_until,
            "time_zone": now.time_zone,
        }
    )


def _page(request: HttpRequest, customer: Customer, form: PreferenceForm, *, status: int = 0) -> HttpResponse:
    members = customer.memberships.filter(user__is_active=True, account=None).order_by("user__email")
    context = {
        "form": form,
        "addresses": list(members.values_list("user__email", flat=True)),
        "test_key": uuid4(),
        "me": user_of(request).email,
    }
    return render(
        request,
        "accounts/notice_preferences.html",
        context,
        status=status or (REFUSED if form.errors else 200),
    )
