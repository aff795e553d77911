"""Margin calls: told once per crossing, again every 24 hours, over when LTV is clearly below the line again.

A call says in plain words what to repay or to add, and acting on its figures works: they are rounded up and,
for the margin call line itself, lead strictly below it (R-GEN-41, R-GEN-61, R-GEN-62, R-GEN-65). Everything
here runs in the transaction that decided it, under the group's lock.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from accounts import notices
from accounts.models import Asset, Notice
from accounts.money import ZERO, divide_up, exact, round_up, unit
from accounts.words import joined, tell
from risk import cure, valuation
from risk.book import GroupState
from risk.levels import Band, has_recovered
from risk.models import CollateralGroup, MarginCall, RiskEvent, Settings
from risk.valuation import Worth

CENT = 2


def event_prefix(group: CollateralGroup) -> str:
    """What the event names of a group's call notices begin with."""
    return f"margin_call:{group.pk}:"


def follow(
    *,
    group: CollateralGroup,
    state: GroupState,
    band: Band,
    call: MarginCall | None,
    settings: Settings,
    at: datetime,
) -> bool:
    """Open, repeat or end the group's open `call` as its band asks; whether one was opened. Inside a transaction.

    In LIQ nothing is said: either the collateral is sold at once, and only that is told, or a grace's own
    notice tells when (R-GEN-61). A call notice still held back then waits for the second reading.
    """
    if band == Band.LIQ:
        if call is not None:
            until = at + timedelta(seconds=settings.confirm_seconds + settings.call_hold_seconds)
            notices.hold_unsent(customer=group.customer, event_prefix=event_prefix(group), until=until)
        return False
    worth = state.worth(permission=False)
    if band == Band.CALL:
        if call is None:
            _open(group, state, settings, at)
            return True
        if at - call.last_notice_at >= timedelta(seconds=settings.call_repeat_seconds):
            _repeat(call, group, state, at)
    elif call is not None and has_recovered(worth, state.lines, settings.hysteresis):
        end(call=call, how=MarginCall.Ended.CURED, ltv=worth.told_ltv, at=at)
    return False


def open_call(group: CollateralGroup) -> MarginCall | None:
    return open_calls([group]).get(group.pk)


def open_calls(groups: Iterable[CollateralGroup]) -> dict[int, MarginCall]:
    """The open call of each group that has one, by the group's key. One query."""
    by_id = {group.pk: group for group in groups}
    found = {row.group_id: row for row in MarginCall.objects.filter(group__in=by_id, ended_at__isnull=True)}
    for pk, call in found.items():
        call.group = by_id[pk]
    return found


def end(*, call: MarginCall, how: str, ltv: Decimal | None, at: datetime) -> None:
    """The episode is over; what it still had to say is called back. Inside a transaction. R-GEN-62"""
    call.ended_at, call.ended = at, how
    call.save(update_fields=["ended_at", "ended"])
    notices.drop_unsent(customer=call.group.customer, event_prefix=event_prefix(call.group), at=at)
    if how == MarginCall.Ended.CURED and _was_told(call):
        _tell_it_is_over(call, ltv=ltv, at=at)
    RiskEvent.objects.create(
        group=call.group, kind=RiskEvent.Kind.CALL_ENDED, at=at, ltv=ltv, facts={"ended": how}
    )


def _was_told(call: MarginCall) -> bool:
    """Did any notice of this episode go out? One that was overtaken in time needs no second word."""
    told = Notice.objects.filter(customer=call.group.customer, event__startswith=event_prefix(call.group))
    return told.filter(at__gte=call.opened_at, dropped_at__isnull=True).exists()


def _tell_it_is_over(call: MarginCall, *, ltv: Decimal | None, at: datetime) -> None:
    group = call.group
    notices.send(
        customer=group.customer,
        event=f"call-ended:{call.pk}",
        kind="call_ended",
        title=tell("{group} is out of margin call", group=group.name),
        body=tell(
            "{group} ({group2}) is back below its margin call line. There is nothing left to do.",
            group=group.name,
            group2=group,
        ),
        facts={"group": group.pk, "ltv": None if ltv is None else f"{ltv:f}"},
        at=at,
    )


# --- What would help ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Cure:
    """The ways to one line: per debt coin what to repay, or the recognised USD to add, or that in one coin.

    A coin is missing when it cannot do it alone: less is owed in it, or its ratio gives nothing any more.
    """

    line: Decimal
    repay: Mapping[str, Decimal]
    add_usd: Decimal
    add: Mapping[str, Decimal]


