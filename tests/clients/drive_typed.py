"""typed-binance: every answer is checked against a strict model, and one that does not fit is an error."""

import asyncio
from datetime import UTC, datetime
from decimal import Decimal
from functools import reduce
from typing import Any

from driver import Call, Told, serve, snake
from typed_binance import Binance
from typed_binance.core.exc import ApiError, ValidationError

CALLS = {
    "GET /sapi/v1/loan/vip/ongoing/orders": "loan.vip.ongoing_orders",
    "GET /sapi/v1/loan/vip/repay/history": "loan.vip.repayment_history",
    "GET /sapi/v1/loan/vip/accruedInterest": "loan.vip.accrued_interest",
    "GET /sapi/v1/loan/vip/collateral/account": "loan.vip.collateral_account",
    "GET /sapi/v1/loan/vip/request/data": "loan.vip.application_status",
    "GET /sapi/v1/loan/vip/request/interestRate": "loan.vip.borrow_interest_rate",
    "GET /sapi/v1/loan/vip/interestRateHistory": "loan.vip.interest_rate_history",
    "GET /sapi/v1/loan/vip/loanable/data": "loan.vip.loanable_data",
    "GET /sapi/v1/loan/vip/collateral/data": "loan.vip.collateral_data",
    "GET /sapi/v1/loan/vip/fixed/market": "loan.vip.fixed_rate_market",
    "POST /sapi/v1/loan/vip/borrow": "loan.vip.borrow",
    "POST /sapi/v1/loan/vip/fixed/borrow": "loan.vip.fixed_rate_borrow",
    "POST /sapi/v1/loan/vip/renew": "loan.vip.renew",
    "POST /sapi/v1/loan/vip/repay": "loan.vip.repay",
    "GET /sapi/v1/loan/income": "loan.stable.income_history",
    "GET /sapi/v1/loan/borrow/history": "loan.stable.borrow_history",
    "GET /sapi/v1/loan/repay/history": "loan.stable.repayment_history",
    "GET /sapi/v1/loan/ltv/adjustment/history": "loan.stable.ltv_adjustment_history",
    "POST /sapi/v1/sub-account/virtualSubAccount": "sub_account.create_virtual",
    "GET /sapi/v1/sub-account/spotSummary": "sub_account.spot_summary",
    "GET /sapi/v1/sub-account/list": "sub_account.list",
    "GET /sapi/v3/sub-account/assets": "sub_account.assets",
    "GET /sapi/v4/sub-account/assets": "sub_account.assets_v4",
    "GET /sapi/v1/sub-account/sub/transfer/history": "sub_account.spot_transfer_history",
    "POST /sapi/v1/sub-account/universalTransfer": "sub_account.universal_transfer",
    "GET /sapi/v1/sub-account/universalTransfer": "sub_account.universal_transfer_history",
    "POST /sapi/v1/sub-account/transfer/subToSub": "sub_account.transfer_to_sub",
    "POST /sapi/v1/sub-account/transfer/subToMaster": "sub_account.transfer_to_master",
    "GET /sapi/v1/sub-account/transfer/subUserHistory": "sub_account.own_transfer_history",
    "GET /sapi/v1/asset/wallet/balance": "wallet.asset.wallet_balance",
    "POST /sapi/v3/asset/getUserAsset": "wallet.asset.user_asset",
    "POST /sapi/v1/asset/get-funding-asset": "wallet.asset.funding_wallet",
    "GET /sapi/v1/asset/transfer": "wallet.asset.transfer.history",
    "POST /sapi/v1/asset/transfer": "wallet.asset.transfer.create",
    "GET /sapi/v1/capital/config/getall": "wallet.capital.config.get_all",
    "POST /sapi/v1/capital/withdraw/apply": "wallet.capital.withdraw.apply",
    "GET /sapi/v1/capital/withdraw/history": "wallet.capital.withdraw.history",
    "GET /sapi/v1/account/apiRestrictions": "wallet.account.api_restrictions",
    "GET /sapi/v1/account/status": "wallet.account.status",
    "GET /sapi/v1/account/info": "wallet.account.info",
    "GET /sapi/v1/system/status": "wallet.others.system_status",
    "GET /sapi/v1/margin/allAssets": "margin.all_assets",
    "GET /sapi/v1/margin/allPairs": "margin.all_pairs",
    "GET /sapi/v1/margin/isolated/allPairs": "margin.isolated_all_pairs",
    "GET /sapi/v1/margin/priceIndex": "margin.price_index",
    "GET /sapi/v1/margin/crossMarginCollateralRatio": "margin.cross_margin_collateral_ratio",
    "GET /api/v3/ping": "market.ping",
    "GET /api/v3/time": "market.server_time",
    "GET /api/v3/exchangeInfo": "market.exchange_info",
    "GET /api/v3/account": "account.info",
}
WRITTEN_OUT = ("applyTime", "completeTime")  # of a withdrawal; all other instants are milliseconds
loop = asyncio.new_event_loop()


def connect(base: str, who: Told) -> Any:
    urls = {"spot": {"http": base}}
    return Binance.new(api_key=who["key"], secret_key=who["secret"], urls=urls).spot.http


def call(place: str) -> Call:
    def run(client: Any, args: Told) -> Any:
        method = reduce(getattr, place.split("."), client)
        return plain(
            loop.run_until_complete(method(**{snake(name): typed(name, args[name]) for name in args}))
        )

    return run


def typed(name: str, value: Any) -> Any:
    """It takes instants only as such."""
    return datetime.fromtimestamp(value / 1000, tz=UTC) if name in ("startTime", "endTime") else value


def plain(found: Any) -> Any:
    """Its decimals and instants as the wire had them."""
    if isinstance(found, dict):
        return {
            name: f"{value:%Y-%m-%d %H:%M:%S}" if name in WRITTEN_OUT else plain(value)
            for name, value in found.items()
        }
    if isinstance(found, list):
        return [plain(one) for one in found]
    if isinstance(found, Decimal):
        return f"{found:f}"
    if hasattr(found, "timestamp"):
        return round(found.timestamp() * 1000)
    return found


def failed(error: Exception) -> Told | None:
    if isinstance(error, ValidationError):
        return {"code": None, "msg": str(error)[:4000]}
    if not isinstance(error, ApiError):
        return None
    status, payload = error.args
    return {
        "code": payload.get("code") if isinstance(payload, dict) else None,
        "msg": str(payload),
        "status": status,
    }


if __name__ == "__main__":
    serve(
        connect=connect,
        calls={name: call(place) for name, place in CALLS.items()},
        failed=failed,
        packages=["typed-binance"],
    )
