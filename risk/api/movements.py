"""Movements of coins: what there was, transfers between own wallets, and withdrawals; all through the gate. R-VIP-52"""

from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Asker, Edge
from accounts.api.lists import Paged, listed, page_of
from accounts.api.second import WAITS, put_up
from accounts.api.wire import (
    Amount,
    Body,
    Choice,
    Coin,
    Figure,
    Instant,
    Line,
    Uid,
    asked,
    key_of,
    plain,
    read,
)
from accounts.commands import NeedsApproval
from accounts.errors import Refused
from accounts.models import LedgerAccount
from risk import gate
from risk.api.scope import account_of
from risk.api.shapes import Row
from risk.models import Movement
from risk.pages.movements import NOT_TOLD, TELLS_LTV

WALLETS: Final = [str(wallet) for wallet in LedgerAccount.WALLETS]
SPOT: Final = str(LedgerAccount.Kind.SPOT)


class MovementRow(serializers.Serializer[Any]):
    """A movement that passed the gate. LTV before and after is of the group it touched; null where none, or untold.

    `got` is what a trade bought.
    """

    id = serializers.IntegerField()
    kind = serializers.ChoiceField(Movement.Kind.values)
    at = Instant()
    asset = serializers.CharField()
    amount = Figure()
    got_asset = serializers.CharField()
    got_amount = Figure(allow_null=True)
    account = serializers.IntegerField(allow_null=True)
    wallet = serializers.CharField()
    target = serializers.IntegerField(allow_null=True)
    target_wallet = serializers.CharField()
    address = serializers.CharField()
    ltv_before = Figure(allow_null=True)
    ltv_after = Figure(allow_null=True)


class NewTransfer(Body):
    """Between two wallets of the customer's own accounts; a wallet is Spot unless said."""

    account = Uid()
    wallet = Choice(WALLETS, default=SPOT)
    target = Uid()
    target_wallet = Choice(WALLETS, default=SPOT)
    asset = Coin()
    amount = Amount()


class NewWithdrawal(Body):
    account = Uid()
    wallet = Choice(WALLETS, default=SPOT)
    asset = Coin()
    amount = Amount()
    address = Line(max_length=120)


class Movements(Edge):
    class Asked(Paged):
        kind = Choice(Movement.Kind.values, required=False)
        asset = Coin(required=False)

    @extend_schema(operation_id="movements_list", parameters=[Asked], responses=listed(MovementRow))
    def get(self, request: Request) -> Response:
        """Deposits, withdrawals, transfers and trades, newest first."""
        asker, wanted = self.asker(), asked(self.Asked, request)
        rows = Movement.objects.filter(
            customer=asker.customer, **{name: wanted[name] for name in ("kind", "asset") if name in wanted}
        )
        if asker.only is not None:
            rows = rows.filter(source=asker.only) | rows.filter(target=asker.only)
        rows = rows.order_by("-at", "-pk")
        return Response(
            page_of(rows, wanted, lambda page: [MovementRow(_row(row, asker)).data for row in page])
        )


class Transfers(Edge):
    permission = "can_transfer"

    @extend_schema(operation_id="transfers_make", request=NewTransfer, responses={201: MovementRow})
    def post(self, request: Request) -> Response:
        """Move coins between own wallets. Out of an account that secures a loan only as its LTV allows."""
        asker, told = self.asker(), read(NewTransfer, request)
        source, target = account_of(asker, told["account"]), account_of(asker, told["target"])
        try:
            row = gate.transfer(
                source_uid=source.pk,
                source_wallet=told["wallet"],
                target_uid=target.pk,
                target_wallet=told["target_wallet"],
                asset=told["asset"],
                amount=told["amount"],
                actor=asker.actor,
                at=asker.at,
                key=key_of(request),
            )
        except Refused as refusal:
            raise _as_told(asker, refusal) from None
        return Response(MovementRow(_row(row, asker)).data, status=201)


class Withdrawals(Edge):
    permission = "can_withdraw"

    @extend_schema(
        operation_id="withdrawals_make", request=NewWithdrawal, responses={201: MovementRow, **WAITS}
    )
    def post(self, request: Request) -> Response:
        """Send coins outside. A firm may keep this for two of its people: then it waits (202)."""
        asker, told = self.asker(), read(NewWithdrawal, request)
        source, key = account_of(asker, told["account"]), key_of(request)
        arguments = {
            "account_uid": source.pk,
            "asset": told["asset"],
            "amount": told["amount"],
            "wallet": told["wallet"],
            "address": told["address"],
        }
        try:
            row = gate.withdraw(**arguments, actor=asker.actor, at=asker.at, key=key)
        except NeedsApproval:
            return self._put_up(asker, arguments, source=str(source), key=key)
        except Refused as refusal:
            raise _as_told(asker, refusal) from None
        return Response(MovementRow(_row(row, asker)).data, status=201)

    def _put_up(self, asker: Asker, arguments: Row, *, source: str, key: str) -> Response:
        amount = f"{plain(arguments['amount'])} {arguments['asset']}"
        wallet = LedgerAccount.Kind(arguments["wallet"]).label
        facts = {"Amount": amount, "From": f"{source}, {wallet}", "To address": arguments["address"]}
        try:
            return put_up(
                asker,
                command="gate.withdraw",
                arguments=arguments,
                title=f"Withdraw {amount}",
                facts=facts,
                key=key,
            )
        except Refused as refusal:
            raise _as_told(asker, refusal) from None


# --- Private ----------------------------------------------------------------------------------------


def _row(row: Movement, asker: Asker) -> Row:
    """Who acts for one account sees its coins, and nothing of the loan that it secures. R-GEN-95"""
    tells = asker.only is None
    return {
        "id": row.pk,
        "kind": row.kind,
        "at": row.at,
        "asset": row.asset_id,
        "amount": row.amount,
        "got_asset": row.got_asset_id or "",
        "got_amount": row.got_amount,
        "account": row.source_id,
        "wallet": row.source_wallet,
        "target": row.target_id,
        "target_wallet": row.target_wallet,
        "address": row.address,
        "ltv_before": row.ltv_before if tells else None,
        "ltv_after": row.ltv_after if tells else None,
    }


def _as_told(asker: Asker, refusal: Refused) -> Refused:
    if asker.only is not None and refusal.code in TELLS_LTV:
        refusal.message = NOT_TOLD
    return refusal
