"""What the timetable wakes: one clock reading, one call each. The database knows what is due."""

from typing import Any

from celery import shared_task
from django.utils import timezone

from loans.vip import expiry, offers, reminders


@shared_task(acks_late=True)
def expire(**_: Any) -> None:
    """Settle every expiry that has passed: repaid from Spot, or overdue. Safe to run twice, or two at once."""
    expiry.expire_due(at=timezone.now())


@shared_task(acks_late=True)
def remind(**_: Any) -> None:
    """Remind of what is due soon or overdue. Safe to run twice, or two at once."""
    reminders.remind_due(at=timezone.now())


@shared_task(acks_late=True)
def expire_offers(**_: Any) -> None:
    """Write down which requests and offers nobody answered in time. Safe to run twice, or two at once."""
    offers.expire_due(at=timezone.now())
