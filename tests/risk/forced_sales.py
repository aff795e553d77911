"""What the tests of forced sales share: a customer with a group, a liquidation, and the books afterwards."""

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from accounts import books
from accounts.commands import Actor, acting
from risk import book, liquidation
from risk.models import CollateralGroup, Debt, HandlingRule, Limits, Liquidation, Sale
from tests import build

D = Decimal
SWEEPER = Actor("job:test")


def liquidate(group: CollateralGroup, *, at: datetime = build.NOON) -> Liquidation | None:
    with acting(SWEEPER):
        [locked] = CollateralGroup.objects.locked(group.pk)
        return liquidation.liquidate(state=book.state_of(locked, at=at), at=at)


def carry_on(row: Liquidation, *, at: datetime = build.NOON) -> Liquidation:
    """The next pass of the sweep over a liquidation that is running."""
    with acting(SWEEPER):
        [locked] = CollateralGroup.objects.locked(row.group_id)
        running = Liquidation.objects.get(pk=row.pk)
        return liquidation.carry_on(row=running, state=book.state_of(locked, at=at), at=at)


def stepped(**more: Any) -> HandlingRule:
    """Everybody is liquidated in steps."""
    with acting(SWEEPER):
        return HandlingRule.objects.create(
            product="vip", effective_at=build.LONG_AGO, **({"mode": "stepped"} | more)
        )


def owes(symbol: str) -> tuple[Decimal, Decimal]:
    """What the control accounts say is owed, and what the fees brought."""
    controls = (books.principal(symbol), books.interest(symbol), books.late_fee(symbol))
    return sum((control.balance for control in controls), D(0)), books.fee_income(symbol).balance


class World:
    """One customer whose group holds several coins over two accounts and owes several debts."""

    def __init__(self, coins: Iterable[str], **holdings: tuple[str, str]) -> None:
        if not Limits.objects.exists():
            build.limits()
        self.owner = build.customer()
        self.first, self.second = build.account(self.owner), build.account(self.owner)
        for symbol, amounts in holdings.items():
            for account, amount in zip((self.first, self.second), amounts, strict=True):
                if D(amount):
                    build.deposit(account, symbol, amount, at=build.LONG_AGO)
        self.group = build.group(build.master(self.owner), [self.first, self.second], coins)

    def owe(self, symbol: str, amount: str, **more: Any) -> Debt:
        build.fund_pool(symbol, amount)
        return build.debt(self.group, symbol, amount, **({"rate": "0"} | more))

    def sales(self) -> list[tuple[int, str, str, Decimal]]:
        rows = Sale.objects.order_by("step")
        return [(row.account_id, row.coin_id, row.debt.asset_id, row.sold) for row in rows]
