"""A large book, by set-based SQL through the real triggers: every amount is a transfer, every debt has its entry.

The same `seed` makes the same book. A group belongs to a firm of its own and has one collateral account with `coins`
coins and `loans` debts; LTVs lie evenly between `LTVS`, so none is called before prices move.
"""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import psycopg
from django.db import connection, transaction

from accounts.commands import Actor, acting
from bench.stand import url

# USD. The first are owed too; none of the prices is a round number of another.
PRICES: Final = {
    "USDT": "1",
    "USDC": "1",
    "BTC": "61234.5",
    "ETH": "3021.7",
    "BNB": "571.3",
    "SOL": "143.9",
    "XRP": "0.5127",
    "ADA": "0.4461",
    "LTC": "82.35",
    "DOGE": "0.1213",
}
LENT: Final = ("USDT", "USDC", "BTC", "ETH")
# Pledged before the stable coins, so that a book falls with the market.
PLEDGED: Final = ("BTC", "ETH", "BNB", "SOL", "XRP", "ADA", "LTC", "DOGE", "USDT", "USDC")
TIERS: Final = (("0", "1"), ("1000000", "0.9"), ("5000000", "0.8"))
LTVS: Final = (Decimal("0.35"), Decimal("0.70"))
PIECE: Final = 20_000  # groups written at a time
PER_ENTRY: Final = 20_000  # rows booked by one journal entry
BUILDER: Final = Actor("job:bench")
LONG_AGO: Final = timedelta(days=400)


def fill(
    *,
    groups: int,
    coins: int = 5,
    loans: int = 5,
    at: datetime,
    seed: int = 1,
    ltvs: tuple[Decimal, Decimal] = LTVS,
) -> None:
    """Add `groups` groups with `coins` positions and `loans` debts each, all opened at `at`, at `ltvs` from and to.

    May be called again for more of them; parameters and prices are published by the first call.
    """
    _publish(at)
    for first in range(0, groups, PIECE):
        _add(min(PIECE, groups - first), coins=coins, loans=loans, at=at, seed=seed + first, ltvs=ltvs)
        _analyse()


def _add(
    groups: int, *, coins: int, loans: int, at: datetime, seed: int, ltvs: tuple[Decimal, Decimal]
) -> None:
    with acting(BUILDER), connection.cursor() as cursor:
        cursor.execute("SELECT setseed(%s)", [1 / (1 + seed)])
        cursor.execute(_PEOPLE, {"count": groups, "at": at - LONG_AGO, "coins": list(PLEDGED[:coins])})
    _booked(_DEPOSITS, at=at)
    with acting(BUILDER), connection.cursor() as cursor:
        cursor.execute(
            _DEBTS,
            {
                "at": at,
                "loans": loans,
                "lent": list(LENT),
                "lowest": ltvs[0],
                "spread": ltvs[1] - ltvs[0],
                "places": 8,
            },
        )
    _booked(_BORROWED, at=at)
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE bench_groups, bench_deposits, bench_debts")


def stir(*, share: float, at: datetime) -> int:
    """Move that share of the wallets (a deposit) and of the debts (a repayment) a little; returns how many rows."""
    with connection.cursor() as cursor:
        cursor.execute(_STIRRED, {"share": share})
    _booked(_DEPOSITS, at=at, per_entry=100)
    _booked(_REPAID, at=at, per_entry=100)
    with connection.cursor() as cursor:
        cursor.execute("SELECT (SELECT count(*) FROM bench_deposits) + (SELECT count(*) FROM bench_debts)")
        [count] = cursor.fetchone() or [0]
        cursor.execute("DROP TABLE bench_deposits, bench_debts")
    return int(count)


def quote(at: datetime, *, times: Decimal = Decimal(1)) -> None:
    """Print every price at `at`; coins that move at `times` their first price, stable coins at one dollar."""
    from risk import prices
    from risk.feeds import Tick

    ticks = [
        Tick(symbol, Decimal(usd) * (1 if symbol in ("USDT", "USDC") else times), at, "bench")
        for symbol, usd in PRICES.items()
    ]
    prices.record(ticks, at=at)


def _analyse() -> None:
    """What autovacuum would do; without it the triggers' statements are planned for the small tables of the start."""
    with psycopg.connect(url(owner=True), autocommit=True) as owner:
        owner.execute("ANALYZE")


def _publish(at: datetime) -> None:
    from risk.models import Limits
    from tests import build

    if Limits.objects.exists():
        return
    long_ago = at - LONG_AGO
    for symbol in PRICES:
        build.asset(symbol)
        build.ratios(symbol, *TIERS, at=long_ago)
    build.limits(at=long_ago)
    for symbol in LENT:
        build.flexible_rate(symbol, "0.0731", at=long_ago)
        build.fund_pool(symbol, "900000000000000", at=long_ago)
    from risk.models import FeedRule

    with acting(BUILDER):  # the whole book is measured at one price
        FeedRule.objects.create(effective_at=long_ago, max_age_seconds=10**8, max_jump=Decimal(10))
    quote(at - timedelta(seconds=1))


