"""Two at once on one residual debt: each coin is taken once, and nobody pays more than is owed. R-GEN-78"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal as D
from typing import Any

from accounts import books
from accounts.errors import Refused
from risk import plans, residual
from risk.plans import Due
from tests.build import BUILDER, NOON
from tests.risk.leftovers import LEFT, Leftover

InThreads = Callable[[list[Callable[[], Any]]], list[Any]]


def test_an_instalment_is_taken_once_however_many_take_it(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-GEN-06, R-GEN-78"""
    left = Leftover(spot="10000")
    day = NOON + timedelta(days=1)
    due = (Due(day, LEFT - 1000), Due(day + timedelta(days=1), D(1000)))
    plans.agree_plan(debt_id=left.debt.pk, instalments=due, actor=BUILDER, at=NOON)
    found = in_threads([lambda: plans.collect_due(at=day)] * 4)
    assert [report.failed for report in found] == [()] * 4
    assert (left.owed, left.spot) == (1000, 10000 - LEFT + 1000)
    assert left.debt.entries.filter(kind="repayment").count() == 1


def test_a_set_off_a_settlement_and_a_write_off_end_it_once(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-GEN-78, CX-9: whoever comes first, the rest is refused or takes what is left"""
    left = Leftover(spot="3000")
    pk = left.debt.pk
    calls: list[Callable[[], Any]] = [
        lambda: residual.set_off(debt_id=pk, actor=BUILDER, at=NOON),
        lambda: residual.settle_from_fund(debt_id=pk, amount=LEFT, actor=BUILDER, at=NOON),
        lambda: residual.write_off(debt_id=pk, actor=BUILDER, at=NOON, reason="Bankrupt"),
    ]
    found = in_threads(calls)
    assert all(isinstance(one, Refused) for one in found if isinstance(one, Exception)), found
    borne = (3000 - left.spot) + (50000 - books.insurance("USDT").balance) + books.bad_debt("USDT").balance
    assert (borne, left.owed) == (LEFT, 0)
    assert left.debt.closed_at is not None
