"""What is in the wallets of an account: the key's own, and for the master's keys those of its sub-accounts.

Coins that secure a loan stay in Spot and are free: what may leave is decided when it is to leave (risk/gate.py).
"""

from decimal import Decimal
from typing import Any, Final

from accounts import people
from accounts.models import Account, Asset, LedgerAccount
from accounts.money import ZERO
from accounts.sapi import family
from accounts.sapi.params import email, flag, words
from accounts.sapi.registry import TRANSFER, Call, endpoint
from accounts.sapi.wire import Json, dec, ms, number

Kind = LedgerAccount.Kind
NO_FEE: Final = {"maker": "0", "taker": "0", "buyer": "0", "seller": "0"}


def held(account: Account, kind: str = Kind.SPOT) -> dict[str, Decimal]:
    """What one wallet of the account holds, by symbol; only what is more than nothing."""
    piles = LedgerAccount.objects.filter(account=account, kind=kind).order_by("asset")
    return {pile.asset_id: pile.balance for pile in piles if pile.balance}


@endpoint(
    "GET /api/v3/account",
    flag("omitZeroBalances", default=False),
    weight=20,
    example={
        "makerCommission": 0,
        "takerCommission": 0,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": NO_FEE,
        "canTrade": False,
        "canWithdraw": True,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": 1767225600000,
        "accountType": "SPOT",
        "balances": [{"asset": "BTC", "free": "1.5", "locked": "0"}],
        "permissions": ["SPOT"],
        "uid": 12345678,
    },
)
def account(call: Call) -> Json:
    """There are no orders in this dialect, so nobody trades by it and nothing is locked in one."""
    found = held(call.account)
    symbols = list(found) if call["omitZeroBalances"] else _catalogue()
    return {
        "makerCommission": 0,
        "takerCommission": 0,
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": NO_FEE,
        "canTrade": False,
        "canWithdraw": call.caller.key.can_withdraw,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": ms(call.at),
        "accountType": "SPOT",
        "balances": [
            {"asset": symbol, "free": dec(found.get(symbol, ZERO)), "locked": "0"} for symbol in symbols
        ],
        "permissions": ["SPOT"],
        "uid": call.account.pk,
    }


@endpoint(
    "GET /sapi/v1/capital/config/getall",
    weight=10,
    example=[
        {
            "coin": "BTC",
            "name": "Bitcoin",
            "free": "1.5",
            "locked": "0",
            "freeze": "0",
            "withdrawing": "0",
            "ipoing": "0",
            "ipoable": "0",
            "storage": "0",
            "isLegalMoney": False,
            "trading": True,
            "depositAllEnable": True,
            "withdrawAllEnable": True,
            "networkList": [],
        }
    ],
)
def all_coins(call: Call) -> Json:
    """Networks are the business of who keeps the coins, not of the desk: there is none to choose here."""
    found = held(call.account)
    return [
        {
            "coin": coin.pk,
            "name": coin.name,
            "free": dec(found.get(coin.pk, ZERO)),
            "locked": "0",
            "freeze": "0",
            "withdrawing": "0",
            "ipoing": "0",
            "ipoable": "0",
            "storage": "0",
            "isLegalMoney": coin.kind == Asset.Kind.FIAT,
            "trading": True,
            "depositAllEnable": True,
            "withdrawAllEnable": True,
            "networkList": [],
        }
        for coin in Asset.objects.order_by("pk")
    ]


# --- Sub-accounts -------------------------------------------------------------------------------------


@endpoint(
    "POST /sapi/v1/sub-account/virtualSubAccount",
    words("subAccountString", longest=20, pattern="[A-Za-z0-9]+", required=True),
    permission=TRANSFER,
    example={"email": "trading1_virtual@12345678.invalid"},
)
def open_virtual(call: Call) -> Json:
    family.master_only(call)
    made = people.open_sub_account(
        customer_id=call.customer.pk,
        kind=Account.Kind.SUB_VIRTUAL,
        label=call["subAccountString"],
        actor=call.actor,
        at=call.at,
    )
    return {"email": made.email}


@endpoint(
    "GET /sapi/v3/sub-account/assets",
    email("email", required=True),
    weight=60,
    uid=True,
    example={"balances": [{"asset": "BTC", "free": 1.5, "locked": 0, "freeze": 0, "withdrawing": 0}]},
)
def assets_in_numbers(call: Call) -> Json:
    return {
        "balances": [
            {"asset": symbol, "free": number(amount), "locked": 0, "freeze": 0, "withdrawing": 0}
            for symbol, amount in _of_sub(call).items()
        ]
    }


@endpoint(
    "GET /sapi/v4/sub-account/assets",
    email("email", required=True),
    weight=60,
    uid=True,
    example={"balances": [{"asset": "BTC", "free": "1.5", "locked": "0", "freeze": "0", "withdrawing": "0"}]},
)
def assets_in_text(call: Call) -> Json:
    rows: list[dict[str, Any]] = [
        {"asset": symbol, "free": dec(amount), "locked": "0", "freeze": "0", "withdrawing": "0"}
        for symbol, amount in _of_sub(call).items()
    ]
    return {"balances": rows}


def _of_sub(call: Call) -> dict[str, Decimal]:
    family.master_only(call)
    return held(family.named(call, call["email"]))


def _catalogue() -> list[str]:
    return list(Asset.objects.order_by("pk").values_list("pk", flat=True))
