"""Which accounts and notices a user sees, and the limiting of a member to one account: R-GEN-95."""

import pytest
from django.core import mail

from accounts import channels, members, people
from accounts.commands import Actor, NotYourRole
from accounts.models import Account, AuditRecord, Customer, Membership, Notice, User
from tests import build
from tests.build import NOON

pytestmark = pytest.mark.django_db

JOB = Actor.job("test")


@pytest.fixture
def whole() -> User:
    return build.user()


@pytest.fixture
def owner(whole: User) -> Customer:
    return build.customer(member=whole)


@pytest.fixture
def sub(owner: Customer) -> Account:
    return build.account(owner)


@pytest.fixture
def limited(owner: Customer, sub: Account) -> User:
    user = build.user()
    people.add_member(customer_id=owner.pk, user_id=user.pk, actor=JOB, at=NOON)
    members.limit(customer_id=owner.pk, user_id=user.pk, account_uid=sub.pk, actor=JOB, at=NOON)
    return user


def test_who_acts_for_all_sees_all_and_who_acts_for_one_sees_one(
    owner: Customer, whole: User, limited: User, sub: Account
) -> None:
    """R-GEN-95"""
    master = build.master(owner)
    assert set(Account.objects.visible_to(whole)) == {master, sub}
    assert list(Account.objects.visible_to(limited)) == [sub]
    stranger = build.user()
    build.customer(member=stranger)
    assert not set(Account.objects.visible_to(stranger)) & {master, sub}
    assert not Account.objects.visible_to(build.user()).exists()


def test_a_member_of_two_customers_sees_each_by_its_own_membership(
    owner: Customer, limited: User, sub: Account
) -> None:
    """R-GEN-95: a limit for one customer is none for the other."""
    other = build.customer(member=limited)
    assert set(Account.objects.visible_to(limited)) == {sub, build.master(other)}


def test_a_limit_is_taken_away_again(owner: Customer, limited: User) -> None:
    """R-GEN-95, TRUST I-21: and both are signed."""
    members.limit(customer_id=owner.pk, user_id=limited.pk, account_uid=None, actor=JOB, at=NOON)
    assert Account.objects.visible_to(limited).count() == 2
    told = AuditRecord.objects.filter(subject="members.limit").order_by("pk")
    assert [row.after["arguments"]["account_uid"] is None for row in told] == [False, True]


def test_whom_a_member_acts_for_is_refused_in_words(owner: Customer, whole: User, limited: User) -> None:
    """R-GEN-95: somebody must be left who can borrow and repay for the customer."""
    before = list(Membership.objects.order_by("pk").values())
    asked = {"customer_id": owner.pk, "actor": JOB, "at": NOON}
    with pytest.raises(members.LastWholeMember, match="Somebody else must act for all of"):
        members.limit(user_id=whole.pk, account_uid=build.master(owner).pk, **asked)
    with pytest.raises(people.NotAMember):
        members.limit(user_id=build.user().pk, account_uid=None, **asked)
    theirs = build.master(build.customer())
    with pytest.raises(people.BadDetails, match="has no account"):
        members.limit(user_id=limited.pk, account_uid=theirs.pk, **asked)
    with pytest.raises(NotYourRole):
        members.limit(user_id=limited.pk, account_uid=None, **(asked | {"actor": Actor.user(limited)}))
    other = Actor.user(build.user("vip_manager"))
    with pytest.raises(people.NotYourClient):
        members.limit(user_id=limited.pk, account_uid=None, **(asked | {"actor": other}))
    assert list(Membership.objects.order_by("pk").values()) == before


def test_notices_are_for_who_acts_for_all(owner: Customer, whole: User, limited: User) -> None:
    """R-GEN-95: they tell the LTV of groups that an account's own user does not see; no e-mail either."""
    row = Notice.objects.create(customer=owner, event="e:1", kind="margin_call", title="t", body="b", at=NOON)
    assert list(Notice.objects.visible_to(whole)) == [row]
    assert not Notice.objects.visible_to(limited).exists()
    channels.email(row)
    assert [message.to for message in mail.outbox] == [[whole.email]]
