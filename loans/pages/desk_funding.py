"""The pools for the treasurer: what is free, lent and funded, giving coins back, their cost, the maturity ladder.

Finance proposes and another of finance releases; the rest of the staff looks. Every figure leads to its rows: an
account of the ledger, a tranche, or the loans behind it. R-ADM-12
"""

from datetime import UTC, datetime, time
from decimal import Decimal
from functools import wraps
from typing import Any, Final

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_safe

from accounts import approvals
from accounts.errors import Refused
from accounts.models import Approval, Asset, LedgerAccount
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, LongSelect, amount_field, key_field, key_of, read_amount, refuse
from accounts.pages.tables import Column, Table
from accounts.templatetags import figures
from accounts.words import tell
from loans.pages.client_forms import fraction, instant_field, percent_field
from loans.pages.desk_access import Page, View, for_the_house
from risk import funding, pools
from risk.insurance import FINANCE
from risk.ladder import LABELS, Bucket
from risk.models import Tranche

PER_PAGE: Final = 50
CLOSED: Final = Table(
    name="closed-tranches",
    columns=(
        Column("tranche", tell("Tranche"), text=str),
        Column("from", tell("From"), text=lambda row: row.lender or tell("own capital"), sort=("lender",)),
        Column("coin", tell("Coin"), text=lambda row: row.asset_id, on_page=False),
        Column("cost", tell("Cost a year"), text=lambda row: row.annual_rate, sort=("annual_rate",), n=True),
        Column("opened", tell("Opened"), text=lambda row: row.opened_at, sort=("opened_at",), n=True),
        Column("closed", tell("Given back"), text=lambda row: row.closed_at, sort=("closed_at",), n=True),
    ),
    order=("-closed_at", "-pk"),
    search=("lender",),
    finds=tell("by lender"),
)
COMMANDS: Final = ("funding.fund", "funding.draw", "funding.pay_cost")


class FundForm(forms.Form):
    asset = forms.ModelChoiceField(
        label=tell("Coin"),
        queryset=Asset.objects.filter(loanable=True).order_by("pk"),
        empty_label=tell("Choose a coin"),
        widget=LongSelect,
    )
    amount = amount_field()
    lender = forms.CharField(
        label=tell("Lender; own capital when empty"), required=False, max_length=funding.LONGEST_NAME
    )
    annual_rate = percent_field(tell("Cost a year"), least=0, most=999, required=False)
    matures_at = instant_field(tell("To be given back at (UTC); no date when empty"))
    reason = forms.CharField(label=tell("Why"), max_length=2000, widget=forms.Textarea(attrs={"rows": 2}))
    key = key_field()


class MoveForm(forms.Form):
    """Give back, or pay cost: some of it, or all."""

    way = forms.ChoiceField(
        label=tell("What"),
        choices=[("draw", tell("Give back")), ("pay_cost", tell("Pay cost"))],
        widget=forms.RadioSelect,
        initial="draw",
    )
    amount = amount_field(tell("Amount; all of it when empty"), required=False)
    reason = forms.CharField(label=tell("Why"), max_length=2000, widget=forms.Textarea(attrs={"rows": 2}))
    key = key_field()


