"""A firm's own order: roles, and for what it asks for two of its people (R-ADM-09)."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from django.db import InternalError, ProgrammingError, transaction

from accounts import approvals, firms, inbox, members, membership, people
from accounts.approvals import NotPending, NotProposable, OwnProposal
from accounts.commands import Actor, NeedsApproval, NotYourRole, acting
from accounts.firms import LastSignatory, NotAFirm, NothingChanges, TooFewPeople
from accounts.membership import NotYourPart, NotYours
from accounts.models import Approval, AuditRecord, Customer, FirmPolicy, Membership, User
from tests import build
from tests.build import BUILDER, NOON

pytestmark = pytest.mark.django_db
SOON = NOON + timedelta(minutes=1)
LATER = NOON + timedelta(hours=1)
NONE = {"apply": False, "accept": False, "withdraw": False, "remove": False}


@pytest.fixture
def ada() -> User:
    return build.user(name="Ada")


@pytest.fixture
def firm(ada: User) -> Customer:
    return build.customer("Firm", member=ada)


def ask_two(firm: Customer, by: Actor = BUILDER, *, at: Any = NOON, **acts: bool) -> FirmPolicy:
    return firms.set_policy(customer_id=firm.pk, **(NONE | acts), actor=by, at=at)


def set_role(firm: Customer, user: User, role: str, by: Actor, *, at: Any = NOON) -> Membership:
    return firms.set_role(customer_id=firm.pk, user_id=user.pk, role=role, actor=by, at=at)


def propose(firm: Customer, command: str, by: User, arguments: Mapping[str, Any]) -> Approval:
    return approvals.propose(
        command=command,
        arguments={"customer_id": firm.pk} | arguments,
        title="For a second signatory",
        preview={},
        reason="",
        actor=Actor.user(by),
        at=SOON,
    )


def order_of(firm: Customer) -> Any:
    """All that these commands change: equal before and after a refusal."""
    roles = list(
        Membership.objects.filter(customer=firm).order_by("pk").values_list("user", "role", "account")
    )
    return roles, list(FirmPolicy.objects.filter(customer=firm).order_by("pk").values())


# --- What needs two ---------------------------------------------------------------------------------------


def test_a_signatory_asks_for_two_people_from_now_on(firm: Customer, ada: User) -> None:
    """R-ADM-09: and what was before stays what it was."""
    build.colleague(firm)
    assert membership.policy_of(firm.pk, at=NOON) is None

    policy = ask_two(firm, Actor.user(ada), at=LATER, withdraw=True)

    assert (policy.apply, policy.accept, policy.withdraw, policy.remove) == (False, False, True, False)
    assert (policy.set_by, policy.effective_at) == (ada, LATER)
    assert membership.policy_of(firm.pk, at=NOON) is None
    assert membership.policy_of(firm.pk, at=LATER) == policy
    assert AuditRecord.objects.get(subject="firms.set_policy").actor == f"user:{ada.pk}"


def test_two_people_take_two_who_can(firm: Customer, ada: User) -> None:
    """R-ADM-09: traders, viewers and who acts for one account cannot be the second."""
    build.colleague(firm, "trader")
    build.colleague(firm, "viewer")
    build.colleague(firm, "signatory", only=build.account(firm))
    before = order_of(firm)
    with pytest.raises(TooFewPeople, match="two signatories or treasurers"):
        ask_two(firm, Actor.user(ada), withdraw=True)
    assert order_of(firm) == before
    build.colleague(firm)
    assert ask_two(firm, Actor.user(ada), withdraw=True).withdraw


def test_what_is_so_already_is_said_and_a_person_has_no_policy(firm: Customer, ada: User) -> None:
    """R-ADM-09"""
    with pytest.raises(NothingChanges):
        ask_two(firm, Actor.user(ada))
    build.colleague(firm)
    ask_two(firm, Actor.user(ada), apply=True)
    with pytest.raises(people.BadDetails, match="has just changed this"):
        ask_two(firm, Actor.user(ada), withdraw=True, apply=True)
    someone = build.user()
    person = build.customer("Person", member=someone)
    with acting(BUILDER):
        Customer.objects.filter(pk=person.pk).update(kind="person")
    with pytest.raises(NotAFirm, match="signs alone"):
        ask_two(person, Actor.user(someone), withdraw=True)
    with pytest.raises(NotAFirm):
        set_role(person, someone, "viewer", Actor.user(someone))
    assert FirmPolicy.objects.count() == 1


@pytest.mark.parametrize("role", ["treasurer", "trader", "viewer"])
def test_only_a_signatory_of_the_firm_changes_its_order(firm: Customer, ada: User, role: str) -> None:
    """R-ADM-09: staff do not set a firm's policy, and to a stranger there is no such firm."""
    build.colleague(firm)
    mine = Actor.user(build.colleague(firm, role))
    before = order_of(firm)
    with pytest.raises(NotYourPart, match=f"As a {role} of Firm you may not say who may do what"):
        ask_two(firm, mine, withdraw=True)
    with pytest.raises(NotYourPart, match="Ask a signatory of your firm"):
        set_role(firm, ada, "viewer", mine)
    stranger = build.user()
    build.customer(member=stranger)
    for outside in (stranger, build.user()):
        with pytest.raises(NotYours):
            ask_two(firm, Actor.user(outside), withdraw=True)
    for staff in ("admin", "vip_manager", "risk_officer"):
        with pytest.raises(NotYourRole):
            ask_two(firm, Actor.user(build.user(staff)), withdraw=True)
    assert order_of(firm) == before


