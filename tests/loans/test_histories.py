"""The histories: exact rows, names, periods, visibility, and a number of queries that does not grow (R-GEN-90…95)."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from loans import histories
from loans.histories import Asked, BadPage, BadPeriod, Income, Scope
from loans.vip import renewal, repayment
from risk import accrual, gate, groups, sweep
from risk.models import CollateralGroup, Member
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
JANUARY = datetime(2026, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2026, 2, 1, tzinfo=UTC)
DAILY = Decimal("230.13698631")  # EX-01


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def scope(desk: Desk, **only: Any) -> Scope:
    return Scope(desk.owner, **only)


def asked(**changes: Any) -> Asked:
    return Asked(**({"since": JANUARY - DAY, "until": FEBRUARY} | changes))


def test_an_order_says_all_that_r_gen_91_asks_for(desk: Desk) -> None:
    """R-GEN-91, R-GEN-92, EX-01: three days after drawing 1,000,000 USDT against 25 BTC at 60,000."""
    loan = desks.drawn(desk)
    now = TEN + 3 * DAY
    desks.quote(now)

    found = histories.ongoing(scope(desk), asked(), at=now)

    assert found.total == 1
    [row] = found.rows
    debt = 1_000_000 + 3 * DAILY
    assert (row.loan, row.public_status, row.total_debt) == (loan, "Accruing_Interest", debt)
    assert (row.rate, row.residual_interest) == (Decimal("0.084"), 3 * DAILY)
    assert (row.collateral_accounts, row.collateral_coins) == ((desk.sub.pk,), ("BTC",))
    assert row.collateral_value == 1_500_000
    assert row.locked_value == Decimal("1389847.79299852")  # debt / 0.72, rounded up
    assert row.ltv == Decimal("0.667126940639")
    assert (row.loan_date, row.term_days, row.expires_at) == (TEN, 30, TEN + 30 * DAY)


def test_a_flexible_order_has_no_rate_of_its_own_and_an_open_one_no_expiry(desk: Desk) -> None:
    """R-GEN-91"""
    desks.drawn(desk, rate_type="flexible", term_days=None)

    [row] = histories.ongoing(scope(desk), asked(), at=TEN).rows

    assert (row.rate, row.annual_rate, row.term_days, row.expires_at) == (None, Decimal("0.08"), None, None)


def test_repayments_say_which_one_closed_the_loan(desk: Desk) -> None:
    """R-GEN-92: Repaying, then Repaid; parts as booked, newest first."""
    loan = desks.drawn(desk)
    build.deposit(desk.master, "USDT", "1000", at=TEN)
    repayment.repay(loan_id=loan.pk, amount=Decimal("1000.13698631"), actor=desk.borrower, at=TEN + DAY)
    repayment.repay(loan_id=loan.pk, share=Decimal(1), actor=desk.borrower, at=TEN + DAY + timedelta(hours=1))

    found = histories.repayments(scope(desk), asked())

    assert found.total == 2
    assert [(row.status, row.total, row.interest, row.principal) for row in found.rows] == [
        ("Repaid", Decimal("999230"), Decimal(0), Decimal("999230")),
        ("Repaying", Decimal("1000.13698631"), DAILY, Decimal("770")),
    ]
    assert histories.repayments(scope(desk), asked(coin="BTC")).total == 0
    assert histories.repayments(scope(desk), asked(loan=loan.pk)).total == 2
    assert histories.repayments(scope(desk), asked(account=desk.sub.pk)).total == 0


def test_an_auto_repayment_that_failed_is_told_with_the_reason(desk: Desk) -> None:
    """R-GEN-92, R-VIP-47: FAILED; nothing moved."""
    from loans.vip import auto_repay, expiry

    loan = desks.drawn(desk)
    auto_repay.set_auto_repay(loan_id=loan.pk, on=True, actor=desk.borrower, at=TEN)
    desks.spend(desk, "600000")
    expiry.expire_due(at=TEN + 30 * DAY)

    [row] = histories.repayments(scope(desk), asked()).rows

    assert (row.status, row.total, row.entry_id) == ("Failed", 0, None)
    assert "Auto-repay could not repay it" in row.note


def test_each_charge_has_its_period_basis_rate_and_formula(desk: Desk) -> None:
    """R-GEN-90, R-VIP-30, R-VIP-43, EX-06: the late fee beside the interest, and how both come about."""
    loan = desks.drawn(desk)
    accrual.accrue(at=TEN + 30 * DAY)
    from loans.vip import expiry

    expiry.expire_due(at=TEN + 31 * DAY)

    found = histories.interest(scope(desk), asked(until=TEN + 40 * DAY))

    assert found.total == 31
    late, *_ = found.rows
    assert (late.interest, late.late_fee) == (DAILY, Decimal("460.27397260"))
    assert (late.period_start, late.period_end) == (
        TEN.replace(hour=0) + 30 * DAY,
        TEN.replace(hour=0) + 31 * DAY,
    )
    assert found.rows[1].formula == "1000000 x 0.084 / 365, rounded up"
    assert (late.loan, late.latest) == (loan, loan.pk)


def test_a_renewal_shows_both_orders_and_interest_points_to_the_latest(desk: Desk) -> None:
    """R-VIP-42, R-GEN-90, EX-20"""
    loan = desks.drawn(desk)
    at = datetime(2026, 1, 26, 12, tzinfo=UTC)
    desks.quote(at)
    new = renewal.renew(loan_id=loan.pk, term_days=60, actor=desk.borrower, at=at)

    [row] = histories.renewals(scope(desk), asked()).rows

    assert (row.loan, row.renewed, row.principal) == (new, loan, Decimal(1_000_000))
    assert row.interest_paid == Decimal("5753.42465775")
    assert (row.due_before, row.due_after) == (TEN + 30 * DAY, TEN + 90 * DAY)
    assert {charge.latest for charge in histories.interest(scope(desk), asked()).rows} == {new.pk}


def test_requests_carry_the_public_names(desk: Desk) -> None:
    """R-GEN-90, R-GEN-92: pending, failed, and the order's own status once it is drawn."""
    from loans.vip import applications

    loan = desks.drawn(desk, "500000")
    for minute in (1, 2):
        desks.quote(TEN + timedelta(minutes=minute))
    waiting = desks.submitted(desk, "60000", at=TEN + timedelta(minutes=1))
    gone = desks.submitted(desk, "50000", at=TEN + timedelta(minutes=2))
    applications.cancel(application_id=gone.pk, actor=desk.borrower, at=TEN + timedelta(minutes=3))

    rows = histories.requests(scope(desk), asked(), at=TEN + DAY).rows

    assert [(row.application.pk, row.public_status, row.loan) for row in rows] == [
        (gone.pk, "Failed", None),
        (waiting.pk, "Pending", None),
        (loan.line.application_id, "Accruing_Interest", loan),
    ]
    assert histories.requests(scope(desk, account=desk.master), asked(), at=TEN).total == 0


