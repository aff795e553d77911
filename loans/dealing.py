"""What a deal brings the desk, and what it may cost: yield, loss under stress, break-even haircut (R-FTR-15).

For the manager who makes a counter-offer. The yield is what the daily clock will charge; the stress sells the
group's collateral by the liquidation's own arithmetic (risk/waterfall.py), so no figure here is an estimate of its
own. Nothing is decided on it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from accounts.money import ONE, RATE_PLACES, ZERO, exact, round_down, round_up
from risk.handling import FeeBase
from risk.interest import DAYS_PER_YEAR, daily_charge
from risk.waterfall import (
    CoinFacts,
    Due,
    Parts,
    Stock,
    amount_to_sell,
    fee_on_debt,
    needed_for,
    order_coins,
    proceeds_of,
    split_proceeds,
)

FALL_STEPS = 10**6  # a break-even is looked for in steps of 0.0001 %


# --- Yield ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Yield:
    """One loan over its term, in its coin. `annual` is net of the cost of funds, as a fraction of the amount."""

    interest: Decimal
    fees: Decimal
    cost: Decimal
    net: Decimal
    annual: Decimal


@exact
def yield_of(
    *,
    amount: Decimal,
    annual_rate: Decimal,
    days: int,
    places: int,
    cost_of_funds: Decimal = ZERO,
    fees: Decimal = ZERO,
) -> Yield:
    """What a loan of `amount` held for `days` brings. R-FTR-15, EX-01

    Interest and cost are whole days of the daily clock, each day rounded up at `places`; `fees` are in the coin.
    `annual` is net x 365 / (amount x days), rounded down at 12 decimals; below 0 when the money costs more.
    """
    assert amount > 0, "a loan lends something"
    assert days > 0, "and for some time"
    interest = days * daily_charge(principal=amount, annual_rate=annual_rate, places=places).interest
    cost = days * daily_charge(principal=amount, annual_rate=cost_of_funds, places=places).interest
    net = interest + fees - cost
    annual = round_down(net * DAYS_PER_YEAR / (amount * days), RATE_PLACES)
    return Yield(interest=interest, fees=fees, cost=cost, net=net, annual=annual)


# --- Stress -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Position:
    """A group as a forced sale would find it: debts in their order, coins, the fee, and what a venue takes off."""

    dues: tuple[Due, ...]
    stocks: tuple[Stock, ...]
    fee: Decimal
    slippage: Decimal
    fee_base: FeeBase = FeeBase.DEBT_REPAID


@dataclass(frozen=True, slots=True)
class Outcome:
    """What selling out leaves, in USD. `loss`: debt that stays unpaid; `fee_missed`: fee that nothing was left for."""

    owed: Decimal
    loss: Decimal
    fee: Decimal
    fee_missed: Decimal

    @property
    def uncovered(self) -> Decimal:
        return self.loss + self.fee_missed


@exact
def sold_out(position: Position, *, fall: Decimal) -> Outcome:
    """Everything owed is collected at once after the collateral fell by `fall`, a fraction. R-FTR-15, R-GEN-72…76

    Every coin falls but those that are owed: they pay their own debt one for one, whatever they are worth. So `fall`
    is against what is owed, and for a loan in a coin that rises it is the other side of the rise. Every debt is
    paid before any fee is taken (R-GEN-76). Crumbs of whole units, which a real sale gives back, are left out.
    """
    assert 0 <= fall <= 1
    owed_coins = {due.asset for due in position.dues}
    left = {
        stock.asset: stock if stock.asset in owed_coins else replace(stock, price=stock.price * (ONE - fall))
        for stock in position.stocks
        if stock.for_sale
    }
    owed = sum((due.owed * due.price for due in position.dues), ZERO)
    till = _Till(left=left, slippage=position.slippage, fee_rate=_fee_rate(position, left, owed))
    rows = [_Progress(due=due, owed=due.owed) for due in position.dues]
    for row in rows[:-1]:
        till.pay(row, with_fee=False)
    for row in rows[-1:]:
        till.pay(row, with_fee=all(one.owed == 0 for one in rows[:-1]))
    if all(row.owed == 0 for row in rows):
        for row in rows[:-1]:
            till.pay(row, with_fee=True)
    short = sum((row.owed * row.due.price for row in rows), ZERO)
    fee = sum((row.fee * row.due.price for row in rows), ZERO)
    due_fee = sum((_whole_fee(row.due, till.fee_rate) * row.due.price for row in rows), ZERO)
    assert short == 0 or fee == 0, "nothing ranks before the debt"
    return Outcome(owed=owed, loss=short, fee=fee, fee_missed=due_fee - fee)


@exact
def break_even(position: Position, *, with_fee: bool = True) -> Decimal | None:
    """The deepest fall, down to 0.0001 %, after which a sale still covers the debt, and the fee. R-FTR-15

    As a fraction: 0.32 is a fall of 32 %. 1 when it is covered whatever happens; None when it is not even today.
    """

    def is_covered(steps: int) -> bool:
        outcome = sold_out(position, fall=Decimal(steps) / FALL_STEPS)
        return (outcome.uncovered if with_fee else outcome.loss) == 0

    if not is_covered(0):
        return None
    if is_covered(FALL_STEPS):
        return ONE
    covered, short = 0, FALL_STEPS
    while short - covered > 1:
        middle = (covered + short) // 2
        covered, short = (middle, short) if is_covered(middle) else (covered, middle)
    return Decimal(covered) / FALL_STEPS


# --- Private ----------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Progress:
    """How far one debt has come, in its coin: still `owed`, `based` repaid so far, `fee` taken."""

    due: Due
    owed: Decimal
    based: Decimal = ZERO
    fee: Decimal = ZERO


@dataclass(slots=True)
class _Till:
    """The collateral that is left, and how a sale is charged."""

    left: dict[str, Stock]
    slippage: Decimal
    fee_rate: Decimal

    def pay(self, row: _Progress, *, with_fee: bool) -> None:
        for coin in _turns(self.left.values(), row.due.asset):
            self._take(row, coin, with_fee=with_fee)

    def _take(self, row: _Progress, coin: str, *, with_fee: bool) -> None:
        due, stock = row.due, self.left[coin]
        needed = self._needed(row, with_fee=with_fee)
        if needed <= 0 or stock.amount <= 0:
            return
        is_same = coin == due.asset
        sold = min(stock.amount, needed if is_same else self._to_sell(needed, stock, due))
        proceeds = sold if is_same else self._brings(sold, stock, due)
        if proceeds <= 0:
            return
        shares = split_proceeds(
            proceeds=proceeds,
            owed=Parts(late_fee=ZERO, interest=ZERO, principal=row.owed),
            fee_rate=self.fee_rate if with_fee else ZERO,
            places=due.places,
            fee_base_paid=row.based if with_fee else ZERO,
            fee_taken=row.fee if with_fee else ZERO,
        )
        row.owed -= shares.parts.total
        row.based += shares.parts.total
        row.fee += shares.fee
        self.left[coin] = replace(stock, amount=stock.amount - sold)

    def _needed(self, row: _Progress, *, with_fee: bool) -> Decimal:
        if not with_fee:
            return row.owed
        whole = needed_for(owed_total=row.owed + row.based, fee_rate=self.fee_rate, places=row.due.places)
        return max(whole - row.based - row.fee, row.owed)

    def _to_sell(self, needed: Decimal, stock: Stock, due: Due) -> Decimal:
        if stock.price * (ONE - self.slippage) <= 0:  # worth nothing: all of it brings nothing
            return stock.amount
        return amount_to_sell(
            needed=needed,
            debt_price=due.price,
            coin_price=stock.price,
            slippage=self.slippage,
            coin_places=stock.places,
            debt_places=due.places,
        )

    def _brings(self, sold: Decimal, stock: Stock, due: Due) -> Decimal:
        return proceeds_of(
            sold=sold,
            coin_price=stock.price,
            debt_price=due.price,
            slippage=self.slippage,
            debt_places=due.places,
        )


def _turns(stocks: Iterable[Stock], debt_asset: str) -> list[str]:
    facts = [CoinFacts(stock.asset, stock.stable, stock.rank, stock.amount * stock.price) for stock in stocks]
    return [coin.asset for coin in order_coins(facts, debt_asset)]


def _fee_rate(position: Position, left: dict[str, Stock], owed: Decimal) -> Decimal:
    if owed == 0:
        return ZERO
    assets = sum((stock.amount * stock.price for stock in left.values()), ZERO)
    return fee_on_debt(base=position.fee_base, rate=position.fee, assets=assets, debt=owed)


def _whole_fee(due: Due, fee_rate: Decimal) -> Decimal:
    return round_up(due.owed * fee_rate, due.places)
