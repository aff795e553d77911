"""The negotiation room: versions of one term sheet, by turns, until both sides hold the same one (R-VIP-11, 24).

At most one offer of a request is open and at most one is accepted. Each answer names the version it is about, so
nobody accepts what they have not seen; an offer ends at its time, whether or not the job that says so has run.
"""

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import User
from accounts.powers import MemberRule, Power
from accounts.words import tell
from loans import authority, ratecards
from loans.models import Application, LoanEvent, Offer
from loans.vip import messages, sheets, stakes
from loans.vip.moves import (
    UNDECIDED,
    answer,
    borrower_of,
    manager_of,
    move,
    undecided,
)
from loans.vip.sheets import Body, Wanted
from risk import book, parameters
from risk.levels import Lines
from risk.models import CollateralGroup, Debt, ProductCode

logger = logging.getLogger(__name__)
Status = Application.Status
Side = Offer.Side

HIGHEST_LIQUIDATION: Final = Decimal("0.91")  # above it, two persons offer it (R-VIP-50)
LONGEST_MESSAGE: Final = 2000  # characters; the width of the column
MOST_LAPSED: Final = 500  # per run of the job
MANAGERS: Final = frozenset({User.Role.VIP_MANAGER})


class OtherVersion(Refused):
    code = "other_version"


class NotYourMove(Refused):
    code = "not_your_move"


class NothingChanged(Refused):
    code = "nothing_changed"


class LongMessage(Refused):
    code = "long_message"


# --- Four eyes --------------------------------------------------------------------------------------------


def is_looser(lines: Lines | Wanted, *, than: Lines) -> bool:
    """Whether `lines` give the borrower more than the published ones: a second person agrees. R-ADM-03"""
    names = ("initial", "margin_call", "liquidation", "cutoff")
    above = any(getattr(lines, name) > getattr(than, name) for name in names)
    return above or lines.liquidation > HIGHEST_LIQUIDATION or lines.fee < than.fee


def _gives_more(application_id: int, lines: Lines | Wanted, *, at: datetime) -> bool:
    """More than was published when the request was made, or than is now: neither is one person's to give."""
    published = Offer.objects.filter(application=application_id, version=1).first()
    if published is None:
        return True
    application = Application.objects.select_related("customer").get(pk=application_id)
    owed = Debt.objects.open().filter(group__receiver=application.receiver_id, product=application.product)
    coins = {loan["asset"] for loan in published.body["loans"]} | set(owed.values_list("asset", flat=True))
    today = parameters.lines_for(
        product=application.product, customer=application.customer, assets=coins, at=at
    )
    return any(is_looser(lines, than=than) for than in (sheets.lines_of(published.body), today))


def _offers_more(arguments: Mapping[str, Any]) -> bool:
    return _gives_more(arguments["application_id"], arguments["wanted"], at=arguments["at"])


def _grants_more(arguments: Mapping[str, Any]) -> bool:
    asked = arguments["application_id"]
    offer = Offer.objects.filter(application=asked, version=arguments["version"]).first()
    return offer is None or _gives_more(asked, sheets.lines_of(offer.body), at=arguments["at"])


# --- The desk's moves ---------------------------------------------------------------------------------------


@command(
    "vip.counter_offer",
    returns=Offer,
    four_eyes=authority.four_eyes(stakes.of_counter_offer, makers=MANAGERS, needed=_offers_more),
)
def counter_offer(
    *,
    application_id: int,
    version: int,
    wanted: Wanted,
    actor: Actor,
    at: datetime,
    message: str = "",
    key: str = "",
    reason: str = "",
) -> Offer:
    """The manager answers `version` with other terms; the borrower has the product's offer hours. R-VIP-11, R-VIP-24

    Raises:
        WrongState, Lapsed, ManagerOnly, OtherVersion: as for every answer.
        NotYourMove: the desk's own offer waits for the borrower.
        sheets.BadTerms, NothingChanged: what is wanted cannot be offered, or is `version` itself.
    """
    application = undecided(application_id, at=at, doing="offer")
    manager = manager_of(application, actor)
    last = _latest(application, version)
    if application.status == Status.OFFERED:
        raise NotYourMove(
            tell(
                "{last} waits for the borrower until {expires_at}; then it is your move again.",
                last=last,
                expires_at=_when(last.expires_at),
            )
        )
    body = next_body(application, last, wanted, at=at)
    supersede(application, last, by=manager, at=at)
    product = ratecards.product_at(ProductCode.VIP, at=at)
    application.expires_at = at + timedelta(hours=product.offer_hours)
    offer = put(application, body, side=Side.DESK, author=manager, message=message, at=at)
    move(application, Status.OFFERED, at=at, actor=actor, version=offer.version)
    messages.offered(offer, at=at)
    return offer


