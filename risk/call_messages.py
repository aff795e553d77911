"""What a manager may send about a margin call: fixed words, and the engine's own figures of that moment (R-FTR-18).

The words are fixed so that nobody promises in haste what the engine will not do; the figures are the ones the notices
of the call use. A message goes out as a notice: to everybody the client wants told, at once, and to be acknowledged.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from accounts import notices
from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Asset, Notice, User
from accounts.money import exact
from accounts.words import joined, tell
from risk import book, call_records, margin_calls, parameters, valuation
from risk.book import GroupState
from risk.margin_calls import Cure
from risk.models import CallRecord, MarginCall

SENT_EVERY: Final = timedelta(hours=1)
CENT: Final = Decimal("0.01")


class Template(StrEnum):
    REMINDER = "reminder"
    HELP = "help"
    LAST_WARNING = "last_warning"


class NoSuchTemplate(Refused):
    code = "no_such_template"


class SentJustNow(Refused):
    code = "sent_just_now"


class NoFigures(Refused):
    """Something owed has no price, so there is nothing true to say."""

    code = "no_figures"


@dataclass(frozen=True, slots=True)
class Draft:
    """What would be sent now."""

    title: str
    body: str
    facts: Mapping[str, object]


@command("risk.send_call_message", returns=Notice)
def send(
    *, call_id: int, template: str, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Notice:
    """Send the client one of the messages, with the figures of `at`; it counts as a contact. R-FTR-18

    Raises:
        NotYourRole, people.NotYourClient: not the client's VIP manager.
        CallIsOver: the call has ended. NoSuchTemplate: there is no such message.
        SentJustNow: this message of this call is less than an hour old.
        NoFigures: something owed has no price.
    """
    call, user = call_records.hold(call_id, actor, doing="send a message", is_open=True)
    which = template_of(template)
    again = may_go_at(call, which)
    if again is not None and at < again:
        raise SentJustNow(
            tell(
                "This message has just been sent for this call; the next can go at {again}. Telephone"
                " instead, or send another one.",
                again=_minute(again),
            )
        )
    drafted = draft(call=call, template=which, state=book.state_of(call.group, at=at), manager=user)
    notice = notices.send(
        customer=call.group.customer,
        event=f"{_prefix(call, which)}{at.isoformat()}",
        kind="call_message",
        title=drafted.title,
        body=drafted.body,
        facts=drafted.facts,
        at=at,
    )
    said = tell("Message sent: {drafted}", drafted=drafted.title)
    call_records.write(call, CallRecord.Kind.CONTACTED, user=user, at=at, way=CallRecord.Way.SITE, note=said)
    return notice


def template_of(name: str) -> Template:
    try:
        return Template(name)
    except ValueError:
        raise NoSuchTemplate(tell("There is no such message; choose one of the list.")) from None


def may_go_at(call: MarginCall, template: Template) -> datetime | None:
    """When this message may go again; None while it was never sent for this call."""
    sent = Notice.objects.filter(customer=call.group.customer, event__startswith=_prefix(call, template))
    last = sent.order_by("-at").values_list("at", flat=True).first()
    return None if last is None else last + SENT_EVERY


def draft(*, call: MarginCall, template: Template, state: GroupState, manager: User) -> Draft:
    """The message as it would go out on this state. R-FTR-18, R-GEN-65

    Raises:
        NoFigures: something owed has no price.
    """
    missing = sorted(symbol for symbol in state.owed_assets if symbol not in state.quotes)
    if missing:
        raise NoFigures(
            tell(
                "There is no price of {missing}, so no figure would be true. Telephone instead.",
                missing=joined(", ", missing),
            )
        )
    below = margin_calls.cure_to(state=state, line=line_to_end(state), strictly_below=True)
    initial = margin_calls.cure_to(state=state, line=state.lines.initial, strictly_below=False)
    title, opening = _WORDS[template](call, state)
    body = [
        opening,
        "",
        tell(
            "To end the call, with LTV below {line}: {state}.",
            line=_percent(below.line),
            state=margin_calls.ways(state, below),
        ),
        tell(
            "To get back to the initial line of {line}: {state}.",
            line=_percent(initial.line),
            state=margin_calls.ways(state, initial),
        ),
        "",
        tell("Prices used: {state}. They move; so do these amounts.", state=margin_calls.prices_used(state)),
        "",
        tell(
            "Please acknowledge this message on its page, so that nobody else of yours is called, and"
            " tell me by when it is done. {manager}, {email}",
            manager=manager.name,
            email=manager.email,
        ),
    ]
    return Draft(title=title, body=joined("\n", body), facts=_facts(call, template, state, below, initial))


# --- Words --------------------------------------------------------------------------------------------------


def _reminder(call: MarginCall, state: GroupState) -> tuple[str, str]:
    group, ltv = call.group, margin_calls.percent(state.worth(permission=False))
    return tell("Reminder: {group} is in margin call, LTV {ltv}", group=group.name, ltv=ltv), (
        tell(
            "{group} ({group2}) is in margin call since {opened_at}. LTV is {ltv} now. The margin"
            " call line is {margin_call}; at {liquidation} your collateral is sold.",
            group=group.name,
            group2=group,
            opened_at=_minute(call.opened_at),
            ltv=ltv,
            margin_call=_percent(state.lines.margin_call),
            liquidation=_percent(state.lines.liquidation),
        )
    )


def _help(call: MarginCall, state: GroupState) -> tuple[str, str]:
    group, ltv = call.group, margin_calls.percent(state.worth(permission=False))
    return tell("Can we help with the margin call of {group}?", group=group.name), (
        tell(
            "{group} ({group2}) is in margin call since {opened_at}, with LTV at {ltv} now. If one of"
            " the ways below does not suit you, tell me what would: part of it now and the rest later"
            " also lowers LTV. Nothing we talk about moves the line of {liquidation}, at which"
            " collateral is sold.",
            group=group.name,
            group2=group,
            opened_at=_minute(call.opened_at),
            ltv=ltv,
            liquidation=_percent(state.lines.liquidation),
        )
    )


def _last_warning(call: MarginCall, state: GroupState) -> tuple[str, str]:
    group, worth, line = call.group, state.worth(permission=False), state.lines.liquidation
    ltv = margin_calls.percent(worth)
    if worth.is_at_least(line):
        where = tell(
            "LTV of {group} ({group2}) is {ltv}, at or over the line of {line}.",
            group=group.name,
            group2=group,
            ltv=ltv,
            line=_percent(line),
        )
        return tell("Last warning: collateral of {group} may be sold at any moment", group=group.name), (
            tell("{where} Its collateral may be sold at any moment, without a further word.", where=where)
        )
    prices = [
        tell("{asset} at {price:,f} USD", asset=asset, price=price) for asset, price in _selling_prices(state)
    ]
    alone = (
        tell(" {prices} alone would be enough for that.", prices=joined(tell(" or "), prices))
        if prices
        else ""
    )
    return tell(
        "Last warning: LTV of {group} is {ltv}, at {line} collateral is sold",
        group=group.name,
        ltv=ltv,
        line=_percent(line),
    ), (
        tell(
            "LTV of {group} ({group2}) is {ltv}. At {line} its collateral is sold, without a further"
            " word.{alone}",
            group=group.name,
            group2=group,
            ltv=ltv,
            line=_percent(line),
            alone=alone,
        )
    )


_WORDS: Final[Mapping[Template, Callable[[MarginCall, GroupState], tuple[str, str]]]] = {
    Template.REMINDER: _reminder,
    Template.HELP: _help,
    Template.LAST_WARNING: _last_warning,
}


# --- Figures ------------------------------------------------------------------------------------------------


def line_to_end(state: GroupState) -> Decimal:
    """Below this line the call is over; the amounts to get there are a little more than to the call line. R-GEN-62"""
    hysteresis: Decimal = parameters.settings_at(state.at).hysteresis
    return state.lines.margin_call - hysteresis


@exact
def _selling_prices(state: GroupState) -> list[tuple[str, Decimal]]:
    """The price of each coin that alone would bring LTV to the liquidation line; stable coins are left out."""
    holdings, debts = state.holdings(permission=False), state.owed()
    symbols = sorted({held.asset for held in holdings} | {owed.asset for owed in debts})
    found = []
    for symbol in symbols:
        if state.assets[symbol].kind == Asset.Kind.CRYPTO:
            price = valuation.line_price(
                holdings=holdings, debts=debts, asset=symbol, line=state.lines.liquidation
            )
            if price is not None:
                found.append((symbol, price.quantize(CENT) if price >= 1 else price.normalize()))
    return found


def _facts(
    call: MarginCall, template: Template, state: GroupState, below: Cure, initial: Cure
) -> dict[str, object]:
    return margin_calls.snapshot(state) | {
        "margin_call": call.pk,
        "template": template.value,
        "below_call": margin_calls.cure_facts(below),
        "to_initial": margin_calls.cure_facts(initial),
    }


def _prefix(call: MarginCall, template: Template) -> str:
    return f"call_message:{call.pk}:{template.value}:"


def _percent(fraction: Decimal) -> str:
    return tell("{value:f} %", value=(100 * fraction).normalize())


def _minute(instant: datetime) -> str:
    return tell("{utc:%-d %B %Y, %H:%M} UTC", utc=instant.astimezone(UTC))
