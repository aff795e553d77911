"""`pytest` alone is enough: a throw-away PostgreSQL and Valkey, up before pytest-django reads the settings.

Loaded by `-p` in pyproject.toml. Every run takes a home of its own under `.local/test`, so two runs at once
never share or stop each other's servers; xdist's workers inherit the addresses through the environment.
"""

import fcntl
import os
from contextlib import ExitStack
from itertools import count
from pathlib import Path
from typing import IO

from config import embedded, roles

TEST_ROLE = "lombard_test_app"  # on a server that was given, the running desk's role is left alone
_stack = ExitStack()


def _free_home() -> IO[str]:
    """Lock the first home that no other run is using; its servers' data is reused from run to run."""
    for number in count():
        home = embedded.HOME / "test" / str(number)
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
