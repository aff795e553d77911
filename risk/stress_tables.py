"""The answer of a stress as tables: totals, coins, clients and the groups that every one of their figures comes from.

Amounts are whole dollars, rounded group by group, and every sum is the sum of the groups listed, so a list adds up to
the figure it stands for. Nothing here depends on the clock: the same book and scenario give the same bytes. R-FTR-27
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Any

import numpy as np

from accounts.money import ZERO
from risk.crash import NEVER, Fall, Standing
from risk.exposure import Exposure, Floats, totals
from risk.levels import LTV_FLOORS

POINTS = 240  # of the course that a chart shows
HEADER = (
    *("group", "client", "client name", "called at step", "sold at step"),
    *("owed usd", "sold usd", "fee usd", "lost usd"),
)
Table = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Group:
    """What becomes of one group; dollars. Steps count from 1, None is never. `coins`: what it sold, by symbol."""

    group: int
    client: int
    called: int | None
    sold_at: int | None
    owed: int
    sold: int
    fee: int
    lost: int
    coins: Mapping[str, int]
    lost_in: Mapping[str, int]

    def told(self) -> list[Any]:
        return [
            *(self.group, self.client, self.called, self.sold_at, self.owed, self.sold, self.fee, self.lost),
            *(dict(sorted(self.coins.items())), dict(sorted(self.lost_in.items()))),
        ]


def table(book: Exposure, found: Fall, *, steps: int, today: tuple[int, int], now: Standing) -> Table:
    """One column of the answer: what a crash did under one set of parameters.

    `today`: groups in CALL and LIQ now; `now`: how they stand now.
    """
    groups = list(_groups(book, found, now=_owed_now(book), steps=steps))
    liquidated = [one for one in groups if one.sold_at is not None]
    sums = {
        "called": sum(one.called is not None for one in groups),
        "called_today": today[0],
        "liquidation_today": today[1],
        "liquidated": len(liquidated),
        "without_call": sum(one.called is None for one in liquidated),
        "owed": sum(one.owed for one in liquidated),
        "sold": sum(one.sold for one in liquidated),
        "fee": sum(one.fee for one in liquidated),
        "lost": sum(one.lost for one in liquidated),
        "with_loss": sum(one.lost > 0 for one in liquidated),
    }
    return {
        "totals": sums,
        "coins": _coins(liquidated),
        "clients": _clients(groups),
        "course": _course(found),
        "ltvs": {"now": _ltvs(now), "end": _ltvs(found.end)},
        "groups": [one.told() for one in groups],
    }


def groups_of(told: Iterable[Sequence[Any]]) -> list[Group]:
    """The groups of a stored column."""
    return [Group(*row) for row in told]


def days_to_exit(sold: int, depth: tuple[Decimal, Decimal] | None) -> str:
    """Days that the coin's market needs for it: 24 h volume in USD times the share of it; '' where unknown. R-GEN-79"""
    if depth is None:
        return ""
    a_day = depth[0] * depth[1]
    if not a_day:
        return "never"
    return f"{(Decimal(sold) / a_day).quantize(Decimal('0.1'), rounding=ROUND_CEILING)}"


def csv_rows(column: Table, names: Mapping[int, str]) -> Iterator[Sequence[object]]:
    for one in groups_of(column["groups"]):
        who = (one.group, one.client, names.get(one.client, ""))
        yield (*who, one.called, one.sold_at, one.owed, one.sold, one.fee, one.lost)


# --- Private ----------------------------------------------------------------------------------------


