"""The stress page: ask what a market would do to the whole book, and follow every figure to its groups (R-FTR-27).

Risk officers, finance, auditors and admins; to the rest of the house it is closed, to borrowers it does not exist.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_http_methods, require_safe

from accounts import exports
from accounts.errors import Refused
from accounts.pages.access import actor_of, user_of
from accounts.pages.forms import REFUSED, key_of, refuse
from accounts.words import capital, recalled, tell
from loans import stress_charts
from loans.pages.desk_access import for_roles
from loans.pages.desk_stress_forms import StressForm
from loans.stress_charts import Series
from risk import stress_progress, stress_runs, stress_tables
from risk.models import StressRun
from risk.stress_tables import Group

PER_PAGE = 25
GROUPS_PER_PAGE = 100
TOP = 20
BEGINS_WITHIN = timedelta(minutes=1)  # the job looks every five seconds
BAR = 100  # the widest bar, in the drawing's units
MINUS = "\u2212"
FIGURES = (
    ("called", tell("Groups called"), "called"),
    ("liquidated", tell("Groups liquidated"), "liquidated"),
    ("without_call", tell("of them without a call before"), "uncalled"),
    ("owed", tell("Their debt"), "liquidated"),
    ("sold", tell("Collateral sold"), "liquidated"),
    ("fee", tell("Fees"), "liquidated"),
    ("lost", tell("Lost"), "lost"),
    ("with_loss", tell("Groups with a loss"), "lost"),
)
COUNTED = frozenset({"called", "liquidated", "without_call", "with_loss"})  # the rest are dollars
LINES = {  # what a line is called, and its dashes: told apart without colour
    ("called", False): (tell("called", context="course"), ""),
    ("sold", False): (tell("sold", context="course"), ""),
    ("liquidated", False): (tell("liquidated", context="course"), "2 4"),
    ("lost", False): (tell("lost", context="course"), "2 4"),
    ("called", True): (tell("called, changed"), "8 4"),
    ("sold", True): (tell("sold, changed"), "8 4"),
    ("liquidated", True): (tell("liquidated, changed"), "8 4 2 4"),
    ("lost", True): (tell("lost, changed"), "8 4 2 4"),
}
NAMED = {
    "called": tell("Groups called"),
    "liquidated": tell("Groups liquidated"),
    "uncalled": tell("Groups liquidated without a call before"),
    "lost": tell("Groups with a loss"),
    "all": tell("Groups called or liquidated"),
}

for_watchers = for_roles(
    stress_runs.WATCHERS, tell("Risk officers, finance, auditors and admins stress the book.")
)


@require_http_methods(["GET", "HEAD", "POST"])
@for_watchers
def index(request: HttpRequest) -> HttpResponse:
    """Ask, and the runs there were. `?proposal=` chooses the proposal to compare with."""
    user = user_of(request)
    if request.method == "POST":
        form = StressForm(request.POST, request.FILES, user=user)
        if form.is_valid():
            try:
                run = stress_runs.ask(
                    scenario=form.cleaned_data["scenario"],
                    actor=actor_of(request),
                    at=timezone.now(),
                    key=key_of(form),
                )
            except Refused as refusal:
                refuse(form, refusal)
            else:
                return redirect("loans:stress_run", run.pk)
    else:
        form = StressForm(user=user, initial={"proposal": request.GET.get("proposal", "")})
    page = Paginator(stress_runs.visible_to(user), PER_PAGE).get_page(request.GET.get("page"))
    titles, far = stress_runs.titles(one.pk for one in page), stress_progress.of(page)
    rows = [(one, titles[one.pk], far.get(one.pk)) for one in page]
    context = {"form": form, "page": page, "rows": rows, "waits": bool(far)}
    return render(request, "loans/desk_stress.html", context, status=REFUSED if form.errors else 200)


@require_safe
@for_watchers
def run(request: HttpRequest, run_id: int) -> HttpResponse:
    """One run; while it waits the page asks again every two seconds how far it is."""
    row = _run(request, run_id)
    far = stress_progress.of([row]).get(row.pk)
    context: dict[str, Any] = {"run": row, "title": row.title, "far": far}
    is_waiting = far is not None and not far.total and not far.before
    context["is_stuck"] = is_waiting and timezone.now() - row.asked_at > BEGINS_WITHIN
    if row.result is not None:
        context |= _shown(row.result)
    return render(request, "loans/desk_stress_run.html", context)


@require_safe
@for_watchers
def groups(request: HttpRequest, run_id: int) -> HttpResponse:
    """The groups that one figure of a run comes from: `of`, of one `client`, that sold one `coin`, after the change."""
    row, found = _answered(request, run_id)
    of = request.GET.get("of", "all")
    if of not in NAMED:
        raise Http404
    number = _column_number(request, found)
    coin, client = request.GET.get("coin", ""), request.GET.get("client", "")
    every = stress_tables.groups_of(found["columns"][number]["groups"])
    chosen = [one for one in every if _is_of(one, of, coin=coin, client=client)]
    page = Paginator(chosen, GROUPS_PER_PAGE).get_page(request.GET.get("page"))
    asked = {"of": of, "coin": coin, "client": client, "after": str(number)}
    context = {
        "run": row,
        "title": NAMED[of],
        "after": found["change"] if number else "",
        "coin": coin,
        "client": found["names"].get(client, ""),
        "page": page,
        "rows": [(one, found["names"].get(str(one.client), ""), _dollars(one)) for one in page],
        "query": f"{urlencode({name: value for name, value in asked.items() if value})}&",
        "sums": [(label, _usd(sum(getattr(one, name) for one in chosen))) for name, label in _SUMMED],
        "count": len(chosen),
    }
    return render(request, "loans/desk_stress_groups.html", context)


@require_safe
@for_watchers
def download(request: HttpRequest, run_id: int) -> HttpResponse:
    """Every group called or liquidated, as CSV; `?after=1` under the change."""
    row, found = _answered(request, run_id)
    number = _column_number(request, found)
    names = {int(pk): name for pk, name in found["names"].items()}
    name = f"stress-{row.pk}{'-changed' if number else ''}.csv"
    rows = stress_tables.csv_rows(found["columns"][number], names)
    file = exports.as_csv(name, stress_tables.HEADER, rows)
    return HttpResponse(
        file.content,
        content_type=file.content_type,
        headers={
            "Content-Disposition": f'attachment; filename="{file.name}"',
            "X-Content-Type-Options": "nosniff",
        },
    )


# --- Private ----------------------------------------------------------------------------------------

_SUMMED = (("owed", tell("Owed")), ("sold", tell("Sold")), ("fee", tell("Fees")), ("lost", tell("Lost")))


def _run(request: HttpRequest, run_id: int) -> StressRun:
    return get_object_or_404(stress_runs.visible_to(user_of(request)).defer(None), pk=run_id)


def _answered(request: HttpRequest, run_id: int) -> tuple[StressRun, Mapping[str, Any]]:
    row = _run(request, run_id)
    if row.result is None:
        raise Http404
    return row, row.result


def _column_number(request: HttpRequest, found: Mapping[str, Any]) -> int:
    return 1 if request.GET.get("after") == "1" and found["change"] else 0


def _is_of(one: Group, of: str, *, coin: str, client: str) -> bool:
    if client and str(one.client) != client or coin and coin not in one.coins:
        return False
    return {
        "called": one.called is not None,
        "liquidated": one.sold_at is not None,
        "uncalled": one.sold_at is not None and one.called is None,
        "lost": one.lost > 0,
        "all": True,
    }[of]


def _shown(found: Mapping[str, Any]) -> dict[str, Any]:
    """The answer as the page's rows; a second column and the differences only where something was changed."""
    before, *rest = found["columns"]
    after = rest[0] if rest else None
    return {
        "found": {**found, "model": _assumed(found)},
        "prices_at": parse_datetime(found["prices_at"]),
        "today": before["totals"],
        "after": after is not None,
        "figures": [_figure(name, label, of, before, after) for name, label, of in FIGURES],
        "coins": _coins(found, before, after),
        "clients": _clients(found, before, after),
        "more_clients": max(len(before["clients"]) - TOP, 0),
        "course": _course(found, before, after) if found["steps"] > 1 else None,
        "spread": _spread(before, after),
        "moves": [
            (one["coin"], _percent(Decimal(one["lowest"]) - 1), _percent(Decimal(one["last"]) - 1))
            for one in found["moves"]
        ],
    }


