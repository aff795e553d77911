"""The world of tests/sapi/world.py: made once for each file, and every test gets a savepoint of it."""

from collections.abc import Iterator

import pytest
from django.core.cache import cache
from django.db import connection, transaction
from django.test import override_settings
from pytest_django.plugin import DjangoDbBlocker

from accounts import ledger
from accounts.models import JournalEntry
from tests.loans import visit
from tests.sapi import world as worlds
from tests.sapi.world import World

UNCOUNTED = {"SAPI_FAILURES": 10**9, "SAPI_IP_WEIGHT": 10**9, "SAPI_UID_WEIGHT": 10**9, "API_WEIGHT": 10**9}


@pytest.fixture(scope="module")
def lived(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    with django_db_blocker.unblock(), transaction.atomic(), visit.at(worlds.NOW):
        with connection.cursor() as cursor:  # what is sent is thought up in between, which takes its time
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        made = worlds.make()
        assert_the_books_are_whole()
        cache.clear()
        yield made
        transaction.set_rollback(True)


@pytest.fixture
def world(lived: World) -> Iterator[World]:
    """Nobody is stopped for asking too much; the books are proven whenever a test moved money."""
    booked = JournalEntry.objects.count()
    with transaction.atomic(), override_settings(**UNCOUNTED):
        yield lived
        if JournalEntry.objects.count() != booked:
            assert_the_books_are_whole()
        transaction.set_rollback(True)


def assert_the_books_are_whole() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    assert ledger.problems() == []
