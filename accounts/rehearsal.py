"""Running a proposed command: taken back at once when it is proposed, for good when it is released (R-ADM-03).

Both run exactly what the payload hash names, as its maker, so what would be refused is refused when it is proposed
and nothing passes as released but what was.
"""

from contextlib import suppress
from datetime import datetime
from typing import Any

from django.db import transaction

from accounts.commands import Actor, Registered, perform, releasing


class _Rehearsed(Exception):
    """Rolls a rehearsal back."""


def rehearse(
    found: Registered, exact: dict[str, Any], *, payload_hash: str, actor: Actor, at: datetime, reason: str
) -> None:
    """Run it and take it back. What it would refuse is refused, and nothing of it stays."""
    with suppress(_Rehearsed), transaction.atomic():
        run_released(found, exact, payload_hash=payload_hash, actor=actor, at=at, reason=reason)
        raise _Rehearsed


def run_released(
    found: Registered, exact: dict[str, Any], *, payload_hash: str, actor: Actor, at: datetime, reason: str
) -> Any:
    """Run it as released; `actor` is the maker."""
    token = releasing.set(payload_hash)
    try:
        signed = {**exact, "actor": actor, "at": at}
        return perform(found.name, signed | accepted(found, reason=reason))
    finally:
        releasing.reset(token)


def accepted(found: Registered, **offered: str) -> dict[str, str]:
    """A command need not ask for a reason, nor take a key."""
    names = found.function.__kwdefaults__ or {}
    asked = {*names, *found.function.__annotations__}
    return {name: value for name, value in offered.items() if name in asked}
