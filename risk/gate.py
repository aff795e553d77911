"""The gate: every movement a customer asks for passes here, under the lock of the groups it touches.

Coins may leave a group's counting wallets only while its LTV allows it (R-VIP-52, 53). So a movement is first
written down as what it does to each group, then judged by the one permission matrix, then posted. The previews
judge the same plan without the lock, so what a page promises and what the gate decides cannot drift apart.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from accounts import ledger
from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.ledger import Overdrawn
from accounts.models import LedgerAccount
from accounts.money import ZERO
from accounts.powers import MemberRule, Power
from accounts.words import tell
from risk import book, freezes, groups, moves, prices, valuation
from risk.levels import Action, Band, Lines, band
from risk.models import CollateralGroup, Movement
from risk.moves import Kind, Move

SPOT = LedgerAccount.Kind.SPOT
ANYWHERE = "preview"  # a preview asks whether coins may leave, not where they go


@dataclass(frozen=True, slots=True)
class Preview:
    """What a movement would do. LTV is None when infinite, unknown, or when no group is touched."""

    allowed: bool
    reason: str
    group: CollateralGroup | None
    ltv_before: Decimal | None
    ltv_after: Decimal | None
    lines: Lines | None
    got: Decimal | None = None  # trades: how much would be bought
    code: str = ""  # of the refusal `reason` tells of
    to_confirm: bool = False  # R-VIP-54: allowed once the customer agrees to `reason`
    # Each group it touches, as it is and as it would be: that of these figures first, that which coins come into last.
    touched: tuple[tuple[book.GroupState, book.GroupState], ...] = ()


@dataclass(frozen=True, slots=True)
class _Effect:
    """What a movement does to one group."""

    action: Action
    before: book.GroupState
    after: book.GroupState


# --- Commands ---------------------------------------------------------------------------------------


@command("gate.deposit", returns=Movement, member=MemberRule(Power.MOVE))
def deposit(
    *,
    account_uid: int,
    asset: str,
    amount: Decimal,
    actor: Actor,
    at: datetime,
    wallet: str = SPOT,
    key: str = "",
    reason: str = "",
) -> Movement:
    """Coins arrived from outside for this account: always accepted. R-VIP-52

    Raises:
        BadAmount, BadWallet: the amount or wallet is none of this asset.
    """
    return _execute(
        lambda: moves.deposit(uid=account_uid, symbol=asset, amount=amount, wallet=wallet),
        uids=[account_uid],
        at=at,
    )


@command("gate.withdraw", returns=Movement, member=MemberRule(Power.WITHDRAW, two="withdraw"))
def withdraw(
    *,
    account_uid: int,
    asset: str,
    amount: Decimal,
    address: str,
    actor: Actor,
    at: datetime,
    wallet: str = SPOT,
    key: str = "",
    reason: str = "",
) -> Movement:
    """Send coins outside. Out of a collateral account: LTV below initial before and after. R-VIP-53

    Raises:
        BadAmount, BadWallet, BadAddress: what was asked for makes no sense.
        Overdrawn: the wallet holds less.
        PriceTooOld, NotPermitted: the account is collateral, and R-GEN-22 or R-VIP-52 says no.
        Frozen: a freeze of the account, its group, the coin or everything stops it (R-ADM-04).
    """
    return _execute(
        lambda: moves.withdrawal(
            uid=account_uid, symbol=asset, amount=amount, wallet=wallet, address=address
        ),
        uids=[account_uid],
        at=at,
    )


@command("gate.transfer", returns=Movement, member=MemberRule(Power.MOVE))
def transfer(
    *,
    source_uid: int,
    source_wallet: str,
    target_uid: int,
    target_wallet: str,
    asset: str,
    amount: Decimal,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> Movement:
    """Move coins between two wallets of one customer. R-VIP-52, R-VIP-53

    Between Spot wallets of one group's collateral accounts it moves inside; any other way out of them, another
    wallet of the same account included, leaves the group.

    Raises:
        BadAmount, BadWallet: what was asked for makes no sense.
        NotYourAccount: the two accounts belong to two customers.
        Overdrawn: the source holds less.
        PriceTooOld, NotPermitted: R-GEN-22 or R-VIP-52 says no.
        Frozen: as for a withdrawal.
    """
    return _execute(
        lambda: moves.transfer(
            source_uid=source_uid,
            source_wallet=source_wallet,
            target_uid=target_uid,
            target_wallet=target_wallet,
            symbol=asset,
            amount=amount,
        ),
        uids=[source_uid, target_uid],
        at=at,
    )


@command("gate.trade", returns=Movement, member=MemberRule(Power.TRADE))
def trade(
    *,
    account_uid: int,
    sell: str,
    amount: Decimal,
    buy: str,
    actor: Actor,
    at: datetime,
    confirmed: bool = False,
    key: str = "",
    reason: str = "",
) -> Movement:
    """Sell `amount` of one Spot coin to the desk for another at the index; what is bought rounds down. R-VIP-54

    `confirmed`: the customer was shown the LTV it leads to and wants it all the same.

    Raises:
        BadAmount, BadTrade: the amount or pair makes no sense, or buys less than one unit.
        PriceTooOld: one of the two prices is missing or not fresh, or R-GEN-22.
        Overdrawn, DeskShort: the wallet, or the desk, holds less.
        NotPermitted: the account is collateral, and R-VIP-52 says no.
        NeedsConfirmation: R-VIP-54 says yes, but only to a customer who has `confirmed`.
        Frozen: a freeze of the account, its group, one of the coins or everything stops it (R-ADM-04).
    """
    return _execute(
        lambda: moves.trade(uid=account_uid, sell=sell, amount=amount, buy=buy, at=at),
        uids=[account_uid],
        at=at,
        confirmed=confirmed,
    )


# --- Reads for pages: the same plan, judged without the lock ----------------------------------------


def preview_withdraw(
    *, account_uid: int, asset: str, amount: Decimal, at: datetime, wallet: str = SPOT
) -> Preview:
    return _preview(
        lambda: moves.withdrawal(
            uid=account_uid, symbol=asset, amount=amount, wallet=wallet, address=ANYWHERE
        ),
        at=at,
    )


def preview_transfer(
    *,
    source_uid: int,
    source_wallet: str,
    target_uid: int,
    target_wallet: str,
    asset: str,
    amount: Decimal,
    at: datetime,
) -> Preview:
    return _preview(
        lambda: moves.transfer(
            source_uid=source_uid,
            source_wallet=source_wallet,
            target_uid=target_uid,
            target_wallet=target_wallet,
            symbol=asset,
            amount=amount,
        ),
        at=at,
    )


def preview_trade(*, account_uid: int, sell: str, amount: Decimal, buy: str, at: datetime) -> Preview:
    return _preview(lambda: moves.trade(uid=account_uid, sell=sell, amount=amount, buy=buy, at=at), at=at)


def most_withdrawable(*, account_uid: int, asset: str, at: datetime) -> Decimal:
    """The largest amount of this account's Spot coin the gate lets out now, at the coin's places. R-GEN-45"""
    key = (account_uid, SPOT.value, asset)
    held = ledger.balances(account_ids=[account_uid]).get(key, ZERO)
    group = groups.pledged_to([account_uid]).get(account_uid)
    if freezes.is_frozen(Action.MOVE_OUT, uids=[account_uid], group=group, assets=[asset], at=at):
        return ZERO
    if group is None or not held:
        return held
    return most_out_of(book.state_of(group, at=at), asset=asset, held=held)


def most_out_of(state: book.GroupState, *, asset: str, held: Decimal) -> Decimal:
    """How much of `held`, in one account of the group, its LTV lets out, at the coin's places. R-GEN-45, R-VIP-53"""
    if state.stale_debts or state.is_liquidating or band(state.worth(), state.lines) != Band.SAFE:
        return ZERO
    holdings = state.holdings()
    if all(holding.asset != asset for holding in holdings):
        return held  # it counts nothing, so taking it changes nothing
    most = valuation.max_withdraw(
        holdings=holdings, debts=state.owed(), asset=asset, initial=state.lines.initial
    )
    return min(held, most)


