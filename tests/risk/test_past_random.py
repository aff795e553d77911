"""Any sequence of movements, accounts, prices, parameters and charges, looked back upon from its end (R-GEN-94)."""

from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from accounts import ledger
from accounts.errors import Refused
from loans.vip import repayment
from risk import accrual, book, gate, groups, past, pledged, sweep
from risk.models import CollateralGroup
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db
coins = st.sampled_from(["BTC", "ETH"])
amounts = st.sampled_from(["0.5", "1", "3", "10"])
STEPS = st.one_of(
    st.tuples(st.just("deposit"), st.integers(0, 2), coins, amounts),
    st.tuples(st.just("withdraw"), st.integers(0, 2), coins, amounts),
    st.tuples(st.just("transfer"), st.integers(0, 2), st.integers(0, 2), coins, amounts),
    st.tuples(st.just("trade"), st.integers(0, 2), amounts),
    st.tuples(st.just("join"), st.integers(0, 2)),
    st.tuples(st.just("leave"), st.integers(0, 2)),
    st.tuples(st.just("price"), coins, st.sampled_from(["0.7", "0.9", "1.05", "1.3"])),
    st.tuples(st.just("ratio"), coins, st.sampled_from(["0.7", "0.85", "1"])),
    st.tuples(st.just("lines"), st.sampled_from(["0.6", "0.7"])),
    st.tuples(st.just("pass"), st.sampled_from([1, 7, 24, 100])),
    st.tuples(st.just("accrue")),
    st.tuples(st.just("repay"), st.sampled_from(["0.1", "0.5", "1"])),
    st.tuples(st.just("sweep")),
)


class World:
    """A desk with three accounts; each step happens a minute after the last, with fresh prices."""

    def __init__(self) -> None:
        self.desk: Desk = desks.set_up()
        for symbol in ("ETH",):
            build.asset(symbol)
            build.ratios(symbol)
            build.fund_pool(symbol, "1000")
        build.fund_pool("BTC", "1000")
        self.prices = {"BTC": Decimal(60_000), "ETH": Decimal(3_000)}
        self.now = TEN
        self.tick()
        loan = desks.drawn(self.desk, coins=("BTC", "ETH"), at=self.now)
        self.loan, self.group = loan, loan.group
        self.accounts = [self.desk.sub, build.account(self.desk.owner), build.account(self.desk.owner)]
        build.deposit(self.accounts[1], "ETH", "100", at=self.now)

    def tick(self, by: timedelta = timedelta(minutes=1)) -> None:
        self.now += by
        desks.quote(self.now, **{coin: f"{price:f}" for coin, price in self.prices.items()})

    def uid(self, number: int) -> int:
        return self.accounts[number].pk

    def do(self, what: str, *how: Any) -> None:
        self.tick()
        with suppress(Refused), transaction.atomic():
            getattr(self, what if what != "pass" else "wait")(*how)

    def deposit(self, number: int, coin: str, amount: str) -> None:
        gate.deposit(
            account_uid=self.uid(number), asset=coin, amount=Decimal(amount), actor=BUILDER, at=self.now
        )

    def withdraw(self, number: int, coin: str, amount: str) -> None:
        gate.withdraw(
            account_uid=self.uid(number),
            asset=coin,
            amount=Decimal(amount),
            address="away",
            actor=self.desk.borrower,
            at=self.now,
        )

    def transfer(self, source: int, target: int, coin: str, amount: str) -> None:
        gate.transfer(
            source_uid=self.uid(source),
            source_wallet="spot",
            target_uid=self.uid(target),
            target_wallet="spot",
            asset=coin,
            amount=Decimal(amount),
            actor=self.desk.borrower,
            at=self.now,
        )

    def trade(self, number: int, amount: str) -> None:
        gate.trade(
            account_uid=self.uid(number),
            sell="BTC",
            amount=Decimal(amount),
            buy="ETH",
            actor=self.desk.borrower,
            at=self.now,
        )

    def join(self, number: int) -> None:
        groups.add_account(
            group_id=self.group.pk, uid=self.uid(number), max_accounts=50, actor=BUILDER, at=self.now
        )

    def leave(self, number: int) -> None:
        groups.remove_account(group_id=self.group.pk, uid=self.uid(number), actor=BUILDER, at=self.now)

    def price(self, coin: str, factor: str) -> None:
        self.prices[coin] *= Decimal(factor)
        self.tick()

    def ratio(self, coin: str, ratio: str) -> None:
        build.ratios(coin, ("0", ratio), at=self.now)

    def lines(self, initial: str) -> None:
        build.limits(initial, "0.77", "0.91", "0.95", at=self.now)

    def wait(self, hours: int) -> None:
        self.tick(timedelta(hours=hours))

    def accrue(self) -> None:
        accrual.accrue(at=self.now)

    def repay(self, share: str) -> None:
        repayment.repay(loan_id=self.loan.pk, share=Decimal(share), actor=self.desk.borrower, at=self.now)

    def sweep(self) -> None:
        sweep.sweep(at=self.now)


def told(state: book.GroupState) -> tuple[object, ...]:
    wallets = tuple(wallet for wallet in state.wallets if wallet.balance)
    debts = [(owed.debt.pk, owed.parts, owed.annual_rate) for owed in state.debts]
    return (
        state.worth(permission=False),
        state.worth(),
        state.lines,
        state.members,
        state.coins,
        wallets,
        debts,
    )


def held(state: book.GroupState) -> dict[str, Decimal]:
    """The chosen coins there are."""
    found: dict[str, Decimal] = {}
    for wallet in state.wallets:
        if wallet.asset in state.coins and wallet.balance:
            found[wallet.asset] = found.get(wallet.asset, Decimal(0)) + wallet.balance
    return found


@pytest.mark.timeout(900)
@settings(max_examples=15, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=6, max_size=14))
def test_each_instant_is_what_it_was_and_its_coins_are_what_flowed(steps: list[tuple[Any, ...]]) -> None:
    """R-GEN-93, R-GEN-94: the state again from rows alone; opening and every flow give the coins at the end."""
    with transaction.atomic():
        world = World()
        written: dict[datetime, tuple[object, ...]] = {}
        for step in steps:
            world.do(*step)
            group = CollateralGroup.objects.get(pk=world.group.pk)
            written[world.now] = told(book.state_of(group, at=world.now))
        states = list(past.states(world.group, instants=written))
        assert {state.at: told(state) for state in states} == written
        first, last = states[0], states[-1]
        found = pledged.spans([world.group.pk], since=first.at, until=last.at)
        flowed = held(first)
        for change in pledged.changes(found, since=first.at, until=last.at):
            flowed[change.span.asset] = flowed.get(change.span.asset, Decimal(0)) + change.amount
        for side, sign in (("credit", 1), ("debit", -1)):
            for row in pledged.transfers(found, side=side, since=first.at, until=last.at):
                asset = getattr(row, side).asset_id
                flowed[asset] = flowed.get(asset, Decimal(0)) + sign * row.amount
        assert {asset: amount for asset, amount in flowed.items() if amount} == held(last)
        assert ledger.problems() == []
        transaction.set_rollback(True)
