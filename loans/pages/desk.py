"""The VIP manager's desk: what waits for a decision, what they have to do, who is in trouble, what falls due."""

from decimal import Decimal
from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.money import ZERO
from accounts.pages.access import user_of
from loans import client_file, queries
from loans.models import Application
from loans.pages.desk_access import clients_of, for_manager
from loans.pages.desk_file import with_forms
from loans.pages.desk_offers import talk_rows
from loans.pages.desk_rows import band_counts, due_soon, group_rows, to_review, troubled
from loans.pages.desk_waiting import BY_SCORE, waiting_rows
from loans.vip import answering
from risk.models import CollateralGroup, Debt

MOST_ACTIONS = 20  # shown on the queue; the rest are on the clients' pages
MOST_GROUPS = 25  # the worst; the rest are on the workbench and in the book
MOST_LOANS = 25  # the next due; the rest are in the book


@require_safe
@for_manager
def queue(request: HttpRequest) -> HttpResponse:
    """The manager's first page; asked again every few seconds for its part that changes."""
    at, user = timezone.now(), user_of(request)
    clients, requests = clients_of(user), Application.objects.visible_to(user)
    sort = BY_SCORE if request.GET.get("sort") == BY_SCORE else ""
    waiting = waiting_rows(requests, at=at, sort=sort)
    talks = talk_rows(requests, at=at)
    trouble = group_rows(troubled(clients), at=at, most=MOST_GROUPS)
    due = due_soon(clients, at=at).select_related("debt", "asset", "customer").order_by("debt__due_at", "pk")
    debt: Decimal = sum((row.standing.worth.debt for row in trouble if row.standing.is_called), ZERO)
    residual = Debt.objects.open().filter(customer__in=clients, residual_since__isnull=False)
    residual = residual.select_related("asset", "customer", "loan").order_by("residual_since", "pk")
    soon, left = queries.rows_of(due[:MOST_LOANS], at=at), list(residual[:MOST_LOANS])
    context = {
        "at": at,
        "sort": sort,
        "waiting": waiting,
        "talks": talks,
        "yours": len(waiting) + sum(row.is_desks_move for row in talks),
        "late": sum(row.is_late for row in waiting) + sum(row.is_late for row in talks),
        "answers": answering.answers(requests, at=at),
        "actions": with_forms(client_file.actions(clients, at=at, most=MOST_ACTIONS)),
        "trouble": trouble,
        "in_trouble": _count(troubled(clients), len(trouble), MOST_GROUPS),
        "reviews": to_review(clients, at=at),
        "due": soon,
        "all_due": _count(due, len(soon), MOST_LOANS),
        "residual": left,
        "all_residual": _count(residual, len(left), MOST_LOANS),
        # An open group owes something, or it is let go: to look for each one's debts takes longer than to count.
        "bands": band_counts(CollateralGroup.objects.open().filter(customer__in=clients)),
        "called": sum(row.standing.is_called for row in trouble),
        "debt_called": debt,
    }
    is_partial = request.headers.get("HX-Target") == "desk"
    return render(request, "loans/desk_queue.html" if is_partial else "loans/desk.html", context)


def _count(rows: "QuerySet[Any]", shown: int, most: int) -> int:
    """How many there are; not asked when all of them are shown."""
    return shown if shown < most else rows.count()
