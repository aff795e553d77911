"""Chosen de-leveraging: sold from early, a little at a time and for a lower fee, because the borrower wants it so.

From 91 % nearly four fifths of a debt must go to reach 72 % (EX-11), so whoever prefers to lose less begins at 80 to
85 %. A step is taken only while LTV is surely at or over the chosen start, on two readings, and never past the
target. It is one liquidation record of cause SOFT, begun and ended in one transaction: it locks nothing between
steps, ends no margin call and uses up no delay; from the liquidation line on a real liquidation takes its place.

    choose  the borrower     start, target, share of the debt per step; replaces what was chosen before
    step    the sweep        risk/judging.py decides under the group's lock, risk/soft_plan.py says what to take
    end     the borrower     at once

R-FTR-05
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Max
from django.utils.dateparse import parse_datetime

from accounts import notices
from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Notice
from accounts.money import RATE_PLACES, ZERO, exact, round_down
from accounts.powers import MemberRule, Power
from accounts.words import joined, tell
from risk import (
    book,
    freezes,
    liquidation,
    margin_calls,
    parameters,
    prices,
    readings,
    records,
    sales,
    soft_plan,
)
from risk.book import GroupState
from risk.handling import Mode
from risk.levels import Action
from risk.models import CollateralGroup, Deleveraging, Liquidation, RiskEvent, Settings
from risk.readings import Bounds, Waits
from risk.sales import Progress
from risk.soft_plan import Choice

LEAST_SHARE, MOST_SHARE = Decimal("0.01"), Decimal("0.5")  # of the debt, in one step
TOLD_EVERY = timedelta(hours=1)  # after the first step, which is told at once
KIND = "soft_step"  # of its notices


class BadChoice(Refused):
    """The start, the target or the share is not where it may be."""

    code = "bad_deleveraging"


class AlreadyChosen(Refused):
    code = "deleveraging_already_chosen"


class NotChosen(Refused):
    code = "deleveraging_not_chosen"


class GroupClosed(Refused):
    code = "group_closed"


# --- The borrower's choice ----------------------------------------------------------------------------------


@command("soft.choose", returns=Deleveraging, member=MemberRule(Power.RULES))
def choose(
    *,
    group_id: int,
    start: Decimal,
    target: Decimal,
    step_share: Decimal,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> Deleveraging:
    """From now on, sell a little of the collateral whenever LTV is at `start` or more; fractions. R-FTR-05

    `start` is between the bounds in force, at or over the group's margin call line and below its liquidation line;
    `target` from the initial line to below `start`; `step_share` of the debt from 1 to 50 %. Replaces an earlier
    choice at once.

    Raises:
        GroupClosed: it owes nothing any more. BadChoice: a figure is out of its bounds.
        AlreadyChosen: exactly this stands already.
    """
    [group] = CollateralGroup.objects.locked(group_id)
    if group.closed_at is not None:
        raise GroupClosed(tell("{group} is closed; open a new loan to choose for it.", group=group.name))
    state = book.state_of(group, at=at)
    choice = Choice(start=start, target=target, step_share=step_share)
    refuse_bad_choice(state, choice, settings=parameters.settings_at(at))
    live = live_of([group]).get(group.pk)
    if live is not None:
        if choice_of(live) == choice:
            raise AlreadyChosen(
                tell(
                    "{group} is de-leveraged from {start} like this already.",
                    group=group.name,
                    start=_percent(start),
                )
            )
        _remove(live, at=at)
    row = Deleveraging.objects.create(
        group=group, start=start, target=target, step_share=step_share, set_at=at, set_by_id=actor.user_id
    )
    facts = {"start": f"{start:f}", "target": f"{target:f}", "step_share": f"{step_share:f}"}
    _record(state, facts | {"replaces": None if live is None else live.pk}, at=at)
    return row


@command("soft.end", returns=Deleveraging, member=MemberRule(Power.RULES))
def end(*, group_id: int, actor: Actor, at: datetime, key: str = "", reason: str = "") -> Deleveraging:
    """From now on nothing is sold before the liquidation line. R-FTR-05

    Raises:
        NotChosen: nothing is chosen, or not any more.
    """
    [group] = CollateralGroup.objects.locked(group_id)
    row = live_of([group]).get(group.pk)
    if row is None:
        raise NotChosen(
            tell("No de-leveraging is chosen for {group}; there is nothing to end.", group=group.name)
        )
    _remove(row, at=at)
    _record(book.state_of(group, at=at), {"ended": row.pk}, at=at)
    return row


def refuse_bad_choice(state: GroupState, choice: Choice, *, settings: Settings) -> None:
    """Say which figure is out of bounds, and what its bounds are.

    Raises:
        BadChoice: one of them is, or these lines leave no room at all.
    """
    lines = state.lines
    least, most = max(settings.soft_start_least, lines.margin_call), settings.soft_start_most
    if least > most or least >= lines.liquidation:
        raise BadChoice(
            tell(
                "De-leveraging begins from {soft_start_least} to {most}, at or over the margin call"
                " line of {margin_call} and below the liquidation line of {liquidation}; your lines"
                " leave no room for it. Ask your manager for other lines.",
                soft_start_least=_percent(settings.soft_start_least),
                most=_percent(most),
                margin_call=_percent(lines.margin_call),
                liquidation=_percent(lines.liquidation),
            )
        )
    if not (least <= choice.start <= most and choice.start < lines.liquidation):
        raise BadChoice(
            tell(
                "It may begin from {least} to {most}, below your liquidation line of {liquidation};"
                " not at {start}.",
                least=_percent(least),
                most=_percent(most),
                liquidation=_percent(lines.liquidation),
                start=_percent(choice.start),
            )
        )
    if not lines.initial <= choice.target < choice.start:
        raise BadChoice(
            tell(
                "The target must be from your initial line of {initial} to below the start of"
                " {start}; not {target}.",
                initial=_percent(lines.initial),
                start=_percent(choice.start),
                target=_percent(choice.target),
            )
        )
    if not LEAST_SHARE <= choice.step_share <= MOST_SHARE:
        raise BadChoice(
            tell(
                "One step repays from {least_share} to {most_share} of the debt; not {step_share}.",
                least_share=_percent(LEAST_SHARE),
                most_share=_percent(MOST_SHARE),
                step_share=_percent(choice.step_share),
            )
        )
    for value in (choice.start, choice.target, choice.step_share):
        if value != round_down(value, RATE_PLACES):
            raise BadChoice(
                tell("A percentage has at most ten decimals; {value} has more.", value=_percent(value))
            )


def _remove(row: Deleveraging, *, at: datetime) -> None:
    row.removed_at = at
    row.save(update_fields=["removed_at"])


def _record(state: GroupState, facts: Mapping[str, object], *, at: datetime) -> None:
    assert state.group is not None
    ltv = None if state.stale_debts else state.worth(permission=False).told_ltv
    RiskEvent.objects.create(
        group=state.group, kind=RiskEvent.Kind.SOFT_SET, at=at, ltv=ltv, facts=dict(facts)
    )


# --- What the sweep asks ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Live:
    """The choice that stands for a group, and when its last step was taken."""

    row: Deleveraging
    last_step_at: datetime | None


def choice_of(row: Deleveraging) -> Choice:
    return Choice(start=row.start, target=row.target, step_share=row.step_share)


def live_of(groups: Iterable[CollateralGroup]) -> dict[int, Deleveraging]:
    """What is chosen for these groups now, by the group's key. One query."""
    rows = Deleveraging.objects.filter(group__in=list(groups), removed_at__isnull=True)
    return {row.group_id: row for row in rows.order_by("pk")}