def for_staff(view: View) -> Page:
    """The pools are the house's: to a VIP manager, who lends from them, the page does not exist."""

    @for_the_house
    @wraps(view)
    def page(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not user_of(request).is_staff:
            raise Http404
        return view(request, *args, **kwargs)

    return page


# --- Pages ------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@for_staff
def index(request: HttpRequest) -> HttpResponse:
    """Every pool, this month's result, and the form to fund one."""
    at, changes = timezone.now(), user_of(request).role in FINANCE
    form = FundForm(request.POST or None)
    if request.method == "POST":
        _refuse_strangers(changes)
        if form.is_valid() and _funded(request, form, at):
            return redirect("loans:funding")
    start = datetime.combine(at.date().replace(day=1), time(), UTC)
    results = pools.result(start=start, end=at)
    assets = Asset.objects.in_bulk(results)
    found = pools.pools()
    context = {
        "at": at,
        "pools": [one for one in found if one.is_used],
        "idle": [one for one in found if not one.is_used],
        "month": start,
        "results": [(assets[symbol], found) for symbol, found in results.items()],
        "proposals": _waiting(),
        "changes": changes,
        "form": form,
    }
    return render(request, "loans/desk_funding.html", context, status=REFUSED if form.errors else 200)


@require_safe
@for_staff
def coin(request: HttpRequest, symbol: str) -> HttpResponseBase:
    """One pool: its accounts in the ledger, and its tranches, the open ones first."""
    at, asset = timezone.now(), get_object_or_404(Asset, pk=symbol)
    tranches = Tranche.objects.filter(asset=asset).select_related("asset")
    closed = tranches.filter(closed_at__isnull=False)
    file = CLOSED.file(request, closed)
    if file is not None:
        return file
    context = {
        "at": at,
        "asset": asset,
        "pool": pools.pool_of(asset),
        "opened": set(LedgerAccount.objects.filter(asset=asset, account=None).values_list("kind", flat=True)),
        "open": pools.funded(
            tranches.filter(closed_at__isnull=True).order_by("matures_at", "opened_at", "pk"), at=at
        ),
        "list": CLOSED.shown(request, closed),
    }
    return render(request, "loans/desk_funding_coin.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@for_staff
def tranche(request: HttpRequest, tranche_id: int) -> HttpResponse:
    """One tranche with everything that happened to it; finance gives back and pays from here."""
    at, changes = timezone.now(), user_of(request).role in FINANCE
    row = get_object_or_404(Tranche.objects.select_related("asset"), pk=tranche_id)
    form = MoveForm(request.POST or None)
    if request.method == "POST":
        _refuse_strangers(changes)
        if form.is_valid() and _moved(request, row, form, at):
            return redirect("loans:funding_tranche", row.pk)
        row.refresh_from_db()
    entries = Paginator(row.entries.select_related("entry").order_by("-at", "-pk"), PER_PAGE)
    [left] = pools.funded([row], at=at)
    context = {
        "at": at,
        "row": row,
        "left": left,
        "page": entries.get_page(request.GET.get("page")),
        "proposals": [each for each in _waiting() if each.payload.get("tranche_id") == row.pk],
        "may_change": changes and row.closed_at is None,
        "form": form,
    }
    return render(request, "loans/desk_funding_tranche.html", context, status=REFUSED if form.errors else 200)


@require_safe
@for_staff
def ladder(request: HttpRequest) -> HttpResponse:
    """Loans against tranches, by when they fall due; coins with neither are named only."""
    at = timezone.now()
    found = pools.ladder(at=at)
    used = [each for each in found if any(rung.loans or rung.tranches for rung in each.rungs)]
    idle = [each.asset.pk for each in found if each not in used]
    context = {"at": at, "ladders": used, "idle": idle}
    return render(request, "loans/desk_funding_ladder.html", context)


@require_safe
@for_staff
def rung(request: HttpRequest, symbol: str, bucket: str) -> HttpResponse:
    """The loans and the tranches behind one rung."""
    at, asset = timezone.now(), get_object_or_404(Asset, pk=symbol)
    if bucket not in list(Bucket):
        raise Http404
    found = Bucket(bucket)
    context = {
        "at": at,
        "asset": asset,
        "label": LABELS[found],
        "debts": pools.debts_of(asset, found, at=at),
        "tranches": pools.funded(pools.tranches_of(asset, found, at=at), at=at),
    }
    return render(request, "loans/desk_funding_rung.html", context)


# --- Changes ----------------------------------------------------------------------------------------


def _refuse_strangers(changes: bool) -> None:
    if not changes:
        raise PermissionDenied(tell("Finance funds the pools and draws from them."))


def _waiting() -> list[Approval]:
    rows = Approval.objects.filter(status=Approval.Status.PENDING, command__in=COMMANDS)
    return list(rows.select_related("proposed_by").order_by("pk"))


def _funded(request: HttpRequest, form: FundForm, at: datetime) -> bool:
    typed = form.cleaned_data
    asset: Asset = typed["asset"]
    amount = read_amount(form, "amount", places=asset.places)
    if amount is None:
        return False
    lender, rate, matures_at = typed["lender"], typed["annual_rate"], typed["matures_at"]
    arguments = {
        "asset": asset.pk,
        "amount": amount,
        "lender": lender,
        "annual_rate": Decimal(0) if rate is None else fraction(rate),
        "matures_at": None if matures_at is None else matures_at.astimezone(UTC),
    }
    whose = lender or tell("own capital")
    preview = {tell("Free now"): figures.plain(pools.pool_of(asset).free, asset), tell("From"): whose}
    title = tell("Fund {amount} from {whose}", amount=figures.plain(amount, asset), whose=whose)
    return _proposed(request, form, "funding.fund", arguments, title=title, preview=preview, at=at)


def _moved(request: HttpRequest, row: Tranche, form: MoveForm, at: datetime) -> bool:
    way, asset = form.cleaned_data["way"], row.asset
    amount: Decimal | None = None
    if form.cleaned_data["amount"]:
        amount = read_amount(form, "amount", places=asset.places)
        if amount is None:
            return False
    [left] = pools.funded([row], at=at)
    said = tell("all") if amount is None else figures.plain(amount, asset)
    title = (
        tell("Give back {said} of {row}", said=said, row=row)
        if way == "draw"
        else tell("Pay {said} of the cost of {row}", said=said, row=row)
    )
    preview = {
        tell("Lender"): row.lender or tell("own capital"),
        tell("Left of it now"): figures.plain(left.principal, asset),
        tell("Cost owed now"): figures.plain(left.cost, asset),
        tell("Free in the pool now"): figures.plain(pools.pool_of(asset).free, asset),
    }
    arguments = {"tranche_id": row.pk, "amount": amount}
    return _proposed(request, form, f"funding.{way}", arguments, title=title, preview=preview, at=at)


def _proposed(
    request: HttpRequest,
    form: forms.Form,
    command: str,
    arguments: dict[str, Any],
    *,
    title: str,
    preview: dict[str, Any],
    at: datetime,
) -> bool:
    """Run it or put it up for a second person; False with the reason on the form."""
    try:
        approval = approvals.run_or_propose(
            command=command,
            arguments=arguments,
            title=title[:200],
            preview=preview,
            reason=form.cleaned_data["reason"],
            actor=actor_of(request),
            at=at,
            key=key_of(form),
        )
    except Refused as refusal:
        refuse(form, refusal)
        return False
    waits = tell("{approval} is proposed; it happens when another person releases it.", approval=approval)
    messages.success(request, waits if approval else tell("{title}: done.", title=title))
    return True
