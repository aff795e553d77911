"""The histories as JSON: the same rows as the pages and files show. R-GEN-90…93, R-GEN-95"""

from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Edge
from accounts.api.lists import Paged, listed
from accounts.api.wire import Coin, Figure, Instant, Uid, asked
from loans import histories
from loans.histories import Asked, BadPeriod, Income, Part, Scope
from loans.lifecycle import LoanStatus
from risk.api.shapes import usd
from risk.models import Liquidation


class AskedId(Uid):
    """An id in a query, where everything is text."""

    def to_internal_value(self, data: Any) -> int:
        is_number = isinstance(data, str) and data.isascii() and data.isdigit() and len(data) <= 16
        return super().to_internal_value(int(data) if is_number else data)


class Dated(Paged):
    """(since, until]: the charge of a day is booked at the midnight that ends it. Unsaid: the last 90 days."""

    since = Instant(required=False)
    until = Instant(required=False)
    asset = Coin(required=False)
    account = AskedId(required=False)
    loan = AskedId(required=False)


class RepaymentRow(serializers.Serializer[Any]):
    """What one payment took off a debt. Failed: what should have been paid at expiry and could not (`note`)."""

    loan = serializers.IntegerField(source="loan.pk")
    asset = serializers.CharField(source="asset.pk")
    at = Instant()
    status = serializers.CharField()
    total = Figure()
    principal = Figure()
    interest = Figure()
    late_fee = Figure()
    way = serializers.CharField()
    note = serializers.CharField()


class InterestRow(serializers.Serializer[Any]):
    """One charge. `runs_as` is the order that the loan is now, after renewals (R-VIP-42)."""

    loan = serializers.IntegerField(source="loan.pk")
    runs_as = serializers.IntegerField(source="latest")
    asset = serializers.CharField(source="asset.pk")
    at = Instant()
    period_start = Instant(allow_null=True)
    period_end = Instant(allow_null=True)
    principal = Figure(source="basis", allow_null=True)
    annual_rate = Figure(allow_null=True)
    interest = Figure()
    late_fee = Figure()
    formula = serializers.CharField()


class FlowRow(serializers.Serializer[Any]):
    """Everything that came, went or was charged, by type of income. R-GEN-93"""

    type = serializers.ChoiceField([one.value for one in Income])
    at = Instant()
    asset = serializers.CharField()
    amount = Figure()
    group = serializers.IntegerField()
    loan = serializers.IntegerField(allow_null=True)
    account = serializers.IntegerField(allow_null=True)
    liquidation = serializers.IntegerField(allow_null=True)
    note = serializers.CharField()


class LiquidationRow(serializers.Serializer[Any]):
    """A forced sale, or a step of a chosen de-leveraging (cause soft)."""

    id = serializers.IntegerField(source="pk")
    group = serializers.IntegerField(source="group_id")
    cause = serializers.ChoiceField(Liquidation.Cause.values)
    status = serializers.ChoiceField(Liquidation.Status.values)
    ltv = Figure(allow_null=True)
    end_ltv = Figure(allow_null=True)
    debt_usd = usd(source="debt_value")
    sold_usd = usd()
    fee_usd = usd()
    shortfall_usd = usd()
    started_at = Instant()
    ended_at = Instant(allow_null=True)


class EffectOnGroup(serializers.Serializer[Any]):
    group = serializers.IntegerField()
    direction = serializers.ChoiceField(["ADDITIONAL", "REDUCED", "CHANGED"])
    ltv_before = Figure(allow_null=True)
    ltv_after = Figure(allow_null=True)


class AdjustmentRow(serializers.Serializer[Any]):
    """Coins in and out, trades, accounts joining and leaving, and what that did to each group."""

    at = Instant()
    what = serializers.CharField()
    amount = Figure(allow_null=True)
    asset = serializers.CharField()
    got_amount = Figure(allow_null=True)
    got_asset = serializers.CharField()
    accounts = serializers.ListField(child=serializers.IntegerField())
    effects = EffectOnGroup(many=True)


