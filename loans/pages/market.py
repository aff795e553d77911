"""The demo's market panel: push the simulated prices and watch who is called and whose collateral is sold.

Only in a demo; elsewhere the page does not exist. A push is recorded as price ticks like any other, so what
follows is the real sweep's doing.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts.errors import Refused
from accounts.models import Asset, Customer
from accounts.pages.access import user_of
from accounts.pages.forms import REFUSED
from accounts.words import joined, tell
from loans.demo import market as hand
from loans.pages.desk_access import clients_of
from loans.pages.desk_rows import band_counts, group_rows, live_groups
from risk import parameters, prices
from risk.levels import BAND_WORDS, Band
from risk.models import RiskEvent, SweepRun

STEPS = (("-0.20", "−20 %"), ("-0.10", "−10 %"), ("-0.05", "−5 %"), ("0.05", "+5 %"), ("0.10", "+10 %"))
TOLD = (
    RiskEvent.Kind.BAND,
    RiskEvent.Kind.CALLED,
    RiskEvent.Kind.CALL_ENDED,
    RiskEvent.Kind.BLIND,
    RiskEvent.Kind.GRACE,
    RiskEvent.Kind.LIQUIDATION_ENDED,
)
LATEST = 12


class PushForm(forms.Form):
    """The coin ("" is all of them but stable ones) and the step; the buttons carry the steps."""

    asset = forms.ChoiceField(label=tell("Coin"), required=False)
    step = forms.ChoiceField(choices=STEPS, error_messages={"required": tell("Choose by how much.")})

    def __init__(self, *args: Any, symbols: list[str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [("", tell("All coins that are not stable")), *((symbol, symbol) for symbol in symbols)]
        self.fields["asset"].choices = choices  # type: ignore[attr-defined]


@dataclass(frozen=True, slots=True)
class Told:
    """Something that happened to a group, with the liquidation it led to."""

    event: RiskEvent
    liquidation_id: int | None

    @property
    def bands(self) -> str:
        """From which band to which, of a move between two."""
        facts = self.event.facts
        return joined(" \u2192 ", (BAND_WORDS[Band(facts["from"])], BAND_WORDS[Band(facts["to"])]))


@require_http_methods(["GET", "HEAD", "POST"])
@login_required
def market(request: HttpRequest) -> HttpResponse:
    if not settings.DEMO:
        raise Http404
    at = timezone.now()
    quotes = prices.latest(at=at, assets=prices.walks())
    form = PushForm(request.POST or None, symbols=sorted(quotes))
    if request.method == "POST" and form.is_valid():
        asset, step = form.cleaned_data["asset"], form.cleaned_data["step"]
        try:
            pushed = hand.push(asset or None, Decimal(step), at)
        except Refused as refusal:
            form.add_error(None, refusal.message)
        else:
            said = asset or tell("{count} coins", count=len({tick.asset_id for tick in pushed}))
            messages.success(
                request,
                tell(
                    "{said} moved by {steps}. The sweep looks within five seconds.",
                    said=said,
                    steps=dict(STEPS)[step],
                ),
            )
            return redirect("loans:market")
    context = {"form": form, "steps": STEPS, "quotes": _board(quotes)} | _seen(request, at)
    is_partial = request.headers.get("HX-Target") == "happens"
    template = "loans/market_happens.html" if is_partial else "loans/market.html"
    return render(request, template, context, status=REFUSED if form.errors else 200)


def _board(quotes: dict[str, prices.Quote]) -> list[tuple[Asset, prices.Quote]]:
    assets = Asset.objects.in_bulk(sorted(quotes))
    moving = [row for row in assets.values() if row.kind == Asset.Kind.CRYPTO]
    return sorted(((row, quotes[row.pk]) for row in moving), key=lambda pair: -pair[1].price)


def _seen(request: HttpRequest, at: datetime) -> dict[str, Any]:
    """The whole demo, whoever looks: that is what the panel is for."""
    everybody, user = live_groups(Customer.objects.all()), user_of(request)
    mine = set(Customer.objects.filter(memberships__user=user).values_list("pk", flat=True))
    current = parameters.settings_at(at)
    return {
        "at": at,
        "bands": band_counts(everybody),
        "rows": group_rows(everybody, at=at),
        "told": _told(),
        "last_sweep": SweepRun.objects.order_by("-at").first(),
        "waits": {"confirm": current.confirm_seconds, "hold": current.call_hold_seconds},
        "recent": at - timedelta(minutes=2),
        "opens": set(clients_of(user).values_list("pk", flat=True)) | mine,
        "mine": mine,
    }


def _told() -> list[Told]:
    events = (
        RiskEvent.objects.filter(kind__in=TOLD).select_related("group__customer").order_by("-id")[:LATEST]
    )
    return [Told(event, _liquidation(event)) for event in events]


def _liquidation(event: RiskEvent) -> int | None:
    number = event.facts.get("liquidation")
    return number if isinstance(number, int) else None
