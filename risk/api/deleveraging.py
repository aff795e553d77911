"""Chosen de-leveraging of a group: what stands, its bounds, what it would sell at which LTV, and its end. R-FTR-05"""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Edge
from accounts.api.wire import Body, Figure, Flag, Fraction, Instant, Nothing, Query, asked, key_of, read
from risk import book, deleveraging, parameters, soft_plan
from risk.api.scope import group_of
from risk.api.shapes import CoinAmount, Row, usd
from risk.book import GroupState
from risk.models import Settings
from risk.pages.soft import bounds_of
from risk.soft_plan import Choice


class NewChoice(Body):
    """Fractions: the LTV to begin at, the LTV never to sell below, and the most of the debt that one step repays."""

    start = Fraction()
    target = Fraction()
    step_share = Fraction()


class Chosen(serializers.Serializer[Any]):
    id = serializers.IntegerField(source="pk")
    start = Figure()
    target = Figure()
    step_share = Figure()
    set_at = Instant()
    removed_at = Instant(allow_null=True)


class Bounds(serializers.Serializer[Any]):
    """Where each figure may be; `has_room` false: these lines leave no room for it."""

    start_least = Figure()
    start_most = Figure()
    target_least = Figure()
    share_least = Figure()
    share_most = Figure()
    has_room = Flag()


class PlannedStep(serializers.Serializer[Any]):
    """One step at one LTV. `fall`: by how much the coins that move must have fallen until then; 0 is now."""

    fall = Figure()
    ltv = Figure(allow_null=True)
    ltv_after = Figure(allow_null=True)
    repaid_usd = usd()
    fee_usd = usd()
    sold_usd = usd()
    sold = CoinAmount(many=True)


class DeleveragingState(serializers.Serializer[Any]):
    """`plan` is of what stands; `fee` is a share of what a step repays."""

    chosen = Chosen(allow_null=True)
    bounds = Bounds()
    fee = Figure()
    rest_seconds = serializers.IntegerField()
    plan = PlannedStep(many=True)


class PlanList(serializers.Serializer[Any]):
    rows = PlannedStep(many=True)
    total = serializers.IntegerField()


class Deleveraging(Edge):
    @extend_schema(operation_id="deleveraging_read", responses=DeleveragingState)
    def get(self, request: Request, group_id: int) -> Response:
        """What stands, where each figure may be, and what it would sell at which LTV."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id)
        asked(Query, request)
        state, settings = book.state_of(group, at=asker.at), parameters.settings_at(asker.at)
        row = deleveraging.live_of([group]).get(group.pk)
        told = {
            "chosen": row,
            "bounds": bounds_of(state, settings),
            "fee": soft_plan.fee_of(state, settings),
            "rest_seconds": settings.soft_step_seconds,
            "plan": [] if row is None else _plan(state, deleveraging.choice_of(row), settings),
        }
        return Response(DeleveragingState(told).data)

    @extend_schema(operation_id="deleveraging_choose", request=NewChoice, responses={201: Chosen})
    def post(self, request: Request, group_id: int) -> Response:
        """From now on, sell a little whenever LTV is at the start or more; replaces what was chosen before."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id)
        told = read(NewChoice, request)
        row = deleveraging.choose(
            group_id=group.pk, **told, actor=asker.actor, at=asker.at, key=key_of(request)
        )
        return Response(Chosen(row).data, status=201)

    @extend_schema(operation_id="deleveraging_end", request=None, responses={200: Chosen})
    def delete(self, request: Request, group_id: int) -> Response:
        """From now on nothing is sold before the liquidation line."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id)
        read(Nothing, request)
        row = deleveraging.end(group_id=group.pk, actor=asker.actor, at=asker.at, key=key_of(request))
        return Response(Chosen(row).data)


class DeleveragingPlan(Edge):
    permission = "can_read"  # it is a question; nothing is chosen

    @extend_schema(operation_id="deleveraging_plan", request=NewChoice, responses={200: PlanList})
    def post(self, request: Request, group_id: int) -> Response:
        """What such a choice would sell at which LTV, or why it cannot be chosen."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id)
        choice = Choice(**read(NewChoice, request))
        state, settings = book.state_of(group, at=asker.at), parameters.settings_at(asker.at)
        deleveraging.refuse_bad_choice(state, choice, settings=settings)
        rows = _plan(state, choice, settings)
        return Response(PlanList({"rows": rows, "total": len(rows)}).data)


def _plan(state: GroupState, choice: Choice, settings: Settings) -> list[Row]:
    return [
        {
            "fall": row.fall,
            "ltv": row.step.ltv,
            "ltv_after": row.step.ltv_after,
            "repaid_usd": row.step.repaid_usd,
            "fee_usd": row.step.fee_usd,
            "sold_usd": row.step.sold_usd,
            "sold": [{"asset": asset.pk, "amount": amount} for asset, amount in row.sold],
        }
        for row in soft_plan.table(state, choice, settings=settings)
    ]
