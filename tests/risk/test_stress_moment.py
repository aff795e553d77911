"""The stress outside any transaction, as a job works it out. R-FTR-27"""

from decimal import Decimal

import time_machine
from django.db import connection

from risk import shocks, stress_runs, tasks
from risk.models import StressRun
from tests import build
from tests.build import NOON


def test_the_book_is_read_in_one_moment_of_its_own(committed_db: object) -> None:
    """R-FTR-27: repeatable, read only, and the answer is written afterwards; 20 BTC at 48,000 for 1,000,000 owed"""
    build.secured_debt(btc="20", rate="0")
    build.prices(at=NOON, BTC="60000", USDT="1")
    with stress_runs.reading(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT current_setting('transaction_isolation'), current_setting('transaction_read_only')"
        )
        assert cursor.fetchone() == ("repeatable read", "on")
    fall = shocks.joint({"BTC": Decimal("-0.2")})
    StressRun.objects.create(scenario=stress_runs.scenario_of(fall), asked_at=NOON)

    with time_machine.travel(NOON, tick=False):
        tasks.make_stress_runs()

    assert StressRun.objects.get().result["columns"][0]["totals"]["lost"] == 40_000
