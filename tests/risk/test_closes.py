"""Where an LTV was at the end of each day: exact, remembered, with its gaps said."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal as D
from typing import Any

import pytest
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from loans.vip import repayment
from risk import closes, past, prices
from risk.closes import Close, Gap
from risk.feeds import Tick
from risk.levels import Lines
from risk.models import CollateralGroup
from risk.pages.course import HEIGHT, TOP, Course, course_of, extremes
from tests import build
from tests.build import TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
TODAY = date(2026, 1, 31)
LINES = Lines(D("0.72"), D("0.77"), D("0.91"), D("0.95"), D("0.02"))


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


@pytest.mark.django_db
def test_a_close_is_the_ltv_at_midnight(desk: Desk) -> None:
    """R-GEN-94: 1,000,000 USDT at 8.4 % for 1 and 2 days over 25 BTC, at the prices of then."""
    group = desks.drawn(desk).group
    desks.quote(TEN + 5 * HOUR, BTC="62000")
    desks.quote(TEN + DAY, BTC="58000")
    opened = TEN.date()
    at = datetime.combine(opened + 2 * DAY, datetime.min.time(), UTC) + 3 * HOUR

    found = closes.of(group, days=30, at=at)

    assert [close.day for close in found] == [opened, opened + DAY]
    [first, second] = [
        past.ltvs(group, instants=[datetime.combine(close.day + DAY, datetime.min.time(), UTC)])[0].ltv
        for close in found
    ]
    assert [close.ltv for close in found] == [first, second]
    assert found[0].ltv is not None
    assert found[0].ltv.quantize(D("0.0001")) == D("0.6453")  # about 1,000,230 / (25 x 62,000)
    assert found[1].ltv is not None
    assert found[1].ltv.quantize(D("0.0001")) == D("0.6900")  # about 1,000,460 / (25 x 58,000)


@pytest.mark.django_db
def test_days_that_are_over_are_asked_once(desk: Desk) -> None:
    """No query for days remembered, however many; the last one only counts as over after 15 minutes."""
    group = desks.drawn(desk).group
    midnight = datetime.combine(TEN.date() + 6 * DAY, datetime.min.time(), UTC)
    desks.quote(midnight + timedelta(minutes=1))
    early = closes.of(group, days=30, at=midnight + timedelta(minutes=14))
    with CaptureQueriesContext(connection) as captured:
        assert closes.of(group, days=30, at=midnight + timedelta(minutes=14)) == early
    assert 0 < len(captured) <= 20  # the last day again
    late = closes.of(group, days=30, at=midnight + timedelta(minutes=15))
    with CaptureQueriesContext(connection) as captured:
        assert closes.of(group, days=30, at=midnight + HOUR) == late == early
    assert len(captured) == 0
    cache.clear()
    assert closes.of(group, days=30, at=midnight + HOUR) == late


@pytest.mark.django_db
def test_a_price_that_comes_late_is_in_the_close(desk: Desk) -> None:
    """R-GEN-94, R-GEN-21: a feed that was silent over midnight may bring what it saw before it; then it may no more."""
    group = desks.drawn(desk).group
    midnight = datetime.combine(TEN.date() + DAY, datetime.min.time(), UTC)
    [early] = closes.of(group, days=30, at=midnight + HOUR)

    desks.quote(midnight - timedelta(minutes=5), BTC="50000")  # comes an hour after it was seen
    [late] = closes.of(group, days=30, at=midnight + HOUR)
    assert early.ltv is not None
    assert late.ltv == past.ltvs(group, instants=[midnight])[0].ltv
    assert late.ltv is not None
    assert late.ltv > early.ltv

    build.prices(at=midnight + HOUR, BTC="60000")
    assert closes.of(group, days=30, at=midnight + HOUR) == [late]
    with CaptureQueriesContext(connection) as captured:
        assert closes.of(group, days=30, at=midnight + HOUR) == [late]
    assert len(captured) > 0  # USDT is silent still
    build.prices(at=midnight + HOUR, USDT="1")
    closes.of(group, days=30, at=midnight + HOUR)
    with CaptureQueriesContext(connection) as captured:
        assert closes.of(group, days=30, at=midnight + HOUR) == [late]
    assert len(captured) == 0
    assert (
        prices.record([Tick("BTC", D(40000), midnight - timedelta(minutes=1), "test")], at=midnight + HOUR)
        == []
    )
    assert past.ltvs(group, instants=[midnight])[0].ltv == late.ltv


@pytest.mark.django_db
def test_without_a_cache_the_figures_are_the_same(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    group = desks.drawn(desk).group
    kept = closes.of(group, days=30, at=TEN + 3 * DAY)

    def away(*_: Any, **__: Any) -> None:
        raise ConnectionError("no cache")

    monkeypatch.setattr(closes.cache, "get_many", away)
    monkeypatch.setattr(closes.cache, "set_many", away)
    assert closes.of(group, days=30, at=TEN + 3 * DAY) == kept
    assert len(kept) == 3


@pytest.mark.django_db
def test_a_day_without_a_figure_says_why(desk: Desk) -> None:
    """R-GEN-94: owed nothing at midnight after all was repaid; a group of today has no day yet."""
    loan = desks.drawn(desk)
    group = CollateralGroup.objects.get(pk=loan.group_id)
    assert closes.of(group, days=30, at=TEN + HOUR) == []
    build.deposit(desk.master, "USDT", "1000", at=TEN)
    repayment.repay(loan_id=loan.pk, share=D(1), actor=desk.borrower, at=TEN + DAY)

    found = closes.of(group, days=30, at=TEN + 2 * DAY)
    assert [close.gap for close in found] == [None, Gap.NO_DEBT]
    assert found[1].ltv is None


@pytest.mark.django_db
def test_several_groups_at_once_are_told_apart(desk: Desk) -> None:
    first = desks.drawn(desk).group
    owner = build.customer(vip_level=1, manager=desk.manager, member=build.user())
    sub = build.account(owner)
    build.deposit(sub, "BTC", "50", at=TEN)
    other = Desk(owner, owner.memberships.get().user, desk.manager, build.master(owner), sub)
    second = desks.drawn(other).group

    found = closes.of_many([first, second], days=30, at=TEN + 2 * DAY)
    assert found == {one.pk: closes.of(one, days=30, at=TEN + 2 * DAY) for one in (first, second)}
    assert found[first.pk][0].ltv != found[second.pk][0].ltv


# --- The drawing --------------------------------------------------------------------------------------


def days(*ltvs: str) -> list[Close]:
    """Closes up to yesterday; an empty one is a day on which nothing was owed."""
    first = TODAY - len(ltvs) * DAY
    return [
        Close(first + number * DAY, D(ltv) if ltv else None, None if ltv else Gap.NO_DEBT)
        for number, ltv in enumerate(ltvs)
    ]


def drawn(*ltvs: str, now: str = "0.7") -> Course:
    course = course_of(days(*ltvs), LINES, now=D(now), today=TODAY)
    assert course is not None
    return course


def test_low_and_high_of_a_week_and_a_month_count_now_too() -> None:
    closes_ = days(*["0.80"], *["0.6"] * 20, *["0.65"] * 6, "0.70")
    week, month = extremes(closes_, D("0.75"), 7, TODAY), extremes(closes_, D("0.75"), 30, TODAY)
    assert week is not None
    assert month is not None
    assert (week.low, week.low_on, week.high, week.high_on) == (D("0.65"), TODAY - 7 * DAY, D("0.75"), None)
    assert (month.low, month.low_on) == (D("0.6"), TODAY - 27 * DAY)
    assert (month.high, month.high_on) == (D("0.80"), TODAY - 28 * DAY)


def test_a_gap_is_not_bridged() -> None:
    """Three days, a gap, a lone day, a gap, one day, now: 2 + 0 + 1 segments, and a dot for the lone one."""
    course = drawn("0.6", "0.61", "0.62", "", "0.66", "", "0.7")
    assert len(course.segments) == 3
    assert len(course.dots) == 1
    assert "2 of these days have no figure" in course.sentence


def test_the_sentence_says_the_range() -> None:
    assert drawn("0.6", "0.66666", now="0.7").sentence == (
        "Loan to value over 2 days: between 60.00 % and 70.00 %. Now 70.00 %. Every close is in the table."
    )


def test_nothing_is_drawn_of_nothing() -> None:
    assert course_of([], LINES, now=D("0.7"), today=TODAY) is None
    assert course_of(days("", ""), LINES, now=D("0.7"), today=TODAY) is None


@given(
    st.lists(st.decimals("0.05", "3", places=4), min_size=1, max_size=30), st.decimals("0.05", "3", places=4)
)
def test_all_of_it_is_on_the_sheet_and_higher_is_higher(ltvs: list[D], now: D) -> None:
    course = drawn(*map(str, ltvs), now=str(now))
    heights = [D(course.segments[0].y1), *(D(part.y2) for part in course.segments)]
    assert all(TOP <= height <= HEIGHT for height in heights)
    for (one, height), (other, beneath) in zip(
        zip([*ltvs, now], heights, strict=True),
        list(zip([*ltvs, now], heights, strict=True))[1:],
        strict=False,
    ):
        assert one == other or (one > other) >= (height < beneath)
    names = [D(level.label_y) for level in course.levels]
    assert all(lower - upper >= 13 for upper, lower in zip(names, names[1:], strict=False))
