"""Whether what a notice of the engine told of is over, kind by kind. R-FTR-03"""

from datetime import timedelta
from typing import Any

import pytest

from accounts import notices
from accounts.commands import acting
from accounts.models import Notice
from risk.models import (
    CollateralGroup,
    DelayEnrolment,
    LiquidationDelay,
    MarginCall,
    WarningLine,
)
from tests import build
from tests.build import BUILDER, NOON

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def group() -> CollateralGroup:
    return build.secured_debt(rate="0").group


def told(group: CollateralGroup, kind: str, **facts: Any) -> Notice:
    return notices.send(
        customer=group.customer,
        event=f"{kind}:{facts}",
        kind=kind,
        title="x",
        body="x",
        facts={"group": group.pk} | facts,
        at=NOON,
    )


def is_over(notice: Notice, minutes: int = 10) -> bool:
    return notices.is_over(notice, at=NOON + minutes * MINUTE)


@pytest.mark.parametrize("kind", ["margin_call", "call_message"])
def test_a_call_is_over_when_it_ended(group: CollateralGroup, kind: str) -> None:
    """R-FTR-03, R-GEN-62: a later call of the same group is another one"""
    call = MarginCall.objects.create(group=group, opened_at=NOON, last_notice_at=NOON)
    notice = told(group, kind, margin_call=call.pk)
    assert not is_over(notice)
    MarginCall.objects.filter(pk=call.pk).update(ended_at=NOON + 5 * MINUTE, ended="cured")
    later = MarginCall.objects.create(group=group, opened_at=NOON, last_notice_at=NOON)
    assert (is_over(notice, 4), is_over(notice, 5)) == (False, True)
    assert not is_over(told(group, kind, margin_call=later.pk))


@pytest.mark.parametrize("kind", ["delay", "delay_left"])
def test_a_delay_is_over_when_neither_it_nor_a_grace_runs(group: CollateralGroup, kind: str) -> None:
    """R-FTR-03, R-VIP-60"""
    manager = build.user("vip_manager")
    with acting(BUILDER):
        enrolment = DelayEnrolment.objects.create(
            customer=group.customer, starts_at=NOON, granted_by=manager, granted_at=NOON
        )
    row = LiquidationDelay.objects.create(
        group=group, enrolment=enrolment, started_at=NOON, ends_at=NOON + 60 * MINUTE
    )
    notice = told(group, kind)
    assert not is_over(notice)
    LiquidationDelay.objects.filter(pk=row.pk).update(ended_at=NOON + MINUTE, ended="cured")
    assert is_over(notice)
    with acting(BUILDER):
        CollateralGroup.objects.filter(pk=group.pk).update(grace_until=NOON + 20 * MINUTE)
    assert (is_over(notice, 19), is_over(notice, 20)) == (False, True)


@pytest.mark.parametrize("kind", ["grace", "liquidation_paused"])
@pytest.mark.parametrize(("band", "over"), [("LIQ", False), ("CALL", False), ("WATCH", True), ("SAFE", True)])
def test_a_sale_held_back_is_over_below_the_call_line(
    group: CollateralGroup, kind: str, band: str, over: bool
) -> None:
    """R-FTR-03, R-GEN-24, R-ADM-05"""
    with acting(BUILDER):
        CollateralGroup.objects.filter(pk=group.pk).update(band=band)
    assert is_over(told(group, kind)) is over


def test_an_early_warning_is_over_when_the_line_is_not_crossed_any_more(group: CollateralGroup) -> None:
    """R-FTR-03, R-GEN-63"""
    with acting(BUILDER):
        line = WarningLine.objects.create(group=group, ltv="0.7", set_at=NOON, crossed_at=NOON)
        notice = told(group, "early_warning", warning_line=line.pk)
        assert not is_over(notice)
        WarningLine.objects.filter(pk=line.pk).update(crossed_at=None)
    assert is_over(notice)


@pytest.mark.parametrize("kind", sorted([*notices.over, "liquidation", "freeze"]))
def test_what_names_no_row_is_not_over(group: CollateralGroup, kind: str) -> None:
    """R-FTR-03: one time too many is better than never"""
    notice = notices.send(
        customer=group.customer, event=f"bare:{kind}", kind=kind, title="x", body="x", facts={}, at=NOON
    )
    assert not is_over(notice)
