"""The maturity ladder: what falls due to us from loans against what we have to give back to lenders (R-ADM-12).

Pure: dates and principals in, rungs out. What has no date stands apart and is in no running gap.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from accounts.money import ZERO
from accounts.words import tell

Dated = tuple[datetime | None, Decimal]  # when it falls due (None: no date), and the principal


class Bucket(StrEnum):
    OVERDUE = "overdue"
    DAY = "1d"
    WEEK = "7d"
    MONTH = "30d"
    TWO_MONTHS = "60d"
    THREE_MONTHS = "90d"
    LATER = "later"
    OPEN = "open"


LABELS: Final = {
    Bucket.OVERDUE: tell("Due already"),
    Bucket.DAY: tell("Within 1 day"),
    Bucket.WEEK: tell("Within 7 days"),
    Bucket.MONTH: tell("Within 30 days"),
    Bucket.TWO_MONTHS: tell("Within 60 days"),
    Bucket.THREE_MONTHS: tell("Within 90 days"),
    Bucket.LATER: tell("Later"),
    Bucket.OPEN: tell("No date"),
}
ENDS: Final = (
    (Bucket.OVERDUE, timedelta(0)),
    (Bucket.DAY, timedelta(days=1)),
    (Bucket.WEEK, timedelta(days=7)),
    (Bucket.MONTH, timedelta(days=30)),
    (Bucket.TWO_MONTHS, timedelta(days=60)),
    (Bucket.THREE_MONTHS, timedelta(days=90)),
)
"""The buckets with an end, nearest first: each takes what falls due up to and at its end, and after the one before."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One bucket, in the coin: `gap` is loans less tranches; `running` adds the gaps so far, None without a date."""

    bucket: Bucket
    loans: Decimal
    tranches: Decimal
    running: Decimal | None

    @property
    def gap(self) -> Decimal:
        return self.loans - self.tranches

    @property
    def label(self) -> str:
        return LABELS[self.bucket]


def bucket_of(due_at: datetime | None, *, at: datetime) -> Bucket:
    """Where something that falls due at `due_at` stands, seen from `at`."""
    if due_at is None:
        return Bucket.OPEN
    left = due_at - at
    return next((bucket for bucket, end in ENDS if left <= end), Bucket.LATER)


def rungs(*, loans: Iterable[Dated], tranches: Iterable[Dated], at: datetime) -> tuple[Rung, ...]:
    """Every bucket in its order, the empty ones too. R-ADM-12"""
    due, owed = _by_bucket(loans, at), _by_bucket(tranches, at)
    found, running = [], ZERO
    for bucket in Bucket:
        coming, going = due.get(bucket, ZERO), owed.get(bucket, ZERO)
        running += coming - going
        found.append(Rung(bucket, coming, going, None if bucket is Bucket.OPEN else running))
    return tuple(found)


def _by_bucket(rows: Iterable[Dated], at: datetime) -> dict[Bucket, Decimal]:
    sums: dict[Bucket, Decimal] = {}
    for due_at, principal in rows:
        bucket = bucket_of(due_at, at=at)
        sums[bucket] = sums.get(bucket, ZERO) + principal
    return sums
