"""The watch over the book: screen every group, decide the near ones exactly, most dangerous first.

A pass puts what its screen found into a queue (risk/candidates.py) and then decides from it, as any number of other
processes do. Each decision is made under the group's lock, on rows and prices read after the lock was taken: a group
repaid or topped up since it was screened is judged as it is now. What only has to be told is done for some groups in
one transaction, and so are the sales of those that lose all that they owe; any other sale has one of its own. A group
that cannot be decided is reported and shields nobody else. What one group comes to is decided in risk/judging.py.
R-GEN-23, R-GEN-24
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db import OperationalError, connection, transaction
from django.db.models import Q

from accounts.commands import RETRIED_SQLSTATES, Actor, acting
from risk import candidates, cases, judging, parameters, readings, screen
from risk.arrays import Book
from risk.candidates import Claimed
from risk.cases import Terms
from risk.judging import Outcome
from risk.models import CollateralGroup, Debt, ProductCode, RiskEvent, Settings, SweepRun
from risk.pace import paces_at

logger = logging.getLogger(__name__)

JOB = Actor.job("sweep")
KNOWN_SECONDS = 1.0
MAX_COLLISIONS = 20  # in one run; each is two deciders that met each other's locks the wrong way round


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What one pass did: groups watched, looked at exactly, newly called, sold from, blind now; who failed.

    `liquidated` counts a further step of a sale in steps as it counts its first; `softened` the steps of
    de-leveraging that borrowers chose.
    """

    groups: int = 0
    near: int = 0
    called: int = 0
    liquidated: int = 0
    softened: int = 0
    blind: int = 0
    failed: tuple[int, ...] = ()


@dataclass(slots=True)
class Decided:
    """What one run of decisions came to: an outcome for each group, and the groups that could not be decided."""

    outcomes: list[Outcome] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    collisions: int = 0
    met: dict[int, float] = field(default_factory=dict)  # whose locks others held, and when that was
    terms: Terms | None = None
    terms_read: float = 0  # by the monotonic clock

    def terms_at(self, at: datetime) -> Terms:
        """Prices, ratios and waits of `at`, read again every second: newer prices are asked for by each sale itself."""
        if self.terms is None or self.terms.at != at or time.monotonic() - self.terms_read > KNOWN_SECONDS:
            self.terms, self.terms_read = cases.terms_at(at), time.monotonic()
        return self.terms


def sweep(
    *,
    at: datetime,
    product: str = ProductCode.VIP,
    book: Book | None = None,
    seconds: float | None = None,
    more: Callable[[], None] | None = None,
) -> SweepReport:
    """Watch every group of the product at `at`. Safe to run twice, or two at once.

    A pass for an instant before the last one does nothing: the book has been judged on newer prices already.
    After no pass for longer than the outage wait, every group gets its grace first (R-GEN-24).

    `book`: the book in memory, which is read anew without one. The pass ends when its queue is empty, or `seconds`
    after it began: what is left then is other deciders' and the next pass's. `more`: as in `drain`.
    """
    started = time.monotonic()
    settings = parameters.settings_at(at)
    last = SweepRun.objects.filter(product=product).first()
    if last is not None and last.at > at:
        # Two passes at once, or a host whose clock is ahead: then nothing is watched until the others catch up.
        logger.warning("sweep at %s is overtaken by that at %s", at, last.at)
        return SweepReport()
    if last is not None and readings.is_outage(since=last.at, until=at, waits=cases.waits_of(settings)):
        _grant_grace(product=product, since=last.at, at=at, settings=settings)
    full = [coin for coin, pace in paces_at(at).items() if pace.is_full]
    seen = screen.look(product=product, at=at, settings=settings, book=book, full=full)
    candidates.put(product=product, found=seen, at=at)
    done = drain(product=product, until=None if seconds is None else started + seconds, more=more)
    _record_run(product, at=at, groups=seen.groups, seconds=time.monotonic() - started)
    return SweepReport(
        groups=seen.groups,
        near=len(seen.near),
        called=sum(outcome.called for outcome in done.outcomes),
        liquidated=sum(outcome.liquidation_id is not None for outcome in done.outcomes),
        softened=sum(outcome.soft_id is not None for outcome in done.outcomes),
        blind=sum(outcome.blind for outcome in done.outcomes),
        failed=tuple(done.failed),
    )


def drain(
    *,
    product: str = ProductCode.VIP,
    until: float | None = None,
    more: Callable[[], None] | None = None,
    since: datetime | None = None,
) -> Decided:
    """Decide what is in the queue, most dangerous first, until nothing is left that nobody else decides already.

    `until`: at the latest then, by the monotonic clock. Any number of these at once, on any number of machines:
    `more` is called, once, when there is enough for another one. `since`: what was found before is left alone; the
    next pass finds it again, or does not.
    """
    done = Decided()
    if more is not None and candidates.is_long(product=product, since=since):
        more()
    while (until is None or time.monotonic() < until) and _decide_next(product, done, since):
        pass
    return done


