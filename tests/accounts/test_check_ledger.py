"""The commands an operator types: exit codes and words."""

from datetime import timedelta
from io import StringIO

import psycopg
import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from accounts import ledger
from tests import build
from tests.build import TEN


def run(*typed: str) -> str:
    out = StringIO()
    call_command(*typed, stdout=out, stderr=out)
    return out.getvalue()


def test_whole_books_say_so_in_figures(db: None) -> None:
    build.secured_debt()

    whole = f"The books are whole: {len(ledger.checks)} checks over 3 entries and 4 transfers.\n"
    assert run("check_ledger") == whole


@pytest.mark.breaks_the_books
def test_a_break_is_named_and_fails(committed_db: object) -> None:
    build.secured_debt()
    with psycopg.connect(committed_db.owner_url, autocommit=True) as owner:  # type: ignore[attr-defined]
        owner.execute("ALTER TABLE accounts_ledgeraccount DISABLE TRIGGER USER")
        owner.execute("UPDATE accounts_ledgeraccount SET debits = debits + 5 WHERE code = 'custody:BTC'")

    with pytest.raises(CommandError, match=r"3 problem\(s\)"):
        run("check_ledger")


def test_accrue_catches_up_to_the_day_it_is_given(db: None) -> None:
    """R-GEN-04"""
    build.secured_debt()
    at = (TEN + timedelta(days=2)).isoformat()

    assert run("accrue", "--at", at) == "2 charges booked up to 2026-01-03 10:00 UTC.\n"
    assert run("accrue", "--at", at) == "0 charges booked up to 2026-01-03 10:00 UTC.\n"
