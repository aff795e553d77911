"""A cure in one press: it does what its card promised, or nothing, and says what it takes now. R-FTR-02"""

import re
from collections.abc import Iterator
from decimal import Decimal
from html import unescape
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.commands import acting
from accounts.models import Membership
from risk import book
from risk.cure import Goal
from risk.models import CollateralGroup
from risk.promises import Promise, PromiseBroken, refuse_broken
from risk.valuation import Worth
from tests import build
from tests.build import TEN
from tests.loans import desk, visit
from tests.loans.desk import Desk, everything
from tests.loans.test_pages_borrower import text_of

pytestmark = pytest.mark.django_db
D = Decimal


@pytest.fixture
def market() -> Iterator[Desk]:
    """1,000,000 USDT, spent, against 25 BTC at 50,000: 1,250,000 counts, LTV 80 %: called."""
    made = desk.set_up()
    build.fund_pool("BTC", "1000")
    desk.drawn(made, coins=("BTC", "USDT"))
    desk.spend(made, "1000000")
    with visit.at(TEN):
        price("50000")
        yield made


def price(btc: str) -> None:
    build.prices(at=TEN, BTC=btc, USDT="1")


@pytest.fixture
def group(market: Desk) -> CollateralGroup:
    return CollateralGroup.objects.get()


@pytest.fixture
def borrower(market: Desk) -> Client:
    return visit.client_of(market.applicant)


def ltv_of(group: CollateralGroup) -> Decimal | None:
    return book.state_of(group, at=TEN).worth(permission=False).ltv


def cards(client: Client, group: CollateralGroup) -> list[tuple[str, dict[str, str]]]:
    """Where each cure's button sends what: that which leaves the call first, then that to the initial line."""
    return sent_by(client.get(reverse("risk:group", args=[group.pk])))


def sent_by(answer: Any) -> list[tuple[str, dict[str, str]]]:
    page = answer.content.decode()
    found = re.findall(r'<form class="actions" method="post" action="([^"]+)">(.*?)</form>', page, re.S)
    inputs = r'<input type="hidden" name="([^"]+)" value="([^"]*)"'
    sent = [(to, {name: unescape(value) for name, value in re.findall(inputs, body)}) for to, body in found]
    return sorted(sent, key=lambda card: card[1]["cure"])


def test_one_press_repays_what_its_button_named(
    borrower: Client, group: CollateralGroup, market: Desk
) -> None:
    """R-FTR-02: LTV comes exactly to the promised figure, and the confirmation names the amount and it."""
    build.deposit(market.master, "USDT", "500000", at=TEN)
    (_, below), (to, initial) = cards(borrower, group)
    assert below["cure"].startswith("below:0.77:")
    assert initial["amount"] == "100000"
    assert initial["cure"] == "to:0.72:100000:0.72"
    answer = borrower.post(to, initial, follow=True)
    assert answer.status_code == 200
    assert ltv_of(group) == Promise.read(initial["cure"]).ltv == D("0.72")
    said = text_of(answer)
    assert "100,000.00 USDT is paid on" in said
    assert f"LTV of {group.name} is 72.00 % now." in said


def test_one_press_adds_from_where_the_coins_lie(
    borrower: Client, group: CollateralGroup, market: Desk
) -> None:
    """R-FTR-02: one press, back on the group's page."""
    build.deposit(market.master, "BTC", "10", wallet="funding", at=TEN)
    to, press = cards(borrower, group)[1]
    assert to == reverse("risk:move", args=["transfer"])
    answer = borrower.post(to, press)
    assert answer["Location"] == reverse("risk:group", args=[group.pk])
    assert ltv_of(group) == Promise.read(press["cure"]).ltv
    assert f"LTV of {group.name} is 71.99 % now." in text_of(borrower.get(answer["Location"]))


@pytest.mark.parametrize("coin", ["USDT", "BTC"])
def test_a_promise_that_prices_broke_does_nothing(
    coin: str, borrower: Client, group: CollateralGroup, market: Desk
) -> None:
    """R-FTR-02: nothing moves; the refusal has both figures; the cure stands there with those of now, and works."""
    build.deposit(market.master, coin, "500000" if coin == "USDT" else "15", wallet="spot", at=TEN)
    to, press = cards(borrower, group)[1]
    price("48000")  # 25 x 48,000 = 1,200,000: 83.33 %
    before = everything()

    broken = borrower.post(to, press)

    assert broken.status_code == 422
    assert everything() == before
    said = text_of(broken)
    assert re.search(r"Prices have moved: LTV would come to 7[45]\.\d\d % now, not to 72 % or below", said)
    assert "Nothing was done." in said
    again = broken.context["again"]
    assert again.amount > D(press["amount"])
    assert "It takes now:" in said
    if coin == "USDT":
        assert again.amount == 136000  # 1,000,000 - 0.72 x 1,200,000
        assert "repay 136,000.00 USDT; LTV then 72.00 %" in said

    [(to_now, new)] = sent_by(broken)  # its button stands above everything else on the page
    assert (to_now, new["cure"]) == (again.press.to, dict(again.press.fields)["cure"])
    assert broken.content.index(b"It takes now:") < broken.content.index(b'class="panel"')
    assert borrower.post(to_now, new).status_code == 302
    assert ltv_of(group) == again.after.ltv


