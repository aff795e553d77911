"""A firm's own maker and checker: apply, accept, withdraw, take an account out (R-ADM-09)."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import InternalError, ProgrammingError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts import approvals, firms, inbox
from accounts.approvals import AlreadyProposed, NotPending, NotProposable, OwnProposal
from accounts.commands import Actor, NeedsApproval, NotYourRole, acting, perform, releasing
from accounts.membership import NotYourPart, NotYours
from accounts.models import Approval, AuditRecord, Notice, User
from loans.models import Application
from loans.vip import terms
from loans.vip.moves import TermsChanged
from risk import gate
from risk.models import Member, Movement
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans import talks
from tests.loans.desk import Desk
from tests.loans.test_firm_members import everything

pytestmark = pytest.mark.django_db
D = Decimal
SOON = TEN + timedelta(minutes=1)
ALL = {"apply": True, "accept": True, "withdraw": True, "remove": True}
ACTS = ("apply", "accept", "withdraw", "remove", "counter", "negotiate")
Asked = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Firm:
    """Two signatories and a treasurer who need each other, and those who cannot help them."""

    desk: Desk
    maker: User
    checker: User
    treasurer: User
    trader: User
    viewer: User

    @property
    def actor(self) -> Actor:
        return Actor.user(self.maker)


def firm_of(desk: Desk, **acts: bool) -> Firm:
    made = Firm(
        desk=desk,
        maker=desk.applicant,
        checker=build.colleague(desk.owner, "signatory"),
        treasurer=build.colleague(desk.owner, "treasurer"),
        trader=build.colleague(desk.owner, "trader"),
        viewer=build.colleague(desk.owner, "viewer"),
    )
    firms.set_policy(customer_id=desk.owner.pk, **(acts or ALL), actor=BUILDER, at=LONG_AGO)
    return made


@pytest.fixture
def firm(db: None) -> Firm:
    return firm_of(desks.set_up())


def asked(firm: Firm, act: str) -> Asked:
    """A command that the firm keeps for two, with arguments that would pass; what it needs is there."""
    desk = firm.desk
    if act == "apply":
        return "vip.submit", {"request": desks.request(desk), "accepted": ""}
    if act == "negotiate":
        told = {"request": desks.request(desk), "accepted": "", "message": "Please."}
        return "vip.negotiate", told | {"wanted": talks.wanted()}
    if act in {"accept", "counter"}:
        row = _countered(firm)
        told = {"application_id": row.pk, "version": 3}
        if act == "accept":
            return "vip.accept_offer", told
        return "vip.counter", told | {"wanted": talks.wanted("0.081"), "message": ""}
    if act == "withdraw":
        told = {"account_uid": desk.sub.pk, "asset": "BTC", "amount": D(1)}
        return "gate.withdraw", told | {"address": "bc1q", "wallet": "spot"}
    more = build.account(desk.owner)
    group = build.group(desk.master, [desk.sub, more], at=LONG_AGO)
    build.debt(group, amount="1000")
    return "groups.remove_account", {"group_id": group.pk, "uid": more.pk}


def _countered(firm: Firm) -> Application:
    """The firm wanted other terms, two of them, and the manager answered."""
    name, told = asked(firm, "negotiate")
    waiting = propose(firm, name, told)
    approvals.release(approval_id=waiting.pk, actor=Actor.user(firm.checker), at=TEN)
    row = Application.objects.get()
    talks.move("counter_offer", row, firm.desk, wanted=talks.wanted("0.083"))
    return row


def propose(firm: Firm, name: str, told: dict[str, Any], *, by: User | None = None) -> Approval:
    return approvals.propose(
        command=name,
        arguments=told,
        title=name,
        preview={},
        reason="",
        actor=Actor.user(by or firm.maker),
        at=TEN,
    )


def release(waiting: Approval, by: User, *, at: Any = SOON) -> Approval:
    return approvals.release(approval_id=waiting.pk, actor=Actor.user(by), at=at)


def call(firm: Firm, name: str, told: dict[str, Any], *, by: User | None = None) -> Any:
    return perform(name, told | {"actor": Actor.user(by or firm.maker), "at": SOON})


def but_for_notices(state: Any) -> Any:
    """Everything but that colleagues were told: the desk counts notices last."""
    desk, rows = state
    return desk | {"counts": desk["counts"][:-1]}, rows


# --- One proposes, a colleague releases -------------------------------------------------------------------


@pytest.mark.parametrize("act", ACTS)
def test_one_alone_cannot_and_two_can(firm: Firm, act: str) -> None:
    """R-ADM-09: exactly what was proposed is done, as its maker, once, and both names are kept."""
    name, told = asked(firm, act)
    before = everything()
    with pytest.raises(NeedsApproval, match="Your firm asks for two people"):
        call(firm, name, told)
    waiting = propose(firm, name, told)
    notice = Notice.objects.get(event=f"firm_proposal:{waiting.pk}")
    assert notice.customer == firm.desk.owner
    assert f"{firm.maker.name} proposes: {name}." in notice.body
    assert but_for_notices(everything()) == but_for_notices(before)
    assert (waiting.side, waiting.customer, waiting.proposed_by) == ("firm", firm.desk.owner, firm.maker)

    done = release(waiting, firm.treasurer)

    assert everything() != before
    assert (done.status, done.decided_by, done.decided_at) == ("released", firm.treasurer, SOON)
    assert done.result
    ran = AuditRecord.objects.filter(subject=name).latest("pk")
    assert ran.actor == f"user:{firm.maker.pk}"
    assert f"released by {firm.treasurer.name}" in ran.reason
    after = everything()
    with pytest.raises(NotPending, match="released already"):
        release(waiting, firm.checker)
    with pytest.raises(NeedsApproval):
        call(firm, name, told, by=firm.checker)
    assert everything() == after


def test_what_it_does_to_the_coins_and_the_group(firm: Firm) -> None:
    """R-ADM-09: the withdrawal is paid once, the account is out of the group."""
    release(propose(firm, *asked(firm, "withdraw")), firm.checker)
    assert build.balance(firm.desk.sub, "BTC") == 24
    assert Movement.objects.get().amount == 1
    name, told = asked(firm, "remove")
    release(propose(firm, name, told), firm.checker)
    assert Member.objects.get(account=told["uid"]).released_at == SOON


@pytest.mark.parametrize("act", ["apply", "accept", "withdraw", "remove"])
def test_who_cannot_release_it(firm: Firm, act: str) -> None:
    """R-ADM-09, TRUST B-14: not its maker, trader or viewer, who acts for one account, staff, or another firm."""
    waiting = propose(firm, *asked(firm, act))
    owner = firm.desk.owner
    one = build.colleague(owner, "signatory", only=firm.desk.sub)
    other = build.user()
    build.customer(member=other)
    before = everything()
    with pytest.raises(OwnProposal, match="somebody else has to decide it"):
        release(waiting, firm.maker)
    for colleague in (firm.trader, firm.viewer):
        with pytest.raises(NotYourPart, match="Ask a signatory or treasurer"):
            release(waiting, colleague)
        with pytest.raises(NotYourPart):
            approvals.refuse(approval_id=waiting.pk, actor=Actor.user(colleague), at=SOON, reason="No")
        assert not inbox.waiting_for(colleague, at=SOON).exists()
    strangers = [
        one,
        other,
        firm.desk.manager,
        *(build.user(role) for role in ("admin", "risk_officer", "auditor")),
    ]
    for stranger in strangers:
        with pytest.raises(NotPending, match="There is no proposal"):
            release(waiting, stranger)
        with pytest.raises(NotPending, match="There is no proposal"):
            approvals.refuse(approval_id=waiting.pk, actor=Actor.user(stranger), at=SOON, reason="No")
        assert not inbox.visible_to(stranger).exists()
    assert everything() == before
    assert Approval.objects.get(pk=waiting.pk).status == "pending"


def test_who_may_not_do_it_cannot_propose_it_either(firm: Firm) -> None:
    """R-ADM-09"""
    name, told = asked(firm, "withdraw")
    outsider = build.user()
    build.customer(member=outsider)
    before = everything(), Approval.objects.count()
    for colleague in (firm.trader, firm.viewer):
        with pytest.raises(NotYourPart):
            propose(firm, name, told, by=colleague)
    with pytest.raises(NotYours):
        propose(firm, name, told, by=outsider)
    assert (everything(), Approval.objects.count()) == before


def test_a_checker_or_maker_who_lost_their_role_meanwhile_counts_no_more(firm: Firm) -> None:
    """R-ADM-09: the role is asked for at the release, of both."""
    waiting = propose(firm, *asked(firm, "withdraw"), by=firm.treasurer)
    before = build.balance(firm.desk.sub, "BTC")

    def demote(user: User, role: str) -> None:
        firms.set_role(customer_id=firm.desk.owner.pk, user_id=user.pk, role=role, actor=BUILDER, at=SOON)

    demote(firm.checker, "viewer")
    with pytest.raises(NotYourPart, match="As a viewer"):
        release(waiting, firm.checker)
    with acting(BUILDER):
        firm.treasurer.memberships.update(role="trader")
    with pytest.raises(NotYourPart, match="As a trader"):
        release(waiting, firm.maker)
    with acting(BUILDER):
        User.objects.filter(pk=firm.maker.pk).update(is_active=False)
        firm.treasurer.memberships.update(role="treasurer")
    with pytest.raises(NotPending):
        release(waiting, firm.maker)
    assert build.balance(firm.desk.sub, "BTC") == before
    with acting(BUILDER):
        User.objects.filter(pk=firm.maker.pk).update(is_active=True)
    release(waiting, firm.maker)
    assert build.balance(firm.desk.sub, "BTC") == before - 1


def test_what_the_command_refuses_is_refused_when_proposed_and_again_when_released(firm: Firm) -> None:
    """R-ADM-09, TRUST I-24: and it goes on waiting, with everything untouched."""
    name, told = asked(firm, "withdraw")
    with pytest.raises(gate.Overdrawn):
        propose(firm, name, told | {"amount": D(26)})
    assert not Approval.objects.exists()
    waiting = propose(firm, name, told | {"amount": D(25)})
    with pytest.raises(AlreadyProposed):
        propose(firm, name, told | {"amount": D(25)}, by=firm.treasurer)
    release(propose(firm, name, told), firm.checker)
    before = everything()
    with pytest.raises(gate.Overdrawn):
        release(waiting, firm.checker)
    assert everything() == before
    assert Approval.objects.get(pk=waiting.pk).status == "pending"


def test_terms_that_moved_meanwhile_are_not_accepted_by_a_release(firm: Firm) -> None:
    """R-ADM-09, R-VIP-11: the second person releases the terms that the first accepted, or nothing."""
    request = desks.request(firm.desk)
    shown = terms.check(request, at=TEN).fingerprint
    waiting = propose(firm, "vip.submit", {"request": request, "accepted": shown})
    build.limits("0.70", "0.76", "0.90", "0.95", at=SOON)
    later = SOON + timedelta(minutes=1)
    desks.quote(later)
    with pytest.raises(TermsChanged):
        release(waiting, firm.checker, at=later)
    assert not Application.objects.exists()


def test_a_changed_payload_is_not_released(firm: Firm) -> None:
    """R-ADM-09, TRUST I-24: not when the row was tampered with, and not under another's hash."""
    name, told = asked(firm, "withdraw")
    waiting = propose(firm, name, told)
    with pytest.raises((InternalError, ProgrammingError)), acting(BUILDER), transaction.atomic():
        Approval.objects.filter(pk=waiting.pk).update(payload=waiting.payload | {"amount": "20"})
    token = releasing.set(waiting.payload_hash)
    try:
        with pytest.raises(NeedsApproval):
            call(firm, name, told | {"amount": D(20)})
    finally:
        releasing.reset(token)
    assert build.balance(firm.desk.sub, "BTC") == 25


