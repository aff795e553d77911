"""How groups, their figures and what would help them look on the wire: LTV as a fraction, USD down at 8 places."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from rest_framework import serializers

from accounts.api.wire import Figure
from risk.levels import band
from risk.valuation import Tiers, Worth

USD_PLACES: Final = 8
Row = dict[str, Any]


def usd(**options: Any) -> Figure:
    """A value in USD, rounded down at 8 places for people; decisions use it unrounded."""
    return Figure(places=USD_PLACES, **options)


class CoinAmount(serializers.Serializer[Any]):
    asset = serializers.CharField()
    amount = Figure()


class Tier(serializers.Serializer[Any]):
    """`ratio` of the market value from `floor` USD up to the next tier's."""

    floor = Figure()
    ratio = Figure()


class Lines(serializers.Serializer[Any]):
    """The group's LTV lines and its liquidation fee, as fractions. R-GEN-43"""

    initial = Figure()
    margin_call = Figure()
    liquidation = Figure()
    cutoff = Figure()
    fee = Figure()


class Standing(serializers.Serializer[Any]):
    """`ltv` null: infinite, or something owed has no price."""

    ltv = Figure(allow_null=True)
    band = serializers.ChoiceField(["SAFE", "WATCH", "CALL", "LIQ"])
    debt_usd = usd()
    collateral_usd = usd()
    market_usd = usd()


def standing(worth: Worth, lines: Any) -> Row:
    return {
        "ltv": worth.told_ltv,
        "band": band(worth, lines).value,
        "debt_usd": worth.debt,
        "collateral_usd": worth.collateral,
        "market_usd": worth.market,
    }


def amounts(found: Mapping[str, Decimal]) -> list[Row]:
    """By coin, as a list: names of coins are values on our wire, not keys."""
    return [{"asset": asset, "amount": amount} for asset, amount in sorted(found.items())]


def tiers(found: Iterable[Any] | Tiers) -> list[Row]:
    return [{"floor": tier.floor, "ratio": tier.ratio} for tier in found]
