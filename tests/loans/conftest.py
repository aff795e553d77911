"""The seeded demo: made once for each file that asks for it, and rolled back at its end; a program and its clock."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import override_settings
from pytest_django.plugin import DjangoDbBlocker

from accounts import ledger
from accounts.models import JournalEntry
from loans.demo import seeding
from loans.demo.seeding import Seeded
from tests.loans import dialect

DEMO_NOW = datetime(2026, 11, 20, 9, 17, 23, tzinfo=UTC)


@pytest.fixture(scope="module")
def seeded(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Seeded]:
    with django_db_blocker.unblock(), transaction.atomic(), override_settings(DEMO=True):
        made = seeding.seed(at=DEMO_NOW)
        assert made is not None
        assert_the_books_are_whole()
        yield made
        transaction.set_rollback(True)


@pytest.fixture
def demo(seeded: Seeded) -> Iterator[Seeded]:
    """A savepoint of it; the books are proven whenever a test moved money."""
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
