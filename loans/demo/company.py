"""Hire the desk's people and open its customers, each through the command that the desk would use."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.contrib.auth.hashers import make_password

from accounts import approvals, people, preferences, screenings
from accounts.commands import Actor, acting
from accounts.models import Account, Customer, Screening, User
from accounts.words import tell
from loans.demo import cast, opening
from loans.demo.cast import Borrower
from loans.demo.stories import NEGOTIATED
from risk.parameters import preview

JOB: Final = Actor.job("demo")


@dataclass(frozen=True, slots=True)
class Resident:
    """A customer, who acts for it, who looks after it, its accounts by label, and more of its people by login."""

    customer: Customer
    user: User
    manager: User | None
    accounts: Mapping[str, Account]
    colleagues: Mapping[str, User]

    @property
    def actor(self) -> Actor:
        return Actor.user(self.user)

    @property
    def decider(self) -> Actor:
        """Its VIP manager, where it has one."""
        assert self.manager is not None, f"{self.customer} has no manager"
        return Actor.user(self.manager)


def hire(*, password_hash: str) -> dict[str, User]:
    """The desk's people by the name they sign in with."""
    return {
        staff.login.name: _user(staff.login.email, staff.name, staff.role, password_hash)
        for staff in cast.STAFF
    }


def open_customer(
    borrower: Borrower, *, staff: Mapping[str, User], agreement: str, password_hash: str, at: datetime
) -> Resident:
    """The customer with its member, level, manager, accounts and, mostly, the accepted agreement."""
    manager = staff.get(borrower.manager)
    address = f"{borrower.handle}@{cast.MAIL}"
    secret = password_hash if borrower.login else make_password(None)
    user = _user(address, borrower.member_name, User.Role.BORROWER, secret)
    customer = people.open_customer(
        name=borrower.name, kind=borrower.kind, email=address, user_id=user.pk, actor=JOB, at=at
    )
    _screen(customer, borrower, staff, at=at)
    if manager is not None:
        _look_after(customer, borrower, manager, staff, at=at)
    if borrower.has_agreed:
        people.accept_agreement(
            customer_id=customer.pk, user_id=user.pk, version=agreement, actor=Actor.user(user), at=at
        )
    if borrower.phone:
        _reach(customer, borrower, user, at=at)
    for label, kind in borrower.subs:
        people.open_sub_account(
            customer_id=customer.pk,
            kind=kind,
            label=label,
            email="" if kind == cast.VIRTUAL else f"{borrower.handle}+{_slug(label)}@{cast.MAIL}",
            actor=Actor.user(user),
            at=at,
        )
    customer.refresh_from_db()
    return Resident(
        customer=customer,
        user=user,
        manager=manager,
        accounts={account.label: account for account in customer.accounts.all()},
        colleagues=_join(customer, borrower, staff, password_hash, at=at),
    )


def _screen(customer: Customer, borrower: Borrower, staff: Mapping[str, User], *, at: datetime) -> None:
    """R-ADM-10"""
    for check in Screening.Kind:
        waits = borrower.unproven and check == Screening.Kind.IDENTITY
        screenings.record(
            customer_id=customer.pk,
            kind=check,
            status=Screening.Status.PENDING if waits else Screening.Status.CLEAR,
            note="The passport's copy cannot be read; a new one is asked for." if waits else "",
            actor=Actor.user(staff["ops"]),
            at=at,
        )


def _join(
    customer: Customer, borrower: Borrower, staff: Mapping[str, User], password_hash: str, *, at: datetime
) -> dict[str, User]:
    """More people of the firm, each with a role; the admin lets them in (R-ADM-09)."""
    found = {}
    for colleague in borrower.colleagues:
        user = _user(colleague.login.email, colleague.name, User.Role.BORROWER, password_hash)
        people.add_member(
            customer_id=customer.pk,
            user_id=user.pk,
            role=colleague.role,
            actor=Actor.user(staff["admin"]),
            at=at,
        )
        found[colleague.login.name] = user
    return found


def _look_after(
    customer: Customer, borrower: Borrower, manager: User, staff: Mapping[str, User], *, at: datetime
) -> None:
    """What the desk decides about a new customer: its manager, level, and lines of its own."""
    acting_manager = Actor.user(manager)
    people.assign_manager(
        customer_id=customer.pk, manager_id=manager.pk, actor=Actor.user(staff["admin"]), at=at
    )
    people.set_vip_level(customer_id=customer.pk, vip_level=borrower.vip_level, actor=acting_manager, at=at)
    if borrower.whitelisted:
        people.whitelist(
            customer_id=customer.pk, reason="Known to the desk for years", actor=acting_manager, at=at
        )
    if borrower.name in NEGOTIATED:
        limits = {"product": opening.PRODUCT, "lines": NEGOTIATED[borrower.name], "customer": customer}
        release(
            command="risk.publish_limits",
            arguments=limits,
            title=tell("LTV lines of {customer}", customer=customer),
            reason="Negotiated: a later margin call, for collateral in BTC alone",
            customer=customer,
            maker=acting_manager,
            checker=Actor.user(staff["risk"]),
            at=at,
        )


def release(
    *,
    command: str,
    arguments: Mapping[str, object],
    title: str,
    reason: str,
    maker: Actor,
    checker: Actor,
    at: datetime,
    customer: Customer | None = None,
    shown: dict[str, str] | None = None,
) -> None:
    """One person proposes it and another releases it a moment later; `shown` is what its page would (R-ADM-03)."""
    proposal = approvals.propose(
        command=command,
        arguments=arguments,
        title=title,
        preview=preview.of(command, arguments, at=at) if shown is None else shown,
        reason=reason,
        actor=maker,
        at=at,
        customer=customer,
    )
    approvals.release(approval_id=proposal.pk, actor=checker, at=at)


def _reach(customer: Customer, borrower: Borrower, user: User, *, at: datetime) -> None:
    quiet_from, quiet_until = borrower.quiet or (None, None)
    preferences.set_preference(
        customer_id=customer.pk,
        by_email=True,
        by_sms=True,
        phone=borrower.phone,
        quiet_from=quiet_from,
        quiet_until=quiet_until,
        time_zone="Europe/London",
        actor=Actor.user(user),
        at=at,
    )


def _user(email: str, name: str, role: str, password_hash: str) -> User:
    with acting(JOB):
        return User.objects.create(email=email, name=name, role=role, password=password_hash)


def _slug(label: str) -> str:
    return label.lower().replace(" ", "-")
