"""The rates: today's by coin, term and level, and each coin's history as a chart, as rows and as data (R-GEN-53).

A borrower sees the rates of their own level, on the board with their own spread in them; the house sees any level's.
What is published of a coin needs no account.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

from accounts import exports
from accounts.models import Asset
from accounts.pages.access import customer_of
from accounts.pages.forms import REFUSED
from accounts.words import joined, tell
from loans import charts, ratecards, rates
from loans.rates import Series

DEFAULT_DAYS: Final = 90
MOST_DAYS: Final = 180  # of one query (R-GEN-90)
FIRST_DAY, LAST_DAY = date(2000, 1, 1), date(2100, 12, 31)  # the calendar ends; no rate is near its ends
WIDTH, HEIGHT = 720, 200
DASHES: Final = {"flexible": "", "fixed_30": "8 4", "fixed_60": "2 4"}  # told apart without colour


class PeriodForm(forms.Form):
    """Whole days, both included; empty is the last 90 days."""

    since = forms.DateField(
        label=tell("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    until = forms.DateField(
        label=tell("To"), required=False, widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    level = forms.IntegerField(label=tell("VIP level"), required=False, min_value=0, max_value=9)

    def __init__(self, *args: Any, today: date, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.today = today

    def clean(self) -> dict[str, Any]:
        found = super().clean() or {}
        until = found.get("until") or self.today
        if not all(FIRST_DAY <= day <= LAST_DAY for day in (until, found.get("since") or until)):
            raise forms.ValidationError(
                tell("Choose days from {year} to {year2}.", year=FIRST_DAY.year, year2=LAST_DAY.year)
            )
        since = found.get("since") or until - timedelta(days=DEFAULT_DAYS - 1)
        if since > until:
            raise forms.ValidationError(tell("The first day is after the last; swap them."))
        if (until - since).days >= MOST_DAYS:
            raise forms.ValidationError(
                tell("Choose at most {most_days} days; ask twice for a longer time.", most_days=MOST_DAYS)
            )
        return found | {"since": since, "until": until}


@dataclass(frozen=True, slots=True)
class Drawn:
    """One line of the chart: its corners, how it is dashed, and where its name stands."""

    series: Series
    points: str
    dash: str
    label_y: Decimal


@dataclass(frozen=True, slots=True)
class Asked:
    """What of which coin, for which level; `until` is exclusive."""

    form: PeriodForm
    level: int
    since: datetime
    until: datetime


@require_safe
@login_required
def board(request: HttpRequest) -> HttpResponse:
    at, level = timezone.now(), _level(request)
    rows = rates.board(vip_level=level, at=at, customer=customer_of(request))
    context = {
        "rows": rows,
        "terms": ratecards.FIXED_TERMS,
        "level": level,
        "at": at,
        "has_spread": any(row.spread for row in rows),
        "midnight": datetime.combine(at.date() + timedelta(days=1), time(), UTC),
    }
    return render(request, "loans/rates.html", context)


@require_safe
def coin(request: HttpRequest, symbol: str) -> HttpResponse:
    asset, asked = get_object_or_404(Asset, pk=symbol, loanable=True), _asked(request)
    context: dict[str, Any] = {"asset": asset, "form": asked.form, "level": asked.level, "at": timezone.now()}
    if asked.form.errors:
        return render(request, "loans/rate.html", context, status=REFUSED)
    series = rates.history(asset, vip_level=asked.level, since=asked.since, until=asked.until)
    last = asked.until - timedelta(days=1)
    period = {"since": asked.since.date(), "until": last.date(), "level": asked.level}
    context |= {
        "form": PeriodForm(today=last.date(), initial=period),
        "series": series,
        "query": urlencode(period),
        "since": asked.since,
        "last": last,
    }
    context |= _chart(series, asked) if series else {}
    return render(request, "loans/rate.html", context)


@require_safe
def data_json(request: HttpRequest, symbol: str) -> JsonResponse:
    """The chart's data: rates as text, exact; times in UTC."""
    asset, asked = get_object_or_404(Asset, pk=symbol, loanable=True), _asked(request)
    if asked.form.errors:
        return JsonResponse({"code": "bad_period", "message": _said(asked.form)}, status=400)
    series = rates.history(asset, vip_level=asked.level, since=asked.since, until=asked.until)
    told = [
        {
            "key": one.key,
            "name": one.name,
            "points": [
                {"at": step.starts_at.isoformat(), "annual_rate": f"{step.rate:f}"} for step in one.steps
            ],
        }
        for one in series
    ]
    period = {"since": asked.since.isoformat(), "until": asked.until.isoformat()}
    return JsonResponse({"asset": asset.pk, "vip_level": asked.level, **period, "series": told})


@require_safe
def data_csv(request: HttpRequest, symbol: str) -> HttpResponse:
    asset, asked = get_object_or_404(Asset, pk=symbol, loanable=True), _asked(request)
    if asked.form.errors:
        return HttpResponse(_said(asked.form), status=400, content_type="text/plain; charset=utf-8")
    rows = (
        [asset.pk, one.key, step.starts_at, step.rate]
        for one in rates.history(asset, vip_level=asked.level, since=asked.since, until=asked.until)
        for step in one.steps
    )
    file = exports.as_csv(f"rates-{asset.pk}.csv", ["asset", "kind", "effective_at_utc", "annual_rate"], rows)
    headers = {"Content-Disposition": f'attachment; filename="{file.name}"'}
    return HttpResponse(file.content, content_type=file.content_type, headers=headers)


# --- Private ----------------------------------------------------------------------------------------


def _level(request: HttpRequest) -> int:
    """A borrower's own; the house and who has no account choose, level 1 unless said."""
    customer = customer_of(request)
    if customer is not None:
        return customer.vip_level
    asked = request.GET.get("level", "")
    return int(asked) if asked in {str(level) for level in range(10)} else 1


def _asked(request: HttpRequest) -> Asked:
    today = timezone.now().date()
    form = PeriodForm(request.GET, today=today)
    period = form.cleaned_data if form.is_valid() else {"since": today, "until": today}
    since, until = (datetime.combine(period[name], time(), UTC) for name in ("since", "until"))
    return Asked(form, _level(request), since, until + timedelta(days=1))


def _chart(series: list[Series], asked: Asked) -> dict[str, Any]:
    steps = [step for one in series for step in one.steps]
    frame = charts.frame_of(steps, since=asked.since, until=asked.until, width=WIDTH, height=HEIGHT)
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "marks": [(frame.y(rate), rate) for rate in charts.marks_of(frame)],
        "drawn": [
            Drawn(one, charts.points_of(one.steps, frame), DASHES[one.key], frame.y(one.steps[-1].rate))
            for one in series
        ],
    }


def _said(form: PeriodForm) -> str:
    return joined(" ", (str(message) for messages in form.errors.values() for message in messages))
