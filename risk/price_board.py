"""How healthy each coin's price is: what is used, how old it may get, what each source said, why it is doubted.

What a risk officer looks at when prices go wrong, and what they can do about it. Reads only, a handful of queries
whatever the number of coins (R-FTR-21).
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation

from django.db import connection

from accounts.money import exact
from accounts.words import tell
from risk import observations, parameters
from risk.consensus import spread, way_out
from risk.models import Debt, FeedRule, GroupCoin, Redemption
from risk.observations import UNIT, PriceState, Standing
from risk.price_gate import MARKET, RATIO, REDEMPTION

# The newest observation in full, and the good one before the last: two steps into an index each.
DETAILS = """
    SELECT coin.symbol, newest.source, newest.sources, newest.quotes, before.price
    FROM unnest(%(assets)s::text[]) AS coin(symbol)
    LEFT JOIN LATERAL (
        SELECT source, sources, quotes FROM risk_price
        WHERE asset_id = coin.symbol AND observed_at <= %(at)s
        ORDER BY observed_at DESC, id DESC LIMIT 1) newest ON true
    LEFT JOIN LATERAL (
        SELECT price FROM risk_price
        WHERE asset_id = coin.symbol AND observed_at <= %(at)s AND status = 'good'
        ORDER BY observed_at DESC, id DESC LIMIT 1 OFFSET 1) before ON true
"""


@dataclass(frozen=True, slots=True)
class Health:
    """One coin on the board. Prices in USD; `jump`, `spread`, `off` fractions; None where there is nothing to say.

    `said` is what each source said, as it was kept; `off` how far a redeemed coin's own market is from its ratio.
    """

    asset: str
    in_use: bool
    price: Decimal | None
    seen_at: datetime | None
    state: PriceState | None  # None: it has no price at all
    age: timedelta | None
    max_age: timedelta
    doubted: Decimal | None = None
    why: str = ""
    source: str = ""
    sources: int = 0
    said: tuple[tuple[str, str], ...] = ()
    spread: Decimal | None = None
    max_spread: Decimal | None = None
    jump: Decimal | None = None
    redemption: Redemption | None = None
    market: Decimal | None = None
    off: Decimal | None = None

    @property
    def is_well(self) -> bool:
        return self.state is PriceState.FRESH

    @property
    def age_seconds(self) -> int | None:
        return None if self.age is None else int(self.age.total_seconds())

    @property
    def max_age_seconds(self) -> int:
        return int(self.max_age.total_seconds())

    @property
    def what_to_do(self) -> str:
        if self.state is PriceState.SUSPECT and self.source == REDEMPTION and self.redemption is not None:
            return tell(
                "Settle {underlying} first: this follows it.", underlying=self.redemption.underlying_id
            )
        if self.state is PriceState.SUSPECT:
            return way_out(self.why)
        if self.state is None:
            return tell("No price has ever been believed. Look at the feed, or set one by hand.")
        if self.state is PriceState.STALE:
            return tell("No source speaks of now. Look at the feed; until one does, set the price by hand.")
        return ""

    @property
    def order(self) -> tuple[bool, bool, str]:
        return (not (self.in_use and not self.is_well), not self.in_use, self.asset)


def overview(*, at: datetime) -> list[Health]:
    """Every coin: those in use whose price is in doubt first, then the others in use, then the rest. Four queries."""
    used, rule_of = _in_use(), parameters.feed_rules_at(at)
    redemptions = parameters.redemptions_at(at)
    found = [
        _health(
            row,
            at=at,
            in_use=row.asset in used,
            rule=rule_of(row.asset),
            redemption=redemptions.get(row.asset),
        )
        for row in observations.newest(at, None)
        if row.asset != UNIT
    ]
    return sorted(found, key=lambda one: one.order)


def detailed(rows: Sequence[Health], *, at: datetime) -> list[Health]:
    """The same with what each source said, how far apart they are, and the last move. One query."""
    with connection.cursor() as cursor:
        cursor.execute(DETAILS, {"assets": [row.asset for row in rows], "at": at})
        details = {symbol: rest for symbol, *rest in cursor.fetchall()}
    return [_with_details(row, *details[row.asset]) for row in rows]


def _in_use() -> set[str]:
    owed = Debt.objects.filter(closed_at__isnull=True).values_list("asset_id")
    pledged = GroupCoin.objects.filter(released_at__isnull=True).values_list("asset_id")
    return {symbol for (symbol,) in owed.union(pledged)}


def _health(
    row: Standing, *, at: datetime, in_use: bool, rule: FeedRule, redemption: Redemption | None
) -> Health:
    doubtful = row.newest is not None and not row.newest_is_good
    return Health(
        asset=row.asset,
        in_use=in_use,
        price=row.good,
        seen_at=row.good_at,
        state=None if row.good is None else observations.state_of(row, at),
        age=None if row.good_at is None else at - row.good_at,
        max_age=row.max_age,
        doubted=row.newest if doubtful else None,
        why=(row.newest_reason or "") if doubtful else "",
        max_spread=rule.max_spread,
        redemption=redemption,
    )


@exact
def _with_details(
    row: Health,
    source: str | None,
    sources: int | None,
    quotes: str | dict[str, str] | None,
    before: Decimal | None,
) -> Health:
    told: dict[str, str] = json.loads(quotes) if isinstance(quotes, str) else quotes or {}
    hidden = {MARKET, RATIO, row.redemption.underlying_id} if row.redemption is not None else set()
    said = tuple((name, text) for name, text in sorted(told.items()) if name not in hidden)
    market = _number(told.get(MARKET, ""))
    counted = [price for _, text in said if (price := _number(text)) is not None]
    return replace(
        row,
        source=source or "",
        sources=sources or 0,
        said=said,
        spread=spread(counted) if len(counted) > 1 else None,
        jump=_move(before, row.price),
        market=market,
        off=_move(row.price, market),
    )


def _number(text: str) -> Decimal | None:
    """None for a source that was left out: its text goes on after the number."""
    try:
        return Decimal(text)
    except InvalidOperation:
        return None


def _move(before: Decimal | None, after: Decimal | None) -> Decimal | None:
    return None if before is None or after is None else (after - before) / before


def troubled(rows: Iterable[Health]) -> int:
    """How many coins in use cannot be decided on now."""
    return sum(row.in_use and not row.is_well for row in rows)
