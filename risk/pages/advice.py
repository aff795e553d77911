"""The cheapest cure as people read it: what, how much, where it leads, and the press that does it. R-FTR-02"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from urllib.parse import urlencode
from uuid import uuid4

from django.urls import reverse

from accounts.models import Asset
from accounts.money import round_up
from accounts.typed import as_typed
from accounts.words import tell
from risk import book, cures
from risk.book import GroupState
from risk.cure import Goal, Kind
from risk.cures import Advice, Option
from risk.levels import band
from risk.pages.track import Track, track
from risk.promises import Promise
from risk.valuation import Worth

MOST_OTHERS: Final = 3
TOLD_PLACES: Final = 4  # of an LTV as a fraction: 71.98 %
MOST_STEPS: Final = 40  # of one press
REPAYS: Final = "repay:"  # a step of several that repays, before the key of its debt
MOVES: Final = {Kind.ADD: "transfer", Kind.SWAP: "trade"}
VERBS: Final = {Kind.REPAY: tell("Repay"), Kind.ADD: tell("Add"), Kind.SWAP: tell("Sell")}


@dataclass(frozen=True, slots=True)
class Press:
    """A button that does a cure: where its form is sent, and what is in it, its promise included."""

    to: str
    fields: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """One for each time it is shown, so that pressing twice does it once. R-GEN-06"""
        return str(uuid4())


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One step. `url` is empty where it cannot be done now, and `why_not` says why; `buy`, `got` are of a swap.

    `press` does it at once where it reaches its line alone; `track` shows LTV before and after.
    """

    verb: str
    asset: Asset
    amount: Decimal
    usd: Decimal
    before: Worth
    after: Worth
    url: str
    why_not: str
    buy: Asset | None = None
    got: Decimal | None = None
    press: Press | None = None
    track: Track | None = None
    is_repayment: bool = False


@dataclass(frozen=True, slots=True)
class Cure:
    """The ways to one line: the cheapest, others that do it too, or several together where none alone can be done.

    `together`: each begins where the one before it ends; `press` does all of them or none, `track` shows both ends.
    """

    goal: Goal
    best: Suggestion | None
    others: tuple[Suggestion, ...]
    together: tuple[Suggestion, ...]
    is_enough: bool
    press: Press | None = None
    track: Track | None = None


def goals_of(state: GroupState) -> tuple[Goal, Goal]:
    """Out of the margin call, whose line itself is still a call; and back to the initial line."""
    return Goal(state.lines.margin_call, strictly_below=True), Goal(state.lines.initial)


def cures_for(
    state: GroupState,
    goals: tuple[Goal, ...],
    *,
    at: datetime,
    linked: Collection[Kind],
    is_real: bool = True,
) -> list[Cure]:
    """For each goal that is not reached yet. `linked`: what the reader may do; only where the state is real."""
    if not state.debts or any(coin not in state.quotes for coin in state.owed_assets):
        return []
    means = cures.means_of(state, at=at)
    state = cures.with_market(state, set(means.position.holdings), at=at)
    found = [cures.advise(state, means, goal=goal, at=at, is_real=is_real) for goal in dict.fromkeys(goals)]
    told = [_cure(state, advice, linked=linked if is_real else ()) for advice in found]
    return [cure for cure in told if cure.best is not None or cure.together]


def _cure(state: GroupState, advice: Advice, *, linked: Collection[Kind]) -> Cure:
    others = [option for option in advice.options if option.step != (advice.cheapest or option).step]
    possible = [option for option in others if option.is_possible]
    goal = advice.goal

    def told(option: Option) -> Suggestion:
        return suggestion(state, option, goal, linked=linked)

    steps = advice.together
    return Cure(
        goal=goal,
        best=None if advice.cheapest is None else told(advice.cheapest),
        others=tuple(told(option) for option in possible[:MOST_OTHERS]),
        together=tuple(_in_order(state, steps, linked=linked)),
        is_enough=advice.is_enough,
        press=_press_of(state, advice) if steps and {one.step.kind for one in steps} <= {*linked} else None,
        track=_moved(state, state.worth(permission=False), steps[-1].step.after) if steps else None,
    )


