"""Every command of a borrower, by each role of a member (R-ADM-09): who may does it, who may not changes nothing."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from django.urls import get_resolver

from accounts import firms, people, preferences
from accounts.commands import Actor, Registered, perform, registered
from accounts.membership import NotYourPart, NotYours, owners
from accounts.models import Acceptance, FirmPolicy, Membership, NoticePreference, User
from accounts.powers import Power, powers_of
from loans import enquiries
from loans.models import Application, Enquiry, Loan
from loans.vip import applications, auto_repay, offers, renewal, repayment
from risk import early_warnings, gate, groups
from risk.models import Member, Movement, WarningLine
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans import talks
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db
D = Decimal
ROLES = ("signatory", "treasurer", "trader", "viewer")
LATER = TEN + timedelta(hours=1)
LAST_DAYS = TEN + timedelta(days=25)
Call = Callable[[Actor], Any]


@dataclass(frozen=True)
class Case:
    """`prepare` makes what the command needs, for the user who will be let in, and returns the call."""

    power: Power
    prepare: Callable[[Desk, User], Call]


def _moved(name: str, **told: Any) -> Callable[[Desk, User], Call]:
    """A movement out of, or into, Spot of the sub-account; nothing is owed."""

    def prepare(desk: Desk, user: User) -> Call:
        uid = {"source_uid": desk.sub.pk} if name == "transfer" else {"account_uid": desk.sub.pk}
        into = {"target_uid": desk.master.pk} if name == "transfer" else {}
        return lambda actor: getattr(gate, name)(**uid, **into, **told, actor=actor, at=TEN)

    return prepare


def _submit(desk: Desk, user: User) -> Call:
    asked = desks.request(desk, applicant_id=user.pk)
    return lambda actor: applications.submit(request=asked, actor=actor, at=TEN)


def _negotiate(desk: Desk, user: User) -> Call:
    asked = desks.request(desk, applicant_id=user.pk)
    return lambda actor: applications.negotiate(request=asked, wanted=talks.wanted(), actor=actor, at=TEN)


def _cancel(desk: Desk, user: User) -> Call:
    row = desks.submitted(desk)
    return lambda actor: applications.cancel(application_id=row.pk, actor=actor, at=TEN)


def _answered(name: str, **told: Any) -> Callable[[Desk, User], Call]:
    """An answer to the manager's offer of 8.3 %."""

    def prepare(desk: Desk, user: User) -> Call:
        row = talks.asked(desk)
        talks.move("counter_offer", row, desk, wanted=talks.wanted("0.083"))
        return lambda actor: getattr(offers, name)(
            application_id=row.pk, version=3, **told, actor=actor, at=TEN
        )

    return prepare


def _repay(desk: Desk, user: User) -> Call:
    loan = desks.drawn(desk)
    return lambda actor: repayment.repay(loan_id=loan.pk, amount=D(100), actor=actor, at=TEN)


def _renew(desk: Desk, user: User) -> Call:
    loan = desks.drawn(desk)
    desks.quote(LAST_DAYS)
    return lambda actor: renewal.renew(loan_id=loan.pk, term_days=30, actor=actor, at=LAST_DAYS)


def _auto_repay(desk: Desk, user: User) -> Call:
    loan = desks.drawn(desk)
    return lambda actor: auto_repay.set_auto_repay(loan_id=loan.pk, on=True, actor=actor, at=TEN)


def _add_account(desk: Desk, user: User) -> Call:
    loan, more = desks.drawn(desk), build.account(desk.owner)
    return lambda actor: groups.add_account(
        group_id=loan.group_id, uid=more.pk, max_accounts=50, actor=actor, at=TEN
    )


def _remove_account(desk: Desk, user: User) -> Call:
    loan, more = desks.drawn(desk), build.account(desk.owner)
    groups.add_account(group_id=loan.group_id, uid=more.pk, max_accounts=50, actor=BUILDER, at=TEN)
    return lambda actor: groups.remove_account(group_id=loan.group_id, uid=more.pk, actor=actor, at=TEN)


def _set_line(desk: Desk, user: User) -> Call:
    loan = desks.drawn(desk)
    return lambda actor: early_warnings.set_line(group_id=loan.group_id, ltv=D("0.7"), actor=actor, at=TEN)


def _remove_line(desk: Desk, user: User) -> Call:
    group_id = desks.drawn(desk).group_id
    row = early_warnings.set_line(group_id=group_id, ltv=D("0.7"), actor=BUILDER, at=TEN)
    return lambda actor: early_warnings.remove_line(group_id=group_id, line_id=row.pk, actor=actor, at=TEN)


def _enquire(desk: Desk, user: User) -> Call:
    told = {"customer_id": desk.owner.pk, "contact": "me", "wish": "More"}
    return lambda actor: enquiries.ask(**told, actor=actor, at=TEN)


def _withdraw_enquiry(desk: Desk, user: User) -> Call:
    told = {"customer_id": desk.owner.pk, "contact": "me", "wish": "More"}
    row = enquiries.ask(**told, actor=Actor.user(user), at=TEN)
    return lambda actor: enquiries.withdraw(enquiry_id=row.pk, actor=actor, at=TEN)