def _assumed(found: Mapping[str, Any]) -> list[str]:
    """What the answer rests on, in words where they were kept beside it."""
    memory = found.get("memory") or [None] * len(found["model"])
    return [recalled(line, one) for line, one in zip(found["model"], memory, strict=True)]


def _figure(
    name: str, label: str, of: str, before: Mapping[str, Any], after: Mapping[str, Any] | None
) -> dict[str, Any]:
    shown = _count if name in COUNTED else _usd
    was = before["totals"][name]
    found = {"label": label, "of": of, "before": shown(was)}
    if after is not None:
        found |= {
            "after": shown(after["totals"][name]),
            "difference": shown(after["totals"][name] - was, sign=True),
        }
    return found


def _coins(
    found: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    nothing = {"sold": 0, "groups": 0, "lost": 0}
    was = {one["coin"]: one for one in before["coins"]}
    then = {one["coin"]: one for one in after["coins"]} if after else {}
    most = max((one["sold"] for one in [*was.values(), *then.values()]), default=0)
    rows = []
    for coin in [*was, *(one for one in then if one not in was)]:
        first, second = was.get(coin, nothing), then.get(coin, nothing)
        depth = found["depths"].get(coin)
        known = (Decimal(depth[0]), Decimal(depth[1])) if depth else None
        rows.append(
            {
                "coin": coin,
                "groups": _count(first["groups"]),
                "sold": _usd(first["sold"]),
                "lost": _usd(first["lost"]),
                "days": stress_tables.days_to_exit(first["sold"], known),
                "width": BAR * first["sold"] // most if most else 0,
                "after": _usd(second["sold"]),
                "difference": _usd(second["sold"] - first["sold"], sign=True),
            }
        )
    return rows


def _clients(
    found: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any] | None
) -> list[dict[str, Any]]:
    then = {one["client"]: one["lost"] for one in after["clients"]} if after else {}
    return [
        {
            "pk": one["client"],
            "name": found["names"].get(str(one["client"]), ""),
            "called": _count(one["called"]),
            "liquidated": _count(one["liquidated"]),
            **{name: _usd(one[name]) for name in ("owed", "sold", "lost")},
            "after": _usd(then.get(one["client"], 0)),
        }
        for one in before["clients"][:TOP]
    ]