class OrderRow(serializers.Serializer[Any]):
    """One order as it stands. `rate` null: flexible, and `annual_rate` is today's. R-GEN-91"""

    loan = serializers.IntegerField(source="loan.pk")
    asset = serializers.CharField(source="loan.asset_id")
    group = serializers.IntegerField(source="loan.group_id")
    status = serializers.CharField(source="public_status")
    state = serializers.ChoiceField([one.value for one in LoanStatus], source="row.status.value")
    amount = Figure(source="loan.amount")
    total_debt = Figure()
    residual_interest = Figure()
    rate = Figure(allow_null=True)
    annual_rate = Figure()
    ltv = Figure(allow_null=True)
    collateral_usd = usd(source="collateral_value")
    locked_usd = usd(source="locked_value")
    collateral_accounts = serializers.ListField(child=serializers.IntegerField())
    collateral_coins = serializers.ListField(child=serializers.CharField())
    drawn_at = Instant(source="loan_date")
    term_days = serializers.IntegerField(allow_null=True)
    expires_at = Instant(allow_null=True)


Reader = Callable[[Scope, Asked, datetime], Part[Any]]


class History(Edge):
    """One list. Somebody who acts for one account gets the rows of that account only. R-GEN-95"""

    row: ClassVar[type[serializers.Serializer[Any]]]
    most_days = histories.MOST_DAYS

    def found(self, request: Request, read: Reader) -> Response:
        asker, told = self.asker(), asked(Dated, request)
        try:
            since, until = histories.period(
                since=told.get("since"), until=told.get("until"), at=asker.at, most_days=self.most_days
            )
        except BadPeriod as refusal:
            raise serializers.ValidationError({"since": [refusal.message]}) from None
        wanted = Asked(
            since=since,
            until=until,
            coin=told.get("asset", ""),
            account=told.get("account"),
            loan=told.get("loan"),
            page=told["page"],
            size=told["size"],
        )
        found = read(Scope(asker.customer, asker.only), wanted, asker.at)
        return Response({"rows": self.row(found.rows, many=True).data, "total": found.total})


class Repayments(History):
    row = RepaymentRow

    @extend_schema(operation_id="histories_repayments", parameters=[Dated], responses=listed(RepaymentRow))
    def get(self, request: Request) -> Response:
        """What reduced the debts, newest first."""
        return self.found(request, lambda scope, wanted, at: histories.repayments(scope, wanted))


class Interest(History):
    row = InterestRow
    most_days = histories.MOST_INTEREST_DAYS

    @extend_schema(operation_id="histories_interest", parameters=[Dated], responses=listed(InterestRow))
    def get(self, request: Request) -> Response:
        """One row per charge, newest first."""
        return self.found(request, lambda scope, wanted, at: histories.interest(scope, wanted))


class Flows(History):
    row = FlowRow

    @extend_schema(operation_id="histories_flows", parameters=[Dated], responses=listed(FlowRow))
    def get(self, request: Request) -> Response:
        """Everything by type of income, newest first."""
        return self.found(request, lambda scope, wanted, at: histories.flows(scope, wanted))


class Liquidations(History):
    row = LiquidationRow

    @extend_schema(
        operation_id="histories_liquidations", parameters=[Dated], responses=listed(LiquidationRow)
    )
    def get(self, request: Request) -> Response:
        """Forced sales and chosen steps, newest first."""
        return self.found(request, lambda scope, wanted, at: histories.liquidations(scope, wanted))


class Adjustments(History):
    row = AdjustmentRow

    @extend_schema(operation_id="histories_adjustments", parameters=[Dated], responses=listed(AdjustmentRow))
    def get(self, request: Request) -> Response:
        """What changed LTV by the collateral, newest first."""
        return self.found(request, lambda scope, wanted, at: histories.adjustments(scope, wanted))


class Orders(History):
    row = OrderRow

    @extend_schema(operation_id="histories_orders", parameters=[Dated], responses=listed(OrderRow))
    def get(self, request: Request) -> Response:
        """Every order drawn in the time asked for, newest first."""
        return self.found(request, lambda scope, wanted, at: histories.orders(scope, wanted, at=at))
