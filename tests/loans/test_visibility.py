"""Who may open which page: the owner, members limited to one account, strangers, the house. R-GEN-95, R-ADM-01."""

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts import members, people
from accounts.commands import Actor
from accounts.membership import NotYourPart
from accounts.models import Account, User
from loans import enquiries
from loans.models import Application, Enquiry, Loan
from loans.vip import applications
from loans.vip.eligibility import Wish
from risk import gate
from risk.models import CollateralGroup, Debt, Movement
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk, talks, visit
from tests.loans.test_pages_borrower import hidden, text_of

pytestmark = pytest.mark.django_db
OPEN, NONE, ELSEWHERE = 200, 404, 302
WHO = ["owner", "receiver", "collateral", "stranger", "manager", "other_manager", "risk_officer"]


@dataclass(frozen=True)
class House:
    here: desk.Desk
    loan: Loan
    second: Account  # another collateral account of the same group
    users: dict[str, User]

    @property
    def group(self) -> CollateralGroup:
        return self.loan.group

    def client(self, who: str) -> Client:
        return visit.client_of(self.users[who])


def limited(here: desk.Desk, account: Account) -> User:
    user = build.user()
    asked = {"customer_id": here.owner.pk, "user_id": user.pk, "actor": BUILDER, "at": LONG_AGO}
    people.add_member(**asked)
    members.limit(account_uid=account.pk, **asked)
    return user


@pytest.fixture
def house() -> Iterator[House]:
    """1,000,000 USDT to the master against 25 BTC of the sub and 1 BTC of a second account: 64.1 %."""
    with visit.at(TEN):
        here = desk.set_up()
        second = build.account(here.owner, label="Second")
        build.deposit(second, "BTC", "1", at=LONG_AGO)
        loan = desk.drawn(here, account_uids=(here.sub.pk, second.pk))
        stranger = build.user()
        build.customer(member=stranger)
        users = {
            "owner": here.applicant,
            "receiver": limited(here, here.master),
            "collateral": limited(here, here.sub),
            "stranger": stranger,
            "manager": here.manager,
            "other_manager": build.user("vip_manager"),
            "risk_officer": build.user("risk_officer"),
        }
        yield House(here, loan, second, users)


# --- Rows -----------------------------------------------------------------------------------------------


def test_what_each_member_sees(house: House) -> None:
    """R-GEN-95, R-VIP-02: a group is seen from its receiver, never from an account that secures it."""
    here = house.here
    application = Application.objects.get()
    master, sub = here.master, here.sub
    seen = {
        who: (
            set(Account.objects.visible_to(user)),
            set(CollateralGroup.objects.visible_to(user)),
            set(Loan.objects.visible_to(user)),
            set(Application.objects.visible_to(user)),
        )
        for who, user in house.users.items()
    }
    assert seen["owner"] == ({master, sub, house.second}, {house.group}, {house.loan}, {application})
    assert seen["receiver"] == ({master}, {house.group}, {house.loan}, set())
    assert seen["collateral"] == ({sub}, set(), set(), set())
    assert seen["stranger"] == (
        {build.master(house.users["stranger"].memberships.get().customer)},
        *[set()] * 3,
    )


# --- Pages ----------------------------------------------------------------------------------------------

PAGES = {  # who gets which answer, in the order of WHO
    "loans:home": (OPEN, ELSEWHERE, ELSEWHERE, OPEN, ELSEWHERE, ELSEWHERE, ELSEWHERE),
    "loans:apply": (OPEN, NONE, NONE, OPEN, NONE, NONE, NONE),
    "loans:requests": (OPEN, NONE, NONE, OPEN, NONE, NONE, NONE),
    "accounts:notices": (OPEN, NONE, NONE, OPEN, NONE, NONE, NONE),
    "loans:list": (OPEN, OPEN, OPEN, OPEN, NONE, NONE, NONE),
    "risk:wallets": (OPEN, OPEN, OPEN, OPEN, NONE, NONE, NONE),
    "risk:movements": (OPEN, OPEN, OPEN, OPEN, NONE, NONE, NONE),
    "risk:groups": (OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN),
    "loans:liquidations": (OPEN, OPEN, OPEN, OPEN, OPEN, OPEN, OPEN),
    "loan": (OPEN, OPEN, NONE, NONE, OPEN, NONE, OPEN),
    "group": (OPEN, OPEN, NONE, NONE, OPEN, NONE, OPEN),
    "of_debt": (ELSEWHERE, ELSEWHERE, NONE, NONE, ELSEWHERE, NONE, ELSEWHERE),
    "sheet": (OPEN, OPEN, NONE, NONE, OPEN, NONE, OPEN),
    "collateral": (OPEN, NONE, NONE, NONE, NONE, NONE, NONE),
    "repay": (ELSEWHERE, NONE, NONE, NONE, NONE, NONE, NONE),
    "renew": (ELSEWHERE, NONE, NONE, NONE, NONE, NONE, NONE),
}


def address(page: str, house: House) -> str:
    rows = {
        "loan": ("loans:loan", house.loan.pk),
        "group": ("risk:group", house.group.pk),
        "of_debt": ("loans:of_debt", house.loan.debt_id),
        "sheet": ("loans:sheet", house.loan.sheet_id),
        "collateral": ("loans:collateral", house.group.pk),
        "repay": ("loans:repay", house.loan.pk),
        "renew": ("loans:renew", house.loan.pk),
    }
    name, *args = rows.get(page, (page,))
    return reverse(name, args=args)


