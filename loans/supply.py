"""The supply side of the fixed-rate market: finance offers an amount at a rate for a term, two people at a time.

The decision on the money is made here, when an order is released; a taking that passes every check of a request needs
no further one (loans/vip/market.py). An order's terms never change: it is closed, and another one entered. R-VIP-26
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db.models import DecimalField, F, Q, QuerySet, Sum, Value
from django.db.models.functions import Coalesce

from accounts.commands import Actor, Arguments, FourEyes, command
from accounts.errors import BadAmount, Refused
from accounts.models import Asset, LedgerAccount, User
from accounts.money import MAX_AMOUNT, RATE_PLACES, ZERO, round_down
from accounts.words import tell
from loans.matching import LONGEST_TERM, TOP_RATE, OnOffer, estimated_interest
from loans.models import SupplyOrder, SupplyTake
from risk.insurance import FINANCE, check_amount, in_usd
from risk.models import ProductCode

ENTER: Final = "supply.enter"
CENTS: Final = 2  # decimals of an estimate in a dollar coin


class BadSupply(Refused):
    """A coin, rate, term, amount or date that no supply order can have; the message says which."""

    code = "bad_supply"


class NoSuchSupply(Refused):
    code = "no_such_supply"


class SupplyClosed(Refused):
    code = "supply_closed"


@dataclass(frozen=True, slots=True)
class Standing:
    """An order with what is left of it, what of that the pool could pay now, and what that would cost over the term."""

    order: SupplyOrder
    left: Decimal
    available: Decimal
    interest: Decimal

    @property
    def least(self) -> Decimal:
        least: Decimal = min(self.order.minimum, self.left)
        return least


def _worth(arguments: Arguments) -> Decimal | None:
    return in_usd(arguments["asset"], arguments["amount"], at=arguments["at"])


def _one_person(_: Arguments) -> bool:
    return False


# --- Commands ---------------------------------------------------------------------------------------


@command(
    ENTER,
    returns=SupplyOrder,
    four_eyes=FourEyes(makers=FINANCE, checkers=FINANCE | {User.Role.RISK_OFFICER}, worth=_worth),
)
def enter(
    *,
    asset: str,
    annual_rate: Decimal,
    term_days: int,
    amount: Decimal,
    minimum: Decimal,
    actor: Actor,
    at: datetime,
    ends_at: datetime | None = None,
    key: str = "",
    reason: str = "",
) -> SupplyOrder:
    """Offer `amount` of a coin at a yearly fraction for a term; nobody takes less than `minimum` of it. R-VIP-26

    Nothing is set aside: what the pool has lent elsewhere by then cannot be taken. `ends_at` None: until it is closed.

    Raises:
        BadAmount: an amount is not more than 0, or finer than the coin's places.
        BadSupply: no loan coin, no such rate or term, a minimum above the amount, or it ends in the past.
    """
    for figure in (amount, minimum):
        check_amount(asset, figure)
    if amount >= MAX_AMOUNT:
        raise BadAmount(tell("An amount is below 10^18."))
    if not Asset.objects.filter(pk=asset, loanable=True).exists():
        raise BadSupply(tell("{asset} is not a coin the desk lends.", asset=asset))
    if minimum > amount:
        raise BadSupply(
            tell(
                "The least of one taking, {minimum:f}, is more than the {amount:f} {asset} offered.",
                minimum=minimum,
                amount=amount,
                asset=asset,
            )
        )
    if not 1 <= term_days <= LONGEST_TERM:
        raise BadSupply(
            tell(
                "A term is 1 to {longest_term} days, not {term_days}.",
                longest_term=LONGEST_TERM,
                term_days=term_days,
            )
        )
    if not (
        annual_rate.is_finite()
        and 0 <= annual_rate < TOP_RATE
        and annual_rate == round_down(annual_rate, RATE_PLACES)
    ):
        raise BadSupply(
            tell("A rate is a fraction from 0 to below 10 with at most 12 decimals: 0.05 is 5 %.")
        )
    if ends_at is not None and ends_at <= at:
        raise BadSupply(
            tell("An order ends in the future; leave the date empty when it stays until it is closed.")
        )
    return SupplyOrder.objects.create(
        product=ProductCode.VIP,
        asset_id=asset,
        annual_rate=annual_rate,
        term_days=term_days,
        amount=amount,
        minimum=minimum,
        opened_at=at,
        ends_at=ends_at,
        entered_by_id=actor.user_id,
    )


@command(
    "supply.close",
    returns=SupplyOrder,
    four_eyes=FourEyes(makers=FINANCE, checkers=FINANCE, needed=_one_person),
)
def close(*, order_id: int, actor: Actor, at: datetime, key: str = "", reason: str = "") -> SupplyOrder:
    """Nothing more is taken of it; what was taken runs on. One person does it, since it lends nothing. R-VIP-26

    Raises:
        NoSuchSupply: there is no such order.
        SupplyClosed: it is closed already.
    """
    order = next(iter(_locked([order_id])), None)
    if order is None:
        raise NoSuchSupply(tell("There is no supply order {order}.", order=order_id))
    if order.closed_at is not None:
        raise SupplyClosed(
            tell(
                "{order} was closed on {closed_at:%-d %B %Y, %H:%M} UTC.",
                order=order,
                closed_at=order.closed_at,
            )
        )
    order.closed_at = at
    order.save(update_fields=["closed_at"])
    return order


# --- For takers, inside their command ----------------------------------------------------------------


def hold(order_ids: Iterable[int]) -> None:
    """Lock these orders, so that of two takers the second sees what the first has left. Before accounts and groups."""
    _locked(order_ids)


def offers_of(order_ids: Iterable[int], *, at: datetime) -> dict[int, OnOffer]:
    """Those of these orders that are open at `at`, by id; of locked ones nobody else takes meanwhile."""
    return {
        order.pk: OnOffer(
            order=order.pk,
            name=str(order),
            asset=order.asset_id,
            term_days=order.term_days,
            rate=order.annual_rate,
            minimum=order.minimum,
            left=left_of(order),
            places=order.asset.places,
        )
        for order in on_offer(at=at).filter(pk__in=list(order_ids))
    }


def took(loan_id: int, amounts: Iterable[tuple[int, Decimal]]) -> None:
    """Write down what a loan took of which order; the database adds up once more."""
    SupplyTake.objects.bulk_create(
        SupplyTake(order_id=order, loan_id=loan_id, amount=amount) for order, amount in amounts
    )


# --- Reads ------------------------------------------------------------------------------------------


def with_left(orders: QuerySet[SupplyOrder]) -> QuerySet[SupplyOrder]:
    """Each with what is left of it, for `left_of`."""
    taken = Coalesce(Sum("takes__amount"), Value(ZERO), output_field=DecimalField())
    return orders.annotate(left=F("amount") - taken)


def left_of(order: SupplyOrder) -> Decimal:
    """Of an order that came through `with_left`."""
    left: Decimal = order.left  # type: ignore[attr-defined]
    return left


def on_offer(*, at: datetime, asset: str = "", term_days: int | None = None) -> QuerySet[SupplyOrder]:
    """The orders that something can be taken of at `at`, the cheapest first. R-VIP-26"""
    rows = SupplyOrder.objects.filter(Q(ends_at=None) | Q(ends_at__gt=at), closed_at=None, opened_at__lte=at)
    if asset:
        rows = rows.filter(asset=asset)
    if term_days is not None:
        rows = rows.filter(term_days=term_days)
    return with_left(rows).filter(Q(left__gt=0)).select_related("asset").order_by("annual_rate", "pk")


def standings(orders: Iterable[SupplyOrder]) -> list[Standing]:
    """What can be taken of each now: what is left, and no more than the pool holds. Of rows of `with_left`."""
    orders = list(orders)
    pools = free([order.asset_id for order in orders])
    found = []
    for order in orders:
        left = left_of(order)
        available = max(min(left, pools.get(order.asset_id, ZERO)), ZERO)
        interest = estimated_interest(
            amount=available,
            annual_rate=order.annual_rate,
            term_days=order.term_days,
            places=CENTS if order.asset.kind == Asset.Kind.STABLE else order.asset.places,
        )
        found.append(Standing(order, left, available, interest))
    return found


def free(assets: Iterable[str]) -> dict[str, Decimal]:
    """What each coin's pool holds to lend; a pool that was never funded is absent."""
    pools = LedgerAccount.objects.house(LedgerAccount.Kind.POOL).filter(asset__in=set(assets))
    return {pool.asset_id: pool.balance for pool in pools}


# --- Private ----------------------------------------------------------------------------------------


def _locked(order_ids: Iterable[int]) -> list[SupplyOrder]:
    rows = SupplyOrder.objects.filter(pk__in=list(order_ids)).order_by("pk")
    return list(rows.select_for_update(of=("self",), no_key=True))
