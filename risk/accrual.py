"""The midnight job: every open debt is charged once for every 00:00 UTC it stood through (R-VIP-30, 31).

Work is claimed from the database in chunks, so a lost, doubled or late message changes nothing: a run three days
late writes the rows three punctual runs would have written (R-GEN-04), and any number of runs share the work.

A chunk is one transaction: its debts are locked and charged first (risk/accrual_sql.py), the house accounts, which
all chunks share, moved last; so runs side by side hardly wait for each other.

A debt past its due date is charged up to that date and then waits until its expiry is settled: a job of the product
may repay it with the figures of the expiry (R-VIP-47), and after an outage this run must not overtake that one.
"""

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple

from django.db.models import Min, Q, QuerySet

from accounts import books, ledger
from accounts.commands import Actor, acting, retried
from accounts.models import JournalEntry, LedgerAccount
from accounts.words import joined, tell
from risk import accrual_sql, debts
from risk.accrual_sql import Charged, Claimed
from risk.models import Debt

logger = logging.getLogger(__name__)

JOB = Actor.job("accrual")
CHUNK = 10_000  # debts per transaction and journal entry
NIGHTS = timedelta(days=10)  # booked by one transaction at most: commands wait for its debts


class AccrualIncomplete(Exception):
    """Some debts could not be charged; all others were. Not a refusal: somebody must look."""


def accrue(*, at: datetime, chunk: int = CHUNK, may_go_on: Callable[[], bool] = lambda: True) -> int:
    """Charge everything due at or before `at`; returns the number of charges booked. Safe to run many at once.

    A debt locked by a command is left to that command, which charges it first, or to the next run. `may_go_on` is
    asked before each chunk; what is left when it says no is for the next run.

    Raises:
        AccrualIncomplete: names the debts that failed, after all others were charged.
    """
    charges, failed = 0, []
    for until in _stages(at):
        run = _Run(until, may_go_on)
        after_pk, is_more = 0, True
        while is_more and may_go_on():
            taken = run.take(after_pk=after_pk, limit=chunk)
            after_pk, is_more = max(taken, default=0), len(taken) == chunk
        charges += run.charges
        failed += [pk for pk in run.failed if pk not in failed]
    if failed:
        raise AccrualIncomplete(failed)
    return charges


def is_much(*, at: datetime) -> bool:
    """More than one chunk is behind at `at`: worth a second worker."""
    midnight = datetime.combine(at.astimezone(UTC).date(), time(), UTC)
    behind = Debt.objects.watched().filter(accrued_through__lt=midnight, principal__gt=0).order_by()
    return behind[CHUNK : CHUNK + 1].exists()


def still_to_charge(through: datetime) -> list[str]:
    """What keeps the books until `through`, a 00:00 UTC, from being closed: what is not booked yet (R-ADM-11)."""
    rows = unsettled(through)
    waiting = list(rows.order_by("pk")[:3])
    if not waiting:
        return []
    count, named = rows.count(), joined(", ", map(str, waiting))
    return [tell("the interest of {count} debt(s), such as {named}, until then", count=count, named=named)]


def unsettled(through: datetime) -> QuerySet[Debt]:
    """Running debts that a charge, or what follows their expiry, may still be booked on, dated `through` or before."""
    late = Q(accrued_through__lt=through) | Q(due_at__lte=through, overdue_since__isnull=True)
    return Debt.objects.watched().filter(late, principal__gt=0)


def awaits_expiry(debt: Debt, at: datetime) -> bool:
    return debt.overdue_since is None and debt.due_at is not None and debt.due_at < at


# --- Private ----------------------------------------------------------------------------------------