def test_adjustments_have_the_ltv_before_and_after(desk: Desk) -> None:
    """R-GEN-90: coins in, an account more, a trade; each with what it did to LTV."""
    loan = desks.drawn(desk)
    at = TEN + timedelta(minutes=5)
    desks.quote(at)
    gate.deposit(account_uid=desk.sub.pk, asset="BTC", amount=Decimal(5), actor=BUILDER, at=at)
    other = build.account(desk.owner)
    groups.add_account(
        group_id=loan.group_id, uid=other.pk, max_accounts=50, actor=BUILDER, at=at + timedelta(seconds=1)
    )

    added, deposit, opened = histories.adjustments(scope(desk), asked()).rows

    assert (opened.what, added.what, added.accounts) == ("accounts added", "account added", (other.pk,))
    assert (deposit.amount, deposit.asset, deposit.entry_id is not None) == (5, "BTC", True)
    [effect] = deposit.effects
    assert (effect.group, effect.direction) == (loan.group_id, "ADDITIONAL")
    assert (effect.ltv_before, effect.ltv_after) == (Decimal("0.666666666666"), Decimal("0.555555555555"))
    [joined] = added.effects
    assert joined.ltv_after == Decimal("0.555555555555")


def test_flows_of_a_liquidation_add_up(desk: Desk) -> None:
    """R-GEN-93, EX-10: what was lent, charged, sold, repaid, the fee, and what came back."""
    loan = desks.drawn(desk)
    at = datetime(2026, 1, 31, 9, tzinfo=UTC)
    accrual.accrue(at=at)
    desks.quote(at, BTC="44000")
    sweep.sweep(at=at)
    desks.quote(at + timedelta(seconds=10), BTC="44000")
    sweep.sweep(at=at + timedelta(seconds=10))

    found = histories.all_flows(scope(desk), asked())
    sums = histories.totals(found)

    assert sums["borrowIn", "USDT"] == 1_000_000
    assert sums["interest", "USDT"] == 30 * DAILY
    assert sums["repayAmount", "USDT"] == 1_000_000 + 30 * DAILY
    assert sums["liquidationFee", "USDT"] == Decimal("20138.08219179")
    assert sums["addCollateral", "BTC"] == 25
    assert sums["collateralSpent", "BTC"] + sums["collateralReturn", "BTC"] == 25
    assert all(row.amount > 0 for row in found)
    assert [row.at for row in found] == sorted(row.at for row in found)
    [sale] = histories.liquidations(scope(desk), asked()).rows
    assert sale.group_id == loan.group_id
    page = histories.flows(scope(desk), asked(size=7))
    assert page.total == len(found)
    pages = [histories.flows(scope(desk), asked(size=7, page=number)).rows for number in range(1, 7)]
    assert [row for rows in pages for row in rows] == found[::-1]


