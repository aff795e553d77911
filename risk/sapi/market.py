"""Coins, pairs and prices, for anybody with a key: from the asset catalogue, the last good prices and our own ratios.

A pair is a coin against USDT, which customers trade with the desk on its pages. There are no orders in this dialect and
no margin accounts, so a pair is listed as not open to either.
"""

import json
import zlib
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from django.conf import settings

from accounts.models import Asset
from accounts.money import RATE_PLACES, divide_down, unit
from accounts.sapi.errors import Denied
from accounts.sapi.params import symbol, words
from accounts.sapi.registry import Call, Security, endpoint
from accounts.sapi.wire import Json, dec, ms
from risk import parameters, prices
from risk.sapi.balances import NO_PRICE
from risk.valuation import Tiers

QUOTE: Final = "USDT"
NO_SYMBOL: Final = -1121
LARGEST: Final = Decimal(90_000_000)
# What a pair says of kinds of orders; clients that check their answers strictly want every one of them.
NO_ORDERS: Final[dict[str, Any]] = {
    "baseCommissionPrecision": 8,
    "quoteCommissionPrecision": 8,
    "orderTypes": [],
    "icebergAllowed": False,
    "ocoAllowed": False,
    "otoAllowed": False,
    "opoAllowed": False,
    "quoteOrderQtyMarketAllowed": False,
    "allowTrailingStop": False,
    "cancelReplaceAllowed": False,
    "amendAllowed": False,
    "pegInstructionsAllowed": False,
    "isSpotTradingAllowed": False,
    "isMarginTradingAllowed": False,
    "defaultSelfTradePreventionMode": "NONE",
    "allowedSelfTradePreventionModes": [],
}
_ONE: Final = '"[A-Z0-9]{1,20}"'
_WORD: Final = "[A-Z_]{1,30}"


@dataclass(frozen=True, slots=True)
class Pair:
    base: Asset
    quote: Asset

    @property
    def symbol(self) -> str:
        return f"{self.base.pk}{self.quote.pk}"

    @property
    def number(self) -> int:
        """The same for the same pair at every call; below 2^32."""
        return zlib.crc32(self.symbol.encode())


def pairs() -> list[Pair]:
    """Every coin that is lent or counts as collateral, against USDT; none while there is no USDT."""
    coins = {coin.pk: coin for coin in Asset.objects.exclude(kind=Asset.Kind.FIAT).order_by("pk")}
    quote = coins.get(QUOTE)
    if quote is None:
        return []
    return [
        Pair(coin, quote)
        for coin in coins.values()
        if coin is not quote and (coin.loanable or coin.collateral)
    ]


@endpoint(
    "GET /api/v3/exchangeInfo",
    symbol("symbol"),
    words("symbols", longest=2000, pattern=rf"\[{_ONE}(,{_ONE}){{0,99}}\]", about='Such as ["BTCUSDT"].'),
    words("permissions", longest=200, pattern=rf'{_WORD}|\["{_WORD}"(,"{_WORD}"){{0,9}}\]'),
    security=Security.PUBLIC,
    weight=20,
    example={
        "timezone": "UTC",
        "serverTime": 1767225600000,
        "rateLimits": [
            {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6000}
        ],
        "exchangeFilters": [],
        "symbols": [
            {
                "symbol": "BTCUSDT",
                "status": "BREAK",
                "baseAsset": "BTC",
                "baseAssetPrecision": 8,
                "quoteAsset": "USDT",
                "quotePrecision": 8,
                "quoteAssetPrecision": 8,
                **NO_ORDERS,
                "filters": [
                    {
                        "filterType": "LOT_SIZE",
                        "minQty": "0.00000001",
                        "maxQty": "90000000",
                        "stepSize": "0.00000001",
                    }
                ],
                "permissions": ["SPOT"],
                "permissionSets": [["SPOT"]],
            }
        ],
    },
)
def exchange_info(call: Call) -> Json:
    wanted = _wanted(call)
    found = [pair for pair in pairs() if wanted is None or pair.symbol in wanted]
    if wanted is not None and len(found) < len(wanted):
        raise Denied(NO_SYMBOL, "Invalid symbol.")
    if call["permissions"] is not None and "SPOT" not in call["permissions"].replace('"', " ").split():
        found = []
    return {
        "timezone": "UTC",
        "serverTime": ms(call.at),
        "rateLimits": [
            {
                "rateLimitType": "REQUEST_WEIGHT",
                "interval": "MINUTE",
                "intervalNum": 1,
                "limit": settings.API_WEIGHT,
            }
        ],
        "exchangeFilters": [],
        "symbols": [_symbol(pair) for pair in found],
    }


@endpoint(
    "GET /sapi/v1/margin/allAssets",
    symbol("asset"),
    security=Security.MARKET,
    example=[
        {
            "assetFullName": "Bitcoin",
            "assetName": "BTC",
            "isBorrowable": True,
            "isMortgageable": True,
            "userMinBorrow": "0",
            "userMinRepay": "0",
        }
    ],
)
def all_assets(call: Call) -> Json:
    """What can be borrowed and what can be pledged. The least loan is told in USD, with the rates of each coin."""
    found = Asset.objects.order_by("pk")
    if call["asset"] is not None:
        found = found.filter(pk=call["asset"])
    return [
        {
            "assetFullName": coin.name,
            "assetName": coin.pk,
            "isBorrowable": coin.loanable,
            "isMortgageable": coin.collateral,
            "userMinBorrow": "0",
            "userMinRepay": "0",
        }
        for coin in found
    ]


