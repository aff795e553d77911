"""The dialect's door: who is let in, and in which form they are turned away (TRUST B-08, B-09)."""

import pytest

from tests import build
from tests.programs import Program, api_key

pytestmark = pytest.mark.django_db


@pytest.fixture
def program():
    member = build.user()
    owner = build.customer(member=member)
    return Program(api_key(build.master(owner), member))


def test_a_signed_request_is_served(program):
    answer = program.get("/sapi/v1/account/status")
    assert (answer.status_code, answer.json()) == (200, {"data": "Normal"})
    assert answer["X-SAPI-USED-IP-WEIGHT-1M"] == "1"


@pytest.mark.parametrize("path", ["/sapi/v1/account/status/", "//sapi/v1//account/status"])
def test_slashes_are_no_reason_to_send_anybody_elsewhere(program, path):
    assert program.get(path).status_code == 200


def test_a_wrong_signature_is_refused(program):
    program.secret = "another"
    answer = program.get("/sapi/v1/account/status")
    assert (answer.status_code, answer.json()["code"]) == (400, -1022)


def test_an_unknown_key_is_refused(program):
    program.key = "x" * 64
    answer = program.get("/sapi/v1/account/status")
    assert (answer.status_code, answer.json()["code"]) == (401, -2015)


def test_what_is_not_there_is_said_in_json(program):
    answer = program.get("/sapi/v1/nothing")
    assert (answer.status_code, answer["Content-Type"]) == (404, "application/json;charset=UTF-8")


def test_an_unknown_parameter_is_refused(program):
    assert program.get("/sapi/v1/account/status", is_staff="1").json()["code"] == -1104
