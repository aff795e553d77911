"""What a reading means for a delayed liquidation: EX-22 in all its variants, and a clock that nothing moves."""

from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.levels import Lines
from risk.readings import SELLS, Bounds, Clocks, Delay, DelayStep, Waits, delayed, has_rested, read
from risk.valuation import Worth
from tests import build

D = Decimal
NOON = build.NOON
HOUR = timedelta(hours=1)
END = NOON + 24 * HOUR
LINES = Lines(D("0.72"), D("0.77"), D("0.91"), D("0.95"), D("0.02"))
WAITS = Waits(confirm=5, outage=600, outage_grace=1800)
AT_ONCE = Waits(confirm=0, outage=600, outage_grace=1800)
REST = timedelta(hours=168)


def worth(ltv: str | Decimal) -> Worth:
    return Worth(debt=D(ltv) * 100, collateral=D(100), market=D(100))


def step(
    ltv: str,
    at: datetime,
    *,
    ends_at: datetime | None = END,
    may_start: bool = False,
    best: str = "",
    fresh: bool = True,
    called: datetime | None = NOON,
    newest: datetime | None = None,
    waits: Waits = WAITS,
    **clocks: datetime | None,
) -> DelayStep:
    seen = Bounds(worst=worth(ltv), best=worth(best or ltv))
    newest = newest or at
    reading = read(
        seen=seen,
        debts_fresh=fresh,
        newest_price_at=newest,
        lines=LINES,
        clocks=Clocks(**clocks),
        waits=waits,
        at=at,
    )
    return delayed(
        reading=reading,
        seen=seen,
        lines=LINES,
        delay=Delay(ends_at=ends_at, may_start=may_start),
        called_since=called,
        newest_price_at=newest,
        waits=waits,
        at=at,
    )


@pytest.mark.parametrize(
    ("hours", "ltv", "asks"),
    [
        (5, "0.88", DelayStep.WAIT),  # the clock runs on
        (9, "0.9501", DelayStep.CUT_OFF),
        (9, "0.95", DelayStep.WAIT),  # above the cut-off, not at it
        (20, "0.719", DelayStep.CURED),
        (20, "0.72", DelayStep.CURED),  # to the initial level, not below it
        (20, "0.7200000001", DelayStep.WAIT),
        (23.9999, "0.94", DelayStep.WAIT),
        (24, "0.80", DelayStep.STEPPED),
        (24, "0.77", DelayStep.STEPPED),
        (24, "0.9099999999", DelayStep.STEPPED),
        (24, "0.91", DelayStep.SOLD),
        (24, "0.96", DelayStep.SOLD),
        (24, "0.7699999999", DelayStep.NO_SALE),
        (24, "0.7200000001", DelayStep.NO_SALE),
        (24, "0.72", DelayStep.CURED),
    ],
)
def test_every_variant_of_the_worked_example(hours: float, ltv: str, asks: DelayStep) -> None:
    """R-VIP-60, R-VIP-61, R-VIP-62, EX-22"""
    assert step(ltv, NOON + hours * HOUR, breach_seen_at=NOON) == asks


@pytest.mark.parametrize(
    ("ltv", "may_start", "seen", "asks"),
    [
        ("0.91", True, NOON - timedelta(seconds=5), DelayStep.START),
        ("0.91", True, NOON - timedelta(seconds=4), DelayStep.NONE),  # not confirmed yet
        ("0.91", True, None, DelayStep.NONE),
        ("0.91", False, NOON - timedelta(seconds=5), DelayStep.NONE),  # not enrolled: sold at once
        ("0.95", True, NOON - timedelta(seconds=5), DelayStep.START),
        (
            "0.9500000001",
            True,
            NOON - timedelta(seconds=5),
            DelayStep.NONE,
        ),  # above the cut-off: no delay at all
        ("0.9099999999", True, NOON - timedelta(seconds=5), DelayStep.NONE),
    ],
)
def test_a_delay_starts_where_a_sale_would_have(
    ltv: str, may_start: bool, seen: datetime | None, asks: DelayStep
) -> None:
    """R-VIP-60, R-VIP-61, R-GEN-23"""
    assert step(ltv, NOON, ends_at=None, may_start=may_start, breach_seen_at=seen) == asks


