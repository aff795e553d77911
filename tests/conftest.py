"""The databases of the tests, and the proof of the books after every test that touched one.

Tests run as the application role on a copy of a template that the owner migrated once. The guards refuse
Django's flush, so there are two kinds of database test: `db` (rolled back) for nearly all, and `committed_db`
(a copy of its own, dropped afterwards) for tests about commits: seals, deferred checks, races, workers.
"""

import fcntl
import gc
import hashlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import hypothesis
import psycopg
import pytest
from django.conf import settings
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection, connections
from django.test.testcases import LiveServerThread
from psycopg import sql
from pytest_django.plugin import DjangoDbBlocker
from whitenoise.middleware import WhiteNoiseMiddleware

if TYPE_CHECKING:
    from tests import demo

BASE = Path(__file__).resolve().parent.parent
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
KEEP = "breaks_the_books"

hypothesis.settings.register_profile("desk", deadline=None, max_examples=100)
hypothesis.settings.register_profile("ci", deadline=None, max_examples=100, derandomize=True)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "desk")


# -- Databases
def _on(name: str, url: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def as_owner(statement: str, *names: str) -> None:
    """One statement about whole databases, as the owner; names are quoted where the statement says {}."""
    place = _on("postgres", settings.DATABASE_OWNER_URL)
    with psycopg.connect(place, autocommit=True) as owner:
        owner.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))


def exists(name: str) -> bool:
    with psycopg.connect(_on("postgres", settings.DATABASE_OWNER_URL)) as owner:
        return owner.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is not None


@contextmanager
def default_connection_on(name: str, *, url: str) -> Iterator[None]:
    """Point Django's default connection, in every thread, at a database; all threads share the one dict."""
    target = connections["default"].settings_dict
    before, parts = dict(target), urlsplit(url)
    connections.close_all()
    target.update(NAME=name, USER=parts.username, PASSWORD=parts.password)
    if url == settings.DATABASE_OWNER_URL:
        target["OPTIONS"] = {}  # the timeouts are the application's, not a migration's
    try:
        yield
    finally:
        connections.close_all()
        target.update(before)


