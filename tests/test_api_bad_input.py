"""Every class of TRUST section 6 on every write of /api/v1: a 4xx that says why, and nothing changed."""

import json
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from django.db import transaction
from django.http import HttpResponse
from django.test import Client

from accounts.api.docs import described
from tests.api_world import LivedIn, books, clock
from tests.native import BACKEND
from tests.test_api_schema import TERMS, WRITES

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(300)]

JSON: Final = "application/json"
NO_NUMBER: Final[dict[str, list[Any]]] = {
    "B-01": ["1e999", "1e-999", "9" * 5000, "1" * 70_000, 10**40],
    "B-02": ["NaN", "sNaN", "-Infinity", "inf", "null", None, [], {}],
    "B-03": ["-0", "-1", "+1", "--1"],
    "B-04": ["1.0000000000000000001", "1e17", "1.", ".5", "0001"],
    "B-05": ["１２３", "٣", "²", "1\u00a0", "\u200f1", "1_000", "1,000", " 1", "1\n", "1\x00"],
}
"""No amount, fraction, number, flag or choice is any of these."""
NO_AMOUNT: Final = ["0", "0.0", "0.000000001", 1, 1.5, True]
NO_TEXT: Final = ["\x00", "a\x1b[31m", "x" * 65_536, 5, None, [], {}, True]
TEXTS: Final = [
    "🙂",
    "é",
    "e\u0301",
    "'; DROP TABLE loans_loan; --",
    "../../etc/passwd",
    "{{7*7}}",
    "%00",
    "$where",
]
"""Ugly, and text all the same: taken or refused by a rule, never a fault of ours. B-06, B-17"""
EXTRA: Final[dict[str, Any]] = {
    "status": "approved",
    "id": 1,
    "owner_id": 1,
    "customer_id": 1,
    "is_staff": True,
    "approved_by": 1,
    "balance": "1000000",
    "created_at": "2026-01-01T00:00:00Z",
    "ltv_limit": "0.99",
}
"""B-10"""


def bodies(world: LivedIn) -> dict[str, dict[str, Any]]:
    """A body for every write that would be read without complaint."""
    master, sub = world.desk.master.pk, world.desk.sub.pk
    asking = {
        "receiver_uid": master,
        "account_uids": [],
        "coins": ["BTC"],
        "wishes": [{"asset": "USDT", "amount": "1000"}],
        "rate_type": "fixed",
        "term_days": 30,
        "contact": "me@example.com",
        "purpose": "More",
    }
    move = {"account": master, "asset": "USDT", "amount": "1"}
    rule = {"kind": "repay", "asset": "USDT", "trigger": "0.76", "target": "0.7", "cooling_minutes": 60}
    return WRITES | {
        "POST applications": asking | {"accepted": "0" * 64},
        "POST applications/check": asking,
        "POST applications/negotiate": asking | {"wanted": TERMS, "message": "Please."},
        "POST groups/{group_id}/accounts": {"account": world.spare.pk},
        "POST groups/{group_id}/accounts/check": {"account": sub, "do": "remove"},
        "POST groups/{group_id}/cure-rules": rule | {"account": sub, "position": 3, "most_each": "5"},
        "POST transfers": move | {"target": sub, "target_wallet": "funding"},
        "POST withdrawals": move | {"address": "bc1-there"},
    }


@pytest.fixture
def world(db: None) -> Iterator[LivedIn]:
    made = LivedIn()
    with clock():
        yield made


class Sender:
    """Sends one write, looks at what came of it, and takes it back."""

    def __init__(self, world: LivedIn) -> None:
        self.world, self.count = world, 0

    def send(self, row: str, body: Any, **changes: Any) -> HttpResponse:
        """`body` is JSON unless it is text or bytes already."""
        method, path = row.split(" ")
        headers = self.world.api.headers | changes.pop("headers", {})
        raw = body if isinstance(body, str | bytes) else json.dumps(body)
        before = books()
        self.count += 1
        with transaction.atomic():
            response = self.world.api.client.generic(
                changes.pop("method", method),
                f"/api/v1/{path.format(**self.world.ids)}{changes.pop('query', '')}",
                raw,
                content_type=changes.pop("content_type", JSON),
                headers=headers,
            )
            if response.status_code >= 400:
                assert books() == before, (row, raw[:200])
            transaction.set_rollback(True)
        assert not changes
        return response

    def refused(self, status: int, row: str, body: Any, **changes: Any) -> dict[str, Any]:
        response = self.send(row, body, **changes)
        said = (row, str(body)[:120], response.status_code, response.content[:300])
        assert response.status_code == status, said
        told: dict[str, Any] = response.json()
        assert {"code", "message"} <= set(told) <= {"code", "message", "fields"}, said
        assert len(response.content) <= 4096, said
        return told


def fields_of(row: str) -> dict[str, dict[str, Any]]:
    """The fields of a write's body, as the description has them."""
    method, path = row.split(" ")
    asked = described()["paths"][f"/api/v1/{path}"][method.lower()].get("requestBody")
    if asked is None:
        return {}
    shape = asked["content"][JSON]["schema"]
    name = shape.get("$ref", "").rpartition("/")[2]
    found: dict[str, dict[str, Any]] = described()["components"]["schemas"].get(name, shape)["properties"]
    return found


def kind_of(shape: dict[str, Any]) -> str:
    """amount, fraction, text or other; lists and objects count as other."""
    pattern = shape.get("pattern", "")
    if pattern.startswith("^(0|"):
        return "amount" if "{0,16}" in pattern else "fraction"
    is_text = (
        shape.get("type") == "string" and not pattern and not shape.get("enum") and "format" not in shape
    )
    return "text" if is_text else "other"


SHARDS: Final = 3


