"""What the loan endpoints ask alike: whose rows, of which time, which page. R-GEN-90, R-GEN-95"""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from accounts.sapi import params
from accounts.sapi.errors import Denied
from accounts.sapi.registry import Call
from loans import histories
from loans.histories import Asked, OrderRow, Scope
from loans.sapi.codes import NO_SUCH_ORDER

ORDER: Final = params.identity("orderId")
LOAN_COIN: Final = params.symbol("loanCoin")
START, END = params.millis("startTime"), params.millis("endTime")
CURRENT: Final = params.whole("current", low=1, high=1000, default=1)
LIMIT: Final = params.whole("limit", low=1, high=100, default=10)
FIRST, LAST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
MOMENT: Final = timedelta(microseconds=1)  # what Python and the database tell apart
IN_A_MS: Final = timedelta(microseconds=999)


def scope_of(call: Call) -> Scope:
    """The customer's rows; for a sub-account's key only its own."""
    return Scope(call.customer, call.caller.only)


def page(call: Call) -> dict[str, Any]:
    return {"page": call["current"], "size": call["limit"]}


def ever(**which: Any) -> Asked:
    """Rows of any time."""
    return Asked(since=FIRST, until=LAST, **which)


def window(call: Call, *, most_days: int = histories.MOST_DAYS) -> tuple[datetime, datetime]:
    """(since, until] of the time asked for: both named milliseconds are whole in it.

    Raises:
        BadPeriod: -1130, the wrong way round. TooLong: -1127.
    """
    start, end = call["startTime"], call["endTime"]
    if start is not None and start == end:
        return start - MOMENT, end + IN_A_MS
    first, last = histories.period(since=start, until=end, at=call.at, most_days=most_days)
    return first - MOMENT, last + IN_A_MS


def order_of(call: Call, loan_id: int) -> OrderRow:
    """The order as it stands now.

    Raises:
        Denied: there is none of the caller's with that id.
    """
    found = histories.orders(scope_of(call), ever(loan=loan_id, size=1), at=call.at)
    if not found.rows:
        raise Denied(NO_SUCH_ORDER, "There is no such order.")
    return found.rows[0]
