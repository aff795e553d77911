"""How much more may be lent: per order, per client, over the whole desk, and how much collateral of one coin.

Values are USD at the latest price. Above a limit a coin is declined with the way out, and the others go on
(R-VIP-06); what runs already is never touched (R-GEN-37).
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db.models import F, Sum

from accounts.errors import Refused
from accounts.models import Asset, Customer, LedgerAccount
from accounts.money import ZERO, divide_down, exact
from accounts.words import joined, tell
from loans.models import LoanEvent
from loans.policy import Policy, policy_of
from risk import book, debts, parameters, prices
from risk.models import AssetCap, Debt, LoanLimit, ProductCode
from risk.prices import Quote

LATELY: Final = timedelta(hours=24)
YELLOW: Final = Decimal("0.8")  # of a limit, from here on the desk is warned (R-GEN-37)
OTC: Final = tell("For more send an enquiry; your VIP manager can arrange it outside the form.")


CODES: Final = frozenset(
    {
        "above_limit",
        "coin_not_allowed",
        "collateral_cap",
        "exposure_unknown",
        "max_exposure",
        "no_limit",
        "platform_limit",
        "user_limit",
    }
)
"""Every code that a limit says no with."""


class OverPlatformCap(Refused):
    """What the desk lends of a coin would pass its cap."""

    code = "platform_limit"
    sapi = -10041


@dataclass(frozen=True, slots=True)
class Declined:
    """Why one coin cannot be lent online: a stable code, and words with the way out."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of one limit is used, in USD. Yellow from 80 %, red from 100 %. R-GEN-37"""

    name: str
    asset: str  # "" = over all coins
    used: Decimal
    cap: Decimal

    @property
    def left(self) -> Decimal:
        return max(self.cap - self.used, ZERO)

    @property
    def share(self) -> Decimal:
        """A fraction, rounded down; a cap of 0 is full."""
        return divide_down(self.used, self.cap, 4) if self.cap else Decimal(1)

    @property
    @exact
    def mark(self) -> str:
        """`red`, `yellow` or nothing; decided by multiplying, not on the rounded share."""
        if self.used >= self.cap:
            return "red"
        return "yellow" if self.used >= self.cap * YELLOW else ""


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Every limit that a client's next loans meet, read once. All maps are by coin."""

    policy: Policy
    orders: Mapping[str, LoanLimit]
    user: Mapping[str, Usage]
    platform: Mapping[str, Usage]
    exposure: Usage | None
    unpriced: tuple[str, ...]  # owed coins without any price: exposure cannot be told

    def maximum(self, asset: str) -> Decimal | None:
        """USD of one order; None is no maximum, or nothing published (then the coin is not lent online)."""
        limit = self.orders.get(asset)
        return None if limit is None or self.policy.is_uncapped(asset) else limit.maximum

    def room(self, asset: str) -> Decimal | None:
        """USD that one more order of the coin may be worth by every limit; None is no limit. R-GEN-45"""
        rooms = [usage.left for usage in self._usages(asset)]
        maximum = self.maximum(asset)
        return min([*rooms, *([] if maximum is None else [maximum])], default=None)

    def most(self, asset: Asset, *, price: Decimal, lendable: Decimal) -> Decimal | None:
        """Of the coin in one more request, by every limit and the pool; None: it is not lent online. R-GEN-45"""
        if asset.pk not in self.orders:
            return None
        if not self.policy.may_borrow(asset.pk) or (self.exposure is not None and self.unpriced):
            return ZERO
        room = self.room(asset.pk)
        return lendable if room is None else min(divide_down(room, price, asset.places), lendable)

    @exact
    def declines(self, asset: str, *, said: str, value: Decimal, taken: Decimal) -> Declined | None:
        """Why `value` USD of the coin (`said` in words) cannot be lent; `taken` USD of the bundle goes before it."""
        if not self.policy.may_borrow(asset):
            return Declined(
                "coin_not_allowed",
                tell("Your terms do not include loans in {asset}. {otc}", asset=asset, otc=OTC),
            )
        maximum = self.maximum(asset)
        if maximum is not None and value > maximum:
            message = tell(
                "{said} is worth {value:,.2f} USD, above your limit of {maximum:,.2f} USD for one request.",
                said=said,
                value=value,
                maximum=maximum,
            )
            return Declined("above_limit", tell("{message} {otc}", message=message, otc=OTC))
        for usage in self._usages(asset):
            before = taken if usage is self.exposure else ZERO
            if usage.used + before + value > usage.cap:
                return _over(usage, said=said, value=value, before=before)
        if self.exposure is not None and self.unpriced:
            named = joined(", ", self.unpriced)
            message = tell(
                "{said}: what you owe in {named} cannot be valued without a price; try again shortly.",
                said=said,
                named=named,
            )
            return Declined("exposure_unknown", message)
        return None

    def _usages(self, asset: str) -> Iterator[Usage]:
        if asset in self.user and not self.policy.is_uncapped(asset):
            yield self.user[asset]
        if asset in self.platform:
            yield self.platform[asset]
        if self.exposure is not None:
            yield self.exposure


