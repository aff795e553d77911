"""What clients ask before anything else: the time, whether somebody is there, and whether the account is well."""

from accounts.sapi.registry import Call, Security, endpoint
from accounts.sapi.wire import Json, ms


@endpoint("GET /api/v3/ping", security=Security.PUBLIC, example={})
def ping(call: Call) -> Json:
    return {}


@endpoint("GET /api/v3/time", security=Security.PUBLIC, example={"serverTime": 1767225600000})
def time(call: Call) -> Json:
    return {"serverTime": ms(call.at)}


@endpoint("GET /sapi/v1/account/status", example={"data": "Normal"})
def account_status(call: Call) -> Json:
    return {"data": "Normal"}