def _prefer(desk: Desk, user: User) -> Call:
    told = {"customer_id": desk.owner.pk, "by_email": True, "by_sms": False}
    return lambda actor: preferences.set_preference(**told, actor=actor, at=TEN)


def _send_test(desk: Desk, user: User) -> Call:
    return lambda actor: preferences.send_test(customer_id=desk.owner.pk, actor=actor, at=TEN)


def _accept_agreement(desk: Desk, user: User) -> Call:
    people.publish_agreement(version="7", text="Terms.", actor=BUILDER, at=TEN)
    told = {"customer_id": desk.owner.pk, "user_id": user.pk, "version": "7"}
    return lambda actor: people.accept_agreement(**told, actor=actor, at=LATER)


def _set_policy(desk: Desk, user: User) -> Call:
    told = {"apply": True, "accept": False, "withdraw": False, "remove": False}
    return lambda actor: firms.set_policy(customer_id=desk.owner.pk, **told, actor=actor, at=TEN)


def _set_role(desk: Desk, user: User) -> Call:
    someone = build.colleague(desk.owner, "viewer")
    told = {"customer_id": desk.owner.pk, "user_id": someone.pk, "role": "trader"}
    return lambda actor: firms.set_role(**told, actor=actor, at=TEN)


BTC = {"asset": "BTC", "amount": D(1)}
CASES = {
    "gate.deposit": Case(Power.MOVE, _moved("deposit", **BTC)),
    "gate.withdraw": Case(Power.WITHDRAW, _moved("withdraw", **BTC, address="bc1q")),
    "gate.transfer": Case(Power.MOVE, _moved("transfer", **BTC, source_wallet="spot", target_wallet="spot")),
    "gate.trade": Case(Power.TRADE, _moved("trade", sell="BTC", amount=D(1), buy="USDT")),
    "vip.submit": Case(Power.APPLY, _submit),
    "vip.negotiate": Case(Power.APPLY, _negotiate),
    "vip.cancel": Case(Power.APPLY, _cancel),
    "vip.accept_offer": Case(Power.ACCEPT, _answered("accept_offer")),
    "vip.counter": Case(Power.APPLY, _answered("counter", wanted=talks.wanted("0.081"))),
    "vip.decline_offer": Case(Power.ACCEPT, _answered("decline_offer")),
    "vip.repay": Case(Power.REPAY, _repay),
    "vip.renew": Case(Power.REPAY, _renew),
    "vip.set_auto_repay": Case(Power.REPAY, _auto_repay),
    "groups.add_account": Case(Power.PLEDGE, _add_account),
    "groups.remove_account": Case(Power.PLEDGE, _remove_account),
    "risk.set_warning_line": Case(Power.RULES, _set_line),
    "risk.remove_warning_line": Case(Power.RULES, _remove_line),
    "loans.enquire": Case(Power.APPLY, _enquire),
    "loans.withdraw_enquiry": Case(Power.APPLY, _withdraw_enquiry),
    "notices.set_preference": Case(Power.RULES, _prefer),
    "notices.send_test": Case(Power.RULES, _send_test),
    "people.accept_agreement": Case(Power.ACCEPT, _accept_agreement),
    "firms.set_policy": Case(Power.GOVERN, _set_policy),
    "firms.set_role": Case(Power.GOVERN, _set_role),
}


class _Undone(Exception):
    """Takes back what a role was let do, so that the next one starts from the same."""


def everything() -> Any:
    kept = (
        *(Membership, FirmPolicy, NoticePreference, WarningLine, Acceptance),
        *(Movement, Member, Enquiry, Application, Loan),
    )
    return desks.everything(), [list(model.objects.order_by("pk").values()) for model in kept]


def members() -> dict[str, Registered]:
    """The commands that have a rule for members; the pages import all of them."""
    get_resolver().url_patterns  # noqa: B018
    return {name: one for name, one in registered.items() if one.member is not None and "test." not in name}


@pytest.mark.parametrize("name", CASES)
def test_who_may_does_it_and_who_may_not_changes_nothing(name: str) -> None:
    """R-ADM-09"""
    case, desk = CASES[name], desks.set_up()
    users = {role: build.colleague(desk.owner, role) for role in ROLES}
    allowed = {role for role in ROLES if case.power in powers_of(role)}
    rule = registered[name].member
    assert rule is not None
    assert rule.power == case.power
    for role in allowed:
        with suppress(_Undone), transaction.atomic():
            call = case.prepare(desk, users[role])
            before = everything()
            assert call(Actor.user(users[role])) is not None
            assert everything() != before
            raise _Undone
    call = case.prepare(desk, users["signatory"])
    before = everything()
    for role in set(ROLES) - allowed:
        with pytest.raises(NotYourPart, match=f"As a {role} of {desk.owner.name} you may not"):
            call(Actor.user(users[role]))
        assert everything() == before
    outsider = build.user()
    build.customer(member=outsider)
    for stranger in (outsider, build.user()):
        before = everything()
        with pytest.raises(NotYours):
            call(Actor.user(stranger))
        assert everything() == before