@pytest.mark.parametrize("shard", range(SHARDS))
def test_no_field_takes_what_it_is_not(world: LivedIn, shard: int) -> None:
    """TRUST B-01…B-06, B-17: every field of every write, one after the other; what is in order beside it stays so."""
    sender, base = Sender(world), bodies(world)
    for row in sorted(WRITES)[shard::SHARDS]:
        for name, shape in fields_of(row).items():
            kind = kind_of(shape)
            if kind == "text":
                _texts(sender, row, base[row], name)
                continue
            allows_null = "null" in str(shape.get("type")) or "null" in str(shape.get("oneOf"))
            values = [one for many in NO_NUMBER.values() for one in many]
            for value in [*values, *(NO_AMOUNT if kind == "amount" else [])]:
                if (value is None and allows_null) or (value == [] and shape.get("type") == "array"):
                    continue
                told = sender.refused(400, row, base[row] | {name: value})
                assert told["code"] == "bad_input"
    assert sender.count > 300


def _texts(sender: Sender, row: str, base: dict[str, Any], name: str) -> None:
    for value in NO_TEXT:
        sender.refused(400, row, base | {name: value})
    for value in TEXTS:
        assert sender.send(row, base | {name: value}).status_code < 500


def test_no_write_takes_a_field_it_does_not_have(world: LivedIn) -> None:
    """TRUST B-10: mass assignment is said by the field's name."""
    sender, base = Sender(world), bodies(world)
    for row in WRITES:
        for name, value in EXTRA.items():
            if name not in fields_of(row):
                assert name in sender.refused(400, row, base[row] | {name: value})["fields"]


def test_a_session_writes_only_with_its_csrf_token(world: LivedIn) -> None:
    """TRUST B-11: without it, or with another one, 403; a foreign page cannot send JSON either."""
    world.api.client = Client(enforce_csrf_checks=True, raise_request_exception=False)
    world.api.client.force_login(world.desk.applicant, backend=BACKEND)
    world.api.headers = {}
    sender, base = Sender(world), bodies(world)
    for row in WRITES:
        assert sender.refused(403, row, base[row])["code"] == "not_permitted"
        wrong = {"X-CSRFToken": "a" * 64, "Origin": "https://evil.example"}
        assert sender.refused(403, row, base[row], headers=wrong)["code"] == "not_permitted"


RAW: Final[dict[str, bytes]] = {
    "NaN": b'{"amount": NaN}',
    "infinite": b'{"amount": 1e999}',
    "twice": b'{"amount": "1", "amount": "2"}',
    "list": b"[]",
    "text": b'"1"',
    "empty object twice": b"{}{}",
    "cut": b'{"amount": ',
    "not UTF-8": b'{"amount": "\xff"}',
    "half a character": b'{"amount": "\\ud800"}',
    "half a name": b'{"\\ud800": 1}',
    "deep": b"[" * 10_000 + b"]" * 10_000,
    "deep object": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "10 MB": b'{"amount": "' + b"1" * 10_000_000 + b'"}',
    "NUL": b"\x00",
    "gzip": b"\x1f\x8b\x08\x00broken",
    "number": b"9" * 5000,
}
"""B-01, B-02, B-18: what is no JSON object of ours."""


@pytest.mark.parametrize("name", sorted(RAW))
def test_a_body_that_is_no_object_is_refused(world: LivedIn, name: str) -> None:
    """TRUST B-01, B-02, B-06, B-18"""
    sender = Sender(world)
    for row in ("POST transfers", "POST groups/{group_id}/what-if", "POST applications/check"):
        assert sender.refused(400, row, RAW[name])["code"] == "bad_input"


def test_the_protocol_is_kept_on_every_write(world: LivedIn) -> None:
    """TRUST B-18: content types, parameters in the address, other methods, overrides that nobody asked for."""
    sender, base = Sender(world), bodies(world)
    form = "application/x-www-form-urlencoded"
    for row in WRITES:
        sender.refused(415, row, json.dumps({"a": 1}), content_type="text/plain")
        sender.refused(415, row, "amount=1", content_type=form)
        assert "amount" in sender.refused(400, row, base[row], query="?amount=1")["fields"]
        for method in ("PUT", "PATCH", "TRACE"):
            sender.refused(405, row, base[row], method=method)
        override = {"X-HTTP-Method-Override": "GET", "X-Forwarded-For": "10.0.0.1"}
        taken = sender.send(row, base[row], headers=override).status_code
        assert taken == sender.send(row, base[row]).status_code, row


BAD_KEYS: Final = ["x" * 65, "clé", "\u200f", "a\tb", " "]


def test_an_idempotency_key_is_one_line_of_plain_characters(world: LivedIn) -> None:
    """R-GEN-06, TRUST B-17: a key that is none is said, not ignored."""
    sender, base = Sender(world), bodies(world)
    for key in BAD_KEYS:
        told = sender.refused(400, "POST transfers", base["POST transfers"], headers={"Idempotency-Key": key})
        assert told["code"] == "bad_idempotency_key"
    assert sender.send("POST transfers", base["POST transfers"]).status_code == 201


def test_queries_are_as_strict_as_bodies(world: LivedIn) -> None:
    """TRUST B-05, B-17, B-18: on every read an unknown parameter, and on every list a page that is none."""
    api: Callable[..., Any] = world.api.client.get
    before = books()
    for path, item in described()["paths"].items():
        if "get" not in item:
            continue
        where = path.format(**world.ids)
        for query in ("?surprise=1", "?order_by=password", "?page=1&page=2", "?page=%EF%BC%91", "?size=1%0A"):
            response = api(f"{where}{query}", headers=world.api.headers)
            assert response.status_code == 400, (path, query, response.content[:200])
            assert response.json()["code"] == "bad_input"
    assert books() == before
