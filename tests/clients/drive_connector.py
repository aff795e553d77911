"""binance-connector: no more developed, still running. What it has no method for goes through its `sign_request`."""

from typing import Any

from binance.error import ClientError, ServerError
from binance.spot import Spot
from driver import Call, Told, serve

CALLS = {
    "GET /sapi/v1/loan/vip/ongoing/orders": "loan_vip_ongoing_orders",
    "POST /sapi/v1/loan/vip/repay": "loan_vip_repay",
    "GET /sapi/v1/loan/vip/repay/history": "loan_vip_repay_history",
    "GET /sapi/v1/loan/vip/collateral/account": "loan_vip_collateral_account",
    "GET /sapi/v1/loan/income": "loan_history",
    "GET /sapi/v1/loan/borrow/history": "loan_borrow_history",
    "GET /sapi/v1/loan/repay/history": "loan_repay_history",
    "GET /sapi/v1/loan/ltv/adjustment/history": "loan_adjust_ltv_history",
    "POST /sapi/v1/sub-account/virtualSubAccount": "sub_account_create",
    "GET /sapi/v1/sub-account/spotSummary": "sub_account_spot_summary",
    "GET /sapi/v1/sub-account/list": "sub_account_list",
    "GET /sapi/v3/sub-account/assets": "sub_account_assets",
    "GET /sapi/v4/sub-account/assets": "query_sub_account_assets",
    "POST /sapi/v1/sub-account/transfer/subToSub": "sub_account_transfer_to_sub",
    "POST /sapi/v1/sub-account/transfer/subToMaster": "sub_account_transfer_to_master",
    "GET /sapi/v1/sub-account/transfer/subUserHistory": "sub_account_transfer_sub_account_history",
    "GET /sapi/v1/sub-account/sub/transfer/history": "sub_account_spot_transfer_history",
    "POST /sapi/v1/sub-account/universalTransfer": "sub_account_universal_transfer",
    "GET /sapi/v1/sub-account/universalTransfer": "sub_account_universal_transfer_history",
    "GET /api/v3/ping": "ping",
    "GET /api/v3/time": "time",
    "GET /api/v3/exchangeInfo": "exchange_info",
    "GET /api/v3/account": "account",
    "GET /sapi/v1/system/status": "system_status",
    "GET /sapi/v1/capital/config/getall": "coin_info",
    "POST /sapi/v1/capital/withdraw/apply": "withdraw",
    "GET /sapi/v1/capital/withdraw/history": "withdraw_history",
    "GET /sapi/v1/account/status": "account_status",
    "GET /sapi/v1/account/apiRestrictions": "api_key_permissions",
    "POST /sapi/v1/asset/transfer": "user_universal_transfer",
    "GET /sapi/v1/asset/transfer": "user_universal_transfer_history",
    "POST /sapi/v1/asset/get-funding-asset": "funding_wallet",
    "POST /sapi/v3/asset/getUserAsset": "user_asset",
    "GET /sapi/v1/asset/wallet/balance": "balance",
    "GET /sapi/v1/margin/allAssets": "margin_all_assets",
    "GET /sapi/v1/margin/allPairs": "margin_all_pairs",
    "GET /sapi/v1/margin/isolated/allPairs": "isolated_margin_all_pairs",
    "GET /sapi/v1/margin/priceIndex": "margin_pair_index",
    "GET /sapi/v1/margin/crossMarginCollateralRatio": "cross_margin_collateral_ratio",
}
SIGNED_BY_HAND = (
    "GET /sapi/v1/loan/vip/accruedInterest",
    "GET /sapi/v1/loan/vip/request/data",
    "GET /sapi/v1/loan/vip/request/interestRate",
    "GET /sapi/v1/loan/vip/interestRateHistory",
    "GET /sapi/v1/loan/vip/loanable/data",
    "GET /sapi/v1/loan/vip/collateral/data",
    "GET /sapi/v1/loan/vip/fixed/market",
    "POST /sapi/v1/loan/vip/borrow",
    "POST /sapi/v1/loan/vip/fixed/borrow",
    "POST /sapi/v1/loan/vip/renew",
    "GET /sapi/v1/account/info",
)


def connect(base: str, who: Told) -> Spot:
    if "private_key" in who:
        return Spot(api_key=who["key"], private_key=who["private_key"], base_url=base)
    return Spot(api_key=who["key"], api_secret=who["secret"], base_url=base)


def used_weight(client: Spot, args: Told) -> Told:
    telling = Spot(client.api_key, client.api_secret, base_url=client.base_url, show_limit_usage=True)
    told = telling.account()["limit_usage"]
    return {"GET /api/v3/account": int(told["x-mbx-used-weight-1m"])}


def named(method: str) -> Call:
    return lambda client, args: getattr(client, method)(**args)


def by_hand(name: str) -> Call:
    method, path = name.split()
    return lambda client, args: client.sign_request(method, path, dict(args))


def failed(error: Exception) -> Told | None:
    if isinstance(error, ClientError):
        return {"code": error.error_code, "msg": error.error_message}
    if isinstance(error, ServerError):
        return {"code": error.status_code, "msg": error.message}
    return None


if __name__ == "__main__":
    calls: dict[str, Any] = {name: named(method) for name, method in CALLS.items()}
    calls["used weight"] = used_weight
    calls |= {name: by_hand(name) for name in SIGNED_BY_HAND}
    serve(connect=connect, calls=calls, failed=failed, packages=["binance-connector"], by_hand=SIGNED_BY_HAND)
