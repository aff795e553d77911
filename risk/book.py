"""A group as it stands: its wallets, debts, prices, ratios and lines, read once and valued by the pure rules.

The one place that turns rows into a valuation: the gate, the sweep, the term check and the pages all ask here,
so they cannot disagree. A decision reads under the group's lock; a page reads without.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

from django.db import connection

from accounts import ledger
from accounts.models import Account, Asset, Customer
from accounts.money import ZERO
from risk import debts as debt_chapter
from risk import freezes, parameters, prices, valuation
from risk.debts import OwedDebt
from risk.handling import Handling
from risk.levels import Lines
from risk.models import CollateralGroup, Debt

WALLET = "spot"  # what counts for VIP loans (R-VIP-51)


@dataclass(frozen=True, slots=True)
class Wallet:
    """One coin in the counting wallet of one collateral account."""

    uid: int
    asset: str
    balance: Decimal


@dataclass(frozen=True, slots=True)
class GroupState:
    """Everything a decision about a group looks at. `group` is None for one that does not exist yet."""

    group: CollateralGroup | None
    at: datetime
    lines: Lines
    members: tuple[int, ...]
    coins: frozenset[str]
    wallets: tuple[Wallet, ...]
    debts: tuple[OwedDebt, ...]
    quotes: Mapping[str, prices.Quote]
    terms: Mapping[str, parameters.CoinTerms]
    assets: Mapping[str, Asset]
    is_liquidating: bool = False
    handling: Handling = Handling()
    borrowed: tuple[tuple[str, Decimal], ...] = ()  # hypothetical, on top of the debts
    frozen_coins: frozenset[str] = frozenset()  # these count nothing for new borrowing, only for that

    @property
    def owed_assets(self) -> set[str]:
        return {owed.debt.asset_id for owed in self.debts} | {asset for asset, _ in self.borrowed}

    @property
    def stale_debts(self) -> list[str]:
        """Coins owed whose price is missing or not fresh: nothing may be decided on them (R-GEN-22)."""
        return sorted(asset for asset in self.owed_assets if not self._is_fresh(asset))

    @property
    def stale_coins(self) -> list[str]:
        """Collateral coins held whose price is missing or not fresh; worth 0 for permissions (R-GEN-22)."""
        held = {wallet.asset for wallet in self.wallets if wallet.balance > 0}
        return sorted(
            asset for asset in held & self.coins if asset in self.terms and not self._is_fresh(asset)
        )

    @property
    def newest_price_at(self) -> datetime:
        """When the latest of the prices used was observed; a reading without a newer one says nothing new. R-GEN-23

        Pegged coins and currencies tick whatever the market does; they count where no other fresh price is used.
        """
        used = {wallet.asset for wallet in self.wallets if wallet.balance > 0} & self.coins | self.owed_assets
        crypto = {asset for asset in used if self.assets[asset].kind == Asset.Kind.CRYPTO}
        telling = {asset for asset in crypto if self._is_fresh(asset)} or used
        seen = [self.quotes[asset].observed_at for asset in telling if asset in self.quotes]
        return max(seen, default=datetime.min.replace(tzinfo=UTC))

    def holdings(self, *, permission: bool = True) -> list[valuation.Holding]:
        """What counts: chosen coins with ratios in force (R-GEN-33, 34). One row per account and coin.

        With `permission` a stale coin is left out; without, it counts at its last good price.
        """
        return [
            valuation.Holding(
                asset=wallet.asset,
                amount=wallet.balance,
                price=self.quotes[wallet.asset].price,
                tiers=self.terms[wallet.asset].tiers,
                places=self.assets[wallet.asset].places,
            )
            for wallet in self.wallets
            if wallet.balance > 0
            and wallet.asset in self.coins
            and wallet.asset in self.terms
            and wallet.asset in self.quotes
            and (self._is_fresh(wallet.asset) or not permission)
        ]

    def owed(self) -> list[valuation.Owed]:
        """What is owed, valued; a coin without any price cannot be (see `stale_debts`)."""
        booked = [(owed.debt.asset_id, owed.parts.total) for owed in self.debts]
        return [
            valuation.Owed(asset=asset, amount=amount, price=self.quotes[asset].price)
            for asset, amount in [*booked, *self.borrowed]
            if asset in self.quotes
        ]

    def worth(self, *, permission: bool = True) -> valuation.Worth:
        """Debt against recognised collateral, in USD (R-GEN-40)."""
        return valuation.worth(holdings=self.holdings(permission=permission), debts=self.owed())

    @property
    def movement_ltv(self) -> Decimal | None:
        """The LTV that a movement is judged on, as rows keep it; None also when what is owed has no fresh price."""
        return None if self.stale_debts else self.worth().told_ltv

    def changed(
        self,
        *,
        balances: Mapping[tuple[int, str], Decimal] | None = None,
        borrowed: Mapping[str, Decimal] | None = None,
        without_members: Collection[int] = (),
    ) -> "GroupState":
        """The state after a hypothetical change: wallet deltas by (uid, asset), coins borrowed, accounts gone."""
        deltas = dict(balances or {})
        held = {(wallet.uid, wallet.asset): wallet.balance for wallet in self.wallets}
        after = {key: held.get(key, ZERO) + deltas.get(key, ZERO) for key in {*held, *deltas}}
        members = tuple(uid for uid in self.members if uid not in without_members)
        return replace(
            self,
            members=members,
            wallets=tuple(
                Wallet(uid, asset, balance)
                for (uid, asset), balance in sorted(after.items())
                if uid in members
            ),
            borrowed=(*self.borrowed, *sorted((borrowed or {}).items())),
        )

    def for_borrowing(self) -> "GroupState":
        """The state as a new loan sees it: a frozen coin counts nothing. R-ADM-04"""
        return replace(self, coins=self.coins - self.frozen_coins)

    def _is_fresh(self, asset: str) -> bool:
        return asset in self.quotes and self.quotes[asset].fresh


def state_of(group: CollateralGroup, *, at: datetime) -> GroupState:
    """One group's state. Under its lock when something is decided on it."""
    return states([group], at=at)[group.pk]


