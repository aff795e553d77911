"""Wishes that the form for requests cannot take, on their way to a manager and back (R-VIP-17).

Anybody who acts for a customer may ask: without a VIP level, above a limit, or for terms nobody lists. The
answer is a notice; letting the customer in or settling terms are commands of their own.
"""

from datetime import datetime
from typing import Final

from django.db.models import Q, QuerySet

from accounts import notices, people
from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Customer, User
from accounts.powers import MemberRule, Power
from accounts.words import tell
from loans.models import Enquiry

MOST_WAITING: Final = 5  # per customer, so that one cannot bury the queue
LONGEST_CONTACT, LONGEST_WISH, LONGEST_ANSWER = 200, 2000, 2000  # the columns


class BadEnquiry(Refused):
    """Something is missing, too long, or names an account that is not theirs."""

    code = "bad_enquiry"


class TooManyEnquiries(Refused):
    code = "too_many_enquiries"


class NotYourEnquiry(Refused):
    code = "not_your_enquiry"


class WrongState(Refused):
    code = "enquiry_state"


@command("loans.enquire", returns=Enquiry, member=MemberRule(Power.APPLY))
def ask(
    *,
    customer_id: int,
    contact: str,
    wish: str,
    actor: Actor,
    at: datetime,
    account_uid: int | None = None,
    key: str = "",
) -> Enquiry:
    """Put a wish into the queue: of the customer's manager, or of all managers when there is none yet. R-VIP-17

    Raises:
        people.NotAMember: the actor does not act for this customer.
        BadEnquiry: no contact or wish, too long, or not an account of the customer.
        TooManyEnquiries: five wait already.
    """
    customer = Customer.objects.select_for_update(of=("self",)).get(pk=customer_id)
    user_id = actor.user_id
    for_all = customer.memberships.filter(user__is_active=True, account=None)
    if user_id is None or not for_all.filter(user_id=user_id).exists():
        raise people.NotAMember(tell("You do not act for all of {customer}.", customer=customer.name))
    for name, text, longest in (("contact", contact, LONGEST_CONTACT), ("wish", wish, LONGEST_WISH)):
        if not 0 < len(text.strip()) <= longest or "\x00" in text:
            raise BadEnquiry(
                tell("Fill in the {name}, with at most {longest} characters.", name=name, longest=longest)
            )
    if account_uid is not None and not customer.accounts.filter(pk=account_uid).exists():
        raise BadEnquiry(tell("Account {account_uid} is not one of your accounts.", account_uid=account_uid))
    if customer.enquiries.filter(status=Enquiry.Status.OPEN).count() >= MOST_WAITING:
        raise TooManyEnquiries(
            tell(
                "{most_waiting} enquiries wait for an answer; take one back or wait for it.",
                most_waiting=MOST_WAITING,
            )
        )
    return Enquiry.objects.create(
        customer=customer,
        asked_by_id=user_id,
        contact=contact.strip(),
        account_id=account_uid,
        wish=wish.strip(),
        asked_at=at,
        manager=customer.manager,
    )


@command("loans.take_enquiry", returns=Enquiry)
def take(*, enquiry_id: int, actor: Actor, at: datetime, key: str = "", reason: str = "") -> Enquiry:
    """A VIP manager takes an enquiry that nobody has, and with it the customer who has no manager. R-VIP-17

    Raises:
        people.DeskOnly, people.NotYourClient: no VIP manager, or the customer is another's by now.
        WrongState: it is answered or taken back, or somebody took it first.
    """
    enquiry = _waiting(enquiry_id)
    theirs = enquiry.customer.manager
    if theirs is not None:
        raise WrongState(tell("{enquiry} is with {theirs} already.", enquiry=enquiry, theirs=theirs.name))
    if actor.user_id is None or not _is_manager(actor.user_id):
        raise people.DeskOnly(tell("Only a VIP manager may take an enquiry."))
    people.assign_manager(
        customer_id=enquiry.customer_id,
        manager_id=actor.user_id,
        actor=actor,
        at=at,
        reason=f"Took {enquiry}",
    )
    enquiry.manager_id = actor.user_id
    enquiry.save(update_fields=["manager"])
    return enquiry


