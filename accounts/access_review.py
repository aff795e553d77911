"""Who could do what at an instant, from the audit trail alone (R-ADM-11).

Every user, membership and client's manager is a row whose changes a trigger wrote down, so the state at any instant is
those changes up to it, one after another. The instant is the database's clock (`recorded_at`), not a business date.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.db import connection

from accounts.commands import registered
from accounts.models import Account, AuditRecord, Membership, User
from accounts.words import tell

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ActsFor:
    """One membership: for which customer, as what, and for which account only, if not for all."""

    customer: str
    role: str
    account: str


@dataclass(frozen=True, slots=True)
class Access:
    """What one user could do: `proposes` and `releases` are the four-eyed commands open to the role."""

    user_id: int
    name: str
    email: str
    role: str
    is_active: bool
    acts_for: tuple[ActsFor, ...]
    clients: tuple[str, ...]
    proposes: tuple[str, ...]
    releases: tuple[str, ...]

    @property
    def role_name(self) -> str:
        return str(User.Role(self.role).label) if self.role in User.Role.values else self.role


def clock() -> datetime:
    """Now by the database's clock, which the trail goes by: what has been written down is never still to come."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        [now] = cursor.fetchone()
    return now.astimezone(UTC)  # type: ignore[no-any-return]


def as_of(instant: datetime) -> list[Access]:
    """Everybody who had a login at `instant`, staff first, then by name. Three reads of the trail, whatever it is."""
    users = _rows("accounts_user", instant)
    customers = _rows("accounts_customer", instant)
    acts_for, managed = _memberships(instant, customers), _managed(customers)
    found = [_access(pk, row, acts_for[pk], managed[pk]) for pk, row in users.items()]
    return sorted(found, key=lambda one: (one.role == User.Role.BORROWER, one.name, one.user_id))


# --- Private ----------------------------------------------------------------------------------------


def _rows(table: str, instant: datetime) -> dict[int, Row]:
    """The table's rows as they were, by key: each change laid over what was there before it."""
    changes = AuditRecord.objects.filter(
        subject__startswith=f"{table}:", recorded_at__lte=instant, kind__in=["insert", "update", "delete"]
    )
    found: dict[int, Row] = {}
    for subject, kind, after in changes.order_by("pk").values_list("subject", "kind", "after"):
        pk = int(subject.partition(":")[2])
        if kind == AuditRecord.Kind.DELETE:
            found.pop(pk, None)
        else:
            found[pk] = found.get(pk, {}) | (after or {})
    return found


def _memberships(instant: datetime, customers: Mapping[int, Row]) -> dict[int, list[ActsFor]]:
    rows = _rows("accounts_membership", instant)
    labels = dict(Account.objects.values_list("pk", "label"))  # an account's label never changes
    found: dict[int, list[ActsFor]] = defaultdict(list)
    for row in rows.values():
        uid = row.get("account_id")
        found[row["user_id"]].append(
            ActsFor(
                customer=customers.get(row["customer_id"], {}).get("name", str(row["customer_id"])),
                role=row.get(
                    "role", Membership.Role.SIGNATORY
                ),  # before firms had roles everybody could do all
                account="" if uid is None else tell("{uid} ({uid2})", uid=labels.get(uid, ""), uid2=uid),
            )
        )
    return found


def _managed(customers: Mapping[int, Row]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for row in customers.values():
        if row.get("manager_id") is not None:
            found[row["manager_id"]].append(row["name"])
    return found


def _access(pk: int, row: Row, acts_for: list[ActsFor], clients: list[str]) -> Access:
    eyed = [(name, one.four_eyes) for name, one in sorted(registered.items()) if one.four_eyes is not None]
    is_active = bool(row.get("is_active", True))
    return Access(
        user_id=pk,
        name=row["name"],
        email=row["email"],
        role=row["role"],
        is_active=is_active,
        acts_for=tuple(sorted(acts_for, key=lambda one: (one.customer, one.role))),
        clients=tuple(sorted(clients)),
        proposes=tuple(name for name, rule in eyed if is_active and row["role"] in rule.makers),
        releases=tuple(name for name, rule in eyed if is_active and row["role"] in rule.checkers),
    )
