"""Sweeps against each other and against a top-up, with real commits. TRUST C-05, C-06, E1"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from accounts.commands import Actor
from risk import gate, sweep
from risk.models import CollateralGroup, Debt, Liquidation
from tests import build

InThreads = Callable[[list[Callable[[], Any]]], list[Any]]

SECOND = build.NOON + timedelta(seconds=5)


def breached() -> CollateralGroup:
    """A group seen over its liquidation line at noon; the next reading sells."""
    group = build.secured_debt(rate="0").group
    for at in (build.NOON, SECOND):
        build.prices(at, BTC="43900", USDT="1")
    sweep.sweep(at=build.NOON)
    return group


def test_many_sweeps_at_once_liquidate_once(committed_db: object, in_threads: InThreads) -> None:
    """TRUST C-05, E1"""
    group = breached()
    reports = in_threads([lambda: sweep.sweep(at=SECOND)] * 6)
    assert [report.failed for report in reports] == [()] * 6
    assert sum(report.liquidated for report in reports) == 1
    assert Liquidation.objects.get().group_id == group.pk


def test_a_top_up_that_commits_first_is_never_liquidated(committed_db: object, in_threads: InThreads) -> None:
    """TRUST C-06: five rounds, whoever wins; what was sold was sold at a LTV over the line"""
    for _ in range(5):
        group = breached()
        account = group.members.get().account

        def top_up(uid: int = account.pk) -> None:
            gate.deposit(
                account_uid=uid,
                asset="BTC",
                amount=build.Decimal(25),
                actor=Actor("test:customer"),
                at=SECOND,
            )

        in_threads([top_up, lambda pk=group.pk: sweep.decide(group_id=pk, at=SECOND)])

        sold = Liquidation.objects.filter(group=group).first()
        debt = Debt.objects.get(group=group)
        held = build.balance(account, "BTC")
        if sold is None:
            assert (debt.booked, held) == (1000000, 50)
        else:
            assert (debt.booked, sold.snapshot["wallets"][0]["balance"]) == (0, "25.00000000")
            assert held > 25  # the surplus, and the deposit that came after