@command("loans.answer_enquiry", returns=Enquiry)
def answer(
    *, enquiry_id: int, text: str, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Enquiry:
    """The customer's manager answers; the customer is told. R-VIP-17

    Raises:
        BadEnquiry: no text, or too long.
        NotYourEnquiry: the actor is not the manager it waits for; nobody's must be taken first.
        WrongState: it is answered or taken back.
    """
    if not 0 < len(text.strip()) <= LONGEST_ANSWER or "\x00" in text:
        raise BadEnquiry(
            tell("Write an answer, with at most {longest_answer} characters.", longest_answer=LONGEST_ANSWER)
        )
    enquiry = _waiting(enquiry_id)
    if actor.user_id is None or not queue_of_user(actor.user_id).filter(pk=enquiry.pk).exists():
        raise NotYourEnquiry(
            tell(
                "Only the VIP manager of {customer} may answer {enquiry}.",
                customer=enquiry.customer.name,
                enquiry=enquiry,
            )
        )
    if enquiry.customer.manager_id != actor.user_id:
        raise NotYourEnquiry(
            tell("{enquiry} is nobody's yet; take it first, and then answer.", enquiry=enquiry)
        )
    enquiry.manager_id, enquiry.answer = actor.user_id, text.strip()
    enquiry.status, enquiry.handled_at = Enquiry.Status.ANSWERED, at
    enquiry.save(update_fields=["manager", "answer", "status", "handled_at"])
    notices.send(
        customer=enquiry.customer,
        event=f"enquiry:{enquiry.pk}:answered",
        kind="enquiry_answered",
        title=tell("{enquiry} is answered", enquiry=enquiry),
        body=enquiry.answer,
        facts={"enquiry": enquiry.pk},
        at=at,
    )
    return enquiry


@command("loans.withdraw_enquiry", returns=Enquiry, member=MemberRule(Power.APPLY))
def withdraw(*, enquiry_id: int, actor: Actor, at: datetime, key: str = "", reason: str = "") -> Enquiry:
    """Who asked takes it back.

    Raises:
        NotYourEnquiry: somebody else asked. WrongState: it is answered or taken back already.
    """
    enquiry = _waiting(enquiry_id)
    if enquiry.asked_by_id != actor.user_id:
        raise NotYourEnquiry(
            tell(
                "{enquiry} was asked by {asked_by}; only they take it back.",
                enquiry=enquiry,
                asked_by=enquiry.asked_by.name,
            )
        )
    enquiry.status, enquiry.handled_at = Enquiry.Status.CLOSED, at
    enquiry.save(update_fields=["status", "handled_at"])
    return enquiry


def queue_of_user(user_id: int) -> QuerySet[Enquiry]:
    """What a VIP manager may answer or take: their clients', and those of customers who have no manager yet."""
    if not _is_manager(user_id):
        return Enquiry.objects.none()
    return Enquiry.objects.filter(Q(customer__manager=user_id) | Q(customer__manager__isnull=True))


# --- Private ----------------------------------------------------------------------------------------


def _is_manager(user_id: int) -> bool:
    return User.objects.filter(pk=user_id, role=User.Role.VIP_MANAGER, is_active=True).exists()


def _waiting(enquiry_id: int) -> Enquiry:
    rows = Enquiry.objects.select_related("customer__manager", "asked_by")
    enquiry = rows.select_for_update(of=("self",), no_key=True).get(pk=enquiry_id)
    if enquiry.status != Enquiry.Status.OPEN:
        raise WrongState(
            tell(
                "{enquiry} is {status} already.", enquiry=enquiry, status=enquiry.get_status_display().lower()
            )
        )
    return enquiry
