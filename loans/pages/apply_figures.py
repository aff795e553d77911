"""What a request would come to, as far as it is filled in: LTV, room, interest, rates side by side, falls (R-FTR-01).

Everything is asked of the rules that decide: the terms check for the figures, the book for the group.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from accounts.models import Asset, LedgerAccount
from accounts.money import ONE, ZERO, exact
from accounts.words import figure, tell
from loans import limits, rates
from loans.pages.apply_form import ApplyForm, Choices
from loans.pages.apply_group import Drawing, barred_from, drawing_of
from loans.policy import policy_of
from loans.rates import Rate
from loans.vip import terms
from loans.vip.pricing import Line
from loans.vip.terms import Problem, Request, TermSheet
from risk import book, prices, prospects, valuation, whatif
from risk.book import GroupState
from risk.levels import Band, band
from risk.models import ProductCode
from risk.pages.standing import Way, borrow_room, needed_now, next_price_of
from risk.pages.track import NextPrice, Track, track

FEW_RATES: Final = 6
FALLS: Final = tuple(Decimal(percent) for percent in (-10, -20, -30))
UNSAID: Final = {
    "bad_contact",
    "bad_purpose",
    "agreement_needed",
}  # settled later on the page, or at the button


@dataclass(frozen=True, slots=True)
class LinePrice:
    """Where the price of the coin that moves first takes LTV to one of the lines."""

    name: str
    ltv: Decimal
    price: Decimal | None
    move: Decimal | None
    effect: str


@dataclass(frozen=True, slots=True)
class Outlook:
    """The group after the loan, drawn. `next_price` is what would call it."""

    band: Band
    track: Track
    next_price: NextPrice | None
    lines: tuple[LinePrice, ...]
    room: Decimal
    together: Decimal | None  # the common fall of all prices that calls it, a fraction


@dataclass(frozen=True, slots=True)
class CoinCost:
    """One coin asked for; interest per day in the coin and in USD, None without a rate or a price."""

    line: Line
    asset: Asset
    daily_usd: Decimal | None


@dataclass(frozen=True, slots=True)
class RateRow:
    """What a coin costs a year in each way, and how much of it could be borrowed alone; None: not online."""

    asset: Asset
    flexible: Rate | None
    fixed: tuple[Rate | None, ...]
    most: Decimal | None
    is_asked: bool


@dataclass(frozen=True, slots=True)
class Fallen:
    """LTV once prices have moved, and the least of one coin that brings it back to the initial line."""

    words: str
    is_own: bool
    ltv: Decimal | None
    band: Band
    track: Track
    repay: Way | None
    add: Way | None


@dataclass(frozen=True, slots=True)
class Figures:
    """All of it. `outlook` is None while nothing would be owed; `problems` are those to be mended first."""

    at: datetime
    sheet: TermSheet | None
    outlook: Outlook | None
    costs: tuple[CoinCost, ...]
    daily_usd: Decimal | None
    drawing: Drawing
    rates: tuple[RateRow, ...]
    falls: tuple[Fallen, ...]
    problems: tuple[Problem, ...]


def figures_of(form: ApplyForm, choices: Choices, *, at: datetime) -> Figures:
    """Of a form that was judged, complete or not. Accounts that cannot secure it count nothing and are a problem."""
    asked = form.outlined(customer_id=choices.customer.pk, applicant_id=choices.user.pk)
    barred = barred_from(choices, receiver=asked.receiver_uid, at=at)
    names = {account.pk: account for account in choices.accounts}
    refused = [
        Problem("account_uids", "barred", tell("{names}: {barred}", names=names[u], barred=barred[u]))
        for u in asked.account_uids
        if u in barred
    ]
    asked = replace(asked, account_uids=tuple(uid for uid in asked.account_uids if uid not in barred))
    sheet = terms.check(asked, at=at) if asked.wishes else None
    state = _state(choices, asked, sheet, at=at)
    costs = _costs(sheet, choices)
    known = [cost.daily_usd for cost in costs if cost.daily_usd is not None]
    owes = state is not None and bool(state.owed())
    return Figures(
        at=at,
        sheet=sheet,
        outlook=_outlook(state, sheet) if state is not None and sheet is not None and owes else None,
        costs=costs,
        daily_usd=sum(known, ZERO) if len(known) == len(costs) else None,
        drawing=drawing_of(choices, state, barred),
        rates=_rates(choices, state, asked, at=at),
        falls=_falls(state, form.moves, at=at) if state is not None and owes else (),
        problems=(*refused, *(sheet.without(UNSAID).problems if sheet else ())),
    )


def outlook_of(sheet: TermSheet, choices: Choices) -> Outlook | None:
    """Of terms that are shown to be accepted."""
    state = _state(choices, sheet.request, sheet, at=sheet.at)
    return None if state is None or sheet.effect is None else _outlook(state, sheet)


# --- Private ----------------------------------------------------------------------------------------------


def _state(choices: Choices, asked: Request, sheet: TermSheet | None, *, at: datetime) -> GroupState | None:
    """The group as it would be, on the lines it would have; None without a receiving account."""
    accounts = {account.pk: account for account in choices.accounts}
    receiver = accounts.get(asked.receiver_uid)
    if receiver is None:
        return None
    state = book.prospect(
        customer=choices.customer,
        product=ProductCode.VIP,
        receiver=receiver,
        accounts=[accounts[u] for u in asked.account_uids if u in accounts and u != receiver.pk],
        coins=[symbol for symbol in asked.coins if symbol in choices.collateral],
        borrowed={line.asset: line.amount for line in sheet.accepted_lines} if sheet else {},
        at=at,
    )
    return state if sheet is None or sheet.effect is None else replace(state, lines=sheet.effect.lines)


@exact
def _outlook(state: GroupState, sheet: TermSheet) -> Outlook | None:
    """What the group would look like after the loan."""
    effect = sheet.effect
    if effect is None:
        return None
    lines, after = effect.lines, effect.after
    next_price = next_price_of(state, lines.margin_call)
    before = effect.now.ltv if effect.now.debt else None
    drawn = (
        track(before, lines, after=after.ltv)
        if before is not None and after.ltv is not None
        else track(after.ltv, lines, next_price=next_price)
    )
    room = max(lines.initial * after.collateral - after.debt, ZERO)
    where = band(after, lines)
    fall = None if where in {Band.CALL, Band.LIQ} else prospects.fall_to(state, lines.margin_call)
    return Outlook(where, drawn, next_price, _line_prices(state, next_price), room, -fall if fall else None)


def _costs(sheet: TermSheet | None, choices: Choices) -> tuple[CoinCost, ...]:
    if sheet is None:
        return ()
    return tuple(
        CoinCost(line, choices.loanable[line.asset], _daily_usd(line)) for line in sheet.accepted_lines
    )


@exact
def _daily_usd(line: Line) -> Decimal | None:
    return None if line.daily_interest is None or line.price is None else line.daily_interest * line.price


def _rates(
    choices: Choices, state: GroupState | None, asked: Request, *, at: datetime
) -> tuple[RateRow, ...]:
    """The coins asked for, then others: each rate side by side, and the most of each by collateral, limits and pool."""
    customer, wanted = choices.customer, {wish.asset for wish in asked.wishes}
    board = rates.board(vip_level=customer.vip_level, at=at, customer=customer)
    board.sort(key=lambda row: (row.asset.pk not in wanted, row.asset.pk))
    shown = board[: max(FEW_RATES, len(wanted))]
    symbols = [row.asset.pk for row in shown]
    quotes = prices.latest(at=at, assets=symbols)
    pools = LedgerAccount.objects.house(LedgerAccount.Kind.POOL).filter(asset__in=symbols)
    lendable = {pool.asset_id: pool.balance for pool in pools}
    ceilings = limits.ceilings_of(
        customer, policy=policy_of(customer, at=at), assets=symbols, quotes=quotes, at=at
    )
    bare = replace(state, borrowed=()) if state is not None else None
    found = []
    for row in shown:
        symbol, most = row.asset.pk, None
        if symbol in quotes:
            price, pool = quotes[symbol].price, lendable.get(symbol, ZERO)
            most = ceilings.most(row.asset, price=price, lendable=pool)
            if most is not None and bare is not None:
                most = min(most, borrow_room(bare, row.asset, price))
        found.append(RateRow(row.asset, row.flexible, row.fixed, most, symbol in wanted))
    return tuple(found)


def _falls(state: GroupState, moves: Mapping[str, Decimal], *, at: datetime) -> tuple[Fallen, ...]:
    """What was typed first, then all prices that move down together by three steps. R-FTR-01"""
    own = [_fallen(state, moves, tell("As you typed"), at=at)] if moves else []
    common = (_fallen(state, {"all": fall}, "", at=at) for fall in FALLS)
    return (*own, *common)


@exact
def _fallen(state: GroupState, moves: Mapping[str, Decimal], words: str, *, at: datetime) -> Fallen:
    moving = [s for s in state.quotes if s in state.assets and state.assets[s].kind == Asset.Kind.CRYPTO]
    changes = {symbol: moves.get(symbol, moves.get("all", ZERO)) for symbol in moving}
    new = {s: state.quotes[s].price * (ONE + change / 100) for s, change in changes.items() if change}
    then = whatif.with_prices(state, new, at=at)
    worth = then.worth(permission=False)
    where = band(worth, then.lines)
    ways = needed_now(then) if where is not Band.SAFE else ()
    return Fallen(
        words=words or tell("All prices {move} %", move=figure(f"{moves['all']:f}".replace("-", "\u2212"))),
        is_own=bool(words),
        ltv=worth.ltv,
        band=where,
        track=track(worth.ltv, then.lines, band=where),
        repay=_least(ways, is_repayment=True),
        add=_least(ways, is_repayment=False),
    )


def _least(ways: Sequence[Way], *, is_repayment: bool) -> Way | None:
    mine = [way for way in ways if way.is_repayment is is_repayment]
    return min(mine, key=lambda way: (way.usd, way.asset.pk), default=None)


def _line_prices(state: book.GroupState, next_price: NextPrice | None) -> tuple[LinePrice, ...]:
    if next_price is None:
        return ()
    lines = state.lines
    named = (
        ("WATCH", lines.initial, tell("No withdrawals, no new loans")),
        ("CALL", lines.margin_call, tell("Margin call; only moves that lower LTV")),
        ("LIQ", lines.liquidation, tell("Collateral is sold, with a fee")),
        ("", lines.cutoff, tell("Above it, sold at once")),
    )
    holdings, owed = state.holdings(permission=False), state.owed()
    found = []
    for name, line, effect in named:
        price = valuation.line_price(holdings=holdings, debts=owed, asset=next_price.asset, line=line)
        move = None if price is None else price / next_price.today - 1
        found.append(LinePrice(name, line, price, move, effect))
    return tuple(found)