def ceilings_of(
    customer: Customer, *, policy: Policy, assets: Collection[str], quotes: Mapping[str, Quote], at: datetime
) -> Ceilings:
    """Read every limit on the client's next loans of `assets`. R-VIP-06, R-GEN-37"""
    orders = parameters.loan_limits(
        product=ProductCode.VIP, assets=assets, vip_level=customer.vip_level, at=at
    )
    capped = {symbol: row.user_maximum for symbol, row in orders.items() if row.user_maximum is not None}
    max_exposure = policy.max_exposure
    owed, unpriced = _owed(customer, at=at) if capped or max_exposure is not None else ({}, ())
    return Ceilings(
        policy=policy,
        orders=orders,
        user={
            symbol: Usage(tell("Owed by the client"), symbol, owed.get(symbol, ZERO), cap)
            for symbol, cap in capped.items()
        },
        platform=_lent(assets, quotes, at=at),
        exposure=None
        if max_exposure is None
        else Usage(tell("Owed over all coins"), "", sum(owed.values(), ZERO), max_exposure),
        unpriced=unpriced,
    )


def hold(customer: Customer) -> None:
    """Lock the client, so that two loans at once into two groups are counted one after the other. Inside a command.

    After the request's row and before accounts and groups. What the client may owe is read after it.
    """
    list(Customer.objects.select_for_update(of=("self",), no_key=True).filter(pk=customer.pk))


def refuse_over_platform(asset: Asset | str, at: datetime) -> None:
    """After a payout, in its transaction: undo it when the desk's cap on the coin is passed. R-GEN-37

    The payout holds the row of the coin's principal account, so two at once are counted one after the other.

    Raises:
        OverPlatformCap: more of the coin is lent than the cap in force allows.
    """
    symbol = asset.pk if isinstance(asset, Asset) else asset
    usage = _lent([symbol], prices.latest(at=at, assets=[symbol]), at=at).get(symbol)
    if usage is not None and usage.used > usage.cap:
        raise OverPlatformCap(
            tell(
                "The desk lends {symbol} worth at most {cap:,.2f} USD in all; with this loan it would"
                " be {used:,.2f} USD. {otc}",
                symbol=symbol,
                cap=usage.cap,
                used=usage.used,
                otc=OTC,
            )
        )


@exact
def lent_lately(customer: Customer | int, *, at: datetime, by: str = "") -> Decimal | None:
    """USD of what the client was lent in the last day, so that many small requests are no large one. R-VIP-12

    By the job `by` only, when it is given; renewals lend nothing new. At the latest prices; None without a price
    for one of the coins.
    """
    events = LoanEvent.objects.filter(kind="drawn", loan__customer=customer, loan__renews__isnull=True)
    events = events.filter(at__gt=at - LATELY, **({"actor": by} if by else {}))
    drawn = events.values_list("loan__asset", "loan__amount")
    quotes = prices.latest(at=at, assets={symbol for symbol, _ in drawn})
    if any(symbol not in quotes for symbol, _ in drawn):
        return None
    return sum((_value(amount, quotes[symbol]) for symbol, amount in drawn), ZERO)


