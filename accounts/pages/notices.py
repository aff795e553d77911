"""The inbox: every notice as it was sent, newest first. Opening one marks it read (R-GEN-60, R-GEN-65)."""

from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Customer, Notice
from accounts.pages.access import for_customer, user_of
from accounts.pages.facts import channels_of, kind_name, told

PER_PAGE = 25


@require_safe
@for_customer
def inbox(request: HttpRequest, customer: Customer) -> HttpResponse:
    """What was dropped before it left the house was never said, so it is not shown (R-GEN-61)."""
    return render(request, "accounts/notices.html", listing(request, _mine(request)))


@require_safe
@for_customer
def notice(request: HttpRequest, customer: Customer, notice_id: int) -> HttpResponse:
    row = get_object_or_404(_mine(request), pk=notice_id)
    # The first opening counts, whoever of the customer's members it was.
    Notice.objects.filter(pk=row.pk, read_at__isnull=True).update(read_at=timezone.now())
    row.refresh_from_db(fields=["read_at"])
    return render(request, "accounts/notice.html", detail(row, for_house=False))


def listing(request: HttpRequest, notices: QuerySet[Notice]) -> dict[str, Any]:
    """A page of these notices, of one kind when the address says so; also for the desk's view of a client."""
    counts = notices.order_by("kind").values_list("kind").annotate(count=Count("pk"))
    kinds = sorted((kind_name(kind), kind, count) for kind, count in counts)
    kind = request.GET.get("kind", "")
    rows = notices.filter(kind=kind) if kind else notices
    return {
        "page": Paginator(rows.order_by("-at", "-pk"), PER_PAGE).get_page(request.GET.get("page")),
        "kinds": kinds,
        "kind": kind,
        "query": f"{urlencode({'kind': kind})}&" if kind else "",
        "unread_count": notices.filter(read_at__isnull=True).count(),
    }


def detail(row: Notice, *, for_house: bool) -> dict[str, Any]:
    return {
        "notice": row,
        "told": told(row.facts),
        "channels": channels_of(row, for_house=for_house),
        "kind": kind_name(row.kind),
        "about": {"group": _number(row.facts.get("group")), "loan": _number(row.facts.get("loan"))},
    }


def said() -> Q:
    """Not called back before any of it left (R-GEN-61)."""
    return Q(dropped_at__isnull=True)


def _mine(request: HttpRequest) -> QuerySet[Notice]:
    return Notice.objects.visible_to(user_of(request)).filter(said())


def _number(fact: object) -> int | None:
    return fact if isinstance(fact, int) else None
