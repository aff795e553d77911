"""What a group's state allows and what it leads to: room per coin, line prices, the shock map, what the watch would do.

Every figure is the answer of the function that decides it: the gate's, the valuation's, the sweep's reading. The
state may be a real one or a hypothetical one (risk/whatif.py). Reads only. R-FTR-01
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from accounts.models import Asset
from accounts.money import ONE, ZERO, exact, round_down
from accounts.words import tell
from risk import (
    delays,
    deleveraging,
    freezes,
    gate,
    pace,
    parameters,
    prices,
    readings,
    soft_plan,
    steps,
    valuation,
)
from risk.book import GroupState
from risk.levels import Action, Band, band
from risk.models import Freeze, Liquidation, Settings
from risk.readings import Bounds, DelayStep, Reading


class Fate(StrEnum):
    """What the watch would do with the group as it would be."""

    NOTHING = "nothing"
    CALLED = "called"
    SOFTENED = "softened"
    SOLD = "sold"
    DELAYED = "delayed"
    WAITS = "waits"
    BLIND = "blind"


@dataclass(frozen=True, slots=True)
class Foreseen:
    fate: Fate
    words: str


# --- What follows ---------------------------------------------------------------------------------------------


def foresee(state: GroupState, *, at: datetime) -> Foreseen:
    """What the sweep would do if it found the group so and the next prices said the same. R-GEN-22…24, 41, R-VIP-60"""
    group, lines = state.group, state.lines
    if group is None or not (state.debts or state.borrowed):
        return Foreseen(Fate.NOTHING, tell("Nothing would be owed, so no price could call it."))
    settings = parameters.settings_at(at)
    waits = readings.Waits(
        confirm=0, outage=settings.outage_seconds, outage_grace=settings.outage_grace_seconds
    )
    seen = readings.bounds(
        holdings=state.holdings(permission=False), debts=state.owed(), stale=state.stale_coins
    )
    reading = readings.read(
        seen=seen,
        debts_fresh=not state.stale_debts,
        newest_price_at=at,
        lines=lines,
        clocks=readings.Clocks(grace_until=group.grace_until),
        waits=waits,
        at=at,
    )
    clock = delays.clocks([group], settings=settings, at=at).get(group.pk, delays.Clock())
    step = readings.delayed(
        reading=reading,
        seen=seen,
        lines=lines,
        delay=clock.as_read,
        called_since=at,
        newest_price_at=at,
        waits=waits,
        at=at,
    )
    if state.is_liquidating and reading.band is not None:
        return _running(state, reading, seen, at=at)
    if step is DelayStep.NONE and _softens(state, reading, seen, settings, at=at):
        return Foreseen(
            Fate.SOFTENED,
            tell(
                "You would be called, and a little sold, as you chose, as soon as the next prices confirm it."
            ),
        )
    at_once = seen.best is not None and seen.best.is_above(lines.cutoff)
    return _told(state, reading, step, at=at, at_once=at_once)


def _running(state: GroupState, reading: Reading, seen: Bounds, *, at: datetime) -> Foreseen:
    """A sale in steps goes on whatever the band is, until its target. R-GEN-70, R-GEN-73"""
    group, until = state.group, reading.clocks.grace_until
    assert group is not None
    row = Liquidation.objects.filter(group=group, status=Liquidation.Status.RUNNING).first()
    paused = freezes.liquidation_paused(group, at)
    if paused is not None:
        return Foreseen(
            Fate.WAITS, tell("Sales are paused until {ends_at:%-d %B %H:%M} UTC.", ends_at=paused.ends_at)
        )
    if until is not None and at < until and not reading.must_liquidate:
        return Foreseen(
            Fate.WAITS,
            tell(
                "A grace runs until {until:%-d %B %H:%M} UTC; then the sale under way goes on.", until=until
            ),
        )
    if row is None or (row.target is not None and seen.worst.is_at_most(row.target)):
        return Foreseen(Fate.NOTHING, tell("The sale under way would end."))
    return Foreseen(Fate.SOLD, tell("The sale under way would go on until LTV is at its target."))


def _softens(state: GroupState, reading: Reading, seen: Bounds, settings: Settings, *, at: datetime) -> bool:
    """Whether a step of the borrower's own de-leveraging would be taken, its rest aside. R-FTR-05"""
    assert state.group is not None
    row = deleveraging.live_of([state.group]).get(state.group.pk)
    if row is None or deleveraging.is_stopped(state, at=at):
        return False
    rest = timedelta(seconds=settings.soft_step_seconds)
    if not readings.softens(reading=reading, seen=seen, start=row.start, last_step_at=None, rest=rest, at=at):
        return False
    rows = steps.in_order(state, [owed.debt for owed in state.debts])
    return bool(soft_plan.takings(state, rows, deleveraging.choice_of(row), settings=settings))


