"""The daily charge in SQL and in Python is one rule: the same rows, to the last digit, however the work is cut."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.commands import acting
from accounts.models import JournalEntry
from risk import accrual, accrual_sql, debts
from risk.models import CollateralGroup, Debt, DebtEntry
from tests import build
from tests.build import BUILDER, TEN
from tests.risk.nights import HOUR, START, Book, books, charged, group_and_coins, opened

DAY = timedelta(days=1)


@pytest.fixture
def market(db: None) -> CollateralGroup:
    return group_and_coins()


@contextmanager
def undone() -> Iterator[None]:
    """What happens in here is taken back, so that the same book can be charged again."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def by_hand(pks: list[int], *, at: datetime) -> list[int]:
    """Charge each debt through the door that every command uses; which could not be charged."""
    failed = []
    for pk in pks:
        try:
            with acting(BUILDER):
                [debt] = Debt.objects.locked(pk)
                if debt.residual_since is None:
                    until = debt.due_at if accrual.awaits_expiry(debt, at) else at
                    assert until is not None
                    debts.bring_up_to_date([debt], at=until)
        except LookupError:  # no rate was published
            failed.append(pk)
    return failed


def by_sql(*, at: datetime, chunk: int) -> list[int]:
    try:
        accrual.accrue(at=at, chunk=chunk)
    except accrual.AccrualIncomplete as incomplete:
        return sorted(incomplete.args[0])
    return []


@pytest.mark.timeout(300)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(book=books(), chunks=st.lists(st.integers(1, 7), min_size=1, max_size=2))
def test_sql_and_python_charge_the_same(
    db: None, market: CollateralGroup, book: Book, chunks: list[int]
) -> None:
    """R-VIP-30, R-VIP-31, R-VIP-32, R-VIP-43, R-VIP-45, R-VIP-47, R-GEN-02, R-GEN-03, R-GEN-04, R-GEN-30, TRUST E6"""
    at = START + book.until * HOUR
    with undone():
        pks = [debt.pk for debt in opened(book, market)]
        with undone():
            failed = by_hand(pks, at=at)
            told = charged(pks)
        for chunk in chunks:
            with undone():
                assert by_sql(at=at, chunk=chunk) == failed
                assert charged(pks) == told
                assert by_sql(at=at, chunk=chunk) == failed  # once more: nothing is left to charge
                assert charged(pks) == told


def test_a_quotient_is_not_rounded_before_it_is_rounded_up(db: None) -> None:
    """R-GEN-02, R-VIP-30: PostgreSQL's own division would say 6.67203946 for 28991.60000001 at 8.40000001 %."""
    debt = build.secured_debt(amount="28991.60000001", rate="0.0840000001")

    assert accrual.accrue(at=TEN + DAY) == 1

    [row] = DebtEntry.objects.filter(debt=debt, kind="charge")
    assert (row.interest, row.late_fee) == (Decimal("6.67203947"), 0)


def test_a_late_day_is_rounded_once_in_all(db: None) -> None:
    """R-VIP-43: 3 × 1 USDT at 10 % is 0.00082192 in all, of which 0.00027398 is interest; not 3 × 0.00027398."""
    debt = build.secured_debt(amount="1", rate="0.1", due_at=TEN + HOUR)
    with acting(BUILDER):
        debts.mark_overdue(debt, at=TEN + HOUR)

    assert accrual.accrue(at=TEN + DAY) == 1

    [row] = DebtEntry.objects.filter(debt=debt, kind="charge")
    assert (row.interest, row.late_fee) == (Decimal("0.00027398"), Decimal("0.00054794"))


def test_a_debt_that_waits_for_its_expiry_is_charged_up_to_it(db: None) -> None:
    """R-VIP-47, R-GEN-04: four midnights passed, two before its due date; once it is marked, the others follow."""
    debt = build.secured_debt(due_at=TEN + 2 * DAY)
    at = TEN + 4 * DAY

    assert accrual.accrue(at=at) == 2
    assert accrual.accrue(at=at) == 0
    with acting(BUILDER):
        debts.mark_overdue(debt, at=at)

    assert accrual.accrue(at=at) == 2
    rows = DebtEntry.objects.filter(debt=debt, kind="charge").order_by("at")
    assert [row.late_fee > 0 for row in rows] == [False, False, True, True]


def test_one_entry_per_midnight_and_chunk_names_its_debts(db: None) -> None:
    """R-GEN-05: a chunk's entry of a midnight is named after the debts it charged, the first and the last."""
    early = build.secured_debt()
    build.fund_pool()
    late = build.debt(early.group, amount="0.00000001", rate="0", at=TEN + DAY)

    assert accrual.accrue(at=TEN + 2 * DAY) == 3

    references = (
        JournalEntry.objects.filter(kind="accrual").order_by("at").values_list("reference", flat=True)
    )
    assert list(references) == [
        f"accrual:2026-01-02T00:00Z:{early.pk}-{early.pk}",
        f"accrual:2026-01-03T00:00Z:{early.pk}-{late.pk}",
    ]


def test_a_chunk_with_bad_debts_is_taken_apart(db: None) -> None:
    """TRUST E6: two flexible debts without a published rate among eleven; the others are charged, in few chunks."""
    good = [build.secured_debt() for _ in range(9)]
    bad = [build.secured_debt(rate=None) for _ in range(2)]

    with pytest.raises(accrual.AccrualIncomplete) as incomplete:
        accrual.accrue(at=TEN + DAY)

    assert incomplete.value.args[0] == [debt.pk for debt in bad]
    charges = DebtEntry.objects.filter(kind="charge").values_list("debt", flat=True)
    assert sorted(charges) == [debt.pk for debt in good]
    assert JournalEntry.objects.filter(kind="accrual").count() < len(good)


def test_a_run_that_may_not_go_on_leaves_the_rest_to_the_next(db: None) -> None:
    """R-GEN-04: stopped between two chunks; the rows are those of a run that was not."""
    all_of_them = [build.secured_debt().pk for _ in range(5)]
    asked = iter([True, True, False])

    assert accrual.accrue(at=TEN + DAY, chunk=2, may_go_on=lambda: next(asked)) == 4
    assert accrual.accrue(at=TEN + DAY, chunk=2) == 1

    charges = DebtEntry.objects.filter(kind="charge").values_list("debt", "period_start", "interest")
    assert sorted(charges) == [(pk, TEN, Decimal("230.13698631")) for pk in all_of_them]


def test_what_is_claimed_is_behind_and_in_order(db: None) -> None:
    """R-VIP-31: by coin and midnights; a debt whose day has not ended is not claimed."""
    one, two = build.secured_debt(), build.secured_debt(due_at=TEN + DAY)
    build.fund_pool()
    build.debt(one.group, amount="0.00000001", at=datetime(2026, 1, 3, tzinfo=UTC))

    claimed = accrual_sql.claim(at=TEN + 2 * DAY, limit=10)

    second, third = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)
    assert {(some.asset, some.first, some.last, some.debts) for some in claimed} == {
        ("USDT", second, third, (one.pk,)),
        ("USDT", second, second, (two.pk,)),
    }
