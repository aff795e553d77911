"""The histories as pages and files: a borrower's own, and a client's for the house (R-GEN-90…93, R-GEN-95).

One view for every list; what differs is in `history_tabs`. The same rows go to the page and to CSV.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import exports
from accounts.models import Account, Asset, Customer
from accounts.pages.access import customer_of, limited_to, user_of
from accounts.pages.forms import REFUSED, LongSelect, refuse
from accounts.words import joined, tell
from loans import histories
from loans.histories import Asked, BadPeriod, Scope
from loans.pages.desk_access import clients_of
from loans.pages.history_columns import Column
from loans.pages.history_tabs import BY_SLUG, TABS, Tab, header, plain

PER_PAGE: Final = 25
DAY: Final = timedelta(days=1)
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2100, 12, 31)  # the calendar ends; no row is near its ends
MOST_PAGES: Final = 10**6


class HistoryForm(forms.Form):
    """Whole days, both included; empty is the last 90 days. Every other field narrows down."""

    since = forms.DateField(
        label=tell("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    until = forms.DateField(
        label=tell("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    coin = forms.ChoiceField(label=tell("Coin"), required=False, widget=LongSelect)
    account = forms.TypedChoiceField(label=tell("Account"), required=False, coerce=int, empty_value=None)
    loan = forms.RegexField(
        label=tell("Loan"),
        required=False,
        regex=r"^\s*(?:[Ll]-)?[0-9]{1,9}\s*$",
        error_messages={"invalid": tell("A loan has a number, such as L-0042.")},
    )

    def __init__(self, *args: Any, scope: Scope, tab: Tab, at: datetime, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.tab, self.at = tab, at
        coins = Asset.objects.order_by("pk").values_list("pk", flat=True)
        self.fields["coin"].choices = [("", tell("All")), *((coin, coin) for coin in coins)]  # type: ignore[attr-defined]
        accounts = Account.objects.filter(customer=scope.customer).order_by("pk")
        if scope.account is not None:
            accounts = accounts.filter(pk=scope.account.pk)
        self.fields["account"].choices = [("", tell("All")), *((row.pk, str(row)) for row in accounts)]  # type: ignore[attr-defined]

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        since, until = found.get("since"), found.get("until")
        if not all(FIRST_DAY <= day <= LAST_DAY for day in (since, until) if day is not None):
            raise forms.ValidationError(
                tell("Choose days from {year} to {year2}.", year=FIRST_DAY.year, year2=LAST_DAY.year)
            )
        try:
            found["period"] = histories.period(
                since=None if since is None else _midnight(since),
                until=None if until is None else _midnight(until + DAY),
                at=self.at,
                most_days=self.tab.most_days,
            )
        except BadPeriod as refusal:
            refuse(self, refusal)
        return found

    def asked(self, page: int, size: int = PER_PAGE) -> Asked:
        found = self.cleaned_data
        since, until = found["period"]
        number = found.get("loan", "").strip().upper().removeprefix("L-")
        return Asked(
            since=since,
            until=until,
            coin=found.get("coin", ""),
            account=found.get("account"),
            loan=int(number) if number else None,
            page=page,
            size=size,
        )


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of one row as the page shows it."""

    column: Column
    text: Any
    href: str

    @property
    def is_blank(self) -> bool:
        return self.text in ("", None)


@dataclass(frozen=True, slots=True)
class Pager:
    """What `pages.html` asks of a page of a paginator, for a list that counts itself."""

    number: int
    num_pages: int

    @property
    def paginator(self) -> "Pager":
        return self

    @property
    def has_previous(self) -> bool:
        return self.number > 1

    @property
    def has_next(self) -> bool:
        return self.number < self.num_pages

    @property
    def previous_page_number(self) -> int:
        return self.number - 1

    @property
    def next_page_number(self) -> int:
        return self.number + 1


@require_safe
@login_required
def index(request: HttpRequest, client_id: int | None = None) -> HttpResponse:
    scope_of(request, client_id)
    return redirect(_address(TABS[0].slug, client_id))


