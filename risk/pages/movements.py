"""Deposit, withdraw, transfer, trade: look at what it does to LTV first, then press the button that names it.

One view for the four. The check is the gate's own preview, so what is shown is what will be decided; the gate
decides again under the lock when the button is pressed.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods
from django_htmx.http import HttpResponseClientRedirect

from accounts.commands import NeedsApproval
from accounts.errors import Refused
from accounts.models import Account, Approval, Asset, Customer, LedgerAccount
from accounts.pages import firm_inbox
from accounts.pages.access import actor_of, for_member, lacks, limited_to, user_of
from accounts.pages.forms import (
    REFUSED,
    key_of,
    refuse,
    signature,
)
from accounts.templatetags import figures
from accounts.words import tell
from risk import book, gate, groups, prices
from risk.cure import Kind as Cured
from risk.models import CollateralGroup, Movement
from risk.pages.advice import Suggestion
from risk.pages.effect import Effect, effect_of, standing_words
from risk.pages.movement_forms import WALLETS, MoveForm
from risk.pages.movement_ways import WAYS, Values, Way, would_send
from risk.pages.promised import Step, again, is_pressed, let_go, promise_of
from risk.promises import NeededNoMore, PromiseBroken, keeping, refuse_broken

Kind = LedgerAccount.Kind
TELLS_LTV: Final = {code.code for code in (groups.NotPermitted, groups.NeedsConfirmation, groups.PriceTooOld)}
NOT_TOLD: Final = tell(
    "The loan this account secures does not allow it now. Ask whoever acts for the whole"
    " customer; they see where it stands."
)


# --- The view ---------------------------------------------------------------------------------------------


@require_http_methods(["GET", "HEAD", "POST"])
@for_member
def move(request: HttpRequest, customer: Customer, kind: str) -> HttpResponse:
    if kind == "deposit" and not settings.DEMO:
        return render(request, "risk/deposit_closed.html")
    way, at = WAYS[kind], timezone.now()
    mine = Account.objects.visible_to(user_of(request)).filter(customer=customer)
    accounts = list(mine.order_by("pk"))
    form = way.form(
        request.POST or None,
        initial=_initial(request, accounts),
        accounts=accounts,
        assets=_assets(kind, accounts, at) | _known(request),
    )
    preview: gate.Preview | None = None
    is_looked_at, broken, needless = False, False, ""
    why_not = lacks(request, way.power)
    if request.method == "POST" and form.is_valid():
        is_looked_at = not why_not
        if why_not:
            form.add_error(None, why_not)
        elif is_pressed(request, form, _cured(form.cleaned_data)):
            is_looked_at = False
            try:
                return _done(request, way, _act(request, kind, form, at), form)
            except NeededNoMore as refusal:
                is_looked_at, needless = True, refusal.message
            except Refused as refusal:
                refuse(form, _in_their_words(request, refusal))
                broken = isinstance(refusal, PromiseBroken)
    if is_looked_at:
        needless = let_go(request, form, _cured(form.cleaned_data), at=at, told=needless)
        preview = _in_their_view(request, way.preview(form.cleaned_data, at))
        broken = _check(request, form, preview)
    context = {
        "kind": kind,
        "way": way,
        "ways": WAYS,
        "form": form,
        "preview": preview,
        "effects": _effects(preview),
        "again": _again(request, kind, form, at) if broken else None,
        "needless": needless,
        "typing": request.POST.get("look") == "typing",
        "why_not": why_not,
        "can": is_looked_at and not form.errors,
    }
    if is_looked_at and not form.errors:
        context |= {"seen": signature(form), "button": way.button(form.cleaned_data, preview)}
    context["on_top"] = not request.headers.get("HX-Request")  # a cure's button led to this page from another
    template = "risk/move.html" if context["on_top"] else "risk/_move.html"
    return render(request, template, context, status=REFUSED if form.errors else 200)


def _check(request: HttpRequest, form: MoveForm, preview: gate.Preview) -> bool:
    """Say on the form what the gate says; whether it was a cure's promise that no longer holds."""
    if not (preview.allowed or preview.to_confirm):
        form.add_error(None, preview.reason)
    promise = promise_of(request, form)
    if promise is None or not preview.touched:
        return False
    _, cured = preview.touched[-1]
    try:
        refuse_broken(promise, cured.worth(permission=False))
    except PromiseBroken as refusal:
        refuse(form, refusal)
        return True
    return False


def _cured(values: Values) -> CollateralGroup | None:
    """The group that a cure would help: of the account that gets coins, or in which two are exchanged."""
    uid: int = values["target"] if "target" in values else values["account"]
    return groups.pledged_to([uid]).get(uid)


def _again(request: HttpRequest, kind: str, form: MoveForm, at: datetime) -> Suggestion | None:
    promise, group = promise_of(request, form), _cured(form.cleaned_data)
    if promise is None or group is None:
        return None
    what = Cured.SWAP if kind == "trade" else Cured.ADD
    step = Step(what, form.cleaned_data["asset"], buy=form.cleaned_data.get("buy", ""))
    return again(group, promise, step, at=at)


