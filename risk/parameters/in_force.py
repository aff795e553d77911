"""The parameters in force at an instant, its own included: reads only, the same for a job that runs late."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Protocol, TypeVar

from django.db import models
from django.db.models import F, Q

from accounts.errors import Refused
from accounts.models import Asset, Customer
from risk.handling import CallTrades, FeeBase, Handling, Mode
from risk.interest import RateStep
from risk.levels import Lines
from risk.models import (
    CollateralGroup,
    CollateralTier,
    FeedRule,
    FlexibleRate,
    HandlingRule,
    Limits,
    LoanLimit,
    RatioSchedule,
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
    shared = Q(group__isnull=True) & (Q(customer__isnull=True) | Q(customer=customer))
    rows = Limits.objects.filter(shared if group is None else shared | Q(group=group), product=product)
    return _resolved(
        _lines_in_force(rows, at),
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
    shared = Q(group__isnull=True) & (Q(customer__isnull=True) | Q(customer__in=customers))
    in_force = _lines_in_force(
        Limits.objects.filter(shared | Q(group__in=[group.pk for group in groups])), at
    ) | dict(proposed or {})
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


def handling_for(*, product: str, customer: Customer | int, at: datetime) -> Handling:
    """How the customer's groups of the product are handled at `at`: its own rule, the product's, the default.

    R-GEN-73, R-GEN-75, R-VIP-54, R-VIP-63
    """
    customer_id = customer.pk if isinstance(customer, Customer) else customer
    return handling_by_customer([customer_id], product=product, at=at)[customer_id]


def handling_by_customer(customers: Iterable[int], *, product: str, at: datetime) -> dict[int, Handling]:
    """`handling_for` of many customers in one query. A rule that has ended gives way to the product's."""
    customers = list(customers)
    rows = HandlingRule.objects.filter(product=product, effective_at__lte=at)
    rows = rows.filter(Q(customer__isnull=True) | Q(customer__in=customers))
    latest = rows.order_by("customer_id", "-effective_at").distinct("customer_id")
    in_force = {row.customer_id: _handling(row) for row in latest if row.ends_at is None or row.ends_at > at}
    default = in_force.get(None, Handling())
    return {customer_id: in_force.get(customer_id, default) for customer_id in customers}


def _handling(row: HandlingRule) -> Handling:
    return Handling(
        mode=Mode(row.mode),
        target=row.target,
        step_share=row.step_share,
        full_below_usd=row.full_below_usd,
        fee_base=FeeBase(row.fee_base),
        call_trades=CallTrades(row.call_trades),
    )


def terms_at(at: datetime, assets: Iterable[str] | None = None) -> dict[str, CoinTerms]:
    """The ratios in force at `at` of each collateral coin that has any; all coins, or those of `assets`.

    A coin that is missing counts nothing (R-GEN-33). Two queries.
    """
    schedules = RatioSchedule.objects.filter(effective_at__lte=at, asset__collateral=True)
    if assets is not None:
        schedules = schedules.filter(asset__in=list(assets))
    in_force = list(schedules.order_by("asset_id", "-effective_at").distinct("asset_id"))
    tiers: dict[int, list[Tier]] = defaultdict(list)
    for tier in CollateralTier.objects.filter(schedule__in=in_force).order_by("schedule_id", "floor"):
        tiers[tier.schedule_id].append(Tier(floor=tier.floor, ratio=tier.ratio))
    return {
        row.asset_id: CoinTerms(tiers=tuple(tiers[row.pk]), rank=row.liquidation_rank) for row in in_force
    }


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
        raise NotPublished(f"{asset} has no flexible rate at {at:%Y-%m-%d %H:%M} UTC.")
    rate: Decimal = row.annual_rate
    return rate


def flexible_steps(product: str, assets: Iterable[str]) -> dict[str, list[RateStep]]:
    """The whole history of flexible rates of each coin that has any, oldest first (R-GEN-53). One query."""
    rows = FlexibleRate.objects.filter(product=product, asset__in=list(assets))
    steps: dict[str, list[RateStep]] = defaultdict(list)
    for row in rows.order_by("asset_id", "effective_at"):
        steps[row.asset_id].append(RateStep(starts_at=row.effective_at, annual_rate=row.annual_rate))
    return dict(steps)


def _lines_in_force(rows: "models.QuerySet[Limits]", at: datetime) -> dict[Scope, Lines]:
    scope = ("product", "asset_id", "customer_id", "group_id")
    latest = rows.filter(effective_at__lte=at).order_by(*scope, "-effective_at").distinct(*scope)
    found = latest.values_list(*scope, "ends_at", *LINE_NAMES)
    # A row that has ended leaves its scope empty; the row before it does not come back.
    return {row[:4]: _lines(*row[5:]) for row in found if row[4] is None or row[4] > at}


def _resolved(
    in_force: Mapping[Scope, Lines],
    *,
    product: str,
    customer_id: int | None,
    group_id: int | None,
    assets: Iterable[str],
) -> Lines:
    """R-GEN-42: signed > customer > the strictest of the coins' > product."""
    if group_id is not None and (signed := in_force.get((product, None, None, group_id))):
        return signed
    if customer_id is not None and (own := in_force.get((product, None, customer_id, None))):
        return own
    default = in_force.get((product, None, None, None))
    if default is None:
        raise NotPublished(f"No LTV lines are published for the product {product}.")
    asked = {in_force.get((product, asset, None, None), default) for asset in assets}
    return _strictest(asked or {default})


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
