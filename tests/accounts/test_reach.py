"""When a notice may leave, and by which way. R-GEN-60"""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts import reach
from accounts.reach import Preference

NIGHT = {"quiet_from": time(22), "quiet_until": time(7)}
URGENT = ("margin_call", "liquidation", "grace", "delay", "loan_overdue", "loan_due", "nobody_listed_this")


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("zone", "quiet_from", "quiet_until", "at", "due"),
    [
        # a night in UTC: before, at its first minute, inside, after midnight, at its last, and at its end
        ("UTC", "22:00", "07:00", "2026-01-01 21:59", "2026-01-01 21:59"),
        ("UTC", "22:00", "07:00", "2026-01-01 22:00", "2026-01-02 07:00"),
        ("UTC", "22:00", "07:00", "2026-01-01 23:30", "2026-01-02 07:00"),
        ("UTC", "22:00", "07:00", "2026-01-02 00:00", "2026-01-02 07:00"),
        ("UTC", "22:00", "07:00", "2026-01-02 06:59", "2026-01-02 07:00"),
        ("UTC", "22:00", "07:00", "2026-01-02 07:00", "2026-01-02 07:00"),
        # a pause at noon, which does not run over midnight
        ("UTC", "12:00", "13:30", "2026-01-01 11:59", "2026-01-01 11:59"),
        ("UTC", "12:00", "13:30", "2026-01-01 12:00", "2026-01-01 13:30"),
        ("UTC", "12:00", "13:30", "2026-01-01 13:30", "2026-01-01 13:30"),
        # until midnight
        ("UTC", "20:00", "00:00", "2026-01-01 20:00", "2026-01-02 00:00"),
        ("UTC", "20:00", "00:00", "2026-01-02 00:00", "2026-01-02 00:00"),
        # the hours are those of the customer's town: 23:00 in Zurich is 22:00 UTC in winter, 21:00 in summer
        ("Europe/Zurich", "22:00", "07:00", "2026-01-01 20:59", "2026-01-01 20:59"),
        ("Europe/Zurich", "22:00", "07:00", "2026-01-01 21:00", "2026-01-02 06:00"),
        ("Europe/Zurich", "22:00", "07:00", "2026-07-01 20:00", "2026-07-02 05:00"),
        ("Asia/Tokyo", "22:00", "07:00", "2026-01-01 13:00", "2026-01-01 22:00"),
        ("America/New_York", "22:00", "07:00", "2026-01-02 03:00", "2026-01-02 12:00"),
        # the clocks go forward on 29 March at 01:00 UTC: that night is one hour shorter
        ("Europe/Zurich", "22:00", "07:00", "2026-03-28 21:00", "2026-03-29 05:00"),
        # 02:30 does not exist that night; it is read as 03:30, never before the hour it names
        ("Europe/Zurich", "22:00", "02:30", "2026-03-29 00:00", "2026-03-29 01:30"),
        # the clocks go back on 25 October at 01:00 UTC: that night is one hour longer
        ("Europe/Zurich", "22:00", "07:00", "2026-10-24 20:00", "2026-10-25 06:00"),
        # 02:30 comes twice: the first time ends the first pass, the second time the second
        ("Europe/Zurich", "22:00", "02:30", "2026-10-25 00:15", "2026-10-25 00:30"),
        ("Europe/Zurich", "22:00", "02:30", "2026-10-25 00:45", "2026-10-25 00:45"),
        ("Europe/Zurich", "22:00", "02:30", "2026-10-25 01:10", "2026-10-25 01:30"),
    ],
)
def test_what_can_wait_waits_for_the_end_of_quiet_hours(
    zone: str, quiet_from: str, quiet_until: str, at: str, due: str
) -> None:
    """R-GEN-60"""
    preference = Preference(
        quiet_from=time.fromisoformat(quiet_from), quiet_until=time.fromisoformat(quiet_until), time_zone=zone
    )
    assert reach.due_at(kind="repayment", at=utc(at), preference=preference) == utc(due)


@pytest.mark.parametrize("kind", URGENT)
def test_quiet_hours_never_hold_a_call(kind: str) -> None:
    """R-GEN-60: calls, sales, graces and deadlines, and whatever nobody has thought about"""
    at = utc("2026-01-01 23:30")
    assert reach.due_at(kind=kind, at=at, preference=Preference(**NIGHT)) == at


@pytest.mark.parametrize(
    ("by_email", "by_sms", "phone", "call", "news"),
    [
        (True, True, "+41791234567", ("email", "sms"), ("email", "sms")),
        (True, False, "", ("email",), ("email",)),
        (False, True, "+41791234567", ("sms",), ("sms",)),
        (False, True, "", ("email", "sms"), ("sms",)),
        (False, False, "", ("email",), ()),
        (False, False, "+41791234567", ("email",), ()),
    ],
)
def test_a_call_always_has_one_way_out_of_the_house(
    by_email: bool, by_sms: bool, phone: str, call: tuple[str, ...], news: tuple[str, ...]
) -> None:
    """R-GEN-60: whatever is switched off"""
    preference = Preference(by_email=by_email, by_sms=by_sms, phone=phone)
    assert reach.channels(kind="margin_call", preference=preference) == call
    assert reach.channels(kind="repayment", preference=preference) == news


@given(
    at=st.integers(0, 3 * 365 * 24 * 60).map(
        lambda minutes: utc("2025-01-01 00:00") + timedelta(minutes=minutes)
    ),
    quiet_from=st.times(),
    quiet_until=st.times(),
    zone=st.sampled_from(["UTC", "Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"]),
)
def test_nothing_is_held_longer_than_a_day_or_without_need(
    at: datetime, quiet_from: time, quiet_until: time, zone: str
) -> None:
    """R-GEN-60: what leaves at once was outside the hours, what waits was inside and leaves at their end"""
    preference = Preference(quiet_from=quiet_from, quiet_until=quiet_until, time_zone=zone)
    due = reach.due_at(kind="repayment", at=at, preference=preference)
    assert at <= due <= at + timedelta(hours=25)
    now = at.astimezone(ZoneInfo(zone)).time()
    if quiet_from < quiet_until:
        is_quiet = quiet_from <= now < quiet_until
    else:
        is_quiet = quiet_from != quiet_until and not quiet_until <= now < quiet_from
    assert (due > at) == is_quiet


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("+41791234567", "+41791234567"),
        ("+41 79 123-45.67", "+41791234567"),
        ("+1 (212) 555 0100", "+12125550100"),
        ("0791234567", None),
        ("+0791234567", None),
        ("+41", None),
        ("+1234567890123456", None),
        ("+4179١٢٣٤٥٦٧", None),
        ("+41791234567\n", None),
        ("", None),
    ],
)
def test_a_phone_number_is_international(typed: str, kept: str | None) -> None:
    """R-GEN-60: E.164"""
    assert reach.phone_number(typed) == kept
