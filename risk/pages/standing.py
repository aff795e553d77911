"""A group as people see it: where it stands, what it holds and owes, which price comes next, and the ways out.

Shaped from `book.GroupState`, so a page shows what the sweep decides on: last good prices, band compared
exactly. Figures for what may still be borrowed or taken out use fresh prices only, as the gate does.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property

from accounts.models import Asset
from accounts.money import ZERO, exact
from accounts.words import figure, joined, tell
from risk import margin_calls, valuation
from risk.book import GroupState
from risk.closes import Close
from risk.cure import Goal
from risk.debts import OwedDebt
from risk.levels import Band, Lines, band
from risk.models import CollateralGroup, LiquidationDelay
from risk.pages.course import Course, course_of
from risk.pages.track import NextPrice, Track, track
from risk.promises import Promise
from risk.valuation import Tiers, Worth


@dataclass(frozen=True, slots=True)
class CoinRow:
    """A coin in the counting wallets. `ratios` is in words; `is_chosen` False: held there, but not counted."""

    asset: Asset
    amount: Decimal
    price: Decimal | None
    observed_at: datetime | None
    is_fresh: bool
    is_chosen: bool
    ratios: str
    market: Decimal
    recognised: Decimal


@dataclass(frozen=True, slots=True)
class Room:
    """How much of one coin, at its places."""

    asset: Asset
    amount: Decimal


@dataclass(frozen=True)
class Standing:
    """`ltv` None: no collateral counts. `is_blind`: something owed has no price at all, so nothing can be said.

    `delay`: the liquidation call that runs; `needed` then holds every single way back to the initial line.
    """

    group: CollateralGroup
    state: GroupState
    worth: Worth
    band: Band
    is_blind: bool
    track: Track
    next_price: NextPrice | None
    delay: LiquidationDelay | None = None
    needed: tuple["Way", ...] = ()
    course: Course | None = None
    may_borrow: bool = True  # False: a freeze stops it
    may_withdraw: bool = True

    # Lists show none of these, so each is worked out where it is asked for.
    @cached_property
    def together(self) -> Decimal | None:
        """The common fall of all prices that reaches the next line."""
        return None if self.band is Band.LIQ else _together(self.state, _next_line(self.band, self.lines))

    @cached_property
    def coins(self) -> tuple["CoinRow", ...]:
        return coin_rows(self.state)

    @cached_property
    def can_borrow_usd(self) -> Decimal:
        return _room_usd(self.state) if self.may_borrow else ZERO

    @cached_property
    def can_borrow(self) -> "Room | None":
        room = _can_borrow(self.state)
        return room if room is None or self.may_borrow else Room(room.asset, ZERO)

    @cached_property
    def can_withdraw(self) -> "Room | None":
        return _can_withdraw(self.state) if self.may_withdraw else None

    @property
    def lines(self) -> Lines:
        return self.state.lines

    @property
    def debts(self) -> tuple[OwedDebt, ...]:
        return self.state.debts

    @property
    def is_called(self) -> bool:
        return self.band in {Band.CALL, Band.LIQ}

    @property
    def edge(self) -> str:
        """The band for a panel's top edge: only where it matters."""
        return self.band.value if self.is_called else ""

    @property
    def recognised(self) -> Decimal:
        return sum((coin.recognised for coin in self.coins), ZERO)

    @property
    def market(self) -> Decimal:
        return sum((coin.market for coin in self.coins if coin.is_chosen), ZERO)

    @property
    def next_due(self) -> OwedDebt | None:
        due = [owed for owed in self.debts if owed.debt.due_at is not None]
        return min(due, key=lambda owed: (owed.debt.due_at, owed.debt.pk), default=None)


def standing_of(
    group: CollateralGroup,
    state: GroupState,
    *,
    delay: LiquidationDelay | None = None,
    closes: Sequence[Close] = (),
) -> Standing:
    """`delay` is the one that runs (`delays.running_by_group`), `closes` where LTV was (`closes.of_many`).

    A page that does not tell of them leaves them out.
    """
    worth = state.worth(permission=False)
    where = band(worth, state.lines)
    next_price = None if where is Band.LIQ else next_price_of(state, _next_line(where, state.lines))
    course = course_of(closes, state.lines, now=worth.ltv, today=state.at.date())
    return Standing(
        group=group,
        state=state,
        worth=worth,
        band=where,
        is_blind=any(symbol not in state.quotes for symbol in state.owed_assets),
        track=track(
            worth.ltv,
            state.lines,
            ticks=[close.ltv for close in closes if close.ltv is not None],
            week_ago=course.week_ago if course else None,
            next_price=next_price,
            band=where,
        ),
        next_price=next_price,
        delay=delay,
        needed=needed_now(state) if delay is not None else (),
        course=course,
    )


def _next_line(where: Band, lines: Lines) -> Decimal:
    return lines.liquidation if where is Band.CALL else lines.margin_call


