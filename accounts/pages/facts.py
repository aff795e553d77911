"""The figures stored with a notice, as tables (R-GEN-65), and what each channel did with it.

A notice keeps what was true when it was sent, as JSON that the chapter of its event chose; what is not known here is
left out rather than guessed, so a notice of last year reads as it did then.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from django.db.models import prefetch_related_objects
from django.utils.dateparse import parse_datetime
from django.utils.html import format_html

from accounts import channels
from accounts.models import Delivery, Notice
from accounts.money import exact
from accounts.templatetags import figures
from accounts.words import tell

KINDS = {
    "application_expired": tell("Application expired"),
    "application_rejected": tell("Application rejected"),
    "auto_cure": tell("Auto cure"),
    "balance_confirmation": tell("Balance confirmation"),
    "called": tell("Called"),
    "client_terms": tell("Client terms"),
    "delay": tell("Delay"),
    "delay_ended": tell("Delay ended"),
    "delay_left": tell("Delay left"),
    "early_warning": tell("Early warning"),
    "enquiry_answered": tell("Enquiry answered"),
    "firm_proposal": tell("Firm proposal"),
    "freeze": tell("Freeze", context="notice"),
    "liquidation": tell("Liquidation"),
    "liquidation_paced": tell("Liquidation paced"),
    "liquidation_paused": tell("Liquidation paused"),
    "loan_called": tell("Loan called"),
    "loan_converted": tell("Loan converted"),
    "loan_due": tell("Loan due"),
    "loan_overdue": tell("Loan overdue"),
    "loan_paid_out": tell("Loan paid out"),
    "loan_renewed": tell("Loan renewed"),
    "loan_repaid": tell("Loan repaid"),
    "margin_call": tell("Margin call"),
    "offer_accepted": tell("Offer accepted"),
    "offer_made": tell("Offer made"),
    "ratios_change": tell("Ratios change"),
    "repayment": tell("Repayment"),
    "statement": tell("Statement"),
    "converted": tell("Converted"),
    "countered": tell("Countered"),
    "corrected": tell("Corrected"),
    "overdue": tell("Overdue"),
    "promised": tell("Promised"),
    "renewed": tell("Renewed"),
    "call_ended": tell("Margin call over"),
    "call_message": tell("Message from your manager"),
    "grace": tell("Time after an outage"),
    "soft_step": tell("De-leveraging"),
    "test": tell("Test message"),
}
"""Names of kinds; one that is not here is said as it is spelled."""

NAMES = {
    Delivery.Channel.EMAIL.value: tell("E-mail"),
    Delivery.Channel.SMS.value: "SMS",
    Delivery.Channel.WEBHOOK.value: tell("Webhook"),
}

USD = {
    "debt_usd": tell("Owed in all"),
    "collateral_usd": tell("Collateral that counted"),
    "sold_usd": tell("Sold"),
    "fee_usd": tell("Fee"),
    "shortfall_usd": tell("Still owed after the sale"),
}
AMOUNTS = {
    "paid": tell("Paid"),
    "owed": tell("Owed"),
    "left": tell("Left to pay"),
    "interest_paid": tell("Interest paid"),
}
RATIOS = {"ltv_then": tell("LTV under what is announced")}
TIMES = {
    "effective_at": tell("In force from"),
    "grace_until": tell("Time until"),
    "sold_at": tell("Collateral is sold at"),
    "ends_at": tell("Ends at"),
    "due_at": tell("Due at"),
    "until": tell("Until"),
}
LINES = {"initial": tell("Initial"), "margin_call": tell("Margin call"), "liquidation": tell("Liquidation")}


MESSAGE_ID: Final = re.compile(r",? ?<[^<>]*>$")


@dataclass(frozen=True, slots=True)
class Figure:
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class PriceUsed:
    asset: str
    usd: Decimal
    observed_at: datetime | None
    is_fresh: bool


@dataclass(frozen=True, slots=True)
class Ways:
    """The ways to one line: each way is enough by itself."""

    line: Decimal
    repay: tuple[str, ...]
    add_usd: str
    add: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Told:
    figures: tuple[Figure, ...]
    prices: tuple[PriceUsed, ...]
    ways: tuple[Ways, ...]


@dataclass(frozen=True, slots=True)
class Channel:
    """What one channel did. `said` is its answer, or why it has none."""

    name: str
    status: str
    at: datetime | None
    said: str

    @property
    def brief(self) -> str:
        """What was said without the provider's own number of the message, which only a search there needs."""
        return MESSAGE_ID.sub("", self.said)


def kind_name(kind: str) -> str:
    return KINDS.get(kind, kind.replace("_", " ").capitalize())


