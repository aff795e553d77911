"""The fixed-rate market in the dialect: what is offered, and taking of it (R-VIP-26).

`requestId` and `requestNo` are both the supply order's own number. A taking is paid out at once or refused; interest is
charged by the day, so what is received is what is borrowed.
"""

from typing import Any, Final

from accounts.commands import NeedsApproval
from accounts.errors import Refused
from accounts.sapi import params
from accounts.sapi.errors import Denied
from accounts.sapi.params import Bad, Param
from accounts.sapi.registry import BORROW, Call, endpoint
from accounts.sapi.wire import Json, dec, rows
from loans import supply
from loans.matching import LONGEST_TERM, BadTaking, Taking, read_takings
from loans.sapi.codes import BAD_PARAMETER, NO_EARN, denied
from loans.sapi.dealing import EARN, MOST_ACCOUNTS, MOST_COINS
from loans.sapi.words import listed
from loans.supply import Standing
from loans.vip import market
from loans.vip.moves import TermsRefused

LONGEST_DURATION: Final = 10_000  # days asked about; longer ones than are offered find nothing
LAST_PAGE: Final = 1_000_000


def _takings(name: str) -> Param:
    def read(text: str) -> tuple[Taking, ...]:
        try:
            return read_takings(text)
        except BadTaking as refusal:
            raise Bad(BAD_PARAMETER, refusal.message) from None

    schema = {"type": "string", "pattern": r"^[0-9:;.eE+\-]{5,1000}$", "example": "7:0.05:1000;9:0.07:3000"}
    return Param(name, read, schema, required=True, about="requestId:rate:amount, joined by semicolons")


@endpoint(
    "GET /sapi/v1/loan/vip/fixed/market",
    params.symbol("loanCoin", required=True),
    params.whole("duration", low=1, high=LONGEST_DURATION, about="days"),
    params.whole("current", low=1, high=LAST_PAGE, default=1),
    params.whole("size", low=1, high=100, default=10),
    weight=6000,
    example={
        "total": 1,
        "rows": [
            {
                "requestId": 12345678,
                "requestNo": 12345678,
                "coin": "USDT",
                "interestRate": "0.05",
                "duration": 30,
                "minimumAmount": "100",
                "availableAmount": "1000000",
                "estimatedInterest": "4109.59",
            }
        ],
    },
)
def offers(call: Call) -> Json:
    """What can be taken now, the cheapest first; nothing while the coin's pool is empty. R-VIP-26

    `minimumAmount` is the least of one taking: all that is left, where that is less. `estimatedInterest` is of the
    whole `availableAmount` over the whole term.
    """
    found = supply.on_offer(at=call.at, asset=call["loanCoin"], term_days=call["duration"])
    if not any(amount > 0 for amount in supply.free([call["loanCoin"]]).values()):
        return rows([], 0)
    start = (call["current"] - 1) * call["size"]
    page = supply.standings(found[start : start + call["size"]])
    return rows([_row(each) for each in page], found.count())


@endpoint(
    "POST /sapi/v1/loan/vip/fixed/borrow",
    _takings("supplyRequest"),
    params.symbol("borrowCoin", required=True),
    params.whole("loanTerm", low=1, high=LONGEST_TERM, required=True, about="days"),
    params.identity("borrowUid", required=True, about="the account that receives the loan"),
    params.symbols("collateralCoin", most=MOST_COINS, required=True, earn=True),
    params.uids("collateralAccountId", most=MOST_ACCOUNTS, required=True),
    params.flag("autoRepay", default=True, about="false: it goes on at the flexible rate at its expiry"),
    permission=BORROW,
    weight=6000,
    uid=True,
    example={
        "borrowCoin": "USDT",
        "borrowAmount": "100.5",
        "actualReceivedAmount": "100.5",
        "collateralCoin": "BNB",
        "collateralAccountId": "12345678",
        "borrowInterestRate": "0.065",
        "duration": "30Days",
        "autoRepay": True,
        "orderId": 123456789,
        "status": "Succeeds",
    },
)
def take(call: Call) -> Json:
    """Take of one or several offers of a coin and a term, at the rates they have: one loan, paid out. R-VIP-26

    Raises:
        Denied: with the code of the first thing that stands in the way (loans/sapi/codes.py).
    """
    earning = [coin for coin in call["collateralCoin"] if coin.endswith(EARN)]
    if earning:
        raise Denied(NO_EARN, f"{earning[0]} cannot secure a loan here: only coins in Spot count.")
    takings: tuple[Taking, ...] = call["supplyRequest"]
    request = market.request_for(
        takings,
        asset=call["borrowCoin"],
        term_days=call["loanTerm"],
        customer_id=call.customer.pk,
        applicant_id=call.caller.user.pk,
        asked_by=call.account.pk,
        receiver_uid=call["borrowUid"],
        account_uids=call["collateralAccountId"],
        coins=call["collateralCoin"],
        contact=call.caller.user.email,
        auto_repay=call["autoRepay"],
    )
    try:
        loan = market.take(request=request, takings=takings, actor=call.actor, at=call.at)
    except TermsRefused as refusal:
        raise denied(refusal) from None
    except NeedsApproval:
        raise Denied(
            Refused.sapi, "Your firm asks for two people to apply: take it on the website."
        ) from None
    return {
        "borrowCoin": loan.asset_id,
        "borrowAmount": dec(loan.amount),
        "actualReceivedAmount": dec(loan.amount),
        "collateralCoin": listed(call["collateralCoin"]),
        "collateralAccountId": listed(call["collateralAccountId"]),
        "borrowInterestRate": dec(loan.annual_rate),
        "duration": f"{loan.term_days}Days",
        "autoRepay": call["autoRepay"],
        "orderId": loan.pk,
        "status": "Succeeds",
    }


def _row(each: Standing) -> dict[str, Any]:
    order = each.order
    return {
        "requestId": order.pk,
        "requestNo": order.pk,
        "coin": order.asset_id,
        "interestRate": dec(order.annual_rate),
        "duration": order.term_days,
        "minimumAmount": dec(each.least),
        "availableAmount": dec(each.available),
        "estimatedInterest": dec(each.interest),
    }
