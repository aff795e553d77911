"""Forced sales of what was not repaid in its overdue period, debt by debt, whatever LTV is (R-VIP-45).

Told, booked and ended as every liquidation (risk/liquidation.py); only what is taken, and when, is decided here. How
long the period lasts is in risk/overdue.py.
"""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import DurationField, ExpressionWrapper, F, Value

from accounts import books
from accounts.commands import Actor, acting, command
from accounts.errors import Refused
from accounts.words import joined, tell
from risk import book, groups, held_back, liquidation, overdue, pace, parameters, records, sales
from risk.handling import Mode
from risk.models import CollateralGroup, Debt, Liquidation
from risk.records import Ending, Opening
from risk.sales import Progress, Till

logger = logging.getLogger(__name__)


class NotOverdue(Refused):
    """The debt may not be liquidated for being overdue, or not yet."""

    code = "not_overdue"


class InGrace(Refused):
    """R-GEN-24: after an outage the borrower gets time to repay first."""

    code = "in_outage_grace"


@dataclass(frozen=True, slots=True)
class OverdueReport:
    """What one pass did, by debt id. `waiting` were refused in words; `failed` were not expected to."""

    liquidated: tuple[int, ...]
    waiting: tuple[int, ...]
    failed: tuple[int, ...]


def run_overdue(*, at: datetime) -> OverdueReport:
    """Liquidate every debt whose overdue period is over at `at`, longest overdue first, each by itself.

    Safe to run twice, or two at once: each is checked again under its group's lock. R-VIP-45
    """
    done, waiting, failed = [], [], []
    for debt_id in _overdue_ids(at):
        try:
            liquidate_overdue(debt_id=debt_id, actor=Actor.job("overdue"), at=at)
            done.append(debt_id)
        except Refused as refusal:
            logger.info("debt %s not liquidated: %s (%s)", debt_id, refusal, refusal.code)
            waiting.append(debt_id)
            if isinstance(refusal, pace.NoRoom):
                _tell_it_waits(debt_id, refusal.pace, at=at)
        except Exception:  # one bad debt must not shield the others
            logger.exception("debt %s could not be liquidated", debt_id)
            failed.append(debt_id)
    return OverdueReport(liquidated=tuple(done), waiting=tuple(waiting), failed=tuple(failed))


def _tell_it_waits(debt_id: int, full: pace.Pace, *, at: datetime) -> None:
    with acting(Actor.job("overdue")):
        group = CollateralGroup.objects.select_related("customer").get(debts=debt_id)
        held_back.tell_of_pace(book.state_of(group, at=at), full, at=at)


