"""The rules by which a group cures itself: what a borrower sets up beforehand, checked so that it can work. R-FTR-04

A rule starts at its trigger, which lies from the initial line up to below the liquidation line (at it, help would
come too late), and works down to its target. What rules do is decided in loans/auto_cure.py.
"""

from datetime import datetime
from decimal import Decimal
from typing import Final

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import Account, Asset, LedgerAccount
from accounts.money import exact, round_down
from accounts.powers import MemberRule, Power
from accounts.words import joined, tell
from risk import book, groups
from risk.models import CollateralGroup, CureRule

MOST_RULES: Final = 10  # of one group; each is looked at before every sweep
LEAST_COOLING, MOST_COOLING = 1, 7 * 24 * 60  # minutes
Kind = CureRule.Kind


class BadRule(Refused):
    """The rule could not work as it stands; the message says what would."""

    code = "bad_cure_rule"


class TooManyRules(Refused):
    code = "too_many_cure_rules"


class NoSuchRule(Refused):
    code = "no_such_cure_rule"


@command("cure_rules.set", returns=CureRule, member=MemberRule(Power.RULES))
def set_rule(
    *,
    group_id: int,
    kind: str,
    asset: str,
    trigger: Decimal,
    target: Decimal,
    actor: Actor,
    at: datetime,
    source_uid: int | None = None,
    source_wallet: str = "",
    account_uid: int | None = None,
    buy: str | None = None,
    most_each: Decimal | None = None,
    most_daily: Decimal | None = None,
    cooling_minutes: int = 60,
    is_dry_run: bool = False,
    position: int | None = None,
    key: str = "",
    reason: str = "",
) -> CureRule:
    """From LTV `trigger` on (a fraction), do what `kind` says until LTV is at `target`. R-FTR-04

    TOP_UP moves `asset` from `source_uid`'s wallet into the collateral account; REPAY repays loans in `asset` from
    the receiver's Spot; SWAP sells `asset` for `buy` in the collateral account. Caps are in `asset`, per use and in
    24 hours. `position` None: after the others.

    Raises:
        BadRule: it could not work; the message says why. TooManyRules: ten are enough.
        groups.GroupClosed: nothing is owed any more.
    """
    held = groups.hold(uids=[], group_ids=[group_id])
    group = groups.opened(held, group_id)
    state = book.state_of(group, at=at)
    rule = CureRule(
        group=group,
        kind=kind,
        asset_id=asset,
        source_id=source_uid,
        source_wallet=source_wallet,
        account_id=account_uid,
        buy_id=buy,
        trigger=trigger,
        target=target,
        most_each=most_each,
        most_daily=most_daily,
        cooling_minutes=cooling_minutes,
        is_dry_run=is_dry_run,
        set_at=at,
        set_by_id=actor.user_id,
    )
    _check_levels(rule, state)
    _check_caps(rule)
    _CHECKS[_kind_of(kind)](rule, state)
    rule.position = _place(group, position)
    rule.save(force_insert=True)
    return rule


