"""The borrower's orders, requests and histories in the dialect: GET /sapi/v1/loan/vip/... (R-GEN-90…92, R-GEN-95)."""

from typing import Any

from accounts.sapi import params
from accounts.sapi.registry import Call, endpoint
from accounts.sapi.wire import Json, dec, ms, ms_text, rows
from loans import histories
from loans.histories import Asked, InterestRow, OrderRow, Repayment, RequestLine
from loans.sapi.asking import (
    CURRENT,
    END,
    LIMIT,
    LOAN_COIN,
    ORDER,
    START,
    ever,
    page,
    scope_of,
    window,
)
from loans.sapi.words import listed, ltv, term

_SECURED_BY = params.identity("collateralAccountId")
_SECURED_WITH = params.symbols("collateralCoin", most=100, earn=True, about="orders that any of them secures")


@endpoint(
    "GET /sapi/v1/loan/vip/ongoing/orders",
    ORDER,
    _SECURED_BY,
    LOAN_COIN,
    _SECURED_WITH,
    CURRENT,
    LIMIT,
    weight=400,
    example={
        "rows": [
            {
                "orderId": 100000001,
                "loanCoin": "USDT",
                "totalDebt": "10000",
                "loanRate": "0.0123",
                "residualInterest": "10.27687923",
                "collateralAccountId": "12345678,23456789",
                "collateralCoin": "BNB,BTC,ETH",
                "totalCollateralValueAfterHaircut": "25000.27",
                "lockedCollateralValue": "25000.27",
                "currentLTV": "0.57",
                "expirationTime": 1767225600000,
                "loanDate": "1767225600000",
                "loanTerm": "30days",
            }
        ],
        "total": 1,
    },
)
def ongoing_orders(call: Call) -> Json:
    """Orders that owe something. `totalDebt` repays the order in full now: before its first 00:00 UTC it has the
    one day in it that a loan pays at least (R-VIP-31), and so has `residualInterest`.

    `currentLTV` is 999 where nothing secures the order. `expirationTime` is 0 for an open term. R-GEN-91
    """
    asked = ever(
        coin=call["loanCoin"] or "",
        loan=call["orderId"],
        secured_by=call["collateralAccountId"],
        secured_with=call["collateralCoin"] or (),
        **page(call),
    )
    found = histories.ongoing(scope_of(call), asked, at=call.at)
    return rows([_order(row) for row in found.rows], found.total)


@endpoint(
    "GET /sapi/v1/loan/vip/repay/history",
    ORDER,
    LOAN_COIN,
    START,
    END,
    CURRENT,
    LIMIT,
    weight=400,
    example={
        "rows": [
            {
                "loanCoin": "USDT",
                "repayAmount": "100",
                "repayPrincipal": "99",
                "repayInterest": "1",
                "collateralCoin": "BTC",
                "repayStatus": "Repaid",
                "loanDate": "1767225600000",
                "repayTime": "1767225600000",
                "orderId": "756783308056935",
            }
        ],
        "total": 1,
    },
)
def repay_history(call: Call) -> Json:
    """What was paid, newest first: 90 days unless said, 180 at most. Interest has the late fee in it. R-GEN-92"""
    found = histories.repayments(scope_of(call), _in_window(call))
    return rows([_repayment(row) for row in found.rows], found.total)


@endpoint(
    "GET /sapi/v1/loan/vip/accruedInterest",
    ORDER,
    LOAN_COIN,
    START,
    END,
    CURRENT,
    LIMIT,
    weight=400,
    example={
        "rows": [
            {
                "loanCoin": "USDT",
                "principalAmount": "10000",
                "interestAmount": "1.2",
                "annualInterestRate": "0.001273",
                "accrualTime": 1767225600000,
                "orderId": 756783308056935,
            }
        ],
        "total": 1,
    },
)
def accrued_interest(call: Call) -> Json:
    """Each day's charge, late fee included, newest first; 90 days at most. `orderId` is the order that the loan runs
    as now, and asking for it finds the days of the orders it renewed too. R-VIP-33, R-VIP-42
    """
    asked = _in_window(call, most_days=histories.MOST_INTEREST_DAYS)
    found = histories.interest(scope_of(call), asked)
    return rows([_charge(row) for row in found.rows], found.total)


