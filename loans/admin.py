"""The console's pages on contracts; all of it read-only but for what is published."""

from django import forms
from django.contrib import admin

from accounts.console import CommandForm, History, RateField, ReadOnly, Rows, figure, percent
from loans import ratecards
from loans.models import Application, ApplicationLine, Loan, LoanEvent, Product, RateCard
from risk.admin import DatedForm, Published, asset_field, product_field, usd_field


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
