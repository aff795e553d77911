"""The story of a forced sale, step by step, and the journal entries its figures come from (R-GEN-81).

The client reads their own story; the house also opens the journal. A figure on these pages is a row somewhere.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.utils.dateparse import parse_datetime
from django.views.decorators.http import require_safe

from accounts.models import Asset, JournalEntry, Transfer, User
from accounts.money import ZERO, exact
from accounts.pages.access import limited_to, user_of
from accounts.pages.tables import Column, Filter, Table
from accounts.words import capital, tell
from loans.pages.desk_access import clients_of, for_the_house, is_manager, is_of_the_house
from risk import corrections, insurance, pace
from risk.models import CollateralGroup, DebtEntry, GroupCoin, Liquidation, RiskEvent, Sale
from risk.observations import PriceState
from risk.waterfall import Parts

TOLD_BEFORE = timedelta(hours=24)  # what led to it
STEPS_BEFORE = 8
TOLD = (
    RiskEvent.Kind.BAND,
    RiskEvent.Kind.CALLED,
    RiskEvent.Kind.CALL_REPEATED,
    RiskEvent.Kind.BLIND,
    RiskEvent.Kind.SIGHTED,
    RiskEvent.Kind.GRACE,
    RiskEvent.Kind.DEBT_OVERDUE,
)


@dataclass(frozen=True, slots=True)
class Line:
    """One sale, with the journal entry that took the coins and the one that settled them."""

    sale: Sale
    seizure: JournalEntry | None
    settlement: JournalEntry | None


@dataclass(frozen=True, slots=True)
class Repaid:
    """What the sales did to one debt, in its coin; positive amounts."""

    entry: DebtEntry
    parts: Parts


@dataclass(frozen=True, slots=True)
class Rest:
    """A chosen coin at the start, what was taken of it, and what stayed. `value` in USD at the story's price."""

    asset: Asset
    before: Decimal
    taken: Decimal
    value: Decimal

    @property
    def left(self) -> Decimal:
        return self.before - self.taken


def visible_to(user: User) -> QuerySet[Liquidation]:
    if is_of_the_house(user):
        return Liquidation.objects.filter(group__customer__in=clients_of(user))
    return Liquidation.objects.filter(group__in=CollateralGroup.objects.visible_to(user))


LIQUIDATIONS = Table(
    name="liquidations",
    columns=(
        Column("liquidation", tell("Liquidation"), text=str),
        Column("cause", tell("Cause"), text=lambda row: row.get_cause_display(), sort=("cause",)),
        Column("result", tell("Result"), text=lambda row: row.get_status_display(), sort=("status",)),
        Column("ltv", tell("LTV"), text=lambda row: row.ltv, sort=("ltv",), n=True),
        Column("sold", tell("Sold"), text=lambda row: row.sold_usd, sort=("sold_usd",), n=True),
        Column("fee", tell("Fee"), text=lambda row: row.fee_usd, sort=("fee_usd",), n=True),
        Column(
            "owed", tell("Still owed"), text=lambda row: row.shortfall_usd, sort=("shortfall_usd",), n=True
        ),
        Column("started", tell("Started"), text=lambda row: row.started_at, sort=("started_at",), n=True),
    ),
    order=("-started_at", "-pk"),
    search=("group__customer__name", "group__name"),
    finds=tell("by client or group"),
    filters=(
        Filter(
            "cause",
            tell("Cause"),
            {
                cause.value: (capital(cause.label), Q(cause=cause))
                for cause in Liquidation.Cause
                if cause != Liquidation.Cause.SOFT
            },
        ),
        Filter(
            "result",
            tell("Result"),
            {status.value: (capital(status.label), Q(status=status)) for status in Liquidation.Status},
        ),
    ),
)


@require_safe
@login_required
def index(request: HttpRequest) -> HttpResponseBase:
    """Newest first. Steps that a client chose are no liquidations; the group's page of them lists them (R-FTR-05)."""
    rows = visible_to(user_of(request)).exclude(cause=Liquidation.Cause.SOFT)
    rows = rows.select_related("group__customer", "debt")
    file = LIQUIDATIONS.file(request, rows)
    if file is not None:
        return file
    listed = LIQUIDATIONS.shown(request, rows)
    for_house = is_of_the_house(user_of(request))
    return render(
        request,
        "loans/desk_liquidations.html",
        {
            "list": listed,
            "page": listed.page,
            "paces": sorted(pace.paces_at(timezone.now()).items()) if for_house else [],
            "for_house": for_house,
            "for_staff": user_of(request).is_staff,
        },
    )


