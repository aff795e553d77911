"""The inbox: every notice as it was sent, newest first. Opening one marks it read (R-GEN-60, R-GEN-65)."""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Customer, Notice
from accounts.pages.access import for_customer, user_of

PER_PAGE = 25


@require_safe
@for_customer
def inbox(request: HttpRequest, customer: Customer) -> HttpResponse:
    """What was dropped before it left the house was never said, so it is not shown (R-GEN-61)."""
    mine = Notice.objects.visible_to(user_of(request)).filter(dropped_at__isnull=True)
    page = Paginator(mine.order_by("-at", "-pk"), PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "accounts/notices.html", {"page": page})


@require_safe
@for_customer
def notice(request: HttpRequest, customer: Customer, notice_id: int) -> HttpResponse:
    mine = Notice.objects.visible_to(user_of(request)).filter(dropped_at__isnull=True)
    row = get_object_or_404(mine, pk=notice_id)
    # The first opening counts, whoever of the customer's members it was.
    Notice.objects.filter(pk=row.pk, read_at__isnull=True).update(read_at=timezone.now())
    about = {"group": _number(row.facts.get("group")), "loan": _number(row.facts.get("loan"))}
    return render(request, "accounts/notice.html", {"notice": row, "about": about})


def _number(fact: object) -> int | None:
    return fact if isinstance(fact, int) else None
