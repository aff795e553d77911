"""What a liquidation writes down and tells: the record at its start, after each step and at its end (R-GEN-81).

Part of a liquidation's story (risk/liquidation.py), inside its transaction and under its locks. The row keeps
what there was and what it led to, risk events keep the steps, the customer gets one notice when a liquidation in
steps begins and one when any liquidation is over (R-GEN-61).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection
from django.db.models import Max

from accounts import books, ledger, notices
from accounts.models import LedgerAccount
from accounts.money import ZERO, exact, round_down
from accounts.words import joined, tell
from risk import book, debts, fees, groups, margin_calls, pace, sales, steps
from risk.book import GroupState
from risk.handling import Handling, Mode
from risk.models import Debt, Liquidation, MarginCall, RiskEvent, Sale
from risk.sales import Till
from risk.waterfall import fee_on_debt

USD_PLACES = 18  # of the value columns
MONEY_FIELDS = ["sold_usd", "fee_usd", "shortfall_usd"]


@dataclass(frozen=True, slots=True)
class Opening:
    """A liquidation that is about to begin: of what, for which debts in their order, and how."""

    state: GroupState
    rows: Sequence[Debt]
    cause: str
    handling: Handling
    mode: Mode


@dataclass(frozen=True, slots=True)
class Ending:
    """One that has sold for `rows`, in their order, what it could; `keep_open`: more may be sold for them later."""

    till: Till
    rows: Sequence[Debt]
    keep_open: bool = False


def start(*openings: Opening, slippage: Decimal, at: datetime) -> list[Till]:
    """Open the records, each with the snapshot of what there is, and the tills they are worked from together."""
    tills = open_records(*openings, slippage=slippage, at=at)
    RiskEvent.objects.bulk_create(
        RiskEvent(
            group=till.row.group,
            kind=RiskEvent.Kind.LIQUIDATION_STARTED,
            at=at,
            ltv=till.row.ltv,
            facts={"liquidation": till.row.pk, "cause": till.row.cause, "mode": till.row.mode}
            | margin_calls.snapshot(till.state),
        )
        for till in tills
    )
    return tills


def open_records(*openings: Opening, slippage: Decimal, at: datetime) -> list[Till]:
    """The rows with their snapshots and their tills, without a word in history."""
    rows = Liquidation.objects.bulk_create(_opened(one, slippage=slippage, at=at) for one in openings)
    return _tills([(row, one.state) for row, one in zip(rows, openings, strict=True)], slippage, at)


def _opened(one: Opening, *, slippage: Decimal, at: datetime) -> Liquidation:
    state, handling = one.state, one.handling
    assert state.group is not None
    worth = state.worth(permission=False)
    fee_rate = fee_on_debt(base=handling.fee_base, rate=state.lines.fee, assets=worth.market, debt=worth.debt)
    snapshot = margin_calls.snapshot(state) | {
        "wallets": _wallets_told(state),
        "debts": [_told(debt) for debt in one.rows],
        "slippage": f"{slippage:f}",
        "fee_on_debt": f"{fee_rate:f}",
    }
    return Liquidation(
        group=state.group,
        debt=one.rows[0] if one.cause == Liquidation.Cause.OVERDUE else None,
        cause=one.cause,
        started_at=at,
        debt_value=round_down(worth.debt, USD_PLACES),
        collateral_value=round_down(worth.collateral, USD_PLACES),
        market_value=round_down(worth.market, USD_PLACES),
        ltv=worth.told_ltv,
        mode=one.mode.value,
        target=steps.target_of(state, handling) if one.mode is Mode.STEPPED else None,
        fee_base=handling.fee_base.value,
        snapshot=snapshot,
    )


def reopen(row: Liquidation, state: GroupState, *, slippage: Decimal, at: datetime) -> Till:
    """The till of a liquidation that is running, with the fee rate fixed at its start."""
    [till] = _tills([(row, state)], slippage, at)
    till.steps = row.sales.aggregate(last=Max("step"))["last"] or 0
    till.sold_usd, till.fee_usd = row.sold_usd, row.fee_usd
    return till


def _tills(opened: Sequence[tuple[Liquidation, GroupState]], slippage: Decimal, at: datetime) -> list[Till]:
    batch, bounded = ledger.Batch(_chart_of([state for _, state in opened])), pace.bounded_at(at)
    unsaved: list[Sale] = []
    return [
        Till(
            row=row,
            state=state,
            slippage=slippage,
            at=at,
            balances=sales.collateral_of(state),
            fee_rate=Decimal(row.snapshot["fee_on_debt"]),
            batch=batch,
            unsaved=unsaved,
            bounded=bounded,
        )
        for row, state in opened
    ]


def _chart_of(states: Iterable[GroupState]) -> books.Chart:
    """Every ledger account that sales of these groups may name, in one query."""
    kind, codes = LedgerAccount.Kind, set[str]()
    everywhere = (kind.CUSTODY, kind.POOL, kind.POSITION)
    for_debts = (kind.FEE_INCOME, kind.LATE_FEE, kind.INTEREST, kind.PRINCIPAL)
    for state in states:
        debts = {owed.debt.asset_id for owed in state.debts}
        codes |= {books.code_of(one, coin) for one in everywhere for coin in debts | state.coins}
        codes |= {books.code_of(one, coin) for one in for_debts for coin in debts}
        codes |= {
            books.code_of(book.WALLET, wallet.asset, wallet.uid)
            for wallet in state.wallets
            if wallet.balance > 0
        }
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
    _sum_up(till)
    row.save(update_fields=[*MONEY_FIELDS, "steps"])
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
        ltv=worth.told_ltv,
        facts=facts,
    )


def close_repaid(rows: Iterable[Debt], *, at: datetime, reason: str = Debt.Closed.LIQUIDATED) -> None:
    debts.close(*(debt for debt in rows if debt.booked == 0 and debt.closed_at is None), reason=reason, at=at)


def close_soft(till: Till, rows: Sequence[Debt]) -> GroupState:
    """End the record of a chosen step in the transaction that began it; the group as it is then. R-FTR-05

    It is a step in history, not a liquidation: no call ends, nothing is told here, and a debt it repays to the last
    unit is repaid, since the borrower chose it.
    """
    row, at = till.row, till.at
    close_repaid(rows, at=at, reason=Debt.Closed.REPAID)
    after = book.state_of(row.group, at=at)
    row.status, row.ended_at = Liquidation.Status.STOPPED_HEALTHY, at
    row.end_ltv = after.worth(permission=False).told_ltv
    step_taken(till, after=after)
    row.save(update_fields=["status", "ended_at", "end_ltv"])
    groups.release_empty(row.group, at=at)
    return after


@exact
def finish(*endings: Ending) -> None:
    """Everything that could be sold was: close what is repaid, leave over or keep what is not. R-GEN-71

    What stays short gets the fees of earlier steps first (R-GEN-76), then it is residual debt (R-GEN-78), unless
    coins whose price is not known keep it in the group.
    """
    if not endings:
        return
    at, left = endings[0].till.at, []
    for one in endings:
        if not one.keep_open and one.till.fee_usd > 0 and any(debt.booked for debt in one.rows):
            fees.give_back(one.till, one.rows)
        one.till.row.end_ltv = _ltv_now(one.till, one.rows)
    close_repaid([debt for one in endings for debt in one.rows], at=at)
    for one in endings:
        row, short = one.till.row, [debt for debt in one.rows if debt.booked]
        row.status = Liquidation.Status.DONE_SHORTFALL if short else Liquidation.Status.DONE_SURPLUS
        if not one.keep_open:
            left += short
            row.shortfall_usd += sum(
                (debt.booked * one.till.state.quotes[debt.asset_id].price for debt in short), ZERO
            )
    debts.make_residual(*left, at=at)
    _end(*endings)


def stop(till: Till, rows: Sequence[Debt]) -> Liquidation:
    """LTV is at its target or below: what is still owed stays in the group and goes on accruing. R-GEN-70"""
    till.row.end_ltv, till.row.status = _ltv_now(till, rows), Liquidation.Status.STOPPED_HEALTHY
    close_repaid(rows, at=till.at)
    _end(Ending(till, rows))
    return till.row


def _ltv_now(till: Till, rows: Sequence[Debt]) -> Decimal | None:
    return sales.left(till, rows).worth(permission=False).told_ltv


def _end(*endings: Ending) -> None:
    """The rows have their status and their LTV by now. A constant number of statements, but for calls that end."""
    at, rows = endings[0].till.at, [one.till.row for one in endings]
    for one in endings:
        one.till.row.ended_at = at
        if one.till.sales and one.till.row.mode == Mode.FULL:
            one.till.row.steps = 1
        _sum_up(one.till)
    columns = zip(*(tuple(getattr(row, name) for name in ENDED_FIELDS) for row in rows), strict=True)
    with connection.cursor() as cursor:
        cursor.execute(_ENDED, [list(column) for column in columns])
    RiskEvent.objects.bulk_create(
        RiskEvent(
            group=one.till.row.group,
            kind=RiskEvent.Kind.LIQUIDATION_ENDED,
            at=at,
            ltv=one.till.row.end_ltv,
            facts=_facts(one.till),
        )
        for one in endings
    )
    end_calls(rows, at=at)
    notices.send_all([_last_word(one) for one in endings], at=at)
    groups.release_empty(*(row.group for row in rows), at=at)


ENDED_FIELDS = ("pk", "status", "ended_at", "end_ltv", "steps", *MONEY_FIELDS)
_ENDED = """
    UPDATE risk_liquidation l SET status = v.status, ended_at = v.ended_at, end_ltv = v.end_ltv, steps = v.steps,
            sold_usd = v.sold, fee_usd = v.fee, shortfall_usd = v.shortfall
        FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], %s::numeric[], %s::int[], %s::numeric[],
            %s::numeric[], %s::numeric[]) AS v (id, status, ended_at, end_ltv, steps, sold, fee, shortfall)
        WHERE l.id = v.id
