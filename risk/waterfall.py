"""Who is paid from a repayment or a sale, in which order, and how much must be sold for it.

Amounts are in the debt's coin unless said otherwise, with at most `places` decimals; prices are USD. What is
owed to the desk rounds up, what a sale brings rounds down, and every split conserves its sum (asserted).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from accounts.money import ONE, ZERO, divide_down, divide_up, exact, round_down, round_up, unit
from risk.handling import FeeBase
from risk.valuation import Tiers, recognised

_NEVER = datetime.max.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Parts:
    """A debt, or a payment on it, by component, in the order in which they are paid. R-GEN-51"""

    late_fee: Decimal
    interest: Decimal
    principal: Decimal

    @property
    @exact
    def total(self) -> Decimal:
        return self.late_fee + self.interest + self.principal


@dataclass(frozen=True, slots=True)
class Shares:
    """Where the proceeds of a sale went. `shortfall` is what stays owed."""

    parts: Parts
    fee: Decimal
    surplus: Decimal
    shortfall: Decimal


@dataclass(frozen=True, slots=True)
class DebtFacts:
    """What decides a debt's turn. `due_at` None: an open loan."""

    debt_id: int
    overdue: bool
    due_at: datetime | None
    annual_rate: Decimal


@dataclass(frozen=True, slots=True)
class CoinFacts:
    """What decides a coin's turn: `rank` is configured (lowest first), `value` is its USD market value."""

    asset: str
    stable: bool
    rank: int
    value: Decimal


@exact
def allocate(*, amount: Decimal, owed: Parts) -> Parts:
    """What `amount` pays: late fee, interest, principal; the caller keeps what exceeds `owed`. R-GEN-51"""
    assert min(amount, owed.late_fee, owed.interest, owed.principal) >= 0
    late_fee = min(amount, owed.late_fee)
    interest = min(amount - late_fee, owed.interest)
    principal = min(amount - late_fee - interest, owed.principal)
    return Parts(late_fee=late_fee, interest=interest, principal=principal)


def order_debts(debts: Iterable[DebtFacts]) -> list[DebtFacts]:
    """Overdue first, then earliest expiry (open loans last), highest rate, lowest id. R-GEN-71"""
    return sorted(
        debts, key=lambda debt: (not debt.overdue, debt.due_at or _NEVER, -debt.annual_rate, debt.debt_id)
    )


def order_coins(coins: Iterable[CoinFacts], debt_asset: str) -> list[CoinFacts]:
    """The debt's own coin first, then stable coins, configured rank, largest value, symbol. R-GEN-72"""
    return sorted(
        coins,
        key=lambda coin: (coin.asset != debt_asset, not coin.stable, coin.rank, -coin.value, coin.asset),
    )


@exact
def pro_rata(
    *, amount: Decimal, balances: list[tuple[int, Decimal]], places: int
) -> list[tuple[int, Decimal]]:
    """Take `amount` of one coin from accounts (uid, balance) in proportion to their balances. R-GEN-72

    Shares round down at `places`; the remainder comes from the lowest uid, and from the next once that one
    is empty. By uid; accounts that give nothing are left out.
    """
    held = sum((balance for _, balance in balances), ZERO)
    assert 0 <= amount <= held, f"{amount} cannot be taken from {held}"
    if amount == 0:
        return []
    ordered = sorted(balances)
    shares = [divide_down(amount * balance, held, places) for _, balance in ordered]
    remainder = amount - sum(shares, ZERO)
    taken = []
    for (uid, balance), share in zip(ordered, shares, strict=True):
        extra = min(remainder, balance - share)
        remainder -= extra
        if share + extra:
            taken.append((uid, share + extra))
    assert remainder == 0
    return taken


@exact
def proceeds_of(
    *, sold: Decimal, coin_price: Decimal, debt_price: Decimal, slippage: Decimal, debt_places: int
) -> Decimal:
    """What `sold` of a coin brings in the debt's coin, at index less `slippage`, rounded down. R-GEN-80"""
    return divide_down(sold * coin_price * (ONE - slippage), debt_price, debt_places)


@exact
def amount_to_sell(
    *,
    needed: Decimal,
    debt_price: Decimal,
    coin_price: Decimal,
    slippage: Decimal,
    coin_places: int,
    debt_places: int,
) -> Decimal:
    """The least amount of a coin, at its places, whose `proceeds_of` reach `needed`. R-GEN-74, EX-10"""
    whole = round_up(needed, debt_places)  # Proceeds are whole units, so only whole units can be reached.
    return divide_up(whole * debt_price, coin_price * (ONE - slippage), coin_places)


@exact
def needed_for(*, owed_total: Decimal, fee_rate: Decimal, places: int) -> Decimal:
    """What a sale must bring to repay `owed_total` and its fee; the fee rounds up. R-GEN-75"""
    return owed_total + round_up(owed_total * fee_rate, places)


