"""The dialect's door under requests no client sends, and with something missing behind it (TRUST B-06, B-18)."""

import gzip
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from accounts.commands import request_id
from accounts.errors import Refused
from accounts.models import Account, UsedSignature, User
from accounts.sapi import registry, weights
from accounts.sapi.registry import Call, Security, endpoint, endpoints
from accounts.sapi.wire import Json
from tests import build
from tests.accounts.wires import ECHO, Echo, Wire, echoing, now_ms, refused, signed, wire
from tests.programs import FORM

pytestmark = pytest.mark.django_db


@pytest.fixture
def member() -> User:
    return build.user()


@pytest.fixture
def master(member: User) -> Account:
    return build.master(build.customer(member=member))


@pytest.fixture
def one(master: Account, member: User) -> Wire:
    return wire(master, member)


@pytest.fixture
def echo() -> Iterator[Echo]:
    with echoing() as found:
        yield found


# --- What no client sends -------------------------------------------------------------------------------

ODD = {
    "a parameter twice": ("orderId=1&orderId=1", -1101, 400),
    "a parameter twice, one of them encoded": ("orderId=1&order%49d=2", -1101, 400),
    "no name": ("=1", -1104, 400),
    "an unknown one": ("is_staff=true", -1104, 400),
    "a nested one": ("order[id]=1", -1104, 400),
    "in other letters": ("orderid=1", -1104, 400),
    "an empty one": ("orderId=", -1105, 400),
    "without =": ("orderId", -1105, 400),
    "a bad escape": ("remark=%zz", -1100, 400),
    "half an escape": ("remark=%4", -1100, 400),
    "a lone surrogate": ("remark=%ED%A0%80", -1100, 400),
    "half a letter": ("remark=%C3", -1100, 400),
    "bytes of Latin-1": ("remark=é", -1100, 400),
    "a newline": ("remark=a%0D%0Ab", -1100, 400),
    "colours for a terminal": ("remark=%1B[31m", -1100, 400),
    "letters of another script": ("orderId=%D9%A1", -1100, 400),
    "ten thousand": ("&".join(f"a{n}=1" for n in range(3000)), -1101, 400),
    "a hundred and one": ("&".join(f"a{n}=1" for n in range(101)), -1101, 400),
    "too large": ("remark=" + "x" * 70_000, -1100, 413),
    "too long": ("remark=" + "x" * 2_001, -1100, 400),
}


@pytest.mark.parametrize("place", ["query", "body"])
@pytest.mark.parametrize("odd", ODD)
def test_an_odd_request_is_refused_in_the_one_form(odd: str, place: str, one: Wire, echo: Echo) -> None:
    """B-06, B-10, B-18: signed as it should be, and nothing happens"""
    payload, code, status = ODD[odd]
    payload = f"{payload}&timestamp={now_ms()}"
    if "é" in payload:
        raw = f"{payload}&signature={'0' * 64}".encode("latin-1")
        answer = one.send("POST", **{place: raw if place == "body" else raw.decode("latin-1")})
    else:
        answer = one.send("POST", **{place: f"{payload}&signature={one.sign(payload)}"})
    assert refused(answer, code, status)
    assert not echo.served


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 415),
        ("application/json;charset=utf-8", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/xml", 415),
        ("application/octet-stream", 415),
        ("nonsense", 415),
        (FORM, 200),
        ("application/x-www-form-urlencoded; charset=UTF-8", 200),
        ("APPLICATION/X-WWW-FORM-URLENCODED", 200),
    ],
)
def test_a_body_is_a_form(content_type: str, status: int, one: Wire, echo: Echo) -> None:
    """B-18"""
    answer = one.send("POST", body=signed(one, "orderId=1"), content_type=content_type)
    assert answer.status_code == status
    assert status == 200 or refused(answer, -1100, 415)
    assert len(echo.served) == (status == 200)


def test_a_body_comes_whole_plain_and_measured(one: Wire, echo: Echo) -> None:
    """B-18: gzip that is none, gzip that is one, chunks, and a length that is none"""
    form = signed(one, "orderId=1").encode()
    for body in (b"\x1f\x8b broken", gzip.compress(form), form):
        assert refused(one.send("POST", body=body, HTTP_CONTENT_ENCODING="gzip"), -1100, 415)
    assert refused(one.send("POST", body=form, HTTP_TRANSFER_ENCODING="chunked"), -1100, 411)
    for length in ("many", "-1e3", "1,2"):
        assert refused(one.send("POST", body=form, CONTENT_LENGTH=length), -1100)
    assert refused(one.send("POST", body=form, CONTENT_LENGTH=str(10**9)), -1100, 413)
    assert refused(one.send("POST", body=b"\x00" * 100), -1100)
    assert refused(one.send("POST", body=b"[" * 10_000, content_type="application/json"), -1100, 415)
    assert not echo.served
    assert one.send("POST", body=form, HTTP_CONTENT_ENCODING="identity").status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_are_refused(method: str, one: Wire, echo: Echo) -> None:
    """B-18: nor is the method taken from a header or a parameter"""
    answer = one.send(method, query=signed(one, "orderId=1"))
    assert answer.status_code == 405
    assert answer["Allow"] == "DELETE, GET, POST"
    assert answer["Content-Type"].startswith("application/json")
    assert method == "HEAD" or answer.json()["code"] == -1020
    assert not echo.served


