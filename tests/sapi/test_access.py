"""Who gets in: every endpoint by every kind of key, and ids of others answered as if they did not exist."""

from typing import Any

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from accounts.sapi.registry import Endpoint, Security
from tests.sapi import values
from tests.sapi import world as worlds
from tests.sapi.world import ENDPOINTS, NOBODY, World, problems_with, send, sign

OK = (200, None)
BAD_KEY, NO_KEY = (401, -2015), (401, -2014)
PRINCIPALS = (
    "nobody",
    "unknown",
    "revoked",
    "expired",
    "elsewhere",
    "token",
    "without permission",
    "sub",
    "viewer",
    "stranger",
    "owner",
)
REFUSED = "refused"  # 4xx by a rule, in the dialect's words
MASTER_ONLY = "master only"
VIP, SUB = "/sapi/v1/loan/vip", "/sapi/v1/sub-account"
TABLE = {
    # Endpoint: what a sub-account's key, a key of somebody who may only look, and a stranger's get.
    f"GET {VIP}/ongoing/orders": (OK, OK, OK),
    f"GET {VIP}/repay/history": (OK, OK, OK),
    f"GET {VIP}/accruedInterest": (OK, OK, OK),
    f"GET {VIP}/collateral/account": (OK, OK, OK),
    f"GET {VIP}/request/data": (OK, OK, OK),
    f"GET {VIP}/request/interestRate": (OK, OK, OK),
    f"GET {VIP}/interestRateHistory": (OK, OK, OK),
    f"GET {VIP}/loanable/data": (OK, OK, OK),
    f"GET {VIP}/collateral/data": (OK, OK, OK),
    f"GET {VIP}/fixed/market": (OK, OK, OK),
    f"POST {VIP}/borrow": (BAD_KEY, REFUSED, REFUSED),
    f"POST {VIP}/fixed/borrow": (BAD_KEY, REFUSED, REFUSED),
    f"POST {VIP}/renew": (BAD_KEY, REFUSED, REFUSED),
    f"POST {VIP}/repay": (BAD_KEY, REFUSED, REFUSED),
    "GET /sapi/v1/loan/income": (OK, OK, OK),
    "GET /sapi/v1/loan/borrow/history": (OK, OK, OK),
    "GET /sapi/v1/loan/repay/history": (OK, OK, OK),
    "GET /sapi/v1/loan/ltv/adjustment/history": (OK, OK, OK),
    "GET /api/v3/ping": (OK, OK, OK),
    "GET /api/v3/time": (OK, OK, OK),
    "GET /api/v3/exchangeInfo": (OK, OK, OK),
    "GET /api/v3/account": (OK, OK, OK),
    "GET /sapi/v1/system/status": (OK, OK, OK),
    "GET /sapi/v1/account/info": (OK, OK, OK),
    "GET /sapi/v1/account/status": (OK, OK, OK),
    "GET /sapi/v1/account/apiRestrictions": (OK, OK, OK),
    "GET /sapi/v1/capital/config/getall": (OK, OK, OK),
    "POST /sapi/v1/capital/withdraw/apply": (OK, REFUSED, OK),
    "GET /sapi/v1/capital/withdraw/history": (OK, OK, OK),
    "POST /sapi/v3/asset/getUserAsset": (OK, OK, OK),
    "POST /sapi/v1/asset/get-funding-asset": (OK, OK, OK),
    "GET /sapi/v1/asset/wallet/balance": (OK, OK, OK),
    "POST /sapi/v1/asset/transfer": (OK, REFUSED, OK),
    "GET /sapi/v1/asset/transfer": (OK, OK, OK),
    f"POST {SUB}/universalTransfer": (REFUSED, REFUSED, REFUSED),
    f"GET {SUB}/universalTransfer": (REFUSED, OK, OK),
    f"GET {SUB}/list": (REFUSED, OK, OK),
    f"GET {SUB}/spotSummary": (REFUSED, OK, OK),
    f"GET {SUB}/sub/transfer/history": (REFUSED, OK, OK),
    f"GET {SUB}/transfer/subUserHistory": (OK, REFUSED, REFUSED),
    f"POST {SUB}/virtualSubAccount": (REFUSED, REFUSED, OK),
    f"POST {SUB}/transfer/subToMaster": (OK, REFUSED, REFUSED),
    f"POST {SUB}/transfer/subToSub": (OK, REFUSED, REFUSED),
    "GET /sapi/v3/sub-account/assets": (REFUSED, OK, REFUSED),
    "GET /sapi/v4/sub-account/assets": (REFUSED, OK, REFUSED),
    "GET /sapi/v1/margin/allAssets": (OK, OK, OK),
    "GET /sapi/v1/margin/allPairs": (OK, OK, OK),
    "GET /sapi/v1/margin/isolated/allPairs": (OK, OK, OK),
    "GET /sapi/v1/margin/priceIndex": (OK, OK, OK),
    "GET /sapi/v1/margin/crossMarginCollateralRatio": (OK, OK, OK),
}


