"""The parameters in force at an instant, its own included: reads only, the same for a job that runs late."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Protocol, TypeVar

from django.db import connection, models
from django.db.models import F, Q

from accounts.errors import Refused
from accounts.models import Asset, Customer
from accounts.words import joined, tell
from risk.handling import CallTrades, FeeBase, Handling, Mode
from risk.interest import RateStep
from risk.levels import Lines
from risk.models import (
    CollateralGroup,
    FeedRule,
    FlexibleRate,
    Limits,
    LoanLimit,
    RatioSchedule,
    Redemption,
    Settings,
)
from risk.valuation import Tier, Tiers

LINE_NAMES = tuple(field.name for field in fields(Lines))

Row = TypeVar("Row", bound=models.Model)
_lines = lru_cache(maxsize=1024)(Lines)  # nearly every group has the same, and each checks itself when made

Scope = tuple[str, str | None, int | None, int | None]  # product, asset, customer, group


class Watched(Protocol):
    """What of a group decides its lines: the row itself, or as much of it as a screen over all groups has read."""

    @property
    def pk(self) -> int: ...
    @property
    def product(self) -> str: ...
    @property
    def customer_id(self) -> int: ...


class NotPublished(Refused):
    """Something is asked of a product or coin whose parameters nobody has published."""

    code = "not_published"


@dataclass(frozen=True, slots=True)
class CoinTerms:
    """What a collateral coin counts for, by tiers, and when it is sold: lower ranks first (R-GEN-72)."""

    tiers: Tiers
    rank: int


def settings_at(at: datetime) -> Settings:
    """The waits and tolerances in force at `at`; an unsaved row of defaults before any is published."""
    row = Settings.objects.filter(effective_at__lte=at).order_by("-effective_at").first()
    return row or _typed(Settings(effective_at=at))


def feed_rules_at(at: datetime) -> Callable[[str], FeedRule]:
    """What makes a price believable at `at`, by coin: its own rule, else the rule for all (R-GEN-21). One query."""
    in_force = FeedRule.objects.filter(effective_at__lte=at)
    rows = {row.asset_id: row for row in in_force.order_by("asset_id", "-effective_at").distinct("asset_id")}
    for_all = rows.get(None) or _typed(FeedRule(effective_at=at))
    return lambda asset: rows.get(asset, for_all)


def redemptions_at(at: datetime) -> dict[str, Redemption]:
    """What is redeemed for what at `at`, by coin; one whose ratio has ended is left out (R-FTR-21). One query."""
    in_force = Redemption.objects.filter(effective_at__lte=at)
    rows = in_force.order_by("asset_id", "-effective_at").distinct("asset_id")
    return {row.asset_id: row for row in rows if row.ratio is not None}


def lines_for(
    *,
    product: str,
    customer: Customer | None,
    assets: Iterable[str],
    at: datetime,
    group: CollateralGroup | None = None,
) -> Lines:
    """The lines of a group that owes `assets`, in force at `at` (R-GEN-42, R-VIP-24).

    The group's signed lines, else the customer's until they end, else the strictest that its coins ask for: each
    coin's own or, without any, the product's. Without a customer, what anybody gets.

    Raises:
        NotPublished: nothing is published for the product.
    """
    customers = [] if customer is None else [customer.pk]
    return _resolved(
        _lines_in_force(customers=customers, groups=[] if group is None else [group.pk], at=at),
        product=product,
        customer_id=None if customer is None else customer.pk,
        group_id=None if group is None else group.pk,
        assets=assets,
    )


def lines_by_group(
    groups: Iterable[Watched],
    *,
    at: datetime,
    owed: Mapping[int, set[str]],
    proposed: Mapping[Scope, Lines] | None = None,
) -> dict[int, Lines]:
    """`lines_for` of many groups in one query; `owed` gives the coins each owes, by the group's key.

    `proposed` are lines of other scopes, or other lines of a scope, as if they were in force.

    Raises:
        NotPublished: nothing is published for the product of one of them.
    """
    groups = list(groups)
    customers = {group.customer_id for group in groups}
    in_force = _lines_in_force(customers=customers, groups=[group.pk for group in groups], at=at)
    in_force |= dict(proposed or {})
    return {
        group.pk: _resolved(
            in_force,
            product=group.product,
            customer_id=group.customer_id,
            group_id=group.pk,
            assets=owed.get(group.pk, ()),
        )
        for group in groups
    }


def limits_behind(group: Watched, *, at: datetime, owed: Iterable[str]) -> list[Limits]:
    """The rows that `lines_by_group` takes a group's lines from at `at`; several where coins ask for their own."""
    in_force = _lines_in_force(customers=[group.customer_id], groups=[group.pk], at=at)
    scopes = _deciding(
        in_force, product=group.product, customer_id=group.customer_id, group_id=group.pk, assets=owed
    )
    order = ("product", "asset_id", "customer_id", "group_id")
    rows = Limits.objects.filter(product=group.product, effective_at__lte=at)
    rows = rows.filter(
        Q(group=group.pk) | Q(group__isnull=True) & (Q(customer__isnull=True) | Q(customer=group.customer_id))
    )
    newest = rows.order_by(*order, "-effective_at").distinct(*order)
    return [row for row in newest if (row.product, row.asset_id, row.customer_id, row.group_id) in scopes]