@endpoint(
    "GET /sapi/v1/margin/allPairs",
    symbol("symbol"),
    security=Security.MARKET,
    example=[
        {
            "id": 351637150,
            "symbol": "BTCUSDT",
            "base": "BTC",
            "quote": "USDT",
            "isMarginTrade": False,
            "isBuyAllowed": False,
            "isSellAllowed": False,
        }
    ],
)
def all_pairs(call: Call) -> Json:
    return [
        {
            "id": pair.number,
            "symbol": pair.symbol,
            "base": pair.base.pk,
            "quote": pair.quote.pk,
            "isMarginTrade": False,
            "isBuyAllowed": False,
            "isSellAllowed": False,
        }
        for pair in pairs()
        if call["symbol"] in (None, pair.symbol)
    ]


@endpoint(
    "GET /sapi/v1/margin/isolated/allPairs",
    symbol("symbol"),
    security=Security.MARKET,
    weight=10,
    example=[],
)
def isolated_pairs(call: Call) -> Json:
    """An isolated pair is an account of its own, and this desk opens none."""
    return []


@endpoint(
    "GET /sapi/v1/margin/priceIndex",
    symbol("symbol", required=True),
    security=Security.MARKET,
    weight=10,
    example={"calcTime": 1767225600000, "price": "60000", "symbol": "BTCUSDT"},
)
def price_index(call: Call) -> Json:
    """The price of one coin in another, from their prices in USD; cut at 12 decimals. R-GEN-22

    Raises:
        Denied: there is no such pair of coins, or one of the two has no fresh price.
    """
    found = _quotes(call)
    if found is not None:
        base, quote = found
        price = divide_down(base.price, quote.price, RATE_PLACES)
        if base.fresh and quote.fresh and price:
            at = min(base.observed_at, quote.observed_at)
            return {"calcTime": ms(at), "price": dec(price), "symbol": call["symbol"]}
    raise Denied(NO_PRICE, "This coin doesn't have price index, or none that is fresh.")


@endpoint(
    "GET /sapi/v1/margin/crossMarginCollateralRatio",
    security=Security.MARKET,
    weight=100,
    example=[
        {
            "collaterals": [{"minUsdValue": "0", "maxUsdValue": "10000000", "discountRate": "1"}],
            "withdrawCollaterals": [{"minUsdValue": "0", "maxUsdValue": "10000000", "discountRate": "1"}],
            "borrowCollaterals": [{"minUsdValue": "0", "maxUsdValue": "10000000", "discountRate": "1"}],
            "assetNames": ["BTC"],
        }
    ],
)
def collateral_ratios(call: Call) -> Json:
    """What counts of each coin, by tiers of its market value in USD; coins with the same tiers together. R-GEN-31"""
    alike: dict[Tiers, list[str]] = {}
    for coin, terms in sorted(parameters.terms_at(call.at).items()):
        alike.setdefault(terms.tiers, []).append(coin)
    return [
        {
            "collaterals": _tiers(tiers),
            "withdrawCollaterals": _tiers(tiers),
            "borrowCollaterals": _tiers(tiers),
            "assetNames": coins,
        }
        for tiers, coins in alike.items()
    ]


# --- Private ------------------------------------------------------------------------------------------


def _wanted(call: Call) -> set[str] | None:
    if call["symbols"] is not None:
        return set(json.loads(call["symbols"]))
    return None if call["symbol"] is None else {call["symbol"]}


def _symbol(pair: Pair) -> dict[str, Any]:
    step = dec(unit(pair.base.places))
    return {
        "symbol": pair.symbol,
        "status": "BREAK",
        "baseAsset": pair.base.pk,
        "baseAssetPrecision": pair.base.places,
        "quoteAsset": pair.quote.pk,
        "quotePrecision": pair.quote.places,
        "quoteAssetPrecision": pair.quote.places,
        **NO_ORDERS,
        "filters": [
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": dec(LARGEST), "stepSize": step},
        ],
        "permissions": ["SPOT"],
        "permissionSets": [["SPOT"]],
    }


def _quotes(call: Call) -> tuple[prices.Quote, prices.Quote] | None:
    """Where the symbol splits into two coins that have prices; the longest second coin first."""
    text = call["symbol"]
    splits = [(text[:cut], text[cut:]) for cut in range(1, len(text))]
    found = prices.latest(at=call.at, assets={coin for split in splits for coin in split})
    for base, quote in splits:
        if base in found and quote in found:
            return found[base], found[quote]
    return None


def _tiers(tiers: Tiers) -> list[dict[str, str]]:
    """Each from its floor to the next one's; the last has no end."""
    told = []
    for place, tier in enumerate(tiers):
        row = {"minUsdValue": dec(tier.floor), "discountRate": dec(tier.ratio)}
        if place + 1 < len(tiers):
            row["maxUsdValue"] = dec(tiers[place + 1].floor)
        told.append(row)
    return told