# --- Judge ------------------------------------------------------------------------------------------


def _effects(move: Move, pledged: Mapping[int, CollateralGroup], *, at: datetime) -> list[_Effect]:
    """What the move does to the groups whose counting wallets it touches; the one it leaves comes first."""
    spot = book.WALLET
    leaves = pledged.get(move.source or 0) if move.source_wallet == spot else None
    enters = pledged.get(move.target or 0) if move.target_wallet == spot else None
    deltas: dict[tuple[int, str], Decimal] = {}
    if leaves and move.source is not None:
        deltas[move.source, move.asset.pk] = -move.amount
        if move.got_asset is not None and move.got_amount is not None:
            deltas[move.source, move.got_asset.pk] = move.got_amount
    if enters and move.target is not None:
        deltas[move.target, move.asset.pk] = move.amount
    if leaves and enters and leaves.pk == enters.pk:
        return [_effect(Action.MOVE_INSIDE, leaves, deltas, at)]
    effects = []
    if leaves:
        action = Action.TRADE if move.kind == Kind.TRADE else Action.MOVE_OUT
        effects.append(_effect(action, leaves, deltas, at))
    if enters:
        effects.append(_effect(Action.DEPOSIT, enters, deltas, at))
    return effects


def _effect(
    action: Action, group: CollateralGroup, deltas: Mapping[tuple[int, str], Decimal], at: datetime
) -> _Effect:
    before = book.state_of(group, at=at)
    mine = {(uid, symbol): delta for (uid, symbol), delta in deltas.items() if uid in before.members}
    return _Effect(action=action, before=before, after=before.changed(balances=mine))


