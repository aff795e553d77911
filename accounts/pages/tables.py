"""Long lists of rows: what they can be sorted and narrowed by, their pages, and the same rows as a file. R-ADM-11

One mechanism for every long table. The address says it all (`?q=&sort=-started&cause=ltv&page=2`, `&csv=1` the file),
so a view can be sent to somebody else, and works without scripts. Sorting and narrowing happen in the database; what an
address asks for that the list does not know is not followed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Any, Final

from django.core.paginator import Page, Paginator
from django.db.models import F, OrderBy, Q, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import urlencode

from accounts import exports

PER_PAGE: Final = 25
AT_ONCE: Final = 2_000  # rows of a file held in memory
LONGEST_SEARCH: Final = 100

Text = Callable[[Any], object]
"""What a row shows in a column of the file: a `Decimal`, an instant or text, never formatted."""


@dataclass(frozen=True, slots=True)
class Column:
    """`sort`: the fields that order it, rising; none where it cannot be sorted by. `text`: None is not in the file.

    A column that is not `on_page` is in the file only.
    """

    key: str
    title: str
    text: Text | None = None
    sort: tuple[str, ...] = ()
    n: bool = False  # a figure: to the right, and the largest first when it is asked for
    on_page: bool = True


@dataclass(frozen=True, slots=True)
class Filter:
    """A choice of one; `options` by what the address says."""

    key: str
    title: str
    options: Mapping[str, tuple[str, Q]]


@dataclass(frozen=True, slots=True)
class Head:
    """A column's head: `href` sorts by it, `sort` is what a reader is told ("ascending", "descending")."""

    title: str
    n: bool
    href: str
    sort: str


@dataclass(frozen=True, slots=True)
class Chosen:
    key: str
    title: str
    value: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a template draws. `query` is what the address keeps for another page, ready to write before `page=`."""

    page: Page[Any]
    heads: tuple[Head, ...]
    filters: tuple[Chosen, ...]
    finds: str  # what the search looks at, in words; "" where there is none
    asked: str
    sort: str
    query: str
    file: str  # the address of the same rows as a file
    is_narrowed: bool

    @property
    def count(self) -> int:
        return self.page.paginator.count


@dataclass(frozen=True, slots=True)
class Table:
    """A long list: its columns in order, what it is searched in (`finds` in words) and how it lies when nobody asks.

    `order` must end in something unique, or rows would fall between two pages.
    """

    name: str  # of the file
    columns: tuple[Column, ...]
    order: tuple[str, ...]
    search: tuple[str, ...] = ()
    finds: str = ""
    filters: tuple[Filter, ...] = ()
    per_page: int = PER_PAGE

    def shown(self, request: HttpRequest, rows: QuerySet[Any]) -> Shown:
        """The page that is asked for; beyond the last it is the last."""
        sort, asked, chosen = self._sort(request), self._asked(request), self._chosen(request)
        kept = {"q": asked, "sort": sort, **{one.key: one.value for one in chosen}}
        found = self._found(request, rows)
        return Shown(
            page=Paginator(found, self.per_page).get_page(request.GET.get("page")),
            heads=tuple(self._head(column, sort, kept) for column in self.columns if column.on_page),
            filters=chosen,
            finds=self.finds,
            asked=asked,
            sort=sort,
            query=_query(kept),
            file=f"?{_query(kept)}csv=1",
            is_narrowed=bool(asked or any(one.value for one in chosen)),
        )

    def file(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponseBase | None:
        """All the rows that are asked for as CSV, in their order, when a file is; else None. Read as it is sent."""
        if request.GET.get("csv") != "1":
            return None
        disposition = {"Content-Disposition": f'attachment; filename="{self.name}.csv"'}
        lines = self._lines(self._found(request, rows))
        if request.method == "HEAD":
            return HttpResponse(content_type=exports.CSV_TYPE, headers=disposition)
        return StreamingHttpResponse(lines, content_type=exports.CSV_TYPE, headers=disposition)

    def _lines(self, rows: QuerySet[Any]) -> Iterator[bytes]:
        written = [column for column in self.columns if column.text is not None]
        values = ([column.text(row) for column in written if column.text] for row in rows.iterator(AT_ONCE))
        return exports.csv_lines([column.title for column in written], values)

    def _found(self, request: HttpRequest, rows: QuerySet[Any]) -> QuerySet[Any]:
        asked = self._asked(request)
        if asked and self.search:
            rows = rows.filter(reduce(or_, (Q(**{f"{name}__icontains": asked}) for name in self.search)))
        for one in self.filters:
            value = request.GET.get(one.key, "")
            if value in one.options:
                rows = rows.filter(one.options[value][1])
        return rows.order_by(*self._order(self._sort(request)))

    def _order(self, sort: str) -> Sequence[str | OrderBy]:
        column = next((one for one in self.columns if one.key == sort.removeprefix("-")), None)
        if column is None:
            return self.order
        falls = sort.startswith("-")
        by = [
            F(name).desc(nulls_last=True) if falls else F(name).asc(nulls_last=True) for name in column.sort
        ]
        return [*by, *self.order]

    def _sort(self, request: HttpRequest) -> str:
        asked = request.GET.get("sort", "")
        return asked if asked.removeprefix("-") in {one.key for one in self.columns if one.sort} else ""

    def _asked(self, request: HttpRequest) -> str:
        """PostgreSQL has no text with a NUL in it."""
        return request.GET.get("q", "").replace("\0", "").strip()[:LONGEST_SEARCH] if self.search else ""

    def _chosen(self, request: HttpRequest) -> tuple[Chosen, ...]:
        return tuple(
            Chosen(
                one.key,
                one.title,
                request.GET.get(one.key, "") if request.GET.get(one.key, "") in one.options else "",
                tuple((value, words) for value, (words, _) in one.options.items()),
            )
            for one in self.filters
        )

    def _head(self, column: Column, sort: str, kept: dict[str, str]) -> Head:
        """Asked for again, it turns round; figures and dates begin with the largest."""
        if not column.sort:
            return Head(column.title, column.n, "", "")
        first, second = (f"-{column.key}", column.key) if column.n else (column.key, f"-{column.key}")
        now = "" if sort.removeprefix("-") != column.key else "descending" if sort[:1] == "-" else "ascending"
        turned = second if sort == first else first
        return Head(column.title, column.n, f"?{_query({**kept, 'sort': turned})}".rstrip("&"), now)


def _query(kept: Mapping[str, str]) -> str:
    said = {key: value for key, value in kept.items() if value}
    return f"{urlencode(said)}&" if said else ""