def _stages(at: datetime) -> list[datetime]:
    """When runs might have come before `at`, had they not been away for weeks: they write the same rows (R-GEN-04)."""
    behind = Debt.objects.watched().filter(principal__gt=0, accrued_through__lt=at)
    oldest = behind.aggregate(oldest=Min("accrued_through"))["oldest"] or at
    return [oldest + NIGHTS * number for number in range(1, -((oldest - at) // NIGHTS))] + [at]


class _Run:
    """One pass over what is behind at `at`: what it booked, and which debts it could not charge."""

    def __init__(self, at: datetime, may_go_on: Callable[[], bool]) -> None:
        self.at, self.may_go_on = at, may_go_on
        self.charges = 0
        self.failed: list[int] = []
        self._houses: dict[str, _House] = {}

    def take(self, *, after_pk: int, limit: int) -> list[int]:
        """Charge the next debts after `after_pk`, `limit` at most; which they were, in order."""
        return self._charge(lambda: accrual_sql.claim(at=self.at, after_pk=after_pk, limit=limit))

    def _charge(self, claim: Callable[[], list[Claimed]]) -> list[int]:
        taken: list[int] = []

        def book() -> int:
            nonlocal taken
            self._houses.clear()  # what was opened in an attempt that lost is undone
            with acting(JOB):
                claimed = claim()
                taken = sorted(pk for some in claimed for pk in some.debts)
                return self._book(claimed) if taken else 0

        try:
            booked = retried(book)
        except Exception:
            if not taken:
                raise
            logger.exception("the accrual of debts %s-%s failed; trying them apart", taken[0], taken[-1])
            self._houses.clear()  # what was opened in there is undone
            self._try_apart(taken)
        else:
            self.charges += booked
        return taken

    def _book(self, claimed: Sequence[Claimed]) -> int:
        by_midnight: dict[datetime, list[Claimed]] = defaultdict(list)
        for some in claimed:
            if some.asset not in self._houses:  # before its debts: their sums are held against its controls
                self._houses[some.asset] = _House.of(some.asset)
            for instant in some.instants():
                by_midnight[instant].append(some)
        entries = [_opened(instant, some) for instant, some in sorted(by_midnight.items())]
        count, charged = accrual_sql.charge(
            debts=(pk for some in claimed for pk in some.debts), entries=entries, at=self.at
        )
        ledger.book_lines(self._lines(entries, charged))
        return count

    def _lines(
        self, entries: Iterable[JournalEntry], charged: Iterable[Charged]
    ) -> Iterator[tuple[JournalEntry, ledger.Line]]:
        by_pk = {entry.pk: entry for entry in entries}
        for row in sorted(charged, key=lambda row: (row.entry_id, row.asset)):
            house, entry = self._houses[row.asset], by_pk[row.entry_id]
            yield entry, ledger.Line(house.interest, house.interest_income, row.interest)
            yield entry, ledger.Line(house.late_fee, house.late_fee_income, row.late_fee)

    def _try_apart(self, pks: Sequence[int]) -> None:
        """By halves, and a single one in Python: one bad debt must not shield the others of its chunk."""
        if not self.may_go_on():
            return
        if len(pks) == 1:
            self._charge_alone(pks[0])
            return
        middle = len(pks) // 2
        for half in (pks[:middle], pks[middle:]):
            self._charge(lambda half=half: accrual_sql.claim(at=self.at, limit=len(half), among=half))  # type: ignore[misc]

    def _charge_alone(self, pk: int) -> None:
        try:
            with acting(JOB):
                rows = Debt.objects.watched().filter(pk=pk).select_related("asset")
                for debt in rows.select_for_update(skip_locked=True, of=("self",)):
                    until = debt.due_at if awaits_expiry(debt, self.at) else self.at
                    assert until is not None
                    self.charges += debts.bring_up_to_date([debt], at=until)
        except Exception:
            logger.exception("debt %s could not be charged", pk)
            self.failed.append(pk)


class _House(NamedTuple):
    """What a charge of one coin moves."""

    interest: LedgerAccount
    interest_income: LedgerAccount
    late_fee: LedgerAccount
    late_fee_income: LedgerAccount

    @classmethod
    def of(cls, asset: str) -> "_House":
        return cls(
            books.interest(asset),
            books.interest_income(asset),
            books.late_fee(asset),
            books.late_fee_income(asset),
        )


def _opened(instant: datetime, claimed: Collection[Claimed]) -> JournalEntry:
    first, last = min(some.debts[0] for some in claimed), max(some.debts[-1] for some in claimed)
    reference = f"accrual:{instant:%Y-%m-%dT%H:%MZ}:{first}-{last}"
    return ledger.open_entry(kind="accrual", reference=reference, at=instant)
