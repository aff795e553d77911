"""The dialect's codes for what the desk says no to in a request for a loan, by the problem's own code."""

from collections.abc import Mapping
from typing import Final

from accounts.errors import Refused
from accounts.sapi.errors import Denied
from loans.vip.eligibility import Problem
from loans.vip.moves import TermsRefused

UNAVAILABLE: Final = -10001
BAD_INPUT: Final = -10002
NOT_LOANABLE: Final = -10007
NOT_COLLATERAL: Final = -10009
TOO_LITTLE_COLLATERAL: Final = -10013
NO_CONFIG: Final = -10019
NO_SUCH_ACCOUNT: Final = -10020
NO_SUCH_ORDER: Final = -10021
BAD_PARAMETER: Final = -10026
TOO_SMALL: Final = -10029
TOO_LARGE: Final = -10030
QUOTA_REACHED: Final = -10031
POOL_SHORT: Final = -10041
CAP_REACHED: Final = -10044
NO_EARN: Final = -10213

OF_PROBLEMS: Final[Mapping[str, int]] = {
    "above_limit": TOO_LARGE,
    "bad_amount": BAD_INPUT,
    "bad_term": BAD_PARAMETER,
    "below_minimum": TOO_SMALL,
    "below_order_minimum": TOO_SMALL,
    "coin_not_allowed": NOT_LOANABLE,
    "collateral_cap": CAP_REACHED,
    "exposure_unknown": UNAVAILABLE,
    "frozen": UNAVAILABLE,
    "ltv_too_high": TOO_LITTLE_COLLATERAL,
    "managed_account": BAD_PARAMETER,
    "managed_receiver": BAD_PARAMETER,
    "max_exposure": QUOTA_REACHED,
    "no_limit": NOT_LOANABLE,
    "no_rate": NO_CONFIG,
    "not_collateral": NOT_COLLATERAL,
    "not_loanable": NOT_LOANABLE,
    "not_your_account": NO_SUCH_ACCOUNT,
    "platform_limit": POOL_SHORT,
    "pool_empty": POOL_SHORT,
    "receiver_as_collateral": BAD_PARAMETER,
    "stale_price": UNAVAILABLE,
    "too_many_accounts": BAD_PARAMETER,
    "user_limit": QUOTA_REACHED,
    "virtual_receiver": BAD_PARAMETER,
}
"""What is not in it is the dialect's plain "the loan operation failed"."""


def denied(refusal: TermsRefused) -> Denied:
    """The first thing that stands in the way, in its own words: the dialect has room for one."""
    problem: Problem = refusal.problems[0]
    return Denied(OF_PROBLEMS.get(problem.code, Refused.sapi), problem.message)
