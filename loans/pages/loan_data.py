"""Loan data: what the desk publishes for everybody, searched, and as files. Needs no account (R-GEN-53, R-VIP-22)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import exports
from accounts.models import Asset
from accounts.pages.access import customer_of
from loans import loan_data, ratecards, rates
from loans.pages.history_tabs import tiers_plain
from risk.models import ProductCode
from risk.pages.standing import ratios_in_words

LEVELS: Final = range(1, 10)
LONGEST_SEARCH: Final = 40
DAYS_BACK: Final = 90
LENT: Final = (
    *("asset", "vip_level", "flexible_rate", "fixed_30_rate", "fixed_60_rate", "minimum_usd", "maximum_usd"),
    *("per_client_usd", "of_desk_usd", "initial_ltv", "margin_call_ltv", "liquidation_ltv"),
)
COUNTED: Final = ("asset", "ratios", "per_client_usd", "of_desk_usd")

Row = TypeVar("Row", loan_data.CollateralCoin, loan_data.RatioChange)


@dataclass(frozen=True, slots=True)
class Asked:
    """What is looked for, and for which VIP level."""

    search: str
    level: int

    @property
    def query(self) -> str:
        return urlencode({"q": self.search, "level": self.level})


@require_safe
def index(request: HttpRequest) -> HttpResponse:
    at, asked = timezone.now(), _asked(request)
    context = {
        "at": at,
        "asked": asked,
        "levels": LEVELS,
        "lent": loan_data.lent(vip_level=asked.level, at=at, search=asked.search),
        "counted": _in_words(loan_data.counted(at=at, search=asked.search)),
        "product": ratecards.product_at(ProductCode.VIP, at=at),
    }
    return render(request, "loans/loan_data.html", context)


@require_safe
def coin(request: HttpRequest, symbol: str) -> HttpResponse:
    """One coin: its rates of the last 90 days, its ratios and its limits, each with what was before."""
    at, asked = timezone.now(), _asked(request)
    asset = get_object_or_404(Asset, pk=symbol)
    since = datetime.combine(at.date() - timedelta(days=DAYS_BACK), time(), UTC)
    context = {
        "at": at,
        "asked": asked,
        "levels": LEVELS,
        "asset": asset,
        "series": rates.history(asset, vip_level=asked.level, since=since, until=at)
        if asset.loanable
        else [],
        "limits": loan_data.limit_changes(asset, vip_level=asked.level, at=at) if asset.loanable else [],
        "ratios": _in_words(loan_data.ratio_changes(asset, at=at) if asset.collateral else []),
    }
    return render(request, "loans/loan_data_coin.html", context)


@require_safe
def lent_csv(request: HttpRequest) -> HttpResponse:
    """Rates and lines as fractions, limits in USD; empty where there is none."""
    at, asked = timezone.now(), _asked(request)
    found = loan_data.lent(vip_level=asked.level, at=at, search=asked.search)
    return _file("loan-coins", LENT, (_lent_row(row) for row in found))


@require_safe
def counted_csv(request: HttpRequest) -> HttpResponse:
    found = loan_data.counted(at=timezone.now(), search=_asked(request).search)
    rows = ([row.asset.pk, tiers_plain(row.tiers), row.per_client, row.of_desk] for row in found)
    return _file("collateral-coins", COUNTED, rows)


# --- Private ----------------------------------------------------------------------------------------


def _asked(request: HttpRequest) -> Asked:
    """A borrower's own level unless another is asked for."""
    level, customer = request.GET.get("level", ""), customer_of(request)
    own = customer.vip_level if customer is not None and customer.vip_level in LEVELS else LEVELS[0]
    chosen = int(level) if level in {str(one) for one in LEVELS} else own
    return Asked(request.GET.get("q", "").strip()[:LONGEST_SEARCH], chosen)


def _in_words(rows: Iterable[Row]) -> list[tuple[Row, str]]:
    return [(row, ratios_in_words(row.tiers)) for row in rows]


def _lent_row(row: loan_data.LoanCoin) -> list[Any]:
    rate, lines = row.rates, row.lines
    ltvs = [lines.initial, lines.margin_call, lines.liquidation] if lines else [None, None, None]
    return [
        *(row.asset.pk, rate.vip_level, rate.flexible, rate.fixed_30, rate.fixed_60),
        *(rate.minimum, rate.maximum, row.per_client, row.of_desk, *ltvs),
    ]


def _file(name: str, header: Sequence[str], rows: Iterable[Sequence[object]]) -> HttpResponse:
    file = exports.as_csv(f"{name}.csv", header, rows)
    headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
    return HttpResponse(file.content, content_type=file.content_type, headers=headers)
