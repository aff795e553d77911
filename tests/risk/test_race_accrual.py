"""Several workers on one midnight, and workers that die: each debt is charged once, as by one run. R-GEN-04"""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection, transaction

from accounts import books
from accounts.models import JournalEntry
from risk import accrual, tasks
from risk.interest import midnights
from risk.models import Debt, DebtEntry
from tests import build
from tests.build import TEN

InThreads = Callable[[list[Callable[[], Any]]], list[Any]]
DAY = timedelta(days=1)
AT = TEN + 3 * DAY
RUN = """
import sys
from datetime import datetime
import django
django.setup()
from risk import accrual
accrual.accrue(at=datetime.fromisoformat(sys.argv[1]), chunk=int(sys.argv[2]))
"""


def several(count: int) -> list[int]:
    """Debts in two coins, some of them opened a day later than others."""
    of = build.secured_debt().group
    build.asset("BTC")
    for coin in ("USDT", "BTC"):
        build.fund_pool(coin)
        books.interest(coin)  # a killed worker is stopped at these
    return [
        build.debt(of, ("USDT", "BTC")[number % 2], f"{1 + number}.1", at=TEN + (number % 3 == 0) * DAY).pk
        for number in range(count - 1)
    ]


def nights(*, until: datetime = AT) -> list[tuple[int, datetime]]:
    """Each debt and midnight that there should be a charge for: exactly once."""
    return sorted(
        (debt.pk, night)
        for debt in Debt.objects.all()
        for night in midnights(after=debt.opened_at, until=until)
    )


def charges() -> list[tuple[int, datetime]]:
    return sorted(DebtEntry.objects.filter(kind="charge").values_list("debt", "at"))


def controls_hold_the_debts() -> bool:
    for coin in ("USDT", "BTC"):
        owed = sum((debt.interest for debt in Debt.objects.filter(asset=coin)), Decimal(0))
        if not books.interest(coin).balance == books.interest_income(coin).balance == owed:
            return False
    return True


@pytest.mark.parametrize("workers", [2, 4])
def test_workers_share_the_debts_and_no_row_is_done_twice(
    committed_db: object, in_threads: InThreads, workers: int
) -> None:
    """R-GEN-04, R-VIP-31, TRUST E1: chunks of three in any order, the coins' house accounts shared by all."""
    several(31)

    found = in_threads([lambda: accrual.accrue(at=AT, chunk=3)] * workers)
    found.append(accrual.accrue(at=AT))  # what one had claimed when another passed by

    assert sum(found) == len(nights())
    assert charges() == nights()
    assert controls_hold_the_debts()


def test_a_debt_in_other_hands_is_left_to_them(committed_db: object, in_threads: InThreads) -> None:
    """R-GEN-04: whoever holds a debt books its days first; the run does not wait, and takes the others."""
    several(3)
    first = Debt.objects.order_by("pk")[0]

    with transaction.atomic():
        Debt.objects.locked(first.pk)
        in_threads([lambda: accrual.accrue(at=AT)])
        assert {pk for pk, _ in charges()} == {pk for pk, _ in nights()} - {first.pk}

    accrual.accrue(at=AT)
    assert charges() == nights()