def _spread(before: Mapping[str, Any], after: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The book by LTV: now, at the end, and at the end under the change. None of answers kept from before."""
    if "ltvs" not in before:
        return None
    heads = [tell("Now"), tell("At the end")]
    moments = [before["ltvs"]["now"], before["ltvs"]["end"]]
    if after is not None:
        heads.append(tell("At the end, changed"))
        moments.append(after["ltvs"]["end"])
    rows = [
        (
            one.label,
            [
                (head, _count(groups), _usd(usd), width)
                for head, (groups, usd), width in zip(heads, one.sums, one.widths, strict=True)
            ],
            not any(groups for groups, _ in one.sums),
        )
        for one in stress_charts.buckets(moments)
    ]
    all_now = sum(groups for groups, _ in moments[0])
    gone = [_count(all_now - sum(groups for groups, _ in one)) for one in moments]
    return {"heads": heads, "rows": rows, "gone": list(zip(heads, gone, strict=True))}


def _course(
    found: Mapping[str, Any], before: Mapping[str, Any], after: Mapping[str, Any] | None
) -> dict[str, Any]:
    """What was called, liquidated, sold and lost so far, by step: two drawings, and both as one table."""
    columns = [(before, False), *([(after, True)] if after else [])]
    groups, dollars = [], []
    for column, changed in columns:
        every = stress_tables.groups_of(column["groups"])
        for name, happened in (("called", "called"), ("liquidated", "sold_at")):
            curve = stress_charts.counted([getattr(one, happened) for one in every])
            groups.append(Series(*LINES[name, changed], curve))
        for place, name in ((1, "sold"), (2, "lost")):
            curve = [(point[0], point[place]) for point in column["course"]]
            dollars.append(Series(*LINES[name, changed], curve))
    steps = found["steps"]
    told = [*(_count for _ in groups), *(_usd for _ in dollars)]
    return {
        "charts": [
            (
                tell("Groups called and liquidated so far"),
                stress_charts.chart(groups, steps=steps, told=_count),
            ),
            (tell("Collateral sold and lost so far"), stress_charts.chart(dollars, steps=steps, told=_usd)),
        ],
        "heads": [capital(one.name) for one in (*groups, *dollars)],
        "rows": [
            (
                step,
                [
                    (capital(one.name), write(value))
                    for one, write, value in zip((*groups, *dollars), told, values, strict=True)
                ],
            )
            for step, values in stress_charts.rows([*groups, *dollars], steps=steps)
        ],
    }


def _dollars(one: Group) -> Sequence[tuple[str, str]]:
    """Each with the name of its column, which a phone shows beside it."""
    return [(label, _usd(getattr(one, name))) for name, label in _SUMMED]


def _count(value: int, *, sign: bool = False) -> str:
    return (tell("{value:+,}", value=value) if sign and value else tell("{value:,}", value=value)).replace(
        "-", MINUS
    )


def _usd(value: int, *, sign: bool = False) -> str:
    return tell("{value}\u00a0USD", value=_count(value, sign=sign))


def _percent(change: Decimal) -> str:
    return f"{100 * change:+.2f}\u00a0%".replace("-", MINUS)
