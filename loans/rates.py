"""What the desk asks for its coins: today's rates and the next, and how they moved. Reads. R-GEN-53, R-VIP-22, R-VIP-23

The history is of published rates; a client's own spread is on the board only, where it is what they would pay.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from accounts.models import Asset, Customer
from accounts.money import ZERO
from accounts.words import tell
from loans import ratecards
from loans.charts import Step
from loans.models import RateCard
from loans.policy import PUBLISHED, policy_of, with_spread
from risk.models import FlexibleRate, ProductCode

FLEXIBLE: Final = "flexible"


@dataclass(frozen=True, slots=True)
class Rate:
    """What a new loan costs a year now, as a fraction, and the next published change, if any."""

    annual_rate: Decimal
    next_rate: Decimal | None = None
    next_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BoardRow:
    """One coin: a rate for each fixed term in order, None where none is published, and the flexible one."""

    asset: Asset
    fixed: tuple[Rate | None, ...]
    flexible: Rate | None
    spread: Decimal  # the client's own, in these rates


@dataclass(frozen=True, slots=True)
class Series:
    """The published rates of one kind, oldest first; the first may have begun before the period."""

    key: str
    name: str
    steps: tuple[Step, ...]


def board(*, vip_level: int, at: datetime, customer: Customer | None = None) -> list[BoardRow]:
    """Every coin that has a rate at `at` for this level; with `customer`, its own spread in it."""
    assets = Asset.objects.filter(loanable=True).in_bulk()
    policy = policy_of(customer, at=at) if customer is not None else PUBLISHED
    kinds: list[int | None] = [*ratecards.FIXED_TERMS, None]
    now = ratecards.rates_by_term(
        product=ProductCode.VIP, assets=assets, terms=kinds, vip_level=vip_level, at=at, policy=policy
    )
    coming = {term: _next(term, vip_level, at) for term in kinds}

    def rate(symbol: str, term: int | None) -> Rate | None:
        quote = now[term].get(symbol)
        if quote is None:
            return None
        following = coming[term].get(symbol)
        if following is None:
            return Rate(quote.annual_rate)
        return Rate(
            quote.annual_rate, with_spread(following.rate, policy.spread(symbol)), following.starts_at
        )

    rows = [
        BoardRow(
            asset=asset,
            fixed=tuple(rate(symbol, term) for term in ratecards.FIXED_TERMS),
            flexible=rate(symbol, None),
            spread=policy.spread(symbol),
        )
        for symbol, asset in sorted(assets.items())
    ]
    return [row for row in rows if row.flexible is not None or any(row.fixed)]


def history(asset: Asset, *, vip_level: int, since: datetime, until: datetime) -> list[Series]:
    """The flexible rate, and the fixed one of this level by term, from `since` to before `until`. R-GEN-53"""
    flexible = FlexibleRate.objects.filter(product=ProductCode.VIP, asset=asset, effective_at__lt=until)
    moved = (Step(row.effective_at, row.annual_rate) for row in flexible.order_by("effective_at"))
    series = [Series(FLEXIBLE, tell("Flexible"), _from(moved, since))]
    cards = RateCard.objects.filter(
        product=ProductCode.VIP, asset=asset, vip_level__lte=vip_level, effective_at__lt=until
    ).order_by("effective_at", "vip_level")
    for term in ratecards.FIXED_TERMS:
        steps = _of_level(card for card in cards if card.term_days == term)
        series.append(Series(f"fixed_{term}", tell("Fixed, {term} days", term=term), _from(steps, since)))
    return [one for one in series if one.steps]


# --- Private ----------------------------------------------------------------------------------------


def _next(term: int | None, vip_level: int, at: datetime) -> dict[str, Step]:
    """The first published change after `at` that this level will feel, by coin."""
    if term is None:
        rows = FlexibleRate.objects.filter(product=ProductCode.VIP, effective_at__gt=at)
        first = rows.order_by("asset", "effective_at").distinct("asset")
        return {row.asset_id: Step(row.effective_at, row.annual_rate) for row in first}
    cards = RateCard.objects.filter(product=ProductCode.VIP, term_days=term, vip_level__lte=vip_level)
    announced = cards.filter(effective_at__gt=at).values("asset")
    by_coin: dict[str, list[RateCard]] = {}
    for card in cards.filter(asset__in=announced).order_by("effective_at", "vip_level"):
        by_coin.setdefault(card.asset_id, []).append(card)
    found = {}
    for symbol, own in by_coin.items():
        later = [step for step in _of_level(own) if step.starts_at > at]
        if later:
            found[symbol] = later[0]
    return found


def _of_level(cards: Iterable[RateCard]) -> Iterator[Step]:
    """What a level gets of these cards, in order of time: the highest level that has one wins (R-VIP-22)."""
    best, rate = -1, ZERO
    for card in cards:
        if card.vip_level < best:
            continue
        if best < 0 or card.vip_level > best or card.annual_rate != rate:
            yield Step(card.effective_at, card.annual_rate)
        best, rate = card.vip_level, card.annual_rate


def _from(steps: Iterable[Step], since: datetime) -> tuple[Step, ...]:
    """The step in force at `since`, and those after it."""
    steps = list(steps)
    begun = [step for step in steps if step.starts_at <= since][-1:]
    return (*begun, *(step for step in steps if step.starts_at > since))
