"""What each answer of the dialect must be made of, written down by hand from its specification, not from our code.

A key may be missing only where it ends in `?`. Text is text and a number a number: clients that check their answers
strictly take nothing else, and nowhere is there a null. Keys beyond these are allowed.
"""

import re
from http import HTTPStatus
from typing import Any, Final

S: Final = "text"
D: Final = "a decimal as text"
I: Final = "a whole number"  # noqa: E741
N: Final = "a number"
B: Final = "true or false"
T: Final = "milliseconds as a number"
TT: Final = "milliseconds as text"
Shape = Any

_DECIMAL: Final = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_MILLIS: Final = re.compile(r"[1-9]\d{12}")
MOST: Final = 2**53  # beyond it JavaScript's numbers lose digits


def rows(row: Shape) -> Shape:
    return {"rows": [row], "total": I}


def one_of(*words: str) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, words)))


APPLICATION = one_of(
    "Accruing_Interest", "Overdue", "Liquidating", "Repaying", "Repaid", "Liquidated", "Pending", "Failed"
)
REPAYMENT = one_of("Repaid", "Repaying", "Failed")
LOANABLE = ("flexible", "30d", "60d")
TIERS = ("1st", "2nd", "3rd", "4th")
BALANCE = {"asset": S, "free": D, "locked": D}

