"""A whole book under a row of prices: which groups are called, which are sold, and what is lost.

Nobody reacts and nothing accrues: a group keeps what it has until its collateral is sold. Arrays only screen: a group
so near a line that binary floats cannot tell is decided again with `Decimal` on its rows, so the groups that are called
and sold are the right ones. Amounts are for whole dollars. (ARCHITECTURE: screen fast, decide exactly.) R-FTR-27

Most groups are far from every line most of the time, so steps are looked at in spans: a group that would be safe at
the worst price of each coin within the span is not looked at in it at all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from risk import fire_sale
from risk.exposure import Exposure, Flags, Floats, Ints, Ratios, recognised, totals
from risk.fire_sale import Lot, Sold
from risk.levels import Lines
from risk.valuation import Worth

BRANCHES = 8  # spans that a span is divided into
ERROR = 1e-9  # of what is owed and held; float64 itself is a million times finer
NEVER = -1  # the step of what does not happen
DUST = 1e-6  # dollars

Exactly = Callable[[Sequence[int], int], list[Worth]]
"""The worth of these groups (their places in the book) at the prices of a step."""

Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Regime:
    """The parameters that decide, by group, and `late`: a second reading must confirm before anything is sold.

    `target` is NaN where everything is sold at once (R-GEN-73). `fee_of_sold` and `fee_of_assets` say whose fee is a
    fraction of the collateral sold, and of the assets at the start; all others' is of the debt repaid (R-GEN-75).
    """

    lines: Sequence[Lines]
    ratios: Ratios
    slippage: float
    target: Floats
    full_below: Floats
    fee_of_sold: Flags
    fee_of_assets: Flags
    late: bool

    def line(self, name: str) -> Floats:
        return np.array([float(getattr(one, name)) for one in self.lines], dtype=np.float64)


@dataclass(slots=True)
class Fall:
    """What became of each group. Steps count from 0; dollars. `sold` is by holding, `lost` by debt."""

    called_at: Ints
    sold_at: Ints
    debt: Floats  # when it was first sold
    fee: Floats
    sold: Floats
    lost: Floats
    sold_by_step: Floats
    lost_by_step: Floats
    end: "Standing"


@dataclass(frozen=True, slots=True)
class Standing:
    """Each group at one row of prices, by arrays alone: LTV, infinite with nothing recognised and NaN without debt.

    `debt` in dollars; a group that was sold whole has left the book and owes nothing.
    """

    ltv: Floats
    debt: Floats


@dataclass(frozen=True, slots=True)
class _Part:
    """Some groups of the book with their holdings and debts, each list in the order of the book."""

    groups: Ints
    held: Ints
    held_slot: Ints
    owed: Ints
    owed_slot: Ints

    def only(self, keep: Flags) -> "_Part":
        if keep.all():
            return self
        slot = np.cumsum(keep) - 1
        held, owed = keep[self.held_slot], keep[self.owed_slot]
        return _Part(
            groups=self.groups[keep],
            held=self.held[held],
            held_slot=slot[self.held_slot[held]],
            owed=self.owed[owed],
            owed_slot=slot[self.owed_slot[owed]],
        )


@dataclass(frozen=True, slots=True)
class _Values:
    debt: Floats
    counted: Floats
    market: Floats

    def margin(self, line: Floats) -> Floats:
        """By how much the debt is over the line, and within `error` of it nobody knows."""
        return self.debt - line * self.counted

    def error(self, line: Floats) -> Floats:
        return ERROR * (self.debt + line * self.market)


def fall(
    book: Exposure, prices: Floats, regime: Regime, exactly: Exactly, told: Told = lambda _: None
) -> Fall:
    """Take the book through `prices` (by step and coin); `told` hears how many steps are done, as often as it is."""
    if regime.late and len(prices):
        prices = np.vstack(
            [prices, prices[-1:]]
        )  # the prices stand where they end, so the last breach is confirmed
    crash = _Crash(book, prices, regime, exactly, told)
    crash.walk(crash.everybody(), 0, len(prices))
    crash.found.end = crash.standing(prices[-1])
    return crash.found


def standing(book: Exposure, prices: Floats, regime: Regime) -> Standing:
    """The book as it is at one row of prices, before anybody is sold."""
    return _Crash(book, prices[None, :], regime, lambda *_: []).standing(prices)


def bands(book: Exposure, prices: Floats, regime: Regime, exactly: Exactly) -> tuple[int, int]:
    """How many groups are in CALL and in LIQ at one row of prices, step 0 for `exactly`."""
    crash = _Crash(book, prices[None, :], regime, exactly)
    part = crash.everybody()
    called, breached, _ = crash.readings(part, 0)
    return int((called & ~breached).sum()), int(breached.sum())


@dataclass(slots=True)
class _Crash:
    book: Exposure
    prices: Floats
    regime: Regime
    exactly: Exactly
    told: Told = lambda _: None
    found: Fall = field(init=False)
    held: Floats = field(init=False)
    owed: Floats = field(init=False)
    gone: Flags = field(init=False)
    touched: Flags = field(init=False)  # sold from before: only arrays know what is left
    breached: Flags = field(init=False)
    lines: dict[str, Floats] = field(init=False)

    def __post_init__(self) -> None:
        groups, steps = len(self.book.groups), len(self.prices)
        self.held, self.owed = self.book.held.copy(), self.book.owed.copy()
        self.gone, self.touched, self.breached = (np.zeros(groups, dtype=bool) for _ in range(3))
        names = ("margin_call", "liquidation", "cutoff", "fee")
        self.lines = {name: self.regime.line(name) for name in names}
        self.found = Fall(
            called_at=np.full(groups, NEVER),
            sold_at=np.full(groups, NEVER),
            debt=np.zeros(groups),
            fee=np.zeros(groups),
            sold=np.zeros(len(self.held)),
            lost=np.zeros(len(self.owed)),
            sold_by_step=np.zeros(steps),
            lost_by_step=np.zeros(steps),
            end=Standing(np.full(groups, np.nan), np.zeros(groups)),
        )

    def everybody(self) -> _Part:
        book = self.book
        return _Part(
            groups=np.arange(len(book.groups)),
            held=np.arange(len(book.held)),
            held_slot=book.held_group,
            owed=np.arange(len(book.owed)),
            owed_slot=book.owed_group,
        )

    def walk(self, part: _Part, first: int, last: int) -> None:
        """Take a part of the book through the steps from `first` to before `last`."""
        if last - first == 1:
            self._decide(part.only(~self.gone[part.groups]), first)
            self.told(last)
            return
        risky = self._may_move(part, first, last)
        self.breached[part.groups[~risky]] = False
        if not risky.any():
            self.told(last)
            return
        part = part.only(risky)
        width = -(-(last - first) // BRANCHES)
        for start in range(first, last, width):
            self.walk(part, start, min(start + width, last))

    def standing(self, row: Floats) -> Standing:
        """What is left of the book at these prices."""
        found = self._values(self.everybody(), held_at=row, owed_at=row)
        debt = np.where(self.gone | (found.debt < DUST), 0, found.debt)
        with np.errstate(divide="ignore", invalid="ignore"):
            ltv = np.where(debt > 0, debt / found.counted, np.nan)
        return Standing(ltv=ltv, debt=debt)

    def _may_move(self, part: _Part, first: int, last: int) -> Flags:
        """Groups that anything may happen to within the span: at the worst price of each coin."""
        span = self.prices[first:last]
        worst = self._values(part, held_at=span.min(axis=0), owed_at=span.max(axis=0))
        told = self.found.called_at[part.groups] != NEVER
        line = np.where(told, *(self.lines[name][part.groups] for name in ("liquidation", "margin_call")))
        near: Flags = worst.margin(line) >= -worst.error(line)
        return near & ~self.gone[part.groups] & (worst.debt > 0)

    def _values(self, part: _Part, *, held_at: Floats, owed_at: Floats) -> _Values:
        coin, size = self.book.held_coin[part.held], len(part.groups)
        market = self.held[part.held] * held_at[coin]
        debt = self.owed[part.owed] * owed_at[self.book.owed_coin[part.owed]]
        return _Values(
            debt=totals(debt, part.owed_slot, size),
            counted=totals(recognised(market, coin, self.regime.ratios), part.held_slot, size),
            market=totals(market, part.held_slot, size),
        )

    def readings(self, part: _Part, step: int) -> tuple[Flags, Flags, Flags]:
        """Who is at or over the margin call line, the liquidation line, and above the cut-off; exactly. R-GEN-41"""
        row = self.prices[step]
        values = self._values(part, held_at=row, owed_at=row)
        names = ("margin_call", "liquidation", "cutoff")
        lines = [self.lines[name][part.groups] for name in names]
        flags = [(values.margin(line) >= 0) & (values.debt > 0) for line in lines]
        unsure = np.zeros(len(part.groups), dtype=bool)
        for line in lines:
            unsure |= np.abs(values.margin(line)) <= values.error(line)
        doubtful = np.flatnonzero(unsure & ~self.touched[part.groups])
        if len(doubtful):
            places = part.groups[doubtful].tolist()
            for slot, place, worth in zip(doubtful, places, self.exactly(places, step), strict=True):
                own = self.regime.lines[place]
                flags[0][slot] = worth.is_at_least(own.margin_call)
                flags[1][slot] = worth.is_at_least(own.liquidation)
                flags[2][slot] = worth.is_above(own.cutoff)
        called, breached, beyond = flags
        return called, breached, beyond

    def _decide(self, part: _Part, step: int) -> None:
        called, breached, beyond = self.readings(part, step)
        groups, found = part.groups, self.found
        new = called & ~breached & (found.called_at[groups] == NEVER)
        found.called_at[groups[new]] = step
        sells = breached & (self.breached[groups] | beyond) if self.regime.late else breached
        self.breached[groups] = breached
        if sells.any():
            self._sell(part.only(sells), beyond[sells], step)

    def _sell(self, part: _Part, beyond: Flags, step: int) -> None:
        row, groups, found = self.prices[step], part.groups, self.found
        lot = self._lot(part, row)
        first = found.sold_at[groups] == NEVER
        found.sold_at[groups[first]] = step
        found.debt[groups[first]] = lot.debt[first]
        target = self.regime.target[groups]
        stepped = ~np.isnan(target) & ~beyond
        if stepped.any():
            some = part.only(stepped)
            sold, hopeless = fire_sale.sell_to(
                self._lot(some, row), target[stepped], full_below=self.regime.full_below[groups[stepped]]
            )
            stepped[np.flatnonzero(stepped)[hopeless]] = False
            self._book(some, sold, row, step, ~hopeless)
        whole = part.only(~stepped)
        if len(whole.groups):
            sold = fire_sale.sell_all(self._lot(whole, row))
            self._book(whole, sold, row, step, np.ones(len(whole.groups), dtype=bool))
            self._close(whole, row, step)

    def _lot(self, part: _Part, row: Floats) -> Lot:
        book, groups, size = self.book, part.groups, len(part.groups)
        held_coin, owed_coin = book.held_coin[part.held], book.owed_coin[part.owed]
        held, owed = self.held[part.held] * row[held_coin], self.owed[part.owed] * row[owed_coin]
        rate = self.lines["fee"][groups]
        assets, debt = totals(held, part.held_slot, size), totals(owed, part.owed_slot, size)
        fee = np.where(self.regime.fee_of_sold[groups], rate / (1 - rate), rate)
        fee = np.where(self.regime.fee_of_assets[groups], rate * assets / np.where(debt > 0, debt, 1), fee)
        return Lot(
            size=size,
            held_group=part.held_slot,
            held_coin=held_coin,
            held=held,
            owed_group=part.owed_slot,
            owed_coin=owed_coin,
            owed=owed,
            fee=fee,
            slippage=self.regime.slippage,
            stable=np.array([book.kinds[coin] == "stable" for coin in book.coins], dtype=bool),
            ratios=self.regime.ratios,
        )

    def _book(self, part: _Part, sold: Sold, row: Floats, step: int, counts: Flags) -> None:
        """Take the sale out of the book, of those groups that it `counts` for."""
        held, owed, groups = counts[part.held_slot], counts[part.owed_slot], part.groups[counts]
        self.held[part.held[held]] -= sold.taken[held] / row[self.book.held_coin[part.held[held]]]
        self.owed[part.owed[owed]] -= sold.repaid[owed] / row[self.book.owed_coin[part.owed[owed]]]
        self.touched[groups] = True
        self.breached[groups] = False
        self.found.sold[part.held[held]] += sold.brought[held]
        self.found.fee[groups] += sold.fee[counts]
        self.found.sold_by_step[step] += sold.brought[held].sum()

    def _close(self, part: _Part, row: Floats, step: int) -> None:
        """These were sold whole: what is still owed is lost, and they leave. R-GEN-78"""
        left = self.owed[part.owed] * row[self.book.owed_coin[part.owed]]
        left = np.where(left < DUST, 0, left)
        self.found.lost[part.owed] += left
        self.found.lost_by_step[step] += left.sum()
        self.gone[part.groups] = True