def live(groups: Iterable[CollateralGroup]) -> dict[int, Live]:
    """As `live_of`, with the last step of each. Two queries at most."""
    chosen = live_of(groups)
    if not chosen:
        return {}
    steps = Liquidation.objects.filter(group__in=chosen, cause=Liquidation.Cause.SOFT)
    last = dict(steps.values_list("group").annotate(Max("started_at")).order_by())
    return {pk: Live(row=row, last_step_at=last.get(pk)) for pk, row in chosen.items()}


def history(group: CollateralGroup) -> "list[Liquidation]":
    """The group's steps, newest first."""
    rows = Liquidation.objects.filter(group=group, cause=Liquidation.Cause.SOFT)
    return list(
        rows.prefetch_related("sales__coin", "sales__debt__asset").order_by("-started_at", "-pk")[:50]
    )


def seen_before(state: GroupState, *, waits: Waits) -> Bounds | None:
    """The group as it is, at the prices of the reading before; None where those were old. R-GEN-23

    The time of the first reading is kept nowhere: the prices of then are, and they say what it would have found.
    """
    then = readings.before_it(newest_price_at=state.newest_price_at, waits=waits, at=state.at)
    earlier = replace(state, quotes=prices.latest(at=then, assets=state.quotes))
    if earlier.stale_debts:
        return None
    return readings.bounds(
        holdings=earlier.holdings(permission=False), debts=earlier.owed(), stale=earlier.stale_coins
    )