@command("cure_rules.remove", returns=CureRule, member=MemberRule(Power.RULES))
def remove_rule(
    *, group_id: int, rule_id: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> CureRule:
    """It does nothing more from now on; what it did stays in its log.

    Raises:
        NoSuchRule: the group has no such rule, or not any more.
    """
    rows = CureRule.objects.filter(pk=rule_id, group=group_id, removed_at__isnull=True)
    rule = rows.select_for_update(of=("self",), no_key=True).first()  # waits for a use that is under way
    if rule is None:
        raise NoSuchRule(tell("This rule was removed already."))
    rule.removed_at = at
    rule.save(update_fields=["removed_at"])
    return rule


def live_rules(group: CollateralGroup) -> list[CureRule]:
    """The rules in force, in their order."""
    rows = CureRule.objects.filter(group=group, removed_at__isnull=True)
    return list(rows.select_related("asset", "source", "account", "buy").order_by("position"))


def words(rule: CureRule) -> str:
    """What the rule does, as a sentence without its levels."""
    if rule.kind == Kind.TOP_UP:
        wallet = LedgerAccount.Kind(rule.source_wallet).label
        return tell(
            "Move {asset} from {source} {wallet} into {account}",
            asset=rule.asset_id,
            source=rule.source,
            wallet=wallet,
            account=rule.account,
        )
    if rule.kind == Kind.SWAP:
        return tell(
            "Sell {asset} for {buy} in {account}", asset=rule.asset_id, buy=rule.buy_id, account=rule.account
        )
    return tell("Repay {asset} loans from the receiving account's Spot", asset=rule.asset_id)


# --- Private ----------------------------------------------------------------------------------------------


def _kind_of(kind: str) -> CureRule.Kind:
    if kind not in Kind.values:
        raise BadRule(tell("A rule adds collateral, repays or swaps."))
    return Kind(kind)


@exact
def _check_levels(rule: CureRule, state: book.GroupState) -> None:
    lines = state.lines
    for value in (rule.trigger, rule.target):
        if not value.is_finite() or round_down(value, 12) != value:
            raise BadRule(tell("An LTV of a rule is a percentage with at most 10 decimals."))
    if not lines.initial <= rule.trigger < lines.liquidation:
        raise BadRule(
            tell(
                "A rule starts from the initial line of {initial} on, and below the liquidation line"
                " of {liquidation}, where it would come too late.",
                initial=_percent(lines.initial),
                liquidation=_percent(lines.liquidation),
            )
        )
    if not 0 < rule.target < rule.trigger:
        raise BadRule(
            tell(
                "The target must be above 0 and below {trigger}, where the rule starts.",
                trigger=_percent(rule.trigger),
            )
        )


def _check_caps(rule: CureRule) -> None:
    asset = Asset.objects.filter(pk=rule.asset_id).first()
    if asset is None:
        raise BadRule(tell("There is no coin {asset}.", asset=rule.asset_id))
    for cap in (rule.most_each, rule.most_daily):
        if cap is not None and not (0 < cap < 10**18 and round_down(cap, asset.places) == cap):
            raise BadRule(
                tell(
                    "A cap is an amount of {asset}, more than 0, with at most {places} decimals.",
                    asset=asset.pk,
                    places=asset.places,
                )
            )
    if not LEAST_COOLING <= rule.cooling_minutes <= MOST_COOLING:
        raise BadRule(
            tell(
                "A rule rests {least_cooling} to {most_cooling} minutes after it acted.",
                least_cooling=LEAST_COOLING,
                most_cooling=MOST_COOLING,
            )
        )


def _check_top_up(rule: CureRule, state: book.GroupState) -> None:
    group = state.group
    assert group is not None
    mine = Account.objects.filter(customer=group.customer_id).in_bulk()
    source = mine.get(rule.source_id or 0)
    if source is None or rule.source_wallet not in LedgerAccount.WALLETS:
        raise BadRule(tell("Choose one of your own wallets to take the coins from."))
    if rule.source_wallet == book.WALLET and rule.source_id in state.members:
        raise BadRule(
            tell(
                "What lies in Spot of {source} counts for this group already; choose another wallet.",
                source=source,
            )
        )
    _check_account(rule, state)
    _check_counts(str(rule.asset_id), state)
    rule.buy_id = None


def _check_repay(rule: CureRule, state: book.GroupState) -> None:
    if rule.asset_id not in state.owed_assets:
        owed = joined(", ", sorted(state.owed_assets))
        raise BadRule(
            tell(
                "This group owes no {asset}; it owes {owed}.",
                asset=rule.asset_id,
                owed=owed or tell("nothing"),
            )
        )
    rule.source_id = rule.account_id = rule.buy_id = None
    rule.source_wallet = ""


def _check_swap(rule: CureRule, state: book.GroupState) -> None:
    _check_account(rule, state)
    if rule.buy_id is None or rule.buy_id == rule.asset_id:
        raise BadRule(tell("Choose two coins: one to sell and another to buy for it."))
    _check_counts(rule.buy_id, state)
    rule.source_id, rule.source_wallet = None, ""


_CHECKS = {Kind.TOP_UP: _check_top_up, Kind.REPAY: _check_repay, Kind.SWAP: _check_swap}


def _check_account(rule: CureRule, state: book.GroupState) -> None:
    if rule.account_id not in state.members:
        raise BadRule(tell("Choose one of the group's collateral accounts."))


def _check_counts(coin: str, state: book.GroupState) -> None:
    if coin not in state.coins or coin not in state.terms:
        raise BadRule(
            tell(
                "{coin} does not count in this group; its coins are {coins}.",
                coin=coin,
                coins=joined(", ", sorted(state.coins)),
            )
        )


def _place(group: CollateralGroup, wanted: int | None) -> int:
    """Where the rule stands among the group's; the group is locked, so nobody else takes the place."""
    taken = {rule.position for rule in live_rules(group)}
    if len(taken) >= MOST_RULES:
        raise TooManyRules(
            tell("A group has at most {most_rules} rules. Remove one first.", most_rules=MOST_RULES)
        )
    if wanted is None:
        after = max(taken, default=0) + 1
        return after if after <= MOST_RULES else min(set(range(1, MOST_RULES + 1)) - taken)
    if not 1 <= wanted <= MOST_RULES:
        raise BadRule(tell("Rules stand at the places 1 to {most_rules}.", most_rules=MOST_RULES))
    if wanted in taken:
        raise BadRule(
            tell(
                "Another rule stands at place {wanted}; remove it first, or choose a free place.",
                wanted=wanted,
            )
        )
    return wanted


@exact
def _percent(fraction: Decimal) -> str:
    return tell("{value:f} %", value=(100 * fraction).normalize())
