"""The VIP manager's desk: what waits for a decision, what they have to do, who is in trouble, what falls due."""

from decimal import Decimal

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
from loans.pages.desk_rows import band_counts, due_soon, group_rows, live_groups, to_review, troubled
from loans.pages.desk_waiting import BY_SCORE, waiting_rows
from loans.vip import answering
from risk.models import Debt

MOST_ACTIONS = 20  # shown on the queue; the rest are on the clients' pages


@require_safe
@for_manager
def queue(request: HttpRequest) -> HttpResponse:
    """The manager's first page; asked again every few seconds for its part that changes."""
    at, user = timezone.now(), user_of(request)
    clients, requests = clients_of(user), Application.objects.visible_to(user)
    sort = BY_SCORE if request.GET.get("sort") == BY_SCORE else ""
    waiting = waiting_rows(requests, at=at, sort=sort)
    talks = talk_rows(requests, at=at)
    trouble = group_rows(troubled(clients), at=at)
    debt: Decimal = sum((row.standing.worth.debt for row in trouble if row.standing.is_called), ZERO)
    residual = Debt.objects.open().filter(customer__in=clients, residual_since__isnull=False)
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
