"""Forced sales, as a numbered story (R-GEN-70 to 78, R-VIP-45). The journal entries are in risk/sales.py.

    1  lock the group, then its debts; bring the debts up to date
    2  write down what there is: lines, prices, wallets, debts (R-GEN-81)
    3  debts in order: overdue, earliest expiry, highest rate, lowest id (R-GEN-71)
    4  for each, coins in order: its own coin, stable coins, rank, value, symbol (R-GEN-72); an account gives
       in proportion to what it holds; only what is needed is taken, the rest stays where it is (R-GEN-77)
    5  the fees come last: not before every debt of the group is repaid (R-GEN-76)
    6  close what is repaid; what no collateral is left for becomes residual debt (R-GEN-78)
    7  let the accounts go if nothing is owed; tell the customer, and only of the liquidation (R-GEN-61)

The built-in venue settles inside the transaction, so nobody ever sees a liquidation half done.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import DurationField, ExpressionWrapper, F, Value

from accounts import books, notices
from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.money import ZERO, exact, round_down
from risk import book, debts, groups, margin_calls, parameters, sales
from risk.book import GroupState
from risk.models import CollateralGroup, Debt, Liquidation, MarginCall, RiskEvent
from risk.sales import Progress, Till
from risk.waterfall import DebtFacts, order_debts

logger = logging.getLogger(__name__)

USD_PLACES = 18  # of the value columns


class NotOverdue(Refused):
    """The debt may not be liquidated for being overdue, or not yet."""

    code = "not_overdue"


class InGrace(Refused):
    """R-GEN-24: after an outage the borrower gets time to repay first."""

    code = "in_outage_grace"


# --- For LTV --------------------------------------------------------------------------------------------


def liquidate(*, state: GroupState, at: datetime) -> Liquidation | None:
    """Sell until everything the group owes is repaid with its fees, or nothing is left. Mode FULL, R-GEN-73

    Inside a transaction that holds the group's lock and has just decided on `state` (risk/readings.py): every
    debt's price is fresh, and coins with old prices may be passed over (R-GEN-22). None when only such coins
    are left: there is nothing to sell now, so it waits.
    """
    assert not state.stale_debts, "the reading would have been blind"
    group = state.group
    assert group is not None
    rows = _locked_debts([owed.debt.pk for owed in state.debts], at=at)
    settings = parameters.settings_at(at)
    waits = _stale_with_value(state, rows, settings.slippage)
    if waits and not _anything_to_sell(state, rows, settings.slippage):
        return None
    till = _start(group, state, rows, slippage=settings.slippage, cause=Liquidation.Cause.LTV, at=at)
    progress = _ordered(state, rows)
    *earlier, last = progress
    for one in earlier:
        _pay(till, one, with_fee=False)
    # The last debt's fee ranks after the last debt, so one sale brings both; unless an earlier debt is short.
    _pay(till, last, with_fee=all(one.debt.booked == 0 for one in earlier))
    if all(one.debt.booked == 0 for one in progress):
        for one in earlier:
            _pay(till, one, with_fee=True)
    return _finish(till, group, rows, keep_open=bool(waits))


def _pay(till: Till, progress: Progress, *, with_fee: bool) -> None:
    for coin in sales.coins_for(till, progress.debt):
        if till.is_fresh(coin):
            held = till.balances[coin]
            sales.take(till, progress, coin=coin, held=held, with_fee=with_fee, bears_fee=True)


# --- For being overdue ------------------------------------------------------------------------------------


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
        except Exception:  # one bad debt must not shield the others
            logger.exception("debt %s could not be liquidated", debt_id)
            failed.append(debt_id)
    return OverdueReport(liquidated=tuple(done), waiting=tuple(waiting), failed=tuple(failed))


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
        groups.PriceTooOld: a coin owed, or a coin whose turn it is to be sold, has no fresh price; nothing was taken.
    """
    group_id, receiver = Debt.objects.values_list("group_id", "group__receiver_id").get(pk=debt_id)
    locks = groups.hold(uids=[receiver], group_ids=[group_id])
    group = locks.groups[group_id]
    [debt] = _locked_debts([debt_id], at=at)
    _refuse_too_early(debt, at)
    if group.grace_until is not None and at < group.grace_until:
        raise InGrace(
            f"Prices were out; nothing of {group} is sold before {group.grace_until:%Y-%m-%d %H:%M} UTC."
        )
    state = book.state_of(group, at=at)
    if state.stale_debts:
        raise groups.PriceTooOld(
            f"The price of {' and '.join(state.stale_debts)} is too old to liquidate {debt}."
        )
    slippage = parameters.settings_at(at).slippage
    till = _start(group, state, [debt], slippage=slippage, cause=Liquidation.Cause.OVERDUE, at=at)
    progress = Progress(debt=debt, fee_rate=state.lines.fee)
    _take_loan_coin(till, progress, receiver=None if receiver in locks.pledged else receiver)
    for coin in sales.coins_for(till, debt):
        if coin == debt.asset_id or progress.needed(with_fee=True) <= 0:
            continue
        _refuse_stale_turn(till, coin)
        if till.is_fresh(coin):
            held = till.balances[coin]
            sales.take(till, progress, coin=coin, held=held, with_fee=True, bears_fee=True)
    return _finish(till, group, [debt], keep_open=False)


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
        raise NotOverdue(f"{debt} is {debt.get_closed_reason_display()}; nothing is owed on it.")
    if debt.residual_since is not None:
        raise NotOverdue(f"{debt} is what an earlier liquidation left over; no collateral stands for it.")
    if debt.overdue_since is None:
        raise NotOverdue(f"{debt} is not overdue.")
    ends_at = debt.overdue_since + timedelta(hours=debt.overdue_hours)
    if at < ends_at:
        raise NotOverdue(f"{debt} may be repaid until {ends_at:%Y-%m-%d %H:%M} UTC.")


