"""What a request would do to its group: LTV today, with the new accounts, and with the new debts.

Valued by the same state the gate and the sweep decide on, so a page cannot promise what the desk would refuse.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal

from accounts.money import ZERO, exact
from accounts.words import joined, tell
from loans.vip.eligibility import Parties, Problem
from risk import book, levels, parameters, valuation
from risk.models import ProductCode

NOTHING = valuation.Worth(debt=ZERO, collateral=ZERO, market=ZERO)


@dataclass(frozen=True, slots=True)
class CoinView:
    """A collateral coin over all accounts. `liquidation_price`: where it takes LTV to the line, others unchanged."""

    asset: str
    amount: Decimal
    price: Decimal | None
    value: Decimal
    recognised: Decimal
    liquidation_price: Decimal | None
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class Effect:
    """The group's worth in USD, and its lines. `current_lines` is None for a group that would be new."""

    now: valuation.Worth  # as it stands today
    before: valuation.Worth  # with the accounts and coins of the request
    after: valuation.Worth  # and with its debts
    lines: levels.Lines  # of the whole group from now on (R-GEN-42)
    current_lines: levels.Lines | None
    coins: tuple[CoinView, ...]
    problems: tuple[Problem, ...]
    new_use: Mapping[str, Decimal]  # USD of each coin that would newly be collateral (R-GEN-37)

    @property
    def changes_lines(self) -> bool:
        return self.current_lines is not None and self.current_lines != self.lines


def effect_of(
    parties: Parties, *, borrowed: Mapping[str, Decimal], agreed: levels.Lines | None = None
) -> Effect:
    """Value the request's group with `borrowed` (coin: amount) on top of what it owes. R-GEN-40, R-GEN-42

    `agreed` are lines that both sides settled on; they take the place of those in force for the whole group.
    """
    assert parties.receiver is not None
    state = book.prospect(
        customer=parties.customer,
        product=ProductCode.VIP,
        receiver=parties.receiver,
        accounts=[account for account in parties.collateral if account != parties.receiver],
        coins=[symbol for symbol in parties.request.coins if symbol in parties.assets],
        borrowed=borrowed,
        at=parties.at,
    )
    # A new sheet sets the lines of the whole group anew; those it signed earlier do not bind it (R-GEN-42).
    lines = agreed or parameters.lines_for(
        product=ProductCode.VIP, customer=parties.customer, assets=state.owed_assets, at=parties.at
    )
    after = replace(state.for_borrowing(), lines=lines)
    before = replace(after, borrowed=())
    current = book.state_of(parties.group, at=parties.at) if parties.group is not None else None
    effect = Effect(
        now=current.worth() if current is not None else NOTHING,
        before=before.worth(),
        after=after.worth(),
        lines=lines,
        current_lines=current.lines if current is not None else None,
        coins=_coin_views(after),
        problems=(),
        new_use=_new_use(state, current),
    )
    return replace(effect, problems=tuple(_problems(parties, after, effect)))


def _problems(parties: Parties, state: book.GroupState, effect: Effect) -> Iterator[Problem]:
    """R-GEN-22, R-GEN-33, R-VIP-13, R-VIP-52"""
    if not parties.request.coins:
        yield Problem("coins", "no_coins", tell("Choose at least one collateral coin."))
    for symbol in dict.fromkeys(parties.request.coins):
        if symbol not in state.terms:
            yield Problem(
                "coins", "not_collateral", tell("{symbol} is not accepted as collateral.", symbol=symbol)
            )
    asked = {wish.asset for wish in parties.request.wishes}
    for symbol in state.stale_debts:
        if symbol not in asked:  # the coins asked for have said so themselves
            message = tell(
                "There is no fresh price for {symbol}, which is owed already; try again shortly.",
                symbol=symbol,
            )
            yield Problem("wishes", "stale_price", message)
    grace_until = parties.group.grace_until if parties.group is not None else None
    before, lines = _judged_on(effect)
    verdict = levels.permits(
        action=levels.Action.BORROW,
        before=before,
        after=effect.after,
        lines=lines,
        liquidating=state.is_liquidating,
        in_grace=grace_until is not None and parties.at < grace_until,
    )
    if not verdict.allowed:
        stale = joined(", ", state.stale_coins)
        note = (
            tell(" Without a fresh price these coins count nothing now: {stale}.", stale=stale)
            if stale
            else ""
        )
        frozen = joined(", ", sorted(state.frozen_coins & set(parties.request.coins)))
        note += (
            tell(" Frozen as collateral, these count nothing for a new loan: {frozen}.", frozen=frozen)
            if frozen
            else ""
        )
        yield Problem("account_uids", "ltv_too_high", verdict.reason + note)


def _judged_on(effect: Effect) -> tuple[valuation.Worth, levels.Lines]:
    """New accounts may lift a group below its initial line, but not out of a call: that is cured first. R-VIP-13"""
    current = effect.current_lines
    if current is not None and levels.band(effect.now, current) in (levels.Band.CALL, levels.Band.LIQ):
        return effect.now, current
    return effect.before, effect.lines


@exact
def _new_use(after: book.GroupState, current: book.GroupState | None) -> dict[str, Decimal]:
    """Market value of what counts in `after` and does not yet, by coin; 0 where only the same wallets count."""
    before = {(w.uid, w.asset) for w in current.wallets if w.asset in current.coins} if current else set()
    used: dict[str, Decimal] = {}
    for wallet in after.wallets:
        quote = after.quotes.get(wallet.asset)
        if wallet.asset in after.coins and quote is not None and (wallet.uid, wallet.asset) not in before:
            used[wallet.asset] = used.get(wallet.asset, ZERO) + wallet.balance * quote.price
    return used


@exact
def _coin_views(state: book.GroupState) -> tuple[CoinView, ...]:
    holdings, owed = state.holdings(), state.owed()
    return tuple(_coin_view(state, symbol, holdings, owed) for symbol in sorted(state.coins))


def _coin_view(
    state: book.GroupState,
    symbol: str,
    holdings: Iterable[valuation.Holding],
    owed: Iterable[valuation.Owed],
) -> CoinView:
    amount = sum((wallet.balance for wallet in state.wallets if wallet.asset == symbol), ZERO)
    quote, terms = state.quotes.get(symbol), state.terms.get(symbol)
    is_fresh = quote is not None and quote.fresh
    value = amount * quote.price if quote is not None else ZERO
    counts = is_fresh and terms is not None
    return CoinView(
        asset=symbol,
        amount=amount,
        price=quote.price if quote is not None else None,
        value=value,
        recognised=valuation.recognised(market_value=value, tiers=terms.tiers) if counts and terms else ZERO,
        liquidation_price=valuation.line_price(
            holdings=holdings, debts=owed, asset=symbol, line=state.lines.liquidation
        ),
        is_fresh=is_fresh,
    )
