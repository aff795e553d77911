"""What is no request, no parameter and no key over /api/v1: 400 with the field, and nothing is written."""

from typing import Any

import pytest

from accounts.models import User
from loans.models import Loan
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans import native, visit
from tests.loans.api_house import House, state
from tests.loans.desk import Desk, everything
from tests.loans.native import asking, ok, refusal
from tests.native import program

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _at_ten() -> Any:
    with visit.at(TEN):
        yield


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


@pytest.fixture
def house(desk: Desk) -> House:
    return House(desk)


ASKING: list[tuple[dict, str]] = [
    ({"receiver_uid": "7"}, "receiver_uid"),
    ({"receiver_uid": True}, "receiver_uid"),
    ({"receiver_uid": 2**53}, "receiver_uid"),
    ({"account_uids": "x"}, "account_uids"),
    ({"account_uids": [1, 1]}, "account_uids"),
    ({"account_uids": list(range(1, 102))}, "account_uids"),
    ({"coins": ["BTC", "BTC"]}, "coins"),
    ({"coins": ["B\u0000"]}, "coins"),
    ({"wishes": [{"asset": "USDT", "amount": 5}]}, "wishes"),
    ({"wishes": [{"asset": "USDT", "amount": "1e6"}]}, "wishes"),
    ({"wishes": [{"asset": "USDT", "amount": "-1"}]}, "wishes"),
    ({"wishes": [{"asset": "USDT", "amount": "NaN"}]}, "wishes"),
    ({"wishes": [{"asset": "USDT", "amount": "\u0661"}]}, "wishes"),
    ({"wishes": {"USDT": "1"}}, "wishes"),
    ({"rate_type": "floating"}, "rate_type"),
    ({"term_days": "30"}, "term_days"),
    ({"term_days": 10**20}, "term_days"),
    ({"term_days": True}, "term_days"),
    ({"contact": ""}, "contact"),
    ({"purpose": "x" * 2001}, "purpose"),
    ({"auto_repay": "yes"}, "auto_repay"),
    ({"all_or_nothing": 1}, "all_or_nothing"),
    ({"customer_id": 1}, "customer_id"),
    ({"negotiated": True}, "negotiated"),
]


@pytest.mark.parametrize(("changes", "field"), ASKING)
def test_a_request_that_is_none_names_its_field(desk: Desk, changes: dict, field: str) -> None:
    """TRUST B-01…B-06: 400 with the field, in the check as in the request; nothing is written."""
    us, before = native.of(desk), everything()
    for path in ("applications/check", "applications"):
        more = {} if path.endswith("check") else {"accepted": "0" * 64}
        status, told = us.post(path, asking(desk, **more) | changes)
        assert (status, told["code"], list(told["fields"])) == (400, "bad_input", [field])
    assert everything() == before


@pytest.mark.parametrize(
    "body",
    ['{"amount": "1", "amount": "2"}', '{"amount": NaN}', "[]", '"x"', "", "{", '{"amount": "1"', "null"],
)
def test_a_body_that_is_no_object_is_refused(house: House, body: str) -> None:
    """TRUST B-01"""
    us, before = native.of(house.desk), state()
    answer = us.client.post(
        f"/api/v1/loans/{house.loan.pk}/repay", body, content_type="application/json", headers=us.headers
    )
    assert answer.status_code == (409 if body == "" else 400)  # no body at all says neither amount nor share
    assert state() == before


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("loans?page=0", "page"),
        ("loans?size=101", "size"),
        ("loans?size=2&size=3", "size"),
        ("loans?page=1.0", "page"),
        ("loans?page=%D9%A1", "page"),
        ("loans?format=json", "format"),
        ("loans?status=paid", "status"),
        ("applications?status=draft", "status"),
        ("me?x=1", "x"),
        ("rates?page=1", "page"),
    ],
)
def test_parameters_are_strict(house: House, path: str, field: str) -> None:
    """TRUST B-02"""
    status, told = native.of(house.desk).get(path)
    assert (status, told["code"], list(told["fields"])) == (400, "bad_input", [field])


def test_a_write_takes_no_parameters_and_no_bad_key(house: House) -> None:
    """R-GEN-06: a parameter could be mistaken for the body; an empty key protects nobody."""
    us, before = native.of(house.desk), state()
    path = f"loans/{house.loan.pk}/repay"
    assert refusal(us.post(f"{path}?amount=1", {"amount": "1"})) == (400, "bad_input")
    assert refusal(us.post(path, {"amount": "1"}, key="k" * 65)) == (400, "bad_idempotency_key")
    assert refusal(us.post(path, {"amount": "1"}, key=" ")) == (400, "bad_idempotency_key")
    assert refusal(us.post(path, {"amount": "1"}, key="\u00e9")) == (400, "bad_idempotency_key")
    assert state() == before


def test_each_user_has_their_own_keys(house: House) -> None:
    """R-GEN-06, TRUST C-08: another caller's key is free, and tells nothing of theirs."""
    colleague: User = build.colleague(house.desk.owner)
    us, them = native.of(house.desk), program(house.desk.master, colleague)
    path = f"loans/{house.loan.pk}/repay"
    first = ok(us.post(path, {"amount": "1000"}, key="same"))
    second = ok(them.post(path, {"amount": "2000"}, key="same"))
    assert (first["total"], second["total"]) == ("1000", "2000")
    assert Loan.objects.get(pk=house.loan.pk).debt.entries.filter(kind="repayment").count() == 2
