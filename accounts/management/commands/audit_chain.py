from typing import Any

from django.core.management.base import BaseCommand, CommandError

from accounts import chain


class Command(BaseCommand):
    help = (
        "Prove the audit trail's chain of hashes and print its head, to be kept where nobody here can write."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        problems = chain.problems()
        for problem in problems:
            self.stderr.write(self.style.ERROR(problem))
        if problems:
            raise CommandError("The audit trail does not hold; nothing was changed.")
        head = chain.head()
        self.stdout.write(f"{head.position} {head.sha256}")
