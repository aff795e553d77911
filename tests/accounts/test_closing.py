"""Closed months: who closes them, what keeps them open, and that nothing is booked in them any more (R-ADM-11)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import Error, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import approvals, books, closing, ledger, tasks
from accounts.commands import Actor, NeedsApproval, NotYourRole
from accounts.exchange import exchange
from accounts.models import Approval, AuditRecord, JournalEntry, PeriodClose
from risk import accrual
from tests import build
from tests.build import BUILDER, NOON

JANUARY = datetime(2026, 2, 1, tzinfo=UTC)  # where it ends
FEBRUARY = datetime(2026, 3, 1, tzinfo=UTC)
AFTER = JANUARY + timedelta(hours=9)
DAY = timedelta(days=1)


@pytest.fixture
def charged(db: None) -> None:
    """A debt of 1 January with every day of January charged."""
    build.secured_debt()
    accrual.accrue(at=AFTER)


def close(through: datetime = JANUARY, *, at: datetime = AFTER) -> PeriodClose:
    return closing.close(through=through, actor=BUILDER, at=at)


def deposited(at: datetime, key: str = "late") -> JournalEntry:
    wallet = books.wallet(build.account(build.customer()), build.asset("USDT"))
    return exchange().deposit(wallet=wallet, amount=Decimal(5), key=key, at=at)


# --- What is kept --------------------------------------------------------------------------------------------


def test_a_closed_month_keeps_its_trial_balance(charged: None) -> None:
    """R-ADM-11: both sums of every account as text, at the end of the month, not as they are later."""
    deposited(AFTER - timedelta(minutes=1))  # February's

    row = close()

    kept = row.trial_balance
    # 31 charges of 1,000,000 x 0.084 / 365 = 230.13698630… each, rounded up: 230.13698631.
    assert kept["interest:USDT"] == ["7134.24657561", "0.00000000"]
    assert kept["interest_income:USDT"] == ["0.00000000", "7134.24657561"]
    assert kept["pool:USDT"] == ["1000000.00000000", "1000000.00000000"]
    assert kept["custody:USDT"] == ["1000000.00000000", "0.00000000"]
    for side in (0, 1):
        assert sum(Decimal(sums[side]) for code, sums in kept.items() if code.endswith("USDT")) == sum(
            Decimal(sums[1 - side]) for code, sums in kept.items() if code.endswith("USDT")
        )
    assert row.sha256 == closing.digest(through=JANUARY, balance=kept, previous="")
    assert closing.closed_through() == JANUARY


def test_each_close_is_chained_to_the_one_before(charged: None) -> None:
    """R-ADM-11"""
    first = close()
    accrual.accrue(at=FEBRUARY)
    second = close(FEBRUARY, at=FEBRUARY)

    assert second.sha256 == closing.digest(
        through=FEBRUARY, balance=second.trial_balance, previous=first.sha256
    )
    assert closing.tampered() == []


def test_a_close_over_two_months_closes_both(charged: None) -> None:
    """R-ADM-11"""
    accrual.accrue(at=FEBRUARY)
    row = close(FEBRUARY, at=FEBRUARY)

    found = {period.through: period.close for period in closing.periods(at=FEBRUARY + timedelta(days=3))}
    assert (found[JANUARY], found[FEBRUARY]) == (row, row)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moments=st.lists(
        st.just(JANUARY) | st.timedeltas(-31 * DAY, 31 * DAY).map(lambda span: JANUARY + span), max_size=8
    )
)
def test_the_trial_balance_of_an_instant_is_what_was_booked_by_then(
    db: None, moments: list[datetime]
) -> None:
    """R-ADM-11, R-GEN-05: entries at the instant belong to it; balances and trial balance say the same."""
    with transaction.atomic():
        account = build.account(build.customer())
        wallet = books.wallet(account, build.asset("USDT"))
        for number, moment in enumerate(moments, start=1):
            exchange().deposit(wallet=wallet, amount=Decimal(number), key=f"d:{number}", at=moment)

        due = sum((Decimal(n) for n, moment in enumerate(moments, start=1) if moment <= JANUARY), Decimal(0))
        rows = {row.code: row for row in ledger.trial_balance(at=JANUARY)}
        held = ledger.balances_at(account_ids=[account.pk], at=JANUARY)
        late = ledger.balances_at(account_ids=[account.pk], at=FEBRUARY + timedelta(days=9))

        assert held.get((account.pk, "spot", "USDT"), Decimal(0)) == due
        assert (rows[wallet.code].credits if wallet.code in rows else 0) == due
        assert late == ({} if not moments else ledger.balances(account_ids=[account.pk]))
        transaction.set_rollback(True)


def test_a_balance_of_an_instant_counts_what_left_by_then(db: None) -> None:
    """R-ADM-11: wallets as of an instant, by kind and coin; what nothing had touched is absent."""
    account = build.account(build.customer())
    build.deposit(account, "BTC", "2", at=NOON)
    build.deposit(account, "USDT", "70", at=NOON + timedelta(days=2))
    exchange().pay_out(
        wallet=books.wallet(account, "BTC"), amount=Decimal("0.5"), key="out", at=NOON + timedelta(days=1)
    )
    kinds = ("spot", "fiat", "funding")

    def at(days: int) -> dict[tuple[int, str, str], Decimal]:
        return ledger.balances_at(account_ids=[account.pk], kinds=kinds, at=NOON + timedelta(days=days))

    btc, usdt = (account.pk, "spot", "BTC"), (account.pk, "spot", "USDT")
    assert at(-1) == {}
    assert at(0) == {btc: 2}
    assert at(1) == {btc: Decimal("1.5")}
    assert at(2) == {btc: Decimal("1.5"), usdt: 70}


# --- What is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("through", "words"),
    [
        (JANUARY + timedelta(hours=1), "ends on the first of a month"),
        (JANUARY + timedelta(days=1), "ends on the first of a month"),
        (FEBRUARY, "not over yet"),
    ],
)
def test_only_a_month_that_is_over_closes(charged: None, through: datetime, words: str) -> None:
    """R-ADM-11"""
    with pytest.raises(closing.BadPeriod, match=words):
        close(through)

    assert not PeriodClose.objects.exists()


def test_a_month_closes_once_and_none_before_it(charged: None) -> None:
    """R-ADM-11"""
    close()

    for through in (JANUARY, datetime(2026, 1, 1, tzinfo=UTC)):
        with pytest.raises(closing.BadPeriod, match=r"closed through 1 February 2026 00:00 UTC already"):
            close(through)

    assert PeriodClose.objects.count() == 1


def test_a_month_with_charges_to_come_stays_open(db: None) -> None:
    """R-ADM-11, R-GEN-04: a late accrual must not find its month closed."""
    debt = build.secured_debt()
    accrual.accrue(at=JANUARY - timedelta(days=1))

    with pytest.raises(closing.StillToBook, match=f"interest of 1 debt.s., such as {debt}"):
        close()
    assert not PeriodClose.objects.exists()

    accrual.accrue(at=AFTER)
    close()


def test_a_debt_that_waits_for_its_expiry_keeps_the_month_open(db: None) -> None:
    """R-ADM-11, R-VIP-47: its charges after the expiry are still to come, dated in the month."""
    debt = build.secured_debt(due_at=JANUARY - timedelta(days=3))
    accrual.accrue(at=AFTER)

    with pytest.raises(closing.StillToBook, match=str(debt)):
        close()


@pytest.mark.breaks_the_books
def test_broken_books_are_not_closed(committed_db: Any) -> None:
    """R-ADM-11"""
    build.fund_pool("USDT", "5")
    with psycopg.connect(committed_db.owner_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE accounts_ledgeraccount DISABLE TRIGGER USER")
        owner.execute("UPDATE accounts_ledgeraccount SET debits = debits + 5 WHERE code = 'pool:USDT'")

    with pytest.raises(closing.BooksBroken, match="pool:USDT"):
        close()

    assert not PeriodClose.objects.exists()


# --- Nothing is booked in a closed month -----------------------------------------------------------------------


@pytest.mark.parametrize("at", [JANUARY, NOON])
def test_a_closed_month_refuses_postings(charged: None, at: datetime) -> None:
    """R-ADM-11: in words, with what can be done; nothing moves."""
    close()
    before = {row.code: row for row in ledger.trial_balance(at=FEBRUARY)}

    with pytest.raises(ledger.PeriodClosed, match="closed through 1 February 2026 00:00 UTC") as refused:
        deposited(at)

    assert refused.value.code == "period_closed"
    assert {row.code: row for row in ledger.trial_balance(at=FEBRUARY)} == before
    assert deposited(JANUARY + timedelta(microseconds=1), "on time").pk


def test_a_closed_month_refuses_postings_past_python(charged: None) -> None:
    """R-ADM-11: as the application's role, straight to the tables."""
    close()
    insert = "INSERT INTO accounts_journalentry (kind, reference, at) VALUES ('x', 'raw', %s)"
    for attack, values in (
        (insert, [JANUARY]),
        (insert, [NOON]),
        ("UPDATE accounts_periodclose SET through = '2020-01-01'", []),
        ("DELETE FROM accounts_periodclose", []),
        ("TRUNCATE accounts_periodclose", []),
        ("UPDATE accounts_journalentry SET at = '2026-01-05'", []),
    ):
        with pytest.raises(Error), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(attack, values)

    assert not JournalEntry.objects.filter(reference="raw").exists()
    assert PeriodClose.objects.get().through == JANUARY


