"""Fill an empty desk with 45 days of believable history, once."""

import logging
import time
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from accounts.errors import Refused
from accounts.tasks import check_books
from loans.demo import seeding

PROOF = "check the books"  # its name in the timetable


class Command(BaseCommand):
    help = "Fill an empty desk with made-up people and 45 days of history, once (needs DEMO=1)."

    def handle(self, *args: Any, **options: Any) -> None:
        started = time.monotonic()
        logging.getLogger().setLevel(logging.WARNING)  # a month of events in a few seconds
        try:
            seeded = seeding.seed(at=timezone.now())
        except Refused as refusal:
            raise CommandError(str(refusal)) from refusal
        if seeded is None:
            self.stdout.write("The demo is there already; nothing was changed.")
            return
        check_books.apply(throw=True, headers={"periodic_task_name": PROOF})  # as every hour from now on
        self.stdout.write(
            f"The demo is ready: {seeded.customers} customers, {seeded.requests} requests, {seeded.loans} loans"
            f" over {seeded.days} days, in {time.monotonic() - started:.1f} s."
        )
