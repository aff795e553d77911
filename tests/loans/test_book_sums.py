"""The book as the database sums it is the book as the rules value it, group by group, to the last digit. R-ADM-06"""

from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from accounts.commands import acting
from accounts.models import Customer
from accounts.money import ZERO, exact
from loans import dashboard
from loans.dashboard import Book
from risk import book, debts, valuation
from risk.book import GroupState
from risk.levels import band
from risk.models import CollateralGroup, Debt, Freeze
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN

pytestmark = pytest.mark.django_db

COINS = ("BTC", "ETH", "DOGE", "USDT", "OLD")  # OLD has ratios and no price; DOGE no ratios
EVERYBODY = Customer.objects.all


def world(draw: Random) -> datetime:
    """Groups with odd amounts, some exactly at a line, late and paused days, own lines; returns when to look."""
    at = TEN + timedelta(days=draw.randrange(5), hours=draw.randrange(24))
    for symbol, places in zip(COINS, (8, 8, 2, 6, 0), strict=True):
        build.asset(symbol, places=places)
    for symbol in ("BTC", "ETH", "USDT", "OLD"):
        build.ratios(symbol, ("0", "1"), ("100000", "0.812345678901"), ("250000", "0"))
    build.prices(LONG_AGO, BTC="61234.000000000000000001", ETH="3021.7", DOGE="0.1213", USDT="1.00021")
    build.limits()
    if draw.random() < 0.5:
        build.limits("0.5", "0.6", "0.7", "0.8", asset_id="ETH")
    for symbol in ("USDT", "ETH", "DOGE", "OLD"):
        build.fund_pool(symbol, "100000000000000000")
        build.flexible_rate(symbol, "0.0731")
        build.flexible_rate(symbol, f"0.0{draw.randrange(10**9):09}", at=TEN + timedelta(days=1))
    for _ in range(draw.randrange(1, 5)):
        _one_group(draw)
    if draw.random() < 0.5:
        _paused(draw)
    return at


def _one_group(draw: Random) -> None:
    owner = build.customer(manager=build.user("vip_manager") if draw.random() < 0.5 else None)
    subs = [build.account(owner) for _ in range(draw.randrange(1, 3))]
    chosen = draw.sample(COINS, draw.randrange(1, 5))
    group = build.group(build.master(owner), subs, chosen)
    for sub in subs:
        for symbol in draw.sample(COINS, draw.randrange(3)):
            places = build.asset(symbol).places
            amount = Decimal(draw.randrange(1, 10**7)).scaleb(-min(places, 6)) + Decimal(1).scaleb(-places)
            build.deposit(sub, symbol, f"{amount:f}", at=LONG_AGO)
    if draw.random() < 0.3:
        build.limits("0.41", "0.42", "0.43", "0.44", group=group)
    if draw.random() < 0.3:
        build.limits(
            "0.3",
            "0.4",
            "0.5",
            "0.6",
            customer=owner,
            ends_at=draw.choice([None, TEN, TEN + timedelta(days=9)]),
        )
    for _ in range(draw.randrange(1, 4)):
        _one_debt(draw, group)


def _one_debt(draw: Random, group: CollateralGroup) -> None:
    symbol = draw.choice(("USDT", "ETH", "DOGE", "OLD"))
    units = draw.choice([1, draw.randrange(1, 10**6), draw.randrange(1, 10**12)])
    amount = Decimal(units).scaleb(-build.asset(symbol).places)
    rate = draw.choice([None, "0", "0.084", "0.000000000001", f"0.1{draw.randrange(10**11):011}"])
    due_at = draw.choice([None, TEN + timedelta(days=1), TEN + timedelta(days=2, hours=14)])
    row = build.debt(group, symbol, f"{amount:f}", rate=rate, due_at=due_at)
    if draw.random() < 0.3:
        with acting(BUILDER):
            debts.bring_up_to_date(
                [Debt.objects.select_related("asset").get(pk=row.pk)], at=TEN + timedelta(days=1)
            )
    if draw.random() < 0.15:
        with acting(BUILDER):
            Debt.objects.filter(pk=row.pk).update(residual_since=TEN)


def _paused(draw: Random) -> None:
    with acting(BUILDER):
        Freeze.objects.create(
            what=Freeze.What.REPAY,
            asset_id=draw.choice([None, "USDT"]),
            starts_at=TEN + timedelta(days=1),
            ends_at=TEN + timedelta(days=draw.choice([2, 3])),
            reason="maintenance",
            placed_by="test:builder",
        )


@exact
def one_by_one(at: datetime) -> dict[str, Any]:
    """The same sums from `risk.book`, group by group, as the rules value them."""
    groups = [group for group in CollateralGroup.objects.open() if group.debts.watched().exists()]
    states = book.states(groups, at=at)
    found: dict[str, Any] = {"debt": ZERO, "market": ZERO, "recognised": ZERO}
    found |= {"coins": {}, "bands": {}, "buckets": {}, "clients": {}}
    for group in groups:
        _sum_group(found, group, states[group.pk])
    for debt in Debt.objects.open().filter(residual_since__isnull=False).select_related("asset"):
        owed = debts.owed_at([debt], at=at)[debt.pk].parts.total
        found["coins"].setdefault(debt.asset_id, [ZERO] * 4)[0] += owed
    return found


