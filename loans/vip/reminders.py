"""Reminders: seven days, three days, a day and an hour before an expiry, and daily while overdue (R-VIP-46).

The expiry itself is told by `expiry`. Each step is one event of the loan and its due date, so a job that runs twice
tells once; one that was away tells only the latest step that applies, never a burst. Every step is judged again
under the loan's lock, so a loan that was repaid or renewed meanwhile gets none, and the figures are of that moment.
"""

import logging
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import LedgerAccount, Notice
from accounts.money import ZERO
from accounts.words import tell
from loans import queries
from loans.models import Loan
from loans.vip import messages
from loans.vip.at_expiry import auto_repays, converts
from loans.vip.repayment import Held, hold
from risk import debts
from risk.models import Debt

logger = logging.getLogger(__name__)

JOB = Actor.job("reminders")
BEFORE: Final = (
    ("7d", timedelta(days=7)),
    ("3d", timedelta(days=3)),
    ("1d", timedelta(days=1)),
    ("1h", timedelta(hours=1)),
)
DAY: Final = timedelta(days=1)


class NothingToSay(Refused):
    """No step applies now, or its reminder is out."""

    code = "nothing_to_remind_of"


class RemindersIncomplete(Exception):
    """Some loans could not be looked at; the others were. The ids are in the message."""


def remind_due(*, at: datetime) -> int:
    """Send every reminder that is due at `at` and not out yet; returns how many. Safe to run twice. R-VIP-46

    Raises:
        RemindersIncomplete: after all others were reminded.
    """
    told, failed = 0, []
    for loan_id in _waiting(at):
        try:
            remind(loan_id=loan_id, actor=JOB, at=at)
            told += 1
        except Refused as refusal:  # repaid, renewed or told since we read it
            logger.info("no reminder for loan %s: %s", loan_id, refusal.code)
        except Exception:  # one bad loan must not silence the others
            logger.exception("loan %s could not be reminded of", loan_id)
            failed.append(loan_id)
    if failed:
        raise RemindersIncomplete(tell("These loans could not be reminded of: {failed}.", failed=failed))
    return told


@command("vip.remind", returns=Notice)
def remind(*, loan_id: int, actor: Actor, at: datetime, key: str = "", reason: str = "") -> Notice:
    """Tell the borrower the one step that applies at `at`. R-VIP-46

    Raises:
        LoanClosed: nothing is owed on the loan any more.
        NothingToSay: no step applies now, or it has been told.
    """
    held = hold(loan_id)
    event = _event(held.loan, at)
    if event is None or Notice.objects.filter(event=event).exists():
        raise NothingToSay(tell("There is nothing to remind of on {loan} now.", loan=held.loan))
    if held.debt.overdue_since is not None:
        return _tell_overdue(held, at=at)
    spot = sum((wallet.balance for wallet in held.wallets([LedgerAccount.Kind.SPOT])), ZERO)
    return messages.due_soon(
        held.loan,
        payoff=debts.payoff_at(held.debt, at=at).total,
        spot=spot,
        auto_repays=auto_repays(held.loan),
        converts=converts(held.loan),
        step=_step(held.debt, at) or "",
        at=at,
    )


# --- Private ----------------------------------------------------------------------------------------


def _waiting(at: datetime) -> list[int]:
    """Loans with a step that applies now and is not out, in a constant number of queries."""
    open_loans = Loan.objects.filter(debt__closed_at__isnull=True, debt__residual_since__isnull=True)
    soon = open_loans.filter(
        debt__overdue_since__isnull=True, debt__due_at__gt=at, debt__due_at__lte=at + BEFORE[0][1]
    )
    late = open_loans.filter(debt__overdue_since__lte=at - DAY)
    events = _events([*soon.select_related("debt"), *late.select_related("debt")], at)
    told = set(Notice.objects.filter(event__in=events).values_list("event", flat=True))
    return sorted(pk for event, pk in events.items() if event not in told)


def _events(loans: Iterable[Loan], at: datetime) -> dict[str, int]:
    return {event: loan.pk for loan in loans if (event := _event(loan, at)) is not None}


def _event(loan: Loan, at: datetime) -> str | None:
    debt = loan.debt
    if debt.residual_since is not None:
        return None
    if debt.overdue_since is not None:
        day = _overdue_day(debt, at)
        return messages.overdue_event(loan, day) if day > 0 else None
    step = _step(debt, at)
    return None if step is None else messages.due_event(loan, step)


def _step(debt: Debt, at: datetime) -> str | None:
    """The latest step whose time has come; none after the expiry, and none from before the date was set."""
    if debt.due_at is None or at >= debt.due_at:
        return None
    known_since = debt.called_at or debt.opened_at
    passed = [name for name, before in BEFORE if known_since < debt.due_at - before <= at]
    return passed[-1] if passed else None


def _overdue_day(debt: Debt, at: datetime) -> int:
    assert debt.overdue_since is not None
    return (at - debt.overdue_since) // DAY


def _tell_overdue(held: Held, *, at: datetime) -> Notice:
    row = queries.loan_row(held.loan, at=at)
    assert row.liquidated_from is not None
    return messages.still_overdue(
        held.loan,
        owed=row.owed,
        per_day=row.daily_interest,
        until=row.liquidated_from,
        day=_overdue_day(held.debt, at),
        at=at,
    )
