"""The daily charge for thousands of debts in one statement: `risk/interest.py` and `risk/rates.py` in SQL.

One rule in two languages, and the same rows to the last digit (tests/risk/test_accrual_sql.py): PostgreSQL rounds a
quotient, but `div` cuts it off exactly. An amount has 8 decimals and a rate 12, so their product has 20, and a sum
that is 10^-20 short of one more smallest amount is what rounds up.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from accounts.models import JournalEntry

DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Claimed:
    """Debts of one coin that are behind by the same midnights, `first` to `last`; their rows are locked."""

    asset: str
    first: datetime
    last: datetime
    debts: tuple[int, ...]  # in order

    def instants(self) -> list[datetime]:
        return [self.first + DAY * number for number in range((self.last - self.first) // DAY + 1)]


@dataclass(frozen=True, slots=True)
class Charged:
    """What one entry has charged on the debts of one coin."""

    entry_id: int
    asset: str
    interest: Decimal
    late_fee: Decimal


# A debt past its due date is charged up to that date until its expiry is settled (`accrual.awaits_expiry`, R-VIP-47).
_THROUGH = """CASE WHEN overdue_since IS NULL AND due_at < %(at)s THEN date_bin('24 hours', due_at, '2000-01-01 00:00Z')
        ELSE %(midnight)s END"""
_CLAIM = f"""
    SELECT asset_id, date_bin('24 hours', accrued_through, '2000-01-01 00:00Z') + interval '24 hours', through,
        array_agg(id)
    FROM (
        SELECT id, asset_id, accrued_through, {_THROUGH} AS through FROM risk_debt
        WHERE closed_at IS NULL AND residual_since IS NULL AND principal > 0
            AND accrued_through < %(midnight)s AND accrued_through < {_THROUGH}
            AND id > %(after)s {{among}}
        ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED) behind
    GROUP BY 1, 2, 3
"""  # noqa: S608  no input: two texts of this module
_CLAIM_NEXT, _CLAIM_AMONG = _CLAIM.format(among=""), _CLAIM.format(among="AND id = ANY (%(among)s::bigint[])")

# A rate that is missing is left out, which the table refuses: the chunk fails, and its debts are tried one by one.
_CHARGE = f"""
    WITH coin AS MATERIALIZED (  -- a year of the smallest amount, and what rounds up to a whole one of them
        SELECT symbol, ('1e-' || places)::numeric AS unit, 365 * ('1e-' || places)::numeric AS year,
            365 * ('1e-' || places)::numeric - 1e-20 AS up
        FROM accounts_asset),
    due AS (
        SELECT d.id, d.principal, coin.unit, coin.year, coin.up, midnight.entry_id, midnight.instant,
            greatest(d.accrued_through, midnight.instant - interval '24 hours') AS period_start,
            CASE WHEN d.due_at IS NULL OR d.due_at >= midnight.instant OR EXISTS (
                    SELECT FROM risk_freeze
                    WHERE what = 'repay' AND account_id IS NULL AND group_id IS NULL
                        AND (asset_id IS NULL OR asset_id = d.asset_id)
                        AND starts_at <= midnight.instant AND least(ends_at, lifted_at) > midnight.instant)
                THEN 1 ELSE d.late_multiplier END AS multiplier,
            CASE WHEN segment.fixed_rate IS NOT NULL THEN segment.fixed_rate
                WHEN published.annual_rate IS NOT NULL THEN greatest(published.annual_rate + segment.spread, 0)
                ELSE (SELECT fixed_rate FROM risk_debtrate
                    WHERE debt_id = d.id AND starts_at < midnight.instant AND fixed_rate IS NOT NULL
                    ORDER BY starts_at DESC LIMIT 1)
            END AS rate
        FROM risk_debt d
        JOIN coin ON coin.symbol = d.asset_id
        JOIN unnest(%(instants)s::timestamptz[], %(entries)s::bigint[]) AS midnight (instant, entry_id)
            ON midnight.instant > d.accrued_through AND midnight.instant <= {_THROUGH}
        LEFT JOIN LATERAL (
            SELECT fixed_rate, spread FROM risk_debtrate
            WHERE debt_id = d.id AND starts_at < midnight.instant ORDER BY starts_at DESC LIMIT 1) segment ON true
        LEFT JOIN LATERAL (
            SELECT annual_rate FROM risk_flexiblerate
            WHERE product = d.product AND asset_id = d.asset_id AND effective_at < midnight.instant
            ORDER BY effective_at DESC LIMIT 1) published ON segment.fixed_rate IS NULL
        WHERE d.id = ANY (%(debts)s::bigint[])
        OFFSET 0),  -- a fence: without it each use of `rate` and `interest` works them out again
    priced AS (
        SELECT *, div(principal * rate + up, year) * unit AS interest FROM due OFFSET 0)
    INSERT INTO risk_debtentry (debt_id, entry_id, kind, at, principal, interest, late_fee,
            period_start, period_end, basis, annual_rate)
        SELECT id, entry_id, 'charge', instant, 0, interest,
            CASE WHEN multiplier = 1 THEN 0
                ELSE div(multiplier * principal * rate + up, year) * unit - interest END,
            period_start, instant, principal, rate
        FROM priced
"""  # noqa: S608  no input: a text of this module
# What the entries' own trigger has just added up (`debt_entry_apply`), to be booked on the controls against it.
_SUMS = """
    SELECT s.entry_id, a.asset_id, sum(s.subledger) FILTER (WHERE a.kind = 'interest'),
        coalesce(sum(s.subledger) FILTER (WHERE a.kind = 'late_fee'), 0)
    FROM accounts_controlsum s JOIN accounts_ledgeraccount a ON a.id = s.account_id
    WHERE s.entry_id = ANY (%(entries)s::bigint[]) GROUP BY 1, 2
"""


def claim(
    *, at: datetime, after_pk: int = 0, limit: int, among: Sequence[int] | None = None
) -> list[Claimed]:
    """Lock the next debts with a charge due at `at`, by id; what others hold is left to them (R-GEN-04)."""
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM_NEXT if among is None else _CLAIM_AMONG,
            {**_until(at), "after": after_pk, "limit": limit, "among": list(among or ())},
        )
        return [
            Claimed(asset, first, last, tuple(sorted(debts)))
            for asset, first, last, debts in cursor.fetchall()
        ]


def charge(
    *, debts: Iterable[int], entries: Iterable[JournalEntry], at: datetime
) -> tuple[int, list[Charged]]:
    """Book every charge that the locked debts have due at `at`, each under the entry of its midnight; how many.

    Interest is ceil(P * r / 365) at the coin's places, the late fee what ceil(multiplier * P * r / 365) is more.
    R-GEN-02, R-GEN-03, R-VIP-30, R-VIP-31, R-VIP-32, R-VIP-43, R-VIP-45
    """
    entries = list(entries)
    told: dict[str, Any] = {
        **_until(at),
        "debts": f"{{{','.join(map(str, sorted(debts)))}}}",  # as text: thousands of numbers one by one take long
        "instants": [entry.at for entry in entries],
        "entries": [entry.pk for entry in entries],
    }
    with connection.cursor() as cursor:
        cursor.execute(_CHARGE, told)
        count = cursor.rowcount
        cursor.execute(_SUMS, told)
        return count, [Charged(*row) for row in cursor.fetchall()]


def _until(at: datetime) -> dict[str, datetime]:
    return {"at": at, "midnight": datetime.combine(at.astimezone(UTC).date(), time(), UTC)}
