"""The pools as finance looks at them: what is free, lent and funded, the maturity ladder, and what a period brought.

Reads only (R-ADM-12). A period is (start, end]: the charge of a day is booked at the 00:00 UTC that ends it. Every
figure of a period comes from the ledger, so it can be followed to its entries.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db.models import QuerySet, Sum

from accounts.models import Asset, LedgerAccount, Transfer
from accounts.money import ZERO, divide_down
from risk import funding
from risk.ladder import Bucket, Rung, bucket_of, rungs
from risk.models import Debt, Tranche

Kind = LedgerAccount.Kind
SHOWN: Final = (Kind.POOL, Kind.PRINCIPAL, Kind.CAPITAL, Kind.LENDERS, Kind.COST_OWED, Kind.INSURANCE)
INCOME: Final = (Kind.INTEREST_INCOME, Kind.LATE_FEE_INCOME, Kind.FEE_INCOME)
COSTS: Final = (Kind.COST_OF_FUNDS, Kind.BAD_DEBT)


@dataclass(frozen=True, slots=True)
class Pool:
    """One coin of the desk, in the coin. `held` are the balances of its ledger accounts, by kind."""

    asset: Asset
    held: Mapping[str, Decimal]
    own: Decimal  # of capital, what is in tranches; the rest was there before them

    @property
    def is_used(self) -> bool:
        """Somebody owes of it, or somebody is owed for it."""
        return bool(self.lent or self.lenders or self.cost_owed)

    @property
    def free(self) -> Decimal:
        return self.held.get(Kind.POOL, ZERO)

    @property
    def lent(self) -> Decimal:
        return self.held.get(Kind.PRINCIPAL, ZERO)

    @property
    def capital(self) -> Decimal:
        return self.held.get(Kind.CAPITAL, ZERO)

    @property
    def lenders(self) -> Decimal:
        return self.held.get(Kind.LENDERS, ZERO)

    @property
    def cost_owed(self) -> Decimal:
        return self.held.get(Kind.COST_OWED, ZERO)

    @property
    def insurance(self) -> Decimal:
        return self.held.get(Kind.INSURANCE, ZERO)

    @property
    def use(self) -> Decimal | None:
        """Lent as a share of free and lent, rounded down at 4 decimals; None for an empty pool."""
        whole = self.free + self.lent
        return divide_down(self.lent, whole, 4) if whole else None


@dataclass(frozen=True, slots=True)
class Funded:
    """A tranche, what is left of it, and the cost that is due on it at an instant, booked or not."""

    tranche: Tranche
    principal: Decimal
    cost: Decimal


@dataclass(frozen=True, slots=True)
class Ladder:
    """The maturity ladder of one coin, and what is free in its pool now."""

    asset: Asset
    free: Decimal
    rungs: tuple[Rung, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What one coin brought in a period, in the coin."""

    interest: Decimal
    late_fees: Decimal
    liquidation_fees: Decimal
    cost_of_funds: Decimal
    bad_debt: Decimal

    @property
    def net(self) -> Decimal:
        return self.interest + self.late_fees + self.liquidation_fees - self.cost_of_funds - self.bad_debt


# --- Now --------------------------------------------------------------------------------------------


def pools() -> list[Pool]:
    """Every coin that a pool, a loan or a funding ever held, by symbol."""
    held: dict[str, dict[str, Decimal]] = {}
    for account in LedgerAccount.objects.house(*SHOWN):
        held.setdefault(account.asset_id, {})[account.kind] = account.balance
    own = dict(
        Tranche.objects.filter(lender="").order_by().values_list("asset").annotate(Sum("entries__principal"))
    )
    assets = Asset.objects.in_bulk(held)
    return [Pool(assets[symbol], held[symbol], own.get(symbol) or ZERO) for symbol in sorted(held)]


def pool_of(asset: Asset) -> Pool:
    """One coin's; empty when it never had any."""
    found = [pool for pool in pools() if pool.asset == asset]
    return found[0] if found else Pool(asset, {}, ZERO)


def funded(rows: Iterable[Tranche], *, at: datetime) -> list[Funded]:
    """The tranches with what is left of them; a cost that is due but not booked yet counts."""
    found = []
    for tranche in rows:
        owed = funding.owed_on(tranche)
        due = sum((cost for _, cost in funding.pending(tranche, at=at)), ZERO)
        found.append(Funded(tranche, owed.principal, owed.cost + due))
    return found


