"""The console's pages on delayed liquidation, early warnings and chosen de-leveraging; all of it read-only."""

from django.contrib import admin

from accounts.console import History, percent
from risk.models import DelayEnrolment, Deleveraging, LiquidationDelay, WarningLine


@admin.register(DelayEnrolment)
class DelayEnrolmentAdmin(History):
    list_display = ("customer", "starts_at", "ends_at", "granted_by", "review_since")
    list_select_related = ("customer", "granted_by")
    search_fields = ("customer__name",)


@admin.register(LiquidationDelay)
class LiquidationDelayAdmin(History):
    list_display = ("group", "started_at", "ends_at", "ltv_shown", "ended_at", "ended")
    list_select_related = ("group",)
    list_filter = ("ended",)
    ltv_shown = percent("ltv", "LTV")


@admin.register(WarningLine)
class WarningLineAdmin(History):
    list_display = ("group", "asset", "line", "set_at", "crossed_at", "removed_at")
    list_select_related = ("group", "asset")
    search_fields = ("=group__id", "group__customer__name")
    line = percent("ltv", "Line")


@admin.register(Deleveraging)
class DeleveragingAdmin(History):
    list_display = ("group", "start_shown", "target_shown", "share", "set_at", "set_by", "removed_at")
    list_select_related = ("group", "set_by")
    search_fields = ("=group__id", "group__customer__name")
    start_shown = percent("start", "Start")
    target_shown = percent("target", "Target")
    share = percent("step_share", "Per step")
