"""The whole book at a glance: who owes what in which coin, how near the lines, and what the desk earns (R-ADM-06).

Valued by the states the sweep decides on, at last good prices. Everything is summed from rows that the pages behind it
list one by one, so each figure can be followed to them. Values are USD, unrounded.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from accounts.models import Customer
from accounts.money import ZERO, exact
from risk import book, debts, prices, valuation
from risk.book import GroupState
from risk.levels import Band, band
from risk.models import CollateralGroup, Debt, Price
from risk.prices import PriceState, Quote

CHUNK = 500  # groups read together
BUCKETS = tuple(Decimal(step) / 100 for step in (0, 30, 40, 50, 60, 65, 70, 75, 80, 85, 90, 95, 100))
"""Lower ends of the LTV buckets; the last has no upper end and holds debts without collateral, too."""


@dataclass(slots=True)
class CoinExposure:
    """A coin as it is owed and as it is pledged. Amounts in the coin, the rest in USD."""

    asset: str
    owed: Decimal = ZERO
    owed_usd: Decimal = ZERO
    pledged: Decimal = ZERO
    market: Decimal = ZERO
    recognised: Decimal = ZERO


@dataclass(slots=True)
class ClientExposure:
    """What one client owes, residual debts included, against what secures it; `band` is that of the worst group."""

    customer: Customer
    groups: int = 0
    debt: Decimal = ZERO
    recognised: Decimal = ZERO
    residual: Decimal = ZERO
    band: str = Band.SAFE.value

    @property
    def owed(self) -> Decimal:
        return self.debt + self.residual


@dataclass(slots=True)
class Bucket:
    """Groups whose LTV is at or above `floor` and below `ceiling` (None: no upper end)."""

    floor: Decimal
    ceiling: Decimal | None
    groups: int = 0
    debt: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class Health:
    """One coin's price, as the desk depends on it: `refused` counts quarantined observations since a day ago."""

    asset: str
    quote: Quote | None
    refused: int

    @property
    def is_good(self) -> bool:
        return self.quote is not None and self.quote.state is PriceState.FRESH


@dataclass(slots=True)
class Book:
    """The sums. `unpriced`: coins owed without any price, whose debts no figure here can hold."""

    at: datetime
    groups: int = 0
    debt: Decimal = ZERO
    residual: Decimal = ZERO
    market: Decimal = ZERO
    recognised: Decimal = ZERO
    coins: dict[str, CoinExposure] = field(default_factory=dict)
    clients: dict[int, ClientExposure] = field(default_factory=dict)
    buckets: tuple[Bucket, ...] = ()
    bands: dict[str, int] = field(default_factory=dict)
    unpriced: set[str] = field(default_factory=set)

    @property
    def owed(self) -> Decimal:
        return self.debt + self.residual

    def by_coin(self) -> list[CoinExposure]:
        return sorted(self.coins.values(), key=lambda one: (-(one.owed_usd + one.market), one.asset))

    def top(self, most: int) -> list[ClientExposure]:
        """The clients that owe most."""
        owing = [one for one in self.clients.values() if one.owed > 0]
        return sorted(owing, key=lambda one: (-one.owed, one.customer.pk))[:most]

    def share(self, part: Decimal) -> Decimal:
        """Of all that is owed; 0 while nothing is."""
        return part / self.owed if self.owed else ZERO


@exact
def book_of(customers: QuerySet[Customer], *, at: datetime) -> Book:
    """Sum the open groups and the residual debts of these customers. A handful of queries per 500 groups."""
    found = Book(at=at, buckets=_empty_buckets(), bands={one.value: 0 for one in Band})
    for group, state in _states(owing_groups(customers), at=at):
        _add_group(found, group, state)
    _add_residual(found, customers, at=at)
    return found


def owing_groups(customers: QuerySet[Customer]) -> QuerySet[CollateralGroup]:
    """The open groups of these customers that owe something."""
    owing = Debt.objects.watched().filter(group=OuterRef("pk"))
    return CollateralGroup.objects.open().filter(Exists(owing), customer__in=customers)


def in_bucket(
    customers: QuerySet[Customer], *, floor: Decimal, ceiling: Decimal | None, at: datetime
) -> list[int]:
    """The keys of the groups that `book_of` counts in this bucket."""
    return [
        group.pk
        for group, state in _states(owing_groups(customers), at=at)
        if _is_within(state.worth(permission=False), floor, ceiling)
    ]


