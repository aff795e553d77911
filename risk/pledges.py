"""What adding or removing a collateral account would do to LTV; and removing one without the borrower. R-VIP-55

The previews ask what the commands of `risk/groups.py` ask, on a state read without the lock. A forced removal is
for what the borrower's own conditions do not foresee, such as an account under dispute: the desk may go past the
initial line then, with two persons, and never so far that the group would be called (R-ADM-03).
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from accounts import people
from accounts.commands import Actor, FourEyes, command
from accounts.errors import Refused
from accounts.models import Account, User
from accounts.words import joined, tell
from risk import book, freezes, groups
from risk.levels import Action, Lines
from risk.models import CollateralGroup, Member, RiskEvent

DESK = frozenset({User.Role.RISK_OFFICER, User.Role.ADMIN})


class WouldBeCalled(Refused):
    """R-ADM-03: even the desk leaves no group in a margin call."""

    code = "would_be_called"


@dataclass(frozen=True, slots=True)
class Effect:
    """LTV before and after, None when infinite or unknown; `reason` says why it may not happen, if it may not."""

    reason: str
    ltv_before: Decimal | None
    ltv_after: Decimal | None
    lines: Lines
    is_safe_before: bool  # R-VIP-55: below the initial line now
    is_safe_after: bool  # R-VIP-55: at most on it afterwards
    before: book.GroupState
    after: book.GroupState

    @property
    def allowed(self) -> bool:
        return not self.reason


def preview_add(*, group: CollateralGroup, account: Account, max_accounts: int, at: datetime) -> Effect:
    """As `groups.add_account` would decide now."""
    before = book.state_of(group, at=at)
    after = book.with_account(before, account.pk) if account.pk not in before.members else before

    def ask() -> None:
        other = groups.pledged_to([account.pk]).get(account.pk)
        groups.check_adding(group, account, other, most=max_accounts, at=at)
        groups.permit_adding(before, after, at=at)

    return _effect(before, after, ask)


def preview_remove(*, group: CollateralGroup, uid: int, at: datetime) -> Effect:
    """As `groups.remove_account` would decide now."""
    before, after = _without(group, uid, at)

    def ask() -> None:
        action = Action.REMOVE_ACCOUNT
        freezes.refuse_frozen(action=action, uids=[uid], group=group, at=at)
        groups.permit(action=action, before=before, after=after, at=at)

    return _effect(before, after, ask)


def preview_force(*, group: CollateralGroup, uid: int, at: datetime) -> Effect:
    """As `force_remove` would decide now."""
    before, after = _without(group, uid, at)
    return _effect(before, after, lambda: _refuse_called(before, after))


@command(
    "groups.force_remove",
    returns=Member,
    four_eyes=FourEyes(makers=DESK | {User.Role.VIP_MANAGER}, checkers=DESK),
)
def force_remove(
    *, group_id: int, uid: int, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> Member:
    """Take an account out of its group without the borrower: LTV must be below margin call afterwards. R-ADM-03

    Two persons decide it, so freezes, which hold customers back, do not.

    Raises:
        NotYourClient: a VIP manager, for somebody else's client.
        GroupClosed, NotAMember: there is nothing to remove.
        PriceTooOld, WouldBeCalled: LTV cannot be told, or would be at or above the margin call line.
        NotPermitted: collateral is being sold.
    """
    held = groups.hold(uids=[uid], group_ids=[group_id])
    group = groups.opened(held, group_id)
    people.refuse_others_client(actor=actor, customer=group.customer)
    member = groups.live_member(group, uid)
    before, after = _without(group, uid, at)
    _refuse_called(before, after)
    member.released_at = at
    member.save(update_fields=["released_at"])
    RiskEvent.objects.create(
        group=group,
        kind=RiskEvent.Kind.MEMBER_REMOVED,
        at=at,
        ltv=after.movement_ltv,
        facts={"accounts": [uid], "forced": True, "reason": reason, "by": actor.label},
    )
    return member


# --- Private ----------------------------------------------------------------------------------------


def _without(group: CollateralGroup, uid: int, at: datetime) -> tuple[book.GroupState, book.GroupState]:
    before = book.state_of(group, at=at)
    return before, before.changed(without_members=(uid,))


def _refuse_called(before: book.GroupState, after: book.GroupState) -> None:
    if before.stale_debts:
        owed = joined(", ", before.stale_debts)
        raise groups.PriceTooOld(
            tell(
                "The price of {owed} is too old to tell what LTV would be; wait until it is fresh.", owed=owed
            )
        )
    if before.is_liquidating:
        raise groups.NotPermitted(tell("Collateral is being sold: no account leaves until the sale ends."))
    if not after.worth().is_below(before.lines.margin_call):
        ltv = after.movement_ltv
        told = (
            tell("infinite, as no collateral would count")
            if ltv is None
            else tell("{value:.2f} %", value=100 * ltv)
        )
        line = tell("{value:f} %", value=(100 * before.lines.margin_call).normalize())
        raise WouldBeCalled(
            tell(
                "LTV would be {told}; even the desk keeps it below the margin call line of {line}.",
                told=told,
                line=line,
            )
        )


def _effect(before: book.GroupState, after: book.GroupState, ask: Callable[[], None]) -> Effect:
    reason = ""
    try:
        ask()
    except Refused as refusal:
        reason = refusal.message
    return Effect(
        reason=reason,
        ltv_before=before.movement_ltv,
        ltv_after=after.movement_ltv,
        lines=before.lines,
        is_safe_before=not before.stale_debts and before.worth().is_below(before.lines.initial),
        is_safe_after=not before.stale_debts and after.worth().is_at_most(before.lines.initial),
        before=before,
        after=after,
    )
