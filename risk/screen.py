"""The whole book at a glance: which groups might need a decision, most dangerous first.

This is the only place where binary floats touch values, and it decides nothing: it may only ask for too many
exact looks, never for too few. Every figure is an interval, wide enough for float error and for charges that
are due and not booked yet, and a group is near when any line lies inside its interval, or when what can be
told about it differs from what was last decided. (ARCHITECTURE: screen fast, decide exactly.)
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from django.db import connection
from django.db.models import Max

from risk import early_warnings, parameters, prices
from risk.models import CollateralGroup, Debt, DebtRate, FlexibleRate, Settings
from risk.parameters import CoinTerms
from risk.prices import Quote

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

ERROR = 1e-6  # relative; float64 itself is ten thousand million times finer
BANDS = {band: number for number, band in enumerate(CollateralGroup.Band.values)}
CALL, LIQ = BANDS["CALL"], BANDS["LIQ"]
COLLATERAL = """
    SELECT m.group_id, w.asset_id, sum(w.credits - w.debits)::float8
    FROM risk_member m
    JOIN accounts_ledgeraccount w ON w.account_id = m.account_id AND w.kind = m.wallet AND w.credits > w.debits
    JOIN risk_groupcoin c ON c.group_id = m.group_id AND c.asset_id = w.asset_id AND c.released_at IS NULL
    WHERE m.released_at IS NULL AND m.group_id = ANY (%s) GROUP BY m.group_id, w.asset_id
"""
# `lent` is weighted by what a late day costs; `units` is how many last places a day may be rounded up by.
OWED = """
    SELECT d.group_id, d.asset_id, sum(d.principal + d.interest + d.late_fee)::float8,
        sum(d.principal * d.late_multiplier)::float8, (2 * count(*) * power(10::float8, -min(a.places)))::float8,
        min(d.accrued_through)
    FROM risk_debt d JOIN accounts_asset a ON a.symbol = d.asset_id
    WHERE d.closed_at IS NULL AND d.residual_since IS NULL AND d.group_id = ANY (%s)
    GROUP BY d.group_id, d.asset_id
"""
WATCHED = """
    SELECT g.id, g.product, g.customer_id, g.band, g.blind_since IS NOT NULL, c.last_notice_at,
        y.id IS NOT NULL OR x.id IS NOT NULL, s.start::float8
    FROM risk_collateralgroup g
    LEFT JOIN risk_margincall c ON c.group_id = g.id AND c.ended_at IS NULL
    LEFT JOIN risk_liquidationdelay y ON y.group_id = g.id AND y.ended_at IS NULL
    LEFT JOIN risk_liquidation x ON x.group_id = g.id AND x.status = 'running'
    LEFT JOIN risk_deleveraging s ON s.group_id = g.id AND s.removed_at IS NULL
    WHERE g.product = %s AND (c.id IS NOT NULL OR y.id IS NOT NULL OR x.id IS NOT NULL OR g.closed_at IS NULL AND (
        g.band <> 'SAFE' OR g.blind_since IS NOT NULL OR EXISTS (
            SELECT 1 FROM risk_debt d
            WHERE d.group_id = g.id AND d.closed_at IS NULL AND d.residual_since IS NULL)))
    ORDER BY g.id
"""
# A row that ended as it began only remembers a ladder line's crossing (risk/early_warnings.py).
WARNINGS = """
    SELECT w.group_id, w.asset_id, w.ltv::float8, w.crossed_at IS NOT NULL, w.removed_at IS NOT NULL
    FROM risk_warningline w
    WHERE (w.removed_at IS NULL OR w.removed_at = w.set_at) AND w.group_id = ANY (%s)
