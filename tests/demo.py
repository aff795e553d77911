"""The seeded demo as a database to copy: seeding it takes as long as hundreds of tests."""

import fcntl
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import time_machine
from django.conf import settings
from django.core.cache import cache
from django.test import override_settings

from accounts import ledger
from loans.demo import seeding
from loans.demo.seeding import Seeded
from tests import conftest as databases

DEMO_NOW = datetime(2026, 11, 20, 9, 17, 23, tzinfo=UTC)
PREFIX = "lombard_demo_"


@dataclass(frozen=True)
class DemoDatabase:
    name: str
    made: Seeded


def database(template: str) -> DemoDatabase:
    """Made once for all processes of a run; those of earlier runs are dropped."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))[:16]
    home = Path(os.environ.get("LOMBARD_TEST_HOME", databases.BASE / ".local"))
    name, told = f"{PREFIX}{run}", home / "demo.json"
    with (home / "demo.lock").open("w") as guard:
        fcntl.flock(guard, fcntl.LOCK_EX)
        if not databases.exists(name):
            databases.forget(PREFIX)
            building = f"{name}_building"
            databases.as_owner("CREATE DATABASE {} TEMPLATE {}", building, template)
            with databases.default_connection_on(building, url=settings.DATABASE_URL):
                told.write_text(json.dumps(asdict(_seeded())))
            databases.as_owner("ALTER DATABASE {} RENAME TO {}", building, name)
        return DemoDatabase(name, Seeded(**json.loads(told.read_text())))


def _seeded() -> Seeded:
    cache.clear()
    with override_settings(DEMO=True), time_machine.travel(DEMO_NOW, tick=False):
        made = seeding.seed(at=DEMO_NOW)
    assert made is not None
    assert ledger.problems() == []
    return made
