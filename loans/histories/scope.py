"""Whose history is asked for, which part of it, and for which time: the same for every list (R-GEN-90, R-GEN-95)."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from django.db.models import QuerySet

from accounts.errors import Refused
from accounts.models import Account, Customer
from accounts.words import tell
from loans.models import Loan
from risk.models import CollateralGroup

DEFAULT_DAYS: Final = 90
MOST_DAYS: Final = 180
MOST_INTEREST_DAYS: Final = 90
MOST_ROWS: Final = 100  # of one page
STREAMED: Final = 1000  # rows read at once for a file

Row = TypeVar("Row")
Found = TypeVar("Found")


class BadPeriod(Refused):
    code = "bad_period"
    sapi = -1130


class TooLong(BadPeriod):
    sapi = -1127


class BadPage(Refused):
    code = "bad_page"


@dataclass(frozen=True, slots=True)
class Scope:
    """A customer's rows; with `account`, only what who acts for that one account may see. R-GEN-95

    The account sees the loans it receives, with the collateral bound to them, and of a group that it secures only
    its own coins.
    """

    customer: Customer
    account: Account | None = None

    def loans(self) -> QuerySet[Loan]:
        rows = Loan.objects.filter(customer=self.customer)
        return rows if self.account is None else rows.filter(group__receiver=self.account)

    def groups(self) -> QuerySet[CollateralGroup]:
        rows = CollateralGroup.objects.filter(customer=self.customer)
        return rows if self.account is None else rows.filter(receiver=self.account)


@dataclass(frozen=True, slots=True)
class Asked:
    """Which rows: of (since, until], of one coin, receiving or collateral account, or loan; one page of them.

    `secured_by`, `secured_with`: one account and coins, any of them, that secure an order now.

    The period leaves its first instant out and has its last in it: the charge of a day is booked at the 00:00 UTC
    that ends the day, so January is (1 Jan 00:00, 1 Feb 00:00].
    """

    since: datetime
    until: datetime
    coin: str = ""
    account: int | None = None
    loan: int | None = None
    secured_by: int | None = None
    secured_with: tuple[str, ...] = ()
    page: int = 1
    size: int = 25

    def __post_init__(self) -> None:
        if not 1 <= self.size <= MOST_ROWS:
            raise BadPage(
                tell("A page has 1 to {most_rows} rows, not {size}.", most_rows=MOST_ROWS, size=self.size)
            )
        if not 1 <= self.page <= 10**6:
            raise BadPage(tell("Pages are counted from 1."))

    @property
    def span(self) -> slice:
        return slice((self.page - 1) * self.size, self.page * self.size)

    def during(self, field: str) -> dict[str, Any]:
        return {f"{field}__gt": self.since, f"{field}__lte": self.until}


@dataclass(frozen=True, slots=True)
class Part(Generic[Row]):
    """One page of a list, and how many rows the whole list has."""

    rows: tuple[Row, ...]
    total: int


def period(
    *, since: datetime | None, until: datetime | None, at: datetime, most_days: int = MOST_DAYS
) -> tuple[datetime, datetime]:
    """The time asked for: without an end until now, without a beginning 90 days. R-GEN-90

    Raises:
        BadPeriod: the wrong way round. TooLong: longer than `most_days`.
    """
    last = at if until is None else until
    first = last - timedelta(days=min(DEFAULT_DAYS, most_days)) if since is None else since
    if first >= last:
        raise BadPeriod(tell("The first day is after the last; swap them."))
    if last - first > timedelta(days=most_days):
        raise TooLong(
            tell("Choose at most {most_days} days; ask twice for a longer time.", most_days=most_days)
        )
    return first, last


def part(
    rows: "QuerySet[Any]", asked: Asked, made: Callable[[Iterable[Any]], Iterable[Found]]
) -> Part[Found]:
    """One page of `rows`, shaped by `made`, and how many there are: two queries at most and what `made` asks."""
    found = list(rows[asked.span.start : asked.span.stop + 1])  # one more tells whether that was all
    page = found[: asked.size]
    is_all = asked.page == 1 and len(found) <= asked.size
    return Part(tuple(made(page)), len(page) if is_all else rows.count())