def test_days_after_the_close_are_charged_as_ever(charged: None) -> None:
    """R-ADM-11, R-GEN-04"""
    close()

    assert accrual.accrue(at=JANUARY + timedelta(days=3)) == 3
    assert closing.tampered() == []


@pytest.mark.parametrize("turn", range(3))
def test_a_posting_that_races_a_close_is_in_it_or_refused(
    committed_db: Any, in_threads: Callable[[list[Callable[[], Any]]], list[Any]], turn: int
) -> None:
    """R-ADM-11: whoever posts first is in the trial balance, whoever comes later is refused."""
    account = build.account(build.customer())
    wallet = books.wallet(account, build.asset("USDT"))
    build.deposit(account, "USDT", "1", at=NOON)

    def post(number: int) -> Callable[[], JournalEntry]:
        return lambda: exchange().deposit(wallet=wallet, amount=Decimal(1), key=f"race:{number}", at=JANUARY)

    *posted, closed = in_threads([*(post(number) for number in range(6)), close])

    went = [result for result in posted if isinstance(result, JournalEntry)]
    refused = [result for result in posted if isinstance(result, ledger.PeriodClosed)]
    assert len(went) + len(refused) == 6
    assert isinstance(closed, PeriodClose)
    assert closed.trial_balance[wallet.code] == ["0.00000000", f"{1 + len(went)}.00000000"]
    assert closing.tampered() == []