def told(facts: Mapping[str, Any]) -> Told:
    """What can be read of a notice's facts."""
    coin = facts.get("coin")
    found = [
        *_of(facts, USD, figures.usd),
        *_of(facts, AMOUNTS, lambda value: figures.amount(value, coin if isinstance(coin, str) else "")),
    ]
    ltv = _ltv(facts)
    found = [*_of(facts, RATIOS, figures.ltv), *found]
    if ltv is not None:
        found.insert(0, Figure("LTV", figures.ltv(ltv)))
    lines = facts.get("lines")
    if isinstance(lines, Mapping):
        found += [
            Figure(tell("{one} line", one=one.label), one.text) for one in _of(lines, LINES, figures.line)
        ]
    for name, label in TIMES.items():
        instant = _instant(facts.get(name))
        if instant is not None:
            found.append(Figure(label, figures.when(instant)))
    ways = [_ways(value) for value in facts.values() if isinstance(value, Mapping) and "add_usd" in value]
    return Told(
        figures=tuple(found),
        prices=tuple(_prices(facts.get("prices"))),
        ways=tuple(sorted((way for way in ways if way is not None), key=lambda way: way.line, reverse=True)),
    )


def channels_of(notice: Notice, *, for_house: bool) -> list[Channel]:
    """The inbox and every outside channel. What a provider said about its own trouble is for the house only."""
    read = (
        format_html("{} {}", tell("read", context="notice"), figures.when(notice.read_at))
        if notice.read_at
        else tell("not opened yet")
    )
    rows = [
        Channel(
            tell("Inbox"),
            tell("there") if notice.dropped_at is None else tell("called back", context="notice"),
            notice.at,
            read,
        )
    ]
    prefetch_related_objects([notice], "deliveries__contact")  # does nothing where a list did it for all
    found = sorted(notice.deliveries.all(), key=lambda row: (row.due_at, row.channel, row.pk))
    return rows + [_channel(delivery, for_house=for_house) for delivery in found]


def _channel(delivery: Delivery, *, for_house: bool) -> Channel:
    status, contact = Delivery.Status, delivery.contact
    until = tell("until it is due")
    if contact is not None and contact.after_minutes:
        until = tell("until it is due, unless somebody acknowledges it before")
    words = {
        status.PENDING: (tell("waits"), delivery.due_at, until),
        status.SENDING: (tell("on its way"), None, tell("no answer was noted; it is never sent twice")),
        status.SENT: (tell("sent"), delivery.sent_at, delivery.answer),
        status.DROPPED: (
            tell("called back", context="notice"),
            None,
            delivery.error or tell("something later overtook it"),
        ),
    }
    name = (
        NAMES[delivery.channel]
        if contact is None
        else tell("{names} to {contact}", names=NAMES[delivery.channel], contact=contact.name)
    )
    if delivery.status in words:
        word, at, said = words[Delivery.Status(delivery.status)]
        return Channel(name, word, at, said)
    is_theirs = delivery.error in {channels.NO_ADDRESS, channels.NO_PHONE}
    is_theirs = is_theirs or delivery.channel == Delivery.Channel.WEBHOOK  # their own program's answer
    shown = delivery.error if for_house or is_theirs else tell("The provider did not take it.")
    return Channel(name, tell("not delivered"), None, shown)


# --- Reading JSON --------------------------------------------------------------------------------------------


def _of(facts: Mapping[str, Any], labels: Mapping[str, str], write: Any) -> list[Figure]:
    found = []
    for name, label in labels.items():
        value = _number(facts.get(name))
        if value is not None:
            found.append(Figure(label, write(value)))
    return found


@exact
def _ltv(facts: Mapping[str, Any]) -> Decimal | None:
    """As stored; else of the debt and the collateral that are."""
    stored = _number(facts.get("ltv"))
    debt, collateral = _number(facts.get("debt_usd")), _number(facts.get("collateral_usd"))
    if stored is not None or debt is None or not collateral:
        return stored
    return debt / collateral


def _prices(stored: Any) -> list[PriceUsed]:
    found = []
    for asset, price in sorted(stored.items()) if isinstance(stored, Mapping) else ():
        more = price if isinstance(price, Mapping) else {"usd": price}  # some notices keep the figure alone
        usd = _number(more.get("usd"))
        if usd is not None:
            fresh = more.get("state", "fresh") == "fresh"
            found.append(PriceUsed(asset, usd, _instant(more.get("observed_at")), fresh))
    return found


def _ways(stored: Mapping[str, Any]) -> Ways | None:
    line, add_usd = _number(stored.get("line")), _number(stored.get("add_usd"))
    if line is None or add_usd is None:
        return None
    return Ways(
        line=line,
        repay=_coins(stored.get("repay")),
        add_usd=figures.usd(add_usd),
        add=_coins(stored.get("add")),
    )


def _coins(stored: Any) -> tuple[str, ...]:
    if not isinstance(stored, Mapping):
        return ()
    amounts = ((asset, _number(amount)) for asset, amount in sorted(stored.items()))
    return tuple(figures.amount(amount, asset) for asset, amount in amounts if amount is not None)


def _number(value: Any) -> Decimal | None:
    if not isinstance(value, str):
        return None
    try:
        number = Decimal(value)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _instant(value: Any) -> datetime | None:
    try:
        found = parse_datetime(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return found if found is not None and found.tzinfo is not None else None
