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

from accounts import ledger
from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Account, Asset, Customer
from risk import book, levels
from risk.models import CollateralGroup, Debt, GroupCoin, Member, RiskEvent

UNTOLD_LTV = Decimal(10) ** 8  # 20 digits with 12 decimals leave 8 before the point


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


class PriceTooOld(Refused):
    """R-GEN-22: what is owed cannot be valued, so nothing may leave."""

    code = "price_too_old"


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

    R-GEN-10, 12 to 15, 34, R-VIP-03, 04. Whether the group may borrow is the caller's question; it calls
    `hold` first, with the receiver and all accounts, so that what it values cannot leave meanwhile.

    Raises:
        BadReceiver: another customer's account, or a virtual one.
        BadCollateralAccount: another customer's account, a managed one, or the receiver itself.
        AccountInUse: an account secures another group.
        TooManyAccounts: the group would have more than `max_accounts`.
        NotCollateral: a coin that does not count as collateral.
    """
    accounts, coins = list({account.pk: account for account in accounts}.values()), list(coins)
    check_accounts(customer=customer, receiver=receiver, accounts=accounts, coins=coins)
    held = hold(uids=[account.pk for account in accounts], receiver=receiver.pk)
    group = _open_group_of(receiver, product, held)
    is_new = group is None
    if group is None:
        group = CollateralGroup.objects.create(
            product=product, customer=customer, receiver=receiver, name=receiver.label, opened_at=at
        )
    for account in accounts:
        _refuse_in_use(account, group, held)
    new_accounts = [account for account in accounts if account.pk not in held.pledged]
    _refuse_too_many(group, len(new_accounts), max_accounts)
    present = set(_live_coins(group).values_list("asset_id", flat=True))
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
        raise BadReceiver(f"The receiving account {receiver} does not belong to {customer.name}.")
    if receiver.kind == Account.Kind.SUB_VIRTUAL:
        raise BadReceiver(f"{receiver} is a virtual sub-account, which cannot receive a loan.")
    for account in accounts:
        if account.customer_id != customer.pk:
            raise BadCollateralAccount(
                f"The collateral account {account} does not belong to {customer.name}."
            )
        if account.kind == Account.Kind.SUB_MANAGED:
            raise BadCollateralAccount(f"{account} is a managed sub-account, which cannot be collateral.")
        if account.pk == receiver.pk:
            raise BadCollateralAccount(
                f"{account} receives the loan, so it cannot be its collateral account."
            )
    for coin in coins:
        if not coin.collateral:
            raise NotCollateral(f"{coin.pk} does not count as collateral.")


@command("groups.add_account", returns=Member)
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
        GroupClosed, BadCollateralAccount, AccountInUse, TooManyAccounts.
        NotPermitted: LTV is at liquidation and no grace runs, or collateral is being sold.
    """
    held = hold(uids=[uid], group_ids=[group_id])
    group, account = _open(held, group_id), _account(held, uid)
    check_accounts(customer=group.customer, receiver=group.receiver, accounts=[account])
    _refuse_in_use(account, group, held)
    if uid in held.pledged:
        raise AccountInUse(f"{account} is a collateral account of this group already.")
    _refuse_too_many(group, 1, max_accounts)
    before = book.state_of(group, at=at)
    after = _with_account(before, uid)
    if before.is_liquidating or not before.stale_debts:  # a top-up stays open without a price (R-GEN-22)
        _require(verdict_on(action=levels.Action.ADD_ACCOUNT, before=before, after=after, at=at))
    member = Member.objects.create(group=group, account=account, since=at)
    _record(group, RiskEvent.Kind.MEMBER_ADDED, at, ltv=ltv_of(after), accounts=[uid])
    return member


