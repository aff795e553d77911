"""Every endpoint the dialect has, written down by hand: its weight and whose, what it asks of a key, its parameters.

Taken from the exchange's documentation, not from the code: what is missing, more, or other here fails.
"""

from dataclasses import dataclass

import pytest
from django.test import Client

from accounts.sapi import schema
from accounts.sapi.registry import Endpoint
from tests.sapi.world import ENDPOINTS

READ, BORROW, TRANSFER, WITHDRAW = "can_read", "can_borrow", "can_transfer", "can_withdraw"


@dataclass(frozen=True)
class Known:
    """`must` are mandatory parameters, `may` the optional ones. `permission`: "" public, "key" a key only."""

    weight: int
    of: str
    permission: str
    must: str = ""
    may: str = ""


PAGE = "current limit"
TIMES = "startTime endTime"
VIP = "/sapi/v1/loan/vip"
SUB = "/sapi/v1/sub-account"
TABLE = {
    f"GET {VIP}/ongoing/orders": Known(
        400, "ip", READ, "", f"orderId collateralAccountId loanCoin collateralCoin {PAGE}"
    ),
    f"GET {VIP}/repay/history": Known(400, "ip", READ, "", f"orderId loanCoin {TIMES} {PAGE}"),
    f"GET {VIP}/accruedInterest": Known(400, "ip", READ, "", f"orderId loanCoin {TIMES} {PAGE}"),
    f"GET {VIP}/collateral/account": Known(6000, "ip", READ, "", "orderId collateralAccountId"),
    f"GET {VIP}/request/data": Known(400, "uid", READ, "", PAGE),
    f"GET {VIP}/request/interestRate": Known(400, "ip", READ, "loanCoin"),
    f"GET {VIP}/interestRateHistory": Known(400, "ip", READ, "coin", f"{TIMES} {PAGE}"),
    f"GET {VIP}/loanable/data": Known(400, "ip", READ, "", "loanCoin vipLevel"),
    f"GET {VIP}/collateral/data": Known(400, "ip", READ, "", "collateralCoin"),
    f"GET {VIP}/fixed/market": Known(6000, "ip", READ, "loanCoin", "duration current size"),
    f"POST {VIP}/borrow": Known(
        6000,
        "uid",
        BORROW,
        "loanAccountId loanCoin loanAmount collateralAccountId collateralCoin isFlexibleRate",
        "loanTerm",
    ),
    f"POST {VIP}/fixed/borrow": Known(
        6000,
        "uid",
        BORROW,
        "supplyRequest borrowCoin loanTerm borrowUid collateralCoin collateralAccountId",
        "autoRepay",
    ),
    f"POST {VIP}/renew": Known(6000, "uid", BORROW, "orderId loanTerm"),
    f"POST {VIP}/repay": Known(6000, "uid", BORROW, "orderId amount"),
    "GET /sapi/v1/loan/income": Known(6000, "uid", READ, "", f"asset type {TIMES} limit"),
    "GET /sapi/v1/loan/borrow/history": Known(
        400, "ip", READ, "", f"orderId loanCoin collateralCoin {TIMES} {PAGE}"
    ),
    "GET /sapi/v1/loan/repay/history": Known(
        400, "ip", READ, "", f"orderId loanCoin collateralCoin {TIMES} {PAGE}"
    ),
    "GET /sapi/v1/loan/ltv/adjustment/history": Known(
        400, "ip", READ, "", f"orderId loanCoin collateralCoin {TIMES} {PAGE}"
    ),
    "GET /api/v3/ping": Known(1, "ip", ""),
    "GET /api/v3/time": Known(1, "ip", ""),
    "GET /api/v3/exchangeInfo": Known(20, "ip", "", "", "symbol symbols permissions"),
    "GET /api/v3/account": Known(20, "ip", READ, "", "omitZeroBalances"),
    "GET /sapi/v1/system/status": Known(1, "ip", ""),
    "GET /sapi/v1/account/info": Known(1, "ip", READ),
    "GET /sapi/v1/account/status": Known(1, "ip", READ),
    "GET /sapi/v1/account/apiRestrictions": Known(1, "ip", READ),
    "GET /sapi/v1/capital/config/getall": Known(10, "ip", READ),
    "POST /sapi/v1/capital/withdraw/apply": Known(
        900,
        "uid",
        WITHDRAW,
        "coin address amount",
        "withdrawOrderId network addressTag transactionFeeFlag name walletType",
    ),
    "GET /sapi/v1/capital/withdraw/history": Known(
        18000, "uid", READ, "", f"coin withdrawOrderId status offset limit idList {TIMES}"
    ),
    "POST /sapi/v3/asset/getUserAsset": Known(5, "ip", READ, "", "asset needBtcValuation"),
    "POST /sapi/v1/asset/get-funding-asset": Known(1, "ip", READ, "", "asset needBtcValuation"),
    "GET /sapi/v1/asset/wallet/balance": Known(60, "ip", READ, "", "quoteAsset needBalanceDetail"),
    "POST /sapi/v1/asset/transfer": Known(300, "uid", TRANSFER, "type asset amount", "fromSymbol toSymbol"),
    "GET /sapi/v1/asset/transfer": Known(1, "ip", READ, "type", f"{TIMES} current size fromSymbol toSymbol"),
    f"POST {SUB}/universalTransfer": Known(
        360,
        "uid",
        TRANSFER,
        "fromAccountType toAccountType asset amount",
        "fromEmail toEmail clientTranId symbol",
    ),
    f"GET {SUB}/universalTransfer": Known(
        1, "ip", READ, "", f"fromEmail toEmail clientTranId {TIMES} page limit"
    ),
    f"GET {SUB}/list": Known(1, "ip", READ, "", "email isFreeze page limit"),
    f"GET {SUB}/spotSummary": Known(1, "ip", READ, "", "email page size"),
    f"GET {SUB}/sub/transfer/history": Known(1, "ip", READ, "", f"fromEmail toEmail {TIMES} page limit"),
    f"GET {SUB}/transfer/subUserHistory": Known(
        1, "ip", READ, "", f"asset type {TIMES} limit returnFailHistory"
    ),
    f"POST {SUB}/virtualSubAccount": Known(1, "ip", TRANSFER, "subAccountString"),
    f"POST {SUB}/transfer/subToMaster": Known(1, "ip", TRANSFER, "asset amount"),
    f"POST {SUB}/transfer/subToSub": Known(1, "ip", TRANSFER, "toEmail asset amount"),
    "GET /sapi/v3/sub-account/assets": Known(60, "uid", READ, "email"),
    "GET /sapi/v4/sub-account/assets": Known(60, "uid", READ, "email"),
    "GET /sapi/v1/margin/allAssets": Known(1, "ip", "key", "", "asset"),
    "GET /sapi/v1/margin/allPairs": Known(1, "ip", "key", "", "symbol"),
    "GET /sapi/v1/margin/isolated/allPairs": Known(10, "ip", "key", "", "symbol"),
    "GET /sapi/v1/margin/priceIndex": Known(10, "ip", "key", "symbol"),
    "GET /sapi/v1/margin/crossMarginCollateralRatio": Known(100, "ip", "key"),
}


