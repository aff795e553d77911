"""What one client gets instead of the published terms, as in force at an instant (R-ADM-02, R-VIP-24): reads only.

Of the rows of a scope the one that starts last counts, from its start on; when it has ended, the wider scope
counts again: the coin's row, then the client's for every coin, then what is published.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Final

from accounts.models import Customer
from accounts.money import ZERO, exact
from loans.models import ClientTerms


@dataclass(frozen=True, slots=True)
class Policy:
    """A client's own terms. `rows`: the row in force by coin; the key "" is the one for every coin.

    Coins have a spread and may be uncapped; hours, exposure and the list of coins are the client's as a whole.
    """

    rows: Mapping[str, ClientTerms] = field(default_factory=dict)

    @property
    def overdue_hours(self) -> int | None:
        return self._of_all.overdue_hours if self._of_all else None

    @property
    def max_exposure(self) -> Decimal | None:
        """USD that the client may owe over all coins; None is no such cap. R-GEN-37"""
        return self._of_all.max_exposure_usd if self._of_all else None

    def spread(self, asset: str) -> Decimal:
        """What is added to a published annual rate; below 0 is a discount. R-VIP-24"""
        row = self._of(asset)
        return row.spread if row is not None and row.spread is not None else ZERO

    def is_uncapped(self, asset: str) -> bool:
        """No maximum per order and per client: good credit history. R-VIP-06"""
        row = self._of(asset)
        return row is not None and row.is_uncapped

    def may_borrow(self, asset: str) -> bool:
        coins = self._of_all.allowed_coins if self._of_all else None
        return coins is None or asset in coins

    @property
    def _of_all(self) -> ClientTerms | None:
        return self.rows.get("")

    def _of(self, asset: str) -> ClientTerms | None:
        return self.rows.get(asset) or self._of_all


def policy_of(customer: Customer | int, *, at: datetime) -> Policy:
    """The client's own terms in force at `at`. One query."""
    customer_id = customer.pk if isinstance(customer, Customer) else customer
    begun = ClientTerms.objects.filter(customer_id=customer_id, starts_at__lte=at)
    latest = begun.order_by("asset_id", "-starts_at").distinct("asset_id")
    return Policy({row.asset_id or "": row for row in latest if row.ends_at is None or row.ends_at > at})


PUBLISHED: Final = Policy()  # nothing of a client's own


@exact
def with_spread(published: Decimal, spread: Decimal) -> Decimal:
    """The rate a client pays: published plus spread, as annual fractions, and never below 0. R-VIP-24"""
    return max(published + spread, ZERO)