def _told(state: GroupState, reading: Reading, step: DelayStep, *, at: datetime, at_once: bool) -> Foreseen:
    group, sells = state.group, step in readings.SELLS
    assert group is not None
    if reading.band is None:
        return Foreseen(
            Fate.BLIND, tell("Prices are too old to judge: nothing would be sold until they are fresh.")
        )
    if sells or (step is DelayStep.NONE and reading.must_liquidate):
        paused = freezes.liquidation_paused(group, at)
        if paused is not None:
            return Foreseen(
                Fate.WAITS, tell("Sales are paused until {ends_at:%-d %B %H:%M} UTC.", ends_at=paused.ends_at)
            )
        paced = pace.surely_waits(state, pace.paces_at(at, state.coins))
        if paced is not None:
            return Foreseen(Fate.WAITS, tell("The sale would wait. {told}", told=paced.told()))
        return Foreseen(
            Fate.SOLD,
            tell("Collateral would be sold at once.")
            if at_once
            else tell("Collateral would be sold as soon as the next prices confirm it."),
        )
    if step is DelayStep.START:
        return Foreseen(
            Fate.DELAYED, tell("A liquidation call would start: time to get back to the initial line.")
        )
    if step is DelayStep.WAIT:
        return Foreseen(Fate.DELAYED, tell("The liquidation call goes on until LTV is at the initial line."))
    if reading.band is Band.LIQ:
        until = (
            tell(" until {grace_until:%-d %B %H:%M} UTC", grace_until=group.grace_until)
            if group.grace_until
            else ""
        )
        return Foreseen(
            Fate.WAITS, tell("A grace runs{until}; collateral is sold when it is over.", until=until)
        )
    if reading.band is Band.CALL:
        return Foreseen(
            Fate.CALLED, tell("You would be called: repay or add collateral. Nothing is sold yet.")
        )
    return Foreseen(Fate.NOTHING, tell("Nothing would happen."))


# --- Figures of a state ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CoinFigures:
    """What a coin allows and where it acts. Amounts in the coin; None where the figure does not exist."""

    asset: Asset
    price: Decimal
    held: Decimal
    owed: Decimal
    most_borrow: Decimal | None
    most_withdraw: Decimal | None
    call_price: Decimal | None
    liquidation_price: Decimal | None


@exact
def figures(state: GroupState, *, at: datetime) -> tuple[CoinFigures, ...]:
    """One row for each coin held or owed, largest value first. R-GEN-45, EX-09"""
    held, owed = _sums((wallet.asset, wallet.balance) for wallet in state.wallets), _sums(_owed(state))
    frozen = _frozen(state, at=at)
    rows = [
        CoinFigures(
            asset=state.assets[coin],
            price=state.quotes[coin].price,
            held=held.get(coin, ZERO),
            owed=owed.get(coin, ZERO),
            most_borrow=most_borrow(state, coin, frozen=frozen) if state.assets[coin].loanable else None,
            most_withdraw=most_withdraw(state, coin, held[coin], frozen=frozen) if held.get(coin) else None,
            call_price=line_price(state, coin, state.lines.margin_call),
            liquidation_price=line_price(state, coin, state.lines.liquidation),
        )
        for coin in sorted({*held, *owed})
        if coin in state.quotes and coin in state.assets and (held.get(coin) or owed.get(coin))
    ]
    return tuple(sorted(rows, key=lambda row: (-(row.held + row.owed) * row.price, row.asset.pk)))


