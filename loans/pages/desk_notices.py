"""What a client was told, for the house: the same notices, what each channel answered, and what never arrived.

Looking at them here does not mark them read (R-GEN-65). What a firm's people ask each other is not for the desk
(R-ADM-09).
"""

from dataclasses import replace

from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import notices, reach
from accounts.models import Delivery, Notice
from accounts.pages.access import user_of
from accounts.pages.facts import kind_name
from accounts.pages.notices import detail, said
from accounts.pages.tables import Column, Filter, Table
from accounts.words import tell
from loans.pages.desk_access import clients_of, for_the_house

NOTICES = Table(
    name="notices",
    columns=(
        Column("notice", tell("Notice"), text=lambda row: row.title, sort=("title",)),
        Column("kind", tell("Kind"), text=lambda row: kind_name(row.kind), sort=("kind",)),
        Column("opened", tell("Opened"), text=lambda row: row.read_at, sort=("read_at",), n=True),
        Column("sent", tell("Sent"), text=lambda row: row.at, sort=("at",), n=True),
    ),
    order=("-at", "-pk"),
    search=("title", "body"),
    finds=tell("in the words"),
    filters=(
        Filter(
            "read",
            tell("Opened"),
            {
                "no": (tell("Not by the client"), Q(read_at=None)),
                "yes": (tell("By the client"), Q(read_at__isnull=False)),
            },
        ),
    ),
)
UNDELIVERED = Table(
    name="not-delivered",
    columns=(
        Column("notice", tell("Notice"), text=lambda row: row.notice.title, sort=("notice__title",)),
        Column("client", tell("Client"), text=lambda row: row.notice.customer.name, on_page=False),
        Column("kind", tell("Kind"), text=lambda row: kind_name(row.notice.kind), sort=("notice__kind",)),
        Column("channel", tell("Channel"), text=lambda row: row.get_channel_display(), sort=("channel",)),
        Column("why", tell("Why"), text=lambda row: row.error),
        Column("due", tell("Due"), text=lambda row: row.due_at, sort=("due_at",), n=True),
    ),
    order=("-due_at", "-pk"),
    search=("notice__title", "notice__customer__name", "error"),
    finds=tell("by client, words or reason"),
    filters=(
        Filter(
            "how",
            tell("How"),
            {
                "refused": (tell("Refused"), Q(status=Delivery.Status.FAILED)),
                "silent": (tell("No answer"), Q(status=Delivery.Status.SENDING)),
            },
        ),
    ),
)


@require_safe
@for_the_house
def of_client(request: HttpRequest, client_id: int) -> HttpResponseBase:
    client = get_object_or_404(clients_of(user_of(request)), pk=client_id)
    rows = Notice.objects.filter(said(), customer=client).exclude(kind__in=reach.OWN_AFFAIRS)
    table = _by_kind(rows)
    file = table.file(request, rows)
    if file is not None:
        return file
    listed = table.shown(request, rows)
    for row in listed.page:
        row.kind_name = kind_name(row.kind)
    context = {
        "list": listed,
        "unread_count": rows.filter(read_at=None).count(),
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
def undelivered(request: HttpRequest) -> HttpResponseBase:
    """What did not leave in the last 30 days, newest first: somebody may want to telephone (R-GEN-60)."""
    mine = Delivery.objects.filter(notice__customer__in=clients_of(user_of(request)))
    rows = mine.undelivered(at=timezone.now()).select_related("notice__customer", "contact")
    file = UNDELIVERED.file(request, rows)
    if file is not None:
        return file
    listed = UNDELIVERED.shown(request, rows)
    for row in listed.page:
        row.kind = kind_name(row.notice.kind)
    return render(request, "loans/desk_undelivered.html", {"list": listed})


def _by_kind(rows: "QuerySet[Notice]") -> Table:
    """The list with a choice of the kinds that this client was told."""
    kinds = sorted((str(kind_name(kind)), kind) for kind in set(rows.values_list("kind", flat=True)))
    choice = Filter("kind", tell("Kind"), {kind: (kind_name(kind), Q(kind=kind)) for _, kind in kinds})
    return replace(NOTICES, filters=(choice, *NOTICES.filters))
