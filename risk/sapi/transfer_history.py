"""The transfers there were, in the three forms the exchange lists them. What was moved on a page is among them."""

from datetime import datetime
from typing import Any, Final

from django.db.models import QuerySet

from accounts.models import Account, LedgerAccount
from accounts.sapi import family
from accounts.sapi.errors import BAD_COMBINATION, Denied
from accounts.sapi.params import email, flag, one_of, symbol, whole
from accounts.sapi.registry import Call, endpoint
from accounts.sapi.spans import TIMES, span
from accounts.sapi.wire import Json, dec, ms, rows
from risk.models import Movement
from risk.sapi.client_ids import TRANSFERS, client_id
from risk.sapi.transfers import PAIRS, WAYS, kind_of_way

SPOT: Final = LedgerAccount.Kind.SPOT
MOST_PAGES: Final = 1000
IN, OUT = "1", "2"


@endpoint(
    "GET /sapi/v1/asset/transfer",
    kind_of_way(),
    *TIMES,
    whole("current", low=1, high=MOST_PAGES, default=1),
    whole("size", low=1, high=100, default=10),
    *PAIRS,
    example={
        "total": 1,
        "rows": [
            {
                "asset": "USDT",
                "amount": "1.5",
                "type": "MAIN_FUNDING",
                "status": "CONFIRMED",
                "tranId": 4711,
                "timestamp": 1767225600000,
            }
        ],
    },
)
def between_wallets(call: Call) -> Json:
    """Between two wallets of the key's account; of the last seven days when no time is named."""
    since, until = span(call, default_days=7, most_days=180)
    way = WAYS.get(call["type"])
    if way is None:
        return rows([], 0)
    found = _transfers().filter(
        source=call.account,
        target=call.account,
        source_wallet=way[0],
        target_wallet=way[1],
        at__gte=since,
        at__lt=until,
    )
    page = [
        {
            "asset": row.asset_id,
            "amount": dec(row.amount),
            "type": call["type"],
            "status": "CONFIRMED",
            "tranId": row.pk,
            "timestamp": ms(row.at),
        }
        for row in _page(found, call["current"], call["size"])
    ]
    return rows(page, found.count())


@endpoint(
    "GET /sapi/v1/sub-account/universalTransfer",
    email("fromEmail"),
    email("toEmail"),
    client_id("clientTranId"),
    *TIMES,
    whole("page", low=1, high=MOST_PAGES, default=1),
    whole("limit", low=1, high=500, default=500),
    example={
        "result": [
            {
                "tranId": 4711,
                "fromEmail": "desk@example.com",
                "toEmail": "trading@example.com",
                "asset": "USDT",
                "amount": "1.5",
                "createTimeStamp": 1767225600000,
                "fromAccountType": "SPOT",
                "toAccountType": "SPOT",
                "status": "SUCCESS",
                "clientTranId": "mine-1",
            }
        ],
        "totalCount": 1,
    },
)
def between_accounts(call: Call) -> Json:
    """Between Spot of two accounts, seven days at most; without an address those that the master's account gave."""
    found = _between(call, *span(call, default_days=7, most_days=7))
    if call["clientTranId"] is not None:
        found = found.filter(pk__in=TRANSFERS.made(call, call["clientTranId"]))
    page = _page(found.select_related("source", "target"), call["page"], call["limit"])
    mine = TRANSFERS.of(call, page)
    told = [
        {
            "tranId": row.pk,
            "fromEmail": _email(row.source),
            "toEmail": _email(row.target),
            "asset": row.asset_id,
            "amount": dec(row.amount),
            "createTimeStamp": ms(row.at),
            "fromAccountType": "SPOT",
            "toAccountType": "SPOT",
            "status": "SUCCESS",
            "clientTranId": mine.get(row.pk, ""),
        }
        for row in page
    ]
    return {"result": told, "totalCount": found.count()}


