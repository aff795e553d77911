"""What the button of a cure promises: so much of a coin brings LTV to a line. Kept, or nothing is done. R-FTR-02

The prices move while somebody reads. So the promise travels with the press, and the command runs in one transaction
with two looks at the group, under the locks that the command takes. Before it: where LTV is at the line already, by
another press or by the prices, the cure is needed no more and is only looked at. After it: where LTV would not come to
the line any more, everything is taken back. A promise that more than holds is kept, unless less than half of what was
shown is still needed: another press or the prices did the rest, and what is left is a smaller cure to look at.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final, Self, TypeVar

from accounts.commands import Actor, acting, repeated, retried
from accounts.errors import Refused
from accounts.models import IdempotencyKey
from accounts.money import exact, round_down
from accounts.words import tell
from risk import book, groups
from risk.cure import Goal
from risk.models import CollateralGroup
from risk.valuation import Worth

TOKEN: Final = re.compile(
    r"(to|below):(\d(?:\.\d{1,30})?):(\d{1,20}(?:\.\d{1,20})?):(\d{1,20}(?:\.\d{1,60})?)?"
)
LONGEST: Final = 160
FIRST: Final = ":1"  # after a key: that of the first of several steps
T = TypeVar("T")


class PromiseBroken(Refused):
    """Prices have moved: the cure would not lead where its button said."""

    code = "promise_broken"


class NeededNoMore(Refused):
    """LTV is where the cure would bring it: what it was pressed for has come about, and more is a new decision."""

    code = "needed_no_more"


@dataclass(frozen=True, slots=True)
class Promise:
    """`amount` in its coin; `ltv` is what was shown beside the button (a fraction, None: beyond measure)."""

    goal: Goal
    amount: Decimal
    ltv: Decimal | None

    def __str__(self) -> str:
        """As it travels in an address or a form."""
        word = "below" if self.goal.strictly_below else "to"
        told = "" if self.ltv is None else f"{self.ltv.normalize():f}"
        return f"{word}:{self.goal.line.normalize():f}:{self.amount.normalize():f}:{told}"

    @classmethod
    def read(cls, token: str) -> Self:
        """
        Raises:
            ValueError: it is none.
        """
        found = TOKEN.fullmatch(token)
        if found is None or not token.isascii():
            raise ValueError("not a promise")
        word, line, amount, ltv = found.groups()
        goal = Goal(Decimal(line), strictly_below=word == "below")
        return cls(goal, Decimal(amount), None if ltv is None else Decimal(ltv))


def keeping(
    promise: Promise | None,
    act: Callable[[], T],
    *,
    group: CollateralGroup | None,
    uids: Collection[int],
    actor: Actor,
    at: datetime,
    key: str,
) -> T:
    """Do `act`, commands that move coins of these accounts, only if it leads where it was promised to.

    Their accounts and `group` are locked first, so of two presses of one cure the second sees what the first did.
    What was done before, under the same key, kept its promise then: where prices went since says nothing of it.

    Raises:
        NeededNoMore: the group is at the line already, or needs less than half of it; nothing was done.
        PromiseBroken: it would not come there; nothing was done.
        Whatever the commands raise.
    """
    if promise is None or group is None:
        return act()

    def both() -> T:
        with acting(actor):
            groups.hold(uids=uids, group_ids=[group.pk])
            before = book.state_of(group, at=at).worth(permission=False)
            if not is_known(actor, key):
                refuse_needless(promise, before)
            done = act()
            if repeated.get():
                return done
            after = book.state_of(group, at=at).worth(permission=False)
            refuse_broken(promise, after)
            refuse_excess(promise, before, after)
        return done

    return retried(both)


def is_known(actor: Actor, key: str) -> bool:
    """Whether something was asked for under this key before, or under one made of it."""
    asked = IdempotencyKey.objects.filter(caller=actor.label)
    return asked.filter(key__in=[key, f"{key}{FIRST}"]).exists()


def refuse_needless(promise: Promise, now: Worth) -> None:
    """
    Raises:
        NeededNoMore: LTV is at the line of the promise.
    """
    if promise.goal.is_reached(now):
        assert now.ltv is not None, "what is beyond measure is at no line"
        raise NeededNoMore(tell("LTV is {ltv} already: this cure is needed no more.", ltv=_cut(now.ltv)))


@exact
def refuse_excess(promise: Promise, before: Worth, after: Worth) -> None:
    """A cure ends on its line, so any move of the prices opens a small gap again; the whole of it is not the answer.

    Raises:
        NeededNoMore: most of what it does leads past the LTV that was shown.
    """
    if promise.ltv is None or before.ltv is None or after.ltv is None:
        return
    if 2 * (promise.ltv - after.ltv) > before.ltv - after.ltv:
        raise NeededNoMore(
            tell("LTV is {ltv} by now: less than half of this cure is needed.", ltv=_cut(before.ltv))
        )


def refuse_broken(promise: Promise, then: Worth) -> None:
    """`then`: the group's worth afterwards, at the last good prices, as a cure is reckoned.

    Raises:
        PromiseBroken: its LTV is not where it was promised to be.
    """
    if promise.goal.is_reached(then):
        return
    line = _percent(promise.goal.line)
    where = (
        tell("below {line}", line=line)
        if promise.goal.strictly_below
        else tell("to {line} or below", line=line)
    )
    came = tell("stay beyond measure") if then.ltv is None else tell("come to {ltv}", ltv=_cut(then.ltv))
    told = "" if promise.ltv is None else tell(" ({ltv} was shown)", ltv=_cut(promise.ltv))
    raise PromiseBroken(
        tell(
            "Prices have moved: LTV would {came} now, not {where}{told}. Nothing was done.",
            came=came,
            where=where,
            told=told,
        )
    )


@exact
def _percent(line: Decimal) -> str:
    return tell("{value:f} %", value=(100 * line).normalize())


@exact
def _cut(ltv: Decimal) -> str:
    """Two places, cut and never rounded up onto a line. R-GEN-41"""
    return tell("{value:f} %", value=round_down(100 * ltv, 2))
