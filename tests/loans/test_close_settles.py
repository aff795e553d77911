"""A close is remembered only when nothing of its day can be written any more."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.cache import cache

from loans.vip import expiry
from risk import accrual, closes
from tests.loans import desk
from tests.loans.supplies import example

pytestmark = pytest.mark.django_db


def test_a_close_before_a_late_conversion_is_not_kept() -> None:
    """R-VIP-26, R-VIP-47: the job settles the expiry of the day before, as of that day, after the close was seen"""
    made = desk.set_up()
    group = example(made, auto_repay=False).group
    morning = datetime(2026, 2, 1, 1, tzinfo=UTC)
    desk.quote(morning)
    seen = closes.of(group, days=1, at=morning)[-1]
    expiry.expire_due(at=morning + timedelta(hours=1))
    accrual.accrue(at=morning + timedelta(hours=1))
    later = closes.of(group, days=1, at=morning + timedelta(hours=2))[-1]
    cache.clear()
    assert later == closes.of(group, days=1, at=morning + timedelta(hours=2))[-1] != seen
