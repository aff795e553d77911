"""A request: accepted terms on their way to a decision (R-VIP-10…12). No money moves here.

Requests move along one table (`loans/lifecycle.py`); the database refuses any other move.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Asset
from loans.lifecycle import APPLICATION_MOVES
from loans.models import Application, ApplicationLine, LoanEvent
from loans.vip import terms
from loans.vip.terms import Problem, Request, TermSheet, Wish
from risk.models import ProductCode


class TermsRefused(Refused):
    """The request cannot be granted as it is; `problems` says why, field by field."""

    code = "terms_refused"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(problem.message for problem in self.problems))


class TermsChanged(Refused):
    code = "terms_changed"


class WrongState(Refused):
    code = "application_state"


@command("vip.submit", returns=Application)
def submit(
    *, request: Request, actor: Actor, at: datetime, accepted: str = "", key: str = "", reason: str = ""
) -> Application:
    """The applicant accepts the terms and asks for the loans. Coins over their limit stay out. R-VIP-06, R-VIP-11

    `accepted` is the fingerprint of the sheet the applicant was shown; empty when nobody was shown one.

    Raises:
        TermsRefused: something in the request stands in its way.
        TermsChanged: rates or lines are no longer those that were shown.
    """
    sheet = terms.check(request, at=at)
    if sheet.problems:
        raise TermsRefused(sheet.problems)
    if accepted and accepted != sheet.fingerprint:
        raise TermsChanged(
            "The terms have changed since you saw them; check the new terms and accept them again."
        )
    application = Application.objects.create(
        product=ProductCode.VIP,
        customer_id=request.customer_id,
        applicant_id=request.applicant_id,
        receiver_id=request.receiver_uid,
        rate_type=request.rate_type,
        term_days=request.term_days,
        manager_id=request.manager_id,
        contact=request.contact.strip(),
        purpose=request.purpose.strip(),
        terms=sheet.as_json(),
        submitted_at=at,
    )
    _keep_lists(application, sheet)
    move(application, Application.Status.SUBMITTED, at=at, actor=actor)
    return application


@command("vip.cancel", returns=Application)
def cancel(
    *, application_id: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Application:
    """The borrower takes the request back before it is decided. R-VIP-12

    Raises:
        WrongState: it is decided, or cancelled already.
    """
    application = Application.objects.locked(application_id)
    move(application, Application.Status.CANCELLED, at=at, actor=actor)
    return application


def move(
    application: Application, status: Application.Status, *, at: datetime, actor: Actor, **facts: Any
) -> None:
    """Change the state of a locked request and record it. Inside a command.

    Raises:
        WrongState: the request is in a state from which this one does not follow.
    """
    if (application.status, status) not in APPLICATION_MOVES:
        raise WrongState(
            f"{application} is {application.get_status_display().lower()}; it cannot become {status.label.lower()}."
        )
    application.status = status
    application.save(update_fields=["status", "decided_at", "decided_by", "decision_reason"])
    LoanEvent.objects.create(application=application, kind=status, at=at, actor=actor.label, facts=facts)


def request_of(application: Application) -> Request:
    """The request as it was accepted: without the coins that were over their limit."""
    return Request(
        customer_id=application.customer_id,
        applicant_id=application.applicant_id,
        receiver_uid=application.receiver_id,
        account_uids=tuple(sorted(application.collateral_accounts.values_list("pk", flat=True))),
        coins=tuple(sorted(application.collateral_coins.values_list("pk", flat=True))),
        wishes=tuple(Wish(line.asset_id, line.amount) for line in application.lines.order_by("asset_id")),
        rate_type=application.rate_type,
        term_days=application.term_days,
        contact=application.contact,
        purpose=application.purpose,
        manager_id=application.manager_id,
    )


def _keep_lists(application: Application, sheet: TermSheet) -> None:
    application.collateral_accounts.set(sheet.request.account_uids)
    application.collateral_coins.set(Asset.objects.filter(pk__in=sheet.request.coins))
    ApplicationLine.objects.bulk_create(
        ApplicationLine(
            application=application, asset_id=line.asset, amount=line.amount, annual_rate=line.annual_rate
        )
        for line in sheet.accepted_lines
    )
