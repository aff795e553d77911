"""A client's policy in one place: what is in force, what was, and the forms to change it (R-ADM-02).

Each form is one command. What needs a second person is proposed and waits in the four-eyes inbox.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts import approvals, people
from accounts.errors import Refused
from accounts.models import Approval, AuditRecord, Customer
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, key_of, refuse
from accounts.words import tell
from loans import clients, limits, ratecards, timeline
from loans.models import ClientTerms
from loans.pages.client_forms import (
    EVERY_COIN,
    TICKED_COINS,
    DatedForm,
    HandlingForm,
    LinesForm,
    TermsForm,
    WhitelistForm,
    percent,
)
from loans.pages.desk_access import clients_of, for_the_house
from loans.policy import policy_of
from risk import parameters
from risk.models import DelayEnrolment, HandlingRule, Limits, ProductCode
from risk.parameters import preview

LATEST: Final = 50


@dataclass(frozen=True, slots=True)
class Dated:
    """A form whose command is run or proposed: the name of the command, and what the proposal is called."""

    form: type[DatedForm]
    command: str
    title: str


DATED: Final = {
    "terms": Dated(TermsForm, clients.COMMAND, tell("Own terms")),
    "lines": Dated(LinesForm, "risk.publish_limits", tell("Own LTV lines")),
    "handling": Dated(HandlingForm, "risk.publish_handling", tell("Own handling")),
}


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def terms(request: HttpRequest, client_id: int) -> HttpResponse:
    at = timezone.now()
    rows = clients_of(user_of(request)).select_related("manager")
    customer = get_object_or_404(rows, pk=client_id)
    what = request.POST.get("what", "")
    form: forms.Form | None = None
    if request.method == "POST" and what in DATED:
        form = DATED[what].form(request.POST)
        if form.is_valid() and _settled(request, customer, what, form, at):
            return redirect("loans:desk_client_terms", customer.pk)
    elif request.method == "POST" and what == "whitelist":
        form = WhitelistForm(request.POST)
        if form.is_valid() and _let_in(request, customer, form, at):
            return redirect("loans:desk_client_terms", customer.pk)
    context = _shown(customer, at) | _forms(customer, at)
    if form is not None:
        context[f"{what}_form"] = form
    refused = request.method == "POST"
    return render(request, "loans/desk_client_terms.html", context, status=REFUSED if refused else 200)


@require_safe
@for_the_house
def desk_limits(request: HttpRequest) -> HttpResponse:
    """How far the desk's own caps are used."""
    at = timezone.now()
    return render(request, "loans/desk_limits.html", {"rows": limits.usage_of_the_desk(at=at), "at": at})


# --- Changes ------------------------------------------------------------------------------------------


def _settled(request: HttpRequest, customer: Customer, what: str, form: DatedForm, at: datetime) -> bool:
    one = DATED[what]
    arguments = form.arguments(customer, at)
    try:
        proposal = approvals.run_or_propose(
            command=one.command,
            arguments=arguments,
            title=tell("{one} of {customer}", one=one.title, customer=customer.name),
            preview=preview.of(one.command, arguments, at=at),
            reason=form.cleaned_data["reason"],
            actor=actor_of(request),
            at=at,
            customer=customer,
            key=key_of(form),
        )
    except Refused as refusal:
        refuse(form, refusal)
        return False
    if proposal is None:
        messages.success(request, tell("{one} of {customer}: done.", one=one.title, customer=customer.name))
    else:
        messages.success(
            request,
            tell(
                "{proposal} waits for a second person; it takes effect when they release it.",
                proposal=proposal,
            ),
        )
    return True


def _let_in(request: HttpRequest, customer: Customer, form: WhitelistForm, at: datetime) -> bool:
    try:
        people.whitelist(
            customer_id=customer.pk,
            whitelisted=form.cleaned_data["whitelisted"],
            actor=actor_of(request),
            at=at,
            key=key_of(form),
            reason=form.cleaned_data["reason"],
        )
    except Refused as refusal:
        refuse(form, refusal)
        return False
    messages.success(request, tell("Done."))
    return True


# --- What is shown ------------------------------------------------------------------------------------


def _shown(customer: Customer, at: datetime) -> dict[str, Any]:
    history = ClientTerms.objects.filter(customer=customer).select_related("set_by")
    own = policy_of(customer, at=at)
    enrolled = DelayEnrolment.objects.filter(customer=customer).select_related("granted_by")
    trail = AuditRecord.objects.filter(
        subject=f"accounts_customer:{customer.pk}",
        kind=AuditRecord.Kind.UPDATE,
        after__has_any_keys=["whitelisted", "vip_level", "manager_id"],
    )
    changes = list(trail.order_by("-pk")[:LATEST])
    names = timeline.names_of(row.actor for row in changes)
    return {
        "client": customer,
        "at": at,
        "usage": limits.usage_of(customer, at=at),
        "in_force": [(row, clients.in_words(row)) for _, row in sorted(own.rows.items())],
        "history": [(row, clients.in_words(row)) for row in history.order_by("-starts_at", "-pk")[:LATEST]],
        "own_lines": Limits.objects.filter(customer=customer).order_by("-effective_at")[:LATEST],
        "own_handling": HandlingRule.objects.filter(customer=customer).order_by("-effective_at")[:LATEST],
        "enrolments": enrolled.order_by("-starts_at")[:LATEST],
        "trail": [(row, names.get(row.actor, row.actor)) for row in changes],
        "waiting": Approval.objects.filter(
            customer=customer, side=Approval.Side.DESK, status=Approval.Status.PENDING
        ).order_by("pk"),
        "product": ratecards.product_at(ProductCode.VIP, at=at),
    }


def _forms(customer: Customer, at: datetime) -> dict[str, forms.Form]:
    lines = parameters.lines_for(product=ProductCode.VIP, customer=customer, assets=[], at=at)
    handling = parameters.handling_for(product=ProductCode.VIP, customer=customer, at=at)
    row = policy_of(customer, at=at).rows.get("")
    return {
        "terms_form": TermsForm(
            initial={"what": "terms", "coins": EVERY_COIN} | (_typed(row) if row else {})
        ),
        "lines_form": LinesForm(
            initial={
                "what": "lines",
                "initial_line": percent(lines.initial),
                "margin_call": percent(lines.margin_call),
                "liquidation": percent(lines.liquidation),
                "cutoff": percent(lines.cutoff),
                "fee": percent(lines.fee),
            }
        ),
        "handling_form": HandlingForm(
            initial={
                "what": "handling",
                "mode": handling.mode.value,
                "target": "" if handling.target is None else percent(handling.target),
                "step_share": percent(handling.step_share),
                "full_below_usd": f"{handling.full_below_usd:.2f}",
                "fee_base": handling.fee_base.value,
                "call_trades": handling.call_trades.value,
            }
        ),
        "whitelist_form": WhitelistForm(
            initial={"what": "whitelist", "whitelisted": "0" if customer.whitelisted else "1"}
        ),
    }


def _typed(row: ClientTerms) -> dict[str, Any]:
    """A row as the form has it, so that what is not touched stays."""
    return {
        "spread": "" if row.spread is None else percent(row.spread),
        "overdue_hours": row.overdue_hours,
        "max_exposure_usd": None if row.max_exposure_usd is None else f"{row.max_exposure_usd:.2f}",
        "is_uncapped": row.is_uncapped,
        "coins": EVERY_COIN if row.allowed_coins is None else TICKED_COINS,
        "allowed_coins": row.allowed_coins or [],
        "ends_at": row.ends_at,
    }
