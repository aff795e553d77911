"""Customers, accounts, members, VIP level, manager, agreements: R-GEN-10, R-VIP-01, R-VIP-16."""

from datetime import UTC, datetime, timedelta

import pytest

from accounts import people
from accounts.commands import Actor
from accounts.models import Acceptance, Account, Agreement, AuditRecord, Customer, Membership
from tests import build

pytestmark = pytest.mark.django_db

AT = datetime(2026, 1, 1, 9, 0, tzinfo=UTC)
JOB = Actor.job("seed")


def opened(**changes: object) -> Customer:
    details = {"name": "Aster Capital", "kind": "firm", "email": "Desk@Aster.example", "actor": JOB, "at": AT}
    return people.open_customer(**(details | changes))


def sub(customer: Customer, **changes: object) -> Account:
    details = {"kind": "sub", "label": "Trading", "email": "trading@aster.example", "actor": JOB, "at": AT}
    return people.open_sub_account(customer_id=customer.pk, **(details | changes))


# --- Customers and accounts -------------------------------------------------------------------------


def test_a_customer_opens_with_one_master_account_and_its_first_member() -> None:
    """R-GEN-10, R-ADM-09"""
    user = build.user()

    customer = opened(user_id=user.pk)

    master = customer.accounts.get()
    assert (master.kind, master.email, master.opened_at) == ("master", "desk@aster.example", AT)
    assert 10_000_001 <= master.uid < 2**53
    assert (customer.vip_level, customer.whitelisted, customer.manager) == (0, False, None)
    assert list(Account.objects.visible_to(user)) == [master]


def test_the_audit_trail_names_who_opened_a_customer_and_why() -> None:
    """TRUST I-21"""
    customer = opened(reason="signed up")

    command = AuditRecord.objects.get(subject="people.open_customer")
    assert (command.actor, command.reason, command.after["result"]) == (
        "job:seed",
        "signed up",
        str(customer.pk),
    )
    assert AuditRecord.objects.get(subject=f"accounts_customer:{customer.pk}").kind == "insert"


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "fund"},
        {"name": "  "},
        {"name": "two\nlines"},
        {"name": "x" * 121},
        {"email": "nowhere"},
        {"email": "a b@c.example"},
        {"email": f"{'x' * 250}@c.example"},
    ],
)
def test_a_customer_without_proper_details_is_refused(changes: dict[str, str]) -> None:
    with pytest.raises(people.BadDetails):
        opened(**changes)
    assert not Customer.objects.exists()
    assert not Account.objects.exists()


def test_two_accounts_cannot_share_an_address_whatever_its_case() -> None:
    opened()
    with pytest.raises(people.EmailTaken, match=r"desk@aster\.example"):
        opened(name="Other", email="DESK@aster.EXAMPLE")
    assert Customer.objects.count() == 1


def test_desk_staff_cannot_be_a_member_because_nobody_has_two_roles() -> None:
    with pytest.raises(people.NotABorrower, match="VIP manager"):
        opened(user_id=build.user("vip_manager").pk)
    assert not Customer.objects.exists()
    assert not Membership.objects.exists()


@pytest.mark.parametrize("kind", ["sub", "sub_managed"])
def test_a_sub_account_belongs_to_the_customer_of_its_master(kind: str) -> None:
    """R-GEN-10"""
    customer = opened()
    account = sub(customer, kind=kind)
    assert (account.customer, account.kind, account.email) == (customer, kind, "trading@aster.example")


def test_a_virtual_sub_account_gets_an_address_nobody_has() -> None:
    """R-GEN-10"""
    customer = opened()
    account = sub(customer, kind="sub_virtual", label="Algo1", email="")
    assert account.email == f"algo1_virtual@{customer.accounts.get(kind='master').uid}.invalid"
    with pytest.raises(people.EmailTaken):
        sub(customer, kind="sub_virtual", label="ALGO1", email="")


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "master"},
        {"kind": "joint"},
        {"label": ""},
        {"email": ""},
        {"kind": "sub_virtual", "label": "not one word"},
        {"kind": "sub_virtual", "label": "名"},
    ],
)
def test_a_sub_account_without_proper_details_is_refused(changes: dict[str, str]) -> None:
    customer = opened()
    with pytest.raises(people.BadDetails):
        sub(customer, **changes)
    assert customer.accounts.count() == 1