@exact
def split_proceeds(
    *,
    proceeds: Decimal,
    owed: Parts,
    fee_rate: Decimal,
    places: int,
    fee_base_paid: Decimal = ZERO,
    fee_taken: Decimal = ZERO,
) -> Shares:
    """Split a sale: late fee, interest, principal, then the fee, then whatever is left to the borrower.

    The fee is `fee_rate` of all debt this liquidation repaid, rounded up. When several sales repay the debt,
    `fee_base_paid` is what the earlier ones repaid and `fee_taken` the fee they paid, so that together they
    pay what one sale would. The fee ranks last: it can eat the surplus and never makes a shortfall.
    R-GEN-75, R-GEN-76, EX-13
    """
    assert min(proceeds, fee_rate, fee_base_paid, fee_taken) >= 0
    parts = allocate(amount=proceeds, owed=owed)
    left = proceeds - parts.total
    fee_due = round_up((fee_base_paid + parts.total) * fee_rate, places) - fee_taken
    assert fee_due >= 0, "the earlier sales paid more fee than they owed"
    fee = min(left, fee_due)
    surplus = left - fee
    shortfall = owed.total - parts.total
    assert parts.total + fee + surplus == proceeds, "a sale's proceeds are conserved"
    assert shortfall == 0 or fee == surplus == 0, "nothing ranks before the debt"
    return Shares(parts=parts, fee=fee, surplus=surplus, shortfall=shortfall)


# --- Steps to a target ------------------------------------------------------------------------------------

FEE_RATE_PLACES = 30  # of a fee as a fraction of the debt repaid; on any amount far finer than its last unit


@dataclass(frozen=True, slots=True)
class Stock:
    """A collateral coin over all accounts. Not `for_sale`: it secures, but is not taken (its price is old).

    `most`: no more of it may be taken, such as what its market takes; None: all of it may.
    """

    asset: str
    amount: Decimal
    price: Decimal
    tiers: Tiers
    places: int
    stable: bool
    rank: int
    for_sale: bool = True
    most: Decimal | None = None

    @property
    def can_give(self) -> Decimal:
        if not self.for_sale:
            return ZERO
        return self.amount if self.most is None else min(self.amount, self.most)

    def less(self, sold: Decimal) -> "Stock":
        """What is left of it once `sold` is gone."""
        most = None if self.most is None else self.most - sold
        return replace(self, amount=self.amount - sold, most=most)


@dataclass(frozen=True, slots=True)
class Due:
    """A debt that a step may repay, in its coin."""

    debt_id: int
    asset: str
    owed: Decimal
    price: Decimal
    places: int


@dataclass(frozen=True, slots=True)
class Terms:
    """How a sale is charged: `fee_rate` of the debt repaid, `slippage` off the price of a coin that is sold."""

    fee_rate: Decimal
    slippage: Decimal


@dataclass(frozen=True, slots=True)
class Taking:
    """`sold` of a coin for one debt: it repays `repaid` and pays `fee`, both in the debt's coin."""

    debt_id: int
    coin: str
    sold: Decimal
    repaid: Decimal
    fee: Decimal


@exact
def fee_on_debt(*, base: FeeBase, rate: Decimal, assets: Decimal, debt: Decimal) -> Decimal:
    """The fee as a fraction of the debt repaid, whatever it is a fraction of; down at 30 decimals. R-GEN-75

    - DEBT_REPAID: `rate` itself.
    - COLLATERAL_SOLD: `rate` of all that is taken, debt and fee together: rate / (1 - rate).
    - START_ASSETS: `rate` of the collateral's market value at the start, `assets`, earned in proportion to the
      part of the starting `debt` that is repaid: rate x assets / debt. Both in USD.
    """
    if base is FeeBase.COLLATERAL_SOLD:
        return divide_down(rate, ONE - rate, FEE_RATE_PLACES)
    if base is FeeBase.START_ASSETS:
        return divide_down(rate * assets, debt, FEE_RATE_PLACES)
    return round_down(rate, FEE_RATE_PLACES)


@exact
def plan_step(
    *,
    debts: Sequence[Due],
    stocks: Iterable[Stock],
    target: Decimal,
    terms: Terms,
    share: Decimal,
    full_below_usd: Decimal,
) -> list[Taking]:
    """What one step takes: min(`share` of the debt, what brings LTV to `target`). R-GEN-73, R-GEN-74, EX-11

    Debts are given in their order; coins come in theirs, each from its topmost tier down. Everything is repaid
    when no more than `full_below_usd` would be left. With a target of 0 and a share of 1 everything is anyway.
    Sold amounts are whole units, the least that reach; the debt repaid is the most that they pay for.
    """
    stocks = list(stocks)
    total = sum((due.owed * due.price for due in debts), ZERO)
    plan = _plan(debts, stocks, target=target, terms=terms, most_usd=total * share)
    price = {due.debt_id: due.price for due in debts}
    left = total - sum((taking.repaid * price[taking.debt_id] for taking in plan), ZERO)
    if ZERO < left <= full_below_usd:
        return _plan(debts, stocks, target=ZERO, terms=terms, most_usd=total)
    return plan


