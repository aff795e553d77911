"""What the key's account has in its wallets, and what it is worth at the last good prices, for display."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from accounts import ledger
from accounts.models import Asset, LedgerAccount
from accounts.money import ZERO, divide_down, exact
from accounts.sapi.errors import Denied
from accounts.sapi.params import flag, symbol
from accounts.sapi.registry import Call, endpoint
from accounts.sapi.wire import Json, dec
from risk import prices

NO_PRICE: Final = -3042
PLACES: Final = 8
BTC: Final = "BTC"
Kind = LedgerAccount.Kind
_NAMES: Final = {Kind.SPOT: "Spot", Kind.FUNDING: "Funding", Kind.FIAT: "Fiat"}


class Valuer:
    """Values coins in one of them, at the last good prices known at an instant: one query. Cut at 8 decimals.

    A coin without a price is worth nothing here; so is everything while `unit` has none.
    """

    def __init__(self, at: datetime, *, coins: Iterable[str], unit: str = BTC) -> None:
        self.unit = unit
        found = prices.latest(at=at, assets={*coins, unit})
        self.prices = {coin: quote.price for coin, quote in found.items()}

    @exact
    def total(self, held: Mapping[str, Decimal]) -> Decimal:
        unit = self.prices.get(self.unit, ZERO)
        if not unit:
            return ZERO
        usd = sum((amount * self.prices.get(coin, ZERO) for coin, amount in held.items()), ZERO)
        return divide_down(usd, unit, PLACES)

    def one(self, coin: str, amount: Decimal) -> Decimal:
        return self.total({coin: amount})


@endpoint(
    "POST /sapi/v3/asset/getUserAsset",
    symbol("asset"),
    flag("needBtcValuation", default=False),
    weight=5,
    example=[
        {
            "asset": "BTC",
            "free": "1.5",
            "locked": "0",
            "freeze": "0",
            "withdrawing": "0",
            "ipoable": "0",
            "btcValuation": "1.5",
        }
    ],
)
def spot(call: Call) -> Json:
    """Only what there is more than nothing of."""
    return [row | {"ipoable": "0"} for row in _wallet(call, Kind.SPOT)]


@endpoint(
    "POST /sapi/v1/asset/get-funding-asset",
    symbol("asset"),
    flag("needBtcValuation", default=False),
    example=[
        {
            "asset": "BTC",
            "free": "1.5",
            "locked": "0",
            "freeze": "0",
            "withdrawing": "0",
            "btcValuation": "1.5",
        }
    ],
)
def funding(call: Call) -> Json:
    return list(_wallet(call, Kind.FUNDING))


@endpoint(
    "GET /sapi/v1/asset/wallet/balance",
    symbol("quoteAsset"),
    flag("needBalanceDetail", default=False),
    weight=60,
    example=[{"activate": True, "balance": "1.5", "walletName": "Spot"}],
)
def wallets(call: Call) -> Json:
    """What each wallet is worth, in BTC or in the coin that is named."""
    unit = call["quoteAsset"] or BTC
    held: dict[str, dict[str, Decimal]] = {kind: {} for kind in _NAMES}
    for (_, kind, coin), amount in ledger.balances(account_ids=[call.account.pk], kinds=_NAMES).items():
        if amount:
            held[kind][coin] = amount
    coins = {coin for found in held.values() for coin in found}
    valuer = Valuer(call.at, coins=coins, unit=unit)
    if call["quoteAsset"] is not None and unit not in valuer.prices:
        raise Denied(NO_PRICE, "This coin doesn't have price index: nothing can be valued in it.")
    found = [
        {"activate": True, "balance": dec(valuer.total(held[kind])), "walletName": name}
        for kind, name in _NAMES.items()
    ]
    if call["needBalanceDetail"]:
        in_btc = valuer if unit == BTC else Valuer(call.at, coins=coins)
        names = dict(Asset.objects.filter(pk__in=coins).values_list("pk", "name"))
        for row, kind in zip(found, _NAMES, strict=True):
            row["assetBalances"] = [
                _row(coin, amount, in_btc.one(coin, amount)) | {"assetName": names[coin]}
                for coin, amount in sorted(held[kind].items())
            ]
    return found


def _wallet(call: Call, kind: str) -> Iterable[dict[str, Any]]:
    found = ledger.balances(account_ids=[call.account.pk], kinds=[kind])
    held = {
        coin: amount for (_, _, coin), amount in found.items() if amount and call["asset"] in (None, coin)
    }
    valuer = Valuer(call.at, coins=held) if call["needBtcValuation"] else None
    for coin, amount in sorted(held.items()):
        yield _row(coin, amount, valuer.one(coin, amount) if valuer else ZERO)


def _row(coin: str, amount: Decimal, in_btc: Decimal) -> dict[str, Any]:
    return {
        "asset": coin,
        "free": dec(amount),
        "locked": "0",
        "freeze": "0",
        "withdrawing": "0",
        "btcValuation": dec(in_btc),
    }
