"""The price board: what every coin is worth here, since when, and how much of it counts as collateral."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Edge
from accounts.api.lists import Paged, listed, span
from accounts.api.wire import Coin, Figure, Flag, Instant, asked
from risk import parameters, prices
from risk.api.shapes import Row, Tier, tiers


class PriceRow(serializers.Serializer[Any]):
    """`is_fresh` false: nothing is decided on it (R-GEN-22). No tiers: it does not count as collateral."""

    asset = serializers.CharField()
    price_usd = Figure()
    observed_at = Instant()
    is_fresh = Flag()
    tiers = Tier(many=True)


class Prices(Edge):
    class Asked(Paged):
        asset = Coin(required=False)

    @extend_schema(operation_id="prices_list", parameters=[Asked], responses=listed(PriceRow))
    def get(self, request: Request) -> Response:
        """The last good price of each coin that has one, by symbol."""
        asker, wanted = self.asker(), asked(self.Asked, request)
        named = [wanted["asset"]] if "asset" in wanted else None
        quotes, terms = prices.latest(at=asker.at, assets=named), parameters.terms_at(asker.at, assets=named)
        rows: list[Row] = [
            {
                "asset": symbol,
                "price_usd": quote.price,
                "observed_at": quote.observed_at,
                "is_fresh": quote.fresh,
                "tiers": tiers(terms[symbol].tiers) if symbol in terms else [],
            }
            for symbol, quote in sorted(quotes.items())
        ]
        told = [PriceRow(row).data for row in rows[span(wanted)]]
        return Response({"rows": told, "total": len(rows)})
