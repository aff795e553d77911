"""R-FTR-01, R-FTR-02, R-FTR-04: what if, the cheapest cure and cure rules as pages, and who may look."""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.commands import acting
from accounts.models import Membership
from loans import auto_cure
from risk.models import CollateralGroup, CureRule, Movement
from tests import build
from tests.build import TEN
from tests.loans import desk, visit
from tests.loans.desk import Desk, everything
from tests.loans.visit import HTMX
from tests.risk.test_pages_wallets import text_of

pytestmark = pytest.mark.django_db

LATER = TEN + timedelta(minutes=1)


@pytest.fixture
def market() -> Iterator[Desk]:
    """1,000,000 USDT, spent, against 25 BTC at 50,000 and 100 ETH at 50 %: 1,400,000 counts, LTV 71.43 %."""
    build.asset("ETH", places=6)
    build.ratios("ETH", ("0", "0.5"))
    build.price("ETH", "3000", at=TEN)
    made = desk.set_up()
    build.fund_pool("BTC", "1000")
    build.deposit(made.sub, "ETH", "100", at=TEN)
    desk.drawn(made, coins=("BTC", "ETH", "USDT"))
    desk.spend(made, "1000000")
    build.prices(at=LATER, BTC="50000", ETH="3000", USDT="1")
    with visit.at(LATER):
        yield made


@pytest.fixture
def group(market: Desk) -> CollateralGroup:
    return CollateralGroup.objects.get()


@pytest.fixture
def borrower(market: Desk) -> Client:
    return visit.client_of(market.applicant)


def crash(btc: str = "44000") -> None:
    """At 44,000: 1,250,000 counts, LTV 80 %."""
    build.prices(at=LATER, BTC=btc, ETH="3000", USDT="1")


def asked(client: Client, group: CollateralGroup, **query: Any) -> str:
    answer = client.get(reverse("risk:what_if", args=[group.pk]), query)
    assert answer.status_code == 200
    return text_of(answer)


# --- What if --------------------------------------------------------------------------------------------------


def test_the_page_says_where_things_stand_and_where_each_coin_acts(
    borrower: Client, group: CollateralGroup
) -> None:
    """R-FTR-01, EX-09: (1,000,000 / 0.77 - 150,000) / 25 = 45,948.05; (… / 0.91 …) / 25 = 37,956.04"""
    said = asked(borrower, group)
    assert "LTV is 71.42 % SAFE" in said
    assert "45,948.05" in said
    assert "37,956.04" in said
    assert "Shock map" in said


def test_a_fall_and_a_repayment_together(borrower: Client, group: CollateralGroup, market: Desk) -> None:
    """R-FTR-01: BTC -20 %: 1,150,000 counts; after a repayment of 200,000 LTV is 69.56 %; nothing was done"""
    before = everything()
    debt = group.debts.get()
    said = asked(borrower, group, p_BTC="-20", repay="200000", repay_loan=debt.pk)
    assert "LTV would be 69.56 % SAFE" in said
    assert "Repay 200,000.00 USDT yes" in said
    alone = asked(borrower, group, p_all="-30")
    assert "LTV would be 102.04 % LIQUIDATION" in alone
    assert "Collateral would be sold at once." in alone
    assert everything() == before


def test_what_would_be_refused_says_why(borrower: Client, group: CollateralGroup, market: Desk) -> None:
    """R-FTR-01, R-VIP-53"""
    said = asked(borrower, group, out="5", out_coin="BTC", out_account=market.sub.pk)
    assert "Withdraw 5.00 BTC from" in said
    assert "no: LTV would be 86.95 %; it must stay below the initial line of 72 %." in said
    assert "LTV would be 71.42 %" in said


def test_a_trade_a_top_up_a_loan_and_ratios(borrower: Client, group: CollateralGroup, market: Desk) -> None:
    """R-FTR-01: all of them at once, in the order of the form"""
    said = asked(
        borrower,
        group,
        **{"add": "2", "add_coin": "BTC", "add_account": market.sub.pk},
        **{"sell": "50", "sell_coin": "ETH", "buy": "BTC", "sell_account": market.sub.pk},
        **{"borrow": "10000", "borrow_coin": "USDT", "ratio": "-10", "ratio_coin": "BTC"},
    )
    # 25 + 2 + 3 BTC at 90 % and 50 ETH at 50 %: 1,350,000 + 75,000, for 1,010,000.
    assert "LTV would be 70.87 %" in said
    assert "it buys 3.00 BTC" in said
    assert "Borrow 10,000.00 USDT yes" in said


