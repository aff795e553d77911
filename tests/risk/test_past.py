"""A group's state at an instant that has passed, from rows alone: the same as it was when it was now."""

from datetime import timedelta
from decimal import Decimal
from time import perf_counter

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.commands import acting
from risk import book, debts, gate, past
from risk.book import GroupState
from risk.models import CollateralGroup, Debt, Member
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def told(state: GroupState) -> dict[str, object]:
    """All of a state that a decision looks at, in comparable pieces; empty wallets hold nothing."""
    return {
        "worth": state.worth(permission=False),
        "permission": state.worth(),
        "lines": state.lines,
        "handling": state.handling,
        "members": state.members,
        "coins": state.coins,
        "wallets": tuple(wallet for wallet in state.wallets if wallet.balance),
        "debts": [(owed.debt.pk, owed.parts, owed.annual_rate) for owed in state.debts],
        "quotes": dict(state.quotes),
        "terms": {asset: state.terms[asset] for asset in state.terms},
        "liquidating": state.is_liquidating,
        "frozen": state.frozen_coins,
    }


def test_of_now_it_is_what_the_engine_says(desk: Desk) -> None:
    """R-GEN-94, R-GEN-40: pending interest, freshness and lines included."""
    group = desks.drawn(desk).group
    now = TEN + 3 * DAY + 5 * HOUR
    build.price("BTC", "55000", at=now - timedelta(seconds=30))

    assert told(past.state_at(group, at=now)) == told(book.state_of(group, at=now))


def test_an_instant_of_the_past_does_not_change_by_what_happens_later(desk: Desk) -> None:
    """R-GEN-94: prices, ratios, lines, coins moved, accounts added and debts opened later change nothing then."""
    group = desks.drawn(desk).group
    then = TEN + 2 * DAY
    desks.quote(then, BTC="58000")
    was = told(book.state_of(group, at=then))

    later = then + HOUR
    desks.quote(later, BTC="60000")
    build.ratios("BTC", ("0", "0.9"), at=later)
    build.limits("0.6", "0.65", "0.8", "0.9", at=later)
    gate.deposit(account_uid=desk.sub.pk, asset="BTC", amount=Decimal(5), actor=BUILDER, at=later)
    other = build.account(desk.owner)
    build.deposit(other, "BTC", "3", at=later)
    with acting(BUILDER):
        Member.objects.create(group=group, account=other, since=later)
    debt = Debt.objects.select_related("asset").get(group=group)
    debts.bring_up_to_date([debt], at=later)

    assert told(past.state_at(group, at=then)) == was
    assert told(past.state_at(group, at=later)) == told(book.state_of(group, at=later))


def test_a_group_that_is_closed_has_a_past(desk: Desk) -> None:
    """R-GEN-34, R-GEN-94: its accounts and coins were released, its debt is gone; before that they counted."""
    from loans.vip import repayment

    loan = desks.drawn(desk)
    build.deposit(desk.master, "USDT", "1000", at=TEN)
    was = told(book.state_of(loan.group, at=TEN + HOUR))
    repayment.repay(loan_id=loan.pk, share=Decimal(1), actor=desk.borrower, at=TEN + DAY)
    group = CollateralGroup.objects.get(pk=loan.group_id)

    assert group.closed_at == TEN + DAY
    assert told(past.state_at(group, at=TEN + HOUR)) == was
    gone = past.state_at(group, at=TEN + DAY)
    assert (gone.members, gone.debts, gone.wallets) == ((), (), ())


def test_an_unknown_price_is_said_and_not_guessed(desk: Desk) -> None:
    group = desks.drawn(desk).group

    [point] = past.ltvs(group, instants=[TEN - timedelta(seconds=1)])
    assert (point.debt, point.owes) == (0, False)

    [point] = past.ltvs(group, instants=[TEN])
    assert (point.ltv, point.is_known) == (Decimal("0.666666666666"), True)


def test_a_month_of_hours_costs_a_few_queries_and_seconds(desk: Desk) -> None:
    """R-GEN-94: 720 points, with a price every hour."""
    group = desks.drawn(desk).group
    for day in range(30):
        for hour in (0, 12):
            build.price("BTC", f"{60000 - 100 * day + hour}", at=TEN + day * DAY + hour * HOUR)
    hours = [TEN + number * HOUR for number in range(30 * 24)]

    start = perf_counter()
    with CaptureQueriesContext(connection) as captured:
        points = past.ltvs(group, instants=hours)
    seconds = perf_counter() - start

    assert len(points) == 720
    assert all(point.ltv is not None for point in points)
    assert len(captured) <= 25
    assert seconds < 5
    assert points[100] == past.point_of(past.state_at(group, at=hours[100]))
