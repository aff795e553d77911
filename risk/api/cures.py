"""The cheapest ways back to a line, from what the borrower has elsewhere. R-FTR-02"""

from decimal import Decimal
from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Edge
from accounts.api.wire import Figure, Flag, Fraction, Query, asked
from risk import book, cures
from risk.api.groups import is_blind
from risk.api.scope import group_of
from risk.api.shapes import Row, Standing, standing, usd
from risk.book import GroupState
from risk.cure import Goal, Kind
from risk.cures import Advice, Option
from risk.pages.advice import goals_of

LEAST, MOST = Decimal("0.01"), Decimal("0.99")
DOES: Final = {Kind.REPAY: "repay", Kind.ADD: "add", Kind.SWAP: "trade"}


class Source(serializers.Serializer[Any]):
    """The wallet that the coins would come from."""

    account = serializers.IntegerField()
    wallet = serializers.CharField()


class CureStep(serializers.Serializer[Any]):
    """One step: repay a debt, add a coin, or trade one for another. `after`: the group then.

    `account` is the collateral account that gets the coin, or in which it is traded. `why_not` is empty where the step
    can be done now.
    """

    do = serializers.ChoiceField(list(DOES.values()))
    asset = serializers.CharField()
    amount = Figure()
    usd = usd()
    buy = serializers.CharField()
    got = Figure(allow_null=True)
    debt = serializers.IntegerField(allow_null=True)
    source = Source(allow_null=True)  # type: ignore[assignment]  # the name on the wire
    account = serializers.IntegerField(allow_null=True)
    after = Standing()
    reaches = Flag()
    is_possible = Flag()
    why_not = serializers.CharField()


class Cure(serializers.Serializer[Any]):
    """The ways to one line. `cheapest`: of what can be done now, else of all; `together`: several, where none alone."""

    line = Figure()
    strictly_below = Flag()
    is_reached = Flag()
    cheapest = CureStep(allow_null=True)
    options = CureStep(many=True)
    together = CureStep(many=True)
    is_enough = Flag()


class CureList(serializers.Serializer[Any]):
    rows = Cure(many=True)
    total = serializers.IntegerField()


class Cures(Edge):
    class Asked(Query):
        target = Fraction(required=False)

        def validate_target(self, value: Decimal) -> Decimal:
            if not LEAST <= value <= MOST:
                raise serializers.ValidationError(f"A target is from {LEAST} to {MOST}.")
            return value

    @extend_schema(operation_id="groups_cures", parameters=[Asked], responses=CureList)
    def get(self, request: Request, group_id: int) -> Response:
        """Out of the margin call, back to the initial line, and to a target of your own; nothing while sales run."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id)
        wanted = asked(self.Asked, request)
        state = book.state_of(group, at=asker.at)
        goals = [*goals_of(state), *(Goal(wanted[name]) for name in ("target",) if name in wanted)]
        rows = [] if is_blind(state) or state.is_liquidating else _advised(state, goals)
        return Response(CureList({"rows": rows, "total": len(rows)}).data)


# --- Private ----------------------------------------------------------------------------------------


def _advised(state: GroupState, goals: list[Goal]) -> list[Row]:
    if not state.debts:
        return []
    means = cures.means_of(state, at=state.at)
    state = cures.with_market(state, set(means.position.holdings), at=state.at)
    found = [cures.advise(state, means, goal=goal, at=state.at) for goal in dict.fromkeys(goals)]
    worth = means.position.worth()
    return [_cure(state, advice, is_reached=advice.goal.is_reached(worth)) for advice in found]


def _cure(state: GroupState, advice: Advice, *, is_reached: bool) -> Row:
    return {
        "line": advice.goal.line,
        "strictly_below": advice.goal.strictly_below,
        "is_reached": is_reached,
        "cheapest": None if advice.cheapest is None else _step(state, advice.cheapest),
        "options": [_step(state, option) for option in advice.options],
        "together": [_step(state, option) for option in advice.together],
        "is_enough": advice.is_enough,
    }


def _step(state: GroupState, option: Option) -> Row:
    step, source = option.step, option.source
    return {
        "do": DOES[step.kind],
        "asset": step.asset,
        "amount": step.amount,
        "usd": step.usd,
        "buy": step.buy,
        "got": step.got if step.buy else None,
        "debt": step.loan,
        "source": None if source is None else {"account": source.uid, "wallet": source.wallet},
        "account": option.account,
        "after": standing(step.after, state.lines),
        "reaches": step.reaches,
        "is_possible": option.is_possible,
        "why_not": option.why_not,
    }