def _check(move: Move, effects: list[_Effect], *, at: datetime, confirmed: bool = False) -> None:
    """The balance before the matrix, because what is not there cannot be valued as gone."""
    if move.source is not None:
        _refuse_frozen(move, effects, at=at)
        wallet = (move.source, move.source_wallet, move.asset.pk)
        held = ledger.balances(account_ids=[move.source], kinds=[move.source_wallet]).get(wallet, ZERO)
        if held < move.amount:
            raise Overdrawn(
                tell(
                    "This wallet holds {held:f} {asset}, less than {amount:f}.",
                    held=held.normalize(),
                    asset=move.asset.pk,
                    amount=move.amount,
                )
            )
    for effect in effects:
        if effect.action is not Action.DEPOSIT:
            groups.permit(
                action=effect.action, before=effect.before, after=effect.after, at=at, confirmed=confirmed
            )


def _refuse_frozen(move: Move, effects: list[_Effect], *, at: datetime) -> None:
    """What leaves a wallet that secures nothing can be frozen too. R-ADM-04"""
    action, group = Action.TRADE if move.kind == Kind.TRADE else Action.MOVE_OUT, None
    for effect in effects:
        if effect.action is not Action.DEPOSIT:
            action, group = effect.action, effect.before.group
    freezes.refuse_frozen(
        action=action,
        uids=[] if move.source is None else [move.source],
        group=group,
        assets=[asset.pk for asset in (move.asset, move.got_asset) if asset is not None],
        at=at,
    )


def _preview(plan: Callable[[], Move], *, at: datetime) -> Preview:
    try:
        move = plan()
    except Refused as refusal:
        return Preview(False, refusal.message, None, None, None, None, code=refusal.code)
    effects = _effects(move, groups.pledged_to(move.uids), at=at)
    reason, code = "", ""
    try:
        _check(move, effects, at=at)
    except Refused as refusal:
        reason, code = refusal.message, refusal.code
    first = effects[0] if effects else None
    return Preview(
        allowed=not reason,
        reason=reason,
        group=first.before.group if first else None,
        ltv_before=first.before.movement_ltv if first else None,
        ltv_after=first.after.movement_ltv if first else None,
        lines=first.before.lines if first else None,
        got=move.got_amount,
        code=code,
        to_confirm=code == groups.NeedsConfirmation.code,
        touched=tuple((effect.before, effect.after) for effect in effects),
    )


# --- Move -------------------------------------------------------------------------------------------


def _execute(
    plan: Callable[[], Move], *, uids: Iterable[int], at: datetime, confirmed: bool = False
) -> Movement:
    """Lock, check, rule, post, move. The plan is made under the lock, so a trade's price is not older than it."""
    held = groups.hold(uids=uids)
    move = plan()
    effects = _effects(move, held.pledged, at=at)
    _check(move, effects, at=at, confirmed=confirmed)
    entry = moves.post(move, at=at)
    first = effects[0] if effects else None
    return Movement.objects.create(
        kind=move.kind,
        customer_id=move.customer_id,
        source_id=move.source,
        source_wallet=move.source_wallet,
        target_id=move.target,
        target_wallet=move.target_wallet,
        asset=move.asset,
        amount=move.amount,
        got_asset=move.got_asset,
        got_amount=move.got_amount,
        entry=entry,
        at=at,
        address=move.address,
        ltv_before=first.before.movement_ltv if first else None,
        ltv_after=first.after.movement_ltv if first else None,
        facts=_facts(move, effects),
    )


def _facts(move: Move, effects: list[_Effect]) -> dict[str, Any]:
    """The snapshot the decision rests on, by price id (TRUST I-19)."""
    used = {symbol: quote for effect in effects for symbol, quote in effect.before.quotes.items()}
    told = {"groups": [_told(effect) for effect in effects], "prices": _prices({**used, **move.quotes})}
    return told if effects or move.quotes else {}


def _told(effect: _Effect) -> dict[str, Any]:
    before, after = effect.before.movement_ltv, effect.after.movement_ltv
    return {
        "group": effect.before.group.pk if effect.before.group else None,
        "action": effect.action,
        "initial": str(effect.before.lines.initial),
        "margin_call": str(effect.before.lines.margin_call),
        "ltv_before": None if before is None else str(before),
        "ltv_after": None if after is None else str(after),
        "stale": [*effect.before.stale_debts, *effect.before.stale_coins],
    }


def _prices(quotes: Mapping[str, prices.Quote]) -> dict[str, Any]:
    return {
        symbol: {"id": quote.price_id, "usd": f"{quote.price.normalize():f}"}
        for symbol, quote in sorted(quotes.items())
    }
