"""What a daily clock charges, and when.

A day is charged at each 00:00 UTC instant on the principal outstanding at it (R-VIP-31). Everything here
follows from the debt's own facts and an instant, so a late or doubled run computes the rows of a punctual one
(R-GEN-04). Amounts are in the debt's coin and round up at its places; rates are yearly fractions; times are
aware datetimes.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal

from accounts.money import ZERO, divide_up, exact

DAYS_PER_YEAR = 365  # Actual/365 fixed, in leap years too. R-GEN-03

Pause = tuple[datetime, datetime]  # [start, end)


@dataclass(frozen=True, slots=True)
class Charge:
    interest: Decimal
    late_fee: Decimal


@dataclass(frozen=True, slots=True)
class PeriodCharge:
    """One charge of a debt: from where the debt's `accrued_through` stood to the instant charged."""

    period_start: datetime
    period_end: datetime
    basis: Decimal
    annual_rate: Decimal
    multiplier: int
    interest: Decimal
    late_fee: Decimal


@dataclass(frozen=True, slots=True)
class RateStep:
    """From `starts_at` on, until the next step, the debt costs `annual_rate`."""

    starts_at: datetime
    annual_rate: Decimal


@dataclass(frozen=True, slots=True)
class DailyTerms:
    """The facts of a debt that decide its charges. `due_at` None: an open term, never late.

    `pauses`: half-open spans in which the desk could not take repayments, merged and in order (R-VIP-45).
    """

    principal: Decimal
    accrued_through: datetime
    due_at: datetime | None
    late_multiplier: int
    places: int
    steps: tuple[RateStep, ...]
    pauses: tuple[Pause, ...] = ()


@exact
def daily_charge(*, principal: Decimal, annual_rate: Decimal, places: int, multiplier: int = 1) -> Charge:
    """One day: in all ceil(multiplier * P * r / 365), of which ceil(P * r / 365) is interest.

    The rest is late fee. Rounding the total once is the rule; three rounded thirds would be dearer.
    R-GEN-02, R-GEN-03, R-VIP-30, R-VIP-43
    """
    yearly = principal * annual_rate
    interest = divide_up(yearly, Decimal(DAYS_PER_YEAR), places)
    total = divide_up(multiplier * yearly, Decimal(DAYS_PER_YEAR), places)
    return Charge(interest=interest, late_fee=total - interest)


def midnights(*, after: datetime, until: datetime) -> Iterator[datetime]:
    """Each 00:00 UTC instant t with after < t <= until. R-VIP-31"""
    instant = datetime.combine(_utc(after).date(), time(), UTC) + timedelta(days=1)
    while instant <= until:
        yield instant
        instant += timedelta(days=1)


def rate_before(steps: Iterable[RateStep], instant: datetime) -> Decimal:
    """The rate in force just before `instant`: that of the day which ends there. R-VIP-32

    Raises:
        LookupError: no step starts before it.
    """
    earlier = [step for step in steps if step.starts_at < instant]
    if not earlier:
        raise LookupError(f"No rate is in force before {instant:%Y-%m-%d %H:%M} UTC.")
    return max(earlier, key=lambda step: step.starts_at).annual_rate


def has_midnight(after: datetime, until: datetime) -> bool:
    """Whether a charge may lie after `after` and not after `until`; without one, nothing is due whatever the rate."""
    return until.astimezone(UTC).date() > after.astimezone(UTC).date()


def due_charges(terms: DailyTerms, until: datetime) -> list[PeriodCharge]:
    """The charges of every midnight after `accrued_through`, up to and at `until`, oldest first.

    A midnight strictly after `due_at` is charged `late_multiplier` times, but once while it lies in a pause: nobody
    is fined for what the desk could not take. Nothing is charged on no principal: whoever lends again on such a
    debt first moves its `accrued_through`.
    R-VIP-30, R-VIP-31, R-VIP-32, R-VIP-43, R-VIP-45
    """
    if terms.principal == 0:
        return []
    charges = []
    start = terms.accrued_through
    for instant in midnights(after=start, until=until):
        is_late = terms.due_at is not None and terms.due_at < instant and not is_paused(terms.pauses, instant)
        multiplier = terms.late_multiplier if is_late else 1
        rate = rate_before(terms.steps, instant)
        charge = daily_charge(
            principal=terms.principal, annual_rate=rate, places=terms.places, multiplier=multiplier
        )
        charges.append(
            PeriodCharge(
                period_start=start,
                period_end=instant,
                basis=terms.principal,
                annual_rate=rate,
                multiplier=multiplier,
                interest=charge.interest,
                late_fee=charge.late_fee,
            )
        )
        start = instant
    return charges


def pending(terms: DailyTerms, at: datetime) -> Charge:
    """What is due at `at` but not booked yet; booked + pending is what is owed. R-GEN-40, R-VIP-33"""
    charges = due_charges(terms, at)
    return Charge(
        interest=sum((charge.interest for charge in charges), ZERO),
        late_fee=sum((charge.late_fee for charge in charges), ZERO),
    )


def minimum_charge(
    *, principal: Decimal, annual_rate: Decimal, places: int, days_charged: int, min_days: int = 1
) -> Charge:
    """What a loan repaid in full still owes to have paid `min_days` days; nothing once it has. R-VIP-31

    `principal` is the amount lent, not what is left of it: else repaying all but a crumb first would be free.
    """
    day = daily_charge(principal=principal, annual_rate=annual_rate, places=places)
    return Charge(interest=max(min_days - days_charged, 0) * day.interest, late_fee=ZERO)


def merged(spans: Iterable[Pause]) -> tuple[Pause, ...]:
    """Spans in order of their start, made one where they touch; empty ones are dropped."""
    found: list[Pause] = []
    for start, end in spans:
        if found and start <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], end))
        elif start < end:
            found.append((start, end))
    return tuple(found)


def clock_ends_at(*, starts_at: datetime, hours: int, pauses: Iterable[Pause]) -> datetime:
    """When `hours` have run since `starts_at`, standing still in each pause (merged, in order). R-VIP-44, R-VIP-45"""
    ends_at = starts_at + timedelta(hours=hours)
    for start, end in pauses:
        if start >= ends_at:
            break
        if end > starts_at:
            ends_at += end - max(start, starts_at)
    return ends_at


def is_paused(pauses: Iterable[Pause], instant: datetime) -> bool:
    """Half-open: the start belongs to the pause, the end does not."""
    return any(start <= instant < end for start, end in pauses)


def _utc(instant: datetime) -> datetime:
    assert instant.tzinfo is not None, "a naive time has no midnight"
    return instant.astimezone(UTC)