def most_borrow(state: GroupState, coin: str, *, frozen: tuple[Freeze, ...] = ()) -> Decimal:
    """By collateral alone, at the coin's places: limits and the pool are the request's. R-GEN-45, R-ADM-04"""
    if state.stale_debts or coin not in state.quotes or not state.quotes[coin].fresh:
        return ZERO
    if _is_stopped(frozen, Action.BORROW, coin) or state.is_liquidating:
        return ZERO
    worth = state.for_borrowing().worth()
    return valuation.max_borrow(
        worth=worth,
        initial=state.lines.initial,
        price=state.quotes[coin].price,
        places=state.assets[coin].places,
    )


def most_withdraw(state: GroupState, coin: str, held: Decimal, *, frozen: tuple[Freeze, ...] = ()) -> Decimal:
    """Of `held` in one account, or of all of it from one account after the other. R-GEN-45"""
    if _is_stopped(frozen, Action.MOVE_OUT, coin):
        return ZERO
    return gate.most_out_of(state, asset=coin, held=held)


def line_price(state: GroupState, coin: str, line: Decimal) -> Decimal | None:
    """The coin's price at which LTV reaches the line while all others stand. EX-09"""
    return valuation.line_price(
        holdings=state.holdings(permission=False), debts=state.owed(), asset=coin, line=line
    )


def fall_to(state: GroupState, line: Decimal) -> Decimal | None:
    """The fall common to all collateral, as a fraction, at which LTV reaches the line; None when nothing is owed."""
    return valuation.fall_to(holdings=state.holdings(permission=False), debts=state.owed(), line=line)


@dataclass(frozen=True, slots=True)
class Spot:
    """One field of the shock map: LTV (None: infinite) and band at a pair of moves."""

    ltv: Decimal | None
    band: Band


ALL: Final = "all"  # every coin whose price moves: stable coins and currencies stand still


@exact
def shock_map(
    state: GroupState,
    *,
    across: str,
    down: str,
    across_moves: tuple[Decimal, ...],
    down_moves: tuple[Decimal, ...],
) -> tuple[tuple[Spot, ...], ...]:
    """LTV and band for each pair of moves (fractions of the price): rows are moves of `down`. R-FTR-01

    Either side is a coin or `ALL`; a coin on both sides is moved by both. What is owed in it moves with it.
    """
    holdings, owed = state.holdings(permission=False), state.owed()

    def moved(coin: str, across_by: Decimal, down_by: Decimal) -> Decimal:
        factor = ONE
        for side, by in ((across, across_by), (down, down_by)):
            if side == coin or (side == ALL and state.assets[coin].kind == Asset.Kind.CRYPTO):
                factor *= ONE + by
        return factor

    def spot(across_by: Decimal, down_by: Decimal) -> Spot:
        def at(price: Decimal, coin: str) -> Decimal:
            return round_down(price * moved(coin, across_by, down_by), prices.PLACES)

        worth = valuation.worth(
            holdings=[replace(each, price=at(each.price, each.asset)) for each in holdings],
            debts=[replace(each, price=at(each.price, each.asset)) for each in owed],
        )
        return Spot(worth.ltv, band(worth, state.lines))

    return tuple(tuple(spot(a, d) for a in across_moves) for d in down_moves)


# --- Private ---------------------------------------------------------------------------------------------------


def _owed(state: GroupState) -> Iterator[tuple[str, Decimal]]:
    yield from ((row.debt.asset_id, row.parts.total) for row in state.debts)
    yield from state.borrowed


def _sums(rows: Iterable[tuple[str, Decimal]]) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for coin, amount in rows:
        found[coin] = found.get(coin, ZERO) + amount
    return found


def _frozen(state: GroupState, *, at: datetime) -> tuple[Freeze, ...]:
    """What is frozen for the whole group, one of its coins or everywhere. R-ADM-04"""
    if state.group is None:
        return ()
    rows = freezes.in_force(
        group=state.group, uids=[state.group.receiver_id], assets={*state.coins, *state.owed_assets}, at=at
    )
    return tuple(row for row in rows if row.account_id is None)


def _is_stopped(frozen: tuple[Freeze, ...], action: Action, coin: str) -> bool:
    return any(row.what in freezes.STOPPED_BY[action] and row.asset_id in {None, coin} for row in frozen)
