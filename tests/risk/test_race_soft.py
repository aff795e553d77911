"""Chosen de-leveraging against itself, an end of it and a top-up, with real commits. R-FTR-05, TRUST C-05, C-06"""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any

from accounts.commands import Actor
from accounts.errors import Refused
from accounts.ledger import problems
from risk import book, deleveraging, faults, gate, sweep
from risk.models import CollateralGroup, Debt, Deleveraging, Liquidation
from tests import build

InThreads = Callable[[list[Callable[[], Any]]], list[Any]]

D = Decimal
CLIENT = Actor("job:client")
SECOND = build.NOON + timedelta(seconds=5)


def breached() -> CollateralGroup:
    """A group seen over its chosen start at noon, 83.3 %; the next reading takes a step of 100,000."""
    group = build.secured_debt(rate="0").group
    choose(group)
    for at in (build.NOON, SECOND):
        build.prices(at, BTC="48000", USDT="1")
    sweep.sweep(at=build.NOON)
    return group


def choose(group: CollateralGroup, start: str = "0.82") -> Deleveraging:
    return deleveraging.choose(
        group_id=group.pk,
        start=D(start),
        target=D("0.76"),
        step_share=D("0.1"),
        actor=CLIENT,
        at=build.TEN,
    )


def test_many_sweeps_at_once_take_one_step(committed_db: object, in_threads: InThreads) -> None:
    """R-FTR-05, TRUST C-05"""
    breached()
    reports = in_threads([lambda: sweep.sweep(at=SECOND)] * 6)
    assert [report.failed for report in reports] == [()] * 6
    assert sum(report.softened for report in reports) == 1
    assert Liquidation.objects.get().cause == "soft"
    assert Debt.objects.get().booked == 900_000
    assert not problems()


def test_two_choices_at_once_leave_one(committed_db: object, in_threads: InThreads) -> None:
    """R-FTR-05"""
    group = build.secured_debt(rate="0").group
    in_threads([lambda start=start: choose(group, start) for start in ("0.80", "0.82", "0.84", "0.85")])
    assert Deleveraging.objects.count() == 4
    assert Deleveraging.objects.filter(removed_at__isnull=True).count() == 1


def test_an_end_or_a_top_up_that_commits_first_leaves_nothing_to_sell(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-FTR-05, TRUST C-06: whoever wins, what was sold was chosen and over its start"""
    for number in range(6):
        group = breached()
        account = group.members.get().account

        def step_in(pk: int = group.pk, uid: int = account.pk, ends: bool = number % 2 == 0) -> None:
            if ends:
                deleveraging.end(group_id=pk, actor=CLIENT, at=SECOND)
            else:
                gate.deposit(account_uid=uid, asset="BTC", amount=D(5), actor=CLIENT, at=SECOND)

        in_threads([step_in, lambda pk=group.pk: sweep.decide(group_id=pk, at=SECOND)])

        taken = Liquidation.objects.filter(group=group).first()
        left = Debt.objects.get(group=group).booked
        assert left == (1_000_000 if taken is None else 900_000)
        if taken is not None and number % 2:
            assert taken.snapshot["wallets"][0]["balance"] == "25.00000000"
        assert not book.state_of(group, at=SECOND).is_liquidating
    # Each round tells the prices of the same two instants anew, so only the lines can be judged again.
    assert [fault for fault in faults.found() if "not fresh" not in fault] == []
    assert not problems()


def test_a_choice_is_refused_by_its_group_not_by_the_database(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-FTR-05: the same choice twice at once is made once"""
    group = build.secured_debt(rate="0").group

    def try_it() -> str:
        try:
            choose(group)
        except Refused as refusal:
            return refusal.code
        return "chosen"

    assert sorted(in_threads([try_it] * 3)) == ["chosen"] + ["deleveraging_already_chosen"] * 2
