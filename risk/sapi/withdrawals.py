"""Coins that leave for an address outside, by the gate; and those that did."""

from typing import Final

from accounts.ledger import Overdrawn
from accounts.models import LedgerAccount
from accounts.sapi.errors import Denied
from accounts.sapi.params import amount, flag, one_of, symbol, uids, whole, words
from accounts.sapi.registry import WITHDRAW, Call, endpoint
from accounts.sapi.spans import TIMES, span
from accounts.sapi.wire import Json, dec
from risk import gate
from risk.models import Movement
from risk.sapi.client_ids import WITHDRAWALS, client_id
from risk.sapi.transfers import NOT_REQUIRED, discreet

WALLETS: Final = {"0": LedgerAccount.Kind.SPOT, "1": LedgerAccount.Kind.FUNDING}
TOO_LITTLE: Final = -4026
COMPLETED: Final = 6
WHEN: Final = "%Y-%m-%d %H:%M:%S"


@endpoint(
    "POST /sapi/v1/capital/withdraw/apply",
    symbol("coin", required=True),
    words("address", longest=120, pattern=r"[\x21-\x7e]+", required=True),
    amount("amount", required=True),
    client_id("withdrawOrderId"),
    words("network", longest=20, about="There is none to choose; a request that names one is refused."),
    words("addressTag", longest=120, about="Part of the address here; a request with one apart is refused."),
    flag("transactionFeeFlag", about="There is no fee, so it changes nothing."),
    words("name", longest=200, about="There is no address book, so it is not kept."),
    one_of("walletType", *WALLETS, default="0", about="0 Spot, 1 Funding."),
    permission=WITHDRAW,
    weight=900,
    uid=True,
    example={"id": "4711"},
)
def withdraw(call: Call) -> Json:
    """Who names a network or a tag relies on it, and it could not be told to who pays out: better nothing is sent."""
    for name in ("network", "addressTag"):
        if call[name] is not None:
            raise Denied(
                NOT_REQUIRED, f"Parameter '{name}' sent when not required: {name}s are not used here."
            )
    try:
        with discreet(call):
            row = gate.withdraw(
                account_uid=call.account.pk,
                asset=call["coin"],
                amount=call["amount"],
                address=call["address"],
                wallet=WALLETS[call["walletType"]],
                actor=call.actor,
                at=call.at,
                key=WITHDRAWALS.key(call, call["withdrawOrderId"]),
            )
    except Overdrawn as refusal:
        raise Denied(TOO_LITTLE, refusal.message) from None
    return {"id": str(row.pk)}


@endpoint(
    "GET /sapi/v1/capital/withdraw/history",
    symbol("coin"),
    client_id("withdrawOrderId"),
    whole("status", high=6, about="6 is completed; nothing here is in any other state."),
    whole("offset", high=100_000, default=0),
    whole("limit", low=1, high=1000, default=1000),
    uids("idList", most=45),
    *TIMES,
    weight=18000,
    uid=True,
    example=[
        {
            "id": "4711",
            "amount": "0.5",
            "transactionFee": "0",
            "coin": "BTC",
            "status": COMPLETED,
            "address": "bc1qexample",
            "txId": "",
            "applyTime": "2026-01-01 12:00:00",
            "completeTime": "2026-01-01 12:00:00",
            "network": "",
            "transferType": 0,
            "withdrawOrderId": "mine-1",
            "info": "",
            "confirmNo": 0,
            "walletType": 0,
            "txKey": "",
        }
    ],
)
def withdrawals(call: Call) -> Json:
    """What left the key's account: of the last 90 days when no time is named, of 7 when asked for by its own id."""
    days = 90 if call["withdrawOrderId"] is None else 7
    since, until = span(call, default_days=days, most_days=days)
    found = Movement.objects.filter(kind=Movement.Kind.WITHDRAWAL, source=call.account)
    found = found.filter(at__gte=since, at__lt=until).order_by("-at", "-pk")
    if call["withdrawOrderId"] is not None:
        found = found.filter(pk__in=WITHDRAWALS.made(call, call["withdrawOrderId"]))
    if call["coin"] is not None:
        found = found.filter(asset=call["coin"])
    if call["idList"] is not None:
        found = found.filter(pk__in=call["idList"])
    if call["status"] not in (None, COMPLETED):
        found = found.none()
    page = list(found[call["offset"] : call["offset"] + call["limit"]])
    mine = WITHDRAWALS.of(call, page)
    return [_sent(row, mine.get(row.pk, "")) for row in page]


def _sent(row: Movement, client_id: str) -> dict[str, str | int]:
    return {
        "id": str(row.pk),
        "amount": dec(row.amount),
        "transactionFee": "0",
        "coin": row.asset_id,
        "status": COMPLETED,
        "address": row.address,
        "txId": "",
        "applyTime": row.at.strftime(WHEN),
        "completeTime": row.at.strftime(WHEN),
        "network": "",
        "transferType": 0,
        "withdrawOrderId": client_id,
        "info": "",
        "confirmNo": 0,
        "walletType": 1 if row.source_wallet == LedgerAccount.Kind.FUNDING else 0,
        "txKey": "",
    }