"""


def _sum_up(till: Till) -> None:
    row = till.row
    row.sold_usd = round_down(till.sold_usd, USD_PLACES)
    row.fee_usd = round_down(till.fee_usd, USD_PLACES)
    row.shortfall_usd = round_down(Decimal(row.shortfall_usd), USD_PLACES)


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


def end_calls(rows: Iterable[Liquidation], *, at: datetime) -> None:
    """A sale for LTV, or by hand, takes the call's place: what the call still had to say is dropped. R-GEN-61"""
    for_ltv = [row.group for row in rows if row.cause != Liquidation.Cause.OVERDUE]
    for call in margin_calls.open_calls(for_ltv).values() if for_ltv else ():
        margin_calls.end(call=call, how=MarginCall.Ended.LIQUIDATED, ltv=None, at=at)


# --- What is said -----------------------------------------------------------------------------------------


def tell_begun(till: Till) -> None:
    """The first step of several: said at once, since coins are gone and accounts are locked. R-GEN-61"""
    row, at = till.row, till.at
    end_calls([row], at=at)
    body = [
        tell(
            "Collateral of {group} ({group2}) is being sold since {at:%Y-%m-%d %H:%M:%S} UTC: {row}.",
            group=row.group.name,
            group2=row.group,
            at=at,
            row=_why(row),
        ),
        *_taken(till.sales),
        tell(
            "It goes on in steps until LTV is at {target:.2%} or nothing is owed. Until then the"
            " collateral accounts are locked for withdrawals, trades and changes. Deposits and"
            " repayments are accepted at any time and make the next step smaller, or needless.",
            target=row.target,
        ),
    ]
    title = tell("Liquidation: collateral of {group} is being sold in steps", group=row.group.name)
    said = _message(till, event=f"liquidation:{row.pk}:begun", title=title, body=joined("\n", body))
    notices.send_all([said], at=at)


