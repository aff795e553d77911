"""A firm's own people: who may do what, and for what it asks for two of them (R-ADM-09).

Everybody of the firm reads it; its signatories change it.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts import firms, membership
from accounts.commands import NeedsApproval
from accounts.errors import Refused
from accounts.models import Customer, FirmPolicy, Membership
from accounts.pages.access import actor_of, for_customer, user_of
from accounts.pages.firm_inbox import send
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from accounts.powers import WORDS, Power, powers_of
from accounts.words import joined, tell

ACTS = {
    "apply": tell("Send a request for a loan, or ask for other terms"),
    "accept": tell("Accept an offer of the desk"),
    "withdraw": tell("Withdraw coins"),
    "remove": tell("Take an account out of the collateral"),
}


class PolicyForm(forms.Form):
    apply = forms.BooleanField(label=ACTS["apply"], required=False)
    accept = forms.BooleanField(label=ACTS["accept"], required=False)
    withdraw = forms.BooleanField(label=ACTS["withdraw"], required=False)
    remove = forms.BooleanField(label=ACTS["remove"], required=False)
    key = key_field()


class RoleForm(forms.Form):
    member = forms.TypedChoiceField(label=tell("Member"), coerce=int)
    role = forms.ChoiceField(label=tell("Role"), choices=Membership.Role.choices)
    key = key_field()

    def __init__(self, *args: Any, members: list[Membership], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["member"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(row.user_id, row.user.name) for row in members]


@require_safe
@for_customer
def firm(request: HttpRequest, customer: Customer) -> HttpResponse:
    return _page(request, customer, at=timezone.now())


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def policy(request: HttpRequest, customer: Customer) -> HttpResponse:
    """Say for what two are asked for; switching one off may itself wait for a second signatory."""
    at, form = timezone.now(), PolicyForm(request.POST or None)
    if request.method != "POST":
        return redirect("accounts:firm")
    if form.is_valid():
        told = {"customer_id": customer.pk} | {act: form.cleaned_data[act] for act in ACTS}
        try:
            return _change(request, "firms.set_policy", told, title=_policy_words(told), at=at, form=form)
        except Refused as refusal:
            refuse(form, refusal)
    return _page(request, customer, at=at, policy_form=form)


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def role(request: HttpRequest, customer: Customer) -> HttpResponse:
    """Change what one member may do."""
    at, members = timezone.now(), _members(customer)
    if request.method != "POST":
        return redirect("accounts:firm")
    form = RoleForm(request.POST, members=members)
    if form.is_valid():
        user_id, new = form.cleaned_data["member"], form.cleaned_data["role"]
        name = next(row.user.name for row in members if row.user_id == user_id)
        told = {"customer_id": customer.pk, "user_id": user_id, "role": new}
        try:
            return _change(
                request,
                "firms.set_role",
                told,
                title=tell("{name} becomes {new}", name=name, new=new),
                at=at,
                form=form,
            )
        except Refused as refusal:
            refuse(form, refusal)
    return _page(request, customer, at=at, role_form=form)


# --- Private ----------------------------------------------------------------------------------------


def _change(
    request: HttpRequest, command: str, told: dict[str, Any], *, title: str, at: datetime, form: forms.Form
) -> HttpResponse:
    """Do it, or send it to another signatory where that takes two."""
    do: Callable[..., object] = firms.set_policy if command == "firms.set_policy" else firms.set_role
    key = key_of(form)
    try:
        do(**told, actor=actor_of(request), at=at, key=key)
    except NeedsApproval:
        waiting = send(request, command=command, arguments=told, title=title, facts={}, at=at, key=key)
        return redirect("accounts:firm_proposal", waiting.pk)
    messages.success(request, tell("{title}. It counts from now on.", title=title))
    return redirect("accounts:firm")


def _page(
    request: HttpRequest,
    customer: Customer,
    *,
    at: datetime,
    policy_form: PolicyForm | None = None,
    role_form: RoleForm | None = None,
) -> HttpResponse:
    if customer.kind != Customer.Kind.FIRM:
        raise Http404
    members, now = _members(customer), membership.policy_of(customer.pk, at=at)
    asked = {act: now is not None and getattr(now, act) for act in ACTS}
    context = {
        "firm": customer,
        "members": members,
        "me": user_of(request).pk,
        "policy": now,
        "asked": [(words, asked[act]) for act, words in ACTS.items()],
        "changes": FirmPolicy.objects.filter(customer=customer).select_related("set_by").order_by("-pk")[:10],
        "policy_form": policy_form or PolicyForm(initial=asked),
        "role_form": role_form or RoleForm(members=members),
        "roles": [(role.label, _words(powers_of(role.value))) for role in Membership.Role],
    }
    refused = any(form is not None and form.errors for form in (policy_form, role_form))
    return render(request, "accounts/firm.html", context, status=REFUSED if refused else 200)


def _members(customer: Customer) -> list[Membership]:
    rows = customer.memberships.filter(user__is_active=True).select_related("user", "account")
    return list(rows.order_by("user__name", "pk"))


def _words(powers: frozenset[Power]) -> str:
    if powers == frozenset(Power):
        return tell("everything")
    return joined("; ", (WORDS[power] for power in Power if power in powers))


def _policy_words(told: dict[str, Any]) -> str:
    named = [words.lower() for act, words in ACTS.items() if told[act]]
    return (
        tell("Two people for: {named}", named=joined("; ", named))
        if named
        else tell("One person is enough for everything")
    )
