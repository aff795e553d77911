"""Withdrawals against borrowings on one group, at the same moment, with real commits (TRUST C-02).

Sixteen threads each ask for something that is allowed alone; together they are not. RACE_ROUNDS sets the number
of rounds; delays differ from round to round, so that decisions and commits of the two sides meet in every way.
The first tests stop an approval between its decision and its commit: what must wait for it, waits.
"""

import os
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection, connections

from accounts.errors import Refused
from accounts.models import Account
from loans.models import Application
from loans.vip import origination
from risk import book, gate, groups
from risk.models import CollateralGroup
from tests import build
from tests.build import TEN
from tests.loans import desk
from tests.loans.desk import Desk

ROUNDS = int(os.environ.get("RACE_ROUNDS", "20"))
delays = random.Random(1)
SIDE = 8  # threads that withdraw, and as many that borrow

D = Decimal
InThreads = Callable[[list[Callable[[], Any]]], list[Any]]
pytestmark = pytest.mark.timeout(60 + 10 * ROUNDS)


@pytest.fixture
def market(committed_db: object) -> Desk:
    """BTC at 100 000: 20 BTC secure 1 440 000 at most."""
    market = desk.set_up()
    desk.quote(TEN, BTC="100000")
    return market


def newcomer(market: Desk) -> Desk:
    owner = build.customer(manager=market.manager, member=market.applicant)
    sub = build.account(owner)
    build.deposit(sub, "BTC", "20")
    return replace(market, owner=owner, master=build.master(owner), sub=sub)


@contextmanager
def paused_at(ledger_account: str, database: Any) -> Iterator[psycopg.Connection[Any]]:
    """Whoever books on this account waits until the end of the block: decided, and not yet committed."""
    with psycopg.connect(database.owner_url) as owner:
        sql = "SELECT 1 FROM accounts_ledgeraccount WHERE code = %s FOR UPDATE"
        assert owner.execute(sql, [ledger_account]).fetchone()
        yield owner
        owner.rollback()


def wait_for(owner: psycopg.Connection[Any], *, waiting: int, or_done: Future[Any]) -> None:
    """Until so many sessions wait for a lock, or the call came through without waiting."""
    sql = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    deadline = time.monotonic() + 20
    while owner.execute(sql).fetchone() != (waiting,) and not or_done.done():
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.01)
        owner.execute("SELECT pg_stat_clear_snapshot()")  # a transaction sees the activity it saw first


def answer(call: Callable[[], Any]) -> Any:
    """What the call returns or refuses, on a connection that waits as long as the test needs."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '30s'; SET statement_timeout = '30s'")
        return call()
    except Refused as refusal:
        return refusal
    finally:
        connections.close_all()


def withdrawal(of: Desk, source: Account, amount: str) -> Callable[[], Any]:
    return lambda: gate.withdraw(
        account_uid=source.uid, asset="BTC", amount=D(amount), address="bc1q", actor=of.borrower, at=TEN
    )


def approval(of: Desk, request: Application) -> Callable[[], Any]:
    return lambda: origination.approve(
        application_id=request.pk,
        sheet_sha256=request.offers.get().sha256,
        actor=of.decider,
        at=TEN,
    )


def second_member(of: Desk) -> Account:
    """10 of the 20 BTC in an account that only the group's first request names."""
    second = build.account(of.owner)
    build.deposit(second, "BTC", "10")
    withdrawal(of, of.sub, "10")()
    desk.drawn(of, "1000000", account_uids=(of.sub.uid, second.uid))
    return second


def race(of: Desk, in_threads: InThreads, *, borrow: str, withdraw: str, source: Account) -> Counter[str]:
    """Eight approvals and eight withdrawals at once; what came out, by kind. Anything but a Refused is a bug."""
    requests = [desk.submitted(of, borrow) for _ in range(SIDE)]
    start = delays.uniform(0, 0.3)  # an approval takes about that long: before, amid or after it

    def delayed(call: Callable[[], Any], pause: float) -> Callable[[], Any]:
        def run() -> Any:
            time.sleep(pause)
            return call()

        return run

    asked = [approval(of, request) for request in requests]
    pauses = [start + delays.uniform(0, 0.02) for _ in range(SIDE)]
    asked += [delayed(withdrawal(of, source, withdraw), pause) for pause in pauses]
    answers = in_threads(asked)
    unexpected = [
        answer for answer in answers if isinstance(answer, Exception) and not isinstance(answer, Refused)
    ]
    assert not unexpected
    return Counter(type(answer).__name__ for answer in answers if not isinstance(answer, Exception))


