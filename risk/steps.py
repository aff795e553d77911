"""What a forced sale finds: how far LTV surely is, what can be sold now, and what one step would take.

Reads only, on a state under its group's lock; the steps' arithmetic is risk/waterfall.py::plan_step. A coin with an
old price is never sold, and what it may be worth by now is on the borrower's side (R-GEN-22).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from accounts.money import ONE, ZERO, exact
from risk import book, parameters, readings, sales, valuation
from risk.book import GroupState
from risk.handling import Handling, Mode
from risk.models import CollateralGroup, Debt
from risk.readings import DOUBT, Bounds
from risk.valuation import Worth
from risk.waterfall import DebtFacts, Due, Stock, Taking, Terms, fee_on_debt, order_debts, plan_step


def seen(state: GroupState) -> Bounds:
    return readings.bounds(
        holdings=state.holdings(permission=False), debts=state.owed(), stale=state.stale_coins
    )


def is_surely_above(seen: Bounds, target: Decimal) -> bool:
    """Whatever the coins with old prices are worth by now. R-GEN-22"""
    return seen.best is not None and seen.best.is_above(target)


def mode_of(state: GroupState, handling: Handling) -> Mode:
    """Steps are for LTVs up to the cut-off; above it there is no time for them. R-GEN-41"""
    best = seen(state).best
    is_beyond = best is not None and best.is_above(state.lines.cutoff)
    return Mode.FULL if is_beyond else handling.mode


def target_of(state: GroupState, handling: Handling) -> Decimal:
    """The LTV at which steps stop: as agreed, if that is below the liquidation line, else the initial line. R-GEN-73"""
    target = handling.target
    return state.lines.initial if target is None or target >= state.lines.liquidation else target


def in_order(state: GroupState, rows: Sequence[Debt]) -> list[Debt]:
    """The group's debts as they are repaid: overdue, earliest expiry, highest rate, lowest id. R-GEN-71"""
    by_id = {row.pk: row for row in rows}
    facts = [
        DebtFacts(
            debt_id=owed.debt.pk,
            overdue=by_id[owed.debt.pk].overdue_since is not None,
            due_at=by_id[owed.debt.pk].due_at,
            annual_rate=owed.annual_rate,
        )
        for owed in state.debts
    ]
    return [by_id[one.debt_id] for one in order_debts(facts)]


@exact
def stocks_of(state: GroupState) -> list[Stock]:
    """The collateral as a step plans with it. An old price counts twice, so no step sells too much. R-GEN-22"""
    stocks = []
    for coin, held in sales.collateral_of(state).items():
        terms, quote = state.terms.get(coin), state.quotes.get(coin)
        fresh = quote is not None and quote.fresh
        stocks.append(
            Stock(
                asset=coin,
                amount=sum(held.values(), ZERO),
                price=ZERO if quote is None else quote.price if fresh else quote.price * DOUBT,
                tiers=terms.tiers if terms else (),
                places=state.assets[coin].places,
                stable=state.assets[coin].kind == "stable",
                rank=terms.rank if terms else sales.LAST_RANK,
                for_sale=fresh,
            )
        )
    return stocks


def plan(
    state: GroupState,
    rows: Sequence[Debt],
    *,
    target: Decimal,
    handling: Handling,
    terms: Terms,
    stocks: Sequence[Stock] | None = None,
) -> list[Taking]:
    """What one step would take of the group, debts in their order. R-GEN-73, R-GEN-74

    `stocks` None: all that `stocks_of` finds.
    """
    owed = {one.debt.pk: one.parts.total for one in state.debts}
    return plan_step(
        debts=[
            Due(
                debt_id=debt.pk,
                asset=debt.asset_id,
                owed=owed[debt.pk],
                price=state.quotes[debt.asset_id].price,
                places=debt.asset.places,
            )
            for debt in rows
        ],
        stocks=stocks_of(state) if stocks is None else stocks,
        target=target,
        terms=terms,
        share=handling.step_share,
        full_below_usd=handling.full_below_usd,
    )


