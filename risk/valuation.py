"""What a group owes, what secures it, and how much room is left.

Every decision on borrowing, withdrawing, calling and liquidating rests on these few functions, so a page, the
gate and the sweep cannot disagree. Values are USD. Lines (LTV levels) are positive fractions and are compared
by cross-multiplication: the rounded ratio is for people (R-GEN-40, R-GEN-41).
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal, localcontext
from itertools import pairwise, zip_longest

from accounts.money import ONE, RATE_PLACES, ZERO, divide_down, exact, unit


@dataclass(frozen=True, slots=True)
class Tier:
    """`ratio` of the market value from `floor` up to the next tier's floor; the last tier is unbounded."""

    floor: Decimal
    ratio: Decimal


Tiers = tuple[Tier, ...]
HIGHEST_LTV = Decimal(10) ** 8  # exclusive: what columns hold; above it an LTV is as good as infinite


def told(ltv: Decimal | None) -> Decimal | None:
    """An LTV as rows keep it: None when infinite, or too large to be a number to anybody."""
    return ltv if ltv is not None and ltv < HIGHEST_LTV else None


@dataclass(frozen=True, slots=True)
class Holding:
    """Some of a coin in one collateral account. No tiers: the coin is not collateral and counts nothing."""

    asset: str
    amount: Decimal
    price: Decimal
    tiers: Tiers
    places: int


@dataclass(frozen=True, slots=True)
class Slice:
    """The part `value` of a coin's market value that lies in one tier, and what of it counts. USD."""

    floor: Decimal
    ceiling: Decimal | None
    ratio: Decimal
    value: Decimal
    counted: Decimal


@dataclass(frozen=True, slots=True)
class Owed:
    """All that is owed on one debt: principal, interest and late fee, in its coin."""

    asset: str
    amount: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True)
class Worth:
    """A group's debt, recognised collateral and market value of that collateral, in USD, unrounded."""

    debt: Decimal
    collateral: Decimal
    market: Decimal

    @property
    def ltv(self) -> Decimal | None:
        """For people: 0 without debt, None (infinite) for a debt without collateral. R-GEN-40

        Rounded down at 12 decimals, so that it never shows a line as reached before it is.
        """
        if self.debt == 0:
            return ZERO
        return divide_down(self.debt, self.collateral, RATE_PLACES) if self.collateral else None

    @property
    def told_ltv(self) -> Decimal | None:
        """LTV as rows keep it."""
        return told(self.ltv)

    @exact
    def is_at_least(self, line: Decimal) -> bool:
        """LTV >= line, exactly. R-GEN-41"""
        return self.debt > 0 and self.debt >= line * self.collateral

    @exact
    def is_above(self, line: Decimal) -> bool:
        """LTV > line, exactly. R-GEN-41"""
        return self.debt > line * self.collateral

    def is_below(self, line: Decimal) -> bool:
        return not self.is_at_least(line)

    def is_at_most(self, line: Decimal) -> bool:
        return not self.is_above(line)

    @exact
    def is_safer_than(self, other: "Worth") -> bool:
        """This LTV < the other's, exactly."""
        if self.debt == 0:
            return other.debt > 0
        return self.debt * other.collateral < other.debt * self.collateral


def check_tiers(tiers: Tiers) -> None:
    """Refuse tiers that mean nothing: the first floor is 0, floors ascend, ratios are 0 to 1. R-GEN-31

    Raises:
        ValueError: what is wrong, in words.
    """
    if tiers and tiers[0].floor != 0:
        raise ValueError(f"The first tier starts at {tiers[0].floor}, not at 0.")
    for lower, upper in pairwise(tiers):
        if not lower.floor < upper.floor:
            raise ValueError(f"The tier from {upper.floor} does not start above the one from {lower.floor}.")
    for tier in tiers:
        if not ZERO <= tier.ratio <= ONE:
            raise ValueError(f"The tier from {tier.floor} has the ratio {tier.ratio}, not one from 0 to 1.")