SHAPES: Final[dict[str, Shape]] = {
    # -- VIP Loan
    "GET /sapi/v1/loan/vip/ongoing/orders": rows(
        {
            "orderId": I,
            "loanCoin": S,
            "totalDebt": D,
            "loanRate": S,
            "residualInterest": D,
            "collateralAccountId": S,
            "collateralCoin": S,
            "totalCollateralValueAfterHaircut": D,
            "lockedCollateralValue": D,
            "currentLTV": D,
            "expirationTime": T,
            "loanDate": TT,
            "loanTerm": re.compile(r"\d+days|open term"),
        }
    ),
    "GET /sapi/v1/loan/vip/repay/history": rows(
        {
            "loanCoin": S,
            "repayAmount": D,
            "repayPrincipal": D,
            "repayInterest": D,
            "collateralCoin": S,
            "repayStatus": REPAYMENT,
            "loanDate": TT,
            "repayTime": TT,
            "orderId": S,
        }
    ),
    "GET /sapi/v1/loan/vip/accruedInterest": rows(
        {
            "loanCoin": S,
            "principalAmount": D,
            "interestAmount": D,
            "annualInterestRate": D,
            "accrualTime": T,
            "orderId": I,
        }
    ),
    "GET /sapi/v1/loan/vip/collateral/account": rows({"collateralAccountId": S, "collateralCoin": S}),
    "GET /sapi/v1/loan/vip/request/data": rows(
        {
            "loanAccountId": S,
            "orderId": S,
            "requestId": S,
            "loanCoin": S,
            "loanAmount": D,
            "collateralAccountId": S,
            "collateralCoin": S,
            "loanTerm": S,
            "status": APPLICATION,
            "loanDate": TT,
        }
    ),
    "GET /sapi/v1/loan/vip/request/interestRate": [
        {
            "asset": S,
            "flexibleDailyInterestRate": D,
            "flexibleYearlyInterestRate": D,
            "flexibleHourlyInterestRate": D,
            "time": T,
        }
    ],
    "GET /sapi/v1/loan/vip/interestRateHistory": rows({"coin": S, "annualizedInterestRate": D, "time": T}),
    "GET /sapi/v1/loan/vip/loanable/data": rows(
        {"loanCoin": S}
        | {f"_{term}{period}InterestRate?": D for term in LOANABLE for period in ("Daily", "Yearly")}
        | {"minLimit": D, "maxLimit": D, "vipLevel": I}
    ),
    "GET /sapi/v1/loan/vip/collateral/data": rows(
        {"collateralCoin": S}
        | {f"_{tier}CollateralRatio": re.compile(r"\d+(\.\d+)?%") for tier in TIERS}
        | {f"_{tier}CollateralRange": re.compile(r"\d+(\.\d+)?-\d+(\.\d+)?|>\d+(\.\d+)?") for tier in TIERS}
    ),
    "GET /sapi/v1/loan/vip/fixed/market": rows(
        {
            "requestId": I,
            "requestNo": I,
            "coin": S,
            "interestRate": D,
            "duration": I,
            "minimumAmount": D,
            "availableAmount": D,
            "estimatedInterest": D,
        }
    ),
    "POST /sapi/v1/loan/vip/borrow": {
        "loanAccountId": S,
        "requestId": S,
        "loanCoin": S,
        "isFlexibleRate": one_of("Yes", "No"),
        "loanAmount": D,
        "collateralAccountId": S,
        "collateralCoin": S,
        "loanTerm?": S,
    },
    "POST /sapi/v1/loan/vip/fixed/borrow": {
        "borrowCoin": S,
        "borrowAmount": D,
        "actualReceivedAmount": D,
        "collateralCoin": S,
        "collateralAccountId": S,
        "borrowInterestRate": D,
        "duration": re.compile(r"\d+Days"),
        "autoRepay": B,
        "orderId": I,
        "status": one_of("Succeeds", "Failed", "Processing"),
    },
    "POST /sapi/v1/loan/vip/renew": {
        "loanAccountId": S,
        "loanCoin": S,
        "loanAmount": D,
        "collateralAccountId": S,
        "collateralCoin": S,
        "loanTerm": S,
    },
    "POST /sapi/v1/loan/vip/repay": {
        "loanCoin": S,
        "repayAmount": D,
        "remainingPrincipal": D,
        "remainingInterest": D,
        "collateralCoin": S,
        "currentLTV": D,
        "repayStatus": REPAYMENT,
    },
    # -- Stable-rate loans: nothing was ever lent so here
    "GET /sapi/v1/loan/income": [{"asset": S, "type": S, "amount": D, "timestamp": T, "tranId": S}],
    "GET /sapi/v1/loan/borrow/history": rows({"orderId": I, "loanCoin": S}),
    "GET /sapi/v1/loan/repay/history": rows({"orderId": I, "loanCoin": S}),
    "GET /sapi/v1/loan/ltv/adjustment/history": rows({"orderId": I, "loanCoin": S}),
    # -- Sub-accounts
    "POST /sapi/v1/sub-account/universalTransfer": {"tranId": I, "clientTranId?": S},
    "GET /sapi/v1/sub-account/universalTransfer": {
        "result": [
            {
                "tranId": I,
                "fromEmail": S,
                "toEmail": S,
                "asset": S,
                "amount": D,
                "createTimeStamp": T,
                "fromAccountType": S,
                "toAccountType": S,
                "status": one_of("SUCCESS"),
                "clientTranId?": S,
            }
        ],
        "totalCount": I,
    },
    "GET /sapi/v1/sub-account/list": {
        "subAccounts": [
            {
                "subUserId": I,
                "email": S,
                "remark": S,
                "isFreeze": B,
                "createTime": T,
                "isManagedSubAccount": B,
                "isAssetManagementSubAccount": B,
            }
        ]
    },
    "POST /sapi/v1/sub-account/virtualSubAccount": {"email": S},
    "POST /sapi/v1/sub-account/transfer/subToMaster": {"txnId": S},
    "POST /sapi/v1/sub-account/transfer/subToSub": {"txnId": S},
    "GET /sapi/v1/sub-account/transfer/subUserHistory": [
        {"counterParty": S, "email": S, "type": I, "asset": S, "qty": D, "status": S, "tranId": I, "time": T}
    ],
    "GET /sapi/v1/sub-account/sub/transfer/history": [
        {"from": S, "to": S, "asset": S, "qty": D, "status": S, "tranId": I, "time": T}
    ],
    "GET /sapi/v3/sub-account/assets": {"balances": [{"asset": S, "free": N, "locked": N}]},
    "GET /sapi/v4/sub-account/assets": {"balances": [BALANCE]},
    "GET /sapi/v1/sub-account/spotSummary": {
        "totalCount": I,
        "masterAccountTotalAsset": D,
        "spotSubUserAssetBtcVoList": [{"email": S, "totalAsset": D}],
    },
    # -- Wallets and transfers
    "POST /sapi/v1/asset/transfer": {"tranId": I},
    "GET /sapi/v1/asset/transfer": {
        "total": I,
        "rows?": [
            {"asset": S, "amount": D, "type": S, "status": one_of("CONFIRMED"), "tranId": I, "timestamp": T}
        ],
    },
    "POST /sapi/v3/asset/getUserAsset": [
        BALANCE | {"freeze": D, "withdrawing": D, "ipoable": D, "btcValuation": D}
    ],
    "POST /sapi/v1/asset/get-funding-asset": [BALANCE | {"freeze": D, "withdrawing": D, "btcValuation": D}],
    "GET /sapi/v1/asset/wallet/balance": [{"activate": B, "balance": D, "walletName": S}],
    "POST /sapi/v1/capital/withdraw/apply": {"id": S},
    "GET /sapi/v1/capital/withdraw/history": [
        {
            "id": S,
            "amount": D,
            "transactionFee": D,
            "coin": S,
            "status": I,
            "address": S,
            "txId": S,
            "applyTime": re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"),
            "network": S,
            "transferType": I,
        }
    ],
    "GET /sapi/v1/capital/config/getall": [
        {"coin": S, "name": S, "free": D, "locked": D, "freeze": D, "withdrawing": D, "networkList": [{}]}
    ],
    # -- The account
    "GET /sapi/v1/account/info": {"vipLevel": I, "isMarginEnabled": B},
    "GET /sapi/v1/account/status": {"data": one_of("Normal")},
    "GET /sapi/v1/account/apiRestrictions": {
        "ipRestrict": B,
        "createTime": T,
        "enableReading": B,
        "enableSpotAndMarginTrading": B,
        "enableWithdrawals": B,
        "permitsUniversalTransfer": B,
    },
    "GET /sapi/v1/system/status": {"status": I, "msg": one_of("normal", "system_maintenance")},
    # -- Margin's general ones
    "GET /sapi/v1/margin/allAssets": [
        {
            "assetFullName": S,
            "assetName": S,
            "isBorrowable": B,
            "isMortgageable": B,
            "userMinBorrow": D,
            "userMinRepay": D,
        }
    ],
    "GET /sapi/v1/margin/allPairs": [
        {
            "base": S,
            "id": I,
            "isBuyAllowed": B,
            "isMarginTrade": B,
            "isSellAllowed": B,
            "quote": S,
            "symbol": S,
        }
    ],
    "GET /sapi/v1/margin/isolated/allPairs": [
        {"base": S, "isBuyAllowed": B, "isMarginTrade": B, "isSellAllowed": B, "quote": S, "symbol": S}
    ],
    "GET /sapi/v1/margin/priceIndex": {"calcTime": T, "price": D, "symbol": S},
    "GET /sapi/v1/margin/crossMarginCollateralRatio": [
        {
            "collaterals": [{"minUsdValue": D, "maxUsdValue?": D, "discountRate": D}],
            "assetNames": [S],
            "withdrawCollaterals?": [{}],
            "borrowCollaterals?": [{}],
        }
    ],
    # -- Spot's general ones
    "GET /api/v3/ping": {},
    "GET /api/v3/time": {"serverTime": T},
    "GET /api/v3/exchangeInfo": {
        "timezone": S,
        "serverTime": T,
        "rateLimits": [{"rateLimitType": S, "interval": S, "intervalNum": I, "limit": I}],
        "exchangeFilters": [S],
        "symbols": [{"symbol": S, "status": S, "baseAsset": S, "quoteAsset": S}],
    },
    "GET /api/v3/account": {
        "makerCommission": I,
        "takerCommission": I,
        "buyerCommission": I,
        "sellerCommission": I,
        "commissionRates": {"maker": D, "taker": D, "buyer": D, "seller": D},
        "canTrade": B,
        "canWithdraw": B,
        "canDeposit": B,
        "brokered": B,
        "requireSelfTradePrevention": B,
        "preventSor": B,
        "updateTime": N,
        "accountType": S,
        "balances": [BALANCE],
        "permissions": [S],
        "uid": I,
    },
}


