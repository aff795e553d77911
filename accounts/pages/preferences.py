"""How we reach you: channels, phone, quiet hours, who else is told, and a message to try them (R-GEN-60, R-FTR-03)."""

from typing import Any
from uuid import uuid4

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts import notices, preferences, reach
from accounts.contacts import LONGEST_NAME, MOST_CONTACTS
from accounts.errors import Refused
from accounts.models import Customer, NoticeContact, NoticePreference
from accounts.pages.access import actor_of, for_customer, user_of
from accounts.pages.forms import REFUSED, LongSelect, key_field, key_of, refuse
from accounts.words import tell

FIELDS = {
    "bad_phone_number": "phone",
    "bad_quiet_hours": "quiet_until",
    "bad_time_zone": "time_zone",
    "bad_language": "language",
}
"""At which field a refusal is shown."""

CONTACT_IDS = "contact_%s"  # two forms stand on the page

SECRET = "webhook_secret"  # noqa: S105  the name of a place, not what it holds
"""Where the session holds a new webhook's secret until the next page has shown it."""


class PreferenceForm(forms.Form):
    by_email = forms.BooleanField(label=tell("E-mail"), required=False)
    by_sms = forms.BooleanField(label="SMS", required=False)
    phone = forms.CharField(
        label=tell("Phone number"),
        required=False,
        max_length=40,
        help_text=tell("With the country, such as +41 79 123 45 67"),
        widget=forms.TextInput(attrs={"autocomplete": "tel", "inputmode": "tel"}),
    )
    quiet_from = forms.TimeField(
        label=tell("Quiet from"),
        required=False,
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
    )
    quiet_until = forms.TimeField(
        label=tell("Quiet until"),
        required=False,
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        help_text=tell("Both empty: no quiet hours"),
    )
    time_zone = forms.ChoiceField(
        label=tell("Your time zone"),
        help_text=tell("Quiet hours are in this time; all else is UTC"),
        widget=LongSelect,
    )
    language = forms.ChoiceField(
        label=tell("Language of e-mail and SMS"), choices=NoticePreference.Language.choices, required=False
    )
    key = key_field()

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        zones = forms.ChoiceField(choices=[(name, name.replace("_", " ")) for name in reach.time_zones()])
        field = self.fields["time_zone"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = zones.choices


class ContactForm(forms.Form):
    name = forms.CharField(
        label=tell("Who"),
        max_length=LONGEST_NAME,
        help_text=tell("Such as Night desk, or Risk robot"),
        error_messages={"required": tell("Say who it is, such as Night desk.")},
    )
    channel = forms.ChoiceField(
        label=tell("Reached by"), choices=NoticeContact.Channel.choices, initial="email"
    )
    address = forms.CharField(
        label=tell("Address"),
        max_length=300,
        help_text=tell("An e-mail address, a number such as +41 79 123 45 67, or https://…"),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": tell("Say where: an e-mail address, a number or an https address.")},
    )
    urgent_only = forms.BooleanField(label=tell("Only what is urgent"), required=False, initial=True)
    after_minutes = forms.IntegerField(
        label=tell("Minutes to wait for an acknowledgement"),
        required=False,
        initial=0,
        help_text=tell("0: told at once. More: told only if nobody has acknowledged the notice by then"),
        error_messages={"invalid": tell("Write whole minutes, such as 15; 0 is at once.")},
    )
    key = key_field()


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def preference(request: HttpRequest, customer: Customer) -> HttpResponse:
    form = PreferenceForm(request.POST) if request.method == "POST" else form_of(customer)
    if form.is_bound and form.is_valid():
        chosen = {name: value for name, value in form.cleaned_data.items() if name != "key"}
        chosen["language"] = chosen["language"] or notices.preference_of(customer).language
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
            messages.success(request, tell("Saved. It counts for every notice from now on."))
            return redirect("accounts:preferences")
    return page(request, customer, form)


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
        form = form_of(customer)
        messages.error(request, refusal.message)
        return page(request, customer, form, status=REFUSED)
    messages.success(
        request, tell("On its way. Its page among your notices shows what each channel answered.")
    )
    return redirect("accounts:preferences")


def form_of(customer: Customer) -> PreferenceForm:
    now = notices.preference_of(customer)
    return PreferenceForm(
        initial={
            "by_email": now.by_email,
            "by_sms": now.by_sms and bool(now.phone),
            "phone": now.phone,
            "quiet_from": now.quiet_from,
            "quiet_until": now.quiet_until,
            "time_zone": now.time_zone,
            "language": now.language,
        }
    )


def page(
    request: HttpRequest,
    customer: Customer,
    form: PreferenceForm,
    *,
    contact_form: forms.Form | None = None,
    status: int = 0,
) -> HttpResponse:
    """The whole page; a contact's form when one was refused."""
    members = customer.memberships.filter(user__is_active=True, account=None).order_by("user__email")
    context: dict[str, Any] = {
        "form": form,
        "addresses": list(members.values_list("user__email", flat=True)),
        "test_key": uuid4(),
        "me": user_of(request).email,
        "contacts": [(row, uuid4(), uuid4()) for row in notices.contacts_of(customer)],
        "contact_form": contact_form or ContactForm(auto_id=CONTACT_IDS),
        "most_contacts": MOST_CONTACTS,
        "new_secret": request.session.pop(SECRET, None),
    }
    response = render(
        request,
        "accounts/notice_preferences.html",
        context,
        status=status or (REFUSED if form.errors else 200),
    )
    if context["new_secret"]:
        response["Cache-Control"] = "no-store"
    return response
