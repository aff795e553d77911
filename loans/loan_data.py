"""What the desk publishes for everybody: rates, limits, caps and lines by loan coin, ratios by collateral coin. Reads.

Nothing here is anybody's own: no spread, no client's lines. Rates are those of a VIP level (R-VIP-22).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from accounts.models import Asset
from loans import limits
from loans.histories import market
from loans.histories.market import LoanableRow
from risk import parameters
from risk.levels import Lines
from risk.models import LoanLimit, ProductCode, RatioSchedule
from risk.valuation import Tier, Tiers

MOST_CHANGES = 50  # of one coin on its page


@dataclass(frozen=True, slots=True)
class LoanCoin:
    """A coin that is lent. USD; None: no such limit. `lines` None: none are published."""

    asset: Asset
    rates: LoanableRow
    per_client: Decimal | None
    of_desk: Decimal | None
    lines: Lines | None


@dataclass(frozen=True, slots=True)
class CollateralCoin:
    """A coin that counts, by tiers of its market value; what one client and the desk take of it at most, in USD."""

    asset: Asset
    tiers: Tiers
    per_client: Decimal | None
    of_desk: Decimal | None


@dataclass(frozen=True, slots=True)
class RatioChange:
    """Ratios of a coin from an instant on, which may lie ahead once it is announced."""

    starts_at: datetime
    tiers: Tiers
    is_ahead: bool


def lent(*, vip_level: int, at: datetime, search: str = "") -> list[LoanCoin]:
    """Every coin lent at `at` to this level whose symbol or name holds `search`. R-GEN-53, R-VIP-06, R-GEN-42"""
    rows = [row for row in market.loanable(vip_level=vip_level, at=at) if _is_found(row.asset, search)]
    symbols = [row.asset.pk for row in rows]
    own = parameters.loan_limits(product=ProductCode.VIP, assets=symbols, vip_level=vip_level, at=at)
    caps, lines = limits.caps_at(symbols, at=at), _lines(symbols, at)
    return [
        LoanCoin(
            asset=row.asset,
            rates=row,
            per_client=own[row.asset.pk].user_maximum if row.asset.pk in own else None,
            of_desk=caps[row.asset.pk].platform_borrow if row.asset.pk in caps else None,
            lines=lines.get(row.asset.pk),
        )
        for row in rows
    ]


def counted(*, at: datetime, search: str = "") -> list[CollateralCoin]:
    """Every coin that counts as collateral at `at` and is found, by symbol. R-GEN-31, R-GEN-37"""
    rows = [row for row in market.collateral(at=at) if _is_found(row.asset, search)]
    caps = limits.caps_at([row.asset.pk for row in rows], at=at)
    return [
        CollateralCoin(
            asset=row.asset,
            tiers=row.tiers,
            per_client=caps[row.asset.pk].user_collateral if row.asset.pk in caps else None,
            of_desk=caps[row.asset.pk].platform_collateral if row.asset.pk in caps else None,
        )
        for row in rows
    ]


def ratio_changes(asset: Asset, *, at: datetime) -> list[RatioChange]:
    """The coin's ratios, newest first, and those announced by `at`; at most fifty. R-GEN-36"""
    rows = RatioSchedule.objects.filter(asset=asset).order_by("-effective_at").prefetch_related("tiers")
    told = [
        row
        for row in rows[:MOST_CHANGES]
        if row.effective_at <= at or (row.announced_at is not None and row.announced_at <= at)
    ]
    return [
        RatioChange(
            row.effective_at,
            tuple(Tier(one.floor, one.ratio) for one in sorted(row.tiers.all(), key=lambda tier: tier.floor)),
            row.effective_at > at,
        )
        for row in told
    ]


def limit_changes(asset: Asset, *, vip_level: int, at: datetime) -> list[LoanLimit]:
    """What one request of the coin could be at least and at most for this level, newest first. R-VIP-06"""
    rows = LoanLimit.objects.filter(product=ProductCode.VIP, asset=asset, effective_at__lte=at)
    own = rows.filter(vip_level=vip_level)
    found = own if own.exists() else rows.filter(vip_level=None)
    return list(found.order_by("-effective_at")[:MOST_CHANGES])


# --- Private ----------------------------------------------------------------------------------------


def _is_found(asset: Asset, search: str) -> bool:
    return search.casefold() in f"{asset.pk} {asset.name}".casefold()


def _lines(symbols: Sequence[str], at: datetime) -> dict[str, Lines]:
    try:
        return parameters.lines_by_coin(product=ProductCode.VIP, assets=symbols, at=at)
    except parameters.NotPublished:
        return {}