def test_the_method_is_the_requests_own(one: Wire, echo: Echo) -> None:
    """B-18"""
    overriding = {"HTTP_X_HTTP_METHOD_OVERRIDE": "DELETE", "HTTP_X_METHOD_OVERRIDE": "DELETE"}
    assert one.send("GET", query=signed(one, "orderId=1"), **overriding).status_code == 200
    assert refused(one.send("GET", query=signed(one, "_method=DELETE")), -1104)
    assert [method for method, _, _ in echo.served] == ["GET"]


@pytest.mark.parametrize(
    "host", ["evil.example", "testserver.evil.example", "a b", "", "testserver@evil.example"]
)
def test_a_forged_host_is_refused_in_the_dialects_form(host: str, one: Wire, echo: Echo) -> None:
    """B-18: refused before the door, so it is not the door that says it"""
    answer = one.send("GET", query=signed(one, "orderId=1"), HTTP_HOST=host)
    assert refused(answer, -1100)
    assert host == "" or host not in answer.content.decode()
    assert not echo.served


@pytest.mark.parametrize(
    "path",
    [
        *(
            "/sapi",
            "/sapi/",
            "/sapi/v1/nothing",
            "/sapi/v1/../v1/echo",
            "/sapi/v1/echo/../../admin/",
            "/api/v3",
        ),
        *("/api/v3/", "/api/v3/nothing", "/sapi/v1/echo\nX: y", "/sapi/v1/%2e%2e/echo", "/sapi/v1/é"),
        *("/sapi/v1/echo;x=1", "/sapi/v1/echo.json", "/sapi/v1/" + "x" * 3000, "/api//v3//nothing"),
    ],
)
def test_what_is_not_there_is_said_in_json(path: str, one: Wire, echo: Echo) -> None:
    """SAPI 6.6, B-17: no page, no redirect"""
    for method in ("GET", "POST"):
        assert refused(one.send(method, path, query=signed(one)), -1099, 404)
    assert not echo.served


def test_a_null_in_the_address_is_refused_in_the_dialects_form(one: Wire) -> None:
    """B-06"""
    assert refused(one.send("GET", "/sapi/v1/echo\0"), -1100)
    assert refused(one.send("GET", query="remark=%00"), -1100)
    assert refused(one.send("POST", body="remark=%00&timestamp=1&signature=1"), -1099, 404)
    with echoing():
        assert refused(one.send("POST", body=signed(one, "remark=%00")), -1100)


def test_a_cookie_opens_nothing_and_needs_no_csrf_token(one: Wire, member: User, echo: Echo) -> None:
    """B-11: only a signature does"""
    browser = Client(enforce_csrf_checks=True, raise_request_exception=False)
    browser.force_login(member, backend="allauth.account.auth_backends.AuthenticationBackend")
    assert refused(browser.post(ECHO, {"orderId": "1"}, content_type=FORM), -2014, 401)
    one.client = Client(enforce_csrf_checks=True)
    answer = one.send("POST", query=signed(one, "orderId=1"))
    assert answer.status_code == 200
    assert not answer.cookies


def test_answers_are_kept_by_nobody_and_give_nothing_away(one: Wire, echo: Echo) -> None:
    """TRUST 7: headers"""
    for answer in (one.send("GET", query=signed(one)), one.send("GET")):
        assert "no-store" in answer["Cache-Control"]
        assert answer["X-Content-Type-Options"] == "nosniff"
        assert "Access-Control-Allow-Origin" not in answer
        assert "Set-Cookie" not in answer


@examples(max_examples=150)
@given(
    query=st.text(st.characters(min_codepoint=1, max_codepoint=255), max_size=80),
    body=st.binary(max_size=80),
    key=st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=70),
    method=st.sampled_from(["GET", "POST", "DELETE", "PUT"]),
    content_type=st.sampled_from([None, "", FORM, "application/json", "text/plain"]),
)
def test_no_request_is_too_odd_for_an_answer(
    query: str, body: bytes, key: str, method: str, content_type: str | None
) -> None:
    """B-06, B-18: 4xx in the one form, whatever the bytes"""
    with echoing() as echo:
        client = Client(raise_request_exception=False)
        more = {} if content_type is None else {"CONTENT_TYPE": content_type}
        answer = client.generic(
            method, ECHO, body, content_type or "", QUERY_STRING=query, HTTP_X_MBX_APIKEY=key, **more
        )
        assert 400 <= answer.status_code < 500
        assert refused(answer, answer.json()["code"], answer.status_code)
        assert not echo.served


# --- With something missing behind it -------------------------------------------------------------------


def serving(name: str, view: Any) -> None:
    endpoint(name, security=Security.PUBLIC)(view)


@pytest.fixture
def door() -> Iterator[Client]:
    before = dict(endpoints)
    yield Client(raise_request_exception=False)
    endpoints.clear()
    endpoints.update(before)


