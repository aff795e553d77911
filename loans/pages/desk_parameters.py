"""The parameters page: what is in force and what is coming, its history, and the proposal of a change (item by item).

A change is asked for twice: the first post shows what it would do to the open groups, the second proposes it to a
second person, or does it when one is enough (R-ADM-03, R-GEN-36).
"""

from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts import approvals
from accounts.errors import Refused
from accounts.models import ApprovalPolicy, User
from accounts.pages.access import actor_of, user_of
from accounts.pages.arguments import facts_of
from accounts.pages.forms import REFUSED, is_confirmed, key_of, refuse, signature
from accounts.words import tell
from loans.models import RateCard
from loans.pages.desk_access import clients_of, for_the_house, is_manager
from loans.pages.desk_approvals import for_page
from loans.pages.desk_changes import changes
from loans.pages.desk_parameter_forms import KINDS, Kind, start_from
from loans.pages.proposal_form import ProposalForm
from risk import parameters
from risk.models import (
    AssetCap,
    FeedRule,
    FlexibleRate,
    HandlingRule,
    Limits,
    LoanLimit,
    MarketDepth,
    PaceLimit,
    Price,
    ProductCode,
    RatioSchedule,
    Redemption,
    Settings,
)
from risk.parameters import preview
from risk.prices import BY_HAND

PER_PAGE = 50
OWN_ONLY = tell("A VIP manager sets terms for their own clients only; choose one of them.")
HIDDEN = frozenset({"id", "product", "effective_at", "announced_at", "group", "recorded_at", "status"})
TABLES: dict[str, type[Model]] = {
    "ratios": RatioSchedule,
    "lines": Limits,
    "caps": AssetCap,
    "loan-limits": LoanLimit,
    "flexible-rates": FlexibleRate,
    "rate-cards": RateCard,
    "handling": HandlingRule,
    "depth": MarketDepth,
    "pace": PaceLimit,
    "feed-rules": FeedRule,
    "redemptions": Redemption,
    "policies": ApprovalPolicy,
    "settings": Settings,
    "price": Price,
}


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


@require_safe
@for_the_house
def history(request: HttpRequest, slug: str) -> HttpResponse:
    """Every row there ever was of one kind, newest first; a coin's with `?asset=`."""
    kind, at = _kind(slug), timezone.now()
    rows = _visible(slug, user_of(request))
    coin = request.GET.get("asset", "")
    if coin and any(field.name == "asset" for field in TABLES[slug]._meta.fields):
        rows = rows.filter(asset=coin)
    newest = "-observed_at" if slug == "price" else "-effective_at"
    page = Paginator(rows.order_by(newest, "-pk"), PER_PAGE).get_page(request.GET.get("page"))
    shown = [(row, _since(row), facts_of(_facts(row))) for row in page]
    context = {"kind": kind, "at": at, "page": page, "rows": shown, "coin": coin}
    return render(request, "loans/desk_parameter_history.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def propose(request: HttpRequest, slug: str) -> HttpResponse:
    """Fill in, look at what it would do, then propose it."""
    kind, user, at = _kind(slug), user_of(request), timezone.now()
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


def _kind(slug: str) -> Kind:
    if slug not in KINDS:
        raise Http404
    return KINDS[slug]


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


def _visible(slug: str, user: User) -> "QuerySet[Any]":
    """A VIP manager sees what counts for everybody and for their own clients."""
    model = TABLES[slug]
    rows = model._default_manager.all()
    if slug == "price":
        return rows.filter(source=BY_HAND)
    if any(field.name == "customer" for field in model._meta.fields):
        theirs = clients_of(user).values("pk")
        rows = rows.filter(customer__isnull=True) | rows.filter(customer__in=theirs)
        rows = rows.select_related("customer")
    if slug == "lines":
        rows = rows.filter(group__isnull=True)
    return rows


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
        _visible("lines", user)
        .filter(effective_at__lte=at)
        .order_by(*scope, "-effective_at")
        .distinct(*scope)
    )
    found = [row for row in rows if row.ends_at is None or row.ends_at > at]
    return sorted(
        found, key=lambda row: (row.customer is not None, row.asset_id is not None, row.asset_id or "")
    )


def _coming(at: datetime, user: User) -> list[tuple[Kind, Any]]:
    """What is published and not in force yet, soonest first."""
    found = [
        (KINDS[slug], row)
        for slug in TABLES
        if slug != "price"
        for row in _visible(slug, user).filter(effective_at__gt=at).order_by("effective_at")[:PER_PAGE]
    ]
    return sorted(found, key=lambda pair: (pair[1].effective_at, pair[1].pk))


def _since(row: Any) -> datetime:
    since: datetime = row.observed_at if isinstance(row, Price) else row.effective_at
    return since


def _facts(row: Any) -> dict[str, Any]:
    found = {
        field.name: getattr(row, field.attname if field.name == "asset" else field.name)
        for field in row._meta.fields
        if field.name not in HIDDEN
    }
    if isinstance(row, RatioSchedule):
        found["tiers"] = list(row.tiers.order_by("floor").values_list("floor", "ratio"))
    return found