@exact
def recognised(*, market_value: Decimal, tiers: Tiers) -> Decimal:
    """What `market_value` of one coin counts for: marginal tiers, like tax brackets. R-GEN-30, R-GEN-31"""
    return sum((part * ratio for _, _, ratio, part in _reached(market_value, tiers)), ZERO)


@exact
def slices(*, market_value: Decimal, tiers: Tiers) -> tuple[Slice, ...]:
    """How `recognised` comes about: each tier the value reaches, with what counts of it. R-GEN-30, R-GEN-31"""
    return tuple(
        Slice(floor=floor, ceiling=ceiling, ratio=ratio, value=part, counted=part * ratio)
        for floor, ceiling, ratio, part in _reached(market_value, tiers)
    )


@exact
def market_value_needed(*, recognised_value: Decimal, tiers: Tiers) -> Decimal | None:
    """The least market value that counts for `recognised_value`; None when no market value does. R-GEN-30

    Exact up to the 60th digit, where it rounds up: it is never too little.
    """
    if recognised_value <= 0:
        return ZERO
    missing = recognised_value
    for floor, ceiling, ratio in _slices(tiers):
        if ratio and (ceiling is None or missing <= (ceiling - floor) * ratio):
            with localcontext(rounding=ROUND_CEILING):
                return floor + missing / ratio
        if ceiling is not None:
            missing -= (ceiling - floor) * ratio
    return None


@exact
def worth(*, holdings: Iterable[Holding], debts: Iterable[Owed]) -> Worth:
    """Value a group. Tiers apply to a coin's total over all accounts. R-GEN-32, R-GEN-33, R-GEN-40"""
    debt = sum((owed.amount * owed.price for owed in debts), ZERO)
    collateral = market = ZERO
    for holding in _pooled(holdings).values():
        market_value = holding.amount * holding.price
        market += market_value
        collateral += recognised(market_value=market_value, tiers=holding.tiers)
    return Worth(debt=debt, collateral=collateral, market=market)


@exact
def max_borrow(*, worth: Worth, initial: Decimal, price: Decimal, places: int) -> Decimal:
    """How much of a coin at `price` may still be borrowed: LTV stays at or below `initial`. R-GEN-45

    In the coin, rounded down at `places`. Caps and the pool are the caller's.
    """
    return divide_down(max(initial * worth.collateral - worth.debt, ZERO), price, places)


