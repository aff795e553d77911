"""The ledger as the application's role meets it: what it books, and every attack it refuses (TRUST section 3)."""

from decimal import Decimal

import pytest
from django.db import Error, connection, transaction

from accounts import books, ledger
from accounts.commands import acting
from accounts.models import Account, Asset, JournalEntry, LedgerAccount, Transfer
from tests import build
from tests.build import NOON


@pytest.fixture
def sub(db: None) -> Account:
    account = build.account(build.customer())
    build.deposit(account, "USDT", "100")
    return account


def post(sub: Account, amount: str, reference: str = "test:1") -> JournalEntry:
    wallet = books.wallet(sub, "USDT")
    line = ledger.Line(wallet, books.custody("USDT"), Decimal(amount))
    return ledger.post(kind="withdrawal", reference=reference, lines=[line], at=NOON)


def execute(sql: str, *parameters: object) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def test_a_posting_moves_both_totals_and_nothing_else(sub: Account) -> None:
    """R-GEN-05, I-05"""
    post(sub, "30")

    wallet = books.wallet(sub, "USDT")
    assert (wallet.debits, wallet.credits, wallet.balance) == (30, 100, 70)
    assert books.custody("USDT").balance == 70


def test_a_reference_is_booked_once(sub: Account) -> None:
    """I-25"""
    post(sub, "30")

    with pytest.raises(ledger.AlreadyPosted):
        post(sub, "30")

    assert build.balance(sub, "USDT") == 70


def test_a_wallet_is_never_overdrawn(sub: Account) -> None:
    """I-03: refused by the database, and nothing stays of the attempt."""
    with pytest.raises(ledger.Overdrawn):
        post(sub, "100.00000001")

    assert build.balance(sub, "USDT") == 100
    assert not JournalEntry.objects.filter(reference="test:1").exists()


@pytest.mark.parametrize("amount", ["NaN", "0", "-1", "1000000000000000000"])
def test_amounts_are_finite_positive_and_bounded(sub: Account, amount: str) -> None:
    """I-04: written past Python, straight to the table."""
    wallet, custody = books.wallet(sub, "USDT"), books.custody("USDT")
    with transaction.atomic():
        entry = JournalEntry.objects.create(kind="test", reference="test:2", at=NOON)
        with pytest.raises(Error, match="transfer_amount_positive_and_bounded"):
            execute(
                "INSERT INTO accounts_transfer (entry_id, debit_id, credit_id, amount)"
                " VALUES (%s, %s, %s, %s::numeric)",
                entry.pk,
                wallet.pk,
                custody.pk,
                amount,
            )
        transaction.set_rollback(True)


def test_a_transfer_stays_in_one_asset(sub: Account) -> None:
    """I-06"""
    build.asset("BTC")
    line = ledger.Line(books.wallet(sub, "USDT"), books.custody("BTC"), Decimal(1))

    with pytest.raises(Error, match="mixes assets"):
        ledger.post(kind="test", reference="test:3", lines=[line], at=NOON)


def test_a_transfer_is_no_finer_than_its_asset(sub: Account) -> None:
    """I-29"""
    build.asset("EUR", places=2, kind="fiat")
    line = ledger.Line(books.custody("EUR"), books.wallet(sub, "EUR"), Decimal("1.001"))

    with pytest.raises(Error, match="finer than the asset"):
        ledger.post(kind="test", reference="test:4", lines=[line], at=NOON)


