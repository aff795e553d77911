"""What a coin was worth and counted for, and which lines were in force, at each of many instants at once.

The same facts as `prices.latest` and `parameters` give for one instant; a month of hours costs a few queries, since
prices are looked up for all instants together and parameters are asked once between two of their changes.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from django.db import connection
from django.db.models import Q

from risk import parameters
from risk.handling import Handling
from risk.levels import Lines
from risk.models import CollateralGroup, FeedRule, Freeze, HandlingRule, Limits, RatioSchedule
from risk.prices import PriceState, Quote

# Per instant and coin, as NEWEST in risk/observations.py: two steps into an index each.
THEN = """
    SELECT moment.at, coin.symbol, good.id, good.price, good.observed_at, rule.max_age_seconds,
        newest.status = 'good'
    FROM unnest(%(instants)s::timestamptz[]) AS moment(at)
    CROSS JOIN unnest(%(assets)s::text[]) AS coin(symbol)
    CROSS JOIN LATERAL (
        SELECT id, price, observed_at FROM risk_price
        WHERE asset_id = coin.symbol AND observed_at <= moment.at AND status = 'good'
        ORDER BY observed_at DESC, id DESC LIMIT 1) good
    CROSS JOIN LATERAL (
        SELECT status FROM risk_price
        WHERE asset_id = coin.symbol AND observed_at <= moment.at
        ORDER BY observed_at DESC, id DESC LIMIT 1) newest
    LEFT JOIN LATERAL (
        SELECT max_age_seconds FROM risk_feedrule
        WHERE (asset_id = coin.symbol OR asset_id IS NULL) AND effective_at <= moment.at
        ORDER BY asset_id NULLS LAST, effective_at DESC LIMIT 1) rule ON true
"""


def quotes_at(instants: Sequence[datetime], assets: Iterable[str]) -> dict[datetime, dict[str, Quote]]:
    """The last good price known at each instant of each coin that had one then. One query."""
    found: dict[datetime, dict[str, Quote]] = {instant: {} for instant in instants}
    symbols = sorted(set(assets))
    if not instants or not symbols:
        return found
    with connection.cursor() as cursor:
        cursor.execute(THEN, {"instants": list(instants), "assets": symbols})
        rows = cursor.fetchall()
    for at, symbol, price_id, price, observed_at, max_age, newest_is_good in rows:
        seconds = FeedRule().max_age_seconds if max_age is None else max_age
        if not newest_is_good:
            state = PriceState.SUSPECT
        else:
            is_old = at - observed_at > timedelta(seconds=seconds)
            state = PriceState.STALE if is_old else PriceState.FRESH
        found[at][symbol] = Quote(price_id, symbol, price, observed_at, state)
    return found


@dataclass
class Parameters:
    """What was in force for one group between two instants, asked once per stretch in which nothing changed."""

    group: CollateralGroup
    assets: frozenset[str]
    since: datetime
    until: datetime

    def __post_init__(self) -> None:
        self._terms: dict[int, Mapping[str, parameters.CoinTerms]] = {}
        self._handling: dict[int, Handling] = {}
        self._lines: dict[tuple[int, frozenset[str]], Lines] = {}

    def terms(self, at: datetime) -> Mapping[str, parameters.CoinTerms]:
        stretch = self._stretch(at)
        if stretch not in self._terms:
            self._terms[stretch] = parameters.terms_at(at, assets=self.assets)
        return self._terms[stretch]

    def handling(self, at: datetime) -> Handling:
        stretch = self._stretch(at)
        if stretch not in self._handling:
            self._handling[stretch] = parameters.handling_for(
                product=self.group.product, customer=self.group.customer_id, at=at
            )
        return self._handling[stretch]

    def lines(self, at: datetime, owed: frozenset[str]) -> Lines:
        key = (self._stretch(at), owed)
        if key not in self._lines:
            found = parameters.lines_by_group([self.group], at=at, owed={self.group.pk: set(owed)})
            self._lines[key] = found[self.group.pk]
        return self._lines[key]

    def frozen_coins(self, at: datetime) -> frozenset[str]:
        """Coins that counted nothing for new borrowing then. R-ADM-04"""
        return frozenset(
            row.asset_id
            for row in self._freezes
            if row.asset_id is not None
            and row.starts_at <= at < row.ends_at
            and (row.lifted_at is None or row.lifted_at > at)
        )

    def _stretch(self, at: datetime) -> int:
        return bisect_right(self._changes, at)

    @cached_property
    def _changes(self) -> list[datetime]:
        span = (self.since, self.until)
        found: set[datetime] = set()
        schedules = RatioSchedule.objects.filter(asset__in=self.assets, effective_at__range=span)
        found.update(schedules.values_list("effective_at", flat=True))
        own = Q(customer__isnull=True) | Q(customer=self.group.customer_id)
        limits = Limits.objects.filter(own, product=self.group.product)
        rules = HandlingRule.objects.filter(own, product=self.group.product)
        touched = Q(effective_at__range=span) | Q(ends_at__range=span)
        for start, end in [
            *limits.filter(touched).values_list("effective_at", "ends_at"),
            *rules.filter(touched).values_list("effective_at", "ends_at"),
        ]:
            found.update(instant for instant in (start, end) if instant is not None)
        return sorted(found)

    @cached_property
    def _freezes(self) -> list[Freeze]:
        rows = Freeze.objects.filter(what=Freeze.What.COLLATERAL, asset__in=self.assets)
        return list(rows.filter(starts_at__lte=self.until, ends_at__gt=self.since))
