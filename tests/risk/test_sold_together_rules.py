"""Some groups sold whole in one transaction: the order of danger, pauses, failures, and what it costs. R-GEN-23"""

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol

import psycopg
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts.commands import acting
from risk import candidates, sweep
from risk.models import (
    Candidate,
    CollateralGroup,
    Freeze,
    GroupCoin,
    HandlingRule,
    Liquidation,
    PaceLimit,
)
from tests import build
from tests.build import BUILDER, LONG_AGO, NOON
from tests.risk.sold_together import joint_sales
from tests.risk.test_candidates import groups, put

SECOND = timedelta(seconds=1)
ALONE, TOGETHER = 1, 8

in_both_ways = pytest.mark.parametrize("sales", [ALONE, TOGETHER])


class Database(Protocol):
    owner_url: str


class Claims(float):
    """An end for `sweep.drain` that is reached after so many claims, however long they take."""

    left: int

    def __new__(cls, claims: int) -> "Claims":
        end = super().__new__(cls, time.monotonic() + 3600)
        end.left = claims
        return end

    def __gt__(self, now: float) -> bool:
        self.left -= 1
        return self.left >= 0


def crash(at: datetime = NOON, *, btc: str = "40000") -> None:
    """At 40,000 USD all groups of these tests are above their cut-off line."""
    build.prices(at, BTC=btc, USDT="1")


def in_order() -> list[int]:
    """The groups that were sold from, in the order of their sales."""
    return list(Liquidation.objects.order_by("pk").values_list("group", flat=True))


def keys(found: Sequence[CollateralGroup]) -> list[int]:
    return [group.pk for group in found]


def pause(at: datetime, group: CollateralGroup | None = None) -> None:
    with acting(BUILDER):
        Freeze.objects.create(
            what=Freeze.What.LIQUIDATE,
            reason="The venue is down",
            starts_at=at,
            ends_at=at + timedelta(hours=1),
            placed_by="officer",
            group=group,
        )


def goes_in_steps(group: CollateralGroup) -> None:
    with acting(BUILDER):
        HandlingRule.objects.create(
            product="vip", customer=group.customer, effective_at=LONG_AGO, mode=HandlingRule.Mode.STEPPED
        )


# --- On newer prices ----------------------------------------------------------------------------------------


