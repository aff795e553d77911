"""The jobs of `risk`: one clock reading, one call each. The timetable is in config/celery.py.

The database knows what is due, so every one of these is safe to run late, twice, or two at once.
"""

import logging
import time
from datetime import datetime
from typing import Any, Final

from celery import shared_task
from django.conf import settings
from django.db import connection
from django.utils import timezone
from kombu.exceptions import OperationalError

from risk import (
    accrual,
    announcements,
    funding,
    moved,
    overdue_sales,
    plans,
    prices,
    stress_runs,
)
from risk import sweep as watch
from risk.cases import LONGEST_WAIT

logger = logging.getLogger(__name__)

ACCRUAL_MARGIN: Final = 60  # seconds before the soft limit: no chunk takes that long
ACCRUAL_EXPIRES: Final = 600  # seconds; by then the timetable has woken it again
DECIDING_SECONDS: Final = 4.0  # a little less than the sweep's period, so that other tasks get their turn


class SweepIncomplete(Exception):
    """Some groups could not be decided; all others were. Somebody must look."""


class OverdueIncomplete(Exception):
    """Some overdue debts could not be liquidated, for a reason nobody expected."""


class CollectionIncomplete(Exception):
    """Some payment plans could not be followed, for a reason nobody expected."""


@shared_task
def take_prices(**_: Any) -> None:
    """Ask the feed that the settings name, and keep what it says."""
    at = timezone.now()
    prices.record(prices.feed()(at), at=at)


@shared_task
def sweep(**_: Any) -> None:
    """Watch every group: calls, graces, liquidations."""
    report = watch.sweep(at=timezone.now())
    if report.failed:
        raise SweepIncomplete(report.failed)


@shared_task
def decide(**_: Any) -> None:
    """Decide groups that the sweep has queued, most dangerous first, and wake one more to help while they are many.

    A lost or doubled message changes nothing: the queue is in the database, and the next sweep wakes somebody.
    """
    oldest = (
        timezone.now() - LONGEST_WAIT
    )  # else, with the sweep itself gone, it would sell at prices of long ago
    done = watch.drain(until=time.monotonic() + DECIDING_SECONDS, more=wake_decider, since=oldest)
    if done.failed:
        raise SweepIncomplete(done.failed)


def wake_decider() -> None:
    """Whoever is free. Without a broker the sweep's own process decides all, as it did before there were others."""
    try:
        decide.apply_async(expires=DECIDING_SECONDS, retry=False)
    except OperationalError as error:
        logger.warning("no other decider could be woken: %s", error)


@shared_task
def accrue(*, is_helper: bool = False, through: str | None = None, **_: Any) -> None:
    """Charge every midnight that is due. The first wakes others to share much work, and itself when time is short.

    The work is claimed from the database: a message that is lost or doubled changes nothing but who does it.
    `through`: not beyond this instant (ISO 8601), nor beyond now; so those who share a night mean the same one.
    """
    now, ends = timezone.now(), time.monotonic() + settings.CELERY_TASK_SOFT_TIME_LIMIT - ACCRUAL_MARGIN
    at = now if through is None else min(datetime.fromisoformat(through), now)
    if not is_helper and accrual.is_much(at=at):
        for _number in range(settings.ACCRUAL_WORKERS - 1):
            _wake_accrual(is_helper=True, through=at)
    try:
        accrual.accrue(at=at, may_go_on=lambda: time.monotonic() < ends)
    finally:
        if not is_helper and time.monotonic() >= ends:
            _wake_accrual(is_helper=False, through=at)


def _wake_accrual(*, is_helper: bool, through: datetime) -> None:
    """Whoever is free. Without a broker it is done by this process, and by the next run."""
    told = {"is_helper": is_helper, "through": through.isoformat()}
    try:
        accrue.apply_async(kwargs=told, expires=ACCRUAL_EXPIRES, retry=False)
    except OperationalError as error:
        logger.warning("no other worker could be woken for the accrual: %s", error)


@shared_task
def accrue_costs(**_: Any) -> None:
    """Charge what the pools' lenders cost, for every midnight that is due (R-ADM-12)."""
    funding.accrue_costs(at=timezone.now())


@shared_task
def liquidate_overdue(**_: Any) -> None:
    """Take what loans owe whose overdue period has ended (R-VIP-45)."""
    report = overdue_sales.run_overdue(at=timezone.now())
    if report.failed:
        raise OverdueIncomplete(report.failed)


@shared_task
def collect_instalments(**_: Any) -> None:
    """Take what payment plans of residual debts have due (R-GEN-78)."""
    report = plans.collect_due(at=timezone.now())
    if report.failed:
        raise CollectionIncomplete(report.failed)


@shared_task
def announce_changes(**_: Any) -> None:
    """Tell each group what new collateral ratios would do to its LTV (R-GEN-36)."""
    announcements.announce_due(at=timezone.now())


STRESS_SECONDS: Final = 60  # then the others get their turn; one that is begun is finished
ONE_STRESS: Final = 60_270  # the advisory lock's number, after R-FTR-27


@shared_task
def make_stress_runs(**_: Any) -> None:
    """Work out the stresses that people wait for, one at a time. They may hold one worker only (R-FTR-27)."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [ONE_STRESS])
        if not cursor.fetchone()[0]:
            return
        try:
            until = time.monotonic() + STRESS_SECONDS
            stress_runs.run_due(at=timezone.now(), enough=lambda: time.monotonic() > until)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [ONE_STRESS])


@shared_task
def forget_moved(**_: Any) -> None:
    """Keep the change feed of the books in memory short (ARCHITECTURE 5)."""
    moved.forget_moved(at=timezone.now())