@pytest.mark.parametrize("coin", ["USDT", "BTC"])
def test_a_press_that_was_done_is_never_called_undone(
    coin: str, borrower: Client, group: CollateralGroup, market: Desk
) -> None:
    """R-GEN-06: pressed twice, and prices fell between: who hears that nothing was done would pay again."""
    build.deposit(market.master, coin, "500000" if coin == "USDT" else "15", wallet="spot", at=TEN)
    to, press = cards(borrower, group)[1]
    first = borrower.post(to, press)
    assert first.status_code == 302
    done = everything()
    price("48000")

    second = borrower.post(to, press)

    assert (second.status_code, second["Location"]) == (302, first["Location"])
    assert everything() == done


@pytest.mark.parametrize("coin", ["USDT", "BTC"])
def test_a_cure_that_is_needed_no_more_is_only_looked_at(
    coin: str, borrower: Client, group: CollateralGroup, market: Desk
) -> None:
    """R-GEN-06: the page asks for its figures every ten seconds and gets a new key: the second press pays nothing."""
    build.deposit(market.master, coin, "500000" if coin == "USDT" else "15", wallet="spot", at=TEN)
    to, press = cards(borrower, group)[1]
    _, renewed = cards(borrower, group)[1]
    assert renewed["key"] != press["key"]
    first = borrower.post(to, press)
    assert first.status_code == 302
    done = everything()
    looked = borrower.post(to, renewed)
    assert looked.status_code == 200
    assert 'name="seen"' in looked.content.decode()
    assert borrower.post(to, press)["Location"] == first["Location"]
    assert everything() == done


def test_the_look_asks_the_group_that_is_cured(
    borrower: Client, group: CollateralGroup, market: Desk
) -> None:
    """R-FTR-02: coins that secure another group may cure this one; where they leave is not where they are promised."""
    third, fourth = build.account(market.owner), build.account(market.owner)
    build.deposit(fourth, "BTC", "10", at=TEN)
    build.debt(build.group(third, [fourth]), amount="1000")
    to, press = cards(borrower, group)[1]
    assert press["account"] == str(fourth.pk)
    form = {name: value for name, value in press.items() if name != "press"}
    looked = borrower.post(to, form)
    assert looked.status_code == 200
    assert [effect.group.receiver_id for effect in looked.context["effects"]] == [third.pk, market.master.pk]
    assert f"LTV of {group.name}, before and after" in text_of(looked)
    price("48000")
    broken = borrower.post(to, form)
    assert broken.status_code == 422
    assert "Prices have moved" in text_of(broken)
    assert 'name="seen"' not in broken.content.decode()


def test_a_promise_that_more_than_holds_is_kept(
    borrower: Client, group: CollateralGroup, market: Desk
) -> None:
    """R-FTR-02: prices that rose are no reason to refuse help."""
    build.deposit(market.master, "USDT", "500000", at=TEN)
    to, press = cards(borrower, group)[1]
    price("50100")
    assert borrower.post(to, press).status_code == 302
    assert ltv_of(group) == D("0.718562874251")  # 900,000 of 1,252,500


def test_the_link_is_looked_at_with_the_promise_too(
    borrower: Client, group: CollateralGroup, market: Desk
) -> None:
    """R-FTR-02: the look says that it is broken, with no button; another amount is one's own choice."""
    build.deposit(market.master, "USDT", "500000", at=TEN)
    to, press = cards(borrower, group)[1]
    price("48000")
    form = {name: value for name, value in press.items() if name != "press"}
    with CaptureQueriesContext(connection) as captured:
        shown = borrower.post(to, form)
    assert shown.status_code == 422
    assert "Prices have moved" in text_of(shown)
    assert 'name="seen"' not in shown.content.decode()
    assert [sql for sql in captured if sql["sql"].startswith(("INSERT", "UPDATE", "DELETE"))] == []
    own = borrower.post(to, form | {"amount": "90000"})
    assert own.status_code == 200
    assert "Repay 90,000.00 USDT" in text_of(own)


