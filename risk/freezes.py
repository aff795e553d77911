"""Switches that stop something at once: per account, group or coin, or everywhere, with a reason and an end. R-ADM-04

One person may stop things, because an emergency does not wait; taking a freeze away before its end needs two
(R-ADM-03). Whoever decides something asks here under its locks, so a freeze counts from the next statement on.
Deposits are never stopped, repayments only while the desk cannot take them.
"""

from collections.abc import Collection, Iterable
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import Q, QuerySet

from accounts import notices, people
from accounts.commands import Actor, FourEyes, NotYourRole, command
from accounts.errors import Refused
from accounts.models import Account, Asset, User
from accounts.words import joined, tell
from risk.interest import Pause, merged
from risk.levels import Action
from risk.models import CollateralGroup, Freeze, RiskEvent

What = Freeze.What

STOPPED_BY = {
    Action.BORROW: frozenset({What.BORROW, What.FULL}),
    Action.RENEW: frozenset({What.BORROW, What.FULL}),
    Action.MOVE_OUT: frozenset({What.WITHDRAW, What.FULL}),
    Action.REMOVE_ACCOUNT: frozenset(
        {What.WITHDRAW, What.FULL}
    ),  # else: take it out of the group, then withdraw
    Action.MOVE_INSIDE: frozenset({What.FULL}),
    Action.TRADE: frozenset({What.TRADE, What.FULL}),
    Action.ADD_ACCOUNT: frozenset({What.FULL}),
    Action.REPAY: frozenset({What.REPAY}),
    Action.DEPOSIT: frozenset[Freeze.What](),
}
_WORDS = {
    Action.BORROW: tell("New borrowing is"),
    Action.RENEW: tell("Renewing is"),
    Action.MOVE_OUT: tell("Taking coins out is"),
    Action.REMOVE_ACCOUNT: tell("Removing a collateral account is"),
    Action.MOVE_INSIDE: tell("Moving coins is"),
    Action.TRADE: tell("Trading is"),
    Action.ADD_ACCOUNT: tell("Adding a collateral account is"),
    Action.REPAY: tell("Repaying is"),
}
_SCOPES = {  # what a freeze of each kind may be limited to; "" is everywhere
    What.COLLATERAL: frozenset({"asset"}),
    What.REPAY: frozenset({"asset", ""}),
    What.LIQUIDATE: frozenset({"group", ""}),
}
_ANY_SCOPE = frozenset({"account", "group", "asset", ""})
_DESK = frozenset({User.Role.RISK_OFFICER, User.Role.ADMIN})
_STOPPERS = _DESK | {User.Role.VIP_MANAGER, User.Role.OPS}


class Frozen(Refused):
    """R-ADM-04: the message says what is stopped, where, why and until when."""

    code = "frozen"
    sapi = -10001


LONGEST = timedelta(days=31)  # nothing is stopped for so long that nobody remembers why


class BadFreeze(Refused):
    """No reason, no future end, or a scope this kind of freeze cannot have."""

    code = "bad_freeze"


class NotFrozen(Refused):
    """It ended by itself, or was lifted before."""

    code = "not_frozen"


# --- Commands ---------------------------------------------------------------------------------------


