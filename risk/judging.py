"""One group under its lock: read it exactly, then do what its state asks for.

A warning, a call, a delay, a sale or a further step of one, or a step that the borrower chose: which of them is
decided by the pure rules (risk/readings.py) on rows and prices read after the lock was taken. Everything here runs
in the transaction of the sweep that holds it. R-GEN-22, 23, 24, 41, 44, 61, 62, 63, 64, 70, R-VIP-60, 61, 62, 63,
R-FTR-05
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal

from accounts import notices
from risk import (
    book,
    delays,
    deleveraging,
    early_warnings,
    freezes,
    liquidation,
    margin_calls,
    parameters,
    prices,
    readings,
)
from risk.book import GroupState
from risk.handling import Handling, Mode
from risk.levels import Band
from risk.models import CollateralGroup, Freeze, Liquidation, LiquidationDelay, RiskEvent, Settings
from risk.readings import SELLS, Bounds, Clocks, DelayStep, Reading, Waits

LONGEST_WAIT = timedelta(minutes=1)  # no pass holds on longer between reading the clock and deciding


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one decision did. `band` None: blind, or there was nothing to decide. `soft_id`: a chosen step's row."""

    band: Band | None = None
    blind: bool = False
    called: bool = False
    liquidation_id: int | None = None
    soft_id: int | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """One group as it is judged: its state under the lock, its delay, its warning lines, its de-leveraging."""

    group: CollateralGroup
    state: GroupState
    clock: delays.Clock
    warnings: Sequence[early_warnings.Crossing]
    settings: Settings
    at: datetime
    soft: deleveraging.Live | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a case comes to. `paused`: by whose order nothing is sold now, where that is all that keeps it.

    `softens`: a step of the borrower's own de-leveraging is to be taken.
    """

    reading: Reading
    step: DelayStep
    sells: bool = False
    softens: bool = False
    paused: Freeze | None = None


def cases(groups: Sequence[CollateralGroup], at: datetime) -> list[Case]:
    """What the groups, locked, are judged on; a handful of queries for all of them."""
    settings, states = parameters.settings_at(at), book.states(groups, at=at)
    clocks = delays.clocks(groups, settings=settings, at=at)
    warnings = early_warnings.lines_of(groups, settings=settings)
    soft = deleveraging.live(groups)
    return [
        Case(
            group=group,
            state=states[group.pk],
            clock=clocks.get(group.pk, delays.Clock()),
            warnings=warnings.get(group.pk, ()),
            settings=settings,
            at=at,
            soft=soft.get(group.pk),
        )
        for group in groups
    ]


def decide(case: Case, *, may_sell: bool) -> Outcome | None:
    """Do what the case asks for; None and nothing done when that is to sell, and it may not here."""
    if not case.state.debts:
        return _settle(case)
    judged = _judge(case)
    if (judged.sells or judged.softens) and not may_sell:
        return None
    _remember(case, judged.reading)
    if judged.reading.band is None:
        return Outcome(blind=True)
    called = False
    if not case.state.is_liquidating:  # a running sale is told by itself
        called = margin_calls.follow(
            group=case.group,
            state=case.state,
            band=judged.reading.band,
            settings=case.settings,
            at=case.at,
        )
        _warn(case, judged.reading.band)
    if judged.sells:
        return _sell(case, judged, called=called)
    if judged.softens:
        return _soften(case, judged, called=called)
    if judged.paused is not None:
        _tell_of_pause(case, judged.paused)
    else:
        _follow_delay(case, judged.step)
    if judged.reading.band == Band.LIQ and case.clock.running is None and judged.step is DelayStep.NONE:
        _tell_of_grace(case, judged.reading)
    return Outcome(band=judged.reading.band, called=called)


def _judge(case: Case) -> Judgement:
    """The reading, what it does to a delay, and whether something must be sold now. Changes nothing."""
    group, state, waits = case.group, case.state, waits_of(case.settings)
    seen = readings.bounds(
        holdings=state.holdings(permission=False), debts=state.owed(), stale=state.stale_coins
    )
    reading = readings.read(
        seen=seen,
        debts_fresh=not state.stale_debts,
        newest_price_at=state.newest_price_at,
        lines=state.lines,
        clocks=Clocks(
            breach_seen_at=group.breach_seen_at, blind_since=group.blind_since, grace_until=group.grace_until
        ),
        waits=waits,
        at=case.at,
    )
    step = readings.delayed(
        reading=reading,
        seen=seen,
        lines=state.lines,
        delay=case.clock.as_read,
        called_since=_called_since(case),
        newest_price_at=state.newest_price_at,
        waits=waits,
        at=case.at,
    )
    if state.is_liquidating:
        until = reading.clocks.grace_until
        in_grace = until is not None and case.at < until and not reading.must_liquidate
        sells = reading.band is not None and not in_grace
    else:
        sells = step in SELLS or (step is DelayStep.NONE and reading.must_liquidate)
    if not sells and step is not DelayStep.START:
        return Judgement(reading, step, softens=_softens(case, reading, seen, step))
    paused = freezes.liquidation_paused(group, case.at)
    return Judgement(reading, step, sells=sells and paused is None, paused=paused)


def _softens(case: Case, reading: Reading, seen: Bounds, step: DelayStep) -> bool:
    """Whether the borrower's own de-leveraging takes a step: surely, confirmed, and by nobody stopped. R-FTR-05"""
    soft, state, waits = case.soft, case.state, waits_of(case.settings)
    if soft is None or state.is_liquidating or step is not DelayStep.NONE:
        return False
    asks = readings.softens(
        reading=reading,
        seen=seen,
        start=soft.row.start,
        last_step_at=soft.last_step_at,
        rest=timedelta(seconds=case.settings.soft_step_seconds),
        at=case.at,
    )
    if not asks or deleveraging.is_stopped(state, at=case.at):
        return False
    if waits.confirm == 0:
        return True
    before = deleveraging.seen_before(state, waits=waits)
    return before is not None and before.best is not None and before.best.is_at_least(soft.row.start)