@pytest.mark.parametrize(
    "cure", ["to:0.72:100000", "to:9e9:1:1", "above:0.72:1:1", "to:0.72:1:1\n", "to:٠.72:1:1", "x" * 200]
)
def test_a_damaged_promise_is_refused(cure: str, borrower: Client, group: CollateralGroup) -> None:
    """R-FTR-02: what protects may not be dropped unseen."""
    before = everything()
    to = reverse("loans:repay_debt", args=[group.debts.get().pk])
    form = {"how": "amount", "amount": "1000", "key": str(uuid4()), "press": "cure", "cure": cure}
    answer = borrower.post(to, form)
    assert answer.status_code == 422
    assert "A part of this form was missing or damaged" in text_of(answer)
    assert everything() == before


def test_a_press_without_a_promise_is_only_a_look(
    borrower: Client, group: CollateralGroup, market: Desk
) -> None:
    build.deposit(market.master, "USDT", "500000", at=TEN)
    before = everything()
    to = reverse("loans:repay_debt", args=[group.debts.get().pk])
    form = {"how": "amount", "amount": "1000", "key": str(uuid4()), "press": "cure"}
    assert borrower.post(to, form).status_code == 200
    assert borrower.post(to, form | {"cure": "to:0.72:999:0.72"}).status_code == 200
    assert everything() == before


def test_somebody_else_presses_nothing(group: CollateralGroup, market: Desk) -> None:
    """R-GEN-95: another firm, the desk, and who acts for one account and may not know where the group stands."""
    build.deposit(market.master, "USDT", "500000", at=TEN)
    stranger, clerk = build.user(), build.user()
    build.customer(member=stranger)
    with acting(build.BUILDER):
        Membership.objects.create(customer=market.owner, user=clerk, since=TEN, account=market.master)
    before = everything()
    to = reverse("loans:repay_debt", args=[group.debts.get().pk])
    form: dict[str, Any] = {"how": "amount", "amount": "1", "press": "cure", "cure": "to:0.72:1:0.72"}
    for user in (stranger, market.manager, clerk):
        assert visit.client_of(user).post(to, form | {"key": str(uuid4())}).status_code == 404
    wallets = {"wallet": "spot", "target_wallet": "funding"} | dict.fromkeys(
        ("account", "target"), market.master.pk
    )
    move = wallets | {"asset": "USDT", "amount": "1", "press": "cure", "cure": "to:0.72:1:0.72"}
    answer = visit.client_of(clerk).post(
        reverse("risk:move", args=["transfer"]), move | {"key": str(uuid4())}
    )
    assert answer.status_code == 200  # no more than a look
    assert "Prices have moved" not in text_of(answer)
    assert everything() == before


@pytest.mark.parametrize(
    ("role", "coin", "acts"),
    [
        ("viewer", "USDT", []),
        ("trader", "USDT", []),
        ("trader", "BTC", ["transfer"] * 2),
        ("treasurer", "USDT", ["repay"] * 2),
    ],
)
def test_who_may_not_do_it_has_no_button(
    role: str, coin: str, acts: list[str], group: CollateralGroup, market: Desk
) -> None:
    """R-ADM-09: the amounts are told to every member; what presses them, to those whose role lets them."""
    build.deposit(market.master, coin, "500000" if coin == "USDT" else "15", wallet="funding", at=TEN)
    if coin == "USDT":
        build.deposit(market.master, coin, "500000", at=TEN)
    client = visit.client_of(build.colleague(market.owner, role))
    assert [to.rstrip("/").rpartition("/")[2] for to, _ in cards(client, group)] == acts
    page = client.get(reverse("risk:group", args=[group.pk]))
    assert "100,000.00 USDT" in text_of(page)
    why_not = f"As a {role} of {market.owner.name} you may not repay and renew loans"
    assert (why_not in text_of(page)) is (role != "treasurer")
    repays = reverse("loans:of_debt", args=[group.debts.get().pk]) + "?amount="
    assert (repays in page.content.decode()) is (role == "treasurer")


@pytest.mark.parametrize(
    ("goal", "debt", "is_kept"),
    [
        (Goal(D("0.72")), "72", True),
        (Goal(D("0.72")), "72.0001", False),
        (Goal(D("0.77"), strictly_below=True), "77", False),
        (Goal(D("0.77"), strictly_below=True), "76.9999", True),
    ],
)
def test_the_line_itself_counts_as_the_goal_says(goal: Goal, debt: str, is_kept: bool) -> None:
    """R-GEN-41: the margin call line itself is still a call."""
    promise, then = Promise(goal, D(1), D("0.7")), Worth(debt=D(debt), collateral=D(100), market=D(100))
    assert Promise.read(str(promise)) == promise
    if is_kept:
        refuse_broken(promise, then)
        return
    with pytest.raises(
        PromiseBroken, match=r"LTV would come to 7\d\.\d\d % now, not .* \(70.00 % was shown\)"
    ):
        refuse_broken(promise, then)
