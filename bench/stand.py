"""Where the benchmarks run: throw-away servers, a migrated database of their own, and real processes against it.

Nothing here is the application's; a benchmark asks for `database()`, fills it (bench/book.py) and measures.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import psycopg

# What a server of this size would be given; the floors run on the same one. Data is thrown away, so nothing is synced.
POSTGRES = {
    "shared_buffers": "2GB",
    "max_wal_size": "16GB",
    "checkpoint_timeout": "1h",
    "work_mem": "32MB",
    "maintenance_work_mem": "512MB",
    "jit": "off",
}
TENDED_EVERY = 5.0  # seconds
QUIET = {
    "LOMBARD_ENV_FILE": "",
    "INSECURE_HTTP": "1",
    "ALLOWED_HOSTS": "127.0.0.1,testserver",
    "LOG_LEVEL": "WARNING",
    "STATEMENT_TIMEOUT": "300s",  # to fill a book in large pieces
    "IDLE_IN_TRANSACTION_TIMEOUT": "60s",
    # A benchmark may ask as often as it likes.
    "SAPI_IP_WEIGHT": str(10**9),
    "SAPI_UID_WEIGHT": str(10**9),
}


@contextmanager
def database() -> Iterator[Callable[[], None]]:
    """Servers, Django and an empty migrated database, gone afterwards; gives what lets the planner look again.

    Not for a process that has set Django up already.
    """
    from config import embedded

    os.environ |= QUIET
    with embedded.services(embedded.HOME / "bench", throwaway=True, options=POSTGRES):
        import django

        os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
        django.setup()
        from loans.management.own_database import own_database

        with own_database() as analyse:
            yield analyse


def url(*, owner: bool = False) -> str:
    """The address of the database that Django's default connection is on, for other processes or for its owner."""
    from django.conf import settings
    from django.db import connection
    from environ import Env

    here = connection.settings_dict
    who = Env.db_url_config(settings.DATABASE_OWNER_URL) if owner else here
    return f"postgresql://{who['USER']}:{who['PASSWORD']}@{here['HOST']}:{here['PORT']}/{here['NAME']}"


def environment(**more: str) -> dict[str, str]:
    """What a process of the application needs in order to work on the same database and broker."""
    from django.conf import settings

    return os.environ | {"DATABASE_URL": url(), "REDIS_URL": settings.REDIS_URL} | more


@contextmanager
def process(*command: str, env: Mapping[str, str] | None = None) -> Iterator["subprocess.Popen[bytes]"]:
    """A child that is asked to stop at the end, and made to after 20 s."""
    child = subprocess.Popen(command, env=environment() if env is None else env, start_new_session=True)
    try:
        yield child
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGTERM)
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()


@contextmanager
def site(*, threads: int = 8) -> Iterator[int]:
    """The web process as `make run` starts it; gives its port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    command = f"-m gunicorn config.wsgi -b 127.0.0.1:{port} -k gthread --threads {threads}"
    quiet = ["--log-level", "warning", "--no-control-socket"]
    with process(sys.executable, *command.split(), *quiet):
        _wait_for(port)
        yield port


@contextmanager
def worker(
    name: str, *, queues: str = "celery", concurrency: int = 1, address: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """One Celery worker of `name` on these queues; `address`: other places of database and broker, as it sees them."""
    hush = "ignore:You're running the worker with superuser privileges"
    celery = f"-m celery -q -A config worker -l WARNING -c {concurrency} -n {name}@bench -Q {queues}"
    alone = ["--without-mingle", "--without-gossip", "--without-heartbeat"]
    env = environment(**(address or {}))
    with process(sys.executable, "-W", hush, *celery.split(), *alone, env=env) as child:
        yield child


@contextmanager
def tended(*tables: str) -> Iterator[None]:
    """Do for these tables what autovacuum does for a server's; a throw-away one has none, so it could be dropped.

    Without it statements are planned for the few rows that a table had, and read all the many that it has by now.
    """
    over = threading.Event()

    def tend() -> None:
        with psycopg.connect(url(owner=True), autocommit=True) as owner:
            owner.execute(
                "SET vacuum_cost_delay = '2ms'"
            )  # as unhurried as autovacuum is; by hand it would hurry
            while True:
                owner.execute(f"VACUUM (ANALYZE) {', '.join(tables)}".encode())
                if over.wait(TENDED_EVERY):
                    return

    keeper = threading.Thread(target=tend)
    keeper.start()
    try:
        yield
    finally:
        over.set()
        keeper.join()


def memory_mb(pid: int) -> float:
    """The most memory a process has had so far, in MB (its resident set)."""
    with open(f"/proc/{pid}/status", encoding="ascii") as told:
        for line in told:
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return 0.0


def children(pid: int) -> list[int]:
    """The processes that `pid` has started, such as those of a worker's pool."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as told:
        return [int(child) for child in told.read().split()]


def best_of(times: int, measured: Callable[[], float]) -> float:
    """The fastest of some runs: what disturbs a run only ever makes it slower."""
    return min(measured() for _ in range(times))


def timed(action: Callable[[], object]) -> float:
    """How long it took, in seconds."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _wait_for(port: int) -> None:
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit("The web process did not start.")
