"""Wallets and movements as the borrower sees them; the group page; the price board and its dot."""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.test import Client
from django.urls import reverse

from accounts.commands import acting
from accounts.models import Account
from risk.models import GroupCoin, HandlingRule, Movement
from tests import build
from tests.build import TEN
from tests.loans import desk, visit
from tests.loans.visit import HTMX

pytestmark = pytest.mark.django_db

CALLED = TEN + timedelta(seconds=1)


@pytest.fixture
def here(settings: Any) -> Iterator[desk.Desk]:
    """1,000,000 USDT against 25 BTC at 60,000: LTV 66.67 %."""
    settings.DEMO = True
    with visit.at(TEN):
        found = desk.set_up()
        desk.drawn(found)
        yield found


@pytest.fixture
def borrower(here: desk.Desk) -> Client:
    return visit.client_of(here.applicant)


def text_of(answer: Any) -> str:
    bare = re.sub(r"<[^>]+>", "", answer.content.decode()).replace("\u00a0", " ").replace("&nbsp;", " ")
    return re.sub(r"\s+", " ", bare)


def seen(answer: Any) -> str:
    found = re.search(r'name="seen" value="(\w+)"', answer.content.decode())
    assert found, "the action is not offered"
    return found[1]


def form_of(account: Account, asset: str, amount: str, **more: Any) -> dict[str, Any]:
    return {
        "key": str(uuid4()),
        "account": account.pk,
        "wallet": "spot",
        "asset": asset,
        "amount": amount,
    } | more


def move(kind: str) -> str:
    return reverse("risk:move", args=[kind])


def confirmed(client: Client, kind: str, form: dict[str, Any]) -> Any:
    return client.post(move(kind), form | {"seen": seen(client.post(move(kind), form))})


# --- Wallets ----------------------------------------------------------------------------------------------


def test_wallets_show_what_is_held_and_worth(here: desk.Desk, borrower: Client) -> None:
    page = text_of(borrower.get(reverse("risk:wallets")))
    assert "25.00 BTC" in page
    assert "1,500,000.00 USD" in page
    assert "2,500,000.00 USD" in page


def test_a_withdrawal_shows_ltv_before_and_after_and_then_moves_once(
    here: desk.Desk, borrower: Client
) -> None:
    """R-VIP-52, R-VIP-53: 1 BTC out of 25 takes LTV from 66.66 % to 69.44 %."""
    form = form_of(here.sub, "BTC", "1", address="bc1-somewhere")
    shown = borrower.post(move("withdraw"), form, headers=HTMX)
    assert shown.status_code == 200
    assert "<html" not in shown.content.decode()
    assert "66.66 %" in text_of(shown)
    assert "69.44 %" in text_of(shown)
    assert "Withdraw 1.00 BTC" in text_of(shown)
    assert build.balance(here.sub, "BTC") == 25
    done = form | {"seen": seen(shown)}
    assert borrower.post(move("withdraw"), done)["Location"] == reverse("risk:wallets")
    borrower.post(move("withdraw"), done)
    assert build.balance(here.sub, "BTC") == 24
    assert Movement.objects.filter(kind="withdrawal").count() == 1
    assert "66.66 % → 69.44 %" in text_of(borrower.get(reverse("risk:movements")))


@pytest.mark.parametrize(
    ("amount", "why"),
    [
        ("2.5", "it must stay below the initial line of 72 %"),
        ("26", "This wallet holds 25 BTC"),
        ("1e3", "plain digits"),
    ],
)
def test_a_withdrawal_the_gate_refuses_says_why_and_moves_nothing(
    amount: str, why: str, here: desk.Desk, borrower: Client
) -> None:
    """R-VIP-53: 422, typed values kept."""
    form = form_of(here.sub, "BTC", amount, address="bc1-somewhere")
    answer = borrower.post(move("withdraw"), form)
    assert answer.status_code == 422
    assert why in text_of(answer)
    assert f'value="{amount}"' in answer.content.decode()
    assert "bc1-somewhere" in answer.content.decode()
    assert build.balance(here.sub, "BTC") == 25
    assert not Movement.objects.filter(kind="withdrawal").exists()