@endpoint(
    "GET /sapi/v1/loan/vip/collateral/account",
    ORDER,
    _SECURED_BY,
    weight=6000,
    example={"rows": [{"collateralAccountId": "12345678", "collateralCoin": "BNB,BTC"}], "total": 1},
)
def collateral_accounts(call: Call) -> Json:
    """The accounts bound as collateral, each with the coins it is bound with; all of them, unpaged. R-GEN-95"""
    found: list[dict[str, Any]] = []
    number, total = 1, 1
    while len(found) < total:
        asked = ever(
            loan=call["orderId"],
            secured_by=call["collateralAccountId"],
            page=number,
            size=histories.MOST_ROWS,
        )
        part = histories.collateral(scope_of(call), asked, at=call.at)
        if not part.rows:
            break
        found += [
            {"collateralAccountId": str(row.account.pk), "collateralCoin": listed(row.chosen)}
            for row in part.rows
        ]
        number, total = number + 1, part.total
    return rows(found, len(found))


@endpoint(
    "GET /sapi/v1/loan/vip/request/data",
    CURRENT,
    LIMIT,
    weight=400,
    uid=True,
    example={
        "rows": [
            {
                "loanAccountId": "12345678",
                "orderId": "12345678",
                "requestId": "12345678",
                "loanCoin": "BTC",
                "loanAmount": "100.55",
                "collateralAccountId": "1,2",
                "collateralCoin": "USDT",
                "loanTerm": "30",
                "status": "Pending",
                "loanDate": "1767225600000",
            }
        ],
        "total": 1,
    },
)
def request_data(call: Call) -> Json:
    """Each coin asked for and what became of it, newest first. `orderId` is empty while there is none; `loanDate` is
    when the order began, until then when it was asked for. R-VIP-12, R-GEN-92
    """
    found = histories.requests(scope_of(call), ever(**page(call)), at=call.at)
    return rows([_request(row) for row in found.rows], found.total)


# --- Private ----------------------------------------------------------------------------------------


def _in_window(call: Call, *, most_days: int = histories.MOST_DAYS) -> Asked:
    since, until = window(call, most_days=most_days)
    return Asked(since=since, until=until, coin=call["loanCoin"] or "", loan=call["orderId"], **page(call))


def _order(row: OrderRow) -> dict[str, Any]:
    loan, owes = row.loan, row.row
    return {
        "orderId": loan.pk,
        "loanCoin": loan.asset_id,
        "totalDebt": dec(owes.payoff),
        "loanRate": dec(row.annual_rate),
        "residualInterest": dec(owes.payoff - owes.owed.principal),
        "collateralAccountId": listed(row.collateral_accounts),
        "collateralCoin": listed(row.collateral_coins),
        "totalCollateralValueAfterHaircut": dec(row.collateral_value),
        "lockedCollateralValue": dec(row.locked_value),
        "currentLTV": ltv(row.ltv),
        "expirationTime": ms(row.expires_at),
        "loanDate": ms_text(row.loan_date),
        "loanTerm": term(row.term_days, suffix="days"),
    }


def _repayment(row: Repayment) -> dict[str, Any]:
    return {
        "loanCoin": row.asset.pk,
        "repayAmount": dec(row.total),
        "repayPrincipal": dec(row.principal),
        "repayInterest": dec(row.interest + row.late_fee),
        "collateralCoin": listed(row.secured_with),
        "repayStatus": row.status,
        "loanDate": ms_text(row.loan.drawn_at),
        "repayTime": ms_text(row.at),
        "orderId": str(row.loan.pk),
    }


def _charge(row: InterestRow) -> dict[str, Any]:
    """The one day that a loan pays at least has no period of its own: it is on the amount lent, at its first rate."""
    return {
        "loanCoin": row.asset.pk,
        "principalAmount": dec(row.loan.amount if row.basis is None else row.basis),
        "interestAmount": dec(row.interest + row.late_fee),
        "annualInterestRate": dec(row.loan.annual_rate if row.annual_rate is None else row.annual_rate),
        "accrualTime": ms(row.at),
        "orderId": row.latest,
    }


def _request(row: RequestLine) -> dict[str, Any]:
    application, loan = row.application, row.loan
    return {
        "loanAccountId": str(application.receiver_id),
        "orderId": "" if loan is None else str(loan.pk),
        "requestId": str(application.pk),
        "loanCoin": row.line.asset_id,
        "loanAmount": dec(row.line.amount),
        "collateralAccountId": listed(row.accounts),
        "collateralCoin": listed(row.coins),
        "loanTerm": term(row.term_days),
        "status": row.public_status,
        "loanDate": ms_text(application.submitted_at if loan is None else loan.drawn_at),
    }
