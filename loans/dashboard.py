"""The whole book at a glance: who owes what in which coin, how near the lines, and what the desk earns (R-ADM-06).

Summed by the database (loans/book_sums.py), at last good prices, from rows that the pages behind it list one by one, so
each figure can be followed to them. Values are USD, unrounded. A large book is summed beforehand, by
`loans/book_snapshot.py`, and shown with the time of its figures.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from django.db.models import Count, QuerySet

from accounts.models import Customer
from accounts.money import ZERO, exact
from loans import book_sums
from loans.book_sums import Sum
from risk import prices
from risk.levels import LTV_FLOORS, Band
from risk.models import Price
from risk.prices import PriceState, Quote

MOST_CLIENTS = 25  # that owe most, of all
BUCKETS = LTV_FLOORS


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

    customer_id: int
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
    clients: list[ClientExposure] = field(default_factory=list)  # those that owe most, first
    buckets: tuple[Bucket, ...] = ()
    bands: dict[str, int] = field(default_factory=dict)
    unpriced: set[str] = field(default_factory=set)

    @property
    def owed(self) -> Decimal:
        return self.debt + self.residual

    def by_coin(self) -> list[CoinExposure]:
        return sorted(self.coins.values(), key=lambda one: (-(one.owed_usd + one.market), one.asset))

    def top(self, most: int) -> list[ClientExposure]:
        """The clients that owe most; no more than MOST_CLIENTS are known."""
        return self.clients[:most]

    def share(self, part: Decimal) -> Decimal:
        """Of all that is owed; 0 while nothing is."""
        return part / self.owed if self.owed else ZERO


@exact
def book_of(customers: QuerySet[Customer], *, at: datetime) -> Book:
    """Sum the open groups and the residual debts of these customers: the same few queries, however many they are.

    Exact: NUMERIC in the database, Decimal here.
    """
    found = Book(at=at, buckets=_empty_buckets(), bands={one.value: 0 for one in Band})
    quotes = prices.latest(at=at)
    for row in book_sums.sums(customers, floors=BUCKETS[1:], clients=MOST_CLIENTS, at=at):
        _add(found, row, quotes.get(row.key))
    found.clients.sort(key=lambda one: (-one.owed, one.customer_id))
    return found


def in_bucket(
    customers: QuerySet[Customer],
    *,
    floor: Decimal,
    ceiling: Decimal | None,
    at: datetime,
    after: int = 0,
    most: int | None = None,
) -> list[int]:
    """The keys of the groups that `book_of` counts in this bucket, ascending; `most` of those above `after`."""
    number = [(one.floor, one.ceiling) for one in _empty_buckets()].index((floor, ceiling))
    return book_sums.groups(customers, floors=BUCKETS[1:], bucket=number, at=at, after=after, most=most)


def in_band(
    customers: QuerySet[Customer], *, name: str, at: datetime, after: int = 0, most: int | None = None
) -> list[int]:
    """The keys of the groups that `book_of` counts in this band, ascending; `most` of those above `after`."""
    number = book_sums.BANDS.index(name)
    return book_sums.groups(customers, floors=BUCKETS[1:], band=number, at=at, after=after, most=most)


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


def _add(found: Book, row: Sum, quote: Quote | None) -> None:
    """One row of the database's answer. `quote`: of the coin, where the row is of one."""
    if row.kind == "band":
        found.bands[book_sums.BANDS[int(row.key)]] = row.number
        found.groups += row.number
        found.debt += row.first
        found.market += row.second
        found.recognised += row.third
    elif row.kind == "bucket":
        bucket = found.buckets[int(row.key)]
        bucket.groups, bucket.debt = row.number, row.first
    elif row.kind == "client":
        found.clients.append(ClientExposure(int(row.key), row.number, row.first, row.second, row.third))
    elif row.kind == "worst":
        [client] = [one for one in found.clients if one.customer_id == int(row.key)]
        client.band = book_sums.BANDS[row.number]
    else:
        _add_coin(found, row, quote)


@exact
def _add_coin(found: Book, row: Sum, quote: Quote | None) -> None:
    coin = found.coins.setdefault(row.key, CoinExposure(row.key))
    if row.kind == "held":
        coin.pledged, coin.market, coin.recognised = row.first, row.second, row.third
        return
    value = row.first * quote.price if quote else ZERO
    coin.owed += row.first
    coin.owed_usd += value
    if quote is None:
        found.unpriced.add(row.key)
    if row.kind == "residual":  # secures nothing and is nobody's LTV, but it is owed. R-GEN-78
        found.residual += value


def _empty_buckets() -> tuple[Bucket, ...]:
    return tuple(Bucket(floor, ceiling) for floor, ceiling in zip(BUCKETS, (*BUCKETS[1:], None), strict=True))
