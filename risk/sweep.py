"""The watch over the book: screen every group, decide the near ones exactly, most dangerous first.

Each decision is made under the group's lock, on rows and prices read after the lock was taken: a group repaid
or topped up since it was screened is judged as it is now. Every sale is one transaction; what only has to be
told is done for some groups together. A group that cannot be decided is reported and shields nobody else.
R-GEN-22, 23, 24, 41, 44, 61, 62
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Q

from accounts import notices
from accounts.commands import Actor, acting
from risk import book, liquidation, margin_calls, parameters, prices, readings, screen
from risk.book import GroupState
from risk.levels import Band
from risk.models import CollateralGroup, Debt, ProductCode, RiskEvent, Settings, SweepRun
from risk.readings import Clocks, Reading, Waits

logger = logging.getLogger(__name__)

JOB = Actor.job("sweep")
LONGEST_WAIT = timedelta(minutes=1)  # no pass holds on longer between reading the clock and deciding

CHUNK = 20  # groups judged in one transaction: a borrower's command may have to wait for all of it


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What one pass did: groups watched, looked at exactly, newly called, liquidated, blind now; who failed."""

    groups: int = 0
    near: int = 0
    called: int = 0
    liquidated: int = 0
    blind: int = 0
    failed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one decision did. `band` None: blind, or there was nothing to decide."""

    band: Band | None = None
    blind: bool = False
    called: bool = False
    liquidation_id: int | None = None


def sweep(*, at: datetime, product: str = ProductCode.VIP) -> SweepReport:
    """Watch every group of the product at `at`. Safe to run twice, or two at once.

    A pass for an instant before the last one does nothing: the book has been judged on newer prices already.
    After no pass for longer than the outage wait, every group gets its grace first (R-GEN-24).
    """
    started = time.monotonic()
    settings = parameters.settings_at(at)
    last = SweepRun.objects.filter(product=product).first()
    if last is not None and last.at > at:
        # Two passes at once, or a host whose clock is ahead: then nothing is watched until the others catch up.
        logger.warning("sweep at %s is overtaken by that at %s", at, last.at)
        return SweepReport()
    if last is not None and readings.is_outage(since=last.at, until=at, waits=_waits(settings)):
        _grant_grace(product=product, since=last.at, at=at, settings=settings)
    seen = screen.look(product=product, at=at, settings=settings)
    outcomes, failed = _decide_each(seen.near, at=at)
    _record_run(product, at=at, groups=seen.groups, seconds=time.monotonic() - started)
    return SweepReport(
        groups=seen.groups,
        near=len(seen.near),
        called=sum(outcome.called for outcome in outcomes),
        liquidated=sum(outcome.liquidation_id is not None for outcome in outcomes),
        blind=sum(outcome.blind for outcome in outcomes),
        failed=tuple(failed),
    )


def _decide_each(group_ids: Sequence[int], *, at: datetime) -> tuple[list[Outcome], list[int]]:
    """Most dangerous first. What is to be sold, and a chunk that failed, is decided one by one."""
    outcomes: list[Outcome] = []
    failed: list[int] = []
    for start in range(0, len(group_ids), CHUNK):
        chunk = group_ids[start : start + CHUNK]
        together = _decide_together(chunk, at=at) if len(chunk) > 1 else {}
        outcomes += together.values()
        for group_id in chunk:
            if group_id in together:
                continue
            try:
                outcomes.append(decide(group_id=group_id, at=at))
            except Exception:  # one bad group must not shield the others
                logger.exception("group %s could not be decided", group_id)
                failed.append(group_id)
    return outcomes, failed


def _decide_together(group_ids: Sequence[int], *, at: datetime) -> dict[int, Outcome]:
    """Judge some groups in one transaction, under all their locks, reading them in a handful of queries.

    A group that must be liquidated is left out and untouched: a sale locks debts and house accounts, so two
    sales in one transaction could meet another's the wrong way round. None at all if one of them fails.
    """
    try:
        with acting(JOB):
            groups = CollateralGroup.objects.locked(*group_ids)
            if _is_overtaken(groups[0].product, at):
                return {group.pk: Outcome() for group in groups}
            settings, states = parameters.settings_at(at), book.states(groups, at=at)
            judged = {group.pk: _judge(group, states[group.pk], settings, at) for group in groups}
            return {pk: outcome for pk, outcome in judged.items() if outcome is not None}
    except Exception:
        logger.exception("groups %s could not be decided together; trying them one by one", group_ids)
        return {}


def decide(*, group_id: int, at: datetime) -> Outcome:
    """Judge one group exactly, under its lock, and do what its state asks for; one transaction.

    Not a command: it repeats every few seconds and mostly finds nothing to do. What it changes is signed and
    audited row by row, and told in risk events.
    """
    with acting(JOB):
        [group] = CollateralGroup.objects.locked(group_id)
        if _is_overtaken(group.product, at):
            return Outcome()
        settings = parameters.settings_at(at)
        state = book.state_of(group, at=at)
        outcome = _judge(group, state, settings, at)
        return outcome if outcome is not None else _sell(group, state, settings, at)


def _is_overtaken(product: str, at: datetime) -> bool:
    """This pass waited for the lock while a later one went by."""
    return SweepRun.objects.filter(product=product, at__gt=at).exists()


def _judge(group: CollateralGroup, state: GroupState, settings: Settings, at: datetime) -> Outcome | None:
    """What the group's state asks for, done; None and nothing done when that is to sell."""
    if not state.debts:
        return _settle(group, state, at)
    reading = _read(group, state, settings, at)
    if reading.must_liquidate:
        return None
    _remember(group, state, reading, at)
    if reading.band is None:
        return Outcome(blind=True)
    called = margin_calls.follow(group=group, state=state, band=reading.band, settings=settings, at=at)
    if reading.band == Band.LIQ:
        _tell_of_grace(group, state, reading, at)
    return Outcome(band=reading.band, called=called)


