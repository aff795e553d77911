"""What money costs a borrower, and how much of it there is for them (R-GEN-45, R-GEN-53, R-GEN-96, R-VIP-22…24)."""

from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Asker, Edge
from accounts.api.wire import Figure, Instant, Query, asked
from accounts.models import Asset, LedgerAccount
from accounts.money import ZERO
from loans import limits, ratecards, rates
from loans.policy import policy_of
from loans.rates import BoardRow
from risk import book, prices
from risk.models import CollateralGroup, ProductCode
from risk.pages.standing import borrow_room


class RateOut(serializers.Serializer[Any]):
    """What a new loan costs a year now, and the next published change."""

    annual_rate = Figure()
    next_rate = Figure(allow_null=True)
    next_at = Instant(allow_null=True)


class FixedRate(RateOut):
    term_days = serializers.IntegerField()


class CoinRates(serializers.Serializer[Any]):
    """A coin's rates for this borrower, their own spread in them."""

    asset = serializers.CharField()
    flexible = RateOut(allow_null=True)
    fixed = FixedRate(many=True)
    spread = Figure()


class RateBoard(serializers.Serializer[Any]):
    vip_level = serializers.IntegerField()
    at = Instant()
    rows = CoinRates(many=True)
    total = serializers.IntegerField()


class BorrowRoom(serializers.Serializer[Any]):
    """What may be borrowed on top of what a group owes, by its collateral and all limits, in the coin."""

    group_id = serializers.IntegerField()
    max_borrow = Figure()


class CoinLimits(serializers.Serializer[Any]):
    """A coin that the desk lends online. USD of one request; `most` of the coin in one request, collateral aside."""

    asset = serializers.CharField()
    price = Figure()
    is_fresh = serializers.BooleanField()
    minimum_usd = Figure()
    maximum_usd = Figure(allow_null=True)
    most = Figure()
    groups = BorrowRoom(many=True)


class Used(serializers.Serializer[Any]):
    """How much of one of your limits is used, in USD; asset "" is over all coins."""

    name = serializers.CharField()
    asset = serializers.CharField()
    used = Figure()
    cap = Figure()
    left = Figure()


class LimitBoard(serializers.Serializer[Any]):
    at = Instant()
    first_minimum_usd = Figure(help_text="The least that a first request is worth in all. R-VIP-07")
    later_minimum_usd = Figure(help_text="The least that a later one is worth.")
    rows = CoinLimits(many=True)
    total = serializers.IntegerField()
    used = Used(many=True)


class Rates(Edge):
    @extend_schema(operation_id="rates", responses=RateBoard, tags=["market"])
    def get(self, request: Request) -> Response:
        """Today's rates for your VIP level, and the next published ones."""
        asked(Query, request)
        asker = self.asker()
        level = asker.customer.vip_level
        rows = [_rates(row) for row in rates.board(vip_level=level, at=asker.at, customer=asker.customer)]
        told = {"vip_level": level, "at": asker.at, "rows": rows, "total": len(rows)}
        return Response(RateBoard(told).data)


class Limits(Edge):
    @extend_schema(operation_id="limits", responses=LimitBoard, tags=["market"])
    def get(self, request: Request) -> Response:
        """What could be borrowed of each coin: by limits, and by the collateral of each group."""
        asked(Query, request)
        asker = self.asker(whole=True)
        product = ratecards.product_at(ProductCode.VIP, at=asker.at)
        rows = list(_limits(asker))
        told = {
            "at": asker.at,
            "first_minimum_usd": product.first_minimum,
            "later_minimum_usd": product.later_minimum,
            "rows": rows,
            "total": len(rows),
            "used": limits.usage_of(asker.customer, at=asker.at),
        }
        return Response(LimitBoard(told).data)


# --- Private ----------------------------------------------------------------------------------------


def _rates(row: BoardRow) -> dict[str, Any]:
    fixed = zip(ratecards.FIXED_TERMS, row.fixed, strict=True)
    return {
        "asset": row.asset.pk,
        "flexible": row.flexible,
        "fixed": [
            {
                "term_days": days,
                "annual_rate": rate.annual_rate,
                "next_rate": rate.next_rate,
                "next_at": rate.next_at,
            }
            for days, rate in fixed
            if rate is not None
        ],
        "spread": row.spread,
    }


def _limits(asker: Asker) -> Iterator[dict[str, Any]]:
    assets, at = Asset.objects.filter(loanable=True).in_bulk(), asker.at
    quotes = prices.latest(at=at, assets=assets)
    own = policy_of(asker.customer, at=at)
    ceilings = limits.ceilings_of(asker.customer, policy=own, assets=assets, quotes=quotes, at=at)
    groups = CollateralGroup.objects.open().filter(customer=asker.customer).order_by("opened_at", "pk")
    states = book.states(groups, at=at)
    lendable = _lendable(assets)
    for symbol, asset in sorted(assets.items()):
        if symbol not in ceilings.orders or symbol not in quotes:
            continue
        quote = quotes[symbol]
        most = ceilings.most(asset, price=quote.price, lendable=lendable.get(symbol, ZERO)) or ZERO
        yield {
            "asset": symbol,
            "price": quote.price,
            "is_fresh": quote.fresh,
            "minimum_usd": ceilings.orders[symbol].minimum,
            "maximum_usd": ceilings.maximum(symbol),
            "most": most,
            "groups": [
                {"group_id": pk, "max_borrow": min(borrow_room(state, asset, quote.price), most)}
                for pk, state in states.items()
            ],
        }


def _lendable(assets: Collection[str]) -> Mapping[str, Decimal]:
    pools = LedgerAccount.objects.house(LedgerAccount.Kind.POOL).filter(asset__in=assets)
    return {pool.asset_id: pool.balance for pool in pools}
