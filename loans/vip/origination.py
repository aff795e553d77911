"""The decision on a request, and the money. What was checked at submission is checked again under the locks.

Approving and paying out are one transaction: there is no approved loan without its coins (R-VIP-14).
"""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import User
from loans.models import Application, ApplicationLine, Loan, LoanEvent, RateType
from loans.vip import messages, terms
from loans.vip.applications import TermsRefused, WrongState, move, request_of
from loans.vip.terms import LEVELS, Problem, TermSheet
from risk import debts, groups, parameters
from risk.levels import Lines
from risk.models import CollateralGroup

SETTLED = frozenset({"agreement_needed", "below_minimum", "below_order_minimum"})
"""Problems of a new request that do not undo an accepted one: prices moved, or a text was published."""


class ManagerOnly(Refused):
    code = "manager_only"


class ReasonNeeded(Refused):
    code = "reason_needed"


@command("vip.approve", returns=Application)
def approve(
    *, application_id: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Application:
    """Check everything again, open or extend the group, and pay out. R-VIP-12…14, R-GEN-42, TRUST I-19, I-23

    Raises:
        WrongState: the request is decided or cancelled.
        ManagerOnly: the actor is not this customer's VIP manager, or is the applicant.
        TermsRefused: LTV, lines, limits, prices or accounts no longer allow it; nothing was paid out.
        groups.AccountInUse, debts.PoolEmpty: as the message says; nothing was paid out.
    """
    application = _undecided(application_id)
    manager = _manager_of(application, actor)
    accounts = list(application.collateral_accounts.order_by("pk"))
    groups.hold(uids=[account.pk for account in accounts], receiver=application.receiver_id)
    sheet = review(application, at=at)
    if sheet.problems:
        raise TermsRefused(sheet.problems)
    assert sheet.effect is not None
    group = groups.open_or_extend(
        customer=application.customer,
        receiver=application.receiver,
        product=application.product,
        accounts=accounts,
        coins=application.collateral_coins.order_by("pk"),
        max_accounts=sheet.product.max_accounts,
        at=at,
    )
    parameters.sign_lines(group=group, lines=sheet.effect.lines, at=at)
    application.decided_at, application.decided_by, application.decision_reason = at, manager, reason
    move(application, Application.Status.APPROVED, at=at, actor=actor)
    rates = {line.asset: line.annual_rate for line in sheet.accepted_lines}
    lines = application.lines.select_related("asset").order_by("asset_id")
    loans = [_pay_out(application, line, group, rates[line.asset_id], at=at, actor=actor) for line in lines]
    move(application, Application.Status.DISBURSED, at=at, actor=actor, loans=[loan.pk for loan in loans])
    messages.paid_out(application, loans, at=at)
    return application


@command("vip.reject", returns=Application)
def reject(*, application_id: int, actor: Actor, at: datetime, reason: str, key: str = "") -> Application:
    """Refuse a request and tell the borrower why. R-VIP-12

    Raises:
        ReasonNeeded: no reason is given.
        WrongState, ManagerOnly: as `approve`.
    """
    if not reason.strip():
        raise ReasonNeeded("Say why the request is rejected; the borrower will read it.")
    application = _undecided(application_id)
    manager = _manager_of(application, actor)
    application.decided_at, application.decided_by = at, manager
    application.decision_reason = reason.strip()
    move(application, Application.Status.REJECTED, at=at, actor=actor)
    messages.rejected(application, at=at)
    return application


def review(application: Application, *, at: datetime) -> TermSheet:
    """What approving the request would do now: the manager's page, and the check of `approve`. Writes nothing.

    A fixed rate is the one that was accepted (R-VIP-18); the flexible one is today's.
    """
    agreed = None
    if application.rate_type == RateType.FIXED:
        agreed = terms.Agreed(rates={line.asset_id: line.annual_rate for line in application.lines.all()})
    sheet = terms.check(request_of(application), at=at, agreed=agreed).without(SETTLED)
    more = [*_over_limit(sheet), *_other_lines(application, sheet)]
    return replace(sheet, problems=(*sheet.problems, *more))


def _over_limit(sheet: TermSheet) -> list[Problem]:
    """At submission such a coin stays out; now it was promised, so the request cannot be granted as it is."""
    if not sheet.accepted_lines:
        return []  # `check` has said so
    return [
        Problem(f"wishes.{line.asset}", "above_limit", line.declined) for line in sheet.lines if line.declined
    ]


def _other_lines(application: Application, sheet: TermSheet) -> list[Problem]:
    """The group may only get lines its borrower accepted: with this request, or with a later one (R-GEN-42)."""
    levels = application.terms["levels"]
    accepted = Lines(**{name: Decimal(levels[name]) for name in LEVELS})
    if sheet.effect is None or sheet.effect.lines in (accepted, sheet.effect.current_lines):
        return []
    message = "The LTV lines have changed since the applicant accepted them; ask for a new request."
    return [Problem("levels", "lines_changed", message)]


def _undecided(application_id: int) -> Application:
    application = Application.objects.locked(application_id)
    if application.status != Application.Status.SUBMITTED:
        raise WrongState(
            f"{application} is {application.get_status_display().lower()}; there is nothing to decide."
        )
    return application


def _manager_of(application: Application, actor: Actor) -> User:
    """The user behind the actor, if they are the customer's manager and not the applicant. TRUST I-24"""
    customer = application.customer
    kind, _, pk = actor.label.partition(":")
    manager = customer.manager
    if manager is None or kind != "user" or pk != str(manager.pk) or not manager.is_active:
        who = manager.name if manager is not None else "nobody yet"
        raise ManagerOnly(f"Only the VIP manager of {customer.name} may decide {application}; that is {who}.")
    if manager.role != User.Role.VIP_MANAGER or manager.pk == application.applicant_id:
        raise ManagerOnly(f"{manager.name} cannot decide {application}: nobody decides their own request.")
    return manager


def _pay_out(
    application: Application,
    line: ApplicationLine,
    group: CollateralGroup,
    annual_rate: Decimal | None,
    *,
    at: datetime,
    actor: Actor,
) -> Loan:
    """One coin: a debt out of the pool into the receiver's Spot, and the loan that prices it. No fee. R-VIP-14"""
    assert annual_rate is not None, "a coin without a rate is a problem of the sheet"
    due_at = None if application.term_days is None else at + timedelta(days=application.term_days)
    debt = debts.open_debt(
        group=group,
        asset=line.asset,
        amount=line.amount,
        receiver=application.receiver,
        due_at=due_at,
        fixed_rate=annual_rate if application.rate_type == RateType.FIXED else None,
        late_multiplier=application.terms["late_multiplier"],
        overdue_hours=application.terms["overdue_hours"],
        at=at,
    )
    loan = Loan.objects.create(
        product=application.product,
        customer=application.customer,
        line=line,
        group=group,
        debt=debt,
        asset=line.asset,
        amount=line.amount,
        rate_type=application.rate_type,
        annual_rate=annual_rate,
        term_days=application.term_days,
        drawn_at=at,
        due_at=due_at,
    )
    LoanEvent.objects.create(
        application=application,
        loan=loan,
        kind="drawn",
        at=at,
        actor=actor.label,
        facts={"amount": f"{line.amount:f}", "annual_rate": f"{annual_rate:f}"},
    )
    return loan
