"""The exchange's own clients, unchanged but for the address, through a loan's life at a live site (R-GEN-90, R-GEN-91).

Each runs in its own environment (`make client-envs`), against the site under gunicorn on a database of its own; what
they are asked to do is in story.py. `make clients` writes what was served to whom into docs/api.md.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients import story
from tests.clients.stage import DEFAULT_TIMEOUT, Client, driving, environment_of, serving
from tests.clients.world import OPENING, World, built, keys_of, prices

NAMES = ("official", "ccxt", "pybinance", "connector", "typed")
REPORTS = Path(__file__).resolve().parents[2] / ".local" / "clients"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    if not (environment_of(request.param) / ".installed").exists():
        pytest.skip(f"the environment of {request.param} is not installed: make client-envs")
    return str(request.param)


@pytest.fixture
def stage(name, committed_db, tmp_path) -> Iterator[tuple[Client, World]]:
    with serving(committed_db.environment, tmp_path, at=OPENING) as site:
        world = built(site)
        prices(site.now())
        with driving(name, site, keys_of(world), tmp_path / "driver.log") as client:
            yield client, world
            _tell(client)


def test_a_client_lives_through_a_loan(stage):
    """R-VIP-14, 27, 30, 31, 40, 41, 42, EX-01: from balances to histories, and every way to be refused on the way."""
    client, world = stage
    story.tell(client, world)
    if client.name == "official":
        assert client.slowest < DEFAULT_TIMEOUT, "a call took longer than the SDK waits by default"


def _tell(client: Client) -> None:
    REPORTS.mkdir(parents=True, exist_ok=True)
    (REPORTS / f"{client.name}.json").write_text(json.dumps(client.report(), indent=1))
    for step in client.steps:
        sys.stdout.write(f"  {client.name:9} {step.ms:7.1f} ms  {step.said:32} {step.name}\n")