def in_band(customers: QuerySet[Customer], *, name: str, at: datetime) -> list[int]:
    """The keys of the groups that `book_of` counts in this band."""
    return [
        group.pk
        for group, state in _states(owing_groups(customers), at=at)
        if band(state.worth(permission=False), state.lines).value == name
    ]


def price_health(assets: Iterable[str], *, since: datetime, at: datetime) -> list[Health]:
    """The prices of these coins, those that cannot be decided on first. R-GEN-21, R-GEN-22"""
    symbols = sorted(set(assets))
    quotes = prices.latest(at=at, assets=symbols)
    rows = Price.objects.filter(asset__in=symbols, observed_at__gt=since, observed_at__lte=at)
    refused = rows.filter(status=Price.Status.QUARANTINED).values_list("asset").annotate(Count("pk"))
    counted = dict(refused.order_by())
    found = [Health(symbol, quotes.get(symbol), counted.get(symbol, 0)) for symbol in symbols]
    return sorted(found, key=lambda one: (one.is_good, -one.refused, one.asset))


# --- Private ----------------------------------------------------------------------------------------


def _states(
    groups: QuerySet[CollateralGroup], *, at: datetime
) -> Iterator[tuple[CollateralGroup, GroupState]]:
    rows = list(groups.select_related("customer").order_by("pk"))
    for start in range(0, len(rows), CHUNK):
        chunk = rows[start : start + CHUNK]
        states = book.states(chunk, at=at)
        yield from ((group, states[group.pk]) for group in chunk)


@exact
def _add_group(found: Book, group: CollateralGroup, state: GroupState) -> None:
    worth = state.worth(permission=False)
    where = band(worth, state.lines).value
    found.groups += 1
    found.bands[where] += 1
    found.debt += worth.debt
    found.market += worth.market
    found.recognised += worth.collateral
    found.unpriced |= {asset for asset in state.owed_assets if asset not in state.quotes}
    for bucket in found.buckets:
        if _is_within(worth, bucket.floor, bucket.ceiling):
            bucket.groups += 1
            bucket.debt += worth.debt
    client = found.clients.setdefault(group.customer_id, ClientExposure(group.customer))
    client.groups += 1
    client.debt += worth.debt
    client.recognised += worth.collateral
    client.band = max(client.band, where, key=[one.value for one in Band].index)
    for owed in state.debts:
        _add_owed(found, owed.debt.asset_id, owed.parts.total, state.quotes)
    holdings = state.holdings(permission=False)
    for asset in {holding.asset for holding in holdings}:
        mine = [holding for holding in holdings if holding.asset == asset]
        counted = valuation.worth(holdings=mine, debts=[])
        coin = found.coins.setdefault(asset, CoinExposure(asset))
        coin.pledged += sum((holding.amount for holding in mine), ZERO)
        coin.market += counted.market
        coin.recognised += counted.collateral


@exact
def _add_owed(found: Book, asset: str, amount: Decimal, quotes: Mapping[str, Quote]) -> Decimal:
    coin = found.coins.setdefault(asset, CoinExposure(asset))
    coin.owed += amount
    value = amount * quotes[asset].price if asset in quotes else ZERO
    coin.owed_usd += value
    return value


@exact
def _add_residual(found: Book, customers: QuerySet[Customer], *, at: datetime) -> None:
    """What liquidations left owing secures nothing and is nobody's LTV, but it is owed. R-GEN-78"""
    rows = Debt.objects.open().filter(Q(residual_since__isnull=False), customer__in=customers)
    left = list(rows.select_related("asset", "customer").order_by("pk"))
    owed = debts.owed_at(left, at=at)
    quotes = prices.latest(at=at, assets={row.asset_id for row in left}) if left else {}
    for row in left:
        if row.asset_id not in quotes:
            found.unpriced.add(row.asset_id)
        value = _add_owed(found, row.asset_id, owed[row.pk].parts.total, quotes)
        found.residual += value
        found.clients.setdefault(row.customer_id, ClientExposure(row.customer)).residual += value


def _empty_buckets() -> tuple[Bucket, ...]:
    return tuple(Bucket(floor, ceiling) for floor, ceiling in zip(BUCKETS, (*BUCKETS[1:], None), strict=True))


def _is_within(worth: valuation.Worth, floor: Decimal, ceiling: Decimal | None) -> bool:
    """Compared exactly, as every line is."""
    at_least = floor == 0 or worth.is_at_least(floor)
    return at_least and (ceiling is None or worth.is_below(ceiling))
