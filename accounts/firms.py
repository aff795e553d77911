"""A firm's own order: who of its people may do what, and for what it asks for two of them (R-ADM-09).

Both are changed by its signatories. What would let one of them undo the second person alone, a looser policy or
another's signature taken or given, needs a second signatory itself wherever the firm has one.
"""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from django.db import transaction

from accounts import approvals, membership
from accounts.commands import Actor, acting_user, command, keep_for_proposal, kept_proposal
from accounts.errors import Refused
from accounts.models import Approval, Customer, FirmPolicy, Membership, User
from accounts.people import BadDetails, NotAMember
from accounts.powers import MemberRule, Power, powers_of
from accounts.words import joined, tell

ACTS: Final = ("apply", "accept", "withdraw", "remove")
SIGNATORY: Final = Membership.Role.SIGNATORY


class NotAFirm(Refused):
    code = "not_a_firm"


class LastSignatory(Refused):
    code = "last_signatory"


class TooFewPeople(Refused):
    """Two are asked for, and there are not two who could."""

    code = "too_few_people"


class NothingChanges(Refused):
    code = "nothing_changes"


def _loosens(asked: Mapping[str, Any]) -> bool:
    """Whether one signatory would switch a second person off, where another could agree to it."""
    _hold(asked["customer_id"])
    policy = membership.policy_of(asked["customer_id"], at=asked["at"])
    is_looser = policy is not None and any(getattr(policy, act) and not asked[act] for act in ACTS)
    return is_looser and _has_two_signatories(asked["customer_id"])


def _shifts_power(asked: Mapping[str, Any]) -> bool:
    """Whether a signature is taken or given, or, where two are asked for, somebody may do more than before."""
    customer_id, role = asked["customer_id"], asked["role"]
    _hold(customer_id)
    row = Membership.objects.filter(customer=customer_id, user=asked["user_id"]).first()
    if row is None or not _has_two_signatories(customer_id):
        return False
    policy = membership.policy_of(customer_id, at=asked["at"])
    asks_for_two = policy is not None and any(getattr(policy, act) for act in ACTS)
    return SIGNATORY in (row.role, role) or (asks_for_two and powers_of(role) > powers_of(row.role))


