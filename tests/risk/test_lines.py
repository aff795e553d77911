"""Which LTV lines hold for a group: signed, the customer's, its coins', the product's (R-GEN-42)."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import DjangoAssertNumQueries

from accounts.commands import Actor, NeedsApproval, acting
from accounts.models import Customer
from risk import parameters
from risk.levels import Lines
from risk.models import CollateralGroup, Limits
from risk.parameters import AlreadyPublished, NotPublished
from tests import build
from tests.build import BUILDER, LONG_AGO, NOON

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


def lines(
    initial: str = "0.72",
    margin_call: str = "0.77",
    liquidation: str = "0.91",
    cutoff: str = "0.95",
    fee: str = "0.02",
) -> Lines:
    return Lines(*map(Decimal, (initial, margin_call, liquidation, cutoff, fee)))


VIP = lines()
STRICT = lines("0.60", "0.65", "0.80", "0.90", "0.03")
LOOSE = lines("0.80", "0.85", "0.93", "0.96", "0.01")


def publish_limits(lines: Lines, *, effective_at: datetime = LONG_AGO, **scope: Any) -> Limits:
    return parameters.publish_limits(
        product="vip", lines=lines, effective_at=effective_at, actor=BUILDER, at=LONG_AGO, **scope
    )


def sign(group: CollateralGroup, lines: Lines, *, at: datetime = NOON) -> Limits:
    with acting(BUILDER):
        return parameters.sign_lines(group=group, lines=lines, at=at)


def resolve(
    customer: Customer, *assets: str, at: datetime = NOON, group: CollateralGroup | None = None
) -> Lines:
    return parameters.lines_for(product="vip", customer=customer, assets=assets, at=at, group=group)


def new_group(customer: Customer | None = None) -> CollateralGroup:
    owner = customer or build.customer()
    receiver = build.account(owner)
    return build.group(receiver, [build.account(owner)])


def test_signed_lines_beat_the_customers_beat_the_coins_beat_the_products(db: None) -> None:
    """R-GEN-42, R-VIP-24"""
    group = new_group()
    owner = group.customer
    build.asset("BTC")
    own, signed = lines("0.70"), lines("0.71")

    publish_limits(VIP)
    assert resolve(owner, "BTC", group=group) == VIP
    publish_limits(STRICT, asset="BTC")
    assert resolve(owner, "BTC", group=group) == STRICT
    publish_limits(own, customer=owner)
    assert resolve(owner, "BTC", group=group) == own
    sign(group, signed)
    assert resolve(owner, "BTC", group=group) == signed


def test_lines_of_others_are_not_ours(db: None) -> None:
    """R-GEN-42"""
    publish_limits(VIP)
    build.asset("ETH")
    publish_limits(STRICT, asset="ETH")
    group, other = new_group(), new_group()
    publish_limits(STRICT, customer=other.customer)
    sign(other, STRICT)
    sibling = new_group(other.customer)

    assert resolve(group.customer, "BTC", group=group) == VIP
    assert resolve(other.customer, "BTC") == STRICT
    assert parameters.lines_by_group([group], at=NOON, owed={group.pk: {"BTC"}}) == {group.pk: VIP}
    assert resolve(sibling.customer, "BTC", group=sibling) == STRICT  # the customer's, not the sibling's


def test_several_coins_ask_for_the_strictest_of_each_line(db: None) -> None:
    """R-GEN-42: one group, one set of lines, no looser than any of its coins'."""
    publish_limits(VIP)
    for symbol, own in (
        ("BTC", lines("0.60", "0.76", "0.90", "0.94", "0.01")),
        ("ETH", lines("0.65", "0.70", "0.80", "0.96", "0.03")),
    ):
        build.asset(symbol)
        publish_limits(own, asset=symbol)

    assert resolve(build.customer(), "BTC", "ETH") == lines("0.60", "0.70", "0.80", "0.94", "0.03")


def test_a_coin_without_lines_of_its_own_asks_for_the_products(db: None) -> None:
    """R-GEN-42: a loose coin beside it may not loosen them."""
    publish_limits(VIP)
    build.asset("BTC")
    publish_limits(LOOSE, asset="BTC")
    owner = build.customer()

    assert resolve(owner, "BTC") == LOOSE
    assert resolve(owner, "BTC", "USDT") == lines(fee="0.02")
    assert resolve(owner) == VIP


def test_limits_take_over_at_their_instant(db: None) -> None:
    """R-GEN-36: what was in force then is used for then."""
    publish_limits(VIP)
    publish_limits(STRICT, effective_at=NOON)
    owner = build.customer()

    assert resolve(owner, at=NOON - SECOND) == VIP
    assert resolve(owner, at=NOON) == STRICT


