"""What a borrower's program asks of /api/v1, for tests: a request, a wish for other terms, how to read an answer."""

from typing import Any

from tests.loans.desk import Desk
from tests.native import Native, program

Answer = tuple[int, Any]

REQUEST: dict[str, Any] = {
    "coins": ["BTC"],
    "wishes": [{"asset": "USDT", "amount": "1000000"}],
    "rate_type": "fixed",
    "term_days": 30,
    "contact": "ops@example.com",
    "purpose": "Working capital",
}
WANTED: dict[str, Any] = {
    "rates": [{"asset": "USDT", "rate": "0.08"}],
    "initial": "0.72",
    "margin_call": "0.77",
    "liquidation": "0.91",
    "cutoff": "0.95",
    "fee": "0.02",
    "term_days": 30,
    "overdue_hours": 168,
}


def of(desk: Desk, *permissions: str) -> Native:
    """A token of the applicant for the master, with all it can have unless named."""
    return program(desk.master, desk.applicant, *permissions)


def asking(desk: Desk, **changes: Any) -> dict[str, Any]:
    """1,000,000 USDT, 30 days, fixed, to the master, secured by the sub's BTC; with what is said changed."""
    return REQUEST | {"receiver_uid": desk.master.pk, "account_uids": [desk.sub.pk]} | changes


def ok(answer: Answer, status: int = 200) -> Any:
    """What was answered, when it is the success it should be."""
    assert answer[0] == status, answer
    return answer[1]


def refusal(answer: Answer) -> tuple[int, str]:
    """Status and code; a refusal has nothing beside its code, words, fields and problems."""
    status, told = answer
    assert {"code", "message"} <= set(told) <= {"code", "message", "fields", "problems"}, told
    assert told["message"]
    return status, told["code"]
