"""Four eyes: one person proposes a command with its exact arguments, another releases or refuses it (R-ADM-03).

A proposal stores the arguments and their hash; releasing runs that and nothing else, as its maker, in the
transaction that marks it released. So two checkers at once have one effect, and a command that refuses leaves
the proposal waiting and everything else untouched (TRUST I-24). The desk's proposals are decided by role, a firm's
by its own members (R-ADM-09), and neither side sees the other's.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import IntegrityError, models, transaction

from accounts import membership, notices
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
    told,
)
from accounts.errors import Refused
from accounts.models import Approval, ApprovalPolicy, Customer, User
from accounts.money import MAX_AMOUNT
from accounts.payloads import arguments_of
from accounts.rehearsal import accepted, rehearse, run_released
from accounts.words import Words, kept, tell

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


class BeyondAuthority(Refused):
    """The checker's own authority does not cover it (R-ADM-10)."""

    code = "beyond_authority"


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
    """Put a command up for another person to release within `hours`. R-ADM-03, R-ADM-09

    `arguments` are the command's own, without actor, at, key and reason. It is rehearsed first, so what would be
    refused is refused now. A firm's own proposal needs no reason, and `customer` is the firm.

    Raises:
        NotProposable: no such command, it needs no second person, no reason, or not 1 to 720 hours.
        NotYourRole, membership.NotYourPart, membership.NotYours: the actor may not make such proposals.
        AlreadyProposed: the very same waits already.
        Refused: what the command itself would say.
    """
    found = _proposable(command)
    maker, firm = _maker(found, arguments, actor, at=at)
    reason = _reasoned(reason) if firm is None else reason.strip()[:LONGEST_REASON]
    if not 1 <= hours <= LONGEST_HOURS:
        raise NotProposable(
            tell(
                "A proposal waits 1 to {longest_hours} hours, not {hours}.",
                longest_hours=LONGEST_HOURS,
                hours=hours,
            )
        )
    payload, payload_hash = told(arguments), digest(command, arguments)
    exact = arguments_of(found, payload, payload_hash=payload_hash)
    rehearse(found, exact, payload_hash=payload_hash, actor=actor, at=at, reason=reason)
    waiting = _stored(
        Approval(
            side=Approval.Side.DESK if firm is None else Approval.Side.FIRM,
            command=command,
            payload=payload,
            payload_hash=payload_hash,
            title=title[:200],
            preview=preview,
            memory=_memory(title[:200], preview),
            reason=reason,
            customer=firm or customer,
            proposed_by=maker,
            proposed_at=at,
            expires_at=at + timedelta(hours=hours),
        )
    )
    if firm is not None:
        _tell(waiting, firm, at=at)
    return waiting


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
    perform(command, signed | accepted(found, key=key, reason=reason))
    return None


@command("approvals.release", returns=Approval)
def release(*, approval_id: int, actor: Actor, at: datetime, reason: str = "", key: str = "") -> Approval:
    """Run the proposed command, exactly as it was proposed, as its maker. R-ADM-03, R-ADM-09

    Raises:
        NotPending: it is decided or has lapsed, or is no business of the actor's.
        OwnProposal, NotYourRole, BeyondAuthority, membership.NotYourPart: the actor may not release it.
        BadPayload, Refused: it cannot be run, or the command says no; then nothing changes and it still waits.
    """
    approval = _pending(approval_id, actor, at=at)
    found = _proposable(approval.command)
    checker = _checker(approval, found, actor)
    exact = arguments_of(found, approval.payload, payload_hash=approval.payload_hash)
    maker = Actor.user(approval.proposed_by)
    if found.four_eyes and (
        refusal := found.four_eyes.may_release(checker, {**exact, "actor": maker, "at": at})
    ):
        raise BeyondAuthority(refusal)
    _decide(approval, Approval.Status.RELEASED, by=checker, at=at, reason=reason)
    why = tell(
        "{reason} ({approval}, released by {checker})",
        reason=approval.reason,
        approval=approval,
        checker=checker.name,
    )
    made = run_released(found, exact, payload_hash=approval.payload_hash, actor=maker, at=at, reason=why)
    if isinstance(made, models.Model):
        approval.result = f"{made._meta.label_lower}:{made.pk}"[:120]
        with acting(actor, reason=reason):  # the command signed as the maker
            approval.save(update_fields=["result"])
    return approval


