"""Enquiries: who may ask, whose queue it is, and the answer as a notice (R-VIP-17)."""

from datetime import timedelta
from typing import Any

import pytest

from accounts import people
from accounts.commands import Actor
from accounts.membership import NotYours
from accounts.models import Customer, Notice, User
from loans import enquiries
from loans.enquiries import BadEnquiry, NotYourEnquiry, TooManyEnquiries, WrongState
from loans.models import Enquiry
from tests import build
from tests.build import TEN

pytestmark = pytest.mark.django_db
LATER = TEN + timedelta(hours=1)


@pytest.fixture
def asker(db: None) -> User:
    return build.user()


@pytest.fixture
def newcomer(asker: User) -> Customer:
    """No VIP level, no manager: nobody who could apply."""
    return build.customer(vip_level=0, member=asker)


def ask(customer: Customer, user: User, **changes: Any) -> Enquiry:
    asked = {"contact": "ops@example.com", "wish": "2 m USDT for 90 days"} | changes
    return enquiries.ask(customer_id=customer.pk, actor=Actor.user(user), at=TEN, **asked)


def waiting_for(manager: User) -> list[Enquiry]:
    return list(enquiries.queue_of_user(manager.pk).filter(status=Enquiry.Status.OPEN))


def test_somebody_without_a_level_asks_and_any_manager_may_take_it(newcomer: Customer, asker: User) -> None:
    """R-VIP-17, R-VIP-01: taken with its customer, who can then be let in."""
    enquiry = ask(newcomer, asker, account_uid=build.master(newcomer).pk)
    first, second = build.user("vip_manager"), build.user("vip_manager")
    assert (enquiry.status, enquiry.manager, enquiry.asked_by) == ("open", None, asker)
    assert waiting_for(first) == waiting_for(second) == [enquiry]

    enquiries.take(enquiry_id=enquiry.pk, actor=Actor.user(first), at=TEN)

    newcomer.refresh_from_db()
    assert newcomer.manager == first
    assert (waiting_for(first), waiting_for(second)) == ([enquiry], [])
    with pytest.raises(WrongState, match=f"is with {first.name} already"):
        enquiries.take(enquiry_id=enquiry.pk, actor=Actor.user(second), at=TEN)
    people.whitelist(customer_id=newcomer.pk, actor=Actor.user(first), at=TEN, reason=str(enquiry))


def test_a_client_asks_its_own_manager(asker: User) -> None:
    """R-VIP-17: other managers do not see it."""
    manager, other = build.user("vip_manager"), build.user("vip_manager")
    enquiry = ask(build.customer(manager=manager, member=asker), asker)

    assert enquiry.manager == manager
    assert (waiting_for(manager), waiting_for(other)) == ([enquiry], [])


def test_the_answer_is_a_notice(asker: User) -> None:
    """R-VIP-17"""
    manager = build.user("vip_manager")
    customer = build.customer(manager=manager, member=asker)
    enquiry = ask(customer, asker)

    enquiries.answer(enquiry_id=enquiry.pk, text=" 90 days at 8 %. ", actor=Actor.user(manager), at=LATER)

    enquiry.refresh_from_db()
    assert (enquiry.status, enquiry.answer, enquiry.handled_at) == ("answered", "90 days at 8 %.", LATER)
    notice = Notice.objects.get(event=f"enquiry:{enquiry.pk}:answered")
    assert (notice.customer, notice.body) == (customer, "90 days at 8 %.")
    with pytest.raises(WrongState, match="is answered already"):
        enquiries.answer(enquiry_id=enquiry.pk, text="Again", actor=Actor.user(manager), at=LATER)
    assert Notice.objects.count() == 1


def test_only_its_manager_answers_and_nobodys_is_taken_first(newcomer: Customer, asker: User) -> None:
    """R-VIP-17, R-ADM-01"""
    manager, officer = build.user("vip_manager"), build.user("risk_officer")
    enquiry = ask(newcomer, asker)

    for user, words in ((manager, "nobody's yet; take it first"), (officer, "Only the VIP manager")):
        with pytest.raises(NotYourEnquiry, match=words):
            enquiries.answer(enquiry_id=enquiry.pk, text="Yes", actor=Actor.user(user), at=LATER)
    with pytest.raises(people.DeskOnly):
        enquiries.take(enquiry_id=enquiry.pk, actor=Actor.user(officer), at=LATER)
    with pytest.raises(NotYourEnquiry):
        enquiries.answer(enquiry_id=enquiry.pk, text="Yes", actor=Actor.user(asker), at=LATER)

    enquiry.refresh_from_db()
    assert (enquiry.status, Notice.objects.count()) == ("open", 0)


def test_an_enquiry_moves_with_its_customer(asker: User) -> None:
    first, second = build.user("vip_manager"), build.user("vip_manager")
    customer = build.customer(manager=first, member=asker)
    enquiry = ask(customer, asker)
    people.assign_manager(customer_id=customer.pk, manager_id=second.pk, actor=Actor.user(first), at=TEN)

    assert (waiting_for(first), waiting_for(second)) == ([], [enquiry])
    answered = enquiries.answer(enquiry_id=enquiry.pk, text="Yes", actor=Actor.user(second), at=LATER)
    assert answered.manager == second


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"contact": " "}, "Fill in the contact"),
        ({"wish": ""}, "Fill in the wish"),
        ({"wish": "x" * 2001}, "at most 2000"),
        ({"wish": "a\x00b"}, "Fill in the wish"),
        ({"account_uid": 1}, "Account 1 is not one of your accounts"),
    ],
)
def test_enquiries_that_cannot_be_sent(
    newcomer: Customer, asker: User, changes: dict[str, Any], words: str
) -> None:
    """R-VIP-17"""
    with pytest.raises(BadEnquiry, match=words):
        ask(newcomer, asker, **changes)
    assert not Enquiry.objects.exists()


def test_strangers_do_not_ask_for_a_customer_and_five_wait_at_most(newcomer: Customer, asker: User) -> None:
    """R-VIP-17, R-ADM-09: to who does not act for the customer, its enquiries do not exist."""
    with pytest.raises(NotYours):
        ask(newcomer, build.user())
    first, *_ = [ask(newcomer, asker) for _ in range(5)]

    with pytest.raises(TooManyEnquiries, match="take one back or wait"):
        ask(newcomer, asker)
    with pytest.raises(NotYours):
        enquiries.withdraw(enquiry_id=first.pk, actor=Actor.user(build.user()), at=LATER)
    colleague = build.user()
    people.add_member(customer_id=newcomer.pk, user_id=colleague.pk, actor=build.BUILDER, at=TEN)
    with pytest.raises(NotYourEnquiry):
        enquiries.withdraw(enquiry_id=first.pk, actor=Actor.user(colleague), at=LATER)
    enquiries.withdraw(enquiry_id=first.pk, actor=Actor.user(asker), at=LATER)
    ask(newcomer, asker)

    assert Enquiry.objects.filter(status="open").count() == 5
