"""The ids that clients give their own transfers and withdrawals: each is the idempotency key of its command (R-GEN-06).

So a repeat gets the first outcome, and a list can be asked by it. Programs of one customer share them.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import QuerySet

from accounts.commands import Actor
from accounts.models import IdempotencyKey
from accounts.sapi.params import Param, words
from accounts.sapi.registry import Call
from risk.models import Movement


@dataclass(frozen=True, slots=True)
class ClientIds:
    """Those of one command. `before` keeps them apart from the keys that others, such as pages, make up."""

    command: str
    before: str

    def key(self, client_id: str | None) -> str:
        return f"{self.before}{client_id}" if client_id else ""

    def made(self, call: Call, client_id: str) -> list[int]:
        """The movements made under it; one, unless two people of the customer chose the same."""
        found = self._rows(call).filter(key=self.key(client_id)).values_list("result", flat=True)
        return [int(result) for result in found if result]

    def of(self, call: Call, rows: Iterable[Movement]) -> dict[int, str]:
        """The client's id of each movement that has one."""
        wanted = [str(row.pk) for row in rows]
        found = self._rows(call).filter(key__startswith=self.before, result__in=wanted)
        told = found.values_list("result", "key")
        return {int(result): key.removeprefix(self.before) for result, key in told if result}

    def _rows(self, call: Call) -> "QuerySet[IdempotencyKey]":
        users = call.customer.memberships.values_list("user_id", flat=True)
        callers = [Actor(f"user:{user}").label for user in users]
        return IdempotencyKey.objects.filter(caller__in=callers, command=self.command)


TRANSFERS = ClientIds("gate.transfer", "tran:")
WITHDRAWALS = ClientIds("gate.withdraw", "withdraw:")


def client_id(name: str) -> Param:
    """50 characters at most: with what stands before, it is a command's key."""
    return words(name, longest=50, pattern=r"[\x21-\x7e]+", about="Sent again, it gets the first outcome.")
