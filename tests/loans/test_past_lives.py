"""Random lives looked back upon: each past LTV again from rows alone, and every month's statement adds up.

The machine of test_life.py lives; after each step its state is written down. At the end of the life each of those
instants is recomputed, and the statement of each complete month proves itself, now and a hundred days later.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import invariant, run_state_machine_as_test
from pytest_django.plugin import DjangoDbBlocker

from loans import histories, statements
from loans.histories import Asked, Scope
from loans.statements import Month, NothingOwed
from risk import book, past
from risk.book import GroupState
from risk.models import CollateralGroup
from tests.build import TEN
from tests.loans.test_life import Life

RUNS, STEPS = 6, 25
PARTS = ("principal", "interest", "late_fee")


def told(state: GroupState) -> tuple[object, ...]:
    return (
        state.worth(permission=False),
        state.worth(),
        state.lines,
        state.members,
        state.coins,
        state.is_liquidating,
        [(owed.debt.pk, owed.parts, owed.annual_rate) for owed in state.debts],
        [(wallet.uid, wallet.asset, wallet.balance) for wallet in state.wallets if wallet.balance],
    )


class Remembered(Life):
    """R-GEN-94, R-GEN-93, R-FTR-08"""

    months = 0  # stated over all lives: a run that states none has shown nothing

    @invariant()
    def write_down(self) -> None:
        if not hasattr(self, "book"):
            return
        if not hasattr(self, "written"):
            self.written: dict[tuple[int, datetime], tuple[object, ...]] = {}
        for group in CollateralGroup.objects.open():
            self.written[group.pk, self.book.now] = told(book.state_of(group, at=self.book.now))

    def teardown(self) -> None:
        if hasattr(self, "written"):
            self.time_jumps(hours=24 * 35)  # so that the first month is over, charged and settled
            self.look_back()
            self.state_each_month()
        super().teardown()

    def look_back(self) -> None:
        groups = CollateralGroup.objects.in_bulk({pk for pk, _ in self.written})
        for pk, group in groups.items():
            instants = [at for number, at in self.written if number == pk]
            again = {state.at: told(state) for state in past.states(group, instants=instants)}
            assert again == {at: self.written[pk, at] for at in instants}

    def state_each_month(self) -> None:
        now = self.book.now
        month = Month(TEN.date().replace(day=1))
        while month.until <= now:
            try:
                body = statements.of(self.desk.owner, month, at=now)
            except NothingOwed:
                month = month.following
                continue
            type(self).months += 1
            adds_up(body)
            equals_the_pages(Scope(self.desk.owner), month, body)
            assert statements.of(self.desk.owner, month, at=now + timedelta(days=100)) == body
            month = month.following


def adds_up(body: dict[str, Any]) -> None:
    """Opening + movements + charges = closing, per loan and part; and per group and coin."""
    for loan in body["loans"]:
        for part in PARTS:
            moved = sum(Decimal(row[part]) for row in loan["movements"])
            charged = sum(Decimal(row.get(part, "0")) for row in loan["charges"])
            by_rate = sum(Decimal(row.get(part, "0")) for row in loan["segments"])
            assert charged == by_rate
            assert Decimal(loan["opening"][part]) + moved + charged == Decimal(loan["closing"][part])
    for coin in body["collateral"]:
        moved = sum(Decimal(row["amount"]) for row in coin["movements"])
        assert Decimal(coin["opening"]) + moved == Decimal(coin["closing"])
    sums = {row["type"]: Decimal(row["amount"]) for row in body["totals"] if row["asset"] == "USDT"}
    came = sum(sums.get(name, Decimal(0)) for name in ("borrowIn", "interest", "lateFee"))
    opening, closing = (
        sum(Decimal(loan[end]["total"]) for loan in body["loans"]) for end in ("opening", "closing")
    )
    assert opening + came - sums.get("repayAmount", Decimal(0)) == closing


def equals_the_pages(scope: Scope, month: Month, body: dict[str, Any]) -> None:
    charged = paid = Decimal(0)
    for number in range(1, 20):
        asked = Asked(month.since, month.until, page=number, size=100)
        charged += sum(row.interest + row.late_fee for row in histories.interest(scope, asked).rows)
        paid += sum(row.total for row in histories.repayments(scope, asked).rows)
    sums = {row["type"]: Decimal(row["amount"]) for row in body["totals"] if row["asset"] == "USDT"}
    assert charged == sums.get("interest", Decimal(0)) + sums.get("lateFee", Decimal(0))
    assert paid == sums.get("repayAmount", Decimal(0))


@pytest.fixture
def rolled_back_each_time(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield
        connection.close()


@pytest.mark.timeout(1800)
def test_the_past_is_what_it_was_and_every_month_adds_up(rolled_back_each_time: None) -> None:
    """6 lives of 25 steps: R-GEN-93, R-GEN-94, R-FTR-08"""
    run_state_machine_as_test(
        Remembered,
        settings=settings(
            max_examples=RUNS,
            stateful_step_count=STEPS,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Remembered.months >= RUNS
