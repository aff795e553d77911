"""The whole book at a glance: which groups might need a decision, most dangerous first.

This is the only place where binary floats touch values, and it decides nothing: it may only ask for too many
exact looks, never for too few. Every figure is an interval, wide enough for float error and for charges that
are due and not booked yet, and a group is near when any line lies inside its interval, or when what can be
told about it differs from what was last decided. (ARCHITECTURE: screen fast, decide exactly.)
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from django.db.models import Max

from accounts.models import Asset
from risk import early_warnings, group_lines, parameters, prices
from risk.arrays import BANDS, DELAYED, PRODUCTS, SELLING, Book
from risk.columns import Flags, Floats, Index, Ints, sums
from risk.models import FlexibleRate, Settings
from risk.parameters import CoinTerms
from risk.prices import Quote
from risk.readings import DOUBT
from risk.valuation import Tiers

ERROR: Final = 1e-6  # relative; float64 itself is ten thousand million times finer
# Of a coin's market value, where a tier counts more than one below it: the difference to its floor may then be all
# that counts, and is no finer than the floor's own last digits.
SLACK: Final = 1e-12
CALL, LIQ = BANDS["CALL"], BANDS["LIQ"]
DAY: Final = 86_400
LAST: Final = 1e6  # by which who can only wait comes after who might sell something else


@dataclass(frozen=True, slots=True)
class Screen:
    """How many groups are watched, and which need an exact look, most dangerous first.

    Beside each of `near`: `danger`, its LTV; and `sells`, the guess that collateral is to be sold now. Below 0 is the
    danger of those that hold a coin of which enough was sold for now, in their order: they may only wait (R-FTR-22).
    """

    groups: int
    near: list[int]
    danger: list[float]
    sells: list[bool]


@dataclass(frozen=True, slots=True)
class _Values:
    """What each group owes and has, in USD: debt from `booked` to `most_owed`, collateral from worst to best.

    `slack` is how far float error may take the collateral besides. `best` is `worst` itself where no price is old.
    """

    booked: Floats
    most_owed: Floats
    worst: Floats
    best: Floats
    slack: Floats | float
    debt_stale: Flags
    priceless: Flags


@dataclass(frozen=True, slots=True)
class _Bands:
    """The band (0 = SAFE) that is surely reached, and where the interval leaves it unsure."""

    sure: Ints
    unsure: Flags


def look(
    *,
    product: str,
    at: datetime,
    settings: Settings,
    book: Book | None = None,
    full: Collection[str] = (),
) -> Screen:
    """Screen every group of the product that owes something or is not yet settled, in a handful of queries.

    `book` is brought up to date first; without one the whole book is read. `full`: the coins of which enough was sold
    for now. Whoever holds one comes after all others, or a pass might never get past those that wait.
    """
    book = Book() if book is None else book
    book.refresh()
    watched = book.is_watched & (book.groups.product == PRODUCTS[product])
    groups = int(np.count_nonzero(watched))
    if not groups:
        return Screen(groups=0, near=[], danger=[], sells=[])
    values, lines = _values(book, at), group_lines.lines_of(book, at=at)
    hysteresis = float(settings.hysteresis)
    worst = _bands(values, lines, values.worst)
    best = worst if values.best is values.worst else _bands(values, lines, values.best)
    blind = values.debt_stale | (worst.sure != best.sure) | (values.priceless & (worst.sure > 0))
    near = worst.unsure | best.unsure | _is_near(book, values, lines, worst, blind, settings, at)
    near |= _may_soften(book, values)
    near |= _may_warn(book, values, settings, hysteresis=hysteresis) & (book.groups.blind == 0)
    [places] = np.nonzero(near & watched)
    with np.errstate(divide="ignore", invalid="ignore"):
        owed, secured = values.booked[places], values.worst[places]
        danger = np.where(owed > 0, owed / secured, 0)
        waiting = _waiting(book, full)[places] if full else np.zeros(places.size, dtype=np.int64)
        danger = np.where((waiting > 0) & (danger > 0), -1 / danger - LAST * (waiting - 1), danger)
    order = np.lexsort((book.groups.id[places], -danger))  # of equals the oldest, however the book was read
    places, danger, waiting = places[order], danger[order], waiting[order]
    sells = _may_sell(book, values, lines, worst.sure, settings, at) & ~blind
    return Screen(
        groups=groups,
        near=book.groups.id[places].tolist(),
        danger=danger.tolist(),
        sells=(sells[places] & (waiting < 2)).tolist(),
    )


def _waiting(book: Book, full: Collection[str]) -> Ints:
    """1 for who holds a coin of which enough was sold for now, and something else; 2 for who holds nothing else.

    What repays a debt in the coin itself is not sold, so it needs no room.
    """
    holds_full, holds_other = np.zeros(book.size, dtype=bool), np.zeros(book.size, dtype=bool)
    for number, symbol in enumerate(book.symbols):
        start, end = book.pools.starts[number : number + 2]
        holding = book.pools.slot[start:end][book.pooled[start:end] > 0]
        (holds_full if symbol in full else holds_other)[holding] = True
        if symbol in full:
            holds_other[book.debts.slot[book.debts.coin == number]] = True
    return np.where(holds_full, np.where(holds_other, 1, 2), 0)


def _is_near(
    book: Book, values: _Values, lines: Floats, worst: _Bands, blind: Flags, settings: Settings, at: datetime
) -> Flags:
    groups, band = book.groups, worst.sure
    called = ~np.isnan(groups.told_at)
    notice_due = groups.told_at <= at.timestamp() - settings.call_repeat_seconds
    below = (lines[1] - float(settings.hysteresis)) * values.best
    may_have_recovered = (values.booked * (1 - ERROR) < below) | (values.booked == 0)
    call_moves = called & (notice_due | may_have_recovered)
    sighted = ~blind & ((band != groups.band) | (band == LIQ) | ((band == CALL) & ~called) | call_moves)
    settled = called & ~book.owes
    near: Flags = (blind != (groups.blind > 0)) | sighted | settled | (groups.runs > 0)
    return near


def _may_soften(book: Book, values: _Values) -> Flags:
    """Where LTV may be at or over the start of the borrower's own de-leveraging: every pass looks. R-FTR-05"""
    start = book.groups.soft_start
    may: Flags = (start > 0) & (values.booked > 0)
    if may.any():
        may &= values.most_owed * (1 + ERROR) >= start * (values.worst - values.slack)
    return may