def expected(endpoint: Endpoint, principal: str) -> Any:
    """The cell of the matrix: status and code, or that a rule refuses."""
    if endpoint.security is Security.PUBLIC:
        return OK
    if principal in ("sub", "viewer", "stranger"):
        return TABLE[endpoint.name][("sub", "viewer", "stranger").index(principal)]
    if principal == "nobody":
        return NO_KEY
    if principal in ("unknown", "revoked", "expired", "elsewhere", "token"):
        return BAD_KEY
    if principal == "without permission":
        return OK if endpoint.security is Security.MARKET else BAD_KEY
    return OK if values.caller_of(endpoint.name) == "owner" else REFUSED


def asked(world: World, endpoint: Endpoint, principal: str) -> Any:
    """The good call of the owner, sent by another."""
    name, params = endpoint.name, values.good(world, endpoint.name)
    if principal == "nobody":
        return send(name, sign(worlds.urlencode(params), secret="none"), key=None)
    if principal == "unknown":
        return send(name, sign(worlds.urlencode(params), secret="none"), key="x" * 64)
    if principal == "without permission":
        principal = "mover" if endpoint.permission == "can_read" else "reader"
    return world.call(name, params, by=principal)


def test_no_endpoint_is_missing_from_the_table() -> None:
    """TRUST section 6: who adds an endpoint says who may call it."""
    assert set(TABLE) ^ set(ENDPOINTS) == set()


@pytest.mark.parametrize("principal", PRINCIPALS)
@pytest.mark.parametrize("name", list(ENDPOINTS))
def test_the_access_matrix(name: str, principal: str, world: World) -> None:
    """R-GEN-95, R-ADM-09, TRUST section 6: each key gets what it may, and a refusal changes nothing."""
    endpoint = ENDPOINTS[name]
    with transaction.atomic():
        before = worlds.everything() if endpoint.is_write else {}
        answer = asked(world, endpoint, principal)
        wanted = expected(endpoint, principal)
        if wanted == OK:
            assert answer.status_code == 200, answer.content
            return
        assert problems_with(answer) == []
        if wanted != REFUSED:
            assert (answer.status_code, answer.json()["code"]) == wanted
        if endpoint.is_write:
            assert worlds.everything() == before


def others_of(world: World) -> dict[str, tuple[Any, Any]]:
    """By parameter: something of a stranger's, and what nobody has."""
    mail = "nobody@example.com"
    return {
        "orderId": (world.their_loan.pk, NOBODY),
        "collateralAccountId": (world.theirs.sub.pk, NOBODY),
        "loanAccountId": (world.theirs.master.pk, NOBODY),
        "borrowUid": (world.theirs.master.pk, NOBODY),
        "email": (world.theirs.sub.email, mail),
        "fromEmail": (world.theirs.sub.email, mail),
        "toEmail": (world.theirs.sub.email, mail),
    }


NAMING = [
    (name, param.name)
    for name, one in ENDPOINTS.items()
    for param in one.params
    if param.name
    in {"orderId", "collateralAccountId", "loanAccountId", "borrowUid", "email", "fromEmail", "toEmail"}
]


@pytest.mark.parametrize(("name", "param"), NAMING)
def test_what_is_anothers_is_as_if_it_did_not_exist(name: str, param: str, world: World) -> None:
    """B-07, B-13, R-GEN-95: byte for byte the same answer, and the same questions to the database."""
    theirs, nothing = others_of(world)[param]
    answers = []
    for value in (nothing, theirs):
        params = values.good(world, name) | {param: value}
        for apart in {"fromEmail", "toEmail"} - {param}:
            params.pop(apart, None)
        with (
            transaction.atomic(),
            CaptureQueriesContext(
                connection,
            ) as queries,
        ):
            before = worlds.everything()
            answer = world.call(name, params, by=values.caller_of(name))
            changed = worlds.everything() != before
            transaction.set_rollback(True)
        told = answer.content.replace(str(value).encode(), b"*")
        answers.append((answer.status_code, told, changed, len(queries)))
    assert answers[0] == answers[1]
    assert answers[0][2] is False
    assert answers[0][0] in (200, 400, 401, 403, 404)