@command("risk.liquidate_overdue", returns=Liquidation)
def liquidate_overdue(
    *, debt_id: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Liquidation:
    """Take what one debt owes, whatever the LTV, once its overdue period has ended. R-VIP-45

    First the loan coin from the receiver's Spot and from the chosen collateral, both without a fee; then only
    as much collateral is sold as the rest and the fee on that rest need. What the collateral cannot cover
    stays owed as residual debt.

    Raises:
        NotOverdue: closed, residual, not overdue, or its overdue period has not ended.
        InGrace: an outage has just ended.
        liquidation.AlreadyRunning: the group's collateral is being sold in steps.
        freezes.Frozen: liquidations are paused by hand (R-ADM-05).
        pace.NoRoom: enough was sold for now of a coin that would be sold (R-FTR-22).
        groups.PriceTooOld: a coin owed, or a coin whose turn it is to be sold, has no fresh price; nothing was taken.
    """
    group_id, receiver = Debt.objects.values_list("group_id", "group__receiver_id").get(pk=debt_id)
    locks = groups.hold(uids=[receiver], group_ids=[group_id])
    group = locks.groups[group_id]
    [debt] = liquidation.locked_debts([debt_id], at=at)
    _refuse_too_early(debt, at)
    if group.grace_until is not None and at < group.grace_until:
        raise InGrace(
            tell(
                "Prices were out; nothing of {group} is sold before {grace_until:%Y-%m-%d %H:%M} UTC.",
                group=group,
                grace_until=group.grace_until,
            )
        )
    liquidation.refuse_paused(group, at)
    state = book.state_of(group, at=at)
    if state.is_liquidating:
        raise liquidation.AlreadyRunning(
            tell(
                "Collateral of {group} is being sold already; {debt} waits for its end.",
                group=group,
                debt=debt,
            )
        )
    if state.stale_debts:
        raise groups.PriceTooOld(
            tell(
                "The price of {stale_debts} is too old to liquidate {debt}.",
                stale_debts=joined(tell(" and "), state.stale_debts),
                debt=debt,
            )
        )
    opening = Opening(state, [debt], Liquidation.Cause.OVERDUE, state.handling, Mode.FULL)
    [till] = records.start(opening, slippage=parameters.settings_at(at).slippage, at=at)
    progress = Progress(debt=debt, fee_rate=till.fee_rate)
    _take_loan_coin(till, progress, receiver=None if receiver in locks.pledged else receiver)
    for coin in sales.coins_for(till, debt):
        if coin == debt.asset_id or progress.needed(with_fee=True) <= 0:
            continue
        _refuse_stale_turn(till, coin)
        if till.is_fresh(coin):
            held = till.balances[coin]
            sales.take(till, progress, coin=coin, held=held, with_fee=True, bears_fee=True)
    sales.write(till)
    records.finish(Ending(till, [debt]))
    return till.row


def _take_loan_coin(till: Till, progress: Progress, *, receiver: int | None) -> None:
    """The debt's own coin, without a fee: the receiver's Spot, then chosen collateral.

    `receiver` None: it is itself collateral of another group, whose security its coins are.
    """
    coin = progress.debt.asset_id
    if receiver is not None:
        held = {receiver: books.wallet(receiver, coin, book.WALLET).balance}
        sales.take(till, progress, coin=coin, held=held, with_fee=False, bears_fee=False)
    if coin in till.balances:
        held = till.balances[coin]
        sales.take(till, progress, coin=coin, held=held, with_fee=False, bears_fee=False)


def _refuse_too_early(debt: Debt, at: datetime) -> None:
    if debt.closed_at is not None:
        raise NotOverdue(
            tell(
                "{debt} is {closed_reason}; nothing is owed on it.",
                debt=debt,
                closed_reason=debt.get_closed_reason_display(),
            )
        )
    if debt.residual_since is not None:
        raise NotOverdue(
            tell("{debt} is what an earlier liquidation left over; no collateral stands for it.", debt=debt)
        )
    if debt.overdue_since is None:
        raise NotOverdue(tell("{debt} is not overdue.", debt=debt))
    ends_at = overdue.ends_at(debt)
    if ends_at is not None and at < ends_at:
        raise NotOverdue(
            tell("{debt} may be repaid until {ends_at:%Y-%m-%d %H:%M} UTC.", debt=debt, ends_at=ends_at)
        )


def _refuse_stale_turn(till: Till, coin: str) -> None:
    """A coin that counts is not passed over for being old: LTV was never the cause, so it waits. R-GEN-22"""
    if coin in till.state.stale_coins:
        raise groups.PriceTooOld(
            tell("The price of {coin}, which would be sold next, is too old.", coin=coin)
        )


def _overdue_ids(at: datetime) -> list[int]:
    """Their hours are over: counted in the database, then with the pauses that made them longer. R-VIP-45"""
    hours = ExpressionWrapper(F("overdue_hours") * Value(timedelta(hours=1)), output_field=DurationField())
    rows = Debt.objects.watched().filter(overdue_since__isnull=False, overdue_since__lte=at - hours)
    late = list(rows.order_by("overdue_since", "pk"))
    ends = overdue.ends(late)
    return [debt.pk for debt in late if ends[debt.pk] <= at]
