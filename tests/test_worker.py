"""The jobs on a real worker and a real broker, and a timetable that names jobs which exist."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.utils import timezone

from accounts.models import Delivery, JobRun
from config.celery import TIMETABLE, app
from risk.models import Debt, DebtEntry, Liquidation, Price, SweepRun
from risk.tasks import take_prices
from tests import build

PATIENCE = 30.0


def soon(is_so: Callable[[], bool]) -> None:
    """Wait until the worker has done it."""
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "the worker did not do it in time"
        time.sleep(0.05)


def _debt(*, at: datetime) -> Debt:
    """EX-01's loan on 25 BTC, drawn at `at`."""
    build.limits()
    build.ratios("BTC")
    build.fund_pool("USDT")
    account = build.account(build.customer())
    build.deposit(account, "BTC", "25", at=build.LONG_AGO)
    return build.debt(build.group(build.master(account.customer), [account]), at=at)


def test_every_job_of_the_timetable_exists() -> None:
    """ARCHITECTURE 7"""
    app.loader.import_default_modules()
    assert {entry["task"] for entry in TIMETABLE.values()} <= set(app.tasks)


@pytest.mark.django_db
def test_the_feed_that_the_settings_name_is_asked(settings: Any) -> None:
    """R-GEN-20"""
    settings.PRICE_FEED = "simulated"
    build.asset("BTC")
    take_prices()
    assert Price.objects.filter(asset="BTC", source="simulated", status="good").exists()


def test_a_worker_charges_sweeps_and_delivers_however_often_it_is_asked(
    committed_db: object, start_worker: Callable[..., Any]
) -> None:
    """R-GEN-04, R-GEN-41, TRUST E1, E2: lost and doubled messages change nothing"""
    start_worker()
    now = timezone.now()
    midnight = datetime.combine(now.astimezone(UTC).date(), datetime.min.time(), UTC)
    days = 3
    debt = _debt(at=midnight - timedelta(days=days, hours=-10))  # at ten in the morning

    for _ in range(3):
        app.send_task("risk.tasks.accrue")
    soon(lambda: DebtEntry.objects.filter(kind="charge").count() >= days)

    build.prices(timezone.now(), BTC="41000", USDT="1")  # above 95 %: one reading is enough
    for _ in range(3):
        app.send_task("risk.tasks.sweep")
    soon(lambda: Liquidation.objects.filter(ended_at__isnull=False).exists())
    for _ in range(2):
        app.send_task("accounts.tasks.deliver_notices")
        app.send_task("risk.tasks.liquidate_overdue")
    soon(lambda: Delivery.objects.filter(status__in=["sent", "failed"]).count() == 2)

    charges = DebtEntry.objects.filter(kind="charge").order_by("period_end")
    ends = list(charges.values_list("period_end", flat=True))
    assert ends[:days] == [midnight - timedelta(days=back) for back in reversed(range(days))]
    assert len(ends) == len(set(ends))
    assert {row.interest for row in charges} == {Decimal("230.13698631")}
    assert Liquidation.objects.get().group_id == debt.group_id
    assert SweepRun.objects.get().at >= now


def test_a_worker_notes_the_job_that_beat_woke(
    committed_db: object, start_worker: Callable[..., Any]
) -> None:
    """The name travels in the header that the timetable's scheduler sends."""
    start_worker()
    app.send_task(
        "accounts.tasks.forget_signatures", headers={"periodic_task_name": "forget used signatures"}
    )
    soon(lambda: JobRun.objects.filter(finished_at__isnull=False).exists())
    row = JobRun.objects.get()
    assert (row.name, row.task) == ("forget used signatures", "accounts.tasks.forget_signatures")
    assert (row.outcome, row.seconds is not None) == ("done", True)
