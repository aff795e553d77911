"""The book in memory: who owes what and what secures it, as arrays, so that all of it is valued at once.

Read whole when it is first used, then kept warm by the change feed (risk/moved.py): totals that moved are read again
and laid over the old ones, groups that changed in any other way are read again whole. It holds what was booked, never
what anything is worth: prices, ratios and lines come from who asks. Amounts are float64, so nothing is decided on
them (ARCHITECTURE 5).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, Final, TypeVar

import numpy as np
from django.db import connection, transaction

from risk import moved
from risk.columns import Flags, Floats, Index, Ints, joined, numbers, read, sums, taken
from risk.models import CollateralGroup, ProductCode

BANDS: Final = {band: number for number, band in enumerate(CollateralGroup.Band.values)}
PRODUCTS: Final = {product: number for number, product in enumerate(ProductCode.values)}
SHARE, AT_LEAST = 0.2, 1000  # of all rows, and ids; when more moved, reading everything again is faster
DELAYED, SELLING = 1, 2  # what `Groups.runs` adds up

# Each reads whole tables, or only the groups whose ids are asked for, which are then in place of {only}.
GROUPS = """
    SELECT g.id, array_position(%(products)s::text[], g.product::text)::bigint - 1, g.customer_id,
        array_position(%(bands)s::text[], g.band::text)::bigint - 1, (g.blind_since IS NOT NULL)::int::bigint,
        coalesce(date_part('epoch', c.last_notice_at), 'nan'),
        (y.id IS NOT NULL)::int::bigint + 2 * (x.id IS NOT NULL)::int, coalesce(s.start::float8, 0),
        coalesce(date_part('epoch', g.breach_seen_at), 'nan'), coalesce(date_part('epoch', g.grace_until), 'nan')
    FROM risk_collateralgroup g
    LEFT JOIN risk_margincall c ON c.group_id = g.id AND c.ended_at IS NULL
    LEFT JOIN risk_liquidationdelay y ON y.group_id = g.id AND y.ended_at IS NULL
    LEFT JOIN risk_liquidation x ON x.group_id = g.id AND x.status = 'running'
    LEFT JOIN risk_deleveraging s ON s.group_id = g.id AND s.removed_at IS NULL
    WHERE (g.closed_at IS NULL OR c.id IS NOT NULL OR y.id IS NOT NULL OR x.id IS NOT NULL
        OR g.id IN (SELECT w.group_id FROM risk_warningline w WHERE w.crossed_at IS NOT NULL)) {only}
"""
COINS = """
    SELECT g.group_id, coin.code - 1 FROM risk_groupcoin g
    JOIN unnest(%(coins)s::text[]) WITH ORDINALITY AS coin (symbol, code) ON coin.symbol = g.asset_id
    WHERE g.released_at IS NULL {only}
"""
WALLETS = """
    SELECT w.id, g.group_id, coin.code - 1, (w.credits - w.debits)::float8 FROM accounts_ledgeraccount w
    JOIN risk_member g ON g.account_id = w.account_id AND g.wallet = w.kind AND g.released_at IS NULL
    JOIN unnest(%(coins)s::text[]) WITH ORDINALITY AS coin (symbol, code) ON coin.symbol = w.asset_id
    WHERE true {only}
"""
DEBTS = """
    SELECT g.id, g.group_id, coin.code - 1, (g.principal + g.interest + g.late_fee)::float8,
        date_part('epoch', g.accrued_through), g.late_multiplier::bigint,
        coalesce(date_part('epoch', g.due_at), '-infinity')
    FROM risk_debt g JOIN unnest(%(coins)s::text[]) WITH ORDINALITY AS coin (symbol, code) ON coin.symbol = g.asset_id
    WHERE g.closed_at IS NULL AND g.residual_since IS NULL {only}
"""
# A row that ended as it began only remembers a ladder line's crossing (risk/early_warnings.py).
WARNINGS = """
    SELECT g.group_id, coalesce(coin.code - 1, -1), g.ltv::float8, (g.crossed_at IS NOT NULL)::int::bigint,
        (g.removed_at IS NOT NULL)::int::bigint
    FROM risk_warningline g
    LEFT JOIN unnest(%(coins)s::text[]) WITH ORDINALITY AS coin (symbol, code) ON coin.symbol = g.asset_id
    WHERE (g.removed_at IS NULL OR g.removed_at = g.set_at AND g.asset_id IS NULL) {only}
    ORDER BY g.id
