"""The console's front page: is everything as it should be? Every figure is a link to its rows. R-ADM-06"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db.models import Count, QuerySet
from django.urls import reverse

from accounts import closing, jobs
from accounts.models import Approval, Delivery, LedgerAccount
from accounts.templatetags import console as ages
from accounts.templatetags import figures
from loans.models import Application
from risk import prices
from risk.models import CollateralGroup, Debt, MarginCall, SweepRun

PROOF_OLD = timedelta(hours=2)  # the hourly proof missed its turn


@dataclass(frozen=True, slots=True)
class Card:
    label: str
    figure: str
    note: str
    href: str
    bad: bool = False  # somebody should look


def front_page(*, at: datetime) -> dict[str, Any]:
    """What the console opens with; a constant number of queries. Machinery first: without it no other figure moves."""
    return {"title": "Console", "cards": [*machinery(at), *cards(at)], "pools": pools()}


def machinery(at: datetime) -> list[Card]:
    """Do the jobs run, are the books proven, are prices fresh, and does anything wait for a person?"""
    found = jobs.standing(at=at)
    waiting = Approval.objects.filter(
        side=Approval.Side.DESK, status=Approval.Status.PENDING, expires_at__gt=at
    )
    lost = Delivery.objects.undelivered(at=at).count()
    return [
        _lag_card(found),
        _failed_card(found),
        _proof_card(at),
        _prices_card(at),
        Card(
            "Four eyes",
            str(waiting.count()),
            "proposals wait for a second person",
            reverse("loans:approvals"),
        ),
        Card(
            "Not delivered", str(lost), "notices in the last 30 days", reverse("loans:undelivered"), lost > 0
        ),
    ]


def _lag_card(found: list[jobs.Job]) -> Card:
    late = [job for job in found if job.is_late]
    worst = max(found, key=lambda job: (job.is_late, job.lag))
    figure = f"{len(late)} late" if late else "none late"
    if worst.due_at is None:
        return Card("Jobs", "none runs", "no worker has begun one yet", reverse("admin:jobs"), True)
    lag = f"the worst by {ages.age(worst.lag)}: {worst.name}" if late else f"of {len(found)} in the timetable"
    return Card("Jobs", figure, lag, reverse("admin:jobs"), bool(late))


def _failed_card(found: list[jobs.Job]) -> Card:
    failed = [job for job in found if job.is_failed or job.is_lost]
    note = ", ".join(job.name for job in failed[:3]) if failed else "the last run of each went well"
    return Card("Failed jobs", str(len(failed)), note, reverse("admin:jobs"), bool(failed))


def _proof_card(at: datetime) -> Card:
    """The last proof of the books, from the audit trail; older than two hours, the hourly job does not run."""
    proof = closing.last_proof()
    if proof is None:
        return Card("Reconciliation", "never", "nobody has proven the books", reverse("admin:jobs"), True)
    problems = len((proof.after or {}).get("problems", ()))
    href = reverse("admin:accounts_auditrecord_change", args=[proof.pk])
    note = f"{figures.duration(at - proof.recorded_at)} ago, by {proof.actor}"
    figure = f"{problems} break{'s' if problems > 1 else ''}" if problems else "whole"
    return Card("Reconciliation", figure, note, href, bool(problems) or at - proof.recorded_at > PROOF_OLD)


def cards(at: datetime) -> list[Card]:
    owing = Debt.objects.watched().values("group")
    live = CollateralGroup.objects.open().filter(pk__in=owing)
    bands = dict(live.order_by().values_list("band").annotate(number=Count("pk")))
    named = ", ".join(
        f"{bands[band]} {band.lower()}" for band in ("LIQ", "CALL", "WATCH", "SAFE") if band in bands
    )
    waiting = Application.objects.filter(status=Application.Status.SUBMITTED).count()
    open_debts = Debt.objects.open()
    overdue = open_debts.filter(overdue_since__isnull=False, residual_since__isnull=True).count()
    residual = open_debts.filter(residual_since__isnull=False).count()
    called = MarginCall.objects.filter(ended_at__isnull=True).count()
    groups, debts = _list("risk_collateralgroup"), _list("risk_debt")
    return [
        Card("Groups", str(sum(bands.values())), named or "nothing is owed", groups),
        Card("Margin calls", str(called), "open now", _list("risk_margincall")),
        Card("Overdue", str(overdue), f"{residual} more still owed after a liquidation", debts),
        Card("Requests waiting", str(waiting), "for a VIP manager", _list("loans_application")),
        _sweep_card(at),
        _accrual_card(at),
    ]


def _prices_card(at: datetime) -> Card:
    quotes = prices.latest(at=at).values()
    old = sorted(quote.asset for quote in quotes if not quote.fresh)
    note = f"not fresh: {', '.join(old[:6])}{' …' if len(old) > 6 else ''}" if old else "all fresh"
    return Card(
        "Prices",
        f"{len(quotes) - len(old)} of {len(quotes)}",
        note,
        reverse("admin:risk_price_board"),
        bool(old),
    )


def _sweep_card(at: datetime) -> Card:
    last = SweepRun.objects.order_by("-at").first()
    if last is None:
        return Card("Last sweep", "never", "nobody watches the groups", _list("risk_sweeprun"))
    note = f"{last.groups} groups in {last.seconds} s, at {last.at:%H:%M:%S} UTC"
    return Card(
        "Last sweep", f"{max((at - last.at).total_seconds(), 0):.0f} s ago", note, _list("risk_sweeprun")
    )


def _accrual_card(at: datetime) -> Card:
    """A debt that was not charged through the last midnight is behind."""
    midnight = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    charged = Debt.objects.watched()
    behind = charged.filter(accrued_through__lt=midnight, opened_at__lt=midnight).count()
    note = f"of {charged.count()} debts not charged through {midnight:%d %b %H:%M} UTC"
    return Card("Behind with interest", str(behind), note, _list("risk_debt"))


def pools() -> dict[str, Any]:
    """What the desk lends now, and what it has left of it."""
    kinds = (LedgerAccount.Kind.POOL, LedgerAccount.Kind.PRINCIPAL)
    rows: QuerySet[LedgerAccount] = LedgerAccount.objects.house(*kinds)
    found: dict[str, dict[str, str]] = {}
    for row in rows.order_by("asset_id"):
        found.setdefault(row.asset_id, {})[row.kind] = figures.plain(row.balance, row.asset_id)
    return {
        "headers": ["Coin", "Free to lend", "Lent"],
        "rows": [
            [asset, each.get("pool", "0"), each["principal"]]
            for asset, each in found.items()
            if "principal" in each
        ],
    }


def _list(name: str) -> str:
    return reverse(f"admin:{name}_changelist")
