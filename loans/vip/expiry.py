"""A loan that is not repaid at its expiry becomes overdue: it costs more, and its last days begin (R-VIP-43…45).

The database is the schedule: a late run marks what a punctual one would have, from the expiry itself. What
happens when the overdue hours are over is decided in `risk`, which knows nothing of loans.
"""

import logging
from datetime import datetime

from accounts.commands import Actor, command
from accounts.errors import Refused
from loans.models import Loan, LoanEvent
from loans.vip import messages
from loans.vip.repayment import hold
from risk import debts

logger = logging.getLogger(__name__)

JOB = Actor.job("expiry")


class NotDue(Refused):
    code = "not_due"


class ExpiryIncomplete(Exception):
    """Some loans could not be marked; the others were. The ids are in the message."""


def expire_due(*, at: datetime, actor: Actor = JOB) -> int:
    """Mark every loan that passed its expiry at or before `at`; returns how many. Safe to run twice, or two at once.

    One transaction each, so that one broken loan does not shield the others.

    Raises:
        ExpiryIncomplete: after all others were marked.
    """
    due = Loan.objects.filter(
        debt__closed_at__isnull=True,
        debt__residual_since__isnull=True,
        debt__overdue_since__isnull=True,
        debt__due_at__lte=at,
    )
    marked, failed = 0, []
    for loan_id in list(due.order_by("pk").values_list("pk", flat=True)):
        try:
            expire(loan_id=loan_id, actor=actor, at=at)
            marked += 1
        except Refused as refusal:  # Repaid, renewed or marked since we read it.
            logger.info("loan %s is not marked overdue: %s", loan_id, refusal.code)
        except Exception:
            logger.exception("loan %s could not be marked overdue", loan_id)
            failed.append(loan_id)
    if failed:
        raise ExpiryIncomplete(f"These loans could not be marked overdue: {failed}.")
    return marked


@command("vip.expire", returns=Loan)
def expire(*, loan_id: int, actor: Actor, at: datetime, key: str = "", reason: str = "") -> Loan:
    """Mark one loan overdue since its expiry, and tell the borrower once. R-VIP-43, R-VIP-44

    Raises:
        LoanClosed: nothing is owed on it any more.
        NotDue: its expiry is not reached, or it is overdue already, or a liquidation left only a rest.
    """
    held = hold(loan_id)
    loan, debt = held.loan, held.debt
    if debt.due_at is None or at < debt.due_at:
        raise NotDue(f"{loan} is not due yet.")
    if debt.overdue_since is not None or debt.residual_since is not None:
        raise NotDue(f"{loan} is overdue already.")
    debts.bring_up_to_date([debt], at=at)
    debts.mark_overdue(debt, at=at)
    LoanEvent.objects.create(
        loan=loan, kind="overdue", at=at, actor=actor.label, facts={"since": debt.due_at.isoformat()}
    )
    messages.overdue(loan, owed=debts.owed_at([debt], at=at)[debt.pk].parts, at=at)
    return loan
