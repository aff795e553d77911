"""Bad input, generated over every parameter of every endpoint: refused in the dialect's words, and nothing moved."""

import hashlib
import hmac
from collections import defaultdict
from collections.abc import Iterator
from itertools import count
from typing import Any
from urllib.parse import quote_plus, unquote_to_bytes, urlencode

import pytest
from django.db import transaction

from accounts.sapi.errors import Denied
from accounts.sapi.params import Param
from accounts.sapi.registry import Security
from tests.sapi import payloads, values
from tests.sapi import world as worlds
from tests.sapi.world import ENDPOINTS, World, problems_with, send, sign

SOME = 12  # unknown names that one endpoint is sent
LARGE = "x" * (64 * 1024 + 1)
SIGNED = [name for name, one in ENDPOINTS.items() if one.security is Security.SIGNED]
FIELDS = [(name, param) for name, one in ENDPOINTS.items() for param in one.params]
_turns: dict[str, Iterator[int]] = defaultdict(count)


def next_of(name: str, found: list[str]) -> str:
    """The next of a class, in turn: each parameter is sent one, and each is sent to many parameters."""
    return found[next(_turns[name]) % len(found)]


def raw_call(world: World, name: str, pairs: str, **more: Any) -> Any:
    """Send a ready-made query, signed as it stands, by whoever may."""
    key = world.keys[values.caller_of(name)]
    if ENDPOINTS[name].security is Security.SIGNED:
        pairs = sign(pairs, secret=world.secrets[key.key])
    return send(name, pairs, key=key.key, **more)


def with_value(world: World, name: str, param: str, payload: str) -> str:
    """The pairs of a good call, with one parameter (sent or not before) that is bad."""
    pairs = {key: quote_plus(str(value)) for key, value in values.good(world, name).items()}
    return "&".join(f"{key}={value}" for key, value in (pairs | {param: payload}).items())


def test_there_are_hundreds_of_payloads() -> None:
    """TRUST section 6: at least 300 in all, of every class that applies."""
    assert len(payloads.distinct()) >= 300
    assert sum(len(found) for found in payloads.CLASSES.values()) * len(FIELDS) >= 10_000


def test_every_payload_is_read_as_described_by_every_parameter() -> None:
    """B-01…B-07, B-09, B-17: what the description does not allow, the reader refuses with the dialect's code."""
    wrong = []
    for name, param in FIELDS:
        for found in payloads.CLASSES.values():
            for payload in found:
                if not payloads.may_be(param.schema, payload) and not refuses(param, payload):
                    wrong.append(f"{name} {param.name}={payload[:40]}")
    assert wrong == []


def refuses(param: Param, payload: str) -> bool:
    """Whether its reader says no; bytes that are no text and NUL never get that far."""
    try:
        text = unquote_to_bytes(payload.replace("+", " ")).decode()
    except UnicodeDecodeError:
        return True
    if "\0" in text:
        return True
    try:
        param.value(text)
    except Denied as denied:
        return denied.number < 0 and 400 <= denied.status < 500
    return False


@pytest.mark.parametrize("name", list(ENDPOINTS))
def test_a_bad_value_is_refused_and_nothing_moves(name: str, world: World) -> None:
    """B-01…B-07, B-09, B-17 over the wire: 4xx, {code, msg}, at most 1 KB; optional parameters included."""
    before, wrong = worlds.everything(), []
    for param in ENDPOINTS[name].params:
        for kind, found in payloads.CLASSES.items():
            payload = next_of(kind, found)
            if payloads.may_be(param.schema, payload):
                continue
            answer = raw_call(world, name, with_value(world, name, param.name, payload))
            wrong += [f"{param.name}={payload[:40]}: {one}" for one in problems_with(answer)]
    assert wrong == []
    assert worlds.everything() == before


@pytest.mark.parametrize("name", list(ENDPOINTS))
def test_an_allowed_value_of_a_bad_kind_breaks_nothing(name: str, world: World) -> None:
    """B-05, B-06, B-17: text that a parameter may hold is stored or refused; a 4xx changes nothing."""
    for param in ENDPOINTS[name].params:
        for kind, found in payloads.CLASSES.items():
            payload = next_of(f"{kind}, allowed", found)
            if not payloads.may_be(param.schema, payload):
                continue
            with transaction.atomic():
                before = worlds.everything()
                answer = raw_call(world, name, with_value(world, name, param.name, payload))
                if answer.status_code != 200:
                    assert problems_with(answer) == [], (param.name, payload)
                    assert worlds.everything() == before
                transaction.set_rollback(True)


@pytest.mark.parametrize(
    "name", [name for name, one in ENDPOINTS.items() if any(p.required for p in one.params)]
)
def test_a_mandatory_parameter_that_is_missing_or_empty(name: str, world: World) -> None:
    """B-10, SAPI section 7: -1102, naming it."""
    before, good = worlds.everything(), values.good(world, name)
    for param in ENDPOINTS[name].params:
        if not param.required:
            continue
        left = {key: value for key, value in good.items() if key != param.name}
        for pairs in (urlencode(left), urlencode(left | {param.name: ""})):
            answer = raw_call(world, name, pairs)
            assert problems_with(answer) == []
            assert (answer.json()["code"], param.name in answer.json()["msg"]) == (-1102, True)
    assert worlds.everything() == before


