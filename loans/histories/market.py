"""What the desk lends and what it takes as collateral today: rates and limits by level, ratios by tier (R-GEN-90)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from accounts.models import Asset, Customer
from accounts.money import RATE_PLACES, divide_up
from loans import rates
from loans.histories.scope import Asked, Part, Row, Scope
from loans.rates import Rate
from risk import parameters
from risk.interest import DAYS_PER_YEAR
from risk.models import ProductCode
from risk.valuation import Tiers


@dataclass(frozen=True, slots=True)
class LoanableRow:
    """A loan coin: yearly rates for the level, None where none is published, and the least and most USD per order."""

    asset: Asset
    vip_level: int
    flexible: Decimal | None
    fixed_30: Decimal | None
    fixed_60: Decimal | None
    minimum: Decimal | None
    maximum: Decimal | None

    @property
    def daily(self) -> tuple[Decimal | None, ...]:
        """Flexible, 30 and 60 days a day: a 365th, rounded up at 12 decimals. R-GEN-03"""
        return tuple(
            None if rate is None else divide_up(rate, Decimal(DAYS_PER_YEAR), RATE_PLACES)
            for rate in (self.flexible, self.fixed_30, self.fixed_60)
        )


@dataclass(frozen=True, slots=True)
class RateChange:
    """A published yearly rate of a coin, from an instant on; `kind` is flexible or fixed with its term."""

    asset: Asset
    kind: str
    starts_at: datetime
    annual_rate: Decimal


@dataclass(frozen=True, slots=True)
class CollateralCoin:
    """A collateral coin and what counts of it, by tiers of its market value in USD. R-GEN-31"""

    asset: Asset
    tiers: Tiers


def loanable(*, vip_level: int, at: datetime, customer: Customer | None = None) -> list[LoanableRow]:
    """Every loan coin with a rate at `at`; with `customer`, their own spread in it. R-GEN-90, R-VIP-22"""
    board = rates.board(vip_level=vip_level, at=at, customer=customer)
    limits = parameters.loan_limits(
        product=ProductCode.VIP, assets=[row.asset.pk for row in board], vip_level=vip_level, at=at
    )
    rows = []
    for row in board:
        limit, fixed = limits.get(row.asset.pk), [_rate(each) for each in row.fixed]
        rows.append(
            LoanableRow(
                asset=row.asset,
                vip_level=vip_level,
                flexible=_rate(row.flexible),
                fixed_30=fixed[0],
                fixed_60=fixed[1],
                minimum=limit.minimum if limit else None,
                maximum=limit.maximum if limit else None,
            )
        )
    return rows


def collateral(*, at: datetime) -> list[CollateralCoin]:
    """Every coin that counts at `at`, by symbol. R-GEN-90, R-GEN-33"""
    terms = parameters.terms_at(at)
    assets = Asset.objects.in_bulk(sorted(terms))
    return [CollateralCoin(assets[symbol], found.tiers) for symbol, found in sorted(terms.items())]


def rate_changes(scope: Scope, asked: Asked) -> Part[RateChange]:
    """Of the coin asked for, else of those the customer borrowed; the first was in force already. R-GEN-90, R-GEN-53"""
    borrowed = scope.loans().values_list("asset", flat=True)
    coins = Asset.objects.filter(pk__in=[asked.coin] if asked.coin else borrowed, loanable=True)
    found = []
    for asset in coins.order_by("pk"):
        series = rates.history(
            asset, vip_level=scope.customer.vip_level, since=asked.since, until=asked.until
        )
        found += [
            RateChange(asset, one.name, step.starts_at, step.rate) for one in series for step in one.steps
        ]
    found.sort(key=lambda row: (row.starts_at, row.asset.pk, row.kind), reverse=True)
    return _part(found, asked)


def loanable_part(scope: Scope, asked: Asked, *, at: datetime) -> Part[LoanableRow]:
    rows = loanable(vip_level=scope.customer.vip_level, at=at, customer=scope.customer)
    return _part([row for row in rows if asked.coin in ("", row.asset.pk)], asked)


def collateral_part(scope: Scope, asked: Asked, *, at: datetime) -> Part[CollateralCoin]:
    return _part([row for row in collateral(at=at) if asked.coin in ("", row.asset.pk)], asked)


def _part(rows: Sequence[Row], asked: Asked) -> Part[Row]:
    return Part(tuple(rows[asked.span]), len(rows))


def _rate(rate: Rate | None) -> Decimal | None:
    return None if rate is None else rate.annual_rate
