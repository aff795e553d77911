"""Who is paid from a repayment or a sale, in which order, and how much must be sold for it.

Amounts are in the debt's coin unless said otherwise, with at most `places` decimals; prices are USD. What is
owed to the desk rounds up, what a sale brings rounds down, and every split conserves its sum (asserted).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from accounts.money import ONE, ZERO, divide_down, divide_up, exact, round_up

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
