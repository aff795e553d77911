"""A borrower's own early warning lines of a group: see, set, remove. R-GEN-63"""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Edge
from accounts.api.wire import Body, Coin, Figure, Fraction, Instant, Nothing, Query, asked, key_of, read
from risk import early_warnings, parameters
from risk.api.scope import group_of
from risk.models import WarningLine


class WarningRow(serializers.Serializer[Any]):
    """`asset`: only while the group holds it; null: always. `crossed_at`: told, and not clearly left since."""

    id = serializers.IntegerField(source="pk")
    ltv = Figure()
    asset = serializers.CharField(source="asset_id", allow_null=True)
    set_at = Instant()
    crossed_at = Instant(allow_null=True)
    removed_at = Instant(allow_null=True)


class WarningList(serializers.Serializer[Any]):
    """`ladder`: the lines at which the desk warns everybody. R-GEN-64"""

    rows = WarningRow(many=True)
    total = serializers.IntegerField()
    ladder = serializers.ListField(child=Figure())


class NewLine(Body):
    ltv = Fraction()
    asset = Coin(required=False)


class Warnings(Edge):
    @extend_schema(operation_id="warnings_list", responses=WarningList)
    def get(self, request: Request, group_id: int) -> Response:
        """Your own lines of the group, lowest first, and the desk's."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id)
        asked(Query, request)
        rows = early_warnings.own_lines(group)
        ladder = early_warnings.ladder(parameters.settings_at(asker.at))
        return Response(WarningList({"rows": rows, "total": len(rows), "ladder": ladder}).data)

    @extend_schema(operation_id="warnings_set", request=NewLine, responses={201: WarningRow})
    def post(self, request: Request, group_id: int) -> Response:
        """Be told each time LTV rises to this line."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id)
        told = read(NewLine, request)
        row = early_warnings.set_line(
            group_id=group.pk,
            ltv=told["ltv"],
            asset=told.get("asset"),
            actor=asker.actor,
            at=asker.at,
            key=key_of(request),
        )
        return Response(WarningRow(row).data, status=201)


class Warning(Edge):
    @extend_schema(operation_id="warnings_remove", request=None, responses={200: WarningRow})
    def delete(self, request: Request, group_id: int, line_id: int) -> Response:
        """Be told there no more."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id)
        read(Nothing, request)
        mine = WarningLine.objects.exclude(early_warnings.LADDER).filter(group=group, pk=line_id)
        if not mine.exists():
            raise Http404
        row = early_warnings.remove_line(
            group_id=group.pk, line_id=line_id, actor=asker.actor, at=asker.at, key=key_of(request)
        )
        return Response(WarningRow(row).data)