@exact
def cure_to(*, state: GroupState, line: Decimal, strictly_below: bool) -> Cure:
    """What brings the group to LTV <= `line`, or < `line`; amounts up at the coin's places, USD up to the cent."""
    worth = state.worth(permission=False)
    owed: dict[str, Decimal] = {}
    for debt in state.owed():
        owed[debt.asset] = owed.get(debt.asset, ZERO) + debt.amount
    repay = {
        asset: cure.repay_amount(
            worth=worth,
            line=line,
            price=state.quotes[asset].price,
            places=state.assets[asset].places,
            strictly_below=strictly_below,
        )
        for asset in sorted(owed)
    }
    missing = cure.add_to(worth=worth, line=line)
    add_usd = round_up(missing, CENT)
    if strictly_below and _with_more(worth, add_usd).is_at_least(line):
        add_usd += unit(CENT)
    coins = {
        coin: _coins_for(state, coin, worth, missing, line, strictly_below) for coin in _fresh_coins(state)
    }
    return Cure(
        line=line,
        repay={asset: amount for asset, amount in repay.items() if amount <= owed[asset]},
        add_usd=add_usd,
        add={coin: amount for coin, amount in coins.items() if amount is not None},
    )


def _coins_for(
    state: GroupState, coin: str, worth: Worth, missing: Decimal, line: Decimal, strictly_below: bool
) -> Decimal | None:
    """How much of one coin counts for `missing` USD on top of what is held of it; None when no amount does."""
    price, places, tiers = state.quotes[coin].price, state.assets[coin].places, state.terms[coin].tiers
    held = sum((held.amount for held in state.holdings(permission=False) if held.asset == coin), ZERO)
    counted = valuation.recognised(market_value=held * price, tiers=tiers)
    needed = valuation.market_value_needed(recognised_value=counted + missing, tiers=tiers)
    if needed is None:
        return None
    amount = divide_up(max(needed - held * price, ZERO), price, places)
    more = valuation.recognised(market_value=(held + amount) * price, tiers=tiers) - counted
    if strictly_below and _with_more(worth, more).is_at_least(line):  # It landed on the line: one unit more.
        amount += unit(places)
        more = valuation.recognised(market_value=(held + amount) * price, tiers=tiers) - counted
        return None if _with_more(worth, more).is_at_least(line) else amount
    return amount


def _with_more(worth: Worth, recognised: Decimal) -> Worth:
    return Worth(debt=worth.debt, collateral=worth.collateral + recognised, market=worth.market)


def _fresh_coins(state: GroupState) -> list[str]:
    return sorted(
        coin
        for coin in state.coins
        if coin in state.terms and coin in state.quotes and state.quotes[coin].fresh and coin in state.assets
    )


# --- What is said -----------------------------------------------------------------------------------------


def _open(group: CollateralGroup, state: GroupState, settings: Settings, at: datetime) -> None:
    ltv = state.worth(permission=False).told_ltv
    call = MarginCall.objects.create(group=group, opened_at=at, ltv=ltv, last_notice_at=at)
    _tell(call, group, state, RiskEvent.Kind.CALLED, at, hold_seconds=settings.call_hold_seconds)


def _repeat(call: MarginCall, group: CollateralGroup, state: GroupState, at: datetime) -> None:
    call.notices += 1
    call.last_notice_at = at
    call.save(update_fields=["notices", "last_notice_at"])
    _tell(call, group, state, RiskEvent.Kind.CALL_REPEATED, at, hold_seconds=0)


def _tell(
    call: MarginCall, group: CollateralGroup, state: GroupState, kind: str, at: datetime, *, hold_seconds: int
) -> None:
    below = cure_to(state=state, line=state.lines.margin_call, strictly_below=True)
    initial = cure_to(state=state, line=state.lines.initial, strictly_below=False)
    worth = state.worth(permission=False)
    facts = snapshot(state) | {
        "margin_call": call.pk,
        "below_call": cure_facts(below),
        "to_initial": cure_facts(initial),
    }
    RiskEvent.objects.create(group=group, kind=kind, at=at, ltv=worth.told_ltv, facts=facts)
    notices.send(
        customer=group.customer,
        event=f"{event_prefix(group)}{call.pk}:{call.notices}",
        kind="margin_call",
        title=tell("Margin call: LTV of {group} is {worth}", group=group.name, worth=percent(worth)),
        body=_body(group, state, worth, below, initial, at),
        facts=facts,
        at=at,
        hold_seconds=hold_seconds,
    )


