"""When and by which channel a customer is told: quiet hours hold back what can wait, never a call or a sale.

Quiet hours are wall-clock times in the customer's own time zone, so a day on which the clocks change has the
hours that people there see. What is not known to be able to wait cannot wait: a kind of notice that somebody
forgot to list here goes out at once.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo, available_timezones

EMAIL: Final = "email"
SMS: Final = "sms"
WEBHOOK: Final = "webhook"
TEST: Final = "test"

CAN_WAIT: Final = frozenset(
    {
        "application_expired",
        "application_rejected",
        "balance_confirmation",
        "call_ended",
        "client_terms",
        "corrected",
        "enquiry_answered",
        "firm_proposal",
        "instalment_taken",
        "loan_converted",
        "loan_paid_out",
        "loan_renewed",
        "loan_repaid",
        "offer_accepted",
        "plan_agreed",
        "repayment",
        "residual_settled",
        "set_off",
        "statement",
        "written_off",
    }
)
"""Kinds of notices that tell of what is done and asks for nothing. All others are never held."""

OWN_AFFAIRS: Final = frozenset({"firm_proposal"})
"""Kinds that pass between a customer's own people: the desk does not read what they have not agreed on. R-ADM-09"""

_E164 = re.compile(r"\+[1-9][0-9]{6,14}", re.ASCII)
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_EMAIL = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+{_LABEL}", re.ASCII)
LONGEST_EMAIL: Final = 254
_SEPARATORS = str.maketrans("", "", " -./()\u00a0")


@dataclass(frozen=True, slots=True)
class Preference:
    """How a customer wants to be told. `quiet_from` and `quiet_until` are both set or both None."""

    by_email: bool = True
    by_sms: bool = True
    phone: str = ""
    quiet_from: time | None = None
    quiet_until: time | None = None
    time_zone: str = "UTC"
    language: str = "en"


def may_wait(kind: str) -> bool:
    """Whether a notice of this kind may be held until the morning. R-GEN-60"""
    return kind in CAN_WAIT


def asks_for_an_answer(kind: str) -> bool:
    """Whether somebody of the customer should say that they have it in hand. R-FTR-03"""
    return kind != TEST and not may_wait(kind)


def is_for_contact(*, kind: str, urgent_only: bool) -> bool:
    """Whether a contact besides the members hears of it; a test message is tried on each contact by itself. R-FTR-03"""
    return kind != TEST and not (urgent_only and may_wait(kind))


def contact_due_at(
    *, kind: str, at: datetime, channel: str, after_minutes: int, preference: Preference
) -> datetime:
    """When a contact may hear of a notice of `at`. R-FTR-03

    An escalation waits its minutes and nothing else: quiet hours never silence what is urgent. A program does not
    sleep either.
    """
    if after_minutes or channel == WEBHOOK:
        return at + timedelta(minutes=after_minutes)
    return due_at(kind=kind, at=at, preference=preference)


def channels(*, kind: str, preference: Preference) -> tuple[str, ...]:
    """The outside channels a notice takes. The inbox is always one more.

    What cannot wait always has one that reaches somebody: without any, it goes by e-mail. R-GEN-60
    """
    chosen = [name for name, is_on in ((EMAIL, preference.by_email), (SMS, preference.by_sms)) if is_on]
    reaches = preference.by_email or (preference.by_sms and preference.phone != "")
    if not reaches and not may_wait(kind):
        chosen.insert(0, EMAIL)
    return tuple(chosen)


def due_at(*, kind: str, at: datetime, preference: Preference) -> datetime:
    """When a notice of `at` may leave: at once, or when the quiet hours that `at` falls into end. UTC. R-GEN-60"""
    start, end = preference.quiet_from, preference.quiet_until
    if start is None or end is None or start == end or may_wait(kind) is False:
        return at
    zone = ZoneInfo(preference.time_zone)
    local = at.astimezone(zone)
    if not _is_quiet(local.time(), start, end):
        return at
    day = local.date() if local.time() < end else local.date() + timedelta(days=1)
    first = datetime.combine(day, end, zone).astimezone(UTC)
    # When the clocks go back an hour comes twice; inside its second pass only the second end is still ahead.
    return first if first > at else datetime.combine(day, end.replace(fold=1), zone).astimezone(UTC)


def _is_quiet(now: time, start: time, end: time) -> bool:
    return start <= now < end if start < end else now >= start or now < end


def email_address(text: str) -> str | None:
    """The address without spaces around it; None when it is none that a mail server would take."""
    address = text.strip()
    return address if len(address) <= LONGEST_EMAIL and _EMAIL.fullmatch(address) else None


def phone_number(text: str) -> str | None:
    """The number in E.164 ("+4915112345678"), spaces and dashes taken out; None when it is none."""
    number = text.translate(_SEPARATORS)
    return number if _E164.fullmatch(number) else None


def is_time_zone(name: str) -> bool:
    return name in time_zones()


def time_zones() -> list[str]:
    """Places people name: "Europe/Zurich". Not the aliases and offsets the data also has."""
    places = {"Africa", "America", "Asia", "Atlantic", "Australia", "Europe", "Indian", "Pacific"}
    return ["UTC", *sorted(name for name in available_timezones() if name.partition("/")[0] in places)]