def check(line: dict[str, Any]) -> None:
    """An answer as it was recorded is of its endpoint's shape, or a refusal of the dialect's."""
    what, body = line["endpoint"], line["body"]
    assert line["type"].startswith("application/json"), f"{what} answered {line['type']}"
    if line["status"] == HTTPStatus.OK:
        assert what in SHAPES, f"{what} has no shape here: write it down from the specification"
        found = list(_misfits(body, SHAPES[what], ""))
        assert not found, f"{what} is not of its shape: {found[:5]} in {str(body)[:500]}"
        assert not (isinstance(body, dict) and ({"code"} & set(body) or body.get("success") is False)), body
    else:
        assert 400 <= line["status"] < 500, f"{what} failed: {line}"
        assert set(body) == {"code", "msg"}, f"{what}: {body}"
        assert isinstance(body["code"], int), body
        assert body["code"] < 0, body
        assert body["msg"], body
        assert len(str(body)) <= 1024, body


def _misfits(value: Any, shape: Shape, where: str) -> list[str]:
    """Every place at which the value is not of the shape."""
    if isinstance(shape, dict):
        return _misfit_keys(value, shape, where) if isinstance(value, dict) else [f"{where} is no object"]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return [f"{where} is no array"]
        return [
            misfit
            for number, one in enumerate(value)
            for misfit in _misfits(one, shape[0], f"{where}[{number}]")
        ]
    return [] if _fits(value, shape) else [f"{where} is {value!r}, not {shape}"]


def _misfit_keys(value: dict[str, Any], shape: dict[str, Shape], where: str) -> list[str]:
    found = [f"{where}.{name} is null" for name, one in value.items() if one is None]
    for name, inner in shape.items():
        key = name.removesuffix("?")
        if key in value:
            found += _misfits(value[key], inner, f"{where}.{key}")
        elif name == key:
            found.append(f"{where}.{key} is missing")
    return found


def _fits(value: Any, shape: Shape) -> bool:
    if isinstance(shape, re.Pattern):
        return isinstance(value, str) and shape.fullmatch(value) is not None
    if shape in (S, D, TT):
        pattern = {S: re.compile(".*"), D: _DECIMAL, TT: _MILLIS}[shape]
        return isinstance(value, str) and pattern.fullmatch(value) is not None
    if shape == B:
        return isinstance(value, bool)
    if isinstance(value, bool):
        return False
    if shape == N:
        return isinstance(value, int | float)
    is_whole = isinstance(value, int) and 0 <= value < MOST
    return is_whole and (shape == I or value == 0 or len(str(value)) == 13)
