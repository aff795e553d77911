"""A cure's promise in a form: the hidden field, when it counts, and the cure with new figures where it was broken."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django import forms
from django.http import HttpRequest

from accounts.pages.access import actor_of, lacks, limited_to
from accounts.pages.forms import is_confirmed, is_look, key_of
from accounts.powers import Power
from accounts.words import tell
from risk import book, cures
from risk.cure import Kind
from risk.models import CollateralGroup
from risk.pages.advice import Suggestion, suggestion
from risk.promises import LONGEST, NeededNoMore, Promise, is_known, refuse_needless

PRESS = "press"  # named by the button of a cure that does it at once


POWERS: Final = {Kind.REPAY: Power.REPAY, Kind.ADD: Power.MOVE, Kind.SWAP: Power.TRADE}


class CureField(forms.CharField):
    """Empty, or a promise as its button wrote it."""

    def clean(self, value: Any) -> Promise | None:
        token = super().clean(value)
        if not token:
            return None
        try:
            return Promise.read(token)
        except ValueError:
            raise forms.ValidationError(tell("This is not a cure's promise.")) from None


def cure_field() -> CureField:
    return CureField(required=False, strip=False, max_length=LONGEST, widget=forms.HiddenInput())


def promise_of(request: HttpRequest, form: forms.BaseForm) -> Promise | None:
    """The promise of a valid form. Another amount than it names is the reader's own choice, and nothing is promised.

    To who acts for one account only the desk says nothing of where its group stands. R-GEN-95
    """
    found: Promise | None = form.cleaned_data.get("cure")
    if found is None or limited_to(request) is not None or form.cleaned_data.get("amount") != found.amount:
        return None
    return found


def may_do(request: HttpRequest) -> frozenset[Kind]:
    """The kinds of step that the signed-in member's role lets them take. R-ADM-09"""
    return frozenset(kind for kind, power in POWERS.items() if not lacks(request, power))


def is_pressed(request: HttpRequest, form: forms.BaseForm, group: CollateralGroup | None) -> bool:
    """The form's own button, after a look; or a cure's, which showed where it leads and carries that with it.

    Whether `group` still needs the cure is asked under its lock (`promises.keeping`): a page that stood open, or that
    renewed its figures and its key while the first press was under way, must not pay twice. R-GEN-06
    """
    if is_confirmed(request, form):
        return True
    if promise_of(request, form) is None or request.POST.get(PRESS) != "cure" or is_look(request):
        return False
    return group is not None or is_known(actor_of(request), key_of(form))


def is_repeated(request: HttpRequest) -> bool:
    """Whether this form was sent before, by its key: the same press arrives twice. R-GEN-06"""
    key = request.POST.get("key", "")
    return key.isascii() and key.isprintable() and is_known(actor_of(request), key)


def let_go(
    request: HttpRequest, form: forms.BaseForm, group: CollateralGroup | None, *, at: datetime, told: str = ""
) -> str:
    """Drop the promise of a valid form where its cure is needed no more, and say so; empty where it still is.

    `told`: what the command said already, when it was pressed. Whoever confirms what they then see decides that anew,
    and nothing is promised.
    """
    promise = promise_of(request, form)
    if promise is None or group is None:
        return ""
    if not told:
        try:
            refuse_needless(promise, book.state_of(group, at=at).worth(permission=False))
        except NeededNoMore as refusal:
            told = refusal.message
        else:
            return ""
    typed: Any = form.data
    data = typed.copy()
    data["cure"] = ""
    form.data, form.cleaned_data["cure"] = data, None
    return told


@dataclass(frozen=True, slots=True)
class Step:
    """What a cure was: which coin, on which loan, for which other coin."""

    kind: Kind
    asset: str
    loan: int | None = None
    buy: str = ""


def again(group: CollateralGroup, promise: Promise, step: Step, *, at: datetime) -> Suggestion | None:
    """The same cure with the figures of now; None where it cannot do it any more, or nothing is needed. R-FTR-02"""
    state = book.state_of(group, at=at)
    if not state.debts or any(coin not in state.quotes for coin in state.owed_assets):
        return None
    means = cures.means_of(state, at=at)
    state = cures.with_market(state, set(means.position.holdings), at=at)
    found = cures.advise(state, means, goal=promise.goal, at=at)
    for option in found.options:
        like = Step(option.step.kind, option.step.asset, option.step.loan, option.step.buy)
        if like == step:
            return suggestion(state, option, promise.goal, linked=frozenset(Kind))
    return None
