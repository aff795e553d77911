"""Early warnings: the borrower's own lines and the desk's ladder, told once per crossing."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from accounts.commands import Actor, acting
from accounts.models import Notice
from risk import cases, delays, early_warnings, judging, parameters, screen, sweep
from risk.models import (
    CollateralGroup,
    DelayEnrolment,
    Liquidation,
    LiquidationDelay,
    MarginCall,
    RiskEvent,
    Settings,
    WarningLine,
)
from tests import build

D = Decimal
NOON = build.NOON
SECOND = timedelta(seconds=1)
JOB = Actor.job("test")

pytestmark = pytest.mark.django_db


def at_ltv(ltv: str, seconds: float = 0) -> datetime:
    """Fresh prices at which 1,000,000 on 25 BTC is at this LTV in per cent (a hair above), and that instant."""
    at = NOON + timedelta(seconds=seconds)
    price = (4_000_000 / D(ltv)).quantize(D("1e-8"), rounding="ROUND_FLOOR")
    build.prices(at, BTC=str(price), USDT="1")
    return at


def secured() -> CollateralGroup:
    return build.secured_debt(rate="0").group


def line(group: CollateralGroup, ltv: str, *, at: datetime, asset: str | None = None) -> WarningLine:
    return early_warnings.set_line(group_id=group.pk, ltv=D(ltv), asset=asset, actor=JOB, at=at)


def with_ladder(*ltvs: str) -> None:
    with acting(JOB):
        Settings.objects.create(effective_at=build.LONG_AGO, early_warnings=list(ltvs))


def told() -> int:
    return Notice.objects.filter(kind="early_warning").count()


# --- Setting them ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ltv", "asset", "words"),
    [
        ("0.7700000001", None, "at most the margin call line of 77 %"),
        ("0", None, "above 0"),
        ("-0.1", None, "above 0"),
        ("0.7", "ETH", "ETH is not collateral"),
    ],
)
def test_an_own_line_is_never_above_the_margin_call_line(ltv: str, asset: str | None, words: str) -> None:
    """R-GEN-63"""
    group, at = secured(), at_ltv("60")
    with pytest.raises(early_warnings.BadLine, match=words):
        line(group, ltv, at=at, asset=asset)
    assert not WarningLine.objects.exists()
    line(group, "0.77", at=at)


def test_a_line_is_set_once_and_ten_are_enough_and_a_removed_one_may_come_back() -> None:
    """R-GEN-63"""
    group, at = secured(), at_ltv("60")
    first = line(group, "0.7", at=at)
    line(group, "0.7", at=at, asset="BTC")  # another line: it counts while BTC is held
    with pytest.raises(early_warnings.LineExists, match="70 %"):
        line(group, "0.70", at=at)
    for number in range(8):
        line(group, f"0.6{number}", at=at)
    with pytest.raises(early_warnings.TooManyLines):
        line(group, "0.75", at=at)

    early_warnings.remove_line(group_id=group.pk, line_id=first.pk, actor=JOB, at=at + SECOND)
    with pytest.raises(early_warnings.NoSuchLine):
        early_warnings.remove_line(group_id=group.pk, line_id=first.pk, actor=JOB, at=at + SECOND)
    mine, elsewhere = WarningLine.objects.get(ltv=D("0.60")), secured()
    with pytest.raises(early_warnings.NoSuchLine):
        early_warnings.remove_line(group_id=elsewhere.pk, line_id=mine.pk, actor=JOB, at=at + SECOND)
    line(group, "0.7", at=at + SECOND)
    assert len(early_warnings.own_lines(group)) == 10


# --- Crossing them ----------------------------------------------------------------------------------------------


def test_one_notice_per_upward_crossing_and_armed_again_only_clearly_below() -> None:
    """R-GEN-63, R-GEN-62: half a point of hysteresis, strictly"""
    group = secured()
    line(group, "0.70", at=at_ltv("60"))
    for seconds, (ltv, notices) in enumerate(
        [("69.9", 0), ("70", 1), ("71", 1), ("69.6", 1), ("70.1", 1), ("69.4", 1), ("69.9", 1), ("70", 2)], 1
    ):
        sweep.sweep(at=at_ltv(ltv, 5 * seconds))
        assert told() == notices, ltv
    assert RiskEvent.objects.filter(group=group, kind="warned").count() == 2


def test_a_warning_says_what_a_call_would() -> None:
    """R-GEN-63, R-GEN-65"""
    group = secured()
    line(group, "0.70", at=at_ltv("60"))
    sweep.sweep(at=at_ltv("71", 5))
    notice = Notice.objects.get()
    assert (notice.kind, notice.title) == ("early_warning", f"Early warning: LTV of {group.name} is 71 %")
    assert "your own line of 70 % is crossed" in notice.body
    assert "the margin call line is 77 %" in notice.body
    needed = D(notice.facts["below_line"]["repay"]["USDT"])  # 1,000,000 - 0.70 x 1,000,000 / 0.71
    assert needed == pytest.approx(D("14084.51"), abs=D("0.01"))
    assert D(notice.facts["ltv"]) == pytest.approx(D("0.71"), abs=D("1e-9"))
    assert notice.facts["prices"]["BTC"]["id"]
    assert not MarginCall.objects.exists()


def test_a_jump_over_several_lines_tells_the_highest_only() -> None:
    """R-GEN-64"""
    with_ladder("0.60", "0.66", "0.70")
    group = secured()
    line(group, "0.68", at=at_ltv("50"))
    sweep.sweep(at=at_ltv("69", 5))
    assert [notice.facts["line"] for notice in Notice.objects.all()] == ["0.680000000000"]
    sweep.sweep(at=at_ltv("61", 10))
    sweep.sweep(at=at_ltv("67", 15))  # 66 % again; 68 % is armed, 60 % was never left
    assert [notice.facts["line"] for notice in Notice.objects.order_by("pk")][1:] == ["0.660000000000"]


def test_the_ladder_is_for_everybody_and_is_remembered() -> None:
    """R-GEN-64: without a row in the settings there is none"""
    group = secured()
    sweep.sweep(at=at_ltv("69"))
    assert told() == 0
    with_ladder("0.60", "0.66", "0.70")
    sweep.sweep(at=at_ltv("69", 5))
    sweep.sweep(at=at_ltv("69.1", 10))
    assert told() == 1
    assert "the warning line of 66 %" in Notice.objects.get().body
    sweep.sweep(at=at_ltv("70.5", 15))
    assert told() == 2
    assert early_warnings.own_lines(group) == []  # the desk's lines are nobody's own
    assert near(at_ltv("70.5", 20)) == []


def test_a_call_says_more_than_a_warning() -> None:
    """R-GEN-61, R-GEN-64: a jump past the call line is a call; falling back below it is no new crossing"""
    group = secured()
    line(group, "0.70", at=at_ltv("60"))
    sweep.sweep(at=at_ltv("78", 5))
    sweep.sweep(at=at_ltv("71", 10))
    assert [notice.kind for notice in Notice.objects.all()] == ["margin_call"]
    assert WarningLine.objects.get().crossed_at == NOON + 5 * SECOND


def test_a_coins_line_counts_while_the_group_holds_it() -> None:
    """R-GEN-63"""
    group = secured()
    build.ratios("ETH")
    with acting(JOB):
        group.coins.create(asset=build.asset("ETH"), since=NOON)
    line(group, "0.70", at=at_ltv("60"), asset="ETH")
    sweep.sweep(at=at_ltv("71", 5))
    assert told() == 0
    account = group.members.get().account
    build.deposit(account, "ETH", "0.01", at=NOON + 6 * SECOND)
    build.price("ETH", "1", at=NOON + 10 * SECOND)
    sweep.sweep(at=at_ltv("71.5", 10))
    assert told() == 1


def test_who_sets_a_line_below_where_they_stand_is_not_told_what_they_see() -> None:
    """R-GEN-63: and is told at the next crossing"""
    group = secured()
    line(group, "0.70", at=at_ltv("71"))
    sweep.sweep(at=at_ltv("71", 5))
    assert told() == 0
    sweep.sweep(at=at_ltv("69", 10))
    sweep.sweep(at=at_ltv("71", 15))
    assert told() == 1


def test_a_blind_reading_warns_nobody() -> None:
    """R-GEN-22, R-GEN-63"""
    group = secured()
    line(group, "0.70", at=at_ltv("60"))
    later = NOON + 65 * SECOND
    build.price("BTC", "50000", at=later)  # USDT's price is too old by now
    assert sweep.sweep(at=later).blind == 1
    assert told() == 0


# --- The screen --------------------------------------------------------------------------------------------------


def near(at: datetime) -> list[int]:
    return screen.look(product="vip", at=at, settings=parameters.settings_at(at)).near


@pytest.mark.parametrize("offset", ["-1e-9", "0", "1e-9"])
@pytest.mark.parametrize("ltv", ["0.70", "0.66"])
def test_whatever_is_within_a_hair_of_a_warning_line_is_looked_at_exactly(ltv: str, offset: str) -> None:
    """R-GEN-63, R-GEN-64: float never decides a boundary"""
    with_ladder("0.66")
    group = secured()
    line(group, "0.70", at=at_ltv("50"))
    sweep.sweep(at=at_ltv("50", 1))
    price = (1_000_000 / D(ltv) / 25).quantize(D("1e-12"), rounding="ROUND_CEILING") + D(offset)
    build.prices(NOON + 2 * SECOND, BTC=str(price), USDT="1")
    assert near(NOON + 2 * SECOND) == [group.pk]


def test_what_runs_is_looked_at_in_every_pass() -> None:
    """R-VIP-60, R-GEN-70: a delay, and a sale in steps"""
    delayed, selling, calm = secured(), secured(), secured()
    at = at_ltv("60")
    with acting(JOB):
        enrolment = DelayEnrolment.objects.create(
            customer=delayed.customer, starts_at=NOON, granted_by=build.user("vip_manager"), granted_at=NOON
        )
        LiquidationDelay.objects.create(
            group=delayed, enrolment=enrolment, started_at=NOON, ends_at=NOON + timedelta(days=1)
        )
        Liquidation.objects.create(
            group=selling,
            cause="ltv",
            started_at=NOON,
            debt_value=1,
            collateral_value=1,
            market_value=1,
            snapshot={},
        )
    assert sorted(near(at)) == [delayed.pk, selling.pk]
    assert calm.pk not in near(at)


class TheScreenMissesNothing(TestCase):
    """Whatever the exact rule would do about a group, the screen asks for it."""

    # Few whole numbers, most below the initial line: lines are met and left, and no change of band brings a look.
    percents = st.integers(60, 71)

    @settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        steps=st.lists(percents, max_size=2, unique=True),
        own=st.lists(st.tuples(percents, st.sampled_from([None, "BTC", "USDT"])), max_size=3, unique=True),
        path=st.lists(st.one_of(percents, percents, st.integers(55, 99)), min_size=2, max_size=4),
        is_enrolled=st.booleans(),
    )
    @example(steps=[66], own=[], path=[69, 62], is_enrolled=False)
    @example(steps=[], own=[(66, "BTC")], path=[69, 62, 69], is_enrolled=False)
    @example(steps=[], own=[], path=[92, 92, 80, 71], is_enrolled=True)
    def test_whenever_judging_changes_something_the_group_was_near(
        self, steps: list[int], own: list[tuple[int, str | None]], path: list[int], is_enrolled: bool
    ) -> None:
        """R-GEN-41, R-GEN-62, R-GEN-63, R-GEN-64, R-VIP-62: ARCHITECTURE 5"""
        with_ladder(*(f"0.{step}" for step in sorted(steps)))
        group = secured()
        at = at_ltv("50")
        with acting(JOB):
            group.coins.create(asset_id="USDT", since=NOON)
        for percent, asset in own:
            line(group, f"0.{percent}", at=at, asset=asset)
        if is_enrolled:
            manager = build.user("vip_manager").pk
            delays.enrol(
                customer_id=group.customer_id,
                starts_at=at,
                ends_at=None,
                granted_by_id=manager,
                actor=JOB,
                at=at,
            )
        for number, percent in enumerate(path, 1):
            at = at_ltv(str(percent), number * 5)
            if group.pk not in near(at):
                assert not self._judged(group, at), percent
            sweep.sweep(at=at)
            if CollateralGroup.objects.get(pk=group.pk).closed_at is not None:
                return  # sold: nobody watches it any more

    def _judged(self, group: CollateralGroup, at: datetime) -> list[Any]:
        """What judging it exactly leaves behind."""
        before = self._rows(group)
        with acting(sweep.JOB):
            [case] = cases.read(CollateralGroup.objects.locked(group.pk), at)
            judging.decide(case, may_sell=True)
        return [row for row in self._rows(group) if row not in before]

    def _rows(self, group: CollateralGroup) -> list[Any]:
        models = (RiskEvent, MarginCall, WarningLine, LiquidationDelay, Liquidation)
        found: list[Any] = [row for model in models for row in model.objects.filter(group=group).values()]
        return [*found, *CollateralGroup.objects.filter(pk=group.pk).values(), *Notice.objects.values()]
