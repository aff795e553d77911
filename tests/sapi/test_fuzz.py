"""Thousands of requests made up from the dialect's own description, signed: never an error of ours, never a change.

FUZZ_TIMES=20 sends twenty times as many, for a night.
"""

import json
import os
from collections import Counter
from typing import Any
from urllib.parse import urlencode

import pytest
import schemathesis
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from jsonschema import Draft202012Validator
from schemathesis import GenerationMode

from accounts.sapi import schema
from accounts.sapi.registry import Security
from accounts.sapi.transport import OF_TRANSPORT
from tests.sapi import values
from tests.sapi import world as worlds
from tests.sapi.world import ENDPOINTS, World, problems_with, send, sign

TIMES = int(os.environ.get("FUZZ_TIMES", "1"))
EACH = 32 * TIMES  # requests per endpoint and kind
LEAST = 1_300 * TIMES  # requests of one kind in all; there are two kinds
CALLERS = ("caller", "caller", "sub", "stranger", "viewer", "reader")
ASKED_OFTEN = settings(
    max_examples=EACH,
    database=None,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.generate],
)


def operations() -> dict[str, Any]:
    """By name, what is made up from; time, window and signature are the sender's, who makes them true."""
    told = schema.describe()
    for methods in told["paths"].values():
        for operation in methods.values():
            operation["parameters"] = [
                one for one in operation["parameters"] if one["name"] not in OF_TRANSPORT
            ]
    loaded = schemathesis.openapi.from_dict(told)
    return {found.ok().label: found.ok() for found in loaded.get_all_operations()}


@pytest.mark.timeout(240 * TIMES)
@pytest.mark.parametrize("kind", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_nothing_that_is_made_up_breaks_the_desk(kind: GenerationMode, world: World) -> None:
    """TRUST section 6: at least 2,600 requests in both kinds together; 0 x 5xx, JSON always, a no changes nothing."""
    statuses: Counter[int] = Counter()
    for name, operation in operations().items():
        before = worlds.everything()
        statuses += fuzzed(world, name, operation.as_strategy(generation_mode=kind))
        assert worlds.everything() == before, name
    assert statuses.total() >= LEAST, statuses
    assert statuses[200] >= 100 * TIMES, statuses  # it gets past the door
    assert not [status for status in statuses if status >= 500], statuses


def fuzzed(world: World, name: str, cases: st.SearchStrategy[Any]) -> Counter[int]:
    """Send them; what was done is taken back, so that all that is left would be the doing of a refusal."""
    endpoint, statuses = ENDPOINTS[name], Counter[int]()
    good = values.good(world, name, whole=True)
    shape = Draft202012Validator(schema.shape_of(endpoint.example))

    @ASKED_OFTEN
    @given(cases, st.integers(0, 2 ** len(endpoint.params)), st.sampled_from(CALLERS))
    def run(case: Any, kept: int, caller: str) -> None:
        params = dict(case.query or {})
        for place, param in enumerate(endpoint.params):  # half of what is made up gives way to what there is
            if kept >> place & 1 and param.name in good:
                params[param.name] = good[param.name]
        with transaction.atomic():
            answer = sent(world, name, params, values.caller_of(name) if caller == "caller" else caller)
            transaction.set_rollback(answer.status_code == 200 and endpoint.method != "GET")
        statuses[answer.status_code] += 1
        if answer.status_code == 200:
            shape.validate(json.loads(answer.content))
        else:
            assert problems_with(answer) == [], (params, answer.content)

    try:
        run()
    except Unsatisfiable:  # nothing is wrong with no parameters
        assert not endpoint.params
    return statuses


def sent(world: World, name: str, params: dict[str, Any], caller: str) -> Any:
    """In the query or in the body, signed if it has to be."""
    key = world.keys[caller]
    pairs = urlencode(params, doseq=True, errors="surrogatepass")
    if ENDPOINTS[name].security is Security.SIGNED:
        pairs = sign(pairs, secret=world.secrets[key.key])
    return send(name, pairs, key=key.key, in_body=name.startswith("POST") and len(pairs) % 2 == 0)