@command(
    "vip.accept_counter",
    returns=Offer,
    four_eyes=authority.four_eyes(stakes.of_counter, makers=MANAGERS, needed=_grants_more),
)
def accept_counter(
    *, application_id: int, version: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Offer:
    """The manager accepts what the borrower wants; the request goes to review on these terms. R-VIP-11

    Raises:
        WrongState, Lapsed, ManagerOnly, OtherVersion: as for every answer.
        NotYourMove: `version` is no open offer of the borrower.
    """
    application = undecided(application_id, at=at, among={Status.NEGOTIATING}, doing="accept")
    manager = manager_of(application, actor)
    offer = _open(application, version, side=Side.BORROWER)
    _settle(application, offer, by=manager, actor=actor, at=at)
    messages.counter_accepted(offer, at=at)
    return offer


# --- The borrower's moves -----------------------------------------------------------------------------------


@command("vip.accept_offer", returns=Offer, member=MemberRule(Power.ACCEPT, two="accept"))
def accept_offer(
    *, application_id: int, version: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Offer:
    """The borrower accepts the desk's offer; it binds the desk for the product's quote hours. R-VIP-11, R-VIP-18

    Raises:
        WrongState, Lapsed, BorrowerOnly, OtherVersion: as for every answer.
    """
    application = undecided(application_id, at=at, among={Status.OFFERED}, doing="accept")
    borrower = borrower_of(application, actor)
    offer = _open(application, version, side=Side.DESK)
    _settle(application, offer, by=borrower, actor=actor, at=at)
    return offer


@command("vip.counter", returns=Offer, member=MemberRule(Power.APPLY, two="apply"))
def counter(
    *,
    application_id: int,
    version: int,
    wanted: Wanted,
    actor: Actor,
    at: datetime,
    message: str = "",
    key: str = "",
    reason: str = "",
) -> Offer:
    """The borrower answers the desk's offer, or one that they declined, with other terms. R-VIP-11

    Raises:
        WrongState, Lapsed, BorrowerOnly, OtherVersion: as for every answer.
        NotYourMove: the borrower's own wish waits for the manager.
        sheets.BadTerms, NothingChanged: what is wanted cannot be offered, or is `version` itself.
    """
    in_talks = {Status.OFFERED, Status.NEGOTIATING}
    application = undecided(application_id, at=at, among=in_talks, doing="negotiate")
    borrower = borrower_of(application, actor)
    last = _latest(application, version)
    if last.status == Offer.Status.OPEN and last.side == Side.BORROWER:
        raise NotYourMove(
            tell(
                "{last} is your own and waits for your manager until {expires_at}.",
                last=last,
                expires_at=_when(last.expires_at),
            )
        )
    body = next_body(application, last, wanted, at=at)
    supersede(application, last, by=borrower, at=at)
    product = ratecards.product_at(ProductCode.VIP, at=at)
    application.expires_at = at + timedelta(hours=product.quote_hours)
    offer = put(application, body, side=Side.BORROWER, author=borrower, message=message, at=at)
    _to_negotiating(application, at=at, actor=actor, version=offer.version)
    return offer


@command("vip.decline_offer", returns=Offer, member=MemberRule(Power.ACCEPT))
def decline_offer(
    *, application_id: int, version: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Offer:
    """The borrower declines the desk's offer; the request stays open for another one by either side. R-VIP-11

    Raises:
        WrongState, Lapsed, BorrowerOnly, OtherVersion: as for every answer.
    """
    application = undecided(application_id, at=at, among={Status.OFFERED}, doing="decline")
    borrower = borrower_of(application, actor)
    offer = _open(application, version, side=Side.DESK)
    answer(offer, Offer.Status.DECLINED, at=at, by=borrower)
    product = ratecards.product_at(ProductCode.VIP, at=at)
    application.expires_at = at + timedelta(hours=product.quote_hours)
    _to_negotiating(application, at=at, actor=actor, version=version)
    return offer


# --- Time -----------------------------------------------------------------------------------------------------


@command("vip.lapse", returns=Application)
def lapse(*, application_id: int, actor: Actor, at: datetime, key: str = "", reason: str = "") -> Application:
    """Write down that nobody answered or decided in time, and tell the borrower. R-VIP-11, R-VIP-12

    A request that is not due, or is decided by now, stays as it is.
    """
    application = Application.objects.locked(application_id)
    is_due = application.expires_at is not None and application.expires_at <= at
    if application.status not in UNDECIDED or not is_due:
        return application
    for offer in application.offers.filter(status__in=[Offer.Status.OPEN, Offer.Status.ACCEPTED]):
        answer(offer, Offer.Status.EXPIRED, at=at, by=None)
    application.accepted = None
    before = application.status
    move(application, Status.EXPIRED, at=at, actor=actor, was=str(before))
    messages.lapsed(application, was=str(before), at=at)
    return application


def expire_due(*, at: datetime, most: int = MOST_LAPSED) -> int:
    """Every request and offer whose time is over, oldest first; returns how many. Safe to run twice, or two at once."""
    due = Application.objects.filter(status__in=UNDECIDED, expires_at__lte=at).order_by("expires_at", "pk")
    lapsed = 0
    for pk in list(due.values_list("pk", flat=True)[:most]):
        try:
            row = lapse(application_id=pk, actor=Actor.job("expire-offers"), at=at)
        except Refused as refusal:
            logger.info("request %s did not lapse: %s", pk, refusal.message)
        else:
            lapsed += row.status == Status.EXPIRED
    return lapsed


# --- Steps, inside a command and under the request's lock ------------------------------------------------------


def next_body(application: Application, last: Offer, wanted: Wanted, *, at: datetime) -> Body:
    """The body that answers `last`.

    Raises:
        sheets.BadTerms: nobody may offer it.
        NothingChanged: it says what `last` says.
    """
    group = CollateralGroup.objects.open().filter(
        receiver=application.receiver_id, product=application.product
    )
    body = sheets.revised(
        last.body, wanted, version=last.version + 1, replaces=_lines_now(group.first(), at), at=at
    )
    if not sheets.differences(last.body, body):
        raise NothingChanged(
            tell("These are the terms of {last}; change something, or accept it.", last=last)
        )
    return body


def put(
    application: Application, body: Body, *, side: Side, author: User, message: str, at: datetime
) -> Offer:
    """The next version, open until the request's own time is over."""
    if len(message.strip()) > LONGEST_MESSAGE:
        raise LongMessage(
            tell("A message has at most {longest_message} characters.", longest_message=LONGEST_MESSAGE)
        )
    assert application.expires_at is not None
    return Offer.objects.create(
        application=application,
        version=body["version"],
        side=side,
        author=author,
        made_at=at,
        expires_at=application.expires_at,
        body=body,
        sha256=sheets.digest(body),
        message=message.strip(),
    )


def supersede(application: Application, last: Offer, *, by: User, at: datetime) -> None:
    """A new version takes the place of `last`, open or accepted; one that was declined stays declined."""
    if last.status in (Offer.Status.OPEN, Offer.Status.ACCEPTED):
        answer(last, Offer.Status.COUNTERED, at=at, by=by)
    application.accepted = None


def accept(application: Application, offer: Offer, *, by: int, at: datetime) -> None:
    """Mark the offer, and the request as standing on it."""
    offer.status, offer.answered_at, offer.answered_by_id = Offer.Status.ACCEPTED, at, by
    offer.save(update_fields=["status", "answered_at", "answered_by"])
    application.accepted = offer


# --- Private --------------------------------------------------------------------------------------------------


def _settle(application: Application, offer: Offer, *, by: User, actor: Actor, at: datetime) -> None:
    product = ratecards.product_at(ProductCode.VIP, at=at)
    accept(application, offer, by=by.pk, at=at)
    application.expires_at = at + timedelta(hours=product.quote_hours)
    move(application, Status.SUBMITTED, at=at, actor=actor, version=offer.version, sheet=offer.sha256)


def _to_negotiating(application: Application, *, at: datetime, actor: Actor, version: int) -> None:
    if application.status != Status.NEGOTIATING:
        move(application, Status.NEGOTIATING, at=at, actor=actor, version=version)
        return
    application.save(update_fields=["accepted", "expires_at"])
    LoanEvent.objects.create(
        application=application, kind="countered", at=at, actor=actor.label, facts={"version": version}
    )


def _latest(application: Application, version: int) -> Offer:
    """The newest version, when it is the one the answer is about."""
    last = application.offers.order_by("-version").first()
    if last is None or last.version != version:
        now = "nothing" if last is None else tell("version {version}", version=last.version)
        raise OtherVersion(
            tell(
                "{application} is at {now}, not at version {version}; look at it again.",
                application=application,
                now=now,
                version=version,
            )
        )
    return last


def _open(application: Application, version: int, *, side: Side) -> Offer:
    offer = _latest(application, version)
    if offer.status != Offer.Status.OPEN or offer.side != side:
        raise NotYourMove(
            tell(
                "{str} is {status}; nothing waits for you there.",
                str=offer.__str__().capitalize(),
                status=offer.get_status_display(),
            )
        )
    return offer


def _lines_now(group: CollateralGroup | None, at: datetime) -> Lines | None:
    return None if group is None else book.state_of(group, at=at).lines


def _when(instant: datetime) -> str:
    return tell("{instant:%-d %B %Y, %H:%M} UTC", instant=instant)