@pytest.mark.parametrize("name", list(ENDPOINTS))
def test_a_parameter_that_does_not_exist_is_refused(name: str, world: World) -> None:
    """B-10: nobody assigns what an endpoint does not take; -1104, or -1100 where the name is no text."""
    before, good = worlds.everything(), urlencode(values.good(world, name))
    known = {param.name for param in ENDPOINTS[name].params}
    for extra in [next_of("B-10", payloads.ASSIGNED) for _ in range(SOME)]:
        if extra in known:
            continue
        answer = raw_call(world, name, f"{good}&{extra}=1".lstrip("&"))
        assert problems_with(answer) == [], extra
        assert answer.json()["code"] in {-1104, -1100}, extra
    assert worlds.everything() == before


@pytest.mark.parametrize("name", SIGNED)
def test_a_time_that_is_none_or_not_now(name: str, world: World) -> None:
    """B-09: -1021 outside the window, -1131 for a window above 60 s, -1100 or -1102 for what is no time."""
    before, good = worlds.everything(), urlencode(values.good(world, name))
    now = int(worlds.NOW.timestamp() * 1000)
    for shift, window in (
        (-61_000, "60000"),
        (-5_001, "5000"),
        (1_000, "60000"),
        (60_000, "60000"),
        (-2, "1.5"),
    ):
        answer = stamped(world, name, good, str(now + shift), window)
        assert (answer.status_code, answer.json()["code"]) == (400, -1021), (shift, window)
    for stamp in payloads.NOT_A_TIME:
        answer = stamped(world, name, good, stamp, "5000")
        assert problems_with(answer) == [], stamp
        assert answer.json()["code"] in {-1021, -1100, -1102}, stamp
    for window in payloads.NOT_A_WINDOW:
        answer = stamped(world, name, good, str(now), window)
        assert problems_with(answer) == [], window
        assert answer.json()["code"] in {-1100, -1131}, window
    assert worlds.everything() == before


def stamped(world: World, name: str, good: str, stamp: str, window: str) -> Any:
    key = world.keys[values.caller_of(name)]
    payload = f"{good}&recvWindow={window}&timestamp={stamp}".lstrip("&")
    signature = hmac.new(world.secrets[key.key].encode(), payload.encode(), hashlib.sha256).hexdigest()
    return send(name, f"{payload}&signature={signature}", key=key.key)


@pytest.mark.parametrize("name", list(ENDPOINTS))
def test_requests_that_are_not_of_this_protocol(name: str, world: World) -> None:
    """B-18: parameters twice, other bodies, too much of anything, other methods; a forged origin changes nothing."""
    before, good = worlds.everything(), urlencode(values.good(world, name))
    method, path = name.split(" ")
    odd = [
        raw_call(world, name, f"{good}&twice=1&twice=2".lstrip("&")),
        raw_call(world, name, "&".join(f"p{number}=1" for number in range(101))),
        raw_call(world, name, f"{good}&big={LARGE}".lstrip("&")),
        *[
            raw_call(world, name, body, in_body=True, content_type=kind)
            for kind in ("application/json", "application/xml", "multipart/form-data; boundary=x")
            for body in ('{"amount": NaN}', "[" * 10_000, good or "a=1")
        ],
        raw_call(world, name, "x" * 100, in_body=True, headers={"Content-Encoding": "gzip"}),
        raw_call(world, name, LARGE, in_body=True),
    ]
    for other in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS"} - methods_of(path):
        answer = send(f"{other} {path}", good, key=world.keys["owner"].key)
        assert answer.status_code == 405, other
        odd.append(answer)
    for param in values.good(world, name):
        odd.append(raw_call(world, name, f"{good}&{param}=1"))
    assert [found for answer in odd for found in problems_with(answer)] == []
    assert worlds.everything() == before


def methods_of(path: str) -> set[str]:
    return {name.split(" ")[0] for name in ENDPOINTS if name.split(" ")[1] == path}


@pytest.mark.parametrize("name", SIGNED)
def test_signatures_that_are_none(name: str, world: World) -> None:
    """B-08: missing, empty, another's, of other parameters, in another alphabet; never an error of ours."""
    before, good = worlds.everything(), urlencode(values.good(world, name))
    key = world.keys[values.caller_of(name)]
    signed = sign(good, secret=world.secrets[key.key])
    payload, _, signature = signed.rpartition("&signature=")
    missing = [payload, f"{payload}&signature"]
    for pairs in missing:
        answer = send(name, pairs, key=key.key)
        assert answer.json()["code"] in {-1102, -1022}
    bad = ["", "0" * 64, signature[:-1], signature + "0", "%C3%A9" * 64, "%EF%BC%91" * 64, "%00", "x" * 5000]
    for other in [
        *bad,
        sign(good, secret="another").rpartition("&signature=")[2],
        f"{signature}&signature={signature}",
    ]:
        answer = send(name, f"{payload}&signature={other}", key=key.key)
        assert problems_with(answer) == [], other
        assert answer.json()["code"] in {-1022, -1101, -1100, -1102}, other
    answer = send(name, f"{payload}&more=1&signature={signature}", key=key.key)
    assert answer.json()["code"] == -1022
    assert worlds.everything() == before