def schedules_at(at: datetime, assets: Iterable[str]) -> dict[str, RatioSchedule]:
    """The rows that `terms_at` takes each coin's tiers from at `at`, switched off as collateral or not. One query."""
    rows = RatioSchedule.objects.filter(effective_at__lte=at, asset__in=list(assets))
    return {row.asset_id: row for row in rows.order_by("asset_id", "-effective_at").distinct("asset_id")}


def lines_by_coin(*, product: str, assets: Iterable[str], at: datetime) -> dict[str, Lines]:
    """What anybody gets who owes one of these coins alone: the coin's own lines or the product's. One query. R-GEN-42

    Raises:
        NotPublished: nothing is published for the product.
    """
    found = _lines_in_force(customers=[], groups=[], at=at)
    return {
        asset: _resolved(found, product=product, customer_id=None, group_id=None, assets=[asset])
        for asset in assets
    }


def handling_for(*, product: str, customer: Customer | int, at: datetime) -> Handling:
    """How the customer's groups of the product are handled at `at`: its own rule, the product's, the default.

    R-GEN-73, R-GEN-75, R-VIP-54, R-VIP-63
    """
    customer_id = customer.pk if isinstance(customer, Customer) else customer
    return handling_by_customer([customer_id], product=product, at=at)[customer_id]


def handling_by_customer(customers: Iterable[int], *, product: str, at: datetime) -> dict[int, Handling]:
    """`handling_for` of many customers in one query. A rule that has ended gives way to the product's."""
    customers = list(customers)
    with connection.cursor() as cursor:
        cursor.execute(_HANDLING, {"at": at, "product": product, "customers": customers})
        latest = cursor.fetchall()
    in_force = {row[0]: _handling(*row[2:]) for row in latest if row[1] is None or row[1] > at}
    default = in_force.get(None, Handling())
    return {customer_id: in_force.get(customer_id, default) for customer_id in customers}


_HANDLING = """
    SELECT DISTINCT ON (customer_id)
        customer_id, ends_at, mode, target, step_share, full_below_usd, fee_base, call_trades
    FROM risk_handlingrule
    WHERE product = %(product)s AND effective_at <= %(at)s
        AND (customer_id IS NULL OR customer_id = ANY (%(customers)s::bigint[]))
    ORDER BY customer_id, effective_at DESC
"""


def _handling(
    mode: str,
    target: Decimal | None,
    step_share: Decimal,
    full_below_usd: Decimal,
    fee_base: str,
    call_trades: str,
) -> Handling:
    return Handling(
        mode=Mode(mode),
        target=target,
        step_share=step_share,
        full_below_usd=full_below_usd,
        fee_base=FeeBase(fee_base),
        call_trades=CallTrades(call_trades),
    )


def terms_at(at: datetime, assets: Iterable[str] | None = None) -> dict[str, CoinTerms]:
    """The ratios in force at `at` of each collateral coin that has any; all coins, or those of `assets`.

    A coin that is missing counts nothing (R-GEN-33). One query.
    """
    found: dict[str, tuple[int, list[Tier]]] = {}
    with connection.cursor() as cursor:
        wanted = None if assets is None else list(assets)
        cursor.execute(_TERMS, {"at": at, "assets": wanted})
        for asset, rank, floor, ratio in cursor.fetchall():
            _, tiers = found.setdefault(asset, (rank, []))
            if floor is not None:
                tiers.append(Tier(floor=floor, ratio=ratio))
    return {asset: CoinTerms(tiers=tuple(tiers), rank=rank) for asset, (rank, tiers) in found.items()}


_TERMS = """
    SELECT schedule.asset_id, schedule.liquidation_rank, tier.floor, tier.ratio FROM (
        SELECT DISTINCT ON (row.asset_id) row.id, row.asset_id, row.liquidation_rank
        FROM risk_ratioschedule row JOIN accounts_asset asset ON asset.symbol = row.asset_id AND asset.collateral
        WHERE row.effective_at <= %(at)s AND (%(assets)s::text[] IS NULL OR row.asset_id = ANY (%(assets)s::text[]))
        ORDER BY row.asset_id, row.effective_at DESC) schedule
    LEFT JOIN risk_collateraltier tier ON tier.schedule_id = schedule.id
    ORDER BY schedule.asset_id, tier.floor
"""


def loan_limit(*, product: str, asset: Asset | str, vip_level: int, at: datetime) -> LoanLimit | None:
    """How much of a coin one order may borrow: the VIP level's own row, else that for all levels (R-VIP-06)."""
    symbol = asset.pk if isinstance(asset, Asset) else asset
    return loan_limits(product=product, assets=[symbol], vip_level=vip_level, at=at).get(symbol)