def _sell(group: CollateralGroup, state: GroupState, settings: Settings, at: datetime) -> Outcome:
    reading = _read(group, state, settings, at)
    assert reading.band is not None, "a blind reading never sells"
    _remember(group, state, reading, at)
    called = margin_calls.follow(group=group, state=state, band=reading.band, settings=settings, at=at)
    if prices.has_newer(at=at, until=at + LONGEST_WAIT, assets=state.owed_assets | state.coins):
        return Outcome(band=reading.band, called=called)  # it waited for the lock; the next pass knows more
    sold = liquidation.liquidate(state=state, at=at)
    return Outcome(band=reading.band, called=called, liquidation_id=sold.pk if sold else None)


def _read(group: CollateralGroup, state: GroupState, settings: Settings, at: datetime) -> Reading:
    seen = readings.bounds(
        holdings=state.holdings(permission=False), debts=state.owed(), stale=state.stale_coins
    )
    return readings.read(
        seen=seen,
        debts_fresh=not state.stale_debts,
        newest_price_at=state.newest_price_at,
        lines=state.lines,
        clocks=Clocks(
            breach_seen_at=group.breach_seen_at, blind_since=group.blind_since, grace_until=group.grace_until
        ),
        waits=_waits(settings),
        at=at,
    )


def _waits(settings: Settings) -> Waits:
    return Waits(
        confirm=settings.confirm_seconds,
        outage=settings.outage_seconds,
        outage_grace=settings.outage_grace_seconds,
    )


# --- What a reading leaves behind ---------------------------------------------------------------------------


def _remember(group: CollateralGroup, state: GroupState, reading: Reading, at: datetime) -> None:
    """The group's band and clocks, and an event for each change that people should see."""
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


def _settle(group: CollateralGroup, state: GroupState, at: datetime) -> Outcome:
    """A group that owes nothing: safe, unwatched, and not called any more."""
    call = margin_calls.open_call(group)
    if call is not None:
        margin_calls.end(call=call, how="cured", ltv=Decimal(0), at=at)
    if group.closed_at is None:
        _remember(group, state, Reading(band=Band.SAFE, clocks=Clocks(grace_until=group.grace_until)), at)
    return Outcome(band=Band.SAFE)


def _tell_of_grace(group: CollateralGroup, state: GroupState, reading: Reading, at: datetime) -> None:
    """Over the liquidation line, and only a grace is in the way: say so once, with what would help. R-GEN-24"""
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


# --- The pass itself ----------------------------------------------------------------------------------------


def _grant_grace(*, product: str, since: datetime, at: datetime, settings: Settings) -> None:
    """The watch itself was away: whoever owes something gets time before anything is sold. R-GEN-24"""
    until = readings.grace_after(at=at, waits=_waits(settings), running=None)
    owing = Debt.objects.watched().filter(product=product).values("group_id")
    with acting(JOB):
        rows = CollateralGroup.objects.open().filter(pk__in=owing)
        rows = rows.filter(Q(grace_until__isnull=True) | Q(grace_until__lt=until))
        shielded = [row.pk for row in rows.select_for_update(of=("self",), no_key=True).order_by("pk")]
        CollateralGroup.objects.filter(pk__in=shielded).update(grace_until=until, breach_seen_at=None)
        facts = {"until": until.isoformat(), "last_sweep": since.isoformat()}
        RiskEvent.objects.bulk_create(
            RiskEvent(group_id=pk, kind=RiskEvent.Kind.GRACE, at=at, facts=facts) for pk in shielded
        )
    logger.warning(
        "no sweep of %s since %s: %s groups have grace until %s", product, since, len(shielded), until
    )


def _record_run(product: str, *, at: datetime, groups: int, seconds: float) -> None:
    """The pass is complete. Never back in time: two passes at once end in either order."""
    figures = {"at": at, "groups": groups, "seconds": round(Decimal(seconds), 3)}
    if not SweepRun.objects.filter(product=product, at__lte=at).update(**figures):
        SweepRun.objects.get_or_create(product=product, defaults=figures)
