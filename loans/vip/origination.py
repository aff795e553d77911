"""The decision on a request, and the money. What was checked at submission is checked again under the locks.

Approving and paying out are one transaction: there is no approved loan without its coins (R-VIP-14). Every loan
stands on the sheet that was accepted; a coin that cannot be lent any more stays out and the others go on.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from accounts.commands import Actor, NeedsApproval, command, needs_release, registered, releasing
from accounts.errors import Refused
from accounts.models import User
from accounts.money import ZERO
from accounts.words import joined, tell
from loans import authority, limits
from loans.models import Application, ApplicationLine, Loan, LoanEvent, Offer, RateType, SignedSheet
from loans.vip import messages, papers, sheets, stakes, terms
from loans.vip.moves import (
    ManagerOnly,
    TermsRefused,
    answer,
    manager_of,
    move,
    undecided,
)
from loans.vip.reviewing import review
from loans.vip.stakes import worth
from risk import debts, groups, parameters
from risk.models import CollateralGroup

__all__ = ["ManagerOnly", "approve", "auto_approve", "grant_released", "reject", "review", "worth"]

AUTO: Final = Actor.job("auto-approval")
APPROVE: Final = "vip.approve"


class ReasonNeeded(Refused):
    code = "reason_needed"


class SheetChanged(Refused):
    code = "sheet_changed"


class AllOrNothing(Refused):
    """R-VIP-19"""

    code = "all_or_nothing"


class NotAutomatic(Refused):
    """R-VIP-12: too large, too high an LTV or no published terms; a manager decides."""

    code = "not_automatic"


class WaitsForPapers(NotAutomatic):
    """R-ADM-10: all else would be granted; it is, as soon as the customer's checks are clear."""

    code = "waits_for_papers"


# --- Commands ---------------------------------------------------------------------------------------------


@command(
    APPROVE,
    returns=Application,
    four_eyes=authority.four_eyes(
        stakes.of_approval,
        makers=frozenset({User.Role.VIP_MANAGER}),
        needed=stakes.is_large,
        worth=worth,
    ),
)
def approve(
    *,
    application_id: int,
    sheet_sha256: str,
    actor: Actor,
    at: datetime,
    coins: tuple[str, ...] | None = None,
    note: str = "",
    key: str = "",
    reason: str = "",
) -> Application:
    """Check everything again, open or extend the group, sign the sheet and pay out. R-VIP-06, R-VIP-12…15, R-GEN-42

    `sheet_sha256` names the accepted sheet the decision is about. `coins` pays out these only; `note` tells the
    borrower why. A coin over its limit or the pool by now stays out too, unless the bundle is all or nothing.

    Raises:
        WrongState, Lapsed: the request is decided or cancelled, or its time is over.
        ManagerOnly: the actor is not this customer's VIP manager, or is the applicant. TRUST I-24
        SheetChanged: another sheet is accepted by now.
        AllOrNothing, ReasonNeeded: a coin is left out of a whole bundle, or without a word why.
        TermsRefused: LTV, lines, limits, prices or accounts no longer allow it; nothing was paid out.
        groups.AccountInUse, debts.PoolEmpty, limits.OverPlatformCap: as the message says; nothing was paid out.
    """
    application = undecided(application_id, at=at, among={Application.Status.SUBMITTED})
    manager = manager_of(application, actor)
    offer = _accepted(application)
    if offer.sha256 != sheet_sha256:
        raise SheetChanged(
            tell(
                "{application} stands on {offer} now; look at it again before you decide.",
                application=application,
                offer=offer,
            )
        )
    left_out = _unticked(application, coins, note)
    _refuse_alone(application, coins, actor=actor, at=at)
    application.decided_by, application.decision_reason = manager, note.strip()
    return _grant(application, offer, left_out, at=at, actor=actor)


