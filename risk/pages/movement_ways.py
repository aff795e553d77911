"""The four kinds of movement: what each would do, what does it, and the words for both."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from accounts.commands import Actor
from accounts.powers import Power
from accounts.templatetags import figures
from accounts.words import tell
from risk import book, gate, groups
from risk.models import Movement
from risk.pages.movement_forms import DepositForm, MoveForm, TradeForm, TransferForm, WithdrawForm

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
    ltvs = before.movement_ltv, after.movement_ltv
    return gate.Preview(True, "", group, *ltvs, before.lines, touched=((before, after),))


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
    return would_send(_sent_out(values), at)


def would_send(asked: Mapping[str, Any], at: datetime) -> gate.Preview:
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
    return lambda values, _: tell(
        "{verb} {values}", verb=verb, values=figures.plain(values["amount"], values["asset"])
    )


def _trade_named(values: Values, preview: gate.Preview | None) -> str:
    sold = figures.plain(values["amount"], values["asset"])
    if preview is None or preview.got is None:
        return tell("Sell {sold}", sold=sold)
    return tell("Sell {sold} for {got}", sold=sold, got=figures.plain(preview.got, values["buy"]))


WAYS: Final[dict[str, Way]] = {
    "deposit": Way(
        title=tell("Deposit"),
        power=Power.MOVE,
        form=DepositForm,
        preview=_preview_deposit,
        act=_deposit,
        button=_named(tell("Deposit")),
        done="arrived",
        says=tell("The demo credits any amount at once. Deposits are accepted in every band."),
    ),
    "withdraw": Way(
        title=tell("Withdraw"),
        power=Power.WITHDRAW,
        asked=_sent_out,
        form=WithdrawForm,
        preview=_preview_withdraw,
        act=_withdraw,
        button=_named(tell("Withdraw")),
        done=tell("is on its way"),
        says=tell("Out of a collateral account only while LTV stays below the initial line."),
    ),
    "transfer": Way(
        title=tell("Transfer"),
        power=Power.MOVE,
        form=TransferForm,
        preview=_preview_transfer,
        act=_transfer,
        button=_named(tell("Transfer")),
        done=tell("is transferred"),
        says=tell(
            "Between wallets of your own accounts. Spot of collateral accounts counts for LTV;"
            " other wallets do not."
        ),
    ),
    "trade": Way(
        title=tell("Trade"),
        power=Power.TRADE,
        form=TradeForm,
        preview=_preview_trade,
        act=_trade,
        button=_trade_named,
        done=tell("is sold"),
        says=tell(
            "Spot for Spot, at the index price, without a fee. The price is taken when you press the button."
        ),
    ),
}
