"""How long the desk takes to answer: each request's clock, and how it went lately (R-ADM-08): reads only.

A request's moves are its events. The hours promised are those of the product's terms when the request came.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.db.models import QuerySet

from loans.models import Application, LoanEvent, Product
from loans.scoring import IN_REVIEW, Clock, average, clock_of, limit_at

SPAN: Final = timedelta(days=30)
MOST: Final = 200  # decisions that the average is taken of, the latest
MOVES: Final = frozenset({*Application.Status.values, "countered"})


@dataclass(frozen=True, slots=True)
class Answers:
    """Requests that people decided in a span: how many, how long it took on average, how many late or never.

    `average` and `late` are of the latest `timed` of them.
    """

    decided: int
    timed: int
    average: timedelta | None
    late: int
    lapsed: int  # nobody of the desk answered before they ended


def clocks_of(applications: Iterable[Application]) -> dict[int, Clock]:
    """The clock of each request, by its key. Two queries."""
    rows = list(applications)
    moves: dict[int, list[tuple[str, datetime]]] = defaultdict(list)
    events = LoanEvent.objects.filter(application__in=rows, loan__isnull=True, kind__in=MOVES)
    for pk, kind, instant in events.order_by("at", "pk").values_list("application_id", "kind", "at"):
        moves[pk].append((kind, instant))
    hours: dict[str, dict[datetime, int]] = defaultdict(dict)
    for code, start, limit in Product.objects.values_list("code", "effective_at", "review_hours"):
        hours[code][start] = limit
    default = Product().review_hours
    return {
        row.pk: clock_of(moves[row.pk], limit=limit_at(hours[row.product], row.submitted_at, default=default))
        for row in rows
    }


def answers(applications: "QuerySet[Application]", *, at: datetime) -> Answers:
    """How the desk answered these in the last 30 days; what was granted automatically took nobody's time. R-ADM-08"""
    since = at - SPAN
    decided = applications.filter(decided_at__gt=since, decided_at__lte=at, decided_by__isnull=False)
    latest = decided.only("product", "submitted_at").order_by("-decided_at", "-pk")[:MOST]
    clocks = list(clocks_of(latest).values())
    expired = LoanEvent.objects.filter(
        application__in=applications.values("pk"), kind=Application.Status.EXPIRED
    )
    expired = expired.filter(at__gt=since, at__lte=at, facts__was__in=sorted(IN_REVIEW))
    return Answers(
        decided=len(clocks) if len(clocks) < MOST else decided.count(),
        timed=len(clocks),
        average=average(clock.used for clock in clocks),
        late=sum(clock.is_late(at) for clock in clocks),
        lapsed=expired.count(),
    )
