"""What every group holds and owes, as columns: the whole book in a few arrays, for questions about all of it at once.

Only for screening and for sums that are shown in whole dollars; whoever decides about a group reads its rows
(risk/book.py). Everything comes from one snapshot of the database, and a column at a time as packed bytes, since a
million rows as Python objects would cost more than all that is done with them. R-FTR-27
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db import connection

from accounts.models import Asset
from accounts.words import joined
from risk import debts, prices
from risk.models import Debt
from risk.parameters import CoinTerms
from risk.prices import Quote

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

CHUNK = 2_000  # debts whose due charges are worked out together
NEVER = float(2**53)  # the due time of an open loan, after every other

GROUPS = """
    SELECT g.id::float8, g.customer_id::float8 FROM risk_collateralgroup g
    WHERE g.product = %s AND g.closed_at IS NULL AND EXISTS (
        SELECT 1 FROM risk_debt d
        WHERE d.group_id = g.id AND d.closed_at IS NULL AND d.residual_since IS NULL)
    ORDER BY g.id
"""
HELD = """
    SELECT m.group_id::float8, (coin.place - 1)::float8, sum(w.credits - w.debits)::float8
    FROM risk_member m
    JOIN risk_collateralgroup g ON g.id = m.group_id AND g.product = %s AND g.closed_at IS NULL
    JOIN accounts_ledgeraccount w ON w.account_id = m.account_id AND w.kind = m.wallet AND w.credits > w.debits
    JOIN risk_groupcoin c ON c.group_id = m.group_id AND c.asset_id = w.asset_id AND c.released_at IS NULL
    JOIN unnest(%s::text[]) WITH ORDINALITY AS coin (symbol, place) ON coin.symbol = w.asset_id
    WHERE m.released_at IS NULL GROUP BY 1, 2
"""
# The rate decides a debt's turn only where two fall due together, so the newest segment is near enough here.
OWED = """
    SELECT d.group_id::float8, (coin.place - 1)::float8, (d.principal + d.interest + d.late_fee)::float8,
        (d.overdue_since IS NULL)::int::float8, coalesce(extract(epoch FROM d.due_at), %s)::float8,
        coalesce(r.fixed_rate, f.annual_rate + r.spread, 0)::float8, d.id::float8,
        (d.accrued_through < %s)::int::float8
    FROM risk_debt d
    JOIN unnest(%s::text[]) WITH ORDINALITY AS coin (symbol, place) ON coin.symbol = d.asset_id
    LEFT JOIN (
        SELECT DISTINCT ON (debt_id) debt_id, fixed_rate, spread FROM risk_debtrate WHERE starts_at <= %s
        ORDER BY debt_id, starts_at DESC) r ON r.debt_id = d.id
    LEFT JOIN (
        SELECT DISTINCT ON (asset_id) asset_id, annual_rate FROM risk_flexiblerate
        WHERE product = %s AND effective_at <= %s
        ORDER BY asset_id, effective_at DESC) f ON f.asset_id = d.asset_id
    WHERE d.product = %s AND d.closed_at IS NULL AND d.residual_since IS NULL
