"""The ids that clients give their own transfers and withdrawals: each is the idempotency key of its command (R-GEN-06).

So a repeat gets the first outcome, and a list can be asked by it. They count by account, as the exchange's do: two
sub-accounts' programs number theirs from 1 each, and both are served.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from django.db.models import QuerySet

from accounts.commands import Actor
from accounts.models import ApiKey, IdempotencyKey
from accounts.sapi.errors import INVALID, Denied
from accounts.sapi.params import Param, words
from accounts.sapi.registry import Call
from risk.models import Movement


@dataclass(frozen=True, slots=True)
class ClientIds:
    """Those of one command. `letter` keeps them apart from the keys that others, such as pages, make up."""

    command: str
    letter: str

    def key(self, call: Call, client_id: str | None) -> str:
        """The command's key; none without an id.

        Raises:
            Denied: the account's program did something under it, with the key of another person.
        """
        if not client_id:
            return ""
        found = self._under(call, client_id)
        if found.exclude(caller=call.actor.label).exists():
            raise Denied(INVALID, "This id was used already, with a colleague's key; nothing was done.")
        return f"{self._before(call)}{client_id}"

    def made(self, call: Call, client_id: str) -> list[int]:
        """The movements made under it; one, unless two people's programs chose the same at the same instant."""
        found = self._under(call, client_id).values_list("result", flat=True)
        return [int(result) for result in found if result and result.isdigit()]  # else it waits as a proposal

    def of(self, call: Call, rows: Iterable[Movement]) -> dict[int, str]:
        """The client's id of each movement that has one."""
        wanted, before = [str(row.pk) for row in rows], self._before(call)
        found = self._rows(call).filter(key__startswith=before, result__in=wanted)
        told = found.values_list("result", "key")
        return {int(result): key.removeprefix(before) for result, key in told if result}

    def _under(self, call: Call, client_id: str) -> "QuerySet[IdempotencyKey]":
        return self._rows(call).filter(key=f"{self._before(call)}{client_id}")

    def _before(self, call: Call) -> str:
        return f"{self.letter}:{call.account.pk}:"

    def _rows(self, call: Call) -> "QuerySet[IdempotencyKey]":
        """Of all who ever had a key: what somebody's program did stays when they have left."""
        keys = ApiKey.objects.filter(account__customer=call.customer)
        callers = [Actor(f"user:{user}").label for user in keys.values_list("user_id", flat=True).distinct()]
        return IdempotencyKey.objects.filter(caller__in=callers, command=self.command)


TRANSFERS = ClientIds("gate.transfer", "t")
WITHDRAWALS = ClientIds("gate.withdraw", "w")


def client_id(name: str) -> Param:
    """45 characters at most: with what stands before, it is a command's key."""
    return words(name, longest=45, pattern=r"[\x21-\x7e]+", about="Sent again, it gets the first outcome.")
