"""The exchange's own SDKs. What they would only warn of, a value of another type than promised, is an error here."""

import warnings
from functools import cached_property
from typing import Any

from binance_common.configuration import ConfigurationRestAPI
from binance_common.errors import Error
from binance_sdk_margin_trading.margin_trading import MarginTrading
from binance_sdk_spot.spot import Spot
from binance_sdk_sub_account.sub_account import SubAccount
from binance_sdk_vip_loan.vip_loan import VipLoan
from binance_sdk_wallet.wallet import Wallet
from driver import Told, serve, snake

PACKAGES = ("vip-loan", "sub-account", "wallet", "margin-trading", "spot")
CALLS = {
    "GET /sapi/v1/loan/vip/ongoing/orders": "vip get_vip_loan_ongoing_orders",
    "GET /sapi/v1/loan/vip/repay/history": "vip get_vip_loan_repayment_history",
    "GET /sapi/v1/loan/vip/accruedInterest": "vip get_vip_loan_accrued_interest",
    "GET /sapi/v1/loan/vip/collateral/account": "vip check_vip_loan_collateral_account",
    "GET /sapi/v1/loan/vip/request/data": "vip query_application_status",
    "GET /sapi/v1/loan/vip/request/interestRate": "vip get_borrow_interest_rate",
    "GET /sapi/v1/loan/vip/interestRateHistory": "vip get_vip_loan_interest_rate_history",
    "GET /sapi/v1/loan/vip/loanable/data": "vip get_loanable_assets_data",
    "GET /sapi/v1/loan/vip/collateral/data": "vip get_collateral_asset_data",
    "GET /sapi/v1/loan/vip/fixed/market": "vip query_vip_loan_fixed_rate_market",
    "POST /sapi/v1/loan/vip/borrow": "vip vip_loan_borrow",
    "POST /sapi/v1/loan/vip/fixed/borrow": "vip vip_loan_fixed_rate_borrow",
    "POST /sapi/v1/loan/vip/renew": "vip vip_loan_renew",
    "POST /sapi/v1/loan/vip/repay": "vip vip_loan_repay",
    "POST /sapi/v1/sub-account/virtualSubAccount": "sub create_a_virtual_sub_account",
    "GET /sapi/v1/sub-account/spotSummary": "sub query_sub_account_spot_assets_summary",
    "GET /sapi/v1/sub-account/list": "sub query_sub_account_list",
    "GET /sapi/v3/sub-account/assets": "sub query_sub_account_assets",
    "GET /sapi/v4/sub-account/assets": "sub query_sub_account_assets_asset_management",
    "GET /sapi/v1/sub-account/sub/transfer/history": "sub query_sub_account_spot_asset_transfer_history",
    "GET /sapi/v1/sub-account/universalTransfer": "sub query_universal_transfer_history",
    "POST /sapi/v1/sub-account/universalTransfer": "sub universal_transfer",
    "GET /sapi/v1/sub-account/transfer/subUserHistory": "sub sub_account_transfer_history",
    "POST /sapi/v1/sub-account/transfer/subToMaster": "sub transfer_to_master",
    "POST /sapi/v1/sub-account/transfer/subToSub": "sub transfer_to_sub_account_of_same_master",
    "GET /sapi/v1/capital/config/getall": "wallet all_coins_information",
    "POST /sapi/v1/capital/withdraw/apply": "wallet withdraw",
    "GET /sapi/v1/capital/withdraw/history": "wallet withdraw_history",
    "POST /sapi/v1/asset/get-funding-asset": "wallet funding_wallet",
    "GET /sapi/v1/asset/transfer": "wallet query_user_universal_transfer_history",
    "POST /sapi/v1/asset/transfer": "wallet user_universal_transfer",
    "GET /sapi/v1/asset/wallet/balance": "wallet query_user_wallet_balance",
    "POST /sapi/v3/asset/getUserAsset": "wallet user_asset",
    "GET /sapi/v1/system/status": "wallet system_status",
    "GET /sapi/v1/account/info": "wallet account_info",
    "GET /sapi/v1/account/status": "wallet account_status",
    "GET /sapi/v1/account/apiRestrictions": "wallet get_api_key_permission",
    "GET /sapi/v1/margin/crossMarginCollateralRatio": "margin cross_margin_collateral_ratio",
    "GET /sapi/v1/margin/allPairs": "margin get_all_cross_margin_pairs",
    "GET /sapi/v1/margin/isolated/allPairs": "margin get_all_isolated_margin_symbol",
    "GET /sapi/v1/margin/allAssets": "margin get_all_margin_assets",
    "GET /sapi/v1/margin/priceIndex": "margin query_margin_priceindex",
    "GET /api/v3/ping": "spot ping",
    "GET /api/v3/time": "spot time",
    "GET /api/v3/exchangeInfo": "spot exchange_info",
    "GET /api/v3/account": "spot get_account",
}


class Official:
    """One configuration with everything at its default, the timeout of one second included; a client per SDK."""

    def __init__(self, base: str, who: Told) -> None:
        secret = (
            {"private_key": who["private_key"]} if "private_key" in who else {"api_secret": who["secret"]}
        )
        self.configuration = ConfigurationRestAPI(api_key=who["key"], base_path=base, **secret)

    @cached_property
    def vip(self) -> Any:
        return VipLoan(config_rest_api=self.configuration).rest_api

    @cached_property
    def sub(self) -> Any:
        return SubAccount(config_rest_api=self.configuration).rest_api

    @cached_property
    def wallet(self) -> Any:
        return Wallet(config_rest_api=self.configuration).rest_api

    @cached_property
    def margin(self) -> Any:
        return MarginTrading(config_rest_api=self.configuration).rest_api

    @cached_property
    def spot(self) -> Any:
        return Spot(config_rest_api=self.configuration).rest_api


def call(place: str) -> Any:
    sdk, method = place.split()

    def run(client: Official, args: Told) -> Any:
        found = getattr(getattr(client, sdk), method)(**{snake(name): value for name, value in args.items()})
        return plain(found.data())

    return run


def used_weight(client: Official, args: Told) -> Told:
    (limit,) = client.spot.get_account().rate_limits
    return {"GET /api/v3/account": limit.count}


def plain(found: Any) -> Any:
    """What the SDK's models say, in the dialect's own names; what they did not know of is set beside the rest."""
    inner = getattr(found, "actual_instance", found)
    inner = inner.to_dict() if hasattr(inner, "to_dict") else inner
    if isinstance(inner, list):
        return [plain(one) for one in inner]
    if isinstance(inner, dict):
        return {
            name: plain(value) for name, value in (inner | inner.pop("additional_properties", {})).items()
        }
    return inner


def failed(error: Exception) -> Told | None:
    if not isinstance(error, Error):
        return None
    return {"code": getattr(error, "status_code", None), "msg": getattr(error, "error_message", "")}


if __name__ == "__main__":
    warnings.simplefilter("error")
    serve(
        connect=Official,
        calls={name: call(place) for name, place in CALLS.items()} | {"used weight": used_weight},
        failed=failed,
        packages=[f"binance-sdk-{name}" for name in PACKAGES],
    )
