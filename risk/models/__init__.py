"""What is owed, what secures it, what it is worth and where the lines are.

`Debt` totals, `DebtEntry`, `Price` and rates are guarded by the triggers of migration 0002: append-only,
chained, and equal to the control accounts of the ledger at every commit.
"""

from risk.models.debts import Debt, DebtEntry, DebtQuerySet, DebtRate
from risk.models.groups import CollateralGroup, GroupCoin, GroupQuerySet, Member
from risk.models.parameters import (
    CollateralTier,
    FeedRule,
    FlexibleRate,
    Limits,
    LoanLimit,
    ProductCode,
    RatioSchedule,
    Settings,
    usd_field,
)
from risk.models.prices import Price
from risk.models.watching import Liquidation, MarginCall, Movement, RiskEvent, Sale, SweepRun

__all__ = [
    "CollateralGroup",
    "CollateralTier",
    "Debt",
    "DebtEntry",
    "DebtQuerySet",
    "DebtRate",
    "FeedRule",
    "FlexibleRate",
    "GroupCoin",
    "GroupQuerySet",
    "Limits",
    "Liquidation",
    "LoanLimit",
    "MarginCall",
    "Member",
    "Movement",
    "Price",
    "ProductCode",
    "RatioSchedule",
    "RiskEvent",
    "Sale",
    "Settings",
    "SweepRun",
    "usd_field",
]
