"""Coins that are redeemed for another: worth their ratio, whatever their own market prints, under four eyes."""

from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.commands import Actor, NeedsApproval
from accounts.errors import Refused
from risk import book, parameters, prices, sweep
from risk.levels import band
from risk.models import CollateralGroup, Liquidation, Price, Redemption
from risk.parameters import AlreadyPublished, Backdated, BadParameter, preview
from risk.prices import PriceState
from tests import build
from tests.build import BUILDER, LONG_AGO, NOON
from tests.risk.faulty import Book, book_of
from tests.risk.ticks import SECOND, rule, tick

D = Decimal
DAY = timedelta(days=1)
pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _coins(db: None) -> None:
    for symbol in ("WBETH", "ETH", "SOL", "BTC"):
        build.asset(symbol)


def redeem(
    ratio: str | None,
    *,
    asset: str = "WBETH",
    underlying: str = "ETH",
    starts: datetime = LONG_AGO,
    at: datetime = LONG_AGO,
    actor: Actor = BUILDER,
) -> Redemption:
    return parameters.publish_redemption(
        asset=asset,
        underlying=underlying,
        ratio=None if ratio is None else D(ratio),
        effective_at=starts,
        actor=actor,
        at=at,
    )


def told(after: float = 0, **usd: str) -> list[Price]:
    at = NOON + timedelta(seconds=after)
    return prices.record([tick(price, asset=coin, at=at) for coin, price in usd.items()], at=at)


def quote(coin: str = "WBETH", after: float = 0) -> tuple[Decimal, PriceState]:
    found = prices.latest(at=NOON + timedelta(seconds=after))[coin]
    return found.price, found.state


# --- The price ---------------------------------------------------------------------------------------


def test_a_redeemed_coin_is_worth_its_ratio_whatever_its_market_prints() -> None:
    """R-FTR-21, TRUST E22: 1.0848 × 3,300 = 3,579.84; the market's 430 is kept beside it."""
    redeem("1.0848")
    eth, wbeth = told(WBETH="430", ETH="3300")

    assert (wbeth.asset_id, wbeth.price, wbeth.status) == ("WBETH", D("3579.84"), "good")
    assert (wbeth.source, wbeth.observed_at) == ("redemption", eth.observed_at)
    assert wbeth.quotes == {"ETH": "3300", "ratio": "1.0848", "market": "430"}
    assert quote() == (D("3579.84"), PriceState.FRESH)
    assert Price.objects.filter(asset="WBETH").count() == 1


def test_it_is_as_old_and_as_doubted_as_what_it_stands_for() -> None:
    """R-GEN-21, R-GEN-22, R-FTR-21"""
    redeem("1.0848")
    told(ETH="3300")
    told(5, ETH="1650", WBETH="3580")
    assert quote(after=5) == (D("3579.84"), PriceState.SUSPECT)
    doubted = Price.objects.get(asset="WBETH", status="quarantined")
    assert doubted.reason == "ETH, which it is redeemed for, is doubted itself"
    told(10, ETH="1650")
    assert quote(after=10) == (D("1789.92"), PriceState.FRESH)
    told(30, WBETH="1790")
    assert quote(after=71) == (D("1789.92"), PriceState.STALE)


def test_its_own_rule_of_jumps_does_not_hold_it_back_and_the_price_by_hand_of_the_other_moves_it() -> None:
    """R-FTR-21, R-ADM-03"""
    rule(asset="WBETH", max_jump=D("0.01"), floor=D(4000))
    redeem("2")
    told(ETH="100")
    told(5, ETH="120")
    assert quote(after=5) == (D(240), PriceState.FRESH)
    prices.record_by_hand(
        asset="ETH", price=D(50), actor=BUILDER, at=NOON + 6 * SECOND, reason="The feed is down"
    )
    assert quote(after=6) == (D(100), PriceState.FRESH)


