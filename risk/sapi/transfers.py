"""Transfers: between the wallets of the key's account, and between the accounts of one customer. All by the gate.

Kinds of account that the exchange has and this desk has not (margin, futures, options) answer with its own codes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from accounts.models import Account, LedgerAccount
from accounts.sapi import family
from accounts.sapi.errors import BAD_COMBINATION, Denied
from accounts.sapi.params import Param, amount, email, one_of, symbol
from accounts.sapi.registry import TRANSFER, Call, endpoint
from accounts.sapi.wire import Json
from risk import gate
from risk.groups import NotPermitted, PriceTooOld
from risk.models import Movement
from risk.pages.movements import NOT_TOLD
from risk.sapi.client_ids import TRANSFERS, client_id

SPOT: Final = LedgerAccount.Kind.SPOT
FUNDING: Final = LedgerAccount.Kind.FUNDING
NOT_REQUIRED: Final = -1106
NO_MARGIN_ACCOUNT: Final = -3003
TRANSFER_FAILED: Final = -5010
NO_FUTURES_ACCOUNT: Final = -5011
WAYS: Final = {"MAIN_FUNDING": (SPOT, FUNDING), "FUNDING_MAIN": (FUNDING, SPOT)}
_ELSEWHERE: Final = (
    *("MAIN_UMFUTURE", "MAIN_CMFUTURE", "MAIN_MARGIN", "UMFUTURE_MAIN", "UMFUTURE_MARGIN", "CMFUTURE_MAIN"),
    *("CMFUTURE_MARGIN", "MARGIN_MAIN", "MARGIN_UMFUTURE", "MARGIN_CMFUTURE", "ISOLATEDMARGIN_MARGIN"),
    *("MARGIN_ISOLATEDMARGIN", "ISOLATEDMARGIN_ISOLATEDMARGIN", "FUNDING_UMFUTURE", "UMFUTURE_FUNDING"),
    *(
        "MARGIN_FUNDING",
        "FUNDING_MARGIN",
        "FUNDING_CMFUTURE",
        "CMFUTURE_FUNDING",
        "MAIN_OPTION",
        "OPTION_MAIN",
    ),
    *("UMFUTURE_OPTION", "OPTION_UMFUTURE", "MARGIN_OPTION", "OPTION_MARGIN", "FUNDING_OPTION"),
    *("OPTION_FUNDING", "MAIN_PORTFOLIO_MARGIN", "PORTFOLIO_MARGIN_MAIN"),
)
PAIRS: Final = (symbol("fromSymbol"), symbol("toSymbol"))  # of isolated margin, which there is none of
_KINDS: Final = ("SPOT", "USDT_FUTURE", "COIN_FUTURE", "MARGIN", "ISOLATED_MARGIN", "ALPHA")


def kind_of_way(name: str = "type") -> Param:
    """The exchange's whole list: a word that is not in it is bad input, one for what is not here is refused."""
    return one_of(name, *WAYS, *_ELSEWHERE, required=True)


@contextmanager
def discreet(call: Call) -> Iterator[None]:
    """A refusal tells a key of one account nothing of the loan that the account secures. R-GEN-95"""
    try:
        yield
    except (NotPermitted, PriceTooOld) as refusal:
        if call.caller.only is not None:
            refusal.message = NOT_TOLD
        raise


@endpoint(
    "POST /sapi/v1/asset/transfer",
    kind_of_way(),
    symbol("asset", required=True),
    amount("amount", required=True),
    *PAIRS,
    permission=TRANSFER,
    weight=300,
    uid=True,
    example={"tranId": 4711},
)
def between_wallets(call: Call) -> Json:
    way = WAYS.get(call["type"])
    if way is None:
        _refuse_kind(call["type"])
        raise AssertionError("unreachable")
    _refuse_pairs(call, "fromSymbol", "toSymbol")
    source_wallet, target_wallet = way
    row = _moved(
        call,
        source=call.account,
        target=call.account,
        source_wallet=source_wallet,
        target_wallet=target_wallet,
    )
    return {"tranId": row.pk}


@endpoint(
    "POST /sapi/v1/sub-account/universalTransfer",
    email("fromEmail"),
    email("toEmail"),
    one_of("fromAccountType", *_KINDS, required=True),
    one_of("toAccountType", *_KINDS, required=True),
    client_id("clientTranId"),
    symbol("symbol"),
    symbol("asset", required=True),
    amount("amount", required=True),
    permission=TRANSFER,
    weight=360,
    uid=True,
    example={"tranId": 4711, "clientTranId": "mine-1"},
)
def between_accounts(call: Call) -> Json:
    """Without an address it is the master's account that gives, or takes."""
    family.master_only(call)
    for side in ("fromAccountType", "toAccountType"):
        if call[side] != "SPOT":
            _refuse_kind(call[side])
    _refuse_pairs(call, "symbol")
    if call["fromEmail"] is None and call["toEmail"] is None:
        raise Denied(
            BAD_COMBINATION, "Send fromEmail or toEmail: the master's account gives to itself otherwise."
        )
    own = call.account
    row = _moved(
        call,
        source=own if call["fromEmail"] is None else family.named(call, call["fromEmail"]),
        target=own if call["toEmail"] is None else family.named(call, call["toEmail"]),
        key=TRANSFERS.key(call, call["clientTranId"]),
    )
    return {"tranId": row.pk, "clientTranId": call["clientTranId"] or ""}


@endpoint(
    "POST /sapi/v1/sub-account/transfer/subToMaster",
    symbol("asset", required=True),
    amount("amount", required=True),
    permission=TRANSFER,
    example={"txnId": "4711"},
)
def to_master(call: Call) -> Json:
    family.sub_only(call)
    return {"txnId": str(_moved(call, source=call.account, target=family.master_of(call)).pk)}


@endpoint(
    "POST /sapi/v1/sub-account/transfer/subToSub",
    email("toEmail", required=True),
    symbol("asset", required=True),
    amount("amount", required=True),
    permission=TRANSFER,
    example={"txnId": "4711"},
)
def to_sibling(call: Call) -> Json:
    family.sub_only(call)
    return {"txnId": str(_moved(call, source=call.account, target=family.named(call, call["toEmail"])).pk)}


def _moved(
    call: Call,
    *,
    source: Account,
    target: Account,
    source_wallet: str = SPOT,
    target_wallet: str = SPOT,
    key: str = "",
) -> Movement:
    with discreet(call):
        return gate.transfer(
            source_uid=source.pk,
            source_wallet=source_wallet,
            target_uid=target.pk,
            target_wallet=target_wallet,
            asset=call["asset"],
            amount=call["amount"],
            actor=call.actor,
            at=call.at,
            key=key,
        )


def _refuse_pairs(call: Call, *names: str) -> None:
    for name in names:
        if call[name] is not None:
            raise Denied(NOT_REQUIRED, f"Parameter '{name}' sent when not required.")


def _refuse_kind(kind: str) -> None:
    if "FUTURE" in kind:
        raise Denied(NO_FUTURES_ACCOUNT, "Futures account does not exist: this desk has none.")
    if "MARGIN" in kind:
        raise Denied(NO_MARGIN_ACCOUNT, "Margin account does not exist: this desk has none.")
    raise Denied(TRANSFER_FAILED, "Asset transfer fail: this desk has Spot and Funding wallets only.")