def _plan(
    debts: Sequence[Due], stocks: Iterable[Stock], *, target: Decimal, terms: Terms, most_usd: Decimal
) -> list[Taking]:
    left = {stock.asset: stock for stock in stocks}
    debt = sum((due.owed * due.price for due in debts), ZERO)
    plan: list[Taking] = []
    for due in debts:
        owed, based, fee = due.owed, ZERO, ZERO
        for coin in _turns(left, due.asset):
            most = min(owed, divide_up(most_usd, due.price, due.places))
            if most <= 0 or debt <= target * _secured(left):
                break
            sale = _Sale(due=due, stock=left[coin], terms=terms, most=most, based=based, fee=fee)
            taking = sale.to_reach(target, debt=debt, secured=_secured(left))
            if taking is None:
                continue
            plan.append(taking)
            left[coin] = left[coin].less(taking.sold)
            owed, based, fee = owed - taking.repaid, based + taking.repaid, fee + taking.fee
            debt -= taking.repaid * due.price
            most_usd = max(most_usd - taking.repaid * due.price, ZERO)
    return plan


@dataclass(frozen=True, slots=True)
class _Sale:
    """One coin sold for at most `most` of one debt, which this step has repaid by `based` for a `fee` already."""

    due: Due
    stock: Stock
    terms: Terms
    most: Decimal
    based: Decimal
    fee: Decimal

    @property
    def slippage(self) -> Decimal:
        return ZERO if self.stock.asset == self.due.asset else self.terms.slippage

    def to_reach(self, target: Decimal, *, debt: Decimal, secured: Decimal) -> Taking | None:
        """The least sale that brings LTV to the target; the most there is when none does. None: it brings nothing.

        The group's LTV after a sale has no formula worth trusting once tiers and rounding are in it, so whole
        units are halved down on: in the end `enough` reaches the target and one unit less does not.
        """
        step = unit(self.stock.places)
        others = secured - _counts(self.stock, self.stock.amount)
        price = self.due.price

        def reaches(sold: Decimal) -> bool:
            rest = _counts(self.stock, self.stock.amount - sold)
            return debt - self.repaid(sold) * price <= target * (others + rest)

        enough, too_few = self._all(), ZERO
        while reaches(enough) and enough - too_few > step:
            middle = too_few + round_down((enough - too_few) / 2, self.stock.places)
            if reaches(middle):
                enough = middle
            else:
                too_few = middle
        repaid = self.repaid(enough)
        if repaid <= 0:
            return None
        return Taking(self.due.debt_id, self.stock.asset, enough, repaid, self._fee(repaid))

    def repaid(self, sold: Decimal) -> Decimal:
        """The most that the proceeds repay once they have paid their fee too."""
        brings = proceeds_of(
            sold=sold,
            coin_price=self.stock.price,
            debt_price=self.due.price,
            slippage=self.slippage,
            debt_places=self.due.places,
        )
        both = brings + self.based + self.fee
        return min(divide_down(both, ONE + self.terms.fee_rate, self.due.places) - self.based, self.most)

    def _fee(self, repaid: Decimal) -> Decimal:
        return round_up((self.based + repaid) * self.terms.fee_rate, self.due.places) - self.fee

    def _all(self) -> Decimal:
        """The least that brings `most` and its fee, or all there is."""
        enough = amount_to_sell(
            needed=self.most + self._fee(self.most),
            debt_price=self.due.price,
            coin_price=self.stock.price,
            slippage=self.slippage,
            coin_places=self.stock.places,
            debt_places=self.due.places,
        )
        return min(self.stock.can_give, enough)


def _turns(left: Mapping[str, Stock], debt_asset: str) -> list[str]:
    facts = [
        CoinFacts(stock.asset, stock.stable, stock.rank, stock.amount * stock.price)
        for stock in left.values()
        if stock.can_give > 0
    ]
    return [coin.asset for coin in order_coins(facts, debt_asset)]


def _secured(stocks: Mapping[str, Stock]) -> Decimal:
    return sum((_counts(stock, stock.amount) for stock in stocks.values()), ZERO)


def _counts(stock: Stock, amount: Decimal) -> Decimal:
    return recognised(market_value=amount * stock.price, tiers=stock.tiers)
