"""Taking from the fixed-rate market: one loan out of one or several supply orders of a coin and a term (R-VIP-26).

Finance decided on the money when the orders were released, so a taking that passes every check of a request is paid
out at once; no manager looks at it. It leaves what every loan leaves: a request, accepted terms, a signed sheet.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Customer
from accounts.powers import MemberRule, Power
from accounts.words import tell
from loans import supply
from loans.matching import BadTaking, OnOffer, Taking, refuse_unfit, total, weighted_rate
from loans.models import Application, Loan, RateType
from loans.vip import applications, offers, origination, papers, sheets, terms
from loans.vip.moves import TermsChanged, TermsRefused, move
from loans.vip.terms import Agreed, Request, TermSheet, Wish

JOB: Final = Actor.job("fixed-rate-market")


class PapersMissing(Refused):
    """R-ADM-10: never which, and never why."""

    code = "papers_missing"


@command("vip.take", returns=Loan, member=MemberRule(Power.APPLY, two="apply"))
def take(
    *,
    request: Request,
    takings: tuple[Taking, ...],
    actor: Actor,
    at: datetime,
    accepted: str = "",
    key: str = "",
    reason: str = "",
) -> Loan:
    """Take these amounts at these rates, or nothing: one loan at the weighted rate, paid out at once. R-VIP-26

    `request` says who, into and against what, for which term and whether it is repaid at its expiry; `request_for`
    makes it. `accepted` is the fingerprint of the terms the applicant was shown; empty when nobody was shown any.

    Raises:
        matching.BadTaking, NotOnOffer, OtherRate, TooLittle, TooMuch: what is taken does not fit what is offered.
        TermsRefused: something stands in the way of a loan on these terms.
        TermsChanged: the terms are no longer those that were shown.
        PapersMissing: a check of the customer is still to be made.
        debts.PoolEmpty, limits.OverPlatformCap, groups.AccountInUse: as `origination.approve`.
    """
    supply.hold(taking.order for taking in takings)
    sheet = check(request, takings, at=at)
    if sheet.problems:
        raise TermsRefused(sheet.problems)
    if accepted and accepted != sheet.fingerprint:
        raise TermsChanged(
            tell("The terms have changed since you saw them; look at the new ones and take them again.")
        )
    _refuse_without_papers(sheet, at=at)
    application, offer = applications.drafted(
        sheet.request, sheet, at=at, waits=sheet.product.quote_hours, more={"supply": _told(takings)}
    )
    offers.accept(application, offer, by=application.applicant_id, at=at)
    submitted = Application.Status.SUBMITTED
    move(application, submitted, at=at, actor=actor, version=1, sheet=offer.sha256)
    origination.grant_released(application, actor=JOB, at=at)
    loan = Loan.objects.select_related("debt", "asset").get(line__application=application)
    supply.took(loan.pk, [(taking.order, taking.amount) for taking in takings])
    return loan


def check(request: Request, takings: tuple[Taking, ...], *, at: datetime) -> TermSheet:
    """What the loan would cost and do to its group, with all that stands in its way. Writes nothing. R-VIP-26

    Raises:
        matching.BadTaking, NotOnOffer, OtherRate, TooLittle, TooMuch: what is taken does not fit what is offered.
    """
    asset, term_days = _of_one_coin(request, takings)
    known: Mapping[int, OnOffer] = supply.offers_of([taking.order for taking in takings], at=at)
    refuse_unfit(takings, known, asset=asset, term_days=term_days)
    rate = weighted_rate(takings)
    request = replace(request, rate_type=RateType.FIXED.value, negotiated=True)
    return terms.check(request, at=at, agreed=Agreed(rates={asset: rate}))


def request_for(
    takings: tuple[Taking, ...],
    *,
    asset: str,
    term_days: int,
    customer_id: int,
    applicant_id: int,
    asked_by: int | None,
    receiver_uid: int,
    account_uids: tuple[int, ...],
    coins: tuple[str, ...],
    contact: str,
    auto_repay: bool,
) -> Request:
    """The request that goes with these takings."""
    return Request(
        customer_id=customer_id,
        applicant_id=applicant_id,
        receiver_uid=receiver_uid,
        account_uids=account_uids,
        coins=coins,
        wishes=(Wish(asset, total(takings)),),
        rate_type=RateType.FIXED.value,
        term_days=term_days,
        contact=contact,
        purpose=tell("Taken from the fixed-rate market"),
        asked_by=asked_by,
        auto_repay=auto_repay,
        negotiated=True,
    )


# --- Private ----------------------------------------------------------------------------------------


def _of_one_coin(request: Request, takings: tuple[Taking, ...]) -> tuple[str, int]:
    wishes: Mapping[str, Decimal] = {wish.asset: wish.amount for wish in request.wishes}
    if len(request.wishes) != 1 or request.term_days is None or set(wishes.values()) != {total(takings)}:
        raise BadTaking(tell("One coin is taken for one term, and just as much of it as is borrowed."))
    return request.wishes[0].asset, request.term_days


def _refuse_without_papers(sheet: TermSheet, *, at: datetime) -> None:
    customer = Customer.objects.get(pk=sheet.request.customer_id)
    if papers.problems_of(customer, at=at):
        raise PapersMissing(
            tell(
                "We still have to check the papers of {customer} before we can pay out. You may send"
                " a request meanwhile; your VIP manager decides it as soon as the check is done.",
                customer=customer.name,
            )
        )


def _told(takings: tuple[Taking, ...]) -> list[dict[str, Any]]:
    """As the signed sheet says it, by order."""
    return [
        {"order": taking.order, "rate": sheets.plain(taking.rate), "amount": sheets.plain(taking.amount)}
        for taking in sorted(takings, key=lambda taking: taking.order)
    ]