"""
RATES = """
    SELECT r.debt_id, coalesce(r.fixed_rate::float8, 0),
        CASE WHEN r.fixed_rate IS NULL THEN r.spread::float8 ELSE '-infinity' END
    FROM risk_debtrate r JOIN risk_debt d ON d.id = r.debt_id AND d.closed_at IS NULL AND d.residual_since IS NULL
"""
ONLY = "AND {column} = ANY (%(only)s::bigint[])"
# In the order in which they moved: of a wallet or a debt the last row has its newest total.
MOVED_WALLETS = f"""
    SELECT t.id, t.total FROM (SELECT id, ids, totals FROM risk_moved WHERE kind = 'wallet' AND {moved.TOLD}) m,
        unnest(m.ids, m.totals) AS t (id, total) ORDER BY m.id
"""  # noqa: S608  our own text
MOVED_DEBTS = f"""
    SELECT t.id, t.total, t.ends
    FROM (SELECT id, ids, totals, ends FROM risk_moved WHERE kind = 'debt' AND {moved.TOLD}) m,
        unnest(m.ids, m.totals, m.ends) AS t (id, total, ends) ORDER BY m.id
"""  # noqa: S608
MOVED_GROUPS = f"SELECT DISTINCT unnest(ids) FROM risk_moved WHERE kind = 'group' AND {moved.TOLD}"  # noqa: S608
OF_WALLETS = """
    SELECT DISTINCT g.group_id FROM accounts_ledgeraccount w
    JOIN risk_member g ON g.account_id = w.account_id AND g.wallet = w.kind AND g.released_at IS NULL
    JOIN risk_groupcoin c ON c.group_id = g.group_id AND c.asset_id = w.asset_id AND c.released_at IS NULL
    WHERE w.id = ANY (%(ids)s::bigint[])
"""


@dataclass(frozen=True, slots=True)
class Groups:
    """Those that are open or not settled yet. Times are seconds since 1970, NaN for none; `soft_start` 0: none chosen.

    `told_at`: when the open margin call was last told. `runs`: a delay, a sale in steps, or both.
    """

    id: Ints
    product: Ints
    customer: Ints
    band: Ints
    blind: Ints
    told_at: Floats
    runs: Ints
    soft_start: Floats
    breach_at: Floats
    grace_until: Floats


@dataclass(frozen=True, slots=True)
class Coins:
    """Which coins count in which group. `slot` is a group's place in `Groups`, `coin` a coin's in `Book.symbols`."""

    slot: Ints
    coin: Ints


@dataclass(frozen=True, slots=True)
class Wallets:
    id: Ints
    slot: Ints
    coin: Ints
    amount: Floats


@dataclass(frozen=True, slots=True)
class Debts:
    """`due`: minus infinity for an open term, which may be called and then be late without telling the feed."""

    id: Ints
    slot: Ints
    coin: Ints
    booked: Floats
    through: Floats
    multiplier: Ints
    due: Floats


@dataclass(frozen=True, slots=True)
class Warnings:
    """`coin` -1: whatever the group holds. `is_ladder`: the row only remembers a crossing of the desk's own line."""

    slot: Ints
    coin: Ints
    ltv: Floats
    is_crossed: Ints
    is_ladder: Ints


@dataclass(frozen=True, slots=True)
class Rates:
    """`spread`: minus infinity where the rate is fixed."""

    debt: Ints
    fixed: Floats
    spread: Floats


R = TypeVar("R", Coins, Wallets, Debts, Warnings)


@dataclass(frozen=True, slots=True)
class _Total:
    id: Ints
    amount: Floats


@dataclass(frozen=True, slots=True)
class _Owed:
    id: Ints
    booked: Floats
    through: Floats


