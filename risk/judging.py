"""Do what a group's state asks for, under its lock: a warning, a call, a delay, a sale, or a step the borrower chose.

What that is was decided by then (risk/cases.py, on the pure rules of risk/readings.py). Everything here runs in the
transaction of the sweep that holds the lock. R-GEN-41, 44, 61, 62, 63, 64, 70, R-VIP-60, 61, 62, 63, R-FTR-05
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from django.db import transaction

from risk import (
    delays,
    deleveraging,
    early_warnings,
    held_back,
    liquidation,
    margin_calls,
    pace,
    readings_left,
)
from risk.cases import Case, Judgement, judge, on_newest, renewed, sells_whole
from risk.handling import Handling, Mode
from risk.levels import Band
from risk.models import Liquidation, LiquidationDelay
from risk.readings import SELLS, Clocks, DelayStep, Reading


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one decision did. `band` None: blind, or there was nothing to decide. `soft_id`: a chosen step's row."""

    band: Band | None = None
    blind: bool = False
    called: bool = False
    liquidation_id: int | None = None
    soft_id: int | None = None


def decide(case: Case, *, may_sell: bool) -> Outcome | None:
    """As `decide_all`, for one."""
    return decide_all([case], may_sell=may_sell)[case.group.pk]


def decide_all(cases: Sequence[Case], *, may_sell: bool) -> dict[int, Outcome | None]:
    """Do what each case asks for; by the group's key, in the order of the cases, the most dangerous first.

    None, and nothing done, where that is to sell and has to wait: because it may not here, or because a more dangerous
    one has to be sold by itself first. What is only remembered is written for all of them in two statements, and some
    that are sold whole are sold in a constant number: a crash brings thousands over a line at once.
    """
    judged = {case.group.pk: judge(case) for case in cases if case.state.debts}
    wanting = [case for case in cases if (found := judged.get(case.group.pk)) and found.wants_to_sell]
    selling = _leading(wanting, judged) if wanting and may_sell else []
    waits = dict.fromkeys(case.group.pk for case in wanting[len(selling) :])
    decided = [(case, judged.get(case.group.pk)) for case in cases if case.group.pk not in waits]
    readings_left.remember([(case.state, found.reading) for case, found in decided if found is not None])
    done: dict[int, Outcome | None] = dict(waits)
    if len(selling) > 1:
        done |= _sell_together(selling, judged)
    for case, found in decided:
        if case.group.pk not in done:
            done[case.group.pk] = _settle(case) if found is None else _act(case, found)
    return {case.group.pk: done[case.group.pk] for case in cases}


# --- Together -----------------------------------------------------------------------------------------------


def _leading(wanting: Sequence[Case], judged: Mapping[int, Judgement]) -> Sequence[Case]:
    """The most dangerous, and those after it that can be sold in the same transaction, up to one that cannot."""
    apart = (place for place, case in enumerate(wanting) if not sells_whole(case, judged[case.group.pk]))
    return wanting[: max(next(apart, len(wanting)), 1)]


def _sell_together(cases: Sequence[Case], judged: Mapping[int, Judgement]) -> dict[int, Outcome | None]:
    """Sell these whole, at one instant, up to one for which that is not right on newer prices.

    If that is the most dangerous, it alone is sold, as they ask for. None for those that have to wait therefore.
    """
    done: dict[int, Outcome | None] = dict.fromkeys(case.group.pk for case in cases)
    ready: list[Case] = []
    for before, case in zip(cases, on_newest(cases), strict=True):
        pk = case.group.pk
        found = judged[pk] if case is before else judge(case)
        has_aged = case is not before and bool(case.state.stale_debts or case.state.stale_coins)
        if has_aged or (found.sells and not sells_whole(case, found)):
            if not ready:
                done[pk] = _act(before, judged[pk])
            break
        done[pk] = Outcome(band=judged[pk].reading.band, called=_tell(before, judged[pk]))
        if found.sells:  # else the next pass follows what they say
            ready.append(case)
    if ready:
        at, settings = ready[0].at, ready[0].settings
        sold = liquidation.liquidate_together([case.state for case in ready], at=at, settings=settings)
        for pk, row in sold.items():
            told = done[pk]
            if told is not None and row is not None:
                done[pk] = replace(told, liquidation_id=row.pk)
    return done


# --- One by one ---------------------------------------------------------------------------------------------


def _act(case: Case, judged: Judgement) -> Outcome:
    if judged.reading.band is None:
        return Outcome(blind=True)
    called = _tell(case, judged)
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


def _tell(case: Case, judged: Judgement) -> bool:
    """The call and the warnings that the reading asks for; whether it was a new call."""
    assert judged.reading.band is not None, "it is not blind"
    if case.state.is_liquidating:  # a running sale is told by itself
        return False
    called = margin_calls.follow(
        group=case.group,
        state=case.state,
        band=judged.reading.band,
        call=case.call,
        settings=case.settings,
        at=case.at,
    )
    _warn(case, judged.reading.band)
    return called


def _sell(case: Case, judged: Judgement, *, called: bool) -> Outcome:
    outcome = Outcome(band=judged.reading.band, called=called)
    newer = renewed(case)
    if newer is not None:
        case, judged = newer, judge(newer)
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
    newer = renewed(case)
    if newer is not None:
        case = newer
        if not judge(case).softens:
            return outcome
    assert case.soft is not None
    taken = deleveraging.step(row=case.soft.row, state=case.state, settings=case.settings, at=case.at)
    return outcome if taken is None else replace(outcome, soft_id=taken.pk)


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