def test_an_outage_grace_comes_first() -> None:
    """R-GEN-24, R-VIP-60: no delay starts, and none is followed by a sale, before the grace is over"""
    until = NOON + 30 * HOUR
    asked = {"breach_seen_at": NOON - HOUR, "grace_until": until}
    assert step("0.92", NOON, ends_at=None, may_start=True, **asked) == DelayStep.NONE
    assert step("0.92", END, **asked) == DelayStep.WAIT
    assert step("0.80", END, **asked) == DelayStep.WAIT
    assert step("0.92", until, **asked) == DelayStep.SOLD


@pytest.mark.parametrize("hours", [1, 24, 1000])
def test_a_stale_price_waits_whatever_the_clock_says(hours: int) -> None:
    """R-VIP-62, R-GEN-22"""
    at = NOON + hours * HOUR
    assert step("0.99", at, fresh=False, breach_seen_at=NOON) == DelayStep.WAIT
    assert step("0.99", at, best="0.90", breach_seen_at=NOON) == DelayStep.WAIT
    assert step("0.60", at, fresh=False) == DelayStep.WAIT


@pytest.mark.parametrize(
    ("ltv", "called", "newest", "asks"),
    [
        ("0.91", NOON, END, DelayStep.WAIT),  # the first reading over liquidation
        ("0.80", None, END, DelayStep.WAIT),  # the first over the call line
        ("0.80", END - timedelta(seconds=4), END, DelayStep.WAIT),
        ("0.80", END - timedelta(seconds=5), END, DelayStep.STEPPED),
        ("0.80", END - timedelta(seconds=5), END - timedelta(seconds=5), DelayStep.WAIT),  # the same tick
    ],
)
def test_when_time_is_up_one_reading_sells_nothing_either(
    ltv: str, called: datetime | None, newest: datetime, asks: DelayStep
) -> None:
    """R-GEN-23, R-VIP-62"""
    assert step(ltv, END, called=called, newest=newest) == asks


@pytest.mark.parametrize(("hours", "may"), [(167.999, False), (168, True)])
def test_a_group_rests_seven_days_between_two_delays(hours: float, may: bool) -> None:
    """R-VIP-62"""
    assert has_rested(last_started_at=NOON, rest=REST, at=NOON + hours * HOUR) is may
    assert has_rested(last_started_at=None, rest=REST, at=NOON)


ltvs = st.decimals("0.5", "1.1", places=4, allow_nan=False)
readings_over_time = st.lists(
    st.tuples(st.integers(1, 40 * 3600), ltvs, st.booleans()), min_size=1, max_size=60
)


@given(readings_over_time)
def test_no_sequence_of_readings_moves_the_end_or_brings_a_second_delay_within_a_week(
    seen: list[tuple[int, Decimal, bool]],
) -> None:
    """R-VIP-62: oscillation does not restart the clock; at most one delay per group in seven days"""
    at, ends_at, started = NOON, None, []
    for seconds, ltv, fresh in seen:
        at += timedelta(seconds=seconds)
        rested = has_rested(last_started_at=started[-1] if started else None, rest=REST, at=at)
        asks = step(str(ltv), at, ends_at=ends_at, may_start=rested, fresh=fresh, waits=AT_ONCE, called=NOON)
        if ends_at is None:
            assert asks in {DelayStep.NONE, DelayStep.START}
            if asks is DelayStep.START:
                assert fresh
                assert D("0.91") <= ltv <= D("0.95")
                started.append(at)
                ends_at = at + 24 * HOUR
            continue
        assert ends_at == started[-1] + 24 * HOUR
        if asks is DelayStep.WAIT:
            assert not fresh or (D("0.72") < ltv <= D("0.95") and at < ends_at)
            continue
        assert fresh
        assert (asks in SELLS) == (ltv > D("0.95") or (at >= ends_at and ltv >= D("0.77")))
        ends_at = None
    assert all(later - sooner >= REST for sooner, later in zip(started, started[1:], strict=False))