def _may_sell(
    book: Book, values: _Values, lines: Floats, band: Ints, settings: Settings, at: datetime
) -> Flags:
    """Where a reading would sell, as far as it can be told without the prices' times. R-GEN-23, R-GEN-24, R-GEN-70"""
    groups, now = book.groups, at.timestamp()
    in_grace = now < groups.grace_until
    above_cutoff = values.booked > lines[3] * values.best
    confirmed = now >= groups.breach_at + settings.confirm_seconds
    waits = in_grace | ((groups.runs & DELAYED) > 0)
    sells: Flags = (band == LIQ) & (above_cutoff | (confirmed & ~waits))
    return sells | (((groups.runs & SELLING) > 0) & ~in_grace)


# --- Early warnings -----------------------------------------------------------------------------------------


def _may_warn(book: Book, values: _Values, settings: Settings, *, hysteresis: float) -> Flags:
    """Where an early warning line may have been crossed, or clearly left, since it was last judged. R-GEN-63, 64"""
    found, rows = np.zeros(book.size, dtype=bool), book.warnings
    own = rows.is_ladder == 0
    if own.any():
        slot, coin, crossed = rows.slot[own], rows.coin[own], rows.is_crossed[own] > 0
        counts = (coin < 0) | _holds(book, slot, coin)
        may_cross, may_leave = _at_line(values, slot, rows.ltv[own], hysteresis)
        found[slot[np.where(crossed, ~counts | may_leave, counts & may_cross)]] = True
    for line in early_warnings.ladder(settings):
        remembered = np.zeros(book.size, dtype=bool)
        mine = ~own & (rows.ltv == float(line))
        remembered[rows.slot[mine]] = rows.is_crossed[mine] > 0
        may_cross, may_leave = _at_line(values, slice(None), float(line), hysteresis)
        found |= np.where(remembered, may_leave, may_cross)
    return found


def _holds(book: Book, slot: Ints, coin: Ints) -> Flags:
    place = book.pools.find(slot, coin, size=book.size)
    there = place >= 0
    held = np.zeros(slot.size, dtype=bool)
    held[there] = book.pooled[place[there]] > 0
    return held


def _at_line(values: _Values, of: Ints | slice, line: Any, hysteresis: float) -> tuple[Flags, Flags]:
    """Whether LTV may be at or over the line, and whether it may be clearly below it."""
    booked, most_owed = values.booked[of], values.most_owed[of]
    slack = values.slack if isinstance(values.slack, float) else values.slack[of]
    may_cross = (booked > 0) & (most_owed * (1 + ERROR) >= line * (values.worst[of] - slack))
    may_leave = (booked * (1 - ERROR) < (line - hysteresis) * (values.best[of] + slack)) | (booked == 0)
    return may_cross, may_leave


# --- Bands ----------------------------------------------------------------------------------------------------


def _bands(values: _Values, lines: Floats, collateral: Floats) -> _Bands:
    owes = values.booked > 0
    least, most = values.booked * (1 - ERROR), values.most_owed * (1 + ERROR)
    exact = isinstance(values.slack, float)
    above, below = (
        (collateral, collateral) if exact else (collateral + values.slack, collateral - values.slack)
    )
    sure, unsure = np.zeros(owes.size, dtype=np.int64), np.zeros(owes.size, dtype=bool)
    for line in lines[:3]:
        surely = owes & (least >= line * above)
        # At no collateral every line is 0 and surely reached, so what is unsure are the lines in between only.
        unsure |= surely != (owes & (most >= line * below))
        sure += surely
    return _Bands(sure, unsure)


