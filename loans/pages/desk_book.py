"""The book: exposure, how near the lines, what is running and the prices it all hangs on; every figure opens its rows.

A VIP manager sees the book of their own clients, staff the whole one. R-ADM-06
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.core.paginator import Page, Paginator
from django.db.models import Case, Exists, F, OuterRef, Q, QuerySet, When
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from accounts.models import Asset, Customer, LedgerAccount, Transfer
from accounts.money import ZERO, exact
from accounts.pages.access import user_of
from accounts.pages.tables import Column, Filter, Table
from accounts.words import tell
from loans import book_snapshot, dashboard, queries
from loans.dashboard import BUCKETS, Book, Bucket, ClientExposure
from loans.models import Loan
from loans.pages.desk_access import clients_of, for_the_house, is_manager
from loans.pages.desk_rows import due_soon, group_rows, in_delay, in_grace, live_groups
from risk import insurance, pools
from risk.levels import Band
from risk.models import CollateralGroup, Debt, GroupCoin, MarginCall

PER_PAGE = 50
TOP = 10
BAR = 100  # the widest bar of the histogram, in the drawing's units
REFUSED_SINCE = timedelta(days=1)


@require_safe
@for_the_house
def book(request: HttpRequest) -> HttpResponse:
    at, user = timezone.now(), user_of(request)
    clients = clients_of(user)
    found = _book(request, at)
    named = clients.in_bulk([one.customer_id for one in found.top(TOP)])
    top = [one for one in found.top(TOP) if one.customer_id in named]
    context: dict[str, Any] = {
        "at": at,
        "book": found,
        "top": top,
        "top_share": found.share(sum((one.owed for one in top), ZERO)),
        "sums": _sums(
            book_snapshot.scope_of(user), found, [(one, named[one.customer_id]) for one in top], at=at
        ),
        "bands": [(name, number) for name, number in reversed(found.bands.items())],
        "due": due_soon(clients, at=at).count(),
        "overdue": _overdue(clients).count(),
        "calls": MarginCall.objects.filter(group__customer__in=clients, ended_at__isnull=True).count(),
        "delays": group_rows(in_delay(clients), at=at),
        "graces": group_rows(in_grace(clients, at=at), at=at),
        "health": dashboard.price_health(found.coins, since=at - REFUSED_SINCE, at=at),
        "for_all": not is_manager(user),
    }
    if not is_manager(user):
        used = [pool for pool in pools.pools() if pool.use is not None]
        context |= {
            "pools": sorted(used, key=lambda pool: (-(pool.use or ZERO), pool.asset.pk)),
            "insurance": sorted(insurance.balances().items()),
        }
    return render(request, "loans/desk_book.html", context)


@require_safe
@for_the_house
def coin(request: HttpRequest, symbol: str) -> HttpResponse:
    """What is owed in one coin, loan by loan, and whose groups hold it: of many, the most dangerous ones."""
    at, clients = timezone.now(), clients_of(user_of(request))
    asset = get_object_or_404(Asset, pk=symbol)
    owing = Loan.objects.filter(asset=asset, customer__in=clients, debt__closed_at__isnull=True)
    page = _page(owing.order_by("-drawn_at", "-pk"), request)
    chosen = GroupCoin.objects.filter(group=OuterRef("pk"), asset=asset, released_at__isnull=True)
    holding = live_groups(clients).filter(Exists(chosen))
    worst = group_rows(holding, at=at, most=PER_PAGE)
    rows = [
        (row, coin) for row in worst for coin in row.standing.coins if coin.asset == asset and coin.amount > 0
    ]
    found = _book(request, at)
    context = {
        "at": at,
        "asset": asset,
        "page": page,
        "loans": _loan_rows(page, at),
        "groups": rows,
        "is_part": len(worst) == PER_PAGE,
        "book": found,
        "sums": found.coins.get(asset.pk, dashboard.CoinExposure(asset.pk)),
    }
    return render(request, "loans/desk_book_coin.html", context)


@require_safe
@for_the_house
def groups(request: HttpRequest) -> HttpResponse:
    """The groups of one bar of the histogram (`from`), or of one band as it is at this moment (`band`)."""
    at, clients = timezone.now(), clients_of(user_of(request))
    named = request.GET.get("band", "")
    # One more than is shown tells whether that was all.
    part: dict[str, Any] = {"at": at, "after": _after(request), "most": PER_PAGE + 1}
    if named in {one.value for one in Band}:
        bucket, query = None, f"band={named}&"
        keys = dashboard.in_band(clients, name=named, **part)
    else:
        bucket = _asked_bucket(request.GET.get("from", ""))
        query = f"from={bucket.floor:f}&"
        keys = dashboard.in_bucket(clients, floor=bucket.floor, ceiling=bucket.ceiling, **part)
    shown = keys[:PER_PAGE]
    context = {
        "at": at,
        "bucket": bucket,
        "band": named,
        "rows": group_rows(CollateralGroup.objects.filter(pk__in=shown), at=at),
        "query": query,
        "is_first": not part["after"],
        "next_after": shown[-1] if len(keys) > PER_PAGE else None,
    }
    return render(request, "loans/desk_book_groups.html", context)


@require_safe
@for_the_house
def due(request: HttpRequest) -> HttpResponse:
    """Which loans fall due within a week, and which are overdue; `list` says which of the two a page is of."""
    at, clients = timezone.now(), clients_of(user_of(request))
    is_late = request.GET.get("list") == "overdue"
    overdue = Loan.objects.filter(debt__in=_overdue(clients)).order_by("debt__overdue_since", "pk")
    soon = due_soon(clients, at=at).order_by("debt__due_at", "pk")
    late_page, due_page = _page(overdue, request, is_late), _page(soon, request, not is_late)
    context = {
        "at": at,
        "due": _loan_rows(due_page, at),
        "overdue": _loan_rows(late_page, at),
        "due_page": due_page,
        "late_page": late_page,
    }
    return render(request, "loans/desk_book_due.html", context)


@require_safe
@for_the_house
def ledger_account(request: HttpRequest, code: str) -> HttpResponseBase:
    """One account of the chart with its transfers, newest first. House accounts are for staff only."""
    user = user_of(request)
    row = get_object_or_404(LedgerAccount.objects.select_related("asset", "account__customer"), code=code)
    if is_manager(user) and (row.account is None or row.account.customer.manager_id != user.pk):
        raise Http404
    moved = Transfer.objects.filter(Q(debit=row) | Q(credit=row)).select_related("entry", "debit", "credit")
    grows = Q(debit=row) if row.normal == LedgerAccount.Normal.DEBIT else Q(credit=row)
    moved = moved.annotate(change=Case(When(grows, then=F("amount")), default=-F("amount")))
    table = _transfers_of(row)
    file = table.file(request, moved)
    if file is not None:
        return file
    listed = table.shown(request, moved)
    lines = [(line, _other(line, row), line.change) for line in listed.page]
    context = {"account": row, "list": listed, "page": listed.page, "lines": lines}
    return render(request, "loans/desk_ledger_account.html", context)


# --- Private ----------------------------------------------------------------------------------------


def _transfers_of(account: LedgerAccount) -> Table:
    """The transfers of one account of the chart; a change is up when it grows the account. R-GEN-05"""
    return Table(
        name=f"account-{account.code}",
        columns=(
            Column("entry", tell("Entry"), text=lambda row: f"J-{row.entry_id}"),
            Column("what", tell("What"), text=lambda row: row.entry.kind_words, sort=("entry__kind",)),
            Column("reference", tell("Reference"), text=lambda row: row.entry.reference, on_page=False),
            Column("other", tell("Other side"), text=lambda row: _other(row, account).code),
            Column(
                "effective", tell("Effective"), text=lambda row: row.entry.at, sort=("entry__at",), n=True
            ),
            Column("change", tell("Change"), text=lambda row: row.change, sort=("change",), n=True),
        ),
        order=("-pk",),
        search=("entry__kind", "entry__reference", "debit__code", "credit__code"),
        finds=tell("by kind, reference or account"),
        filters=(
            Filter(
                "side",
                tell("Side"),
                {"debit": (tell("Debits"), Q(debit=account)), "credit": (tell("Credits"), Q(credit=account))},
            ),
        ),
        per_page=PER_PAGE,
    )


def _other(line: Transfer, account: LedgerAccount) -> LedgerAccount:
    return line.credit if line.debit_id == account.pk else line.debit


def _book(request: HttpRequest, at: datetime) -> Book:
    """The newest snapshot of whose book the user sees; summed up now without one, or when `now` is asked for."""
    user = user_of(request)
    kept = None if "now" in request.GET else book_snapshot.newest(book_snapshot.scope_of(user), at=at)
    return kept or dashboard.book_of(clients_of(user), at=at)


def _page(rows: QuerySet[Loan], request: HttpRequest, is_asked: bool = True) -> "Page[Loan]":
    """The page asked for, else the first."""
    related = rows.select_related("debt", "asset", "group__receiver", "customer")
    return Paginator(related, PER_PAGE).get_page(request.GET.get("page") if is_asked else 1)


def _loan_rows(page: "Page[Loan]", at: datetime) -> list[queries.LoanRow]:
    return queries.rows_of(page.object_list, at=at)


def _after(request: HttpRequest) -> int:
    """The key after which a list goes on; 0 from its beginning."""
    asked = request.GET.get("after", "")
    return int(asked) if asked.isascii() and asked.isdecimal() and len(asked) < 19 else 0


def _overdue(clients: QuerySet[Customer]) -> QuerySet[Debt]:
    return Debt.objects.watched().filter(customer__in=clients, overdue_since__isnull=False)


def _sums(
    scope: str, found: Book, top: Sequence[tuple[ClientExposure, Customer]], *, at: datetime
) -> SafeString:
    """The tables of the sums and the result; of a snapshot made once for all who see the same clients in it."""

    def render_sums() -> SafeString:
        rows = [(one, client, found.share(one.owed)) for one, client in top]
        context: dict[str, Any] = {
            "book": found,
            "coins": found.by_coin(),
            "buckets": _drawn(found),
            "top": rows,
        }
        if scope == book_snapshot.EVERYBODY:
            context["results"] = _results(found.at)
        return render_to_string("loans/desk_book_sums.html", context)

    if found.at == at:  # summed up for this request alone
        return render_sums()
    return book_snapshot.rendered(scope, found, [(client.pk, client.name) for _, client in top], render_sums)


@exact
def _drawn(found: Book) -> list[tuple[Bucket, int, str]]:
    """Each bucket with the width of its bar, by debt, and its colour's name."""
    most = max((bucket.debt for bucket in found.buckets), default=ZERO)
    return [
        (bucket, int(BAR * bucket.debt / most) if most else 0, _colour(bucket.floor))
        for bucket in found.buckets
    ]


