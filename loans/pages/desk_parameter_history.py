"""Every row there ever was of one kind of parameter: what each changed of what stood before it, and who released it.

Rows are never edited, so the history is the rows themselves (R-GEN-36). R-ADM-03, R-ADM-11
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Approval, ApprovalPolicy, User
from accounts.pages.access import user_of
from accounts.pages.tables import Column, Filter, Table
from accounts.words import joined, tell
from loans.models import RateCard
from loans.pages.desk_access import clients_of, for_the_house
from loans.pages.desk_changes import Change, changes
from loans.pages.desk_parameter_forms import KINDS, Kind
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
    RatioSchedule,
    Redemption,
    Settings,
)
from risk.prices import BY_HAND

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
RENAMED = {"liquidation_rank": "rank", "command": "governed"}  # columns that the commands call otherwise
A_MOMENT = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Step:
    """One row: whose value it is, what it changed of what stood just before, and the proposal it came from."""

    row: Model
    since: datetime
    scope: str
    changes: tuple[Change, ...]
    approval: Approval | None


@require_safe
@for_the_house
def history(request: HttpRequest, slug: str) -> HttpResponseBase:
    """Newest first; a coin's with `?asset=`."""
    kind, at, user = kind_of(slug), timezone.now(), user_of(request)
    rows = visible(slug, user)
    table = _table(kind, rows, at=at)
    file = table.file(request, rows)
    if file is not None:
        return file
    listed = table.shown(request, rows)
    coin = request.GET.get("asset", "")
    context = {
        "kind": kind,
        "at": at,
        "list": listed,
        "steps": _steps(kind, list(listed.page)),
        "coin": coin,
        "may_propose": kind.may_propose(user),
    }
    return render(request, "loans/desk_parameter_history.html", context)


def kind_of(slug: str) -> Kind:
    if slug not in KINDS:
        raise Http404
    return KINDS[slug]


def visible(slug: str, user: User) -> "QuerySet[Any]":
    """A VIP manager sees what counts for everybody and for their own clients."""
    model = TABLES[slug]
    rows = model._default_manager.all()
    if slug == "price":
        return rows.filter(source=BY_HAND)
    if _has(model, "customer"):
        theirs = clients_of(user).values("pk")
        rows = rows.filter(customer__isnull=True) | rows.filter(customer__in=theirs)
        rows = rows.select_related("customer")
    if slug == "lines":
        rows = rows.filter(group__isnull=True)
    return rows.prefetch_related("tiers") if slug == "ratios" else rows


# --- Private ----------------------------------------------------------------------------------------


def _has(model: type[Model], name: str) -> bool:
    return any(field.name == name for field in model._meta.fields)


def _table(kind: Kind, rows: "QuerySet[Any]", *, at: datetime) -> Table:
    """The kind's list: a choice of its coins, where it has some, and of what is in force, past or still to come."""
    model, since = TABLES[kind.slug], _since_field(kind.slug)
    filters = [
        Filter(
            "when",
            tell("From"),
            {
                "past": (tell("Begun"), Q(**{f"{since}__lte": at})),
                "coming": (tell("Still to come"), Q(**{f"{since}__gt": at})),
            },
        )
    ]
    if _has(model, "asset"):
        coins = sorted({coin for coin in rows.values_list("asset", flat=True).distinct() if coin})
        filters.insert(0, Filter("asset", tell("Coin"), {coin: (coin, Q(asset=coin)) for coin in coins}))
    search = ("customer__name",) if _has(model, "customer") else ()
    return Table(
        name=f"history-{kind.slug}",
        columns=(
            Column("of", tell("Of"), text=lambda row: _scope(_changes(kind, row))),
            Column("from", tell("From"), text=lambda row: getattr(row, since), sort=(since,), n=True),
            Column("what", tell("What changed"), text=lambda row: _said(_changes(kind, row))),
            Column("by", tell("Proposal")),
        ),
        order=(f"-{since}", "-pk"),
        search=search,
        finds=tell("by client") if search else "",
        filters=tuple(filters),
    )


def _since_field(slug: str) -> str:
    return "observed_at" if slug == "price" else "effective_at"


def _steps(kind: Kind, rows: list[Any]) -> list[Step]:
    proposals = _proposals(rows)
    found = []
    for row in rows:
        said = _changes(kind, row)
        found.append(
            Step(
                row=row,
                since=getattr(row, _since_field(kind.slug)),
                scope=_scope(said),
                changes=tuple(one for one in said if not one.is_scope),
                approval=proposals.get(_name(row)),
            )
        )
    return found


def _changes(kind: Kind, row: Any) -> list[Change]:
    """Against what stood the moment before it."""
    before = getattr(row, _since_field(kind.slug)) - A_MOMENT
    return changes(kind.command, _arguments(kind, row), at=before)


def _arguments(kind: Kind, row: Any) -> dict[str, Any]:
    """The row as the command that published it was asked."""
    asked = {*kind.form.base_fields, "initial", "early_warnings", "governed"} - {
        "reason",
        "key",
        "initial_line",
    }
    found: dict[str, Any] = {}
    for field in row._meta.concrete_fields:
        name = RENAMED.get(field.name, field.name)
        if name in asked and name != "effective_at":
            found[name] = row.customer if name == "customer" else getattr(row, field.attname)
    if isinstance(row, RatioSchedule):
        tiers = [(tier.floor, tier.ratio) for tier in row.tiers.all()]
        found["tiers"] = sorted(tiers)
    if isinstance(row, Settings):
        found["early_warnings"] = [Decimal(level) for level in row.early_warnings]
    return found


def _scope(said: Iterable[Change]) -> str:
    return joined(", ", (one.after for one in said if one.is_scope)) or tell("the whole desk")


def _said(said: Iterable[Change]) -> str:
    return joined("; ", (str(one) for one in said if not one.is_scope))


def _proposals(rows: Iterable[Model]) -> dict[str, Approval]:
    """The proposal that made each row, where one did. Of a change in daily steps it is told at its last."""
    found = Approval.objects.filter(result__in=[_name(row) for row in rows])
    return {one.result: one for one in found.select_related("proposed_by", "decided_by")}


def _name(row: Model) -> str:
    return f"{row._meta.label_lower}:{row.pk}"