@command("firms.set_policy", returns=FirmPolicy, member=MemberRule(Power.GOVERN, second=_loosens))
def set_policy(
    *,
    customer_id: int,
    apply: bool,
    accept: bool,
    withdraw: bool,
    remove: bool,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> FirmPolicy:
    """For what the firm asks for two of its people, from `at` on. R-ADM-09

    To switch one off takes two signatories where the firm has them. What waits already is not changed by it.

    Raises:
        NotAFirm: a person signs alone. NothingChanges, BadDetails: it is so already, or changed in this instant.
        TooFewPeople: fewer than two signatories and treasurers act for the whole firm.
    """
    by = None if actor.user_id is None else acting_user(actor, roles={User.Role.BORROWER}, doing="set this")
    firm = _locked(customer_id)
    asked = {"apply": apply, "accept": accept, "withdraw": withdraw, "remove": remove}
    if firm.firm_policies.filter(effective_at__gte=at).exists():
        raise BadDetails(tell("{firm} has just changed this; look again before you do.", firm=firm.name))
    before = membership.policy_of(customer_id, at=at)
    if asked == {act: before is not None and getattr(before, act) for act in ACTS}:
        raise NothingChanges(tell("{firm} asks for exactly this already.", firm=firm.name))
    policy = FirmPolicy.objects.create(customer=firm, effective_at=at, set_by=by, **asked)
    refuse_short_handed(firm, at=at)
    return policy


@command("firms.set_role", returns=Membership, member=MemberRule(Power.GOVERN, second=_shifts_power))
def set_role(
    *,
    customer_id: int,
    user_id: int,
    role: str,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> Membership:
    """What a member may do from now on; by a signatory of the firm, or an admin of the desk. R-ADM-09

    To give or take a signature takes two signatories where the firm has them, and so does giving somebody more
    while the firm asks for two people for anything.

    Raises:
        NotYourRole: somebody else of the desk. NotAFirm: a person signs alone.
        NotAMember, BadDetails, NothingChanges: no such member or role, or it is theirs already.
        LastSignatory: nobody would be left to say who may do what.
        TooFewPeople: the firm asks for two, and there would not be two.
    """
    if actor.user_id is not None:
        acting_user(actor, roles={User.Role.BORROWER, User.Role.ADMIN}, doing=tell("change a member's role"))
    firm = _locked(customer_id)
    if role not in Membership.Role.values:
        raise BadDetails(tell("A member is one of {values}.", values=joined(", ", Membership.Role.values)))
    row = firm.memberships.filter(user_id=user_id).select_related("user").first()
    if row is None:
        raise NotAMember(tell("This user does not act for {firm}.", firm=firm.name))
    if row.role == role:
        raise NothingChanges(
            tell("{user} is {role} of {firm} already.", user=row.user.name, role=role, firm=firm.name)
        )
    row.role = role
    row.save(update_fields=["role"])
    refuse_short_handed(firm, at=at)
    return row


def refuse_short_handed(firm: Customer, *, at: datetime) -> None:
    """Refuse a change that leaves too few people, seen after it is written. Inside a command that locks the firm.

    Raises:
        LastSignatory, TooFewPeople: as `set_role`.
    """
    if not membership.holders(firm.pk, Power.GOVERN).exists():
        raise LastSignatory(
            tell(
                "{firm} must keep a signatory who acts for all of it; make somebody else one first.",
                firm=firm.name,
            )
        )
    policy = membership.policy_of(firm.pk, at=at)
    asks_for_two = policy is not None and any(getattr(policy, act) for act in ACTS)
    if asks_for_two and membership.holders(firm.pk, Power.WITHDRAW).count() < 2:
        raise TooFewPeople(
            tell(
                "Two people are asked for, so {firm} needs two signatories or treasurers who act for"
                " all of it. Make somebody else one first, or switch the second person off.",
                firm=firm.name,
            )
        )


def propose_once(
    *,
    command: str,
    arguments: Mapping[str, Any],
    title: str,
    facts: Mapping[str, str],
    actor: Actor,
    at: datetime,
    key: str,
) -> Approval:
    """Put what a firm keeps for two before its other people; the command's own `key` stands for that from now on.

    A repeat finds the same proposal, decided or not, even when `facts` read differently by then, and never runs the
    command, even when the firm asks for one person only by then. R-GEN-06

    Raises:
        Refused: as `approvals.propose`.
    """
    waiting = kept_proposal(actor, key, command, arguments) if key else None
    if waiting is not None:
        return Approval.objects.get(pk=waiting)
    with transaction.atomic():
        made = approvals.propose(
            command=command,
            arguments=arguments,
            title=title,
            preview=dict(facts),
            reason="",
            actor=actor,
            at=at,
            key=sha256(f"{key}:second".encode()).hexdigest() if key else "",  # no longer than a key may be
        )
        if key:
            keep_for_proposal(actor, key, command, arguments, proposal=made.pk)
    return made


# --- Private ----------------------------------------------------------------------------------------


def _hold(customer_id: int) -> Customer:
    """Before anybody asks whether it takes two: a colleague's change that is being made is waited for, not missed."""
    return Customer.objects.select_for_update(of=("self",)).get(pk=customer_id)


def _locked(customer_id: int) -> Customer:
    firm = _hold(customer_id)
    if firm.kind != Customer.Kind.FIRM:
        raise NotAFirm(
            tell(
                "{firm} is a person, who signs alone; only a firm has roles and second persons.",
                firm=firm.name,
            )
        )
    return firm


def _has_two_signatories(customer_id: int) -> bool:
    return membership.holders(customer_id, Power.GOVERN).count() > 1
