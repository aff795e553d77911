"""The treasurer's pages: who sees the pools, who proposes, and that every figure leads to its rows. R-ADM-12"""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts import approvals, books
from accounts.commands import Actor
from accounts.models import Approval, User
from risk import funding
from risk.models import Tranche
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk as desks
from tests.loans import visit
from tests.loans.desk import Desk
from tests.loans.test_pages_residual import text_of

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
INDEX = "/desk/funding/"


@pytest.fixture(autouse=True)
def _at_ten() -> Iterator[None]:
    with visit.at(TEN):
        yield


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


@pytest.fixture
def tranche(desk: Desk) -> Tranche:
    return funding.fund(
        asset="USDT",
        amount=Decimal(3650000),
        lender="Harbour Bank",
        annual_rate=Decimal("0.1"),
        matures_at=TEN + 20 * DAY,
        actor=BUILDER,
        at=TEN - 2 * DAY,
    )


def fund(user: User, **typed: str) -> Any:
    sent = {"key": str(uuid4()), "asset": "USDT", "amount": "1000", "reason": "Board"} | typed
    return visit.client_of(user).post(INDEX, sent)


def move(user: User, row: Tranche, **typed: str) -> Any:
    sent = {"key": str(uuid4()), "way": "draw", "amount": "", "reason": "Board"} | typed
    return visit.client_of(user).post(reverse("loans:funding_tranche", args=[row.pk]), sent)


def pages(row: Tranche) -> list[str]:
    return [
        INDEX,
        reverse("loans:funding_ladder"),
        reverse("loans:funding_coin", args=["USDT"]),
        reverse("loans:funding_tranche", args=[row.pk]),
        reverse("loans:funding_rung", args=["USDT", "30d"]),
    ]


def test_staff_look_and_only_finance_changes(desk: Desk, tranche: Tranche) -> None:
    """R-ADM-12"""
    for number, role in enumerate(("finance", "admin", "risk_officer", "auditor", "ops"), start=1):
        user = build.user(role)
        for url in pages(tranche):
            assert visit.client_of(user).get(url).status_code == 200, (role, url)
        may = role in {"finance", "admin"}
        assert fund(user, amount=f"{number}").status_code == (302 if may else 403)
        assert move(user, tranche, amount=f"{number}").status_code == (302 if may else 403)
    for stranger in (desk.manager, desk.applicant, build.user()):
        for url in pages(tranche):
            assert visit.client_of(stranger).get(url).status_code == 404, url
        assert fund(stranger).status_code == 404
    assert Client().get(INDEX).status_code == 302
    assert books.lenders("USDT").balance == 3650000  # all of it only proposed


def test_a_pool_is_funded_by_two_people(desk: Desk) -> None:
    """R-ADM-12, R-ADM-03"""
    maker = build.user("finance")
    typed = {"lender": "Harbour Bank", "annual_rate": "7.5", "matures_at": "2026-03-01T00:00"}
    assert fund(maker, **typed).status_code == 302
    assert not Tranche.objects.exists()
    proposal = Approval.objects.get()
    assert f"{proposal} waits. Fund 1,000.00 USDT from Harbour Bank" in text_of(
        visit.client_of(maker).get(INDEX)
    )
    approvals.release(approval_id=proposal.pk, actor=Actor.user(build.user("admin")), at=TEN)
    row = Tranche.objects.get()
    assert (row.lender, row.annual_rate) == ("Harbour Bank", Decimal("0.075"))
    assert f"{row.matures_at:%Y-%m-%d %H:%M}" == "2026-03-01 00:00"
    assert books.lenders("USDT").balance == 1000


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"amount": "1,000"}, "plain digits"),
        ({"amount": "0"}, "more than zero"),
        ({"annual_rate": "5"}, "Our own capital costs nothing"),
        ({"matures_at": "2025-01-01T00:00", "lender": "x"}, "matures in the future"),
        ({"asset": "DOGE"}, "valid choice"),
        ({"reason": ""}, "required"),
    ],
)
def test_what_cannot_be_funded_is_shown_again(desk: Desk, typed: dict[str, str], words: str) -> None:
    """R-ADM-12"""
    answer = fund(build.user("finance"), **typed)
    assert answer.status_code == 422
    assert words in text_of(answer)
    assert not Approval.objects.exists()