def _colour(floor: Decimal) -> str:
    """By the published lines of a VIP loan; a client's own may differ, and their group's page says so."""
    for line, name in ((Decimal("0.9"), "liq"), (Decimal("0.75"), "call"), (Decimal("0.7"), "watch")):
        if floor >= line:
            return name
    return "safe"


def _results(at: datetime) -> list[tuple[str, Asset, pools.Result]]:
    """This month so far and the last one, coin by coin. R-ADM-12"""
    this = _month_of(at)
    last = _month_of(this - timedelta(days=1))
    named = {
        tell("{month:%B} so far", month=this): (this, at),
        tell("{month:%B %Y}", month=last): (last, this),
    }
    found = {name: pools.result(start=start, end=end) for name, (start, end) in named.items()}
    assets = Asset.objects.in_bulk()  # of no coin, too: as many queries while nothing was earned
    return [(name, assets[symbol], row) for name, rows in found.items() for symbol, row in rows.items()]


def _month_of(instant: datetime) -> datetime:
    return datetime(instant.year, instant.month, 1, tzinfo=UTC)


def _asked_bucket(text: str) -> Bucket:
    for floor, ceiling in zip(BUCKETS, (*BUCKETS[1:], None), strict=True):
        if text == f"{floor:f}":
            return Bucket(floor, ceiling)
    raise Http404
