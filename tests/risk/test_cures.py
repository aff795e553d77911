"""R-FTR-02: the cheapest cure of a real group, from what its borrower has elsewhere, and what doing it does."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import transaction
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from accounts.money import unit
from loans.models import Loan
from loans.vip import repayment
from risk import book, cures, freezes, gate
from risk.cure import Goal, Kind, Step
from risk.cures import Advice, Option
from risk.models import CollateralGroup, Freeze
from risk.valuation import Worth
from tests import build
from tests.build import BUILDER, TEN
from tests.loans import desk
from tests.loans.desk import Desk

D = Decimal
LATER = TEN + timedelta(seconds=10)
NOTHING = D(0)
CALL, INITIAL = Goal(D("0.77"), strictly_below=True), Goal(D("0.72"))

pytestmark = pytest.mark.django_db


@pytest.fixture
def market() -> Desk:
    """1,000,000 USDT against 20 BTC, 100 ETH that count half, and a fresh price of each."""
    build.asset("ETH", places=6)
    build.ratios("ETH", ("0", "0.5"))
    build.price("ETH", "3000", at=TEN)
    made = desk.set_up(btc="20")
    build.fund_pool("BTC", "1000")
    build.fund_pool("ETH", "100000")
    build.deposit(made.sub, "ETH", "1000", at=TEN)
    return made


def borrowed(market: Desk, amount: str = "1000000") -> CollateralGroup:
    return desk.drawn(market, amount, coins=("BTC", "ETH", "USDT")).group


def quote(btc: str = "60000", eth: str = "3000") -> None:
    build.prices(at=LATER, BTC=btc, ETH=eth, USDT="1")


def advice(group: CollateralGroup, goal: Goal) -> Advice:
    state = book.state_of(group, at=LATER)
    return cures.advise(state, cures.means_of(state, at=LATER), goal=goal, at=LATER)


def do(market: Desk, option: Option, *, less: Decimal = NOTHING) -> None:
    """By the command that the link leads to."""
    step, by = option.step, {"actor": market.borrower, "at": LATER}
    if step.kind is Kind.REPAY:
        loan = Loan.objects.get(debt=step.loan)
        repayment.repay(loan_id=loan.pk, amount=step.amount - less, **by)
    elif step.kind is Kind.SWAP:
        assert option.account is not None
        gate.trade(account_uid=option.account, sell=step.asset, amount=step.amount - less, buy=step.buy, **by)
    else:
        assert option.source is not None
        assert option.account is not None
        gate.transfer(
            source_uid=option.source.uid,
            source_wallet=option.source.wallet,
            target_uid=option.account,
            target_wallet="spot",
            asset=step.asset,
            amount=step.amount - less,
            **by,
        )


def worth(group: CollateralGroup) -> Worth:
    return book.state_of(group, at=LATER).worth(permission=False)


@contextmanager
def undone() -> Iterator[None]:
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def test_the_cheapest_is_what_can_be_paid_from_the_receiver(market: Desk) -> None:
    """R-FTR-02: 20 x 36,000 + 1,000 x 1,500 = 870,000… the loan itself lies in the receiver's Spot"""
    group = borrowed(market)
    quote(btc="36000", eth="1000")  # 720,000 + 500,000 = 1,220,000: LTV 81.97 %
    found = advice(group, INITIAL)
    assert found.cheapest is not None
    assert (found.cheapest.step.kind, found.cheapest.step.amount) == (Kind.REPAY, D(121_600))
    assert found.cheapest.is_possible


def test_without_coins_of_the_loan_the_cheapest_is_to_add(market: Desk) -> None:
    """R-FTR-02: 0.1689 m missing; BTC counts in full, ETH half; what is there is in Funding"""
    group = borrowed(market)
    desk.spend(market, "1000000")
    quote(btc="36000", eth="1000")
    build.deposit(market.master, "BTC", "5", wallet="funding", at=LATER)
    build.deposit(market.master, "ETH", "900", at=LATER)
    found = advice(group, INITIAL)
    assert found.cheapest is not None
    step = found.cheapest.step
    assert (step.kind, step.asset, step.amount) == (Kind.ADD, "BTC", D("4.69135803"))  # 168,888.89 / 36,000
    assert found.cheapest.source is not None
    assert (found.cheapest.source.uid, found.cheapest.source.wallet) == (market.master.pk, "funding")
    refused = [option for option in found.options if option.step.kind is Kind.REPAY]
    assert [option.why_not for option in refused] == ["Spot and Fiat of the receiving account hold 0 USDT."]


def test_with_nothing_outside_a_swap_is_left(market: Desk) -> None:
    """R-FTR-02: 168,888.89 is missing; of ETH, which counts half, twice that changes sides: 337.777778 at 1,000"""
    group = borrowed(market)
    desk.spend(market, "1000000")
    quote(btc="36000", eth="1000")
    found = advice(group, INITIAL)
    assert found.cheapest is not None
    step = found.cheapest.step
    assert (step.kind, step.asset, step.amount) == (Kind.SWAP, "ETH", D("337.777778"))
    assert found.cheapest.account == market.sub.pk
    do(market, found.cheapest)
    assert INITIAL.is_reached(worth(group))