def _called_since(case: Case) -> datetime | None:
    """When an earlier reading put a group with a delay at or over its margin call line; None: none did."""
    if case.clock.running is None:
        return None
    call = margin_calls.open_call(case.group)
    known = [case.group.breach_seen_at, call.opened_at if call else None]
    return min((instant for instant in known if instant is not None), default=None)


def _sell(case: Case, judged: Judgement, *, called: bool) -> Outcome:
    outcome = Outcome(band=judged.reading.band, called=called)
    newer = _newer(case)
    if newer is not None:
        case, judged = newer, _judge(newer)
        if not judged.sells:
            return outcome  # the next pass follows what they say
    group, state, at, delay = case.group, case.state, case.at, case.clock.running
    if state.is_liquidating:
        row = Liquidation.objects.get(group=group, status=Liquidation.Status.RUNNING)
        return replace(outcome, liquidation_id=liquidation.carry_on(row=row, state=state, at=at).pk)
    sold = liquidation.liquidate(state=state, at=at, handling=_handling(case, judged.step))
    if sold is None:
        return outcome
    if delay is not None:
        delays.finish(row=delay, how=judged.step.value, group=group, state=state, at=at)
    return replace(outcome, liquidation_id=sold.pk)


def _soften(case: Case, judged: Judgement, *, called: bool) -> Outcome:
    outcome = Outcome(band=judged.reading.band, called=called)
    newer = _newer(case)
    if newer is not None:
        case = newer
        if not _judge(case).softens:
            return outcome
    assert case.soft is not None
    taken = deleveraging.step(row=case.soft.row, state=case.state, settings=case.settings, at=case.at)
    return outcome if taken is None else replace(outcome, soft_id=taken.pk)


def _newer(case: Case) -> Case | None:
    """The case on what is known by now, if it waited: else a slow pass would never sell; None: nothing is newer."""
    coins = case.state.owed_assets | case.state.coins
    newest = prices.newest_after(case.at, until=case.at + LONGEST_WAIT, assets=coins)
    if newest is None:
        return None
    return replace(case, state=book.state_of(case.group, at=newest), at=newest)


def _handling(case: Case, step: DelayStep) -> Handling | None:
    """As in force, except where a delay ran out below the liquidation line: in steps, to initial. R-VIP-62"""
    if step is not DelayStep.STEPPED:
        return None
    return replace(case.state.handling, mode=Mode.STEPPED, target=None)


def _follow_delay(case: Case, step: DelayStep) -> None:
    """What a delay's clock asks for where nothing is sold. R-VIP-60, R-VIP-62"""
    group, state, at, row = case.group, case.state, case.at, case.clock.running
    if step is DelayStep.START:
        assert case.clock.enrolment is not None
        delays.start(enrolment=case.clock.enrolment, group=group, state=state, settings=case.settings, at=at)
    elif row is not None and step is DelayStep.WAIT:
        delays.remind(row=row, group=group, state=state, at=at)
    elif row is not None and step not in SELLS:
        delays.finish(row=row, how=step.value, group=group, state=state, at=at)


def _warn(case: Case, band: Band) -> None:
    early_warnings.follow(
        group=case.group,
        state=case.state,
        band=band,
        lines=case.warnings,
        settings=case.settings,
        at=case.at,
    )


def waits_of(settings: Settings) -> Waits:
    return Waits(
        confirm=settings.confirm_seconds,
        outage=settings.outage_seconds,
        outage_grace=settings.outage_grace_seconds,
    )


# --- What a reading leaves behind ---------------------------------------------------------------------------


