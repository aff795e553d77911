"""What a client was told, for the house: the same notices, what each channel answered, and what never arrived.

Looking at them here does not mark them read (R-GEN-65). What a firm's people ask each other is not for the desk
(R-ADM-09).
"""

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import notices, reach
from accounts.models import Delivery, Notice
from accounts.pages.access import user_of
from accounts.pages.facts import kind_name
from accounts.pages.notices import PER_PAGE, detail, listing, said
from loans.pages.desk_access import clients_of, for_the_house


@require_safe
@for_the_house
def of_client(request: HttpRequest, client_id: int) -> HttpResponse:
    client = get_object_or_404(clients_of(user_of(request)), pk=client_id)
    rows = Notice.objects.filter(said(), customer=client).exclude(kind__in=reach.OWN_AFFAIRS)
    context = listing(request, rows) | {
        "client": client,
        "preference": notices.preference_of(client),
        "contacts": notices.contacts_of(client),
    }
    return render(request, "loans/desk_notices.html", context)


@require_safe
@for_the_house
def notice(request: HttpRequest, notice_id: int) -> HttpResponse:
    rows = Notice.objects.filter(customer__in=clients_of(user_of(request))).select_related("customer")
    row = get_object_or_404(rows.exclude(kind__in=reach.OWN_AFFAIRS), pk=notice_id)
    return render(request, "loans/desk_notice.html", detail(row, for_house=True))


@require_safe
@for_the_house
def undelivered(request: HttpRequest) -> HttpResponse:
    """What did not leave in the last 30 days, newest first: somebody may want to telephone (R-GEN-60)."""
    mine = Delivery.objects.filter(notice__customer__in=clients_of(user_of(request)))
    rows = mine.undelivered(at=timezone.now()).select_related("notice__customer", "contact")
    rows = rows.order_by("-due_at", "-pk")
    page = Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))
    for row in page:
        row.kind = kind_name(row.notice.kind)  # type: ignore[attr-defined]
    return render(request, "loans/desk_undelivered.html", {"page": page})
