"""What every command has in common: one transaction, an actor, an idempotency key, an audit row, bounded retry.

A command is a keyword-only function with `actor` and `at`, and optionally `key` and `reason`. It returns the
one row it made (or nothing), which is what a repeat of the same key gets again.
"""

import functools
import hashlib
import json
import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, ParamSpec, TypeVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import OperationalError, connection, models, transaction

from accounts import membership
from accounts.errors import Refused
from accounts.models import ApprovalPolicy, AuditRecord, IdempotencyKey, User
from accounts.powers import MemberRule
from accounts.words import joined, tell

P = ParamSpec("P")
R = TypeVar("R")

RETRIED_SQLSTATES = {"40001", "40P01", "55P03"}  # serialization failure, deadlock, lock not available
MAX_TRIES = 5
LONGEST_KEY = 64  # characters; the width of the column
WAITS = "waits:"  # before a proposal's number: what a key has come to that a second person was asked for
REUSED = tell("This request key was already used for something else; nothing was done.")

request_id: ContextVar[str] = ContextVar("request_id", default="")


class KeyReused(Refused):
    code = "idempotency_key_reused"
    sapi = -1130


class BadKey(Refused):
    code = "bad_idempotency_key"
    sapi = -1130


class NeedsApproval(Refused):
    """R-ADM-03, R-ADM-09: propose it (accounts/approvals.py); it runs when another person releases it."""

    code = "needs_approval"
    sapi = -1002


class NotYourRole(Refused):
    code = "not_your_role"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts: a user, or a job of ours. The label scopes idempotency keys and signs the audit trail."""

    label: str

    @classmethod
    def user(cls, user: User) -> "Actor":
        return cls(f"user:{user.pk}")

    @classmethod
    def job(cls, name: str) -> "Actor":
        return cls(f"job:{name}")

    @property
    def user_id(self) -> int | None:
        """The user behind it; None for a job of ours."""
        kind, _, pk = self.label.partition(":")
        return int(pk) if kind == "user" else None


Arguments = Mapping[str, Any]


def _always(_: Arguments) -> bool:
    return True


def _unpriced(_: Arguments) -> Decimal | None:
    return None


def _never(_: Arguments) -> bool:
    return False


def _anybody(_: User, __: Arguments) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class FourEyes:
    """What makes a command one that a person only proposes and another releases (R-ADM-03, TRUST I-24).

    `makers` and `checkers` are roles. `needed` looks at the arguments: some calls need one person only; a maker's
    role is asked for in any case. `worth` is what they move, in USD, for policies that begin at an amount.
    Jobs of ours need no release. `beyond`: more than this maker may do alone, whatever a policy says (R-ADM-10).
    `may_release`: why this checker may not release it, in words; empty when they may.
    """

    makers: frozenset[str] = field(
        default_factory=lambda: frozenset({User.Role.RISK_OFFICER, User.Role.ADMIN})
    )
    checkers: frozenset[str] = field(
        default_factory=lambda: frozenset({User.Role.RISK_OFFICER, User.Role.ADMIN})
    )
    needed: Callable[[Arguments], bool] = _always
    worth: Callable[[Arguments], Decimal | None] = _unpriced
    beyond: Callable[[Arguments], bool] = _never
    may_release: Callable[[User, Arguments], str] = _anybody


@dataclass(frozen=True, slots=True)
class Registered:
    """A command by its name: what to call, who of a customer may, and who must release it."""

    name: str
    function: Callable[..., Any]
    returns: type[models.Model] | None
    four_eyes: FourEyes | None
    member: MemberRule | None = None


registered: dict[str, Registered] = {}
releasing: ContextVar[str] = ContextVar("releasing", default="")
"""The payload hash whose release is running (accounts/approvals.py); nothing else passes as released."""
repeated: ContextVar[bool] = ContextVar("repeated", default=False)
"""Whether the command that ended last gave an earlier outcome again: it was done before, and not now (R-GEN-06)."""


@contextmanager
def acting(actor: Actor, *, reason: str = "") -> Iterator[None]:
    """A transaction signed by `actor`; the audit triggers refuse a change that nobody signed."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT set_config('app.actor', %s, true), set_config('app.reason', %s, true),"
                " set_config('app.request', %s, true)",
                [actor.label, reason, request_id.get()],
            )
        yield


