"""Coins the market is too thin for: taken over by the house, worked off, released. R-GEN-79, R-GEN-80"""

from datetime import timedelta
from decimal import Decimal

import pytest

from accounts import books
from accounts.commands import Actor, NotYourRole, acting
from accounts.ledger import problems
from accounts.models import JournalEntry, LedgerAccount
from risk import workout
from risk.models import MarketDepth
from tests import build
from tests.risk.forced_sales import SWEEPER, World, liquidate

D = Decimal
NOON = build.NOON

pytestmark = pytest.mark.django_db


def depth(coin: str, volume: str, share: str = "0.1", *, at: object = build.LONG_AGO) -> None:
    with acting(SWEEPER):
        MarketDepth.objects.create(asset_id=coin, effective_at=at, volume_usd=D(volume), max_share=D(share))


def thin_world(*, second: str = "0") -> World:
    build.ratios("ETH")
    world = World(["ETH"], ETH=("10", second))
    build.prices(ETH="100", USDT="1")
    return world


def test_what_the_market_does_not_take_goes_to_the_house_at_the_same_price() -> None:
    """R-GEN-79, R-GEN-80: 9.282 ETH are needed; 10 % of 3,000 USD a day are 3 ETH for the market"""
    world = thin_world()
    world.owe("USDT", "910")
    depth("ETH", "3000")

    row = liquidate(world.group)

    assert row is not None
    told = [(sale.venue, sale.sold, sale.price, sale.proceeds) for sale in row.sales.order_by("step")]
    assert told == [("desk", D(3), D(100), D(300)), ("takeover", D("6.282"), D(100), D("628.2"))]
    assert (books.pool("ETH").balance, books.workout("ETH").balance) == (D(3), D("6.282"))
    assert build.balance(world.first, "ETH") == D("0.718")
    assert (row.status, row.fee_usd, row.sold_usd) == ("done_surplus", D("18.2"), D("928.2"))


def test_the_account_on_the_border_gives_to_both_and_each_has_its_record() -> None:
    """R-GEN-72, R-GEN-79"""
    world = thin_world(second="10")
    world.owe("USDT", "1820")
    depth("ETH", "120000")  # 12,000 USD a day: the market takes it all
    depth("ETH", "120000", "0.1", at=NOON + timedelta(days=1))  # not in force yet
    depth("ETH", "12000", "0.1", at=NOON - timedelta(days=1))  # in force: 12 of the 18.564 ETH

    row = liquidate(world.group)

    assert row is not None
    told = [(sale.step, sale.account_id, sale.venue, sale.sold) for sale in row.sales.order_by("step")]
    assert told == [
        (1, world.first.pk, "desk", D("9.282")),
        (2, world.second.pk, "desk", D("2.718")),
        (3, world.second.pk, "takeover", D("6.564")),
    ]
    assert sum(sale.fee for sale in row.sales.all()) == D("36.4")


def test_what_was_sold_in_the_last_24_hours_counts_against_the_share() -> None:
    """R-GEN-79: 300 USD a day; a second group's sale within 24 hours finds 100 left, one after them 300 again"""
    build.ratios("ETH")
    worlds = [World(["ETH"], ETH=("2", "0")), World(["ETH"], ETH=("4", "0")), World(["ETH"], ETH=("4", "0"))]
    depth("ETH", "3000")
    found = []
    times = (NOON, NOON + timedelta(hours=23, minutes=59), NOON + timedelta(hours=48))
    for world, amount, at in zip(worlds, ("195", "380", "380"), times, strict=True):
        world.owe("USDT", amount, at=at)
        build.prices(at, ETH="100", USDT="1")
        row = liquidate(world.group, at=at)
        assert row is not None
        found.append([(sale.venue, sale.sold) for sale in row.sales.order_by("step")])

    assert found == [
        [("desk", D("1.989"))],
        [("desk", D("1.011")), ("takeover", D("2.865"))],
        [("desk", D(3)), ("takeover", D("0.876"))],
    ]


def test_the_debts_own_coin_is_netted_whatever_its_market() -> None:
    """R-GEN-72, R-GEN-79: nothing is sold, so nothing is thin"""
    build.ratios("USDT")
    world = World(["USDT"], USDT=("1000", "0"))
    world.owe("USDT", "950")
    build.prices(USDT="1")
    depth("USDT", "0")
    row = liquidate(world.group)
    assert row is not None
    assert {sale.venue for sale in row.sales.all()} == {"netting"}
    assert books.workout("USDT").balance == 0


def test_without_a_depth_there_is_no_limit() -> None:
    """R-GEN-79"""
    world = thin_world()
    world.owe("USDT", "910")
    row = liquidate(world.group)
    assert row is not None
    assert {sale.venue for sale in row.sales.all()} == {"desk"}


# --- Released -------------------------------------------------------------------------------------------------


@pytest.fixture
def taken_over() -> World:
    world = thin_world()
    world.owe("USDT", "910")
    depth("ETH", "0")
    liquidate(world.group)
    assert books.workout("ETH").balance == D("9.282")
    return world


def release(amount: str, role: str = "finance", **more: str) -> JournalEntry:
    actor = Actor.user(build.user(role))
    return workout.release_workout(asset="ETH", amount=D(amount), actor=actor, at=NOON, **more)


def test_finance_releases_what_is_worked_off_to_the_pool(taken_over: World) -> None:
    """R-GEN-79"""
    first = release("4")
    second = release("1.5")
    assert (first.reference, second.reference) == ("workout:ETH:1", "workout:ETH:2")
    assert (books.pool("ETH").balance, books.workout("ETH").balance) == (D("5.5"), D("3.782"))
    assert not problems()


@pytest.mark.parametrize(
    ("amount", "role", "refusal"),
    [
        ("9.28200001", "finance", workout.BadRelease),
        ("0", "finance", workout.BadRelease),
        ("-1", "finance", workout.BadRelease),
        ("1.000000001", "finance", workout.BadRelease),
        ("1", "risk_officer", NotYourRole),
        ("1", "borrower", NotYourRole),
    ],
)
def test_no_other_release_moves_anything(
    taken_over: World, amount: str, role: str, refusal: type[Exception]
) -> None:
    """R-GEN-79"""
    with pytest.raises(refusal):
        release(amount, role)
    assert (books.pool("ETH").balance, books.workout("ETH").balance) == (0, D("9.282"))
    assert not JournalEntry.objects.filter(kind=workout.RELEASE).exists()


@pytest.mark.breaks_the_books
def test_the_proof_finds_coins_that_came_into_workout_by_themselves(taken_over: World) -> None:
    """R-GEN-79"""
    from accounts import ledger

    line = ledger.Line(books.workout("ETH"), books.capital("ETH"), D(2))
    ledger.post(kind="funding", reference="smuggled", lines=[line], at=NOON)
    assert problems() == ["workout:ETH: holds 11.28200000 but takeovers less releases are 9.28200000"]
    assert LedgerAccount.objects.get(code="workout:ETH").balance == D("11.282")