@exact
def max_withdraw(
    *, holdings: Iterable[Holding], debts: Iterable[Owed], asset: str, initial: Decimal
) -> Decimal:
    """The largest amount of `asset` whose withdrawal leaves LTV strictly below `initial`. R-GEN-45, R-VIP-53

    In the coin, at its places; everything when nothing is owed; 0 when LTV is not below `initial` already.
    Bisection over whole units asks the gate's own question, so the two cannot disagree by a unit.
    """
    pooled = _pooled(holdings)
    held = pooled.pop(asset, None)
    if held is None:
        return ZERO
    rest = worth(holdings=pooled.values(), debts=debts)
    step = unit(held.places)

    def is_accepted(units: int) -> bool:
        left = (held.amount - units * step) * held.price
        counted = rest.collateral + recognised(market_value=left, tiers=held.tiers)
        return Worth(debt=rest.debt, collateral=counted, market=rest.market + left).is_below(initial)

    everything = int(held.amount // step)
    if is_accepted(everything):
        return everything * step
    accepted, refused = 0, everything
    while refused - accepted > 1:
        middle = (accepted + refused) // 2
        accepted, refused = (middle, refused) if is_accepted(middle) else (accepted, middle)
    return accepted * step


@exact
def line_price(
    *, holdings: Iterable[Holding], debts: Iterable[Owed], asset: str, line: Decimal
) -> Decimal | None:
    """The price of `asset` at which LTV reaches `line` while all other prices stand. EX-09

    The falling price for a coin that mostly secures, the rising one for a coin that is mostly owed; a coin on
    both sides may have both, and then the falling one is told. None when no positive price crosses the line.
    USD, unrounded (60 digits).
    """
    pooled, debts = _pooled(holdings), list(debts)
    held = pooled.pop(asset, None)
    others = worth(holdings=pooled.values(), debts=[owed for owed in debts if owed.asset != asset])
    owed_amount = sum((owed.amount for owed in debts if owed.asset == asset), ZERO)
    room = line * others.collateral - others.debt
    if held is None or held.amount == 0:  # Only owed: nothing bends, one division.
        return room / owed_amount if owed_amount and room > 0 else None

    def excess(market_value: Decimal) -> Decimal:
        """Debt above the line, times the amount held to stay exact; its corners are the tier floors."""
        secured = line * recognised(market_value=market_value, tiers=held.tiers)
        return owed_amount * market_value - held.amount * (secured + room)

    crossings = _crossings(excess, [ZERO, *(tier.floor for tier in held.tiers[1:])])
    falling = [point for point, falls in crossings if falls and point > 0]
    rising = [point for point, falls in crossings if not falls]
    return next((point / held.amount for point in falling[-1:] + rising[:1]), None)


@exact
def fall_to(*, holdings: Iterable[Holding], debts: Iterable[Owed], line: Decimal) -> Decimal | None:
    """The fall common to all collateral prices, as a fraction, at which LTV reaches `line`.

    Debts keep their value. 0 when the line is reached already, None when nothing is owed. Unrounded.
    """
    pooled = _pooled(holdings)
    now = worth(holdings=pooled.values(), debts=debts)
    if now.debt == 0:
        return None
    if now.is_at_least(line):
        return ZERO
    values = [(held.amount * held.price, held.tiers) for held in pooled.values() if held.amount]

    def excess(share: Decimal) -> Decimal:
        """Debt above the line when every price is `share` of today's."""
        left = sum((recognised(market_value=value * share, tiers=tiers) for value, tiers in values), ZERO)
        return now.debt - line * left

    corners = sorted({ZERO, *(tier.floor / value for value, tiers in values for tier in tiers)})
    return next(ONE - point for point, falls in _crossings(excess, corners) if falls)


def _slices(tiers: Tiers) -> Iterator[tuple[Decimal, Decimal | None, Decimal]]:
    """Each tier as (floor, ceiling, ratio); the last has no ceiling."""
    for tier, following in zip_longest(tiers, tiers[1:]):
        yield tier.floor, following.floor if following else None, tier.ratio


def _reached(
    market_value: Decimal, tiers: Tiers
) -> Iterator[tuple[Decimal, Decimal | None, Decimal, Decimal]]:
    """Each tier that `market_value` goes into, with the part of it that lies there."""
    for floor, ceiling, ratio in _slices(tiers):
        reached = market_value if ceiling is None else min(market_value, ceiling)
        if reached > floor:
            yield floor, ceiling, ratio, reached - floor


def _pooled(holdings: Iterable[Holding]) -> dict[str, Holding]:
    """One holding per coin, so that splitting a coin over accounts does not multiply its best tier. EX-04"""
    pooled: dict[str, Holding] = {}
    for holding in holdings:
        earlier = pooled.get(holding.asset)
        amount = holding.amount + (earlier.amount if earlier else ZERO)
        pooled[holding.asset] = replace(holding, amount=amount)
    return pooled


def _crossings(gap: Callable[[Decimal], Decimal], corners: list[Decimal]) -> list[tuple[Decimal, bool]]:
    """Where a function that is straight between its ascending `corners`, and after them, passes through 0.

    Each point comes with whether the function falls there (from 0 or more to below 0) or rises back.
    """
    found = []
    for start, end in zip_longest(corners, corners[1:]):
        at_start, at_end = gap(start), gap(start + 1 if end is None else end)
        slope = (at_end - at_start) / (1 if end is None else end - start)
        falls = at_start >= 0 and slope < 0 and (end is None or at_end < 0)
        rises = at_start < 0 and slope > 0 and (end is None or at_end >= 0)
        if falls or rises:
            found.append((start - at_start / slope, falls))
    return found
