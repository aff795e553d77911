"""How a request moves: the one door to a new state, who may push it, and until when (R-VIP-12, R-VIP-18).

A request that nobody decided in time has lapsed at that instant, whether or not the job that says so has run.
"""

from collections.abc import Collection, Iterable
from datetime import datetime
from decimal import Decimal
from typing import Any

from accounts.commands import Actor
from accounts.errors import Refused
from accounts.models import User
from accounts.words import joined, tell
from loans.lifecycle import APPLICATION_MOVES
from loans.models import Application, LoanEvent, Offer
from loans.ratecards import FIXED_TERMS
from loans.vip.eligibility import Problem, Request, Wish

Status = Application.Status
UNDECIDED = frozenset({Status.SUBMITTED, Status.NEGOTIATING, Status.OFFERED})
FIELDS = ["status", "accepted", "expires_at", "decided_at", "decided_by", "decision_reason"]


class TermsRefused(Refused):
    """The request cannot be granted as it is; `problems` says why, field by field."""

    code = "terms_refused"

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__(joined(" ", (problem.message for problem in self.problems)))


class TermsChanged(Refused):
    code = "terms_changed"


class WrongState(Refused):
    code = "application_state"


class Lapsed(Refused):
    code = "application_lapsed"


class ManagerOnly(Refused):
    code = "manager_only"


class BorrowerOnly(Refused):
    code = "borrower_only"


def move(application: Application, status: Status, *, at: datetime, actor: Actor, **facts: Any) -> None:
    """Change the state of a locked request and record it. Inside a command.

    Raises:
        WrongState: the request is in a state from which this one does not follow.
    """
    if (application.status, status) not in APPLICATION_MOVES:
        raise WrongState(
            tell(
                "{application} is {status}; it cannot become {status2}.",
                application=application,
                status=application.get_status_display().lower(),
                status2=status.label.lower(),
            )
        )
    application.status = status
    application.save(update_fields=FIELDS)
    LoanEvent.objects.create(application=application, kind=status, at=at, actor=actor.label, facts=facts)


def undecided(
    application_id: int, *, at: datetime, among: Collection[Status] = UNDECIDED, doing: str = "decide"
) -> Application:
    """The request, locked, when something may still be done about it.

    Raises:
        WrongState: it is in none of the states `among`.
        Lapsed: its time was over at `at`.
    """
    application = Application.objects.locked(application_id)
    if application.status not in among:
        raise WrongState(
            tell(
                "{application} is {status}; there is nothing to {doing}.",
                application=application,
                status=application.get_status_display().lower(),
                doing=doing,
            )
        )
    if application.expires_at is not None and application.expires_at <= at:
        raise Lapsed(
            tell(
                "{application} lapsed on {expires_at:%-d %B %Y, %H:%M} UTC; nobody answered in time."
                " The borrower can send a new request at today's terms.",
                application=application,
                expires_at=application.expires_at,
            )
        )
    return application


def manager_of(application: Application, actor: Actor) -> User:
    """The user behind the actor, if they are the customer's manager and not the applicant. TRUST I-24

    Raises:
        ManagerOnly: anybody else; the message names who may, and what to do when nobody can.
    """
    customer = application.customer
    manager = customer.manager
    if manager is None or actor.user_id != manager.pk or not manager.is_active:
        who = manager.name if manager is not None else tell("nobody yet")
        way_out = (
            tell("Ask them") if manager is not None and manager.is_active else tell("Ask an administrator")
        )
        raise ManagerOnly(
            tell(
                "Only the VIP manager of {customer} may decide {application}; that is {who}."
                " {way_out}, or have the client assigned to another manager in the console.",
                customer=customer.name,
                application=application,
                who=who,
                way_out=way_out,
            )
        )
    if manager.role != User.Role.VIP_MANAGER or manager.pk == application.applicant_id:
        raise ManagerOnly(
            tell(
                "{manager} cannot decide {application}: nobody decides their own request. An"
                " administrator can assign the client to another manager in the console.",
                manager=manager.name,
                application=application,
            )
        )
    return manager


def borrower_of(application: Application, actor: Actor) -> User:
    """The user behind the actor, if they act for the whole customer.

    Raises:
        BorrowerOnly: anybody else.
    """
    # Who acts for one account only does not answer for the master. R-VIP-02, R-GEN-95
    members = application.customer.memberships.filter(user__is_active=True, account=None).select_related(
        "user"
    )
    member = members.filter(user_id=actor.user_id).first() if actor.user_id is not None else None
    if member is None:
        raise BorrowerOnly(
            tell(
                "Only someone who acts for {customer} may answer for {application}.",
                customer=application.customer.name,
                application=application,
            )
        )
    return member.user


def answer(offer: Offer, status: Offer.Status, *, at: datetime, by: User | None) -> None:
    """Record what became of an offer. Inside a command, under the request's lock."""
    offer.status, offer.answered_at, offer.answered_by = status, at, by
    offer.save(update_fields=["status", "answered_at", "answered_by"])


def request_of(
    application: Application, *, offer: Offer | None = None, coins: Collection[str] | None = None
) -> Request:
    """The request on the terms of `offer` (as accepted when None), for `coins` of it or for all.

    Coins that were over their limit at the start are not in it.
    """
    offer = offer or application.accepted
    term_days = application.term_days if offer is None else offer.body["term_days"]
    lines = application.lines.order_by("asset_id")
    wishes = tuple(
        Wish(line.asset_id, Decimal(line.amount)) for line in lines if coins is None or line.asset_id in coins
    )
    return Request(
        customer_id=application.customer_id,
        applicant_id=application.applicant_id,
        receiver_uid=application.receiver_id,
        account_uids=tuple(sorted(application.collateral_accounts.values_list("pk", flat=True))),
        coins=tuple(sorted(application.collateral_coins.values_list("pk", flat=True))),
        wishes=wishes,
        rate_type=application.rate_type,
        term_days=term_days,
        contact=application.contact,
        purpose=application.purpose,
        manager_id=application.manager_id,
        all_or_nothing=application.all_or_nothing,
        auto_repay=application.auto_repay,
        negotiated=term_days is not None and term_days not in FIXED_TERMS,
    )
