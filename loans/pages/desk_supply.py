"""The supply side of the fixed-rate market: what is on offer, what was taken of it, entering and closing orders.

Finance proposes an order and another person releases it; the rest of the house looks. A VIP manager sees of the
takings those of their own clients. R-VIP-26
"""

from datetime import UTC, datetime
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import approvals
from accounts.errors import Refused
from accounts.models import Approval, Asset
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, LongSelect, amount_field, key_field, key_of, read_amount, refuse
from accounts.pages.tables import Column, Filter, Table
from accounts.templatetags import figures
from accounts.words import tell
from loans import supply
from loans.matching import LONGEST_TERM
from loans.models import SupplyOrder
from loans.pages.client_forms import fraction, instant_field, percent_field
from loans.pages.desk_access import clients_of, for_the_house
from risk.insurance import FINANCE
from risk.models import ProductCode

PER_PAGE: Final = 50
PAST: Final = Table(
    name="supply-orders",
    columns=(
        Column("order", tell("Order"), text=str, sort=("asset", "opened_at")),
        Column("coin", tell("Coin"), text=lambda row: row.asset_id, on_page=False),
        Column("rate", tell("Rate a year"), text=lambda row: row.annual_rate, sort=("annual_rate",), n=True),
        Column("term", tell("Term"), text=lambda row: row.term_days, sort=("term_days",), n=True),
        Column("offered", tell("Offered"), text=lambda row: row.amount, sort=("asset", "amount"), n=True),
        Column("left", tell("Not taken"), text=lambda row: row.left, sort=("asset", "left"), n=True),
        Column("opened", tell("Opened"), text=lambda row: row.opened_at, on_page=False),
        Column(
            "over",
            tell("Over since"),
            text=lambda row: row.closed_at or row.ends_at,
            sort=("closed_at", "ends_at"),
            n=True,
        ),
    ),
    order=("-opened_at", "-pk"),
    search=("asset__symbol",),
    finds=tell("by coin"),
    filters=(
        Filter(
            "state",
            tell("State"),
            {
                "closed": (tell("Closed"), Q(closed_at__isnull=False)),
                "taken": (tell("Taken up"), Q(closed_at=None, left=0)),
                "ended": (tell("Ended or not open yet"), Q(closed_at=None, left__gt=0)),
            },
        ),
    ),
)


class EnterForm(forms.Form):
    asset = forms.ModelChoiceField(
        label=tell("Coin"),
        queryset=Asset.objects.filter(loanable=True).order_by("pk"),
        empty_label=tell("Choose a coin"),
        widget=LongSelect,
    )
    annual_rate = percent_field(tell("Rate a year"), least=0, most=999)
    amount = amount_field(tell("Amount offered"))
    minimum = amount_field(tell("Least of one taking"))
    term_days = forms.IntegerField(label=tell("Term in days"), min_value=1, max_value=LONGEST_TERM)
    ends_at = instant_field(tell("On offer until (UTC); until it is closed when empty"))
    reason = forms.CharField(label=tell("Why"), max_length=2000, widget=forms.Textarea(attrs={"rows": 2}))
    key = key_field()


class CloseForm(forms.Form):
    reason = forms.CharField(
        label=tell("Why"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 2}),
        error_messages={"required": tell("Say why; it is kept with the change.")},
    )
    key = key_field()


