"""Many takers of one offer at once, with real commits: never more than there is, and no deadlock (R-VIP-26)."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from accounts import books
from accounts.errors import Refused
from loans import ratecards
from loans.matching import NotOnOffer, TooMuch
from loans.models import Loan, SupplyTake
from loans.vip import expiry
from risk import accrual
from risk.models import Debt, DebtEntry
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans import supplies
from tests.loans.desk import Desk
from tests.loans.supplies import entered, of, taken

InThreads = Callable[[list[Callable[[], Any]]], list[Any]]


def another(desk: Desk) -> Desk:
    """One more VIP customer with as much collateral."""
    applicant = build.user()
    owner = build.customer(manager=desk.manager, member=applicant)
    sub = build.account(owner)
    build.deposit(sub, "BTC", "25", at=LONG_AGO)
    return replace(desk, owner=owner, applicant=applicant, master=build.master(owner), sub=sub)


def takers(count: int) -> list[Desk]:
    first = desks.set_up()
    ratecards.publish_product(
        code="vip", first_minimum=Decimal(1), later_minimum=Decimal(1), actor=BUILDER, at=LONG_AGO
    )
    return [first, *(another(first) for _ in range(count - 1))]


def test_sixteen_takers_of_one_order_take_no_more_than_it_offers(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-VIP-26: 1,000,000 offered, sixteen want 150,000 each: six get it, and 100,000 is left."""
    desk_of = takers(16)
    order = entered()

    results = in_threads([lambda desk=desk: taken(desk, of(order, "150000")) for desk in desk_of])  # type: ignore[misc]

    assert sum(isinstance(result, Loan) for result in results) == 6, results
    assert sum(isinstance(result, TooMuch) for result in results) == 10, results
    assert supplies.left(order) == 100000
    assert sum(SupplyTake.objects.values_list("amount", flat=True)) == 900000
    assert books.principal("USDT").balance == 900000
    assert Debt.objects.count() == 6


def test_takers_of_several_orders_named_in_any_order_do_not_block_each_other(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-VIP-26: half of them name them the other way round; each pays the weighted rate or nothing."""
    desk_of = takers(8)
    low, high = entered("0.05", "400000"), entered("0.07", "400000")
    both = [of(low, "100000"), of(high, "100000")]

    def take(number: int, desk: Desk) -> Loan:
        return taken(desk, *(both if number % 2 else reversed(both)))

    results = in_threads(
        [lambda number=number, desk=desk: take(number, desk) for number, desk in enumerate(desk_of)]  # type: ignore[misc]
    )

    assert sum(isinstance(result, Loan) for result in results) == 4, results
    assert sum(isinstance(result, NotOnOffer) for result in results) == 4, results
    assert {result.annual_rate for result in results if isinstance(result, Loan)} == {Decimal("0.06")}
    assert [supplies.left(order) for order in (low, high)] == [0, 0]


def test_one_customer_sixteen_times_at_once_stays_below_the_initial_line(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-VIP-26, R-VIP-13: 25 BTC secure 1,080,000; seven of 150,000 fit."""
    [desk] = takers(1)
    order = entered(amount="10000000")

    results = in_threads([lambda: taken(desk, of(order, "150000"))] * 16)

    assert sum(isinstance(result, Loan) for result in results) == 7, results
    assert sum(isinstance(result, Refused) for result in results) == 9, results
    assert build.balance(desk.master, "USDT") == 1050000
    assert supplies.left(order) == 10000000 - 1050000


def test_an_expiry_settled_by_several_workers_goes_on_once(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-VIP-26, R-GEN-04: four workers, and the accrual at the same time."""
    desk = desks.set_up()
    old = supplies.example(desk, auto_repay=False)
    at = TEN + timedelta(days=33)

    results = in_threads(
        [
            *[lambda: expiry.expire_due(at=at)] * 4,
            lambda: accrual.accrue(at=at),
            lambda: accrual.accrue(at=at),
        ]
    )
    accrual.accrue(at=at)

    assert not [result for result in results if isinstance(result, Exception)], results
    new = Loan.objects.get(renews=old)
    assert Loan.objects.count() == 2
    assert new.drawn_at == TEN + timedelta(days=30)
    charges = DebtEntry.objects.filter(kind="charge").order_by("period_end")
    assert [row.debt_id == old.debt_id for row in charges] == [True] * 30 + [False] * 3
    assert books.late_fee_income("USDT").balance == 0
