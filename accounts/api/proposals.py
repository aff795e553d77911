"""What waits for a firm's second person, to be followed by the program that proposed it (R-ADM-09).

Releasing and refusing is for people, on their page: a program that could would make two persons one.
"""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts import inbox
from accounts.api.edge import Asker, Edge
from accounts.api.lists import Paged, page_of
from accounts.api.wire import Instant, Query, asked
from accounts.models import Approval


class ProposalOut(serializers.Serializer[Any]):
    """`result` names what it made once it was released, such as `loans.application:12`."""

    id = serializers.IntegerField()
    reference = serializers.CharField()
    command = serializers.CharField()
    title = serializers.CharField()
    status = serializers.CharField()
    proposed_by = serializers.CharField()
    proposed_at = Instant()
    expires_at = Instant()
    decided_by = serializers.CharField(allow_null=True)
    decided_at = Instant(allow_null=True)
    decision_reason = serializers.CharField()
    result = serializers.CharField()


class ProposalPage(serializers.Serializer[Any]):
    rows = ProposalOut(many=True)
    total = serializers.IntegerField()


class Proposals(Edge):
    class Filter(Paged):
        pass

    @extend_schema(
        operation_id="proposals_list", parameters=[Filter], responses=ProposalPage, tags=["proposals"]
    )
    def get(self, request: Request) -> Response:
        """What your firm's people proposed to each other, newest first."""
        told, rows = asked(self.Filter, request), _seen_by(self.asker())
        page = page_of(rows.order_by("-proposed_at", "-pk"), told, lambda page: map(_told, page))
        return Response(ProposalPage(page).data)


class OneProposal(Edge):
    @extend_schema(operation_id="proposals_read", responses=ProposalOut, tags=["proposals"])
    def get(self, request: Request, approval_id: int) -> Response:
        """One of them: whether it is released, and what it made."""
        asked(Query, request)
        row = get_object_or_404(_seen_by(self.asker()), pk=approval_id)
        return Response(ProposalOut(_told(row)).data)


def _seen_by(asker: Asker) -> QuerySet[Approval]:
    """Who asks for one account sees what they proposed for it themselves. R-GEN-95"""
    rows = inbox.visible_to(asker.user).filter(customer=asker.customer)
    if asker.only is not None:
        rows = rows.filter(proposed_by=asker.user, payload__account_uid=asker.only.pk)
    return rows.select_related("proposed_by", "decided_by")


def _told(row: Approval) -> dict[str, Any]:
    names = ("command", "title", "status", "proposed_at", "expires_at", "decided_at", "decision_reason")
    return {name: getattr(row, name) for name in names} | {
        "id": row.pk,
        "reference": str(row),
        "proposed_by": row.proposed_by.name,
        "decided_by": None if row.decided_by is None else row.decided_by.name,
        "result": row.result,
    }