@command("vip.auto_approve", returns=Application)
def auto_approve(
    *, application_id: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Application:
    """Grant a request that is small and safe enough for nobody to look at. R-VIP-12

    Only terms as published, for all coins, up to the product's USD line of a day and LTV line for it.

    Raises:
        NotAutomatic: it is not; it waits for the manager. WaitsForPapers: only a check of the customer is missing.
        ManagerOnly: somebody else than the job calls this. The others as `approve`.
    """
    if actor != AUTO:
        raise ManagerOnly(tell("Only the automatic review does this; the VIP manager approves or rejects."))
    application = undecided(application_id, at=at, among={Application.Status.SUBMITTED})
    offer = _accepted(application)
    limits.hold(application.customer)
    sheet = review(application, at=at)
    product, effect = sheet.product, sheet.effect
    earlier = limits.lent_lately(application.customer, by=AUTO.label, at=at)
    is_small = bool(sheet.lines) and earlier is not None and earlier + sheet.value <= product.auto_approve_usd
    is_safe = effect is not None and not effect.after.is_above(product.auto_approve_ltv)
    is_whole = not application.terms["declined"] and len(sheet.accepted_lines) == application.lines.count()
    others = sheet.without(papers.CODES).problems
    if sheets.is_bargained(offer) or others or not (is_small and is_safe and is_whole):
        raise NotAutomatic(tell("{application} waits for the VIP manager.", application=application))
    if sheet.problems:
        raise WaitsForPapers(
            tell(
                "{application} waits for the checks of {customer}.",
                application=application,
                customer=application.customer.name,
            )
        )
    return _grant(application, offer, {}, at=at, actor=actor)


@command("vip.reject", returns=Application)
def reject(*, application_id: int, actor: Actor, at: datetime, reason: str, key: str = "") -> Application:
    """Refuse a request, in review or in negotiation, and tell the borrower why. R-VIP-12

    Raises:
        ReasonNeeded: no reason is given.
        WrongState, Lapsed, ManagerOnly: as `approve`.
    """
    if not reason.strip():
        raise ReasonNeeded(tell("Say why the request is rejected; the borrower will read it."))
    application = undecided(application_id, at=at)
    manager = manager_of(application, actor)
    end_offers(application, at=at, by=manager, side=Offer.Side.DESK)
    application.decided_at, application.decided_by = at, manager
    application.decision_reason = reason.strip()
    move(application, Application.Status.REJECTED, at=at, actor=actor)
    messages.rejected(application, at=at)
    return application


def grant_released(application: Application, *, actor: Actor, at: datetime) -> Application:
    """Pay out what is taken of released supply: its release was the decision on the money. R-VIP-26

    Inside a command, under the locks of what is taken. Everything is checked again, as by `approve`, which says what
    is raised; nobody's limit of amount or LTV is asked for.
    """
    return _grant(application, _accepted(application), {}, at=at, actor=actor)


def end_offers(application: Application, *, at: datetime, by: User | None, side: Offer.Side) -> None:
    """`side` ends the request: what it offered is withdrawn, what waits for it is declined, nothing stays accepted."""
    open_offer = application.offers.filter(status=Offer.Status.OPEN).first()
    if open_offer is not None:
        is_own = open_offer.side == side
        answer(open_offer, Offer.Status.WITHDRAWN if is_own else Offer.Status.DECLINED, at=at, by=by)
    if application.accepted is not None:
        answer(application.accepted, Offer.Status.WITHDRAWN, at=at, by=by)
        application.accepted = None


# --- Private ----------------------------------------------------------------------------------------------


def _refuse_alone(
    application: Application, coins: tuple[str, ...] | None, *, actor: Actor, at: datetime
) -> None:
    """Ask again under the client's lock: of two approvals at once the second counts what the first has lent. R-ADM-10

    Raises:
        NeedsApproval: by now it is more than one person may approve.
    """
    limits.hold(application.customer)
    if releasing.get():  # a second person releases it at this moment
        return
    asked = {"application_id": application.pk, "coins": coins, "actor": actor, "at": at}
    if actor.user_id is not None and needs_release(registered[APPROVE], asked, at=at):
        raise NeedsApproval(tell("By now this needs a second person: propose it, and they release it."))


def _accepted(application: Application) -> Offer:
    if application.accepted is None:
        raise SheetChanged(
            tell(
                "{application} has no accepted term sheet; reject it and ask the client for a new request.",
                application=application,
            )
        )
    return application.accepted


def _unticked(application: Application, coins: tuple[str, ...] | None, note: str) -> dict[str, str]:
    asked = set(application.lines.values_list("asset_id", flat=True))
    if coins is None or set(coins) == asked:
        return {}
    if not coins or not set(coins) < asked:
        raise ReasonNeeded(
            tell("Choose at least one coin of {application}, or reject it.", application=application)
        )
    if application.all_or_nothing:
        raise AllOrNothing(
            tell(
                "{application} is all or nothing: approve every coin, or reject it.", application=application
            )
        )
    if not note.strip():
        raise ReasonNeeded(tell("Say why a coin is left out; the borrower will read it."))
    return dict.fromkeys(sorted(asked - set(coins)), note.strip())


# --- The money --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Grant:
    """A request that is granted: on which sheet, into which group, by whom."""

    application: Application
    sheet: SignedSheet
    group: CollateralGroup
    actor: Actor
    at: datetime


def _grant(
    application: Application, offer: Offer, left_out: Mapping[str, str], *, at: datetime, actor: Actor
) -> Application:
    """Lock, check again, sign, pay out. The request is locked already."""
    accounts = list(application.collateral_accounts.order_by("pk"))
    limits.hold(application.customer)
    groups.hold(uids=[account.pk for account in accounts], receiver=application.receiver_id)
    sheet = review(application, at=at, left_out=left_out)
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
    left_out = {line.asset: line.declined for line in sheet.lines if line.declined} | dict(left_out)
    signed = sheets.sign(
        customer=application.customer,
        body=offer.body,
        offer=offer,
        signed_by=_signed_by(offer),
        note=joined(
            " ", (tell("{symbol}: {why}", symbol=symbol, why=why) for symbol, why in sorted(left_out.items()))
        ),
        at=at,
    )
    application.decided_at = at
    is_whole = not left_out
    status = Application.Status.APPROVED if is_whole else Application.Status.PARTIALLY_APPROVED
    move(application, status, at=at, actor=actor, sheet=signed.sha256, left_out=left_out)
    grant = _Grant(application, signed, group, actor, at)
    lines = {line.asset_id: line for line in application.lines.select_related("asset")}
    loans = [_pay_out(grant, lines[asked.asset], asked) for asked in sheet.accepted_lines]
    move(application, Application.Status.DISBURSED, at=at, actor=actor, loans=[loan.pk for loan in loans])
    messages.paid_out(application, loans, left_out=left_out, at=at)
    return application


def _signed_by(offer: Offer) -> str:
    """Whoever accepted; of a counter-offer of the borrower that is the manager, so its author signs too."""
    names = [user for user in (offer.author_id, offer.answered_by_id) if user is not None]
    return joined(tell(" and "), (f"user:{pk}" for pk in names))


def _pay_out(grant: _Grant, line: ApplicationLine, priced: terms.Line) -> Loan:
    """One coin: a debt out of the pool into the receiver's Spot, and the loan that prices it. No fee. R-VIP-14"""
    application, at, body = grant.application, grant.at, grant.sheet.body
    annual_rate = priced.annual_rate
    assert annual_rate is not None, "a coin without a rate is a problem of the sheet"
    is_fixed, term_days = application.rate_type == RateType.FIXED, body["term_days"]
    due_at = None if term_days is None else at + timedelta(days=term_days)
    debt = debts.open_debt(
        group=grant.group,
        asset=line.asset,
        amount=line.amount,
        receiver=application.receiver,
        due_at=due_at,
        fixed_rate=annual_rate if is_fixed else None,
        spread=ZERO if is_fixed else sheets.rates_of(body)[line.asset_id],
        late_multiplier=body["late_multiplier"],
        overdue_hours=body["overdue_hours"],
        at=at,
    )
    limits.refuse_over_platform(line.asset, at)
    loan = Loan.objects.create(
        product=application.product,
        customer=application.customer,
        line=line,
        group=grant.group,
        debt=debt,
        asset=line.asset,
        amount=line.amount,
        rate_type=application.rate_type,
        annual_rate=annual_rate,
        term_days=term_days,
        drawn_at=at,
        due_at=due_at,
        sheet=grant.sheet,
        sheet_sha256=grant.sheet.sha256,
    )
    facts = {"amount": f"{line.amount:f}", "annual_rate": f"{annual_rate:f}", "sheet": grant.sheet.sha256}
    _record(grant, loan, "drawn", facts)
    if application.auto_repay and due_at is not None:
        _record(grant, loan, "auto_repay_on", {})  # R-VIP-47; the borrower may switch it off until expiry
    return loan


def _record(grant: _Grant, loan: Loan, kind: str, facts: dict[str, str]) -> None:
    LoanEvent.objects.create(
        application=grant.application, loan=loan, kind=kind, at=grant.at, actor=grant.actor.label, facts=facts
    )
