"""/api/v1 under generated requests: never a 5xx, refusals of one shape that change nothing, answers as described.

Schemathesis makes the requests from the API's own description, half of them as it asks for and half on purpose not.
What people think of is in test_api_bad_input.py.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import jsonschema
import pytest
import schemathesis
from django.db import connection, transaction
from django.http import HttpResponse
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.core import NOT_SET
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation

from accounts.api.docs import described
from tests.api_world import LivedIn, books, clock

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(420)]

SHARDS: Final = 4
EACH: Final = 12  # requests of one operation and mode; some operations have fewer that differ
AT_LEAST: Final = 640  # of one shard: 2,560 of all four
LARGEST_REFUSAL: Final = 8 * 1024  # bytes
SETTINGS: Final = settings(
    database=None,
    deadline=None,
    max_examples=EACH,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def world(db: None) -> Iterator[LivedIn]:
    made = LivedIn()
    with (
        connection.cursor() as cursor
    ):  # making up a request may take longer than a page's transaction may rest
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    with clock():
        yield made


def operations() -> list[APIOperation]:
    """Every operation, those with a body spread evenly over the shards."""
    found = schemathesis.openapi.from_dict(described()).get_all_operations()
    rows = [result.ok() for result in found]
    return sorted(rows, key=lambda row: (row.method.upper() == "GET", row.method, row.path))


@contextmanager
def undone() -> Iterator[None]:
    """What a request did is looked at and taken back, so that every request finds the same world."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def judged(response: HttpResponse, method: str, before: Any, shapes: Mapping[str, Any]) -> None:
    """Not ours to fail: no 5xx; refusals of one shape and without effect; answers as they are described."""
    said = (response.status_code, response.content[:500] if not response.streaming else "")
    assert response.status_code < 500, said
    assert str(response.status_code) in shapes, said
    if response.status_code >= 400 or method == "GET":
        assert books() == before, said
    else:
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
    if response.status_code >= 400:
        assert len(response.content) <= LARGEST_REFUSAL, said
    content = shapes[str(response.status_code)].get("content", {}).get("application/json")
    if content is not None:
        assert response["Content-Type"] == "application/json", (said, response.request)
        validator(content["schema"]).validate(response.json())


def validator(schema: dict[str, Any]) -> Any:
    whole = {**schema, "components": described()["components"]}
    return jsonschema.Draft202012Validator(whole)


def send(world: LivedIn, case: Any) -> HttpResponse:
    """One generated request, as it is, through Django's own client."""
    headers = {str(name): str(value) for name, value in (case.headers or {}).items()}
    body = b""
    if case.body is not NOT_SET:
        body = case.body if isinstance(case.body, bytes) else json.dumps(case.body, default=str).encode()
    return world.api.client.generic(  # one client: a new one reads the whole static folder first
        case.method,
        case.formatted_path,
        body,
        content_type="application/json",
        query_params=case.query or {},
        headers=headers | {"Authorization": f"Bearer {world.token}"},
    )


def fuzzed(
    world: LivedIn, operation: APIOperation, mode: GenerationMode, *, named: bool, answers: Counter[int]
) -> int:
    """Send what Schemathesis makes of one operation; `named`: about rows that exist. Returns how many."""
    names = {one.name for one in operation.path_parameters}
    known = {name: world.ids[name] for name in names} if named else None
    shapes = described()["paths"][operation.path][operation.method.lower()]["responses"]
    before, count = books(), 0

    @SETTINGS
    @given(case=operation.as_strategy(generation_mode=mode, path_parameters=known))
    def run(case: Any) -> None:
        nonlocal count
        count += 1
        with undone():
            response = send(world, case)
            answers[response.status_code] += 1
            judged(response, case.method, before, shapes)

    try:
        run()
    except Unsatisfiable:
        return 0  # nothing about it can be wrong, such as a list without parameters
    return count


@pytest.mark.parametrize("shard", range(SHARDS))
def test_generated_requests_break_nothing(world: LivedIn, shard: int) -> None:
    """TRUST section 6: 0 x 5xx, 0 changes on 4xx; at least 2,560 requests in all."""
    sent: Counter[str] = Counter()
    answers: Counter[int] = Counter()
    for operation in operations()[shard::SHARDS]:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            for named in (True, False) if operation.path_parameters else (True,):
                row = f"{operation.method} {operation.path}"
                sent[row] += fuzzed(world, operation, mode, named=named, answers=answers)
    assert sent.total() >= AT_LEAST, sent
    assert all(sent.values()), sent
    assert min(answers[200], answers[400], answers[404]) > 20, answers  # all three kinds were really reached