def states(
    groups: Iterable[CollateralGroup], *, at: datetime, market: "Market | None" = None
) -> dict[int, GroupState]:
    """The state of each group, in a constant number of queries. `market`: that of `at`, where it is known already."""
    groups = list(groups)
    shapes = _shapes(groups)
    members = {pk: shape.members for pk, shape in shapes.items()}
    coins = {pk: shape.coins for pk, shape in shapes.items()}
    rows = list(Debt.objects.watched().filter(group__in=list(shapes)).order_by("pk"))
    if market is None:
        used = {a for c in coins.values() for a in c} | {row.asset_id for row in rows}
        market = market_at(at, symbols=used)
    owed = _owed(rows, market.assets, at=at)
    owed_assets = {pk: {row.debt.asset_id for row in rows} for pk, rows in owed.items()}
    lines = parameters.lines_by_group(
        groups, at=at, owed={g.pk: owed_assets.get(g.pk, set()) for g in groups}
    )
    handling = _handling(groups, at=at)
    balances = ledger.balances(account_ids=[uid for uids in members.values() for uid in uids], kinds=[WALLET])
    wallets: dict[int, list[Wallet]] = defaultdict(list)
    for (uid, _, asset), balance in sorted(balances.items()):
        wallets[uid].append(Wallet(uid, asset, balance))
    return {
        group.pk: GroupState(
            group=group,
            at=at,
            lines=lines[group.pk],
            members=tuple(members.get(group.pk, ())),
            coins=frozenset(coins.get(group.pk, ())),
            wallets=tuple(wallet for uid in members.get(group.pk, ()) for wallet in wallets.get(uid, ())),
            debts=tuple(owed.get(group.pk, ())),
            quotes=market.quotes,
            terms=market.terms,
            assets=market.assets,
            is_liquidating=shapes[group.pk].is_liquidating,
            handling=handling[group.pk],
            frozen_coins=market.frozen_coins & frozenset(coins.get(group.pk, ())),
        )
        for group in groups
    }


def market_at(at: datetime, *, symbols: Iterable[str] | None = None) -> "Market":
    """Of these coins, or of all."""
    assets = Asset.objects.in_bulk(None if symbols is None else sorted(set(symbols)))
    return Market(
        quotes=prices.latest(at=at, assets=sorted(assets)),
        terms=parameters.terms_at(at, assets=sorted(assets)),
        assets=assets,
        frozen_coins=freezes.frozen_coins(sorted(assets), at=at),
    )


