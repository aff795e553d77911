"""The rules by which a group cures itself: list, set, rehearse, remove, and what they did. R-FTR-04"""

from decimal import Decimal
from typing import Any, Final

from django.http import Http404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Asker, Edge
from accounts.api.lists import Paged, listed, page_of
from accounts.api.wire import (
    Amount,
    Body,
    Choice,
    Coin,
    Figure,
    Flag,
    Fraction,
    Instant,
    Nothing,
    Number,
    Uid,
    asked,
    key_of,
    read,
)
from accounts.models import Asset, LedgerAccount
from accounts.money import ONE, exact
from loans import cure_plans, cure_rules
from loans.cure_plans import Rehearsed
from loans.cure_rules import LEAST_COOLING, MOST_COOLING, MOST_RULES
from risk import book, cures, whatif
from risk.api.scope import account_of, group_of
from risk.api.shapes import Row
from risk.book import GroupState
from risk.models import CollateralGroup, CureRule, CureRun

WALLETS: Final = [str(wallet) for wallet in LedgerAccount.WALLETS]


class RuleRow(serializers.Serializer[Any]):
    """A rule in its place; amounts in `asset`, LTVs as fractions. `does` says it in words."""

    id = serializers.IntegerField(source="pk")
    position = serializers.IntegerField()
    kind = serializers.ChoiceField(CureRule.Kind.values)
    asset = serializers.CharField(source="asset_id")
    source_account = serializers.IntegerField(source="source_id", allow_null=True)
    source_wallet = serializers.CharField()
    account = serializers.IntegerField(source="account_id", allow_null=True)
    buy = serializers.CharField(source="buy_id", allow_null=True)
    trigger = Figure()
    target = Figure()
    most_each = Figure(allow_null=True)
    most_daily = Figure(allow_null=True)
    cooling_minutes = serializers.IntegerField()
    is_dry_run = Flag()
    does = serializers.SerializerMethodField()
    set_at = Instant()
    removed_at = Instant(allow_null=True)

    def get_does(self, rule: CureRule) -> str:
        return cure_rules.words(rule)


class NewRule(Body):
    """top_up: source_account, source_wallet, account; repay: nothing more; swap: account, buy.

    From LTV `trigger` on, until LTV is at `target`. `position` unsaid: after the others.
    """

    kind = Choice(CureRule.Kind.values)
    asset = Coin()
    trigger = Fraction()
    target = Fraction()
    source_account = Uid(required=False)
    source_wallet = Choice(WALLETS, required=False)
    account = Uid(required=False)
    buy = Coin(required=False)
    most_each = Amount(required=False)
    most_daily = Amount(required=False)
    cooling_minutes = Number(default=60, min_value=LEAST_COOLING, max_value=MOST_COOLING)
    is_dry_run = Flag(default=False)
    position = Number(required=False, min_value=1, max_value=MOST_RULES)


class RunRow(serializers.Serializer[Any]):
    """What a rule did, would have done, or why it could not."""

    id = serializers.IntegerField(source="pk")
    rule = serializers.IntegerField(source="rule_id")
    outcome = serializers.ChoiceField(CureRun.Outcome.values)
    at = Instant()
    asset = serializers.CharField(source="rule.asset_id")
    amount = Figure(allow_null=True)
    got_amount = Figure(allow_null=True)
    ltv_before = Figure(allow_null=True)
    ltv_after = Figure(allow_null=True)
    why = serializers.CharField()


class RehearsedRule(serializers.Serializer[Any]):
    """What a rule would do after those before it; nothing where `acts` is false, and `why` says why."""

    rule = serializers.IntegerField()
    acts = Flag()
    amount = Figure(allow_null=True)
    ltv_before = Figure(allow_null=True)
    ltv_after = Figure(allow_null=True)
    why = serializers.CharField()


class Rehearsal(serializers.Serializer[Any]):
    """LTV after the move alone, and each rule in its order."""

    ltv = Figure(allow_null=True)
    rules = RehearsedRule(many=True)


class Move(Body):
    """How far all coins that move have fallen: 0.2 is 20 % less; 0 is now."""

    fall = Fraction()

    def validate_fall(self, value: Decimal) -> Decimal:
        if value >= 1:
            raise serializers.ValidationError("A fall is from 0 to below 1.")
        return value