def test_who_acts_for_one_account_sees_what_it_receives_or_holds(desk: Desk) -> None:
    """R-GEN-95: the receiver sees the collateral bound to it; the collateral account its own coins, and no LTV."""
    desks.drawn(desk)
    at = TEN + timedelta(minutes=5)
    desks.quote(at)
    gate.deposit(account_uid=desk.sub.pk, asset="BTC", amount=Decimal(5), actor=BUILDER, at=at)
    other = build.account(desk.owner)
    receiver, pledged, stranger = (scope(desk, account=one) for one in (desk.master, desk.sub, other))

    assert histories.ongoing(receiver, asked(), at=at).total == 1
    assert histories.ongoing(pledged, asked(), at=at).total == 0
    [row] = histories.collateral(receiver, asked(), at=at).rows
    assert (row.account, row.ltv) == (desk.sub, Decimal("0.555555555555"))
    [own] = histories.collateral(pledged, asked(), at=at).rows
    assert (own.coins, own.ltv, own.locked_value, own.collateral_value) == (
        (("BTC", Decimal(30), Decimal(1_800_000)),),
        None,
        None,
        None,
    )
    [moved] = histories.adjustments(pledged, asked()).rows
    assert (moved.amount, moved.effects[0].ltv_before, moved.effects[0].ltv_after) == (5, None, None)
    assert {row.type for row in histories.all_flows(pledged, asked())} == {Income.ADD_COLLATERAL}
    for lists in (histories.interest, histories.repayments, histories.renewals, histories.liquidations):
        assert lists(pledged, asked()).total == 0
        assert lists(stranger, asked()).total == 0
    assert histories.all_flows(stranger, asked()) == []
    assert histories.collateral(stranger, asked(), at=at).total == 0