def _last_word(one: Ending) -> notices.Message:
    row = one.till.row
    return _message(
        one.till, event=f"liquidation:{row.pk}", title=_title(row, one.rows), body=_body(one.till, one.rows)
    )


def _message(till: Till, *, event: str, title: str, body: str) -> notices.Message:
    row = till.row
    told = {"ltv": None if row.ltv is None else f"{row.ltv:f}", "prices": row.snapshot["prices"]}
    if row.end_ltv is not None:
        told["end_ltv"] = f"{row.end_ltv:f}"
    return notices.Message(
        customer=row.group.customer,
        event=event,
        kind="liquidation",
        title=title,
        body=body,
        facts=_facts(till) | told,
    )


def _title(row: Liquidation, rows: Sequence[Debt]) -> str:
    if row.status == Liquidation.Status.STOPPED_HEALTHY:
        return tell("Liquidation of {group} stopped: LTV is back at its target", group=row.group.name)
    left = tell("; some debt is left") if any(debt.booked for debt in rows) else ""
    return tell("Liquidation: collateral of {group} was sold{left}", group=row.group.name, left=left)


def _why(row: Liquidation) -> str:
    if row.cause == Liquidation.Cause.OVERDUE:
        return tell("the loan was not repaid in its overdue period")
    if row.cause == Liquidation.Cause.MANUAL:
        return tell("the desk decided to sell, by two people")
    ltv = (
        tell("beyond measure")
        if row.ltv is None
        else tell("{ltv:f} %", ltv=int(row.ltv * 10000) / Decimal(100))
    )
    line = Decimal(row.snapshot["lines"]["liquidation"])
    return tell("its loan-to-value ratio was {ltv} (the liquidation line is {line:.2%})", ltv=ltv, line=line)


