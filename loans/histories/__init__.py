"""The borrower's histories: every list of R-GEN-90, read the same way by pages, files and APIs.

Each list takes whose rows (`Scope`) and which (`Asked`), and gives one page of typed rows with the number of all.
A client's manager and the staff ask with the client's whole scope.
"""

from loans.histories.adjustments import Adjustment, Effect, adjustments
from loans.histories.charges import InterestRow, Repayment, interest, repayments
from loans.histories.flows import Flow, Income, all_flows, flows, totals
from loans.histories.orders import (
    CollateralRow,
    OrderRow,
    RenewalRow,
    RequestLine,
    collateral,
    liquidations,
    locked_value,
    ongoing,
    order_rows,
    orders,
    renewals,
    requests,
)
from loans.histories.scope import (
    DEFAULT_DAYS,
    MOST_DAYS,
    MOST_INTEREST_DAYS,
    MOST_ROWS,
    Asked,
    BadPage,
    BadPeriod,
    Part,
    Scope,
    TooLong,
    period,
)

__all__ = [
    "Adjustment",
    "Asked",
    "BadPage",
    "BadPeriod",
    "CollateralRow",
    "DEFAULT_DAYS",
    "Effect",
    "Flow",
    "Income",
    "InterestRow",
    "MOST_DAYS",
    "MOST_INTEREST_DAYS",
    "MOST_ROWS",
    "OrderRow",
    "Part",
    "RenewalRow",
    "Repayment",
    "RequestLine",
    "Scope",
    "TooLong",
    "adjustments",
    "all_flows",
    "collateral",
    "flows",
    "interest",
    "liquidations",
    "locked_value",
    "ongoing",
    "order_rows",
    "orders",
    "period",
    "renewals",
    "repayments",
    "requests",
    "totals",
]
