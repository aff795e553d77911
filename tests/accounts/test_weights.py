"""Weights a minute: counted exactly, said in the headers clients read, refused above, banned when one goes on."""

from collections.abc import Iterator
from typing import Any

import pytest
import time_machine
from django.http import HttpResponse
from django.test import Client

from accounts.models import Account, User
from accounts.sapi import weights
from tests import build, native
from tests.accounts.wires import ECHO, echoing, refused, wire
from tests.build import NOON
from tests.programs import Program

pytestmark = pytest.mark.django_db
OTHER = f"{ECHO}/other"


@pytest.fixture
def clock() -> Iterator[Any]:
    with time_machine.travel(NOON.replace(second=12), tick=False) as found:
        yield found


@pytest.fixture
def member() -> User:
    return build.user()


@pytest.fixture
def master(member: User, clock: Any) -> Account:
    return build.master(build.customer(member=member))


@pytest.fixture
def program(master: Account, member: User) -> Program:
    return Program(wire(master, member).key)


def used(answer: HttpResponse, name: str = "X-SAPI-USED-IP-WEIGHT-1M") -> tuple[int, str]:
    return answer.status_code, answer[name]


def test_weight_is_counted_by_endpoint_key_and_minute(program: Program, clock: Any, settings: Any) -> None:
    """SAPI 6.5: 12,000 a minute of each endpoint; the limit itself may be used"""
    settings.SAPI_IP_WEIGHT = 1200
    with echoing(f"GET {ECHO}", f"GET {OTHER}", weight=400) as echo:
        assert [used(program.get(ECHO)) for _ in range(3)] == [(200, "400"), (200, "800"), (200, "1200")]
        over = program.get(ECHO)
        assert used(over) == (429, "1600")
        assert refused(over, -1003, 429)
        assert over["Retry-After"] == "48"
        assert "current limit is 1200 request weight per 1 MINUTE" in over.json()["msg"]
        assert used(program.get(OTHER)) == (200, "400")  # each endpoint has a budget of its own
        clock.shift(48)
        assert used(program.get(ECHO)) == (200, "400")
        assert len(echo.served) == 5


def test_weight_of_a_uid_counts_for_the_account_whatever_its_keys(
    program: Program, master: Account, member: User, settings: Any
) -> None:
    """SAPI 6.5: 180,000 a minute, by the other header"""
    settings.SAPI_UID_WEIGHT = 12_000
    second = Program(wire(master, member).key)
    name = "X-SAPI-USED-UID-WEIGHT-1M"
    with echoing(f"POST {ECHO}", weight=6000, uid=True) as echo:
        assert used(program.post(ECHO), name) == (200, "6000")
        answer = second.post(ECHO)
        assert used(answer, name) == (200, "12000")
        assert "X-SAPI-USED-IP-WEIGHT-1M" not in answer
        assert refused(program.post(ECHO), -1003, 429)
        assert refused(second.post(ECHO), -1003, 429)
        sub = build.account(master.customer)
        other = Program(wire(sub, member).key)
        assert used(other.post(ECHO), name) == (200, "6000")
        assert len(echo.served) == 3


def test_general_endpoints_share_one_budget_of_the_address(clock: Any, db: None, settings: Any) -> None:
    """SAPI 6.5: 6,000 a minute of /api together; both headers, as whole numbers"""
    settings.API_WEIGHT = 3
    client = Client(raise_request_exception=False)
    for count, path in enumerate(("/api/v3/ping", "/api/v3/time", "/api/v3/ping"), 1):
        answer = client.get(path)
        assert used(answer, "X-MBX-USED-WEIGHT") == used(answer, "X-MBX-USED-WEIGHT-1M") == (200, str(count))
    assert refused(client.get("/api/v3/time"), -1003, 429)
    assert client.get("/api/v3/time", REMOTE_ADDR="198.51.100.1").status_code == 200
    forged = {"HTTP_X_FORWARDED_FOR": "198.51.100.2"}
    assert refused(client.get("/api/v3/time", **forged), -1003, 429)  # B-18