# --- Proof -----------------------------------------------------------------------------------------------------


@pytest.mark.breaks_the_books
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            "UPDATE accounts_periodclose SET trial_balance = jsonb_set(trial_balance, '{pool:USDT}', '[\"1\", \"1\"]')",
            "no longer what was kept",
        ),
        ("UPDATE accounts_periodclose SET sha256 = repeat('0', 64)", "digest"),
        (
            "UPDATE accounts_journalentry SET at = '2026-02-03' WHERE kind = 'deposit'",
            "no longer what was kept",
        ),
    ],
)
def test_check_ledger_finds_a_close_that_was_tampered_with(committed_db: Any, fault: str, words: str) -> None:
    """R-ADM-11"""
    build.fund_pool("USDT", "5")
    build.deposit(build.account(build.customer()), "USDT", "1", at=NOON)
    close()
    assert ledger.problems() == []
    with psycopg.connect(committed_db.owner_url, autocommit=True) as owner:
        owner.execute("ALTER TABLE accounts_periodclose DISABLE TRIGGER USER")
        owner.execute("ALTER TABLE accounts_journalentry DISABLE TRIGGER USER")
        owner.execute(fault)

    assert any(words in problem for problem in ledger.problems())


def test_the_hourly_check_is_kept_in_the_trail(db: None) -> None:
    """R-ADM-11: people see when the books were proven, and what was found."""
    assert closing.last_proof() is None

    tasks.check_books()

    row = closing.last_proof()
    assert row is not None
    assert (row.actor, row.after["problems"]) == ("job:check-books", [])


# --- Four eyes -------------------------------------------------------------------------------------------------


def test_one_person_proposes_a_close_and_another_releases_it(charged: None) -> None:
    """R-ADM-11, R-ADM-03"""
    maker, checker, auditor = build.user("finance"), build.user("admin"), build.user("auditor")
    with pytest.raises(NotYourRole):
        closing.close(through=JANUARY, actor=Actor.user(auditor), at=AFTER)
    with pytest.raises(NeedsApproval):
        closing.close(through=JANUARY, actor=Actor.user(maker), at=AFTER)
    proposal = approvals.propose(
        command="books.close",
        arguments={"through": JANUARY},
        title="Close January",
        preview={},
        reason="Reconciled",
        actor=Actor.user(maker),
        at=AFTER,
    )
    assert not PeriodClose.objects.exists()

    with pytest.raises(approvals.OwnProposal):
        approvals.release(approval_id=proposal.pk, actor=Actor.user(maker), at=AFTER)
    done = approvals.release(approval_id=proposal.pk, actor=Actor.user(checker), at=AFTER)

    row = PeriodClose.objects.get()
    assert (row.closed_by, row.closed_at, done.status) == (maker, AFTER, Approval.Status.RELEASED)
    assert AuditRecord.objects.filter(subject=f"accounts_periodclose:{row.pk}", kind="insert").exists()
