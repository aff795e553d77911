"""How an LTV comes about: every balance, price, ratio and debt behind it, at any instant (R-GEN-94).

The state is `past.state_at`, the sums are `valuation.worth`: nothing is valued a second time here. This adds which rows
they came from: ledger wallets, the observation of each price, the schedule of ratios, the rows that set the lines.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from django.db.models import Case, F, Q, QuerySet, Sum, When, Window

from accounts.models import Account, Asset, LedgerAccount, Transfer
from accounts.money import ZERO, exact
from risk import parameters, past, prices, valuation
from risk.book import WALLET, GroupState
from risk.debts import OwedDebt
from risk.levels import Band, band
from risk.models import CollateralGroup, DebtEntry, Limits, Price, RatioSchedule, RiskEvent
from risk.past import Point
from risk.prices import Quote
from risk.valuation import Slice, Worth
from risk.waterfall import Parts

NEAR = 6  # events told on each side of the instant


class Silence(StrEnum):
    """Why a coin in the wallets counts nothing."""

    NOT_CHOSEN = "not_chosen"
    NO_RATIOS = "no_ratios"
    NO_PRICE = "no_price"


@dataclass(frozen=True, slots=True)
class Pile:
    """One coin in one collateral account; `wallet` is the account of the ledger that its transfers moved."""

    account: Account
    wallet: LedgerAccount
    balance: Decimal


@dataclass(frozen=True, slots=True)
class Priced:
    """A price that was used, and the observation it is."""

    quote: Quote
    row: Price

    @property
    def is_by_hand(self) -> bool:
        return self.row.source == prices.BY_HAND


@dataclass(frozen=True, slots=True)
class Coin:
    """All of one coin: its amount, what it was worth and what of it counted, in USD. `silence`: why nothing did.

    `schedule` is the version of the ratios that was in force.
    """

    asset: Asset
    piles: tuple[Pile, ...]
    amount: Decimal
    priced: Priced | None
    schedule: RatioSchedule | None
    slices: tuple[Slice, ...]
    market: Decimal
    counted: Decimal
    silence: Silence | None


@dataclass(frozen=True, slots=True)
class Owing:
    """One debt: booked until then, and due by then but booked later. `usd` None: its coin had no price."""

    owed: OwedDebt
    booked: Parts
    pending: Parts
    priced: Priced | None
    usd: Decimal | None


@dataclass(frozen=True, slots=True)
class Explained:
    """An LTV and everything it came from. `limits`: the rows that its lines came from."""

    state: GroupState
    point: Point
    worth: Worth
    band: Band
    coins: tuple[Coin, ...]
    debts: tuple[Owing, ...]
    limits: tuple[Limits, ...]

    @property
    def counted(self) -> list[Coin]:
        return [coin for coin in self.coins if coin.silence is None]

    @property
    def silent(self) -> list[Coin]:
        return [coin for coin in self.coins if coin.silence is not None]

    @property
    def prices(self) -> list[Priced]:
        """Each price that was used, by coin."""
        priced = [*(coin.priced for coin in self.counted), *(debt.priced for debt in self.debts)]
        used = [one for one in priced if one is not None]
        return sorted({one.quote.asset: one for one in used}.values(), key=lambda one: one.quote.asset)


def explain(group: CollateralGroup, *, at: datetime) -> Explained:
    """Explain the group's LTV at `at`, which is not before it was opened. About 25 queries."""
    state = past.state_at(group, at=at)
    worth = state.worth(permission=False)
    priced = _priced(state.quotes)
    return Explained(
        state=state,
        point=past.point_of(state),
        worth=worth,
        band=band(worth, state.lines),
        coins=_coins(state, priced),
        debts=tuple(_owing(owed, priced.get(owed.debt.asset_id)) for owed in state.debts),
        limits=tuple(parameters.limits_behind(group, at=at, owed=state.owed_assets)),
    )


def near(group: CollateralGroup, *, at: datetime) -> tuple[list[RiskEvent], list[RiskEvent]]:
    """What happened to the group up to `at` and after it, the nearest of each, oldest first."""
    rows = RiskEvent.objects.filter(group=group).select_related("debt__asset")
    earlier = rows.filter(at__lte=at).order_by("-at", "-pk")[:NEAR]
    later = rows.filter(at__gt=at).order_by("at", "pk")[:NEAR]
    return list(reversed(earlier)), list(later)


