"""The demo's desk as its dealings look it up: who works there, who its clients are, and which day it is."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from functools import partial

from accounts.commands import Actor
from accounts.models import User
from loans.demo.company import Resident
from loans.demo.parts import MASTER
from loans.demo.plots import Event, World
from risk.models import CollateralGroup

Dealing = tuple[str, Callable[["Desk", datetime], object]]
"""How many days before the end, and what is done then."""


@dataclass(frozen=True, slots=True)
class Desk:
    """Whom the dealings are with, by name, and by whom they are made."""

    world: World
    residents: Mapping[str, Resident]
    staff: Mapping[str, User]

    def actor(self, name: str) -> Actor:
        return Actor.user(self.staff[name])

    def at(self, days: str) -> datetime:
        return self.world.before(days)

    def group(self, name: str, receiver: str = MASTER) -> CollateralGroup:
        """The open group of the customer whose loans are paid into that account."""
        return CollateralGroup.objects.open().get(customer=self.residents[name].customer, name=receiver)

    def midnight_after(self, days: int) -> datetime:
        day = self.world.end.astimezone(UTC).date() + timedelta(days=days)
        return datetime.combine(day, time(), UTC)

    def told(self, dealings: tuple[Dealing, ...]) -> Iterator[Event]:
        """The dealings as events, in no order."""
        for days, act in dealings:
            yield self.event(self.at(days), act)

    def event(self, at: datetime, act: Callable[["Desk", datetime], object]) -> Event:
        return Event(at, act.__name__.strip("_").replace("_", " "), partial(act, self))
