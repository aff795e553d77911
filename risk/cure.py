"""What to repay, or to add, to come back to a line.

Margin calls and the borrower's pages name these figures; acting on them must work, so each is rounded up and
never too small. Values are USD.
"""

from decimal import ROUND_CEILING, Decimal, localcontext

from accounts.money import ZERO, divide_up, exact, unit
from risk.valuation import Worth


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
