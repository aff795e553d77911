"""The queue of groups to look at: most dangerous first, nothing twice, nothing lost. R-GEN-23, R-GEN-24, TRUST E1"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.utils import timezone

from accounts.commands import acting
from risk import candidates, prices, sweep, tasks
from risk.feeds import Tick
from risk.models import Candidate, CollateralGroup, Debt, Liquidation, SweepRun
from risk.screen import Screen
from tests import build

NOON = build.NOON
InThreads = Callable[[list[Callable[[], Any]]], list[Any]]


def groups(count: int, *, btc: str = "25") -> list[CollateralGroup]:
    """The first is the least dangerous: each owes 1,000 USDT more than the one before."""
    return [
        build.secured_debt(btc=btc, amount=str(1_000_000 + 1000 * number), rate="0").group
        for number in range(count)
    ]


def put(found: list[CollateralGroup], *, at: Any = NOON, sells: bool = True) -> None:
    """As the screen of a pass finds them: the last is the most dangerous."""
    ids = [group.pk for group in reversed(found)]
    dangers = [float(len(ids) - place) for place in range(len(ids))]
    screen = Screen(groups=len(ids), near=ids, danger=dangers, sells=[sells] * len(ids))
    candidates.put(product="vip", found=screen, at=at)


@pytest.mark.django_db
def test_the_most_dangerous_is_claimed_first_with_those_like_it() -> None:
    """R-GEN-23: who is to be sold from with such, who is looked at with such, and who was set apart alone"""
    least, middle, most = groups(3)
    put([least, middle, most])

    def claimed() -> list[int]:
        with transaction.atomic():
            return [one.group_id for one in candidates.claim(product="vip")]

    assert claimed() == [most.pk, middle.pk, least.pk]
    Candidate.objects.filter(group=middle).update(sells=False)
    assert claimed() == [most.pk, least.pk]
    with transaction.atomic():
        candidates.set_apart([candidates.claim(product="vip")[0]], alone=True)
    assert claimed() == [most.pk]
    Candidate.objects.filter(group=most).delete()
    assert claimed() == [middle.pk]
    put([least, middle, most], sells=False)
    assert claimed() == [most.pk, middle.pk, least.pk]


@pytest.mark.django_db
def test_a_pass_replaces_what_the_one_before_it_left() -> None:
    """R-GEN-24: danger and order are the newest; an older pass takes nothing of a newer one away"""
    first, second = groups(2)
    put([first, second])
    put([second, first], at=NOON + timedelta(seconds=5))
    put([first, second], at=NOON)
    rows = Candidate.objects.order_by("-danger")
    assert [(row.group_id, row.at) for row in rows] == [
        (first.pk, NOON + timedelta(seconds=5)),
        (second.pk, NOON + timedelta(seconds=5)),
    ]


@pytest.mark.django_db
def test_a_pass_out_of_time_leaves_the_rest_to_others() -> None:
    """R-GEN-23: and asks for help once, when one claim is not all there is"""
    found = groups(candidates.CHUNK + 1)
    build.prices(NOON, BTC="40000", USDT="1")
    calls: list[int] = []
    report = sweep.sweep(at=NOON, seconds=0, more=lambda: calls.append(1))
    assert (report.near, report.liquidated) == (len(found), 0)
    assert (Candidate.objects.count(), calls) == (len(found), [1])

    assert len(sweep.drain().outcomes) == len(found)

    order = list(Liquidation.objects.order_by("pk").values_list("group", flat=True))
    assert order == [group.pk for group in reversed(found)]
    assert not Candidate.objects.exists()


@pytest.mark.django_db
def test_what_a_later_pass_overtook_is_dropped_undecided() -> None:
    """R-GEN-04: it would be judged on older prices"""
    [group] = groups(1)
    build.prices(NOON, BTC="40000", USDT="1")
    put([group])
    SweepRun.objects.create(product="vip", at=NOON + timedelta(seconds=5), groups=1, seconds=0)
    assert sweep.drain().outcomes == []
    assert not Candidate.objects.exists()
    assert not Liquidation.objects.exists()


def test_many_deciders_decide_each_group_once_and_never_a_safer_one_first(
    committed_db: object, in_threads: InThreads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-GEN-23, TRUST E1: whatever is claimed was at least as dangerous as all that nobody had claimed then"""
    monkeypatch.setattr(candidates, "SALES", 2)
    found = groups(24)
    build.prices(NOON, BTC="40000", USDT="1")
    put(found)

    done = in_threads([sweep.drain] * 4)

    assert [one.failed for one in done] == [[]] * 4
    assert sum(len(one.outcomes) for one in done) == len(found)
    assert Liquidation.objects.count() == Liquidation.objects.values("group").distinct().count() == len(found)
    # A number is drawn after the claim, so a group may be as far from its place as others at work hold groups.
    order = list(Liquidation.objects.order_by("pk").values_list("group", flat=True))
    wanted = [group.pk for group in reversed(found)]
    assert all(abs(place - wanted.index(pk)) < 4 * candidates.SALES for place, pk in enumerate(order))