def renewal_refusal(*, customer: Customer, asset: str, principal: Decimal, at: datetime) -> Declined | None:
    """Why a coin over its limit cannot be renewed: the order itself, or all the client owes of it. R-VIP-41

    A renewal lends nothing new, so caps of the whole desk do not stop it.
    """
    quotes = prices.latest(at=at, assets=[asset])
    policy = policy_of(customer, at=at)
    ceilings = ceilings_of(customer, policy=policy, assets=[asset], quotes=quotes, at=at)
    value, maximum = _value(principal, quotes[asset]), ceilings.maximum(asset)
    if asset not in ceilings.orders:
        return Declined("no_limit", tell("{asset} is not lent online any more. {otc}", asset=asset, otc=OTC))
    if maximum is not None and value > maximum:
        message = tell(
            "This loan is worth {value:,.2f} USD, above your limit of {maximum:,.2f} USD for one order.",
            value=value,
            maximum=maximum,
        )
        return Declined("above_limit", tell("{message} {otc}", message=message, otc=OTC))
    usage = ceilings.user.get(asset)
    if usage is not None and usage.used > usage.cap and not policy.is_uncapped(asset):
        message = tell(
            "You owe {asset} worth {used:,.2f} USD, above your limit of {cap:,.2f} USD in all.",
            asset=asset,
            used=usage.used,
            cap=usage.cap,
        )
        return Declined(
            "user_limit", tell("{message} Repay some of it first. {otc}", message=message, otc=OTC)
        )
    return None


@exact
def collateral_refusals(customer: Customer, *, new_use: Mapping[str, Decimal], at: datetime) -> list[str]:
    """What stands against `new_use` (USD market value by coin) as collateral; in words, one per coin. R-GEN-37

    Only new use is stopped: what a group has is untouched, and topping it up is never refused.
    """
    caps = caps_at(new_use, at=at)
    wanted = {symbol for symbol, value in new_use.items() if value > 0 and symbol in caps}
    found = []
    for usage in _pledged(wanted, caps, customer=customer, at=at):
        if usage.used + new_use[usage.asset] > usage.cap:
            found.append(
                tell(
                    "{asset}: {usage} is limited to {cap:,.2f} USD and {used:,.2f} USD is in use;"
                    " this request would add {new_use:,.2f} USD. Leave {asset} out, choose another"
                    " account, or send an enquiry.",
                    asset=usage.asset,
                    usage=usage.name,
                    cap=usage.cap,
                    used=usage.used,
                    new_use=new_use[usage.asset],
                )
            )
    return found


def caps_at(assets: Collection[str], *, at: datetime) -> dict[str, AssetCap]:
    """What the desk lends and takes at most of each coin, in force at `at`. One query."""
    rows = AssetCap.objects.filter(product=ProductCode.VIP, asset__in=list(assets), effective_at__lte=at)
    return {row.asset_id: row for row in rows.order_by("asset", "-effective_at").distinct("asset")}


def usage_of(customer: Customer, *, at: datetime) -> list[Usage]:
    """How far the client has used its own limits: the desk's client page. R-GEN-37

    Only of the coins it owes or has pledged is anything used.
    """
    assets = sorted(set(Debt.objects.open().filter(customer=customer).values_list("asset", flat=True)))
    quotes = prices.latest(at=at, assets=assets)
    ceilings = ceilings_of(customer, policy=policy_of(customer, at=at), assets=assets, quotes=quotes, at=at)
    coins = Asset.objects.filter(collateral=True).values_list("pk", flat=True)
    caps = caps_at(_in_use(coins, customer=customer), at=at)
    exposure = [] if ceilings.exposure is None else [ceilings.exposure]
    pledged = [usage for usage in _pledged(caps, caps, customer=customer, at=at) if usage.name == YOURS]
    capped = {coin: usage for coin, usage in ceilings.user.items() if not ceilings.policy.is_uncapped(coin)}
    used = [usage for _, usage in sorted(capped.items()) if usage.used]
    return [*exposure, *used, *(usage for usage in pledged if usage.used)]


def usage_of_the_desk(*, at: datetime) -> list[Usage]:
    """How far the desk's own caps are used, every coin that has one: the fullest first. R-GEN-37"""
    caps = caps_at(list(Asset.objects.values_list("pk", flat=True)), at=at)
    lent = _lent(caps, prices.latest(at=at, assets=caps), at=at).values()
    pledged = [usage for usage in _pledged(caps, caps, customer=None, at=at) if usage.name == EVERYBODYS]
    return sorted([*lent, *pledged], key=lambda usage: (-usage.share, usage.asset, usage.name))


# --- Private ----------------------------------------------------------------------------------------

YOURS: Final = "your collateral"
EVERYBODYS: Final = "the collateral of all clients"