class Rules(Edge):
    @extend_schema(operation_id="cure_rules_list", parameters=[Paged], responses=listed(RuleRow))
    def get(self, request: Request, group_id: int) -> Response:
        """The rules in force, in their order."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id)
        told = asked(Paged, request)
        rows = CureRule.objects.filter(group=group, removed_at__isnull=True)
        rows = rows.select_related("asset", "source", "account", "buy").order_by("position")
        return Response(page_of(rows, told, lambda page: RuleRow(page, many=True).data))

    @extend_schema(operation_id="cure_rules_set", request=NewRule, responses={201: RuleRow})
    def post(self, request: Request, group_id: int) -> Response:
        """Looked at before every valuation from now on. A token may give a top-up only if it may transfer."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id)
        told = read(NewRule, request)
        if told["kind"] == CureRule.Kind.TOP_UP:
            self.require("can_transfer")  # it is a standing order to move coins between accounts
        row = cure_rules.set_rule(
            group_id=group.pk, **_arguments(asker, told), actor=asker.actor, at=asker.at, key=key_of(request)
        )
        return Response(RuleRow(row).data, status=201)


class Rule(Edge):
    @extend_schema(operation_id="cure_rules_remove", request=None, responses={200: RuleRow})
    def delete(self, request: Request, group_id: int, rule_id: int) -> Response:
        """It does nothing more; what it did stays in its log."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id)
        read(Nothing, request)
        if not CureRule.objects.filter(group=group, pk=rule_id).exists():
            raise Http404
        row = cure_rules.remove_rule(
            group_id=group.pk, rule_id=rule_id, actor=asker.actor, at=asker.at, key=key_of(request)
        )
        return Response(RuleRow(row).data)


class Runs(Edge):
    @extend_schema(operation_id="cure_runs_list", parameters=[Paged], responses=listed(RunRow))
    def get(self, request: Request, group_id: int) -> Response:
        """What the group's rules did, newest first, those that were removed included."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id, is_open=False)
        told = asked(Paged, request)
        rows = CureRun.objects.filter(rule__group=group).select_related("rule").order_by("-at", "-pk")
        return Response(page_of(rows, told, lambda page: RunRow(page, many=True).data))


class Rehearse(Edge):
    permission = "can_read"  # it is a question; nothing is done

    @extend_schema(operation_id="cure_rules_rehearse", request=Move, responses={200: Rehearsal})
    def post(self, request: Request, group_id: int) -> Response:
        """What the rules would do, one after the other, after a common fall."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id)
        fall = read(Move, request)["fall"]
        then = _fallen(group, fall, asker)
        found = cure_plans.rehearse(cure_rules.live_rules(group), then, at=asker.at)
        told = {"ltv": then.worth(permission=False).ltv, "rules": [_rehearsed(one) for one in found]}
        return Response(Rehearsal(told).data)


# --- Private ----------------------------------------------------------------------------------------


def _arguments(asker: Asker, told: Row) -> Row:
    """As `cure_rules.set_rule` takes them.

    Raises:
        Http404: an account that is not the customer's.
        ValidationError: a cap with more decimals than its coin has.
    """
    names = ("kind", "asset", "trigger", "target", "cooling_minutes", "is_dry_run")
    found = {name: told[name] for name in names}
    found |= {name: told[name] for name in ("source_wallet", "buy", "position") if name in told}
    caps = {name: told[name] for name in ("most_each", "most_daily") if name in told}
    places = Asset.objects.get(pk=told["asset"]).places
    wrong = [name for name, cap in caps.items() if -cap.normalize().as_tuple().exponent > places]
    if wrong:
        raise serializers.ValidationError({name: [f"At most {places} decimals."] for name in wrong})
    uids = {"source_uid": "source_account", "account_uid": "account"}
    found |= {to: account_of(asker, told[name]).pk for to, name in uids.items() if name in told}
    return found | caps


@exact
def _fallen(group: CollateralGroup, fall: Decimal, asker: Asker) -> GroupState:
    state = book.state_of(group, at=asker.at)
    held = {wallet.asset for wallet in state.wallets if wallet.balance > 0}
    state = cures.with_market(state, held, at=asker.at)
    new = {
        coin: quote.price * (ONE - fall)
        for coin, quote in state.quotes.items()
        if fall and state.assets[coin].kind == Asset.Kind.CRYPTO
    }
    return whatif.with_prices(state, new, at=asker.at)


def _rehearsed(one: Rehearsed) -> Row:
    return {
        "rule": one.rule.pk,
        "acts": one.plan is not None,
        "amount": one.plan.amount if one.plan else None,
        "ltv_before": one.plan.before if one.plan else None,
        "ltv_after": one.plan.after if one.plan else None,
        "why": one.why,
    }
