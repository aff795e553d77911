"""Forced sales, as a numbered story (R-GEN-70 to 79). The journal entries are in risk/sales.py.

    1  lock the group, then its debts; bring the debts up to date
    2  write down what there is: lines, prices, wallets, debts (R-GEN-81)
    3  debts in order: overdue, earliest expiry, highest rate, lowest id (R-GEN-71)
    4  for each, coins in order: its own coin, stable coins, rank, value, symbol (R-GEN-72); an account gives
       in proportion to what it holds; only what is needed is taken, the rest stays where it is (R-GEN-77)
    5  the fees come last: not before every debt of the group is repaid (R-GEN-76)
    6  close what is repaid; what no collateral is left for becomes residual debt (R-GEN-78)
    7  let the accounts go if nothing is owed; tell the customer, and only of the liquidation (R-GEN-61)

In steps (R-GEN-73) each transaction repays one share, with its fee, and the liquidation is RUNNING in between:
the accounts are locked, deposits and repayments are taken, and `carry_on` goes on from what it then finds. It
stops as soon as LTV is at its target; above the cut-off the rest is sold at once. Should a debt then stay short,
the fees of earlier steps repay it. What is written down and told is in risk/records.py.

A debt that was not repaid in its overdue period is sold for by itself: risk/overdue_sales.py (R-VIP-45). The built-in
venue settles inside the transaction, so nobody ever sees a step half done.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from accounts.commands import Actor, FourEyes, command
from accounts.errors import Refused
from accounts.words import joined, tell
from risk import book, debts, freezes, groups, parameters, records, sales, steps
from risk.book import GroupState
from risk.handling import Handling, Mode
from risk.models import CollateralGroup, Debt, Liquidation, Settings
from risk.records import Ending, Opening
from risk.sales import Progress, Till
from risk.waterfall import Terms

BY_HAND = "risk.liquidate_by_hand"


class AlreadyRunning(Refused):
    """One liquidation of a group at a time (R-GEN-70)."""

    code = "liquidation_running"


class BadMode(Refused):
    code = "bad_liquidation_mode"


class NothingToSell(Refused):
    """Nothing is owed, or LTV is where the liquidation would stop."""

    code = "nothing_to_sell"


# --- For LTV --------------------------------------------------------------------------------------------


def liquidate(
    *,
    state: GroupState,
    at: datetime,
    handling: Handling | None = None,
    cause: str = Liquidation.Cause.LTV,
    settings: Settings | None = None,
) -> Liquidation | None:
    """Sell everything that is owed and its fees (FULL), or the first step towards the target (STEPPED). R-GEN-73

    Inside a transaction that holds the group's lock and has just decided on `state` (risk/readings.py): every
    debt's price is fresh, and coins with old prices may be passed over (R-GEN-22). `handling` None: as in force;
    above the cut-off everything is sold whatever it says. None when there is nothing to sell now, so it waits.
    A liquidation that is RUNNING afterwards goes on with `carry_on`.
    """
    assert not state.stale_debts, "the reading would have been blind"
    assert not state.is_liquidating, "carry on with the one that runs"
    handling = handling or state.handling
    mode = steps.mode_of(state, handling)
    if mode is Mode.STEPPED and not steps.is_surely_above(
        steps.seen(state), steps.target_of(state, handling)
    ):
        return None
    slippage = (settings or parameters.settings_at(at)).slippage
    opening = Opening(state, locked_in_order(state, at=at), cause, handling, mode)
    if _must_wait(opening, slippage):
        return None
    [till] = records.start(opening, slippage=slippage, at=at)
    return _sell_all((till, opening.rows))[0] if mode is Mode.FULL else _step(till, opening.rows, handling)


def sells_whole(state: GroupState) -> bool:
    """Whether `liquidate` would sell all that is owed at once; then it may be sold together with others."""
    return not state.is_liquidating and steps.mode_of(state, state.handling) is Mode.FULL


def liquidate_together(
    states: Sequence[GroupState], *, at: datetime, settings: Settings
) -> dict[int, Liquidation | None]:
    """As `liquidate` for each of these, which are all sold whole; by the group's key.

    In a constant number of statements: a crash brings thousands over a line at once. The house accounts are locked
    once, in one order, so two of these at once cannot meet the wrong way round.
    """
    assert all(sells_whole(state) for state in states)
    rows = {row.pk: row for row in locked_debts([owed.debt.pk for s in states for owed in s.debts], at=at)}
    openings = [
        Opening(
            state,
            steps.in_order(state, [rows[owed.debt.pk] for owed in state.debts]),
            Liquidation.Cause.LTV,
            state.handling,
            Mode.FULL,
        )
        for state in states
    ]
    ready = [one for one in openings if not _must_wait(one, settings.slippage)]
    tills = records.start(*ready, slippage=settings.slippage, at=at) if ready else []
    sold = _sell_all(*((till, one.rows) for till, one in zip(tills, ready, strict=True)))
    return {state.group.pk: None for state in states if state.group} | {row.group_id: row for row in sold}


def _must_wait(opening: Opening, slippage: Decimal) -> bool:
    """Nothing can be sold now, but something could once its price is known again. R-GEN-22"""
    state, rows = opening.state, opening.rows
    stale = steps.stale_with_value(state, rows, slippage)
    return bool(stale) and not steps.anything_to_sell(state, rows, slippage)


def carry_on(*, row: Liquidation, state: GroupState, at: datetime) -> Liquidation:
    """One further step of a liquidation that is RUNNING, or its end; the row, for its `status`. R-GEN-70, 73

    Under the group's lock, once per pass, whatever its band, and also when it owes nothing any more. It ends without
    a sale where prices, a deposit or a repayment brought LTV to the target; it pauses, RUNNING, while a price it needs
    is old; above the cut-off it sells the rest at once.
    """
    assert row.status == Liquidation.Status.RUNNING
    assert row.target is not None
    seen = steps.seen(state)
    if state.stale_debts:
        return row
    rows = locked_in_order(state, at=at)
    till = records.reopen(row, state, slippage=parameters.settings_at(at).slippage, at=at)
    if seen.worst.is_at_most(row.target):
        return records.stop(till, rows)
    if not steps.is_surely_above(seen, row.target):
        return row
    if seen.best is not None and seen.best.is_above(state.lines.cutoff):
        return _sell_all((till, rows))[0]
    return _step(till, rows, state.handling)


def _sell_all(*selling: tuple[Till, Sequence[Debt]]) -> list[Liquidation]:
    """Mode FULL: of each all that is owed, then all fees, or until nothing is left."""
    for till, rows in selling:
        _take_all(till, rows)
    if selling:
        sales.write(selling[0][0])
    endings = []
    for till, rows in selling:
        waits = bool(steps.stale_with_value(till.state, rows, till.slippage))
        if till.row.mode == Mode.STEPPED:
            if till.sales:
                records.step_taken(till, after=sales.left(till, rows))
            if waits and any(debt.booked for debt in rows):
                records.close_repaid(rows, at=till.at)
                continue
        endings.append(Ending(till, rows, keep_open=waits))
    records.finish(*endings)
    return [till.row for till, _ in selling]


def _take_all(till: Till, rows: Sequence[Debt]) -> None:
    progress = [Progress(debt=debt, fee_rate=till.fee_rate) for debt in rows]
    *earlier, last = progress
    for one in earlier:
        _pay(till, one, with_fee=False)
    # The last debt's fee ranks after the last debt, so one sale brings both; unless an earlier debt is short.
    _pay(till, last, with_fee=all(one.debt.booked == 0 for one in earlier))
    if all(one.debt.booked == 0 for one in progress):
        for one in earlier:
            _pay(till, one, with_fee=True)


def _pay(till: Till, progress: Progress, *, with_fee: bool) -> None:
    for coin in sales.coins_for(till, progress.debt):
        if till.is_fresh(coin):
            held = till.balances[coin]
            sales.take(till, progress, coin=coin, held=held, with_fee=with_fee, bears_fee=True)


def _step(till: Till, rows: Sequence[Debt], handling: Handling) -> Liquidation:
    """Mode STEPPED: one step, and the end if that was enough or nothing is left to go on with."""
    row, target = till.row, till.row.target
    assert target is not None
    progress = {debt.pk: Progress(debt=debt, fee_rate=till.fee_rate) for debt in rows}
    for taking in steps.plan(till.state, rows, target=target, handling=handling, terms=_terms(till)):
        sales.take(
            till,
            progress[taking.debt_id],
            coin=taking.coin,
            held=till.balances[taking.coin],
            with_fee=True,
            bears_fee=True,
            at_most=taking.repaid,
        )
    if not till.sales:  # too little is left to repay anything and its fee too; without the fee it may
        return _sell_all((till, rows))[0]
    sales.write(till)
    after = sales.left(till, rows)
    records.step_taken(till, after=after)
    if all(debt.booked == 0 for debt in rows):
        records.finish(Ending(till, rows))
        return row
    records.close_repaid(rows, at=till.at)
    left = [debt for debt in rows if debt.booked]
    if steps.seen(after).worst.is_at_most(target):
        return records.stop(till, left)
    if not steps.anything_to_sell(after, left, till.slippage) and not steps.stale_with_value(
        after, left, till.slippage
    ):
        records.finish(Ending(till, left))
        return row
    if row.steps == 1:
        records.tell_begun(till)
    return row


def _terms(till: Till) -> Terms:
    return Terms(fee_rate=till.fee_rate, slippage=till.slippage)


# --- By hand ------------------------------------------------------------------------------------------------


@command(BY_HAND, returns=Liquidation, four_eyes=FourEyes())
def liquidate_by_hand(
    *, group_id: int, mode: str, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Liquidation:
    """Sell a group's collateral because two people of the house say so, whatever its LTV. R-ADM-03, R-ADM-05

    `mode` is `full` or `stepped`; steps stop at the group's target, and the sweep goes on with them.

    Raises:
        NotYourRole, NeedsApproval: a person who is no risk officer, or whose proposal nobody has released.
        BadMode: neither of the two modes. freezes.Frozen: liquidations are paused.
        AlreadyRunning: its collateral is being sold already.
        NothingToSell: it owes nothing, or LTV is at the target already.
        groups.PriceTooOld: something owed or pledged has no fresh price.
    """
    if mode not in set(Mode):
        raise BadMode(tell("Sell in full or stepped; {mode!r} is neither.", mode=mode))
    [group] = CollateralGroup.objects.locked(group_id)
    refuse_paused(group, at)
    state = book.state_of(group, at=at)
    if state.is_liquidating:
        raise AlreadyRunning(tell("Collateral of {group} is being sold already.", group=group))
    if not state.debts:
        raise NothingToSell(tell("{group} owes nothing, so nothing can be sold for it.", group=group))
    stale = sorted({*state.stale_debts, *state.stale_coins})
    if stale:
        raise groups.PriceTooOld(
            tell(
                "The price of {stale} is too old to sell anything of {group}.",
                stale=joined(tell(" and "), stale),
                group=group,
            )
        )
    row = liquidate(
        state=state, at=at, handling=replace(state.handling, mode=Mode(mode)), cause=Liquidation.Cause.MANUAL
    )
    if row is None:
        target = steps.target_of(state, state.handling)
        raise NothingToSell(
            tell(
                "LTV of {group} is at or below {target:.2%}, where steps stop; nothing to sell.",
                group=group,
                target=target,
            )
        )
    return row


# --- What they share ----------------------------------------------------------------------------------------


def refuse_paused(group: CollateralGroup, at: datetime) -> None:
    pause = freezes.liquidation_paused(group, at)
    if pause is not None:
        raise freezes.Frozen(
            tell(
                "Liquidations of {group} are paused until {ends_at:%Y-%m-%d %H:%M} UTC ({reason});"
                " nothing is sold before, unless the pause is lifted.",
                group=group,
                ends_at=pause.ends_at,
                reason=pause.reason,
            )
        )


def locked_debts(pks: Sequence[int], *, at: datetime) -> list[Debt]:
    rows = Debt.objects.locked(*pks)
    debts.bring_up_to_date([row for row in rows if row.residual_since is None], at=at)
    return rows


def locked_in_order(state: GroupState, *, at: datetime) -> list[Debt]:
    """The group's debts, locked and up to date, in the order in which they are repaid. R-GEN-71"""
    rows = locked_debts([owed.debt.pk for owed in state.debts], at=at)
    return steps.in_order(state, rows)
