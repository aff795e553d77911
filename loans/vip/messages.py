"""What the borrower is told about a loan, in one place and one tone: what happened, what it costs, what is next.

Every function sends one notice; it runs inside the command that made it true, so neither is there without the
other. `event` is unique, which is what makes a notice happen once.
"""

from datetime import datetime, timedelta
from decimal import Decimal

from accounts import notices
from accounts.models import Notice
from accounts.money import exact
from loans.models import Application, Loan
from risk.models import DebtEntry
from risk.waterfall import Parts


def paid_out(application: Application, loans: list[Loan], *, at: datetime) -> Notice:
    """R-VIP-14"""
    coins = ", ".join(f"{said(loan.amount)} {loan.asset_id}" for loan in loans)
    due = loans[0].due_at
    term = f"It is due on {_when(due)}." if due else "It has no expiry; repay whenever you like."
    return notices.send(
        customer=application.customer,
        event=f"application:{application.pk}:disbursed",
        kind="loan_paid_out",
        title=f"{coins} paid out",
        body=(
            f"{application} is approved. {coins} is in the Spot wallet of {application.receiver}. {term}"
            " Interest is charged at each 00:00 UTC."
        ),
        facts={"application": application.pk, "loans": [loan.pk for loan in loans]},
        at=at,
    )


def rejected(application: Application, *, at: datetime) -> Notice:
    """R-VIP-12"""
    return notices.send(
        customer=application.customer,
        event=f"application:{application.pk}:rejected",
        kind="application_rejected",
        title=f"{application} was not approved",
        body=f"Your VIP manager did not approve {application}: {application.decision_reason}",
        facts={"application": application.pk},
        at=at,
    )


def repaid(loan: Loan, entry: DebtEntry, *, left: Parts, is_closed: bool, at: datetime) -> Notice:
    """R-GEN-51"""
    paid = Parts(late_fee=-entry.late_fee, interest=-entry.interest, principal=-entry.principal)
    rest = "Nothing is left to pay." if is_closed else f"{said(left.total)} {loan.asset_id} is still owed."
    return notices.send(
        customer=loan.customer,
        event=f"repayment:{entry.pk}",
        kind="loan_repaid" if is_closed else "repayment",
        title=f"{loan} is repaid" if is_closed else f"Repayment on {loan}",
        body=(
            f"{said(paid.total)} {loan.asset_id} was paid on {loan}: {said(paid.late_fee)} late fee,"
            f" {said(paid.interest)} interest, {said(paid.principal)} principal. {rest}"
        ),
        facts={"loan": loan.pk, "entry": entry.pk, "paid": f"{paid.total:f}", "left": f"{left.total:f}"},
        at=at,
    )


def renewed(old: Loan, new: Loan, *, interest: Decimal, at: datetime) -> Notice:
    """R-VIP-42"""
    assert new.due_at is not None
    assert old.due_at is not None
    return notices.send(
        customer=new.customer,
        event=f"loan:{new.pk}:renewed",
        kind="loan_renewed",
        title=f"{old} continues as {new}",
        body=(
            f"{said(interest)} {old.asset_id} of interest was paid from Spot. {said(new.amount)} {new.asset_id}"
            f" runs on as {new} until {_when(new.due_at)}; the new rate of {_percent(new.annual_rate)} a year"
            f" starts on {_when(old.due_at)}."
        ),
        facts={"loan": new.pk, "renews": old.pk, "interest_paid": f"{interest:f}"},
        at=at,
    )


def overdue(loan: Loan, *, owed: Parts, at: datetime) -> Notice:
    """R-VIP-43, R-VIP-44: what is owed, what waiting costs, and when collateral is sold."""
    debt = loan.debt
    assert debt.overdue_since is not None
    until = debt.overdue_since + timedelta(hours=debt.overdue_hours)
    return notices.send(
        customer=loan.customer,
        event=f"loan:{loan.pk}:overdue",
        kind="loan_overdue",
        title=f"{loan} is overdue",
        body=(
            f"{loan} was due on {_when(debt.overdue_since)} and is not repaid. {said(owed.total)} {loan.asset_id} is"
            f" owed. From now on each day costs {debt.late_multiplier} times the daily interest. If it is not repaid"
            f" by {_when(until)}, collateral will be sold for it, at a fee, whatever the LTV."
        ),
        facts={"loan": loan.pk, "owed": f"{owed.total:f}", "sold_at": until.isoformat()},
        at=at,
    )


@exact
def said(amount: Decimal) -> str:
    """1234567.50000000 as 1,234,567.5: every digit, no padding."""
    text = f"{amount:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


@exact
def _percent(rate: Decimal) -> str:
    return f"{said(rate * 100)} %"


def _when(instant: datetime) -> str:
    return f"{instant:%-d %B %Y, %H:%M} UTC"
