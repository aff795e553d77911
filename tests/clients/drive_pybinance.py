"""python-binance: signs a form before it is percent-encoded, in alphabetical order, booleans in capitals."""

from binance.client import Client
from binance.exceptions import BinanceAPIException
from driver import Call, Told, serve

CALLS = {
    "GET /sapi/v1/loan/vip/ongoing/orders": "margin_v1_get_loan_vip_ongoing_orders",
    "GET /sapi/v1/loan/vip/repay/history": "margin_v1_get_loan_vip_repay_history",
    "GET /sapi/v1/loan/vip/collateral/account": "margin_v1_get_loan_vip_collateral_account",
    "GET /sapi/v1/loan/vip/loanable/data": "margin_v1_get_loan_vip_loanable_data",
    "GET /sapi/v1/loan/vip/request/interestRate": "margin_v1_get_loan_vip_request_interest_rate",
    "POST /sapi/v1/loan/vip/borrow": "margin_v1_post_loan_vip_borrow",
    "POST /sapi/v1/loan/vip/renew": "margin_v1_post_loan_vip_renew",
    "POST /sapi/v1/loan/vip/repay": "margin_v1_post_loan_vip_repay",
    "GET /sapi/v1/loan/income": "margin_v1_get_loan_income",
    "GET /sapi/v1/loan/borrow/history": "margin_v1_get_loan_borrow_history",
    "GET /sapi/v1/loan/repay/history": "margin_v1_get_loan_repay_history",
    "GET /sapi/v1/loan/ltv/adjustment/history": "margin_v1_get_loan_ltv_adjustment_history",
    "POST /sapi/v1/sub-account/virtualSubAccount": "margin_v1_post_sub_account_virtual_sub_account",
    "GET /sapi/v1/sub-account/list": "get_sub_account_list",
    "GET /sapi/v1/sub-account/sub/transfer/history": "get_sub_account_transfer_history",
    "GET /sapi/v4/sub-account/assets": "get_sub_account_assets",
    "GET /sapi/v1/sub-account/spotSummary": "query_subaccount_spot_summary",
    "POST /sapi/v1/sub-account/universalTransfer": "make_subaccount_universal_transfer",
    "GET /sapi/v1/sub-account/universalTransfer": "get_universal_transfer_history",
    "POST /sapi/v1/sub-account/transfer/subToSub": "make_subaccount_to_subaccount_transfer",
    "POST /sapi/v1/sub-account/transfer/subToMaster": "make_subaccount_to_master_transfer",
    "GET /sapi/v1/sub-account/transfer/subUserHistory": "get_subaccount_transfer_history",
    "GET /api/v3/ping": "ping",
    "GET /api/v3/time": "get_server_time",
    "GET /api/v3/exchangeInfo": "get_exchange_info",
    "GET /api/v3/account": "get_account",
    "GET /sapi/v1/system/status": "get_system_status",
    "GET /sapi/v1/account/status": "get_account_status",
    "GET /sapi/v1/account/info": "margin_v1_get_account_info",
    "GET /sapi/v1/account/apiRestrictions": "get_account_api_permissions",
    "GET /sapi/v1/capital/config/getall": "get_all_coins_info",
    "POST /sapi/v1/capital/withdraw/apply": "withdraw",
    "GET /sapi/v1/capital/withdraw/history": "get_withdraw_history",
    "POST /sapi/v1/asset/transfer": "make_universal_transfer",
    "GET /sapi/v1/asset/transfer": "query_universal_transfer_history",
    "POST /sapi/v1/asset/get-funding-asset": "funding_wallet",
    "POST /sapi/v3/asset/getUserAsset": "get_user_asset",
    "GET /sapi/v1/asset/wallet/balance": "margin_v1_get_asset_wallet_balance",
    "GET /sapi/v1/margin/allAssets": "get_margin_all_assets",
    "GET /sapi/v1/margin/allPairs": "get_margin_all_pairs",
    "GET /sapi/v1/margin/isolated/allPairs": "get_all_isolated_margin_symbols",
    "GET /sapi/v1/margin/priceIndex": "get_margin_price_index",
    "GET /sapi/v1/margin/crossMarginCollateralRatio": "get_cross_margin_collateral_ratio",
}
BY_HAND = (
    "GET /sapi/v1/loan/vip/accruedInterest",
    "GET /sapi/v1/loan/vip/request/data",
    "GET /sapi/v1/loan/vip/interestRateHistory",
    "GET /sapi/v1/loan/vip/collateral/data",
    "GET /sapi/v1/loan/vip/fixed/market",
    "POST /sapi/v1/loan/vip/fixed/borrow",
)


def connect(base: str, who: Told) -> Client:
    private_key = who.get("private_key", "").strip() or None
    client = Client(who["key"], who.get("secret"), private_key=private_key, ping=False)
    client.API_URL, client.MARGIN_API_URL = f"{base}/api", f"{base}/sapi"
    return client


def named(method: str) -> Call:
    return lambda client, args: getattr(client, method)(**args)


def by_hand(name: str) -> Call:
    method, path = name.split()
    place = path.removeprefix("/sapi/v1/")
    return lambda client, args: client._request_margin_api(
        method.lower(), place, signed=True, data=dict(args)
    )


def failed(error: Exception) -> Told | None:
    return {"code": error.code, "msg": error.message} if isinstance(error, BinanceAPIException) else None


if __name__ == "__main__":
    serve(
        connect=connect,
        calls={name: named(method) for name, method in CALLS.items()}
        | {name: by_hand(name) for name in BY_HAND},
        failed=failed,
        packages=["python-binance"],
        by_hand=BY_HAND,
    )