def test_loosening_takes_a_second_signatory_where_there_is_one(firm: Customer, ada: User) -> None:
    """R-ADM-09: a treasurer is not enough, the maker neither, and until then two are asked for."""
    bob, treasurer = build.colleague(firm, "signatory"), build.colleague(firm)
    ask_two(firm, Actor.user(ada), withdraw=True, apply=True)
    with pytest.raises(NeedsApproval, match="Your firm asks for two people"):
        ask_two(firm, Actor.user(ada), at=LATER, withdraw=True)
    waiting = propose(firm, "firms.set_policy", ada, NONE | {"withdraw": True})
    assert (waiting.side, waiting.customer) == ("firm", firm)
    with pytest.raises(OwnProposal):
        approvals.release(approval_id=waiting.pk, actor=Actor.user(ada), at=LATER)
    with pytest.raises(NotYourPart):
        approvals.release(approval_id=waiting.pk, actor=Actor.user(treasurer), at=LATER)
    assert membership.policy_of(firm.pk, at=LATER).apply  # type: ignore[union-attr]

    approvals.release(approval_id=waiting.pk, actor=Actor.user(bob), at=LATER)

    now = membership.policy_of(firm.pk, at=LATER)
    assert now is not None
    assert (now.apply, now.withdraw, now.set_by) == (False, True, ada)


def test_tightening_is_done_at_once_and_a_lone_signatory_loosens_alone(firm: Customer, ada: User) -> None:
    """R-ADM-09"""
    build.colleague(firm)
    ask_two(firm, Actor.user(ada), withdraw=True)
    ask_two(firm, Actor.user(ada), at=NOON + timedelta(minutes=1), withdraw=True, remove=True)
    assert not ask_two(firm, Actor.user(ada), at=LATER).withdraw
    with pytest.raises(NotProposable, match="one person only"):
        propose(firm, "firms.set_policy", ada, NONE | {"accept": True})


def test_the_database_keeps_what_a_firm_asked_for(firm: Customer, ada: User) -> None:
    """R-ADM-09, TRUST I-21"""
    build.colleague(firm)
    policy = ask_two(firm, Actor.user(ada), withdraw=True)
    for change in (lambda: FirmPolicy.objects.update(withdraw=False), policy.delete):
        with pytest.raises((InternalError, ProgrammingError)), acting(BUILDER), transaction.atomic():
            change()
    assert FirmPolicy.objects.get().withdraw


# --- Roles ------------------------------------------------------------------------------------------------


def test_a_signatory_says_what_the_others_may_do(firm: Customer, ada: User) -> None:
    """R-ADM-09"""
    carl = build.colleague(firm, "viewer")
    assert set_role(firm, carl, "trader", Actor.user(ada)).role == "trader"
    with pytest.raises(NothingChanges, match="is trader of Firm already"):
        set_role(firm, carl, "trader", Actor.user(ada))
    with pytest.raises(people.BadDetails):
        set_role(firm, carl, "emperor", Actor.user(ada))
    with pytest.raises(people.NotAMember):
        set_role(firm, build.user(), "viewer", Actor.user(ada))
    assert carl.memberships.get().role == "trader"


