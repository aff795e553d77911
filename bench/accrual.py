"""The midnight of a whole book by two Celery workers, against the same rows written by plain SQL without any guard.

The floor inserts as many rows with their keys and updates as many debts, in copies of the tables without triggers and
foreign keys, by two sessions over halves. Its debts have the indexes and checks that the real ones have, so an update
costs the table what it costs there; its entries have their primary key and the key of debt and period, and no checks.
`spread` shows that workers elsewhere share the same night.
"""

import os
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from statistics import mean
from typing import Any, Final
from urllib.parse import urlsplit

import psycopg

from bench import stand

WORKERS: Final = 2
PATIENCE: Final = 240.0  # seconds
LOOK: Final = 0.02  # seconds between two looks at whether it is done
DAY: Final = timedelta(days=1)


def measured(*, debts: int, at: datetime) -> dict[str, Any]:
    """The night that ends at `at`, a 00:00 UTC through which `debts` debts stood and nothing else is behind.

    Seconds from the message to the last charge, those of the floor before and after, the workers' peak memory in MB,
    and what is wrong with the rows afterwards.
    """
    with _floor() as floor, ExitStack() as stack:
        _swept()
        ours = [stack.enter_context(stand.worker(f"accrual-{number}")) for number in range(WORKERS)]
        _ready(WORKERS, before=at)
        floors = [floor(at)]
        seconds = _night(debts=debts, at=at)
        memory = [
            stand.memory_mb(pid) for worker in ours for pid in (worker.pid, *stand.children(worker.pid))
        ]
        floors.append(floor(at + DAY))
    return {
        "debts": debts,
        "workers": WORKERS,
        "floor_seconds": floors,
        "seconds": seconds,
        "ratio": seconds / mean(floors),
        "memory_mb": max(memory),
        "problems": _problems(debts=debts, at=at),
    }


def spread(*, workers: int, debts: int, at: datetime) -> dict[str, Any]:
    """The night that ends at `at` by workers that share nothing but the addresses of one database and one broker.

    As root each has a network of its own (`ip netns`), else an address of its own; both reach the servers by a relay.
    """
    _swept()
    with ExitStack() as stack:
        for number in range(workers):
            stack.enter_context(_worker_elsewhere(number, workers=workers))
        _ready(workers, before=at)
        seconds = _night(debts=debts, at=at)
    return {
        "workers": workers,
        "debts": debts,
        "apart_by": "network namespaces" if _has_namespaces() else "addresses",
        "seconds": seconds,
        "problems": _problems(debts=debts, at=at),
    }


# --- Our side ---------------------------------------------------------------------------------------


def _night(*, debts: int, at: datetime) -> float:
    """Wake one worker, as beat would; how long until nothing is left to charge."""
    from risk import accrual, tasks

    least = debts // accrual.CHUNK  # entries, before it is worth asking the big table
    with psycopg.connect(stand.url(), autocommit=True) as observer:
        began = time.perf_counter()
        tasks.accrue.apply_async(kwargs={"through": at.isoformat()})
        while _entries(observer, at) < least or _is_left(observer, at):
            if time.perf_counter() - began > PATIENCE:
                raise SystemExit("The accrual did not come to its end.")
            time.sleep(LOOK)
        return time.perf_counter() - began


def _entries(observer: psycopg.Connection, at: datetime) -> int:
    [count] = observer.execute(_ENTRIES, [at]).fetchone() or (0,)
    return int(count)


def _is_left(observer: psycopg.Connection, at: datetime) -> bool:
    return observer.execute(_LEFT, [at]).fetchone() is not None


_ENTRIES = "SELECT count(*) FROM accounts_journalentry WHERE kind = 'accrual' AND at = %s"
_LEFT = """
    SELECT FROM risk_debt WHERE closed_at IS NULL AND residual_since IS NULL AND accrued_through < %s LIMIT 1
"""


