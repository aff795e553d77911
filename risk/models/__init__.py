"""What is owed, what secures it, what it is worth and where the lines are.

`Debt` totals, `DebtEntry`, `Price` and rates are guarded by the triggers of migration 0002: append-only,
chained, and equal to the control accounts of the ledger at every commit.
"""

from risk.models.debts import Debt, DebtEntry, DebtQuerySet, DebtRate, Instalment, PaymentPlan
from risk.models.funding import Tranche, TrancheEntry
from risk.models.groups import CollateralGroup, GroupCoin, GroupQuerySet, Member
from risk.models.help import CallRecord, CureRule, CureRun, Deleveraging
from risk.models.parameters import (
    AssetCap,
    CollateralTier,
    FeedRule,
    FlexibleRate,
    HandlingRule,
    Limits,
    LoanLimit,
    MarketDepth,
    ProductCode,
    RatioSchedule,
    Settings,
    usd_field,
)
from risk.models.prices import Price
from risk.models.scale import Candidate, Moved, PaceLimit, Redemption, StressRun
from risk.models.watching import (
    DelayEnrolment,
    Freeze,
    Liquidation,
    LiquidationDelay,
    MarginCall,
    Movement,
    RiskEvent,
    Sale,
    SweepRun,
    WarningLine,
)

__all__ = [
    "AssetCap",
    "CallRecord",
    "Candidate",
    "CollateralGroup",
    "CollateralTier",
    "CureRule",
    "CureRun",
    "Debt",
    "DebtEntry",
    "DebtQuerySet",
    "DebtRate",
    "DelayEnrolment",
    "Deleveraging",
    "FeedRule",
    "FlexibleRate",
    "Freeze",
    "GroupCoin",
    "GroupQuerySet",
    "HandlingRule",
    "Instalment",
    "Limits",
    "Liquidation",
    "LiquidationDelay",
    "LoanLimit",
    "MarginCall",
    "MarketDepth",
    "Member",
    "Moved",
    "Movement",
    "PaceLimit",
    "PaymentPlan",
    "Price",
    "ProductCode",
    "RatioSchedule",
    "Redemption",
    "RiskEvent",
    "Sale",
    "Settings",
    "StressRun",
    "SweepRun",
    "Tranche",
    "TrancheEntry",
    "WarningLine",
    "usd_field",
]