@command(
    "risk.freeze",
    returns=Freeze,
    four_eyes=FourEyes(makers=_STOPPERS, needed=lambda _: False),
)
def place(
    *,
    what: str,
    reason: str,
    ends_at: datetime,
    actor: Actor,
    at: datetime,
    account_uid: int | None = None,
    group_id: int | None = None,
    asset: str | None = None,
    starts_at: datetime | None = None,
    key: str = "",
) -> Freeze:
    """Stop `what` for one account, group or coin, or everywhere, from `starts_at` (now) until `ends_at`. R-ADM-04

    One person is enough. A VIP manager may only stop things for their own clients' accounts and groups.

    Raises:
        BadFreeze: no reason, an end that is not after the start, a start in the past, or a scope that makes no sense.
        NotYourClient: a VIP manager, and no account or group of a client of theirs.
    """
    starts_at = at if starts_at is None else starts_at
    scope = {"account": account_uid, "group": group_id, "asset": asset}
    _check(what, reason.strip(), {name for name, value in scope.items() if value is not None})
    if starts_at < at:
        raise BadFreeze(tell("A freeze cannot begin in the past: what happened stays as it was decided."))
    if ends_at <= starts_at:
        raise BadFreeze(tell("A freeze ends after it begins; give it a later end."))
    if ends_at - starts_at > LONGEST:
        raise BadFreeze(
            tell("A freeze lasts at most {days} days; place another when it ends.", days=LONGEST.days)
        )
    account = None if account_uid is None else Account.objects.get(pk=account_uid)
    group = None if group_id is None else CollateralGroup.objects.get(pk=group_id)
    coin = None if asset is None else Asset.objects.get(pk=asset)
    _refuse_others_client(actor, account or group)
    if what == What.LIQUIDATE:
        _refuse_a_manager(actor)
    freeze = Freeze.objects.create(
        what=what,
        account=account,
        group=group,
        asset=coin,
        reason=reason.strip(),
        starts_at=starts_at,
        ends_at=ends_at,
        placed_by=actor.label,
    )
    _tell_group(freeze, RiskEvent.Kind.FROZEN, at)
    _tell_owner(freeze, at)
    return freeze


@command("risk.unfreeze", returns=Freeze, four_eyes=FourEyes())
def lift(*, freeze_id: int, actor: Actor, at: datetime, key: str = "", reason: str = "") -> Freeze:
    """End a freeze before its time. Two persons, unlike placing it. R-ADM-03, R-ADM-04

    Raises:
        NotFrozen: it is over already.
    """
    freeze = Freeze.objects.select_for_update(of=("self",), no_key=True).get(pk=freeze_id)
    if freeze.lifted_at is not None or freeze.ends_at <= at:
        ended = min(freeze.lifted_at or freeze.ends_at, freeze.ends_at)
        raise NotFrozen(tell("This freeze ended on {ended}; there is nothing to lift.", ended=_told(ended)))
    freeze.lifted_at = at
    freeze.lifted_by = actor.label
    freeze.save(update_fields=["lifted_at", "lifted_by"])
    _tell_group(freeze, RiskEvent.Kind.UNFROZEN, at)
    return freeze


# --- Asked by whoever decides -----------------------------------------------------------------------


def refuse_frozen(
    *,
    action: Action,
    at: datetime,
    uids: Iterable[int] = (),
    group: CollateralGroup | None = None,
    assets: Iterable[str] = (),
) -> None:
    """Let `action` pass, or refuse it because it is frozen for one of these, or everywhere. R-ADM-04

    Raises:
        Frozen: with the reason, and when it ends by itself.
    """
    freeze = _stopping(action, at=at, uids=uids, group=group, assets=assets).first()
    if freeze is not None:
        raise Frozen(_sentence(action, freeze))


def is_frozen(
    action: Action,
    *,
    at: datetime,
    uids: Iterable[int] = (),
    group: CollateralGroup | None = None,
    assets: Iterable[str] = (),
) -> bool:
    """Whether `refuse_frozen` would refuse."""
    return _stopping(action, at=at, uids=uids, group=group, assets=assets).exists()


def borrow_problems(
    *,
    at: datetime,
    uids: Iterable[int] = (),
    group: CollateralGroup | None = None,
    assets: Iterable[str] = (),
) -> list[str]:
    """Every freeze that stops new borrowing for these, in words; empty when nothing does. R-VIP-13, R-ADM-04

    `uids` are the receiver and all collateral accounts, `assets` the coins to be borrowed.
    """
    found = _stopping(Action.BORROW, at=at, uids=uids, group=group, assets=assets)
    return [_sentence(Action.BORROW, freeze) for freeze in found]


def borrow_problems_by_account(uids: Collection[int], *, at: datetime) -> dict[int, str]:
    """By account, the freeze of its own that keeps it out of new borrowing, in words. One query. R-ADM-04"""
    rows = _live(at).filter(account__in=uids, what__in=STOPPED_BY[Action.BORROW]).select_related("account")
    return {row.account_id or 0: _sentence(Action.BORROW, row) for row in rows.order_by("ends_at", "-pk")}


def in_force(
    *,
    at: datetime,
    uids: Iterable[int] = (),
    group: CollateralGroup | None = None,
    assets: Iterable[str] = (),
) -> list[Freeze]:
    """The freezes that touch any of these now, with those everywhere; the one that ends last first."""
    rows = _touching(at=at, uids=uids, group=group, assets=assets)
    return list(rows.select_related("account", "group"))