def _until(row: Liquidation) -> str:
    if row.ended_at is None or row.ended_at == row.started_at:
        return ""
    return tell(
        ", in {steps} steps until {ended_at:%Y-%m-%d %H:%M:%S} UTC", steps=row.steps, ended_at=row.ended_at
    )


def _taken(taken: Sequence[Sale]) -> list[str]:
    return [
        tell(
            "  {sold:f} {coin} from account {account} at {price:f} USD for {proceeds:f} {asset}, of"
            " which {fee:f} is the fee",
            sold=sale.sold,
            coin=sale.coin_id,
            account=sale.account_id,
            price=sale.price.normalize(),
            proceeds=sale.proceeds,
            asset=sale.debt.asset_id,
            fee=sale.fee,
        )
        for sale in taken
    ]


def _body(till: Till, rows: Sequence[Debt]) -> str:
    row = till.row
    is_all = len(till.sales) == till.steps  # else earlier transactions sold too
    sold = till.sales if is_all else list(row.sales.select_related("debt").order_by("step"))
    left = [
        tell("  {booked:f} {asset}", booked=debt.booked, asset=debt.asset_id) for debt in rows if debt.booked
    ]
    lines = [
        tell(
            "Collateral of {group} ({group2}) was taken at {started_at:%Y-%m-%d %H:%M:%S} UTC{row}: {row2}.",
            group=row.group.name,
            group2=row.group,
            started_at=row.started_at,
            row=_until(row),
            row2=_why(row),
        ),
        *_taken(sold),
    ]
    if row.status == Liquidation.Status.STOPPED_HEALTHY:
        lines.append(
            tell(
                "LTV is at {target:.2%} or below again, so nothing more is sold; your accounts are free.",
                target=row.target,
            )
        )
        lines += (
            [tell("Still owed, and secured as before:"), *left]
            if left
            else [tell("Nothing is owed any more.")]
        )
    elif left:
        lines += [tell("Still owed, as the collateral did not cover it:"), *left]
    else:
        lines.append(tell("The debt is repaid. What was not needed stays in your accounts."))
    return joined("\n", lines)