def test_a_ratio_counts_from_its_instant_on_and_an_ended_one_no_more() -> None:
    """R-FTR-21: ratio and time are one row, so they cannot be out of step (Aave, 10 March 2026)."""
    redeem("1.08")
    redeem("1.081", starts=NOON + 5 * SECOND)
    redeem(None, starts=NOON + 10 * SECOND)
    told(4, ETH="1000", WBETH="1")
    assert quote(after=4)[0] == 1080
    told(5, ETH="1000", WBETH="1")
    assert quote(after=5)[0] == 1081
    [_, own] = told(10, ETH="1000", WBETH="1080")
    assert (own.asset_id, own.source, own.price) == ("WBETH", "test", 1080)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ratio=st.decimals("0.000001", "1000", places=18),
    eth=st.decimals("0.0001", "100000", places=8),
    market=st.decimals("0.0001", "100000", places=8),
)
def test_the_price_is_the_product_rounded_down_to_18_decimals(
    ratio: Decimal, eth: Decimal, market: Decimal
) -> None:
    """R-FTR-21, R-GEN-02"""
    with transaction.atomic():
        redeem(str(ratio))
        told(ETH=str(eth), WBETH=str(market))
        price = prices.latest(at=NOON)["WBETH"].price
        transaction.set_rollback(True)
    numerator = int(ratio.scaleb(18)) * int(eth.scaleb(8))
    assert int(price.scaleb(18)) == numerator // 10**8
    assert price == price.quantize(D("1e-18"), rounding=ROUND_FLOOR)


def test_history_in_one_go_is_what_it_is_one_by_one() -> None:
    """R-FTR-21, R-GEN-21"""
    redeem("1.1")
    usd = ["1000", "1010", "400", "405", "1020"]
    one_by_one = [told(n, ETH=price, WBETH=str(n + 1)) for n, price in enumerate(usd)]
    was = [(row.asset_id, row.price, row.status, row.quotes) for rows in one_by_one for row in rows]
    later = NOON + DAY
    ticks = [
        tick(price, asset=coin, at=later + n * SECOND)
        for n, eth in enumerate(usd)
        for coin, price in (("ETH", eth), ("WBETH", str(n + 1)))
    ]
    at_once = prices.record(reversed(ticks), at=later + DAY)
    assert [(row.asset_id, row.price, row.status, row.quotes) for row in at_once] == was