@pytest.mark.parametrize("page", PAGES)
def test_every_page_answers_each_of_them_alike(page: str, house: House) -> None:
    """R-GEN-95: what is not theirs does not exist for them; staff by role (R-ADM-01)."""
    answers = tuple(house.client(who).get(address(page, house)).status_code for who in WHO)
    assert answers == PAGES[page]


def test_who_acts_for_one_account_neither_asks_nor_answers_for_the_master(house: House) -> None:
    """R-VIP-02, R-GEN-95: not through a command either, whichever of the accounts is theirs."""
    here = house.here
    asked = talks.asked(here, wishes=(Wish("USDT", Decimal(50000)),))
    talks.move("counter_offer", asked, here, wanted=talks.wanted("0.083"))
    before = desk.everything()
    for who in ("receiver", "collateral"):
        user = house.users[who]
        actor = Actor.user(user)
        with pytest.raises(NotYourPart, match="not for all of"):
            applications.submit(request=desk.request(here, applicant_id=user.pk), actor=actor, at=TEN)
        with pytest.raises(NotYourPart, match="not for all of"):
            talks.move("accept_offer", asked, here, actor=actor)
        with pytest.raises(NotYourPart, match="not for all of"):
            enquiries.ask(customer_id=here.owner.pk, contact="me", wish="More", actor=actor, at=TEN)
    assert desk.everything() == before
    assert not Enquiry.objects.exists()


def test_the_receiver_reads_all_collateral_accounts_bound_to_it(house: House) -> None:
    """R-GEN-95: on the group's page, and without a button to change anything."""
    words = text_of(house.client("receiver").get(address("group", house)))
    assert house.here.sub.label in words
    assert "Second" in words
    assert "64.1" in text_of(house.client("owner").get(address("group", house)))
    assert "Add or remove an account" not in words
    assert "Add or remove an account" in text_of(house.client("owner").get(address("group", house)))


def test_a_collateral_account_sees_its_own_coins_and_whom_it_is_pledged_to(house: House) -> None:
    """R-GEN-95"""
    page = house.client("collateral").get(reverse("risk:wallets"))
    words = text_of(page)
    assert house.here.sub.label in words
    assert "collateral of " + house.group.name in words
    assert "Second" not in words
    assert reverse("risk:group", args=[house.group.pk]) not in page.content.decode()
    assert house.group.name not in text_of(house.client("collateral").get(reverse("risk:groups")))


def moved(account: Account, asset: str, amount: str) -> Movement:
    return gate.transfer(
        source_uid=account.pk,
        source_wallet="spot",
        target_uid=account.pk,
        target_wallet="funding",
        asset=asset,
        amount=Decimal(amount),
        actor=BUILDER,
        at=TEN,
    )


def test_movements_are_those_of_ones_own_account_without_the_groups_ltv(house: House) -> None:
    """R-GEN-95"""
    moved(house.here.sub, "BTC", "0.125")
    moved(house.second, "BTC", "0.25")
    for name in ("risk:movements", "risk:wallets"):
        owner, theirs = (text_of(house.client(who).get(reverse(name))) for who in ("owner", "collateral"))
        assert "0.125" in owner and "0.25" in owner and "→" in owner  # noqa: PT018
        assert "0.125" in theirs and "0.25" not in theirs and "→" not in theirs  # noqa: PT018


def form(house: House, **changes: object) -> dict[str, object]:
    return {
        "key": str(uuid4()),
        "account": house.here.sub.pk,
        "wallet": "spot",
        "asset": "BTC",
        "amount": "1",
        "address": "bc1q",
    } | changes


def test_nobody_moves_coins_of_an_account_they_do_not_act_for(house: House) -> None:
    """R-GEN-95: it is not among the choices, so naming it is an error."""
    url = reverse("risk:move", args=["withdraw"])
    for who, uid in (
        ("collateral", house.second.pk),
        ("receiver", house.here.sub.pk),
        ("stranger", house.here.sub.pk),
    ):
        answer = house.client(who).post(url, form(house, account=uid))
        assert answer.status_code == 422
        assert "Select a valid choice" in text_of(answer)
    assert not Movement.objects.exists()


def test_a_refusal_tells_a_collateral_accounts_user_nothing_of_the_loan(house: House) -> None:
    """R-GEN-95, R-VIP-53: the same no, but not the LTV; neither before the button nor after it."""
    url = reverse("risk:move", args=["withdraw"])
    owner = text_of(house.client("owner").post(url, form(house, amount="5")))
    theirs = text_of(house.client("collateral").post(url, form(house, amount="5")))
    assert "must stay below the initial line of 72 %" in owner
    assert "Ask whoever acts for the whole customer" in theirs
    client = house.client("collateral")
    fine = client.post(url, form(house, amount="0.5"))
    assert fine.status_code == 200
    assert "LTV of" not in text_of(fine)
    with desk.acting(BUILDER):
        build.price("BTC", "40000", at=TEN)
    late = client.post(url, form(house, amount="0.5", seen=hidden(fine, "seen")))
    assert late.status_code == 422
    for words in (theirs, text_of(late)):
        assert "%" not in words.split("Withdraw", 1)[1].split("Out of a collateral account")[0]
    assert Debt.objects.get().principal == 1_000_000