def _over(usage: Usage, *, said: str, value: Decimal, before: Decimal) -> Declined:
    """R-VIP-06: which limit, how much of it is used, what is left, and the way out."""
    left = max(usage.left - before, ZERO)
    worth = tell("{said} is worth {value:,.2f} USD", said=said, value=value)
    if usage.name == LENT:
        message = tell(
            "{worth}; the desk can lend {asset} worth {left:,.2f} USD more. Ask for less. {otc}",
            worth=worth,
            asset=usage.asset,
            left=left,
            otc=OTC,
        )
        return Declined("platform_limit", message)
    limit = tell("your limit of {cap:,.2f} USD", cap=usage.cap)
    if usage.asset:
        message = tell(
            "{worth}; you owe {asset} worth {used:,.2f} USD, and {limit} leaves {left:,.2f} USD.",
            worth=worth,
            asset=usage.asset,
            used=usage.used,
            limit=limit,
            left=left,
        )
        return Declined("user_limit", tell("{message} {otc}", message=message, otc=OTC))
    message = tell(
        "{worth}; {limit} over all coins leaves {left:,.2f} USD.", worth=worth, limit=limit, left=left
    )
    return Declined("max_exposure", tell("{message} {otc}", message=message, otc=OTC))


LENT: Final = tell("Lent by the desk")


@exact
def _owed(customer: Customer, *, at: datetime) -> tuple[dict[str, Decimal], tuple[str, ...]]:
    """USD that the client owes by coin, residual debts and accrued interest included; and coins without a price."""
    rows = list(Debt.objects.open().filter(customer=customer).select_related("asset"))
    amounts: dict[str, Decimal] = {}
    for owed in debts.owed_at(rows, at=at).values():
        symbol = owed.debt.asset_id
        amounts[symbol] = amounts.get(symbol, ZERO) + owed.parts.total
    quotes = prices.latest(at=at, assets=amounts)
    unpriced = tuple(sorted(symbol for symbol in amounts if symbol not in quotes))
    return {s: _value(amount, quotes[s]) for s, amount in amounts.items() if s in quotes}, unpriced


@exact
def _lent(assets: Collection[str], quotes: Mapping[str, Quote], *, at: datetime) -> dict[str, Usage]:
    """Principal that all clients owe of the coins with a cap."""
    caps = {
        s: row.platform_borrow for s, row in caps_at(assets, at=at).items() if row.platform_borrow is not None
    }
    if not caps:
        return {}
    controls = LedgerAccount.objects.house(LedgerAccount.Kind.PRINCIPAL).filter(asset__in=caps)
    lent = {row.asset_id: row.balance for row in controls}
    return {
        symbol: Usage(LENT, symbol, _value(lent.get(symbol, ZERO), quotes[symbol]), cap)
        for symbol, cap in caps.items()
        if symbol in quotes
    }


def _pledged(
    assets: Collection[str], caps: Mapping[str, AssetCap], *, customer: Customer | None, at: datetime
) -> Iterator[Usage]:
    """Market value that counts as collateral now, of the client and of all, where there is a cap."""
    quotes = prices.latest(at=at, assets=assets) if assets else {}
    for name, whose in ((YOURS, customer), (EVERYBODYS, None)):
        if name == YOURS and customer is None:
            continue
        held = _in_use(assets, customer=whose)
        for symbol in sorted(assets):
            row = caps[symbol]
            cap = row.user_collateral if name == YOURS else row.platform_collateral
            if cap is not None and symbol in quotes:
                yield Usage(name, symbol, _value(held.get(symbol, ZERO), quotes[symbol]), cap)


def _in_use(assets: Collection[str], *, customer: Customer | None) -> dict[str, Decimal]:
    """Amount of each coin in the counting wallets of accounts whose group has chosen it. R-GEN-34"""
    if not assets:
        return {}
    wallets = LedgerAccount.objects.filter(
        kind=book.WALLET,
        asset__in=list(assets),
        account__pledges__released_at__isnull=True,
        account__pledges__group__coins__asset=F("asset"),
        account__pledges__group__coins__released_at__isnull=True,
    )
    if customer is not None:
        wallets = wallets.filter(account__customer=customer)
    sums = wallets.values("asset").annotate(held=Sum(F("credits") - F("debits")))
    return {row["asset"]: row["held"] for row in sums}


@exact
def _value(amount: Decimal, quote: Quote) -> Decimal:
    return amount * quote.price