def moves_of(wallet: LedgerAccount, *, until: datetime) -> QuerySet[Transfer]:
    """Each transfer of a wallet up to `until`, newest first, with its `change` and the `balance` after it."""
    moved = Transfer.objects.filter(Q(debit=wallet) | Q(credit=wallet), entry__at__lte=until)
    moved = moved.annotate(change=Case(When(credit=wallet, then=F("amount")), default=-F("amount")))
    total = Window(Sum("change"), order_by=[F("entry__at").asc(), F("pk").asc()])
    return (
        moved.annotate(balance=total).select_related("entry", "debit", "credit").order_by("-entry__at", "-pk")
    )


def entries_of(debt_id: int, *, until: datetime) -> QuerySet[DebtEntry]:
    """Each entry of a debt up to `until`, newest first, with its `change` and the debt's `total` after it."""
    rows = DebtEntry.objects.filter(debt=debt_id, at__lte=until)
    rows = rows.annotate(change=F("principal") + F("interest") + F("late_fee"))
    total = Window(Sum("change"), order_by=[F("at").asc(), F("pk").asc()])
    return rows.annotate(total=total).select_related("entry").order_by("-at", "-pk")


# --- Private ----------------------------------------------------------------------------------------


def _priced(quotes: Mapping[str, Quote]) -> dict[str, Priced]:
    rows = Price.objects.in_bulk([quote.price_id for quote in quotes.values()])
    return {symbol: Priced(quote, rows[quote.price_id]) for symbol, quote in quotes.items()}


def _coins(state: GroupState, priced: Mapping[str, Priced]) -> tuple[Coin, ...]:
    """What counted first, by what it counted for."""
    piles = _piles(state)
    schedules = parameters.schedules_at(state.at, piles)
    assets = Asset.objects.in_bulk(sorted(piles))
    found = [
        _coin(state, assets[symbol], tuple(held), priced.get(symbol), schedules.get(symbol))
        for symbol, held in piles.items()
    ]
    return tuple(sorted(found, key=lambda coin: (coin.silence is not None, -coin.counted, coin.asset.pk)))


def _piles(state: GroupState) -> dict[str, list[Pile]]:
    """By coin, in order of the accounts; empty wallets are left out."""
    accounts = Account.objects.in_bulk(state.members)
    rows = LedgerAccount.objects.filter(account__in=state.members, kind=WALLET)
    wallets = {(row.account_id, row.asset_id): row for row in rows}
    found: dict[str, list[Pile]] = defaultdict(list)
    for wallet in state.wallets:
        if wallet.balance > 0:
            row = wallets[wallet.uid, wallet.asset]
            found[wallet.asset].append(Pile(accounts[wallet.uid], row, wallet.balance))
    return dict(found)


@exact
def _coin(
    state: GroupState,
    asset: Asset,
    piles: Sequence[Pile],
    priced: Priced | None,
    schedule: RatioSchedule | None,
) -> Coin:
    """Its slices are those of the holding that the state itself counts (R-GEN-32, R-GEN-33)."""
    amount = sum((pile.balance for pile in piles), ZERO)
    counts = any(holding.asset == asset.pk for holding in state.holdings(permission=False))
    market = amount * priced.quote.price if priced and counts else ZERO
    slices = valuation.slices(market_value=market, tiers=state.terms[asset.pk].tiers) if counts else ()
    return Coin(
        asset=asset,
        piles=tuple(piles),
        amount=amount,
        priced=priced,
        schedule=schedule,
        slices=slices,
        market=market,
        counted=sum((one.counted for one in slices), ZERO),
        silence=None if counts else _silence(state, asset.pk),
    )


def _silence(state: GroupState, symbol: str) -> Silence:
    if symbol not in state.coins:
        return Silence.NOT_CHOSEN
    return Silence.NO_RATIOS if symbol not in state.terms else Silence.NO_PRICE


@exact
def _owing(owed: OwedDebt, priced: Priced | None) -> Owing:
    debt, parts = owed.debt, owed.parts
    booked = Parts(late_fee=debt.late_fee, interest=debt.interest, principal=debt.principal)
    pending = Parts(
        late_fee=parts.late_fee - booked.late_fee,
        interest=parts.interest - booked.interest,
        principal=parts.principal - booked.principal,
    )
    usd = None if priced is None else parts.total * priced.quote.price
    return Owing(owed=owed, booked=booked, pending=pending, priced=priced, usd=usd)
