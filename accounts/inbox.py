"""Who sees which proposals, and which of them wait for whom (R-ADM-03, R-ADM-09).

The desk's are seen and decided by role, a firm's own by its members; neither side sees the other's.
"""

from collections.abc import Iterable
from datetime import datetime

from django.db.models import Q, QuerySet

from accounts.commands import registered
from accounts.models import Approval, User
from accounts.powers import powers_of


def visible_to(user: User) -> QuerySet[Approval]:
    """Staff see the desk's; a VIP manager their own, those about their clients and those they may release.

    A firm's own are seen by those who act for all of it, and by who made them (R-ADM-09).
    """
    if user.role == User.Role.BORROWER:
        whole = user.memberships.filter(account=None).values("customer") if user.is_active else ()
        return Approval.objects.filter(Q(customer__in=whole) | Q(proposed_by=user), side=Approval.Side.FIRM)
    rows = Approval.objects.filter(side=Approval.Side.DESK)
    if user.is_staff:
        return rows
    if user.role != User.Role.VIP_MANAGER or not user.is_active:
        return Approval.objects.none()
    theirs = Q(proposed_by=user) | Q(customer__manager=user)
    return rows.filter(theirs | Q(command__in=_released_by(user), customer__isnull=True))


def waiting_for(user: User, *, at: datetime) -> QuerySet[Approval]:
    """The pending proposals that this user may decide: their role is asked for, and somebody else made it."""
    rows = visible_to(user).filter(status=Approval.Status.PENDING, expires_at__gt=at)
    return rows.filter(_decidable(user)).exclude(proposed_by=user)


def may_decide(approval: Approval, user: User) -> bool:
    """Whether the user's role may release or refuse it, and it is somebody else's."""
    if not user.is_active or approval.proposed_by_id == user.pk:
        return False
    return Approval.objects.filter(_decidable(user), pk=approval.pk).exists()


def deciders(proposals: Iterable[Approval]) -> dict[int, list[User]]:
    """By proposal of the desk: who may release or refuse it by their role and did not make it, by name. One query.

    A manager's own authority may fall short of what it is worth; that is told when they release it (R-ADM-10).
    """
    rows = [(one, checkers_of(one.command)) for one in proposals if one.side == Approval.Side.DESK]
    roles = {role for _, checkers in rows for role in checkers}
    people = list(User.objects.filter(role__in=roles, is_active=True).order_by("name", "pk"))
    return {
        one.pk: [user for user in people if user.role in checkers and user.pk != one.proposed_by_id]
        for one, checkers in rows
    }


def checkers_of(command: str) -> list[str]:
    """The roles that release such a proposal of the desk, in the order of the roles; none when it is not four-eyed."""
    found = registered.get(command)
    checkers = found.four_eyes.checkers if found is not None and found.four_eyes is not None else ()
    return [role for role in User.Role.values if role in checkers]


# --- Private ----------------------------------------------------------------------------------------


def _decidable(user: User) -> Q:
    """What the user's role may release: on the desk the role of their work, in a firm that of their membership."""
    if user.role != User.Role.BORROWER:
        return Q(side=Approval.Side.DESK, command__in=_released_by(user))
    found = Q(pk__in=())
    for customer_id, role in user.memberships.filter(account=None).values_list("customer", "role"):
        found |= Q(side=Approval.Side.FIRM, customer=customer_id, command__in=_released_as(role))
    return found


def _released_by(user: User) -> list[str]:
    return [
        name
        for name, one in registered.items()
        if one.four_eyes is not None and user.role in one.four_eyes.checkers
    ]


def _released_as(role: str) -> list[str]:
    rules = {name: one.member for name, one in registered.items()}
    powers = powers_of(role)
    return [name for name, rule in rules.items() if rule and rule.is_released and rule.power in powers]
