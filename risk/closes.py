"""A group's LTV at the end of each finished day, recomputed from rows: where it was over a week and a month.

Nothing is stored. A day that is over for good does not change, so what was found for it is remembered in the cache;
without a cache it is found again, slower. A day without a figure says why (R-GEN-94).

A day is over for good once each of the group's coins was observed after it: the price gate takes no observation that
is older than the newest of its coin (R-GEN-21). While a feed is silent, what it saw before midnight may still come.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Final

from django.core.cache import cache
from django.db.models import Min

from risk import observations, past
from risk.models import CollateralGroup, Debt, GroupCoin

DAY: Final = timedelta(days=1)
SETTLED: Final = timedelta(minutes=15)  # what was decided before midnight is in the rows by then
KEPT: Final = timedelta(days=40)
FORM: Final = 1  # of what is remembered; another program version may not read it

logger = logging.getLogger(__name__)


class Gap(StrEnum):
    """Why a day has no figure."""

    NO_DEBT = "nothing owed"
    NO_PRICE = "a coin owed had no price"
    NO_COVER = "no collateral counted"


@dataclass(frozen=True, slots=True)
class Close:
    """LTV at 00:00 UTC after `day`, to 12 places as a fraction; None where `gap` says why."""

    day: date
    ltv: Decimal | None
    gap: Gap | None = None


def of(group: CollateralGroup, *, days: int, at: datetime) -> list[Close]:
    """The last `days` finished days before `at`, oldest first, from the day the group opened. R-GEN-94"""
    return of_many([group], days=days, at=at)[group.pk]


def of_many(groups: Sequence[CollateralGroup], *, days: int, at: datetime) -> dict[int, list[Close]]:
    """The same for several groups, by key. Days not remembered cost some ten queries a group, others none."""
    wanted = {group.pk: _finished(group, days, at) for group in groups}
    known = _remembered([_name(group, day) for group in groups for day in wanted[group.pk]])
    found = {}
    for group in groups:
        missing = [day for day in wanted[group.pk] if _name(group, day) not in known]
        made = _recomputed(group, missing)
        _remember(group, made.values(), at)
        found[group.pk] = [made.get(day) or known[_name(group, day)] for day in wanted[group.pk]]
    return found


# --- Private ----------------------------------------------------------------------------------------


def _finished(group: CollateralGroup, days: int, at: datetime) -> list[date]:
    today = at.astimezone(UTC).date()
    first = max(today - timedelta(days=days), group.opened_at.astimezone(UTC).date())
    return [first + timedelta(days=number) for number in range((today - first).days)]


def _end(day: date) -> datetime:
    return datetime.combine(day + DAY, time(), UTC)


def _recomputed(group: CollateralGroup, days: Sequence[date]) -> dict[date, Close]:
    points = past.ltvs(group, instants=[_end(day) for day in days])
    return {day: _close(day, point) for day, point in zip(days, points, strict=True)}


def _close(day: date, point: past.Point) -> Close:
    if not point.is_known:
        return Close(day, None, Gap.NO_PRICE)
    if not point.owes:
        return Close(day, None, Gap.NO_DEBT)
    return Close(day, point.ltv, Gap.NO_COVER if point.ltv is None else None)


def _name(group: CollateralGroup, day: date) -> str:
    return f"close:{FORM}:{group.pk}:{group.opened_at.timestamp():.0f}:{day}"


def _remembered(names: Iterable[str]) -> Mapping[str, Close]:
    try:
        found: dict[str, Close] = cache.get_many(names)
        return {name: Close(kept.day, kept.ltv, kept.gap) for name, kept in found.items()}
    except Exception:
        logger.warning("no closes can be read from the cache; they are found again")
        return {}


def _remember(group: CollateralGroup, closes: Iterable[Close], at: datetime) -> None:
    ended = [close for close in closes if at >= _end(close.day) + SETTLED]
    through = _settled_through(group, at) if ended else None
    over = {_name(group, one.day): one for one in ended if through is not None and _end(one.day) < through}
    if not over:
        return
    try:
        cache.set_many(over, int(KEPT.total_seconds()))
    except Exception:
        logger.warning("nothing can keep the closes; they are found again each time")


def _settled_through(group: CollateralGroup, at: datetime) -> datetime | None:
    """Until when nothing can be written any more: no price, and no expiry that its job has yet to settle. R-VIP-44"""
    through = _observed_through(group, at)
    due = Debt.objects.watched().filter(group=group, due_at__lte=at, overdue_since__isnull=True)
    waits: datetime | None = due.aggregate(first=Min("due_at"))["first"]
    return through if through is None or waits is None else min(through, waits)


def _observed_through(group: CollateralGroup, at: datetime) -> datetime | None:
    """Until when no price of a coin that the group ever had can come any more; None where one has none yet."""
    coins = {*GroupCoin.objects.filter(group=group).values_list("asset", flat=True)}
    coins |= {*Debt.objects.filter(group=group).values_list("asset", flat=True)}
    seen = [row.newest_at for row in observations.newest(at, coins)]
    return (
        min((instant for instant in seen if instant is not None), default=None) if None not in seen else None
    )
