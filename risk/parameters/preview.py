"""What a proposed change of ratios, lines or caps would do to every open group, before anybody releases it.

The groups are valued twice by the same engine, `book.states`: under what is in force, and with the proposal in its
place, at today's prices and debts. So a risk officer reads "14 groups would enter CALL, 2 LIQ" and which ones
(R-ADM-03, R-GEN-36). It is a look without locks and decides nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from accounts.models import Asset
from accounts.money import ZERO, exact
from accounts.words import joined, tell
from risk import book, prices
from risk.book import GroupState
from risk.levels import BAND_WORDS, Band, band
from risk.models import CollateralGroup, Debt
from risk.parameters.in_force import CoinTerms, lines_by_group
from risk.price_gate import market_leg, worth
from risk.valuation import Tier

CHUNK = 500  # groups read at a time, so that a large book is no large answer
MOST_SHIFTS = 200  # named in a stored preview; the counts are always of all
ORDER = list(Band)

Change = Callable[[list[GroupState]], list[GroupState]]
"""The states of some groups, all of them in force, as the proposal would make them."""


@dataclass(frozen=True, slots=True)
class Shift:
    """A group whose band would change. LTVs as fractions; None is infinite."""

    group: CollateralGroup
    before: Band
    after: Band
    ltv_before: Decimal | None
    ltv_after: Decimal | None

    @property
    def is_worse(self) -> bool:
        return ORDER.index(self.after) > ORDER.index(self.before)


@dataclass(slots=True)
class Preview:
    """Counts of groups by band before and after, who changes, and for a cap what is used of it, in USD."""

    groups: int = 0
    before: Counter[Band] = field(default_factory=Counter)
    after: Counter[Band] = field(default_factory=Counter)
    shifts: list[Shift] = field(default_factory=list)
    lent: Decimal = ZERO
    pledged: Decimal = ZERO
    most_pledged: Decimal = ZERO  # by one customer


def of(command: str, arguments: Mapping[str, Any], *, at: datetime) -> dict[str, Any]:
    """What the command would do, as JSON for `Approval.preview`; empty for one that moves no group's value or line."""
    given = dict(arguments)
    if command == "risk.publish_ratios":
        return told(compare(_with_ratios(given), at=at))
    if command == "risk.publish_limits":
        customer = given.get("customer")
        only = {} if customer is None else {"customer": customer}
        return told(compare(_with_lines(given, at=at), at=at, product=given["product"], **only))
    if command == "risk.publish_asset_cap":
        asset = _symbol(given["asset"])
        found = compare(lambda states: states, at=at, asset=asset, product=given["product"])
        return told(found) | {"usage": _usage(found, given)}
    if command == "risk.publish_redemption":
        return _of_redemption(given, at=at)
    return {}


def compare(change: Change, *, at: datetime, asset: str = "", **only: Any) -> Preview:
    """Value the open groups that owe something, as they are and changed; `asset` is the coin whose use is summed."""
    found = Preview()
    pledged: dict[int, Decimal] = defaultdict(lambda: ZERO)
    for states in in_chunks(at=at, **only):
        for state, changed in zip(states, change(states), strict=True):
            _count(found, state, changed)
            if asset:
                _sum(found, pledged, state, asset)
    found.shifts.sort(key=lambda one: (-ORDER.index(one.after), one.group.pk))
    found.most_pledged = max(pledged.values(), default=ZERO)
    return found


def in_chunks(*, at: datetime, **only: Any) -> Iterator[list[GroupState]]:
    """The states of all open groups that owe something, narrowed by `only`, some hundreds at a time."""
    owing = Debt.objects.watched().values("group")
    rows = CollateralGroup.objects.open().filter(pk__in=owing).filter(**only)
    last = 0
    while chunk := list(rows.filter(pk__gt=last).select_related("customer").order_by("pk")[:CHUNK]):
        last = chunk[-1].pk
        states = book.states(chunk, at=at)
        yield [states[group.pk] for group in chunk]


def told(found: Preview) -> dict[str, Any]:
    """As it is stored with a proposal: plain values, the words first."""
    return {
        "words": words(found),
        "groups": found.groups,
        "bands": [
            {"band": str(one), "before": found.before[one], "after": found.after[one]} for one in ORDER
        ],
        "shifts": [
            {
                "group": shift.group.pk,
                "name": tell("{group} ({group2})", group=shift.group.name, group2=shift.group),
                "client": shift.group.customer.name,
                "from": str(shift.before),
                "to": str(shift.after),
                "ltv": _text(shift.ltv_before),
                "ltv_after": _text(shift.ltv_after),
            }
            for shift in found.shifts[:MOST_SHIFTS]
        ],
        "more": max(len(found.shifts) - MOST_SHIFTS, 0),
    }


def words(found: Preview) -> str:
    """ "14 groups would enter CALL, 2 LIQ." """
    entering = Counter(shift.after for shift in found.shifts if shift.is_worse)
    worse = [(entering[one], one) for one in ORDER if entering[one]]
    better = sum(not shift.is_worse for shift in found.shifts)
    said = []
    if worse:
        (count, first), *others = worse
        rest = [tell("{number} {one}", number=number, one=BAND_WORDS[one]) for number, one in others]
        said.append(
            joined(
                ", ",
                [
                    tell(
                        "{count} {count2} would enter {first}",
                        count=count,
                        count2=_groups(count),
                        first=BAND_WORDS[first],
                    ),
                    *rest,
                ],
            )
        )
    if better:
        said.append(tell("{better} {better2} would become safer", better=better, better2=_groups(better)))
    return tell("{said}.", said=joined("; ", said)) if said else tell("No group would change its band.")


