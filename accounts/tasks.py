"""The jobs of `accounts`: read the clock, make one call, keep failures loud. The timetable is in config/celery.py."""

import time
from typing import Any

from celery import shared_task
from django.db import connection
from django.utils import timezone

from accounts import approvals, chain, closing, exports, keys, notices
from accounts.commands import Actor


class BooksBroken(Exception):
    """The books do not prove themselves; the message lists every break."""


SECONDS_PER_RUN = 4  # less than the period, so that providers never hold a worker for long
ONE_DELIVERER = 60_060  # the advisory lock's number, after R-GEN-60


@shared_task
def deliver_notices(**_: Any) -> None:
    """Send what is due. Safe to run twice; two at once would be, too, but slow providers may hold one worker only."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [ONE_DELIVERER])
        if not cursor.fetchone()[0]:
            return
        try:
            until = time.monotonic() + SECONDS_PER_RUN
            notices.deliver_due(at=timezone.now(), enough=lambda: time.monotonic() > until)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [ONE_DELIVERER])


@shared_task
def check_books(**_: Any) -> None:
    """What `manage.py check_ledger` proves, every hour."""
    problems = closing.prove(actor=Actor.job("check-books"), at=timezone.now())
    if problems:
        raise BooksBroken("\n".join(problems))


@shared_task
def expire_proposals(**_: Any) -> None:
    """Close the proposals that nobody decided in time (R-ADM-03)."""
    approvals.expire_due(at=timezone.now())


EXPORTING_SECONDS = 60  # then the others get their turn; one that is begun is finished
ONE_EXPORTER = 60_110  # the advisory lock's number, after R-ADM-11


@shared_task
def make_exports(**_: Any) -> None:
    """Make the files that people wait for. Long ones may hold one worker only: the others watch the loans."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [ONE_EXPORTER])
        if not cursor.fetchone()[0]:
            return
        try:
            until = time.monotonic() + EXPORTING_SECONDS
            exports.run_due(at=timezone.now(), enough=lambda: time.monotonic() > until)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [ONE_EXPORTER])


@shared_task
def link_audit_records(**_: Any) -> None:
    """Take the audit trail's newest records into its chain of hashes (R-ADM-07)."""
    chain.link()


@shared_task
def forget_signatures(**_: Any) -> None:
    """Drop used signatures that are long out of their window (TRUST I-26)."""
    keys.forget_signatures(at=timezone.now())