def _booked(statement: Callable[[int, int], str], *, at: datetime, per_entry: int = PER_ENTRY) -> None:
    """Book the rows of a prepared table (`n` numbers them from 1), some thousands to the entry."""
    table = statement(0, 0).split("FROM ")[1].split()[0]
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT coalesce(max(n), 0) FROM {table}")  # noqa: S608  a name of this module
        [last] = cursor.fetchone() or [0]
    for first in range(1, last + 1, per_entry):
        with transaction.atomic(), acting(BUILDER), connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO accounts_journalentry (kind, reference, at) VALUES ('bench', %s, %s) RETURNING id",
                [f"bench:{table}:{time.monotonic_ns()}", at],
            )
            [entry] = cursor.fetchone() or [0]
            for part in statement(first, first + per_entry - 1).split(";\n"):
                cursor.execute(part, {"entry": entry, "at": at})


_PEOPLE = """
    CREATE TEMPORARY TABLE bench_groups AS
    WITH people AS (
        INSERT INTO accounts_customer (name, kind, vip_level, whitelisted, joined_at)
            SELECT 'Firm', 'firm', 1, false, %(at)s FROM generate_series(1, %(count)s) RETURNING id),
    masters AS (
        INSERT INTO accounts_account (customer_id, kind, label, email, opened_at)
            SELECT id, 'master', 'Master', 'm' || id || '@bench.invalid', %(at)s FROM people
            RETURNING uid, customer_id),
    subs AS (
        INSERT INTO accounts_account (customer_id, kind, label, email, opened_at)
            SELECT id, 'sub', 'Collateral', 's' || id || '@bench.invalid', %(at)s FROM people
            RETURNING uid, customer_id)
    SELECT 0::bigint AS group_id, m.customer_id, m.uid AS master, s.uid AS sub, random() AS ltv
        FROM masters m JOIN subs s USING (customer_id);

    WITH opened AS (
        INSERT INTO risk_collateralgroup (product, customer_id, receiver_id, name, opened_at, band)
            SELECT 'vip', customer_id, master, 'Group', %(at)s, 'SAFE' FROM bench_groups ORDER BY customer_id
            RETURNING id, receiver_id)
    UPDATE bench_groups b SET group_id = o.id FROM opened o WHERE o.receiver_id = b.master;

    INSERT INTO risk_member (group_id, account_id, wallet, since)
        SELECT group_id, sub, 'spot', %(at)s FROM bench_groups;
    INSERT INTO risk_groupcoin (group_id, asset_id, since)
        SELECT group_id, coin, %(at)s FROM bench_groups, unnest(%(coins)s::text[]) AS coin;
    INSERT INTO accounts_ledgeraccount (code, kind, account_id, asset_id, normal, may_overdraw, debits, credits)
        SELECT 'custody:' || coin, 'custody', NULL, coin, 'debit', false, 0, 0 FROM unnest(%(coins)s::text[]) AS coin
        ON CONFLICT DO NOTHING;

    CREATE TEMPORARY TABLE bench_deposits AS
    WITH wallets AS (
        INSERT INTO accounts_ledgeraccount (code, kind, account_id, asset_id, normal, may_overdraw, debits, credits)
            SELECT 'spot:' || sub || ':' || coin, 'spot', sub, coin, 'credit', false, 0, 0
            FROM bench_groups, unnest(%(coins)s::text[]) AS coin ORDER BY sub, coin
            RETURNING id, account_id, asset_id)
    SELECT row_number() OVER (ORDER BY w.id) AS n, w.id AS wallet, w.account_id, c.id AS custody, p.price,
        round((power(10, 4.5 + 2 * random()) / p.price)::numeric, 6) AS amount
        FROM wallets w JOIN accounts_ledgeraccount c ON c.code = 'custody:' || w.asset_id
        JOIN LATERAL (SELECT price::float8 FROM risk_price WHERE asset_id = w.asset_id
            ORDER BY observed_at DESC, id DESC LIMIT 1) p ON true
"""


def _DEPOSITS(first: int, last: int) -> str:  # noqa: N802
    return f"""INSERT INTO accounts_transfer (entry_id, debit_id, credit_id, amount)
        SELECT %(entry)s, custody, wallet, amount FROM bench_deposits WHERE n BETWEEN {first} AND {last}"""  # noqa: S608


