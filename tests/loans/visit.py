"""Visits to the pages: who looks, with which client, at which time."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

import time_machine
from django.contrib.auth.models import AnonymousUser
from django.test import Client

from accounts.models import User

BACKEND = "allauth.account.auth_backends.AuthenticationBackend"
HTMX = {"HX-Request": "true"}


def client_of(user: User | AnonymousUser) -> Client:
    client = Client()
    if isinstance(user, User):
        client.force_login(user, backend=BACKEND)
    return client


@contextmanager
def later(user: User, instant: datetime) -> Iterator[Client]:
    """Signed in again at another time: sessions do not last that long."""
    with at(instant):
        yield client_of(user)


def at(instant: datetime) -> time_machine.travel:
    """The clock of the pages stands still there."""
    return time_machine.travel(instant, tick=False)