def test_the_last_signatory_stays_one(firm: Customer, ada: User) -> None:
    """R-ADM-09: also when the other one acts for one account only, or may not sign in; also for the desk."""
    build.colleague(firm, "signatory", only=build.account(firm))
    gone = build.colleague(firm, "signatory")
    with acting(BUILDER):
        User.objects.filter(pk=gone.pk).update(is_active=False)
    admin = Actor.user(build.user("admin"))
    before = order_of(firm)
    for by in (Actor.user(ada), admin):
        with pytest.raises(LastSignatory, match="make somebody else one first"):
            set_role(firm, ada, "treasurer", by)
    build.colleague(firm, "viewer")
    with pytest.raises(LastSignatory):
        members.limit(
            customer_id=firm.pk, user_id=ada.pk, account_uid=build.master(firm).pk, actor=admin, at=NOON
        )
    assert order_of(firm)[0][:2] == before[0][:2]
    assert ada.memberships.get().account is None


def test_two_people_stay_two_as_long_as_two_are_asked_for(firm: Customer, ada: User) -> None:
    """R-ADM-09"""
    bob = build.colleague(firm)
    ask_two(firm, Actor.user(ada), accept=True)
    admin = Actor.user(build.user("admin"))
    before = order_of(firm)
    with pytest.raises(TooFewPeople):
        set_role(firm, bob, "trader", Actor.user(ada), at=LATER)
    with pytest.raises(TooFewPeople):
        members.limit(
            customer_id=firm.pk, user_id=bob.pk, account_uid=build.master(firm).pk, actor=admin, at=LATER
        )
    assert order_of(firm) == before
    ask_two(firm, Actor.user(ada), at=LATER)
    assert set_role(firm, bob, "trader", Actor.user(ada), at=LATER).role == "trader"


def test_a_signature_is_given_and_taken_by_two(firm: Customer, ada: User) -> None:
    """R-ADM-09: so that one of two cannot rid themselves of the other and then undo the second person."""
    carl = build.colleague(firm, "viewer")
    assert set_role(firm, carl, "signatory", Actor.user(ada)).role == "signatory"  # there was one only
    with pytest.raises(NeedsApproval):
        set_role(firm, carl, "viewer", Actor.user(ada))
    dora = build.colleague(firm, "treasurer")
    with pytest.raises(NeedsApproval):
        set_role(firm, dora, "signatory", Actor.user(ada))
    assert (
        set_role(firm, dora, "trader", Actor.user(ada)).role == "trader"
    )  # less at once, nothing asks for two

    waiting = propose(firm, "firms.set_role", ada, {"user_id": carl.pk, "role": "viewer"})
    approvals.release(approval_id=waiting.pk, actor=Actor.user(carl), at=LATER)
    assert carl.memberships.get().role == "viewer"


def test_where_two_are_asked_for_more_power_takes_two_and_less_is_taken_at_once(
    firm: Customer, ada: User
) -> None:
    """R-ADM-09: a second person whom one signatory made alone would be no second person."""
    build.colleague(firm, "signatory")
    carl = build.colleague(firm, "viewer")
    ask_two(firm, Actor.user(ada), withdraw=True)
    with pytest.raises(NeedsApproval):
        set_role(firm, carl, "treasurer", Actor.user(ada))
    with pytest.raises(NeedsApproval):
        set_role(firm, carl, "trader", Actor.user(ada))
    with acting(BUILDER):
        carl.memberships.update(role="treasurer")
    assert set_role(firm, carl, "viewer", Actor.user(ada)).role == "viewer"


