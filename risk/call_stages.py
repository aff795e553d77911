"""How far a margin call has come between the desk and the client: derived from what happened, never stored.

R-FTR-18: CALLED, ACKNOWLEDGED when somebody of the client said so, PROMISED when they named a time, then CURED or
LIQUIDATED. A promise is kept when the call is cured by its time, that instant included.
"""

from datetime import datetime, timedelta
from typing import Final

from accounts.words import Said, tell

UNANSWERED_AFTER: Final = timedelta(
    minutes=30
)  # an open call that nobody acknowledged for longer is pointed out


class Stage(Said):
    CALLED = tell("called")
    ACKNOWLEDGED = tell("acknowledged")
    PROMISED = tell("promised")
    CURED = tell("cured")
    LIQUIDATED = tell("liquidated")


class Promise(Said):
    RUNNING = tell("running")
    KEPT = tell("kept")
    BROKEN = tell("broken")


def stage(*, ended: str, is_acknowledged: bool, has_promise: bool) -> Stage:
    """`ended` is empty, "cured" or "liquidated". R-FTR-18"""
    if ended:
        return Stage(ended)
    if has_promise:
        return Stage.PROMISED
    return Stage.ACKNOWLEDGED if is_acknowledged else Stage.CALLED


def promise(*, promised_by: datetime, ended: str, ended_at: datetime | None, at: datetime) -> Promise:
    """What became of a promise by `at`. A sale breaks it, whenever it was to be. R-FTR-18"""
    if ended == Stage.CURED and ended_at is not None and ended_at <= promised_by:
        return Promise.KEPT
    return Promise.RUNNING if not ended and at <= promised_by else Promise.BROKEN


def is_unanswered(*, opened_at: datetime, is_acknowledged: bool, ended: str, at: datetime) -> bool:
    """Open for more than 30 minutes, and nobody of the client has acknowledged it. R-FTR-18"""
    return not ended and not is_acknowledged and at - opened_at > UNANSWERED_AFTER


def next_step(*, where: Stage, promised: Promise | None, is_unanswered: bool, is_at_liquidation: bool) -> str:
    """What the manager does next, the most urgent first; empty when the call is over. R-FTR-18"""
    if where in {Stage.CURED, Stage.LIQUIDATED}:
        return ""
    if is_at_liquidation:
        return tell("Telephone now: it is at the liquidation line")
    if promised == Promise.BROKEN:
        return tell("Telephone: the promise is broken")
    if promised == Promise.RUNNING:
        return tell("Wait for what was promised")
    if is_unanswered:
        return tell("Telephone: nobody has acknowledged it")
    return (
        tell("Ask by when it is cured")
        if where == Stage.ACKNOWLEDGED
        else tell("Wait for the acknowledgement")
    )