def test_another_customers_rows_do_not_exist(desk: Desk) -> None:
    """R-GEN-95"""
    desks.drawn(desk)
    accrual.accrue(at=TEN + DAY)
    them = Scope(build.customer())

    assert histories.ongoing(them, asked(), at=TEN).total == 0
    assert histories.orders(them, asked(), at=TEN).total == 0
    assert histories.requests(them, asked(), at=TEN).total == 0
    assert histories.all_flows(them, asked()) == []
    assert histories.adjustments(them, asked()).total == 0


def test_the_period_and_the_page_have_bounds_and_say_so() -> None:
    """R-GEN-90: 90 days unless said, 180 at most (interest 90), 100 rows at most."""
    assert histories.period(since=None, until=None, at=FEBRUARY) == (FEBRUARY - 90 * DAY, FEBRUARY)
    assert histories.period(since=FEBRUARY - 180 * DAY, until=FEBRUARY, at=FEBRUARY)[1] == FEBRUARY
    with pytest.raises(BadPeriod, match="at most 180 days"):
        histories.period(since=FEBRUARY - 181 * DAY, until=FEBRUARY, at=FEBRUARY)
    with pytest.raises(BadPeriod, match="at most 90 days"):
        histories.period(since=FEBRUARY - 91 * DAY, until=FEBRUARY, at=FEBRUARY, most_days=90)
    with pytest.raises(BadPeriod, match="swap them"):
        histories.period(since=FEBRUARY, until=JANUARY, at=FEBRUARY)
    assert asked(size=100).span == slice(0, 100)
    with pytest.raises(BadPage):
        asked(size=101)


def test_a_charge_belongs_to_the_day_that_ends_with_it(desk: Desk) -> None:
    """R-GEN-90, R-VIP-31: (since, until]: the charge of 1 February 00:00 is January's."""
    desks.drawn(desk)
    accrual.accrue(at=FEBRUARY + DAY)

    january = histories.interest(scope(desk), asked(since=JANUARY, until=FEBRUARY))
    february = histories.interest(scope(desk), asked(since=FEBRUARY, until=FEBRUARY + 28 * DAY))

    assert (january.total, january.rows[0].at) == (
        30,
        FEBRUARY - DAY,
    )  # due on the 31st: waits for its expiry
    assert february.total == 0


def queries_of(lists: Any) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert lists().total
    return len(captured)


def test_lists_cost_the_same_however_long(desk: Desk) -> None:
    """R-GEN-90"""
    desks.drawn(desk, "500000")
    build.deposit(desk.master, "USDT", "90000", at=TEN)
    accrual.accrue(at=TEN + DAY)
    at = TEN + DAY
    desks.quote(at)
    gate.deposit(account_uid=desk.sub.pk, asset="BTC", amount=Decimal(5), actor=BUILDER, at=at)
    first = first_loan(desk)
    repayment.repay(loan_id=first, amount=Decimal(200), actor=desk.borrower, at=at)
    mine = scope(desk)
    lists = (
        lambda: histories.ongoing(mine, asked(), at=at),
        lambda: histories.orders(mine, asked(), at=at),
        lambda: histories.requests(mine, asked(), at=at),
        lambda: histories.repayments(mine, asked()),
        lambda: histories.interest(mine, asked()),
        lambda: histories.adjustments(mine, asked()),
        lambda: histories.flows(mine, asked()),
        lambda: histories.collateral(mine, asked(), at=at),
    )
    short = [queries_of(one) for one in lists]

    for number in range(1, 4):
        moment = at + timedelta(minutes=number)
        desks.quote(moment)
        desks.drawn(desk, "50000", at=moment)
        gate.deposit(account_uid=desk.sub.pk, asset="BTC", amount=Decimal(1), actor=BUILDER, at=moment)
        repayment.repay(loan_id=first, amount=Decimal(100), actor=desk.borrower, at=moment)
    accrual.accrue(at=at + 3 * DAY)

    assert [queries_of(one) for one in lists] == short


def first_loan(desk: Desk) -> int:
    group = CollateralGroup.objects.get(customer=desk.owner)
    assert Member.objects.filter(group=group).exists()
    return group.loans.order_by("pk").first().pk
