"""The VIP manager's desk: what waits for a decision, who is in trouble, what falls due, and the clients behind it."""

from datetime import datetime
from decimal import Decimal

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.money import ZERO
from accounts.pages.access import user_of
from loans import limits, queries
from loans.models import Application, Loan
from loans.pages.desk_access import clients_of, for_manager, for_the_house, is_manager
from loans.pages.desk_offers import talk_rows
from loans.pages.desk_rows import (
    GroupRow,
    account_rows,
    band_counts,
    due_soon,
    group_rows,
    history_of,
    in_delay,
    in_grace,
    live_groups,
    pauses,
    to_review,
    troubled,
    waiting_rows,
)
from risk.models import CollateralGroup, Debt, MarginCall

PER_PAGE = 25
LATEST = 10


@require_safe
@for_manager
def queue(request: HttpRequest) -> HttpResponse:
    """The manager's first page; asked again every few seconds for its part that changes."""
    at, user = timezone.now(), user_of(request)
    clients = clients_of(user)
    waiting = waiting_rows(Application.objects.visible_to(user), at=at)
    trouble = group_rows(troubled(clients), at=at)
    debt: Decimal = sum((row.standing.worth.debt for row in trouble if row.standing.is_called), ZERO)
    residual = Debt.objects.open().filter(customer__in=clients, residual_since__isnull=False)
    context = {
        "at": at,
        "waiting": waiting,
        "talks": talk_rows(Application.objects.visible_to(user), at=at),
        "trouble": trouble,
        "reviews": to_review(clients, at=at),
        "due": sorted(
            queries.loan_rows(due_soon(clients, at=at), at=at), key=lambda row: row.loan.debt.due_at or at
        ),
        "residual": residual.select_related("asset", "customer", "loan").order_by("residual_since"),
        "bands": band_counts(live_groups(clients)),
        "called": sum(row.standing.is_called for row in trouble),
        "debt_called": debt,
    }
    is_partial = request.headers.get("HX-Target") == "desk"
    return render(request, "loans/desk_queue.html" if is_partial else "loans/desk.html", context)


@require_safe
@for_the_house
def clients(request: HttpRequest) -> HttpResponse:
    """The clients by name, with what they owe and the worst band they are in."""
    at, found = timezone.now(), clients_of(user_of(request)).select_related("manager")
    asked = request.GET.get("q", "").replace("\0", "").strip()  # PostgreSQL has no text with a NUL in it
    if asked:
        found = found.filter(name__icontains=asked)
    page = Paginator(found.order_by("name", "pk"), PER_PAGE).get_page(request.GET.get("page"))
    groups = group_rows(
        live_groups(clients_of(user_of(request)).filter(pk__in=[row.pk for row in page])), at=at
    )
    rows = [(customer, [row for row in groups if row.group.customer_id == customer.pk]) for customer in page]
    return render(request, "loans/desk_clients.html", {"page": page, "rows": rows, "asked": asked, "at": at})


@require_safe
@for_the_house
def client(request: HttpRequest, client_id: int) -> HttpResponse:
    at = timezone.now()
    customer = get_object_or_404(clients_of(user_of(request)).select_related("manager"), pk=client_id)
    groups = group_rows(CollateralGroup.objects.open().filter(customer=customer), at=at)
    loans = queries.loan_rows(Loan.objects.filter(customer=customer), at=at)
    debt: Decimal = sum((row.standing.worth.debt for row in groups), ZERO)
    context = {
        "client": customer,
        "at": at,
        "groups": groups,
        "debt": debt,
        "recognised": sum((row.standing.worth.collateral for row in groups), ZERO),
        "loans": loans,
        "open_loans": sum(row.is_open for row in loans),
        "requests": queries.request_rows(Application.objects.filter(customer=customer))[:LATEST],
        "accounts": account_rows(customer, groups, at=at),
        "history": history_of(customer),
        "decides": is_manager(user_of(request)),
        "usage": limits.usage_of(customer, at=at),
    }
    return render(request, "loans/desk_client.html", context)


@require_safe
@for_the_house
def calls(request: HttpRequest) -> HttpResponse:
    """Margin calls: the open ones first, what else keeps collateral from being sold, then the ended ones."""
    at, mine = timezone.now(), clients_of(user_of(request))
    seen = MarginCall.objects.filter(group__customer__in=mine)
    open_groups = seen.filter(ended_at__isnull=True).values("group")
    rows = group_rows(CollateralGroup.objects.filter(pk__in=open_groups), at=at)
    ended = seen.filter(ended_at__isnull=False).select_related("group__customer").order_by("-ended_at", "-pk")
    page = Paginator(ended, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "rows": rows,
        "page": page,
        "at": at,
        "delays": sorted(group_rows(in_delay(mine), at=at), key=_ends_at),
        "graces": group_rows(in_grace(mine, at=at), at=at),
        "pauses": pauses(mine, at=at),
        "reviews": to_review(mine, at=at),
    }
    return render(request, "loans/desk_calls.html", context)


def _ends_at(row: GroupRow) -> tuple[datetime, int]:
    """The delay that ends next comes first."""
    assert row.delay is not None, "asked of groups in a delay only"
    return row.delay.ends_at, row.group.pk