def anything_to_sell(state: GroupState, rows: Sequence[Debt], slippage: Decimal) -> bool:
    fresh = {c: held for c, held in sales.collateral_of(state).items() if _is_fresh(state, c)}
    return any(_brings(state, coin, held, rows, slippage) for coin, held in fresh.items())


def stale_with_value(state: GroupState, rows: Sequence[Debt], slippage: Decimal) -> list[str]:
    """Coins that count and may be worth selling once their price is known again. They keep the debts in the group."""
    collateral = sales.collateral_of(state)
    return [coin for coin in state.stale_coins if _brings(state, coin, collateral[coin], rows, slippage)]


def _brings(
    state: GroupState, coin: str, held: sales.Balances, rows: Sequence[Debt], slippage: Decimal
) -> bool:
    total = sum(held.values(), ZERO)
    return any(sales.can_bring(state, coin=coin, debt=debt, amount=total, slippage=slippage) for debt in rows)


def _is_fresh(state: GroupState, asset: str) -> bool:
    return asset in state.quotes and state.quotes[asset].fresh


# --- Looking ahead ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a sale of the group would come to at today's prices, step after step. USD, but for `sold`, by coin."""

    mode: Mode
    ltv: Decimal | None
    ltv_after: Decimal | None
    debt_usd: Decimal
    repaid_usd: Decimal
    fee_usd: Decimal
    sold_usd: Decimal
    sold: Mapping[str, Decimal]


@exact
def outlook(*, group: CollateralGroup, mode: str, at: datetime) -> Outlook:
    """For people who consider a sale by hand. Reads only; what happens later depends on later prices. R-ADM-05"""
    state = book.state_of(group, at=at)
    mode = mode_of(state, replace(state.handling, mode=Mode(mode)))
    before = state.worth(permission=False)
    target = target_of(state, state.handling) if mode is Mode.STEPPED else ZERO
    rate = fee_on_debt(
        base=state.handling.fee_base, rate=state.lines.fee, assets=before.market, debt=before.debt or ONE
    )
    terms = Terms(fee_rate=rate, slippage=parameters.settings_at(at).slippage)
    rows = in_order(state, [owed.debt for owed in state.debts])
    whole = replace(state.handling, step_share=ONE)
    takings = [] if state.stale_debts else plan(state, rows, target=target, handling=whole, terms=terms)
    return summed(state, rows, takings, mode=mode)


@exact
def summed(state: GroupState, rows: Sequence[Debt], takings: Sequence[Taking], *, mode: Mode) -> Outlook:
    """What `takings` come to together, as if they were done at the state's prices."""
    before = state.worth(permission=False)
    price = {row.pk: state.quotes[row.asset_id].price for row in rows if row.asset_id in state.quotes}
    sold: dict[str, Decimal] = {}
    for taking in takings:
        sold[taking.coin] = sold.get(taking.coin, ZERO) + taking.sold
    repaid = sum((taking.repaid * price[taking.debt_id] for taking in takings), ZERO)
    return Outlook(
        mode=mode,
        ltv=before.ltv,
        ltv_after=after(state, sold, debt=before.debt - repaid).ltv,
        debt_usd=before.debt,
        repaid_usd=repaid,
        fee_usd=sum((taking.fee * price[taking.debt_id] for taking in takings), ZERO),
        sold_usd=sum((amount * state.quotes[coin].price for coin, amount in sold.items()), ZERO),
        sold=sold,
    )


def after(state: GroupState, sold: Mapping[str, Decimal], *, debt: Decimal) -> Worth:
    """The group once `sold` of its coins are gone and `debt` USD are left; stale coins at twice their price."""
    stocks = [replace(stock, amount=stock.amount - sold.get(stock.asset, ZERO)) for stock in stocks_of(state)]
    values = [(stock.amount * stock.price, stock.tiers) for stock in stocks]
    counted = sum((valuation.recognised(market_value=value, tiers=tiers) for value, tiers in values), ZERO)
    return Worth(debt=debt, collateral=counted, market=sum((value for value, _ in values), ZERO))
