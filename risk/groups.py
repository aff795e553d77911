"""Who secures what: open a collateral group, add and remove accounts, release it when it owes nothing.

A group's membership is part of every decision about it, so it changes only under the same locks: account
rows first (in uid order), then group rows (ARCHITECTURE 4). The account lock is what stops a withdrawal from
an account that is just becoming collateral: until it is a member, no group row is there for both to meet at.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import QuerySet

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Account, Asset, Customer
from accounts.powers import MemberRule, Power
from accounts.words import joined, tell
from risk import book, delays, freezes, levels
from risk.models import CollateralGroup, Debt, GroupCoin, Member, RiskEvent


class BadReceiver(Refused):
    """R-GEN-10, R-VIP-03"""

    code = "bad_receiving_account"


class BadCollateralAccount(Refused):
    """R-GEN-14, R-GEN-15, R-VIP-04"""

    code = "bad_collateral_account"


class AccountInUse(Refused):
    """R-GEN-13"""

    code = "collateral_account_in_use"


class TooManyAccounts(Refused):
    """R-VIP-04"""

    code = "too_many_collateral_accounts"


class NotCollateral(Refused):
    """R-GEN-33"""

    code = "not_a_collateral_coin"


class GroupClosed(Refused):
    code = "group_closed"


class NotAMember(Refused):
    code = "not_a_collateral_account"


class NotPermitted(Refused):
    """The permission matrix R-VIP-52 says no; the message says which line and where LTV stands."""

    code = "ltv_too_high"
    sapi = -3005


class NeedsConfirmation(NotPermitted):
    """R-VIP-54: this client may, after they have seen the LTV it leads to and confirm it."""

    code = "needs_confirmation"


class PriceTooOld(Refused):
    """R-GEN-22: what is owed cannot be valued, so nothing may leave."""

    code = "price_too_old"
    sapi = -3042


@dataclass(frozen=True, slots=True)
class Held:
    """What `hold` locked. `pledged`: the live group each collateral account secures, by uid."""

    accounts: dict[int, Account]
    groups: dict[int, CollateralGroup]
    pledged: dict[int, CollateralGroup]


def hold(*, uids: Iterable[int], group_ids: Iterable[int] = (), receiver: int | None = None) -> Held:
    """Lock these accounts, then the live groups they secure, `group_ids`, and those `receiver` borrows in.

    Inside a command, before anything is read that the decision rests on. Membership is read again after the
    groups are locked: meanwhile it can only have shrunk, because it grows under the account lock.
    """
    wanted = {*uids, *([] if receiver is None else [receiver])}
    rows = Account.objects.filter(pk__in=wanted).select_for_update(of=("self",), no_key=True).order_by("pk")
    accounts = {account.pk: account for account in rows}
    ids = {*group_ids, *_live_members(wanted).values_list("group_id", flat=True)}
    if receiver is not None:
        ids |= set(CollateralGroup.objects.open().filter(receiver=receiver).values_list("pk", flat=True))
    groups = {group.pk: group for group in CollateralGroup.objects.locked(*ids)}
    pledged = {member.account_id: groups[member.group_id] for member in _live_members(wanted)}
    return Held(accounts=accounts, groups=groups, pledged=pledged)


def pledged_to(uids: Iterable[int]) -> dict[int, CollateralGroup]:
    """The live group each collateral account secures, by uid; others are absent. No lock."""
    return {row.account_id: row.group for row in _live_members(uids).select_related("group")}


# --- Commands and what runs inside them ---------------------------------------------------------------


def open_or_extend(
    *,
    customer: Customer,
    receiver: Account,
    product: str,
    accounts: Iterable[Account],
    coins: Iterable[Asset],
    at: datetime,
    max_accounts: int | None = None,
) -> CollateralGroup:
    """The open group of `receiver`, now with these collateral accounts and coins too. Inside a command.

    R-GEN-10, 12 to 15, 34, R-VIP-03, 04, R-ADM-04. Whether the group may borrow is the caller's question; it calls
    `hold` first, with the receiver and all accounts, so that what it values cannot leave meanwhile.

    Raises:
        BadReceiver: another customer's account, or a virtual one.
        BadCollateralAccount: another customer's account, a managed one, or the receiver itself.
        AccountInUse: an account secures another group.
        TooManyAccounts: the group would have more than `max_accounts`.
        NotCollateral: a coin that does not count as collateral.
        Frozen: borrowing is, for one of the accounts, the group or everywhere.
    """
    accounts, coins = list({account.pk: account for account in accounts}.values()), list(coins)
    check_accounts(customer=customer, receiver=receiver, accounts=accounts, coins=coins)
    held = hold(uids=[account.pk for account in accounts], receiver=receiver.pk)
    group = _open_group_of(receiver, product, held)
    is_new = group is None
    members = Member.objects.filter(group=group, released_at__isnull=True).values_list(
        "account_id", flat=True
    )
    touched = [receiver.pk, *members, *(account.pk for account in accounts)]
    freezes.refuse_frozen(action=levels.Action.BORROW, uids=touched, group=group, at=at)
    if group is None:
        group = CollateralGroup.objects.create(
            product=product, customer=customer, receiver=receiver, name=receiver.label, opened_at=at
        )
    for account in accounts:
        _refuse_in_use(account, group, held.pledged.get(account.pk))
    new_accounts = [account for account in accounts if account.pk not in held.pledged]
    _refuse_too_many(group, len(new_accounts), max_accounts)
    present = set(group.coins.filter(released_at__isnull=True).values_list("asset_id", flat=True))
    new_coins = sorted({coin.pk for coin in coins} - present)
    for account in new_accounts:
        Member.objects.create(group=group, account=account, since=at)
    for symbol in new_coins:
        GroupCoin.objects.create(group=group, asset_id=symbol, since=at)
    if is_new or new_accounts or new_coins:
        kind = RiskEvent.Kind.OPENED if is_new else RiskEvent.Kind.MEMBER_ADDED
        _record(group, kind, at, accounts=[account.pk for account in new_accounts], coins=new_coins)
    return group


def check_accounts(
    *, customer: Customer, receiver: Account, accounts: Iterable[Account], coins: Iterable[Asset] = ()
) -> None:
    """Refuse accounts and coins that cannot form a group, whatever else is pledged. Reads nothing.

    Raises:
        BadReceiver, BadCollateralAccount, NotCollateral: as `open_or_extend`.
    """
    if receiver.customer_id != customer.pk:
        raise BadReceiver(
            tell(
                "The receiving account {receiver} does not belong to {customer}.",
                receiver=receiver,
                customer=customer.name,
            )
        )
    if receiver.kind == Account.Kind.SUB_VIRTUAL:
        raise BadReceiver(
            tell("{receiver} is a virtual sub-account, which cannot receive a loan.", receiver=receiver)
        )
    for account in accounts:
        if account.customer_id != customer.pk:
            raise BadCollateralAccount(
                tell(
                    "The collateral account {account} does not belong to {customer}.",
                    account=account,
                    customer=customer.name,
                )
            )
        if account.kind == Account.Kind.SUB_MANAGED:
            raise BadCollateralAccount(
                tell("{account} is a managed sub-account, which cannot be collateral.", account=account)
            )
        if account.pk == receiver.pk:
            raise BadCollateralAccount(
                tell("{account} receives the loan, so it cannot be its collateral account.", account=account)
            )
    for coin in coins:
        if not coin.collateral:
            raise NotCollateral(tell("{coin} does not count as collateral.", coin=coin.pk))


@command("groups.add_account", returns=Member, member=MemberRule(Power.PLEDGE))
def add_account(
    *,
    group_id: int,
    uid: int,
    max_accounts: int,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> Member:
    """One more collateral account, which can only help: a top-up. R-VIP-52, R-GEN-13

    `max_accounts` is the product's limit (R-VIP-04).

    Raises:
        GroupClosed, BadCollateralAccount, AccountInUse, TooManyAccounts, Frozen.
        NotPermitted: LTV is at liquidation and no grace runs, or collateral is being sold.
    """
    held = hold(uids=[uid], group_ids=[group_id])
    group = opened(held, group_id)
    if uid not in held.accounts:
        raise Account.DoesNotExist(tell("There is no account {uid}.", uid=uid))
    check_adding(group, held.accounts[uid], held.pledged.get(uid), most=max_accounts, at=at)
    before = book.state_of(group, at=at)
    after = book.with_account(before, uid)
    permit_adding(before, after, at=at)
    member = Member.objects.create(group=group, account=held.accounts[uid], since=at)
    _record(group, RiskEvent.Kind.MEMBER_ADDED, at, ltv=after.movement_ltv, accounts=[uid])
    return member


def check_adding(
    group: CollateralGroup, account: Account, other: CollateralGroup | None, *, most: int, at: datetime
) -> None:
    """Whether the account, which secures `other`, may join the group at all, whatever LTV is. As `add_account`."""
    check_accounts(customer=group.customer, receiver=group.receiver, accounts=[account])
    _refuse_in_use(account, group, other)
    if other is not None:
        raise AccountInUse(tell("{account} is a collateral account of this group already.", account=account))
    _refuse_too_many(group, 1, most)
    freezes.refuse_frozen(action=levels.Action.ADD_ACCOUNT, uids=[account.pk], group=group, at=at)


def permit_adding(before: book.GroupState, after: book.GroupState, *, at: datetime) -> None:
    """A top-up stays open without a price (R-GEN-22); otherwise the matrix. As `add_account`."""
    if before.is_liquidating or not before.stale_debts:
        _require(_verdict(levels.Action.ADD_ACCOUNT, before, after, at, confirmed=False))


@command("groups.remove_account", returns=Member, member=MemberRule(Power.PLEDGE, two="remove"))
def remove_account(
    *, group_id: int, uid: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Member:
    """Take an account out of the group: LTV must be below initial before, and at most initial after. R-VIP-55

    Raises:
        GroupClosed: nothing is owed any more, and the accounts are free.
        NotAMember: the account is none of the group's collateral accounts.
        PriceTooOld, NotPermitted, Frozen: as for every movement out of the group.
    """
    held = hold(uids=[uid], group_ids=[group_id])
    group = opened(held, group_id)
    member = live_member(group, uid)
    freezes.refuse_frozen(action=levels.Action.REMOVE_ACCOUNT, uids=[uid], group=group, at=at)
    before = book.state_of(group, at=at)
    after = before.changed(without_members=(uid,))
    permit(action=levels.Action.REMOVE_ACCOUNT, before=before, after=after, at=at)
    member.released_at = at
    member.save(update_fields=["released_at"])
    _record(group, RiskEvent.Kind.MEMBER_REMOVED, at, ltv=after.movement_ltv, accounts=[uid])
    return member


def permit(
    *,
    action: levels.Action,
    before: book.GroupState,
    after: book.GroupState,
    at: datetime,
    confirmed: bool = False,
) -> None:
    """Let `action` pass, or refuse it in the words of the rule. The group must be locked. R-VIP-52, R-GEN-22

    Raises:
        PriceTooOld: something owed has no fresh price.
        NotPermitted: the matrix says no.
        NeedsConfirmation: a trade this client may make once they have `confirmed` it (R-VIP-54).
    """
    if before.stale_debts:
        owed = joined(", ", before.stale_debts)
        raise PriceTooOld(
            tell(
                "The price of {owed} is too old to value what is owed; nothing may leave until it is fresh.",
                owed=owed,
            )
        )
    _require(_verdict(action, before, after, at, confirmed=confirmed))


def release_empty(*groups: CollateralGroup, at: datetime) -> list[CollateralGroup]:
    """Owing nothing, each lets its accounts and coins go and closes; those that did. R-GEN-34

    Inside a command, with the groups locked, after the last debts were closed; a residual debt has left its group and
    does not hold it (R-GEN-78). A margin call still open is the sweep's to end. A constant number of statements.
    """
    owing = set(Debt.objects.watched().filter(group__in=groups).values_list("group_id", flat=True))
    empty = [group for group in groups if group.closed_at is None and group.pk not in owing]
    if not empty:
        return []
    for shares in (Member, GroupCoin):
        shares._default_manager.filter(group__in=empty, released_at__isnull=True).update(released_at=at)
    state = dict.fromkeys(("breach_seen_at", "blind_since", "grace_until")) | {
        "closed_at": at,
        "band": CollateralGroup.Band.SAFE,
    }
    CollateralGroup.objects.filter(pk__in=[group.pk for group in empty]).update(**state)
    for group in empty:
        for field, value in state.items():
            setattr(group, field, value)
    RiskEvent.objects.bulk_create(
        RiskEvent(group=group, kind=RiskEvent.Kind.CLOSED, at=at) for group in empty
    )
    return empty


def live_member(group: CollateralGroup, uid: int) -> Member:
    """The account's place in the group, or NotAMember."""
    member = group.members.filter(account_id=uid, released_at__isnull=True).first()
    if member is None:
        raise NotAMember(tell("Account {uid} is not a collateral account of {group}.", uid=uid, group=group))
    return member