def test_a_transfer_between_wallets_of_one_account(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-53: out of Spot is out of the group."""
    form = form_of(here.sub, "BTC", "0.5", target=here.sub.pk, target_wallet="funding")
    assert confirmed(borrower, "transfer", form).status_code == 302
    assert build.balance(here.sub, "BTC", wallet="funding") == Decimal("0.5")


def test_a_trade_names_what_it_brings(here: desk.Desk, borrower: Client) -> None:
    """R-VIP-54: 60,000 USDT buy one BTC at the index."""
    build.fund_pool("BTC", "100")
    form = form_of(here.master, "USDT", "60000", buy="BTC")
    shown = borrower.post(move("trade"), form)
    assert "Sell 60,000.00 USDT for 1.00 BTC" in text_of(shown)
    assert "No loan group is touched" in text_of(shown)
    assert borrower.post(move("trade"), form | {"seen": seen(shown)}).status_code == 302
    assert build.balance(here.master, "BTC") == 1


def test_a_trade_above_margin_call_is_shown_its_ltv_and_asked_for_twice(
    here: desk.Desk, borrower: Client
) -> None:
    """R-VIP-54: the client's flag, the LTV before and after, and a tick; without any of them, nothing moves.

    ETH counts half: 5 of 25 BTC sold leave 1,200,000 + 150,000: 74.07 %; 8 leave 1,020,000 + 240,000: 79.36 %.
    """
    build.ratios("ETH", ("0", "0.5"))
    build.price("ETH", "3000", at=TEN)
    build.fund_pool("ETH", "10000")
    with acting(build.BUILDER):
        GroupCoin.objects.create(group=here.owner.groups.get(), asset=build.asset("ETH"), since=TEN)
    form = form_of(here.sub, "BTC", "8", buy="ETH")
    assert borrower.post(move("trade"), form).status_code == 422
    with acting(build.BUILDER):
        HandlingRule.objects.create(
            product="vip", customer=here.owner, effective_at=build.LONG_AGO, call_trades="below_liquidation"
        )
    easy = borrower.post(move("trade"), form_of(here.sub, "BTC", "5", buy="ETH"))
    assert 'name="confirmed"' not in easy.content.decode()
    shown = borrower.post(move("trade"), form)
    assert shown.status_code == 200
    assert "66.66 %" in text_of(shown)
    assert "LTV would be 79.36 %, not below the margin call line of 77 %" in text_of(shown)
    assert 'name="confirmed"' in shown.content.decode()
    without = borrower.post(move("trade"), form | {"seen": seen(shown)})
    assert without.status_code == 422
    assert not Movement.objects.exists()
    done = borrower.post(move("trade"), form | {"seen": seen(shown), "confirmed": "yes"})
    assert done.status_code == 302
    assert Movement.objects.get().ltv_after == Decimal("0.793650793650")


def test_a_deposit_form_exists_in_a_demo_only(here: desk.Desk, borrower: Client, settings: Any) -> None:
    form = form_of(here.sub, "BTC", "3")
    assert "59.52 %" in text_of(borrower.post(move("deposit"), form))  # 1,000,000 of 28 x 60,000
    assert confirmed(borrower, "deposit", form).status_code == 302
    assert build.balance(here.sub, "BTC") == 28
    settings.DEMO = False
    page = borrower.post(move("deposit"), form | {"key": str(uuid4())})
    assert "Deposits arrive through the exchange" in text_of(page)
    assert build.balance(here.sub, "BTC") == 28


@pytest.mark.parametrize("kind", ["withdraw", "transfer", "trade"])
def test_a_move_that_empties_its_wallet_is_answered_alike_when_it_is_sent_twice(
    kind: str, here: desk.Desk, borrower: Client
) -> None:
    """R-GEN-06: the second is told what came of the first, though the coin is no choice any more; it moves once."""
    build.asset("ETH")
    build.price("ETH", "3000", at=TEN)
    build.fund_pool("ETH", "100")
    build.deposit(here.master, "ETH", "4", at=TEN)
    more: dict[str, dict[str, Any]] = {
        "withdraw": {"address": "0xabc"},
        "transfer": {"target": here.sub.pk, "target_wallet": "funding"},
        "trade": {"buy": "USDT"},
    }
    form = form_of(here.master, "ETH", "4", **more[kind])
    form |= {"seen": seen(borrower.post(move(kind), form))}
    first, second = (borrower.post(move(kind), form) for _ in range(2))
    assert (first.status_code, first["Location"]) == (302, reverse("risk:wallets"))
    assert (second.status_code, second["Location"]) == (302, first["Location"])
    assert Movement.objects.count() == 1
    assert build.balance(here.master, "ETH") == 0
    another = borrower.post(move(kind), form | {"key": str(uuid4())})
    assert another.status_code == 422
    assert "This wallet holds 0 ETH, less than 4" in text_of(another)
    strange = borrower.post(move(kind), form | {"key": str(uuid4()), "asset": "ET\x00H"})
    assert strange.status_code == 422
    assert Movement.objects.count() == 1


def test_a_foreign_account_is_no_choice(here: desk.Desk, borrower: Client) -> None:
    other = build.master(build.customer())
    build.deposit(other, "BTC", "5", at=TEN)
    for form in (
        form_of(other, "BTC", "1", address="bc1"),
        form_of(here.sub, "BTC", "1", target=other.pk, target_wallet="spot"),
    ):
        kind = "transfer" if "target" in form else "withdraw"
        assert borrower.post(move(kind), form).status_code == 422
    assert build.balance(other, "BTC") == 5


@pytest.mark.parametrize("kind", ["deposit", "withdraw", "transfer", "trade"])
def test_only_a_customer_moves_coins(kind: str, here: desk.Desk) -> None:
    assert Client().get(move(kind)).status_code == 302
    assert visit.client_of(here.manager).get(move(kind)).status_code == 404
    assert visit.client_of(here.applicant).get(move(kind)).status_code == 200


# --- Group ------------------------------------------------------------------------------------------------


def test_the_group_page_shows_where_every_figure_comes_from(here: desk.Desk, borrower: Client) -> None:
    """R-GEN-91, R-GEN-95"""
    group = here.owner.groups.get()
    page = text_of(borrower.get(reverse("risk:group", args=[group.pk])))
    for words in (
        "BTC at 51,948.05 calls you",
        "100 % of all of it",
        "60,000.00",
        "Can withdraw",
        "Group opened",
    ):
        assert words in page
    assert "Ways out" not in page


def test_a_called_group_names_the_ways_out(here: desk.Desk) -> None:
    """R-GEN-65: at 50,000 LTV is 80 %; 100,000 USDT, or 2.77777778 BTC, lead to the initial line."""
    build.price("BTC", "50000", at=CALLED)
    group = here.owner.groups.get()
    with visit.at(CALLED):
        page = text_of(visit.client_of(here.applicant).get(reverse("risk:group", args=[group.pk])))
    assert "Margin call. LTV is 80.00 %" in page
    assert "Repay 100,000.00 USDT" in page
    assert "Add 2.77777778 BTC" in page


def test_old_prices_are_said_and_nothing_is_guessed(here: desk.Desk) -> None:
    """R-GEN-22"""
    later = TEN + timedelta(minutes=5)
    group = here.owner.groups.get()
    with visit.at(later):
        client = visit.client_of(here.applicant)
        page = text_of(client.get(reverse("risk:group", args=[group.pk])))
        dot = text_of(client.get(reverse("risk:live")))
        refused = client.post(move("withdraw"), form_of(here.sub, "BTC", "1", address="bc1"))
    assert "USDT is owed and has no fresh price" in page
    assert dot.strip() == "Prices stopped 10:00:00 UTC"
    assert refused.status_code == 422
    assert build.balance(here.sub, "BTC") == 25


def test_the_price_board_and_its_dot(here: desk.Desk, borrower: Client) -> None:
    page = text_of(borrower.get(reverse("risk:market")))
    assert "60,000.00" in page
    assert "Prices live 10:00:00 UTC" in page
    assert Client().get(reverse("risk:live")).status_code == 302