"""


@dataclass(frozen=True, slots=True)
class Exposure:
    """The book at an instant. Coins are told by their place in `coins`, groups by theirs in `groups` (by id).

    Holdings lie by coin, then group; debts by group, then in the order in which they are repaid (R-GEN-71).
    `unjudged` are the groups that owe a coin without any price: nothing can be said about them; they are in no array.
    """

    at: datetime
    coins: tuple[str, ...]
    kinds: Mapping[str, str]
    quotes: Mapping[str, Quote]
    groups: Ints
    customers: Ints
    held_group: Ints
    held_coin: Ints
    held: Floats
    owed_group: Ints
    owed_coin: Ints
    owed: Floats
    unjudged: tuple[int, ...]

    @property
    def prices(self) -> list[Decimal | None]:
        """Today's, by coin; the last good one however old it is."""
        return [self.quotes[coin].price if coin in self.quotes else None for coin in self.coins]

    def owed_coins(self) -> dict[int, set[str]]:
        """Which coins each group owes, by its key; it decides its lines (R-GEN-42)."""
        found: dict[int, set[str]] = {int(pk): set() for pk in self.groups}
        pairs = np.unique(self.owed_group * len(self.coins) + self.owed_coin)
        keys = self.groups[pairs // len(self.coins)].tolist()
        for pk, coin in zip(keys, (pairs % len(self.coins)).tolist(), strict=True):
            found[pk].add(self.coins[coin])
        return found


@dataclass(frozen=True, slots=True)
class Ratios:
    """What coins count for and their turn when they are sold, by their place: tiers as (floor, ceiling, ratio)."""

    tiers: tuple[tuple[tuple[float, float, float], ...], ...]
    rank: Ints


def ratios_of(coins: Sequence[str], terms: Mapping[str, CoinTerms], *, last_rank: int) -> Ratios:
    tiers, ranks = [], []
    for coin in coins:
        own = terms[coin].tiers if coin in terms else ()
        ceilings = [float(tier.floor) for tier in own[1:]] + [np.inf]
        tiers.append(
            tuple(
                (float(tier.floor), ceiling, float(tier.ratio))
                for tier, ceiling in zip(own, ceilings[: len(own)], strict=True)
            )
        )
        ranks.append(terms[coin].rank if coin in terms else last_rank)
    return Ratios(tiers=tuple(tiers), rank=np.array(ranks, dtype=np.int64))


def recognised(market: Floats, coin: Ints, ratios: Ratios) -> Floats:
    """What holdings of these market values count for, each coin by its own tiers; `coin` ascends. R-GEN-30, R-GEN-31"""
    counted = np.zeros(len(market))
    cuts = np.searchsorted(coin, np.arange(len(ratios.tiers) + 1))
    for place, own in enumerate(ratios.tiers):
        mine = slice(cuts[place], cuts[place + 1])
        if mine.start == mine.stop:
            continue
        if len(own) == 1:
            counted[mine] = market[mine] * own[0][2]
            continue
        for floor, ceiling, ratio in own:
            counted[mine] += (np.minimum(market[mine], ceiling) - floor).clip(min=0) * ratio
    return counted


def totals(amounts: Floats, where: Ints, size: int) -> Floats:
    """The sum of the amounts of each place."""
    return np.bincount(where, amounts, size).astype(np.float64, copy=False)


def read(*, product: str, at: datetime) -> Exposure:
    """The open groups of the product that owe something, at the last good prices. Inside one snapshot."""
    kinds = dict(Asset.objects.order_by("symbol").values_list("symbol", "kind"))
    coins = tuple(sorted(kinds))
    quotes = prices.latest(at=at, assets=coins)
    priced = np.array([coin in quotes for coin in coins], dtype=bool)
    groups, customers = _columns(GROUPS, [product], 2)
    held_group, held_coin, held = _columns(HELD, [product, list(coins)], 3)
    owed_group, owed_coin, owed, turns = _owed(product, coins, at=at)
    unpriced = np.unique(owed_group[~priced[owed_coin.astype(np.int64)]])
    judged = ~np.isin(groups, unpriced)
    customers, groups = customers[judged], groups[judged]
    mine = np.isin(held_group, groups) & priced[held_coin.astype(np.int64)]
    owes = np.isin(owed_group, groups)
    by_coin = np.lexsort((held_group[mine], held_coin[mine]))
    by_turn = np.lexsort([*(turn[owes] for turn in reversed(turns)), owed_group[owes]])
    return Exposure(
        at=at,
        coins=coins,
        kinds=kinds,
        quotes=quotes,
        groups=groups.astype(np.int64),
        customers=customers.astype(np.int64),
        held_group=np.searchsorted(groups, held_group[mine][by_coin]),
        held_coin=held_coin[mine][by_coin].astype(np.int64),
        held=held[mine][by_coin],
        owed_group=np.searchsorted(groups, owed_group[owes][by_turn]),
        owed_coin=owed_coin[owes][by_turn].astype(np.int64),
        owed=owed[owes][by_turn],
        unjudged=tuple(unpriced.astype(np.int64).tolist()),
    )


# --- Private ----------------------------------------------------------------------------------------


def _owed(
    product: str, coins: Sequence[str], *, at: datetime
) -> tuple[Floats, Floats, Floats, tuple[Floats, ...]]:
    """Groups, coins and amounts of all debts, with what is due and not booked yet; and what decides their turns."""
    midnight = datetime.combine(at.astimezone(UTC).date(), time(), UTC)
    given = [NEVER, midnight, list(coins), at, product, at, product]
    group, coin, owed, in_time, due, rate, pk, behind = _columns(OWED, given, 8)
    late = np.flatnonzero(behind)
    for start in range(0, len(late), CHUNK):
        some = late[start : start + CHUNK]
        rows = Debt.objects.select_related("asset").in_bulk(pk[some].astype(np.int64).tolist())
        found = debts.owed_at(list(rows.values()), at=at)
        owed[some] = [float(found[int(key)].parts.total) for key in pk[some]]
    return group, coin, owed, (in_time, due, -rate, pk)


def _columns(statement: str, arguments: Sequence[Any], width: int) -> list[Floats]:
    """The columns of a query that gives nothing but float8, each as an array. Keys stay exact below 2 to the 53rd.

    Every column comes as one value of all its bytes: the same rows in the same order in each of them.
    """
    names = [f"c{place}" for place in range(width)]
    packed = joined(", ", (f"string_agg(float8send({name}), ''::bytea)" for name in names))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {packed} FROM ({statement}) AS found ({', '.join(names)})", arguments)  # noqa: S608
        told = cursor.fetchone() or [None] * width
    return [np.frombuffer(bytes(one or b""), dtype=">f8").astype(np.float64) for one in told]
