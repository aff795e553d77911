"""What changed a group's LTV by its collateral: coins in and out, trades, accounts joining and leaving (R-GEN-90).

With LTV before and after, as the gate decided on them. Who acts for one account that secures somebody's loan sees its
own movements, without the LTV (R-GEN-95).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.db.models import Q, QuerySet

from loans.histories.scope import Asked, Part, Scope
from risk.levels import Action
from risk.models import CollateralGroup, Movement, RiskEvent

ACCOUNT_EVENTS: Final = {
    RiskEvent.Kind.OPENED: "accounts added",
    RiskEvent.Kind.MEMBER_ADDED: "account added",
    RiskEvent.Kind.MEMBER_REMOVED: "account removed",
    RiskEvent.Kind.CLOSED: "all accounts free",
}
ADDED, REDUCED, CHANGED = "ADDITIONAL", "REDUCED", "CHANGED"
DIRECTIONS: Final = {
    Action.DEPOSIT: ADDED,
    Action.MOVE_OUT: REDUCED,
}  # what else there is changes, not how much


@dataclass(frozen=True, slots=True)
class Effect:
    """What it did to one group. LTV None: infinite, not known, or not for this reader.

    Joining and leaving keep only the LTV after.
    """

    group: int
    direction: str
    ltv_before: Decimal | None
    ltv_after: Decimal | None


@dataclass(frozen=True, slots=True)
class Adjustment:
    """One change: what moved (nothing for accounts), where, and what it did to each group it touched."""

    at: datetime
    what: str
    amount: Decimal | None
    asset: str
    got_amount: Decimal | None
    got_asset: str
    accounts: tuple[int, ...]
    effects: tuple[Effect, ...]
    entry_id: int | None
    order: int


def adjustments(scope: Scope, asked: Asked) -> Part[Adjustment]:
    """Newest first. Each row names its journal entry, where something moved. A constant number of queries."""
    seen = set(scope.groups().values_list("pk", flat=True))
    moved, events = _movements(scope, asked, seen), _events(scope, asked)
    upto = asked.span.stop
    rows = [
        *(_of_movement(movement, scope, seen) for movement in moved.order_by("-at", "-pk")[:upto]),
        *(_of_event(event) for event in events.order_by("-at", "-pk")[:upto]),
    ]
    rows.sort(key=lambda row: (row.at, row.order), reverse=True)
    total = moved.count() + events.count()
    return Part(tuple(rows[asked.span]), total)


# --- Private ----------------------------------------------------------------------------------------


def _movements(scope: Scope, asked: Asked, seen: Iterable[int]) -> QuerySet[Movement]:
    rows = Movement.objects.filter(
        customer=scope.customer, facts__groups__0__isnull=False, **asked.during("at")
    )
    if scope.account is not None:
        own = Q(source=scope.account) | Q(target=scope.account)
        rows = rows.filter(own | _touching(seen))
    if asked.coin:
        rows = rows.filter(Q(asset=asked.coin) | Q(got_asset=asked.coin))
    if asked.account is not None:
        received = CollateralGroup.objects.filter(receiver=asked.account, pk__in=seen)
        bound = _touching(received.values_list("pk", flat=True))
        rows = rows.filter(Q(source=asked.account) | Q(target=asked.account) | bound)
    if asked.loan is not None:
        rows = rows.filter(_touching(scope.loans().filter(pk=asked.loan).values_list("group", flat=True)))
    return rows


def _touching(groups: Iterable[int]) -> Q:
    wanted = Q(pk__in=[])
    for group in groups:
        wanted |= Q(facts__groups__contains=[{"group": group}])
    return wanted


def _events(scope: Scope, asked: Asked) -> QuerySet[RiskEvent]:
    groups = scope.groups()
    if asked.account is not None:
        groups = groups.filter(Q(receiver=asked.account) | Q(members__account=asked.account)).distinct()
    if asked.loan is not None:
        groups = groups.filter(loans=asked.loan)
    rows = RiskEvent.objects.filter(group__in=groups, kind__in=ACCOUNT_EVENTS, **asked.during("at"))
    return rows.none() if asked.coin else rows  # an account is no coin


def _of_movement(row: Movement, scope: Scope, seen: set[int]) -> Adjustment:
    own = scope.account is not None and scope.account.pk in (row.source_id, row.target_id)
    told = [effect for effect in row.facts["groups"] if own or effect["group"] in seen]
    return Adjustment(
        at=row.at,
        what=row.get_kind_display(),
        amount=row.amount,
        asset=row.asset_id,
        got_amount=row.got_amount,
        got_asset=row.got_asset_id or "",
        accounts=tuple(uid for uid in (row.source_id, row.target_id) if uid is not None),
        effects=tuple(_effect(effect, is_told=effect["group"] in seen) for effect in told),
        entry_id=row.entry_id,
        order=row.pk,
    )


def _effect(told: dict[str, Any], *, is_told: bool) -> Effect:
    return Effect(
        group=told["group"],
        direction=DIRECTIONS.get(told["action"], CHANGED),
        ltv_before=_figure(told["ltv_before"]) if is_told else None,
        ltv_after=_figure(told["ltv_after"]) if is_told else None,
    )


def _of_event(event: RiskEvent) -> Adjustment:
    is_added = event.kind in {RiskEvent.Kind.OPENED, RiskEvent.Kind.MEMBER_ADDED}
    effect = Effect(event.group_id, ADDED if is_added else REDUCED, None, event.ltv)
    return Adjustment(
        at=event.at,
        what=ACCOUNT_EVENTS[RiskEvent.Kind(event.kind)],
        amount=None,
        asset="",
        got_amount=None,
        got_asset="",
        accounts=tuple(event.facts.get("accounts", ())),
        effects=(effect,),
        entry_id=None,
        order=event.pk,
    )


def _figure(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)
