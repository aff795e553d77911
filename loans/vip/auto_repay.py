"""Repaying a loan at its expiry out of Spot, when the borrower chose that (R-VIP-47). Off unless chosen.

What is taken is what
closes the loan at the expiry itself, so a job that runs late costs the borrower nothing (R-VIP-31, R-GEN-04).
"""

from datetime import datetime

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import LedgerAccount
from accounts.money import ZERO
from accounts.powers import MemberRule, Power
from accounts.words import tell
from loans.models import Loan, LoanEvent
from loans.vip.at_expiry import OFF, ON, auto_repays
from loans.vip.messages import said
from loans.vip.repayment import Held, RepaymentsClosed, hold, record, take
from risk import debts, groups


class NotSwitchable(Refused):
    """Auto-repay is as asked already, or the loan's expiry has passed."""

    code = "auto_repay_not_switchable"


@command("vip.set_auto_repay", returns=Loan, member=MemberRule(Power.REPAY))
def set_auto_repay(
    *, loan_id: int, on: bool, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Loan:
    """Switch auto-repay on or off, at any time before the expiry. For an open loan it counts once it is called.

    R-VIP-47

    Raises:
        LoanClosed: nothing is owed on the loan any more.
        NotSwitchable: it is so already, the expiry has passed, or a liquidation left only a rest.
    """
    held = hold(loan_id)
    loan, debt = held.loan, held.debt
    if debt.residual_since is not None:
        raise NotSwitchable(tell("{loan} was liquidated; what is left of it is repaid by hand.", loan=loan))
    if debt.due_at is not None and at >= debt.due_at:
        raise NotSwitchable(
            tell(
                "{loan} expired on {due_at:%-d %B %Y %H:%M} UTC; repay it by hand.",
                loan=loan,
                due_at=debt.due_at,
            )
        )
    if auto_repays(loan) == on:
        raise NotSwitchable(
            tell(
                "Auto-repay of {loan} is {which} already.", loan=loan, which=tell("on") if on else tell("off")
            )
        )
    choose(loan, on=on, actor=actor, at=at)
    return loan


def choose(loan: Loan, *, on: bool, actor: Actor, at: datetime) -> None:
    """Write a choice down. Inside a command."""
    LoanEvent.objects.create(loan=loan, kind=ON if on else OFF, at=at, actor=actor.label)


def repay_at_expiry(held: Held, *, actor: Actor, at: datetime) -> str:
    """Take all that closes the loan at its expiry out of Spot; returns why not, as a sentence, or nothing.

    Inside a command, after the expiry and before the loan is marked overdue. All or nothing; Fiat is not touched.
    """
    loan, debt = held.loan, held.debt
    assert debt.due_at is not None
    payoff = debts.payoff_at(debt, at=debt.due_at).total
    spot = held.wallets([LedgerAccount.Kind.SPOT])
    available = sum((wallet.balance for wallet in spot), ZERO)
    if available < payoff:
        return tell(
            "Auto-repay could not repay it: {payoff} {asset} was needed and the Spot wallet of"
            " {receiver} holds {available}; {payoff2} {asset} is missing.",
            payoff=said(payoff),
            asset=loan.asset_id,
            receiver=loan.group.receiver,
            available=said(available),
            payoff2=said(payoff - available),
        )
    try:
        entry = take(
            held,
            amount=payoff,
            wallets=spot,
            reference=f"auto-repay:{debt.pk}",
            at=at,
            charged_to=debt.due_at,
        )
    except (RepaymentsClosed, groups.PriceTooOld, groups.NotPermitted) as refusal:
        return tell("Auto-repay could not repay it: {message}", message=refusal.message)
    record(held, entry, amount=payoff, actor=actor, at=at)
    return ""
