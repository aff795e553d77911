"""A loan of the fixed-rate market that goes on at its expiry: at the flexible rate, without a term (R-VIP-26).

Its borrower chose so when they took it, and may choose otherwise until the expiry; their signature under its sheet
stands for the new one too. The new order begins at the expiry itself, with the rate published then, so a job that runs
late writes what a punctual one would have. Nothing is paid and nothing is charged for it: what is owed is carried over.
"""

from datetime import datetime

from django.db.models import Max

from accounts import people
from accounts.commands import Actor
from accounts.words import tell
from loans import ratecards
from loans.models import Loan, LoanEvent, RateType
from loans.ratecards import Quote
from loans.vip import messages, sheets
from loans.vip.repayment import Held
from risk import book, debts
from risk.models import Debt, Liquidation
from risk.waterfall import Parts


def convert_at_expiry(held: Held, *, actor: Actor, at: datetime) -> str:
    """Carry all that is owed into an open loan at the flexible rate; returns why not, as a sentence, or nothing.

    Inside a command, after the expiry and before the loan is marked overdue. What somebody did on the loan between its
    expiry and a late job stays as it was done: then the new order begins at the last of it.
    """
    loan, debt = held.loan, held.debt
    begins = _begins_at(debt)
    if Liquidation.objects.filter(group=loan.group, status=Liquidation.Status.RUNNING).exists():
        return tell(
            "It could not go on at the flexible rate: collateral of {group} is being sold at the moment.",
            group=loan.group.name,
        )
    try:
        quote = ratecards.quote_for(
            customer=loan.customer,
            product=loan.product,
            asset=loan.asset_id,
            rate_type=RateType.FLEXIBLE,
            term_days=None,
            at=begins,
        )
    except ratecards.NoRate:
        return tell(
            "It could not go on at the flexible rate: none was published for {asset} at its expiry.",
            asset=loan.asset_id,
        )
    debts.bring_up_to_date([debt], at=begins)
    carried = Parts(late_fee=debt.late_fee, interest=debt.interest, principal=debt.principal)
    going_on = debts.renew(old=debt, due_at=None, fixed_rate=None, spread=quote.spread, at=begins)
    new = _new_order(loan, going_on, quote, carried, actor=actor)
    facts = {"by": new.pk, "interest": f"{carried.interest + carried.late_fee:f}"}
    LoanEvent.objects.create(loan=loan, kind="converted", at=begins, actor=actor.label, facts=facts)
    LoanEvent.objects.create(loan=new, kind="drawn", at=begins, actor=actor.label, facts={"renews": loan.pk})
    messages.converted(loan, new, carried=carried, at=at)
    return ""


# --- Private ----------------------------------------------------------------------------------------


def _begins_at(debt: Debt) -> datetime:
    assert debt.due_at is not None
    last: datetime | None = debt.entries.aggregate(last=Max("at"))["last"]
    return debt.due_at if last is None else max(debt.due_at, last)


def _new_order(old: Loan, debt: Debt, quote: Quote, carried: Parts, *, actor: Actor) -> Loan:
    """On a sheet of its own; who signed the market's sheet has signed that it goes on so. R-VIP-15"""
    begins, agreement = debt.opened_at, people.current_agreement(at=debt.opened_at)
    body = sheets.body_for_renewal(
        old,
        lines=book.state_of(old.group, at=begins).lines,
        amount=debt.principal,
        annual_rate=None,
        spread=quote.spread,
        term_days=None,
        overdue_hours=debt.overdue_hours,
        late_multiplier=debt.late_multiplier,
        auto_repay=False,
        agreement=agreement.version if agreement is not None else "",
        at=begins,
    )
    body |= {"carried": sheets.plain(carried.interest + carried.late_fee)}
    signed_by = old.sheet.signed_by if old.sheet is not None else actor.label
    sheet = sheets.sign(customer=old.customer, body=body, signed_by=signed_by, at=begins)
    return Loan.objects.create(
        product=old.product,
        customer=old.customer,
        group=old.group,
        debt=debt,
        asset=old.asset,
        amount=debt.principal,
        rate_type=RateType.FLEXIBLE,
        annual_rate=quote.annual_rate,
        term_days=None,
        drawn_at=begins,
        due_at=None,
        renews=old,
        sheet=sheet,
        sheet_sha256=sheet.sha256,
    )
