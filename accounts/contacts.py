"""Whom a customer wants told besides its members: more people, and programs, at once or when nobody answers.

A contact with minutes is an escalation: it hears only of what is urgent, and only while nobody of the customer has
acknowledged it by then (R-FTR-03). Contacts are never changed, only removed and added anew, so a delivery always
says where it went.
"""

import secrets
from datetime import datetime, timedelta
from typing import Final

from accounts import notices, reach, webhooks
from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Customer, Delivery, Notice, NoticeContact
from accounts.powers import MemberRule, Power
from accounts.words import joined, tell

MOST_CONTACTS: Final = 10
LONGEST_NAME: Final = 80
LATEST_ESCALATION: Final = 1440  # minutes; after a day a call is told again anyway (R-GEN-62)
SECRET_BYTES: Final = 32
TESTED_EVERY: Final = timedelta(minutes=1)  # a test goes to somebody's telephone or machine

Channel = NoticeContact.Channel


class BadContact(Refused):
    """Its name, address or minutes cannot be: the message says which and how it can."""

    code = "bad_contact"


class BadContactAddress(Refused):
    code = "bad_contact_address"


class BadEscalation(Refused):
    code = "bad_escalation"


class TooManyContacts(Refused):
    code = "too_many_contacts"


class ContactExists(Refused):
    code = "contact_exists"


class NoSuchContact(Refused):
    """Removed already, or of another customer."""

    code = "no_such_contact"


class ContactTestedJustNow(Refused):
    code = "tested_just_now"


@command("contacts.add", returns=NoticeContact, member=MemberRule(Power.RULES))
def add(
    *,
    customer_id: int,
    name: str,
    channel: str,
    address: str,
    actor: Actor,
    at: datetime,
    urgent_only: bool = True,
    after_minutes: int = 0,
    key: str = "",
    reason: str = "",
) -> NoticeContact:
    """Tell this contact too, from now on; a webhook gets a fresh secret. R-FTR-03

    `after_minutes` counts from when the notice may leave. Numbers are kept in E.164.

    Raises:
        BadContact: no name, or no channel of that name.
        BadContactAddress, webhooks.BadAddress: nothing can be sent there.
        BadEscalation: the minutes are out of range, or an escalation asks for more than what is urgent.
        ContactExists: the same address is there already. TooManyContacts: there are ten.
    """
    called = joined(" ", name.split())
    if not 0 < len(called) <= LONGEST_NAME:
        raise BadContact(
            tell("Give the contact a name of at most {longest_name} characters.", longest_name=LONGEST_NAME)
        )
    if channel not in Channel.values:
        raise BadContact(tell("A contact is reached by e-mail, SMS or webhook."))
    where = _address(channel, address)
    if not 0 <= after_minutes <= LATEST_ESCALATION:
        raise BadEscalation(
            tell(
                "An escalation waits between 1 and {latest_escalation} minutes; 0 is at once.",
                latest_escalation=LATEST_ESCALATION,
            )
        )
    if after_minutes and not urgent_only:
        raise BadEscalation(
            tell("Only what is urgent is escalated: choose urgent notices only, or no minutes.")
        )
    customer = Customer.objects.select_for_update(of=("self",), no_key=True).get(pk=customer_id)
    live = notices.contacts_of(customer)
    same = live.filter(channel=channel, address=where).first()
    if same is not None:
        raise ContactExists(
            tell(
                "{where} is there already, as {same}. Remove it first to change it.",
                where=where,
                same=same.name,
            )
        )
    if live.count() >= MOST_CONTACTS:
        raise TooManyContacts(
            tell(
                "{customer} has {most_contacts} contacts, the most there can be; remove one.",
                customer=customer.name,
                most_contacts=MOST_CONTACTS,
            )
        )
    return NoticeContact.objects.create(
        customer=customer,
        name=called,
        channel=channel,
        address=where,
        secret=secrets.token_hex(SECRET_BYTES) if channel == Channel.WEBHOOK else "",
        urgent_only=urgent_only,
        after_minutes=after_minutes,
        added_at=at,
    )


@command("contacts.remove", returns=NoticeContact, member=MemberRule(Power.RULES))
def remove(
    *, customer_id: int, contact_id: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> NoticeContact:
    """Tell this contact nothing more; what waits for it is dropped. R-FTR-03

    Raises:
        NoSuchContact: removed already, or not this customer's.
    """
    contact = _live(customer_id, contact_id)
    contact.removed_at = at
    contact.save(update_fields=["removed_at"])
    waiting = Delivery.objects.filter(contact=contact, status=Delivery.Status.PENDING)
    rows = list(waiting.select_for_update(of=("self",)).order_by("pk").values_list("pk", flat=True))
    Delivery.objects.filter(pk__in=rows).update(status=Delivery.Status.DROPPED, error=notices.REMOVED)
    return contact


@command("contacts.send_test", returns=Notice, member=MemberRule(Power.RULES))
def send_test(
    *, customer_id: int, contact_id: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Notice:
    """A message to this contact alone, at once whatever the hour and its minutes. R-FTR-03

    Raises:
        NoSuchContact: removed, or not this customer's.
        ContactTestedJustNow: its last one is less than a minute old.
    """
    contact = _live(customer_id, contact_id)
    sent = Notice.objects.filter(event__startswith=f"contact-test:{contact.pk}:")
    last = sent.order_by("-at").first()
    if last is not None and at < last.at + TESTED_EVERY:
        again = last.at + TESTED_EVERY
        raise ContactTestedJustNow(
            tell(
                "{contact} has just been sent a test; the next can go at {again:%H:%M:%S} UTC.",
                contact=contact.name,
                again=again,
            )
        )
    return notices.send(
        customer=contact.customer,
        event=f"contact-test:{contact.pk}:{at.isoformat()}",
        kind=reach.TEST,
        title=tell("Test message from Lombard"),
        body=tell(
            "This is how {contact} hears of the loans of {customer}. Nothing has happened.",
            contact=contact.name,
            customer=contact.customer.name,
        ),
        facts={"contact": contact.pk},
        at=at,
        only_to=contact,
    )


def _live(customer_id: int, contact_id: int) -> NoticeContact:
    Customer.objects.select_for_update(of=("self",), no_key=True).get(pk=customer_id)
    rows = NoticeContact.objects.filter(customer=customer_id, removed_at__isnull=True)
    contact = rows.select_related("customer").filter(pk=contact_id).first()
    if contact is None:
        raise NoSuchContact(tell("There is no such contact any more."))
    return contact


def _address(channel: str, typed: str) -> str:
    text = typed.strip()
    if channel == Channel.EMAIL:
        found = reach.email_address(text)
        if found is None:
            raise BadContactAddress(tell("This is no e-mail address; write it as name@example.com."))
        return found
    if channel == Channel.SMS:
        found = reach.phone_number(text)
        if found is None:
            raise BadContactAddress(
                tell(
                    "An SMS needs an international number, such as +41 79 123 45 67: a plus, the"
                    " country and 6 to 14 digits more."
                )
            )
        return found
    webhooks.address_of(text)
    return text
