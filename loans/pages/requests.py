"""My requests: what was asked for, on which terms, and what became of it (R-VIP-12)."""

from datetime import datetime
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
from accounts.words import tell
from loans import queries
from loans.models import Application, LoanEvent, Offer, SignedSheet
from loans.pages.bargain import AnswerForm, WantedForm, standing_terms, talks_of
from loans.vip import answering, applications, papers, sheets
from loans.vip.moves import UNDECIDED
from risk.levels import Lines
from risk.pages.track import Track, track

PER_PAGE = 25
WORDS = {
    "submitted": tell("Terms accepted, in review"),
    "negotiating": tell("Other terms wanted"),
    "countered": tell("Other terms wanted"),
    "offered": tell("Your manager made an offer"),
    "expired": tell("Lapsed"),
    "approved": tell("Approved"),
    "partially_approved": tell("Approved in part"),
    "rejected": tell("Not approved"),
    "cancelled": tell("Cancelled"),
    "disbursed": tell("Paid out"),
    "waits_for_papers": tell("Waits for the check of your papers"),
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
    row, at = row_of(customer, application_id), timezone.now()
    form = CancelForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            applications.cancel(application_id=row.pk, actor=actor_of(request), at=at, key=key_of(form))
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, tell("{row} is cancelled.", row=row))
            return redirect("loans:request", row.pk)
        row = row_of(customer, application_id)
    return page_of(request, customer, row, at=at, form=form)


def row_of(customer: Customer, application_id: int) -> Application:
    rows = Application.objects.filter(customer=customer).select_related(
        "receiver", "manager", "decided_by", "accepted"
    )
    return get_object_or_404(rows, pk=application_id)


def page_of(
    request: HttpRequest,
    customer: Customer,
    row: Application,
    *,
    at: datetime,
    form: CancelForm | None = None,
    answer: AnswerForm | None = None,
    want: WantedForm | None = None,
) -> HttpResponse:
    """The page of one request; with the form that was refused, when one was."""
    form = form or CancelForm()
    room = talks_of(row, at=at)
    is_live = row.status in UNDECIDED and (row.expires_at is None or row.expires_at > at)
    may_counter = (
        is_live
        and row.status != Application.Status.SUBMITTED
        and room.last is not None
        and (room.open_offer is None or room.open_offer.side == Offer.Side.DESK)
    )
    if may_counter and want is None and room.last is not None:
        want = WantedForm(base=sheets.wanted_of(room.last.body), rate_type=row.rate_type)
    context = {
        "at": at,
        "row": row,
        "lines": row.lines.select_related("asset").order_by("asset_id"),
        "accounts": row.collateral_accounts.order_by("pk"),
        "coins": row.collateral_coins.order_by("pk"),
        "events": [
            {"row": event, "words": words_of(event)}
            for event in row.events.filter(loan__isnull=True).order_by("at", "pk")
        ],
        "loans": row.lines.filter(loans__isnull=False)
        .values_list("loans__pk", "asset_id")
        .order_by("asset_id"),
        "sheets": SignedSheet.objects.filter(offer__application=row).defer("pdf", "body"),
        "form": form,
        "answer": answer or AnswerForm(initial={"version": room.last.version if room.last else None}),
        "want": want if may_counter else None,
        "talks": room if len(room.versions) > 1 else None,
        "to_accept": room.open_offer if is_live and not room.is_desks_move else None,
        "clock": answering.clocks_of([row])[row.pk] if is_live else None,
        "is_waiting": row.status == Application.Status.SUBMITTED,
        "is_live": is_live,
        "left_out": left_out_of(row),
        "papers": papers.note_for(customer, at=at) if is_live else "",
        **accepted_terms(row),
    }
    refused = any(shown is not None and shown.errors for shown in (form, answer, want))
    return render(request, "loans/request.html", context, status=REFUSED if refused else 200)


def words_of(event: LoanEvent) -> str:
    """What happened, for the borrower: with the version it was about."""
    words, version = WORDS.get(event.kind, event.kind), event.facts.get("version")
    return tell("{words}, version {version}", words=words, version=version) if version else words


def left_out_of(row: Application) -> list[tuple[str, str]]:
    """The coins that were not paid out when the others were, and why. R-VIP-06"""
    event = row.events.filter(kind=Application.Status.PARTIALLY_APPROVED).first()
    return sorted(event.facts["left_out"].items()) if event else []


def accepted_terms(row: Application) -> dict[str, Any]:
    """The sheet kept with the request, its texts turned back into numbers."""
    body = row.accepted.body if row.accepted is not None else None
    levels = {name: Decimal(value) for name, value in row.terms["levels"].items()}
    lines = Lines(**levels) if body is None else sheets.lines_of(body)
    before, after = (_number(row.terms.get(name)) for name in ("ltv_before", "ltv_after"))
    drawn: Track | None = None
    if after is not None:
        drawn = track(before, lines, after=after) if before else track(after, lines)
    prices = row.terms.get("liquidation_prices", {})
    return {
        "levels": lines,
        **standing_terms(row),
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