@exact
def _sum_group(found: dict[str, Any], group: CollateralGroup, state: GroupState) -> None:
    worth, where = state.worth(permission=False), band(state.worth(permission=False), state.lines).value
    for name, value in (("debt", worth.debt), ("market", worth.market), ("recognised", worth.collateral)):
        found[name] += value
    found["bands"].setdefault(where, []).append(group.pk)
    floors = [floor for floor in dashboard.BUCKETS if floor == 0 or worth.is_at_least(floor)]
    found["buckets"].setdefault(max(floors), []).append(group.pk)
    client = found["clients"].setdefault(group.customer_id, [0, ZERO, ZERO])
    found["clients"][group.customer_id] = [
        client[0] + 1,
        client[1] + worth.debt,
        client[2] + worth.collateral,
    ]
    for owed in state.debts:
        found["coins"].setdefault(owed.debt.asset_id, [ZERO] * 4)[0] += owed.parts.total
    holdings = state.holdings(permission=False)
    for asset in {holding.asset for holding in holdings}:
        mine = [holding for holding in holdings if holding.asset == asset]
        counted = valuation.worth(holdings=mine, debts=[])
        coin = found["coins"].setdefault(asset, [ZERO] * 4)
        coin[1] += sum(holding.amount for holding in mine)
        coin[2] += counted.market
        coin[3] += counted.collateral


def assert_equal(found: Book, expected: dict[str, Any], at: datetime) -> None:
    assert (found.debt, found.market, found.recognised) == (
        expected["debt"],
        expected["market"],
        expected["recognised"],
    )
    assert {name: number for name, number in found.bands.items() if number} == {
        name: len(keys) for name, keys in expected["bands"].items()
    }
    for name, keys in expected["bands"].items():
        assert dashboard.in_band(EVERYBODY(), name=name, at=at) == sorted(keys)
    for bucket in found.buckets:
        keys = sorted(expected["buckets"].get(bucket.floor, []))
        assert bucket.groups == len(keys)
        assert dashboard.in_bucket(EVERYBODY(), floor=bucket.floor, ceiling=bucket.ceiling, at=at) == keys
    assert {
        name: [coin.owed, coin.pledged, coin.market, coin.recognised] for name, coin in found.coins.items()
    } == expected["coins"]
    clients = {one.customer_id: [one.groups, one.debt, one.recognised] for one in found.clients if one.debt}
    assert clients == {pk: sums for pk, sums in expected["clients"].items() if sums[1]}


@given(seed=st.integers(0, 2**32))
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_the_database_sums_what_the_rules_value(seed: int) -> None:
    """R-ADM-06, R-GEN-30…33, R-GEN-40, R-GEN-42, R-VIP-31, R-VIP-43, R-VIP-45: equal to the last digit."""
    try:
        with transaction.atomic():
            at = world(Random(seed))
            assert_equal(dashboard.book_of(EVERYBODY(), at=at), one_by_one(at), at)
            raise _Enough
    except _Enough:
        pass


class _Enough(Exception):
    """Takes a world away again."""


@pytest.mark.parametrize(
    ("owed", "floor"),
    [
        ("64999.999999", "0.6"),
        ("65000", "0.65"),  # on the bound is in the upper bar, exactly
        ("100000", "1"),
        ("500000", "1"),
        ("0.000001", "0"),
    ],
)
def test_bars_and_bands_are_compared_exactly(owed: str, floor: str) -> None:
    """R-GEN-41: never through a rounded ratio."""
    for symbol in ("BTC", "USDT"):
        build.asset(symbol)
        build.ratios(symbol)
    build.limits("0.65", "0.77", "0.91", "0.95")
    build.prices(LONG_AGO, BTC="100000", USDT="1")
    build.fund_pool("USDT")
    owner = build.customer()
    sub = build.account(owner)
    build.deposit(sub, "BTC", "1", at=LONG_AGO)
    build.debt(build.group(build.master(owner), [sub]), amount=owed)
    found = dashboard.book_of(EVERYBODY(), at=TEN)
    assert [bucket.floor for bucket in found.buckets if bucket.groups] == [Decimal(floor)]
    assert found.bands["SAFE"] == (Decimal(owed) < 65_000)


def test_a_debt_without_cover_is_in_the_last_bar_and_nobodys_book_is_empty() -> None:
    """R-GEN-40"""
    for symbol in ("BTC", "USDT"):
        build.asset(symbol)
    build.limits()
    build.prices(LONG_AGO, USDT="1")
    build.fund_pool("USDT")
    owner = build.customer()
    group = build.group(build.master(owner), [build.account(owner)])
    build.debt(group, amount="5")
    found = dashboard.book_of(EVERYBODY(), at=TEN)
    assert ([bucket.groups for bucket in found.buckets][-1], found.bands["LIQ"]) == (1, 1)
    assert dashboard.in_bucket(EVERYBODY(), floor=Decimal(1), ceiling=None, at=TEN) == [group.pk]
    assert dashboard.in_bucket(EVERYBODY(), floor=Decimal(1), ceiling=None, at=TEN, after=group.pk) == []
    assert dashboard.book_of(Customer.objects.none(), at=TEN).groups == 0
