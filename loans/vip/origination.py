"""The decision on a request, and the money. What was checked at submission is checked again under the locks.

Approving and paying out are one transaction: there is no approved loan without its coins (R-VIP-14). Every loan
stands on the sheet that was accepted; a coin that cannot be lent any more stays out and the others go on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from accounts.commands import Actor, FourEyes, command
from accounts.errors import Refused
from accounts.models import User
from accounts.money import ZERO, exact
from loans import limits, ratecards
from loans.models import Application, ApplicationLine, Loan, LoanEvent, Offer, RateType, SignedSheet
from loans.vip import messages, sheets, terms
from loans.vip.moves import (
    ManagerOnly,
    TermsRefused,
    answer,
    manager_of,
    move,
    request_of,
    undecided,
)
from loans.vip.terms import Problem, TermSheet
from risk import debts, groups, parameters, prices
from risk.models import CollateralGroup, ProductCode

__all__ = ["ManagerOnly", "approve", "auto_approve", "reject", "review"]

AUTO: Final = Actor.job("auto-approval")
SETTLED: Final = frozenset({"agreement_needed", "below_minimum", "below_order_minimum"})
"""Problems of a new request that do not undo an accepted one: prices moved, or a text was published."""
PASSING: Final = frozenset({"stale_price"})
"""Problems of one coin that go away by themselves: the whole decision waits instead of leaving the coin out."""
DECIDERS: Final = frozenset({User.Role.VIP_MANAGER, User.Role.RISK_OFFICER, User.Role.ADMIN})


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


# --- Four eyes --------------------------------------------------------------------------------------------


@exact
def worth(arguments: Mapping[str, Any]) -> Decimal | None:
    """USD of the coins an approval would pay out and of what the client was lent in the last day. R-VIP-12

    At the latest prices; None without a price for one of them.
    """
    coins = arguments.get("coins")
    lines = ApplicationLine.objects.filter(application=arguments["application_id"])
    wanted = {line.asset_id: line.amount for line in lines if coins is None or line.asset_id in coins}
    quotes = prices.latest(at=arguments["at"], assets=wanted)
    customer = Application.objects.values_list("customer_id", flat=True).get(pk=arguments["application_id"])
    lately = limits.lent_lately(customer, at=arguments["at"])
    if lately is None or any(symbol not in quotes for symbol in wanted):
        return None
    return sum((amount * quotes[symbol].price for symbol, amount in wanted.items()), lately)


def is_large(arguments: Mapping[str, Any]) -> bool:
    """Whether an approval is above the line from which a second person releases it. R-VIP-12"""
    value = worth(arguments)
    product = ratecards.product_at(ProductCode.VIP, at=arguments["at"])
    return value is None or value > product.four_eyes_usd


# --- Commands ---------------------------------------------------------------------------------------------


@command(
    "vip.approve",
    returns=Application,
    four_eyes=FourEyes(
        makers=frozenset({User.Role.VIP_MANAGER}), checkers=DECIDERS, needed=is_large, worth=worth
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
        raise SheetChanged(f"{application} stands on {offer} now; look at it again before you decide.")
    left_out = _unticked(application, coins, note)
    application.decided_by, application.decision_reason = manager, note.strip()
    return _grant(application, offer, left_out, at=at, actor=actor)


@command("vip.auto_approve", returns=Application)
def auto_approve(
    *, application_id: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Application:
    """Grant a request that is small and safe enough for nobody to look at. R-VIP-12

    Only terms as published, for all coins, up to the product's USD line of a day and LTV line for it.

    Raises:
        NotAutomatic: it is not; it waits for the manager.
        ManagerOnly: somebody else than the job calls this. The others as `approve`.
    """
    if actor != AUTO:
        raise ManagerOnly("Only the automatic review does this; the VIP manager approves or rejects.")
    application = undecided(application_id, at=at, among={Application.Status.SUBMITTED})
    offer = _accepted(application)
    limits.hold(application.customer)
    sheet = review(application, at=at)
    product, effect = sheet.product, sheet.effect
    earlier = limits.lent_lately(application.customer, by=AUTO.label, at=at)
    is_small = bool(sheet.lines) and earlier is not None and earlier + sheet.value <= product.auto_approve_usd
    is_safe = effect is not None and not effect.after.is_above(product.auto_approve_ltv)
    is_whole = not application.terms["declined"] and len(sheet.accepted_lines) == application.lines.count()
    if sheets.is_bargained(offer) or sheet.problems or not (is_small and is_safe and is_whole):
        raise NotAutomatic(f"{application} waits for the VIP manager.")
    return _grant(application, offer, {}, at=at, actor=actor)


@command("vip.reject", returns=Application)
def reject(*, application_id: int, actor: Actor, at: datetime, reason: str, key: str = "") -> Application:
    """Refuse a request, in review or in negotiation, and tell the borrower why. R-VIP-12

    Raises:
        ReasonNeeded: no reason is given.
        WrongState, Lapsed, ManagerOnly: as `approve`.
    """
    if not reason.strip():
        raise ReasonNeeded("Say why the request is rejected; the borrower will read it.")
    application = undecided(application_id, at=at)
    manager = manager_of(application, actor)
    end_offers(application, at=at, by=manager, side=Offer.Side.DESK)
    application.decided_at, application.decided_by = at, manager
    application.decision_reason = reason.strip()
    move(application, Application.Status.REJECTED, at=at, actor=actor)
    messages.rejected(application, at=at)
    return application


def end_offers(application: Application, *, at: datetime, by: User | None, side: Offer.Side) -> None:
    """`side` ends the request: what it offered is withdrawn, what waits for it is declined, nothing stays accepted."""
    open_offer = application.offers.filter(status=Offer.Status.OPEN).first()
    if open_offer is not None:
        is_own = open_offer.side == side
        answer(open_offer, Offer.Status.WITHDRAWN if is_own else Offer.Status.DECLINED, at=at, by=by)
    if application.accepted is not None:
        answer(application.accepted, Offer.Status.WITHDRAWN, at=at, by=by)
        application.accepted = None


# --- Review -----------------------------------------------------------------------------------------------


def review(
    application: Application,
    *,
    at: datetime,
    offer: Offer | None = None,
    left_out: Mapping[str, str] | None = None,
) -> TermSheet:
    """What granting the request would do now: both sides' pages, and the check of `approve`. Writes nothing.

    On the terms of `offer`, as accepted when None. A coin over its limit or the pool by now is declined on its
    line and the others are judged without it; so are the coins of `left_out`. A fixed rate is the agreed one
    (R-VIP-18), a flexible one is today's with the agreed spread.
    """
    offer = offer or application.accepted
    dropped = dict(left_out or {})
    asked = list(application.lines.order_by("asset_id").values_list("asset_id", flat=True))
    declined: list[terms.Line] = []
    while True:  # each turn leaves out at least one more coin
        coins = [symbol for symbol in asked if symbol not in dropped]
        sheet = _checked(application, offer, coins, at)
        stuck = {} if application.all_or_nothing else _stuck(sheet)
        if not stuck or len(stuck) == len(coins):
            return replace(sheet, lines=(*sheet.lines, *declined))
        declined += [replace(line, declined=stuck[line.asset]) for line in sheet.lines if line.asset in stuck]
        dropped |= stuck


def _checked(application: Application, offer: Offer | None, coins: list[str], at: datetime) -> TermSheet:
    agreed = None if offer is None else sheets.agreed_of(offer)
    request = request_of(application, offer=offer, coins=coins)
    sheet = terms.check(request, at=at, agreed=agreed).without(SETTLED)
    over = [] if application.all_or_nothing else _declined(sheet)
    lines = [] if offer is None else _other_lines(offer, sheet)
    return replace(sheet, problems=(*sheet.problems, *over, *lines))


def _declined(sheet: TermSheet) -> list[Problem]:
    """A line that cannot be lent, as a problem of its coin; `check` says so itself when none can."""
    known = {problem.field for problem in sheet.problems}
    return [
        Problem(f"wishes.{line.asset}", line.declined_code or "above_limit", line.declined)
        for line in sheet.lines
        if line.declined and f"wishes.{line.asset}" not in known
    ]


def _stuck(sheet: TermSheet) -> dict[str, str]:
    """The coins with a problem of their own that does not pass by itself, and why."""
    own = [p for p in sheet.problems if p.field.startswith("wishes.") and p.code not in PASSING]
    return {problem.field.partition(".")[2]: problem.message for problem in own}


def _other_lines(offer: Offer, sheet: TermSheet) -> list[Problem]:
    """The group may only get lines its borrower accepted, from those they were told of (R-GEN-42)."""
    if sheet.effect is None:
        return []
    lines, current, accepted = sheet.effect.lines, sheet.effect.current_lines, sheets.lines_of(offer.body)
    if lines != accepted:  # not even when the group has them already: what is signed is what counts
        message = "The LTV lines have changed since the applicant accepted them; ask for a new request."
        return [Problem("levels", "lines_changed", message)]
    if current not in (None, lines, sheets.replaced_lines(offer.body)):
        message = (
            "The group has signed other LTV lines since this sheet was made, and the borrower was not told that it"
            " changes them; make a counter-offer that says so."
        )
        return [Problem("levels", "lines_changed", message)]
    return []


def _accepted(application: Application) -> Offer:
    if application.accepted is None:
        raise SheetChanged(
            f"{application} has no accepted term sheet; reject it and ask the client for a new request."
        )
    return application.accepted


def _unticked(application: Application, coins: tuple[str, ...] | None, note: str) -> dict[str, str]:
    asked = set(application.lines.values_list("asset_id", flat=True))
    if coins is None or set(coins) == asked:
        return {}
    if not coins or not set(coins) < asked:
        raise ReasonNeeded(f"Choose at least one coin of {application}, or reject it.")
    if application.all_or_nothing:
        raise AllOrNothing(f"{application} is all or nothing: approve every coin, or reject it.")
    if not note.strip():
        raise ReasonNeeded("Say why a coin is left out; the borrower will read it.")
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
        note=" ".join(f"{symbol}: {why}" for symbol, why in sorted(left_out.items())),
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
    return " and ".join(f"user:{pk}" for pk in names)


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
