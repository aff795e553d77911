"""The clients behind the desk: by name, and one of them with everything that stands and happened."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from django.core.paginator import Paginator
from django.db.models import Exists, OuterRef, Q
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import screenings
from accounts.models import Customer, User
from accounts.money import ZERO
from accounts.pages.access import user_of
from accounts.pages.tables import Column, Filter, Table
from accounts.words import tell
from loans import client_file, limits, queries, timeline
from loans.happenings import Entry, Topic
from loans.models import Application, Loan
from loans.pages.desk_access import clients_of, for_the_house, is_manager
from loans.pages.desk_file import may_write, with_forms
from loans.pages.desk_rows import account_rows, group_rows, history_of, live_groups
from risk.models import CollateralGroup

LATEST = 10
LINES_PER_PAGE = 50
MOST_ACTIONS = 50

TOPICS = {
    Topic.NOTES: tell("Notes and promises"),
    Topic.DOCUMENTS: tell("Documents"),
    Topic.REQUESTS: tell("Requests"),
    Topic.LOANS: tell("Loans"),
    Topic.RISK: tell("Calls and sales"),
    Topic.APPROVALS: tell("Four eyes"),
    Topic.TERMS: tell("Policy"),
    Topic.NOTICES: tell("Notices"),
    Topic.MOVEMENTS: tell("Movements"),
    Topic.PAPERS: tell("Checks and statements"),
}
ADDRESSES = {
    "request": "loans:desk_request",
    "enquiry": "loans:desk_enquiry",
    "loan": "loans:loan",
    "group": "risk:group",
    "approval": "loans:approval",
    "policy": "loans:desk_policy",
    "notice": "loans:desk_notice",
    "entry": "loans:ledger_entry",
    "document": "loans:client_document",
}
FOR_MANAGERS = frozenset({"request", "enquiry"})  # pages that staff have no part in


_OWING = Loan.objects.filter(customer=OuterRef("pk"), debt__closed_at__isnull=True)
CLIENTS = Table(
    name="clients",
    columns=(
        Column("client", tell("Client"), text=lambda row: row.name, sort=("name",)),
        Column("kind", tell("Kind"), text=lambda row: row.kind, on_page=False),
        Column("level", "VIP", text=lambda row: row.vip_level, sort=("vip_level",), n=True),
        Column("band", tell("Worst band")),
        Column("track", tell("Track")),
        Column("ltv", tell("LTV"), n=True),
        Column("debt", tell("Debt"), n=True),
        Column("groups", tell("Groups"), n=True),
        Column(
            "manager",
            tell("Manager"),
            text=lambda row: row.manager.name if row.manager else "",
            sort=("manager__name",),
        ),
        Column("joined", tell("Joined"), text=lambda row: row.joined_at, sort=("joined_at",), n=True),
    ),
    order=("name", "pk"),
    search=("name",),
    finds=tell("by name"),
    filters=(
        Filter(
            "kind",
            tell("Kind"),
            {kind.value: (str(kind.label).capitalize(), Q(kind=kind)) for kind in Customer.Kind},
        ),
        Filter(
            "owes",
            tell("Loans"),
            {
                "yes": (tell("Owes"), Q(Exists(_OWING))),
                "no": (tell("Owes nothing"), ~Q(Exists(_OWING))),
            },
        ),
    ),
)


@require_safe
@for_the_house
def clients(request: HttpRequest) -> HttpResponseBase:
    """The clients by name, with what they owe and the worst band they are in."""
    at, found = timezone.now(), clients_of(user_of(request)).select_related("manager")
    file = CLIENTS.file(request, found)
    if file is not None:
        return file
    listed = CLIENTS.shown(request, found)
    page = listed.page
    groups = group_rows(
        live_groups(clients_of(user_of(request)).filter(pk__in=[row.pk for row in page])), at=at
    )
    rows = [(customer, [row for row in groups if row.group.customer_id == customer.pk]) for customer in page]
    return render(request, "loans/desk_clients.html", {"list": listed, "page": page, "rows": rows, "at": at})


@require_safe
@for_the_house
def client(request: HttpRequest, client_id: int) -> HttpResponse:
    """What one client has to do with us: next actions, standing, loans, requests, accounts and the latest news."""
    at, user = timezone.now(), user_of(request)
    customer = get_object_or_404(clients_of(user).select_related("manager"), pk=client_id)
    groups = group_rows(CollateralGroup.objects.open().filter(customer=customer), at=at)
    loans = queries.loan_rows(Loan.objects.filter(customer=customer), at=at)
    debt: Decimal = sum((row.standing.worth.debt for row in groups), ZERO)
    context = {
        "client": customer,
        "at": at,
        "actions": with_forms(client_file.actions([customer], at=at, most=MOST_ACTIONS)),
        "may_write": may_write(user),
        "groups": groups,
        "debt": debt,
        "recognised": sum((row.standing.worth.collateral for row in groups), ZERO),
        "loans": loans,
        "open_loans": sum(row.is_open for row in loans),
        "requests": queries.request_rows(Application.objects.filter(customer=customer))[:LATEST],
        "accounts": account_rows(customer, groups, at=at),
        "history": history_of(customer),
        "decides": is_manager(user),
        "usage": limits.usage_of(customer, at=at),
        "screening": screenings.summary(customer, at),
        "lately": _linked(timeline.told(timeline.index(customer, at=at)[:LATEST]), user),
    }
    return render(request, "loans/desk_client.html", context)


@dataclass(frozen=True, slots=True)
class LinkedEntry:
    """A line of the timeline with the address of what it is about, where the reader may open it."""

    entry: Entry
    url: str
    topic: str


@require_safe
@for_the_house
def story(request: HttpRequest, client_id: int) -> HttpResponse:
    """The client's timeline, newest first, of all topics or of one. R-FTR-16"""
    at, user = timezone.now(), user_of(request)
    customer = get_object_or_404(clients_of(user).select_related("manager"), pk=client_id)
    asked = request.GET.get("topic", "")
    chosen = Topic(asked) if asked in set(Topic) else None
    lines = timeline.index(customer, topics=[chosen] if chosen else [], at=at)
    page = Paginator(lines, LINES_PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "client": customer,
        "at": at,
        "page": page,
        "rows": _linked(timeline.told(page.object_list), user),
        "topics": [(topic.value, name) for topic, name in TOPICS.items()],
        "chosen": chosen.value if chosen else "",
    }
    return render(request, "loans/desk_timeline.html", context)


def _linked(entries: Iterable[Entry], user: User) -> list[LinkedEntry]:
    return [LinkedEntry(entry, _url(entry, user), TOPICS[entry.topic]) for entry in entries]


def _url(entry: Entry, user: User) -> str:
    if entry.link is None:
        return ""
    subject, pk = entry.link
    if subject not in ADDRESSES or (subject in FOR_MANAGERS and not is_manager(user)):
        return ""
    return reverse(ADDRESSES[subject], args=[pk])