def test_what_cannot_be_read_is_told_and_the_rest_stays(borrower: Client, group: CollateralGroup) -> None:
    """R-FTR-01"""
    answer = borrower.get(reverse("risk:what_if", args=[group.pk]), {"add": "1,5", "p_BTC": "-200"})
    assert answer.status_code == 422
    assert "LTV is 71.42 %" in text_of(answer)
    assert "Something in the form cannot be read" in text_of(answer)


def test_htmx_gets_the_result_alone(borrower: Client, group: CollateralGroup) -> None:
    """R-FTR-01"""
    answer = borrower.get(reverse("risk:what_if", args=[group.pk]), {"p_BTC": "-10"}, headers=HTMX)
    body = answer.content.decode()
    assert body.lstrip().startswith('<div id="result"')
    assert "<form" not in body


def test_ten_coins_are_answered_in_time(borrower: Client, group: CollateralGroup, market: Desk) -> None:
    """R-FTR-01: a bounded number of queries, whatever was changed"""
    with CaptureQueriesContext(
        connection,
    ) as few:
        asked(borrower, group)
    for number in range(8):
        coin = f"C{number}"
        build.asset(coin)
        build.ratios(coin, ("0", "0.8"), ("100000", "0.5"))
        build.price(coin, "10", at=LATER)
        build.deposit(market.sub, coin, "1000", at=TEN)
        with acting(build.BUILDER):
            build.GroupCoin.objects.create(group=group, asset_id=coin, since=TEN)
    with CaptureQueriesContext(connection) as many:
        asked(borrower, group, p_all="-20", target="60")
    assert len(many) <= len(few) + 60


# --- The cheapest cure ----------------------------------------------------------------------------------------


def test_a_called_group_names_the_cheapest_cure_with_its_filled_in_form(
    borrower: Client, group: CollateralGroup, market: Desk
) -> None:
    """R-FTR-02: 1,250,000 x 0.72 = 900,000: 100,000 to repay; a BTC transfer when there is no USDT"""
    build.deposit(market.master, "USDT", "150000", at=TEN)
    crash()
    page = borrower.get(reverse("risk:group", args=[group.pk]))
    said = text_of(page)
    assert "Cheapest cure" in said
    assert re.search(
        r"To the initial line: repay ?Cheapest cure ?100,000.00 USDT ?LTV 80.00 % → 72.00 %", said
    )
    link = f"{reverse('loans:of_debt', args=[group.debts.get().pk])}?amount=100000"
    assert link in page.content.decode()
    home = borrower.get(reverse("loans:home"))
    assert f"{reverse('loans:of_debt', args=[group.debts.get().pk])}?amount=" in home.content.decode()


def test_the_link_of_an_addition_leads_to_a_transfer_that_works(
    borrower: Client, group: CollateralGroup, market: Desk
) -> None:
    """R-FTR-02: followed, checked, pressed: LTV is at its target"""
    build.deposit(market.master, "BTC", "10", wallet="funding", at=TEN)
    crash()
    page = borrower.get(reverse("risk:group", args=[group.pk])).content.decode()
    links = re.findall(r'href="(/wallets/transfer/\?account=[^"]+)"', page)
    filled = borrower.get(links[-1].replace("&amp;", "&"))
    form = filled.context["form"]
    values = {name: form[name].value() for name in form.fields} | {"key": str(uuid4())}
    checked = borrower.post("/wallets/transfer/", values)
    seen = re.search(r'name="seen" value="(\w+)"', checked.content.decode())
    assert seen
    borrower.post("/wallets/transfer/", values | {"seen": seen[1]})
    movement = Movement.objects.get()
    assert (movement.source_wallet, movement.target_id) == ("funding", market.sub.pk)
    assert movement.ltv_after == Decimal("0.72") or movement.ltv_after < Decimal("0.72")
    assert movement.ltv_after > Decimal("0.7199")


def test_who_acts_for_one_account_is_told_nothing_of_the_others(market: Desk, group: CollateralGroup) -> None:
    """R-FTR-02, R-GEN-95: neither what lies elsewhere nor what it could do"""
    clerk = build.user()
    with acting(build.BUILDER):
        Membership.objects.create(customer=market.owner, user=clerk, since=TEN, account=market.master)
    build.deposit(market.master, "USDT", "150000", at=TEN)
    crash()
    client = visit.client_of(clerk)
    assert "Cheapest cure" not in text_of(client.get(reverse("risk:group", args=[group.pk])))
    for page in ("risk:what_if", "loans:cure_rules"):
        assert client.get(reverse(page, args=[group.pk])).status_code == 404


