"""A request: accepted terms, or terms still to be settled, on their way to a decision (R-VIP-10…12).

Accepting the published terms sends it to review, and a small safe one is paid out at once; *unsatisfied* opens
a negotiation (`loans/vip/offers.py`). Requests move along one table (`loans/lifecycle.py`); the database refuses
any other move.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Asset
from accounts.powers import MemberRule, Power
from accounts.words import tell
from loans.models import Application, ApplicationLine, LoanEvent, Offer
from loans.vip import offers, origination, papers, sheets, terms
from loans.vip.moves import (
    TermsChanged,
    TermsRefused,
    WrongState,
    borrower_of,
    move,
    request_of,
    undecided,
)
from loans.vip.sheets import Wanted
from loans.vip.terms import Request, TermSheet
from risk.models import ProductCode

__all__ = [
    "TermsChanged",
    "TermsRefused",
    "WrongState",
    "approve_waiting",
    "cancel",
    "move",
    "negotiate",
    "request_of",
    "submit",
]

logger = logging.getLogger(__name__)
Status = Application.Status
WAITS: Final = "waits_for_papers"  # kind of the event of a request that only the customer's checks hold up
MOST_WAITING: Final = 500  # per run of the job


@command("vip.submit", returns=Application, member=MemberRule(Power.APPLY, two="apply"))
def submit(
    *, request: Request, actor: Actor, at: datetime, accepted: str = "", key: str = "", reason: str = ""
) -> Application:
    """The applicant accepts the terms and asks for the loans. Coins over their limit stay out. R-VIP-06, 11, 12, 18

    `accepted` is the fingerprint of the sheet the applicant was shown; empty when nobody was shown one. The terms
    bind the desk for the product's quote hours. What may be granted without a manager is granted at once.

    Raises:
        TermsRefused: something in the request stands in its way.
        TermsChanged: rates or lines are no longer those that were shown.
    """
    sheet = _acceptable(request, accepted, at)
    application, offer = drafted(request, sheet, at=at, waits=sheet.product.quote_hours)
    offers.accept(application, offer, by=application.applicant_id, at=at)
    move(application, Status.SUBMITTED, at=at, actor=actor, version=1, sheet=offer.sha256)
    if sheet.product.auto_approve_usd > 0:
        try:
            return origination.auto_approve(application_id=application.pk, actor=origination.AUTO, at=at)
        except Refused as refusal:
            logger.info("%s is not approved automatically: %s", application, refusal.code)
            if refusal.code == origination.WaitsForPapers.code:
                LoanEvent.objects.create(
                    application=application, kind=WAITS, at=at, actor=origination.AUTO.label
                )
    return application


def approve_waiting(*, at: datetime) -> int:
    """Grant what only waited for the customer's checks, now that they are clear; returns how many. R-ADM-10, R-VIP-12

    What is not small and safe any more goes on waiting, for the manager. Safe to run twice, or two at once.
    """
    waiting = Application.objects.filter(status=Status.SUBMITTED, expires_at__gt=at, events__kind=WAITS)
    granted = 0
    for application in waiting.select_related("customer").order_by("submitted_at", "pk")[:MOST_WAITING]:
        if papers.problems_of(application.customer, at=at):
            continue
        try:
            origination.auto_approve(application_id=application.pk, actor=origination.AUTO, at=at)
        except Refused as refusal:
            logger.info("%s is not approved automatically: %s", application, refusal.code)
        else:
            granted += 1
    return granted


@command("vip.negotiate", returns=Application, member=MemberRule(Power.APPLY, two="apply"))
def negotiate(
    *,
    request: Request,
    wanted: Wanted,
    actor: Actor,
    at: datetime,
    message: str = "",
    accepted: str = "",
    key: str = "",
    reason: str = "",
) -> Application:
    """The applicant is not satisfied and says what they want instead; the manager answers. R-VIP-11, R-VIP-24

    Raises:
        TermsRefused, TermsChanged: as `submit`.
        sheets.BadTerms, offers.NothingChanged: what is wanted cannot be offered, or is what is published.
    """
    sheet = _acceptable(request, accepted, at)
    application, published = drafted(request, sheet, at=at, waits=sheet.product.quote_hours)
    body = offers.next_body(application, published, wanted, at=at)
    author = borrower_of(application, actor)
    offers.supersede(application, published, by=author, at=at)
    offers.put(application, body, side=Offer.Side.BORROWER, author=author, message=message, at=at)
    move(application, Status.NEGOTIATING, at=at, actor=actor, version=2)
    return application


@command("vip.cancel", returns=Application, member=MemberRule(Power.APPLY))
def cancel(
    *, application_id: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Application:
    """The borrower takes the request back before it is decided. R-VIP-12

    Raises:
        WrongState, Lapsed: it is decided, cancelled already, or its time is over.
        BorrowerOnly: the actor does not act for the customer.
    """
    application = undecided(application_id, at=at, doing="cancel")
    borrower = borrower_of(application, actor)
    origination.end_offers(application, at=at, by=borrower, side=Offer.Side.BORROWER)
    move(application, Status.CANCELLED, at=at, actor=actor)
    return application


def _acceptable(request: Request, accepted: str, at: datetime) -> TermSheet:
    sheet = terms.check(request, at=at)
    if sheet.problems:
        raise TermsRefused(sheet.problems)
    if accepted and accepted != sheet.fingerprint:
        raise TermsChanged(
            tell("The terms have changed since you saw them; check the new terms and accept them again.")
        )
    return sheet


def drafted(
    request: Request, sheet: TermSheet, *, at: datetime, waits: int, more: Mapping[str, Any] | None = None
) -> tuple[Application, Offer]:
    """The request as a draft, with version 1: the terms as published, by nobody. Inside a command.

    `waits`: hours that the terms bind. `more` is what only this kind of request says on its sheet (R-VIP-26).
    """
    expires_at = at + timedelta(hours=waits)
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
        all_or_nothing=request.all_or_nothing,
        auto_repay=request.auto_repay,
        terms=sheet.as_json(),
        submitted_at=at,
        expires_at=expires_at,
    )
    _keep_lists(application, sheet)
    body: dict[str, Any] = sheets.published(application, sheet) | dict(more or {})
    offer = Offer.objects.create(
        application=application,
        version=1,
        side=Offer.Side.DESK,
        made_at=at,
        expires_at=expires_at,
        body=body,
        sha256=sheets.digest(body),
    )
    return application, offer


def _keep_lists(application: Application, sheet: TermSheet) -> None:
    application.collateral_accounts.set(sheet.request.account_uids)
    application.collateral_coins.set(Asset.objects.filter(pk__in=sheet.request.coins))
    ApplicationLine.objects.bulk_create(
        ApplicationLine(
            application=application, asset_id=line.asset, amount=line.amount, annual_rate=line.annual_rate
        )
        for line in sheet.accepted_lines
    )