def _template() -> str:
    """A migrated database to copy, named after what made it, so that only a change migrates again."""
    digest = hashlib.sha256((BASE / "requirements" / "dev.lock").read_bytes())
    digest.update((settings.DATABASE_APP_ROLE + sys.version).encode())
    patterns = ("config/settings.py", "*/models.py", "*/models/*.py", "*/migrations/*.*")
    for path in sorted(found for pattern in patterns for found in BASE.glob(pattern)):
        digest.update(path.name.encode() + path.read_bytes())
    name = f"lombard_template_{digest.hexdigest()[:16]}"
    home = Path(os.environ.get("LOMBARD_TEST_HOME", BASE / ".local"))
    with (home / "template.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not exists(name):
            forget("lombard_template_")
            building = f"{name}_{os.getpid()}"
            as_owner("CREATE DATABASE {}", building)
            with default_connection_on(building, url=settings.DATABASE_OWNER_URL):
                call_command("migrate", verbosity=0)
            as_owner("ALTER DATABASE {} RENAME TO {}", building, name)
    return name


def forget(prefix: str) -> None:
    with psycopg.connect(_on("postgres", settings.DATABASE_OWNER_URL)) as owner:
        old = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
        rows = owner.execute(old, [prefix]).fetchall()
    for (name,) in rows:
        as_owner("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


@contextmanager
def copy(name: str, template: str) -> Iterator[None]:
    as_owner("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)
    # Two workers copying at once need nothing more: a template without connections may be read by both.
    as_owner("CREATE DATABASE {} TEMPLATE {}", name, template)
    try:
        yield
    finally:
        as_owner("DROP DATABASE IF EXISTS {} WITH (FORCE)", name)


@pytest.fixture(scope="session")
def template_database(django_db_blocker: DjangoDbBlocker) -> str:
    with django_db_blocker.unblock():
        return _template()


@pytest.fixture(scope="session")
def django_db_setup(
    django_test_environment: None, django_db_blocker: DjangoDbBlocker, template_database: str
) -> Iterator[None]:
    """What pytest-django calls before the first database test of this process."""
    name = f"lombard_test_{WORKER}"
    on_copy = default_connection_on(name, url=settings.DATABASE_URL)
    from tests import proof

    with django_db_blocker.unblock(), copy(name, template_database), on_copy:
        proof.learn()
        yield
        assert proof.problems() == [], "a test that is rolled back left a break behind"


@dataclass(frozen=True)
class CommittedDatabase:
    """A database of one test; `environment` is what a process needs to work on it (and on its own broker)."""

    name: str
    url: str
    owner_url: str

    @property
    def environment(self) -> dict[str, str]:
        here = {"DATABASE_URL": self.url, "DATABASE_OWNER_URL": self.owner_url}
        here |= {"REDIS_URL": settings.REDIS_URL, "LOMBARD_ENV_FILE": "", "PYTHONUNBUFFERED": "1"}
        return os.environ | here


@pytest.fixture
def committed_db(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    template_database: str,
    request: pytest.FixtureRequest,
) -> Iterator[CommittedDatabase]:
    """A fresh copy that really commits, for all threads of this process; proven and dropped at the end."""
    if "db" in request.fixturenames or request.node.get_closest_marker("django_db"):
        pytest.fail("committed_db and a rolled-back db cannot be used in one test")
    name = f"lombard_test_{WORKER}_committed"
    on_copy = default_connection_on(name, url=settings.DATABASE_URL)
    with django_db_blocker.unblock(), copy(name, template_database), on_copy:
        cache.clear()
        yield CommittedDatabase(
            name, _on(name, settings.DATABASE_URL), _on(name, settings.DATABASE_OWNER_URL)
        )
        _prove_the_books(request)


@pytest.fixture(scope="session")
def demo_database(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, template_database: str
) -> "demo.DemoDatabase":
    from tests import demo

    with django_db_blocker.unblock():
        return demo.database(template_database)


@pytest.fixture
def transactional_db() -> None:
    """The guards refuse TRUNCATE, which Django's flush needs."""
    pytest.fail("use committed_db instead of transactional_db, live_server or django_db(transaction=True)")


# -- The books, after every test that touched a database
@pytest.fixture(autouse=True)
def _books_stay_true(request: pytest.FixtureRequest, _django_db_marker: None) -> Iterator[None]:
    rolled_back = "db" in request.fixturenames or request.node.get_closest_marker("django_db")
    if not rolled_back:
        yield
        return
    request.getfixturevalue("_django_db_helper")  # so that this ends before the rollback
    cache.clear()
    yield
    _prove_the_books(request)


def _prove_the_books(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker(KEEP):
        return
    from tests import proof

    connection.ensure_connection()
    if connection.connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR:
        pytest.fail("the transaction is broken: wrap the refused statement in transaction.atomic()")
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    found = proof.problems()
    assert not found, "the books do not prove themselves:\n" + "\n".join(found)


# -- A real site and a real worker, on a committed database
@pytest.fixture
def live_site(committed_db: CommittedDatabase) -> Iterator[str]:
    """The address of the site, served by threads of this process on the committed database."""
    thread = LiveServerThread("127.0.0.1", StaticFilesHandler, connections_override={})
    thread.daemon = True
    thread.start()
    thread.is_ready.wait()
    if thread.error:
        raise thread.error
    yield f"http://127.0.0.1:{thread.port}"
    thread.terminate()
    thread.join()


Worker = subprocess.Popen[bytes]


@pytest.fixture
def start_worker(committed_db: CommittedDatabase, tmp_path: Path) -> Iterator[Callable[..., Worker]]:
    """Start a real Celery worker on the committed database and wait until it is ready."""
    running: list[Worker] = []

    def start(*options: str, seconds: float = 30) -> Worker:
        log = tmp_path / f"worker-{len(running)}.log"
        command = [
            sys.executable,
            *["-m", "celery", "-A", "config", "worker", "-l", "INFO", "-c", "1"],
            *options,
        ]
        with log.open("wb") as out:
            environment = committed_db.environment
            process = subprocess.Popen(
                [*command, *options],
                cwd=BASE,
                env=environment,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        running.append(process)
        deadline = time.monotonic() + seconds
        while b" ready." not in log.read_bytes():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"the worker did not start:\n{log.read_text()}")
            time.sleep(0.1)
        return process

    yield start
    for process in running:
        process.terminate()
    for process in running:
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


# -- The shape of a run
def pytest_configure(config: pytest.Config) -> None:
    """Each xdist worker has a Valkey database of its own, set before Django reads the settings it is in."""
    number = 1 + int(WORKER.removeprefix("gw")) if WORKER.startswith("gw") else 0
    address = urlsplit(settings.REDIS_URL)._replace(path=f"/{number}").geturl()
    settings.REDIS_URL = settings.CELERY_BROKER_URL = address
    settings.CACHES["default"]["LOCATION"] = address
    os.environ["REDIS_URL"] = address


LONGEST = (
    "tests/loans/test_life.py",
    "tests/loans/test_past_lives.py",
    "tests/loans/test_replay.py",
    "tests/sapi/test_fuzz.py",
)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: begun last, one of them would keep everybody waiting for one worker."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))


def pytest_collection_finish() -> None:
    """What is loaded by now stays to the end: the collector need not walk through it for every test."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


@pytest.fixture(scope="session", autouse=True)
def _static_files_are_listed_once() -> Iterator[None]:
    """A process that serves lists them when it starts. Here each test client would, for longer than most tests take."""
    list_them = WhiteNoiseMiddleware.add_files_from_finders
    listed: dict[str, Any] = {}

    def listed_before(middleware: WhiteNoiseMiddleware) -> None:
        if not listed:
            list_them(middleware)
            listed.update(middleware.files)
        middleware.files.update(listed)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(WhiteNoiseMiddleware, "add_files_from_finders", listed_before)
        yield


@pytest.fixture
def in_threads() -> Callable[[list[Callable[[], Any]]], list[Any]]:
    """Run the calls at one moment, each on its own connection; results or raised errors, in order."""

    def run(calls: list[Callable[[], Any]]) -> list[Any]:
        results: list[Any] = [None] * len(calls)
        gate = threading.Barrier(len(calls))

        def one(position: int, call: Callable[[], Any]) -> None:
            gate.wait()
            try:
                results[position] = call()
            except Exception as error:  # the caller asserts on it
                results[position] = error
            finally:
                connections.close_all()

        threads = [threading.Thread(target=one, args=item) for item in enumerate(calls)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    return run
