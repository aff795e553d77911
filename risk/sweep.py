"""The watch over the book: screen every group, decide the near ones exactly, most dangerous first.

Each decision is made under the group's lock, on rows and prices read after the lock was taken: a group repaid
or topped up since it was screened is judged as it is now. Every sale is one transaction; what only has to be
told is done for some groups together. A group that cannot be decided is reported and shields nobody else. What
one group comes to is decided in risk/judging.py. R-GEN-23, R-GEN-24
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db.models import Q

from accounts.commands import Actor, acting
from risk import judging, parameters, readings, screen
from risk.judging import Outcome
from risk.models import CollateralGroup, Debt, ProductCode, RiskEvent, Settings, SweepRun

logger = logging.getLogger(__name__)

JOB = Actor.job("sweep")
CHUNK = 20  # groups judged in one transaction: a borrower's command may have to wait for all of it


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
    if last is not None and readings.is_outage(since=last.at, until=at, waits=judging.waits_of(settings)):
        _grant_grace(product=product, since=last.at, at=at, settings=settings)
    seen = screen.look(product=product, at=at, settings=settings)
    outcomes, failed = _decide_each(seen.near, at=at)
    _record_run(product, at=at, groups=seen.groups, seconds=time.monotonic() - started)
    return SweepReport(
        groups=seen.groups,
        near=len(seen.near),
        called=sum(outcome.called for outcome in outcomes),
        liquidated=sum(outcome.liquidation_id is not None for outcome in outcomes),
        softened=sum(outcome.soft_id is not None for outcome in outcomes),
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
            judged = {
                case.group.pk: judging.decide(case, may_sell=False) for case in judging.cases(groups, at)
            }
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
        groups = CollateralGroup.objects.locked(group_id)
        if _is_overtaken(groups[0].product, at):
            return Outcome()
        [case] = judging.cases(groups, at)
        outcome = judging.decide(case, may_sell=True)
        assert outcome is not None, "it may sell"
        return outcome


def _is_overtaken(product: str, at: datetime) -> bool:
    """This pass waited for the lock while a later one went by."""
    return SweepRun.objects.filter(product=product, at__gt=at).exists()


# --- The pass itself ----------------------------------------------------------------------------------------


def _grant_grace(*, product: str, since: datetime, at: datetime, settings: Settings) -> None:
    """The watch itself was away: whoever owes something gets time before anything is sold. R-GEN-24"""
    until = readings.grace_after(at=at, waits=judging.waits_of(settings), running=None)
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