def _refuse_stale_turn(till: Till, coin: str) -> None:
    """A coin that counts is not passed over for being old: LTV was never the cause, so it waits. R-GEN-22"""
    if coin in till.state.stale_coins:
        raise groups.PriceTooOld(f"The price of {coin}, which would be sold next, is too old.")


def _overdue_ids(at: datetime) -> list[int]:
    hours = ExpressionWrapper(F("overdue_hours") * Value(timedelta(hours=1)), output_field=DurationField())
    rows = Debt.objects.watched().filter(overdue_since__isnull=False, overdue_since__lte=at - hours)
    return list(rows.order_by("overdue_since", "pk").values_list("pk", flat=True))


# --- What both share ----------------------------------------------------------------------------------------


def _locked_debts(pks: Sequence[int], *, at: datetime) -> list[Debt]:
    rows = Debt.objects.locked(*pks)
    debts.bring_up_to_date([row for row in rows if row.residual_since is None], at=at)
    return rows


def _ordered(state: GroupState, rows: Sequence[Debt]) -> list[Progress]:
    by_id = {row.pk: row for row in rows}
    facts = [
        DebtFacts(
            debt_id=owed.debt.pk,
            overdue=by_id[owed.debt.pk].overdue_since is not None,
            due_at=by_id[owed.debt.pk].due_at,
            annual_rate=owed.annual_rate,
        )
        for owed in state.debts
    ]
    return [Progress(debt=by_id[one.debt_id], fee_rate=state.lines.fee) for one in order_debts(facts)]


def _anything_to_sell(state: GroupState, rows: Sequence[Debt], slippage: Decimal) -> bool:
    fresh = {c: held for c, held in sales.collateral_of(state).items() if _is_fresh(state, c)}
    return any(_brings(state, coin, held, rows, slippage) for coin, held in fresh.items())


def _stale_with_value(state: GroupState, rows: Sequence[Debt], slippage: Decimal) -> list[str]:
    """Coins that count and may be worth selling once their price is known again. They keep the debts in the group."""
    collateral = sales.collateral_of(state)
    return [coin for coin in state.stale_coins if _brings(state, coin, collateral[coin], rows, slippage)]


def _brings(
    state: GroupState, coin: str, held: sales.Balances, rows: Sequence[Debt], slippage: Decimal
) -> bool:
    total = sum(held.values(), ZERO)
    return any(sales.can_bring(state, coin=coin, debt=debt, amount=total, slippage=slippage) for debt in rows)


def _is_fresh(state: GroupState, asset: str) -> bool:
    return asset in state.quotes and state.quotes[asset].fresh


def _start(
    group: CollateralGroup,
    state: GroupState,
    rows: Sequence[Debt],
    *,
    slippage: Decimal,
    cause: str,
    at: datetime,
) -> Till:
    worth = state.worth(permission=False)
    ltv = margin_calls.told_ltv(worth)
    snapshot = margin_calls.snapshot(state) | {
        "wallets": sales.wallets_told(state),
        "debts": [_told(debt) for debt in rows],
        "slippage": f"{slippage:f}",
    }
    row = Liquidation.objects.create(
        group=group,
        debt=rows[0] if cause == Liquidation.Cause.OVERDUE else None,
        cause=cause,
        started_at=at,
        debt_value=round_down(worth.debt, USD_PLACES),
        collateral_value=round_down(worth.collateral, USD_PLACES),
        market_value=round_down(worth.market, USD_PLACES),
        ltv=ltv,
        snapshot=snapshot,
    )
    facts = {"liquidation": row.pk, "cause": cause} | margin_calls.snapshot(state)
    RiskEvent.objects.create(
        group=group, kind=RiskEvent.Kind.LIQUIDATION_STARTED, at=at, ltv=ltv, facts=facts
    )
    return Till(row=row, state=state, slippage=slippage, at=at, balances=sales.collateral_of(state))


