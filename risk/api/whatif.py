"""What if: changes of prices, ratios, coins and debts on paper, and what the desk would say to each. R-FTR-01"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Edge
from accounts.api.wire import Amount, Body, Choice, Coin, Figure, Flag, Fraction, Uid, read
from accounts.models import Asset
from accounts.money import round_down
from risk import book, prices, prospects, valuation, whatif
from risk.api.groups import is_blind
from risk.api.scope import group_of
from risk.api.shapes import Row, Standing, standing
from risk.book import GroupState
from risk.valuation import Tiers
from risk.whatif import Answer, Borrowing, Change, Changes, Repayment, TopUp, Trade, WhatIf, Withdrawal

MOST_STEPS: Final = 20
MOST_COINS: Final = 50
MOST_TIERS: Final = 20
NEEDS: Final[Mapping[str, frozenset[str]]] = {
    "deposit": frozenset({"account", "asset"}),
    "repay": frozenset({"debt"}),
    "trade": frozenset({"account", "asset", "buy"}),
    "withdraw": frozenset({"account", "asset"}),
    "borrow": frozenset({"asset"}),
}
"""Which fields each kind of step has, besides its amount."""


class Step(Body):
    """One change. deposit, withdraw: account, asset; trade: with buy; repay: debt; borrow: asset; and an amount."""

    do = Choice(sorted(NEEDS))
    amount = Amount()
    account = Uid(required=False)
    asset = Coin(required=False)
    buy = Coin(required=False)
    debt = Uid(required=False)

    def validate(self, attrs: Row) -> Row:
        sent, needs = set(attrs) - {"do", "amount"}, NEEDS[attrs["do"]]
        wrong = {name: ["Say this too."] for name in needs - sent}
        wrong |= {name: [f"A step that is to {attrs['do']} has no such field."] for name in sent - needs}
        if wrong:
            raise serializers.ValidationError(wrong)
        return attrs


class NewPrice(Body):
    asset = Coin()
    usd = Amount()


class NewTier(Body):
    floor = Fraction()
    ratio = Fraction()


class NewRatios(Body):
    """A coin's ratios by market value in USD, instead of those in force; the first floor is 0."""

    asset = Coin()
    tiers = NewTier(many=True, allow_empty=False, max_length=MOST_TIERS)  # type: ignore[call-arg]  # the list's


class Question(Body):
    """The market moves first, then the steps follow in their order."""

    prices = NewPrice(many=True, required=False, max_length=MOST_COINS)  # type: ignore[call-arg]
    ratios = NewRatios(many=True, required=False, max_length=MOST_COINS)  # type: ignore[call-arg]
    steps = Step(many=True, required=False, max_length=MOST_STEPS)  # type: ignore[call-arg]


class StepAnswer(serializers.Serializer[Any]):
    """What the desk would say; `to_confirm`: it would ask first whether the LTV was seen (R-VIP-54)."""

    do = serializers.CharField()
    allowed = Flag()
    code = serializers.CharField()
    reason = serializers.CharField()
    to_confirm = Flag()
    got = Figure(allow_null=True)


class CoinFigures(serializers.Serializer[Any]):
    """What a coin allows afterwards, and at which of its prices the group would reach a line."""

    asset = serializers.CharField()
    price_usd = Figure()
    held = Figure()
    owed = Figure()
    most_borrow = Figure(allow_null=True)
    most_withdraw = Figure(allow_null=True)
    call_price = Figure(allow_null=True)
    liquidation_price = Figure(allow_null=True)


class Foreseen(serializers.Serializer[Any]):
    """What the watch would do with the group if it found it so."""

    fate = serializers.ChoiceField([fate.value for fate in prospects.Fate])
    words = serializers.CharField()


class WhatIfAnswer(serializers.Serializer[Any]):
    """The group now, as the market alone would leave it, and after all; what was answered and what would follow."""

    before = Standing()
    market = Standing()
    after = Standing()
    answers = StepAnswer(many=True)
    foreseen = Foreseen()
    coins = CoinFigures(many=True)


EXAMPLE: Final = OpenApiExample(
    "BTC falls, then some is added",
    value={
        "prices": [{"asset": "BTC", "usd": "48000"}],
        "steps": [{"do": "deposit", "account": 20001, "asset": "BTC", "amount": "2"}],
    },
    request_only=True,
)


