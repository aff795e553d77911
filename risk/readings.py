"""What one look at a group means: its band, whether it can be judged at all, whether its collateral must be sold,
and what that does to a delay.

A liquidation that should not happen is the worst fault there is, so a group is judged twice: on the least and
on the most that its collateral can be worth while some prices are old. Only where both agree is anything
known. Times are aware datetimes, waits are seconds.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from accounts.money import exact
from risk import valuation
from risk.levels import Band, Lines, band, must_liquidate_at_once
from risk.valuation import Holding, Worth

DOUBT = Decimal(2)  # an old price may by now be this many times itself (R-GEN-22)


@dataclass(frozen=True, slots=True)
class Waits:
    """R-GEN-23: how much later a breach must still hold. R-GEN-24: how long an outage, how long the grace."""

    confirm: int
    outage: int
    outage_grace: int


@dataclass(frozen=True, slots=True)
class Clocks:
    """What earlier readings left behind on the group."""

    breach_seen_at: datetime | None = None
    blind_since: datetime | None = None
    grace_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """The group at its worst and at its best; `best` None: a coin has no price at all, it may be worth anything."""

    worst: Worth
    best: Worth | None


@dataclass(frozen=True, slots=True)
class Reading:
    """`band` None: blind, nothing may be concluded. `clocks` go back to the group."""

    band: Band | None
    clocks: Clocks
    must_liquidate: bool = False


@exact
def bounds(*, holdings: Iterable[Holding], debts: Iterable[valuation.Owed], stale: Collection[str]) -> Bounds:
    """Value a group at its last good prices, stale coins first at nothing, then at twice their price. R-GEN-22"""
    holdings, debts = list(holdings), list(debts)
    sure = [held for held in holdings if held.asset not in stale]
    doubled = [replace(held, price=held.price * DOUBT) for held in holdings if held.asset in stale]
    worst = valuation.worth(holdings=sure, debts=debts)
    priceless = set(stale) - {held.asset for held in holdings}
    if priceless:
        return Bounds(worst=worst, best=None)
    return Bounds(worst=worst, best=valuation.worth(holdings=[*sure, *doubled], debts=debts))


def read(
    *,
    seen: Bounds,
    debts_fresh: bool,
    newest_price_at: datetime,
    lines: Lines,
    clocks: Clocks,
    waits: Waits,
    at: datetime,
) -> Reading:
    """One reading at `at`, given the clocks that earlier readings left.

    Blind, when a debt's price is old or old collateral decides the band: a breach seen before is forgotten,
    and nothing is sold. After a blindness longer than the outage wait a grace starts. At or over the
    liquidation line the breach must have been seen `confirm` seconds ago, a newer price must say the same, and
    no grace be running; above the cut-off none of them is waited for. R-GEN-22, R-GEN-23, R-GEN-24, R-GEN-41
    """
    worst = band(seen.worst, lines)
    best = Band.SAFE if seen.best is None else band(seen.best, lines)
    if not debts_fresh or worst != best:
        blind = Clocks(blind_since=clocks.blind_since or at, grace_until=clocks.grace_until)
        return Reading(band=None, clocks=blind)
    grace_until = clocks.grace_until
    if clocks.blind_since is not None and is_outage(since=clocks.blind_since, until=at, waits=waits):
        grace_until = grace_after(at=at, waits=waits, running=grace_until)
    if worst != Band.LIQ:
        return Reading(band=worst, clocks=Clocks(grace_until=grace_until))
    breach = clocks.breach_seen_at or at
    # The same tick read twice is one reading, however often the sweep passes.
    is_new = newest_price_at > breach or waits.confirm == 0
    confirmed = at >= breach + timedelta(seconds=waits.confirm) and is_new
    in_grace = grace_until is not None and at < grace_until
    at_once = seen.best is not None and must_liquidate_at_once(seen.best, lines)
    return Reading(
        band=worst,
        clocks=Clocks(breach_seen_at=breach, grace_until=grace_until),
        must_liquidate=at_once or (confirmed and not in_grace),
    )


def is_outage(*, since: datetime, until: datetime, waits: Waits) -> bool:
    """Longer than, not as long as, the outage wait. R-GEN-24"""
    return until - since > timedelta(seconds=waits.outage)


def grace_after(*, at: datetime, waits: Waits, running: datetime | None) -> datetime:
    """When the grace of an outage that ended at `at` is over; one that runs longer already stands. R-GEN-24"""
    ends = at + timedelta(seconds=waits.outage_grace)
    return ends if running is None else max(ends, running)


def softens(
    *,
    reading: Reading,
    seen: Bounds,
    start: Decimal,
    last_step_at: datetime | None,
    rest: timedelta,
    at: datetime,
) -> bool:
    """Whether a borrower's own de-leveraging would take a step, if an earlier reading says so too. R-FTR-05

    Between the margin call and the liquidation line only, surely at or over `start` whatever coins with old prices
    are worth by now, not in a grace, and no sooner than `rest` after the last step.
    """
    if reading.band is not Band.CALL or seen.best is None or not seen.best.is_at_least(start):
        return False
    in_grace = reading.clocks.grace_until is not None and at < reading.clocks.grace_until
    return not in_grace and (last_step_at is None or at - last_step_at >= rest)


def before_it(*, newest_price_at: datetime, waits: Waits, at: datetime) -> datetime:
    """The instant whose prices must have said the same: `confirm` seconds ago, and older than the newest. R-GEN-23"""
    return min(at - timedelta(seconds=waits.confirm), newest_price_at - timedelta(microseconds=1))


# --- Delayed liquidation -------------------------------------------------------------------------------------


class DelayStep(StrEnum):
    """What a reading asks of a group whose liquidations are delayed. The endings are `LiquidationDelay.Ended`'s."""

    NONE = "none"  # no delay: whatever the reading asks for happens at once
    START = "start"
    WAIT = "wait"
    CURED = "cured"
    CUT_OFF = "cut_off"
    SOLD = "sold"
    STEPPED = "stepped"
    NO_SALE = "no_sale"