@exact
def _room_usd(state: GroupState) -> Decimal:
    """USD that may still be borrowed by collateral alone; nothing while something owed cannot be valued."""
    if state.stale_debts:
        return ZERO
    worth = state.for_borrowing().worth()
    return max(state.lines.initial * worth.collateral - worth.debt, ZERO)


def borrow_room(state: GroupState, asset: Asset, price: Decimal) -> Decimal:
    """How much of a coin may still be borrowed by collateral alone, at its places. R-GEN-45, R-ADM-04"""
    if state.stale_debts:
        return ZERO
    return valuation.max_borrow(
        worth=state.for_borrowing().worth(), initial=state.lines.initial, price=price, places=asset.places
    )


def _can_borrow(state: GroupState) -> Room | None:
    """In the coin the group owes most of."""
    owed = sorted(state.owed(), key=lambda each: (-each.amount * each.price, each.asset))
    if not owed:
        return None
    asset = state.assets[owed[0].asset]
    return Room(asset, borrow_room(state, asset, owed[0].price))


def _can_withdraw(state: GroupState) -> Room | None:
    """In the chosen coin that counts for most. R-GEN-45"""
    rows = [row for row in coin_rows(state) if row.is_fresh and row.recognised]
    if not rows:
        return None
    asset = max(rows, key=lambda row: (row.recognised, row.asset.pk)).asset
    if state.stale_debts or state.is_liquidating:
        return Room(asset, ZERO)
    most = valuation.max_withdraw(
        holdings=state.holdings(), debts=state.owed(), asset=asset.pk, initial=state.lines.initial
    )
    return Room(asset, most)


# --- Which price comes next -----------------------------------------------------------------------------


def next_price_of(state: GroupState, line: Decimal) -> NextPrice | None:
    """The coin whose own move to the line is smallest."""
    return next(iter(next_prices_of(state, line)), None)


@exact
def next_prices_of(state: GroupState, line: Decimal) -> list[NextPrice]:
    """Every coin whose own move can reach the line, smallest move first. Stable coins and currencies stand still."""
    holdings, owed = state.holdings(permission=False), state.owed()
    symbols = {held.asset for held in holdings} | {each.asset for each in owed}
    found = []
    for symbol in sorted(symbols):
        if state.assets[symbol].kind != Asset.Kind.CRYPTO:
            continue
        price = valuation.line_price(holdings=holdings, debts=owed, asset=symbol, line=line)
        if price is not None:
            found.append(NextPrice(symbol, price, state.quotes[symbol].price))
    return sorted(found, key=lambda each: (abs(each.move), each.asset))


def _together(state: GroupState, line: Decimal) -> Decimal | None:
    """Told only when several coins could move; with one it is the same figure again."""
    holdings = state.holdings(permission=False)
    if len({held.asset for held in holdings}) < 2 or not state.owed():
        return None
    fall = valuation.fall_to(holdings=holdings, debts=state.owed(), line=line)
    return None if not fall else -fall


# --- What it holds ----------------------------------------------------------------------------------------


@exact
def coin_rows(state: GroupState) -> tuple[CoinRow, ...]:
    """What lies in the counting wallets by coin, largest recognised value first. Tiers apply to the sum (R-GEN-32)."""
    amounts: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for wallet in state.wallets:
        amounts[wallet.asset] += wallet.balance
    known = {symbol: amount for symbol, amount in amounts.items() if symbol in state.assets}
    rows = [_coin_row(state, symbol, amount) for symbol, amount in known.items() if amount]
    return tuple(sorted(rows, key=lambda row: (not row.is_chosen, -row.recognised, row.asset.pk)))


def _coin_row(state: GroupState, symbol: str, amount: Decimal) -> CoinRow:
    quote, terms = state.quotes.get(symbol), state.terms.get(symbol)
    is_chosen = symbol in state.coins and terms is not None
    market = amount * quote.price if quote else ZERO
    counted = valuation.recognised(market_value=market, tiers=terms.tiers) if is_chosen and terms else ZERO
    return CoinRow(
        asset=state.assets[symbol],
        amount=amount,
        price=quote.price if quote else None,
        observed_at=quote.observed_at if quote else None,
        is_fresh=bool(quote and quote.fresh),
        is_chosen=is_chosen,
        ratios=ratios_in_words(terms.tiers) if is_chosen and terms else tell("not chosen as collateral"),
        market=market,
        recognised=counted,
    )


@exact
def ratios_in_words(tiers: Tiers) -> str:
    """Marginal tiers as people say them: "75 % to 200 k, 50 % to 500 k, then 0"."""
    parts = []
    for number, tier in enumerate(tiers):
        ratio = figure(f"{(tier.ratio * 100).normalize():f}")
        ratio = ratio if tier.ratio == 0 else tell("{ratio}\u00a0%", ratio=ratio)
        if number + 1 < len(tiers):
            parts.append(tell("{ratio} to {floor}", ratio=ratio, floor=_short(tiers[number + 1].floor)))
        else:
            parts.append(
                tell("then {ratio}", ratio=ratio) if number else tell("{ratio} of all of it", ratio=ratio)
            )
    return joined(", ", parts)


