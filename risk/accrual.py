"""The midnight job: every open debt is charged once for every 00:00 UTC it stood through (R-VIP-30, 31).

Work is claimed from the database in chunks, so a lost, doubled or late message changes nothing: a run three days
late writes the rows three punctual runs would have written (R-GEN-04).

A debt past its due date is charged up to that date and then waits until its expiry is settled: a job of the product
may repay it with the figures of the expiry (R-VIP-47), and after an outage this run must not overtake that one.
"""

import logging
from datetime import UTC, datetime, time

from django.db.models import Q, QuerySet

from accounts.commands import Actor, acting
from risk import debts
from risk.models import Debt

logger = logging.getLogger(__name__)

CHUNK = 500  # debts per transaction and journal entry


class AccrualIncomplete(Exception):
    """Some debts could not be charged; all others were. Not a refusal: somebody must look."""


def accrue(*, at: datetime, chunk: int = CHUNK) -> int:
    """Charge everything due at or before `at`; returns the number of charges booked. Safe to run many at once.

    A debt locked by a command is left to that command, which charges it first, or to the next run.

    Raises:
        AccrualIncomplete: names the debts that failed, after all others were charged.
    """
    charges, last_pk, failed = 0, 0, []
    while True:
        chunk_pks = _behind(at=at, after_pk=last_pk, limit=chunk)
        if not chunk_pks:
            break
        last_pk = chunk_pks[-1]
        try:
            charges += _charge(chunk_pks, at=at)
        except Exception:  # one bad debt must not shield the others of its chunk
            logger.exception("accrual chunk %s-%s failed; trying its debts one by one", chunk_pks[0], last_pk)
            for pk in chunk_pks:
                try:
                    charges += _charge([pk], at=at)
                except Exception:
                    logger.exception("debt %s could not be charged", pk)
                    failed.append(pk)
    if failed:
        raise AccrualIncomplete(failed)
    return charges


def still_to_charge(through: datetime) -> list[str]:
    """What keeps the books until `through`, a 00:00 UTC, from being closed: what is not booked yet (R-ADM-11)."""
    rows = unsettled(through)
    waiting = list(rows.order_by("pk")[:3])
    if not waiting:
        return []
    count, named = rows.count(), ", ".join(map(str, waiting))
    return [f"the interest of {count} debt(s), such as {named}, until then"]


def unsettled(through: datetime) -> QuerySet[Debt]:
    """Running debts that a charge, or what follows their expiry, may still be booked on, dated `through` or before."""
    late = Q(accrued_through__lt=through) | Q(due_at__lte=through, overdue_since__isnull=True)
    return Debt.objects.watched().filter(late, principal__gt=0)


def _behind(*, at: datetime, after_pk: int, limit: int) -> list[int]:
    midnight = datetime.combine(at.astimezone(UTC).date(), time(), UTC)
    rows = Debt.objects.watched().filter(accrued_through__lt=midnight, principal__gt=0, pk__gt=after_pk)
    return list(rows.order_by("pk").values_list("pk", flat=True)[:limit])


def _charge(pks: list[int], *, at: datetime) -> int:
    with acting(Actor.job("accrual")):
        rows = Debt.objects.watched().filter(pk__in=pks).select_related("asset")
        locked = list(rows.select_for_update(skip_locked=True, of=("self",)).order_by("pk"))
        waiting = [debt for debt in locked if awaits_expiry(debt, at)]
        booked = debts.bring_up_to_date([debt for debt in locked if debt not in waiting], at=at)
        for debt in waiting:
            assert debt.due_at is not None
            booked += debts.bring_up_to_date([debt], at=debt.due_at)
        return booked


def awaits_expiry(debt: Debt, at: datetime) -> bool:
    return debt.overdue_since is None and debt.due_at is not None and debt.due_at < at
