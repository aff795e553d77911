"""How far a stress of the book is: kept beside the database, since the run itself may write nothing. R-FTR-27"""

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from django.core.cache import cache

from risk.models import StressRun

logger = logging.getLogger(__name__)

TOLD_EVERY: Final = 1.0  # seconds between two words of how far it is
KEPT: Final = 3600  # seconds; no run is given longer

Told = Callable[[int, int], None]
"""Hears how many steps of how many are done, as often as it is told."""


@dataclass(frozen=True, slots=True)
class HowFar:
    """Of a run without an answer: how many wait `before` it, steps `done` of `total` (0: it has not begun)."""

    before: int
    done: int
    total: int

    @property
    def percent(self) -> int:
        """Whole per cent, cut: 100 only when every step is done."""
        return 100 * self.done // self.total if self.total else 0


def of(runs: Iterable[StressRun]) -> dict[int, HowFar]:
    """Each of these runs that has no answer yet, by its key. Without anybody to keep it, none has begun."""
    queue = list(
        StressRun.objects.filter(finished_at=None).order_by("asked_at", "pk").values_list("pk", flat=True)
    )
    waiting = [one.pk for one in runs if one.pk in queue]
    try:
        known: dict[str, tuple[int, int]] = cache.get_many([_place(pk) for pk in waiting]) if waiting else {}
    except Exception:
        logger.warning("how far stresses are cannot be read")
        known = {}
    return {pk: HowFar(queue.index(pk), *known.get(_place(pk), (0, 0))) for pk in waiting}


def teller(run_id: int) -> Told:
    """Keeps how far this run is, once a second at most; a run goes on where nobody can keep it."""
    told_at = -TOLD_EVERY

    def tell(done: int, total: int) -> None:
        nonlocal told_at
        if time.monotonic() - told_at < TOLD_EVERY:
            return
        told_at = time.monotonic()
        try:
            cache.set(_place(run_id), (done, total), KEPT)
        except Exception:
            logger.warning("nothing can keep how far stress run %s is", run_id)

    return tell


def counter(told: Told, *, column: int, columns: int, steps: int) -> Callable[[int], None]:
    """The steps of one column as steps of all; the one that a late sale needs besides is not counted."""
    return lambda step: told(column * steps + min(step, steps), columns * steps)


def _place(run_id: int) -> str:
    return f"stress-run:{run_id}"
