"""Which state follows which, and a loan's status read off its debt's facts.

Pure. The application's table of moves is enforced again by a trigger (loans migration 0002).
"""

from dataclasses import dataclass
from datetime import datetime

from accounts.words import Said, tell


class LoanStatus(Said):
    """R-GEN-92, with the outcomes RULES section 13 adds."""

    ACCRUING = tell("Accruing interest")
    OVERDUE = tell("Overdue")
    LIQUIDATING = tell("Liquidating")
    REPAID = tell("Repaid")
    LIQUIDATED = tell("Liquidated")
    RENEWED = tell("Renewed")
    RESIDUAL = tell("Residual debt")
    WRITTEN_OFF = tell("Written off")


@dataclass(frozen=True, slots=True)
class DebtFacts:
    """What a loan's status depends on; nothing else does."""

    overdue_since: datetime | None
    residual_since: datetime | None
    closed_reason: str
    liquidating: bool


def status(facts: DebtFacts) -> LoanStatus:
    """The loan's status. Derived, so it cannot lag behind a liquidation nobody told `loans` about."""
    if facts.closed_reason:
        return {
            "repaid": LoanStatus.REPAID,
            "liquidated": LoanStatus.LIQUIDATED,
            "renewed": LoanStatus.RENEWED,
            "written_off": LoanStatus.WRITTEN_OFF,
        }[facts.closed_reason]
    if facts.residual_since is not None:
        return LoanStatus.RESIDUAL
    if facts.liquidating:
        return LoanStatus.LIQUIDATING
    if facts.overdue_since is not None:
        return LoanStatus.OVERDUE
    return LoanStatus.ACCRUING


APPLICATION_MOVES: frozenset[tuple[str, str]] = frozenset(
    {
        *(("draft", after) for after in ("submitted", "negotiating", "cancelled")),
        *(("submitted", after) for after in ("negotiating", "offered", "approved", "partially_approved")),
        *(("submitted", after) for after in ("rejected", "cancelled", "expired")),
        *(("negotiating", after) for after in ("offered", "submitted", "rejected", "cancelled", "expired")),
        *(("offered", after) for after in ("negotiating", "submitted", "rejected", "cancelled", "expired")),
        ("approved", "disbursed"),
        ("partially_approved", "disbursed"),
    }
)
"""Allowed moves of an application (R-VIP-11, R-VIP-12, RULES section 13); all others are refused twice.

What was agreed by negotiation goes to review (`submitted`) like published terms; only a review approves.
"""
