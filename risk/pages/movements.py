"""Deposit, withdraw, transfer, trade: look at what it does to LTV first, then press the button that names it.

One view for the four. The check is the gate's own preview, so what is shown is what will be decided; the gate
decides again under the lock when the button is pressed.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
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

from accounts.commands import Actor, NeedsApproval
from accounts.errors import Refused
from accounts.models import Account, Approval, Asset, Customer, LedgerAccount
from accounts.pages import firm_inbox
from accounts.pages.access import actor_of, for_member, lacks, limited_to, user_of
from accounts.pages.forms import (
    REFUSED,
    is_confirmed,
    key_of,
    refuse,
    signature,
)
from accounts.powers import Power
from accounts.templatetags import figures
from risk import book, gate, groups, prices
from risk.models import CollateralGroup, Movement
from risk.pages.effect import Effect, effect_of, standing_words
from risk.pages.movement_forms import (
    WALLETS,
    DepositForm,
    MoveForm,
    TradeForm,
    TransferForm,
    WithdrawForm,
)

Kind = LedgerAccount.Kind
TELLS_LTV: Final = {code.code for code in (groups.NotPermitted, groups.NeedsConfirmation, groups.PriceTooOld)}
NOT_TOLD: Final = (
    "The loan this account secures does not allow it now. Ask whoever acts for the whole customer; they see where"
    " it stands."
)

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """One kind of movement: its form, what it would do, what does it, and the words for both.

    `asked` are the command's arguments, of a kind that a firm may keep for two of its people (R-ADM-09).
    """

    title: str
    power: Power
    form: type[MoveForm]
    preview: Callable[[Values, datetime], gate.Preview]
    act: Callable[[Values, Actor, datetime, str], Movement]
    button: Callable[[Values, gate.Preview | None], str]
    done: str
    says: str
    asked: Callable[[Values], dict[str, Any]] | None = None


# --- What each kind would do, and does ------------------------------------------------------------------


def _preview_deposit(values: Values, at: datetime) -> gate.Preview:
    """Nothing to permit, only something to show."""
    uid, symbol = values["account"], values["asset"]
    group = groups.pledged_to([uid]).get(uid) if values["wallet"] == book.WALLET else None
    if group is None:
        return gate.Preview(True, "", None, None, None, None)
    before = book.state_of(group, at=at)
    after = before.changed(balances={(uid, symbol): values["amount"]})
    return gate.Preview(
        True, "", group, before.movement_ltv, after.movement_ltv, before.lines, before=before, after=after
    )


def _deposit(values: Values, actor: Actor, at: datetime, key: str) -> Movement:
    return gate.deposit(
        account_uid=values["account"],
        asset=values["asset"],
        amount=values["amount"],
        wallet=values["wallet"],
        actor=actor,
        at=at,
        key=key,
    )


def _sent_out(values: Values) -> dict[str, Any]:
    return {
        "account_uid": values["account"],
        "asset": values["asset"],
        "amount": values["amount"],
        "wallet": values["wallet"],
        "address": values["address"],
    }


def _preview_withdraw(values: Values, at: datetime) -> gate.Preview:
    return _would_send(_sent_out(values), at)


def _would_send(asked: Mapping[str, Any], at: datetime) -> gate.Preview:
    """Wherever it goes: what a withdrawal does to LTV does not depend on the address."""
    return gate.preview_withdraw(**{name: asked[name] for name in asked if name != "address"}, at=at)


def _withdraw(values: Values, actor: Actor, at: datetime, key: str) -> Movement:
    return gate.withdraw(**_sent_out(values), actor=actor, at=at, key=key)


def _between(values: Values) -> dict[str, Any]:
    return {
        "source_uid": values["account"],
        "source_wallet": values["wallet"],
        "target_uid": values["target"],
        "target_wallet": values["target_wallet"],
        "asset": values["asset"],
        "amount": values["amount"],
    }


def _preview_transfer(values: Values, at: datetime) -> gate.Preview:
    return gate.preview_transfer(**_between(values), at=at)


def _transfer(values: Values, actor: Actor, at: datetime, key: str) -> Movement:
    return gate.transfer(**_between(values), actor=actor, at=at, key=key)


def _exchanged(values: Values) -> dict[str, Any]:
    return {
        "account_uid": values["account"],
        "sell": values["asset"],
        "amount": values["amount"],
        "buy": values["buy"],
    }


def _preview_trade(values: Values, at: datetime) -> gate.Preview:
    return gate.preview_trade(**_exchanged(values), at=at)


def _trade(values: Values, actor: Actor, at: datetime, key: str) -> Movement:
    return gate.trade(**_exchanged(values), confirmed=values["confirmed"], actor=actor, at=at, key=key)


def _named(verb: str) -> Callable[[Values, gate.Preview | None], str]:
    return lambda values, _: f"{verb} {figures.plain(values['amount'], values['asset'])}"


def _trade_named(values: Values, preview: gate.Preview | None) -> str:
    sold = figures.plain(values["amount"], values["asset"])
    if preview is None or preview.got is None:
        return f"Sell {sold}"
    return f"Sell {sold} for {figures.plain(preview.got, values['buy'])}"


WAYS: Final[dict[str, Way]] = {
    "deposit": Way(
        title="Deposit",
        power=Power.MOVE,
        form=DepositForm,
        preview=_preview_deposit,
        act=_deposit,
        button=_named("Deposit"),
        done="arrived",
        says="The demo credits any amount at once. Deposits are accepted in every band.",
    ),
    "withdraw": Way(
        title="Withdraw",
        power=Power.WITHDRAW,
        asked=_sent_out,
        form=WithdrawForm,
        preview=_preview_withdraw,
        act=_withdraw,
        button=_named("Withdraw"),
        done="is on its way",
        says="Out of a collateral account only while LTV stays below the initial line.",
    ),
    "transfer": Way(
        title="Transfer",
        power=Power.MOVE,
        form=TransferForm,
        preview=_preview_transfer,
        act=_transfer,
        button=_named("Transfer"),
        done="is transferred",
        says="Between wallets of your own accounts. Spot of collateral accounts counts for LTV; other wallets do not.",
    ),
    "trade": Way(
        title="Trade",
        power=Power.TRADE,
        form=TradeForm,
        preview=_preview_trade,
        act=_trade,
        button=_trade_named,
        done="is sold",
        says="Spot for Spot, at the index price, without a fee. The price is taken when you press the button.",
    ),
}


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
        assets=_assets(kind, accounts, at),
    )
    preview: gate.Preview | None = None
    is_checked = False
    why_not = lacks(request, way.power)
    if request.method == "POST" and form.is_valid():
        if why_not:
            form.add_error(None, why_not)
        elif is_confirmed(request, form):
            try:
                row = _act(request, kind, form, at)
            except Refused as refusal:
                refuse(form, _in_their_words(request, refusal))
            else:
                return _done(request, way, row)
        else:
            preview, is_checked = _in_their_view(request, way.preview(form.cleaned_data, at)), True
            if not (preview.allowed or preview.to_confirm):
                form.add_error(None, preview.reason)
    context = {
        "kind": kind,
        "way": way,
        "ways": WAYS,
        "form": form,
        "preview": preview,
        "effect": _effect(preview),
        "typing": request.POST.get("look") == "typing",
        "why_not": why_not,
        "can": is_checked and not form.errors,
    }
    if is_checked and not form.errors:
        context |= {"seen": signature(form), "button": way.button(form.cleaned_data, preview)}
    template = "risk/_move.html" if request.headers.get("HX-Request") else "risk/move.html"
    return render(request, template, context, status=REFUSED if form.errors else 200)


def _act(request: HttpRequest, kind: str, form: MoveForm, at: datetime) -> Movement | Approval:
    """Do it; or put it before the firm's second person, where it asks for two (R-ADM-09)."""
    way, key = WAYS[kind], key_of(form)
    values = form.cleaned_data | {"confirmed": request.POST.get("confirmed") == "yes"}
    try:
        return way.act(values, actor_of(request), at, key)
    except NeedsApproval:
        assert way.asked is not None
        asked, seen = way.asked(values), _in_their_view(request, way.preview(values, at))
        return firm_inbox.send(
            request,
            command=f"gate.{kind}",
            arguments=asked,
            title=f"{way.title} {figures.plain(values['amount'], values['asset'])}",
            facts=_sending(asked) | _ltv_words(seen),
            at=at,
            key=key,
        )


