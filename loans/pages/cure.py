"""A cure that takes several steps, in one press: all of them, leading where the card promised, or none. R-FTR-02

The card on the group's page is the look. Each step is the ordinary command that its own form would call, with a key
made of the press's own, so that pressing twice does it once (R-GEN-06).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts.errors import Refused
from accounts.models import Account, Asset, Customer
from accounts.pages.access import actor_of, for_customer, lacks
from accounts.pages.forms import key_field, key_of
from accounts.powers import Power
from accounts.templatetags import figures
from accounts.words import joined, tell
from loans.models import Loan
from loans.pages.loan_forms import AMOUNT, RepayForm
from loans.pages.loan_panels import paid_words
from loans.vip import repayment
from risk import book
from risk.models import CollateralGroup
from risk.pages.advice import MOST_STEPS, MOVES, REPAYS
from risk.pages.effect import standing_words
from risk.pages.movement_ways import WAYS
from risk.pages.promised import cure_field, is_repeated
from risk.promises import NeededNoMore, keeping

DAMAGED: Final = tell("A part of this form was missing or damaged. The figures below are those of now.")


class PressForm(forms.Form):
    key = key_field()
    cure = cure_field()


class DamagedStep(ValueError):
    """What was sent is no step of a cure of this customer's."""


@dataclass(frozen=True, slots=True)
class Act:
    """One step: what it takes to be allowed to, whose coins it moves, and what does it and says what was done."""

    power: Power
    uids: tuple[int, ...]
    do: Callable[[str], str]


@require_http_methods(["GET", "HEAD", "POST"])
@for_customer
def cure(request: HttpRequest, customer: Customer, group_id: int) -> HttpResponse:
    group = get_object_or_404(CollateralGroup.objects.filter(customer=customer), pk=group_id)
    if group.closed_at and not is_repeated(request):  # a cure that repays all closes it, and may arrive twice
        raise Http404
    back = reverse("risk:group", args=[group.pk])
    if request.method != "POST":
        return redirect(back)
    at, form = timezone.now(), PressForm(request.POST)
    try:
        acts = _acts(request, group, at)
    except DamagedStep:
        acts = []
    if not (acts and form.is_valid() and form.cleaned_data["cure"]):
        messages.error(request, DAMAGED)
        return redirect(f"{back}#cures")
    why_not = next(filter(None, (lacks(request, act.power) for act in acts)), "")
    try:
        done = [] if why_not else _all_of(request, group, acts, form, at)
    except NeededNoMore as refusal:
        messages.info(request, tell("{refusal} Nothing was done.", refusal=refusal.message))
        return redirect(back)
    except Refused as refusal:
        why_not = refusal.message
    if why_not:
        messages.error(request, tell("{why_not} None of the steps was done.", why_not=why_not))
        return redirect(f"{back}#cures")
    stands = standing_words(book.state_of(group, at=at))
    messages.success(request, tell("{done} {stands}", done=joined(" ", done), stands=stands))
    return redirect(back)


# --- Private ----------------------------------------------------------------------------------------


def _all_of(
    request: HttpRequest, group: CollateralGroup, acts: Sequence[Act], form: PressForm, at: datetime
) -> list[str]:
    key = key_of(form)
    return keeping(
        form.cleaned_data["cure"],
        lambda: [act.do(f"{key}:{number}") for number, act in enumerate(acts, start=1)],
        group=group,
        uids={uid for act in acts for uid in act.uids},
        actor=actor_of(request),
        at=at,
        key=key,
    )


def _acts(request: HttpRequest, group: CollateralGroup, at: datetime) -> list[Act]:
    """
    Raises:
        DamagedStep: one of them is none.
    """
    sent = request.POST.getlist("step")
    if not 0 < len(sent) <= MOST_STEPS:
        raise DamagedStep
    return [_act(request, group, QueryDict(step), at) for step in sent]


def _act(request: HttpRequest, group: CollateralGroup, told: QueryDict, at: datetime) -> Act:
    what = told.get("do", "")
    if what.startswith(REPAYS):
        return _repayment(request, group, told, what.removeprefix(REPAYS), at)
    if what in MOVES.values():
        return _move(request, group, told, what, at)
    raise DamagedStep


def _repayment(request: HttpRequest, group: CollateralGroup, told: QueryDict, debt: str, at: datetime) -> Act:
    number = int(debt) if debt.isascii() and debt.isdecimal() and len(debt) < 10 else 0
    row = Loan.objects.filter(group=group, debt=number).select_related("asset", "debt", "group").first()
    if row is None:
        raise DamagedStep
    data = {"how": AMOUNT, "amount": told.get("amount", ""), "key": request.POST.get("key", "")}
    form = RepayForm(data, asset=row.asset)
    if not form.is_valid():
        raise DamagedStep
    amount, actor = form.cleaned_data["amount"], actor_of(request)

    def do(key: str) -> str:
        return paid_words(row, repayment.repay(loan_id=row.pk, amount=amount, actor=actor, at=at, key=key))

    return Act(Power.REPAY, (group.receiver_id,), do)


def _move(request: HttpRequest, group: CollateralGroup, told: QueryDict, what: str, at: datetime) -> Act:
    way, actor = WAYS[what], actor_of(request)
    accounts = list(Account.objects.filter(customer=group.customer_id).order_by("pk"))
    named = {
        name for name in (told.get("asset", ""), told.get("buy", "")) if name.isascii() and name.isprintable()
    }
    data = told.dict() | {"key": request.POST.get("key", "")}
    form = way.form(data, accounts=accounts, assets=Asset.objects.in_bulk(sorted(named)))
    if not form.is_valid():
        raise DamagedStep
    values = form.cleaned_data | {"confirmed": False}

    def do(key: str) -> str:
        row = way.act(values, actor, at, key)
        said = tell("{amount} {done}", amount=figures.plain(row.amount, row.asset_id), done=way.done)
        if row.got_amount is None or row.got_asset_id is None:
            return tell("{said}.", said=said)
        return tell("{said} for {got}.", said=said, got=figures.plain(row.got_amount, row.got_asset_id))

    return Act(way.power, tuple(values[name] for name in ("account", "target") if name in values), do)
