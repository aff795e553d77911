"""The terms check: the figures a borrower is shown, how much may be borrowed, and what stale prices forbid."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from loans.vip import terms
from loans.vip.terms import TermSheet, Wish
from tests import build
from tests.build import LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def check(desk: Desk, amount: str = "1000000", **changes: Any) -> TermSheet:
    return terms.check(desks.request(desk, amount, **changes), at=TEN)


def found(sheet: TermSheet) -> list[tuple[str, str]]:
    return [(problem.field, problem.code) for problem in sheet.problems]


# --- What is shown ----------------------------------------------------------------------------------


def test_the_sheet_shows_rates_ltv_and_what_would_be_the_liquidation_price(desk: Desk) -> None:
    """R-VIP-15, EX-01, EX-09: 1,000,000 against 25 BTC is liquidated at 43,956.04."""
    sheet = check(desk)

    assert found(sheet) == []
    [line] = sheet.lines
    assert (line.annual_rate, line.value) == (Decimal("0.084"), 1000000)
    assert line.daily_interest == Decimal("230.13698631")
    assert line.max_borrow == Decimal("1080000")
    assert sheet.due_at == TEN + timedelta(days=30)
    effect = sheet.effect
    assert effect is not None
    assert (effect.now.ltv, effect.before.ltv, effect.after.ltv) == (0, 0, Decimal("0.666666666666"))
    assert (effect.lines.initial, effect.lines.fee) == (Decimal("0.72"), Decimal("0.02"))
    [coin] = effect.coins
    assert (coin.asset, coin.amount, coin.recognised) == ("BTC", 25, 1500000)
    assert coin.liquidation_price is not None
    assert round(coin.liquidation_price, 2) == Decimal("43956.04")


def test_max_borrow_is_the_least_of_collateral_limit_and_pool(desk: Desk) -> None:
    """R-GEN-37, R-GEN-38, R-GEN-45"""
    build.asset("ETH")
    build.fund_pool("ETH", "12.5")
    desks.loan_limit("ETH", maximum="100000")
    desks.card("ETH", "0.05")
    desks.quote(TEN, ETH="3000")

    sheet = check(desk, wishes=(Wish("USDT", Decimal(500000)), Wish("ETH", Decimal(1))))
    roomy = check(desk, account_uids=(desk.sub.pk,), wishes=(Wish("ETH", Decimal(170)),))

    assert [line.max_borrow for line in sheet.lines] == [1080000, Decimal("12.5")]
    assert roomy.lines[0].declined.startswith("170 ETH is worth 510,000.00 USD, above your limit")
    build.fund_pool("ETH", "1000")
    assert check(desk, wishes=(Wish("ETH", Decimal(1)),)).lines[0].max_borrow == Decimal("33.33333333")


def test_the_flexible_rate_is_the_same_for_all_levels_and_the_fixed_one_is_not(db: None) -> None:
    """R-VIP-22, R-VIP-23"""
    desk = desks.set_up(vip_level=3)
    desks.card("USDT", "0.07", vip_level=3)

    assert check(desk).lines[0].annual_rate == Decimal("0.07")
    assert check(desk, term_days=60).lines[0].annual_rate == Decimal("0.09")
    assert check(desk, rate_type="flexible").lines[0].annual_rate == Decimal("0.08")


def test_the_sheet_is_a_read(desk: Desk, django_assert_max_num_queries: Any) -> None:
    before = desks.everything()

    with django_assert_max_num_queries(40) as queries:
        check(desk)

    assert not [q for q in queries.captured_queries if q["sql"].startswith(("INSERT", "UPDATE"))]
    assert desks.everything() == before


def test_the_fingerprint_names_the_terms_and_not_the_prices(desk: Desk) -> None:
    """R-VIP-11"""
    first = check(desk).fingerprint

    assert check(desk).fingerprint == first
    assert check(desk, "1000000.5").fingerprint != first
    assert check(desk, rate_type="flexible").fingerprint != first
    desks.quote(TEN, BTC="61000")
    assert check(desk).fingerprint == first


# --- How much ---------------------------------------------------------------------------------------


def test_the_first_loan_is_half_a_million(desk: Desk) -> None:
    """R-VIP-07, EX-05"""
    assert found(check(desk, "500000")) == []
    assert found(check(desk, "499999.99999999")) == [("wishes", "below_order_minimum")]


def test_half_a_million_needs_695_000_of_collateral_at_the_most(db: None) -> None:
    """EX-05: 500,000 / 0.72 = 694,444.44 <= 695,000."""
    desk = desks.set_up(btc="1")

    for price, expected in (
        ("695000", []),
        ("694444.45", []),
        ("694444.44", [("account_uids", "ltv_too_high")]),
    ):
        desks.quote(TEN, BTC=price)
        assert found(check(desk, "500000")) == expected


def test_later_loans_are_fifty_thousand(desk: Desk) -> None:
    """R-VIP-07"""
    desks.drawn(desk, "500000")

    assert found(check(desk, "50000")) == []
    assert found(check(desk, "49999.99999999")) == [("wishes", "below_order_minimum")]


def test_a_bundle_is_measured_as_a_whole(desk: Desk) -> None:
    """R-VIP-05, R-VIP-07: 300,000 + 200,000 is a first loan; without the coin over its limit it is not."""
    build.asset("USDC")
    build.fund_pool("USDC")
    desks.card("USDC", "0.08")
    desks.loan_limit("USDC")
    desks.quote(TEN, USDC="1")
    wishes = (Wish("USDT", Decimal(300000)), Wish("USDC", Decimal(200000)))

    assert found(check(desk, wishes=wishes)) == []
    desks.loan_limit("USDC", maximum="199999", at=LONG_AGO + timedelta(days=1))
    assert found(check(desk, wishes=wishes)) == [("wishes", "below_order_minimum")]


# --- Prices -----------------------------------------------------------------------------------------


def test_no_terms_on_a_stale_loan_price(desk: Desk) -> None:
    """R-GEN-22"""
    at = TEN + timedelta(minutes=2)
    build.price("BTC", "60000", at=at)

    sheet = terms.check(desks.request(desk), at=at)

    assert found(sheet) == [("wishes.USDT", "stale_price")]


def test_stale_collateral_counts_nothing_and_says_so(desk: Desk) -> None:
    """R-GEN-22"""
    at = TEN + timedelta(minutes=2)
    build.price("USDT", "1", at=at)

    sheet = terms.check(desks.request(desk), at=at)

    assert found(sheet) == [("account_uids", "ltv_too_high")]
    assert "these coins count nothing now: BTC" in sheet.problems[0].message
    assert sheet.effect is not None
    assert (sheet.effect.after.ltv, sheet.effect.coins[0].is_fresh) == (None, False)


def test_a_stale_price_of_what_is_owed_already_stops_new_terms(desk: Desk) -> None:
    """R-GEN-22"""
    desks.drawn(desk, "500000")
    build.asset("USDC")
    build.fund_pool("USDC")
    desks.card("USDC", "0.08")
    desks.loan_limit("USDC")
    at = TEN + timedelta(minutes=2)
    build.prices(at=at, BTC="60000", USDC="1")

    request = replace(desks.request(desk), wishes=(Wish("USDC", Decimal(50000)),))

    assert found(terms.check(request, at=at)) == [("wishes", "stale_price")]


@pytest.mark.parametrize(
    ("btc", "problems"),
    [
        ("51948.05", [("account_uids", "ltv_too_high")]),
        ("51948.06", []),
        ("43000", [("account_uids", "ltv_too_high")]),
    ],
)
def test_new_collateral_makes_no_loan_for_a_called_group(
    desk: Desk, btc: str, problems: list[tuple[str, str]]
) -> None:
    """R-VIP-13, R-VIP-52: the call begins at 77 %, and twice the collateral does not come before curing it."""
    desks.drawn(desk)
    more = build.account(desk.owner)
    build.deposit(more, "BTC", "25", at=LONG_AGO)
    at = TEN + timedelta(hours=1)
    desks.quote(at, BTC=btc)

    request = desks.request(desk, "50000", account_uids=(desk.sub.pk, more.pk))

    assert found(terms.check(request, at=at)) == problems
