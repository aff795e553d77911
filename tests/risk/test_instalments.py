"""What the borrower is told when an instalment is due and may not be taken."""

from datetime import timedelta
from decimal import Decimal

import pytest

from accounts.models import Notice
from risk import freezes, plans
from tests.build import BUILDER, NOON
from tests.risk.leftovers import LEFT, Leftover

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


def test_while_repayments_are_frozen_spot_is_not_blamed() -> None:
    """R-GEN-78, R-ADM-04: the coins are there; told once, and taken when the freeze is over"""
    left = Leftover(spot="10000")
    due = (plans.Due(NOON + HOUR, LEFT),)
    plans.agree_plan(debt_id=left.debt.pk, instalments=due, actor=BUILDER, at=NOON)
    freezes.place(what="repay", reason="Bank holiday", ends_at=NOON + 24 * HOUR, actor=BUILDER, at=NOON)

    for _ in range(2):
        assert plans.collect_due(at=NOON + 2 * HOUR).missed == (left.debt.pk,)
    assert (left.owed, left.spot) == (LEFT, Decimal(10000))
    body = Notice.objects.get(kind="instalment_missed").body
    assert "and could not be taken. Repaying is frozen" in body
    assert "Bank holiday" in body
    assert "did not reach" not in body

    assert plans.collect_due(at=NOON + 24 * HOUR).taken == (left.debt.pk,)
    assert (left.owed, left.spot) == (0, 10000 - LEFT)