# --- Rules ----------------------------------------------------------------------------------------------------


def rule_form(market: Desk, **changes: Any) -> dict[str, Any]:
    return {
        "key": str(uuid4()),
        "kind": "repay",
        "asset": "USDT",
        "trigger": "75",
        "target": "70.5",
        "most_each": "",
        "most_daily": "50000",
        "cooling": "30",
        "place": "1",
    } | changes


def test_a_borrower_sets_and_removes_a_rule(borrower: Client, group: CollateralGroup, market: Desk) -> None:
    """R-FTR-04"""
    address = reverse("loans:cure_rules", args=[group.pk])
    assert "No rule yet" in text_of(borrower.get(address))
    assert borrower.post(address, rule_form(market)).status_code == 302
    row = CureRule.objects.get()
    assert (row.trigger, row.target, row.most_daily, row.cooling_minutes) == (
        Decimal("0.75"),
        Decimal("0.705"),
        50_000,
        30,
    )
    assert row.set_by == market.applicant
    top_up = rule_form(
        market,
        kind="top_up",
        asset="BTC",
        source=f"{market.master.pk} funding",
        account=market.sub.pk,
        place="2",
    )
    assert borrower.post(address, top_up).status_code == 302
    said = text_of(borrower.get(address))
    assert "1. Repay USDT loans from the receiving account's Spot" in said.replace("&#x27;", "'")
    assert "2. Move BTC from" in said
    gone = borrower.post(
        reverse("loans:cure_rules_remove", args=[group.pk]), {"rule": row.pk, "key": str(uuid4())}
    )
    assert gone.status_code == 302
    row.refresh_from_db()
    assert row.removed_at == LATER


def test_a_rule_that_comes_too_late_is_refused_on_the_form(
    borrower: Client, group: CollateralGroup, market: Desk
) -> None:
    """R-FTR-04: 422, with the reason; nothing is set"""
    answer = borrower.post(reverse("loans:cure_rules", args=[group.pk]), rule_form(market, trigger="91"))
    assert answer.status_code == 422
    assert "below the liquidation line of 91 %" in text_of(answer)
    assert not CureRule.objects.exists()


def test_the_rehearsal_says_what_the_rules_would_do_and_the_log_what_they_did(
    borrower: Client, group: CollateralGroup, market: Desk
) -> None:
    """R-FTR-04: at -20 % 1,150,000 counts; 50,000 a day is all the rule may take"""
    address = reverse("loans:cure_rules", args=[group.pk])
    borrower.post(address, rule_form(market))
    build.deposit(market.master, "USDT", "150000", at=TEN)
    said = text_of(borrower.get(address)).replace("&#x27;", "'")
    assert "now 71.42 % 1. It would not start: LTV is below its trigger." in said
    assert "89.28 % 1. Repay USDT loans from the receiving account's Spot: 50,000.00 USDT" in said
    crash()
    auto_cure.run_due(at=LATER)
    said = text_of(borrower.get(address))
    log = said.partition("What they did")[2]
    assert re.search(r"1\. Repay 50,000\.00 USDT ?80\.00 % → 76\.00 % ?Done: All that was there", log), log


@pytest.mark.parametrize("page", ["risk:what_if", "loans:cure_rules"])
def test_who_may_look(page: str, group: CollateralGroup, market: Desk) -> None:
    """R-FTR-01, R-FTR-04, R-GEN-95: the manager and staff look; strangers find nothing; only the borrower sets rules"""
    address = reverse(page, args=[group.pk])
    stranger = build.user()
    build.customer(member=stranger)
    seen = {
        "manager": visit.client_of(market.manager).get(address).status_code,
        "another manager": visit.client_of(build.user("vip_manager")).get(address).status_code,
        "risk": visit.client_of(build.user("risk_officer")).get(address).status_code,
        "stranger": visit.client_of(stranger).get(address).status_code,
    }
    assert seen == {"manager": 200, "another manager": 404, "risk": 200, "stranger": 404}
    assert Client().get(address).status_code == 302
    if page == "loans:cure_rules":
        assert visit.client_of(market.manager).post(address, rule_form(market)).status_code == 404
        assert not CureRule.objects.exists()
