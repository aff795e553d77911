"""Calling an open loan back: it gets a due date, with notice, and then the way of any loan (R-VIP-44, R-ADM-05)."""

from datetime import datetime, timedelta
from typing import Final

from accounts.commands import Actor, FourEyes, command
from accounts.errors import Refused
from accounts.models import User
from accounts.words import tell
from loans import ratecards
from loans.models import Loan, LoanEvent
from loans.vip import messages
from loans.vip.repayment import hold
from risk import debts

FURTHEST: Final = timedelta(days=365)  # a later date is a slip of the pen


class NotCallable(Refused):
    """The loan has an expiry already, or only a rest of it is owed."""

    code = "not_callable"


class BadCall(Refused):
    """Too short a notice, too far a date, or no reason."""

    code = "bad_call"


class NotYourClient(Refused):
    code = "not_your_client"


@command(
    "vip.call_loan",
    returns=Loan,
    four_eyes=FourEyes(
        makers=frozenset({User.Role.VIP_MANAGER, User.Role.RISK_OFFICER}), needed=lambda _: False
    ),
)
def call_loan(
    *, loan_id: int, due_at: datetime, reason: str, actor: Actor, at: datetime, key: str = ""
) -> Loan:
    """Ask an open loan back by `due_at`; the borrower is told why. Its rate goes on until then. R-VIP-44, R-ADM-05

    One person is enough: the client's VIP manager, or a risk officer.

    Raises:
        LoanClosed: nothing is owed on the loan any more.
        NotYourClient: a VIP manager, but of other clients.
        NotCallable: it has an expiry, was called before, or was liquidated.
        BadCall: no reason, less notice than the product gives, or more than a year.
    """
    held = hold(loan_id)
    loan, debt = held.loan, held.debt
    _refuse_others_client(loan, actor)
    if debt.residual_since is not None:
        raise NotCallable(tell("{loan} was liquidated; what is left of it is due already.", loan=loan))
    if debt.due_at is not None:
        how = tell("was called for") if debt.called_at else tell("expires on")
        raise NotCallable(
            tell(
                "{loan} {how} {due_at:%-d %B %Y %H:%M} UTC; only an open loan can be called.",
                loan=loan,
                how=how,
                due_at=debt.due_at,
            )
        )
    if not reason.strip():
        raise BadCall(tell("Say why the loan is called; the borrower will read it."))
    earliest = earliest_due_at(loan, at=at)
    if not earliest <= due_at <= at + FURTHEST:
        hours = ratecards.product_at(loan.product, at=at).call_notice_hours
        raise BadCall(
            tell(
                "A call gives at least {hours} hours and at most a year: choose a time from"
                " {earliest:%-d %B %Y %H:%M} UTC on.",
                hours=hours,
                earliest=earliest,
            )
        )
    debts.bring_up_to_date([debt], at=at)
    debts.call(debt, due_at=due_at, at=at)
    LoanEvent.objects.create(
        loan=loan,
        kind="called",
        at=at,
        actor=actor.label,
        facts={"due_at": due_at.isoformat(), "reason": _sentence(reason)},
    )
    messages.called(loan, payoff=debts.payoff_at(debt, at=at).total, reason=_sentence(reason), at=at)
    return loan


def earliest_due_at(loan: Loan, *, at: datetime) -> datetime:
    """The first instant an open loan may be called for now."""
    return at + timedelta(hours=ratecards.product_at(loan.product, at=at).call_notice_hours)


def _refuse_others_client(loan: Loan, actor: Actor) -> None:
    """The role was checked at the door; this is about whose client it is."""
    manager = User.objects.filter(pk=actor.user_id or 0, role=User.Role.VIP_MANAGER).first()
    if manager is not None and loan.customer.manager_id != manager.pk:
        raise NotYourClient(
            tell("{loan} belongs to another manager's client; ask them or a risk officer.", loan=loan)
        )


def _sentence(reason: str) -> str:
    reason = reason.strip()
    return reason if reason.endswith((".", "!", "?")) else f"{reason}."