def _told(debt: Debt) -> dict[str, object]:
    return {
        "id": debt.pk,
        "asset": debt.asset_id,
        "principal": f"{debt.principal:f}",
        "interest": f"{debt.interest:f}",
        "late_fee": f"{debt.late_fee:f}",
    }


@exact
def _finish(till: Till, group: CollateralGroup, rows: Sequence[Debt], *, keep_open: bool) -> Liquidation:
    """Close, leave over or keep the debts, end the record and tell. Steps 6 and 7 of the story."""
    at, row, quotes = till.at, till.row, till.state.quotes
    shortfall = ZERO  # what became residual; a debt kept in the group is still secured
    for debt in rows:
        if debt.booked == 0:
            debts.close(debt, reason=Debt.Closed.LIQUIDATED, at=at)
        elif not keep_open:
            debts.make_residual(debt, at=at)
            shortfall += debt.booked * quotes[debt.asset_id].price
    is_short = any(debt.booked for debt in rows)
    row.status = Liquidation.Status.DONE_SHORTFALL if is_short else Liquidation.Status.DONE_SURPLUS
    row.ended_at = at
    row.sold_usd = round_down(till.sold_usd, USD_PLACES)
    row.fee_usd = round_down(till.fee_usd, USD_PLACES)
    row.shortfall_usd = round_down(shortfall, USD_PLACES)
    row.save(update_fields=["status", "ended_at", "sold_usd", "fee_usd", "shortfall_usd"])
    _record_end(till, group, rows)
    groups.release_if_empty(group, at)
    return row


def _record_end(till: Till, group: CollateralGroup, rows: Sequence[Debt]) -> None:
    row, at = till.row, till.at
    facts = {
        "liquidation": row.pk,
        "cause": row.cause,
        "status": row.status,
        "sold_usd": f"{row.sold_usd:f}",
        "fee_usd": f"{row.fee_usd:f}",
        "shortfall_usd": f"{row.shortfall_usd:f}",
    }
    RiskEvent.objects.create(group=group, kind=RiskEvent.Kind.LIQUIDATION_ENDED, at=at, facts=facts)
    call = margin_calls.open_call(group)
    if row.cause == Liquidation.Cause.LTV:
        notices.drop_unsent(customer=group.customer, event_prefix=margin_calls.event_prefix(group), at=at)
        if call is not None:
            margin_calls.end(call=call, how=MarginCall.Ended.LIQUIDATED, ltv=None, at=at)
    notices.send(
        customer=group.customer,
        event=f"liquidation:{row.pk}",
        kind="liquidation",
        title=_title(group, rows),
        body=_body(till, group, rows),
        facts=facts | {"ltv": None if row.ltv is None else f"{row.ltv:f}", "prices": row.snapshot["prices"]},
        at=at,
    )


def _title(group: CollateralGroup, rows: Sequence[Debt]) -> str:
    left = "; some debt is left" if any(debt.booked for debt in rows) else ""
    return f"Liquidation: collateral of {group.name} was sold{left}"


def _body(till: Till, group: CollateralGroup, rows: Sequence[Debt]) -> str:
    row, state = till.row, till.state
    if row.cause == Liquidation.Cause.OVERDUE:
        why = "the loan was not repaid in its overdue period"
    else:
        ltv = margin_calls.percent(state.worth(permission=False))
        why = f"its loan-to-value ratio was {ltv} (the liquidation line is {state.lines.liquidation:.2%})"
    taken = [
        f"  {sale.sold:f} {sale.coin_id} from account {sale.account_id} at {sale.price.normalize():f} USD"
        f" for {sale.proceeds:f} {sale.debt.asset_id}, of which {sale.fee:f} is the fee"
        for sale in till.sales
    ]
    left = [f"  {debt.booked:f} {debt.asset_id}" for debt in rows if debt.booked]
    lines = [
        f"Collateral of {group.name} ({group}) was taken at {till.at:%Y-%m-%d %H:%M:%S} UTC: {why}.",
        *taken,
    ]
    if left:
        lines += ["Still owed, as the collateral did not cover it:", *left]
    else:
        lines.append("The debt is repaid. What was not needed stays in your accounts.")
    return "\n".join(lines)