def with_account(state: GroupState, uid: int) -> GroupState:
    """The state with one more collateral account, as it is now."""
    found = ledger.balances(account_ids=[uid], kinds=[WALLET])
    wallets = tuple(Wallet(uid, asset, balance) for (_, _, asset), balance in sorted(found.items()))
    return replace(state, members=(*state.members, uid), wallets=(*state.wallets, *wallets))


def prospect(
    *,
    customer: Customer,
    product: str,
    receiver: Account,
    accounts: Iterable[Account],
    coins: Iterable[str],
    borrowed: Mapping[str, Decimal],
    at: datetime,
) -> GroupState:
    """The receiver's group as it would be with these accounts, coins and new debts (terms check, R-VIP-13).

    Its lines are those in force now: of its open group, or of the customer and product (R-GEN-42).
    """
    group = CollateralGroup.objects.open().filter(receiver=receiver, product=product).first()
    base = state_of(group, at=at) if group else None
    uids = sorted({*(base.members if base else ()), *(account.pk for account in accounts)})
    chosen = frozenset({*(base.coins if base else ()), *coins})
    debts = base.debts if base else ()
    owed_assets = {owed.debt.asset_id for owed in debts} | set(borrowed)
    market = market_at(at, symbols={*chosen, *owed_assets})
    balances = ledger.balances(account_ids=uids, kinds=[WALLET])
    return GroupState(
        group=group,
        at=at,
        lines=parameters.lines_for(
            product=product, customer=customer, assets=owed_assets, at=at, group=group
        ),
        members=tuple(uids),
        coins=chosen,
        wallets=tuple(Wallet(uid, asset, balance) for (uid, _, asset), balance in sorted(balances.items())),
        debts=debts,
        quotes=market.quotes,
        terms=market.terms,
        assets=market.assets,
        is_liquidating=base.is_liquidating if base else False,
        handling=parameters.handling_for(product=product, customer=customer, at=at),
        borrowed=tuple(sorted(borrowed.items())),
        frozen_coins=market.frozen_coins & chosen,
    )


# --- Private ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Market:
    """What is the same for every group at an instant: prices, ratios, coins, and which of them are frozen."""

    quotes: Mapping[str, prices.Quote]
    terms: Mapping[str, parameters.CoinTerms]
    assets: Mapping[str, Asset]
    frozen_coins: frozenset[str]


def _handling(groups: list[CollateralGroup], *, at: datetime) -> dict[int, Handling]:
    found: dict[int, Handling] = {}
    for product in {group.product for group in groups}:
        mine = [group for group in groups if group.product == product]
        rules = parameters.handling_by_customer({group.customer_id for group in mine}, product=product, at=at)
        found |= {group.pk: rules[group.customer_id] for group in mine}
    return found


@dataclass(frozen=True, slots=True)
class _Shape:
    """Who and what belongs to a group now, and whether it is being sold."""

    members: tuple[int, ...]
    coins: tuple[str, ...]
    is_liquidating: bool


_SHAPES = """
    SELECT g.id,
        ARRAY(SELECT account_id FROM risk_member WHERE group_id = g.id AND released_at IS NULL ORDER BY account_id),
        ARRAY(SELECT asset_id FROM risk_groupcoin WHERE group_id = g.id AND released_at IS NULL ORDER BY asset_id),
        EXISTS(SELECT FROM risk_liquidation WHERE group_id = g.id AND status = 'running')
    FROM unnest(%s::bigint[]) AS g(id)
"""


def _shapes(groups: list[CollateralGroup]) -> dict[int, _Shape]:
    """One query: every page, the gate and the sweep ask this of each group they look at."""
    with connection.cursor() as cursor:
        cursor.execute(_SHAPES, [[group.pk for group in groups]])
        return {
            pk: _Shape(tuple(members), tuple(coins), is_liquidating)
            for pk, members, coins, is_liquidating in cursor.fetchall()
        }


def _owed(rows: list[Debt], assets: Mapping[str, Asset], *, at: datetime) -> dict[int, list[OwedDebt]]:
    for row in rows:
        row.asset = assets[row.asset_id]  # read for the market already
    owed = debt_chapter.owed_at(rows, at=at)
    found: dict[int, list[OwedDebt]] = defaultdict(list)
    for row in rows:
        found[row.group_id].append(owed[row.pk])
    return found
