"""The parameters page: what is in force and what is coming, and the proposal of a change (item by item).

A change is asked for twice: the first post shows what it would do to the open groups, the second proposes it to a
second person, or does it when one is enough (R-ADM-03, R-GEN-36).
"""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet, Value
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts import approvals
from accounts.errors import Refused
from accounts.models import User
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, is_confirmed, key_of, refuse, signature
from accounts.words import tell
from loans.pages.desk_access import clients_of, for_the_house, is_manager
from loans.pages.desk_approvals import for_page
from loans.pages.desk_changes import changes
from loans.pages.desk_parameter_forms import KINDS, Kind, start_from
from loans.pages.desk_parameter_history import TABLES, kind_of, visible
from loans.pages.proposal_form import ProposalForm
from risk import parameters
from risk.models import (
    AssetCap,
    FlexibleRate,
    Limits,
    LoanLimit,
    MarketDepth,
    ProductCode,
)
from risk.parameters import preview

PER_PAGE = 50
OWN_ONLY = tell("A VIP manager sets terms for their own clients only; choose one of them.")


@require_safe
@for_the_house
def index(request: HttpRequest) -> HttpResponse:
    """What is in force now, by coin and for the product, and what is published and still to come."""
    at, user = timezone.now(), user_of(request)
    context = {
        "at": at,
        "coins": _coins(at),
        "lines": _lines(at, user),
        "coming": _coming(at, user),
        "settings": parameters.settings_at(at),
        "kinds": [(kind, kind.may_propose(user)) for kind in KINDS.values()],
    }
    return render(request, "loans/desk_parameters.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def propose(request: HttpRequest, slug: str) -> HttpResponse:
    """Fill in, look at what it would do, then propose it."""
    kind, user, at = kind_of(slug), user_of(request), timezone.now()
    if not kind.may_propose(user):
        raise PermissionDenied(f"{kind.label} are proposed by others; you may look at them.")
    clients = clients_of(user)
    if request.method != "POST":
        start = start_from(slug, request.GET.dict(), clients=clients, at=at)
        return _page(request, kind, kind.form(initial=start, clients=clients), at=at)
    form = kind.form(request.POST, clients=clients)
    if is_manager(user) and "customer" in form.fields:  # else the look would tell of other managers' clients
        form.fields["customer"].required = True
        form.fields["customer"].error_messages["required"] = OWN_ONLY
    if form.is_valid() and is_confirmed(request, form):
        return _proposed(request, kind, form, at=at)
    return _page(request, kind, form, at=at)


# --- Private ----------------------------------------------------------------------------------------


def _proposed(request: HttpRequest, kind: Kind, form: ProposalForm, *, at: datetime) -> HttpResponse:
    arguments = form.arguments()
    try:
        approval = approvals.run_or_propose(
            command=kind.command,
            arguments=arguments,
            title=kind.title(arguments),
            preview=preview.of(kind.command, arguments, at=at),
            reason=form.cleaned_data["reason"],
            actor=actor_of(request),
            at=at,
            customer=arguments.get("customer"),
            key=key_of(form),
        )
    except Refused as refusal:
        refuse(form, refusal)
        return _page(request, kind, form, at=at)
    if approval is None:
        messages.success(
            request, tell("Done: {arguments}. It needed nobody else.", arguments=kind.title(arguments))
        )
        return redirect("loans:parameters")
    messages.success(
        request, tell("{approval} is proposed. It is done when somebody else releases it.", approval=approval)
    )
    return redirect("loans:approval", approval_id=approval.pk)


def _page(request: HttpRequest, kind: Kind, form: ProposalForm, *, at: datetime) -> HttpResponse:
    context: dict[str, Any] = {"kind": kind, "form": form, "at": at}
    if form.is_bound and not form.errors:
        arguments = form.arguments()
        context |= {
            "seen": signature(form),
            "title": kind.title(arguments),
            "changes": changes(kind.command, arguments, at=at),
            "found": for_page(preview.of(kind.command, arguments, at=at)),
        }
    status = REFUSED if form.errors else 200
    return render(request, "loans/desk_parameter_propose.html", context, status=status)


def _coins(at: datetime) -> list[dict[str, Any]]:
    """What each coin counts for, may be lent and costs, in force at `at`; those with nothing in force are left out."""
    terms = parameters.terms_at(at)
    product = {"product": ProductCode.VIP, "effective_at__lte": at}
    caps = _latest(AssetCap.objects.filter(**product))
    rates = _latest(FlexibleRate.objects.filter(**product))
    limits = _latest(LoanLimit.objects.filter(vip_level__isnull=True, **product))
    depth = _latest(MarketDepth.objects.filter(effective_at__lte=at))
    found = sorted({*terms, *caps, *rates, *limits, *depth})
    return [
        {
            "symbol": symbol,
            "terms": terms.get(symbol),
            "cap": caps.get(symbol),
            "rate": rates.get(symbol),
            "limit": limits.get(symbol),
            "depth": depth.get(symbol),
        }
        for symbol in found
    ]


def _latest(rows: "QuerySet[Any]") -> dict[str, Any]:
    return {row.asset_id: row for row in rows.order_by("asset", "-effective_at").distinct("asset")}


def _lines(at: datetime, user: User) -> list[Limits]:
    """The lines in force by scope, the product's first; those of a client that ended are gone."""
    scope = ("product", "asset_id", "customer_id")
    rows = (
        visible("lines", user).filter(effective_at__lte=at).order_by(*scope, "-effective_at").distinct(*scope)
    )
    found = [row for row in rows if row.ends_at is None or row.ends_at > at]
    return sorted(
        found, key=lambda row: (row.customer is not None, row.asset_id is not None, row.asset_id or "")
    )


def _coming(at: datetime, user: User) -> list[tuple[Kind, Any]]:
    """What is published and not in force yet, soonest first."""
    found = [
        (KINDS[slug], row)
        for slug in _with_coming(at, user)
        for row in visible(slug, user).filter(effective_at__gt=at).order_by("effective_at")[:PER_PAGE]
    ]
    return sorted(found, key=lambda pair: (pair[1].effective_at, pair[1].pk))


def _with_coming(at: datetime, user: User) -> list[str]:
    """The kinds that have something still to come; mostly none has. One query for all of them."""
    one_each = [
        visible(slug, user)
        .filter(effective_at__gt=at)
        .order_by()
        .annotate(slug=Value(slug))
        .values_list("slug")
        for slug in TABLES
        if slug != "price"
    ]
    first, *others = one_each
    return sorted({slug for (slug,) in first.union(*others)}, key=list(TABLES).index)