@endpoint(
    "GET /sapi/v1/sub-account/sub/transfer/history",
    email("fromEmail"),
    email("toEmail"),
    *TIMES,
    whole("page", low=1, high=MOST_PAGES, default=1),
    whole("limit", low=1, high=500, default=500),
    example=[
        {
            "from": "desk@example.com",
            "to": "trading@example.com",
            "asset": "USDT",
            "qty": "1.5",
            "status": "SUCCESS",
            "tranId": 4711,
            "time": 1767225600000,
        }
    ],
)
def of_spot(call: Call) -> Json:
    """The same as `between_accounts` in an older form, thirty days when no time is named."""
    found = _between(call, *span(call, default_days=30, most_days=180))
    return [
        {
            "from": _email(row.source),
            "to": _email(row.target),
            "asset": row.asset_id,
            "qty": dec(row.amount),
            "status": "SUCCESS",
            "tranId": row.pk,
            "time": ms(row.at),
        }
        for row in _page(found.select_related("source", "target"), call["page"], call["limit"])
    ]


@endpoint(
    "GET /sapi/v1/sub-account/transfer/subUserHistory",
    symbol("asset"),
    one_of("type", IN, OUT, default=OUT, about="1 in, 2 out."),
    *TIMES,
    whole("limit", low=1, high=500, default=500),
    flag("returnFailHistory", about="What fails moves nothing and is not kept, so it changes nothing."),
    example=[
        {
            "counterParty": "master",
            "email": "desk@example.com",
            "type": 1,
            "asset": "USDT",
            "qty": "1.5",
            "fromAccountType": "SPOT",
            "toAccountType": "SPOT",
            "status": "SUCCESS",
            "tranId": 4711,
            "time": 1767225600000,
        }
    ],
)
def of_sub(call: Call) -> Json:
    """Into or out of the key's sub-account. Who acts for it only is not told the addresses of others. R-GEN-95"""
    family.sub_only(call)
    since, until = span(call, default_days=30, most_days=180)
    is_in = call["type"] == IN
    found = _transfers().filter(
        **{"target" if is_in else "source": call.account},
        source_wallet=SPOT,
        target_wallet=SPOT,
        at__gte=since,
        at__lt=until,
    )
    if call["asset"] is not None:
        found = found.filter(asset=call["asset"])
    is_whole = call.caller.membership.account_id is None
    told: list[dict[str, Any]] = []
    for row in _page(found.select_related("source", "target"), 1, call["limit"]):
        other = row.source if is_in else row.target
        told.append(
            {
                "counterParty": "master" if other is not None and other.is_master else "subAccount",
                "email": _email(other) if is_whole else "",
                "type": int(call["type"]),
                "asset": row.asset_id,
                "qty": dec(row.amount),
                "fromAccountType": "SPOT",
                "toAccountType": "SPOT",
                "status": "SUCCESS",
                "tranId": row.pk,
                "time": ms(row.at),
            }
        )
    return told


# --- Private ------------------------------------------------------------------------------------------


def _transfers() -> "QuerySet[Movement]":
    return Movement.objects.filter(kind=Movement.Kind.TRANSFER).order_by("-at", "-pk")


def _between(call: Call, since: datetime, until: datetime) -> "QuerySet[Movement]":
    family.master_only(call)
    if call["fromEmail"] is not None and call["toEmail"] is not None:
        raise Denied(BAD_COMBINATION, "fromEmail and toEmail cannot be sent at the same time.")
    side = "source" if call["toEmail"] is None else "target"
    asked = call["fromEmail"] or call["toEmail"]
    whose = call.account if asked is None else family.named(call, asked)
    return _transfers().filter(
        **{side: whose}, source_wallet=SPOT, target_wallet=SPOT, at__gte=since, at__lt=until
    )


def _page(found: "QuerySet[Movement]", page: int, size: int) -> list[Movement]:
    return list(found[(page - 1) * size : page * size])


def _email(account: Account | None) -> str:
    return "" if account is None else account.email
