"""How a group is handled when its LTV is too high: sold whole or in steps, which fee, which trades may cure it.

Facts for the rules that decide; where they come from is `risk.parameters.handling_for` (R-GEN-73, R-GEN-75,
R-VIP-54, R-VIP-63). The values equal those of `HandlingRule`'s choices.
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


class Mode(StrEnum):
    """R-GEN-73: everything at once, or in steps until LTV is back at the target."""

    FULL = "full"
    STEPPED = "stepped"


class FeeBase(StrEnum):
    """What the liquidation fee is a fraction of. R-GEN-75"""

    DEBT_REPAID = "debt_repaid"
    COLLATERAL_SOLD = "collateral_sold"
    START_ASSETS = "start_assets"


class CallTrades(StrEnum):
    """Which trades are allowed between the margin call and the liquidation line. R-VIP-54"""

    NONE = "none"
    LOWERING = "lowering"
    BELOW_LIQUIDATION = "below_liquidation"


@dataclass(frozen=True, slots=True)
class Handling:
    """What is in force for one group. `target` None: steps stop at its initial line.

    `step_share`: at most this fraction of the debt's value in one step; `full_below_usd`: a debt that would be
    left with no more than this is repaid whole.
    """

    mode: Mode = Mode.FULL
    target: Decimal | None = None
    step_share: Decimal = Decimal("0.5")
    full_below_usd: Decimal = Decimal(200)
    fee_base: FeeBase = FeeBase.DEBT_REPAID
    call_trades: CallTrades = CallTrades.LOWERING
