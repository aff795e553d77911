"""How fast liquidations may sell a coin: a market that falls must not be pushed further by our own sales (R-FTR-22).

While liquidations have sold less than `most_usd` of a coin in the last `span_seconds`, another sale may begin, and is
completed; then every liquidation that would sell that coin waits until enough of those sales are older than the span,
the most dangerous group first. What anybody sold counts, to the market and at the prices it got; sales by hand are
not kept waiting, because two people decided them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db import connection

from accounts.errors import Refused
from accounts.money import ZERO
from accounts.words import tell
from risk import workout
from risk.book import GroupState
from risk.models import Liquidation, PaceLimit, Sale

SELLING = 0x7061_6365  # with a coin: any first number of a pair that no other advisory lock uses
KEPT_WAITING = (Liquidation.Cause.LTV, Liquidation.Cause.OVERDUE)


class NoRoom(Refused):
    """R-FTR-22: the message says of which coin enough was sold for now, and until when at the latest."""

    code = "liquidation_paced"

    def __init__(self, pace: "Pace") -> None:
        super().__init__(pace.told())
        self.pace = pace


@dataclass(frozen=True, slots=True)
class Pace:
    """A limit in force at `at`, and what counts against it. USD."""

    coin: str
    most_usd: Decimal
    span: timedelta
    sold_usd: Decimal
    at: datetime

    @property
    def is_full(self) -> bool:
        return self.sold_usd >= self.most_usd

    @property
    def seconds(self) -> int:
        return int(self.span.total_seconds())

    def told(self) -> str:
        """For whoever waits: not how much others sold."""
        minutes = f"{self.span.total_seconds() / 60:g}"
        return tell(
            "Liquidations have sold as much {coin} in the last {minutes} minutes as the desk lets"
            " them, so that they do not push its price; no further sale of {coin} begins before"
            " some are older. By {at:%Y-%m-%d %H:%M:%S} UTC there is room, for the group with the"
            " highest LTV first.",
            coin=self.coin,
            minutes=minutes,
            at=self.at + self.span,
        )


@dataclass(frozen=True, slots=True)
class Bounded:
    """The coins whose sale is bounded at all, at an instant: by a market depth (R-GEN-79), by a pace (R-FTR-22)."""

    thin: frozenset[str]
    paced: frozenset[str]


def bounded_at(at: datetime) -> Bounded:
    """Mostly none, so one query spares a sale two for each of its coins."""
    with connection.cursor() as cursor:
        cursor.execute(_BOUNDED, {"at": at})
        found = cursor.fetchall()
    by = {kind: frozenset(coin for one, coin in found if one == kind) for kind in ("thin", "paced")}
    return Bounded(**by)


_BOUNDED = """
    SELECT 'thin', asset_id FROM risk_marketdepth WHERE effective_at <= %(at)s
    UNION SELECT 'paced', asset_id FROM risk_pacelimit WHERE effective_at <= %(at)s
"""


def limits_at(at: datetime, coins: Collection[str] | None = None) -> dict[str, PaceLimit]:
    """The limit in force of each coin that has one: of these coins, or of all. One query."""
    rows = PaceLimit.objects.filter(effective_at__lte=at).order_by("asset", "-effective_at").distinct("asset")
    if coins is not None:
        rows = rows.filter(asset__in=list(coins))
    return {row.asset_id: row for row in rows if row.most_usd is not None}


def paces_at(at: datetime, coins: Collection[str] | None = None) -> dict[str, Pace]:
    """Every limit in force, with what was sold: of these coins, or of all. Only a look; `hold` is exact."""
    return {coin: _pace(row, at=at) for coin, row in limits_at(at, coins).items()}


def _pace(limit: PaceLimit, *, at: datetime) -> Pace:
    assert limit.most_usd is not None
    span = timedelta(seconds=limit.span_seconds)
    sold = workout.sold_usd(limit.asset_id, since=at - span)
    return Pace(coin=limit.asset_id, most_usd=limit.most_usd, span=span, sold_usd=sold, at=at)


def hold(sales: Collection[Sale], *, at: datetime) -> None:
    """Keep everybody else from selling these coins until this transaction ends, where a limit is in force.

    The last thing before a liquidation is written: with the lock, what others sold is what is committed.

    Raises:
        NoRoom: enough was sold of one of them.
    """
    coins = {sale.coin_id for sale in sales if sale.venue not in (workout.NETTING, workout.TAKEOVER)}
    limits = limits_at(at, coins) if coins else {}
    for coin in sorted(limits):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [SELLING, coin])
    for coin in sorted(limits):
        pace = _pace(limits[coin], at=at)
        if pace.is_full:
            raise NoRoom(pace)


def surely_waits(state: GroupState, paces: Mapping[str, Pace]) -> Pace | None:
    """The full coin because of which nothing of the group can be sold now, where that needs no closer look.

    None: it holds a coin that may be sold, or owes one that it holds; then a sale is tried.
    """
    held = {wallet.asset for wallet in state.wallets if wallet.balance > ZERO} & state.coins
    full = [paces[coin] for coin in sorted(held) if coin in paces and paces[coin].is_full]
    return full[0] if full and len(full) == len(held) and not held & state.owed_assets else None