def _body(
    group: CollateralGroup, state: GroupState, worth: Worth, below: Cure, initial: Cure, at: datetime
) -> str:
    lines = state.lines
    return joined(
        "\n",
        [
            tell(
                "The loan-to-value ratio of {group} ({group2}) reached {worth} at"
                " {at:%Y-%m-%d %H:%M:%S} UTC. The margin call line is {margin_call}; at {liquidation}"
                " your collateral is sold.",
                group=group.name,
                group2=group,
                worth=percent(worth),
                at=at,
                margin_call=_percent(lines.margin_call),
                liquidation=_percent(lines.liquidation),
            ),
            "",
            tell("To get below the margin call line: {state}.", state=ways(state, below)),
            tell(
                "To get back to the initial line of {initial}: {state}.",
                initial=_percent(lines.initial),
                state=ways(state, initial),
            ),
            "",
            tell("Prices used: {state}. They move; so do these amounts.", state=prices_used(state)),
        ],
    )


def prices_used(state: GroupState) -> str:
    """Each coin owed or held with the price it was valued at, for people. R-GEN-65"""
    used = {owed.asset for owed in state.owed()} | {held.asset for held in state.holdings(permission=False)}
    return joined(
        ", ",
        (
            tell("{asset} {price:f} USD", asset=asset, price=state.quotes[asset].price.normalize())
            for asset in sorted(used)
        ),
    )


def ways(state: GroupState, found: Cure) -> str:
    ways = [
        tell("repay {amount}", amount=_figure(amount, state.assets[asset]))
        for asset, amount in found.repay.items()
    ]
    added = tell("add collateral that counts for {add_usd:,.2f} USD", add_usd=found.add_usd)
    coins = [_figure(amount, state.assets[coin]) for coin, amount in found.add.items()]
    if coins:
        added += tell(" (for example {coins})", coins=joined(tell(" or "), coins[:3]))
    return joined(tell(", or "), [*ways, added])


def _figure(amount: Decimal, asset: Asset) -> str:
    """An amount that is enough: stable coins and currencies up to the cent, other coins at their places."""
    shown = round_up(amount, CENT) if asset.kind != Asset.Kind.CRYPTO and asset.places > CENT else amount
    return tell("{shown:,f} {asset}", shown=shown, asset=asset.pk)


def cure_facts(found: Cure) -> dict[str, object]:
    """A cure's amounts as JSON, for a notice or an event."""
    return {
        "line": f"{found.line:f}",
        "repay": {asset: f"{amount:f}" for asset, amount in found.repay.items()},
        "add_usd": f"{found.add_usd:f}",
        "add": {coin: f"{amount:f}" for coin, amount in found.add.items()},
    }


def snapshot(state: GroupState) -> dict[str, object]:
    """What a decision was made on, as JSON: LTV, lines, each price with its row and age. R-GEN-42, R-GEN-65"""
    worth = state.worth(permission=False)
    used = state.owed_assets | {wallet.asset for wallet in state.wallets if wallet.asset in state.coins}
    ltv = worth.told_ltv
    return {
        "group": state.group.pk if state.group else None,
        "ltv": None if ltv is None else f"{ltv:f}",
        "lines": {name: f"{getattr(state.lines, name):f}" for name in _LINE_NAMES},
        "debt_usd": f"{worth.debt:f}",
        "collateral_usd": f"{worth.collateral:f}",
        "prices": {
            asset: {
                "id": quote.price_id,
                "usd": f"{quote.price:f}",
                "observed_at": quote.observed_at.isoformat(),
                "state": quote.state.value,
            }
            for asset in sorted(used)
            if (quote := state.quotes.get(asset)) is not None
        },
    }


_LINE_NAMES = ("initial", "margin_call", "liquidation", "cutoff", "fee")


def percent(worth: Worth) -> str:
    """For people: two decimals, rounded down, so that no line shows as reached before it is."""
    ltv = worth.ltv
    return tell("beyond measure") if ltv is None else _percent(ltv)


def _percent(fraction: Decimal) -> str:
    return tell("{fraction:f} %", fraction=int(fraction * 10000) / Decimal(100))
