"""How far a call has come, and what became of a promise, as tables. R-FTR-18"""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.call_stages import Promise, Stage, is_unanswered, next_step, promise, stage
from tests.build import NOON

MINUTE = timedelta(minutes=1)
ENDS = ("", "cured", "liquidated")


@pytest.mark.parametrize(
    ("ended", "is_acknowledged", "has_promise", "where"),
    [
        ("", False, False, Stage.CALLED),
        ("", True, False, Stage.ACKNOWLEDGED),
        ("", False, True, Stage.PROMISED),
        ("", True, True, Stage.PROMISED),
        ("cured", False, False, Stage.CURED),
        ("cured", True, True, Stage.CURED),
        ("liquidated", False, False, Stage.LIQUIDATED),
        ("liquidated", True, True, Stage.LIQUIDATED),
    ],
)
def test_the_furthest_thing_that_happened_is_the_stage(
    ended: str, is_acknowledged: bool, has_promise: bool, where: Stage
) -> None:
    """R-FTR-18"""
    assert stage(ended=ended, is_acknowledged=is_acknowledged, has_promise=has_promise) == where


@pytest.mark.parametrize(
    ("ended", "ended_after", "now", "became"),
    [
        ("", None, 59, Promise.RUNNING),
        ("", None, 60, Promise.RUNNING),  # its instant is still in time
        ("", None, 61, Promise.BROKEN),
        ("cured", 59, 70, Promise.KEPT),
        ("cured", 60, 70, Promise.KEPT),
        ("cured", 61, 70, Promise.BROKEN),  # too late is not kept
        ("liquidated", 10, 20, Promise.BROKEN),  # sold before its time: it can no longer be kept
        ("liquidated", 70, 80, Promise.BROKEN),
    ],
)
def test_a_promise_is_kept_by_a_cure_in_time(
    ended: str, ended_after: int | None, now: int, became: Promise
) -> None:
    """R-FTR-18: promised for the 60th minute"""
    ended_at = None if ended_after is None else NOON + ended_after * MINUTE
    found = promise(promised_by=NOON + 60 * MINUTE, ended=ended, ended_at=ended_at, at=NOON + now * MINUTE)
    assert found == became


@given(by=st.integers(1, 100), ended=st.sampled_from(ENDS), end=st.integers(0, 200), now=st.integers(0, 200))
def test_a_promise_once_decided_stays_so(by: int, ended: str, end: int, now: int) -> None:
    """R-FTR-18: looking later changes a running promise only"""
    now = max(now, end) if ended else now
    told: dict[str, Any] = {
        "promised_by": NOON + by * MINUTE,
        "ended": ended,
        "ended_at": NOON + end * MINUTE if ended else None,
    }
    first, later = promise(**told, at=NOON + now * MINUTE), promise(**told, at=NOON + (now + 500) * MINUTE)
    if first == Promise.RUNNING:
        assert (ended, later) == ("", Promise.BROKEN)
    else:
        assert first == later


@pytest.mark.parametrize(
    ("minutes", "seconds", "is_acknowledged", "ended", "marked"),
    [
        (30, 0, False, "", False),
        (30, 1, False, "", True),
        (90, 0, True, "", False),
        (90, 0, False, "cured", False),
    ],
)
def test_an_open_call_that_nobody_acknowledged_is_marked_after_30_minutes(
    minutes: int, seconds: int, is_acknowledged: bool, ended: str, marked: bool
) -> None:
    """R-FTR-18"""
    at = NOON + minutes * MINUTE + timedelta(seconds=seconds)
    assert is_unanswered(opened_at=NOON, is_acknowledged=is_acknowledged, ended=ended, at=at) is marked


@pytest.mark.parametrize(
    ("where", "promised", "unanswered", "at_line", "words"),
    [
        (Stage.CALLED, None, False, False, "Wait for the acknowledgement"),
        (Stage.CALLED, None, True, False, "Telephone: nobody has acknowledged it"),
        (Stage.ACKNOWLEDGED, None, False, False, "Ask by when it is cured"),
        (Stage.PROMISED, Promise.RUNNING, True, False, "Wait for what was promised"),
        (Stage.PROMISED, Promise.BROKEN, False, False, "Telephone: the promise is broken"),
        (Stage.PROMISED, Promise.RUNNING, False, True, "Telephone now: it is at the liquidation line"),
        (Stage.CURED, Promise.KEPT, False, False, ""),
        (Stage.LIQUIDATED, Promise.BROKEN, False, True, ""),
    ],
)
def test_the_most_urgent_step_is_named(
    where: Stage, promised: Promise | None, unanswered: bool, at_line: bool, words: str
) -> None:
    """R-FTR-18"""
    said = next_step(where=where, promised=promised, is_unanswered=unanswered, is_at_liquidation=at_line)
    assert said == words