def test_at_liquidation_nothing_is_swapped_and_the_least_of_all_is_named(market: Desk) -> None:
    """R-FTR-02, R-VIP-52: nothing outside, no trade any more: what would be enough is said all the same"""
    group = borrowed(market)
    desk.spend(market, "1000000")
    quote(btc="30000", eth="900")  # 1,050,000 : 95.2 %
    found = advice(group, INITIAL)
    assert found.cheapest is not None
    assert not found.cheapest.is_possible
    assert found.cheapest.step.kind is Kind.REPAY
    assert all(option.step.kind is not Kind.SWAP for option in found.options)
    assert (found.together, found.is_enough) == ((), False)


def test_where_no_single_step_is_enough_several_are(market: Desk) -> None:
    """R-FTR-02: 100,000 USDT and 1 BTC; the rest by a swap"""
    group = borrowed(market)
    desk.spend(market, "900000")
    quote(btc="36000", eth="1000")
    build.deposit(market.master, "BTC", "0.5", at=LATER)
    found = advice(group, Goal(D("0.5")))
    assert found.cheapest is not None
    assert not found.cheapest.is_possible
    assert [option.step.kind for option in found.together] == [Kind.REPAY, Kind.ADD, Kind.SWAP]
    assert [option.step.amount for option in found.together[:2]] == [D(100_000), D("0.5")]
    for option in found.together:
        do(market, option)
    assert found.is_enough is Goal(D("0.5")).is_reached(worth(group))


def test_a_frozen_account_gives_nothing_and_closed_repayments_are_not_advised(market: Desk) -> None:
    """R-FTR-02, R-ADM-04: the next best is named, with why the better ones cannot be"""
    group = borrowed(market)
    quote(btc="36000", eth="1000")
    freezes.place(
        what=Freeze.What.REPAY,
        reason="Maintenance",
        ends_at=LATER + timedelta(hours=1),
        asset="USDT",
        actor=BUILDER,
        at=LATER,
    )
    freezes.place(
        what=Freeze.What.FULL,
        reason="Dispute",
        ends_at=LATER + timedelta(hours=1),
        account_uid=market.master.pk,
        actor=BUILDER,
        at=LATER,
    )
    found = advice(group, INITIAL)
    assert found.cheapest is not None
    assert found.cheapest.step.kind is Kind.SWAP
    why = {(option.step.kind, option.step.asset): option.why_not for option in found.options}
    assert "takes no repayments in USDT" in why[Kind.REPAY, "USDT"]
    assert "Dispute" in why[Kind.ADD, "USDT"]


def test_coins_that_secure_another_group_are_left_there(market: Desk) -> None:
    """R-FTR-02, R-FTR-04: only what that group's own LTV lets out counts as outside"""
    group = borrowed(market)
    other = build.account(market.owner)
    build.deposit(other, "BTC", "10", at=TEN)
    receiver = build.account(market.owner)
    neighbour = build.group(receiver, [other], ["BTC"])
    build.debt(neighbour, amount="300000", rate="0", at=TEN)
    quote(btc="45000", eth="1000")
    state = book.state_of(group, at=LATER)
    [pile] = [pile for pile in cures.means_of(state, at=LATER).piles if pile.uid == other.pk]
    assert pile.amount == gate.most_withdrawable(account_uid=other.pk, asset="BTC", at=LATER)
    assert 0 < pile.amount < 4


def test_a_group_within_its_goal_needs_nothing(market: Desk) -> None:
    """R-FTR-02"""
    found = advice(borrowed(market), INITIAL) if not quote() else None
    assert found is not None
    assert (found.options, found.cheapest, found.together) == ((), None, ())


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    btc=st.integers(20_000, 60_000),
    eth=st.integers(500, 3_000),
    target=st.integers(300, 770).map(lambda permille: D(permille) / 1000),
    below=st.booleans(),
    spot=st.integers(0, 1_000_000),
    funding=st.integers(0, 20),
)
def test_the_cheapest_cure_lands_on_its_target_and_a_unit_less_does_not(
    market: Desk, btc: int, eth: int, target: Decimal, below: bool, spot: int, funding: int
) -> None:
    """R-FTR-02: done for real by the ordinary commands; no other single step that can be done moves less"""
    goal = Goal(target, below)
    with undone():
        group = borrowed(market)
        desk.spend(market, str(1_000_000 - spot)) if spot < 1_000_000 else None
        if funding:
            build.deposit(market.master, "BTC", str(funding), wallet="funding", at=TEN)
        quote(str(btc), str(eth))
        assume(not goal.is_reached(worth(group)))
        found = advice(group, goal)
        best = found.cheapest
        event(
            "nothing"
            if best is None
            else f"{best.step.kind}, {'can' if best.is_possible else 'cannot'} be done"
        )
        if best is None or not best.is_possible:
            assert all(not option.is_possible for option in found.options)
            return
        assert best.step.usd == min(option.step.usd for option in found.options if option.is_possible)
        assert_lands(market, group, goal, best)


def assert_lands(market: Desk, group: CollateralGroup, goal: Goal, best: Option) -> None:
    step: Step = best.step
    one = unit({"BTC": 8, "ETH": 6, "USDT": 8}[step.asset])
    closes = step.kind is Kind.REPAY and step.after.debt == 0
    if step.amount > one and not closes:
        with undone():
            do(market, best, less=one)
            assert not goal.is_reached(worth(group))
    do(market, best)
    group.refresh_from_db()
    if group.closed_at is None:
        assert goal.is_reached(worth(group))
        assert replace(worth(group), market=D(0)) == replace(step.after, market=D(0))
