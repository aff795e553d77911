"""Histories of the exchange's retired stable-rate loans. This desk never made one, so every list is empty.

Clients still ask (SAPI has no call to find out first), and an error would stop them before the calls that matter.
"""

from typing import Final

from accounts.sapi import params
from accounts.sapi.registry import Call, endpoint
from accounts.sapi.wire import Json, rows
from loans.sapi.asking import CURRENT, END, LIMIT, LOAN_COIN, ORDER, START, window

MOST_INCOME_DAYS: Final = 30
INCOME: Final = (
    "borrowIn",
    "collateralSpent",
    "repayAmount",
    "collateralReturn",
    "addCollateral",
    "removeCollateral",
    "collateralReturnAfterLiquidation",
)
_COLLATERAL_COIN: Final = params.symbol("collateralCoin")
_LISTED: Final = (ORDER, LOAN_COIN, _COLLATERAL_COIN, START, END, CURRENT, LIMIT)


@endpoint(
    "GET /sapi/v1/loan/income",
    params.symbol("asset"),
    params.one_of("type", *INCOME),
    START,
    END,
    LIMIT,
    weight=6000,
    uid=True,
    example=[],
)
def income(call: Call) -> Json:
    """R-GEN-93; a period has at most 30 days."""
    window(call, most_days=MOST_INCOME_DAYS)
    return []


@endpoint("GET /sapi/v1/loan/borrow/history", *_LISTED, weight=400, example={"rows": [], "total": 0})
def borrow_history(call: Call) -> Json:
    return _none(call)


@endpoint("GET /sapi/v1/loan/repay/history", *_LISTED, weight=400, example={"rows": [], "total": 0})
def repay_history(call: Call) -> Json:
    return _none(call)


@endpoint("GET /sapi/v1/loan/ltv/adjustment/history", *_LISTED, weight=400, example={"rows": [], "total": 0})
def adjustment_history(call: Call) -> Json:
    return _none(call)


def _none(call: Call) -> Json:
    window(call)
    return rows([], 0)
