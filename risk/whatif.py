"""What if: a group as it would be after changes of prices, ratios, coins and debts, judged as the desk would. R-FTR-01

Nothing is computed a second way: the changes are put into a `GroupState` and the functions of the gate, the sweep
and the valuation are asked about it. A change that the desk would refuse is not made, and the answer says why. It
reads without locks and changes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from accounts.errors import Refused
from accounts.ledger import Overdrawn
from accounts.models import LedgerAccount
from accounts.money import MAX_AMOUNT, ZERO, exact, round_down
from accounts.words import joined, tell
from risk import cures, freezes, groups, moves, parameters, prices, prospects
from risk.book import GroupState
from risk.cure import DUST_USD
from risk.debts import OwedDebt
from risk.levels import Action, Band, band
from risk.valuation import Tiers, Worth
from risk.waterfall import Parts, allocate


class NotPossible(Refused):
    """A repayment that the desk would not take; the message says which it would."""

    code = "not_possible"


# --- What is changed ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TopUp:
    uid: int
    asset: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Repayment:
    debt_id: int
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Trade:
    uid: int
    sell: str
    amount: Decimal
    buy: str


@dataclass(frozen=True, slots=True)
class Withdrawal:
    uid: int
    asset: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Borrowing:
    asset: str
    amount: Decimal


Change = TopUp | Repayment | Trade | Withdrawal | Borrowing


@dataclass(frozen=True, slots=True)
class Changes:
    """New prices in USD and new ratios by coin come first, as the market moves first; then `steps` in their order."""

    prices: Mapping[str, Decimal] = field(default_factory=dict)
    ratios: Mapping[str, Tiers] = field(default_factory=dict)
    steps: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What the desk would say to one change; `to_confirm`: it would ask first whether the LTV was seen (R-VIP-54)."""

    change: Change
    reason: str = ""
    code: str = ""
    got: Decimal | None = None  # of a trade
    to_confirm: bool = False

    @property
    def allowed(self) -> bool:
        return not self.reason


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The group before, as the market alone would leave it, and after all; what was answered."""

    before: GroupState
    market: GroupState
    after: GroupState
    answers: tuple[Answer, ...]
    at: datetime

    @property
    def foreseen(self) -> prospects.Foreseen:
        """What would follow; some queries each time it is read."""
        return prospects.foresee(self.after, at=self.at)

    @property
    def worth(self) -> Worth:
        return self.after.worth(permission=False)

    @property
    def band(self) -> Band:
        return band(self.worth, self.after.lines)


def ask(state: GroupState, changes: Changes, *, at: datetime) -> WhatIf:
    """The group after the changes, and what the desk says to each of them. R-FTR-01"""
    state = cures.with_market(state, _coins_of(state, changes), at=at)
    market = with_ratios(with_prices(state, changes.prices, at=at), changes.ratios)
    after, answers = market, []
    for change in changes.steps:
        answer, after = _answer(after, change, at=at)
        answers.append(answer)
    return WhatIf(state, market, after, tuple(answers), at)


def with_prices(state: GroupState, new: Mapping[str, Decimal], *, at: datetime) -> GroupState:
    """The state at these prices, each as if observed at `at`; coins without a price now get none."""
    quotes = dict(state.quotes)
    for coin, price in new.items():
        if coin in quotes:
            kept = round_down(price, prices.PLACES)
            quotes[coin] = replace(quotes[coin], price=kept, observed_at=at, state=prices.PriceState.FRESH)
    return replace(state, quotes=quotes)


def with_ratios(state: GroupState, new: Mapping[str, Tiers]) -> GroupState:
    """The state under these tiers; a coin that counts for nothing yet would count once it is chosen."""
    terms = {
        coin: parameters.CoinTerms(tiers=tiers, rank=state.terms[coin].rank if coin in state.terms else 100)
        for coin, tiers in new.items()
    }
    return replace(state, terms={**state.terms, **terms})


# --- One change -----------------------------------------------------------------------------------------------


def _answer(state: GroupState, change: Change, *, at: datetime) -> tuple[Answer, GroupState]:
    """Whether the desk would do it, and the group with it done, or as it was."""
    apply: Callable[..., GroupState] = _APPLY[type(change)]
    got = None
    if isinstance(change, Trade) and {change.sell, change.buy} <= set(state.quotes):
        got = _bought(state, change)
    try:
        after = apply(state, change, at)
    except Refused as refusal:
        to_confirm = refusal.code == groups.NeedsConfirmation.code
        return Answer(change, refusal.message, refusal.code, got, to_confirm), state
    return Answer(change, got=got), after


def _top_up(state: GroupState, change: TopUp, at: datetime) -> GroupState:
    if change.uid not in state.members:
        raise NotPossible(tell("Account {uid} is not a collateral account of this group.", uid=change.uid))
    return state.changed(balances={(change.uid, change.asset): change.amount})


def _repay(state: GroupState, change: Repayment, at: datetime) -> GroupState:
    """As a repayment of the loan would be taken: to the full, or leaving no dust. R-GEN-51, R-GEN-52, R-VIP-31"""
    row = next((row for row in state.debts if row.debt.pk == change.debt_id), None)
    if row is None:
        raise NotPossible(tell("This loan is repaid; nothing is owed on it."))
    coin, total = row.debt.asset_id, row.parts.total
    closed = freezes.repay_closed(coin, at)
    if closed is not None:
        raise NotPossible(
            tell(
                "The desk takes no repayments in {coin} until {ends_at:%-d %B %H:%M} UTC.",
                coin=coin,
                ends_at=closed.ends_at,
            )
        )
    payoff = total + cures.first_day(row.debt, at=at)
    if change.amount > payoff:
        raise NotPossible(
            tell(
                "{payoff:f} {coin} closes this loan; you cannot repay more.",
                payoff=payoff.normalize(),
                coin=coin,
            )
        )
    if change.amount < payoff:
        paid = allocate(amount=min(change.amount, total), owed=row.parts)
        _refuse_dust(state, coin, row.parts.principal - paid.principal, payoff)
    return with_repayment(state, row, change.amount, payoff=payoff)


@exact
def with_repayment(state: GroupState, row: OwedDebt, amount: Decimal, *, payoff: Decimal) -> GroupState:
    """The state after `amount` is paid on one of its debts, whether or not it would be taken. R-GEN-51, R-VIP-31

    From `payoff` on nothing is owed on it; below, the one day that a loan pays at least is not owed yet.
    """
    if amount >= payoff:
        return replace(state, debts=tuple(each for each in state.debts if each is not row))
    paid = allocate(amount=min(amount, row.parts.total), owed=row.parts)
    parts = Parts(
        late_fee=row.parts.late_fee - paid.late_fee,
        interest=row.parts.interest - paid.interest,
        principal=row.parts.principal - paid.principal,
    )
    return replace(
        state, debts=tuple(replace(each, parts=parts) if each is row else each for each in state.debts)
    )


@exact
def _refuse_dust(state: GroupState, coin: str, left: Decimal, payoff: Decimal) -> None:
    quote = state.quotes.get(coin)
    if left == 0 or (quote is not None and left * quote.price < DUST_USD):
        raise NotPossible(
            tell(
                "That would leave less than {dust_usd} USD of principal; {payoff:f} {coin} closes the loan.",
                dust_usd=DUST_USD,
                payoff=payoff.normalize(),
                coin=coin,
            )
        )


def _trade(state: GroupState, change: Trade, at: datetime) -> GroupState:
    stale = [
        coin for coin in (change.sell, change.buy) if coin not in state.quotes or not state.quotes[coin].fresh
    ]
    if stale:
        raise groups.PriceTooOld(
            tell("There is no fresh price of {stale} to trade at.", stale=joined(tell(" and "), stale))
        )
    got = _bought(state, change)
    if change.sell == change.buy or not ZERO < got < MAX_AMOUNT:
        raise moves.BadTrade(
            tell(
                "{amount:f} {sell} cannot be traded for {buy}.",
                amount=change.amount,
                sell=change.sell,
                buy=change.buy,
            )
        )
    _refuse_frozen(state, Action.TRADE, change.uid, [change.sell, change.buy], at)
    _refuse_overdrawn(state, change.uid, change.sell, change.amount)
    after = state.changed(balances={(change.uid, change.sell): -change.amount, (change.uid, change.buy): got})
    groups.permit(action=Action.TRADE, before=state, after=after, at=at)
    pool = LedgerAccount.objects.house(LedgerAccount.Kind.POOL).filter(asset=change.buy).first()
    if pool is None or pool.balance < got:
        raise moves.DeskShort(
            tell("The desk has too little {buy} to sell {got:f} just now.", buy=change.buy, got=got)
        )
    return after


def _withdraw(state: GroupState, change: Withdrawal, at: datetime) -> GroupState:
    _refuse_frozen(state, Action.MOVE_OUT, change.uid, [change.asset], at)
    _refuse_overdrawn(state, change.uid, change.asset, change.amount)
    after = state.changed(balances={(change.uid, change.asset): -change.amount})
    groups.permit(action=Action.MOVE_OUT, before=state, after=after, at=at)
    return after


def _borrow(state: GroupState, change: Borrowing, at: datetime) -> GroupState:
    """By collateral alone: limits and the pool are looked at by the request. R-VIP-13, R-ADM-04"""
    if change.asset not in state.quotes or not state.quotes[change.asset].fresh:
        raise groups.PriceTooOld(tell("There is no fresh price of {asset} to borrow at.", asset=change.asset))
    group = state.group
    uids = [*state.members, *([group.receiver_id] if group else [])]
    freezes.refuse_frozen(action=Action.BORROW, uids=uids, group=group, assets=[change.asset], at=at)
    after = state.changed(borrowed={change.asset: change.amount})
    groups.permit(action=Action.BORROW, before=state.for_borrowing(), after=after.for_borrowing(), at=at)
    return after


_APPLY: dict[type[Change], Callable[..., GroupState]] = {
    TopUp: _top_up,
    Repayment: _repay,
    Trade: _trade,
    Withdrawal: _withdraw,
    Borrowing: _borrow,
}


def _bought(state: GroupState, change: Trade) -> Decimal:
    return moves.bought(
        amount=change.amount,
        sell=state.quotes[change.sell].price,
        buy=state.quotes[change.buy].price,
        places=state.assets[change.buy].places,
    )


def _refuse_frozen(state: GroupState, action: Action, uid: int, assets: list[str], at: datetime) -> None:
    freezes.refuse_frozen(action=action, uids=[uid], group=state.group, assets=assets, at=at)


def _refuse_overdrawn(state: GroupState, uid: int, asset: str, amount: Decimal) -> None:
    held = next((row.balance for row in state.wallets if (row.uid, row.asset) == (uid, asset)), ZERO)
    if held < amount:
        raise Overdrawn(
            tell(
                "This wallet holds {held:f} {asset}, less than {amount:f}.",
                held=held.normalize(),
                asset=asset,
                amount=amount,
            )
        )


# --- Private --------------------------------------------------------------------------------------------------


def _coins_of(state: GroupState, changes: Changes) -> set[str]:
    """Every coin that the group holds or the changes name."""
    named = {wallet.asset for wallet in state.wallets} | set(changes.prices) | set(changes.ratios)
    for change in changes.steps:
        if isinstance(change, Trade):
            named |= {change.sell, change.buy}
        elif not isinstance(change, Repayment):
            named.add(change.asset)
    return named
