"""The expiry of a loan: it is repaid from Spot or goes on at the flexible rate when its borrower chose so.

Else it is overdue: it costs more, and its last days begin (R-VIP-26, R-VIP-43…47). The database is the schedule: a
late run does what a punctual one would have, with the figures of the expiry itself. What happens when the overdue
hours are over is decided in `risk`, which knows nothing of loans.
"""

import logging
from datetime import datetime

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.words import tell
from loans.models import Loan, LoanEvent
from loans.vip import at_expiry, auto_repay, conversion, messages
from loans.vip.repayment import hold
from risk import debts, overdue

logger = logging.getLogger(__name__)

JOB = Actor.job("expiry")


class NotDue(Refused):
    code = "not_due"


class ExpiryIncomplete(Exception):
    """The expiry of some loans could not be settled; that of the others was. The ids are in the message."""


def expire_due(*, at: datetime, actor: Actor = JOB) -> int:
    """Settle every loan that passed its expiry at or before `at`; returns how many. Safe to run twice, or two at once.

    One transaction each, so that one broken loan does not shield the others.

    Raises:
        ExpiryIncomplete: after all others were settled.
    """
    due = Loan.objects.filter(
        debt__closed_at__isnull=True,
        debt__residual_since__isnull=True,
        debt__overdue_since__isnull=True,
        debt__due_at__lte=at,
    )
    settled, failed = 0, []
    for loan_id in list(due.order_by("pk").values_list("pk", flat=True)):
        try:
            expire(loan_id=loan_id, actor=actor, at=at)
            settled += 1
        except Refused as refusal:  # Repaid, renewed or marked since we read it.
            logger.info("the expiry of loan %s is not settled: %s", loan_id, refusal.code)
        except Exception:
            logger.exception("the expiry of loan %s could not be settled", loan_id)
            failed.append(loan_id)
    if failed:
        raise ExpiryIncomplete(
            tell("The expiry of these loans could not be settled: {failed}.", failed=failed)
        )
    return settled


@command("vip.expire", returns=Loan)
def expire(*, loan_id: int, actor: Actor, at: datetime, key: str = "", reason: str = "") -> Loan:
    """Repay one loan from Spot, or let it go on at the flexible rate, if its borrower chose so; else it is overdue.

    Told once; when what was chosen could not be, the notice says why. R-VIP-26, R-VIP-43, R-VIP-44, R-VIP-47

    Raises:
        LoanClosed: nothing is owed on it any more.
        NotDue: its expiry is not reached, or it is overdue already, or a liquidation left only a rest.
    """
    held = hold(loan_id)
    loan, debt = held.loan, held.debt
    if debt.due_at is None or at < debt.due_at:
        raise NotDue(tell("{loan} is not due yet.", loan=loan))
    if debt.overdue_since is not None or debt.residual_since is not None:
        raise NotDue(tell("{loan} is overdue already.", loan=loan))
    why_not = not_converted = ""
    if at_expiry.auto_repays(loan):
        why_not = auto_repay.repay_at_expiry(held, actor=actor, at=at)
        if not why_not:
            return loan
    elif at_expiry.converts(loan):
        not_converted = conversion.convert_at_expiry(held, actor=actor, at=at)
        if not not_converted:
            return loan
    debts.bring_up_to_date([debt], at=at)
    debts.mark_overdue(debt, at=at)
    facts = {"since": debt.due_at.isoformat(), "auto_repay": why_not, "not_converted": not_converted}
    LoanEvent.objects.create(loan=loan, kind="overdue", at=at, actor=actor.label, facts=facts)
    until = overdue.ends_at(debt)
    assert until is not None
    owed = debts.owed_at([debt], at=at)[debt.pk].parts
    messages.overdue(loan, owed=owed, until=until, auto_repay=why_not, not_converted=not_converted, at=at)
    return loan
