"""ccxt: its implicit methods, named after the addresses, and the unified ones that a trading program would call."""

import json
from typing import Any

import ccxt
from driver import Call, Told, serve

LOANS = (
    "GET /sapi/v1/loan/vip/ongoing/orders",
    "GET /sapi/v1/loan/vip/repay/history",
    "GET /sapi/v1/loan/vip/collateral/account",
    "GET /sapi/v1/loan/vip/request/data",
    "GET /sapi/v1/loan/vip/request/interestRate",
    "GET /sapi/v1/loan/vip/loanable/data",
    "GET /sapi/v1/loan/vip/collateral/data",
    "POST /sapi/v1/loan/vip/borrow",
    "POST /sapi/v1/loan/vip/renew",
    "POST /sapi/v1/loan/vip/repay",
    "GET /sapi/v1/loan/income",
    "GET /sapi/v1/loan/borrow/history",
    "GET /sapi/v1/loan/repay/history",
    "GET /sapi/v1/loan/ltv/adjustment/history",
)
BY_HAND = (
    "GET /sapi/v1/loan/vip/accruedInterest",
    "GET /sapi/v1/loan/vip/interestRateHistory",
    "GET /sapi/v1/loan/vip/fixed/market",
    "POST /sapi/v1/loan/vip/fixed/borrow",
)
AROUND = (
    "GET /sapi/v1/sub-account/spotSummary",
    "GET /sapi/v1/sub-account/list",
    "POST /sapi/v1/sub-account/virtualSubAccount",
    "GET /sapi/v3/sub-account/assets",
    "GET /sapi/v1/sub-account/sub/transfer/history",
    "POST /sapi/v1/sub-account/universalTransfer",
    "GET /sapi/v1/sub-account/universalTransfer",
    "POST /sapi/v1/sub-account/transfer/subToSub",
    "POST /sapi/v1/sub-account/transfer/subToMaster",
    "GET /sapi/v1/sub-account/transfer/subUserHistory",
    "POST /sapi/v1/asset/transfer",
    "GET /sapi/v1/asset/transfer",
    "POST /sapi/v3/asset/getUserAsset",
    "POST /sapi/v1/asset/get-funding-asset",
    "GET /sapi/v1/asset/wallet/balance",
    "GET /sapi/v1/account/info",
    "GET /sapi/v1/account/status",
    "GET /sapi/v1/account/apiRestrictions",
    "GET /sapi/v1/system/status",
    "GET /sapi/v1/capital/config/getall",
    "POST /sapi/v1/capital/withdraw/apply",
    "GET /sapi/v1/capital/withdraw/history",
    "GET /sapi/v1/margin/allAssets",
    "GET /sapi/v1/margin/allPairs",
    "GET /sapi/v1/margin/isolated/allPairs",
    "GET /sapi/v1/margin/priceIndex",
    "GET /sapi/v1/margin/crossMarginCollateralRatio",
    "GET /api/v3/ping",
    "GET /api/v3/time",
    "GET /api/v3/exchangeInfo",
    "GET /api/v3/account",
)
UNIFIED = {
    "fetch_time": lambda exchange, args: exchange.fetch_time(),
    "fetch_status": lambda exchange, args: exchange.fetch_status(),
    "load_markets": lambda exchange, args: sorted(exchange.load_markets()),
    "fetch_balance": lambda exchange, args: exchange.fetch_balance()["free"],
    "fetch_currencies": lambda exchange, args: sorted(exchange.fetch_currencies()),
    "transfer": lambda exchange, args: exchange.transfer(**args)["id"],
    "fetch_withdrawals": lambda exchange, args: [row["amount"] for row in exchange.fetch_withdrawals(**args)],
    "withdraw": lambda exchange, args: exchange.withdraw(**args)["id"],
}


def connect(base: str, who: Told) -> "ccxt.binance":
    sapi = {f"sapi{'' if number == 1 else f'V{number}'}": f"{base}/sapi/v{number}" for number in (1, 2, 3, 4)}
    return ccxt.binance(
        {
            "apiKey": who["key"],
            "secret": who.get("private_key") or who["secret"],
            "enableRateLimit": False,
            "options": {"fetchMarkets": {"types": ["spot"]}},
            "urls": {"api": {"public": f"{base}/api/v3", "private": f"{base}/api/v3"} | sapi},
        }
    )


def implicit(name: str) -> Call:
    """ "GET /sapi/v1/loan/vip/repay/history" is called `sapiGetLoanVipRepayHistory`."""
    method, path = name.split()
    family, version, *parts = path.strip("/").split("/")
    words = [word for part in parts for word in part.split("-")]
    if family == "api":
        prefix = "private" if path.endswith("/account") else "public"
    else:
        prefix = "sapi" if version == "v1" else f"sapi{version.upper()}"
    found = prefix + method.capitalize() + "".join(word[0].upper() + word[1:] for word in words)
    return lambda exchange, args: getattr(exchange, found)(args)


def by_hand(name: str) -> Call:
    """What it has no implicit method for goes through its `request`, which signs it all the same."""
    method, path = name.split()
    return lambda exchange, args: exchange.request(path.removeprefix("/sapi/v1/"), ["sapi"], method, args)


def failed(error: Exception) -> Told | None:
    if not isinstance(error, ccxt.BaseError):
        return None
    text = str(error)
    said = json.loads(text[text.index("{") :]) if "{" in text else {}
    return {"code": said.get("code"), "msg": said.get("msg", text)}


if __name__ == "__main__":
    calls: dict[str, Any] = {name: implicit(name) for name in LOANS + AROUND} | UNIFIED
    calls |= {name: by_hand(name) for name in BY_HAND}
    serve(connect=connect, calls=calls, failed=failed, packages=["ccxt"], by_hand=BY_HAND)
