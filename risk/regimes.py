"""The parameters that decide about every group of a book: as they are in force, and as somebody would have them.

A change is a waiting proposal, or lines, ratios and a mode that somebody only thinks of. It is never published by
asking what it would do. R-FTR-27, R-GEN-42, R-GEN-73
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np

from accounts import approvals
from accounts.errors import Refused
from accounts.models import Approval, Asset
from accounts.words import joined, tell
from risk import parameters, sales
from risk.crash import Regime
from risk.exposure import Exposure, ratios_of
from risk.handling import FeeBase, Handling, Mode
from risk.levels import Lines
from risk.models import HandlingRule, ProductCode
from risk.parameters import CoinTerms
from risk.parameters.in_force import Scope
from risk.valuation import Tier, check_tiers

PROPOSALS = ("risk.publish_limits", "risk.publish_ratios", "risk.publish_handling")


class BadChange(Refused):
    code = "bad_stress_change"


class _Row(NamedTuple):
    pk: int
    product: str
    customer_id: int


@dataclass(frozen=True, slots=True)
class Change:
    """What is put in place of what is in force. `of_customer` None: the handling of everybody without an own rule."""

    title: str
    lines: Mapping[Scope, Lines] = field(default_factory=dict)
    terms: Mapping[str, CoinTerms] = field(default_factory=dict)
    handling: Handling | None = None
    of_customer: int | None = None


def change_of(told: Mapping[str, Any], *, at: datetime, product: str = ProductCode.VIP) -> Change:
    """The change that `told` stands for: a `proposal`, or `limits` (three fractions), `ratios` and a `mode`.

    Raises:
        BadChange: no such proposal, one that moves no line, ratio or mode, or values that make no sense.
    """
    if "proposal" in told:
        return _proposed(told["proposal"], product=product)
    lines: dict[Scope, Lines] = {}
    terms: dict[str, CoinTerms] = {}
    said = []
    try:
        if told.get("limits"):
            lines[(product, None, None, None)] = _lines(told["limits"], product=product, at=at)
            said.append(tell("lines {percent}", percent=" / ".join(map(_percent, told["limits"]))))
        for coin, ratio in sorted(told.get("ratios", {}).items()):
            terms[coin] = _terms([(Decimal(0), Decimal(ratio))], rank=_rank(coin, at))
            said.append(tell("{coin} counts {ratio}", coin=coin, ratio=_percent(ratio)))
        mode = told.get("mode")
        handling = replace(_handling(product, at), mode=Mode(mode)) if mode else None
    except (ValueError, ArithmeticError) as error:
        raise BadChange(str(error)) from error
    if handling is not None:
        said.append(
            tell("sold {which}", which=tell("in steps") if handling.mode is Mode.STEPPED else tell("whole"))
        )
    if not said:
        raise BadChange(tell("Say what would change: lines, ratios, the mode, or a proposal."))
    return Change(title=joined("; ", said), lines=lines, terms=terms, handling=handling)


def in_force(book: Exposure, *, late: bool, change: Change | None, product: str = ProductCode.VIP) -> Regime:
    """What decides about each group of the book at its instant, with the change in its place."""
    at, customers = book.at, book.customers.tolist()
    rows = [_Row(pk, product, who) for pk, who in zip(book.groups.tolist(), customers, strict=True)]
    proposed = change.lines if change else {}
    lines = parameters.lines_by_group(rows, at=at, owed=book.owed_coins(), proposed=proposed) if rows else {}
    of_group = [lines[row.pk] for row in rows]
    handling = _handlings(set(customers), product=product, at=at, change=change)
    terms = {**parameters.terms_at(at, assets=book.coins), **(change.terms if change else {})}
    each = [handling[who] for who in customers]
    return Regime(
        lines=of_group,
        ratios=ratios_of(book.coins, terms, last_rank=sales.LAST_RANK),
        slippage=float(parameters.settings_at(at).slippage),
        target=np.array([_target(*pair) for pair in zip(each, of_group, strict=True)], dtype=np.float64),
        full_below=np.array([float(one.full_below_usd) for one in each], dtype=np.float64),
        fee_of_sold=np.array([one.fee_base is FeeBase.COLLATERAL_SOLD for one in each], dtype=bool),
        fee_of_assets=np.array([one.fee_base is FeeBase.START_ASSETS for one in each], dtype=bool),
        late=late,
    )


# --- Private ----------------------------------------------------------------------------------------


def _proposed(number: int, *, product: str) -> Change:
    waiting = Approval.objects.filter(pk=number, side=Approval.Side.DESK, command__in=PROPOSALS).first()
    if waiting is None or waiting.status != Approval.Status.PENDING:
        raise BadChange(
            tell("There is no waiting proposal {number} of lines, ratios or a mode.", number=number)
        )
    given = approvals.stored_arguments(waiting)
    title = tell("{waiting}: {waiting2}", waiting=waiting, waiting2=waiting.title)
    if waiting.command == "risk.publish_ratios":
        symbol = _symbol(given["asset"])
        counts = Asset.objects.filter(pk=symbol, collateral=True).exists()
        terms = {symbol: _terms(given["tiers"], rank=given.get("rank", 100))} if counts else {}
        return Change(title=title, terms=terms)
    if given["product"] != product:
        raise BadChange(tell("{waiting} is for another product.", waiting=waiting))
    customer = given.get("customer")
    if waiting.command == "risk.publish_handling":
        told = {name: given[name] for name in Handling.__dataclass_fields__ if name in given}
        whose = None if customer is None else customer.pk
        return Change(title=title, handling=Handling(**told), of_customer=whose)
    asset = given.get("asset")
    scope = (
        product,
        None if asset is None else _symbol(asset),
        None if customer is None else customer.pk,
        None,
    )
    return Change(title=title, lines={scope: given["lines"]})


def _lines(limits: list[str], *, product: str, at: datetime) -> Lines:
    """The product's own, with these three in place of its three."""
    if len(limits) != 3:
        raise BadChange(tell("Give three lines: initial, margin call and liquidation, such as 70/75/88."))
    now = parameters.lines_for(product=product, customer=None, assets=(), at=at)
    initial, margin_call, liquidation = map(Decimal, limits)
    return replace(now, initial=initial, margin_call=margin_call, liquidation=liquidation)


