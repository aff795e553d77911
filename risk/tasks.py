"""The jobs of `risk`: one clock reading, one call each. The timetable is in config/celery.py.

The database knows what is due, so every one of these is safe to run late, twice, or two at once.
"""

from typing import Any

from celery import shared_task
from django.utils import timezone

from risk import accrual, announcements, funding, liquidation, plans, prices
from risk import sweep as watch


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
def accrue(**_: Any) -> None:
    """Charge every midnight that is due."""
    accrual.accrue(at=timezone.now())


@shared_task
def accrue_costs(**_: Any) -> None:
    """Charge what the pools' lenders cost, for every midnight that is due (R-ADM-12)."""
    funding.accrue_costs(at=timezone.now())


@shared_task
def liquidate_overdue(**_: Any) -> None:
    """Take what loans owe whose overdue period has ended (R-VIP-45)."""
    report = liquidation.run_overdue(at=timezone.now())
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