def is_stopped(state: GroupState, *, at: datetime) -> bool:
    """Whether an order of the desk holds steps back. R-ADM-04, R-ADM-05

    What pauses a liquidation does; and, since a step is a trade and a repayment that the borrower wants, so does what
    stops them for the group, one of its accounts or one of its coins.
    """
    assert state.group is not None
    held = {wallet.asset for wallet in state.wallets if wallet.balance > 0} & state.coins
    return (
        freezes.liquidation_paused(state.group, at) is not None
        or freezes.is_frozen(Action.TRADE, at=at, uids=state.members, group=state.group, assets=held)
        or freezes.is_frozen(Action.REPAY, at=at, group=state.group, assets=state.owed_assets)
    )


def step(*, row: Deleveraging, state: GroupState, settings: Settings, at: datetime) -> Liquidation | None:
    """Take one step; None where there is nothing that would help, such as when the market takes no more.

    Inside a transaction that holds the group's lock and has just decided on `state` (risk/judging.py).
    """
    assert not state.stale_debts, "the reading would have been blind"
    assert not state.is_liquidating, "a liquidation takes its own steps"
    rows = liquidation.locked_in_order(state, at=at)
    choice = choice_of(row)
    takings = soft_plan.takings(state, rows, choice, settings=settings)
    if not takings:
        return None
    fee = soft_plan.fee_of(state, settings)
    opening = records.Opening(
        replace(state, lines=replace(state.lines, fee=fee)),
        rows,
        Liquidation.Cause.SOFT,
        soft_plan.handling_of(state, choice),
        Mode.STEPPED,
    )
    [till] = records.open_records(opening, slippage=settings.slippage, at=at)
    till.only_market = True
    progress = {debt.pk: Progress(debt=debt, fee_rate=till.fee_rate) for debt in rows}
    for taking in takings:
        sales.take(
            till,
            progress[taking.debt_id],
            coin=taking.coin,
            held=till.balances[taking.coin],
            with_fee=True,
            bears_fee=True,
            at_most=taking.repaid,
        )
    sales.write(till)
    after = records.close_soft(till, rows)
    _tell(till.row, row, after, at=at)
    return till.row


# --- What is said -------------------------------------------------------------------------------------------


def _tell(taken: Liquidation, chosen: Deleveraging, after: GroupState, *, at: datetime) -> None:
    """The first step at once, the following ones together, once an hour: a notice per minute is read by nobody.

    What is not told yet is a notice that waits for its hour; each further step replaces it by one that says more.
    """
    group = taken.group
    told = _last_told(group)
    since, tells_at = at, at
    if told is not None and at < told.until + TOLD_EVERY:
        is_waiting = at < told.until
        since = told.since if is_waiting else at
        tells_at = told.until if is_waiting else told.until + TOLD_EVERY
        if is_waiting:
            notices.drop_unsent(customer=group.customer, event_prefix=told.event, at=at)
    steps = Liquidation.objects.filter(
        group=group, cause=Liquidation.Cause.SOFT, started_at__gte=since, started_at__lte=at
    )
    rows = list(steps.prefetch_related("sales__debt").order_by("started_at", "pk"))
    notices.send(
        customer=group.customer,
        event=f"soft:{group.pk}:{taken.pk}:",
        kind=KIND,
        title=tell(
            "De-leveraging: {rows} of {group}, LTV is {after}",
            rows=_steps(rows),
            group=group.name,
            after=_ltv(after),
        ),
        body=_body(rows, chosen, after),
        facts=_facts(rows, after) | {"since": since.isoformat(), "told_at": tells_at.isoformat()},
        at=at,
        hold_seconds=int((tells_at - at).total_seconds()),
    )


