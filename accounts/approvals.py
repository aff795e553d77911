"""Four eyes: one person proposes a command with its exact arguments, another releases or refuses it (R-ADM-03).

A proposal stores the arguments and their hash; releasing runs that and nothing else, as its maker, in the
transaction that marks it released. So two checkers at once have one effect, and a command that refuses leaves
the proposal waiting and everything else untouched (TRUST I-24).
"""

from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, models, transaction
from django.db.models import Q, QuerySet

from accounts.commands import (
    Actor,
    FourEyes,
    Registered,
    acting,
    acting_user,
    command,
    digest,
    needs_release,
    perform,
    registered,
    releasing,
    told,
)
from accounts.errors import Refused
from accounts.models import Approval, ApprovalPolicy, Customer, User
from accounts.money import MAX_AMOUNT
from accounts.payloads import arguments_of

DEFAULT_HOURS = 72
LONGEST_HOURS = 30 * 24
LONGEST_REASON = 2000  # characters; the width of the columns
MOST_LAPSED = 500  # per run of the job


class NotProposable(Refused):
    code = "not_proposable"


class NotPending(Refused):
    code = "proposal_not_pending"


class OwnProposal(Refused):
    code = "own_proposal"


class NotYourProposal(Refused):
    code = "not_your_proposal"


class AlreadyProposed(Refused):
    code = "already_proposed"


class BadPolicy(Refused):
    code = "bad_policy"


@command("approvals.propose", returns=Approval)
def propose(
    *,
    command: str,
    arguments: Mapping[str, Any],
    title: str,
    preview: dict[str, Any],
    reason: str,
    actor: Actor,
    at: datetime,
    customer: Customer | None = None,
    hours: int = DEFAULT_HOURS,
    key: str = "",
) -> Approval:
    """Put a command up for another person to release within `hours`. R-ADM-03

    `arguments` are the command's own, without actor, at, key and reason. It is rehearsed first, so what would be
    refused is refused now.

    Raises:
        NotProposable: no such command, it never needs four eyes, no reason, or not 1 to 720 hours.
        NotYourRole: the actor may not make such proposals.
        AlreadyProposed: the very same waits already.
        Refused: what the command itself would say.
    """
    found, rule = _four_eyed(command)
    maker = acting_user(actor, roles=rule.makers, doing=f"propose this ({command})")
    reason = _reasoned(reason)
    if not 1 <= hours <= LONGEST_HOURS:
        raise NotProposable(f"A proposal waits 1 to {LONGEST_HOURS} hours, not {hours}.")
    payload, payload_hash = told(arguments), digest(command, arguments)
    exact = arguments_of(found, payload, payload_hash=payload_hash)
    _rehearse(found, exact, payload_hash=payload_hash, actor=actor, at=at, reason=reason)
    return _stored(
        Approval(
            command=command,
            payload=payload,
            payload_hash=payload_hash,
            title=title[:200],
            preview=preview,
            reason=reason,
            customer=customer,
            proposed_by=maker,
            proposed_at=at,
            expires_at=at + timedelta(hours=hours),
        )
    )


def run_or_propose(
    *,
    command: str,
    arguments: Mapping[str, Any],
    title: str,
    preview: dict[str, Any],
    reason: str,
    actor: Actor,
    at: datetime,
    customer: Customer | None = None,
    hours: int = DEFAULT_HOURS,
    key: str = "",
) -> Approval | None:
    """Run the command at once when no second person is needed (None); propose it otherwise. As `propose` refuses."""
    found, _ = _four_eyed(command)
    signed = {**arguments, "actor": actor, "at": at}
    if actor.user_id is not None and needs_release(found, signed, at=at):
        return propose(
            command=command,
            arguments=arguments,
            title=title,
            preview=preview,
            reason=reason,
            actor=actor,
            at=at,
            customer=customer,
            hours=hours,
            key=key,
        )
    perform(command, signed | _accepted(found, key=key, reason=reason))
    return None