@require_safe
@login_required
def history(request: HttpRequest, slug: str, client_id: int | None = None) -> HttpResponse:
    """One list. A client's is for the house; somebody else's does not exist."""
    scope, tab, at = scope_of(request, client_id), _tab(slug), timezone.now()
    form = HistoryForm(request.GET, scope=scope, tab=tab, at=at)
    context = {
        "tab": tab,
        "columns": [column for column in tab.columns if column.on_page],
        "tabs": [(one, _address(one.slug, client_id), one is tab) for one in TABS],
        "form": form,
        "client": scope.customer if client_id is not None else None,
        "is_whole": scope.account is None,
        "at": at,
    }
    if not form.is_valid():
        return render(request, "loans/history.html", context, status=REFUSED)
    asked = form.asked(_page(request))
    found = tab.rows(scope, asked, at)
    kept = {name: value for name, value in request.GET.items() if name in form.fields and value}
    context |= {
        "rows": [
            _cells(tab, row, for_house=client_id is not None, is_whole=scope.account is None)
            for row in found.rows
        ],
        "total": found.total,
        "page": Pager(asked.page, max(-(-found.total // asked.size), 1)),
        "query": urlencode(kept) + "&" if kept else "",
        "csv": f"{_address(tab.slug, client_id, file=True)}?{urlencode(kept)}",
        "since": asked.since,
        "until": asked.until,
    }
    return render(request, "loans/history.html", context)


@require_safe
@login_required
def rows_csv(request: HttpRequest, slug: str, client_id: int | None = None) -> HttpResponseBase:
    """Every row that the filters leave, plain and in full; streamed, however long."""
    scope, tab, at = scope_of(request, client_id), _tab(slug), timezone.now()
    form = HistoryForm(request.GET, scope=scope, tab=tab, at=at)
    if not form.is_valid():
        said = joined(" ", (str(message) for messages in form.errors.values() for message in messages))
        return HttpResponse(said, status=400, content_type="text/plain; charset=utf-8")
    return StreamingHttpResponse(
        exports.csv_lines(header(tab), _rows(tab, scope, form, at)),
        content_type=exports.CSV_TYPE,
        headers={"Content-Disposition": f'attachment; filename="history-{tab.slug}.csv"'},
    )


def scope_of(request: HttpRequest, client_id: int | None) -> Scope:
    """Whose rows the signed-in user asks for: their own, or of a client they may look at; else 404. R-GEN-95"""
    if client_id is not None:
        return Scope(get_object_or_404(clients_of(user_of(request)), pk=client_id))
    customer: Customer | None = customer_of(request)
    if customer is None:
        raise Http404
    return Scope(customer, limited_to(request))


# --- Private ----------------------------------------------------------------------------------------


def _rows(tab: Tab, scope: Scope, form: HistoryForm, at: datetime) -> Iterator[Sequence[object]]:
    if tab.every is not None:
        yield from plain(tab, tab.every(scope, form.asked(1)))
        return
    for number in range(1, MOST_PAGES):
        found = tab.rows(scope, form.asked(number, size=histories.MOST_ROWS), at)
        yield from plain(tab, found.rows)
        if number * histories.MOST_ROWS >= found.total:
            return


def _cells(tab: Tab, row: Any, *, for_house: bool, is_whole: bool) -> list[Cell]:
    return [
        Cell(
            column,
            column.plain(row) if column.show is None else column.show(row),
            column.href(row, for_house=for_house, is_whole=is_whole),
        )
        for column in tab.columns
        if column.on_page
    ]


def _tab(slug: str) -> Tab:
    if slug not in BY_SLUG:
        raise Http404
    return BY_SLUG[slug]


def _page(request: HttpRequest) -> int:
    asked = request.GET.get("page", "")
    return max(int(asked), 1) if asked.isascii() and asked.isdecimal() and len(asked) <= 6 else 1


def _address(slug: str, client_id: int | None, *, file: bool = False) -> str:
    name = "history_csv" if file else "history_list"
    if client_id is None:
        return reverse(f"loans:{name}", args=[slug])
    return reverse(f"loans:client_{name}", args=[client_id, slug])


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
