"""What a liquidation writes down and tells: the record at its start, after each step and at its end (R-GEN-81).

Part of a liquidation's story (risk/liquidation.py), inside its transaction and under its locks. The row keeps
what there was and what it led to, risk events keep the steps, the customer gets one notice when a liquidation in
steps begins and one when any liquidation is over (R-GEN-61).
"""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.db.models import Max

from accounts import books, ledger, notices
from accounts.models import LedgerAccount
from accounts.money import exact, round_down
from risk import book, debts, fees, groups, margin_calls, pace, sales, steps
from risk.book import GroupState
from risk.handling import Handling, Mode
from risk.models import Debt, Liquidation, MarginCall, RiskEvent, Sale
from risk.sales import Till
from risk.waterfall import fee_on_debt

USD_PLACES = 18  # of the value columns
MONEY_FIELDS = ["sold_usd", "fee_usd", "shortfall_usd"]


def start(
    state: GroupState,
    rows: Sequence[Debt],
    *,
    slippage: Decimal,
    cause: str,
    handling: Handling,
    mode: Mode,
    at: datetime,
) -> Till:
    """Open the record, with the snapshot of what there is, and the till it is worked from."""
    till = open_record(state, rows, slippage=slippage, cause=cause, handling=handling, mode=mode, at=at)
    row = till.row
    facts = {"liquidation": row.pk, "cause": cause, "mode": row.mode} | margin_calls.snapshot(state)
    RiskEvent.objects.create(
        group=row.group, kind=RiskEvent.Kind.LIQUIDATION_STARTED, at=at, ltv=row.ltv, facts=facts
    )
    return till


def open_record(
    state: GroupState,
    rows: Sequence[Debt],
    *,
    slippage: Decimal,
    cause: str,
    handling: Handling,
    mode: Mode,
    at: datetime,
) -> Till:
    """The row with its snapshot and its till, without a word in history."""
    group = state.group
    assert group is not None
    worth = state.worth(permission=False)
    ltv = margin_calls.told_ltv(worth)
    fee_rate = fee_on_debt(base=handling.fee_base, rate=state.lines.fee, assets=worth.market, debt=worth.debt)
    snapshot = margin_calls.snapshot(state) | {
        "wallets": _wallets_told(state),
        "debts": [_told(debt) for debt in rows],
        "slippage": f"{slippage:f}",
        "fee_on_debt": f"{fee_rate:f}",
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
        mode=mode.value,
        target=steps.target_of(state, handling) if mode is Mode.STEPPED else None,
        fee_base=handling.fee_base.value,
        snapshot=snapshot,
    )
    return _till(row, state, fee_rate=fee_rate, slippage=slippage, at=at)


def reopen(row: Liquidation, state: GroupState, *, slippage: Decimal, at: datetime) -> Till:
    """The till of a liquidation that is running, with the fee rate fixed at its start."""
    till = _till(row, state, fee_rate=Decimal(row.snapshot["fee_on_debt"]), slippage=slippage, at=at)
    till.steps = row.sales.aggregate(last=Max("step"))["last"] or 0
    till.sold_usd, till.fee_usd = row.sold_usd, row.fee_usd
    return till


def _till(row: Liquidation, state: GroupState, *, fee_rate: Decimal, slippage: Decimal, at: datetime) -> Till:
    balances = sales.collateral_of(state)
    return Till(
        row=row,
        state=state,
        slippage=slippage,
        at=at,
        balances=balances,
        fee_rate=fee_rate,
        batch=ledger.Batch(_chart_of(state)),
        bounded=pace.bounded_at(at),
    )


def _chart_of(state: GroupState) -> books.Chart:
    """Every ledger account that a sale of the group may name, in one query."""
    debts = {owed.debt.asset_id for owed in state.debts}
    kind = LedgerAccount.Kind
    everywhere = (kind.CUSTODY, kind.POOL, kind.POSITION)
    for_debts = (kind.FEE_INCOME, kind.LATE_FEE, kind.INTEREST, kind.PRINCIPAL)
    codes = [books.code_of(one, coin) for one in everywhere for coin in debts | state.coins]
    codes += [books.code_of(one, coin) for one in for_debts for coin in debts]
    codes += [
        books.code_of(book.WALLET, wallet.asset, wallet.uid) for wallet in state.wallets if wallet.balance > 0
    ]
    return books.Chart(codes)


def _wallets_told(state: GroupState) -> list[dict[str, object]]:
    """Every wallet of the group's accounts, for the liquidation's snapshot. R-GEN-81"""
    return [
        {"uid": wallet.uid, "asset": wallet.asset, "balance": f"{wallet.balance:f}"}
        for wallet in state.wallets
    ]


