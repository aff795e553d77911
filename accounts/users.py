"""Who may sign in, and as what. A password is nobody's to set but its owner's: new users ask for a reset link.

Nobody has two roles, and nobody takes their own role or access away, so that the last admin cannot lock the door.
"""

from datetime import datetime

from django.db import IntegrityError, transaction

from accounts.commands import Actor, command
from accounts.errors import Refused
from accounts.models import User
from accounts.words import tell


class AdminOnly(Refused):
    code = "admin_only"


class UserExists(Refused):
    code = "user_exists"


class BadUser(Refused):
    code = "bad_user"


@command("users.open", returns=User)
def open_user(
    *, email: str, name: str, role: str, actor: Actor, at: datetime, key: str = "", reason: str = ""
) -> User:
    """A new user without a password.

    Raises:
        AdminOnly: the actor is no admin.
        BadUser: no name, or no such role.
        UserExists: the address is taken.
    """
    _require_admin(actor)
    _check(name, role)
    try:
        with transaction.atomic():
            return User.objects.create_user(email=email.strip(), name=name.strip(), role=role)
    except IntegrityError as error:
        raise UserExists(
            tell("There is already a user with the address {email}.", email=email.strip().lower())
        ) from error


@command("users.change", returns=User)
def change_user(
    *,
    user_id: int,
    name: str,
    role: str,
    is_active: bool,
    actor: Actor,
    at: datetime,
    key: str = "",
    reason: str = "",
) -> User:
    """Rename a user, give another role, or let in and shut out.

    Raises:
        AdminOnly: the actor is no admin, or changes their own role or access.
        BadUser: no name, no such role, or a role that does not go with what the user does now.
    """
    _require_admin(actor)
    _check(name, role)
    user = User.objects.select_for_update(of=("self",)).get(pk=user_id)
    if actor == Actor.user(user) and (role != user.role or not is_active):
        raise AdminOnly(tell("Nobody changes their own role or access; ask another admin."))
    if role != User.Role.BORROWER and user.memberships.exists():
        raise BadUser(tell("{user} acts for a customer and cannot work at the desk too.", user=user.name))
    if user.clients.exists() and (role != User.Role.VIP_MANAGER or not is_active):
        raise BadUser(
            tell("{user} still looks after clients; assign them to another manager first.", user=user.name)
        )
    user.name, user.role, user.is_active = name.strip(), role, is_active
    user.save(update_fields=["name", "role", "is_active"])
    return user


def _require_admin(actor: Actor) -> None:
    who, _, pk = actor.label.partition(":")
    if who == "user" and not User.objects.filter(pk=pk, is_active=True, role=User.Role.ADMIN).exists():
        raise AdminOnly(tell("Only an admin may open or change users."))


def _check(name: str, role: str) -> None:
    if not 0 < len(name.strip()) <= 120 or not name.isprintable():
        raise BadUser(tell("A name has 1 to 120 characters, in one line."))
    if role not in User.Role.values:
        raise BadUser(tell("There is no role {role!r}.", role=role))
