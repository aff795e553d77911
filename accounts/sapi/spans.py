"""The time a list is asked for, as the dialect says it: startTime and endTime in milliseconds, both of them in it."""

from datetime import datetime, timedelta

from accounts.sapi.errors import BAD_INTERVAL, Denied
from accounts.sapi.params import millis
from accounts.sapi.registry import Call

TIMES = (millis("startTime"), millis("endTime"))
TICK = timedelta(milliseconds=1)


def span(call: Call, *, default_days: int, most_days: int) -> tuple[datetime, datetime]:
    """[since, until): without times the last `default_days`; with one of them, as far as that allows from it.

    Raises:
        Denied: the wrong way round, or more than `most_days`.
    """
    start, end = call["startTime"], call["endTime"]
    most = timedelta(days=most_days)
    if end is None:
        end = call.at if start is None else max(min(call.at, start + most), start)
    if start is None:
        start = end - timedelta(days=default_days)
    if start > end:
        raise Denied(BAD_INTERVAL, "Parameter 'startTime' is after 'endTime'.")
    if end - start > most:
        raise Denied(BAD_INTERVAL, f"More than {most_days} days between startTime and endTime.")
    return start, end + TICK