@require_safe
@login_required
def story(request: HttpRequest, liquidation_id: int) -> HttpResponse:
    user = user_of(request)
    row = get_object_or_404(
        visible_to(user).select_related("group__customer", "group__receiver", "debt__asset"),
        pk=liquidation_id,
    )
    related = ("coin", "account", "debt__asset", "mark", "debt_mark")
    sales = list(Sale.objects.filter(liquidation=row).select_related(*related).order_by("step"))
    entries = _entries(row)
    repaid = _repaid(entries)
    rests = _rests(row, sales)
    context = {
        "row": row,
        "lines": _lines(sales, entries),
        "events": _events(row),
        "repaid": repaid,
        "left": sorted(
            {one.entry.debt for one in repaid if one.entry.debt.residual_since}, key=lambda d: d.pk
        ),
        "rests": rests,
        "left_value": sum((rest.value for rest in rests), ZERO),
        "marks": _prices(row.snapshot),
        "levels": {name: Decimal(line) for name, line in row.snapshot.get("lines", {}).items()},
        "entry_page": _entry_page(request),
        "is_mine": not is_of_the_house(user),
        "seconds": (row.ended_at - row.started_at).total_seconds() if row.ended_at else None,
    }
    return render(request, "loans/desk_liquidation.html", context)


@require_safe
@for_the_house
def entry(request: HttpRequest, entry_id: int) -> HttpResponse:
    """One event in the books. A manager opens it when everything it touches belongs to their own clients."""
    row = get_object_or_404(JournalEntry, pk=entry_id)
    transfers = row.transfers.select_related(
        "debit__account__customer", "credit__account__customer", "debit__asset"
    )
    lines = list(transfers.order_by("pk"))
    debt_entries = list(
        DebtEntry.objects.filter(entry=row)
        .select_related("debt__asset", "debt__customer", "debt__loan")
        .order_by("pk")[:200]
    )
    user = user_of(request)
    _refuse_strangers(user, row)
    original, reversal = _both_sides(row)
    sums: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for line in lines:
        sums[line.debit.asset_id] += line.amount
    context = {
        "entry": row,
        "lines": lines,
        "debt_entries": debt_entries,
        "sums": dict(sums),
        "at": timezone.now(),
        "original": original,
        "reversal": reversal,
        "sides": _side_by_side(original, reversal) if reversal else [],
        "debt_sides": _debts_side_by_side(original, reversal) if reversal else [],
        "why_not": corrections.why_not(row, at=timezone.now()) if user.role in insurance.FINANCE else "",
        "may_reverse": user.is_staff and user.role in insurance.FINANCE and reversal is None,
    }
    return render(request, "loans/desk_entry.html", context)


def _both_sides(row: JournalEntry) -> tuple[JournalEntry, JournalEntry | None]:
    """The entry that was wrong and the one that undoes it, whichever of them is looked at. R-ADM-11"""
    original = row.reverses or row
    return original, JournalEntry.objects.filter(reverses=original).first()


def _side_by_side(original: JournalEntry, reversal: JournalEntry) -> list[tuple[Transfer, Transfer]]:
    """Each transfer beside its mirror; both were booked in one order."""
    rows = (
        one.transfers.select_related("debit__asset", "credit").order_by("pk") for one in (original, reversal)
    )
    return list(zip(*rows, strict=True))


def _debts_side_by_side(original: JournalEntry, reversal: JournalEntry) -> list[DebtEntry]:
    """What each of the two did to a debt, one under the other."""
    rows = DebtEntry.objects.filter(entry__in=[original, reversal]).select_related("debt__asset")
    return list(rows.order_by("debt", "pk"))


