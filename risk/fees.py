"""The fees of earlier steps, given back to the debt when the liquidation ends in a shortfall (R-GEN-76).

Part of a liquidation's story (risk/liquidation.py), inside its transaction and under its locks. The fee ranks last
over the whole liquidation: what steps took of it repays what stays short, so together they pay what one sale of
everything would have.

    fee given back   fee_income   position
                     position     late_fee, interest, principal   (and the debt's entry)
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from accounts import books, ledger
from accounts.money import ZERO, divide_down, divide_up, exact
from risk import debts as debt_chapter
from risk.models import Debt, DebtEntry, Liquidation, Sale
from risk.sales import Till
from risk.waterfall import Parts, allocate


@exact
def give_back(till: Till, rows: Iterable[Debt]) -> None:
    """The fees that earlier steps took repay what stays short, in the debts' order. R-GEN-76

    The fee ranks last over the whole liquidation. A fee in another coin than the debt's counts for what it was
    worth when it was taken. Locked debts; the house converts on its own books.
    """
    fees = _fees_taken(till.row)
    for debt in rows:
        price = till.state.quotes[debt.asset_id].price
        for coin in sorted(fees, key=lambda coin: (coin != debt.asset_id, coin)):
            fee = fees[coin]
            if not fee.amount:
                continue  # the debts before took all of it
            worth = price if coin == debt.asset_id else fee.usd / fee.amount
            paid = min(debt.booked, divide_down(fee.amount * worth, price, debt.asset.places))
            if paid <= 0:
                continue
            cost = min(fee.amount, divide_up(paid * price, worth, fee.places))
            _pay_out_of_fees(till, debt, coin=coin, cost=cost, paid=paid)
            till.fee_usd -= fee.usd * cost / fee.amount
            fees[coin] = replace(fee, amount=fee.amount - cost, usd=fee.usd - fee.usd * cost / fee.amount)


@dataclass(frozen=True, slots=True)
class _Fee:
    amount: Decimal
    usd: Decimal
    places: int  # of the coin


def _fees_taken(row: Liquidation) -> dict[str, _Fee]:
    """By the coin they were taken in, worth what they were worth then."""
    fees: dict[str, _Fee] = {}
    for sale in Sale.objects.filter(liquidation=row, fee__gt=0).select_related("debt__asset", "debt_mark"):
        before = fees.get(sale.debt.asset_id, _Fee(ZERO, ZERO, sale.debt.asset.places))
        usd = before.usd + sale.fee * sale.debt_mark.price
        fees[sale.debt.asset_id] = replace(before, amount=before.amount + sale.fee, usd=usd)
    return fees


def _pay_out_of_fees(till: Till, debt: Debt, *, coin: str, cost: Decimal, paid: Decimal) -> None:
    owed = Parts(late_fee=debt.late_fee, interest=debt.interest, principal=debt.principal)
    parts = allocate(amount=paid, owed=owed)
    lines = [
        ledger.Line(debit=books.fee_income(coin), credit=books.position(coin), amount=cost),
        *debt_chapter.control_lines(debt, parts, paid_into=books.position(debt.asset_id)),
    ]
    debt_chapter.settle(
        debt=debt,
        parts=parts,
        kind=DebtEntry.Kind.LIQUIDATION,
        lines=lines,
        reference=f"liquidation:{till.row.pk}:{debt.pk}:{coin}:fee-back",
        at=till.at,
    )