def ladder(*, at: datetime) -> list[Ladder]:
    """Per coin: principal of open loans by when it falls due against principal of tranches by when they mature."""
    debts: dict[str, list[tuple[datetime | None, Decimal]]] = {}
    for symbol, due_at, principal in lent().values_list("asset", "due_at", "principal"):
        debts.setdefault(symbol, []).append((due_at, principal))
    tranches: dict[str, list[tuple[datetime | None, Decimal]]] = {}
    open_ones = Tranche.objects.filter(closed_at__isnull=True).annotate(left=Sum("entries__principal"))
    for symbol, matures_at, left in open_ones.values_list("asset", "matures_at", "left"):
        tranches.setdefault(symbol, []).append((matures_at, left))
    piles = LedgerAccount.objects.house(Kind.POOL)
    free = {pile.asset_id: pile.balance for pile in piles}
    symbols = sorted({*debts, *tranches, *(symbol for symbol, amount in free.items() if amount)})
    assets = Asset.objects.in_bulk(symbols)
    return [
        Ladder(
            assets[symbol],
            free.get(symbol, ZERO),
            rungs(loans=debts.get(symbol, []), tranches=tranches.get(symbol, []), at=at),
        )
        for symbol in symbols
    ]


def lent() -> QuerySet[Debt]:
    """The debts whose principal is out, residual ones too."""
    return Debt.objects.open().filter(principal__gt=0)


def debts_of(asset: Asset, bucket: Bucket, *, at: datetime) -> list[Debt]:
    """The debts behind one number of the ladder, by when they fall due."""
    rows = lent().filter(asset=asset).select_related("customer", "asset", "loan").order_by("due_at", "pk")
    return [debt for debt in rows if bucket_of(debt.due_at, at=at) is bucket]


def tranches_of(asset: Asset, bucket: Bucket, *, at: datetime) -> list[Tranche]:
    """The tranches behind one number of the ladder, by when they mature."""
    rows = Tranche.objects.filter(asset=asset, closed_at__isnull=True).select_related("asset")
    found = rows.order_by("matures_at", "pk")
    return [tranche for tranche in found if bucket_of(tranche.matures_at, at=at) is bucket]


# --- A period ---------------------------------------------------------------------------------------


def result(*, start: datetime, end: datetime) -> dict[str, Result]:
    """What the desk earned and lost in (start, end], by coin; coins on which nothing moved are absent."""
    net = _net((*INCOME, *COSTS), start, end)
    moved = {(kind, coin): -amount if kind in COSTS else amount for (kind, coin), amount in net.items()}
    symbols = sorted({symbol for _, symbol in moved})
    return {
        symbol: Result(
            interest=moved.get((Kind.INTEREST_INCOME, symbol), ZERO),
            late_fees=moved.get((Kind.LATE_FEE_INCOME, symbol), ZERO),
            liquidation_fees=moved.get((Kind.FEE_INCOME, symbol), ZERO),
            cost_of_funds=moved.get((Kind.COST_OF_FUNDS, symbol), ZERO),
            bad_debt=moved.get((Kind.BAD_DEBT, symbol), ZERO),
        )
        for symbol in symbols
    }


def cost_of(*, start: datetime, end: datetime) -> dict[str, Decimal]:
    """What the funding cost in (start, end], by coin: charged, whether paid or not."""
    moved = _net((Kind.COST_OF_FUNDS,), start, end)
    return {symbol: -amount for (_, symbol), amount in sorted(moved.items())}


def _net(kinds: Collection[str], start: datetime, end: datetime) -> dict[tuple[str, str], Decimal]:
    """Credits less debits by (kind, coin) in (start, end]."""
    # Named one by one, so that what moved on these few is read, and not all that moved in the period.
    accounts = LedgerAccount.objects.house(*kinds).in_bulk()
    rows = Transfer.objects.filter(entry__at__gt=start, entry__at__lte=end).order_by()
    sums: dict[tuple[str, str], Decimal] = {}
    for side, sign in (("credit", 1), ("debit", -1)):
        found = rows.filter(**{f"{side}__in": list(accounts)}).values_list(side)
        for pk, total in found.annotate(total=Sum("amount")):
            key = (accounts[pk].kind, accounts[pk].asset_id)
            sums[key] = sums.get(key, ZERO) + sign * total
    return sums
