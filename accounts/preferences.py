"""How a customer wants to be told: channels, phone and quiet hours, and a message to try them.

What nobody may switch off is in accounts/reach.py: whatever is chosen here, a call, a sale or a deadline goes out
at once on at least one outside channel, and into the inbox always.
"""

from datetime import datetime, time, timedelta

from accounts import notices, reach
from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Customer, Notice, NoticePreference
from accounts.powers import MemberRule, Power
from accounts.tongue import ENGLISH
from accounts.words import tell

TESTED_EVERY = timedelta(minutes=1)  # a test message costs money and goes to a telephone


class BadPhone(Refused):
    code = "bad_phone_number"


class BadQuietHours(Refused):
    code = "bad_quiet_hours"


class BadTimeZone(Refused):
    code = "bad_time_zone"


class BadLanguage(Refused):
    code = "bad_language"


class TestedJustNow(Refused):
    code = "tested_just_now"


@command("notices.set_preference", returns=NoticePreference, member=MemberRule(Power.RULES))
def set_preference(
    *,
    customer_id: int,
    by_email: bool,
    by_sms: bool,
    actor: Actor,
    at: datetime,
    phone: str = "",
    quiet_from: time | None = None,
    quiet_until: time | None = None,
    time_zone: str = "UTC",
    language: str = ENGLISH,
    key: str = "",
    reason: str = "",
) -> NoticePreference:
    """Replace how the customer is told; it counts for notices from now on, not for those that wait. R-GEN-60

    The phone number is kept in E.164. Quiet hours are wall-clock times in `time_zone`, and may run over midnight.

    Raises:
        BadPhone: SMS is on without a number, or the number is none.
        BadQuietHours: one end without the other, or no time between them.
        BadTimeZone: a time zone nobody knows.
        BadLanguage: a language the desk does not write.
    """
    number = _number(phone, by_sms)
    if (quiet_from is None) != (quiet_until is None):
        raise BadQuietHours(tell("Quiet hours need both a start and an end; leave both empty for none."))
    if quiet_from is not None and quiet_from == quiet_until:
        raise BadQuietHours(tell("Quiet hours that end when they start are none; leave both empty for none."))
    if not reach.is_time_zone(time_zone):
        raise BadTimeZone(
            tell(
                "There is no time zone {time_zone}; choose one such as Europe/Zurich, or UTC.",
                time_zone=time_zone,
            )
        )
    if language not in NoticePreference.Language.values:
        raise BadLanguage(tell("Choose English or Svenska."))
    customer = Customer.objects.select_for_update(of=("self",), no_key=True).get(pk=customer_id)
    row, _ = NoticePreference.objects.update_or_create(
        customer=customer,
        defaults={
            "by_email": by_email,
            "by_sms": by_sms,
            "phone": number,
            "quiet_from": quiet_from,
            "quiet_until": quiet_until,
            "time_zone": time_zone,
            "language": language,
        },
    )
    return row


@command("notices.send_test", returns=Notice, member=MemberRule(Power.RULES))
def send_test(*, customer_id: int, actor: Actor, at: datetime, key: str = "", reason: str = "") -> Notice:
    """A message on every channel that is on, at once whatever the hour. R-GEN-60

    Raises:
        TestedJustNow: the last one is less than a minute old.
    """
    customer = Customer.objects.select_for_update(of=("self",), no_key=True).get(pk=customer_id)
    sent = Notice.objects.filter(event__startswith=f"test:{customer.pk}:")
    last = sent.order_by("-at").first()
    if last is not None and at < last.at + TESTED_EVERY:
        again = last.at + TESTED_EVERY
        raise TestedJustNow(
            tell("A test message has just been sent; the next can go at {again:%H:%M:%S} UTC.", again=again)
        )
    return notices.send(
        customer=customer,
        event=f"test:{customer.pk}:{at.isoformat()}",
        kind=reach.TEST,
        title=tell("Test message from Lombard"),
        body=tell(
            "This is how margin calls and other notices will reach you. Nothing has happened to your loans."
        ),
        facts={},
        at=at,
    )


def _number(phone: str, by_sms: bool) -> str:
    if not phone.strip():
        if by_sms:
            raise BadPhone(tell("SMS needs a phone number, such as +41 79 123 45 67; or switch SMS off."))
        return ""
    number = reach.phone_number(phone)
    if number is None:
        raise BadPhone(
            tell(
                "{phone} is not an international number: a plus, the country and 6 to 14 digits more.",
                phone=phone,
            )
        )
    return number