SELLS = frozenset({DelayStep.CUT_OFF, DelayStep.SOLD, DelayStep.STEPPED})


@dataclass(frozen=True, slots=True)
class Delay:
    """`ends_at` None: none is running. `may_start`: the customer is enrolled, and rested since the last one."""

    ends_at: datetime | None = None
    may_start: bool = False


def has_rested(*, last_started_at: datetime | None, rest: timedelta, at: datetime) -> bool:
    """Whether a group may have a delay again: none began within `rest` before `at`. R-VIP-62"""
    return last_started_at is None or at - last_started_at >= rest


def delayed(
    *,
    reading: Reading,
    seen: Bounds,
    lines: Lines,
    delay: Delay,
    called_since: datetime | None,
    newest_price_at: datetime,
    waits: Waits,
    at: datetime,
) -> DelayStep:
    """What `reading` means for a group that has, or may have, a delay. R-VIP-60, R-VIP-61, R-VIP-62, EX-22

    A delay starts only where collateral would be sold this moment, and never above the cut-off. From then on
    the clock alone counts, however LTV moves: only a return to the initial line or a rise above the cut-off
    ends it early. Once time is up a reading that cannot be judged waits, as does one that nothing confirms:
    `called_since` is when an earlier reading put the group at or over its margin call line (R-GEN-23).
    """
    at_once = seen.best is not None and must_liquidate_at_once(seen.best, lines)
    if delay.ends_at is None:
        starts = reading.must_liquidate and delay.may_start and not at_once
        return DelayStep.START if starts else DelayStep.NONE
    if reading.band is None:
        return DelayStep.WAIT
    if seen.worst.is_at_most(lines.initial):
        return DelayStep.CURED
    if at < delay.ends_at:
        return DelayStep.CUT_OFF if at_once else DelayStep.WAIT
    if reading.band is Band.LIQ:
        return DelayStep.SOLD if reading.must_liquidate else DelayStep.WAIT
    if reading.band is not Band.CALL:
        return DelayStep.NO_SALE
    in_grace = reading.clocks.grace_until is not None and at < reading.clocks.grace_until
    confirmed = called_since is not None and at >= called_since + timedelta(seconds=waits.confirm)
    confirmed = confirmed and (waits.confirm == 0 or newest_price_at > (called_since or at))
    return DelayStep.STEPPED if confirmed and not in_grace else DelayStep.WAIT