@dataclass(frozen=True, slots=True)
class Pools:
    """All that a group has of a coin over its accounts, ordered by coin, then group.

    `starts[c]` to `starts[c + 1]` are those of coin c. `of_wallet`: which of them each wallet belongs to.
    """

    slot: Ints
    starts: Ints
    of_wallet: Ints
    keys: Ints

    def find(self, slot: Ints, coin: Ints, *, size: int) -> Ints:
        """The places of these (group, coin); -1 where the coin does not count in the group."""
        return Index(self.keys).find(coin * size + slot)


@dataclass(frozen=True, slots=True)
class Lines:
    """What risk/group_lines.py found, and how long it holds: the book's version, how many rows, from when until when.

    Initial, margin call, liquidation and cut-off, a row each.
    """

    values: Floats
    version: int
    rows: int
    since: float
    until: float


class Book:
    """Empty until `refresh()`; not for two threads at once.

    `pooled`: the amounts of `pools`, side by side. `version` counts the times that anything but totals changed.
    """

    def __init__(self) -> None:
        self.symbols: list[str] = []
        self.version = 0
        self.lines: Lines | None = None
        self._last: moved.Look | None = None
        self._rates: tuple[int, Rates] | None = None

    def refresh(self) -> None:
        """Bring it up to date: everything that had committed when this began is in it. One snapshot."""
        last, self._last = self._last, None  # whatever fails from here on, the next one reads everything
        with _one_snapshot():
            now = moved.look()
            self._name_coins()
            ids = None if last is None or last.server != now.server else moved.heard(last)
            if last is None or ids is None or ids > self._many():
                self._load()
            else:
                self._follow(last)
        self._last = now

    @property
    def size(self) -> int:
        """How many slots there are; some may be empty, see `is_here`."""
        return int(self.groups.id.size)

    def rates(self) -> Rates:
        """Every rate that the debts bear, ever bore or will bear: written with the debt, never afterwards."""
        if self._rates is None or self._rates[0] != self.version:
            self._rates = self.version, read(Rates, RATES, {})
        return self._rates[1]

    def _many(self) -> float:
        return max(AT_LEAST, SHARE * (self.wallets.id.size + self.debts.id.size))

    # --- All of it ------------------------------------------------------------------------------------------

    def _load(self) -> None:
        self.groups = read(Groups, GROUPS.format(only=""), self._names())
        self.is_here: Flags = np.ones(self.groups.id.size, dtype=bool)
        self._index = Index(self.groups.id)
        self.coins = self._placed(read(Coins, COINS.format(only=""), self._names()))
        wallets = self._placed(read(Wallets, WALLETS.format(only=""), self._names()))
        self.debts = self._placed(read(Debts, DEBTS.format(only=""), self._names()))
        self.warnings = self._placed(read(Warnings, WARNINGS.format(only=""), self._names()))
        self._lay_out(wallets)

    def _name_coins(self) -> None:
        """New coins come last, so a coin keeps its number."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT symbol FROM accounts_asset WHERE symbol <> ALL (%s::text[])", [self.symbols]
            )
            self.symbols += sorted(row[0] for row in cursor.fetchall())

    def _names(self, only: Ints | None = None) -> dict[str, Any]:
        names: dict[str, Any] = {
            "coins": self.symbols,
            "products": list(PRODUCTS),
            "bands": list(BANDS),
        }
        return names if only is None else names | {"only": only.tolist()}

    def _placed(self, rows: R) -> R:
        """With places for the groups' ids that were read; without the rows of groups that are not here."""
        slot = self._index.find(rows.slot)
        rows.slot[:] = slot
        return taken(rows, (slot >= 0) & self.is_here[slot] if self.is_here.size else slot >= 0)

    def _lay_out(self, wallets: Wallets) -> None:
        """Everything that follows from which rows there are; `wallets` may have some of coins that do not count."""
        self.version += 1
        size, coins = self.size, len(self.symbols)
        counts = np.zeros(coins * size, dtype=bool)
        counts[self.coins.coin * size + self.coins.slot] = True
        keys = np.flatnonzero(counts)
        place = np.full(counts.size, -1, dtype=np.int32)
        place[keys] = np.arange(keys.size, dtype=np.int32)
        of_wallet = place[wallets.coin * size + wallets.slot].astype(np.int64)
        self.wallets = taken(wallets, of_wallet >= 0)
        self.pools = Pools(
            slot=keys % max(size, 1),
            starts=np.searchsorted(keys, np.arange(coins + 1) * size).astype(np.int64),
            of_wallet=of_wallet[of_wallet >= 0],
            keys=keys,
        )
        self._wallet_index, self._debt_index = Index(self.wallets.id), Index(self.debts.id)
        self.owes = np.bincount(self.debts.slot, minlength=size) > 0
        is_used = (np.diff(self.pools.starts) > 0) | (np.bincount(self.debts.coin, minlength=coins) > 0)
        self.used = [symbol for symbol, used in zip(self.symbols, is_used, strict=True) if used]
        crossed = np.bincount(self.warnings.slot, weights=self.warnings.is_crossed, minlength=size) > 0
        groups = self.groups
        called = ~np.isnan(groups.told_at)
        marked = called | crossed | (groups.runs > 0) | (groups.band > 0) | (groups.blind > 0)
        self.is_watched: Flags = self.is_here & (self.owes | marked)
        self._pool()

    def _pool(self) -> None:
        """Afresh each time: adding the differences would let rounding errors of large amounts stay."""
        self.pooled = sums(self.pools.of_wallet, self.wallets.amount, self.pools.keys.size)

    # --- What moved -------------------------------------------------------------------------------------------

    def _follow(self, last: moved.Look) -> None:
        """Totals are laid over the old ones: where an id stands twice, NumPy keeps the last, which is the newest."""
        wallets = read(_Total, MOVED_WALLETS, last.asked)
        debts = read(_Owed, MOVED_DEBTS, last.asked)
        groups = numbers(MOVED_GROUPS, last.asked)
        at_wallet, at_debt = self._wallet_index.find(wallets.id), self._debt_index.find(debts.id)
        strangers = wallets.id[at_wallet < 0]
        if strangers.size:
            groups = np.union1d(groups, numbers(OF_WALLETS, {"ids": np.unique(strangers).tolist()}))
        known = at_wallet >= 0
        self.wallets.amount[at_wallet[known]] = wallets.amount[known]
        known = at_debt >= 0  # any other is residual or closed, or of a group that has moved too
        self.debts.booked[at_debt[known]] = debts.booked[known]
        self.debts.through[at_debt[known]] = debts.through[known]
        if groups.size:
            self._read_again(groups)
        elif wallets.id.size:
            self._pool()

    def _read_again(self, ids: Ints) -> None:
        """These groups as a whole: whatever was known of them is thrown away first."""
        only = self._names(ids)
        fresh = read(Groups, GROUPS.format(only=ONLY.format(column="g.id")), only)
        before = self._index.find(ids)
        self.is_here[before[before >= 0]] = False
        place = self._index.find(fresh.id)
        known = place >= 0
        for field in fields(Groups):
            getattr(self.groups, field.name)[place[known]] = getattr(fresh, field.name)[known]
        self.is_here[place[known]] = True
        if not known.all():
            self.groups = joined(self.groups, taken(fresh, ~known))
            self.is_here = np.concatenate([self.is_here, np.ones(np.count_nonzero(~known), dtype=bool)])
            self._index = Index(self.groups.id)
        gone = np.zeros(self.size, dtype=bool)
        gone[before[before >= 0]] = True
        gone[self._index.find(fresh.id)] = True
        of_group = ONLY.format(column="g.group_id")
        self.coins = self._replaced(self.coins, gone, COINS.format(only=of_group), only)
        wallets = self._replaced(self.wallets, gone, WALLETS.format(only=of_group), only)
        self.debts = self._replaced(self.debts, gone, DEBTS.format(only=of_group), only)
        self.warnings = self._replaced(self.warnings, gone, WARNINGS.format(only=of_group), only)
        self._lay_out(wallets)

    def _replaced(self, rows: R, gone: Flags, statement: str, only: dict[str, Any]) -> R:
        fresh = self._placed(read(type(rows), statement, only))
        return joined(taken(rows, ~gone[rows.slot]), fresh)


@contextmanager
def _one_snapshot() -> Iterator[None]:
    """All that is read in it is of one instant, unless the caller has a transaction already."""
    if connection.in_atomic_block:
        yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        yield