def _in_order(
    state: GroupState, steps: Sequence[Option], *, linked: Collection[Kind]
) -> Iterator[Suggestion]:
    before = state.worth(permission=False)
    for option in steps:
        yield suggestion(state, option, None, linked=linked, before=before)
        before = option.step.after


def _press_of(state: GroupState, advice: Advice) -> Press | None:
    """One press for all of its steps; its promise is the line, or where they lead if that is not enough."""
    assert state.group is not None
    steps = [_form_of(option) for option in advice.together]
    last, first = advice.together[-1].step.after, advice.together[0].step
    if not all(to for to, _ in steps) or last.ltv is None or len(steps) > MOST_STEPS:
        return None
    goal = advice.goal if advice.is_enough else Goal(round_up(last.ltv, TOLD_PLACES))
    wire = [
        ("step", urlencode({"do": _done_by(option), **told}))
        for option, (_, told) in zip(advice.together, steps, strict=True)
    ]
    promise = Promise(goal, first.amount, last.ltv)
    return Press(reverse("loans:cure", args=[state.group.pk]), (*wire, ("cure", str(promise))))


def _done_by(option: Option) -> str:
    """What the step is, and for a repayment on which debt; read by loans/pages/cure.py."""
    step = option.step
    return f"{REPAYS}{step.loan}" if step.kind is Kind.REPAY else MOVES[step.kind]


def suggestion(
    state: GroupState,
    option: Option,
    goal: Goal | None,
    *,
    linked: Collection[Kind],
    before: Worth | None = None,
) -> Suggestion:
    """`goal` None: one of several steps, which promises nothing by itself and begins at `before`."""
    step, may = option.step, option.step.kind in linked and option.is_possible
    promise = None if goal is None else Promise(goal, step.amount, step.after.ltv)
    to, told = _form_of(option) if may else ("", {})
    if promise is not None and to:
        told["cure"] = str(promise)
    before = state.worth(permission=False) if before is None else before
    return Suggestion(
        verb=VERBS[step.kind],
        asset=state.assets[step.asset],
        amount=step.amount,
        usd=step.usd,
        before=before,
        after=step.after,
        url=_looked_at(option, to, told) if to else "",
        why_not=option.why_not,
        buy=state.assets[step.buy] if step.buy else None,
        got=step.got if step.buy else None,
        press=Press(to, tuple(told.items())) if to and promise is not None else None,
        track=_moved(state, before, step.after),
        is_repayment=step.kind is Kind.REPAY,
    )


def _moved(state: GroupState, before: Worth, after: Worth) -> Track | None:
    if after.ltv is None:
        return None
    return track(before.ltv, state.lines, after=after.ltv, band=band(before, state.lines))


def _form_of(option: Option) -> tuple[str, dict[str, str]]:
    """Where the form that does it is sent, and what is filled in; no address where there is none."""
    step = option.step
    amount = as_typed(step.amount)
    if step.kind is Kind.REPAY:
        if step.loan is None or step.loan < 0:
            return "", {}
        return reverse("loans:repay_debt", args=[step.loan]), {"how": "amount", "amount": amount}
    if step.kind is Kind.SWAP:
        told = {"account": str(option.account), "asset": step.asset, "amount": amount, "buy": step.buy}
        return reverse("risk:move", args=["trade"]), told
    if option.source is None:
        return "", {}
    return reverse("risk:move", args=["transfer"]), {
        "account": str(option.source.uid),
        "wallet": option.source.wallet,
        "target": str(option.account),
        "target_wallet": book.WALLET,
        "asset": step.asset,
        "amount": amount,
    }


def _looked_at(option: Option, to: str, told: Mapping[str, str]) -> str:
    """The page of the same form, filled in; it is looked at once more before anything is done."""
    filled = {
        name: value for name, value in told.items() if name != "how"
    }  # an amount is what that page begins with
    page = reverse("loans:of_debt", args=[option.step.loan]) if option.step.kind is Kind.REPAY else to
    return f"{page}?{urlencode(filled)}"