def _terms(tiers: list[tuple[Decimal, Decimal]], *, rank: int) -> CoinTerms:
    found = tuple(Tier(floor=floor, ratio=ratio) for floor, ratio in tiers)
    check_tiers(found)
    return CoinTerms(tiers=found, rank=rank)


def _rank(coin: str, at: datetime) -> int:
    if not Asset.objects.filter(pk=coin, collateral=True).exists():
        raise BadChange(tell("{coin} is no collateral coin.", coin=coin))
    terms = parameters.terms_at(at, assets=[coin])
    return terms[coin].rank if coin in terms else 100


def _handling(product: str, at: datetime) -> Handling:
    """What customers without a rule of their own get; nobody has the key 0."""
    return parameters.handling_by_customer([0], product=product, at=at)[0]


def _handlings(
    customers: set[int], *, product: str, at: datetime, change: Change | None
) -> dict[int, Handling]:
    found = parameters.handling_by_customer(sorted(customers), product=product, at=at)
    if change is None or change.handling is None:
        return found
    if change.of_customer is not None:
        return found | {change.of_customer: change.handling}
    own = HandlingRule.objects.filter(product=product, customer__isnull=False, effective_at__lte=at)
    latest = own.order_by("customer", "-effective_at").distinct("customer")
    keep = {rule.customer_id for rule in latest if rule.ends_at is None or rule.ends_at > at}
    return {who: found[who] if who in keep else change.handling for who in found}


def _target(handling: Handling, lines: Lines) -> float:
    """Where steps stop, as risk/steps.py has it; NaN where everything is sold at once. R-GEN-73"""
    if handling.mode is Mode.FULL:
        return float("nan")
    target = handling.target
    return float(lines.initial if target is None or target >= lines.liquidation else target)


def _symbol(asset: Asset | str) -> str:
    symbol: str = asset.pk if isinstance(asset, Asset) else asset
    return symbol


def _percent(fraction: str | Decimal) -> str:
    text = f"{100 * Decimal(fraction):f}"
    return tell("{text} %", text=text.rstrip("0").rstrip(".") if "." in text else text)