"""


@dataclass(frozen=True, slots=True)
class Screen:
    """How many groups were looked at, and which need an exact look, most dangerous first."""

    groups: int
    near: list[int]


class _Watched(NamedTuple):
    """A row of WATCHED. `told_at`: when its open margin call was last told; None without one.

    `runs`: a delay or a sale in steps is under way, so every pass has to look. `soft_start`: the LTV from which the
    borrower chose to be sold from.
    """

    pk: int
    product: str
    customer_id: int
    band: str
    is_blind: bool
    told_at: datetime | None
    runs: bool
    soft_start: float | None


@dataclass(frozen=True, slots=True)
class _Stored:
    """What was last decided about each group."""

    band: Ints
    blind: Flags
    called: Flags
    notice_due: Flags
    runs: Flags


@dataclass(frozen=True, slots=True)
class _Values:
    """What each group owes and has, in USD: debt from `booked` to `most_owed`, collateral from worst to best."""

    booked: Floats
    most_owed: Floats
    worst: Floats
    best: Floats
    debt_stale: Flags
    priceless: Flags


def look(*, product: str, at: datetime, settings: Settings) -> Screen:
    """Screen every group of the product that owes something or is not yet settled, in a handful of queries."""
    watched = [_Watched(*row) for row in _rows(WATCHED, [product])]
    if not watched:
        return Screen(groups=0, near=[])
    ids = [row.pk for row in watched]
    place = {pk: number for number, pk in enumerate(ids)}
    collateral, owed = _rows(COLLATERAL, [ids]), _rows(OWED, [ids])
    values = _values(place, collateral, owed, at)
    notice_before = at - timedelta(seconds=settings.call_repeat_seconds)
    stored = _Stored(
        band=np.array([BANDS[row.band] for row in watched]),
        blind=np.array([row.is_blind for row in watched]),
        called=np.array([row.told_at is not None for row in watched]),
        notice_due=np.array([row.told_at is not None and row.told_at <= notice_before for row in watched]),
        runs=np.array([row.runs for row in watched]),
    )
    lines, hysteresis = _lines(watched, owed, at), float(settings.hysteresis)
    near = _is_near(values, stored, lines, hysteresis=hysteresis)
    near |= _may_soften(watched, values)
    near |= _may_warn(place, collateral, values, settings, hysteresis=hysteresis) & ~stored.blind
    with np.errstate(divide="ignore", invalid="ignore"):
        danger = np.where(values.booked > 0, values.booked / values.worst, 0)
    order = np.argsort(-danger, kind="stable")
    return Screen(groups=len(ids), near=[ids[number] for number in order if near[number]])


def _is_near(values: _Values, stored: _Stored, lines: Floats, *, hysteresis: float) -> Flags:
    worst, unsure_worst = _band(values, lines, values.worst)
    best, unsure_best = _band(values, lines, values.best)
    blind = values.debt_stale | (worst != best) | (values.priceless & (worst > 0))
    margin_call = lines[:, 1]
    may_have_recovered = values.booked * (1 - ERROR) < (margin_call - hysteresis) * values.best
    call_moves = stored.called & (stored.notice_due | may_have_recovered)
    sighted = ~blind & (
        (worst != stored.band) | (worst == LIQ) | ((worst == CALL) & ~stored.called) | call_moves
    )
    settled = stored.called & (values.booked == 0)
    near: Flags = unsure_worst | unsure_best | (blind != stored.blind) | sighted | settled | stored.runs
    return near


def _may_soften(watched: list[_Watched], values: _Values) -> Flags:
    """Where LTV may be at or over the start of the borrower's own de-leveraging: every pass looks. R-FTR-05"""
    chosen = np.array([row.soft_start is not None for row in watched], dtype=bool)
    start = _column(row.soft_start or 0.0 for row in watched)
    may: Flags = chosen & (values.booked > 0) & (values.most_owed * (1 + ERROR) >= start * values.worst)
    return may


def _may_warn(
    place: Mapping[int, int],
    collateral: list[Any],
    values: _Values,
    settings: Settings,
    *,
    hysteresis: float,
) -> Flags:
    """Where an early warning line may have been crossed, or clearly left, since it was last judged. R-GEN-63, 64"""
    found = np.zeros(len(place), dtype=bool)
    held = {(row[0], row[1]) for row in collateral}
    steps = [float(line) for line in early_warnings.ladder(settings)]
    remembered: dict[tuple[int, float], bool] = {}
    for group_id, asset, line, crossed, is_ladder in _rows(WARNINGS, [list(place)]):
        if is_ladder:
            remembered[(group_id, line)] = crossed
            continue
        number = place[group_id]
        counts = asset is None or (group_id, asset) in held
        may_cross, may_leave = _at_line(values, number, line, hysteresis)
        found[number] |= (not counts or may_leave) if crossed else (counts and may_cross)
    crossed_steps = np.array(
        [[remembered.get((group_id, line), False) for line in steps] for group_id in place], dtype=bool
    ).reshape(len(place), len(steps))
    for number, line in enumerate(steps):
        may_cross, may_leave = _at_line(values, slice(None), line, hysteresis)
        found |= np.where(crossed_steps[:, number], may_leave, may_cross)
    return found


def _at_line(values: _Values, of: int | slice, line: float, hysteresis: float) -> tuple[Any, Any]:
    """Whether LTV may be at or over the line, and whether it may be clearly below it."""
    booked, most_owed = values.booked[of], values.most_owed[of]
    may_cross = (booked > 0) & (most_owed * (1 + ERROR) >= line * values.worst[of])
    may_leave = (booked * (1 - ERROR) < (line - hysteresis) * values.best[of]) | (booked == 0)
    return may_cross, may_leave