def test_a_member_sees_only_the_accounts_of_their_customers() -> None:
    """R-ADM-09"""
    ours, theirs, user = opened(), opened(name="Other", email="other@example.com"), build.user()

    people.add_member(customer_id=ours.pk, user_id=user.pk, actor=JOB, at=AT)

    assert set(Account.objects.visible_to(user)) == set(ours.accounts.all())
    with pytest.raises(people.AlreadyMember):
        people.add_member(customer_id=ours.pk, user_id=user.pk, actor=JOB, at=AT)
    assert theirs.memberships.count() == 0


# --- What only the desk changes ---------------------------------------------------------------------


def test_a_manager_sets_the_vip_level_and_the_trail_keeps_before_and_after() -> None:
    """R-VIP-01, TRUST I-21"""
    customer, manager = opened(), build.user("vip_manager")
    people.assign_manager(customer_id=customer.pk, manager_id=manager.pk, actor=Actor.user(manager), at=AT)

    people.set_vip_level(
        customer_id=customer.pk, vip_level=9, actor=Actor.user(manager), at=AT, reason="30-day volume"
    )

    customer.refresh_from_db()
    assert customer.vip_level == 9
    change = AuditRecord.objects.filter(subject=f"accounts_customer:{customer.pk}", kind="update").latest(
        "pk"
    )
    assert (change.before, change.after) == ({"vip_level": 0}, {"vip_level": 9})
    assert (change.actor, change.reason) == (f"user:{manager.pk}", "30-day volume")


@pytest.mark.parametrize("level", [-1, 10])
def test_a_vip_level_is_0_to_9(level: int) -> None:
    customer = opened()
    with pytest.raises(people.BadVIPLevel):
        people.set_vip_level(customer_id=customer.pk, vip_level=level, actor=JOB, at=AT)
    customer.refresh_from_db()
    assert customer.vip_level == 0


@pytest.mark.parametrize("role", ["borrower", "risk_officer", "finance", "auditor"])
def test_only_managers_and_admins_change_level_manager_and_whitelist(role: str) -> None:
    """R-VIP-01: let in by a manager, not by oneself."""
    user, manager = build.user(role), build.user("vip_manager")
    customer = opened(user_id=user.pk if role == "borrower" else None)
    asked = {"customer_id": customer.pk, "actor": Actor.user(user), "at": AT}

    with pytest.raises(people.DeskOnly):
        people.set_vip_level(vip_level=9, **asked)
    with pytest.raises(people.DeskOnly):
        people.assign_manager(manager_id=manager.pk, **asked)
    with pytest.raises(people.DeskOnly):
        people.whitelist(**asked)

    customer.refresh_from_db()
    assert (customer.vip_level, customer.manager, customer.whitelisted) == (0, None, False)


def test_a_manager_who_left_changes_nothing() -> None:
    customer, manager = opened(), build.user("vip_manager")
    with build.acting(build.BUILDER):
        manager.is_active = False
        manager.save(update_fields=["is_active"])
    with pytest.raises(people.DeskOnly):
        people.whitelist(customer_id=customer.pk, actor=Actor.user(manager), at=AT)


def test_the_manager_of_a_customer_is_an_active_vip_manager() -> None:
    """R-VIP-12"""
    customer, manager, officer = opened(), build.user("vip_manager"), build.user("risk_officer")
    asked = {"customer_id": customer.pk, "actor": Actor.user(build.user("admin")), "at": AT}

    people.assign_manager(manager_id=manager.pk, **asked)
    with pytest.raises(people.NotAManager):
        people.assign_manager(manager_id=officer.pk, **asked)
    customer.refresh_from_db()
    assert customer.manager == manager

    people.assign_manager(manager_id=None, **asked)
    customer.refresh_from_db()
    assert customer.manager is None


def test_a_customer_without_level_is_let_in_and_out_by_its_own_manager() -> None:
    """R-VIP-01, R-ADM-02: another manager may not, and the trail says who did, when and why."""
    customer, manager, other = opened(), build.user("vip_manager"), build.user("vip_manager")
    actor, stranger = Actor.user(manager), Actor.user(other)
    asked = {"customer_id": customer.pk, "at": AT}

    with pytest.raises(people.NotYourClient, match="there is none yet; take the client first"):
        people.whitelist(actor=actor, **asked)
    people.assign_manager(manager_id=manager.pk, actor=actor, **asked)
    for refused in (
        lambda: people.whitelist(actor=stranger, **asked),
        lambda: people.set_vip_level(vip_level=9, actor=stranger, **asked),
        lambda: people.assign_manager(manager_id=other.pk, actor=stranger, **asked),
    ):
        with pytest.raises(people.NotYourClient, match=f"that is {manager.name}"):
            refused()
    customer.refresh_from_db()
    assert (customer.manager, customer.vip_level, customer.whitelisted) == (manager, 0, False)

    people.whitelist(actor=actor, reason="Known for years", **asked)
    change = AuditRecord.objects.filter(subject=f"accounts_customer:{customer.pk}", kind="update").latest(
        "pk"
    )
    assert (change.before, change.after) == ({"whitelisted": False}, {"whitelisted": True})
    assert (change.actor, change.reason) == (actor.label, "Known for years")
    assert change.recorded_at is not None
    assert people.whitelist(customer_id=customer.pk, actor=actor, at=AT).whitelisted
    assert not people.whitelist(customer_id=customer.pk, whitelisted=False, actor=actor, at=AT).whitelisted


