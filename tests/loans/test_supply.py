"""The supply side of the fixed-rate market: who enters and closes orders, and what is on offer when (R-VIP-26)."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction

from accounts import approvals
from accounts.commands import Actor, NeedsApproval, NotYourRole, acting
from accounts.errors import BadAmount
from accounts.models import Approval
from loans import supply
from loans.models import SupplyOrder, SupplyTake
from loans.supply import BadSupply, NoSuchSupply, SupplyClosed
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans import supplies
from tests.loans.desk import Desk, everything
from tests.loans.supplies import entered, of, taken

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


ORDER: dict[str, Any] = {
    "asset": "USDT",
    "annual_rate": Decimal("0.05"),
    "term_days": 30,
    "amount": Decimal(1000000),
    "minimum": Decimal(1000),
}


# --- Entering -----------------------------------------------------------------------------------------------


def test_finance_proposes_and_another_person_releases(desk: Desk) -> None:
    """R-VIP-26, R-ADM-03: nothing is on offer before the second person."""
    maker, checker = build.user("finance"), build.user("risk_officer")
    with pytest.raises(NeedsApproval):
        supply.enter(**ORDER, actor=Actor.user(maker), at=TEN)

    waits = approvals.run_or_propose(
        command="supply.enter",
        arguments=ORDER,
        title="Offer 1,000,000 USDT",
        preview={},
        reason="Treasury has it",
        actor=Actor.user(maker),
        at=TEN,
    )
    assert waits is not None
    assert not SupplyOrder.objects.exists()
    approvals.release(approval_id=waits.pk, actor=Actor.user(checker), at=TEN + DAY)

    order = SupplyOrder.objects.get()
    assert (order.annual_rate, order.term_days, order.amount) == (Decimal("0.05"), 30, 1000000)
    assert (order.entered_by, order.opened_at, order.ends_at) == (maker, TEN + DAY, None)
    assert Approval.objects.get().result == f"loans.supplyorder:{order.pk}"


@pytest.mark.parametrize("role", ["vip_manager", "risk_officer", "auditor", "ops", "borrower"])
def test_nobody_else_enters_or_closes_one(desk: Desk, role: str) -> None:
    """R-VIP-26, R-ADM-03: a risk officer releases, but does not propose."""
    order, actor = entered(), Actor.user(build.user(role))
    before = everything()

    with pytest.raises(NotYourRole):
        supply.enter(**ORDER, actor=actor, at=TEN)
    with pytest.raises(NotYourRole):
        supply.close(order_id=order.pk, actor=actor, at=TEN)

    assert SupplyOrder.objects.get().closed_at is None
    assert everything() == before


@pytest.mark.parametrize(
    ("changes", "why", "says"),
    [
        ({"amount": Decimal(0)}, BadAmount, "more than 0"),
        ({"amount": Decimal("NaN")}, BadAmount, "more than 0"),
        ({"amount": Decimal(10) ** 18}, BadAmount, "below 10"),
        ({"minimum": Decimal("-1")}, BadAmount, "more than 0"),
        ({"minimum": Decimal("0.000000001")}, BadAmount, "at most 8 decimals"),
        ({"minimum": Decimal("1000000.00000001")}, BadSupply, "more than the 1000000 USDT offered"),
        ({"asset": "NONE"}, BadAmount, "no coin NONE"),
        ({"term_days": 0}, BadSupply, "1 to 365 days, not 0"),
        ({"term_days": 366}, BadSupply, "1 to 365 days, not 366"),
        ({"annual_rate": Decimal("-0.01")}, BadSupply, "0.05 is 5 %"),
        ({"annual_rate": Decimal(10)}, BadSupply, "from 0 to below 10"),
        ({"annual_rate": Decimal("0.0500000000001")}, BadSupply, "at most 12 decimals"),
        ({"annual_rate": Decimal("Infinity")}, BadSupply, "from 0 to below 10"),
        ({"ends_at": TEN}, BadSupply, "ends in the future"),
    ],
)
def test_an_order_nobody_could_serve_is_refused(
    desk: Desk, changes: dict[str, Any], why: type[Exception], says: str
) -> None:
    """R-VIP-26"""
    with pytest.raises(why, match=says):
        supply.enter(**ORDER | changes, actor=BUILDER, at=TEN)
    assert not SupplyOrder.objects.exists()


def test_a_coin_that_is_not_lent_is_not_offered(desk: Desk) -> None:
    """R-VIP-26"""
    with acting(BUILDER):
        coin = build.asset("GOLD")
        coin.loanable = False
        coin.save(update_fields=["loanable"])
    with pytest.raises(BadSupply, match="not a coin the desk lends"):
        supply.enter(**ORDER | {"asset": "GOLD"}, actor=BUILDER, at=TEN)


# --- Closing ------------------------------------------------------------------------------------------------


def test_one_person_closes_it_and_what_was_taken_runs_on(desk: Desk) -> None:
    """R-VIP-26"""
    order = entered()
    loan = taken(desk, of(order, "600000"))
    finance = Actor.user(build.user("finance"))

    supply.close(order_id=order.pk, actor=finance, at=TEN + DAY)

    assert not supply.on_offer(at=TEN + DAY)
    loan.debt.refresh_from_db()
    assert (loan.debt.principal, loan.debt.closed_at) == (600000, None)
    with pytest.raises(SupplyClosed, match="was closed on 2 January 2026, 10:00 UTC"):
        supply.close(order_id=order.pk, actor=finance, at=TEN + 2 * DAY)
    with pytest.raises(NoSuchSupply):
        supply.close(order_id=order.pk + 1, actor=finance, at=TEN + 2 * DAY)


def test_the_terms_of_an_order_never_change(desk: Desk) -> None:
    """R-VIP-26: the application may close it and nothing else."""
    order = entered()
    for field, value in (("annual_rate", Decimal("0.01")), ("amount", Decimal(1)), ("ends_at", TEN)):
        with pytest.raises(DatabaseError, match="permission denied"), transaction.atomic(), acting(BUILDER):
            SupplyOrder.objects.filter(pk=order.pk).update(**{field: value})


def test_the_database_lets_nobody_take_more_than_there_is(desk: Desk) -> None:
    """R-VIP-26: whatever the program believes."""
    order = entered(amount="600000", minimum="1")
    loan = taken(desk, of(order, "600000"))
    other = entered(amount="5", minimum="1")
    for wrong in ((order.pk, Decimal("0.00000001")), (other.pk, Decimal("5.00000001"))):
        with pytest.raises(IntegrityError, match="left"), transaction.atomic(), acting(BUILDER):
            supply.took(loan.pk, [wrong])
    supply.close(order_id=other.pk, actor=BUILDER, at=TEN)
    with pytest.raises(IntegrityError, match="left"), transaction.atomic(), acting(BUILDER):
        supply.took(loan.pk, [(other.pk, Decimal(1))])
    assert SupplyTake.objects.count() == 1


# --- What is on offer ---------------------------------------------------------------------------------------


def test_what_is_on_offer_is_open_now_and_the_cheapest_first(desk: Desk) -> None:
    """R-VIP-26: from its release until just before its end."""
    dear, cheap = entered("0.07"), entered("0.05", ends_at=TEN)
    later = entered("0.04", at=TEN + DAY)
    entered("0.01", days=60)
    gone = entered("0.02", amount="600000")

    def shown(at: Any) -> list[SupplyOrder]:
        return list(supply.on_offer(at=at, asset="USDT", term_days=30))

    assert shown(TEN - timedelta(microseconds=1)) == [gone, cheap, dear]
    assert shown(TEN) == [gone, dear]
    taken(desk, of(gone, "600000"))
    assert shown(TEN) == [dear]
    assert shown(TEN + DAY) == [later, dear]
    assert not supply.on_offer(at=TEN, asset="BTC")


def test_no_more_is_available_than_the_pool_holds(desk: Desk) -> None:
    """R-VIP-26, R-GEN-38: an offer sets nothing aside. The pool of 1,000,000,000 lends 600,000."""
    small, large = entered(amount="700000"), entered(amount="2000000000")
    taken(desk, of(small, "600000"))

    found = {each.order: each for each in supply.standings(supply.on_offer(at=TEN))}

    assert (found[small].left, found[small].available) == (100000, 100000)
    assert (found[large].left, found[large].available) == (2000000000, 999400000)
    assert found[small].interest == Decimal("410.96")  # 100,000 x 5 % x 30 / 365, rounded up


def test_what_is_left_is_the_amount_less_what_was_taken(desk: Desk) -> None:
    """R-VIP-26"""
    order = entered(amount="1000000")
    taken(desk, of(order, "600000"))
    taken(desk, of(order, "50000"))

    assert supplies.left(order) == 350000
    assert order.opened_at == LONG_AGO