def frozen_coins(symbols: Collection[str], *, at: datetime) -> frozenset[str]:
    """Coins that count nothing for new borrowing now; for everything else they keep their value. R-ADM-04"""
    with connection.cursor() as cursor:
        cursor.execute(_FROZEN_COINS, {"at": at, "what": What.COLLATERAL, "assets": list(symbols)})
        return frozenset(asset for (asset,) in cursor.fetchall())


_FROZEN_COINS = """
    SELECT DISTINCT asset_id FROM risk_freeze
    WHERE what = %(what)s AND asset_id = ANY (%(assets)s::text[])
        AND starts_at <= %(at)s AND ends_at > %(at)s AND (lifted_at IS NULL OR lifted_at > %(at)s)
"""
"""As `_live`, written out: every valuation asks this."""


def liquidation_paused(group: CollateralGroup, at: datetime) -> Freeze | None:
    """The freeze that keeps this group from being liquidated now, if there is one. R-ADM-05"""
    return liquidations_paused([group], at).get(group.pk)


def liquidations_paused(groups: Iterable[CollateralGroup], at: datetime) -> dict[int, Freeze]:
    """By group, of those that may not be liquidated now: the freeze that ends last. One query. R-ADM-05"""
    ids = [group.pk for group in groups]
    of_all = Q(account__isnull=True, group__isnull=True, asset__isnull=True)
    rows = _live(at).filter(of_all | Q(group__in=ids), what=What.LIQUIDATE).order_by("ends_at", "-pk")
    found: dict[int, Freeze] = {}
    for row in rows:  # a later one takes the earlier one's place
        found |= dict.fromkeys(ids if row.group_id is None else [row.group_id], row)
    return found


def repay_closed(asset: str, at: datetime) -> Freeze | None:
    """The freeze because of which the desk cannot take a repayment in this coin now, if there is one. R-VIP-45"""
    return _touching(at=at, assets=[asset]).filter(what=What.REPAY).first()


def repay_pauses(assets: Iterable[str], until: datetime) -> dict[str, tuple[Pause, ...]]:
    """When the desk could not take repayments, per coin: half-open [start, end), merged, in order. R-VIP-45

    What is still running is cut off at `until`. Every coin asked for has an entry.
    """
    wanted = sorted(set(assets))
    rows = Freeze.objects.filter(_any_asset(wanted), what=What.REPAY, account=None, group=None)
    spans: dict[str, list[Pause]] = {symbol: [] for symbol in wanted}
    for row in rows.filter(starts_at__lt=until).order_by("starts_at", "pk"):
        end = min(row.ends_at, row.lifted_at or row.ends_at, until)
        for symbol in wanted if row.asset_id is None else [row.asset_id]:
            spans[symbol].append((row.starts_at, end))
    return {symbol: merged(found) for symbol, found in spans.items()}


# --- Private ----------------------------------------------------------------------------------------


def _live(at: datetime) -> "QuerySet[Freeze]":
    return Freeze.objects.filter(
        Q(lifted_at__isnull=True) | Q(lifted_at__gt=at), starts_at__lte=at, ends_at__gt=at
    )


def _any_asset(assets: Iterable[str]) -> Q:
    return Q(asset__isnull=True) | Q(asset__in=list(assets))


def _touching(
    *,
    at: datetime,
    uids: Iterable[int] = (),
    group: CollateralGroup | None = None,
    assets: Iterable[str] = (),
) -> "QuerySet[Freeze]":
    touched = Q(account__isnull=True, group__isnull=True, asset__isnull=True)
    touched |= Q(account__in=list(uids)) | Q(asset__in=list(assets))
    if group is not None:
        touched |= Q(group=group)
    return _live(at).filter(touched).order_by("-ends_at", "pk")


def _stopping(
    action: Action,
    *,
    at: datetime,
    uids: Iterable[int],
    group: CollateralGroup | None,
    assets: Iterable[str],
) -> "QuerySet[Freeze]":
    stops = Q(what__in=STOPPED_BY[action])
    if action is Action.MOVE_INSIDE:  # it leaves the account, though not the group
        stops |= Q(what=What.WITHDRAW, account__isnull=False)
    touching = _touching(at=at, uids=uids, group=group, assets=assets)
    return touching.filter(stops).select_related("account", "group")


