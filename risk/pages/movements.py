"""Deposit, withdraw, transfer, trade: look at what it does to LTV first, then press the button that names it.

One view for the four. The check is the gate's own preview, so what is shown is what will be decided; the gate
decides again under the lock when the button is pressed.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_http_methods
from django_htmx.http import HttpResponseClientRedirect

from accounts.commands import Actor
from accounts.errors import Refused
from accounts.models import Account, Asset, Customer, LedgerAccount
from accounts.pages.access import actor_of, for_member, limited_to, user_of
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
from accounts.templatetags import figures
from risk import book, gate, groups, prices
from risk.models import Movement
from risk.pages.track import Track, track

Kind = LedgerAccount.Kind
TELLS_LTV: Final = {code.code for code in (groups.NotPermitted, groups.NeedsConfirmation, groups.PriceTooOld)}
NOT_TOLD: Final = (
    "The loan this account secures does not allow it now. Ask whoever acts for the whole customer; they see where"
    " it stands."
)
WALLETS: Final = [(Kind.SPOT.value, "Spot"), (Kind.FUNDING.value, "Funding"), (Kind.FIAT.value, "Fiat")]


class MoveForm(forms.Form):
    """What all four ask for: an amount of a coin. Which coins there are is the view's knowledge."""

    asset = forms.ChoiceField(label="Coin")
    amount = amount_field()
    key = key_field()

    def __init__(self, *args: Any, accounts: list[Account], assets: dict[str, Asset], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.assets = assets
        named = [(account.pk, str(account)) for account in accounts]
        for name, field in self.fields.items():
            if isinstance(field, forms.TypedChoiceField):
                field.choices = named
            elif name in {"asset", "buy"}:
                field.choices = [(symbol, symbol) for symbol in sorted(assets)]  # type: ignore[attr-defined]

    def clean(self) -> None:
        asset = self.assets.get(self.cleaned_data.get("asset", ""))
        if asset is not None and "amount" not in self.errors:
            self.cleaned_data["amount"] = read_amount(self, "amount", places=asset.places)


def _account_field(label: str) -> forms.TypedChoiceField:
    return forms.TypedChoiceField(label=label, coerce=int)


class DepositForm(MoveForm):
    account = _account_field("Into")
    wallet = forms.ChoiceField(label="Wallet", choices=WALLETS)
    field_order = ("account", "wallet", "asset", "amount")


class WithdrawForm(MoveForm):
    account = _account_field("From")
    wallet = forms.ChoiceField(label="Wallet", choices=WALLETS)
    address = forms.CharField(label="To address", max_length=120, strip=False)
    field_order = ("account", "wallet", "asset", "amount", "address")

    def clean_address(self) -> str:
        """As the gate has it, said before the button that names the withdrawal appears."""
        address: str = self.cleaned_data["address"]
        if any(char.isspace() for char in address):
            raise forms.ValidationError("An address has no spaces in it.")
        return address


class TransferForm(MoveForm):
    account = _account_field("From")
    wallet = forms.ChoiceField(label="Wallet", choices=WALLETS)
    target = _account_field("To")
    target_wallet = forms.ChoiceField(label="Wallet", choices=WALLETS)
    field_order = ("account", "wallet", "target", "target_wallet", "asset", "amount")


class TradeForm(MoveForm):
    account = _account_field("In")
    buy = forms.ChoiceField(label="Buy")
    field_order = ("account", "asset", "amount", "buy")


Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Way:
    """One kind of movement: its form, what it would do, what does it, and the words for both."""

    title: str
    form: type[MoveForm]
    preview: Callable[[Values, datetime], gate.Preview]
    act: Callable[[Values, Actor, datetime, str], Movement]
    button: Callable[[Values, gate.Preview | None], str]
    done: str
    says: str


# --- What each kind would do, and does ------------------------------------------------------------------


def _preview_deposit(values: Values, at: datetime) -> gate.Preview:
    """Nothing to permit, only something to show."""
    uid, symbol = values["account"], values["asset"]
    group = groups.pledged_to([uid]).get(uid) if values["wallet"] == book.WALLET else None
    if group is None:
        return gate.Preview(True, "", None, None, None, None)
    before = book.state_of(group, at=at)
    after = before.changed(balances={(uid, symbol): values["amount"]})
    return gate.Preview(True, "", group, groups.ltv_of(before), groups.ltv_of(after), before.lines)


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


def _preview_withdraw(values: Values, at: datetime) -> gate.Preview:
    return gate.preview_withdraw(
        account_uid=values["account"],
        asset=values["asset"],
        amount=values["amount"],
        wallet=values["wallet"],
        at=at,
    )


def _withdraw(values: Values, actor: Actor, at: datetime, key: str) -> Movement:
    return gate.withdraw(
        account_uid=values["account"],
        asset=values["asset"],
        amount=values["amount"],
        wallet=values["wallet"],
        address=values["address"],
        actor=actor,
        at=at,
        key=key,
    )


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
        form=DepositForm,
        preview=_preview_deposit,
        act=_deposit,
        button=_named("Deposit"),
        done="arrived",
        says="The demo credits any amount at once. Deposits are accepted in every band.",
    ),
    "withdraw": Way(
        title="Withdraw",
        form=WithdrawForm,
        preview=_preview_withdraw,
        act=_withdraw,
        button=_named("Withdraw"),
        done="is on its way",
        says="Out of a collateral account only while LTV stays below the initial line.",
    ),
    "transfer": Way(
        title="Transfer",
        form=TransferForm,
        preview=_preview_transfer,
        act=_transfer,
        button=_named("Transfer"),
        done="is transferred",
        says="Between wallets of your own accounts. Spot of collateral accounts counts for LTV; other wallets do not.",
    ),
    "trade": Way(
        title="Trade",
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
    if request.method == "POST" and form.is_valid():
        if is_confirmed(request, form):
            values = form.cleaned_data | {"confirmed": request.POST.get("confirmed") == "yes"}
            try:
                row = way.act(values, actor_of(request), at, key_of(form))
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
        "track": _track(preview),
        "can": is_checked and not form.errors,
    }
    if is_checked and not form.errors:
        context |= {"seen": signature(form), "button": way.button(form.cleaned_data, preview)}
    template = "risk/_move.html" if request.headers.get("HX-Request") else "risk/move.html"
    return render(request, template, context, status=REFUSED if form.errors else 200)


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
    )


def _in_their_words(request: HttpRequest, refusal: Refused) -> Refused:
    if limited_to(request) is not None and refusal.code in TELLS_LTV:
        refusal.message = NOT_TOLD
    return refusal


def _done(request: HttpRequest, way: Way, row: Movement) -> HttpResponse:
    amount = figures.plain(row.amount, row.asset_id)
    messages.success(request, f"{amount} {way.done}.")
    to = reverse("risk:wallets")
    return HttpResponseClientRedirect(to) if request.headers.get("HX-Request") else redirect(to)


def _track(preview: gate.Preview | None) -> Track | None:
    """Drawn only when the movement touches a group that owes something, and both figures are known."""
    if preview is None or preview.lines is None or preview.ltv_before is None or preview.ltv_after is None:
        return None
    return track(preview.ltv_before, preview.lines, after=preview.ltv_after)


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