def opened(held: Held, group_id: int) -> CollateralGroup:
    group = held.groups.get(group_id)
    if group is None:
        raise CollateralGroup.DoesNotExist(tell("There is no group {group}.", group=group_id))
    if group.closed_at is not None:
        raise GroupClosed(
            tell("{group} owes nothing any more and was closed; its accounts are free.", group=group)
        )
    return group


# --- Private ----------------------------------------------------------------------------------------


def _verdict(
    action: levels.Action, before: book.GroupState, after: book.GroupState, at: datetime, *, confirmed: bool
) -> levels.Verdict:
    """The matrix on two states of a group, stale collateral counting nothing. R-VIP-52, R-GEN-22"""
    group = before.group
    in_grace = group is not None and group.grace_until is not None and at < group.grace_until
    if group is not None and action is levels.Action.ADD_ACCOUNT:
        in_grace |= delays.running(group) is not None  # its hours are for topping up: R-VIP-60
    verdict = levels.permits(
        action=action,
        before=before.worth(),
        after=after.worth(),
        lines=before.lines,
        liquidating=before.is_liquidating,
        in_grace=in_grace,
        call_trades=before.handling.call_trades,
        confirmed=confirmed,
    )
    if verdict.allowed or not before.stale_coins:
        return verdict
    stale = joined(", ", before.stale_coins)
    return replace(verdict, reason=f"{verdict.reason} (Without a fresh price, {stale} counts nothing.)")