# --- Agreements -------------------------------------------------------------------------------------


def published(version: str, at: datetime = AT) -> Agreement:
    return people.publish_agreement(version=version, text="Risk warning", actor=JOB, at=at)


def test_every_new_version_has_to_be_accepted_and_is_kept_with_time_and_version() -> None:
    """R-VIP-16"""
    user = build.user()
    customer, later = opened(user_id=user.pk), AT + timedelta(days=30)
    assert people.needs_agreement(customer=customer, at=AT) is None  # there is none yet
    first = published("1.0")
    assert people.needs_agreement(customer=customer, at=AT) == first

    asked = {"customer_id": customer.pk, "user_id": user.pk, "actor": Actor.user(user)}
    row = people.accept_agreement(version="1.0", at=AT, **asked)
    assert (row.agreement, row.customer, row.user, row.at) == (first, customer, user, AT)
    assert people.needs_agreement(customer=customer, at=AT) is None

    second = published("2.0", at=later)
    assert people.needs_agreement(customer=customer, at=later) == second
    assert people.needs_agreement(customer=customer, at=later - timedelta(seconds=1)) is None
    people.accept_agreement(version="2.0", at=later, **asked)
    assert people.needs_agreement(customer=customer, at=later) is None


def test_one_customers_acceptance_is_not_anothers() -> None:
    """R-VIP-16"""
    user = build.user()
    ours, theirs = opened(user_id=user.pk), opened(name="Other", email="other@example.com")
    agreement = published("1.0")
    people.accept_agreement(customer_id=ours.pk, user_id=user.pk, version="1.0", actor=JOB, at=AT)
    assert people.needs_agreement(customer=theirs, at=AT) == agreement


def test_only_the_version_in_force_is_accepted_once_and_by_a_member() -> None:
    """R-VIP-16: what was accepted is what was shown."""
    user, stranger = build.user(), build.user()
    customer = opened(user_id=user.pk)
    asked = {"customer_id": customer.pk, "actor": JOB}
    with pytest.raises(people.NotCurrentAgreement, match="no agreement is in force"):
        people.accept_agreement(user_id=user.pk, version="1.0", at=AT, **asked)
    published("1.0")
    published("2.0", at=AT + timedelta(days=1))

    with pytest.raises(people.NotAMember):
        people.accept_agreement(user_id=stranger.pk, version="1.0", at=AT, **asked)
    with pytest.raises(people.NotCurrentAgreement, match=r"version 2\.0 is in force"):
        people.accept_agreement(user_id=user.pk, version="1.0", at=AT + timedelta(days=1), **asked)
    assert not Acceptance.objects.exists()

    people.accept_agreement(user_id=user.pk, version="1.0", at=AT, **asked)
    with pytest.raises(people.AlreadyAccepted):
        people.accept_agreement(user_id=user.pk, version="1.0", at=AT, **asked)
    assert Acceptance.objects.count() == 1


def test_a_version_is_published_once_in_order_and_by_an_admin() -> None:
    """R-VIP-16"""
    published("1.0")
    for version, at in (("1.0", AT + timedelta(days=1)), ("0.9", AT - timedelta(days=1)), ("1.1", AT)):
        with pytest.raises(people.AgreementExists):
            published(version, at=at)
    with pytest.raises(people.BadDetails):
        people.publish_agreement(version="2.0", text=" ", actor=JOB, at=AT + timedelta(days=1))
    with pytest.raises(people.DeskOnly):
        people.publish_agreement(
            version="2.0",
            text="Terms",
            actor=Actor.user(build.user("vip_manager")),
            at=AT + timedelta(days=1),
        )
    assert list(Agreement.objects.values_list("version", flat=True)) == ["1.0"]