def _decide_next(product: str, done: Decided, since: datetime | None) -> bool:
    """Decide one claim in one transaction; False when there is nothing to claim. One bad group shields nobody."""
    claimed: list[Claimed] = []
    try:
        with acting(JOB):
            held = [pk for pk, when in done.met.items() if time.monotonic() < when + KNOWN_SECONDS]
            claimed = candidates.claim(product=product, but_not=held, since=since)
            waits = not claimed and bool(held)
            if waits:  # nothing else is left
                claimed = candidates.claim(product=product, since=since)
            outcomes = _decide(claimed, done, waits=waits) if claimed else []
    except Exception as error:
        if not claimed:
            raise
        _after_failure(claimed, error, done)
    else:
        done.outcomes += outcomes
    return bool(claimed)


def _decide(claimed: Sequence[Claimed], done: Decided, *, waits: bool) -> list[Outcome]:
    """Judge what was claimed under all its groups' locks, read in a handful of queries.

    What was claimed to be looked at, and must be sold from, is left out and untouched; so is, of what was claimed to
    be sold from, whatever comes after one that has to be sold by itself. A group that somebody else has locked is left
    for later, unless it `waits`: who holds one may hold it for long.
    """
    at, by_group = claimed[0].at, {one.group_id: one for one in claimed}
    groups = CollateralGroup.objects.select_related("customer").locked(*by_group, wait=waits)
    places = {pk: place for place, pk in enumerate(by_group)}
    groups.sort(key=lambda group: places[group.pk])  # locked by their keys, decided in the order of danger
    for pk in by_group.keys() - {group.pk for group in groups}:
        done.met[pk] = time.monotonic()
        del by_group[pk]
    if not by_group:
        return []
    if _is_overtaken(groups[0].product, at):
        candidates.decided(by_group.values())
        return []
    outcomes, ready = [], []
    found = cases.read(groups, at, done.terms_at(at))
    for pk, outcome in judging.decide_all(found, may_sell=claimed[0].sells or len(found) == 1).items():
        if outcome is not None:
            outcomes.append(outcome)
            ready.append(by_group.pop(pk))
    found_to_sell = [one for one in by_group.values() if not one.sells]
    if found_to_sell:
        candidates.set_apart(found_to_sell, alone=False)
    candidates.decided(ready)  # last: who puts groups in would wait for a removal to commit
    return outcomes


def _after_failure(claimed: Sequence[Claimed], error: Exception, done: Decided) -> None:
    """Of several, each is then tried by itself; one that fails alone is reported, and gone until a pass finds it again.

    If they only met somebody else's locks the wrong way round, they stay as they were, and others go first.
    """
    ids, is_collision = [one.group_id for one in claimed], _is_collision(error)
    with transaction.atomic():
        if is_collision and done.collisions < MAX_COLLISIONS:
            done.collisions += 1
            done.met |= dict.fromkeys(ids, time.monotonic())
            logger.warning("groups %s met another's locks; trying again", ids)
        elif len(claimed) > 1:
            logger.error(
                "groups %s could not be decided together; trying them one by one", ids, exc_info=error
            )
            candidates.set_apart(candidates.still_free(claimed), alone=True)
        else:
            logger.error("group %s could not be decided", ids[0], exc_info=error)
            done.failed += ids
            candidates.decided(candidates.still_free(claimed))


def _is_collision(error: Exception) -> bool:
    state = getattr(error.__cause__, "sqlstate", None)
    return (
        isinstance(error, OperationalError) and state in RETRIED_SQLSTATES and not connection.in_atomic_block
    )


def decide(*, group_id: int, at: datetime) -> Outcome:
    """Judge one group exactly, under its lock, and do what its state asks for; one transaction.

    Not a command: it repeats every few seconds and mostly finds nothing to do. What it changes is signed and
    audited row by row, and told in risk events.
    """
    with acting(JOB):
        groups = CollateralGroup.objects.locked(group_id)
        if _is_overtaken(groups[0].product, at):
            return Outcome()
        [case] = cases.read(groups, at)
        outcome = judging.decide(case, may_sell=True)
        assert outcome is not None, "it may sell"
        return outcome


def _is_overtaken(product: str, at: datetime) -> bool:
    """This pass waited for the lock while a later one went by."""
    return SweepRun.objects.filter(product=product, at__gt=at).exists()


# --- The pass itself ----------------------------------------------------------------------------------------


def _grant_grace(*, product: str, since: datetime, at: datetime, settings: Settings) -> None:
    """The watch itself was away: whoever owes something gets time before anything is sold. R-GEN-24"""
    until = readings.grace_after(at=at, waits=cases.waits_of(settings), running=None)
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