def test_without_the_counter_requests_are_served_uncounted(one: Wire, echo: Echo, settings: Any) -> None:
    """ARCHITECTURE 7: a lost counter stops no repayment, and a write is still served once"""
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    query = signed(one, "orderId=1")
    answer = one.send("POST", query=query)
    assert answer.status_code == 200
    assert not [name for name in answer.headers if "USED" in name.upper()]
    assert refused(one.send("POST", query=query), -1022)
    assert refused(one.send("POST", query=query, key="x" * 64), -2015, 401)


def test_an_emptied_counter_gives_no_used_signature_back(one: Wire, echo: Echo) -> None:
    """I-26: what is used up stands in the books"""
    query = signed(one, "orderId=1")
    assert one.send("POST", query=query).status_code == 200
    weights._valkey().flushdb()
    assert refused(one.send("POST", query=query), -1022)
    assert one.send("POST", query=signed(one, "orderId=1")).status_code == 200
    assert UsedSignature.objects.count() == 2


def test_a_counter_of_another_shape_is_no_crash(one: Wire, echo: Echo) -> None:
    """TRUST 4.2"""
    minute = now_ms() // 60_000
    for near in (minute, minute + 1):
        weights._valkey().lpush(f"sapi:used:ip:127.0.0.1:{one.key.pk}:GET {ECHO}:{near}", "x")
    assert one.send("GET", query=signed(one)).status_code == 200


def test_a_database_that_refuses_is_said_as_unknown(door: Client, caplog: pytest.LogCaptureFixture) -> None:
    """SAPI 7: 5xx means that the outcome is not known; it says what to do, and nothing of the inside"""

    def slow(call: Call) -> Json:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = '20ms'")
            cursor.execute("SELECT pg_sleep(5)")
        return {}

    serving("GET /sapi/v1/slow", slow)
    answer = door.get("/sapi/v1/slow")
    assert refused(answer, -1001, 503)
    assert answer["Retry-After"] == "1"
    assert "look whether it was done" in answer.json()["msg"]
    assert "statement timeout" not in answer.content.decode()
    assert "statement timeout" in caplog.text


def test_a_bug_is_said_in_json_and_logged(door: Client, caplog: pytest.LogCaptureFixture) -> None:
    """ARCHITECTURE, errors: never swallowed; also one that shows when the answer is written"""
    serving("GET /sapi/v1/bug", lambda call: {"a": 1 // 0})
    serving("GET /sapi/v1/nan", lambda call: {"a": float("nan")})
    serving("GET /sapi/v1/odd", lambda call: {"a": object()})
    for path in ("bug", "nan", "odd"):
        caplog.clear()
        answer = door.get(f"/sapi/v1/{path}")
        assert refused(answer, -1000, 500)
        assert "Error" not in answer.content.decode()
        assert "Traceback" in caplog.text


@pytest.mark.parametrize("letter", ["x", "é", "\N{GRINNING FACE}", '"', "\n"])
def test_no_error_is_longer_than_a_kilobyte(letter: str, door: Client) -> None:
    """TRUST 6: however long a rule's words are"""

    def refuse(call: Call) -> Json:
        raise Refused(f"No. {letter * 5000}")

    serving("GET /sapi/v1/long", refuse)
    answer = door.get("/sapi/v1/long")
    assert refused(answer, -10016)
    assert answer.json()["msg"].startswith("No. ")


def test_every_request_has_a_name_of_its_own_in_the_trail(door: Client) -> None:
    """I-21: and leaves none behind"""
    names: list[str] = []
    serving("GET /sapi/v1/name", lambda call: names.append(request_id.get()) or {})  # type: ignore[func-returns-value]
    for _ in range(2):
        door.get("/sapi/v1/name")
    assert len({*names}) == 2
    assert all(name.startswith("api:") for name in names)
    assert request_id.get() == ""


def test_who_is_turned_away_is_logged_in_one_line(
    one: Wire, echo: Echo, caplog: pytest.LogCaptureFixture
) -> None:
    """TRUST 7: every failure to prove oneself, without key or signature"""
    caplog.set_level(logging.INFO, logger="accounts")
    query = f"remark=x&timestamp={now_ms()}&signature={'0' * 64}"
    assert refused(one.send("GET", query=query), -1022)
    [line] = [record.getMessage() for record in caplog.records if record.name == "accounts.sapi.door"]
    assert line == f"GET {ECHO} from 127.0.0.1 is turned away: -1022"
    assert one.key.key not in caplog.text


def test_the_schema_of_answers_is_json_that_every_client_reads(one: Wire) -> None:
    """SAPI 6.6: successes are 200 without a top-level code"""
    for path in ("/api/v3/ping", "/api/v3/time", "/sapi/v1/account/status"):
        answer = one.send("GET", path, query=signed(one) if path.startswith("/sapi") else "")
        assert answer.status_code == 200
        assert not {"code", "success"} & set(json.loads(answer.content))
    assert registry.endpoints["GET", "/api/v3/ping"].security is Security.PUBLIC