def _require(verdict: levels.Verdict) -> None:
    if verdict.to_confirm:
        raise NeedsConfirmation(verdict.reason)
    if not verdict.allowed:
        raise NotPermitted(verdict.reason)


def _open_group_of(receiver: Account, product: str, held: Held) -> CollateralGroup | None:
    wanted = (receiver.pk, product, None)
    rows = held.groups.values()
    return next((row for row in rows if (row.receiver_id, row.product, row.closed_at) == wanted), None)


def _refuse_in_use(account: Account, group: CollateralGroup, other: CollateralGroup | None) -> None:
    if other is not None and other.pk != group.pk:
        raise AccountInUse(
            tell(
                "Collateral account already in use: {account} already secures {other}.",
                account=account,
                other=other,
            )
        )


def _refuse_too_many(group: CollateralGroup, more: int, max_accounts: int | None) -> None:
    if max_accounts is None:
        return
    count = group.members.filter(released_at__isnull=True).count() + more
    if count > max_accounts:
        raise TooManyAccounts(
            tell(
                "A group has at most {max_accounts} collateral accounts; this would make {count}.",
                max_accounts=max_accounts,
                count=count,
            )
        )


def _live_members(uids: Iterable[int]) -> "QuerySet[Member]":
    return Member.objects.filter(account__in=list(uids), released_at__isnull=True)


def _record(
    group: CollateralGroup, kind: str, at: datetime, *, ltv: Decimal | None = None, **facts: Any
) -> None:
    RiskEvent.objects.create(group=group, kind=kind, at=at, ltv=ltv, facts=facts)
