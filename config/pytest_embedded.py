"""`pytest` alone is enough: a throw-away PostgreSQL and Valkey, up before pytest-django reads the settings.

Loaded by `-p` in pyproject.toml. Every run takes a home of its own, in memory where that has room and else under
`.local/test`, so two runs at once never share or stop each other's servers; xdist's workers inherit the addresses
through the environment.
"""

import fcntl
import os
import shutil
import stat
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import IO

from config import embedded, roles

TEST_ROLE = "lombard_test_app"  # on a server that was given, the running desk's role is left alone
MEMORY = Path("/dev/shm")  # noqa: S108  what lies there is checked to be ours
ROOM = 4 * 1024**3  # bytes that must be free there; a whole run takes a fraction of it
_stack = ExitStack()


def _homes() -> Path:
    """A test that commits copies a database of a thousand files and drops it: ten times the work on a disk."""
    on_disk = embedded.HOME / "test"
    if os.environ.get("LOMBARD_HOME") or not MEMORY.is_dir() or shutil.disk_usage(MEMORY).free < ROOM:
        return on_disk
    folder = MEMORY / f"lombard-tests-{os.geteuid()}"
    folder.mkdir(mode=0o711, exist_ok=True)
    found = folder.lstat()  # everybody may write beside it, so it may be somebody else's
    is_ours = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022
    return folder if is_ours else on_disk


def _free_home() -> IO[str]:
    """Lock the first home that no other run is using; its servers' data is reused from run to run."""
    homes = _homes()
    for number in count():
        home = homes / str(number)
        home.mkdir(parents=True, exist_ok=True)
        guard = (home / "in-use").open("w")
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            guard.close()
            continue
        os.environ["LOMBARD_TEST_HOME"] = str(home)
        return guard
    raise AssertionError("unreachable: count() has no end")


def _start() -> None:
    os.environ["LOMBARD_ENV_FILE"] = ""  # a demo's settings must not leak into the tests
    os.environ |= {"INSECURE_HTTP": "1", "ALLOWED_HOSTS": "testserver,127.0.0.1,localhost"}
    _stack.callback(_free_home().close)
    owner_url = os.environ.get("DATABASE_OWNER_URL") or os.environ.get("DATABASE_URL")
    if owner_url:
        os.environ["DATABASE_OWNER_URL"] = owner_url
        os.environ["DATABASE_URL"] = roles.application_url(owner_url, known_url=None, role=TEST_ROLE)
    home = Path(os.environ["LOMBARD_TEST_HOME"])
    _stack.enter_context(embedded.services(home, throwaway=True))


if not os.environ.get("PYTEST_XDIST_WORKER"):
    _start()


def pytest_unconfigure() -> None:
    _stack.close()
