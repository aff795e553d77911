"""Whether the member who calls a command may, and whether their firm asks for a second person (R-ADM-09, R-GEN-95).

A command that members call names a power (accounts/powers.py). Whose customer it is about is found from its
arguments: each app says in `owners` whom its own rows belong to, so `accounts` knows nothing of groups and loans.
Staff and jobs pass here; what they may do is each command's own question.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import datetime
from typing import Any, Final

from django.db import models
from django.db.models import QuerySet

from accounts.errors import Refused
from accounts.models import Account, FirmPolicy, Membership, User
from accounts.powers import POWERS, WORDS, MemberRule, Power, powers_of, who_may
from accounts.words import tell

Arguments = Mapping[str, Any]


class NotYourPart(Refused):
    """A member's role, or the one account they act for, does not reach that far."""

    code = "not_your_part"
    sapi = -1002


class NotYours(Refused):
    """Not the caller's: said as if it did not exist."""

    code = "not_found"


def owner_in(
    model: type[models.Model], path: str = "customer_id", *, key: str = "pk"
) -> Callable[[Any], int | None]:
    """Asks the row of `model` with a given key whose it is."""
    return lambda value: model._default_manager.filter(**{key: value}).values_list(path, flat=True).first()


owners: dict[str, Callable[[Any], int | None]] = {
    "customer_id": lambda customer_id: customer_id,
    "request": lambda request: request.customer_id,
    "account_uid": owner_in(Account),
    "source_uid": owner_in(Account),
}
"""Whom the row behind an argument of that name belongs to; None: there is no such row. Apps add their own."""

bound_to: ContextVar[Account | None] = ContextVar("bound_to", default=None)
"""The one account that a program's key reaches (accounts/keys.py); None: as far as its member does."""

TAKEN_FROM: Final = ("account_uid", "source_uid")
ACCOUNTS: Final = (*TAKEN_FROM, "target_uid")


def customer_of(arguments: Arguments) -> int | None:
    """The customer a command is about; None when its arguments name none, or rows of two."""
    named = [name for name in owners if arguments.get(name) is not None]
    found = {owners[name](arguments[name]) for name in named} - {None}
    return found.pop() if len(found) == 1 else None


def admit(rule: MemberRule, arguments: Arguments, *, user_id: int, at: datetime) -> bool:
    """Let the user call a command with these arguments; True where a second person of the firm releases it.

    Raises:
        NotYours: a borrower who acts for another customer, or there is no such row.
        NotYourPart: their role, or the one account they act for, does not reach that far.
    """
    mine = of_user(user_id, customer_of(arguments))
    if mine is None:
        if User.objects.filter(pk=user_id).exclude(role=User.Role.BORROWER).exists():
            return False
        raise NotYours(tell("There is nothing like that among what you act for."))
    refuse_without(mine, rule.power)
    if mine.account is not None and _reached(mine, arguments) != {mine.account_id}:
        raise NotYourPart(
            tell("You act for {account} only. {power}", account=mine.account, power=_way_out(rule.power))
        )
    return needs_second(rule, arguments, customer_id=mine.customer_id, at=at)


def refuse_without(mine: Membership, power: Power) -> None:
    """Refuse a member who has not this power.

    Raises:
        NotYourPart: naming what they are and who may.
    """
    if power in powers_of(mine.role):
        if mine.account is not None and power not in powers_of(mine.role, one_account=True):
            raise NotYourPart(
                tell(
                    "You act for {account} only, not for all of {customer}.",
                    account=mine.account,
                    customer=mine.customer.name,
                )
            )
        return
    may = WORDS[power]
    raise NotYourPart(
        tell(
            "As {role} of {customer} you may not {may}. {power}",
            role=_article(mine.get_role_display()),
            customer=mine.customer.name,
            may=may,
            power=_way_out(power),
        )
    )


def needs_second(rule: MemberRule, arguments: Arguments, *, customer_id: int, at: datetime) -> bool:
    """Whether the firm's second person must release it: by its policy in force, or by what is asked."""
    if rule.two:
        policy = policy_of(customer_id, at=at)
        return policy is not None and bool(getattr(policy, rule.two))
    return rule.second is not None and rule.second(arguments)


def policy_of(customer_id: int, *, at: datetime) -> FirmPolicy | None:
    """For what the firm asks for two at `at`; None while it never said."""
    rows = FirmPolicy.objects.filter(customer=customer_id, effective_at__lte=at)
    return rows.order_by("-effective_at").first()


def of_user(user_id: int | None, customer_id: int | None) -> Membership | None:
    """By what an active user acts for the customer."""
    if user_id is None or customer_id is None:
        return None
    rows = Membership.objects.filter(user_id=user_id, user__is_active=True, customer=customer_id)
    mine = rows.select_related("customer", "account", "user").first()
    only = bound_to.get()
    if mine is not None and only is not None:
        if mine.account_id not in (None, only.pk):  # said since the key was looked up
            return None
        mine.account = only  # for this request; the row is not saved
    return mine


def holders(customer_id: int, power: Power) -> QuerySet[Membership]:
    """The active people with that power who act for the whole customer: one of them can be the second person."""
    roles = [role for role, powers in POWERS.items() if power in powers]
    return Membership.objects.filter(
        customer=customer_id, account=None, role__in=roles, user__is_active=True
    ).select_related("user")


def _reached(mine: Membership, arguments: Arguments) -> set[Any]:
    """The accounts a call is about, for somebody who acts for one of them.

    A key of a sub-account takes from that one only; but if its member acts for the whole customer, it may put coins
    into any of their accounts, as the exchange's do. Of whose the target is, the command knows.
    """
    names: tuple[str, ...] = ACCOUNTS
    if bound_to.get() is not None and Membership.objects.filter(pk=mine.pk, account=None).exists():
        names = TAKEN_FROM
    return {arguments.get(name) for name in names} - {None}


def _way_out(power: Power) -> str:
    return tell("Ask {power} of your firm who acts for all of it.", power=who_may(power))


def _article(role: str) -> str:
    return tell("a {role}", role=role.lower())