@command("approvals.refuse", returns=Approval)
def refuse(*, approval_id: int, actor: Actor, at: datetime, reason: str, key: str = "") -> Approval:
    """Say no, with a reason for the maker. Who may release it may refuse it.

    Raises:
        NotPending, OwnProposal, NotYourRole, NotYourPart: as `release`. NotProposable: without a reason.
    """
    approval = _pending(approval_id, actor, at=at)
    checker = _checker(approval, _proposable(approval.command), actor)
    _decide(approval, Approval.Status.REFUSED, by=checker, at=at, reason=_reasoned(reason))
    return approval


@command("approvals.withdraw", returns=Approval)
def withdraw(*, approval_id: int, actor: Actor, at: datetime, reason: str = "", key: str = "") -> Approval:
    """Take one's own proposal back.

    Raises:
        NotPending: it is decided or has lapsed. NotYourProposal: somebody else made it.
    """
    approval = _pending(approval_id, actor, at=at)
    if approval.proposed_by_id != actor.user_id:
        raise NotYourProposal(
            tell(
                "{approval} was proposed by {proposed_by}; only they take it back.",
                approval=approval,
                proposed_by=approval.proposed_by.name,
            )
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
        raise BadPolicy(tell("Who may relax four eyes is not relaxed."))
    if above_usd is not None and not (above_usd.is_finite() and 0 <= above_usd < MAX_AMOUNT):
        raise BadPolicy(tell("{above_usd} is no amount in USD.", above_usd=above_usd))
    starts = at if effective_at is None else effective_at
    if starts < at:
        raise BadPolicy(tell("A policy cannot be backdated to {starts:%Y-%m-%d %H:%M} UTC.", starts=starts))
    if ApprovalPolicy.objects.filter(command=governed, effective_at=starts).exists():
        raise BadPolicy(tell("{governed} has a policy from that very instant.", governed=governed))
    return ApprovalPolicy.objects.create(
        command=governed, required=required, above_usd=above_usd, effective_at=starts
    )


# --- Reads ------------------------------------------------------------------------------------------


def stored_arguments(approval: Approval) -> dict[str, Any]:
    """What would be run, typed; for showing what it would do now.

    Raises:
        BadPayload, NotProposable: it cannot be read any more.
    """
    found = _proposable(approval.command)
    return arguments_of(found, approval.payload, payload_hash=approval.payload_hash)


# --- Private ----------------------------------------------------------------------------------------


def _proposable(name: str) -> Registered:
    found = registered.get(name)
    if found is None or (found.four_eyes is None and not (found.member and found.member.is_released)):
        raise NotProposable(tell("{name!r} is nothing that a second person releases.", name=name))
    return found


def _four_eyed(name: str) -> tuple[Registered, FourEyes]:
    found = _proposable(name)
    if found.four_eyes is None:
        raise NotProposable(tell("{name!r} is nothing that a second person of the desk releases.", name=name))
    return found, found.four_eyes


def _maker(
    found: Registered, arguments: Mapping[str, Any], actor: Actor, *, at: datetime
) -> tuple[User, Customer | None]:
    """Who proposes it, and the firm when it is one of its own people (R-ADM-09)."""
    doing = tell("propose this ({found})", found=found.name)
    if found.four_eyes is not None:
        return acting_user(actor, roles=found.four_eyes.makers, doing=doing), None
    assert found.member is not None
    maker = acting_user(actor, roles={User.Role.BORROWER}, doing=doing)
    if not membership.admit(found.member, {**arguments, "at": at}, user_id=maker.pk, at=at):
        raise NotProposable(tell("Your firm asks for one person only here; it needs no proposal."))
    firm_id = membership.customer_of(arguments)
    assert firm_id is not None, "whose it is was found when they were let in"
    return maker, Customer.objects.get(pk=firm_id)


def _reasoned(reason: str) -> str:
    if not 1 <= len(reason.strip()) <= LONGEST_REASON:
        raise NotProposable(
            tell("Say why, in at most {longest_reason} characters.", longest_reason=LONGEST_REASON)
        )
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
        raise AlreadyProposed(
            tell("{waiting} proposes exactly this already and waits.", waiting=waiting)
        ) from error
    return approval


def _memory(title: str, preview: dict[str, Any]) -> dict[str, Any] | None:
    told = {name: kept(value) for name, value in preview.items() if isinstance(value, Words)}
    parts = {"title": kept(title), "preview": told}
    return {name: part for name, part in parts.items() if part} or None


def _tell(waiting: Approval, firm: Customer, *, at: datetime) -> None:
    """The colleagues hear of it: one of them is needed. R-ADM-09"""
    notices.send(
        customer=firm,
        event=f"firm_proposal:{waiting.pk}",
        kind="firm_proposal",
        title=tell("{waiting} waits for a second person", waiting=waiting),
        body=tell(
            "{proposed_by} proposes: {waiting}. It is done when a colleague who may do this too"
            " releases it, until {expires_at:%-d %B %Y, %H:%M} UTC.",
            proposed_by=waiting.proposed_by.name,
            waiting=waiting.title,
            expires_at=waiting.expires_at,
        ),
        facts={},
        at=at,
    )


def _pending(approval_id: int, actor: Actor, *, at: datetime) -> Approval:
    """The proposal, locked, so that of two who decide the second finds it decided."""
    rows = Approval.objects.select_for_update(no_key=True, of=("self",)).select_related("proposed_by")
    approval = rows.filter(pk=approval_id).first()
    if approval is None or not _concerns(approval, actor):
        raise NotPending(tell("There is no proposal {approval}.", approval=approval_id))
    if approval.status != Approval.Status.PENDING:
        raise NotPending(
            tell(
                "{approval} is {status} already.",
                approval=approval,
                status=approval.get_status_display().lower(),
            )
        )
    if approval.expires_at <= at:
        raise NotPending(
            tell(
                "{approval} lapsed on {expires_at:%Y-%m-%d %H:%M} UTC; it can be proposed anew.",
                approval=approval,
                expires_at=approval.expires_at,
            )
        )
    return approval


def _concerns(approval: Approval, actor: Actor) -> bool:
    """A firm's own proposals do not exist for anybody else, the desk included."""
    if approval.side == Approval.Side.DESK or actor.user_id == approval.proposed_by_id:
        return True
    mine = membership.of_user(actor.user_id, approval.customer_id)
    return mine is not None and mine.account is None


def _checker(approval: Approval, found: Registered, actor: Actor) -> User:
    if actor.user_id == approval.proposed_by_id:
        raise OwnProposal(
            tell("{approval} is your own proposal; somebody else has to decide it.", approval=approval)
        )
    if approval.side == Approval.Side.DESK:
        assert found.four_eyes is not None
        return acting_user(
            actor, roles=found.four_eyes.checkers, doing=tell("decide {approval}", approval=approval)
        )
    mine = membership.of_user(actor.user_id, approval.customer_id)
    assert mine is not None, "whom a firm's proposal does not concern finds none"
    assert found.member is not None
    membership.refuse_without(mine, found.member.power)
    return mine.user


def _decide(approval: Approval, status: str, *, by: User | None, at: datetime, reason: str) -> None:
    approval.status, approval.decided_by, approval.decided_at = status, by, at
    approval.decision_reason = reason.strip()[:LONGEST_REASON]
    approval.save(update_fields=["status", "decided_by", "decided_at", "decision_reason"])