def _ready(workers: int, *, before: datetime) -> None:
    """All answer, and have spoken to the database once: the night's first task must not wait for that."""
    from config.celery import app
    from risk import tasks

    deadline = time.monotonic() + PATIENCE
    while len(app.control.ping(timeout=1) or ()) < workers:
        if time.monotonic() > deadline:
            raise SystemExit("The workers did not start.")
    for _ in range(4 * workers):  # nothing is due then
        tasks.accrue.apply_async(kwargs={"is_helper": True, "through": (before - DAY).isoformat()})
    time.sleep(2)


def _swept() -> None:
    """What autovacuum would have done since the night before; throw-away servers have none."""
    with psycopg.connect(stand.url(owner=True), autocommit=True) as owner:
        owner.execute("VACUUM (ANALYZE) risk_debt, risk_debtentry, risk_debtrate")


def _problems(*, debts: int, at: datetime) -> list[str]:
    """Each debt has exactly one charge for the night and stands there, and the controls are the debts' sums."""
    with psycopg.connect(stand.url()) as reader:
        told = reader.execute(_TOLD, {"at": at}).fetchone()
        apart = [code for (code,) in reader.execute(_APART)]
    problems = [] if told == (debts, debts, 0) else [f"charges, debts charged and debts left behind: {told}"]
    return problems + [f"{code} is not the sum of its debts" for code in apart]


_TOLD = """
    SELECT count(*), count(DISTINCT debt_id), (SELECT count(*) FROM risk_debt WHERE accrued_through <> %(at)s)
    FROM risk_debtentry WHERE period_end = %(at)s
"""
_APART = """
    SELECT a.code FROM accounts_ledgeraccount a LEFT JOIN (
        SELECT part || ':' || asset_id AS code, sum(amount) AS owed FROM risk_debt, LATERAL (VALUES
            ('principal', principal), ('interest', interest), ('late_fee', late_fee)) AS parts (part, amount)
        GROUP BY 1) d USING (code)
    WHERE a.kind IN ('principal', 'interest', 'late_fee') AND a.debits - a.credits <> coalesce(d.owed, 0)
    UNION ALL SELECT 'entry ' || entry_id FROM accounts_controlsum WHERE ledger <> subledger
"""


# --- The floor --------------------------------------------------------------------------------------


@contextmanager
def _floor() -> Iterator[Any]:
    """Copies of both tables; gives what charges a night in them and says how long it took."""
    with psycopg.connect(stand.url(owner=True), autocommit=True) as owner:
        owner.execute("CREATE TABLE floor_debt (LIKE risk_debt INCLUDING ALL)")
        owner.execute("CREATE TABLE floor_entry (LIKE risk_debtentry INCLUDING DEFAULTS INCLUDING IDENTITY)")
        owner.execute("INSERT INTO floor_debt SELECT * FROM risk_debt ORDER BY id")
        owner.execute("ALTER TABLE floor_entry ADD PRIMARY KEY (id)")
        owner.execute("CREATE UNIQUE INDEX ON floor_entry (debt_id, period_start)")
        try:
            yield _charge_plainly
        finally:
            owner.execute("DROP TABLE floor_debt, floor_entry")