def test_every_command_of_a_borrower_refuses_who_may_not() -> None:
    """R-ADM-09: those above and any other with a rule, asked before a single argument is looked at."""
    desk = desks.set_up()
    users = {role: build.colleague(desk.owner, role) for role in ROLES}
    one = build.colleague(desk.owner, "signatory", only=desk.sub)
    inactive = build.colleague(desk.owner, "signatory")
    User.objects.filter(pk=inactive.pk).update(is_active=False)
    commands = members()
    assert set(CASES) <= set(commands)
    told = {"customer_id": desk.owner.pk, "at": TEN}
    refused = 0
    for name, found in commands.items():
        rule = found.member
        assert rule is not None
        for role in ROLES:
            if rule.power not in powers_of(role):
                with pytest.raises(NotYourPart):
                    perform(name, told | {"actor": Actor.user(users[role])})
                refused += 1
        with pytest.raises(NotYourPart, match="You act for .* only"):
            perform(name, told | {"actor": Actor.user(one)})
        with pytest.raises(NotYours):
            perform(name, told | {"actor": Actor.user(inactive)})
    assert refused >= len(commands)


def test_every_command_of_a_borrower_says_whom_it_is_about() -> None:
    """R-ADM-09: by an argument whose owner somebody knows; otherwise no member could ever call it."""
    for name, found in members().items():
        arguments = set(inspect.signature(found.function).parameters)
        assert arguments & set(owners), name


def test_the_rows_of_two_customers_are_nobodys() -> None:
    """R-GEN-95, TRUST B-13: one's own customer in one argument opens no row of another's in the next."""
    desk = desks.set_up()
    loan = desks.drawn(desk)
    thief = build.user()
    theirs = build.customer(member=thief)
    mine = {"actor": Actor.user(thief), "at": TEN}
    before = everything()
    for told in (
        {"customer_id": theirs.pk, "group_id": loan.group_id},
        {"customer_id": theirs.pk, "loan_id": loan.pk},
        {"account_uid": build.master(theirs).pk, "group_id": loan.group_id},
        {"group_id": loan.group_id},
        {"group_id": 10**9},
        {},
    ):
        with pytest.raises(NotYours):
            perform("groups.add_account", told | mine)
    assert everything() == before


def test_who_acts_for_one_account_moves_its_coins_and_no_others() -> None:
    """R-GEN-95, R-ADM-09: whichever way the accounts are named."""
    desk = desks.set_up()
    more = build.account(desk.owner)
    one = Actor.user(build.colleague(desk.owner, "treasurer", only=desk.sub))
    trader = Actor.user(build.colleague(desk.owner, "trader", only=desk.sub))
    coin = {"asset": "BTC", "amount": D(1), "at": TEN}
    wallets = {"source_wallet": "spot", "target_wallet": "funding"}
    before = everything()
    for source, target in ((desk.sub, more), (more, desk.sub), (more, more)):
        with pytest.raises(NotYourPart, match="You act for .* only"):
            gate.transfer(source_uid=source.pk, target_uid=target.pk, **wallets, **coin, actor=one)
    with pytest.raises(NotYourPart):
        gate.withdraw(account_uid=more.pk, address="bc1q", **coin, actor=one)
    with pytest.raises(NotYourPart, match="As a trader"):
        gate.withdraw(account_uid=desk.sub.pk, address="bc1q", **coin, actor=trader)
    assert everything() == before
    gate.transfer(source_uid=desk.sub.pk, target_uid=desk.sub.pk, **wallets, **coin, actor=one)
    gate.withdraw(account_uid=desk.sub.pk, address="bc1q", **coin, actor=one)
    assert build.balance(desk.sub, "BTC") == 23


def test_jobs_and_staff_are_not_members_and_their_own_rules_hold() -> None:
    """R-ADM-09: the auto-repayment of the night needs nobody's role."""
    desk = desks.set_up()
    loan = desks.drawn(desk)
    assert repayment.repay(loan_id=loan.pk, amount=D(100), actor=Actor.job("expire"), at=TEN) is not None


def test_a_member_of_two_firms_has_each_role_where_it_is_theirs() -> None:
    """R-ADM-09"""
    desk = desks.set_up()
    user = build.colleague(desk.owner, "viewer")
    other = build.customer(member=user)
    build.deposit(build.master(other), "BTC", "2", at=build.LONG_AGO)
    told = {"asset": "BTC", "amount": D(1), "address": "bc1q", "actor": Actor.user(user), "at": TEN}
    with pytest.raises(NotYourPart, match="As a viewer"):
        gate.withdraw(account_uid=desk.sub.pk, **told)
    gate.withdraw(account_uid=build.master(other).pk, **told)
    assert (build.balance(desk.sub, "BTC"), build.balance(build.master(other), "BTC")) == (25, 1)
