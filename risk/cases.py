"""A group as it is judged under its lock: what it is judged on, and what that comes to. Changes nothing.

The pure rules (risk/readings.py) decide, on rows and prices read after the lock was taken; what then is done is
risk/judging.py. R-GEN-22, 23, 24, 41, 44, 70, R-VIP-60, 62, R-FTR-05, 22
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from risk import (
    book,
    delays,
    deleveraging,
    early_warnings,
    freezes,
    liquidation,
    margin_calls,
    pace,
    parameters,
    prices,
    readings,
)
from risk.book import GroupState
from risk.models import CollateralGroup, Freeze, Liquidation, MarginCall, Settings
from risk.readings import SELLS, Bounds, Clocks, DelayStep, Reading, Waits

LONGEST_WAIT = timedelta(minutes=1)  # no pass holds on longer between reading the clock and deciding


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
    pause: Freeze | None = None
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

    @property
    def wants_to_sell(self) -> bool:
        return self.sells or self.softens


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


def read(groups: Sequence[CollateralGroup], at: datetime, terms: Terms | None = None) -> list[Case]:
    """What the groups, locked, are judged on; a handful of queries for all of them. `terms`: those of `at`."""
    terms = terms_at(at) if terms is None else terms
    settings = terms.settings
    states = book.states(groups, at=at, market=terms.market)
    calls = margin_calls.open_calls(groups)
    clocks = delays.clocks(groups, settings=settings, at=at)
    warnings = early_warnings.lines_of(groups, settings=settings)
    soft = deleveraging.live(groups)
    pauses = freezes.liquidations_paused(groups, at)
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
            pause=pauses.get(group.pk),
            paces=terms.paces,
        )
        for group in groups
    ]


def judge(case: Case) -> Judgement:
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
    paced = _paced(case) if sells and case.pause is None else None
    return Judgement(
        reading, step, sells=sells and case.pause is None and paced is None, paused=case.pause, paced=paced
    )


def sells_whole(case: Case, judged: Judgement) -> bool:
    """Whether it is sold from now, in full, and nothing has to be asked or ended besides. R-GEN-73, R-FTR-22"""
    return (
        judged.sells
        and case.clock.running is None
        and not case.paces.keys() & case.state.coins
        and liquidation.sells_whole(case.state)
    )


def renewed(case: Case) -> Case | None:
    """The case on what is known by now, if it waited: else a slow pass would never sell; None: nothing is newer."""
    [newer] = on_newest([case])
    return None if newer is case else newer


def on_newest(cases: Sequence[Case]) -> list[Case]:
    """The cases, of one instant, on all that is known by now and as of then; themselves, if nothing is newer."""
    at, groups = cases[0].at, [case.group for case in cases]
    coins = {coin for case in cases for coin in case.state.owed_assets | case.state.coins}
    newest = prices.newest_after(at, until=at + LONGEST_WAIT, assets=coins)
    if newest is None:
        return list(cases)
    now, pauses = book.states(groups, at=newest), freezes.liquidations_paused(groups, newest)
    return [
        replace(case, state=now[case.group.pk], pause=pauses.get(case.group.pk), at=newest) for case in cases
    ]


def waits_of(settings: Settings) -> Waits:
    return Waits(
        confirm=settings.confirm_seconds,
        outage=settings.outage_seconds,
        outage_grace=settings.outage_grace_seconds,
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