def _groups(book: Exposure, found: Fall, *, now: Floats, steps: int) -> Iterator[Group]:
    """Those that were called or sold, by id. A breach confirmed after the end counts for the last step."""
    sold = _by_coin(book, found.sold, book.held_group, book.held_coin)
    lost = _by_coin(book, found.lost, book.owed_group, book.owed_coin)
    for place in np.flatnonzero((found.called_at != NEVER) | (found.sold_at != NEVER)).tolist():
        called, sold_at = int(found.called_at[place]), int(found.sold_at[place])
        is_sold = sold_at != NEVER
        coins, lost_in = sold.get(place, {}), lost.get(place, {})
        yield Group(
            group=int(book.groups[place]),
            client=int(book.customers[place]),
            called=None if called == NEVER else min(called + 1, steps),
            sold_at=min(sold_at + 1, steps) if is_sold else None,
            owed=_whole(found.debt[place] if is_sold else now[place]),
            sold=sum(coins.values()),
            fee=_whole(found.fee[place]),
            lost=sum(lost_in.values()),
            coins=coins,
            lost_in=lost_in,
        )


def _by_coin(book: Exposure, amounts: Floats, group: Any, coin: Any) -> dict[int, dict[str, int]]:
    """Dollars by group and coin, each rounded to whole ones; those that round to nothing are left out."""
    some = np.flatnonzero(amounts > 0)
    pairs, where = np.unique(group[some] * len(book.coins) + coin[some], return_inverse=True)
    sums = np.bincount(where, amounts[some], len(pairs))
    found: dict[int, dict[str, int]] = defaultdict(dict)
    for pair, usd in zip(pairs.tolist(), sums.tolist(), strict=True):
        if whole := _whole(usd):
            found[pair // len(book.coins)][book.coins[pair % len(book.coins)]] = whole
    return found


def _owed_now(book: Exposure) -> Floats:
    price = np.array([float(one or ZERO) for one in book.prices])
    return totals(book.owed * price[book.owed_coin], book.owed_group, len(book.groups))


def _coins(liquidated: Sequence[Group]) -> list[dict[str, Any]]:
    """By coin: what was sold of it, by how many groups, and what was lost of debts in it; the most sold first."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: {"sold": 0, "groups": 0, "lost": 0})
    for one in liquidated:
        for coin, usd in one.coins.items():
            found[coin]["sold"] += usd
            found[coin]["groups"] += 1
        for coin, usd in one.lost_in.items():
            found[coin]["lost"] += usd
    rows = [{"coin": coin, **sums} for coin, sums in found.items()]
    return sorted(rows, key=lambda row: (-row["sold"], row["coin"]))


def _clients(groups: Sequence[Group]) -> list[dict[str, int]]:
    """By client: groups called and liquidated, what those owed, sold and lost; the greatest loss first."""
    names = ("called", "liquidated", "owed", "sold", "lost")
    found: dict[int, dict[str, int]] = defaultdict(lambda: dict.fromkeys(names, 0))
    for one in groups:
        own = found[one.client]
        own["called"] += one.called is not None
        if one.sold_at is not None:
            own["liquidated"] += 1
            own["owed"] += one.owed
            own["sold"] += one.sold
            own["lost"] += one.lost
    rows = [{"client": client, **sums} for client, sums in found.items()]
    return sorted(rows, key=lambda row: (-row["lost"], -row["sold"], -row["owed"], row["client"]))


def _course(found: Fall) -> list[list[int]]:
    """How the sums grow: (step, sold, lost) so far, at most so many points, the last step always one of them."""
    steps = len(found.sold_by_step)
    every = max(1, -(-steps // POINTS))
    wanted = sorted({*range(every - 1, steps, every), steps - 1})
    sold, lost = np.cumsum(found.sold_by_step), np.cumsum(found.lost_by_step)
    return [[step + 1, _whole(sold[step]), _whole(lost[step])] for step in wanted]


def _ltvs(one: Standing) -> list[list[int]]:
    """How many groups owe how much, by the LTV floors of every page; sold whole, they are in none."""
    owing = np.flatnonzero(one.debt > 0)
    place = np.digitize(one.ltv[owing], [float(floor) for floor in LTV_FLOORS[1:]])
    groups = np.bincount(place, minlength=len(LTV_FLOORS))
    debt = np.bincount(place, one.debt[owing], len(LTV_FLOORS))
    return [[int(count), _whole(usd)] for count, usd in zip(groups, debt, strict=True)]


def _whole(usd: float) -> int:
    return int(np.floor(usd + 0.5))
