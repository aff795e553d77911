"""When the timetable's jobs ran, and that a dead one is seen: by its silence, from the clock. R-ADM-06"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
import time_machine
from celery.schedules import crontab
from django.test import Client
from django.urls import reverse

from accounts import closing, jobs
from accounts.models import JobRun, User
from accounts.tasks import check_books
from config.celery import TIMETABLE
from tests import build
from tests.build import TEN

pytestmark = pytest.mark.django_db

SWEEP, BOOKS, MIDNIGHT = "sweep every group", "check the books", "accrue at midnight"


def after(**span: float) -> datetime:
    return TEN + timedelta(**span)


def ran(name: str, *, at: datetime = TEN, failure: str | None = None) -> JobRun:
    jobs.begun(name=name, task=TIMETABLE[name]["task"], at=at)
    jobs.ended(name=name, at=at + timedelta(seconds=1), seconds=Decimal("1.0004"), failure=failure)
    return JobRun.objects.get(name=name)


def job(name: str, *, at: datetime) -> jobs.Job:
    return next(each for each in jobs.standing(at=at) if each.name == name)


def everything_ran(at: datetime = TEN) -> None:
    for name in TIMETABLE:
        ran(name, at=at)


# --- One row a job ----------------------------------------------------------------------------------------


def test_a_run_is_written_over_the_one_before() -> None:
    first = ran(SWEEP)
    assert (first.started_at, first.finished_at, first.succeeded_at) == (
        TEN,
        after(seconds=1),
        after(seconds=1),
    )
    assert (first.seconds, first.outcome, first.failures) == (Decimal("1.000"), "done", 0)
    second = ran(SWEEP, at=after(seconds=5))
    assert JobRun.objects.count() == 1
    assert (second.first_at, second.started_at) == (TEN, after(seconds=5))


def test_failures_in_a_row_are_counted_and_their_words_kept_short() -> None:
    ran(BOOKS)
    ran(BOOKS, at=after(hours=1), failure="x" * 5000)
    failed = ran(BOOKS, at=after(hours=2), failure="the totals differ")
    assert (failed.outcome, failed.failures, failed.failure) == ("failed", 2, "the totals differ")
    assert failed.succeeded_at == after(seconds=1)
    assert len(ran(BOOKS, at=after(hours=3), failure="y" * 5000).failure) == 500
    well = ran(BOOKS, at=after(hours=4))
    assert (well.outcome, well.failures, well.failure) == ("done", 0, "")


# --- Late -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        (SWEEP, timedelta(seconds=15)),  # every 5 s
        ("expire loans", timedelta(seconds=60)),
        ("accrue what was missed", timedelta(minutes=5)),  # every 10 min
        (BOOKS, timedelta(minutes=5)),
    ],
)
def test_a_job_is_late_one_period_after_it_was_due(name: str, allowed: timedelta) -> None:
    """At least 15 seconds, at most 5 minutes; to the second."""
    ran(name)
    due = TEN + TIMETABLE[name]["schedule"]
    assert (job(name, at=due).due_at, job(name, at=due).lag) == (due, timedelta())
    assert not job(name, at=due + allowed).is_late
    late = job(name, at=due + allowed + timedelta(seconds=1))
    assert (late.is_late, late.lag) == (True, allowed + timedelta(seconds=1))


def test_the_midnight_job_is_due_at_the_next_midnight() -> None:
    """R-GEN-04"""
    ran(MIDNIGHT, at=datetime(2026, 1, 1, 0, 0, 3, tzinfo=UTC))
    due = datetime(2026, 1, 2, tzinfo=UTC)
    with time_machine.travel(due, tick=False):
        assert job(MIDNIGHT, at=due).due_at == due
    with time_machine.travel(due + timedelta(minutes=6), tick=False):
        assert job(MIDNIGHT, at=due + timedelta(minutes=6)).is_late
    assert jobs.allowance(crontab(hour="0", minute="0")) == timedelta(minutes=5)


def test_without_a_single_run_every_job_needs_somebody() -> None:
    found = jobs.standing(at=TEN)
    assert len(found) == len(TIMETABLE)
    assert all(each.is_late and each.state == "never run" and each.due_at is None for each in found)


def test_a_job_that_never_ran_is_counted_from_the_first_run_of_any() -> None:
    """An hourly job is not late in the first hour of a new desk."""
    ran(SWEEP)
    assert not job(BOOKS, at=after(minutes=64)).is_late
    assert job(BOOKS, at=after(minutes=66)).is_late


def test_a_run_that_outlives_every_task_died_with_its_worker() -> None:
    ran(BOOKS)
    jobs.begun(name=BOOKS, task=TIMETABLE[BOOKS]["task"], at=after(hours=1))
    assert job(BOOKS, at=after(hours=1, seconds=300)).state == "running"
    dead = job(BOOKS, at=after(hours=1, seconds=301))
    assert (dead.state, dead.is_bad, dead.is_late) == ("died while running", True, False)


def test_those_that_need_somebody_come_first_the_latest_on_top() -> None:
    everything_ran()
    ran(BOOKS, at=after(seconds=30), failure="broken")
    ran(SWEEP, at=after(seconds=-40))
    assert [each.name for each in jobs.standing(at=after(seconds=2))][:2] == [SWEEP, BOOKS]


# --- Written by the workers -------------------------------------------------------------------------------


def test_a_failed_job_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """A break in the books is on the page, and not in a log only."""
    monkeypatch.setattr(closing, "prove", lambda **_: ["pool:USDT is 1 short"])
    check_books.apply(headers={"periodic_task_name": BOOKS})
    row = JobRun.objects.get()
    assert (row.name, row.failures, row.failure) == (BOOKS, 1, "BooksBroken: pool:USDT is 1 short")


@pytest.mark.parametrize("headers", [{}, {"periodic_task_name": "something of yesterday"}])
def test_only_what_the_timetable_woke_is_noted(headers: dict[str, str]) -> None:
    """Rows cannot grow beyond the timetable's jobs."""
    check_books.apply(headers=headers)
    assert not JobRun.objects.exists()