@dataclass(frozen=True, slots=True)
class _Told:
    event: str
    since: datetime
    until: datetime  # when it goes out, with all steps until then


def _last_told(group: CollateralGroup) -> _Told | None:
    rows = Notice.objects.filter(customer=group.customer, kind=KIND, event__startswith=f"soft:{group.pk}:")
    row = rows.filter(dropped_at__isnull=True).order_by("-pk").first()
    if row is None:
        return None
    since, until = parse_datetime(row.facts["since"]), parse_datetime(row.facts["told_at"])
    assert since is not None
    assert until is not None
    return _Told(event=row.event, since=since, until=until)


def _body(rows: list[Liquidation], chosen: Deleveraging, after: GroupState) -> str:
    group, first, last = rows[-1].group, rows[0], rows[-1]
    span = tell("at {started_at:%Y-%m-%d %H:%M:%S} UTC", started_at=first.started_at)
    if last is not first:
        span = tell(
            "from {started_at:%Y-%m-%d %H:%M:%S} to {started_at2:%H:%M:%S} UTC",
            started_at=first.started_at,
            started_at2=last.started_at,
        )
    owed = joined(
        ", ",
        (tell("{total:f} {asset}", total=debt.parts.total, asset=debt.debt.asset_id) for debt in after.debts),
    )
    return joined(
        "\n",
        [
            tell(
                "You chose that collateral of {group} ({group2}) is sold a little at a time while LTV"
                " is {start} or more. {rows} {span}:",
                group=group.name,
                group2=group,
                start=_percent(chosen.start),
                rows=_steps(rows).capitalize(),
                span=span,
            ),
            *_taken(rows),
            tell("LTV was {ltv} before and is {after} now.", ltv=_told_percent(first.ltv), after=_ltv(after))
            + (tell(" Still owed: {owed}.", owed=owed) if owed else tell(" Nothing is owed any more.")),
            tell(
                "It goes on while LTV is {start} or more. Repaying or adding collateral makes it"
                " needless, and you can end it at any time on the page of the group.",
                start=_percent(chosen.start),
            ),
        ],
    )


def _taken(rows: list[Liquidation]) -> list[str]:
    """By coin and by the debt's coin, over all steps and accounts."""
    sums: dict[tuple[str, str], tuple[Decimal, Decimal, Decimal]] = {}
    for sale in [sale for row in rows for sale in row.sales.all()]:
        pair = (sale.coin_id, sale.debt.asset_id)
        sold, brought, fee = sums.get(pair, (ZERO, ZERO, ZERO))
        sums[pair] = (sold + sale.sold, brought + sale.proceeds, fee + sale.fee)
    return [
        tell(
            "  {sold:f} {coin} for {brought:f} {asset}, of which {fee:f} is the fee",
            sold=sold,
            coin=coin,
            brought=brought,
            asset=asset,
            fee=fee,
        )
        for (coin, asset), (sold, brought, fee) in sorted(sums.items())
    ]


def _facts(rows: list[Liquidation], after: GroupState) -> dict[str, object]:
    return margin_calls.snapshot(after) | {
        "steps": len(rows),
        "liquidation": rows[-1].pk,
        "sold_usd": f"{sum((row.sold_usd for row in rows), ZERO):f}",
        "fee_usd": f"{sum((row.fee_usd for row in rows), ZERO):f}",
    }


def _steps(rows: list[Liquidation]) -> str:
    return tell("one step") if len(rows) == 1 else tell("{count} steps", count=len(rows))


def _ltv(state: GroupState) -> str:
    return margin_calls.percent(state.worth(permission=False))


def _told_percent(ltv: Decimal | None) -> str:
    return tell("beyond measure") if ltv is None else tell("{ltv:f} %", ltv=int(ltv * 10000) / Decimal(100))


@exact
def _percent(fraction: Decimal) -> str:
    return tell("{value:f} %", value=(100 * fraction).normalize())
