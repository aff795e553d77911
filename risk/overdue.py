"""How long an overdue debt has until collateral is sold for it, and when that clock stands still (R-VIP-44, R-VIP-45).

While the desk cannot take repayments (`freezes.What.REPAY`) nobody is fined for not repaying: midnights in such a
pause bear no late fee, and the overdue hours do not run. One place, so that the sale, the pages and the notices
name the same instant.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from risk import freezes
from risk.interest import Pause, clock_ends_at
from risk.models import Debt

ALWAYS: Final = datetime.max.replace(tzinfo=UTC)  # planned pauses count as soon as they are recorded


def ends_at(debt: Debt) -> datetime | None:
    """When the time to repay is over and collateral may be sold; None while the debt is not overdue."""
    return ends([debt]).get(debt.pk)


def ends(debts: Iterable[Debt]) -> dict[int, datetime]:
    """`ends_at` of those that are overdue, by id, in one query at most."""
    late = [(debt, debt.overdue_since) for debt in debts if debt.overdue_since and not debt.residual_since]
    pauses = freezes.repay_pauses({debt.asset_id for debt, _ in late}, ALWAYS) if late else {}
    return {
        debt.pk: clock_ends_at(starts_at=since, hours=debt.overdue_hours, pauses=pauses[debt.asset_id])
        for debt, since in late
    }


def pauses_of(debts: Iterable[Debt], *, at: datetime) -> dict[str, tuple[Pause, ...]]:
    """When repayments could not be taken, per coin; asked only for coins with a debt past its due date at `at`."""
    late = {debt.asset_id for debt in debts if debt.due_at is not None and debt.due_at < at}
    return freezes.repay_pauses(late, ALWAYS) if late else {}