@command("approvals.release", returns=Approval)
def release(*, approval_id: int, actor: Actor, at: datetime, reason: str = "", key: str = "") -> Approval:
    """Run the proposed command, exactly as it was proposed, as its maker. R-ADM-03

    Raises:
        NotPending: it is decided or has lapsed.
        OwnProposal, NotYourRole: the actor may not release it.
        BadPayload, Refused: it cannot be run, or the command says no; then nothing changes and it still waits.
    """
    approval = _pending(approval_id, at=at)
    found, rule = _four_eyed(approval.command)
    checker = _checker(approval, rule, actor)
    exact = arguments_of(found, approval.payload, payload_hash=approval.payload_hash)
    _decide(approval, Approval.Status.RELEASED, by=checker, at=at, reason=reason)
    why = f"{approval.reason} ({approval}, released by {checker.name})"
    maker = Actor.user(approval.proposed_by)
    made = _run_released(found, exact, payload_hash=approval.payload_hash, actor=maker, at=at, reason=why)
    if isinstance(made, models.Model):
        approval.result = f"{made._meta.label_lower}:{made.pk}"[:120]
        with acting(actor, reason=reason):  # the command signed as the maker
            approval.save(update_fields=["result"])
    return approval


@command("approvals.refuse", returns=Approval)
def refuse(*, approval_id: int, actor: Actor, at: datetime, reason: str, key: str = "") -> Approval:
    """Say no, with a reason for the maker. Who may release it may refuse it.

    Raises:
        NotPending, OwnProposal, NotYourRole: as `release`. NotProposable: without a reason.
    """
    approval = _pending(approval_id, at=at)
    checker = _checker(approval, _four_eyed(approval.command)[1], actor)
    _decide(approval, Approval.Status.REFUSED, by=checker, at=at, reason=_reasoned(reason))
    return approval


@command("approvals.withdraw", returns=Approval)
def withdraw(*, approval_id: int, actor: Actor, at: datetime, reason: str = "", key: str = "") -> Approval:
    """Take one's own proposal back.

    Raises:
        NotPending: it is decided or has lapsed. NotYourProposal: somebody else made it.
    """
    approval = _pending(approval_id, at=at)
    if approval.proposed_by_id != actor.user_id:
        raise NotYourProposal(
            f"{approval} was proposed by {approval.proposed_by.name}; only they take it back."
        )
    _decide(approval, Approval.Status.WITHDRAWN, by=approval.proposed_by, at=at, reason=reason)
    return approval


def expire_due(*, at: datetime, most: int = MOST_LAPSED) -> int:
    """Close the proposals that nobody decided in time; returns how many. Safe to run late, twice, or two at once."""
    with acting(Actor.job("expire-proposals")):
        lapsed = Approval.objects.filter(status=Approval.Status.PENDING, expires_at__lte=at).order_by("pk")
        rows = list(lapsed.select_for_update(skip_locked=True, no_key=True, of=("self",))[:most])
        for approval in rows:
            _decide(approval, Approval.Status.EXPIRED, by=None, at=at, reason="Nobody decided in time.")
    return len(rows)