def _killed(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def _runs(database: Any, *, chunk: int) -> "subprocess.Popen[bytes]":
    environment = database.environment | {"DJANGO_SETTINGS_MODULE": "config.settings", "LOCK_TIMEOUT": "60s"}
    command = [sys.executable, "-c", RUN, AT.isoformat(), str(chunk)]
    return subprocess.Popen(command, cwd=Path(settings.BASE_DIR), env=environment)


def _soon(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline, "the worker did not come so far in time"
        time.sleep(0.01)


def test_a_worker_that_is_killed_in_a_chunk_leaves_nothing_of_it(committed_db: Any) -> None:
    """R-GEN-04, TRUST E2: its debts are charged and their house accounts waited for, when the process dies."""
    several(9)
    with psycopg.connect(committed_db.owner_url) as blocker:
        blocker.execute("SELECT FROM accounts_ledgeraccount WHERE kind = 'interest' FOR UPDATE")
        worker = _runs(committed_db, chunk=100)
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
        with psycopg.connect(committed_db.owner_url, autocommit=True) as observer:
            _soon(lambda: observer.execute(waiting).fetchone() != (0,))
        _killed(worker)
    assert (charges(), JournalEntry.objects.filter(kind="accrual").count()) == ([], 0)

    _soon(
        lambda: accrual.accrue(at=AT) > 0 or charges() == nights()
    )  # the server notices the death at its own pace

    assert charges() == nights()
    assert controls_hold_the_debts()


def test_a_worker_that_is_killed_between_chunks_is_taken_over(committed_db: Any) -> None:
    """R-GEN-04, TRUST E2: chunks of one; whatever was committed stays, the next run does the rest."""
    several(120)
    worker = _runs(committed_db, chunk=1)
    _soon(lambda: len(charges()) > 3)
    _killed(worker)
    done = charges()
    assert len(done) < len(nights()), "it was finished before it could be killed"

    def finished() -> bool:
        accrual.accrue(at=AT)
        return charges() == nights()

    _soon(finished)
    assert set(done) <= set(charges())
    assert controls_hold_the_debts()


def test_a_run_that_fails_half_way_leaves_nothing_of_its_chunk(committed_db: object) -> None:
    """R-GEN-04, R-GEN-05: taken back as a whole: no debt is charged for some of its nights, no total moved."""
    several(5)

    with transaction.atomic():
        accrual.accrue(at=AT)
        transaction.set_rollback(True)
    assert (charges(), JournalEntry.objects.filter(kind="accrual").exists()) == ([], False)
    assert all(debt.interest == 0 and debt.accrued_through == debt.opened_at for debt in Debt.objects.all())

    accrual.accrue(at=AT)
    assert charges() == nights()
    assert controls_hold_the_debts()


def test_weeks_away_are_caught_up_with_in_short_transactions(committed_db: object) -> None:
    """R-GEN-04: nobody waits for a debt longer than ten of its nights take, and the rows are those of every night"""
    several(5)
    at = TEN + 25 * DAY

    assert accrual.accrue(at=at) == len(nights(until=at))

    assert charges() == nights(until=at)
    assert controls_hold_the_debts()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(DISTINCT at) FROM accounts_journalentry WHERE kind = 'accrual' GROUP BY xid ORDER BY xid"
        )
        assert [row[0] for row in cursor.fetchall()] == [10, 10, 5]


def test_much_work_wakes_helpers_and_little_wakes_nobody(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """ARCHITECTURE 7: a helper wakes nobody, so that a doubled message is no avalanche."""
    woken: list[bool] = []
    monkeypatch.setattr(tasks.accrue, "apply_async", lambda **how: woken.append(how["kwargs"]["is_helper"]))
    monkeypatch.setattr(settings, "ACCRUAL_WORKERS", 4)
    monkeypatch.setattr(accrual, "CHUNK", 1)
    for _ in range(2):
        build.secured_debt()

    tasks.accrue(is_helper=True)
    assert woken == []
    build.secured_debt()
    tasks.accrue()
    assert woken == []

    for _ in range(2):
        build.secured_debt()
    tasks.accrue()
    assert woken == [True] * 3


def test_a_run_out_of_time_wakes_itself(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """ARCHITECTURE 7: it stops before its limit, between two chunks, and another goes on."""
    woken: list[bool] = []
    monkeypatch.setattr(tasks.accrue, "apply_async", lambda **how: woken.append(how["kwargs"]["is_helper"]))
    monkeypatch.setattr(settings, "CELERY_TASK_SOFT_TIME_LIMIT", tasks.ACCRUAL_MARGIN)
    build.secured_debt()

    tasks.accrue()

    assert (charges(), woken) == ([], [False])