def loan_limits(*, product: str, assets: Iterable[str], vip_level: int, at: datetime) -> dict[str, LoanLimit]:
    """As `loan_limit` for many coins at once, by symbol; those without a limit are not in it. One query."""
    rows = LoanLimit.objects.filter(product=product, asset__in=list(assets), effective_at__lte=at)
    rows = rows.filter(Q(vip_level=vip_level) | Q(vip_level__isnull=True))
    order = ("asset", F("vip_level").asc(nulls_last=True), "-effective_at")
    return {row.asset_id: row for row in rows.order_by(*order).distinct("asset")}


def flexible_rate(*, product: str, asset: Asset | str, at: datetime) -> Decimal:
    """The annual rate of flexible debts in force at `at`, its own instant included (R-VIP-23).

    Raises:
        NotPublished: the coin has no flexible rate yet.
    """
    rows = FlexibleRate.objects.filter(product=product, asset=asset, effective_at__lte=at)
    row = rows.order_by("-effective_at").first()
    if row is None:
        raise NotPublished(
            tell("{asset} has no flexible rate at {at:%Y-%m-%d %H:%M} UTC.", asset=asset, at=at)
        )
    rate: Decimal = row.annual_rate
    return rate


def flexible_steps(product: str, assets: Iterable[str]) -> dict[str, list[RateStep]]:
    """The whole history of flexible rates of each coin that has any, oldest first (R-GEN-53). One query."""
    rows = FlexibleRate.objects.filter(product=product, asset__in=list(assets))
    steps: dict[str, list[RateStep]] = defaultdict(list)
    for row in rows.order_by("asset_id", "effective_at"):
        steps[row.asset_id].append(RateStep(starts_at=row.effective_at, annual_rate=row.annual_rate))
    return dict(steps)


_LINES = f"""
    SELECT DISTINCT ON (product, asset_id, customer_id, group_id)
        product, asset_id, customer_id, group_id, ends_at, {joined(", ", LINE_NAMES)}
    FROM risk_limits
    WHERE effective_at <= %(at)s AND (group_id = ANY (%(groups)s::bigint[])
        OR group_id IS NULL AND (customer_id IS NULL OR customer_id = ANY (%(customers)s::bigint[])))
    ORDER BY product, asset_id, customer_id, group_id, effective_at DESC
"""  # noqa: S608  the names of our own columns


def _lines_in_force(*, customers: Iterable[int], groups: Iterable[int], at: datetime) -> dict[Scope, Lines]:
    """The lines of each scope that could be these customers' and groups'. One query, asked by every valuation."""
    with connection.cursor() as cursor:
        cursor.execute(_LINES, {"at": at, "customers": list(customers), "groups": list(groups)})
        found = cursor.fetchall()
    # A row that has ended leaves its scope empty; the row before it does not come back.
    return {tuple(row[:4]): _lines(*row[5:]) for row in found if row[4] is None or row[4] > at}


def _resolved(
    in_force: Mapping[Scope, Lines],
    *,
    product: str,
    customer_id: int | None,
    group_id: int | None,
    assets: Iterable[str],
) -> Lines:
    """The lines of the scopes that decide. R-GEN-42"""
    deciding = _deciding(in_force, product=product, customer_id=customer_id, group_id=group_id, assets=assets)
    return _strictest({in_force[scope] for scope in deciding})


def _deciding(
    in_force: Mapping[Scope, Lines],
    *,
    product: str,
    customer_id: int | None,
    group_id: int | None,
    assets: Iterable[str],
) -> set[Scope]:
    """R-GEN-42: signed > customer > the strictest of the coins' > product."""
    signed: Scope = (product, None, None, group_id)
    if group_id is not None and signed in in_force:
        return {signed}
    own: Scope = (product, None, customer_id, None)
    if customer_id is not None and own in in_force:
        return {own}
    default: Scope = (product, None, None, None)
    if default not in in_force:
        raise NotPublished(tell("No LTV lines are published for the product {product}.", product=product))
    asked: set[Scope] = {(product, asset, None, None) for asset in assets}
    return {scope if scope in in_force else default for scope in asked} or {default}


def _strictest(all_lines: set[Lines]) -> Lines:
    """The lowest of each line and the highest fee. In order again, since every one of them was (R-GEN-43)."""
    if len(all_lines) == 1:
        return next(iter(all_lines))
    return Lines(
        initial=min(lines.initial for lines in all_lines),
        margin_call=min(lines.margin_call for lines in all_lines),
        liquidation=min(lines.liquidation for lines in all_lines),
        cutoff=min(lines.cutoff for lines in all_lines),
        fee=max(lines.fee for lines in all_lines),
    )


def _typed(row: Row) -> Row:
    """An unsaved row as the database would give it back; Django leaves defaults as they are written, as text."""
    for field in row._meta.concrete_fields:
        setattr(row, field.attname, field.to_python(getattr(row, field.attname)))
    return row