def _check(what: str, reason: str, scope: set[str]) -> None:
    if what not in What.values:
        raise BadFreeze(tell("Choose what to freeze."))
    if not reason:
        raise BadFreeze(tell("Say why: those it stops are told the reason."))
    if len(scope) > 1:
        raise BadFreeze(tell("A freeze is for one account, one group or one coin, or for everything."))
    allowed = _SCOPES.get(What(what), _ANY_SCOPE)
    if (next(iter(scope)) if scope else "") not in allowed:
        names = {"account": "an account", "group": "a group", "asset": "a coin", "": "everything"}
        fits = joined(tell(" or "), (words for name, words in names.items() if name in allowed))
        raise BadFreeze(
            tell("“{what}” can be said of {fits} only.", what=What(what).label.capitalize(), fits=fits)
        )


def _refuse_others_client(actor: Actor, place: Account | CollateralGroup | None) -> None:
    """The role was checked at the door; this is about whose client it is."""
    if place is not None:
        people.refuse_others_client(customer=place.customer, actor=actor)
    elif actor.user_id is not None:
        manager = User.objects.filter(pk=actor.user_id, role=User.Role.VIP_MANAGER)
        if manager.exists():
            raise people.NotYourClient(tell("That holds others' clients too; ask a risk officer."))


def _refuse_a_manager(actor: Actor) -> None:
    """A manager would be pausing sales for their own client; more time is asked for with a second person."""
    if actor.user_id is None:
        return
    user = User.objects.get(pk=actor.user_id)
    if user.role not in _DESK:
        raise NotYourRole(
            tell("Only a risk officer or an admin pauses a liquidation; you may propose more time instead.")
        )


def _tell_group(freeze: Freeze, kind: str, at: datetime) -> None:
    if freeze.group is None:
        return
    facts: dict[str, Any] = {
        "freeze": freeze.pk,
        "what": freeze.what,
        "reason": freeze.reason,
        "starts_at": freeze.starts_at.isoformat(),
        "ends_at": freeze.ends_at.isoformat(),
    }
    RiskEvent.objects.create(group=freeze.group, kind=kind, at=at, facts=facts)


def _tell_owner(freeze: Freeze, at: datetime) -> None:
    """Whose account or group it is hears of it at once; others are told where it stops them."""
    place = freeze.account or freeze.group
    if place is None or freeze.what == What.LIQUIDATE:  # a pause is told when it holds a sale back
        return
    notices.send(
        customer=place.customer,
        event=f"freeze:{freeze.pk}",
        kind="freeze",
        title=tell("Frozen: {freeze}, {what}", freeze=scope_of(freeze), what=freeze.get_what_display()),
        body=(
            tell(
                "From {starts_at}, {what} for {freeze}: {reason}\n\nIt ends by itself on {ends_at}."
                " What is pledged keeps its value; deposits are always taken.",
                starts_at=_told(freeze.starts_at),
                what=freeze.get_what_display(),
                freeze=scope_of(freeze),
                reason=freeze.reason,
                ends_at=_told(freeze.ends_at),
            )
        ),
        facts={"freeze": freeze.pk, "ends_at": freeze.ends_at.isoformat()},
        at=at,
    )


def _sentence(action: Action, freeze: Freeze) -> str:
    reason = freeze.reason.rstrip(".")
    return tell(
        "{words} frozen for {freeze} until {ends_at}, when it ends by itself. The reason: {reason}.",
        words=_WORDS[action],
        freeze=scope_of(freeze),
        ends_at=_told(freeze.ends_at),
        reason=reason,
    )


def scope_of(freeze: Freeze) -> str:
    """Where it holds, in words."""
    if freeze.account is not None:
        return tell("the account {account}", account=freeze.account)
    if freeze.group is not None:
        return tell("the group {group}", group=freeze.group)
    return (
        tell("{asset} everywhere", asset=freeze.asset_id)
        if freeze.asset_id
        else tell("all accounts and coins")
    )


def _told(instant: datetime) -> str:
    return tell("{instant:%-d %B %Y %H:%M} UTC", instant=instant)
