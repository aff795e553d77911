"""The price board: what every coin is worth here, since when, and how much of it counts as collateral."""

from dataclasses import dataclass
from decimal import Decimal

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts.models import Asset
from risk import parameters, prices
from risk.pages.standing import ratios_in_words


@dataclass(frozen=True, slots=True)
class Row:
    asset: Asset
    quote: prices.Quote
    ratios: str
    best_ratio: Decimal


@require_safe
@login_required
def market(request: HttpRequest) -> HttpResponse:
    """Coins with a price. What has none can be neither lent nor counted."""
    at = timezone.now()
    quotes = prices.latest(at=at)
    terms = parameters.terms_at(at)
    rows = [
        Row(
            asset=asset,
            quote=quotes[asset.pk],
            ratios=ratios_in_words(terms[asset.pk].tiers) if asset.pk in terms else "",
            best_ratio=terms[asset.pk].tiers[0].ratio if asset.pk in terms else Decimal(0),
        )
        for asset in Asset.objects.filter(pk__in=quotes).order_by("pk")
    ]
    return render(request, "risk/market.html", {"rows": rows, "at": at})
