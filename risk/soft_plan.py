"""What a step of chosen de-leveraging takes, now and at LTVs to come: the same plan for the sweep and for people.

Reads only. A step repays at most its share of the debt and stops at its target; it sells no more than the market
takes and nothing whose price is old, and it is left out where it would not lower LTV. R-FTR-05, R-GEN-22, R-GEN-74
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from accounts.models import Asset
from accounts.money import ONE, ZERO, exact, round_up
from risk import steps, valuation, workout
from risk.book import GroupState
from risk.handling import FeeBase, Handling, Mode
from risk.models import Debt, Settings
from risk.steps import Outlook
from risk.valuation import Worth
from risk.waterfall import Stock, Taking, Terms

MOST_ROWS = 5  # of the table that a borrower reads
APART = Decimal("0.02")  # between two of its rows
FALL_PLACES = 6


@dataclass(frozen=True, slots=True)
class Choice:
    """What a borrower chooses, or thinks of choosing: fractions, `step_share` of the debt. R-FTR-05"""

    start: Decimal
    target: Decimal
    step_share: Decimal


def fee_of(state: GroupState, settings: Settings) -> Decimal:
    """Of the debt that a step repays; never more than a liquidation of the group would take."""
    soft: Decimal = settings.soft_fee
    return min(soft, state.lines.fee)


def handling_of(state: GroupState, choice: Choice) -> Handling:
    """How a step is handled: small, to the target, and never the whole rest because little is left."""
    return replace(
        state.handling,
        mode=Mode.STEPPED,
        target=choice.target,
        step_share=choice.step_share,
        full_below_usd=ZERO,
        fee_base=FeeBase.DEBT_REPAID,
    )


@exact
def takings(
    state: GroupState, rows: Sequence[Debt], choice: Choice, *, settings: Settings
) -> tuple[Taking, ...]:
    """What one step would take of the group now, debts in their order; empty when that would not help.

    Every debt's price is fresh. Each taking is kept only if LTV is strictly lower after it, counting coins with
    old prices for nothing: a price that slips, or a coin whose smallest unit is worth much, may make it rise.
    """
    stocks = [_as_the_market_takes(state, stock, settings) for stock in steps.stocks_of(state)]
    found = steps.plan(
        state,
        rows,
        target=choice.target,
        handling=handling_of(state, choice),
        terms=Terms(fee_rate=fee_of(state, settings), slippage=settings.slippage),
        stocks=stocks,
    )
    return tuple(_that_help(state, rows, stocks, found))


def _as_the_market_takes(state: GroupState, stock: Stock, settings: Settings) -> Stock:
    """No more for sale than its market takes in 24 hours; what is netted against its own debt needs no market."""
    if stock.asset in state.owed_assets or not stock.for_sale or stock.price <= 0:
        return stock
    return replace(stock, most=workout.room_for(stock.asset, price=stock.price, at=state.at))


def _that_help(
    state: GroupState, rows: Sequence[Debt], stocks: Sequence[Stock], found: Sequence[Taking]
) -> list[Taking]:
    price = {row.pk: state.quotes[row.asset_id].price for row in rows}
    left = {stock.asset: stock for stock in stocks if stock.for_sale}
    debt = sum((owed.amount * owed.price for owed in state.owed()), ZERO)
    before, kept = _worth(left, debt), []
    for taking in found:
        left[taking.coin] = left[taking.coin].less(taking.sold)
        debt -= taking.repaid * price[taking.debt_id]
        after = _worth(left, debt)
        if not after.is_safer_than(before):
            break
        before = after
        kept.append(taking)
    return kept


def _worth(stocks: Mapping[str, Stock], debt: Decimal) -> Worth:
    values = [(stock.amount * stock.price, stock.tiers) for stock in stocks.values()]
    counted = sum((valuation.recognised(market_value=value, tiers=tiers) for value, tiers in values), ZERO)
    return Worth(debt=debt, collateral=counted, market=sum((value for value, _ in values), ZERO))


# --- For people -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One step at one LTV. `fall`: by how much the coins that move must have fallen until then; 0 is now."""

    fall: Decimal
    step: Outlook
    sold: tuple[tuple[Asset, Decimal], ...]


@exact
def table(state: GroupState, choice: Choice, *, settings: Settings) -> list[Row]:
    """What a step would come to now, if LTV is there already, and at `start` and above until liquidation.

    Coins that move and are not owed fall together; nothing else changes. LTVs that no fall reaches are left out,
    and everything is where a price is old or nothing is owed.
    """
    if state.stale_debts or state.stale_coins or not state.debts:
        return []
    worth = state.worth(permission=False)
    falls = [ZERO] if worth.is_at_least(choice.start) else []
    for number in range(MOST_ROWS):
        ltv = choice.start + number * APART
        if ltv < state.lines.liquidation and worth.is_below(ltv):
            falls += [fall for fall in [_fall_to(state, ltv)] if fall is not None]
    rows = [_row(fallen(state, fall), fall, choice, settings) for fall in falls[:MOST_ROWS]]
    return [row for row in rows if row.step.ltv is not None and row.step.ltv < state.lines.liquidation]


def fallen(state: GroupState, fall: Decimal) -> GroupState:
    """The state once every coin that moves and is not owed has lost `fall`, a fraction, of its price."""
    moving = {
        asset for asset in state.coins - state.owed_assets if state.assets[asset].kind == Asset.Kind.CRYPTO
    }
    quotes = {
        asset: replace(quote, price=quote.price * (ONE - fall)) if asset in moving else quote
        for asset, quote in state.quotes.items()
    }
    return replace(state, quotes=quotes)


def _fall_to(state: GroupState, ltv: Decimal) -> Decimal | None:
    """The least common fall, at six decimals, at which LTV is at least `ltv`; None when none is enough."""
    if not fallen(state, ONE).worth(permission=False).is_at_least(ltv):
        return None
    enough, too_little, step = ONE, ZERO, ONE.scaleb(-FALL_PLACES)
    while enough - too_little > step:
        middle = round_up((enough + too_little) / 2, FALL_PLACES)
        if fallen(state, middle).worth(permission=False).is_at_least(ltv):
            enough = middle
        else:
            too_little = middle
    return enough


def _row(state: GroupState, fall: Decimal, choice: Choice, settings: Settings) -> Row:
    rows = steps.in_order(state, [owed.debt for owed in state.debts])
    found = takings(state, rows, choice, settings=settings)
    step = steps.summed(state, rows, found, mode=Mode.STEPPED)
    return Row(
        fall=fall,
        step=step,
        sold=tuple((state.assets[coin], amount) for coin, amount in sorted(step.sold.items())),
    )
