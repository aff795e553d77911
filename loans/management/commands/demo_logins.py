"""Print who may sign in to the demo, and what each of them shows."""

from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from accounts.models import User
from loans.demo import cast


class Command(BaseCommand):
    help = "Print the demo's logins, the main borrower first (needs DEMO=1)."

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.DEMO:
            raise CommandError("This desk is not a demo (DEMO=1), so it has no logins to print.")
        logins = cast.logins()
        there = set(
            User.objects.filter(email__in=[each.email for each in logins]).values_list("email", flat=True)
        )
        if not there:
            raise CommandError("The demo has no people yet: manage.py seed_demo makes them.")
        self.stdout.write(f"Demo logins; the password of each is {cast.PASSWORD}")
        width = max(len(login.email) for login in logins)
        for login in logins:
            if login.email in there:
                self.stdout.write(f"  {login.email:{width}}  {login.shows}")
