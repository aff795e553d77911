"""A good value for every parameter of every endpoint, and whose key a good call is made with."""

from typing import Any

from tests.build import TEN
from tests.sapi.world import ENDPOINTS, NOW, World

HOUR = 3_600_000
REPAID = "GET /sapi/v1/loan/vip/repay/history"
CALLERS = {
    "POST /sapi/v1/sub-account/transfer/subToMaster": "sub",
    "POST /sapi/v1/sub-account/transfer/subToSub": "sub",
    "GET /sapi/v1/sub-account/transfer/subUserHistory": "sub",
}
"""Who may; everything else the owner of the master's key."""


def caller_of(name: str) -> str:
    return CALLERS.get(name, "owner")


def good(world: World, name: str, *, whole: bool = False) -> dict[str, Any]:
    """What a call that succeeds sends: what is mandatory; with `whole`, all that go together."""
    known = (
        _usual(world) | _special(world).get(name, {}) | (_finished(world) if whole and name == REPAID else {})
    )
    chosen = set(_special(world).get(name, {}))
    apart = set(APART.get(name, "").split())
    return {
        param.name: known[param.name]
        for param in ENDPOINTS[name].params
        if param.required or param.name in chosen or (whole and param.name not in apart)
    }


APART = {
    "GET /sapi/v1/sub-account/universalTransfer": "fromEmail toEmail clientTranId",
    "POST /sapi/v1/sub-account/universalTransfer": "fromEmail symbol",
    "GET /api/v3/exchangeInfo": "symbol symbols permissions symbolStatus showPermissionSets",
    "POST /sapi/v1/asset/transfer": "fromSymbol toSymbol",
    "GET /sapi/v1/asset/transfer": "fromSymbol toSymbol",
    "GET /sapi/v1/sub-account/sub/transfer/history": "toEmail",
    "POST /sapi/v1/capital/withdraw/apply": "network addressTag",
    "GET /sapi/v1/capital/withdraw/history": "idList",
}
"""Optional parameters that exclude each other, or that only products we do not have take."""


def _finished(world: World) -> dict[str, Any]:
    """The loan that was repaid, and the weeks in which it was."""
    return {"orderId": world.closed.pk, "startTime": int(TEN.timestamp() * 1000)}


def _usual(world: World) -> dict[str, Any]:
    now = int(NOW.timestamp() * 1000)
    mine = world.mine
    return {
        "orderId": world.running.loan.pk,
        "loanCoin": "USDT",
        "collateralCoin": "BTC",
        "coin": "USDT",
        "asset": "USDT",
        "amount": "5",
        "collateralAccountId": mine.sub.pk,
        "startTime": now - 100 * HOUR,
        "endTime": now,
        "current": 1,
        "page": 1,
        "limit": 10,
        "size": 10,
        "vipLevel": 1,
        "duration": 30,
        "loanTerm": 30,
        "symbol": "BTCUSDT",
        "email": world.renewable.account.email,
        "toEmail": world.renewable.account.email,
        "fromEmail": mine.master.email,
        "omitZeroBalances": "true",
        "needBtcValuation": "true",
        "needBalanceDetail": "true",
        "quoteAsset": "USDT",
        "isFreeze": "false",
        "type": "MAIN_FUNDING",
        "clientTranId": "one",
        "address": "0x52908400098527886E0F7030069857D2E4169EE7",
        "withdrawOrderId": "one",
        "transactionFeeFlag": "false",
        "name": "Treasury",
        "walletType": "0",
        "returnFailHistory": "false",
        "status": 6,
        "offset": 0,
    }


def _special(world: World) -> dict[str, dict[str, Any]]:
    vip, sub = "/sapi/v1/loan/vip", "/sapi/v1/sub-account"
    mine = world.mine
    return {
        f"POST {vip}/borrow": {
            "loanAccountId": mine.master.pk,
            "loanCoin": "USDT",
            "loanAmount": "60000",
            "collateralAccountId": str(mine.sub.pk),
            "collateralCoin": "BTC",
            "isFlexibleRate": "False",
            "loanTerm": 30,
        },
        f"POST {vip}/fixed/borrow": {
            "supplyRequest": f"{world.supply.pk}:0.05:60000",
            "borrowCoin": "USDT",
            "loanTerm": 30,
            "borrowUid": mine.master.pk,
            "collateralCoin": "BTC",
            "collateralAccountId": str(mine.sub.pk),
            "autoRepay": "true",
        },
        f"POST {vip}/renew": {"orderId": world.renewable.loan.pk, "loanTerm": 30},
        f"POST {vip}/repay": {"orderId": world.running.loan.pk, "amount": "1000.5"},
        "POST /sapi/v1/asset/transfer": {"type": "MAIN_FUNDING"},
        "GET /sapi/v1/sub-account/transfer/subUserHistory": {"type": "1"},
        "GET /sapi/v1/loan/income": {"type": "borrowIn"},
        "POST /sapi/v1/capital/withdraw/apply": {"withdrawOrderId": "another"},
        f"POST {sub}/universalTransfer": {
            "fromAccountType": "SPOT",
            "toAccountType": "SPOT",
            "toEmail": world.renewable.account.email,
            "clientTranId": "another",
        },
        f"POST {sub}/virtualSubAccount": {"subAccountString": "robot"},
        f"POST {sub}/transfer/subToSub": {"toEmail": world.overdue.account.email},
    }
