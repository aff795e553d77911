"""What the timetable wakes: one clock reading, one call each. The database knows what is due."""

from typing import Any

from celery import shared_task
from django.utils import timezone

from loans.vip import expiry


@shared_task(acks_late=True)
def expire(**_: Any) -> None:
    """Mark the loans that were not repaid at their expiry. Safe to run twice, or two at once."""
    expiry.expire_due(at=timezone.now())
