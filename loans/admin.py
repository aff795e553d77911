"""The console's pages on contracts, and its front page: is everything as it should be?"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Count, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone

from accounts.console import CommandForm, History, RateField, ReadOnly, Rows, figure, percent
from accounts.models import LedgerAccount
from accounts.templatetags import figures
from loans import ratecards
from loans.models import Application, ApplicationLine, Loan, LoanEvent, Product, RateCard
from risk import prices
from risk.admin import DatedForm, Published, asset_field, product_field, usd_field
from risk.models import CollateralGroup, Debt, MarginCall, SweepRun


class ProductForm(DatedForm):
    code = product_field()
    max_coins = forms.IntegerField(label="Coins per request", min_value=1, max_value=100, initial=10)
    max_accounts = forms.IntegerField(label="Collateral accounts", min_value=1, max_value=1000, initial=50)
    first_minimum = usd_field("First loan at least (USD)", initial=500000)
    later_minimum = usd_field("Further loans at least (USD)", initial=50000)
    renewal_days = forms.IntegerField(
        label="Renewable days before expiry", min_value=1, max_value=365, initial=7
    )
    overdue_hours = forms.IntegerField(label="Overdue period (h)", min_value=1, max_value=8760, initial=168)
    late_multiplier = forms.IntegerField(label="Late interest, times", min_value=1, max_value=100, initial=3)
    # Left empty, these stay as they are now.
    offer_hours = forms.IntegerField(label="An offer stands (h)", min_value=1, max_value=8760, required=False)
    quote_hours = forms.IntegerField(
        label="Accepted terms bind (h)", min_value=1, max_value=8760, required=False
    )
    auto_approve_usd = usd_field("Approved by itself up to (USD; 0: never)", required=False)
    auto_approve_ltv = RateField(label="and with LTV at most (%)", required=False)
    four_eyes_usd = usd_field("A second person above (USD)", required=False)
    review_hours = forms.IntegerField(
        label="Answer a request within (h)", min_value=1, max_value=8760, required=False
    )
    call_notice_hours = forms.IntegerField(
        label="Notice for calling an open loan (h)", min_value=24, max_value=8760, required=False
    )


@admin.register(Product)
class ProductAdmin(Published):
    list_display = (
        "code",
        "effective_at",
        "max_coins",
        "max_accounts",
        "renewal_days",
        "overdue_hours",
        "late_multiplier",
    )
    command = "loans.publish_product"
    form_class = ProductForm


class CardForm(CommandForm):
    product = product_field()
    asset = asset_field()
    term_days = forms.TypedChoiceField(
        label="Term", coerce=int, choices=[(days, f"{days} days") for days in ratecards.FIXED_TERMS]
    )
    vip_level = forms.IntegerField(label="VIP level", min_value=0, max_value=9)
    annual_rate = RateField(label="Annual rate (%)")
    effective_at = forms.DateTimeField(label="From (00:00 UTC)", help_text="YYYY-MM-DD, not in the past.")


@admin.register(RateCard)
class RateCardAdmin(Published):
    list_display = ("asset_id", "term_days", "vip_level", "effective_at", "yearly")
    list_filter = ("term_days", "vip_level")
    search_fields = ("=asset__symbol",)
    command = "loans.publish_card"
    form_class = CardForm
    yearly = percent("annual_rate", "Annual rate")


class LineRows(Rows):
    model = ApplicationLine
    fields = readonly_fields = ("asset", "amount", "annual_rate")


@admin.register(Application)
class ApplicationAdmin(ReadOnly):
    list_display = (
        "__str__",
        "customer",
        "status",
        "rate_type",
        "term_days",
        "submitted_at",
        "decided_by",
        "decided_at",
    )
    list_select_related = ("customer", "decided_by")
    list_filter = ("status", "rate_type")
    search_fields = ("=id", "customer__name")
    ordering = ("-pk",)
    inlines = (LineRows,)


@admin.register(Loan)
class LoanAdmin(ReadOnly):
    list_display = (
        "__str__",
        "customer",
        "lent",
        "rate_type",
        "rate",
        "drawn_at",
        "due_at",
        "group",
        "debt",
        "state",
    )
    list_select_related = ("customer", "group", "debt")
    list_filter = ("rate_type", "debt__closed_reason")
    search_fields = ("=id", "customer__name", "=asset__symbol")
    ordering = ("-pk",)
    lent = figure("amount", "Amount")
    rate = percent("annual_rate", "Annual rate")

    @admin.display(description="State")
    def state(self, row: Loan) -> str:
        debt = row.debt
        if debt.closed_reason:
            return str(debt.get_closed_reason_display())
        if debt.residual_since:
            return "residual"
        return "overdue" if debt.overdue_since else "running"


@admin.register(LoanEvent)
class LoanEventAdmin(History):
    list_display = ("at", "kind", "application", "loan", "actor")
    list_select_related = ("application", "loan")
    list_filter = ("kind",)


# --- The front page -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Card:
    label: str
    figure: str
    note: str
    href: str


def front_page(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """What the console opens with; a constant number of queries."""
    at = timezone.now()
    context |= {"title": "Console", "cards": cards(at), "pools": pools()}
    return context


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
        _prices_card(at),
        _sweep_card(at),
        _accrual_card(at),
        Card(
            "Ledger",
            "every hour",
            "check_ledger proves the books; a break is an error in the worker's log",
            _list("accounts_journalentry"),
        ),
    ]


def _prices_card(at: datetime) -> Card:
    quotes = prices.latest(at=at).values()
    old = sorted(quote.asset for quote in quotes if not quote.fresh)
    note = f"not fresh: {', '.join(old[:6])}{' …' if len(old) > 6 else ''}" if old else "all fresh"
    return Card(
        "Prices", f"{len(quotes) - len(old)} of {len(quotes)}", note, reverse("admin:risk_price_board")
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
