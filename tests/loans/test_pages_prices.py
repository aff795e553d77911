"""The board of price health: what is doubted and why, what each source said, and what can be done about it."""

import re
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from risk import parameters, price_board, prices
from risk.consensus import Said
from risk.feeds import Tick, polled
from tests import build
from tests.build import BUILDER, LONG_AGO, NOON
from tests.loans import visit
from tests.loans.visit import client_of

SECOND = timedelta(seconds=1)


@pytest.fixture(autouse=True)
def _at_noon(db: None) -> Iterator[None]:
    with visit.at(NOON + 30 * SECOND):
        yield


@pytest.fixture
def officer(db: None) -> Client:
    return client_of(build.user("risk_officer"))


def text_of(response: Any) -> str:
    text = re.sub(r"<(style|script).*?</\1>", " ", response.content.decode(), flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", text).replace("&nbsp;", " ").replace("\xa0", " "))


def told(coin: str, *usd: str, after: float = 0) -> None:
    at = NOON + timedelta(seconds=after)
    build.asset(coin)
    said = [Said(f"venue{number}", Decimal(price), at) for number, price in enumerate(usd)]
    tick = Tick(coin, said[0].price, at, "feed") if len(said) == 1 else polled(coin, said, source="venues")
    prices.record([tick], at=at)


def test_it_says_what_is_doubted_why_what_is_used_and_what_to_do(officer: Client) -> None:
    """R-FTR-21, R-GEN-21: with one click to the coin's history."""
    build.secured_debt()
    told("USDT", "1")
    told("BTC", "60000", "60010", "430")
    told("BTC", "60000", "50000", "430", after=5)

    page = officer.get(reverse("loans:desk_prices"))

    text = text_of(page)
    assert "1 of 2 coins in use cannot be decided on now" in text
    assert "50,000.00 USD is in quarantine: 3 sources are 119.14% apart" in text
    assert "60,005.00" in text
    assert "Wait until enough sources agree again." in text
    assert "venue2: 430" in text
    assert text.index("BTC: suspect.") < text.index("BTC suspect") < text.index("USDT fresh")
    history = reverse("loans:desk_price", args=["BTC"])
    assert f'href="{history}"' in page.content.decode()
    story = text_of(officer.get(history))
    assert "venue2: 430, -99.3% off the median" in story
    assert story.index("quarantined") < story.index("2 agree")


def test_a_redeemed_coin_shows_its_ratio_and_how_far_its_market_is_off(officer: Client) -> None:
    """R-FTR-21"""
    for coin in ("WBETH", "ETH"):
        build.asset(coin)
    parameters.publish_redemption(
        asset="WBETH",
        underlying="ETH",
        ratio=Decimal("1.0848"),
        effective_at=LONG_AGO,
        actor=BUILDER,
        at=LONG_AGO,
    )
    ticks = [Tick(coin, Decimal(usd), NOON, "feed") for coin, usd in (("WBETH", "430"), ("ETH", "3300"))]
    prices.record(ticks, at=NOON)
    text = text_of(officer.get(reverse("loans:desk_prices") + "?show=all"))
    assert "1.0848 ETH its market says 430.00, −87.99 %" in text
    assert "3,579.84" in text


@pytest.mark.parametrize(
    ("usd", "words"),
    [
        (["100", "50"], "the next tick at this level confirms it by itself"),
        (["100", "100000"], "One source alone is not believed this far off"),
        (["100", "1"], "lower the floor"),
        (["100", "0.5"], "change the price rule"),
        (["100", "201"], "change the price rule"),
    ],
)
def test_every_doubt_has_a_way_out_in_plain_words(officer: Client, usd: list[str], words: str) -> None:
    """R-FTR-21: wait, set it by hand, or change the rule."""
    build.asset("BTC")
    bounds = {"floor": Decimal(1), "ceiling": Decimal(200)} if "100000" not in usd else {}
    parameters.publish_feed_rule(asset="BTC", effective_at=LONG_AGO, actor=BUILDER, at=LONG_AGO, **bounds)
    for number, price in enumerate(usd):
        told("BTC", price, after=number)
    page = officer.get(reverse("loans:desk_prices") + "?show=doubt")
    assert words in text_of(page)
    by_hand = reverse("loans:parameter_propose", args=["price"]) + "?asset=BTC"
    assert by_hand in page.content.decode()
    assert officer.get(by_hand).status_code == 200


def test_the_board_costs_the_same_few_queries_for_any_number_of_coins(
    officer: Client, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """R-FTR-21: 200 coins here; the pages are of 50."""
    for number in range(200):
        told(f"C{number:03}", "1")
    with django_assert_num_queries(5):
        rows = price_board.overview(at=NOON + SECOND)
        assert len(price_board.detailed(rows[:50], at=NOON + SECOND)) == 50
    assert len(rows) == 200
    page = officer.get(reverse("loans:desk_prices") + "?show=all")
    assert page.content.decode().count('rowheader"><span><a') == 50
    assert "Page 1 of 4" in text_of(page)
    assert officer.get(reverse("loans:desk_prices") + "?show=nonsense").status_code == 404


def test_a_long_history_is_read_in_parts(officer: Client) -> None:
    """R-FTR-21"""
    for number in range(120):
        told("BTC", str(100 + number), after=number / 10)
    url = reverse("loans:desk_price", args=["BTC"])
    first = officer.get(url).content.decode()
    assert "219.00" in first
    older = re.search(r'href="(\?before=\d+)"', first)
    assert older is not None
    second = officer.get(url + older[1]).content.decode()
    assert ("169.00" in second, "170.00" in second) == (True, False)
    for wrong in ("?before=x", "?before=999999999", "?before=99999999999999999999"):
        assert officer.get(url + wrong).status_code == 404
    assert officer.get(reverse("loans:desk_price", args=["NOSUCH"])).status_code == 404


def test_to_a_borrower_it_does_not_exist_and_an_auditor_only_looks(officer: Client) -> None:
    """R-ADM-01"""
    told("BTC", "100")
    told("BTC", "10", after=1)
    for url in (reverse("loans:desk_prices"), reverse("loans:desk_price", args=["BTC"])):
        assert client_of(build.user()).get(url).status_code == 404
        assert Client().get(url).status_code == 302
    page = client_of(build.user("auditor")).get(reverse("loans:desk_prices") + "?show=doubt")
    assert "quarantine" in text_of(page)
    assert "by hand" in text_of(page)
    assert "Set BTC by hand" not in text_of(page)