def command(
    name: str,
    *,
    returns: type[models.Model] | None = None,
    four_eyes: FourEyes | None = None,
    member: MemberRule | None = None,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a chapter's function a command named `name`, such as `vip.repay`.

    `member` says which of a borrower's own people may call it, and when another of them releases it (R-ADM-09).

    Raises (from the decorated function):
        BadKey: the key is no line of 1 to 64 ASCII characters.
        KeyReused: the same caller used this key for another command or with other arguments.
        NotYourRole, NeedsApproval: a person calls it, and `four_eyes` says who may and who must release it.
        NotYours, NotYourPart, NeedsApproval: a borrower calls it, and `member` says who may and who must release it.
    """

    def wrap(function: Callable[P, R]) -> Callable[P, R]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            if args:
                raise TypeError(f"{name} takes keywords only")
            result: R = perform(name, kwargs)
            return result

        assert name not in registered or registered[name].function.__module__ == function.__module__, name
        registered[name] = Registered(name, function, returns, four_eyes, member)
        return run

    return wrap


def perform(name: str, kwargs: dict[str, Any]) -> Any:
    """Run the command of that name, as calling it does; for those who have the name only."""
    return retried(lambda: _run_once(registered[name], kwargs))


def retried(run: Callable[[], R]) -> R:
    """A transaction that lost against another is run again, a few times; not where it is a part of a larger one."""
    nested = connection.in_atomic_block
    for attempt in range(1, MAX_TRIES + 1):
        try:
            return run()
        except OperationalError as error:
            state = getattr(error.__cause__, "sqlstate", None)
            if nested or attempt == MAX_TRIES or state not in RETRIED_SQLSTATES:
                raise
            time.sleep(random.uniform(0.01, 0.05) * attempt)  # noqa: S311  jitter, not a secret
    raise AssertionError("unreachable")


def _run_once(command: Registered, kwargs: dict[str, Any]) -> Any:
    name, actor = command.name, kwargs["actor"]
    with acting(actor, reason=str(kwargs.get("reason") or "")):
        key = kwargs.get("key")
        claim = _claim(actor, str(key), name, kwargs) if key else None
        if claim is not None and not claim.fresh:
            first = claim.replay(command.returns)
            repeated.set(True)
            return first
        if command.four_eyes is not None:
            _refuse_unreleased(command, command.four_eyes, kwargs)
        if command.member is not None:
            _refuse_member(command, command.member, kwargs)
        result = command.function(**kwargs)
        result_pk = str(result.pk) if isinstance(result, models.Model) else None
        AuditRecord.objects.create(
            kind=AuditRecord.Kind.COMMAND,
            subject=name,
            actor=actor.label,
            reason=str(kwargs.get("reason") or ""),
            request=request_id.get(),
            after={"arguments": told(kwargs), "result": result_pk},
        )
        if claim is not None and result_pk is not None:
            IdempotencyKey.objects.filter(pk=claim.row.pk).update(result=result_pk)
    repeated.set(False)
    return result


def digest(name: str, kwargs: Arguments) -> str:
    """Names a command with its exact arguments, without who, when and why: 64 hexadecimal digits."""
    plain = json.dumps([name, told(kwargs)], sort_keys=True)
    return hashlib.sha256(plain.encode()).hexdigest()


def keep_for_proposal(actor: Actor, key: str, name: str, arguments: Arguments, *, proposal: int) -> None:
    """What this key asked for waits as a proposal: it does nothing else, whatever the policy becomes. R-GEN-06

    Raises:
        BadKey, KeyReused: as the command itself.
    """
    claim = _claim(actor, key, name, arguments)
    if claim.fresh:
        IdempotencyKey.objects.filter(pk=claim.row.pk).update(result=f"{WAITS}{proposal}")


def kept_proposal(actor: Actor, key: str, name: str, arguments: Arguments) -> int | None:
    """The number of the proposal that this key has come to, if to any.

    Raises:
        KeyReused: to one of something else.
    """
    row = IdempotencyKey.objects.filter(caller=actor.label, key=key, result__startswith=WAITS).first()
    if row is None or row.result is None:
        return None
    if (row.command, row.request_hash) != (name, digest(name, arguments)):
        raise KeyReused(REUSED)
    return int(row.result.removeprefix(WAITS))


def needs_release(command: Registered, kwargs: Arguments, *, at: datetime) -> bool:
    """Whether these arguments need a second person at `at`, by the command and the policy in force."""
    rule = command.four_eyes
    if rule is not None and rule.beyond(kwargs):
        return True
    if rule is None or not rule.needed(kwargs):
        return False
    policies = ApprovalPolicy.objects.filter(command=command.name, effective_at__lte=at)
    policy = policies.order_by("-effective_at").first()
    if policy is None:
        return True
    worth = rule.worth(kwargs)
    return policy.required and (policy.above_usd is None or worth is None or worth > policy.above_usd)


def acting_user(actor: Actor, *, roles: Collection[str], doing: str) -> User:
    """The person behind the actor.

    Raises:
        NotYourRole: it is no active person with one of these roles.
    """
    rows = User.objects.filter(is_active=True)
    user = None if actor.user_id is None else rows.filter(pk=actor.user_id).first()
    if user is None or user.role not in roles:
        names = joined(", ", sorted(_role_name(role) for role in roles))
        raise NotYourRole(tell("Only these roles may {doing}: {names}.", doing=doing, names=names))
    return user


def _role_name(role: str) -> str:
    label = str(User.Role(role).label)
    return label if label.startswith("VIP") else label.lower()


def _refuse_unreleased(command: Registered, rule: FourEyes, kwargs: dict[str, Any]) -> None:
    if kwargs["actor"].user_id is None:
        return
    acting_user(kwargs["actor"], roles=rule.makers, doing=tell("do this ({command})", command=command.name))
    if needs_release(command, kwargs, at=kwargs["at"]) and releasing.get() != digest(command.name, kwargs):
        raise NeedsApproval(
            tell("This needs a second person: propose it, and it is done when they release it.")
        )


def _refuse_member(command: Registered, rule: MemberRule, kwargs: dict[str, Any]) -> None:
    user_id = kwargs["actor"].user_id
    if user_id is None:
        return
    needs_second = membership.admit(rule, kwargs, user_id=user_id, at=kwargs["at"])
    if needs_second and releasing.get() != digest(command.name, kwargs):
        raise NeedsApproval(
            tell("Your firm asks for two people here: propose it, and a colleague releases it.")
        )


@dataclass(frozen=True, slots=True)
class _Claim:
    row: IdempotencyKey
    fresh: bool

    def replay(self, returns: type[models.Model] | None) -> models.Model | None:
        """The first outcome.

        Raises:
            NeedsApproval: it was put before a second person, and stays there.
        """
        if returns is None or self.row.result is None:
            return None
        if self.row.result.startswith(WAITS):
            raise NeedsApproval(tell("This was put before a second person; it is not done here."))
        return returns._default_manager.get(pk=self.row.result)


def _claim(actor: Actor, key: str, name: str, kwargs: Arguments) -> _Claim:
    """Take the key, or find who took it. A concurrent holder makes the insert wait until it is decided."""
    if len(key) > LONGEST_KEY or not (key.isascii() and key.isprintable()):
        raise BadKey(
            tell(
                "A request key is one line of at most {longest_key} plain characters.",
                longest_key=LONGEST_KEY,
            )
        )
    request_hash = digest(name, kwargs)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO accounts_idempotencykey (caller, key, command, request_hash) VALUES (%s, %s, %s, %s)"
            " ON CONFLICT (caller, key) DO NOTHING",
            [actor.label, key, name, request_hash],
        )
        fresh = cursor.rowcount == 1
    row = IdempotencyKey.objects.get(caller=actor.label, key=key)
    if not fresh and (row.command, row.request_hash) != (name, request_hash):
        raise KeyReused(REUSED)
    return _Claim(row=row, fresh=fresh)


def told(kwargs: Arguments) -> dict[str, Any]:
    """The arguments as the audit row and the key's hash keep them: not who, when or why."""
    rest = {k: v for k, v in kwargs.items() if k not in {"actor", "at", "key", "reason"}}
    plain: dict[str, Any] = json.loads(json.dumps(rest, cls=_Teller))
    return plain


class _Teller(DjangoJSONEncoder):
    def default(self, o: object) -> Any:
        if isinstance(o, models.Model):
            return f"{o._meta.label_lower}:{o.pk}"
        if isinstance(o, datetime):
            return o.isoformat()  # Django's encoder would drop the microseconds
        if hasattr(o, "__dataclass_fields__"):
            return {field: getattr(o, field) for field in o.__dataclass_fields__}
        if isinstance(o, (set, frozenset)):
            return sorted(o)
        if isinstance(o, bytes):
            return f"sha256:{hashlib.sha256(o).hexdigest()}"  # a file is named by its digest
        return super().default(o)
