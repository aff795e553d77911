"""The jobs of the timetable: when each ran last, how that went, and by how much it is late.

A worker that dies says nothing, so a job is judged by the clock: it is late when the instant it was due at is well past
and it has not begun again. Written by the workers themselves, one row a job.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from celery import Task, current_app
from celery.schedules import BaseSchedule
from celery.signals import task_postrun, task_prerun
from celery.states import FAILURE, SUCCESS
from django.conf import settings
from django.db.models import F
from django.utils import timezone

from accounts.job_words import Trouble, trouble
from accounts.models import JobRun
from accounts.words import tell

SHORTEST_ALLOWANCE: Final = timedelta(seconds=15)  # beat and a busy worker may take that long
LONGEST_ALLOWANCE: Final = timedelta(minutes=5)
WORDS: Final = JobRun._meta.get_field("failure").max_length or 0

_began: dict[str, float] = {}  # the monotonic clock at a run's start, by the task's id, in this process


@dataclass(frozen=True, slots=True)
class Job:
    """One job of the timetable as it stands: `due_at` is when it begins next, or should have."""

    name: str
    task: str
    every: str
    run: JobRun | None
    due_at: datetime | None
    lag: timedelta
    is_late: bool
    is_lost: bool

    @property
    def is_failed(self) -> bool:
        """Its last run that ended did so with an error."""
        return self.run is not None and self.run.failures > 0

    @property
    def trouble(self) -> Trouble | None:
        """What happened and what to do, in words, while it is failed."""
        return trouble(self.run.failure) if self.run is not None and self.is_failed else None

    @property
    def is_bad(self) -> bool:
        return self.is_late or self.is_failed or self.is_lost

    @property
    def state(self) -> str:
        """In words: running, done, failed, died with its worker, or never run."""
        if self.run is None:
            return "never run"
        if self.is_lost:
            return "died while running"
        if _is_running(self.run):
            return "running"
        return "failed" if self.is_failed else "done"


# --- Reads ------------------------------------------------------------------------------------------------


def standing(*, at: datetime) -> list[Job]:
    """Every job of the timetable: those that need somebody first, the latest of them on top. One query."""
    runs = {run.name: run for run in JobRun.objects.all()}
    first_at = min((run.first_at for run in runs.values()), default=None)
    found = [
        _judged(name, entry, runs.get(name), first_at, at)
        for name, entry in current_app.conf.beat_schedule.items()
    ]
    return sorted(found, key=lambda job: (not job.is_bad, -job.lag, job.name))


def _judged(
    name: str, entry: Mapping[str, Any], run: JobRun | None, first_at: datetime | None, at: datetime
) -> Job:
    """A job that never ran is counted from the first run of any; without one there is no worker, and all are late."""
    since = run.started_at if run else first_at
    due_at = next_due(entry["schedule"], since) if since else None
    lag = max(at - due_at, timedelta()) if due_at else timedelta()
    is_lost = run is not None and _is_running(run) and at - run.started_at > _longest()
    return Job(
        name=name,
        task=entry["task"],
        every=_every(entry["schedule"]),
        run=run,
        due_at=due_at,
        lag=lag,
        is_late=due_at is None or lag > allowance(entry["schedule"]),
        is_lost=is_lost,
    )


def next_due(schedule: timedelta | BaseSchedule, since: datetime) -> datetime:
    """When a job that began at `since` begins again."""
    if isinstance(schedule, timedelta):
        return since + schedule
    start, wait, _ = schedule.remaining_delta(since)  # type: ignore[attr-defined]  # a crontab's
    due: datetime = start + wait
    return due


def allowance(schedule: timedelta | BaseSchedule) -> timedelta:
    """How far past its time a job may be: one more period, at least 15 seconds, at most 5 minutes."""
    period = schedule if isinstance(schedule, timedelta) else LONGEST_ALLOWANCE
    return min(max(period, SHORTEST_ALLOWANCE), LONGEST_ALLOWANCE)


def _every(schedule: timedelta | BaseSchedule) -> str:
    if not isinstance(schedule, timedelta):
        return tell("at 00:00 UTC") if str(schedule).startswith("<crontab: 0 0 * * *") else str(schedule)
    seconds = int(schedule.total_seconds())
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds % size == 0:
            return tell("every {seconds} {unit}", seconds=seconds // size, unit=unit)
    return tell("every {seconds} s", seconds=seconds)


def _is_running(run: JobRun) -> bool:
    return run.finished_at is None or run.finished_at < run.started_at


def _longest() -> timedelta:
    """No task lives longer: the worker kills it."""
    return timedelta(seconds=settings.CELERY_TASK_TIME_LIMIT)


# --- Writes, by the workers -------------------------------------------------------------------------------


def begun(*, name: str, task: str, at: datetime) -> None:
    """A job's run begins. One statement; two at once leave the later."""
    JobRun.objects.bulk_create(
        [JobRun(name=name, task=task, first_at=at, started_at=at)],
        update_conflicts=True,
        unique_fields=["name"],
        update_fields=["task", "started_at"],
    )


def ended(*, name: str, at: datetime, seconds: Decimal, failure: str | None) -> None:
    """A job's run is over; `failure` is what went wrong, cut to what a row holds. Failures in a row are counted."""
    run = JobRun.objects.filter(name=name)
    said = {"finished_at": at, "seconds": seconds.quantize(Decimal("0.001"))}
    if failure is None:
        run.update(**said, outcome=JobRun.Outcome.DONE, succeeded_at=at, failures=0, failure="")
    else:
        run.update(**said, outcome=JobRun.Outcome.FAILED, failures=F("failures") + 1, failure=failure[:WORDS])


def _name_of(task: Any) -> str:
    """The timetable's name for what beat woke; "" for whoever else asked for the task."""
    name = getattr(task.request, "periodic_task_name", None)
    name = name or (getattr(task.request, "headers", None) or {}).get("periodic_task_name")
    return str(name) if name in current_app.conf.beat_schedule else ""


@task_prerun.connect(weak=False, dispatch_uid="accounts.jobs.begun")
def _note_begin(*, task_id: str, task: "Task[Any, Any]", **_: Any) -> None:
    if name := _name_of(task):
        _began[task_id] = time.monotonic()
        begun(name=name, task=task.name, at=timezone.now())


@task_postrun.connect(weak=False, dispatch_uid="accounts.jobs.ended")
def _note_end(*, task_id: str, task: "Task[Any, Any]", state: str, retval: Any, **_: Any) -> None:
    began = _began.pop(task_id, None)
    if began is None or state not in (SUCCESS, FAILURE):
        return
    failure = (
        tell("{name}: {retval}", name=type(retval).__name__, retval=retval) if state == FAILURE else None
    )
    taken = Decimal(str(time.monotonic() - began))
    ended(name=_name_of(task), at=timezone.now(), seconds=taken, failure=failure)
