"""How often pages and signed reads ask the database: as often with many loans as with one, however long they ran."""

from collections.abc import Iterator, Mapping
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import User
from loans import queries
from loans.models import Loan
from loans.vip import renewal
from risk import accrual, pools
from tests import build
from tests.build import LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans import visit
from tests.loans.desk import Desk
from tests.programs import Program, api_key

pytestmark = pytest.mark.django_db

SOON = TEN + timedelta(minutes=1)
SIGNED = ("/sapi/v1/loan/vip/ongoing/orders", "/sapi/v1/asset/wallet/balance", "/sapi/v1/account/status")


@pytest.fixture
def house() -> Iterator[Desk]:
    with visit.at(SOON):
        house = desks.set_up(btc="100")
        desks.drawn(house, "500000")
        yield house


def other_clients(house: Desk, number: int = 3) -> None:
    """More clients of the same manager, each with a loan."""
    for _ in range(number):
        applicant = build.user()
        owner = build.customer(vip_level=1, manager=house.manager, member=applicant)
        sub = build.account(owner)
        build.deposit(sub, "BTC", "14", at=LONG_AGO)
        desks.drawn(Desk(owner, applicant, house.manager, build.master(owner), sub), "500000")


def pages(house: Desk, loan: Loan, auditor: User) -> dict[str, tuple[User, str]]:
    named = {
        "home": (house.applicant, reverse("loans:home")),
        "loan": (house.applicant, reverse("loans:loan", args=[loan.pk])),
        "loans": (house.applicant, reverse("loans:list")),
        "queue": (house.manager, reverse("loans:desk")),
        "clients": (house.manager, reverse("loans:clients")),
        "workbench": (house.manager, reverse("loans:desk_calls")),
        "book of a manager": (house.manager, reverse("loans:book")),
    }
    for name in ("book", "book_due", "confirmations"):
        named[name] = (auditor, reverse(f"loans:{'desk_' if name == 'confirmations' else ''}{name}"))
    named["coin"] = (auditor, reverse("loans:book_coin", args=["USDT"]))
    named["band"] = (auditor, reverse("loans:book_groups") + "?band=SAFE")
    return named


def asked(addresses: Mapping[str, tuple[User, str]]) -> dict[str, int]:
    """Queries of each page, the second time: what is written down once in a while is written down already."""
    found = {}
    for name, (user, url) in addresses.items():
        client = visit.client_of(user)
        for _ in range(2):
            with CaptureQueriesContext(connection) as captured:
                assert client.get(url).status_code == 200, name
        found[name] = len(captured)
    return found


def test_pages_ask_no_more_when_others_borrow(house: Desk) -> None:
    """STYLE 15, R-ADM-06, R-GEN-96"""
    loan, auditor = house.owner.loans.get(), build.user("auditor")
    named = pages(house, loan, auditor)
    other_clients(house, 1)
    one = asked(named)
    other_clients(house, 4)
    assert asked(named) == one


def test_pages_ask_no_more_when_one_borrows_much(house: Desk) -> None:
    """STYLE 15, R-GEN-96"""
    loan, auditor = house.owner.loans.get(), build.user("auditor")
    desks.drawn(house, "100000")
    named = pages(house, loan, auditor)
    two = asked(named)
    for _ in range(5):
        desks.drawn(house, "100000")
    assert asked(named) == two


def test_a_loan_page_asks_no_more_after_many_charges(house: Desk) -> None:
    """R-VIP-33"""
    loan = house.owner.loans.get()
    found = []
    for days in (1, 21):  # one charge, and three pages of them; on the 22nd day the window of renewal opens
        at = SOON + timedelta(days=days)
        accrual.accrue(at=at)
        with visit.at(at):
            desks.quote(at)
            found.append(asked({"loan": (house.applicant, reverse("loans:loan", args=[loan.pk]))}))
    assert found[0] == found[1]


def test_the_book_asks_no_more_once_something_was_earned(house: Desk) -> None:
    """R-ADM-06, R-ADM-12"""
    named = {"book": (build.user("auditor"), reverse("loans:book"))}
    tomorrow = SOON + timedelta(days=1)
    accrual.accrue(at=tomorrow)  # what it earned is not of the time before
    found = []
    for at, is_earned in ((SOON, False), (tomorrow, True)):
        with visit.at(at):
            desks.quote(at)
            assert bool(pools.result(start=LONG_AGO, end=at)) == is_earned
            found.append(asked(named))
    assert found[0] == found[1]


def test_a_chain_of_renewals_is_one_question(house: Desk) -> None:
    """R-VIP-42: whichever order of the chain is asked for."""
    first = house.owner.loans.get()
    chain = [first]
    for _ in range(2):
        last = chain[-1]
        assert last.due_at is not None
        at = last.due_at - timedelta(hours=1)
        desks.quote(at)
        chain.append(renewal.renew(loan_id=last.pk, term_days=30, actor=house.borrower, at=at))
    for row in chain:
        with CaptureQueriesContext(connection) as captured:
            assert queries.latest_order(row) == chain[-1]
        assert len(captured) == (1 if row == chain[-1] else 2)
    dated = [list(queries.interest_history(row)) for row in chain]
    assert [len(rows) for rows in dated] == [30, 60, 60]  # the last was not charged yet
    assert {entry.debt_id for entry in dated[2]} == {row.debt_id for row in chain[:2]}
    with CaptureQueriesContext(connection) as captured:
        list(queries.interest_history(chain[2]))
    assert len(captured) == 2


@pytest.mark.usefixtures("uncounted")
def test_a_signed_read_asks_who_calls_in_one_question(house: Desk) -> None:
    """R-GEN-06: and its own questions are as many with one loan as with many."""
    program = Program(api_key(house.master, house.applicant))

    def told() -> list[int]:
        found = []
        for path in SIGNED:
            for _ in range(2):
                with CaptureQueriesContext(connection) as captured:
                    assert program.get(path).status_code == 200
            found.append(len(captured))
        return found

    one = told()
    assert one[-1] == 1
    for _ in range(3):
        desks.drawn(house, "100000")
    other_clients(house)
    assert told() == one
