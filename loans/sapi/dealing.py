"""Asking for a loan, renewing and repaying it in the dialect: POST /sapi/v1/loan/vip/... Each is one command.

Only a key of the master account borrows (R-VIP-02); which of the firm's people stands behind it is asked by the
commands, as on the pages.
"""

from decimal import Decimal
from typing import Any, Final

from accounts.commands import NeedsApproval
from accounts.sapi import params
from accounts.sapi.errors import MISSING, Denied
from accounts.sapi.registry import BORROW, Call, endpoint
from accounts.sapi.wire import Json, dec
from loans.histories import OrderRow
from loans.models import RateType
from loans.sapi.asking import order_of
from loans.sapi.codes import NO_EARN, denied
from loans.sapi.words import listed, ltv, term
from loans.vip import applications, renewal, repayment
from loans.vip.eligibility import LONGEST_CONTACT
from loans.vip.moves import TermsRefused
from loans.vip.terms import Request, Wish
from risk import book

MOST_ACCOUNTS: Final = 50  # R-VIP-04
MOST_COINS: Final = 100
LONGEST_TERM: Final = 365  # days; which of them are lent is the command's question
EARN: Final = "-Earn"
_ORDER: Final = params.identity("orderId", required=True)


@endpoint(
    "POST /sapi/v1/loan/vip/borrow",
    params.identity("loanAccountId", required=True, about="the account that receives the loan"),
    params.symbol("loanCoin", required=True),
    params.amount("loanAmount", required=True),
    params.uids("collateralAccountId", most=MOST_ACCOUNTS, required=True),
    params.symbols("collateralCoin", most=MOST_COINS, required=True, earn=True),
    params.flag("isFlexibleRate", required=True),
    params.whole("loanTerm", low=1, high=LONGEST_TERM, about="days; needed for a fixed rate"),
    permission=BORROW,
    weight=6000,
    uid=True,
    example={
        "loanAccountId": "12345678",
        "requestId": "12345678",
        "loanCoin": "BTC",
        "isFlexibleRate": "No",
        "loanAmount": "100.55",
        "collateralAccountId": "1,2",
        "collateralCoin": "USDT,ETH",
        "loanTerm": "30",
    },
)
def borrow(call: Call) -> Json:
    """Ask for a loan at the published terms; the order appears in request/data and ongoing/orders. R-VIP-10…12

    A flexible rate runs for `loanTerm` days, or is open without one. R-VIP-20, R-VIP-21

    Raises:
        Denied: with the code of the first thing that stands in the way (loans/sapi/codes.py).
    """
    if not call["isFlexibleRate"] and call["loanTerm"] is None:
        raise Denied(MISSING, "Mandatory parameter 'loanTerm' was not sent: a fixed rate has a term of days.")
    earning = [coin for coin in call["collateralCoin"] if coin.endswith(EARN)]
    if earning:
        raise Denied(NO_EARN, f"{earning[0]} cannot secure a loan here: only coins in Spot count.")
    try:
        made = applications.submit(request=_request(call), actor=call.actor, at=call.at)
    except TermsRefused as refusal:
        raise denied(refusal) from None
    except NeedsApproval:
        raise Denied(
            NeedsApproval.sapi, "Your firm asks for two people to apply: send this request on the website."
        ) from None
    told: dict[str, Any] = {
        "loanAccountId": str(call["loanAccountId"]),
        "requestId": str(made.pk),
        "loanCoin": call["loanCoin"],
        "isFlexibleRate": "Yes" if call["isFlexibleRate"] else "No",
        "loanAmount": dec(call["loanAmount"]),
        "collateralAccountId": listed(call["collateralAccountId"]),
        "collateralCoin": listed(call["collateralCoin"]),
    }
    return told if call["isFlexibleRate"] else told | {"loanTerm": str(call["loanTerm"])}


@endpoint(
    "POST /sapi/v1/loan/vip/renew",
    _ORDER,
    params.whole("loanTerm", low=1, high=LONGEST_TERM, required=True, about="days: 30 or 60"),
    permission=BORROW,
    weight=6000,
    uid=True,
    example={
        "loanAccountId": "12345678",
        "loanCoin": "BTC",
        "loanAmount": "100.55",
        "collateralAccountId": "1,2",
        "collateralCoin": "USDT",
        "loanTerm": "30",
    },
)
def renew(call: Call) -> Json:
    """Pay the interest from Spot and run on for another term, as a new order. R-VIP-40…42"""
    found = order_of(call, call["orderId"])
    made = renewal.renew(
        loan_id=found.loan.pk,
        term_days=call["loanTerm"],
        asked_by=call.account.pk,
        actor=call.actor,
        at=call.at,
    )
    row = order_of(call, made.pk)
    return {
        "loanAccountId": str(row.loan.group.receiver_id),
        "loanCoin": row.loan.asset_id,
        "loanAmount": dec(row.loan.amount),
        "collateralAccountId": listed(row.collateral_accounts),
        "collateralCoin": listed(row.collateral_coins),
        "loanTerm": term(row.term_days),
    }


@endpoint(
    "POST /sapi/v1/loan/vip/repay",
    _ORDER,
    params.amount("amount", required=True),
    permission=BORROW,
    weight=6000,
    uid=True,
    example={
        "loanCoin": "USDT",
        "repayAmount": "200.5",
        "remainingPrincipal": "100.5",
        "remainingInterest": "0",
        "collateralCoin": "BNB",
        "currentLTV": "0.25",
        "repayStatus": "Repaid",
    },
)
def repay(call: Call) -> Json:
    """Pay part or all from Spot, then Fiat, of the loan's coin; `totalDebt` of ongoing/orders is all. R-VIP-34

    Late fee first, then interest, then principal. `currentLTV` is of the whole group afterwards. R-GEN-51, R-GEN-12
    """
    before = order_of(call, call["orderId"])
    repayment.repay(loan_id=before.loan.pk, amount=call["amount"], actor=call.actor, at=call.at)
    after = order_of(call, before.loan.pk)
    return {
        "loanCoin": after.loan.asset_id,
        "repayAmount": dec(call["amount"]),
        "remainingPrincipal": dec(after.row.owed.principal),
        "remainingInterest": dec(after.row.payoff - after.row.owed.principal),
        "collateralCoin": listed(before.collateral_coins),
        "currentLTV": ltv(_group_ltv(after, call)),
        "repayStatus": "Repaying" if after.row.is_open else "Repaid",
    }


# --- Private ----------------------------------------------------------------------------------------


def _request(call: Call) -> Request:
    """Who made the key answers for what it asks."""
    is_flexible = call["isFlexibleRate"]
    return Request(
        customer_id=call.customer.pk,
        applicant_id=call.caller.user.pk,
        receiver_uid=call["loanAccountId"],
        account_uids=call["collateralAccountId"],
        coins=call["collateralCoin"],
        wishes=(Wish(call["loanCoin"], call["loanAmount"]),),
        rate_type=RateType.FLEXIBLE if is_flexible else RateType.FIXED,
        term_days=call["loanTerm"],
        contact=call.caller.user.email[:LONGEST_CONTACT],
        purpose=f"Asked for by a program, with the API key named {call.caller.key.label}.",
        asked_by=call.account.pk,
    )


def _group_ltv(row: OrderRow, call: Call) -> Decimal | None:
    if row.row.is_open:
        return row.ltv
    return book.state_of(row.loan.group, at=call.at).worth(permission=False).ltv
