"""One group under its lock: read it exactly, then do what its state asks for.

A warning, a call, a delay, a sale or a further step of one, or a step that the borrower chose: which of them is
decided by the pure rules (risk/readings.py) on rows and prices read after the lock was taken. Everything here runs
in the transaction of the sweep that holds it. R-GEN-22, 23, 24, 41, 44, 61, 62, 63, 64, 70, R-VIP-60, 61, 62, 63,
R-FTR-05
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import transaction

from risk import (
    book,
    delays,
    deleveraging,
    early_warnings,
    freezes,
    held_back,
    liquidation,
    margin_calls,
    pace,
    parameters,
    prices,
    readings,
    readings_left,
)
from risk.book import GroupState
from risk.handling import Handling, Mode
from risk.levels import Band
from risk.models import (
    CollateralGroup,
    Freeze,
    Liquidation,
    LiquidationDelay,
    MarginCall,
    Settings,
)
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
    call: MarginCall | None = None
    paces: Mapping[str, pace.Pace] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a case comes to. `paused`: by whose order nothing is sold now, where that is all that keeps it; `paced`: the
    coin of which enough was sold for now, likewise (R-FTR-22).

    `softens`: a step of the borrower's own de-leveraging is to be taken.
    """

    reading: Reading
    step: DelayStep
    sells: bool = False
    softens: bool = False
    paused: Freeze | None = None
    paced: pace.Pace | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What every group is judged on at an instant, whichever it is."""

    at: datetime
    settings: Settings
    market: book.Market
    paces: Mapping[str, pace.Pace]


def terms_at(at: datetime) -> Terms:
    return Terms(
        at=at, settings=parameters.settings_at(at), market=book.market_at(at), paces=pace.paces_at(at)
    )


def cases(groups: Sequence[CollateralGroup], at: datetime, terms: Terms | None = None) -> list[Case]:
    """What the groups, locked, are judged on; a handful of queries for all of them. `terms`: those of `at`."""
    terms = terms_at(at) if terms is None else terms
    settings = terms.settings
    states = book.states(groups, at=at, market=terms.market)
    calls = margin_calls.open_calls(groups)
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
            call=calls.get(group.pk),
            paces=terms.paces,
        )
        for group in groups
    ]


def decide(case: Case, *, may_sell: bool) -> Outcome | None:
    """As `decide_all`, for one."""
    return decide_all([case], may_sell=may_sell)[case.group.pk]


def decide_all(cases: Sequence[Case], *, may_sell: bool) -> dict[int, Outcome | None]:
    """Do what each case asks for; by the group's key, in the order of the cases.

    None, and nothing done, where that is to sell, and it may not here. What is only remembered is written for all of
    them in two statements: a crash brings thousands over a line at once.
    """
    judged = {case.group.pk: _judge(case) for case in cases if case.state.debts}
    waits = {pk for pk, found in judged.items() if (found.sells or found.softens) and not may_sell}
    decided = [(case, judged.get(case.group.pk)) for case in cases if case.group.pk not in waits]
    readings_left.remember([(case.state, found.reading) for case, found in decided if found is not None])
    done = {case.group.pk: _settle(case) if found is None else _act(case, found) for case, found in decided}
    return {case.group.pk: done.get(case.group.pk) for case in cases}


def _act(case: Case, judged: Judgement) -> Outcome:
    if judged.reading.band is None:
        return Outcome(blind=True)
    called = False
    if not case.state.is_liquidating:  # a running sale is told by itself
        called = margin_calls.follow(
            group=case.group,
            state=case.state,
            band=judged.reading.band,
            call=case.call,
            settings=case.settings,
            at=case.at,
        )
        _warn(case, judged.reading.band)
    if judged.sells:
        return _sell(case, judged, called=called)
    if judged.softens:
        return _soften(case, judged, called=called)
    if judged.paused is not None:
        held_back.tell_of_pause(case.state, judged.paused, at=case.at)
    elif judged.paced is not None:
        held_back.tell_of_pace(case.state, judged.paced, at=case.at)
    else:
        _follow_delay(case, judged.step)
    if judged.reading.band == Band.LIQ and case.clock.running is None and judged.step is DelayStep.NONE:
        held_back.tell_of_grace(case.state, judged.reading.clocks.grace_until, at=case.at)
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
    paced = _paced(case) if sells and paused is None else None
    return Judgement(
        reading, step, sells=sells and paused is None and paced is None, paused=paused, paced=paced
    )


def _paced(case: Case) -> pace.Pace | None:
    """The pace that a sale surely waits for; one that two people began waits for none. R-FTR-22"""
    full = pace.surely_waits(case.state, case.paces)
    if full is None or not case.state.is_liquidating:
        return full
    running = Liquidation.objects.filter(group=case.group, status=Liquidation.Status.RUNNING)
    return full if running.filter(cause__in=pace.KEPT_WAITING).exists() else None


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
    call = case.call
    known = [case.group.breach_seen_at, call.opened_at if call else None]
    return min((instant for instant in known if instant is not None), default=None)


def _sell(case: Case, judged: Judgement, *, called: bool) -> Outcome:
    outcome = Outcome(band=judged.reading.band, called=called)
    newer = _newer(case)
    if newer is not None:
        case, judged = newer, _judge(newer)
        if not judged.sells:
            return outcome  # the next pass follows what they say
    if not case.paces.keys() & case.state.coins:
        return replace(outcome, liquidation_id=_liquidate(case, judged.step))
    try:
        with transaction.atomic():  # what was begun is undone where a coin turns out to have no room
            return replace(outcome, liquidation_id=_liquidate(case, judged.step))
    except pace.NoRoom as full:
        held_back.tell_of_pace(case.state, full.pace, at=case.at)
        return outcome


def _liquidate(case: Case, step: DelayStep) -> int | None:
    """Begin the sale, or go on with it; the liquidation's key, None where nothing can be sold now."""
    group, state, at, delay = case.group, case.state, case.at, case.clock.running
    if state.is_liquidating:
        row = Liquidation.objects.get(group=group, status=Liquidation.Status.RUNNING)
        return liquidation.carry_on(row=row, state=state, at=at).pk
    sold = liquidation.liquidate(state=state, at=at, handling=_handling(case, step), settings=case.settings)
    if sold is None:
        return None
    if delay is not None:
        delays.finish(row=delay, how=step.value, group=group, state=state, at=at)
    return sold.pk


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


def _settle(case: Case) -> Outcome:
    """A group that owes nothing: safe, unwatched, not called any more, without a delay."""
    group = case.group
    if case.call is not None:
        margin_calls.end(call=case.call, how="cured", ltv=Decimal(0), at=case.at)
    if case.clock.running is not None:
        settled = LiquidationDelay.Ended.SETTLED
        delays.finish(row=case.clock.running, how=settled, group=group, state=case.state, at=case.at)
    sale = Liquidation.objects.filter(group=group, status=Liquidation.Status.RUNNING).first()
    if sale is not None:  # repaid between two steps; this only ends it
        liquidation.carry_on(row=sale, state=case.state, at=case.at)
    _warn(case, Band.SAFE)
    if group.closed_at is None:
        readings_left.remember(
            [(case.state, Reading(band=Band.SAFE, clocks=Clocks(grace_until=group.grace_until)))]
        )
    return Outcome(band=Band.SAFE)
