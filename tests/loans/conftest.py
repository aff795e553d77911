"""The seeded demo, copied for each file that asks for it; a program and its clock."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.conf import settings
from django.core.cache import cache
from django.db import connection, transaction
from django.test import override_settings
from pytest_django.plugin import DjangoDbBlocker

from accounts import ledger
from accounts.models import JournalEntry
from loans.demo.seeding import Seeded
from tests import conftest as databases
from tests.demo import DemoDatabase
from tests.loans import dialect


@pytest.fixture(scope="module")
def seeded(django_db_blocker: DjangoDbBlocker, demo_database: DemoDatabase) -> Iterator[Seeded]:
    name = f"lombard_test_{databases.WORKER}_demo"
    on_copy = databases.default_connection_on(name, url=settings.DATABASE_URL)
    copied = databases.copy(name, demo_database.name)
    with django_db_blocker.unblock(), copied, on_copy, override_settings(DEMO=True):
        yield demo_database.made


@pytest.fixture
def demo(seeded: Seeded) -> Iterator[Seeded]:
    """Rolled back after each test; the books are proven whenever it moved money."""
    cache.clear()
    booked = JournalEntry.objects.count()
    with transaction.atomic():
        yield seeded
        if JournalEntry.objects.count() != booked:
            assert_the_books_are_whole()
        transaction.set_rollback(True)


def assert_the_books_are_whole() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    assert ledger.problems() == []


@pytest.fixture
def uncounted(settings: Any) -> None:
    """No program is stopped for asking too much."""
    dialect.uncounted(settings)


@pytest.fixture
def now() -> Iterator[dialect.Clock]:
    """Moves everybody's clock."""
    with dialect.clock() as to:
        yield to