def _short(value: Decimal) -> str:
    for size, name in (
        (Decimal(10**9), tell("bn")),
        (Decimal(10**6), tell("m", context="million")),
        (Decimal(10**3), "k"),
    ):
        if value >= size:
            return tell("{value:f}\u00a0{name}", value=(value / size).normalize(), name=name)
    return figure(f"{value.normalize():f}")


# --- Ways out -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Way:
    """One thing that brings the group to a line: repay, or add, so much of this coin."""

    is_repayment: bool
    asset: Asset
    amount: Decimal
    is_to_initial: bool
    ltv_after: Decimal | None
    usd: Decimal
    debt_id: int | None  # repayments: the largest debt in this coin
    cure: str  # what it promises, for the form that does it (R-FTR-02)


def ways_out(standing: Standing) -> list[Way]:
    """Per line, the least to repay and the least to add, each in the coin that needs the smallest value.

    The initial line comes first. The amounts are those of the margin-call notice: rounded up, never too small
    (R-GEN-65, EX-03).
    """
    return [
        *_ways_to(standing.state, standing.lines.initial, is_to_initial=True),
        *ways_below(standing, standing.lines.margin_call),
    ]


def ways_below(standing: Standing, line: Decimal) -> list[Way]:
    """The least to repay and the least to add that lead below this line, each in the coin that needs the least."""
    return _ways_to(standing.state, line, is_to_initial=False)


def _ways_to(state: GroupState, line: Decimal, *, is_to_initial: bool) -> list[Way]:
    goal = Goal(line, strictly_below=not is_to_initial)
    cure = margin_calls.cure_to(state=state, line=line, strictly_below=goal.strictly_below)
    found = []
    repay = _least(state, cure.repay)
    if repay is not None:
        found.append(_way(state, *repay, is_repayment=True, goal=goal))
    add = _least(state, cure.add)
    if add is not None:
        found.append(_way(state, *add, is_repayment=False, goal=goal))
    return found


def track_of(standing: Standing, way: Way) -> Track | None:
    """LTV before and after on the group's own lines; none where no figure can be drawn."""
    now = standing.worth.ltv
    if now is None or way.ltv_after is None:
        return None
    return track(now, standing.lines, after=way.ltv_after, band=standing.band)


def needed_now(state: GroupState) -> tuple[Way, ...]:
    """For each coin owed or chosen, how much of it alone brings LTV back to the initial line now. R-VIP-60"""
    if any(symbol not in state.quotes for symbol in state.owed_assets):
        return ()
    found = margin_calls.cure_to(state=state, line=state.lines.initial, strictly_below=False)
    ways = [(True, symbol, amount) for symbol, amount in found.repay.items()]
    ways += [(False, symbol, amount) for symbol, amount in found.add.items()]
    return tuple(
        _way(state, symbol, amount, is_repayment=is_repayment, goal=Goal(state.lines.initial))
        for is_repayment, symbol, amount in ways
        if amount
    )


def _least(state: GroupState, amounts: Mapping[str, Decimal]) -> tuple[str, Decimal] | None:
    worths = {symbol: amount * state.quotes[symbol].price for symbol, amount in amounts.items() if amount}
    best = min(worths, key=lambda symbol: (worths[symbol], symbol), default=None)
    return None if best is None else (best, amounts[best])


@exact
def _way(state: GroupState, symbol: str, amount: Decimal, *, is_repayment: bool, goal: Goal) -> Way:
    usd = amount * state.quotes[symbol].price
    if is_repayment:
        after = repaid(state.worth(permission=False), usd)
    else:
        uid = state.members[0] if state.members else 0
        after = state.changed(balances={(uid, symbol): amount}).worth(permission=False)
    mine = [owed for owed in state.debts if is_repayment and owed.debt.asset_id == symbol]
    largest = max(mine, key=lambda owed: (owed.parts.total, -owed.debt.pk), default=None)
    debt_id = largest.debt.pk if largest else None
    cure = str(Promise(goal, amount, after.ltv))
    is_to_initial = not goal.strictly_below
    return Way(is_repayment, state.assets[symbol], amount, is_to_initial, after.ltv, usd, debt_id, cure)


@exact
def repaid(worth: Worth, usd: Decimal) -> Worth:
    """The worth after so much of the debt is paid from outside the group."""
    return Worth(debt=max(worth.debt - usd, ZERO), collateral=worth.collateral, market=worth.market)


def assets_of(states: Iterable[GroupState]) -> dict[str, Asset]:
    """The rows of every coin in these groups' wallets, the unchosen ones included. One query."""
    return Asset.objects.in_bulk(sorted({wallet.asset for state in states for wallet in state.wallets}))
