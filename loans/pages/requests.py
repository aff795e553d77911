"""My requests: what was asked for, on which terms, and what became of it (R-VIP-12)."""

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts.errors import Refused
from accounts.models import Customer
from accounts.pages.access import actor_of, for_customer
from accounts.pages.forms import REFUSED, key_field, key_of, refuse
from loans import queries
from loans.models import Application
from loans.vip import applications
from risk.levels import Lines
from risk.pages.track import Track, track

PER_PAGE = 25
WORDS = {
    "submitted": "Sent",
    "approved": "Approved",
    "rejected": "Not approved",
    "cancelled": "Cancelled",
    "disbursed": "Paid out",
}


class CancelForm(forms.Form):
    key = key_field()


@require_safe
@for_customer
def requests(request: HttpRequest, customer: Customer) -> HttpResponse:
    mine = Application.objects.filter(customer=customer).order_by("-submitted_at", "-pk")
    page = Paginator(mine, PER_PAGE).get_page(request.GET.get("page"))
    shown = Application.objects.filter(pk__in=[row.pk for row in page.object_list])
    return render(request, "loans/requests.html", {"page": page, "rows": queries.request_rows(shown)})


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def one_request(request: HttpRequest, customer: Customer, application_id: int) -> HttpResponse:
    """One request; a post takes it back."""
    rows = Application.objects.filter(customer=customer).select_related("receiver", "manager", "decided_by")
    row = get_object_or_404(rows, pk=application_id)
    form = CancelForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            applications.cancel(
                application_id=row.pk, actor=actor_of(request), at=timezone.now(), key=key_of(form)
            )
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, f"{row} is cancelled.")
            return redirect("loans:request", row.pk)
        row = rows.get(pk=row.pk)
    context = {
        "row": row,
        "lines": row.lines.select_related("asset").order_by("asset_id"),
        "accounts": row.collateral_accounts.order_by("pk"),
        "coins": row.collateral_coins.order_by("pk"),
        "events": [
            {"row": event, "words": WORDS.get(event.kind, event.kind)}
            for event in row.events.filter(loan__isnull=True).order_by("at", "pk")
        ],
        "loans": row.lines.filter(loans__isnull=False)
        .values_list("loans__pk", "asset_id")
        .order_by("asset_id"),
        "form": form,
        "is_waiting": row.status == Application.Status.SUBMITTED,
        **accepted_terms(row),
    }
    return render(request, "loans/request.html", context, status=REFUSED if form.errors else 200)


def accepted_terms(row: Application) -> dict[str, Any]:
    """The sheet kept with the request, its texts turned back into numbers."""
    levels = {name: Decimal(value) for name, value in row.terms["levels"].items()}
    lines = Lines(**levels)
    before, after = (_number(row.terms.get(name)) for name in ("ltv_before", "ltv_after"))
    drawn: Track | None = None
    if after is not None:
        drawn = track(before, lines, after=after) if before else track(after, lines)
    prices = row.terms.get("liquidation_prices", {})
    return {
        "levels": lines,
        "ltv_before": before,
        "ltv_after": after,
        "track": drawn,
        "daily": [
            (line["asset"], Decimal(line["daily_interest"]))
            for line in row.terms["lines"]
            if line["daily_interest"]
        ],
        "liquidation_prices": [(coin, Decimal(value)) for coin, value in sorted(prices.items()) if value],
        "declined": sorted(row.terms.get("declined", {}).items()),
        "value_usd": _number(row.terms.get("value_usd")),
    }


def _number(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