def _told(debt: Debt) -> dict[str, object]:
    return {
        "id": debt.pk,
        "asset": debt.asset_id,
        "principal": f"{debt.principal:f}",
        "interest": f"{debt.interest:f}",
        "late_fee": f"{debt.late_fee:f}",
    }


def step_taken(till: Till, *, after: GroupState) -> None:
    """Something was sold and the liquidation may go on: what this step was, in history. R-GEN-70"""
    row = till.row
    row.steps += 1
    _write_sums(till, "steps")
    worth = after.worth(permission=False)
    facts: dict[str, object] = {
        "liquidation": row.pk,
        "cause": row.cause,
        "step": row.steps,
        "sales": [sale.step for sale in till.sales],
        "debt_usd": f"{worth.debt:f}",
        "collateral_usd": f"{worth.collateral:f}",
    }
    RiskEvent.objects.create(
        group=row.group,
        kind=RiskEvent.Kind.LIQUIDATION_STEP,
        at=till.at,
        ltv=margin_calls.told_ltv(worth),
        facts=facts,
    )


def close_repaid(rows: Sequence[Debt], *, at: datetime, reason: str = Debt.Closed.LIQUIDATED) -> None:
    for debt in rows:
        if debt.booked == 0 and debt.closed_at is None:
            debts.close(debt, reason=reason, at=at)


def close_soft(till: Till, rows: Sequence[Debt]) -> GroupState:
    """End the record of a chosen step in the transaction that began it; the group as it is then. R-FTR-05

    It is a step in history, not a liquidation: no call ends, nothing is told here, and a debt it repays to the last
    unit is repaid, since the borrower chose it.
    """
    row, at = till.row, till.at
    close_repaid(rows, at=at, reason=Debt.Closed.REPAID)
    after = book.state_of(row.group, at=at)
    row.status, row.ended_at = Liquidation.Status.STOPPED_HEALTHY, at
    row.end_ltv = margin_calls.told_ltv(after.worth(permission=False))
    step_taken(till, after=after)
    row.save(update_fields=["status", "ended_at", "end_ltv"])
    groups.release_if_empty(row.group, at)
    return after


@exact
def finish(till: Till, rows: Sequence[Debt], *, keep_open: bool = False) -> Liquidation:
    """Everything that could be sold for `rows` was: close what is repaid, leave over or keep what is not.

    `rows` in their order (R-GEN-71). What stays short gets the fees of earlier steps first (R-GEN-76), then it is
    residual debt (R-GEN-78), unless coins whose price is not known keep it in the group.
    """
    row, at = till.row, till.at
    if not keep_open and till.fee_usd > 0 and any(debt.booked for debt in rows):
        fees.give_back(till, rows)
    end_ltv = _ltv_now(till, rows)
    close_repaid(rows, at=at)
    short = [debt for debt in rows if debt.booked]
    if not keep_open:
        for debt in short:
            debts.make_residual(debt, at=at)
            row.shortfall_usd += debt.booked * till.state.quotes[debt.asset_id].price
    status = Liquidation.Status.DONE_SHORTFALL if short else Liquidation.Status.DONE_SURPLUS
    return _end(till, rows, status=status, end_ltv=end_ltv)


def stop(till: Till, rows: Sequence[Debt]) -> Liquidation:
    """LTV is at its target or below: what is still owed stays in the group and goes on accruing. R-GEN-70"""
    end_ltv = _ltv_now(till, rows)
    close_repaid(rows, at=till.at)
    return _end(till, rows, status=Liquidation.Status.STOPPED_HEALTHY, end_ltv=end_ltv)


def _ltv_now(till: Till, rows: Sequence[Debt]) -> Decimal | None:
    return margin_calls.told_ltv(sales.left(till, rows).worth(permission=False))


def _end(till: Till, rows: Sequence[Debt], *, status: str, end_ltv: Decimal | None) -> Liquidation:
    row = till.row
    row.status, row.ended_at, row.end_ltv = status, till.at, end_ltv
    if till.sales and row.mode == Mode.FULL:
        row.steps = 1
    _write_sums(till, "status", "ended_at", "end_ltv", "steps")
    facts = _facts(till)
    RiskEvent.objects.create(
        group=row.group, kind=RiskEvent.Kind.LIQUIDATION_ENDED, at=till.at, ltv=end_ltv, facts=facts
    )
    end_call(row, at=till.at)
    _tell(till, event=f"liquidation:{row.pk}", title=_title(row, rows), body=_body(till, rows), facts=facts)
    groups.release_if_empty(row.group, till.at)
    return row


def _write_sums(till: Till, *more: str) -> None:
    row = till.row
    row.sold_usd = round_down(till.sold_usd, USD_PLACES)
    row.fee_usd = round_down(till.fee_usd, USD_PLACES)
    row.shortfall_usd = round_down(Decimal(row.shortfall_usd), USD_PLACES)
    row.save(update_fields=[*MONEY_FIELDS, *more])