def _act(request: HttpRequest, kind: str, form: MoveForm, at: datetime) -> Movement | Approval:
    """Do it; or put it before the firm's second person, where it asks for two (R-ADM-09)."""
    way, key, actor = WAYS[kind], key_of(form), actor_of(request)
    values = form.cleaned_data | {"confirmed": request.POST.get("confirmed") == "yes"}
    promise = promise_of(request, form)
    group = None if promise is None else _cured(values)
    uids = [values[name] for name in ("account", "target") if name in values]
    try:
        return keeping(
            promise,
            lambda: way.act(values, actor, at, key),
            group=group,
            uids=uids,
            actor=actor,
            at=at,
            key=key,
        )
    except NeedsApproval:
        assert way.asked is not None
        asked, seen = way.asked(values), _in_their_view(request, way.preview(values, at))
        return firm_inbox.send(
            request,
            command=f"gate.{kind}",
            arguments=asked,
            title=tell(
                "{way} {values}", way=way.title, values=figures.plain(values["amount"], values["asset"])
            ),
            facts=_sending(asked) | _ltv_words(seen),
            at=at,
            key=key,
        )


def _sending(asked: Mapping[str, Any]) -> dict[str, str]:
    wallet = dict(WALLETS)[asked["wallet"]]
    return {
        tell("Amount"): figures.plain(asked["amount"], asked["asset"]),
        tell("From"): tell(
            "{get}, {wallet}", get=Account.objects.get(pk=asked["account_uid"]), wallet=wallet
        ),
        tell("To address"): asked["address"],
    }


def _ltv_words(seen: gate.Preview) -> dict[str, str]:
    if seen.group is None:
        return {}
    return {
        tell("Loan group"): seen.group.name,
        tell("LTV before"): figures.ltv(seen.ltv_before),
        tell("LTV after"): figures.ltv(seen.ltv_after),
    }


def _withdrawal_now(asked: Mapping[str, Any], at: datetime) -> dict[str, str]:
    """For the second person: whether the gate would let it pass at this instant."""
    seen = would_send(asked, at)
    return {
        tell("Possible"): tell("yes") if seen.allowed else tell("no: {reason}", reason=seen.reason)
    } | _ltv_words(seen)


firm_inbox.effects["gate.withdraw"] = _withdrawal_now


def _in_their_view(request: HttpRequest, preview: gate.Preview) -> gate.Preview:
    """To who acts for one account only: their own coins, and nothing of the loan the account secures. R-GEN-95"""
    if limited_to(request) is None:
        return preview
    is_secret = preview.group is not None and preview.code in TELLS_LTV
    return replace(
        preview,
        reason=NOT_TOLD if is_secret else preview.reason,
        group=None,
        ltv_before=None,
        ltv_after=None,
        lines=None,
        to_confirm=False,
        touched=(),
    )


def _in_their_words(request: HttpRequest, refusal: Refused) -> Refused:
    if limited_to(request) is not None and refusal.code in TELLS_LTV:
        refusal.message = NOT_TOLD
    return refusal


def _done(request: HttpRequest, way: Way, row: Movement | Approval, form: MoveForm) -> HttpResponse:
    if isinstance(row, Approval):
        to = reverse("accounts:firm_proposal", args=[row.pk])
    else:
        messages.success(request, _confirmed(request, way, row))
        cured = None if promise_of(request, form) is None else _cured(form.cleaned_data)
        to = reverse("risk:wallets") if cured is None else reverse("risk:group", args=[cured.pk])
    return HttpResponseClientRedirect(to) if request.headers.get("HX-Request") else redirect(to)


def _confirmed(request: HttpRequest, way: Way, row: Movement) -> str:
    """What was done, with its amounts, and where the group it touched stands then; to whom that is told. R-GEN-95"""
    said = tell("{amount} {done}", amount=figures.plain(row.amount, row.asset_id), done=way.done)
    if row.got_amount is not None and row.got_asset_id is not None:
        said += tell(" for {got_amount}", got_amount=figures.plain(row.got_amount, row.got_asset_id))
    touched = row.facts.get("groups", []) if limited_to(request) is None else []
    group = CollateralGroup.objects.filter(pk=touched[0]["group"]).first() if touched else None
    if group is None:
        return f"{said}."
    return tell("{said}. {group}", said=said, group=standing_words(book.state_of(group, at=row.at)))


def _effects(preview: gate.Preview | None) -> list[Effect]:
    """On each group it touches; LTV as the gate judges it."""
    touched = () if preview is None else preview.touched
    return [effect_of(before, after, permission=True) for before, after in touched]


def _initial(request: HttpRequest, accounts: list[Account]) -> dict[str, Any]:
    """A link may fill the form in; a second account is the natural target of a transfer."""
    told = {name: value for name, value in request.GET.items() if name != "key"}
    return {"account": accounts[0].pk, "target": accounts[-1].pk, **told} if accounts else told


def _assets(kind: str, accounts: list[Account], at: datetime) -> dict[str, Asset]:
    """The coins worth offering: what is held, and what has a price where it may be bought or deposited."""
    held = LedgerAccount.objects.filter(account__in=accounts, kind__in=LedgerAccount.WALLETS)
    symbols = {pile.asset_id for pile in held if pile.balance}
    if kind in {"deposit", "trade"}:
        symbols |= set(prices.latest(at=at))
    return Asset.objects.in_bulk(sorted(symbols))


def _known(request: HttpRequest) -> dict[str, Asset]:
    """The coins a sent form names: one pressed twice names a coin that the first press took out of its wallet."""
    named = [request.POST.get(name, "") for name in ("asset", "buy")]
    return Asset.objects.in_bulk([name for name in named if name.isascii() and name.isprintable()])