def ltv_holds(of: Desk) -> bool:
    groups_of = CollateralGroup.objects.filter(customer=of.owner)
    return all(book.state_of(group, at=TEN).worth().is_at_most(D("0.72")) for group in groups_of)


@pytest.mark.parametrize("is_new", [False, True], ids=["member of the group", "becoming a member"])
def test_a_withdrawal_waits_for_an_approval_that_is_decided_but_not_committed(
    market: Desk, committed_db: Any, is_new: bool
) -> None:
    """R-VIP-13, R-VIP-52, ARCHITECTURE 4: 1 250 000 against 15 BTC would be 83 %.

    A member meets the approval at the group's row; an account that is not one yet, at its own row.
    """
    of = newcomer(market)
    source = of.sub if is_new else second_member(of)
    request = desk.submitted(of, "1250000" if is_new else "250000")
    with ThreadPoolExecutor(2) as threads:
        with paused_at("pool:USDT", committed_db) as owner:
            approving = threads.submit(answer, approval(of, request))
            wait_for(owner, waiting=1, or_done=approving)
            withdrawing = threads.submit(answer, withdrawal(of, source, "5"))
            wait_for(owner, waiting=2, or_done=withdrawing)
            assert not approving.done()
        approved, withdrawn = approving.result(), withdrawing.result()

    assert ltv_holds(of)
    assert approved.status == Application.Status.DISBURSED
    assert isinstance(withdrawn, groups.NotPermitted)


def test_withdrawals_and_borrowings_on_one_group_never_break_the_ltv_rule(
    market: Desk, in_threads: InThreads
) -> None:
    """R-VIP-52, R-VIP-13, TRUST C-02: 1 m is owed against 2 m; 250 000 more, or 5 BTC less, and no two of them.

    The requests name one account and the coins leave another one, so only the group's row stands between them.
    """
    for _ in range(ROUNDS):
        of = newcomer(market)
        second = second_member(of)

        done = race(of, in_threads, borrow="250000", withdraw="5", source=second)

        assert ltv_holds(of)
        assert done.total() == 1, done


def test_coins_cannot_leave_an_account_that_is_just_becoming_collateral(
    market: Desk, in_threads: InThreads
) -> None:
    """R-VIP-13, R-GEN-13: there is no group row to lock yet; the account row is what both sides meet at."""
    for _ in range(ROUNDS):
        of = newcomer(market)

        done = race(of, in_threads, borrow="1000000", withdraw="10", source=of.sub)

        assert ltv_holds(of)
        assert done in (Counter(Application=1), Counter(Movement=2)), done


def test_an_account_joins_only_one_of_many_groups(market: Desk, in_threads: InThreads) -> None:
    """R-GEN-13: eight groups want the same account at once; one gets it and the others are told."""
    of = newcomer(market)
    shared = build.account(of.owner)
    wanting = [build.group(build.account(of.owner), [build.account(of.owner)]) for _ in range(SIDE)]

    def add(group: CollateralGroup) -> Callable[[], Any]:
        return lambda: groups.add_account(
            group_id=group.pk, uid=shared.uid, max_accounts=50, actor=of.borrower, at=TEN
        )

    answers = in_threads([add(group) for group in wanting])

    assert Counter(type(answer).__name__ for answer in answers) == {"Member": 1, "AccountInUse": SIDE - 1}


def test_transfers_in_opposite_directions_wait_for_each_other(market: Desk, in_threads: InThreads) -> None:
    """TRUST C-12: no deadlock reaches anybody, and no coin is lost."""
    of = newcomer(market)
    first, second = of.sub, build.account(of.owner)
    build.deposit(second, "BTC", "20")
    build.group(of.master, [first])
    build.group(build.account(of.owner), [second])

    def move(source: int, target: int) -> Callable[[], Any]:
        return lambda: gate.transfer(
            source_uid=source,
            source_wallet="spot",
            target_uid=target,
            target_wallet="spot",
            asset="BTC",
            amount=D(1),
            actor=of.borrower,
            at=TEN,
        )

    answers = in_threads([move(first.uid, second.uid), move(second.uid, first.uid)] * SIDE)

    assert Counter(type(answer).__name__ for answer in answers) == {"Movement": 2 * SIDE}
    assert (build.balance(first, "BTC"), build.balance(second, "BTC")) == (20, 20)
