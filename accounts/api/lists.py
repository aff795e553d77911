"""Lists: which page is asked for, and a page as `{rows, total}`."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from django.db.models import QuerySet
from rest_framework import serializers

from accounts.api.wire import Number, Query

MOST_ROWS: Final = 100  # of one page
LAST_PAGE: Final = 10**6


class Paged(Query):
    """The parameters of a list; its own filters come beside them."""

    page = Number(min_value=1, max_value=LAST_PAGE, default=1, help_text="Counted from 1.")
    size = Number(min_value=1, max_value=MOST_ROWS, default=25, help_text="Rows of a page.")


def page_of(
    rows: "QuerySet[Any]", told: dict[str, Any], shown: Callable[[list[Any]], Iterable[Any]]
) -> dict[str, Any]:
    """One page of ordered `rows` as `told` asks, shaped by `shown`: two queries and what `shown` asks."""
    return {"rows": list(shown(list(rows[span(told)]))), "total": rows.count()}


def span(told: dict[str, Any]) -> slice:
    """The rows of the page that `told` asks for."""
    first = (told["page"] - 1) * told["size"]
    return slice(first, first + told["size"])


def listed(row: type[serializers.Serializer[Any]]) -> type[serializers.Serializer[Any]]:
    """How a list of such rows looks: `{rows, total}`."""
    fields = {"rows": row(many=True), "total": serializers.IntegerField()}
    name = f"{row.__qualname__.replace('.', '')}List"
    return type(name, (serializers.Serializer,), {**fields, "__module__": row.__module__})
