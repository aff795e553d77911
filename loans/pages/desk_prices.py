"""Price health: how far each coin's price can be trusted, why not, and what to do about it; and its history."""

from django.core.paginator import Paginator
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Asset, User
from accounts.pages.access import user_of
from accounts.words import tell
from loans.pages.desk_access import for_the_house
from loans.pages.desk_parameter_forms import KINDS
from risk import price_board
from risk.models import Price

PER_PAGE = 50
SHOWS = {"use": tell("In use"), "doubt": tell("Not fresh"), "all": tell("Every coin")}
WAYS = {"by_hand": "price", "rule": "feed-rules", "ratio": "redemptions"}


@require_safe
@for_the_house
def board(request: HttpRequest) -> HttpResponse:
    """Coins in use, the doubtful ones first; `?show=all` is every coin there is, `doubt` what is not fresh."""
    at = timezone.now()
    rows = price_board.overview(at=at)
    show = request.GET.get("show", "use")
    if show not in SHOWS:
        raise Http404
    chosen = [
        row
        for row in rows
        if show == "all" or (row.in_use if show == "use" else not row.is_well and row.state is not None)
    ]
    page = Paginator(chosen, PER_PAGE).get_page(request.GET.get("page"))
    context = {
        "at": at,
        "rows": price_board.detailed(list(page), at=at),
        "page": page,
        "show": show,
        "shows": SHOWS.items(),
        "troubled": price_board.troubled(rows),
        "in_use": sum(row.in_use for row in rows),
        "may": _may(user_of(request)),
    }
    return render(request, "loans/desk_prices.html", context)


@require_safe
@for_the_house
def coin(request: HttpRequest, symbol: str) -> HttpResponse:
    """Every observation of one coin, believed or not, newest first."""
    asset, at = get_object_or_404(Asset, pk=symbol), timezone.now()
    rows = Price.objects.filter(asset=asset).order_by("-observed_at", "-pk")
    before = request.GET.get("before", "")
    if before:
        last = get_object_or_404(rows, pk=before) if before.isdecimal() and len(before) < 19 else None
        if last is None:
            raise Http404
        rows = rows.filter(
            Q(observed_at__lt=last.observed_at) | Q(observed_at=last.observed_at, pk__lt=last.pk)
        )
    shown = list(rows[: PER_PAGE + 1])  # without a count: a coin has millions of them
    context = {
        "at": at,
        "asset": asset,
        "rows": shown[:PER_PAGE],
        "older": shown[PER_PAGE - 1].pk if len(shown) > PER_PAGE else None,
        "may": _may(user_of(request)),
    }
    return render(request, "loans/desk_price.html", context)


def _may(user: User) -> dict[str, bool]:
    return {way: KINDS[slug].may_propose(user) for way, slug in WAYS.items()}