@in_both_ways
@pytest.mark.django_db
def test_a_pause_placed_before_the_newer_prices_is_heeded(
    sales: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-ADM-05: the pass was slow; what it sells, it sells as of the newer prices, and then sales are paused"""
    monkeypatch.setattr(candidates, "SALES", sales)
    crash()
    put(groups(2))
    pause(NOON + 2 * SECOND)
    crash(NOON + 4 * SECOND, btc="39900")

    sweep.drain()

    assert not Liquidation.objects.exists()
    assert not Candidate.objects.exists()


@in_both_ways
@pytest.mark.django_db
def test_a_pause_of_one_group_keeps_no_other_one_waiting(sales: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """R-ADM-05, R-GEN-23"""
    monkeypatch.setattr(candidates, "SALES", sales)
    least, paused, most = groups(3)
    crash()
    put([least, paused, most])
    pause(NOON, group=paused)

    sweep.drain()

    assert in_order() == keys([most, least])
    assert joint_sales() == ([] if sales == ALONE else [2])


@in_both_ways
@pytest.mark.django_db
def test_the_tick_of_a_coin_of_another_group_does_not_age_my_prices(
    sales: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """R-GEN-22: one on BTC, whose price is just fresh; a newer price of ETH concerns only the other"""
    monkeypatch.setattr(candidates, "SALES", sales)
    [on_btc] = groups(1)
    build.ratios("ETH")
    owner = build.customer()
    account = build.account(owner)
    build.deposit(account, "ETH", "500", at=LONG_AGO)
    build.fund_pool("USDT", "1010000")
    on_eth = build.group(build.master(owner), [account], ["ETH"])
    build.debt(on_eth, amount="1010000", rate="0")
    build.price("BTC", "40000", at=NOON - 55 * SECOND)
    build.prices(NOON - 2 * SECOND, ETH="2000", USDT="1")
    put([on_btc, on_eth])
    build.price("ETH", "1990", at=NOON + 20 * SECOND)

    sweep.drain()

    sold_at = dict(Liquidation.objects.values_list("group", "started_at"))
    assert sold_at[on_btc.pk] == NOON
    assert set(sold_at) == {on_btc.pk, on_eth.pk}


# --- The order of danger ------------------------------------------------------------------------------------


def has_a_paced_coin(group: CollateralGroup) -> None:
    """ETH, of which more may be sold within a minute than there is: asked all the same, so it is sold by itself."""
    build.ratios("ETH")
    with acting(BUILDER):
        GroupCoin.objects.create(group=group, asset_id="ETH", since=LONG_AGO)
        PaceLimit.objects.create(asset_id="ETH", effective_at=LONG_AGO, most_usd=10**9, span_seconds=60)


@pytest.mark.django_db
def test_all_that_one_claim_takes_is_sold_in_one_transaction_in_the_order_of_danger() -> None:
    """R-GEN-23: the keys of the groups are the other way round"""
    found = groups(TOGETHER)
    crash()
    put(found)

    done = sweep.drain(until=Claims(1))

    assert [outcome.liquidation_id is not None for outcome in done.outcomes] == [True] * TOGETHER
    assert in_order() == keys(found[::-1])
    assert joint_sales() == [TOGETHER]


@pytest.mark.django_db
def test_the_most_dangerous_comes_first_although_its_coin_has_a_pace() -> None:
    """R-GEN-23, R-FTR-22: it has to be sold by itself, and those after it wait for it"""
    found = groups(4)
    has_a_paced_coin(found[-1])
    crash()
    build.price("ETH", "2000")
    put(found)

    sweep.drain()

    assert in_order() == keys(found[::-1])
    assert joint_sales() == [3]


@pytest.mark.django_db
def test_one_in_the_middle_that_is_sold_by_itself_parts_those_around_it() -> None:
    """R-GEN-23, R-FTR-22: nobody less dangerous is sold before it"""
    found = groups(5)
    has_a_paced_coin(found[2])
    crash()
    build.price("ETH", "2000")
    put(found)

    sweep.drain()

    assert in_order() == keys(found[::-1])
    assert joint_sales() == [2, 2]


@pytest.mark.django_db
def test_the_most_dangerous_comes_first_although_it_goes_in_steps() -> None:
    """R-GEN-23, R-GEN-70: between its lines, where all others are sold whole"""
    found = groups(4)
    goes_in_steps(found[-1])
    crash(NOON - 10 * SECOND, btc="43500")
    sweep.sweep(at=NOON - 10 * SECOND)
    crash(btc="43400")

    sweep.sweep(at=NOON)

    assert in_order() == keys(found[::-1])
    assert Liquidation.objects.get(group=found[-1]).status == Liquidation.Status.RUNNING
    assert joint_sales() == [3]


@pytest.mark.django_db
def test_a_pass_with_time_for_one_claim_sells_the_most_dangerous() -> None:
    """R-GEN-23: pass after pass out of time, and it goes in steps; it is not put off for what is sold faster"""
    found = groups(candidates.SALES + 2)
    goes_in_steps(found[-1])
    crash(NOON - 10 * SECOND, btc="43500")
    sweep.sweep(at=NOON - 10 * SECOND)
    crash(btc="43400")
    sweep.sweep(at=NOON, seconds=0)

    sweep.drain(until=Claims(1))

    assert in_order() == [found[-1].pk]


# --- Failures -----------------------------------------------------------------------------------------------


def refuse_sales(database: Database, condition: str, *, code: str, when: str = "") -> None:
    """From now on PostgreSQL refuses a new liquidation with this SQLSTATE where the condition holds."""
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        owner.execute("CREATE SEQUENCE tries")
        owner.execute(
            f"""CREATE FUNCTION trip() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
            BEGIN
                IF {condition} THEN RAISE EXCEPTION 'tripped' USING ERRCODE = '{code}'; END IF;
                RETURN NULL;
            END $$"""
        )
        owner.execute(
            f"CREATE CONSTRAINT TRIGGER trip AFTER INSERT ON risk_liquidation {when}"
            " FOR EACH ROW EXECUTE FUNCTION trip()"
        )


@pytest.mark.parametrize("when", ["NOT DEFERRABLE", "DEFERRABLE INITIALLY DEFERRED"])
def test_a_poisoned_group_stops_nobody(committed_db: Database, when: str) -> None:
    """R-GEN-23, TRUST E1: refused when it is written, or only when all is committed; pass after pass"""
    found = groups(10)
    bad = found[4]
    crash()
    refuse_sales(committed_db, f"NEW.group_id = {bad.pk}", code="23514", when=when)

    first, second = sweep.sweep(at=NOON), sweep.sweep(at=NOON + 5 * SECOND)

    assert (first.liquidated, first.failed) == (9, (bad.pk,))
    assert (second.liquidated, second.failed) == (0, (bad.pk,))
    assert sorted(in_order()) == sorted(group.pk for group in found if group != bad)
    assert not Candidate.objects.exists()


def test_some_that_meet_the_locks_of_others_are_tried_again_together(committed_db: Database) -> None:
    """R-GEN-04, R-GEN-23: a deadlock is nobody's failure, and sets nobody apart"""
    found = groups(4)
    crash()
    put(found)
    refuse_sales(committed_db, "nextval('tries') = 3", code="40P01")

    done = sweep.drain()

    assert (done.collisions, done.failed, len(done.outcomes)) == (1, [], 4)
    assert in_order() == keys(found[::-1])
    assert joint_sales() == [4]


# --- What it costs ------------------------------------------------------------------------------------------


@pytest.mark.django_db
def test_eight_are_sold_in_as_many_statements_as_two() -> None:
    """R-GEN-23: a crash brings thousands over a line at once"""
    counts: list[int] = []
    crash()
    for count in (2, 2, 8):  # the first ones of all learn what stays known
        put(groups(count))
        with CaptureQueriesContext(connection) as asked:
            assert len(sweep.drain().outcomes) == count
        counts.append(len(asked))
    assert counts[1] == counts[2]
    assert joint_sales() == [2, 2, 8]
