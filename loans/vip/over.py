"""Whether what a notice about a loan told of is over, so that nobody is woken for it any more (R-FTR-03)."""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final

from accounts.models import Notice
from loans.models import Application, Loan


def _is_paid(notice: Notice, at: datetime) -> bool:
    return Loan.objects.filter(pk=notice.facts.get("loan"), debt__closed_at__lte=at).exists()


def _is_answered(notice: Notice, at: datetime) -> bool:
    asked = Application.objects.filter(pk=notice.facts.get("application"))
    return asked.exists() and not asked.filter(status=Application.Status.OFFERED).exists()


judges: Final[Mapping[str, Callable[[Notice, datetime], bool]]] = {
    "loan_due": _is_paid,
    "loan_overdue": _is_paid,
    "loan_called": _is_paid,
    "offer_made": _is_answered,
}
"""By kind of notice; `accounts.notices.over` takes them in."""
