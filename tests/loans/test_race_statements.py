"""Several workers issue the same month at once: one statement, one notice (R-GEN-94)."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

from accounts.models import Notice
from loans import statements
from loans.models import Statement
from risk import accrual
from tests.loans import desk as desks

FEBRUARY = datetime(2026, 2, 1, 3, tzinfo=UTC)


def test_workers_at_once_issue_one(
    committed_db: object, in_threads: Callable[[list[Callable[[], Any]]], list[Any]]
) -> None:
    """R-GEN-94"""
    desk = desks.set_up()
    desks.drawn(desk, term_days=60)
    accrual.accrue(at=FEBRUARY)

    def issue() -> Statement:
        return statements.issue(
            customer_id=desk.owner.pk, month=date(2026, 1, 1), actor=desk.decider, at=FEBRUARY
        )

    made = in_threads([issue] * 4)

    [row] = Statement.objects.all()
    assert made == [row] * 4
    assert Notice.objects.filter(kind="statement").count() == 1