# --- Pages ------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def index(request: HttpRequest) -> HttpResponseBase:
    """What is on offer now, what was, and the form to offer more."""
    at, changes = timezone.now(), user_of(request).role in FINANCE
    offered = supply.on_offer(at=at)
    others = SupplyOrder.objects.exclude(pk__in=list(offered.values_list("pk", flat=True)))
    past = supply.with_left(others.select_related("asset"))
    file = PAST.file(request, past)
    if file is not None:
        return file
    form = EnterForm(request.POST or None)
    if request.method == "POST":
        _refuse_strangers(changes)
        if form.is_valid() and _entered(request, form, at):
            return redirect("loans:supply")
    context = {
        "at": at,
        "standings": supply.standings(offered.order_by("asset", "term_days", "annual_rate", "pk")),
        "list": PAST.shown(request, past),
        "proposals": Approval.objects.filter(status=Approval.Status.PENDING, command="supply.enter")
        .select_related("proposed_by")
        .order_by("pk"),
        "changes": changes,
        "form": form,
    }
    return render(request, "loans/desk_supply.html", context, status=REFUSED if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def order(request: HttpRequest, supply_id: int) -> HttpResponse:
    """One order: its terms, what is left, who took what; finance closes it here."""
    at, user = timezone.now(), user_of(request)
    changes = user.role in FINANCE
    rows = SupplyOrder.objects.select_related("asset", "entered_by")
    row = get_object_or_404(supply.with_left(rows), pk=supply_id, product=ProductCode.VIP)
    form = CloseForm(request.POST or None)
    if request.method == "POST":
        _refuse_strangers(changes)
        if form.is_valid() and _closed(request, row, form, at):
            return redirect("loans:supply_order", row.pk)
    takes = row.takes.filter(loan__customer__in=clients_of(user)).select_related("loan__customer")
    [standing] = supply.standings([row])
    context = {
        "at": at,
        "row": row,
        "standing": standing,
        "is_open": supply.on_offer(at=at).filter(pk=row.pk).exists(),
        "takes": Paginator(takes.order_by("-loan__drawn_at", "-pk"), PER_PAGE).get_page(
            request.GET.get("page")
        ),
        "may_close": changes and row.closed_at is None,
        "form": form,
    }
    return render(request, "loans/desk_supply_order.html", context, status=REFUSED if form.errors else 200)


# --- Changes ----------------------------------------------------------------------------------------


def _refuse_strangers(changes: bool) -> None:
    if not changes:
        raise PermissionDenied(tell("Finance enters and closes supply orders."))


def _entered(request: HttpRequest, form: EnterForm, at: datetime) -> bool:
    """Put it up for a second person; False with the reason on the form."""
    typed = form.cleaned_data
    asset: Asset = typed["asset"]
    amount, minimum = (read_amount(form, name, places=asset.places) for name in ("amount", "minimum"))
    if amount is None or minimum is None:
        return False
    rate, ends_at = fraction(typed["annual_rate"]), typed["ends_at"]
    arguments: dict[str, Any] = {
        "asset": asset.pk,
        "annual_rate": rate,
        "term_days": typed["term_days"],
        "amount": amount,
        "minimum": minimum,
        "ends_at": None if ends_at is None else ends_at.astimezone(UTC),
    }
    title = tell(
        "Offer {amount} at {rate} for {typed} days",
        amount=figures.plain(amount, asset),
        rate=figures.rate(rate),
        typed=typed["term_days"],
    )
    free = supply.free([asset.pk]).get(asset.pk)
    preview = {
        tell("Least of one taking"): figures.plain(minimum, asset),
        tell("Free in the pool now"): tell("nothing") if free is None else figures.plain(free, asset),
        tell("Who decides on each taking"): tell(
            "nobody: whoever passes every check of a request is paid out at once"
        ),
    }
    try:
        approval = approvals.run_or_propose(
            command="supply.enter",
            arguments=arguments,
            title=title[:200],
            preview=preview,
            reason=typed["reason"],
            actor=actor_of(request),
            at=at,
            key=key_of(form),
        )
    except Refused as refusal:
        refuse(form, refusal)
        return False
    waits = tell("{approval} is proposed; it is on offer when another person releases it.", approval=approval)
    messages.success(request, waits if approval else tell("{title}: done.", title=title))
    return True


def _closed(request: HttpRequest, row: SupplyOrder, form: CloseForm, at: datetime) -> bool:
    try:
        supply.close(
            order_id=row.pk,
            actor=actor_of(request),
            at=at,
            key=key_of(form),
            reason=form.cleaned_data["reason"],
        )
    except Refused as refusal:
        refuse(form, refusal)
        return False
    messages.success(request, tell("{row} is closed; what was taken of it runs on.", row=row))
    return True