def test_signed_lines_are_not_tightened_by_what_is_published_later(db: None) -> None:
    """R-GEN-42"""
    publish_limits(VIP)
    group = new_group()
    sign(group, VIP, at=NOON - DAY)
    publish_limits(STRICT, effective_at=NOON)

    assert resolve(group.customer, group=group) == VIP


def test_the_lines_signed_last_hold_for_the_whole_group(db: None) -> None:
    """R-GEN-42: a new term sheet changes the lines of the whole group."""
    publish_limits(VIP)
    group = new_group()
    sign(group, STRICT, at=NOON)
    sign(group, LOOSE, at=NOON + SECOND)

    assert resolve(group.customer, group=group, at=NOON) == STRICT
    assert resolve(group.customer, group=group, at=NOON + SECOND) == LOOSE


def test_signing_the_same_lines_again_changes_nothing(db: None) -> None:
    group = new_group()
    first = sign(group, VIP)

    assert sign(group, VIP, at=NOON + DAY) == first
    assert sign(group, STRICT, at=NOON + DAY) != first
    assert sign(group, VIP, at=NOON + 2 * DAY) != first
    assert Limits.objects.filter(group=group).count() == 3


def test_two_different_signatures_of_one_instant_are_refused(db: None) -> None:
    group = new_group()
    sign(group, VIP)
    with pytest.raises(AlreadyPublished):
        sign(group, STRICT)
    assert resolve(group.customer, group=group) == VIP


def test_without_published_lines_there_is_no_answer(db: None) -> None:
    group = new_group()
    with pytest.raises(NotPublished, match="product vip"):
        resolve(group.customer, "BTC")
    with pytest.raises(NotPublished, match="product vip"):
        parameters.lines_by_group([group], at=NOON, owed={})


def test_the_lines_of_many_groups_are_one_query_and_the_same_as_one_by_one(
    db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    """R-GEN-42"""
    publish_limits(VIP)
    build.asset("BTC")
    publish_limits(STRICT, asset="BTC")
    groups = [new_group() for _ in range(4)]
    publish_limits(LOOSE, customer=groups[1].customer)
    sign(groups[2], lines("0.5"))
    owed = {groups[0].pk: {"BTC", "USDT"}, groups[1].pk: {"BTC"}, groups[2].pk: {"BTC"}}

    with django_assert_num_queries(1):
        found = parameters.lines_by_group(groups, at=NOON, owed=owed)

    assert [found[group.pk] for group in groups] == [STRICT, LOOSE, lines("0.5"), VIP]
    for group in groups:
        assert found[group.pk] == resolve(group.customer, *owed.get(group.pk, ()), group=group)


fractions = st.integers(min_value=1, max_value=999).map(lambda thousandths: Decimal(thousandths) / 1000)


def test_a_manager_alone_gives_a_client_no_more_than_every_coin_would(db: None) -> None:
    """R-ADM-03, R-GEN-42: a client's lines stand before a coin's stricter ones, so those count too"""
    manager = build.user("vip_manager")
    client = build.customer(manager=manager)
    build.asset("DOGE")
    publish_limits(VIP)
    publish_limits(STRICT, asset="DOGE")

    def own(wanted: Lines) -> Limits:
        return parameters.publish_limits(
            product="vip", lines=wanted, customer=client, actor=Actor.user(manager), at=NOON
        )

    for wanted in (
        VIP,
        lines("0.60", "0.65", "0.80", "0.90", "0.02"),
        lines("0.60", "0.65", "0.81", "0.90", "0.03"),
    ):
        with pytest.raises(NeedsApproval):
            own(wanted)
    assert resolve(client, "DOGE") == STRICT
    own(STRICT)
    assert resolve(client, "BTC") == STRICT


@st.composite
def any_lines(draw: st.DrawFn) -> Lines:
    rising = sorted(draw(st.sets(fractions, min_size=4, max_size=4)))
    fee = draw(st.integers(min_value=0, max_value=min(999, int((1 / rising[-1] - 1) * 1000))))
    return Lines(*rising, fee=Decimal(fee) / 1000)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(per_coin=st.lists(any_lines(), min_size=1, max_size=4), default=any_lines())
def test_the_strictest_lines_are_lines_and_no_looser_than_any(
    db: None, per_coin: list[Lines], default: Lines
) -> None:
    """R-GEN-42, R-GEN-43: the constructor of Lines would refuse them otherwise."""
    with transaction.atomic():
        publish_limits(default)
        for number, own in enumerate(per_coin):
            build.asset(f"C{number}")
            publish_limits(own, asset=f"C{number}")
        found = resolve(build.customer(), *(f"C{number}" for number in range(len(per_coin))))
        transaction.set_rollback(True)

    for own in per_coin:
        assert found.initial <= own.initial
        assert found.margin_call <= own.margin_call
        assert found.liquidation <= own.liquidation
        assert found.cutoff <= own.cutoff
        assert found.fee >= own.fee
    if len(set(per_coin)) == 1:
        assert found == per_coin[0]