def test_an_admin_of_the_desk_helps_and_nobody_else_of_it(firm: Customer, ada: User) -> None:
    """R-ADM-09, TRUST B-14: with a reason that is kept."""
    bob = build.colleague(firm, "signatory")
    for role in ("vip_manager", "risk_officer", "finance", "auditor", "ops"):
        with pytest.raises(NotYourRole):
            set_role(firm, bob, "viewer", Actor.user(build.user(role)))
    admin = build.user("admin")
    firms.set_role(
        customer_id=firm.pk,
        user_id=bob.pk,
        role="viewer",
        actor=Actor.user(admin),
        at=NOON,
        reason="Letter of 3 May",
    )
    told = AuditRecord.objects.get(subject="firms.set_role")
    assert (told.actor, told.reason) == (f"user:{admin.pk}", "Letter of 3 May")
    assert bob.memberships.get().role == "viewer"


def test_a_new_member_comes_with_a_role_by_the_desk(firm: Customer, ada: User) -> None:
    """R-ADM-09"""
    asked = {"customer_id": firm.pk, "at": NOON}
    carl = build.user()
    for nobody in (Actor.user(ada), Actor.user(build.user("vip_manager"))):
        with pytest.raises(people.DeskOnly):
            people.add_member(**asked, user_id=carl.pk, role="signatory", actor=nobody)
    admin = Actor.user(build.user("admin"))
    with pytest.raises(people.BadDetails, match="signatory, treasurer, trader, viewer"):
        people.add_member(**asked, user_id=carl.pk, role="king", actor=admin)
    assert not carl.memberships.exists()
    assert people.add_member(**asked, user_id=carl.pk, role="trader", actor=admin).role == "trader"


# --- Who sees and decides ---------------------------------------------------------------------------------


def test_a_firms_proposals_exist_for_its_own_people_only(firm: Customer, ada: User) -> None:
    """R-ADM-09, TRUST B-13, B-14: not for the desk, another firm, or who acts for one account of it."""
    bob, viewer = build.colleague(firm, "signatory"), build.colleague(firm, "viewer")
    one = build.colleague(firm, "signatory", only=build.account(firm))
    ask_two(firm, Actor.user(ada), withdraw=True)
    waiting = propose(firm, "firms.set_policy", ada, NONE)
    other = build.user()
    build.customer(member=other)
    outsiders = [
        other,
        build.user(),
        one,
        *(build.user(role) for role in User.Role.values if role != "borrower"),
    ]
    for outside in outsiders:
        assert not inbox.visible_to(outside).exists()
        assert not inbox.waiting_for(outside, at=NOON).exists()
        assert not inbox.may_decide(waiting, outside)
        for decide in (approvals.release, approvals.refuse, approvals.withdraw):
            with pytest.raises(NotPending, match="There is no proposal"):
                decide(approval_id=waiting.pk, actor=Actor.user(outside), at=LATER, reason="x")
    assert {user.pk for user in (ada, bob, viewer) if inbox.visible_to(user).exists()} == {
        ada.pk,
        bob.pk,
        viewer.pk,
    }
    assert list(inbox.waiting_for(bob, at=NOON)) == [waiting]
    assert not inbox.waiting_for(viewer, at=NOON).exists()
    assert not inbox.waiting_for(ada, at=NOON).exists()
    assert not inbox.waiting_for(bob, at=waiting.expires_at).exists()


def test_a_colleague_refuses_with_a_reason_and_the_maker_takes_back(firm: Customer, ada: User) -> None:
    """R-ADM-09"""
    bob = build.colleague(firm, "signatory")
    ask_two(firm, Actor.user(ada), withdraw=True)
    waiting = propose(firm, "firms.set_policy", ada, NONE)
    with pytest.raises(NotProposable):
        approvals.refuse(approval_id=waiting.pk, actor=Actor.user(bob), at=LATER, reason=" ")
    with pytest.raises(approvals.NotYourProposal):
        approvals.withdraw(approval_id=waiting.pk, actor=Actor.user(bob), at=LATER)
    approvals.refuse(approval_id=waiting.pk, actor=Actor.user(bob), at=LATER, reason="Not now")
    again = propose(firm, "firms.set_policy", ada, NONE)
    approvals.withdraw(approval_id=again.pk, actor=Actor.user(ada), at=LATER)
    assert list(Approval.objects.order_by("pk").values_list("status", "decision_reason")) == [
        ("refused", "Not now"),
        ("withdrawn", ""),
    ]
    assert membership.policy_of(firm.pk, at=LATER).withdraw  # type: ignore[union-attr]
