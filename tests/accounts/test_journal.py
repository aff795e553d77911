"""The journal as CSV: every transfer once, in one order, and its sums are the trial balance (R-ADM-11)."""

import csv
import io
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from accounts import books, exports, journal, ledger
from accounts.commands import Actor
from accounts.exchange import exchange
from accounts.models import Export, JournalEntry, LedgerAccount, Transfer
from risk import accrual, corrections, entries
from risk.models import Debt, DebtEntry
from tests import build
from tests.build import BUILDER, LONG_AGO, NOON

pytestmark = pytest.mark.django_db
START, JANUARY = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
EVER = {
    "after": datetime(2019, 1, 1, tzinfo=UTC).isoformat(),
    "through": datetime(2027, 1, 1, tzinfo=UTC).isoformat(),
}
MONTH = {"after": START.isoformat(), "through": JANUARY.isoformat()}


def read(file: exports.File) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(file.content.decode())))


def of_nobody(done: int, total: int) -> None:
    """Progress that nobody watches."""


def january() -> Debt:
    debt = build.secured_debt()
    accrual.accrue(at=JANUARY + timedelta(days=2))
    return debt


def test_the_journal_adds_up_to_the_trial_balance() -> None:
    """R-ADM-11, R-GEN-05: read back from the file, account by account, to the last unit."""
    january()
    entry = exchange().deposit(
        wallet=books.wallet(build.account(build.customer()), "BTC"), amount=Decimal("0.1"), key="d", at=NOON
    )
    corrections.reverse(entry_id=entry.pk, actor=BUILDER, at=NOON, reason="x")

    for arguments in (EVER, EVER | {"through": JANUARY.isoformat()}):
        found = read(journal.make_journal(arguments, NOON, of_nobody))

        sums: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
        for row in found:
            sums[row["debit"]][0] += Decimal(row["amount"])
            sums[row["credit"]][1] += Decimal(row["amount"])
        through = datetime.fromisoformat(arguments["through"])
        balance = ledger.trial_balance(at=through)
        assert sums == {row.code: [row.debits, row.credits] for row in balance}
        told = read(journal.make_trial_balance(arguments, NOON, of_nobody))
        assert [(row["account"], Decimal(row["debits"])) for row in told] == [
            (row.code, row.debits) for row in balance
        ]
    assert [row["reverses"] for row in found if row["kind"] == "reversal"] == [str(entry.pk)]


def test_the_debt_entries_add_up_to_the_control_accounts() -> None:
    """R-ADM-11: principal, interest and late fee of the file are what the controls hold."""
    debt = january()

    found = read(entries.make(EVER, NOON, of_nobody))

    for part in ("principal", "interest", "late_fee"):
        total = sum((Decimal(row[part]) for row in found), Decimal(0))
        assert LedgerAccount.objects.get(kind=part, asset="USDT").balance == total
    assert len(found) == DebtEntry.objects.count() == 34
    charge = found[1]
    assert (charge["debt"], charge["kind"], charge["basis"]) == (str(debt.pk), "charge", "1000000.00000000")
    assert (charge["interest"], charge["period_end_utc"]) == ("230.13698631", "2026-01-02 00:00:00")


def test_a_period_begins_after_its_start_and_ends_with_its_end() -> None:
    """R-ADM-11: the charge of 31 January is January's, and the next day's is not."""
    january()

    dates = [row["at_utc"] for row in read(journal.make_journal(MONTH, NOON, of_nobody))]

    assert dates == sorted(dates)
    assert dates[0] == "2026-01-01 10:00:00"
    assert dates[-1] == "2026-02-01 00:00:00"
    assert read(entries.make(MONTH, NOON, of_nobody))[-1]["at_utc"] == "2026-02-01 00:00:00"


def test_the_same_period_makes_the_same_bytes() -> None:
    """R-ADM-11"""
    january()
    first = journal.make_journal(MONTH, NOON, of_nobody)
    build.deposit(build.account(build.customer()), "BTC", "1", at=JANUARY + timedelta(days=1))

    assert journal.make_journal(MONTH, NOON + timedelta(days=90), of_nobody) == first
    assert first.name == "journal-2026-01-01T0000-to-2026-02-01T0000.csv"


def test_a_cell_that_a_spreadsheet_would_run_is_text() -> None:
    """R-ADM-11: what comes from outside is never a formula; amounts are plain decimals."""
    wallet = books.wallet(build.account(build.customer()), build.asset("USDT"))
    exchange().deposit(wallet=wallet, amount=Decimal("0.00000001"), key='=HYPERLINK("http://x")', at=NOON)

    [row] = read(journal.make_journal(EVER, NOON, of_nobody))

    assert (row["reference"], row["amount"]) == ('\'=HYPERLINK("http://x")', "0.00000001")


def test_an_entry_without_transfers_is_a_row() -> None:
    """R-ADM-11: a day at 0 % and a renewal move debts only."""
    build.secured_debt(rate="0")
    accrual.accrue(at=NOON + timedelta(days=1))

    last = read(journal.make_journal(EVER, NOON, of_nobody))[-1]

    assert (last["kind"], last["debit"], last["amount"]) == ("accrual", "", "")


def test_the_exports_run_as_jobs_that_say_how_far_they_are() -> None:
    """R-ADM-11: asked for, made by the job, kept with a digest."""
    january()
    user = build.user("finance")
    for kind in (journal.JOURNAL, journal.TRIAL_BALANCE, entries.DEBT_ENTRIES):
        exports.ask(kind=kind, title=kind, arguments=MONTH, actor=Actor.user(user), at=NOON)

    assert exports.run_due(at=NOON) == 3

    assert {row.status for row in Export.objects.all()} == {Export.Status.DONE}
    told: list[tuple[int, int]] = []
    journal.make_journal(EVER, NOON, lambda done, total: told.append((done, total)))
    assert told[0] == (0, JournalEntry.objects.count())
    assert Transfer.objects.filter(entry__at__lte=LONG_AGO).exists()