@command("groups.remove_account", returns=Member)
def remove_account(
    *, group_id: int, uid: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Member:
    """Take an account out of the group: LTV must be below initial before, and at most initial after. R-VIP-55

    Raises:
        GroupClosed: nothing is owed any more, and the accounts are free.
        NotAMember: the account is none of the group's collateral accounts.
        PriceTooOld, NotPermitted: as for every movement out of the group.
    """
    held = hold(uids=[uid], group_ids=[group_id])
    group = _open(held, group_id)
    member = group.members.filter(account_id=uid, released_at__isnull=True).first()
    if member is None:
        raise NotAMember(f"Account {uid} is not a collateral account of {group}.")
    before = book.state_of(group, at=at)
    after = before.changed(without_members=(uid,))
    permit(action=levels.Action.REMOVE_ACCOUNT, before=before, after=after, at=at)
    member.released_at = at
    member.save(update_fields=["released_at"])
    _record(group, RiskEvent.Kind.MEMBER_REMOVED, at, ltv=ltv_of(after), accounts=[uid])
    return member


def permit(*, action: levels.Action, before: book.GroupState, after: book.GroupState, at: datetime) -> None:
    """Let `action` pass, or refuse it in the words of the rule. The group must be locked. R-VIP-52, R-GEN-22

    Raises:
        PriceTooOld: something owed has no fresh price.
        NotPermitted: the matrix says no.
    """
    if before.stale_debts:
        owed = ", ".join(before.stale_debts)
        raise PriceTooOld(
            f"The price of {owed} is too old to value what is owed; nothing may leave until it is fresh."
        )
    _require(verdict_on(action=action, before=before, after=after, at=at))


def verdict_on(
    *, action: levels.Action, before: book.GroupState, after: book.GroupState, at: datetime
) -> levels.Verdict:
    """The matrix on two states of a group, stale collateral counting nothing. R-VIP-52, R-GEN-22"""
    grace_until = before.group.grace_until if before.group else None
    verdict = levels.permits(
        action=action,
        before=before.worth(),
        after=after.worth(),
        lines=before.lines,
        liquidating=before.is_liquidating,
        in_grace=grace_until is not None and at < grace_until,
    )
    if verdict.allowed or not before.stale_coins:
        return verdict
    stale = ", ".join(before.stale_coins)
    return levels.Verdict(
        allowed=False, reason=f"{verdict.reason} (Without a fresh price, {stale} counts nothing.)"
    )


def ltv_of(state: book.GroupState) -> Decimal | None:
    """LTV for rows and people: None when it is infinite, or what is owed cannot be valued.

    A crumb of collateral under a large debt gives a figure no column holds; that is as good as infinite.
    """
    ltv = None if state.stale_debts else state.worth().ltv
    return None if ltv is None or ltv >= UNTOLD_LTV else ltv


def release_if_empty(group: CollateralGroup, at: datetime) -> bool:
    """Owing nothing, the group lets its accounts and coins go and closes. Returns whether it did. R-GEN-34

    Inside a command, with the group locked, after the last debt was closed; a residual debt has left the
    group and does not hold it (R-GEN-78). A margin call still open is the sweep's to end, seconds later.
    """
    if group.closed_at is not None or Debt.objects.watched().filter(group=group).exists():
        return False
    _live_members_of(group).update(released_at=at)
    _live_coins(group).update(released_at=at)
    group.closed_at = at
    group.band = CollateralGroup.Band.SAFE
    group.breach_seen_at = group.blind_since = group.grace_until = None
    group.save(update_fields=["closed_at", "band", "breach_seen_at", "blind_since", "grace_until"])
    _record(group, RiskEvent.Kind.CLOSED, at)
    return True


# --- Private ----------------------------------------------------------------------------------------


def _open(held: Held, group_id: int) -> CollateralGroup:
    group = held.groups.get(group_id)
    if group is None:
        raise CollateralGroup.DoesNotExist(f"There is no group {group_id}.")
    if group.closed_at is not None:
        raise GroupClosed(f"{group} owes nothing any more and was closed; its accounts are free.")
    return group


def _account(held: Held, uid: int) -> Account:
    if uid not in held.accounts:
        raise Account.DoesNotExist(f"There is no account {uid}.")
    return held.accounts[uid]


def _require(verdict: levels.Verdict) -> None:
    if not verdict.allowed:
        raise NotPermitted(verdict.reason)


def _open_group_of(receiver: Account, product: str, held: Held) -> CollateralGroup | None:
    for group in held.groups.values():
        if (group.receiver_id, group.product, group.closed_at) == (receiver.pk, product, None):
            return group
    return None


def _refuse_in_use(account: Account, group: CollateralGroup, held: Held) -> None:
    other = held.pledged.get(account.pk)
    if other is not None and other.pk != group.pk:
        raise AccountInUse(f"The collateral account {account} has been used: it already secures {other}.")


def _refuse_too_many(group: CollateralGroup, more: int, max_accounts: int | None) -> None:
    if max_accounts is None:
        return
    count = _live_members_of(group).count() + more
    if count > max_accounts:
        raise TooManyAccounts(
            f"A group has at most {max_accounts} collateral accounts; this would make {count}."
        )


def _with_account(state: book.GroupState, uid: int) -> book.GroupState:
    found = ledger.balances(account_ids=[uid], kinds=[book.WALLET])
    wallets = tuple(book.Wallet(uid, asset, balance) for (_, _, asset), balance in sorted(found.items()))
    return replace(state, members=(*state.members, uid), wallets=(*state.wallets, *wallets))


def _live_members(uids: Iterable[int]) -> "QuerySet[Member]":
    return Member.objects.filter(account__in=list(uids), released_at__isnull=True)


def _live_members_of(group: CollateralGroup) -> "QuerySet[Member]":
    return Member.objects.filter(group=group, released_at__isnull=True)


def _live_coins(group: CollateralGroup) -> "QuerySet[GroupCoin]":
    return GroupCoin.objects.filter(group=group, released_at__isnull=True)


def _record(
    group: CollateralGroup, kind: str, at: datetime, *, ltv: Decimal | None = None, **facts: Any
) -> None:
    RiskEvent.objects.create(group=group, kind=kind, at=at, ltv=ltv, facts=facts)
