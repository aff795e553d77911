"""The price dot in the frame of every page: when the newest price was seen, and whether they stopped."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_safe

from risk import prices


@dataclass(frozen=True, slots=True)
class Dot:
    """`is_stale`: even the newest price is too old to decide on."""

    at: datetime
    is_stale: bool


def market(request: HttpRequest) -> dict[str, Any]:
    """`prices`: None while there are none. Lazy: a page without the dot does not ask the database."""
    return {"prices": SimpleLazyObject(lambda: dot_at(timezone.now()))}


def dot_at(at: datetime) -> Dot | None:
    quotes = [quote for quote in prices.latest(at=at).values() if quote.asset != prices.UNIT]
    if not quotes:
        return None
    newest = max(quotes, key=lambda quote: (quote.observed_at, quote.fresh))
    return Dot(at=newest.observed_at, is_stale=not newest.fresh)


@require_safe
@login_required
def live(request: HttpRequest) -> HttpResponse:
    """The dot alone, asked for every few seconds."""
    return render(request, "risk/_live.html")
