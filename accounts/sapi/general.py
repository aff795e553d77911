"""What clients ask before anything else: the time, whether somebody is there, and what their key may."""

from accounts.sapi.registry import Call, Security, endpoint
from accounts.sapi.wire import Json, ms


@endpoint("GET /api/v3/ping", security=Security.PUBLIC, example={})
def ping(call: Call) -> Json:
    return {}


@endpoint("GET /api/v3/time", security=Security.PUBLIC, example={"serverTime": 1767225600000})
def time(call: Call) -> Json:
    return {"serverTime": ms(call.at)}


@endpoint("GET /sapi/v1/system/status", security=Security.PUBLIC, example={"status": 0, "msg": "normal"})
def system_status(call: Call) -> Json:
    return {"status": 0, "msg": "normal"}


@endpoint("GET /sapi/v1/account/status", example={"data": "Normal"})
def account_status(call: Call) -> Json:
    return {"data": "Normal"}


@endpoint(
    "GET /sapi/v1/account/info",
    example={
        "vipLevel": 1,
        "isMarginEnabled": False,
        "isFutureEnabled": False,
        "isOptionsEnabled": False,
        "isPortfolioMarginRetailEnabled": False,
    },
)
def account_info(call: Call) -> Json:
    return {
        "vipLevel": call.customer.vip_level,
        "isMarginEnabled": False,
        "isFutureEnabled": False,
        "isOptionsEnabled": False,
        "isPortfolioMarginRetailEnabled": False,
    }


@endpoint(
    "GET /sapi/v1/account/apiRestrictions",
    example={
        "ipRestrict": True,
        "createTime": 1767225600000,
        "enableReading": True,
        "enableWithdrawals": False,
        "enableInternalTransfer": True,
        "permitsUniversalTransfer": True,
        "enableSpotAndMarginTrading": True,
        "enableMargin": False,
        "enableFutures": False,
        "enableVanillaOptions": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
        "enablePortfolioMarginTrading": False,
    },
)
def api_restrictions(call: Call) -> Json:
    """Borrowing asks for what the exchange calls Spot & Margin Trading."""
    key = call.caller.key
    return {
        "ipRestrict": bool(key.networks),
        "createTime": ms(key.created_at),
        "enableReading": key.can_read,
        "enableWithdrawals": key.can_withdraw,
        "enableInternalTransfer": key.can_transfer,
        "permitsUniversalTransfer": key.can_transfer,
        "enableSpotAndMarginTrading": key.can_borrow,
        "enableMargin": False,
        "enableFutures": False,
        "enableVanillaOptions": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
        "enablePortfolioMarginTrading": False,
    }
