"""Chosen de-leveraging of a group: what it would sell at which LTV, the choice, its end, its steps (R-FTR-05).

The borrower chooses after seeing the plan; the house reads what a client chose. The plan is the sweep's own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from accounts.errors import Refused
from accounts.money import ONE, exact
from accounts.pages.access import actor_of, customer_of, lacks, limited_to, user_of
from accounts.pages.forms import (
    REFUSED,
    amount_field,
    is_confirmed,
    key_field,
    key_of,
    read_amount,
    refuse,
    signature,
)
from accounts.powers import Power
from accounts.templatetags import figures
from accounts.words import tell
from risk import book, delays, deleveraging, parameters, soft_plan
from risk.book import GroupState
from risk.deleveraging import LEAST_SHARE, MOST_SHARE
from risk.models import CollateralGroup, Deleveraging, Settings
from risk.pages.groups import groups_for
from risk.pages.standing import standing_of
from risk.soft_plan import Choice

PERCENT_PLACES = 8  # of what is typed; kept as a fraction with two more
ABOVE_CALL = Decimal("0.01")  # a target so far below the margin call line ends the call too
SHARE = Decimal("0.1")


class ChoiceForm(forms.Form):
    start = amount_field(tell("Begin at LTV, in per cent"))
    target = amount_field(tell("Never sell below LTV, in per cent"))
    step_share = amount_field(tell("One step repays at most, in per cent of the debt"))
    key = key_field()

    @exact
    def clean(self) -> dict[str, Any]:
        for name in ("start", "target", "step_share"):
            typed = read_amount(self, name, places=PERCENT_PLACES)
            if typed is not None:
                self.cleaned_data[name] = typed * ONE / 100
        return self.cleaned_data

    @property
    def choice(self) -> Choice:
        """Of a valid form."""
        return Choice(**{name: self.cleaned_data[name] for name in ("start", "target", "step_share")})


class EndForm(forms.Form):
    key = key_field()


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where each figure may be, as fractions; `start_most` is exclusive where the liquidation line comes first."""

    start_least: Decimal
    start_most: Decimal
    target_least: Decimal
    share_least: Decimal = LEAST_SHARE
    share_most: Decimal = MOST_SHARE

    @property
    def has_room(self) -> bool:
        return self.start_least <= self.start_most


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def soft(request: HttpRequest, group_id: int) -> HttpResponse:
    """The plan of what stands, or of what is typed; and, for the borrower, the form that chooses it."""
    at, group = timezone.now(), _group(request, group_id)
    may_act = _is_mine(request, group) and group.closed_at is None
    state, settings = book.state_of(group, at=at), parameters.settings_at(at)
    live = deleveraging.live_of([group]).get(group.pk)
    form = ChoiceForm(request.POST or None, initial=_start_from(live, state, settings))
    if request.method == "POST" and not may_act:
        raise Http404
    seen = ""
    if request.method == "POST" and form.is_valid():
        try:
            if is_confirmed(request, form):
                _choose(request, form, group, at)
                return redirect("risk:soft", group.pk)
            deleveraging.refuse_bad_choice(state, form.choice, settings=settings)
            seen = signature(form)
        except Refused as refusal:
            refuse(form, refusal)
    shown = form.choice if seen else None if live is None else deleveraging.choice_of(live)
    context = {
        "group": group,
        "standing": standing_of(group, state, delay=delays.running(group)),
        "live": live,
        "form": form,
        "seen": seen,
        "shown": shown,
        "plan": [] if shown is None else soft_plan.table(state, shown, settings=settings),
        "fee": soft_plan.fee_of(state, settings),
        "every": settings.soft_step_seconds,
        "bounds": bounds_of(state, settings),
        "end_form": EndForm(),
        "steps": deleveraging.history(group),
        "may_act": may_act,
        "lacks": lacks(request, Power.RULES) if may_act else "",
        "is_house": customer_of(request) is None,
        "at": at,
    }
    return render(request, "risk/soft.html", context, status=REFUSED if form.errors else 200)


@require_POST
@login_required
def end(request: HttpRequest, group_id: int) -> HttpResponse:
    group, form = _group(request, group_id), EndForm(request.POST)
    if not _is_mine(request, group) or not form.is_valid():
        raise Http404
    try:
        deleveraging.end(group_id=group.pk, actor=actor_of(request), at=timezone.now(), key=key_of(form))
    except Refused as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, tell("Ended: nothing is sold before the liquidation line."))
    return redirect("risk:soft", group.pk)


def _choose(request: HttpRequest, form: ChoiceForm, group: CollateralGroup, at: datetime) -> None:
    choice = form.choice
    deleveraging.choose(
        group_id=group.pk,
        start=choice.start,
        target=choice.target,
        step_share=choice.step_share,
        actor=actor_of(request),
        at=at,
        key=key_of(form),
    )
    messages.success(
        request,
        tell("Chosen: a little is sold whenever LTV is {start} or more.", start=figures.line(choice.start)),
    )


def _group(request: HttpRequest, group_id: int) -> CollateralGroup:
    """Whoever may read the group; who is limited to one account has no say over the whole of it (R-GEN-95)."""
    if limited_to(request) is not None:
        raise Http404
    rows = groups_for(user_of(request)).select_related("receiver", "customer")
    return get_object_or_404(rows, pk=group_id)


def _is_mine(request: HttpRequest, group: CollateralGroup) -> bool:
    customer = customer_of(request)
    return customer is not None and customer.pk == group.customer_id


def bounds_of(state: GroupState, settings: Settings) -> Bounds:
    lines = state.lines
    return Bounds(
        start_least=max(settings.soft_start_least, lines.margin_call),
        start_most=min(settings.soft_start_most, lines.liquidation),
        target_least=lines.initial,
    )


@exact
def _start_from(live: Deleveraging | None, state: GroupState, settings: Settings) -> dict[str, str]:
    """What stands, else the earliest start and a target that ends the margin call."""
    bounds = bounds_of(state, settings)
    target = max(bounds.target_least, state.lines.margin_call - ABOVE_CALL)
    chosen = (
        (bounds.start_least, target, SHARE) if live is None else (live.start, live.target, live.step_share)
    )
    return dict(zip(("start", "target", "step_share"), _percents(chosen), strict=True))


def _percents(fractions: Iterable[Decimal]) -> list[str]:
    return [f"{(100 * fraction).normalize():f}" for fraction in fractions]
