"""The midnight job: every debt once, whatever runs when (R-VIP-30, 31; TRUST E1, E2, E6)."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from django.db import transaction

from accounts import books
from accounts.commands import acting
from accounts.models import JournalEntry
from risk import accrual, debts
from risk.models import CollateralGroup, Debt, DebtEntry
from tests import build
from tests.build import TEN

DAY = timedelta(days=1)
DAILY = Decimal("230.13698631")


def test_each_debt_is_charged_once_per_midnight(db: None) -> None:
    for _ in range(3):
        build.secured_debt()

    assert accrual.accrue(at=TEN + DAY) == 3
    assert accrual.accrue(at=TEN + DAY) == 0
    assert accrual.accrue(at=TEN + 2 * DAY, chunk=2) == 3

    assert {debt.interest for debt in Debt.objects.all()} == {2 * DAILY}
    assert JournalEntry.objects.filter(kind="accrual").count() == 3  # one per instant and chunk


def test_three_days_away_writes_what_three_nights_would_have(db: None) -> None:
    """E6"""
    build.secured_debt()

    assert accrual.accrue(at=TEN + 3 * DAY) == 3

    assert [row.interest for row in DebtEntry.objects.filter(kind="charge")] == [DAILY] * 3


def test_before_midnight_nothing_is_due(db: None) -> None:
    build.secured_debt()

    assert accrual.accrue(at=TEN + timedelta(hours=13, minutes=59)) == 0


def test_a_day_at_no_interest_is_booked_like_any_other(committed_db: object) -> None:
    """R-VIP-30, R-VIP-31, R-VIP-33: at 0 % the day's entry moves nothing, and commits; the debt can be repaid."""
    debt = build.secured_debt(rate="0")

    assert accrual.accrue(at=TEN + 2 * DAY) == 2
    with acting(build.BUILDER):
        [debt] = Debt.objects.locked(debt.pk)
        wallets = [books.wallet(debt.group.receiver, "USDT")]
        debts.take_payment(
            debt=debt, amount=Decimal(1000000), wallets=wallets, reference="test:repay", at=TEN + 3 * DAY
        )

    rows = DebtEntry.objects.filter(kind="charge").values_list("interest", "late_fee", "basis")
    assert list(rows) == [(0, 0, 1000000)] * 3
    debt.refresh_from_db()
    assert (debt.closed_reason, debt.accrued_through) == ("repaid", datetime(2026, 1, 4, tzinfo=UTC))


def test_closed_and_residual_debts_are_left_alone(db: None) -> None:
    """R-GEN-78: a residual debt bears nothing."""
    debt = build.secured_debt()
    with acting(build.BUILDER):
        debts.make_residual(debt, at=TEN)

    assert accrual.accrue(at=TEN + 5 * DAY) == 0


def test_a_debt_without_a_rate_does_not_shield_the_others(db: None) -> None:
    """One flexible debt whose coin has no published rate; the two beside it are charged all the same."""
    build.secured_debt()
    broken = build.secured_debt(rate=None)
    build.secured_debt()

    with pytest.raises(accrual.AccrualIncomplete, match=str(broken.pk)):
        accrual.accrue(at=TEN + DAY)

    assert DebtEntry.objects.filter(kind="charge").count() == 2
    assert not broken.entries.filter(kind="charge").exists()


def test_catching_up_waits_for_no_group(
    committed_db: object, in_threads: Callable[[list[Callable[[], int]]], list[int]]
) -> None:
    """R-GEN-04, TRUST E6: it locks debts only, or whoever holds a group and wants its debts would meet it head on.

    A row that one transaction updates twice has its foreign keys checked at commit, so two midnights tell.
    """
    debt = build.secured_debt()

    with transaction.atomic():
        CollateralGroup.objects.locked(debt.group_id)
        assert in_threads([lambda: accrual.accrue(at=TEN + 3 * DAY)]) == [3]


def test_eight_runs_at_once_charge_once(
    committed_db: object, in_threads: Callable[[list[Callable[[], int]]], list[int]]
) -> None:
    """E1, C-15: duplicates of the message on eight connections."""
    for _ in range(6):
        build.secured_debt()

    for night in range(1, 4):
        in_threads([lambda at=TEN + night * DAY: accrual.accrue(at=at, chunk=2)] * 8)  # type: ignore[misc]
        accrual.accrue(at=TEN + night * DAY)  # what a run skipped as locked, the next takes

    assert {debt.interest for debt in Debt.objects.all()} == {3 * DAILY}
    assert DebtEntry.objects.filter(kind="charge").count() == 18