def test_a_claimed_group_is_skipped_by_others_and_kept_by_the_next_pass(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-GEN-23: no waiting for the one who holds it, neither by deciders nor by a pass"""
    held, free = groups(2)
    build.prices(NOON, BTC="40000", USDT="1")
    put([free, held])
    Candidate.objects.filter(group=held).update(alone=True)
    with transaction.atomic():
        assert [one.group_id for one in candidates.claim(product="vip")] == [held.pk]
        later = NOON + timedelta(seconds=1)
        [found] = in_threads([lambda: (put([free, held], at=later), sweep.drain())[1]])
        assert [outcome.liquidation_id is not None for outcome in found.outcomes] == [True]
        assert Candidate.objects.get().at == NOON
    assert Liquidation.objects.get().group_id == free.pk
    assert len(sweep.drain().outcomes) == 1


DIES = """
import os, signal, time
import django
django.setup()
from risk import candidates, judging, sweep
was = candidates.decided
def stop(claimed):
    was(claimed)
    print("decided", flush=True)
    time.sleep(60)
candidates.decided = stop
sweep.drain()
"""


def test_a_decider_killed_in_the_middle_gives_its_group_back(committed_db: Any) -> None:
    """TRUST E1: a sale was made and not committed; it is undone, and another makes it"""
    [group] = groups(1)
    build.prices(NOON, BTC="40000", USDT="1")
    put([group])
    environment = committed_db.environment | {"DJANGO_SETTINGS_MODULE": "config.settings"}
    dying = subprocess.Popen(
        [sys.executable, "-c", DIES],
        cwd=Path(__file__).resolve().parents[2],
        env=environment,
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert dying.stdout is not None
    with dying.stdout as told:
        assert told.readline() == b"decided\n"
        assert sweep.drain().outcomes == []  # it is held
        os.killpg(dying.pid, signal.SIGKILL)
        dying.wait()
    deadline = time.monotonic() + 30
    while not (done := sweep.drain().outcomes) and time.monotonic() < deadline:
        time.sleep(0.1)  # until the database has noticed

    assert len(done) == 1
    assert Liquidation.objects.get().group_id == group.pk
    assert Debt.objects.get(group=group).booked == 0
    assert not Candidate.objects.exists()


def test_a_decider_that_meets_other_locks_the_wrong_way_round_tries_again(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-GEN-04: a lock timeout or deadlock is nobody's failure"""
    [group] = groups(1)
    build.prices(NOON, BTC="40000", USDT="1")
    put([group])

    def hold_for_a_while() -> None:
        with acting(build.BUILDER):
            CollateralGroup.objects.locked(group.pk)
            time.sleep(0.5)

    results = in_threads([hold_for_a_while, sweep.drain])
    assert results[1].failed == []
    assert Liquidation.objects.count() == 1


def test_a_group_that_somebody_holds_for_long_shields_no_other(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-GEN-23, TRUST E24: it is left for later, and nobody waits for it while there are others"""
    found = groups(4)
    build.prices(NOON, BTC="40000", USDT="1")
    put(found, sells=False)
    is_held = threading.Event()

    def hold_the_most_dangerous() -> int:
        with acting(build.BUILDER):
            CollateralGroup.objects.locked(found[-1].pk)
            is_held.set()
            deadline = time.monotonic() + 20
            while (sold := Liquidation.objects.count()) < 3 and time.monotonic() < deadline:
                time.sleep(0.05)
            return sold

    def decide() -> list[int]:
        is_held.wait(30)
        return sweep.drain().failed

    assert in_threads([hold_the_most_dangerous, decide]) == [3, []]
    order = list(Liquidation.objects.order_by("pk").values_list("group", flat=True))
    assert order == [found[place].pk for place in (2, 1, 0, 3)]


def test_whoever_failed_takes_nothing_from_who_has_claimed_it_since(
    committed_db: object, in_threads: InThreads
) -> None:
    """R-GEN-23: a candidate's row is never waited for"""
    put(groups(1))
    with transaction.atomic():
        claimed = candidates.claim(product="vip")

        def give_back() -> list[candidates.Claimed]:
            with transaction.atomic():
                return candidates.still_free(claimed)

        assert in_threads([give_back]) == [[]]
    with transaction.atomic():
        assert candidates.still_free(claimed) == claimed


@pytest.mark.django_db
def test_a_price_doubted_since_the_pass_keeps_a_sale_back() -> None:
    """R-GEN-22: the queue was slow, and the price that it was found at is not believed any more"""
    put(groups(1))
    build.prices(NOON, BTC="40000", USDT="1")
    later = NOON + timedelta(seconds=5)
    [row] = prices.record([Tick("BTC", Decimal(60000), later, "test")], at=later)
    assert row.status == "quarantined"
    assert len(sweep.drain().outcomes) == 1
    assert not Liquidation.objects.exists()


@pytest.mark.django_db
def test_what_was_found_long_ago_is_not_decided_without_a_new_pass() -> None:
    """R-GEN-04, R-GEN-22: the sweep itself is gone; since then the price has recovered"""
    now = timezone.now()
    long_ago = now - timedelta(minutes=10)
    build.prices(long_ago, BTC="40000", USDT="1")
    build.prices(now, BTC="60000", USDT="1")
    put(groups(1), at=long_ago)
    tasks.decide()
    assert not Liquidation.objects.exists()
    put(list(CollateralGroup.objects.all()), at=now)
    tasks.decide()
    assert not Candidate.objects.exists()
