"""What has to be on file before money leaves the desk: the customer's checks, read as problems of a request (R-ADM-10).

The desk reads which check is missing and who records it. The borrower reads only that something of theirs is still
being looked at: whoever is under suspicion is not told so by a form.
"""

from datetime import datetime
from typing import Final

from accounts import screenings
from accounts.models import Customer
from accounts.words import tell
from loans.models import Loan
from loans.vip.eligibility import Problem

CODES: Final = frozenset({"not_screened", "screening_refused", "never_agreed"})
NOTE: Final = tell(
    "We still have to check the papers of {name} before we can pay out. You may send your request"
    " meanwhile; your VIP manager decides it as soon as the check is done, and asks you if"
    " anything is missing."
)


def problems_of(customer: Customer, *, at: datetime) -> list[Problem]:
    """Why nothing can be paid out to the customer now; judged under the customer's lock when it decides. R-ADM-10"""
    found = screenings.problems(customer, is_first=_is_first(customer), at=at)
    return [Problem("customer_id", problem.code, problem.message) for problem in found]


def note_for(customer: Customer, *, at: datetime) -> str:
    """What the borrower is told while checks stand in the way; empty when none do. Never which, and never why."""
    found = screenings.problems(customer, is_first=_is_first(customer), at=at)
    is_ours = any(problem.code != "never_agreed" for problem in found)  # the agreement asks for itself
    return NOTE.format(name=customer.name) if is_ours else ""


def _is_first(customer: Customer) -> bool:
    return not Loan.objects.filter(customer=customer).exists()