def _facts(till: Till) -> dict[str, object]:
    row = till.row
    return {
        "liquidation": row.pk,
        "cause": row.cause,
        "mode": row.mode,
        "status": row.status,
        "steps": row.steps,
        **{name: f"{getattr(row, name):f}" for name in MONEY_FIELDS},
    }


def end_call(row: Liquidation, *, at: datetime) -> None:
    """A sale for LTV, or by hand, takes the call's place: what the call still had to say is dropped. R-GEN-61"""
    if row.cause == Liquidation.Cause.OVERDUE:
        return
    call = margin_calls.open_call(row.group)
    if call is not None:
        margin_calls.end(call=call, how=MarginCall.Ended.LIQUIDATED, ltv=None, at=at)


# --- What is said -----------------------------------------------------------------------------------------


def tell_begun(till: Till) -> None:
    """The first step of several: said at once, since coins are gone and accounts are locked. R-GEN-61"""
    row, at = till.row, till.at
    end_call(row, at=at)
    body = [
        f"Collateral of {row.group.name} ({row.group}) is being sold since {at:%Y-%m-%d %H:%M:%S} UTC: {_why(row)}.",
        *_taken(till.sales),
        f"It goes on in steps until LTV is at {row.target:.2%} or nothing is owed. Until then the collateral"
        " accounts are locked for withdrawals, trades and changes. Deposits and repayments are accepted at any"
        " time and make the next step smaller, or needless.",
    ]
    title = f"Liquidation: collateral of {row.group.name} is being sold in steps"
    _tell(till, event=f"liquidation:{row.pk}:begun", title=title, body="\n".join(body), facts=_facts(till))


def _tell(till: Till, *, event: str, title: str, body: str, facts: dict[str, object]) -> None:
    row = till.row
    told = {"ltv": None if row.ltv is None else f"{row.ltv:f}", "prices": row.snapshot["prices"]}
    if row.end_ltv is not None:
        told["end_ltv"] = f"{row.end_ltv:f}"
    notices.send(
        customer=row.group.customer,
        event=event,
        kind="liquidation",
        title=title,
        body=body,
        facts=facts | told,
        at=till.at,
    )


def _title(row: Liquidation, rows: Sequence[Debt]) -> str:
    if row.status == Liquidation.Status.STOPPED_HEALTHY:
        return f"Liquidation of {row.group.name} stopped: LTV is back at its target"
    left = "; some debt is left" if any(debt.booked for debt in rows) else ""
    return f"Liquidation: collateral of {row.group.name} was sold{left}"


def _why(row: Liquidation) -> str:
    if row.cause == Liquidation.Cause.OVERDUE:
        return "the loan was not repaid in its overdue period"
    if row.cause == Liquidation.Cause.MANUAL:
        return "the desk decided to sell, by two people"
    ltv = "beyond measure" if row.ltv is None else f"{int(row.ltv * 10000) / Decimal(100):f} %"
    line = Decimal(row.snapshot["lines"]["liquidation"])
    return f"its loan-to-value ratio was {ltv} (the liquidation line is {line:.2%})"


def _until(row: Liquidation) -> str:
    if row.ended_at is None or row.ended_at == row.started_at:
        return ""
    return f", in {row.steps} steps until {row.ended_at:%Y-%m-%d %H:%M:%S} UTC"


def _taken(taken: Sequence[Sale]) -> list[str]:
    return [
        f"  {sale.sold:f} {sale.coin_id} from account {sale.account_id} at {sale.price.normalize():f} USD"
        f" for {sale.proceeds:f} {sale.debt.asset_id}, of which {sale.fee:f} is the fee"
        for sale in taken
    ]


def _body(till: Till, rows: Sequence[Debt]) -> str:
    row = till.row
    is_all = len(till.sales) == till.steps  # else earlier transactions sold too
    sold = till.sales if is_all else list(row.sales.select_related("debt").order_by("step"))
    left = [f"  {debt.booked:f} {debt.asset_id}" for debt in rows if debt.booked]
    lines = [
        f"Collateral of {row.group.name} ({row.group}) was taken at {row.started_at:%Y-%m-%d %H:%M:%S} UTC"
        f"{_until(row)}: {_why(row)}.",
        *_taken(sold),
    ]
    if row.status == Liquidation.Status.STOPPED_HEALTHY:
        lines.append(
            f"LTV is at {row.target:.2%} or below again, so nothing more is sold; your accounts are free."
        )
        lines += ["Still owed, and secured as before:", *left] if left else ["Nothing is owed any more."]
    elif left:
        lines += ["Still owed, as the collateral did not cover it:", *left]
    else:
        lines.append("The debt is repaid. What was not needed stays in your accounts.")
    return "\n".join(lines)