@pytest.mark.parametrize(
    "attack",
    [
        "UPDATE accounts_ledgeraccount SET credits = credits + 1",
        "UPDATE accounts_ledgeraccount SET may_overdraw = true",
        "DELETE FROM accounts_ledgeraccount",
        "UPDATE accounts_transfer SET amount = amount + 1",
        "DELETE FROM accounts_transfer",
        "TRUNCATE accounts_transfer CASCADE",
        "UPDATE accounts_journalentry SET reference = reference || '!'",
        "DELETE FROM accounts_journalentry",
        "UPDATE accounts_auditrecord SET actor = 'nobody'",
        "DELETE FROM accounts_auditrecord",
        "INSERT INTO accounts_controlsum (entry_id, account_id, ledger, subledger) SELECT 1, 1, 1, 1",
        "ALTER TABLE accounts_transfer DISABLE TRIGGER ALL",
        "SET session_replication_role = replica",
        "INSERT INTO accounts_ledgeraccount (code, kind, asset_id, normal, may_overdraw, debits, credits)"
        " VALUES ('pool:USDT2', 'pool', 'USDT', 'debit', false, 1000, 0)",
        "INSERT INTO accounts_ledgeraccount (code, kind, asset_id, normal, may_overdraw, debits, credits)"
        " VALUES ('free money', 'capital', 'USDT', 'credit', true, 0, 0)",
    ],
)
def test_the_application_may_not_touch_totals_or_history(sub: Account, attack: str) -> None:
    """I-05, I-07, I-34: refused as the application's role, whatever the code would do."""
    with pytest.raises(Error):
        execute(attack)

    assert build.balance(sub, "USDT") == 100


def test_nothing_joins_an_entry_of_an_earlier_transaction(committed_db: object) -> None:
    """I-08: even a pair that would balance."""
    sub = build.account(build.customer())
    build.deposit(sub, "USDT", "100")
    entry = JournalEntry.objects.get()

    with pytest.raises(Error, match="sealed"):
        Transfer.objects.create(
            entry=entry, debit=books.custody("USDT"), credit=books.wallet(sub, "USDT"), amount=Decimal(1)
        )

    assert build.balance(sub, "USDT") == 100


def test_nobody_runs_what_has_the_owners_rights(db: None) -> None:
    """I-05, I-34: such a function reads no temporary table first, and is on no table the owner did not put it on."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT proname, proconfig, has_function_privilege(oid, 'EXECUTE') FROM pg_proc"
            " WHERE prosecdef AND pronamespace = 'public'::regnamespace ORDER BY proname"
        )
        rows = cursor.fetchall()

    assert {"accounts_apply_transfers", "accounts_audit", "accounts_entry_is_whole"} <= {
        row[0] for row in rows
    }
    assert [row[0] for row in rows if "search_path=public, pg_temp" not in row[1] or row[2]] == []


def test_a_temporary_table_hides_nothing_from_the_guards(committed_db: object) -> None:
    """I-05, I-08: neither the seal of an old entry nor the totals of the real accounts."""
    sub = build.account(build.customer())
    build.deposit(sub, "USDT", "100")
    entry = JournalEntry.objects.get()

    with transaction.atomic():
        execute(
            "CREATE TEMPORARY TABLE accounts_journalentry (id bigint, reference text, xid xid8) ON COMMIT DROP"
        )
        execute("GRANT SELECT ON pg_temp.accounts_journalentry TO PUBLIC")
        execute(
            "INSERT INTO pg_temp.accounts_journalentry VALUES (%s, 'old', pg_current_xact_id())", entry.pk
        )
        with pytest.raises(Error, match="sealed"):
            execute(
                "INSERT INTO accounts_transfer (entry_id, debit_id, credit_id, amount) VALUES (%s, %s, %s, 1)",
                *(entry.pk, books.custody("USDT").pk, books.wallet(sub, "USDT").pk),
            )
    with transaction.atomic():
        execute(
            "CREATE TEMPORARY TABLE accounts_ledgeraccount ON COMMIT DROP AS SELECT * FROM accounts_ledgeraccount"
        )
        execute("GRANT ALL ON pg_temp.accounts_ledgeraccount TO PUBLIC")
        post(sub, "30")

    assert build.balance(sub, "USDT") == 70


def test_the_totals_move_for_no_table_of_ones_own(sub: Account) -> None:
    """I-05: the transfers' trigger on another table would move totals without transfers."""
    execute(
        "CREATE TEMPORARY TABLE mine (entry_id bigint, debit_id bigint, credit_id bigint, amount numeric)"
    )

    with pytest.raises(Error, match="permission denied for function"):
        execute(
            "CREATE TRIGGER mine AFTER INSERT ON mine REFERENCING NEW TABLE AS added"
            " FOR EACH STATEMENT EXECUTE FUNCTION accounts_apply_transfers()"
        )

    assert build.balance(sub, "USDT") == 100


