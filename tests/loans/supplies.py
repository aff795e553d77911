"""Supply orders of the fixed-rate market and takings of them: USDT for 30 days (tests/loans/desk.py)."""

from datetime import datetime
from decimal import Decimal
from typing import Any

from loans import supply
from loans.matching import Taking
from loans.models import Loan, SupplyOrder
from loans.vip import market
from loans.vip.terms import Request
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans.desk import Desk


def entered(
    rate: str = "0.05",
    amount: str = "1000000",
    *,
    minimum: str = "1000",
    asset: str = "USDT",
    days: int = 30,
    ends_at: datetime | None = None,
    at: datetime = LONG_AGO,
) -> SupplyOrder:
    return supply.enter(
        asset=asset,
        annual_rate=Decimal(rate),
        term_days=days,
        amount=Decimal(amount),
        minimum=Decimal(minimum),
        ends_at=ends_at,
        actor=BUILDER,
        at=at,
    )


def of(order: SupplyOrder, amount: str, *, rate: str = "") -> Taking:
    return Taking(order.pk, Decimal(rate) if rate else order.annual_rate, Decimal(amount))


def asked(desk: Desk, *takings: Taking, **changes: Any) -> Request:
    told: dict[str, Any] = {
        "asset": "USDT",
        "term_days": 30,
        "customer_id": desk.owner.pk,
        "applicant_id": desk.applicant.pk,
        "asked_by": desk.master.pk,
        "receiver_uid": desk.master.pk,
        "account_uids": (desk.sub.pk,),
        "coins": ("BTC",),
        "contact": "ops@example.com",
        "auto_repay": True,
    }
    return market.request_for(takings, **told | changes)


def taken(desk: Desk, *takings: Taking, at: datetime = TEN, **changes: Any) -> Loan:
    return market.take(request=asked(desk, *takings, **changes), takings=takings, actor=desk.borrower, at=at)


def left(order: SupplyOrder) -> Decimal:
    return supply.left_of(supply.with_left(SupplyOrder.objects.filter(pk=order.pk)).get())


def example(desk: Desk, **changes: Any) -> Loan:
    """The worked example, in units that a first loan may have: 250,000 at 5 % and 750,000 at 7 %."""
    low, high = entered("0.05", "250000"), entered("0.07", "1000000")
    return taken(desk, of(low, "250000"), of(high, "750000"), **changes)