def _sending(asked: Mapping[str, Any]) -> dict[str, str]:
    wallet = dict(WALLETS)[asked["wallet"]]
    return {
        "Amount": figures.plain(asked["amount"], asked["asset"]),
        "From": f"{Account.objects.get(pk=asked['account_uid'])}, {wallet}",
        "To address": asked["address"],
    }


def _ltv_words(seen: gate.Preview) -> dict[str, str]:
    if seen.group is None:
        return {}
    return {
        "Loan group": seen.group.name,
        "LTV before": figures.ltv(seen.ltv_before),
        "LTV after": figures.ltv(seen.ltv_after),
    }


def _withdrawal_now(asked: Mapping[str, Any], at: datetime) -> dict[str, str]:
    """For the second person: whether the gate would let it pass at this instant."""
    seen = _would_send(asked, at)
    return {"Possible": "yes" if seen.allowed else f"no: {seen.reason}"} | _ltv_words(seen)


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
        before=None,
        after=None,
    )


def _in_their_words(request: HttpRequest, refusal: Refused) -> Refused:
    if limited_to(request) is not None and refusal.code in TELLS_LTV:
        refusal.message = NOT_TOLD
    return refusal


def _done(request: HttpRequest, way: Way, row: Movement | Approval) -> HttpResponse:
    if isinstance(row, Approval):
        to = reverse("accounts:firm_proposal", args=[row.pk])
    else:
        messages.success(request, _confirmed(request, way, row))
        to = reverse("risk:wallets")
    return HttpResponseClientRedirect(to) if request.headers.get("HX-Request") else redirect(to)


def _confirmed(request: HttpRequest, way: Way, row: Movement) -> str:
    """What was done, with its amounts, and where the group it touched stands then; to whom that is told. R-GEN-95"""
    said = f"{figures.plain(row.amount, row.asset_id)} {way.done}"
    if row.got_amount is not None and row.got_asset_id is not None:
        said += f" for {figures.plain(row.got_amount, row.got_asset_id)}"
    touched = row.facts.get("groups", []) if limited_to(request) is None else []
    group = CollateralGroup.objects.filter(pk=touched[0]["group"]).first() if touched else None
    if group is None:
        return f"{said}."
    return f"{said}. {standing_words(book.state_of(group, at=row.at))}"


def _effect(preview: gate.Preview | None) -> Effect | None:
    """On the group it touches; LTV as the gate judges it."""
    if preview is None or preview.before is None or preview.after is None:
        return None
    return effect_of(preview.before, preview.after, permission=True)


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