# About what counts: the tiers' discounts are left out, so the real LTV is a little higher than the one drawn.
_DEBTS = """
    INSERT INTO accounts_ledgeraccount (code, kind, account_id, asset_id, normal, may_overdraw, debits, credits)
        SELECT kind || ':' || coin, kind, NULL::bigint, coin, 'debit', false, 0, 0
        FROM unnest(%(lent)s::text[]) AS coin, unnest(ARRAY['principal', 'interest', 'late_fee']) AS kind
        UNION ALL SELECT kind || ':' || coin, kind, NULL::bigint, coin, 'credit', false, 0, 0
        FROM unnest(%(lent)s::text[]) AS coin, unnest(ARRAY['interest_income', 'late_fee_income']) AS kind
        ON CONFLICT DO NOTHING;

    CREATE TEMPORARY TABLE bench_debts AS
    WITH worth AS (
        SELECT account_id, sum(amount * price) AS usd FROM bench_deposits GROUP BY account_id),
    wanted AS (
        SELECT b.group_id, b.customer_id, k, (%(lent)s::text[])[1 + (b.group_id + k) %% 4] AS coin,
            w.usd * (%(lowest)s + b.ltv * %(spread)s) / %(loans)s AS usd
        FROM bench_groups b JOIN worth w ON w.account_id = b.sub, generate_series(1, %(loans)s) AS k),
    opened AS (
        INSERT INTO risk_debt (product, group_id, customer_id, asset_id, clock, opened_at, accrued_through, due_at,
                late_multiplier, overdue_hours, closed_reason, principal, interest, late_fee)
            SELECT 'vip', group_id, customer_id, coin, 'daily', %(at)s, %(at)s, NULL, 3, 168, '', 0, 0, 0
            FROM wanted ORDER BY group_id, k RETURNING id, group_id, asset_id),
    numbered AS (SELECT *, row_number() OVER (PARTITION BY group_id, asset_id ORDER BY id) AS k FROM opened)
    SELECT row_number() OVER (ORDER BY n.id) AS n, n.id AS debt, n.asset_id,
        greatest(round((w.usd / p.price)::numeric, %(places)s), 0.00000001) AS amount
        FROM numbered n
        JOIN (SELECT *, row_number() OVER (PARTITION BY group_id, coin ORDER BY k) AS nth FROM wanted) w
            ON w.group_id = n.group_id AND w.coin = n.asset_id AND w.nth = n.k
        JOIN LATERAL (SELECT price::float8 FROM risk_price WHERE asset_id = n.asset_id
            ORDER BY observed_at DESC, id DESC LIMIT 1) p ON true;

    INSERT INTO risk_debtrate (debt_id, starts_at, fixed_rate, spread)
        SELECT debt, %(at)s, CASE WHEN debt %% 2 = 0 THEN 0.0817 + (debt %% 89) * 0.0003 END,
            CASE WHEN debt %% 2 = 0 THEN 0 ELSE 0.0021 END FROM bench_debts
"""


def _BORROWED(first: int, last: int) -> str:  # noqa: N802
    return f"""INSERT INTO risk_debtentry (debt_id, entry_id, kind, at, principal, interest, late_fee)
        SELECT debt, %(entry)s, 'borrow', %(at)s, amount, 0, 0 FROM bench_debts WHERE n BETWEEN {first} AND {last};
INSERT INTO accounts_transfer (entry_id, debit_id, credit_id, amount)
        SELECT %(entry)s, c.id, p.id, s.amount FROM (
            SELECT asset_id, sum(amount) AS amount FROM bench_debts WHERE n BETWEEN {first} AND {last}
            GROUP BY asset_id) s
        JOIN accounts_ledgeraccount c ON c.code = 'principal:' || s.asset_id
        JOIN accounts_ledgeraccount p ON p.code = 'pool:' || s.asset_id"""  # noqa: S608


_STIRRED = """
    CREATE TEMPORARY TABLE bench_deposits AS
        SELECT row_number() OVER () AS n, w.id AS wallet, c.id AS custody, 0.000001 AS amount
        FROM accounts_ledgeraccount w JOIN accounts_ledgeraccount c ON c.code = 'custody:' || w.asset_id
        WHERE w.account_id IS NOT NULL AND random() < %(share)s;
    CREATE TEMPORARY TABLE bench_debts AS
        SELECT row_number() OVER () AS n, id AS debt, asset_id, 0.00000001 AS amount
        FROM risk_debt WHERE closed_at IS NULL AND principal > 0.00000001 AND random() < %(share)s
"""


def _REPAID(first: int, last: int) -> str:  # noqa: N802
    return f"""INSERT INTO risk_debtentry (debt_id, entry_id, kind, at, principal, interest, late_fee)
        SELECT debt, %(entry)s, 'repayment', %(at)s, -amount, 0, 0 FROM bench_debts WHERE n BETWEEN {first} AND {last};
INSERT INTO accounts_transfer (entry_id, debit_id, credit_id, amount)
        SELECT %(entry)s, p.id, c.id, s.amount FROM (
            SELECT asset_id, sum(amount) AS amount FROM bench_debts WHERE n BETWEEN {first} AND {last}
            GROUP BY asset_id) s
        JOIN accounts_ledgeraccount c ON c.code = 'principal:' || s.asset_id
        JOIN accounts_ledgeraccount p ON p.code = 'pool:' || s.asset_id"""  # noqa: S608