def _remember(case: Case, reading: Reading) -> None:
    """The group's band and clocks, and an event for each change that people should see."""
    group, state, at = case.group, case.state, case.at
    before = Clocks(
        breach_seen_at=group.breach_seen_at, blind_since=group.blind_since, grace_until=group.grace_until
    )
    band = group.band if reading.band is None else reading.band.value
    if (before, group.band) == (reading.clocks, band):
        return
    ltv = margin_calls.told_ltv(state.worth(permission=False))
    facts = margin_calls.snapshot(state)
    told: list[tuple[str, dict[str, object]]] = []
    if reading.clocks.blind_since is not None and before.blind_since is None:
        told.append((RiskEvent.Kind.BLIND, {"stale": sorted({*state.stale_debts, *state.stale_coins})}))
    if reading.clocks.blind_since is None and before.blind_since is not None:
        told.append((RiskEvent.Kind.SIGHTED, {"blind_since": before.blind_since.isoformat()}))
    if reading.clocks.grace_until not in (None, before.grace_until):
        told.append((RiskEvent.Kind.GRACE, {"until": reading.clocks.grace_until.isoformat()}))
    if band != group.band:
        told.append((RiskEvent.Kind.BAND, {"from": group.band, "to": band}))
    for field in fields(Clocks):
        setattr(group, field.name, getattr(reading.clocks, field.name))
    group.band = band
    group.save(update_fields=["band", *(field.name for field in fields(Clocks))])
    RiskEvent.objects.bulk_create(
        RiskEvent(group=group, kind=kind, at=at, ltv=ltv, facts=facts | more) for kind, more in told
    )


def _settle(case: Case) -> Outcome:
    """A group that owes nothing: safe, unwatched, not called any more, without a delay."""
    group = case.group
    call = margin_calls.open_call(group)
    if call is not None:
        margin_calls.end(call=call, how="cured", ltv=Decimal(0), at=case.at)
    if case.clock.running is not None:
        settled = LiquidationDelay.Ended.SETTLED
        delays.finish(row=case.clock.running, how=settled, group=group, state=case.state, at=case.at)
    sale = Liquidation.objects.filter(group=group, status=Liquidation.Status.RUNNING).first()
    if sale is not None:  # repaid between two steps; this only ends it
        liquidation.carry_on(row=sale, state=case.state, at=case.at)
    _warn(case, Band.SAFE)
    if group.closed_at is None:
        _remember(case, Reading(band=Band.SAFE, clocks=Clocks(grace_until=group.grace_until)))
    return Outcome(band=Band.SAFE)


def _tell_of_pause(case: Case, pause: Freeze) -> None:
    """Its collateral would be sold, were it not for an order of the desk: say so once per pause. R-ADM-05"""
    group, state = case.group, case.state
    initial = margin_calls.cure_to(state=state, line=state.lines.initial, strictly_below=False)
    worth = state.worth(permission=False)
    notices.send(
        customer=group.customer,
        event=f"pause:{group.pk}:{pause.pk}",
        kind="liquidation_paused",
        title=f"LTV of {group.name} is {margin_calls.percent(worth)}: your collateral is to be sold",
        body="\n".join(
            [
                f"{group.name} ({group}) would be liquidated now. The desk has paused liquidations until"
                f" {pause.ends_at:%Y-%m-%d %H:%M} UTC at the latest; when the pause ends, collateral is sold"
                " unless LTV is lower by then.",
                "",
                f"To get back to the initial line of {state.lines.initial:.2%}:"
                f" {margin_calls.ways(state, initial)}.",
                f"Prices used: {margin_calls.prices_used(state)}. They move; so do these amounts.",
            ]
        ),
        facts=margin_calls.snapshot(state)
        | {"to_initial": margin_calls.cure_facts(initial), "paused_until": pause.ends_at.isoformat()},
        at=case.at,
    )


def _tell_of_grace(case: Case, reading: Reading) -> None:
    """Over the liquidation line, and only a grace is in the way: say so once, with what would help. R-GEN-24"""
    group, state, at = case.group, case.state, case.at
    until = reading.clocks.grace_until
    if until is None or at >= until:
        return
    lines, worth = state.lines, state.worth(permission=False)
    below = margin_calls.cure_to(state=state, line=lines.liquidation, strictly_below=True)
    initial = margin_calls.cure_to(state=state, line=lines.initial, strictly_below=False)
    notices.send(
        customer=group.customer,
        event=f"grace:{group.pk}:{until.isoformat()}",
        kind="grace",
        title=f"LTV of {group.name} is {margin_calls.percent(worth)}: your collateral will be sold",
        body="\n".join(
            [
                f"{group.name} ({group}) is over its liquidation line of {lines.liquidation:.2%}. Because prices"
                f" were not available for a while, nothing is sold before {until:%Y-%m-%d %H:%M:%S} UTC, unless"
                f" LTV rises above {lines.cutoff:.2%}.",
                "",
                f"To get below the liquidation line: {margin_calls.ways(state, below)}.",
                f"To get back to the initial line of {lines.initial:.2%}: {margin_calls.ways(state, initial)}.",
            ]
        ),
        facts=margin_calls.snapshot(state) | {"grace_until": until.isoformat()},
        at=at,
    )