def test_an_assets_places_do_not_change_once_used(sub: Account) -> None:
    """R-GEN-01, I-29: what was booked at eight places could never leave at two."""
    build.asset("FREE")
    with acting(build.BUILDER):
        with pytest.raises(Error, match="places of USDT are in use"):
            execute("UPDATE accounts_asset SET places = 2 WHERE symbol = 'USDT'")
        execute("UPDATE accounts_asset SET places = 2 WHERE symbol = 'FREE'")

    assert Asset.objects.get(pk="USDT").places == 8
    assert Asset.objects.get(pk="FREE").places == 2


def test_an_entry_that_moves_nothing_is_refused_at_commit(committed_db: object) -> None:
    """I-02"""
    with pytest.raises(Error, match="moves nothing"), transaction.atomic():
        JournalEntry.objects.create(kind="test", reference="test:empty", at=NOON)

    assert not JournalEntry.objects.exists()


def test_a_control_posting_without_its_debt_is_refused_at_commit(committed_db: object) -> None:
    """I-11: the general ledger cannot say more is owed than the debts do."""
    build.fund_pool("USDT", "100")
    line = ledger.Line(books.principal("USDT"), books.pool("USDT"), Decimal(10))

    with pytest.raises(Error, match="control accounts and debts differ"), transaction.atomic():
        ledger.post(kind="test", reference="test:control", lines=[line], at=NOON)

    assert books.principal("USDT").balance == 0


def test_entries_carry_the_databases_own_clock(sub: Account) -> None:
    """I-33: `at` is ours to say, `recorded_at` is not."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_journalentry (kind, reference, at, recorded_at) VALUES ('t', 'forged', now(), %s)"
            " RETURNING recorded_at > now() - interval '1 hour'",
            ["2001-01-01"],
        )
        row = cursor.fetchone()
        cursor.execute(
            "INSERT INTO accounts_transfer (entry_id, debit_id, credit_id, amount) SELECT e.id, d.id, c.id, 1"
            " FROM accounts_journalentry e, accounts_ledgeraccount d, accounts_ledgeraccount c"
            " WHERE e.reference = 'forged' AND d.kind = 'custody' AND c.kind = 'spot'"
        )  # so that it moves something
    assert row == (True,)


@pytest.mark.breaks_the_books
def test_check_ledger_names_every_planted_break(committed_db: object) -> None:
    """I-01, I-05, I-30: planted by the owner with the triggers off."""
    sub = build.account(build.customer())
    build.deposit(sub, "USDT", "100")
    assert ledger.problems() == []

    import psycopg

    with psycopg.connect(committed_db.owner_url, autocommit=True) as owner:  # type: ignore[attr-defined]
        owner.execute("ALTER TABLE accounts_ledgeraccount DISABLE TRIGGER USER")
        owner.execute("UPDATE accounts_ledgeraccount SET credits = credits + 1 WHERE kind = 'spot'")

    found = ledger.problems()
    assert any("totals" in problem and f"spot:{sub.pk}:USDT" in problem for problem in found)
    assert any("debits and credits differ by -1" in problem for problem in found)
    assert any("custody holds 100" in problem and "101" in problem for problem in found)


def test_wallets_of_one_account_kind_and_coin_are_one(sub: Account) -> None:
    first, second = books.wallet(sub, "USDT"), books.wallet(sub.pk, "USDT")

    assert first == second
    assert LedgerAccount.objects.filter(account=sub).count() == 1