class WhatIfEdge(Edge):
    permission = "can_read"  # it is a question; nothing is done

    @extend_schema(
        operation_id="groups_what_if",
        request=Question,
        responses={200: WhatIfAnswer},
        examples=[EXAMPLE],
    )
    def post(self, request: Request, group_id: int) -> Response:
        """What the group would be after these changes. Nothing is done, and nothing is kept."""
        asker = self.asker(whole=True)
        group = group_of(asker, group_id)
        told = read(Question, request)
        state = book.state_of(group, at=asker.at)
        found = whatif.ask(state, _changes(told, state), at=asker.at)
        return Response(WhatIfAnswer(_told(found)).data)


# --- Private ----------------------------------------------------------------------------------------


def _changes(told: Row, state: GroupState) -> Changes:
    """The question as the chapter takes it.

    Raises:
        ValidationError: a coin has no price, an amount too many decimals, or tiers that mean nothing.
    """
    steps = told.get("steps", [])
    for name in ("prices", "ratios"):
        coins = [row["asset"] for row in told.get(name, [])]
        if len(set(coins)) < len(coins):
            raise serializers.ValidationError({name: ["Name each coin once."]})
    new = {row["asset"]: row["usd"] for row in told.get("prices", [])}
    ratios = {row["asset"]: _tiers(row["tiers"]) for row in told.get("ratios", [])}
    named = {*new, *ratios, *(row[name] for row in steps for name in ("asset", "buy") if name in row)}
    unpriced = sorted(named - set(prices.latest(at=state.at, assets=named)))
    if unpriced:
        raise serializers.ValidationError({"body": [f"{', '.join(unpriced)}: there is no price of it here."]})
    places = {asset.pk: asset.places for asset in Asset.objects.filter(pk__in=named)}
    places |= {asset.pk: asset.places for asset in state.assets.values()}
    owed = {row.debt.pk: row.debt.asset_id for row in state.debts}
    for row in steps:
        coin = row.get("asset") or owed.get(row.get("debt", 0), "")
        if coin and round_down(row["amount"], places[coin]) != row["amount"]:
            raise serializers.ValidationError({"steps": [f"{coin} has at most {places[coin]} decimals."]})
    return Changes(prices=new, ratios=ratios, steps=tuple(_steps(steps)))


def _tiers(rows: Iterable[Mapping[str, Decimal]]) -> Tiers:
    found = tuple(valuation.Tier(row["floor"], row["ratio"]) for row in rows)
    try:
        valuation.check_tiers(found)
    except ValueError as error:
        raise serializers.ValidationError({"ratios": [str(error)]}) from None
    return found


def _steps(rows: Iterable[Row]) -> Iterable[Change]:
    for row in rows:
        match row["do"]:
            case "deposit":
                yield TopUp(row["account"], row["asset"], row["amount"])
            case "repay":
                yield Repayment(row["debt"], row["amount"])
            case "trade":
                yield Trade(row["account"], row["asset"], row["amount"], row["buy"])
            case "withdraw":
                yield Withdrawal(row["account"], row["asset"], row["amount"])
            case "borrow":
                yield Borrowing(row["asset"], row["amount"])


_NAMES: Final[Mapping[type[Any], str]] = {
    TopUp: "deposit",
    Repayment: "repay",
    Trade: "trade",
    Withdrawal: "withdraw",
    Borrowing: "borrow",
}


def _told(found: WhatIf) -> Row:
    return {
        "before": _stands(found.before),
        "market": _stands(found.market),
        "after": _stands(found.after),
        "answers": [_answer(answer) for answer in found.answers],
        "foreseen": found.foreseen,
        "coins": [_figures(row) for row in prospects.figures(found.after, at=found.after.at)],
    }


def _stands(state: GroupState) -> Row:
    told = standing(state.worth(permission=False), state.lines)
    return told | ({"ltv": None} if is_blind(state) else {})


def _answer(answer: Answer) -> Row:
    return {
        "do": _NAMES[type(answer.change)],
        "allowed": answer.allowed,
        "code": answer.code,
        "reason": answer.reason,
        "to_confirm": answer.to_confirm,
        "got": answer.got,
    }


def _figures(row: prospects.CoinFigures) -> Row:
    return {
        "asset": row.asset.pk,
        "price_usd": row.price,
        "held": row.held,
        "owed": row.owed,
        "most_borrow": row.most_borrow,
        "most_withdraw": row.most_withdraw,
        "call_price": row.call_price,
        "liquidation_price": row.liquidation_price,
    }
