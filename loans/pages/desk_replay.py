"""A liquidation replayed: one taking at a time, forwards and backwards, with its price, postings and LTV (R-GEN-81).

Who reads the story reads the replay; the house also opens the journal. Every figure comes from rows (risk/takings.py).
"""

from collections.abc import Sequence
from decimal import Decimal

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from accounts.money import ZERO, exact
from accounts.pages.access import user_of
from accounts.words import tell
from loans import replay_chart
from loans.pages.desk_access import is_of_the_house
from loans.pages.desk_liquidations import visible_to
from loans.replay_chart import Chart
from risk import takings
from risk.levels import Lines
from risk.takings import Taking


@require_safe
@login_required
def replay(request: HttpRequest, liquidation_id: int) -> HttpResponse:
    """`?step=n` from 1; what is no step shows the first or the last."""
    user = user_of(request)
    rows = visible_to(user).select_related("group__customer", "group__receiver", "debt__asset")
    row = get_object_or_404(rows, pk=liquidation_id)
    found, lines = takings.takings(row), takings.lines_of(row)
    number = _asked(request.GET.get("step", ""), len(found))
    context = {
        "row": row,
        "takings": found,
        "one": found[number - 1] if found else None,
        "number": number,
        "lines": lines,
        "chart": _chart(found, lines, here=number) if found else None,
        "sold_usd": _sold_usd(found),
        "opens_books": is_of_the_house(user),
        "is_mine": not is_of_the_house(user),
    }
    return render(request, "loans/desk_replay.html", context)


# --- Private ----------------------------------------------------------------------------------------


def _asked(text: str, last: int) -> int:
    """The step asked for, from 1 to the last one."""
    number = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 1
    return max(1, min(number, last))


@exact
def _sold_usd(found: Sequence[Taking]) -> Decimal:
    """At the prices of the sales; the story's own sum, from the pieces."""
    return sum((sale.sold * sale.price for one in found for sale in one.sales), ZERO)


def _chart(found: Sequence[Taking], lines: Lines, *, here: int) -> Chart:
    named = (
        (lines.initial, tell("initial")),
        (lines.margin_call, tell("call")),
        (lines.liquidation, tell("liquidation")),
        (lines.cutoff, tell("cut-off")),
    )
    return replay_chart.chart([(one.before.ltv, one.after.ltv) for one in found], named, here=here)
