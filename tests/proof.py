"""The books are proven after every test, and what cannot have changed since is not proven again.

A check of the books is a function of the rows it reads, and on the untouched copy every check passes. So after a
test only those checks are asked that read a table in which the transaction of the test wrote. What a check reads is
what it was seen to read on the untouched copy: should it read more on other rows, it got there by a row that changed.
What was written is PostgreSQL's own count, which keeps what savepoints rolled back: too many checks, never too few.
"""

import re
from collections.abc import Callable
from typing import Any

from django.db import connection, transaction

from accounts import ledger

# The counts of transactions before this one are sent off when it ends, or they would still stand in the next one's.
_SEND_OFF = "SELECT pg_stat_force_next_flush()"
_WRITTEN = """
    SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND pg_stat_get_xact_tuples_inserted(oid)
        + pg_stat_get_xact_tuples_updated(oid) + pg_stat_get_xact_tuples_deleted(oid) > 0
"""
reads: dict[ledger.Check, frozenset[str]] = {}
"""The tables that each check was seen to read."""


def learn() -> None:
    """On the untouched copy: every check passes there, and what it reads is kept."""
    tables = set(connection.introspection.table_names())
    with transaction.atomic():
        for check in ledger.checks:
            reads[check] = frozenset(_words_of(check) & tables)


def problems() -> list[str]:
    """Every break in the books that this transaction can have made, in words; outside of one, every break."""
    return [problem for check in to_ask() for problem in check()]


def to_ask() -> list[ledger.Check]:
    """The checks that read what this transaction wrote; one that was not seen to read any table is always asked."""
    if not connection.in_atomic_block:
        return list(ledger.checks)
    with connection.cursor() as cursor:
        cursor.execute(_SEND_OFF)
        cursor.execute(_WRITTEN)
        written = {name for (name,) in cursor.fetchall()}
    return [check for check in ledger.checks if not (known := reads.get(check)) or known & written]


def _words_of(check: ledger.Check) -> set[str]:
    words: set[str] = set()

    def listen(execute: Callable[..., Any], statement: Any, *how: Any) -> Any:
        words.update(re.findall(r"\w+", str(statement)))
        return execute(statement, *how)

    with connection.execute_wrapper(listen):
        found = check()
    assert not found, found
    return words
