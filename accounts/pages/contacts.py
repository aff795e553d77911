"""Contacts besides the members: who they are, when each is told, and a message to try one (R-FTR-03)."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_POST

from accounts import contacts
from accounts.errors import Refused
from accounts.models import Customer, NoticeContact
from accounts.pages.access import actor_of, for_customer
from accounts.pages.forms import REFUSED, key_of, refuse
from accounts.pages.preferences import CONTACT_IDS, SECRET, ContactForm, form_of, page
from accounts.words import tell

FIELDS = {
    "bad_contact": "name",
    "bad_contact_address": "address",
    "bad_webhook_address": "address",
    "contact_exists": "address",
    "bad_escalation": "after_minutes",
}
"""At which field a refusal is shown."""


@require_POST
@for_customer
def add(request: HttpRequest, customer: Customer) -> HttpResponse:
    form = ContactForm(request.POST, auto_id=CONTACT_IDS)
    if form.is_valid():
        chosen = {name: value for name, value in form.cleaned_data.items() if name != "key"}
        chosen["after_minutes"] = chosen["after_minutes"] or 0
        try:
            contact = contacts.add(
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
            if contact.secret:  # shown by the next page, and by no other
                request.session[SECRET] = {"name": contact.name, "secret": contact.secret}
            messages.success(request, tell("{contact} is told from now on.", contact=contact.name))
            return redirect("accounts:preferences")
    return page(request, customer, form_of(customer), contact_form=form, status=REFUSED)


@require_POST
@for_customer
def test(request: HttpRequest, customer: Customer, contact_id: int) -> HttpResponse:
    return _act(
        request,
        customer,
        contact_id,
        contacts.send_test,
        tell("{} is sent a test. Its page among your notices shows the answer."),
    )


@require_POST
@for_customer
def remove(request: HttpRequest, customer: Customer, contact_id: int) -> HttpResponse:
    return _act(request, customer, contact_id, contacts.remove, tell("{} is told nothing more."))


def _act(
    request: HttpRequest, customer: Customer, contact_id: int, act: Callable[..., Any], done: str
) -> HttpResponse:
    contact = get_object_or_404(NoticeContact, pk=contact_id, customer=customer)
    try:
        act(
            customer_id=customer.pk,
            contact_id=contact.pk,
            actor=actor_of(request),
            at=timezone.now(),
            key=request.POST.get("key", "")[:64] or str(uuid4()),
        )
    except Refused as refusal:
        messages.error(request, refusal.message)
        return page(request, customer, form_of(customer), status=REFUSED)
    messages.success(request, done.format(contact.name))
    return redirect("accounts:preferences")