# --- The page ---------------------------------------------------------------------------------------------


def page(role: str, at: datetime, name: str = "admin:jobs") -> str:
    client = Client()
    client.force_login(build.user(role), backend="allauth.account.auth_backends.AuthenticationBackend")
    with time_machine.travel(at, tick=False):
        answer = client.get(reverse(name))
    assert answer.status_code == 200
    return answer.content.decode()


def test_a_dead_worker_is_seen_by_all_staff() -> None:
    """The rehearsal: everything ran at ten, then nothing more."""
    everything_ran()
    assert f"0 of {len(TIMETABLE)} need somebody" in page("ops", after(seconds=6))
    for role in (
        User.Role.ADMIN,
        User.Role.OPS,
        User.Role.RISK_OFFICER,
        User.Role.FINANCE,
        User.Role.AUDITOR,
    ):
        told = page(role, after(hours=2))
        assert f"{len(TIMETABLE) - 1} of {len(TIMETABLE)} need somebody" in told  # midnight is not due yet
        assert "1\u00a0h 59\u00a0min" in told
    front = page("auditor", after(hours=2), "admin:index")
    assert f"{len(TIMETABLE) - 1} late" in front
    assert "the worst by 1\u00a0h 59\u00a0min" in front


def test_a_failure_stands_on_the_page_and_on_the_front_page() -> None:
    everything_ran()
    ran(BOOKS, failure="BooksBroken: <b>pool:USDT</b> is 1 short")
    told = page("finance", after(seconds=6))
    assert "The books do not prove themselves: &lt;b&gt;pool:USDT&lt;/b&gt; is 1 short" in told
    assert "BooksBroken" not in told
    assert "check the books" in page("finance", after(seconds=6), "admin:index")


@pytest.mark.parametrize(
    ("failure", "happened", "todo"),
    [
        ("OperationalError: FATAL: password for lombard", "The database did not answer", "See that it runs"),
        ("ConnectionError: 10.0.0.7:443", "Something it asks outside did not answer", "can be reached"),
        ("SoftTimeLimitExceeded: SoftTimeLimitExceeded()", "It took longer than a job may", "more workers"),
        ("KeyError: 'secret'", "Something happened that it was not made for", "read the log"),
        (
            "TooManyExports: 5 of your exports are being made",
            "5 of your exports are being made",
            "tried again",
        ),
    ],
)
def test_a_failure_is_told_in_plain_words_and_its_own_text_is_the_logs(
    failure: str, happened: str, todo: str
) -> None:
    """What happened and what to do; only errors that the house wrote for people are told in their own words."""
    everything_ran()
    ran(BOOKS, failure=failure)
    told = page("ops", after(seconds=6))
    assert happened in told
    assert todo in told
    assert failure not in told
    assert not any(secret in told for secret in ("password for", "10.0.0.7", "'secret'", "&#x27;secret"))
    assert "The log has the rest: accounts.tasks.check_books" in told


@pytest.mark.parametrize("role", ["borrower", "vip_manager"])
def test_the_jobs_are_for_staff(role: str) -> None:
    """R-ADM-01"""
    client = Client()
    client.force_login(build.user(role), backend="allauth.account.auth_backends.AuthenticationBackend")
    assert client.get(reverse("admin:jobs"), follow=True).status_code == 403
