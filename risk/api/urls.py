"""/api/v1: groups, movements and prices. No trailing slashes."""

from django.urls import URLPattern, path

from risk.api.cures import Cures
from risk.api.deleveraging import Deleveraging, DeleveragingPlan
from risk.api.groups import Group, Groups
from risk.api.market import Prices
from risk.api.movements import Movements, Transfers, Withdrawals
from risk.api.warnings import Warning, Warnings
from risk.api.whatif import WhatIfEdge

urlpatterns: list[URLPattern] = [
    path("groups", Groups.as_view(), name="api_groups"),
    path("groups/<int:group_id>", Group.as_view(), name="api_group"),
    path("groups/<int:group_id>/what-if", WhatIfEdge.as_view(), name="api_what_if"),
    path("groups/<int:group_id>/cures", Cures.as_view(), name="api_cures"),
    path("groups/<int:group_id>/warnings", Warnings.as_view(), name="api_warnings"),
    path("groups/<int:group_id>/warnings/<int:line_id>", Warning.as_view(), name="api_warning"),
    path("groups/<int:group_id>/deleveraging", Deleveraging.as_view(), name="api_deleveraging"),
    path("groups/<int:group_id>/deleveraging/plan", DeleveragingPlan.as_view(), name="api_deleveraging_plan"),
    path("movements", Movements.as_view(), name="api_movements"),
    path("transfers", Transfers.as_view(), name="api_transfers"),
    path("withdrawals", Withdrawals.as_view(), name="api_withdrawals"),
    path("prices", Prices.as_view(), name="api_prices"),
]
