"""Groups: the list, and one group with its lines, coins, accounts, debts, and what would bring it back. R-GEN-12"""

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.api.edge import Edge
from accounts.api.lists import Paged, listed, page_of
from accounts.api.wire import Figure, Flag, Instant, Query, asked
from accounts.money import ZERO, exact
from risk import book, delays, margin_calls
from risk.api.scope import group_of, groups_of
from risk.api.shapes import CoinAmount, Lines, Row, Standing, Tier, amounts, standing, tiers, usd
from risk.book import GroupState, Wallet
from risk.debts import OwedDebt
from risk.models import CollateralGroup
from risk.pages import standing as standings
from risk.pages.standing import CoinRow


class GroupRow(Standing):
    """A group in the list."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    product = serializers.CharField()
    receiver = serializers.IntegerField()
    opened_at = Instant()
    closed_at = Instant(allow_null=True)
    is_liquidating = Flag()
    lines = Lines()


class HeldCoin(serializers.Serializer[Any]):
    """A coin in the accounts that secure the group; only chosen coins count. Tiers apply to the sum. R-GEN-32"""

    asset = serializers.CharField()
    amount = Figure()
    price_usd = Figure(allow_null=True)
    observed_at = Instant(allow_null=True)
    is_fresh = Flag()
    is_chosen = Flag()
    market_usd = usd()
    recognised_usd = usd()
    tiers = Tier(many=True)


class Owed(serializers.Serializer[Any]):
    """One debt, booked and pending, in its coin."""

    id = serializers.IntegerField()
    asset = serializers.CharField()
    principal = Figure()
    interest = Figure()
    late_fee = Figure()
    total = Figure()
    annual_rate = Figure()
    due_at = Instant(allow_null=True)


class Securing(serializers.Serializer[Any]):
    """An account that secures the group, with its Spot wallet, chosen coins or not."""

    account = serializers.IntegerField()
    coins = CoinAmount(many=True)
    market_usd = usd()


class Ways(serializers.Serializer[Any]):
    """Any one of these brings the group there: so much of one coin, rounded up. R-GEN-65"""

    repay = CoinAmount(many=True)
    add = CoinAmount(many=True)
    add_usd = usd()


class Needed(serializers.Serializer[Any]):
    """Null where the group is there already."""

    to_initial = Ways(allow_null=True)
    below_margin_call = Ways(allow_null=True)


class Room(serializers.Serializer[Any]):
    """What is left by collateral alone; a request looks at limits and pools too. R-GEN-45"""

    borrow_usd = usd()
    borrow = CoinAmount(allow_null=True)
    withdraw = CoinAmount(allow_null=True)


class Call(serializers.Serializer[Any]):
    """The margin call that is open. R-GEN-62"""

    opened_at = Instant()
    last_notice_at = Instant()


class Delay(serializers.Serializer[Any]):
    """The liquidation call that runs: until then LTV has to be back at the initial line. R-VIP-60"""

    started_at = Instant()
    ends_at = Instant()


class GroupDetail(GroupRow):
    """A group. `is_blind`: something owed has no price at all, so neither LTV nor band says anything."""

    at = Instant()
    is_blind = Flag()
    grace_until = Instant(allow_null=True)
    coins = HeldCoin(many=True)
    members = Securing(many=True)
    debts = Owed(many=True)
    room = Room()
    needed = Needed()
    call = Call(allow_null=True)
    delay = Delay(allow_null=True)


class Groups(Edge):
    class Asked(Paged):
        open = Flag(required=False)

    @extend_schema(operation_id="groups_list", parameters=[Asked], responses=listed(GroupRow))
    def get(self, request: Request) -> Response:
        """The collateral groups, newest first; with `open`, those that owe something or not."""
        asker, wanted = self.asker(), asked(self.Asked, request)
        rows = groups_of(asker).order_by("-opened_at", "-pk")
        if "open" in wanted:
            rows = rows.filter(closed_at__isnull=wanted["open"])

        def made(page: Any) -> list[Row]:
            states = book.states(page, at=asker.at)
            return [GroupRow(_row(group, states[group.pk])).data for group in page]

        return Response(page_of(rows, wanted, made))


class Group(Edge):
    @extend_schema(operation_id="groups_read", responses=GroupDetail)
    def get(self, request: Request, group_id: int) -> Response:
        """One group as the watch sees it now, and what would bring it back to its lines."""
        asker = self.asker()
        asked(Query, request)
        group = group_of(asker, group_id, is_open=False)
        state = book.state_of(group, at=asker.at)
        return Response(GroupDetail(_detail(group, state)).data)


# --- Private ----------------------------------------------------------------------------------------


def is_blind(state: GroupState) -> bool:
    return any(symbol not in state.quotes for symbol in state.owed_assets)


def _row(group: CollateralGroup, state: GroupState) -> Row:
    told = standing(state.worth(permission=False), state.lines)
    if is_blind(state):
        told["ltv"] = None
    return told | {
        "id": group.pk,
        "name": group.name,
        "product": group.product,
        "receiver": group.receiver_id,
        "opened_at": group.opened_at,
        "closed_at": group.closed_at,
        "is_liquidating": state.is_liquidating,
        "lines": state.lines,
    }


def _detail(group: CollateralGroup, state: GroupState) -> Row:
    delay = delays.running(group)
    found = standings.standing_of(group, state)
    return _row(group, state) | {
        "at": state.at,
        "is_blind": is_blind(state),
        "grace_until": group.grace_until,
        "coins": [_coin(state, coin) for coin in found.coins],
        "members": _members(state),
        "debts": [_owed(owed) for owed in state.debts],
        "room": {
            "borrow_usd": found.can_borrow_usd,
            "borrow": _room(found.can_borrow),
            "withdraw": _room(found.can_withdraw),
        },
        "needed": _needed(state),
        "call": margin_calls.open_call(group),
        "delay": delay,
    }


def _coin(state: GroupState, row: CoinRow) -> Row:
    terms = state.terms.get(row.asset.pk) if row.is_chosen else None
    return {
        "asset": row.asset.pk,
        "amount": row.amount,
        "price_usd": row.price,
        "observed_at": row.observed_at,
        "is_fresh": row.is_fresh,
        "is_chosen": row.is_chosen,
        "market_usd": row.market,
        "recognised_usd": row.recognised,
        "tiers": tiers(terms.tiers) if terms else [],
    }


def _members(state: GroupState) -> list[Row]:
    found = []
    for uid in state.members:
        mine = [wallet for wallet in state.wallets if wallet.uid == uid and wallet.balance]
        found.append(
            {
                "account": uid,
                "coins": [{"asset": wallet.asset, "amount": wallet.balance} for wallet in mine],
                "market_usd": _market(state, mine),
            }
        )
    return found


@exact
def _market(state: GroupState, wallets: Iterable[Wallet]) -> Decimal:
    """At the last good prices; a coin without any counts for nothing here."""
    priced = [wallet for wallet in wallets if wallet.asset in state.quotes]
    return sum((wallet.balance * state.quotes[wallet.asset].price for wallet in priced), ZERO)


def _owed(row: OwedDebt) -> Row:
    return {
        "id": row.debt.pk,
        "asset": row.debt.asset_id,
        "principal": row.parts.principal,
        "interest": row.parts.interest,
        "late_fee": row.parts.late_fee,
        "total": row.parts.total,
        "annual_rate": row.annual_rate,
        "due_at": row.debt.due_at,
    }


def _room(found: standings.Room | None) -> Row | None:
    return None if found is None else {"asset": found.asset.pk, "amount": found.amount}


def _needed(state: GroupState) -> Row:
    """As the margin call's notice says it. R-GEN-65, EX-03"""
    if is_blind(state):
        return {"to_initial": None, "below_margin_call": None}
    worth, lines = state.worth(permission=False), state.lines
    to_initial = below_call = None
    if worth.is_above(lines.initial):
        to_initial = margin_calls.cure_to(state=state, line=lines.initial, strictly_below=False)
    if worth.is_at_least(lines.margin_call):
        below_call = margin_calls.cure_to(state=state, line=lines.margin_call, strictly_below=True)
    return {"to_initial": _ways(to_initial), "below_margin_call": _ways(below_call)}


def _ways(found: margin_calls.Cure | None) -> Row | None:
    if found is None:
        return None
    return {"repay": amounts(found.repay), "add": amounts(found.add), "add_usd": found.add_usd}
