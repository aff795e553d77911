"""Wallets: what every account of the customer holds, what it is worth, and every movement there was."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Account, Asset, Customer, LedgerAccount, User
from accounts.money import ZERO, exact
from accounts.pages.access import for_member, limited_to, user_of
from risk import groups, prices
from risk.models import CollateralGroup, Movement

PER_PAGE = 25
LATEST = 8
Kind = LedgerAccount.Kind


@dataclass(frozen=True, slots=True)
class CoinRow:
    """One coin of one account over its wallets. `value` None: there is no price for it."""

    asset: Asset
    spot: Decimal
    funding: Decimal
    fiat: Decimal
    price: Decimal | None
    is_fresh: bool

    @property
    def total(self) -> Decimal:
        return self.spot + self.funding + self.fiat

    @property
    def value(self) -> Decimal | None:
        return None if self.price is None else _times(self.total, self.price)


@dataclass(frozen=True, slots=True)
class AccountRow:
    """An account, its coins by value, and the group it secures."""

    account: Account
    coins: tuple[CoinRow, ...]
    secures: CollateralGroup | None

    @property
    def value(self) -> Decimal:
        return sum((coin.value for coin in self.coins if coin.value is not None), ZERO)


@require_safe
@for_member
def wallets(request: HttpRequest, customer: Customer) -> HttpResponse:
    at, user = timezone.now(), user_of(request)
    accounts = list(Account.objects.visible_to(user).filter(customer=customer).order_by("pk"))
    held = LedgerAccount.objects.filter(account__in=accounts, kind__in=LedgerAccount.WALLETS)
    piles = list(held.select_related("asset"))
    quotes = prices.latest(at=at, assets={pile.asset_id for pile in piles})
    secured = groups.pledged_to([account.pk for account in accounts])
    rows = [
        AccountRow(account, coins, secured.get(account.pk))
        for account, coins in zip(accounts, _coins(accounts, piles, quotes), strict=True)
    ]
    context = {
        "rows": rows,
        "total": sum((row.value for row in rows), ZERO),
        "unpriced": sorted({c.asset.pk for row in rows for c in row.coins if c.price is None}),
        "sees_groups": limited_to(request) is None,
        "movements": movements_of(customer, user)[:LATEST],
        "at": at,
    }
    return render(request, "risk/wallets.html", context)


@require_safe
@for_member
def movements(request: HttpRequest, customer: Customer) -> HttpResponse:
    page = Paginator(movements_of(customer, user_of(request)), PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "risk/movements.html", {"page": page})


def movements_of(customer: Customer, user: User) -> "QuerySet[Movement]":
    """Those of the accounts the user acts for, into or out of them. R-GEN-95"""
    seen = Account.objects.visible_to(user)
    rows = Movement.objects.filter(Q(source__in=seen) | Q(target__in=seen), customer=customer)
    related = ("asset", "got_asset", "source", "target", "entry__reversed_by")
    return rows.select_related(*related).order_by("-at", "-pk")


def _coins(
    accounts: Iterable[Account], piles: Iterable[LedgerAccount], quotes: Mapping[str, prices.Quote]
) -> Iterable[tuple[CoinRow, ...]]:
    held: dict[int, dict[str, dict[str, Decimal]]] = defaultdict(lambda: defaultdict(dict))
    assets = {}
    for pile in piles:
        if pile.balance and pile.account_id is not None:
            held[pile.account_id][pile.asset_id][pile.kind] = pile.balance
            assets[pile.asset_id] = pile.asset
    for account in accounts:
        rows = [
            CoinRow(
                asset=assets[symbol],
                spot=by_kind.get(Kind.SPOT, ZERO),
                funding=by_kind.get(Kind.FUNDING, ZERO),
                fiat=by_kind.get(Kind.FIAT, ZERO),
                price=quotes[symbol].price if symbol in quotes else None,
                is_fresh=symbol in quotes and quotes[symbol].fresh,
            )
            for symbol, by_kind in held[account.pk].items()
        ]
        yield tuple(sorted(rows, key=lambda row: (-(row.value or ZERO), row.asset.pk)))


@exact
def _times(amount: Decimal, price: Decimal) -> Decimal:
    return amount * price
