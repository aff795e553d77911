"""The whole book valued by the database, set by set: the sums of `risk/book.py` without reading a group at a time.

NUMERIC products and sums are exact, so these are the figures of the pure rules (risk/valuation.py, risk/interest.py,
risk/levels.py) to the last digit; tests/loans/test_book_sums.py holds the two against each other. Nothing is decided
here: what acts on a group values it by `risk.book` under its lock.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.core.exceptions import EmptyResultSet
from django.db import connection
from django.db.models import QuerySet

from accounts.models import Asset, Customer
from accounts.money import unit
from accounts.words import tell
from risk import freezes, overdue, parameters, prices
from risk.parameters import NotPublished
from risk.prices import Quote

BANDS: Final = ("SAFE", "WATCH", "CALL", "LIQ")
"""As the statement numbers them."""


class Sum(NamedTuple):
    """One row of the answer: what it sums, of which key, how many, and up to three amounts."""

    kind: str
    key: str
    number: int
    first: Decimal
    second: Decimal
    third: Decimal


def sums(
    customers: QuerySet[Customer], *, floors: Sequence[Decimal], clients: int, at: datetime
) -> Iterator[Sum]:
    """What these customers owe and have pledged, at the last good prices: one statement, whatever their number.

    Kinds: `band` and `bucket` (by index; groups, debt, market value, recognised), `owed` and `residual` (by coin; the
    amount), `held` (by coin; amount, market value, recognised), `client` (by key, the `clients` that owe most; groups,
    debt, recognised, residual) and `worst` (the band of these clients' worst group).

    Raises:
        NotPublished: a group owes something for whose product no lines are published.
        LookupError: a debt has no rate for a day it is charged for.
    """
    for row in _rows(customers, _SUMS, floors=floors, at=at, clients=clients):
        found = Sum(*row)
        if found.kind == "without lines" and found.number:
            raise NotPublished(
                tell("No LTV lines are published for the product of {number} groups.", number=found.number)
            )
        if found.kind == "without rate" and found.number:
            raise LookupError(f"{found.number} debts have no rate for a day they are charged for.")
        if not found.kind.startswith("without"):
            yield found


def groups(
    customers: QuerySet[Customer],
    *,
    floors: Sequence[Decimal],
    at: datetime,
    bucket: int | None = None,
    band: int | None = None,
    after: int = 0,
    most: int | None = None,
) -> list[int]:
    """The keys of the groups in a bucket or a band, ascending from `after` on, at most `most` of them."""
    asked = {"bucket": bucket, "band": band, "after": after, "most": most}
    return [pk for (pk,) in _rows(customers, _GROUPS, floors=floors, at=at, **asked)]


def worst(customers: QuerySet[Customer], group_ids: Sequence[int], *, most: int, at: datetime) -> list[int]:
    """Of these customers' groups those in the most danger, worst first: by band, then by LTV. For an order only."""
    asked = {"ids": list(group_ids), "most": most}
    named = customers.filter(groups__in=list(group_ids))
    return [pk for (pk,) in _rows(named, _WORST, floors=(), at=at, **asked)] if group_ids else []


# --- Private ----------------------------------------------------------------------------------------


def _rows(
    customers: QuerySet[Customer], statement: str, *, floors: Sequence[Decimal], at: datetime, **asked: Any
) -> list[tuple[Any, ...]]:
    try:
        named = customers.order_by().values("pk").distinct().query.sql_with_params()
        scope = connection.ops.compose_sql(*named)  # type: ignore[attr-defined]  # PostgreSQL's own
    except EmptyResultSet:
        return []
    known = _market(at) | {"at": at, "midnight": datetime.combine(at.astimezone(UTC).date(), time(), UTC)}
    with connection.cursor() as cursor:
        written = f"WITH scope (id) AS MATERIALIZED ({scope.replace('%', '%%')}), {_VALUED} {statement}"
        cursor.execute(written, known | asked | {"floors": list(floors)})
        return list(cursor.fetchall())


def _market(at: datetime) -> dict[str, Any]:
    """Prices, tiers and pauses as arrays, a column each."""
    assets = Asset.objects.in_bulk()
    symbols = sorted(assets)
    quotes: Mapping[str, Quote] = prices.latest(at=at)
    terms = parameters.terms_at(at)
    slices = [
        (coin, tier.floor, following.floor if following else None, tier.ratio)
        for coin, known in sorted(terms.items())
        for tier, following in zip(known.tiers, [*known.tiers[1:], None], strict=True)
    ]
    pauses = freezes.repay_pauses(symbols, overdue.ALWAYS)
    spans = [(coin, start, end) for coin, found in sorted(pauses.items()) for start, end in found]
    return {
        "coins": symbols,
        "prices": [quotes[coin].price if coin in quotes else None for coin in symbols],
        "units": [unit(assets[coin].places) for coin in symbols],
        "scales": [Decimal(10) ** assets[coin].places for coin in symbols],
        "counting": [coin for coin in symbols if coin in quotes and coin in terms],
        **dict(
            zip(
                ("slice_coins", "slice_floors", "slice_ends", "slice_ratios"),
                _columns(slices, 4),
                strict=True,
            )
        ),
        **dict(zip(("pause_coins", "pause_starts", "pause_ends"), _columns(spans, 3), strict=True)),
        "day": timedelta(days=1),
    }


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [[row[number] for row in rows] for number in range(width)]


# `pending` is risk/interest.py::due_charges: every midnight after `accrued_through`, at the rate in force just before
# it, the late multiple past the due date unless repayments were paused; each day rounded up once, by integer division,
# since PostgreSQL rounds a quotient before it could be rounded up.
_VALUED = """
    market AS MATERIALIZED (
        SELECT * FROM unnest(%(coins)s::text[], %(prices)s::numeric[], %(units)s::numeric[], %(scales)s::numeric[])
            AS m (coin, price, unit, scale)),
    slices AS MATERIALIZED (
        SELECT * FROM unnest(%(slice_coins)s::text[], %(slice_floors)s::numeric[], %(slice_ends)s::numeric[],
            %(slice_ratios)s::numeric[]) AS s (coin, floor, ceiling, ratio)),
    pauses AS MATERIALIZED (
        SELECT * FROM unnest(%(pause_coins)s::text[], %(pause_starts)s::timestamptz[], %(pause_ends)s::timestamptz[])
            AS p (coin, starts_at, ends_at)),
    live AS MATERIALIZED (
        SELECT g.id, g.customer_id, g.product FROM risk_collateralgroup g JOIN scope ON scope.id = g.customer_id
        WHERE g.closed_at IS NULL AND EXISTS (
            SELECT FROM risk_debt d
            WHERE d.group_id = g.id AND d.closed_at IS NULL AND d.residual_since IS NULL)),
    pending AS MATERIALIZED (
        SELECT d.id AS debt_id, count(*) FILTER (WHERE r.rate IS NULL) AS without_rate,
            sum(div(r.times * d.principal * r.rate * 1e20 * m.scale + 365e20 - 1, 365e20) * m.unit) AS amount
        FROM risk_debt d JOIN live ON live.id = d.group_id JOIN market m ON m.coin = d.asset_id,
            generate_series(date_trunc('day', d.accrued_through, 'UTC') + %(day)s::interval, %(midnight)s::timestamptz,
                %(day)s::interval) AS t (midnight),
            LATERAL (
                SELECT CASE WHEN s.fixed_rate IS NULL THEN greatest(f.annual_rate + s.spread, 0) ELSE s.fixed_rate END
                    AS rate,
                    CASE WHEN d.due_at < t.midnight AND NOT EXISTS (
                        SELECT FROM pauses p
                        WHERE p.coin = d.asset_id AND p.starts_at <= t.midnight AND t.midnight < p.ends_at)
                    THEN d.late_multiplier ELSE 1 END AS times
                FROM (SELECT) AS one
                LEFT JOIN LATERAL (
                    SELECT fixed_rate, spread FROM risk_debtrate
                    WHERE debt_id = d.id AND starts_at < t.midnight ORDER BY starts_at DESC, id DESC LIMIT 1) s ON true
                LEFT JOIN LATERAL (
                    SELECT annual_rate FROM risk_flexiblerate
                    WHERE product = d.product AND asset_id = d.asset_id AND effective_at < t.midnight
                    ORDER BY effective_at DESC, id DESC LIMIT 1) f ON s.fixed_rate IS NULL) r
        WHERE d.closed_at IS NULL AND d.residual_since IS NULL AND d.principal > 0
            AND d.accrued_through < %(midnight)s
        GROUP BY d.id),
    owed AS MATERIALIZED (
        SELECT d.group_id, d.asset_id AS coin,
            sum(d.principal + d.interest + d.late_fee + coalesce(p.amount, 0)) AS amount
        FROM risk_debt d JOIN live ON live.id = d.group_id LEFT JOIN pending p ON p.debt_id = d.id
        WHERE d.closed_at IS NULL AND d.residual_since IS NULL GROUP BY d.group_id, d.asset_id),
    held AS MATERIALIZED (
        SELECT b.group_id, w.asset_id AS coin, sum(w.credits - w.debits) AS amount
        FROM live JOIN risk_member b ON b.group_id = live.id AND b.released_at IS NULL
        JOIN accounts_ledgeraccount w
            ON w.account_id = b.account_id AND w.kind = 'spot' AND w.credits > w.debits
        JOIN risk_groupcoin c ON c.group_id = live.id AND c.asset_id = w.asset_id AND c.released_at IS NULL
        WHERE w.asset_id = ANY (%(counting)s::text[]) GROUP BY b.group_id, w.asset_id),
    counted AS MATERIALIZED (
        SELECT h.group_id, h.coin, h.amount, h.amount * m.price AS market,
            coalesce(sum((least(h.amount * m.price, s.ceiling) - s.floor) * s.ratio), 0) AS recognised
        FROM held h JOIN market m ON m.coin = h.coin
        LEFT JOIN slices s ON s.coin = h.coin AND s.floor < h.amount * m.price
        GROUP BY h.group_id, h.coin, h.amount, m.price),
    valued AS MATERIALIZED (
        SELECT live.*, o.debt, coalesce(k.market, 0) AS market, coalesce(k.recognised, 0) AS collateral
        FROM live
        JOIN (SELECT o.group_id, sum(o.amount * coalesce(m.price, 0)) AS debt
            FROM owed o JOIN market m ON m.coin = o.coin GROUP BY o.group_id) o ON o.group_id = live.id
        LEFT JOIN (SELECT group_id, sum(market) AS market, sum(recognised) AS recognised
            FROM counted GROUP BY group_id) k ON k.group_id = live.id),
    in_force AS MATERIALIZED (
        SELECT * FROM (
            SELECT DISTINCT ON (product, asset_id, customer_id, group_id) product, asset_id, customer_id, group_id,
                ends_at, ARRAY[initial, margin_call, liquidation] AS lines
            FROM risk_limits WHERE effective_at <= %(at)s
            ORDER BY product, asset_id, customer_id, group_id, effective_at DESC) latest
        WHERE ends_at IS NULL OR ends_at > %(at)s),
    of_coins AS MATERIALIZED (
        SELECT o.group_id, ARRAY[min((coalesce(c.lines, p.lines))[1]), min((coalesce(c.lines, p.lines))[2]),
            min((coalesce(c.lines, p.lines))[3])] AS lines
        FROM owed o JOIN live ON live.id = o.group_id
        JOIN in_force p ON p.product = live.product AND p.asset_id IS NULL AND p.customer_id IS NULL
            AND p.group_id IS NULL
        LEFT JOIN in_force c ON c.product = live.product AND c.asset_id = o.coin AND c.customer_id IS NULL
            AND c.group_id IS NULL
        GROUP BY o.group_id),
    lined AS MATERIALIZED (
        SELECT v.*, coalesce(s.lines, k.lines, c.lines) AS lines
        FROM valued v
        LEFT JOIN in_force s ON s.product = v.product AND s.group_id = v.id AND s.customer_id IS NULL
            AND s.asset_id IS NULL
        LEFT JOIN in_force k ON k.product = v.product AND k.customer_id = v.customer_id AND k.group_id IS NULL
            AND k.asset_id IS NULL
        LEFT JOIN of_coins c ON c.group_id = v.id),
    placed AS MATERIALIZED (
        SELECT l.*,
            (SELECT count(*) FROM unnest(l.lines) AS line WHERE l.debt > 0 AND l.debt >= line * l.collateral) AS band,
            (SELECT count(*) FROM unnest(%(floors)s::numeric[]) AS floor
                WHERE l.debt > 0 AND l.debt >= floor * l.collateral) AS bucket
        FROM lined l)
"""
"""Every live group with its debt, market value and recognised collateral in USD, its band and its bucket.

`least` takes no notice of a NULL ceiling, which is the end of the last tier.
"""

_GROUPS = """
    SELECT id FROM placed
    WHERE (%(bucket)s::int IS NULL OR bucket = %(bucket)s) AND (%(band)s::int IS NULL OR band = %(band)s)
        AND id > %(after)s
    ORDER BY id LIMIT %(most)s
"""

# A debt without cover has no LTV, and is the worst there is.
_WORST = """
    SELECT id FROM placed WHERE id = ANY (%(ids)s::bigint[])
    ORDER BY band DESC, debt / nullif(collateral, 0) DESC NULLS FIRST, id LIMIT %(most)s
"""

_SUMS = """
    , residual AS MATERIALIZED (
        SELECT d.customer_id, d.asset_id AS coin, sum(d.principal + d.interest + d.late_fee) AS amount
        FROM risk_debt d JOIN scope ON scope.id = d.customer_id
        WHERE d.closed_at IS NULL AND d.residual_since IS NOT NULL GROUP BY d.customer_id, d.asset_id),
    of_client AS MATERIALIZED (
        SELECT customer_id, sum(groups) AS groups, sum(debt) AS debt, sum(collateral) AS collateral,
            sum(residual) AS residual, max(band) AS band
        FROM (
            SELECT customer_id, 1 AS groups, debt, collateral, 0 AS residual, band FROM placed
            UNION ALL
            SELECT r.customer_id, 0, 0, 0, r.amount * coalesce(m.price, 0), 0
            FROM residual r JOIN market m ON m.coin = r.coin) AS parts
        GROUP BY customer_id),
    most AS MATERIALIZED (
        SELECT * FROM of_client WHERE debt + residual > 0
        ORDER BY debt + residual DESC, customer_id LIMIT %(clients)s)
    SELECT 'band', band::text, count(*), sum(debt), sum(market), sum(collateral) FROM placed GROUP BY band
    UNION ALL SELECT 'bucket', bucket::text, count(*), sum(debt), sum(market), sum(collateral)
        FROM placed GROUP BY bucket
    UNION ALL SELECT 'owed', coin, count(*), sum(amount), 0, 0 FROM owed GROUP BY coin
    UNION ALL SELECT 'residual', coin, count(*), sum(amount), 0, 0 FROM residual GROUP BY coin
    UNION ALL SELECT 'held', coin, count(*), sum(amount), sum(market), sum(recognised) FROM counted GROUP BY coin
    UNION ALL SELECT 'client', customer_id::text, groups, debt, collateral, residual FROM most
    UNION ALL SELECT 'worst', customer_id::text, band, 0, 0, 0 FROM most
    UNION ALL SELECT 'without lines', '', count(*), 0, 0, 0 FROM placed WHERE lines IS NULL
    UNION ALL SELECT 'without rate', '', count(*), 0, 0, 0 FROM pending WHERE without_rate > 0
"""