def test_who_goes_on_is_banned_and_nobody_else_is(
    program: Program, master: Account, member: User, clock: Any, settings: Any
) -> None:
    """SAPI 7, B-18: 418 for two minutes, then for four; another customer at the same address is served on"""
    settings.SAPI_IP_WEIGHT = 1
    stranger = build.user()
    theirs = Program(wire(build.master(build.customer(member=stranger)), stranger).key)
    second = Program(wire(master, member).key)
    with echoing(f"GET {ECHO}", f"GET {OTHER}"):
        for seconds in (weights.FIRST_BAN, 2 * weights.FIRST_BAN):
            assert program.get(ECHO).status_code == 200
            for _ in range(weights.PATIENCE):
                assert refused(program.get(ECHO), -1003, 429)
            assert program.get(ECHO).status_code == 429  # the one too many
            banned = program.get(ECHO)
            assert refused(banned, -1003, 418)
            assert seconds - 2 <= int(banned["Retry-After"]) <= seconds
            clock.shift(60)
            assert refused(program.get(ECHO), -1003, 418)  # a fresh minute does not help
            assert refused(program.get(OTHER), -1003, 418)
            assert theirs.get(ECHO).status_code == second.get(ECHO).status_code == 200
            weights._valkey().delete(f"sapi:ban:ip:127.0.0.1:{_pk(program)}")  # as when its time is over
            clock.shift(60)


def test_a_ban_is_of_a_program_and_never_of_the_account(
    program: Program, master: Account, member: User, settings: Any
) -> None:
    """SAPI 7: a key that only reads cannot keep the account's others from repaying"""
    settings.SAPI_UID_WEIGHT = 1
    reader = Program(wire(master, member, "hmac", "can_read").key)
    with echoing(f"GET {ECHO}", f"POST {OTHER}", uid=True):
        for _ in range(weights.PATIENCE + 2):
            reader.get(ECHO)
        assert refused(reader.get(ECHO), -1003, 418)
        assert program.post(OTHER).status_code == 200


def test_a_ban_lasts_three_days_at_most(program: Program, settings: Any) -> None:
    """SAPI 7"""
    settings.SAPI_IP_WEIGHT = 1
    who = f"ip:127.0.0.1:{_pk(program)}"
    weights._valkey().set(f"sapi:bans:{who}", 40)
    with echoing(f"GET {ECHO}"):
        for _ in range(weights.PATIENCE + 2):
            program.get(ECHO)
        answer = program.get(ECHO)
    assert refused(answer, -1003, 418)
    assert weights.LONGEST_BAN - 2 <= int(answer["Retry-After"]) <= weights.LONGEST_BAN


def test_a_write_over_the_limit_is_not_done_and_may_be_signed_anew(
    program: Program, clock: Any, settings: Any
) -> None:
    """SAPI 7: 429 means that nothing happened"""
    settings.SAPI_UID_WEIGHT = 6000
    with echoing(f"POST {ECHO}", weight=6000, uid=True) as echo:
        assert program.post(ECHO, orderId=1).status_code == 200
        assert refused(program.post(ECHO, orderId=2), -1003, 429)
        assert len(echo.served) == 1
        clock.shift(60)
        assert program.post(ECHO, orderId=2).status_code == 200


def test_wrong_keys_and_signatures_have_a_budget_and_hold_nobody_else_back(
    program: Program, clock: Any, settings: Any
) -> None:
    """TRUST 7: of the address; who signs properly is served on"""
    settings.SAPI_FAILURES = 3
    client = Client(raise_request_exception=False)
    path, wrong = "/sapi/v1/account/status", {"HTTP_X_MBX_APIKEY": "x" * 64}
    assert [client.get(path, **wrong).status_code for _ in range(3)] == [401, 401, 401]
    answer = client.get(path, **wrong)
    assert refused(answer, -1003, 429)
    assert answer["Retry-After"] == "48"
    assert program.get(path).status_code == 200
    assert client.get(path, REMOTE_ADDR="198.51.100.1", **wrong).status_code == 401
    real, program.secret = program.secret, "another"
    assert refused(program.get(path), -1003, 429)
    program.secret = real
    clock.shift(60)
    assert client.get(path, **wrong).status_code == 401


def _pk(program: Program) -> int:
    from accounts.models import ApiKey

    return ApiKey.objects.get(key=program.key).pk


def test_our_own_api_has_a_budget_of_each_caller(
    master: Account, member: User, clock: Any, settings: Any
) -> None:
    """One program that asks too often is told to wait, in the shape of /api/v1; another one is served."""
    settings.API_WEIGHT = 2
    eager, calm = (native.program(master, member, "can_read") for _ in range(2))
    assert [eager.get("me")[0] for _ in range(2)] == [200, 200]
    answer = eager.client.get("/api/v1/me", headers=eager.headers)
    assert (answer.status_code, answer.json()["code"]) == (429, "too_many_requests")
    assert 0 < int(answer["Retry-After"]) <= 60
    assert calm.get("me")[0] == 200