def test_a_tranche_is_given_back_by_two_people(desk: Desk, tranche: Tranche) -> None:
    """R-ADM-12: all of it, when no amount is typed; its cost besides"""
    funding.accrue_costs(at=TEN)
    maker = build.user("finance")
    assert "Cost due 2,000.00 USDT at 10.00 % a year, charged at 00:00 UTC" in text_of(
        visit.client_of(maker).get(reverse("loans:funding_tranche", args=[tranche.pk]))
    )
    assert move(maker, tranche).status_code == 302
    proposal = Approval.objects.get()
    assert proposal.title == f"Give back all of {tranche}"
    assert books.lenders("USDT").balance == 3650000
    approvals.release(approval_id=proposal.pk, actor=Actor.user(build.user("finance")), at=TEN)
    assert (books.lenders("USDT").balance, books.cost_owed("USDT").balance) == (0, 0)
    seen = text_of(visit.client_of(maker).get(reverse("loans:funding_tranche", args=[tranche.pk])))
    assert "Given back" in seen
    assert "Give back or pay" not in seen
    assert move(maker, tranche).status_code == 422


def test_more_than_is_left_is_refused_on_the_form(desk: Desk, tranche: Tranche) -> None:
    """R-ADM-12"""
    maker = build.user("finance")
    answer = move(maker, tranche, amount="3650000.01")
    assert answer.status_code == 422
    assert "has 3650000.00000000 USDT left" in text_of(answer)
    answer = move(maker, tranche, way="pay_cost", amount="2000.01")
    assert answer.status_code == 422
    assert "is more" in text_of(answer)
    assert not Approval.objects.exists()
    assert books.cost_owed("USDT").balance == 0  # the rehearsal's charges were taken back


def test_the_ladder_leads_to_the_loans_and_tranches_behind_it(desk: Desk, tranche: Tranche) -> None:
    """R-ADM-12"""
    loan = desks.drawn(desk)  # 30 days
    client = visit.client_of(build.user("auditor"))
    seen = text_of(client.get(reverse("loans:funding_ladder")))
    assert "Within 30 days 1,000,000.00 USDT 3,650,000.00 USDT −2,650,000.00 USDT" in seen
    rung = client.get(reverse("loans:funding_rung", args=["USDT", "30d"]))
    assert reverse("loans:loan", args=[loan.pk]).encode() in rung.content
    assert reverse("loans:funding_tranche", args=[tranche.pk]).encode() in rung.content
    assert client.get(reverse("loans:funding_rung", args=["USDT", "31d"])).status_code == 404
    assert client.get(reverse("loans:funding_rung", args=["NONE", "30d"])).status_code == 404


def test_every_link_of_the_pages_leads_somewhere(desk: Desk, tranche: Tranche) -> None:
    """R-ADM-12: each number can be followed to its rows"""
    desks.drawn(desk)
    funding.accrue_costs(at=TEN)
    client = visit.client_of(build.user("finance"))
    found: set[str] = set()
    for url in pages(tranche):
        page = client.get(url).content.decode()
        main = page[page.index("<main") : page.index("</main>")]
        found |= set(re.findall(r'href="(/[^"#?]*)"', main))
    assert any("/ledger/accounts/lenders:USDT/" in url.replace("%3A", ":") for url in found)
    assert any(url.startswith("/ledger/entries/") for url in found)
    assert any(url.startswith("/loans/") for url in found)
    for url in sorted(found):
        assert client.get(url).status_code == 200, url


def test_this_month_is_what_was_booked_in_it(desk: Desk, tranche: Tranche) -> None:
    """R-ADM-12: the charge at 1 January, 00:00 belongs to December"""
    funding.accrue_costs(at=TEN)
    client = visit.client_of(build.user("finance"))
    assert "Nothing has been earned or lost this month yet." in text_of(client.get(INDEX))
    with visit.at(TEN + DAY):
        funding.accrue_costs(at=TEN + DAY)
        later = visit.client_of(build.user("finance"))
        assert "1,000.00 USDT 0.00 USDT −1,000.00 USDT" in text_of(later.get(INDEX))


def test_pools_of_which_nothing_is_lent_are_folded_and_every_figure_leads_to_its_account(
    desk: Desk, tranche: Tranche
) -> None:
    """R-ADM-12: what is used stands in the table, the rest behind a summary."""
    build.fund_pool("BTC", "5")
    page = visit.client_of(build.user("finance")).get(reverse("loans:funding"))
    used = {one.asset.pk for one in page.context["pools"]}
    idle = {one.asset.pk for one in page.context["idle"]}
    assert (tranche.asset_id in used, "BTC" in idle, used & idle) == (True, True, set())
    assert all(one.lent or one.lenders or one.cost_owed for one in page.context["pools"])