def _refuse_strangers(user: User, row: JournalEntry) -> None:
    if not is_manager(user):
        return
    wallets = Q(debit__account__isnull=False) | Q(credit__account__isnull=False)
    others = ~Q(debit__account__customer__manager=user) & ~Q(credit__account__customer__manager=user)
    touched = row.transfers.filter(wallets)
    owed = DebtEntry.objects.filter(entry=row)
    is_theirs = touched.exists() or owed.exists()
    if (
        not is_theirs
        or touched.filter(others).exists()
        or owed.exclude(debt__customer__manager=user).exists()
    ):
        raise Http404


def _entry_page(request: HttpRequest) -> str:
    """Where who looks reads an entry: the house in the ledger, a borrower as what it did to them. R-GEN-95"""
    if is_of_the_house(user_of(request)):
        return "loans:ledger_entry"
    return "loans:entry" if limited_to(request) is None else ""


# --- How the story is put together ------------------------------------------------------------------------


def _entries(row: Liquidation) -> list[JournalEntry]:
    """Oldest first; the colon keeps liquidation 1 apart from 10."""
    return list(JournalEntry.objects.filter(reference__startswith=f"liquidation:{row.pk}:").order_by("pk"))


def _lines(sales: Sequence[Sale], entries: Iterable[JournalEntry]) -> list[Line]:
    """A settlement is named after the last step that it covers."""
    by_reference = {entry.reference: entry for entry in entries}
    settled: dict[int, JournalEntry] = {}
    for reference, entry in by_reference.items():
        last = reference.rsplit(":", 1)[-1]
        if last.isdecimal():
            settled[int(last)] = entry
    found = []
    for sale in sales:
        covering = min((step for step in settled if step >= sale.step), default=None)
        found.append(
            Line(
                sale=sale,
                seizure=by_reference.get(f"liquidation:{sale.liquidation_id}:{sale.step}:seize"),
                settlement=settled[covering] if covering is not None else None,
            )
        )
    return found


def _repaid(entries: Iterable[JournalEntry]) -> list[Repaid]:
    rows = DebtEntry.objects.filter(entry__in=list(entries), kind=DebtEntry.Kind.LIQUIDATION)
    return [
        Repaid(one, Parts(late_fee=-one.late_fee, interest=-one.interest, principal=-one.principal))
        for one in rows.select_related("debt__asset", "debt__loan").order_by("pk")
    ]


@exact
def _rests(row: Liquidation, sales: Iterable[Sale]) -> list[Rest]:
    """The coins chosen at the time: what there was, what was taken. Other coins in the accounts were never touched."""
    chosen = GroupCoin.objects.filter(group=row.group, since__lte=row.started_at)
    chosen = chosen.filter(Q(released_at__isnull=True) | Q(released_at__gte=row.started_at))
    coins = {coin.asset_id: coin.asset for coin in chosen.select_related("asset").order_by("asset_id")}
    before: dict[str, Decimal] = dict.fromkeys(coins, ZERO)
    for wallet in row.snapshot.get("wallets", []):
        if wallet["asset"] in before:
            before[wallet["asset"]] += Decimal(wallet["balance"])
    taken: dict[str, Decimal] = defaultdict(lambda: ZERO)
    for sale in sales:
        taken[sale.coin_id] += sale.sold
    found = []
    for symbol, amount in before.items():
        gone = min(taken[symbol], amount)  # an overdue loan's coin may also have come from the receiver
        price = Decimal(row.snapshot.get("prices", {}).get(symbol, {}).get("usd", "0"))
        if amount:
            found.append(Rest(coins[symbol], amount, gone, (amount - gone) * price))
    return found


def _events(row: Liquidation) -> list[RiskEvent]:
    """What led to it in the day before, oldest first."""
    span = (row.started_at - TOLD_BEFORE, row.started_at)
    rows = RiskEvent.objects.filter(group=row.group, kind__in=TOLD, at__range=span).order_by("-at", "-pk")
    return list(reversed(rows[:STEPS_BEFORE]))


def _prices(snapshot: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "asset": symbol,
            "usd": Decimal(price["usd"]),
            "at": parse_datetime(price["observed_at"]),
            "state": PriceState(price["state"]),
            "id": price["id"],
        }
        for symbol, price in sorted(snapshot.get("prices", {}).items())
    ]
