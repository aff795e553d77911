"""One cure pressed in several tabs at once, with real commits: it is paid once. R-FTR-02, R-GEN-06"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse

from accounts.models import IdempotencyKey
from loans.models import Loan
from loans.vip import repayment
from loans.vip.terms import Wish
from risk import accrual, book
from risk.cure import Goal
from risk.models import CollateralGroup, DebtEntry, Movement
from risk.promises import Promise, keeping
from tests import build
from tests.build import TEN
from tests.loans import desk, visit
from tests.loans.desk import Desk
from tests.loans.test_cure_presses import D, cards, ltv_of, price
from tests.loans.test_cure_together import presses

InThreads = Callable[[list[Callable[[], Any]]], list[Any]]
TABS = 6
MORNING = datetime(2026, 1, 2, 0, 0, 5, tzinfo=UTC)


@pytest.fixture
def market(committed_db: object) -> Desk:
    """LTV 80 %: called; what a repayment or an addition takes is there five times over."""
    made = desk.set_up()
    build.fund_pool("BTC", "1000")
    desk.drawn(made, coins=("BTC", "USDT"))
    desk.spend(made, "1000000")
    price("50000")
    return made


def pressed_in_tabs(market: Desk, in_threads: InThreads, *, same_key: bool) -> Counter[int]:
    group = CollateralGroup.objects.get()
    with visit.at(TEN):
        to, press = cards(visit.client_of(market.applicant), group)[1]
        tabs = [visit.client_of(market.applicant) for _ in range(TABS)]
        keys = [press["key"] if same_key else str(uuid4()) for _ in tabs]
        answers = in_threads(
            [
                lambda tab=tab, key=key: tab.post(to, press | {"key": key})
                for tab, key in zip(tabs, keys, strict=True)
            ]
        )
    for answer in answers:
        if answer.status_code == 200:  # looked at again, with what it would do on top
            assert "this cure is needed no more" in answer.content.decode()
            assert 'name="seen"' in answer.content.decode()
    return Counter(answer.status_code for answer in answers)


@pytest.mark.parametrize("coin", ["USDT", "BTC"])
def test_of_several_tabs_at_once_one_pays(coin: str, market: Desk, in_threads: InThreads) -> None:
    """R-FTR-02: each tab has a key of its own; those that come second see what the first did, and only look."""
    build.deposit(market.master, coin, "500000" if coin == "USDT" else "10", at=TEN)
    assert pressed_in_tabs(market, in_threads, same_key=False) == {302: 1, 200: TABS - 1}
    assert DebtEntry.objects.filter(kind="repayment").count() == (coin == "USDT")
    assert Movement.objects.filter(kind="transfer").count() == (coin == "BTC")
    ltv = ltv_of(CollateralGroup.objects.get())
    assert ltv is not None
    assert D("0.7199") < ltv <= D("0.72")


@pytest.mark.parametrize("coin", ["USDT", "BTC"])
def test_one_press_sent_several_times_at_once_is_answered_alike(
    coin: str, market: Desk, in_threads: InThreads
) -> None:
    """R-GEN-06: the first outcome for all of them, and no error, though the wallet may be empty by then."""
    build.deposit(market.master, coin, "100000" if coin == "USDT" else "10", at=TEN)
    assert pressed_in_tabs(market, in_threads, same_key=True) == {302: TABS}
    assert DebtEntry.objects.filter(kind="repayment").count() == (coin == "USDT")
    assert Movement.objects.filter(kind="transfer").count() == (coin == "BTC")


def test_several_steps_in_several_tabs_are_done_once(market: Desk, in_threads: InThreads) -> None:
    """R-FTR-02: locks are taken for all steps at once, so two presses do not wait for each other in a circle."""
    build.deposit(market.master, "USDT", "50000", at=TEN)
    build.deposit(market.master, "BTC", "2", wallet="funding", at=TEN)
    group = CollateralGroup.objects.get()
    to = reverse("loans:cure", args=[group.pk])
    with visit.at(TEN):
        [press] = presses(visit.client_of(market.applicant), group)
        told: dict[str, Any] = {
            "step": [value for name, value in press if name == "step"],
            "cure": dict(press)["cure"],
        }
        tabs = [visit.client_of(market.applicant) for _ in range(TABS)]
        answers = in_threads([lambda tab=tab: tab.post(to, told | {"key": str(uuid4())}) for tab in tabs])
    assert [answer.status_code for answer in answers] == [302] * TABS
    assert DebtEntry.objects.filter(kind="repayment").count() == 1
    assert Movement.objects.filter(kind="transfer").count() == 1
    assert IdempotencyKey.objects.filter(key__endswith=":1").count() == 1


def test_a_cure_of_several_steps_beside_the_midnight_job(
    market: Desk, in_threads: InThreads, caplog: pytest.LogCaptureFixture
) -> None:
    """R-GEN-04, R-FTR-02: they want the same rows in another order; who loses tries again, and nobody fails"""
    desk.loan_limit("BTC")
    desk.card("BTC", "0.05", term_days=30)
    desk.quote(TEN)
    build.deposit(market.sub, "BTC", "30", at=TEN)
    desk.drawn(market, wishes=(Wish("BTC", D(2)),))
    build.deposit(market.master, "USDT", "100000", at=TEN)
    desk.quote(MORNING)
    group, loans = CollateralGroup.objects.get(), {loan.asset_id: loan.pk for loan in Loan.objects.all()}
    desk.drawn(market, amount="50000")  # the job books USDT, too, while the first USDT loan is being repaid
    now = book.state_of(group, at=MORNING).worth(permission=False).ltv
    assert now is not None
    promise = Promise(Goal((now - D("0.0001")).quantize(D("0.000001"))), D(1), None)
    has_begun, tries = threading.Event(), []

    def steps() -> list[DebtEntry]:
        tries.append(1)
        pay = {"actor": market.borrower, "at": MORNING}
        one = repayment.repay(loan_id=loans["USDT"], amount=D(20_000), key="k:1", **pay)
        has_begun.set()
        time.sleep(1 if len(tries) == 1 else 0)
        return [one, repayment.repay(loan_id=loans["BTC"], amount=D("0.5"), key="k:2", **pay)]

    def cure() -> int:
        whose = {"group": group, "uids": {market.master.pk}, "actor": market.borrower}
        return len(keeping(promise, steps, at=MORNING, key="k", **whose))

    def job() -> int:
        assert has_begun.wait(20)
        return accrual.accrue(at=MORNING)

    assert in_threads([cure, job])[0] == 2
    accrual.accrue(at=MORNING)
    assert DebtEntry.objects.filter(kind="charge").count() == 3
    assert [row.getMessage() for row in caplog.records if row.levelno >= logging.ERROR] == []