def test_it_lapses_after_three_days(firm: Firm) -> None:
    """R-ADM-09"""
    waiting = propose(firm, *asked(firm, "withdraw"))
    end = TEN + timedelta(hours=72)
    assert waiting.expires_at == end
    with pytest.raises(NotPending, match="lapsed"):
        release(waiting, firm.checker, at=end)
    assert approvals.expire_due(at=end) == 1
    assert Approval.objects.get().status == "expired"
    assert build.balance(firm.desk.sub, "BTC") == 25


# --- When two are asked for -------------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["apply", "accept", "withdraw", "remove"])
def test_each_act_asks_for_two_by_its_own_switch_only(act: str, db: None) -> None:
    """R-ADM-09"""
    others = {name: name != act for name in ALL}
    desk = desks.set_up()
    firm = firm_of(desk, **others)
    if act == "accept":
        row = _countered(firm)
        told = {"application_id": row.pk, "version": 3}
        assert call(firm, "vip.accept_offer", told) is not None
        return
    assert call(firm, *asked(firm, act)) is not None


def test_the_policy_in_force_at_the_moment_counts(firm: Firm) -> None:
    """R-ADM-09: not the one to come, and not the one that was; what waits may then be released all the same."""
    name, told = asked(firm, "withdraw")
    waiting = propose(firm, name, told)
    later = SOON + timedelta(hours=1)
    off = {"apply": True, "accept": True, "withdraw": False, "remove": True}
    firms.set_policy(customer_id=firm.desk.owner.pk, **off, actor=BUILDER, at=later)
    with pytest.raises(NeedsApproval):
        call(firm, name, told)
    with pytest.raises(NotProposable):
        approvals.propose(
            command=name, arguments=told, title="x", preview={}, reason="", actor=firm.actor, at=later
        )
    assert perform(name, told | {"actor": firm.actor, "at": later}) is not None
    release(waiting, firm.checker, at=later)
    assert build.balance(firm.desk.sub, "BTC") == 23


