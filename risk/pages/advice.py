"""The cheapest cure as people read it: what, how much, where it leads, and the filled-in form for it. R-FTR-02"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from urllib.parse import urlencode

from django.urls import reverse

from accounts.models import Asset
from risk import book, cures
from risk.book import GroupState
from risk.cure import Goal, Kind
from risk.cures import Advice, Option
from risk.valuation import Worth

MOST_OTHERS: Final = 3
VERBS: Final = {Kind.REPAY: "Repay", Kind.ADD: "Add", Kind.SWAP: "Sell"}


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One step. `url` is empty where it cannot be done now, and `why_not` says why; `buy`, `got` are of a swap."""

    verb: str
    asset: Asset
    amount: Decimal
    usd: Decimal
    after: Worth
    url: str
    why_not: str
    buy: Asset | None = None
    got: Decimal | None = None


@dataclass(frozen=True, slots=True)
class Cure:
    """The ways to one line: the cheapest, others that do it too, or several together where none alone can be done."""

    goal: Goal
    best: Suggestion | None
    others: tuple[Suggestion, ...]
    together: tuple[Suggestion, ...]
    is_enough: bool


def goals_of(state: GroupState) -> tuple[Goal, Goal]:
    """Out of the margin call, whose line itself is still a call; and back to the initial line."""
    return Goal(state.lines.margin_call, strictly_below=True), Goal(state.lines.initial)


def cures_for(
    state: GroupState, goals: tuple[Goal, ...], *, at: datetime, linked: bool, is_real: bool = True
) -> list[Cure]:
    """For each goal that is not reached yet. `linked`: the reader may act on it; only where the state is real."""
    if not state.debts or any(coin not in state.quotes for coin in state.owed_assets):
        return []
    means = cures.means_of(state, at=at)
    state = cures.with_market(state, set(means.position.holdings), at=at)
    found = [cures.advise(state, means, goal=goal, at=at, is_real=is_real) for goal in dict.fromkeys(goals)]
    told = [_cure(state, advice, linked=linked and is_real) for advice in found]
    return [cure for cure in told if cure.best is not None or cure.together]


def _cure(state: GroupState, advice: Advice, *, linked: bool) -> Cure:
    others = [option for option in advice.options if option.step != (advice.cheapest or option).step]
    possible = [option for option in others if option.is_possible]
    return Cure(
        goal=advice.goal,
        best=None if advice.cheapest is None else _suggestion(state, advice.cheapest, linked=linked),
        others=tuple(_suggestion(state, option, linked=linked) for option in possible[:MOST_OTHERS]),
        together=tuple(_suggestion(state, option, linked=linked) for option in advice.together),
        is_enough=advice.is_enough,
    )


def _suggestion(state: GroupState, option: Option, *, linked: bool) -> Suggestion:
    step = option.step
    return Suggestion(
        verb=VERBS[step.kind],
        asset=state.assets[step.asset],
        amount=step.amount,
        usd=step.usd,
        after=step.after,
        url=_url(option) if linked and option.is_possible else "",
        why_not=option.why_not,
        buy=state.assets[step.buy] if step.buy else None,
        got=step.got if step.buy else None,
    )


def _url(option: Option) -> str:
    """The form that does it, filled in; it is looked at once more before anything is done."""
    step = option.step
    amount = f"{step.amount:f}"
    if step.kind is Kind.REPAY:
        if step.loan is None or step.loan < 0:
            return ""
        return f"{reverse('loans:of_debt', args=[step.loan])}?{urlencode({'amount': amount})}"
    if step.kind is Kind.SWAP:
        told = {"account": option.account, "asset": step.asset, "amount": amount, "buy": step.buy}
        return f"{reverse('risk:move', args=['trade'])}?{urlencode(told)}"
    if option.source is None:
        return ""
    told = {
        "account": option.source.uid,
        "wallet": option.source.wallet,
        "target": option.account,
        "target_wallet": book.WALLET,
        "asset": step.asset,
        "amount": amount,
    }
    return f"{reverse('risk:move', args=['transfer'])}?{urlencode(told)}"
