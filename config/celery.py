"""The Celery app and the whole timetable.

Beat only wakes a job; the job asks the database what is due. So a message that waited longer than its period
is worthless and expires: a worker that was away does not come back to a backlog.
"""

import os
from datetime import timedelta
from typing import Any

from celery import Celery
from celery.schedules import crontab
from celery.signals import worker_init

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


def _every(task: str, period: timedelta) -> dict[str, Any]:
    return {"task": task, "schedule": period, "options": {"expire_seconds": int(period.total_seconds())}}


TIMETABLE = {
    "take prices": _every("risk.tasks.take_prices", timedelta(seconds=5)),
    "sweep every group": _every("loans.tasks.watch", timedelta(seconds=5)),
    "accrue at midnight": {
        "task": "risk.tasks.accrue",
        "schedule": crontab(hour="0", minute="0"),
        "options": {"expire_seconds": 600},  # by then the catch-up has been woken
    },
    "accrue what was missed": _every("risk.tasks.accrue", timedelta(minutes=10)),
    "accrue the cost of funds": _every("risk.tasks.accrue_costs", timedelta(minutes=10)),
    "expire loans": _every("loans.tasks.expire", timedelta(seconds=60)),
    "remind of due dates": _every("loans.tasks.remind", timedelta(seconds=60)),
    "expire requests and offers": _every("loans.tasks.expire_offers", timedelta(seconds=60)),
    "approve what waited for checks": _every("loans.tasks.approve_waiting", timedelta(seconds=60)),
    "liquidate what is overdue": _every("risk.tasks.liquidate_overdue", timedelta(seconds=60)),
    "collect instalments": _every("risk.tasks.collect_instalments", timedelta(minutes=10)),
    "announce new ratios": _every("risk.tasks.announce_changes", timedelta(seconds=60)),
    "close lapsed proposals": _every("accounts.tasks.expire_proposals", timedelta(seconds=60)),
    "deliver notices": _every("accounts.tasks.deliver_notices", timedelta(seconds=5)),
    "link the audit trail": _every("accounts.tasks.link_audit_records", timedelta(seconds=60)),
    "work out stresses": _every("risk.tasks.make_stress_runs", timedelta(seconds=5)),
    "make exports": _every("accounts.tasks.make_exports", timedelta(seconds=5)),
    "forget used signatures": _every("accounts.tasks.forget_signatures", timedelta(minutes=10)),
    "sum up the book": _every("loans.tasks.sum_up", timedelta(seconds=15)),
    "forget what moved": _every("risk.tasks.forget_moved", timedelta(minutes=10)),
    "issue monthly statements": _every("loans.tasks.issue_statements", timedelta(hours=1)),
    "check the books": _every("accounts.tasks.check_books", timedelta(hours=1)),
}

app = Celery("lombard")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.beat_schedule = TIMETABLE
app.autodiscover_tasks()


@worker_init.connect
def _check_role(**_: Any) -> None:
    from config.roles import refuse_unsafe_role

    refuse_unsafe_role()
