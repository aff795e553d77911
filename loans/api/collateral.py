"""Add or remove a collateral account of a group. R-VIP-55, R-GEN-13

It stands in `loans` because how many accounts a group may have is a term of the product.
"""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Edge
from accounts.api.second import WAITS, put_up
from accounts.api.wire import Body, Choice, Figure, Flag, Instant, Nothing, Uid, key_of, read
from accounts.commands import NeedsApproval
from accounts.models import Account
from loans import ratecards
from risk import groups, pledges
from risk.api.scope import account_of, group_of
from risk.models import CollateralGroup


class MemberRow(serializers.Serializer[Any]):
    """An account's time in a group."""

    group = serializers.IntegerField(source="group_id")
    account = serializers.IntegerField(source="account_id")
    since = Instant()
    released_at = Instant(allow_null=True)


class Effect(serializers.Serializer[Any]):
    """What it would do to LTV, and why it may not happen, if it may not."""

    allowed = Flag()
    reason = serializers.CharField()
    ltv_before = Figure(allow_null=True)
    ltv_after = Figure(allow_null=True)


class NewMember(Body):
    account = Uid()


class WhichChange(Body):
    account = Uid()
    do = Choice(["add", "remove"])


class Members(Edge):
    @extend_schema(operation_id="members_add", request=NewMember, responses={201: MemberRow})
    def post(self, request: Request, group_id: int) -> Response:
        """One more account secures the group: what lies in its Spot wallet counts, in the chosen coins."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id)
        account = account_of(asker, read(NewMember, request)["account"])
        row = groups.add_account(
            group_id=group.pk,
            uid=account.pk,
            max_accounts=_most(group, asker.at),
            actor=asker.actor,
            at=asker.at,
            key=key_of(request),
        )
        return Response(MemberRow(row).data, status=201)


class MembersCheck(Edge):
    permission = "can_read"  # it is a question; nothing is done

    @extend_schema(operation_id="members_check", request=WhichChange, responses={200: Effect})
    def post(self, request: Request, group_id: int) -> Response:
        """What adding or removing the account would do now."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id)
        told = read(WhichChange, request)
        account = account_of(asker, told["account"])
        if told["do"] == "remove":
            found = pledges.preview_remove(group=group, uid=account.pk, at=asker.at)
        else:
            most = _most(group, asker.at)
            found = pledges.preview_add(group=group, account=account, max_accounts=most, at=asker.at)
        return Response(Effect(found).data)


class Member(Edge):
    @extend_schema(operation_id="members_remove", request=None, responses={200: MemberRow, **WAITS})
    def delete(self, request: Request, group_id: int, uid: int) -> Response:
        """Take the account out; LTV stays at or below initial. A firm may keep this for two of its people (202)."""
        asker = self.asker(whole=True)
        group, account, key = group_of(asker, group_id), account_of(asker, uid), key_of(request)
        read(Nothing, request)
        arguments: dict[str, Any] = {"group_id": group.pk, "uid": account.pk}
        try:
            row = groups.remove_account(**arguments, actor=asker.actor, at=asker.at, key=key)
        except NeedsApproval:
            return put_up(
                asker,
                command="groups.remove_account",
                arguments=arguments,
                title=f"Take {account} out of the collateral",
                facts=_facts(group, account),
                key=key,
            )
        return Response(MemberRow(row).data)


def _most(group: CollateralGroup, at: Any) -> int:
    most: int = ratecards.product_at(group.product, at=at).max_accounts
    return most


def _facts(group: CollateralGroup, account: Account) -> dict[str, str]:
    return {"Loan group": group.name, "Account": str(account)}
