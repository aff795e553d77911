"""Cures at the edges: coins with few decimals, a page that stood open, a group that closes, too many steps."""

from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from loans.vip.terms import Wish
from risk import debts
from risk.cure import Goal
from risk.models import CollateralGroup, Debt, DebtEntry
from risk.promises import Promise
from tests import build
from tests.build import TEN
from tests.loans import desk, visit
from tests.loans.desk import Desk, everything
from tests.loans.test_cure_presses import D, cards, ltv_of, price
from tests.loans.test_cure_together import presses, send
from tests.loans.test_pages_borrower import text_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> Desk:
    """A coin of 6 places beside those of 8."""
    made = desk.set_up()
    build.fund_pool("BTC", "1000")
    build.asset("XRP", places=6)
    build.ratios("XRP")
    desk.quote(TEN, XRP="2")
    return made


def borrower(house: Desk) -> Client:
    return visit.client_of(house.applicant)


def test_all_of_a_coin_with_few_decimals_is_added_and_then_another(house: Desk) -> None:
    """R-FTR-02: the amount is a balance, kept with 8 decimals"""
    desk.drawn(house, coins=("BTC", "USDT", "XRP"))
    desk.spend(house, "1000000")
    build.deposit(house.master, "XRP", "20000.5", wallet="funding", at=TEN)
    build.deposit(house.master, "BTC", "2", wallet="funding", at=TEN)
    with visit.at(TEN):
        build.prices(at=TEN, BTC="45000", USDT="1", XRP="2")
        group = CollateralGroup.objects.get()
        press = presses(borrower(house), group)[0]
        assert any("asset=XRP&amount=20000.5&" in f"{value}&" for name, value in press if name == "step")
        before = ltv_of(group)
        send(borrower(house), group, press)
        assert ltv_of(group) < before


def test_a_loan_in_a_coin_with_few_decimals_is_repaid_whole(house: Desk) -> None:
    """R-FTR-02, R-VIP-34: what would be left is too little, so all of it is the cure"""
    build.fund_pool("XRP", "1000000")
    desk.loan_limit("XRP")
    desk.card("XRP", "0.084", term_days=30)
    desk.drawn(house, coins=("BTC",))
    desk.drawn(house, wishes=(Wish("XRP", D(26_000)),))
    desk.spend(house, "1000000")
    build.deposit(house.master, "XRP", "100", at=TEN)
    with visit.at(TEN):
        build.prices(at=TEN, BTC="51948.1", USDT="1", XRP="2")
        group = CollateralGroup.objects.get()
        to, press = cards(borrower(house), group)[0]
        assert borrower(house).post(to, press | {"press": "cure"}).status_code == 302
        assert Debt.objects.get(asset="XRP").closed_at == TEN


def test_a_reader_of_swedish_presses_three_decimals(house: Desk) -> None:
    """R-FTR-02: 162,255 typed may be two things; what the button sends is one"""
    build.asset("HIVE", places=3)
    build.ratios("HIVE")
    desk.quote(TEN, HIVE="300")
    desk.drawn(house, coins=("BTC", "USDT", "HIVE"))
    desk.spend(house, "1000000")
    build.deposit(house.master, "HIVE", "999", wallet="funding", at=TEN)
    with visit.at(TEN):
        build.prices(at=TEN, BTC="50001", USDT="1", HIVE="300")
        group, client = CollateralGroup.objects.get(), borrower(house)
        client.cookies["language"] = "sv"
        to, press = next((to, press) for to, press in cards(client, group) if press.get("asset") == "HIVE")
        before = ltv_of(group)
        assert client.post(to, press | {"press": "cure"}).status_code == 302
        assert ltv_of(group) < before


def test_a_page_that_stood_open_does_not_pay_again_when_a_price_moves_a_little(house: Desk) -> None:
    """R-FTR-02, R-GEN-06: a cure ends on its line, so the smallest move opens a gap; not the whole cure answers it"""
    desk.drawn(house, coins=("BTC", "USDT"))
    desk.spend(house, "1000000")
    build.deposit(house.master, "USDT", "500000", at=TEN)
    with visit.at(TEN):
        price("50000")
        group, one, other = CollateralGroup.objects.get(), borrower(house), borrower(house)
        [_, (to, first)], [_, (_, second)] = cards(one, group), cards(other, group)
        one.post(to, first | {"press": "cure"}, follow=True)
        assert ltv_of(group) == D("0.72")
        price("49999")
        before = everything()
        told = text_of(other.post(to, second | {"press": "cure"}, follow=True))
        assert everything() == before
        assert "LTV is 72.00 % by now: less than half of this cure is needed." in told
        assert "LTV falls from 72.00 % to 64.00 %." in told  # to be decided anew
        assert DebtEntry.objects.filter(kind="repayment").count() == 1


def test_a_cure_that_closed_the_group_may_arrive_twice(house: Desk) -> None:
    """R-GEN-06: the same answer, and nothing more"""
    desk.drawn(house, coins=("BTC", "USDT"))
    build.deposit(house.master, "USDT", "200000", at=TEN)
    with visit.at(TEN):
        group, debt = CollateralGroup.objects.get(), Debt.objects.get()
        payoff = debts.payoff_at(debt, at=TEN).total
        price("45000")
        step = f"do=repay:{debt.pk}&how=amount&amount={payoff.normalize():f}"
        promise = Promise(Goal(D("0.72")), D(1), D(0))
        body = {"key": str(uuid4()), "cure": str(promise), "step": [step]}
        to, client = reverse("loans:cure", args=[group.pk]), borrower(house)
        first = client.post(to, body, follow=True)
        group.refresh_from_db()
        assert (first.status_code, group.closed_at) == (200, TEN)
        before = everything()
        assert client.post(to, body, follow=True).status_code == 200
        assert everything() == before
        assert client.post(to, body | {"key": str(uuid4())}).status_code == 404


def test_more_steps_than_one_press_takes_are_not_offered_as_one(house: Desk) -> None:
    """R-FTR-02: 41 accounts with a little each"""
    desk.drawn(house, coins=("BTC", "USDT"))
    desk.spend(house, "1000000")
    for _ in range(41):
        build.deposit(build.account(house.owner), "BTC", "0.01", at=TEN)
    with visit.at(TEN):
        price("45000")
        group = CollateralGroup.objects.get()
        assert presses(borrower(house), group) == []
