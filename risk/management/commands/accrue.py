from argparse import ArgumentParser
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from risk import accrual


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at if at.tzinfo else at.replace(tzinfo=UTC)


class Command(BaseCommand):
    help = (
        "Charge every debt for each 00:00 UTC up to now, or up to --at. Safe to repeat, and beside the job."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--at", type=_instant, help="an ISO 8601 time, UTC unless it says otherwise")

    def handle(self, *args: Any, **options: Any) -> None:
        at = options["at"] or timezone.now()
        try:
            charges = accrual.accrue(at=at)
        except accrual.AccrualIncomplete as failure:
            raise CommandError(f"Some debts could not be charged: {failure}; all others were.") from failure
        self.stdout.write(f"{charges} charges booked up to {at:%Y-%m-%d %H:%M} UTC.")