def _band(values: _Values, lines: Floats, collateral: Floats) -> tuple[Ints, Flags]:
    """The band (0 = SAFE) at that collateral, and where the interval leaves it unsure."""
    owes = (values.booked > 0)[:, None]
    at_lines = lines[:, :3] * collateral[:, None]
    surely = owes & (values.booked[:, None] * (1 - ERROR) >= at_lines)
    possibly = owes & (values.most_owed[:, None] * (1 + ERROR) >= at_lines)
    # At no collateral every line is 0 and surely reached, so what is unsure are the lines in between only.
    return surely.sum(axis=1), (surely != possibly).any(axis=1)


def _values(place: Mapping[int, int], collateral: list[Any], owed: list[Any], at: datetime) -> _Values:
    symbols = sorted({row[1] for row in collateral} | {row[1] for row in owed})
    quotes = prices.latest(at=at, assets=symbols)
    terms = parameters.terms_at(at, assets=symbols)
    size = len(place)

    def per_group(rows: list[Any], figures: Floats) -> Floats:
        where = np.array([place[row[0]] for row in rows], dtype=np.int64)
        return np.bincount(where, weights=figures, minlength=size).astype(np.float64)

    debt_prices = _column(float(quotes[row[1]].price) if row[1] in quotes else 0.0 for row in owed)
    booked = _column(row[2] for row in owed)
    pending = _pending(owed, at)
    doubtful = _column(_is_stale(quotes, row[1]) for row in owed)
    worst, best = _recognised(collateral, quotes, terms)
    priceless = _column(row[1] in terms and row[1] not in quotes for row in collateral)
    return _Values(
        booked=per_group(owed, booked * debt_prices),
        most_owed=per_group(owed, (booked + pending) * debt_prices),
        worst=per_group(collateral, worst),
        best=per_group(collateral, best),
        debt_stale=per_group(owed, doubtful) > 0,
        priceless=per_group(collateral, priceless) > 0,
    )


def _pending(owed: list[Any], at: datetime) -> Floats:
    """At most what is due and not booked yet, in each row's coin: every day at the dearest rate there is."""
    today = at.astimezone(UTC).date()
    days = _column((today - _day(row[5])).days for row in owed).clip(min=0)
    if not days.any():
        return days
    rate = _dearest_rate()
    return days * (_column(row[3] for row in owed) * rate / 365 + _column(row[4] for row in owed))


def _dearest_rate() -> float:
    fixed = DebtRate.objects.filter(debt__in=Debt.objects.watched())
    found = fixed.aggregate(rate=Max("fixed_rate"), spread=Max("spread"))
    flexible = FlexibleRate.objects.aggregate(rate=Max("annual_rate"))["rate"] or 0
    return float(max(found["rate"] or 0, flexible + (found["spread"] or 0)))


def _recognised(
    rows: list[Any], quotes: Mapping[str, Quote], terms: Mapping[str, CoinTerms]
) -> tuple[Floats, Floats]:
    """Recognised value of each (group, coin): stale coins at nothing, and at twice their last price."""
    amounts = _column(row[2] for row in rows)
    at_price = _column(float(quotes[row[1]].price) if row[1] in quotes else 0.0 for row in rows)
    stale = np.array([_is_stale(quotes, row[1]) for row in rows], dtype=bool)
    market = amounts * at_price
    worst, best = np.zeros(len(rows)), np.zeros(len(rows))
    symbols = np.array([row[1] for row in rows])
    for symbol in np.unique(symbols):
        held = symbols == symbol
        coin = terms.get(str(symbol))
        worst[held] = np.where(stale[held], 0, _by_tiers(market[held], coin))
        best[held] = np.where(stale[held], _by_tiers(2 * market[held], coin), worst[held])
    return worst, best


def _by_tiers(market: Floats, coin: CoinTerms | None) -> Floats:
    total = np.zeros(len(market))
    if coin is None:
        return total
    for tier, following in zip(coin.tiers, [*coin.tiers[1:], None], strict=True):
        ceiling = float(following.floor) if following else np.inf
        floor = float(tier.floor)
        total += (np.minimum(market, ceiling) - floor).clip(min=0) * float(tier.ratio)
    return total


def _lines(watched: list[_Watched], owed: list[Any], at: datetime) -> Floats:
    """Initial, margin call and liquidation of each group, one row each."""
    assets: dict[int, set[str]] = {row.pk: set() for row in watched}
    for row in owed:
        assets[row[0]].add(row[1])
    found = parameters.lines_by_group(watched, at=at, owed=assets)
    return np.array(
        [
            [float(lines.initial), float(lines.margin_call), float(lines.liquidation)]
            for lines in (found[row.pk] for row in watched)
        ]
    )


def _is_stale(quotes: Mapping[str, Quote], asset: str) -> bool:
    return asset not in quotes or not quotes[asset].fresh


def _column(figures: Any) -> Floats:
    return np.array(list(figures), dtype=np.float64)


def _day(instant: datetime) -> date:
    return instant.astimezone(UTC).date()


def _rows(statement: str, arguments: list[Any]) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, arguments)
        return list(cursor.fetchall())