def test_a_sub_accounts_key_sees_nothing_of_its_siblings(world: World) -> None:
    """R-GEN-95, B-13: the loans, repayments, charges and collateral of the account it is bound to, and no other."""
    mine = {world.renewable.loan.pk}
    for name, field in (("ongoing/orders", "orderId"), ("accruedInterest", "orderId")):
        rows = world.call(f"GET {VIP}/{name}", {"limit": 100}, by="sub").json()["rows"]
        assert {row[field] for row in rows} == mine, name
    rows = world.call(f"GET {VIP}/collateral/account", {}, by="sub").json()["rows"]
    assert {row["collateralAccountId"] for row in rows} == {str(world.renewable.backing.pk)}
    assert world.call(f"GET {VIP}/repay/history", {}, by="sub").json() == {"rows": [], "total": 0}
    for other in (world.running, world.overdue, world.liquidating):
        found = world.call(f"GET {VIP}/ongoing/orders", {"orderId": other.loan.pk}, by="sub").json()
        nothing = world.call(f"GET {VIP}/ongoing/orders", {"orderId": NOBODY}, by="sub").json()
        assert found == nothing == {"rows": [], "total": 0}


@pytest.mark.parametrize(
    "header", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP", "Client-IP"]
)
def test_an_address_that_is_only_claimed_opens_nothing(header: str, world: World) -> None:
    """B-18: the key is for 203.0.113.7; whoever says so in a header is still somewhere else."""
    said = {header: "for=203.0.113.7" if header == "Forwarded" else "203.0.113.7"}
    answer = world.call("GET /sapi/v1/account/status", {}, by="elsewhere", headers=said)
    assert (answer.status_code, answer.json()["code"]) == BAD_KEY
    there = world.call("GET /sapi/v1/account/status", {}, by="elsewhere", REMOTE_ADDR="203.0.113.7")
    assert there.status_code == 200


def test_a_method_that_is_only_claimed_does_nothing(world: World) -> None:
    """B-18: a GET stays a GET, and this address takes none."""
    said = {"X-HTTP-Method-Override": "POST", "X-HTTP-Method": "POST", "X-Method-Override": "POST"}
    good = worlds.urlencode(values.good(world, f"POST {VIP}/repay"))
    before = worlds.everything()
    key = world.keys["owner"]
    answer = send(f"GET {VIP}/repay", sign(good, secret=world.secrets[key.key]), key=key.key, headers=said)
    assert (answer.status_code, answer["Allow"]) == (405, "POST")
    assert worlds.everything() == before


def test_a_site_that_is_not_ours_is_refused_in_json(world: World) -> None:
    """B-18: a forged Host leads nowhere."""
    answer = world.call("GET /sapi/v1/account/status", {}, headers={"Host": "evil.example"})
    assert problems_with(answer) == []


@pytest.mark.parametrize("name", [f"POST {VIP}/borrow", f"POST {VIP}/fixed/borrow"])
def test_one_foreign_id_among_mine_is_enough(name: str, world: World) -> None:
    """B-07, B-13: a list with an account of somebody else, or of nobody, is refused alike as a whole."""
    told = []
    for other in (world.theirs.sub.pk, NOBODY):
        before = worlds.everything()
        params = values.good(world, name) | {"collateralAccountId": f"{world.mine.sub.pk},{other}"}
        answer = world.call(name, params)
        assert problems_with(answer) == []
        assert worlds.everything() == before
        told.append((answer.status_code, answer.content.replace(str(other).encode(), b"*")))
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "path",
    ["sapi/v1/loan/vip/nothing", "sapi/v9/account/status", "sapi", "api/v3/order", "sapi/%2e%2e/admin"],
)
def test_what_is_not_there_is_said_in_json(path: str, world: World) -> None:
    """B-17, SAPI section 6.2: no page, no redirect, the same with a key or without."""
    for key in (None, world.keys["owner"].key):
        for method in ("GET", "POST", "DELETE"):
            answer = send(f"{method} /{path}", "", key=key)
            assert problems_with(answer) == []
            assert answer.status_code == 404
