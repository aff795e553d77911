"""A request that was begun is kept as it was typed, so that a closed browser loses nothing (R-VIP-10).

No money hangs on a draft: nothing is decided, reserved or told to the desk, so it is no command and leaves no audit
row. The form that takes it up judges every value again.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from accounts.models import Customer, User
from loans.models import ApplicationDraft

LONGEST: Final = {"purpose": 2500}  # characters, a little more than the field itself takes
LONG: Final = 300  # of every other value
LONG_TICK, MOST_TICKED = 30, 200

Typed = Mapping[str, str | list[str]]


def keep(*, user: User, customer: Customer, typed: Typed, at: datetime) -> None:
    """The latest state takes the place of the one before, from whichever device it comes."""
    values = {name: _kept(value, LONGEST.get(name, LONG)) for name, value in typed.items()}
    row = ApplicationDraft(user=user, customer=customer, typed=values, begun_at=at, updated_at=at)
    ApplicationDraft.objects.bulk_create(
        [row],
        update_conflicts=True,
        unique_fields=["user", "customer"],
        update_fields=["typed", "updated_at"],
    )


def draft_of(*, user: User, customer: Customer) -> ApplicationDraft | None:
    """This person's own for this customer; nobody else's."""
    return ApplicationDraft.objects.filter(user=user, customer=customer).first()


def discard(*, user: User, customer: Customer) -> bool:
    """Whether there was one."""
    gone, _ = ApplicationDraft.objects.filter(user=user, customer=customer).delete()
    return gone > 0


def _kept(value: str | list[str], longest: int) -> str | list[str]:
    """NUL is no text for the database; what is far too long for its field is cut, and refused when it is used."""
    if isinstance(value, list):
        return [one.replace("\x00", "")[:LONG_TICK] for one in value[:MOST_TICKED]]
    return value.replace("\x00", "")[:longest]
