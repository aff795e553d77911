from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import ledger
from accounts.models import JournalEntry, Transfer


class Command(BaseCommand):
    help = "Prove the books: totals, trial balance, custody, debts, controls and charges. Changes nothing."

    def handle(self, *args: Any, **options: Any) -> None:
        problems = ledger.problems()
        for problem in problems:
            self.stderr.write(self.style.ERROR(problem))
        if problems:
            raise CommandError(f"{len(problems)} problem(s) in the ledger; nothing was changed.")
        entries, transfers = JournalEntry.objects.count(), Transfer.objects.count()
        self.stdout.write(
            f"The books are whole: {len(ledger.checks)} checks over {entries} entries and {transfers} transfers."
        )
