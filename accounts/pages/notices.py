"""The inbox: every notice as it was sent, newest first. Opening one marks it read (R-GEN-60, R-GEN-65).

Reading is not answering: that somebody has an urgent one in hand is said with a button of its own, which is what stops
the escalations and what the desk goes by (R-FTR-03).
"""

from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlencode
from uuid import uuid4

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from accounts import notices, reach
from accounts.errors import Refused
from accounts.models import Customer, Notice
from accounts.pages.access import actor_of, for_customer, user_of
from accounts.pages.facts import channels_of, kind_name, told
from accounts.pages.forms import REFUSED
from accounts.words import tell

PER_PAGE = 25
FRESH: Final = timedelta(hours=72)  # an older one asks for no answer on the first pages any more
MOST_ASKED: Final = 5


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


@require_POST
@for_customer
def acknowledge(request: HttpRequest, customer: Customer, notice_id: int) -> HttpResponse:
    row = get_object_or_404(_mine(request), pk=notice_id)
    try:
        notices.acknowledge(
            notice_id=row.pk,
            actor=actor_of(request),
            at=timezone.now(),
            key=request.POST.get("key", "")[:64] or str(uuid4()),
        )
    except Refused as refusal:
        messages.error(request, refusal.message)
        return render(request, "accounts/notice.html", detail(row, for_house=False), status=REFUSED)
    messages.success(
        request, tell("Acknowledged: your manager sees it, and nobody else of yours is called for it.")
    )
    back = request.POST.get("next", "")
    if url_has_allowed_host_and_scheme(back, {request.get_host()}, require_https=request.is_secure()):
        return redirect(back)
    return redirect("accounts:notice", row.pk)


def to_acknowledge(request: HttpRequest, *, at: datetime) -> list[Notice]:
    """The latest urgent notices that nobody has in hand yet and that are not over. R-FTR-03"""
    rows = _mine(request).filter(acknowledged_at__isnull=True, at__gt=at - FRESH)
    rows = rows.exclude(kind__in=[*reach.CAN_WAIT, reach.TEST]).order_by("-at", "-pk")[:MOST_ASKED]
    return [row for row in rows if not notices.is_over(row, at=at)]


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
        "asks": reach.asks_for_an_answer(row.kind),
        "key": uuid4(),
        "about": {name: _number(row.facts.get(name)) for name in ("group", "loan", "confirmation")},
    }


def said() -> Q:
    """Not called back before any of it left (R-GEN-61)."""
    return Q(dropped_at__isnull=True)


def _mine(request: HttpRequest) -> QuerySet[Notice]:
    return Notice.objects.visible_to(user_of(request)).filter(said())


def _number(fact: object) -> int | None:
    return fact if isinstance(fact, int) else None