# --- Publishing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_now", "words"),
    [
        ({"ratio": "0"}, "above 0"),
        ({"ratio": "-1"}, "above 0"),
        ({"ratio": "NaN"}, "above 0"),
        ({"ratio": "1e9"}, "below 1000000000"),
        ({"ratio": "1.0000000000000000001"}, "18 decimals"),
        ({"ratio": "1", "underlying": "WBETH"}, "for itself"),
        ({"ratio": "1", "underlying": "NOSUCH"}, "no asset"),
        ({"ratio": "1.0959"}, "more than 1% from the ratio 1.085 "),
        ({"ratio": "1.0741"}, "more than 1% from the ratio 1.085 "),
        ({"ratio": "1.054"}, "several publications"),  # -2.85 %, as on 10 March 2026
        ({"ratio": "1.085", "underlying": "SOL"}, "redeemed for ETH from .*; end that first"),
        ({"ratio": None, "underlying": "SOL"}, "redeemed for ETH, not for SOL"),
        ({"ratio": None, "asset": "SOL"}, "no redemption ratio"),
        ({"ratio": "1", "asset": "SOL", "underlying": "WBETH"}, "WBETH is redeemed for another coin itself"),
        ({"ratio": "1", "asset": "ETH", "underlying": "BTC"}, "ETH must have a price of its own"),
        ({"ratio": "1", "asset": "ETH", "underlying": "WBETH"}, "redeemed for another coin itself"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_published(
    given_now: dict[str, Any], words: str
) -> None:
    """R-FTR-21: no number, no leap of more than 1 %, no chain and no cycle."""
    redeem("1.085")
    with pytest.raises(BadParameter, match=words):
        redeem(given_now.pop("ratio"), **given_now, starts=NOON, at=NOON)
    assert Redemption.objects.count() == 1


def test_a_ratio_moves_by_one_per_cent_and_no_more_also_around_what_is_to_come() -> None:
    """R-FTR-21: the edge itself is allowed; ending it, or slipping in before a later one, is no way round."""
    redeem("1")
    redeem("1.01", starts=NOON, at=NOON)
    redeem("1.0201", starts=NOON + 2 * DAY, at=NOON)
    with pytest.raises(BadParameter, match="1.0201 of 2026-01-03"):
        redeem("1.005", starts=NOON + DAY, at=NOON)
    redeem(None, starts=NOON + 3 * DAY, at=NOON)
    with pytest.raises(BadParameter, match="more than 1% from the ratio 1.0201"):
        redeem("2", starts=NOON + 4 * DAY, at=NOON)
    with pytest.raises(BadParameter, match="no redemption ratio"):
        redeem(None, starts=NOON + 4 * DAY, at=NOON)
    redeem("5", underlying="SOL", starts=NOON + 4 * DAY, at=NOON)
    assert Redemption.objects.count() == 5


def test_a_chain_that_is_only_to_come_is_refused_too() -> None:
    """R-FTR-21"""
    redeem("1", starts=NOON + DAY, at=NOON)
    for wrong in ({"asset": "SOL", "underlying": "WBETH"}, {"asset": "ETH", "underlying": "BTC"}):
        with pytest.raises(BadParameter, match="redeem"):
            redeem("1", **wrong, starts=NOON, at=NOON)
    assert Redemption.objects.count() == 1


def test_it_cannot_be_backdated_doubled_or_published_by_one_person() -> None:
    """R-FTR-21, R-ADM-03, R-GEN-36"""
    refusals: list[tuple[type[Refused], dict[str, Any]]] = [
        (Backdated, {"starts": NOON - SECOND, "at": NOON}),
        (NeedsApproval, {"starts": NOON, "at": NOON, "actor": Actor.user(build.user("risk_officer"))}),
    ]
    for refusal, values in refusals:
        with pytest.raises(refusal):
            redeem("1", **values)
    assert not Redemption.objects.exists()
    redeem("1", starts=NOON, at=NOON)
    with pytest.raises(AlreadyPublished):
        redeem("1", starts=NOON, at=NOON)
    assert Redemption.objects.count() == 1


# --- What it would do --------------------------------------------------------------------------------


@pytest.fixture
def borrowers(db: None) -> Book:
    """Thirty groups at 61 to 90 % LTV on WBETH at 1.085 × 3,300 USD."""
    book = book_of("WBETH", "USDT", coin_usd="3580.5")
    redeem("1.085")
    told(ETH="3300", USDT="1", WBETH="3575")
    return book


def proposal(ratio: str | None) -> dict[str, Any]:
    return {"asset": "WBETH", "underlying": "ETH", "ratio": None if ratio is None else D(ratio)}


def test_a_preview_says_who_would_be_called_and_sold_and_what_the_coin_would_cost(borrowers: Book) -> None:
    """R-FTR-21, TRUST P-07: -1 % lifts 90 % to 90.91 %, 77 % is in call already, 76.3 % would be."""
    found = preview.of("risk.publish_redemption", proposal("1.07415"), at=NOON)
    assert found["groups"] == len(borrowers.positions)
    assert found["words"].startswith("WBETH would be 3544.695 USD (-1.00%); it is 3580.5 USD now. ")

    redeem("1.07415", starts=NOON, at=NOON)
    told(5, ETH="3300", USDT="1")
    groups = [CollateralGroup.objects.get(pk=each.group.pk) for each in borrowers.positions]
    states = book.states(groups, at=NOON + 5 * SECOND).values()
    happened = [str(band(state.worth(permission=False), state.lines)) for state in states]
    assert {one["band"]: one["after"] for one in found["bands"]} == {
        name: happened.count(name) for name in ("SAFE", "WATCH", "CALL", "LIQ")
    }
    assert sum(row["from"] != row["to"] for row in found["shifts"]) > 0


def test_a_ratio_out_of_step_is_refused_and_sells_nobody(borrowers: Book) -> None:
    """R-FTR-21, TRUST P-07: -2.85 % would have put three groups over their line; it is looked at, and refused."""
    wrong = proposal("1.0540775")
    assert "LIQ" in preview.of("risk.publish_redemption", wrong, at=NOON)["words"]
    with pytest.raises(BadParameter, match="more than 1%"):
        redeem("1.0540775", starts=NOON, at=NOON)
    for after in (5, 10, 15):
        told(after, ETH="3300", USDT="1", WBETH="3575")
        sweep.sweep(at=NOON + timedelta(seconds=after))
    assert not Liquidation.objects.exists()


def test_ending_a_ratio_is_shown_at_what_the_market_said(borrowers: Book) -> None:
    """R-FTR-21"""
    found = preview.of("risk.publish_redemption", proposal(None), at=NOON)
    assert found["words"].startswith("WBETH would be 3575 USD (-0.15%); it is 3580.5 USD now. ")
    unknown = proposal("1") | {"asset": "BTC", "underlying": "SOL"}
    assert "no price yet" in preview.of("risk.publish_redemption", unknown, at=NOON)["words"]
