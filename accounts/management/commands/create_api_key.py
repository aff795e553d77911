"""Make a key for a member's program from the shell: for set-ups, tests and members who cannot reach the page."""

import json
from pathlib import Path
from typing import Any, Final

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from accounts import keys
from accounts.commands import Actor
from accounts.errors import Refused
from accounts.models import Account, ApiKey, User

MADE_HERE: Final = "made from the shell, not by the member"  # the trail names the member as whom it acts


class Command(BaseCommand):
    help = "Make an API key as a member would, and print it with its secret as JSON, once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--email", required=True, help="the member it acts as")
        parser.add_argument("--account", required=True, type=int, metavar="UID")
        parser.add_argument("--permissions", default="", help="of read,borrow,transfer,withdraw; none: empty")
        parser.add_argument(
            "--networks", default="", help="addresses with commas between; borrowing needs one"
        )
        parser.add_argument("--kind", default=ApiKey.Kind.HMAC, choices=ApiKey.Kind.values)
        parser.add_argument("--public-key", type=Path, help="a PEM file, for rsa and ed25519")
        parser.add_argument("--label", default="made from the shell")

    def handle(self, *args: Any, **options: Any) -> None:
        user = User.objects.filter(email=options["email"].lower()).first()
        if user is None:
            raise CommandError(f"Nobody has the address {options['email']}.")
        if not Account.objects.filter(pk=options["account"]).exists():
            raise CommandError(f"There is no account {options['account']}.")
        try:
            row = keys.create(
                account_uid=options["account"],
                label=options["label"],
                kind=options["kind"],
                permissions=[f"can_{one}" for one in _listed(options["permissions"])],
                networks=_listed(options["networks"]),
                public_key=options["public_key"].read_text() if options["public_key"] else "",
                actor=Actor.user(user),
                at=timezone.now(),
                reason=MADE_HERE,
            )
        except Refused as refusal:
            raise CommandError(refusal.message) from refusal
        except OSError as error:
            raise CommandError(f"{options['public_key']}: {error.strerror}.") from error
        made = {"id": row.pk, "kind": row.kind, "key": row.key, "account": row.account_id}
        made["secret"] = keys.secret_of(row) if row.secret else None
        made["expires_at"] = None if row.expires_at is None else row.expires_at.isoformat()
        self.stdout.write(json.dumps(made))


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
