"""The console's pages of `risk`: parameters with their forms, and what is watched."""

from risk.admin.delays import DelayEnrolmentAdmin
from risk.admin.parameters import DatedForm, Published, asset_field, product_field, usd_field
from risk.admin.watching import CollateralGroupAdmin

__all__ = [
    "CollateralGroupAdmin",
    "DelayEnrolmentAdmin",
    "DatedForm",
    "Published",
    "asset_field",
    "product_field",
    "usd_field",
]