def of(endpoint: Endpoint) -> Known:
    names: dict[bool, list[str]] = {True: [], False: []}
    for param in endpoint.params:
        names[param.required].append(param.name)
    permission = endpoint.permission or {"public": "", "market": "key"}[endpoint.security]
    return Known(
        endpoint.weight,
        "uid" if endpoint.uid else "ip",
        permission,
        " ".join(names[True]),
        " ".join(names[False]),
    )


def test_every_endpoint_is_there_and_no_other() -> None:
    """SAPI sections 1, 2.2 and 5: who adds an endpoint writes it down here."""
    served = {one.name for one in ENDPOINTS.values()}
    assert served - set(TABLE) == set()
    assert set(TABLE) - served == set()


@pytest.mark.parametrize("name", sorted(TABLE))
def test_it_asks_what_the_exchange_asks(name: str) -> None:
    """Weight, whose, permission; every official parameter is known, and mandatory where it is there."""
    endpoint = ENDPOINTS[name]
    found, known = of(endpoint), TABLE[name]
    assert (found.weight, found.of, found.permission) == (known.weight, known.of, known.permission)
    assert set(found.must.split()) == set(known.must.split())
    assert set(known.may.split()) <= set(found.may.split())


def test_no_parameter_has_the_name_of_one_of_the_transport() -> None:
    clashing = {"timestamp", "signature", "recvWindow"}
    assert not [one.name for one in ENDPOINTS.values() if clashing & {param.name for param in one.params}]


def test_every_endpoint_shows_what_it_answers() -> None:
    assert [one.name for one in ENDPOINTS.values() if one.example is None] == []


def test_the_schema_describes_each_of_them() -> None:
    """The document people and the fuzz test read is written from the entries that serve."""
    told = schema.describe()
    operations = {
        f"{method.upper()} {path}": operation
        for path, methods in told["paths"].items()
        for method, operation in methods.items()
    }
    assert set(operations) == {one.name for one in ENDPOINTS.values()}
    for one in ENDPOINTS.values():
        names = [parameter["name"] for parameter in operations[one.name]["parameters"]]
        assert names[: len(one.params)] == [param.name for param in one.params]
        assert ("signature" in names) == (one.security == "signed")
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)


def test_the_schema_is_read_without_a_key() -> None:
    """It says nothing that is anybody's, so whoever writes a client may look."""
    answer = Client().get("/api/v1/dialect.json")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    assert answer.json()["openapi"] == "3.1.0"
