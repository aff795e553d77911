"""What risk officers and finance do about sales themselves: sell a group by hand, release coins taken over.

A sale by hand shows first what would be sold and where LTV would be after it, in both modes; then it is proposed,
and another person releases it (R-ADM-03, R-ADM-05). What a thin market left with the house lies in workout until
finance gives it to the pool (R-GEN-79).
"""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import approvals
from accounts.commands import registered
from accounts.errors import Refused
from accounts.models import Asset, JournalEntry, LedgerAccount, User
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, amount_field, key_field, key_of, read_amount, refuse
from accounts.templatetags import figures
from accounts.words import joined, tell
from loans.pages.desk_access import for_the_house
from risk import steps, workout
from risk.handling import Mode
from risk.liquidation import BY_HAND
from risk.models import CollateralGroup, Liquidation, Sale
from risk.steps import Outlook

NEWEST = 20
MODES = [(Mode.STEPPED.value, tell("In steps")), (Mode.FULL.value, tell("Everything at once"))]


class SellForm(forms.Form):
    mode = forms.ChoiceField(
        label=tell("How"),
        choices=MODES,
        widget=forms.RadioSelect,
        initial=Mode.STEPPED.value,
        error_messages={"required": tell("Say how: in steps, or everything at once.")},
    )
    reason = forms.CharField(
        label=tell("Why, for the person who releases it"),
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": tell("Say why; another person decides on it.")},
    )
    key = key_field()


class ReleaseForm(forms.Form):
    asset = forms.ModelChoiceField(label=tell("Coin"), queryset=Asset.objects.none())
    amount = amount_field()
    key = key_field()


# --- A sale by hand -----------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def by_hand(request: HttpRequest, group_id: int) -> HttpResponse:
    rule = registered[BY_HAND].four_eyes
    if rule is None or user_of(request).role not in rule.makers:
        raise PermissionDenied(tell("Risk officers propose a sale by hand."))
    at = timezone.now()
    rows = CollateralGroup.objects.open().select_related("customer", "receiver")
    group = get_object_or_404(rows, pk=group_id)
    form = SellForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            said = _propose(request, form, group, at)
        except Refused as refusal:
            refuse(form, refusal)
        else:
            messages.success(request, said)
            return redirect("risk:group", group.pk)
    running = Liquidation.objects.filter(group=group, status=Liquidation.Status.RUNNING).first()
    context = {
        "group": group,
        "form": form,
        "at": at,
        "running": running,
        "outlooks": [(label, _shown(group, mode, at)) for mode, label in MODES],
    }
    status = REFUSED if form.errors else 200
    return render(request, "loans/desk_liquidation_by_hand.html", context, status=status)


def _propose(request: HttpRequest, form: SellForm, group: CollateralGroup, at: datetime) -> str:
    mode = form.cleaned_data["mode"]
    ahead = _shown(group, mode, at)
    waiting = approvals.run_or_propose(
        command=BY_HAND,
        arguments={"group_id": group.pk, "mode": mode},
        title=tell(
            "Sell collateral of {group} of {customer} at LTV {ltv}",
            group=group,
            customer=group.customer,
            ltv=figures.ltv(ahead.ltv),
        ),
        preview=_preview(ahead),
        reason=form.cleaned_data["reason"],
        actor=actor_of(request),
        at=at,
        customer=group.customer,
        key=key_of(form),
    )
    if waiting is None:
        return tell("Collateral of {group} is being sold.", group=group)
    return tell(
        "{waiting} proposes the sale; nothing is sold before another person releases it.", waiting=waiting
    )


def _shown(group: CollateralGroup, mode: str, at: datetime) -> Outlook:
    ahead = steps.outlook(group=group, mode=mode, at=at)
    return replace(ahead, sold=dict(sorted(ahead.sold.items())))


def _preview(ahead: Outlook) -> dict[str, str]:
    return {
        "LTV before": figures.ltv(ahead.ltv),
        "LTV after": figures.ltv(ahead.ltv_after),
        tell("Would be sold"): joined(
            ", ", (tell("{amount:f} {coin}", amount=amount, coin=coin) for coin, amount in ahead.sold.items())
        )
        or "nothing",
        tell("Worth"): tell("{sold_usd:,.2f} USD", sold_usd=ahead.sold_usd),
        tell("Repays"): tell("{repaid_usd:,.2f} USD", repaid_usd=ahead.repaid_usd),
        tell("Fee"): tell("{fee_usd:,.2f} USD", fee_usd=ahead.fee_usd),
    }


# --- Taken over ---------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@for_the_house
def taken_over(request: HttpRequest) -> HttpResponse:
    user = user_of(request)
    if not user.is_staff:
        raise Http404  # a manager's clients are theirs; these coins are the house's
    may_release = user.role == User.Role.FINANCE
    accounts = LedgerAccount.objects.house(LedgerAccount.Kind.WORKOUT).select_related("asset")
    held = {row.asset: row.balance for row in accounts.order_by("asset_id") if row.balance}
    form = ReleaseForm(request.POST or None)
    field = form.fields["asset"]
    assert isinstance(field, forms.ModelChoiceField)
    field.queryset = Asset.objects.filter(pk__in=[asset.pk for asset in held]).order_by("pk")
    if request.method == "POST":
        if not may_release:
            raise PermissionDenied(tell("Finance releases what was taken over."))
        said = _release(request, form)
        if said:
            messages.success(request, said)
            return redirect("loans:taken_over")
    context = {
        "rows": list(held.items()),
        "form": form if may_release and held else None,
        "sales": Sale.objects.filter(venue=workout.TAKEOVER)
        .select_related("coin", "liquidation__group")
        .order_by("-at", "-pk")[:NEWEST],
        "releases": JournalEntry.objects.filter(kind=workout.RELEASE).order_by("-pk")[:NEWEST],
    }
    return render(
        request, "loans/desk_liquidation_workout.html", context, status=REFUSED if form.errors else 200
    )


def _release(request: HttpRequest, form: ReleaseForm) -> str:
    """What was done, in words; empty when it was refused, with the reason on the form."""
    if not form.is_valid():
        return ""
    asset: Asset = form.cleaned_data["asset"]
    amount: Decimal | None = read_amount(form, "amount", places=asset.places)
    if amount is None:
        return ""
    try:
        workout.release_workout(
            asset=asset.pk, amount=amount, actor=actor_of(request), at=timezone.now(), key=key_of(form)
        )
    except Refused as refusal:
        refuse(form, refusal)
        return ""
    return tell("{amount:f} {asset} went to the pool.", amount=amount, asset=asset)
