"""What the timetable wakes: one clock reading, one call each. The database knows what is due."""

import logging
import time
from typing import Any, Final

from celery import shared_task
from celery.signals import worker_process_init
from django.utils import timezone

from loans import auto_cure, book_snapshot, statements
from loans.vip import applications, expiry, offers, reminders
from risk import sweep
from risk.arrays import Book
from risk.tasks import DECIDING_SECONDS, SweepIncomplete, wake_decider

logger = logging.getLogger(__name__)


class CureIncomplete(Exception):
    """The rules of some groups could not be followed, for a reason nobody expected; the sweep went on."""


STATEMENT_SECONDS: Final = 200  # of one run, below the time limit of tasks

_book: Book | None = (
    None  # of this worker's process; empty until it watches, then kept warm from pass to pass
)


@worker_process_init.connect
def _hold_a_book(**_: Any) -> None:
    global _book
    _book = Book()


@shared_task(acks_late=True)
def expire(**_: Any) -> None:
    """Settle every expiry that has passed: repaid from Spot, gone on, or overdue. Safe to run twice, or two at once."""
    expiry.expire_due(at=timezone.now())


@shared_task(acks_late=True)
def remind(**_: Any) -> None:
    """Remind of what is due soon or overdue. Safe to run twice, or two at once."""
    reminders.remind_due(at=timezone.now())


@shared_task(acks_late=True)
def expire_offers(**_: Any) -> None:
    """Write down which requests and offers nobody answered in time. Safe to run twice, or two at once."""
    offers.expire_due(at=timezone.now())


@shared_task(acks_late=True)
def approve_waiting(**_: Any) -> None:
    """Grant what only waited for a customer's checks (R-ADM-10). Safe to run twice, or two at once."""
    applications.approve_waiting(at=timezone.now())


@shared_task
def sum_up(**_: Any) -> None:
    """Sum up the book for the desk's pages (R-ADM-06). Safe to run twice, or two at once."""
    book_snapshot.take(at=timezone.now())


@shared_task(acks_late=True)
def issue_statements(**_: Any) -> None:
    """Issue the monthly statements that are missing (R-GEN-94). Safe to run twice, or two at once."""
    until = time.monotonic() + STATEMENT_SECONDS
    statements.issue_due(at=timezone.now(), enough=lambda: time.monotonic() > until)


@shared_task
def watch(**_: Any) -> None:
    """Let borrowers' own rules cure what they can, then watch every group: calls, graces, liquidations.

    Whatever becomes of the rules, the sweep goes on. What it cannot decide in time is decided by others: it wakes
    them, and the next pass renews their order. Safe to run twice, or two at once.
    """
    at = timezone.now()
    failed: list[int] | None = None
    try:
        failed = auto_cure.run_due(at=at).failed
    except Exception:
        logger.exception("the cure rules could not be followed")
    report = sweep.sweep(at=at, book=_book, seconds=DECIDING_SECONDS, more=wake_decider)
    if report.failed:
        raise SweepIncomplete(report.failed)
    if failed is None or failed:
        raise CureIncomplete(failed)
