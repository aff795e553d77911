"""The month a statement is of, and how its figures are written so that two of them can be compared byte for byte."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

from accounts.money import exact

HOUR: Final = timedelta(hours=1)

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Month:
    """(since, until] at 00:00 UTC; `first` is its first day."""

    first: date

    def __post_init__(self) -> None:
        assert self.first.day == 1, "a month is named by its first day"

    @property
    def since(self) -> datetime:
        return datetime.combine(self.first, time(), UTC)

    @property
    def until(self) -> datetime:
        return self.following.since

    @property
    def following(self) -> "Month":
        return Month((self.first + timedelta(days=32)).replace(day=1))

    @property
    def before(self) -> "Month":
        return Month((self.first - timedelta(days=1)).replace(day=1))

    @property
    def hours(self) -> list[datetime]:
        """Every full hour of it, its last instant included."""
        return [self.since + number * HOUR for number in range(1, (self.until - self.since) // HOUR + 1)]

    def __str__(self) -> str:
        return f"{self.first:%B %Y}"


def last_month(at: datetime) -> Month:
    """The last one that is over at `at`."""
    return Month(at.astimezone(UTC).date().replace(day=1)).before


def digest(body: Mapping[str, Any]) -> str:
    """SHA-256 of the body as canonical JSON: sorted keys, no spaces, UTF-8."""
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


@exact
def text(value: Decimal) -> str:
    """A figure as plain text without idle zeros: the same however the database wrote it."""
    return f"{value.normalize():f}" if value else "0"
