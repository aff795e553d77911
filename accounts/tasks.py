"""The jobs of `accounts`: read the clock, make one call, keep failures loud. The timetable is in config/celery.py."""

from typing import Any

from celery import shared_task
from django.utils import timezone

from accounts import ledger, notices


class BooksBroken(Exception):
    """The books do not prove themselves; the message lists every break."""


@shared_task
def deliver_notices(**_: Any) -> None:
    """Send what is due. Safe to run twice, or two at once."""
    notices.deliver_due(at=timezone.now())


@shared_task
def check_books(**_: Any) -> None:
    """What `manage.py check_ledger` proves, every hour."""
    problems = ledger.problems()
    if problems:
        raise BooksBroken("\n".join(problems))
