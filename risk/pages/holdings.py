"""What decides about a group: the price of each coin that reaches a line, and what each account counts for."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from accounts.models import Account, Asset
from accounts.money import ZERO, exact
from risk import valuation
from risk.book import GroupState
from risk.levels import Band, band
from risk.models import CollateralGroup
from risk.pages.standing import CoinRow, next_prices_of
from risk.pages.track import NextPrice


@dataclass(frozen=True, slots=True)
class AccountRow:
    """A collateral account, what it holds in Spot, and its part of what counts (R-GEN-32)."""

    account: Account
    group: CollateralGroup | None  # None: a forecast of a group that is not there yet
    coins: tuple[tuple[Asset, Decimal], ...]
    market: Decimal
    recognised: Decimal


@dataclass(frozen=True, slots=True)
class Deciding:
    """One coin: today's price, and those at which its move alone reaches a line; None: no price of it does."""

    asset: str
    today: Decimal
    call: NextPrice | None
    liquidation: NextPrice | None


@dataclass(frozen=True, slots=True)
class Prices:
    """Every coin whose price decides, the nearest first, and the falls of all collateral prices together.

    A fall is a signed fraction; None where the line is reached already, or no fall reaches it.
    """

    rows: tuple[Deciding, ...]
    call: Decimal | None
    liquidation: Decimal | None
    is_called: bool


def prices_of(state: GroupState) -> Prices | None:
    """None where nothing is owed, or something owed has no price. EX-09, R-GEN-40"""
    if not state.debts or any(symbol not in state.quotes for symbol in state.owed_assets):
        return None
    where = band(state.worth(permission=False), state.lines)
    if where is Band.LIQ:
        return None
    is_called = where is Band.CALL
    calls = {} if is_called else _by_coin(state, state.lines.margin_call)
    sells = _by_coin(state, state.lines.liquidation)
    rows = [
        Deciding(symbol, state.quotes[symbol].price, calls.get(symbol), sells.get(symbol))
        for symbol in _moving(state)
    ]
    return Prices(
        rows=tuple(sorted(rows, key=_nearness)),
        call=None if is_called else _fall(state, state.lines.margin_call),
        liquidation=_fall(state, state.lines.liquidation),
        is_called=is_called,
    )


def account_rows(
    state: GroupState,
    coins: Iterable[CoinRow],
    accounts: Mapping[int, Account],
    assets: Mapping[str, Asset],
) -> list[AccountRow]:
    """The collateral accounts by uid, each with what its Spot wallet holds, chosen or not.

    Tiers apply to the sum over all accounts, so an account counts for its share of each coin's recognised value; the
    accounts add up to the group.
    """
    held: dict[int, list[tuple[Asset, Decimal]]] = defaultdict(list)
    assert state.group is not None, "accounts belong to a group"
    rows = {row.asset.pk: row for row in coins}
    for wallet in state.wallets:
        if wallet.balance and wallet.asset in assets:
            held[wallet.uid].append((assets[wallet.asset], wallet.balance))
    return [
        AccountRow(
            accounts[uid], state.group, tuple(held[uid]), _market(state, held[uid]), _share(rows, held[uid])
        )
        for uid in state.members
        if uid in accounts
    ]


# --- Private ----------------------------------------------------------------------------------------


def _by_coin(state: GroupState, line: Decimal) -> dict[str, NextPrice]:
    return {found.asset: found for found in next_prices_of(state, line)}


def _moving(state: GroupState) -> list[str]:
    """Coins on either side that are expected to move."""
    symbols = {held.asset for held in state.holdings(permission=False)} | set(state.owed_assets)
    return sorted(symbol for symbol in symbols if state.assets[symbol].kind == Asset.Kind.CRYPTO)


def _nearness(row: Deciding) -> tuple[bool, Decimal, str]:
    nearest = row.call or row.liquidation
    return nearest is None, abs(nearest.move) if nearest else ZERO, row.asset


def _fall(state: GroupState, line: Decimal) -> Decimal | None:
    fall = valuation.fall_to(holdings=state.holdings(permission=False), debts=state.owed(), line=line)
    return -fall if fall else None


@exact
def _market(state: GroupState, held: Iterable[tuple[Asset, Decimal]]) -> Decimal:
    priced = ((amount, state.quotes.get(asset.pk)) for asset, amount in held)
    return sum((amount * quote.price for amount, quote in priced if quote), ZERO)


@exact
def _share(rows: Mapping[str, CoinRow], held: Iterable[tuple[Asset, Decimal]]) -> Decimal:
    counted = ((amount, rows[asset.pk]) for asset, amount in held if asset.pk in rows)
    return sum((row.recognised * amount / row.amount for amount, row in counted), ZERO)
