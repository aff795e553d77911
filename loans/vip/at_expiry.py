"""What a borrower chose for a loan's expiry: repaid from Spot, or, of the market, going on. R-VIP-26, R-VIP-47

The choice is the last event that says so: the request's, then every switch until the expiry.
"""

from typing import Final

from loans.models import Loan, LoanEvent, SupplyTake

ON: Final = "auto_repay_on"
OFF: Final = "auto_repay_off"


def auto_repays(loan: Loan) -> bool:
    """Whether the loan is repaid from Spot at its expiry: the last choice made, or the one in the request."""
    last = LoanEvent.objects.filter(loan=loan, kind__in=[ON, OFF]).order_by("-pk").first()
    if last is not None:
        return last.kind == ON
    return loan.line is not None and loan.line.application.auto_repay


def converts(loan: Loan) -> bool:
    """Whether it goes on at the flexible rate at its expiry: taken from the market, and auto-repay is off."""
    return SupplyTake.objects.filter(loan=loan).exists() and not auto_repays(loan)