def _charge_plainly(at: datetime) -> float:
    with psycopg.connect(stand.url(owner=True), autocommit=True) as owner:
        owner.execute("VACUUM (ANALYZE) floor_debt, floor_entry")
        first, middle, last = owner.execute(
            "SELECT min(id), percentile_disc(0.5) WITHIN GROUP (ORDER BY id), max(id) FROM floor_debt"
        ).fetchone() or (0, 0, 0)
    with ExitStack() as stack:
        sessions = [stack.enter_context(psycopg.connect(stand.url(owner=True))) for _ in range(2)]
        halves = ((first, middle), (middle + 1, last))
        began = time.perf_counter()
        threads = [
            threading.Thread(target=_charge_half, args=(session, *half, at))
            for session, half in zip(sessions, halves, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return time.perf_counter() - began


def _charge_half(session: psycopg.Connection, first: int, last: int, at: datetime) -> None:
    for statement in (_INSERTED, _UPDATED):
        session.execute(statement, {"first": first, "last": last, "at": at})
    session.commit()


_INSERTED = """
    INSERT INTO floor_entry (debt_id, entry_id, kind, at, principal, interest, late_fee, period_start, period_end,
            basis, annual_rate)
        SELECT id, 1, 'charge', %(at)s, 0, 6.67203947, 0, accrued_through, %(at)s, principal, 0.0840000001
        FROM floor_debt WHERE id BETWEEN %(first)s AND %(last)s ORDER BY id
"""
_UPDATED = """
    UPDATE floor_debt SET interest = interest + 6.67203947, accrued_through = %(at)s
        WHERE id BETWEEN %(first)s AND %(last)s
"""


# --- Elsewhere --------------------------------------------------------------------------------------


def _has_namespaces() -> bool:
    return os.geteuid() == 0 and shutil.which("ip") is not None


@contextmanager
def _worker_elsewhere(number: int, *, workers: int) -> Iterator[None]:
    """A worker of its own host name that sees database and broker under an address of its own."""
    with ExitStack() as stack:
        inside, address = stack.enter_context(_place(number))
        told = {"ACCRUAL_WORKERS": str(workers)}
        for name in ("DATABASE_URL", "REDIS_URL"):
            there = urlsplit(stand.environment()[name])
            stack.enter_context(_relay(address, there.port or 0))
            login, _, _ = there.netloc.rpartition("@")
            told[name] = there._replace(netloc=f"{login}@{address}:{there.port}").geturl()
        hush = "ignore:You're running the worker with superuser privileges"
        celery = f"-m celery -q -A config worker -l WARNING -c 1 -n accrual@host-{number} -Q celery"
        alone = ["--without-mingle", "--without-gossip", "--without-heartbeat"]
        command = [*inside, sys.executable, "-W", hush, *celery.split(), *alone]
        stack.enter_context(stand.process(*command, env=stand.environment(**told)))
        yield


@contextmanager
def _place(number: int) -> Iterator[tuple[list[str], str]]:
    """What a command is run by to be there, and the address under which it sees this machine."""
    if not _has_namespaces():
        yield [], f"127.0.0.{10 + number}"
        return
    name, mark = f"bench-{secrets.token_hex(3)}", secrets.token_hex(3)
    ours, theirs = f"vb{mark}a", f"vb{mark}b"
    here, there = f"10.213.{number}.1", f"10.213.{number}.2"
    _ip("netns", "add", name)
    try:
        _ip("link", "add", ours, "type", "veth", "peer", "name", theirs, "netns", name)
        _ip("addr", "add", f"{here}/30", "dev", ours)
        _ip("link", "set", ours, "up")
        _ip("-n", name, "addr", "add", f"{there}/30", "dev", theirs)
        _ip("-n", name, "link", "set", theirs, "up")
        _ip("-n", name, "link", "set", "lo", "up")
        yield ["ip", "netns", "exec", name], here
    finally:
        _ip("netns", "del", name)  # and with it the pair


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@contextmanager
def _relay(address: str, port: int) -> Iterator[None]:
    """Servers for the bench listen on the loopback only: pass on what comes to `address` at the same port."""
    with stand.process(sys.executable, "-c", _RELAY, address, str(port)):
        yield


_RELAY = """
import asyncio, sys

async def copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()

async def relay(reader, writer):
    there_reader, there_writer = await asyncio.open_connection("127.0.0.1", int(sys.argv[2]))
    await asyncio.gather(copy(reader, there_writer), copy(there_reader, writer))

async def main():
    server = await asyncio.start_server(relay, sys.argv[1], int(sys.argv[2]))
    await server.serve_forever()

asyncio.run(main())
"""
