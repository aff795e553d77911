"""Many groups sold at once at one instant's prices: what is taken of which coin, what it repays, what stays owed.

The same order and the same fee as a liquidation's (risk/liquidation.py), on arrays and in dollars: for pictures of a
whole book, shown in whole dollars. Nothing is ever booked by it. R-GEN-71 to 78, R-FTR-27
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from risk.exposure import Flags, Floats, Ints, Ratios, recognised, totals

HALVINGS = 36  # of the debt: a group that owes a billion stops within two cents of its target
NOBODY = -1  # the coin of a debt that is not there


@dataclass(frozen=True, slots=True)
class Lot:
    """The groups of one sale, numbered from 0; holdings by coin, debts by group and turn. Dollars, but for `rank`.

    `fee` is a fraction of the debt repaid, whatever it is a fraction of in the books (R-GEN-75).
    """

    size: int
    held_group: Ints
    held_coin: Ints
    held: Floats  # market value
    owed_group: Ints
    owed_coin: Ints
    owed: Floats
    fee: Floats
    slippage: float
    stable: Flags  # by coin
    ratios: Ratios

    @property
    def debt(self) -> Floats:
        return totals(self.owed, self.owed_group, self.size)


@dataclass(frozen=True, slots=True)
class Sold:
    """By holding: market value taken, and what it brought. By debt: repaid. By group: the fee."""

    taken: Floats
    brought: Floats
    repaid: Floats
    fee: Floats


def sell_all(lot: Lot) -> Sold:
    """Repay every debt in its turn, then the fees, or until nothing is left (FULL). R-GEN-73, R-GEN-76"""
    till = _Till(lot)
    short = np.zeros(lot.size, dtype=bool)
    for turn in till.turns:
        # The last debt's fee comes with it, unless an earlier debt is short: no fee before every debt is repaid.
        owed = till.owed_at(turn)
        fee = np.where(till.last_of(turn) & ~short, lot.fee * owed, 0)
        short |= till.pay(turn, owed, fee)
    for turn in till.turns:
        fee = np.where(till.last_of(turn) | short, 0, lot.fee * till.owed_at(turn))
        till.pay(turn, np.zeros(lot.size), fee)
    return till.sold()


def sell_to(lot: Lot, target: Floats, *, full_below: Floats) -> tuple[Sold, Flags]:
    """Sell what brings each group's LTV to its target (STEPPED), and where nothing does. R-GEN-73, R-GEN-74

    A debt that would be left with no more than `full_below` is repaid whole. Where everything would have to go, the
    sale is `sell_all`'s business: the flag says so.
    """
    debt = lot.debt
    first = _Till(lot)
    orders = [
        first.order_of(turn) for turn in first.turns
    ]  # by value as it was: good enough between equal ranks

    def reaches(paid: Floats) -> Flags:
        till = _Till(lot)
        till.pay_up_to(paid, orders)
        counted = recognised(lot.held - till.taken, lot.held_coin, lot.ratios)
        left = debt - totals(till.repaid, lot.owed_group, lot.size)
        return left <= target * totals(counted, lot.held_group, lot.size)

    too_little, enough = np.zeros(lot.size), debt.copy()
    hopeless = ~reaches(enough)
    for _ in range(HALVINGS):
        middle = (too_little + enough) / 2
        good = reaches(middle)
        enough, too_little = np.where(good, middle, enough), np.where(good, too_little, middle)
    enough = np.where(debt - enough <= full_below, debt, enough)
    till = _Till(lot)
    till.pay_up_to(enough, orders)
    return till.sold(), hopeless


class _Till:
    """A sale under way: what is left of each holding, and what each debt has had."""

    def __init__(self, lot: Lot) -> None:
        self.lot = lot
        self.taken = np.zeros(len(lot.held))
        self.brought = np.zeros(len(lot.held))
        self.repaid = np.zeros(len(lot.owed))
        self.fee = np.zeros(lot.size)
        starts = np.searchsorted(lot.owed_group, np.arange(lot.size))
        self.counts = np.bincount(lot.owed_group, minlength=lot.size)
        turn = np.arange(len(lot.owed)) - starts[lot.owed_group]
        self.turns = [np.flatnonzero(turn == number) for number in range(int(self.counts.max(initial=0)))]
        self.turn = turn

    def owed_at(self, turn: Ints) -> Floats:
        """What each group owes on its debt of this turn; 0 without one."""
        return totals(self.lot.owed[turn], self.lot.owed_group[turn], self.lot.size)

    def last_of(self, turn: Ints) -> Flags:
        """The groups whose last debt is of this turn."""
        last = np.zeros(self.lot.size, dtype=bool)
        mine = turn[self.turn[turn] == self.counts[self.lot.owed_group[turn]] - 1]
        last[self.lot.owed_group[mine]] = True
        return last

    def pay_up_to(self, most: Floats, orders: Sequence[Ints]) -> None:
        """Repay debts in their turns until a group has repaid `most`, each with its fee."""
        left = most
        for turn, order in zip(self.turns, orders, strict=True):
            paid = np.minimum(left, self.owed_at(turn))
            self.pay(turn, paid, self.lot.fee * paid, order=order)
            left = left - paid

    def pay(self, turn: Ints, wanted: Floats, fee: Floats, *, order: Ints | None = None) -> Flags:
        """Sell for a turn's debts: what is wanted of each, then the fee; where it fell short. R-GEN-72

        With an `order` it is a step: what there is pays debt and fee in proportion. Without, the fee comes last.
        """
        lot = self.lot
        need = wanted + fee
        keeps = np.where(self._is_own(turn), 1.0, 1.0 - lot.slippage)
        worth = np.where(need[lot.held_group] > 0, (lot.held - self.taken) * keeps, 0)
        got = np.minimum(need, totals(worth, lot.held_group, lot.size))
        given = self._divided(self.order_of(turn) if order is None else order, worth, got)
        self.brought += given
        self.taken += given / keeps
        paid = np.minimum(wanted, got if order is None else got * wanted / np.where(need > 0, need, 1))
        self.repaid[turn] += paid[lot.owed_group[turn]]
        self.fee += got - paid
        return paid < wanted

    def order_of(self, turn: Ints) -> Ints:
        """The holdings as they are taken, group by group: the debt's own coin, stable coins, rank, value, symbol."""
        lot, coin = self.lot, self.lot.held_coin
        left = lot.held - self.taken
        keys = (coin, -left, lot.ratios.rank[coin], ~lot.stable[coin], ~self._is_own(turn), lot.held_group)
        return np.lexsort(keys)

    def _is_own(self, turn: Ints) -> Flags:
        lot = self.lot
        own = np.full(lot.size, NOBODY)
        own[lot.owed_group[turn]] = lot.owed_coin[turn]
        is_own: Flags = lot.held_coin == own[lot.held_group]
        return is_own

    def _divided(self, order: Ints, worth: Floats, need: Floats) -> Floats:
        """`need` of each group divided over its holdings, each giving all it is worth before the next."""
        worth, group = worth[order], self.lot.held_group[order]
        running = np.cumsum(worth) - worth
        begins = np.flatnonzero(np.diff(group, prepend=-1))
        running -= np.repeat(running[begins], np.diff(np.append(begins, len(group))))
        given = np.empty(len(order))
        given[order] = np.clip(need[group] - running, 0, worth)
        return given

    def sold(self) -> Sold:
        return Sold(taken=self.taken, brought=self.brought, repaid=self.repaid, fee=self.fee)