# --- What is put in place of what --------------------------------------------------------------------


def with_ratios(state: GroupState, asset: str, terms: CoinTerms) -> GroupState:
    """The group as these ratios of one coin would have it; other coins count as they do."""
    return replace(state, terms={**state.terms, asset: terms})


def _with_ratios(given: Mapping[str, Any]) -> Change:
    symbol = _symbol(given["asset"])
    tiers = tuple(Tier(floor=floor, ratio=ratio) for floor, ratio in given["tiers"])
    terms = CoinTerms(tiers=tiers, rank=given.get("rank", 100))
    counts = Asset.objects.filter(pk=symbol, collateral=True).exists()
    return lambda states: [with_ratios(state, symbol, terms) if counts else state for state in states]


def _with_lines(given: Mapping[str, Any], *, at: datetime) -> Change:
    asset, customer = given.get("asset"), given.get("customer")
    scope = (
        given["product"],
        None if asset is None else _symbol(asset),
        None if customer is None else customer.pk,
        None,
    )

    def change(states: list[GroupState]) -> list[GroupState]:
        owed = {state.group.pk: state.owed_assets for state in states if state.group is not None}
        groups = [state.group for state in states if state.group is not None]
        lines = lines_by_group(groups, at=at, owed=owed, proposed={scope: given["lines"]})
        return [replace(state, lines=lines[group.pk]) for state, group in zip(states, groups, strict=True)]

    return change


def _of_redemption(given: dict[str, Any], *, at: datetime) -> dict[str, Any]:
    """The groups with the coin at its ratio; and what that makes of its price, first in words (R-FTR-21, TRUST P-07).

    Ending a ratio is shown at what the coin's own market said last, where that is known.
    """
    symbol, base = _symbol(given["asset"]), _symbol(given["underlying"])
    quotes = prices.latest(at=at, assets=[symbol, base])
    before, then = quotes.get(symbol), _price_then(symbol, given["ratio"], quotes.get(base), at=at)
    if then is None:
        return {
            "words": tell(
                "Nobody can say what it would do: {symbol} would have no price yet.", symbol=symbol
            ),
            "groups": 0,
        }
    shift = compare(lambda states: [_with_price(state, symbol, then) for state in states], at=at)
    was = (
        tell("has no price")
        if before is None
        else tell("is {price:f} USD now", price=before.price.normalize())
    )
    moved = tell(" ({price})", price=_move(before.price, then.price)) if before is not None else ""
    found = told(shift)
    return found | {
        "words": tell(
            "{symbol} would be {price:f} USD{moved}; it {was}. {found}",
            symbol=symbol,
            price=then.price.normalize(),
            moved=moved,
            was=was,
            found=found["words"],
        )
    }


def _price_then(
    symbol: str, ratio: Decimal | None, base: prices.Quote | None, *, at: datetime
) -> prices.Quote | None:
    if ratio is not None:
        return None if base is None else replace(base, asset=symbol, price=worth(ratio, base.price))
    now = prices.latest(at=at, assets=[symbol]).get(symbol)
    printed = None if now is None else market_leg(now.price_id)
    return None if now is None or printed is None else replace(now, price=printed)


def _with_price(state: GroupState, symbol: str, quote: prices.Quote) -> GroupState:
    if symbol not in state.quotes and symbol not in state.coins:
        return state
    return replace(state, quotes={**state.quotes, symbol: quote})


@exact
def _move(before: Decimal, after: Decimal) -> str:
    return f"{(after - before) / before:+.2%}"


def _count(found: Preview, state: GroupState, changed: GroupState) -> None:
    before, after = state.worth(permission=False), changed.worth(permission=False)
    bands = band(before, state.lines), band(after, changed.lines)
    found.groups += 1
    found.before[bands[0]] += 1
    found.after[bands[1]] += 1
    if bands[0] is not bands[1] and state.group is not None:
        found.shifts.append(Shift(state.group, *bands, before.ltv, after.ltv))


@exact
def _sum(found: Preview, pledged: dict[int, Decimal], state: GroupState, asset: str) -> None:
    quote, group = state.quotes.get(asset), state.group
    if quote is None or group is None:
        return
    found.lent += sum((one.amount * one.price for one in state.owed() if one.asset == asset), ZERO)
    held = [one for one in state.holdings(permission=False) if one.asset == asset]
    value = sum((one.amount * one.price for one in held), ZERO)
    found.pledged += value
    pledged[group.customer_id] += value


def _usage(found: Preview, given: Mapping[str, Any]) -> list[dict[str, str]]:
    used = (
        ("lent by the desk", "platform_borrow", found.lent),
        (tell("collateral of one client, the largest"), "user_collateral", found.most_pledged),
        ("collateral of all clients", "platform_collateral", found.pledged),
    )
    return [
        {"what": what, "used": f"{value:.2f}", "cap": "" if given[name] is None else f"{given[name]:f}"}
        for what, name, value in used
    ]


def _symbol(asset: Asset | str) -> str:
    symbol: str = asset.pk if isinstance(asset, Asset) else asset
    return symbol


def _text(ltv: Decimal | None) -> str:
    return "" if ltv is None else f"{ltv:f}"


def _groups(count: int) -> str:
    return tell("group") if count == 1 else tell("groups")
