"""What to repay, to add or to swap, to come back to a line, and which of it is cheapest.

Margin calls, the borrower's pages and the rules that cure by themselves name these figures; acting on them must
work, so each is rounded up and never too small, and one unit less is not enough. Values are USD.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from enum import StrEnum
from itertools import pairwise
from typing import Final

from accounts.money import ZERO, divide_down, divide_up, exact, unit
from risk import valuation
from risk.valuation import Holding, Owed, Worth

DUST_USD: Final = Decimal(10)  # Less principal than this may not stay owed (R-GEN-52).
HAIR: Final = Decimal("1e-40")  # USD: less than one unit of any coin is worth, so that "at" becomes "below"
MOST_TRIES: Final = 250  # steps of rounding looked through; enough for ratios that differ by half a point


@exact
def repay_to(*, worth: Worth, line: Decimal) -> Decimal:
    """The least value to repay for LTV <= `line`; 0 when it is there already. Exact. R-GEN-65, EX-03"""
    return max(worth.debt - line * worth.collateral, ZERO)


@exact
def add_to(*, worth: Worth, line: Decimal) -> Decimal:
    """The least recognised value to add for LTV <= `line`; 0 when it is there already. R-GEN-65, EX-03

    Rounded up at the 60th digit. To turn it into coins, go through the coin's tiers.
    """
    with localcontext(rounding=ROUND_CEILING):
        return max(worth.debt / line - worth.collateral, ZERO)


@exact
def repay_amount(
    *, worth: Worth, line: Decimal, price: Decimal, places: int, strictly_below: bool
) -> Decimal:
    """The least amount of a coin at `price` to repay for LTV <= `line`, or < `line` if `strictly_below`.

    In the coin, rounded up at `places`. R-GEN-41, R-GEN-65
    """
    amount = divide_up(repay_to(worth=worth, line=line), price, places)
    left = Worth(debt=worth.debt - amount * price, collateral=worth.collateral, market=worth.market)
    if strictly_below and left.is_at_least(line):  # It landed on the line: one unit more.
        amount += unit(places)
    return amount


# --- Single steps: the least of one coin that reaches a line ------------------------------------------------


class Kind(StrEnum):
    """What one step does: repay a debt, add a coin, or sell one collateral coin for another."""

    REPAY = "repay"
    ADD = "add"
    SWAP = "swap"


@dataclass(frozen=True, slots=True)
class Loan:
    """One debt: all it owes, its principal, and what closes it now (with the one day of R-VIP-31); in its coin."""

    key: int
    asset: str
    owed: Decimal
    principal: Decimal
    payoff: Decimal
    price: Decimal
    places: int

    def after(self, amount: Decimal) -> "Loan | None":
        """What is left of it; None when that closes it. Late fee and interest go first (R-GEN-51)."""
        if amount >= self.payoff:
            return None
        left = self.owed - amount
        return replace(self, owed=left, principal=min(self.principal, left), payoff=self.payoff - amount)


@dataclass(frozen=True, slots=True)
class Position:
    """A group to be cured. One holding per coin, none of it for a coin that could be added; tierless counts nothing."""

    holdings: Mapping[str, Holding]
    loans: tuple[Loan, ...]

    def worth(self) -> Worth:
        debts = [Owed(loan.asset, loan.owed, loan.price) for loan in self.loans]
        return valuation.worth(holdings=self.holdings.values(), debts=debts)

    def loan(self, key: int) -> Loan:
        return next(loan for loan in self.loans if loan.key == key)

    def after(self, step: "Step") -> "Position":
        if step.kind is Kind.REPAY:
            left = [loan.after(step.amount) if loan.key == step.loan else loan for loan in self.loans]
            return replace(self, loans=tuple(loan for loan in left if loan is not None))
        changed = {step.asset: step.amount if step.kind is Kind.ADD else -step.amount}
        if step.kind is Kind.SWAP:
            changed[step.buy] = step.got
        moved = {
            coin: replace(self.holdings[coin], amount=self.holdings[coin].amount + change)
            for coin, change in changed.items()
        }
        return replace(self, holdings={**self.holdings, **moved})


@dataclass(frozen=True, slots=True)
class Goal:
    """LTV at most on the line, or strictly below it: the margin call line itself is still a call (R-GEN-41)."""

    line: Decimal
    strictly_below: bool = False

    def is_reached(self, worth: Worth) -> bool:
        return worth.is_below(self.line) if self.strictly_below else worth.is_at_most(self.line)


@dataclass(frozen=True, slots=True)
class Step:
    """`amount` of `asset` repaid on `loan`, added, or sold for `got` of `buy`; `usd` is the value that is moved."""

    kind: Kind
    asset: str
    amount: Decimal
    usd: Decimal
    after: Worth
    reaches: bool
    loan: int | None = None
    buy: str = ""
    got: Decimal = ZERO


@exact
def repay_step(*, position: Position, key: int, goal: Goal, most: Decimal | None = None) -> Step | None:
    """The least to repay on one debt that reaches the goal; else as much of `most` as may be repaid. R-FTR-02

    In its coin, rounded up. What would leave dust becomes everything (R-GEN-52). None when nothing can be paid.
    """
    loan = position.loan(key)
    wanted = repay_amount(
        worth=position.worth(),
        line=goal.line,
        price=loan.price,
        places=loan.places,
        strictly_below=goal.strictly_below,
    )
    amount = _payable(loan, wanted, most)
    if amount <= 0:
        return None
    return _done(position, goal, Kind.REPAY, loan.asset, amount, loan.price, loan=key)


@exact
def add_step(*, position: Position, asset: str, goal: Goal, most: Decimal | None = None) -> Step | None:
    """The least of a coin to add, through its tiers, that reaches the goal; else all of `most`. R-FTR-02

    In the coin, rounded up. None when adding does nothing, or no amount is enough and there is no `most`.
    """
    held, worth = position.holdings[asset], position.worth()
    value = held.amount * held.price
    counted = valuation.recognised(market_value=value, tiers=held.tiers)
    missing = add_to(worth=worth, line=goal.line)
    if goal.strictly_below and not goal.is_reached(worth):
        missing += HAIR
    needed = valuation.market_value_needed(recognised_value=counted + missing, tiers=held.tiers)
    amount = most if needed is None else divide_up(max(needed - value, ZERO), held.price, held.places)
    if amount is None:
        return None
    if most is not None:
        amount = min(amount, most)
    step = _done(position, goal, Kind.ADD, asset, amount, held.price)
    return step if step.after.is_safer_than(worth) else None


@exact
def swap_step(
    *, position: Position, sell: str, buy: str, goal: Goal, most: Decimal | None = None
) -> Step | None:
    """The least of a collateral coin to sell for another that reaches the goal; else what helps most. R-FTR-02

    At the index: what is bought rounds down (R-GEN-02), so more of a coarse coin may help less than a little less of
    it; the least amount is looked for unit by unit from where it would be without rounding. None when no amount
    up to `most`, or to what is held, lowers LTV.
    """
    sold = position.holdings[sell]
    if not _may_gain(sold, position.holdings[buy]):
        return None
    limit = sold.amount if most is None else min(most, sold.amount)
    swap = _swap_of(position, sell, buy, goal)
    amount = swap.least(limit)
    if amount is None:
        amount = swap.best(limit)
    if amount is None:
        return None
    return _done(position, goal, Kind.SWAP, sell, amount, sold.price, buy=buy, got=swap.bought(amount))


def every_step(
    *, position: Position, goal: Goal, offered: Collection[str], sellable: Mapping[str, Decimal]
) -> list[Step]:
    """Every single step that reaches the goal by itself, cheapest first. R-FTR-02

    `offered`: coins that may be added or bought. `sellable`: how much of a coin one trade can sell. No limit is set
    to what is repaid or added: whether the borrower has it is another question.
    """
    found = [repay_step(position=position, key=loan.key, goal=goal) for loan in position.loans]
    found += [add_step(position=position, asset=coin, goal=goal) for coin in sorted(offered)]
    found += [
        swap_step(position=position, sell=sell, buy=buy, goal=goal, most=most)
        for sell, most in sorted(sellable.items())
        for buy in sorted(offered)
        if sell != buy and most > 0
    ]
    return sorted((step for step in found if step is not None and step.reaches), key=cost)


def cost(step: Step) -> tuple[Decimal, int, str, str, int]:
    """What makes a step cheaper than another: the value moved; for the same value repaying before adding."""
    return (step.usd, list(Kind).index(step.kind), step.asset, step.buy, step.loan or 0)


# --- Private ----------------------------------------------------------------------------------------------


def _done(
    position: Position,
    goal: Goal,
    kind: Kind,
    asset: str,
    amount: Decimal,
    price: Decimal,
    *,
    loan: int | None = None,
    buy: str = "",
    got: Decimal = ZERO,
) -> Step:
    step = Step(
        kind, asset, amount, amount * price, position.worth(), reaches=False, loan=loan, buy=buy, got=got
    )
    after = position.after(step).worth()
    return replace(step, after=after, reaches=goal.is_reached(after))


def _payable(loan: Loan, wanted: Decimal, most: Decimal | None) -> Decimal:
    """`wanted`, or all of it where that would leave dust; with less than that at hand, what may be paid of it."""
    leaves_dust = min(loan.principal, loan.owed - wanted) * loan.price < DUST_USD
    amount = loan.payoff if wanted > 0 and leaves_dust else wanted
    if most is None or amount <= most:
        return amount
    if loan.principal * loan.price < DUST_USD:
        return ZERO  # all or nothing
    return min(most, loan.owed - divide_up(DUST_USD, loan.price, loan.places))


def _swap_of(position: Position, sell: str, buy: str, goal: Goal) -> "_Swap":
    before, pair = position.worth(), [position.holdings[sell], position.holdings[buy]]
    counted = valuation.worth(holdings=pair, debts=()).collateral
    others = before.collateral - counted
    return _Swap(sold=pair[0], wanted=pair[1], goal=goal, before=before, others=others)


def _may_gain(sold: Holding, wanted: Holding) -> bool:
    """Whether any slice of the one counts for more than some slice of the other."""
    least = min((tier.ratio for tier in sold.tiers), default=ZERO)
    return any(tier.ratio > least for tier in wanted.tiers)


@dataclass(frozen=True, slots=True)
class _Swap:
    """One pair of coins in a group worth `before`, whose other coins count for `others` USD."""

    sold: Holding
    wanted: Holding
    goal: Goal
    before: Worth
    others: Decimal

    def bought(self, amount: Decimal) -> Decimal:
        return divide_down(amount * self.sold.price, self.wanted.price, self.wanted.places)

    def least(self, limit: Decimal) -> Decimal | None:
        """The least amount up to `limit` that reaches the goal."""
        value = self._first_within(self._corners(limit))
        if value is None:
            return None
        amount = divide_up(value, self.sold.price, self.sold.places)
        for _ in range(MOST_TRIES):
            if amount > limit:
                return None
            if self.bought(amount) > 0 and self.goal.is_reached(self._after(amount)):
                return amount
            more = self.bought(amount) + unit(self.wanted.places)  # the next amount that buys more
            enough = divide_up(more * self.wanted.price, self.sold.price, self.sold.places)
            amount = max(enough, amount + unit(self.sold.places))
        return None

    def best(self, limit: Decimal) -> Decimal | None:
        """The amount up to `limit` that lowers LTV most, at a corner of the tiers; None when none does."""
        corners = self._corners(limit)[1:]
        amounts = sorted({divide_down(value, self.sold.price, self.sold.places) for value in corners})
        worths = {amount: self._after(amount) for amount in amounts if self.bought(amount) > 0}
        helping = [amount for amount, after in worths.items() if after.is_safer_than(self.before)]
        return max(helping, key=lambda amount: (worths[amount].collateral, -amount), default=None)

    def _corners(self, limit: Decimal) -> list[Decimal]:
        """Values sold at which the slope changes, from 0 to all of `limit`."""
        most = limit * self.sold.price
        held, has = self.sold.amount * self.sold.price, self.wanted.amount * self.wanted.price
        inner = {held - tier.floor for tier in self.sold.tiers}
        inner |= {tier.floor - has for tier in self.wanted.tiers}
        return [ZERO, *sorted(value for value in inner if 0 < value < most), most]

    def _first_within(self, corners: list[Decimal]) -> Decimal | None:
        """The least value at which the goal would be met if nothing were rounded; none meets it below that."""
        gaps = [self.before.debt - self.goal.line * self._counted(value, value) for value in corners]
        for (start, above), (end, below) in pairwise(zip(corners, gaps, strict=True)):
            if above <= 0:
                return start
            if below <= 0:
                with localcontext(rounding=ROUND_FLOOR):
                    return start + (end - start) * (above / (above - below))
        return None

    def _counted(self, out: Decimal, back: Decimal) -> Decimal:
        """Recognised collateral when `out` USD of the one have left and `back` USD of the other have come."""
        left, here = self.sold.amount * self.sold.price - out, self.wanted.amount * self.wanted.price + back
        sold = valuation.recognised(market_value=left, tiers=self.sold.tiers)
        return self.others + sold + valuation.recognised(market_value=here, tiers=self.wanted.tiers)

    def _after(self, amount: Decimal) -> Worth:
        counted = self._counted(amount * self.sold.price, self.bought(amount) * self.wanted.price)
        return Worth(debt=self.before.debt, collateral=counted, market=self.before.market)
