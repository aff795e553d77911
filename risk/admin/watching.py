"""The console's pages on prices, groups, debts and what happened to them; all of it read-only."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from accounts.console import History, ReadOnly, Rows, button, figure, percent
from accounts.templatetags import figures
from risk import book, prices
from risk.levels import band
from risk.models import (
    CollateralGroup,
    Debt,
    DebtEntry,
    DebtRate,
    GroupCoin,
    Liquidation,
    MarginCall,
    Member,
    Movement,
    Price,
    RiskEvent,
    Sale,
    SweepRun,
)

# --- Prices ---------------------------------------------------------------------------------------------


@admin.register(Price)
class PriceAdmin(History):
    list_display = ("asset_id", "usd", "observed_at", "source", "sources", "status", "reason")
    list_filter = ("status",)
    search_fields = ("=asset__symbol",)
    search_help_text = "A symbol, such as BTC"
    actions_list = ("board",)
    usd = figure("price", "USD", asset="")

    @button(title="Latest prices and their age", path="board", permissions=("view",))
    def board(self, request: HttpRequest) -> HttpResponse:
        at = timezone.now()
        found = sorted(prices.latest(at=at).values(), key=lambda quote: (quote.fresh, quote.asset))
        rows = [
            [
                quote.asset,
                figures.price(quote.price),
                f"{(at - quote.observed_at).total_seconds():.0f} s",
                quote.state.value,
            ]
            for quote in found
        ]
        fresh = sum(quote.fresh for quote in found)
        context = self.admin_site.each_context(request) | {
            "title": "Latest prices",
            "opts": self.opts,
            "summary": f"{fresh} of {len(found)} are fresh at {at:%H:%M:%S} UTC; those that are not come first.",
            "table": {"headers": ["Coin", "USD", "Age", "State"], "rows": rows},
        }
        return render(request, "admin/prices.html", context)


# --- Groups and debts -----------------------------------------------------------------------------------


class ValuedGroups(ChangeList):
    """The rows of a page with their states, read for all of them at once."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        rows = list(self.result_list)
        states = book.states(rows, at=timezone.now())
        for row in rows:
            row.state = states[row.pk]
        self.result_list = rows


class MemberRows(Rows):
    model = Member
    related = ("account",)
    fields = readonly_fields = ("account", "wallet", "since", "released_at")


class CoinRows(Rows):
    model = GroupCoin
    fields = readonly_fields = ("asset", "since", "released_at")


class DebtRows(Rows):
    model = Debt
    fields = readonly_fields = (
        "pk",
        "asset",
        "principal",
        "interest",
        "late_fee",
        "due_at",
        "overdue_since",
        "closed_reason",
    )
    show_change_link = True


@admin.register(CollateralGroup)
class CollateralGroupAdmin(ReadOnly):
    list_display = (
        "__str__",
        "name",
        "customer",
        "band_now",
        "ltv",
        "debt",
        "recognised",
        "opened_at",
        "closed_at",
    )
    list_select_related = ("customer", "receiver")
    list_filter = ("band", "product")
    search_fields = ("name", "customer__name", "=id")
    ordering = (F("closed_at").desc(nulls_first=True), "-pk")
    inlines = (MemberRows, CoinRows, DebtRows)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        return ValuedGroups

    @admin.display(description="Band")
    def band_now(self, row: Any) -> str:
        return str(band(row.state.worth(permission=False), row.state.lines).value)

    band_now.band = True  # type: ignore[attr-defined]  # drawn as a chip

    @admin.display(description="LTV")
    def ltv(self, row: Any) -> str:
        return figures.ltv(row.state.worth(permission=False).ltv)

    @admin.display(description="Debt")
    def debt(self, row: Any) -> str:
        return figures.usd(row.state.worth(permission=False).debt)

    debt.number = True  # type: ignore[attr-defined]

    @admin.display(description="Recognised")
    def recognised(self, row: Any) -> str:
        return figures.usd(row.state.worth(permission=False).collateral)

    recognised.number = True  # type: ignore[attr-defined]


class RateRows(Rows):
    model = DebtRate
    fields = readonly_fields = ("starts_at", "fixed_rate", "spread")
    ordering = ("starts_at",)


@admin.register(Debt)
class DebtAdmin(ReadOnly):
    list_display = (
        "__str__",
        "customer",
        "group",
        "p",
        "i",
        "l",
        "due_at",
        "overdue_since",
        "residual_since",
        "closed_reason",
        "accrued_through",
    )
    list_select_related = ("customer", "group")
    list_filter = ("closed_reason", "product")
    search_fields = ("=id", "customer__name", "=asset__symbol")
    ordering = ("-pk",)
    inlines = (RateRows,)
    p = figure("principal", "Principal")
    i = figure("interest", "Interest")
    l = figure("late_fee", "Late fee")  # noqa: E741


@admin.register(DebtEntry)
class DebtEntryAdmin(History):
    plural = "debt entries"
    list_display = ("pk", "debt", "kind", "at", "principal", "interest", "late_fee", "basis", "rate", "entry")
    list_select_related = ("debt", "entry")
    list_filter = ("kind",)
    search_fields = ("=debt__id",)
    search_help_text = "The number of a debt"
    rate = percent("annual_rate", "Annual rate")


# --- What happened --------------------------------------------------------------------------------------


@admin.register(RiskEvent)
class RiskEventAdmin(History):
    list_display = ("at", "kind", "group", "debt", "ltv_shown")
    list_select_related = ("group", "debt")
    list_filter = ("kind",)
    search_fields = ("=group__id", "group__customer__name")

    @admin.display(description="LTV")
    def ltv_shown(self, row: RiskEvent) -> str:
        return "" if row.ltv is None else figures.ltv(row.ltv)


@admin.register(MarginCall)
class MarginCallAdmin(History):
    list_display = ("group", "opened_at", "ltv_shown", "notices", "ended_at", "ended")
    list_select_related = ("group",)
    list_filter = ("ended",)

    @admin.display(description="LTV")
    def ltv_shown(self, row: MarginCall) -> str:
        return figures.ltv(row.ltv)


class SaleRows(Rows):
    model = Sale
    related = ("account", "debt", "coin")
    fields = readonly_fields = (
        "step",
        "account",
        "debt",
        "coin",
        "sold",
        "price",
        "slippage",
        "proceeds",
        "fee",
        "venue",
        "at",
    )
    ordering = ("step",)


@admin.register(Liquidation)
class LiquidationAdmin(History):
    list_display = (
        "__str__",
        "group",
        "cause",
        "status",
        "started_at",
        "ltv_shown",
        "sold",
        "fee",
        "shortfall",
    )
    list_select_related = ("group",)
    list_filter = ("cause", "status")
    inlines = (SaleRows,)
    sold = figure("sold_usd", "Sold", asset="")
    fee = figure("fee_usd", "Fee", asset="")
    shortfall = figure("shortfall_usd", "Still owed", asset="")

    @admin.display(description="LTV")
    def ltv_shown(self, row: Liquidation) -> str:
        return figures.ltv(row.ltv)


@admin.register(Movement)
class MovementAdmin(History):
    list_display = ("at", "kind", "customer", "moved", "source", "target", "entry")
    list_select_related = ("customer", "source", "target", "entry")
    list_filter = ("kind",)
    search_fields = ("customer__name",)
    moved = figure("amount", "Amount")


@admin.register(SweepRun)
class SweepRunAdmin(ReadOnly):
    list_display = ("product", "at", "groups", "seconds")