def test_two_are_asked_of_the_firms_people_and_not_of_jobs(firm: Firm) -> None:
    """R-ADM-09: and what a firm keeps for two nobody proposes for it."""
    name, told = asked(firm, "remove")
    assert perform(name, told | {"actor": Actor.job("demo"), "at": SOON}) is not None
    for actor in (Actor.job("demo"), Actor.user(firm.desk.manager), Actor.user(build.user("admin"))):
        with pytest.raises(NotYourRole):
            approvals.propose(
                command=name, arguments=told, title="x", preview={}, reason="x", actor=actor, at=SOON
            )


def test_who_acts_for_one_account_proposes_and_cannot_release(firm: Firm) -> None:
    """R-ADM-09, R-GEN-95: they see their own proposal, and no other of the firm."""
    one = build.colleague(firm.desk.owner, "treasurer", only=firm.desk.sub)
    name, told = asked(firm, "withdraw")
    theirs = propose(firm, name, told, by=one)
    other = propose(firm, name, told | {"amount": D(2)})
    assert list(inbox.visible_to(one)) == [theirs]
    with pytest.raises(NotPending):
        release(other, one)
    release(theirs, firm.checker)
    assert build.balance(firm.desk.sub, "BTC") == 24


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(units=st.integers(1, 25 * 10**8), changed=st.integers(-(10**8), 10**8))
def test_only_the_very_amount_that_was_proposed_ever_leaves(firm: Firm, units: int, changed: int) -> None:
    """R-ADM-09, TRUST I-24: whatever is drawn, the release moves that to the last unit, and no other call passes."""
    name, told = asked(firm, "withdraw")
    amount, other = D(units).scaleb(-8), D(max(units + changed, 1)).scaleb(-8)
    with transaction.atomic():
        waiting = propose(firm, name, told | {"amount": amount})
        with pytest.raises(NeedsApproval):
            call(firm, name, told | {"amount": other})
        release(waiting, firm.checker)
        assert build.balance(firm.desk.sub, "BTC") == 25 - amount
        transaction.set_rollback(True)