@command("approvals.publish_policy", returns=ApprovalPolicy, four_eyes=FourEyes())
def publish_policy(
    *,
    governed: str,
    required: bool,
    above_usd: Decimal | None = None,
    effective_at: datetime | None = None,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> ApprovalPolicy:
    """Say whether the command `governed` needs four eyes, and above which worth in USD. R-ADM-03

    This needs four eyes itself, always.

    Raises:
        BadPolicy: no such command, this one, an amount that is none, in the past, or said of that instant before.
    """
    _four_eyed(governed)
    if governed == "approvals.publish_policy":
        raise BadPolicy("Who may relax four eyes is not relaxed.")
    if above_usd is not None and not (above_usd.is_finite() and 0 <= above_usd < MAX_AMOUNT):
        raise BadPolicy(f"{above_usd} is no amount in USD.")
    starts = at if effective_at is None else effective_at
    if starts < at:
        raise BadPolicy(f"A policy cannot be backdated to {starts:%Y-%m-%d %H:%M} UTC.")
    if ApprovalPolicy.objects.filter(command=governed, effective_at=starts).exists():
        raise BadPolicy(f"{governed} has a policy from that very instant.")
    return ApprovalPolicy.objects.create(
        command=governed, required=required, above_usd=above_usd, effective_at=starts
    )


# --- Reads ------------------------------------------------------------------------------------------


def visible_to(user: User) -> QuerySet[Approval]:
    """Staff see all; a VIP manager their own, those about their clients and those they may release."""
    if user.is_staff:
        return Approval.objects.all()
    if user.role != User.Role.VIP_MANAGER or not user.is_active:
        return Approval.objects.none()
    theirs = Q(proposed_by=user) | Q(customer__manager=user)
    return Approval.objects.filter(theirs | Q(command__in=_released_by(user), customer__isnull=True))


def waiting_for(user: User, *, at: datetime) -> QuerySet[Approval]:
    """The pending proposals that this user may decide: their role is asked for, and somebody else made it."""
    rows = visible_to(user).filter(status=Approval.Status.PENDING, expires_at__gt=at)
    return rows.filter(command__in=_released_by(user)).exclude(proposed_by=user)


def may_decide(approval: Approval, user: User) -> bool:
    """Whether the user's role may release or refuse it, and it is somebody else's."""
    return user.is_active and approval.proposed_by_id != user.pk and approval.command in _released_by(user)


def stored_arguments(approval: Approval) -> dict[str, Any]:
    """What would be run, typed; for showing what it would do now.

    Raises:
        BadPayload, NotProposable: it cannot be read any more.
    """
    found, _ = _four_eyed(approval.command)
    return arguments_of(found, approval.payload, payload_hash=approval.payload_hash)


# --- Private ----------------------------------------------------------------------------------------


class _Rehearsed(Exception):
    """Rolls a rehearsal back."""


def _four_eyed(name: str) -> tuple[Registered, FourEyes]:
    found = registered.get(name)
    if found is None or found.four_eyes is None:
        raise NotProposable(f"{name!r} is nothing that a second person releases.")
    return found, found.four_eyes


def _released_by(user: User) -> list[str]:
    return [
        name
        for name, one in registered.items()
        if one.four_eyes is not None and user.role in one.four_eyes.checkers
    ]


def _reasoned(reason: str) -> str:
    if not 1 <= len(reason.strip()) <= LONGEST_REASON:
        raise NotProposable(f"Say why, in at most {LONGEST_REASON} characters.")
    return reason.strip()


def _stored(approval: Approval) -> Approval:
    try:
        with transaction.atomic():
            approval.save(force_insert=True)
    except IntegrityError as error:
        same = Approval.objects.filter(payload_hash=approval.payload_hash, status=Approval.Status.PENDING)
        waiting = same.first()
        if waiting is None:
            raise
        raise AlreadyProposed(f"{waiting} proposes exactly this already and waits.") from error
    return approval


def _pending(approval_id: int, *, at: datetime) -> Approval:
    """The proposal, locked, so that of two who decide the second finds it decided."""
    rows = Approval.objects.select_for_update(no_key=True, of=("self",)).select_related("proposed_by")
    approval = rows.filter(pk=approval_id).first()
    if approval is None:
        raise NotPending(f"There is no proposal {approval_id}.")
    if approval.status != Approval.Status.PENDING:
        raise NotPending(f"{approval} is {approval.get_status_display().lower()} already.")
    if approval.expires_at <= at:
        raise NotPending(
            f"{approval} lapsed on {approval.expires_at:%Y-%m-%d %H:%M} UTC; it can be proposed anew."
        )
    return approval


def _checker(approval: Approval, rule: FourEyes, actor: Actor) -> User:
    if actor.user_id == approval.proposed_by_id:
        raise OwnProposal(f"{approval} is your own proposal; somebody else has to decide it.")
    return acting_user(actor, roles=rule.checkers, doing=f"decide {approval}")


def _decide(approval: Approval, status: str, *, by: User | None, at: datetime, reason: str) -> None:
    approval.status, approval.decided_by, approval.decided_at = status, by, at
    approval.decision_reason = reason.strip()[:LONGEST_REASON]
    approval.save(update_fields=["status", "decided_by", "decided_at", "decision_reason"])


def _rehearse(
    found: Registered, exact: dict[str, Any], *, payload_hash: str, actor: Actor, at: datetime, reason: str
) -> None:
    """Run it and take it back. What it would refuse is refused, and nothing of it stays."""
    with suppress(_Rehearsed), transaction.atomic():
        _run_released(found, exact, payload_hash=payload_hash, actor=actor, at=at, reason=reason)
        raise _Rehearsed


def _run_released(
    found: Registered, exact: dict[str, Any], *, payload_hash: str, actor: Actor, at: datetime, reason: str
) -> Any:
    token = releasing.set(payload_hash)
    try:
        signed = {**exact, "actor": actor, "at": at}
        return perform(found.name, signed | _accepted(found, reason=reason))
    finally:
        releasing.reset(token)


def _accepted(found: Registered, **offered: str) -> dict[str, str]:
    """A command need not ask for a reason, nor take a key."""
    names = found.function.__kwdefaults__ or {}
    asked = {*names, *found.function.__annotations__}
    return {name: value for name, value in offered.items() if name in asked}