# --- Values -----------------------------------------------------------------------------------------------------


def _values(book: Book, at: datetime) -> _Values:
    quotes = prices.latest(at=at, assets=book.used)
    price_of = np.array([float(quotes[s].price) if s in quotes else 0.0 for s in book.symbols])
    worst, best, slack, priceless = _secured(book, quotes, parameters.terms_at(at, assets=book.used))
    debts, size = book.debts, book.size
    each = price_of[debts.coin]
    booked = sums(debts.slot, debts.booked * each, size)
    pending = _pending(book, at)
    stale = np.array([s in book.used and _is_stale(quotes, s) for s in book.symbols])
    doubtful = debts.slot[stale[debts.coin]] if stale.any() else debts.slot[:0]
    return _Values(
        booked=booked,
        most_owed=booked if pending is None else booked + sums(debts.slot, pending * each, size),
        worst=worst,
        best=best,
        slack=slack,
        debt_stale=np.bincount(doubtful, minlength=size) > 0,
        priceless=priceless,
    )


def _secured(
    book: Book, quotes: Mapping[str, Quote], terms: Mapping[str, CoinTerms]
) -> tuple[Floats, Floats, Floats | float, Flags]:
    """Recognised value of each group with old coins at nothing, and at twice their last price; the slack; no price."""
    worst, priceless = np.zeros(book.size), np.zeros(book.size, dtype=bool)
    old, slack = np.zeros(book.size), np.zeros(book.size)
    rises = doubted = False
    for number, symbol in enumerate(book.symbols):
        start, end = book.pools.starts[number : number + 2]
        if symbol not in terms or start == end:
            continue
        # Within one coin no group comes twice, so adding at its places is safe.
        slot, amounts, tiers = book.pools.slot[start:end], book.pooled[start:end], terms[symbol].tiers
        if symbol not in quotes:
            priceless[slot[amounts > 0]] = True
            continue
        market = amounts * float(quotes[symbol].price)
        if quotes[symbol].fresh:
            worst[slot] += recognised(market, tiers)
        else:
            doubted = True
            market *= float(DOUBT)
            old[slot] += recognised(market, tiers)
        if _rises(tiers):
            rises = True
            slack[slot] += market * SLACK
    return worst, worst + old if doubted else worst, slack if rises else 0.0, priceless


def recognised(market: Floats, tiers: Tiers) -> Floats:
    """What market values of one coin count for, in marginal tiers. R-GEN-30, R-GEN-31"""
    total, reaching = np.zeros(market.size), market
    above: Ints | slice = slice(None)
    for tier, following in zip(tiers, [*tiers[1:], None], strict=True):
        within = reaching if following is None else np.minimum(reaching, float(following.floor))
        total[above] += (within - float(tier.floor)) * float(tier.ratio)
        if following is not None:  # from here on only those that are as large; mostly few
            reaches = np.flatnonzero(reaching > float(following.floor))
            above = reaches if isinstance(above, slice) else above[reaches]
            reaching = reaching[reaches]
    return total


def _rises(tiers: Tiers) -> bool:
    return any(upper.ratio > lower.ratio for lower, upper in zip(tiers, tiers[1:], strict=False))


def _pending(book: Book, at: datetime) -> Floats | None:
    """At most what is due and not booked yet, in each debt's coin; None: nothing is.

    Every day at the dearest rate that the debt ever bears, late if it can be; what was booked is no less than the
    principal that is charged.
    """
    debts = book.debts
    today = math.floor(at.timestamp() / DAY)
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0).timestamp()
    if not (debts.through < midnight).any():
        return None
    days = (today - np.floor(debts.through / DAY)).clip(min=0)
    rates = book.rates()
    published = dict(FlexibleRate.objects.values_list("asset").annotate(Max("annual_rate")).order_by())
    flexible = np.array([float(published.get(symbol, 0)) for symbol in book.symbols])
    place = Index(debts.id).find(rates.debt)
    place, fixed, spread = place[place >= 0], rates.fixed[place >= 0], rates.spread[place >= 0]
    dearest = np.zeros(debts.id.size)
    np.maximum.at(dearest, place, np.maximum(fixed, flexible[debts.coin[place]] + spread))
    times = np.where(debts.due < midnight, debts.multiplier, 1)
    return days * (debts.booked * dearest * times / 365 + _last_places(book)[debts.coin])


def _last_places(book: Book) -> Floats:
    """By how much a day's charge may be rounded up, by coin."""
    places = dict(Asset.objects.values_list("symbol", "places"))
    return np.array([2.0 * 10.0 ** -places[symbol] for symbol in book.symbols])


def _is_stale(quotes: Mapping[str, Quote], asset: str) -> bool:
    return asset not in quotes or not quotes[asset].fresh
