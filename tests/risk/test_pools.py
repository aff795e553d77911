"""The pools in figures: free, lent and funded, the ladder over real debts, what a period brought. R-ADM-12"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from accounts import books, ledger
from accounts.commands import acting
from accounts.models import Asset
from risk import accrual, debts, funding, insurance, pools
from risk.ladder import Bucket
from risk.models import Debt
from tests import build
from tests.build import BUILDER, NOON, TEN

pytestmark = pytest.mark.django_db
D = Decimal
DAY = timedelta(days=1)
MIDNIGHT = datetime(2026, 1, 2, tzinfo=UTC)
A_DAY = D("230.13698631")  # of 1,000,000 USDT at 8.4 %


def usdt() -> Asset:
    return Asset.objects.get(pk="USDT")


def test_a_pool_in_figures() -> None:
    """R-ADM-12: free, lent, use, own capital and lenders; a due cost counts before it is booked"""
    build.secured_debt()  # 1,000,000 funded straight into capital, and lent
    funding.fund(asset="USDT", amount=D("500000"), actor=BUILDER, at=NOON)
    lent = funding.fund(
        asset="USDT",
        amount=D("1500000"),
        lender="Harbour Bank",
        annual_rate=D("0.0365"),
        actor=BUILDER,
        at=NOON,
    )
    insurance.fund(asset="USDT", amount=D("1000"), actor=BUILDER, at=NOON)

    pool = pools.pool_of(usdt())

    assert (pool.free, pool.lent, pool.use) == (2000000, 1000000, D("0.3333"))
    assert (pool.capital, pool.own, pool.insurance) == (1499000, 500000, 1000)
    assert (pool.lenders, pool.cost_owed) == (1500000, 0)
    [row] = pools.funded([lent], at=MIDNIGHT + DAY)
    assert (row.principal, row.cost) == (1500000, 300)
    funding.accrue_costs(at=MIDNIGHT)
    assert pools.pool_of(usdt()).cost_owed == 150
    [row] = pools.funded([lent], at=MIDNIGHT + DAY)
    assert row.cost == 300
    assert [each.asset.pk for each in pools.pools()] == ["USDT"]


def test_a_coin_without_a_pool_is_empty() -> None:
    """R-ADM-12"""
    pool = pools.pool_of(build.asset("ETH"))
    assert (pool.free, pool.lent, pool.use, pool.capital) == (0, 0, None, 0)


def test_the_ladder_sets_loans_against_tranches() -> None:
    """R-ADM-12: principal only, by what falls due when; closed ones are gone"""
    debt = build.secured_debt(due_at=TEN + 30 * DAY)
    build.fund_pool("USDT", "300")
    build.debt(debt.group, amount="100", due_at=None)
    build.debt(debt.group, amount="200", due_at=TEN + 3 * DAY)
    bank = {"lender": "Harbour Bank", "annual_rate": D("0.1"), "actor": BUILDER, "at": NOON}
    funding.fund(asset="USDT", amount=D("700"), matures_at=NOON + 20 * DAY, **bank)
    funding.fund(asset="USDT", amount=D("50"), actor=BUILDER, at=NOON)
    gone = funding.fund(asset="USDT", amount=D("9"), matures_at=NOON + DAY, **bank)
    funding.draw(tranche_id=gone.pk, actor=BUILDER, at=NOON)
    accrual.accrue(at=MIDNIGHT)  # interest is no principal

    [ladder] = pools.ladder(at=NOON + 2 * DAY)

    assert (ladder.asset.pk, ladder.free) == ("USDT", 750)
    found = {r.bucket: (r.loans, r.tranches, r.running) for r in ladder.rungs if r.loans or r.tranches}
    assert found == {
        Bucket.DAY: (200, 0, 200),
        Bucket.MONTH: (1000000, 700, 999500),
        Bucket.OPEN: (100, 50, None),
    }
    [due] = pools.debts_of(usdt(), Bucket.DAY, at=NOON + 2 * DAY)
    assert due.principal == 200
    [overdue] = pools.debts_of(usdt(), Bucket.OVERDUE, at=NOON + 5 * DAY)
    assert overdue == due


def test_what_a_period_brought_is_what_was_booked_in_it() -> None:
    """R-ADM-12: (start, end]: the charge of a day belongs to the day that it ends"""
    debt = build.secured_debt(due_at=TEN + DAY)
    tranche = funding.fund(
        asset="USDT", amount=D("3650"), lender="Harbour", annual_rate=D("0.1"), actor=BUILDER, at=TEN
    )
    with acting(BUILDER):
        debts.mark_overdue(Debt.objects.get(pk=debt.pk), at=TEN + DAY)
    accrual.accrue(at=MIDNIGHT + 2 * DAY)  # one plain day, then two at three times the interest
    funding.accrue_costs(at=MIDNIGHT + 2 * DAY)

    first = pools.result(start=MIDNIGHT - DAY, end=MIDNIGHT)["USDT"]
    assert (first.interest, first.late_fees, first.cost_of_funds) == (A_DAY, 0, 1)
    assert first.net == A_DAY - 1
    later = pools.result(start=MIDNIGHT, end=MIDNIGHT + 2 * DAY)["USDT"]
    late = D("690.41095891") - A_DAY  # ceil(3 × P × r / 365) less the plain interest
    assert (later.interest, later.late_fees, later.cost_of_funds) == (2 * A_DAY, 2 * late, 2)
    assert (later.liquidation_fees, later.bad_debt) == (0, 0)
    assert pools.result(start=MIDNIGHT + 2 * DAY, end=MIDNIGHT + 9 * DAY) == {}
    assert pools.cost_of(start=MIDNIGHT - DAY, end=MIDNIGHT + 2 * DAY) == {"USDT": 3}
    assert funding.owed_on(tranche).cost == 3


def test_fees_and_bad_debt_count_with_their_sign() -> None:
    """R-ADM-12, R-GEN-78"""
    build.fund_pool("USDT", "100")
    pool = books.pool("USDT")
    lines = [
        ledger.Line(pool, books.fee_income("USDT"), D("20")),
        ledger.Line(books.bad_debt("USDT"), pool, D("50")),
    ]
    ledger.post(kind="test", reference="story", lines=lines, at=NOON)
    found = pools.result(start=NOON - DAY, end=NOON)["USDT"]
    assert (found.liquidation_fees, found.bad_debt, found.net) == (20, 50, -30)
    assert pools.result(start=NOON, end=NOON + DAY) == {}
