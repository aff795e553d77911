"""One cure pressed in several tabs at once, with real commits: it is paid once. R-FTR-02, R-GEN-06"""

from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from django.urls import reverse

from accounts.models import IdempotencyKey
from risk.models import CollateralGroup, DebtEntry, Movement
from tests import build
from tests.build import TEN
from tests.loans import desk, visit
from tests.loans.desk import Desk
from tests.loans.test_cure_presses import D, cards, ltv_of, price
from tests.loans.test_cure_together import presses

InThreads = Callable[[list[Callable[[], Any]]], list[Any]]
TABS = 6


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
