"""R-GEN-94, R-GEN-40: an LTV taken apart adds up to the LTV, at any moment, from rows alone."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from accounts import ledger
from accounts.models import LedgerAccount
from accounts.money import ZERO
from risk import book, explained, gate, parameters, past, valuation
from risk.explained import Explained, Silence
from risk.models import CollateralGroup
from risk.valuation import Tier
from tests import build
from tests.build import BUILDER, LONG_AGO, TEN
from tests.loans import desk as desks
from tests.loans.desk import Desk
from tests.risk.test_past_random import STEPS, World

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def desk(db: None) -> Desk:
    return desks.set_up()


def adds_up(found: Explained) -> None:
    """Every total is the sum of its rows; every row is a sum of rows of the ledger."""
    worth, at = found.worth, found.state.at
    assert sum((coin.counted for coin in found.coins), ZERO) == worth.collateral
    assert sum((coin.market for coin in found.coins), ZERO) == worth.market
    if found.point.is_known:
        assert sum((one.usd for one in found.debts if one.usd is not None), ZERO) == worth.debt
        assert found.point.ltv == worth.ltv
    for coin in found.coins:
        assert coin.amount == sum((pile.balance for pile in coin.piles), ZERO)
        for pile in coin.piles:
            moves = explained.moves_of(pile.wallet, until=at)
            assert sum((move.change for move in moves), ZERO) == pile.balance == moves[0].balance
        if coin.silence is None:
            assert coin.schedule is not None
            tiers = coin.schedule.tiers.order_by("floor").values_list("floor", "ratio")
            assert tuple(Tier(*row) for row in tiers) == found.state.terms[coin.asset.pk].tiers
            assert sum((one.value for one in coin.slices), ZERO) == coin.market
    for one in found.debts:
        entries = explained.entries_of(one.owed.debt.pk, until=at)
        assert sum((row.change for row in entries), ZERO) == one.booked.total == entries[0].total
        assert one.booked.total + one.pending.total == one.owed.parts.total
    for priced in found.prices:
        assert (priced.row.price, priced.row.observed_at) == (priced.quote.price, priced.quote.observed_at)
        assert priced.row.status == "good"
        assert priced.row.observed_at <= at


@pytest.mark.timeout(900)
@settings(max_examples=8, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(steps=st.lists(STEPS, min_size=5, max_size=10))
def test_at_any_moment_of_any_history_the_rows_add_up_to_what_the_engine_said(
    steps: list[tuple[Any, ...]],
) -> None:
    """R-GEN-94, R-GEN-30…35: written down when it was now, explained from the end."""
    with transaction.atomic():
        world = World()
        written: dict[datetime, valuation.Worth] = {}
        for step in steps:
            world.do(*step)
            group = CollateralGroup.objects.get(pk=world.group.pk)
            written[world.now] = book.state_of(group, at=world.now).worth(permission=False)
        for at, state in zip(sorted(written), past.states(world.group, instants=written), strict=True):
            found = explained.explain(world.group, at=at)
            assert found.worth == written[at] == state.worth(permission=False)
            assert found.point == past.point_of(state)
            assert found.state.lines == state.lines
            adds_up(found)
        transaction.set_rollback(True)


def test_of_now_it_is_the_live_ltv_with_pending_interest(desk: Desk) -> None:
    """R-GEN-40: 1,000,000 USDT at 8.4 % for three days, 230.136987 a day rounded up; nothing was booked yet."""
    group = desks.drawn(desk).group
    now = TEN + 3 * DAY
    desks.quote(now, BTC="55000")

    found = explained.explain(group, at=now)

    assert found.worth == book.state_of(group, at=now).worth(permission=False)
    [one] = found.debts
    assert (one.booked.interest, one.pending.interest) == (ZERO, one.owed.parts.interest)
    assert one.pending.interest > 0
    assert found.point.ltv == valuation.Worth(1_000_000 + one.pending.interest, Decimal(1_375_000), ZERO).ltv
    adds_up(found)


def test_each_tier_shows_its_slice(desk: Desk) -> None:
    """R-GEN-30, R-GEN-31, EX-03: 25 BTC at 60,000 are 1,500,000: 1 m in full, the rest at 80 %."""
    group = desks.drawn(desk).group
    build.ratios("BTC", ("0", "1"), ("1000000", "0.8"), at=TEN + HOUR)

    before = explained.explain(group, at=TEN + HOUR - timedelta(seconds=1)).coins[0]
    [coin] = explained.explain(group, at=TEN + HOUR).counted

    assert [(one.value, one.ratio, one.counted) for one in coin.slices] == [
        (Decimal(1_000_000), Decimal(1), Decimal(1_000_000)),
        (Decimal(500_000), Decimal("0.8"), Decimal(400_000)),
    ]
    assert (coin.market, coin.counted) == (Decimal(1_500_000), Decimal(1_400_000))
    assert coin.schedule is not None
    assert before.schedule is not None
    assert (before.schedule.effective_at, coin.schedule.effective_at) == (LONG_AGO, TEN + HOUR)
    assert before.counted == Decimal(1_500_000)


def test_what_counted_nothing_says_why(desk: Desk) -> None:
    """R-GEN-33, R-GEN-34: a coin that nobody chose lies in the wallet and is no part of the sum."""
    build.asset("ETH")
    build.ratios("ETH")
    build.price("ETH", "3000", at=TEN)
    group = desks.drawn(desk).group
    gate.deposit(account_uid=desk.sub.pk, asset="ETH", amount=Decimal(7), actor=BUILDER, at=TEN + HOUR)

    found = explained.explain(group, at=TEN + HOUR)

    [silent] = found.silent
    assert (silent.asset.pk, silent.amount, silent.counted) == ("ETH", Decimal(7), ZERO)
    assert silent.silence is Silence.NOT_CHOSEN
    assert found.worth.collateral == Decimal(1_500_000)


def test_a_stale_price_is_told_with_its_observation(desk: Desk) -> None:
    """R-GEN-22: the last good price stays in the LTV that is told, and permissions see no collateral."""
    group = desks.drawn(desk).group
    later = TEN + HOUR
    build.price("USDT", "1", at=later)

    found = explained.explain(group, at=later)

    assert found.state.stale_coins == ["BTC"]
    assert found.worth.collateral == Decimal(1_500_000)
    assert found.state.worth().collateral == ZERO
    assert {one.quote.asset: str(one.quote.state) for one in found.prices} == {
        "BTC": "stale",
        "USDT": "fresh",
    }
    assert next(one for one in found.prices if one.quote.asset == "BTC").row.observed_at == TEN


def test_the_lines_name_the_rows_they_came_from(desk: Desk) -> None:
    """R-GEN-42: signed for the group, else the client's own, else each coin's; never a row of somebody else."""
    group = desks.drawn(desk).group
    later = TEN + HOUR
    build.limits("0.5", "0.6", "0.7", "0.8", customer=build.customer(), at=TEN)
    own = build.limits("0.6", "0.65", "0.8", "0.9", customer=desk.owner, at=later)
    of_coin = build.limits("0.7", "0.75", "0.9", "0.95", asset=build.asset("USDT"), at=TEN)

    found = explained.explain(group, at=later)
    [row] = found.limits
    assert (row.group_id, row.initial) == (group.pk, found.state.lines.initial) == (group.pk, Decimal("0.72"))
    unsigned = CollateralGroup(product=group.product, customer=desk.owner)
    assert parameters.limits_behind(unsigned, at=later, owed=["USDT"]) == [own]
    assert parameters.limits_behind(unsigned, at=TEN, owed=["USDT"]) == [of_coin]
    both = parameters.limits_behind(unsigned, at=TEN, owed=["USDT", "BTC"])
    assert {one.asset_id for one in both} == {"USDT", None}


def test_events_near_a_moment_are_the_nearest_of_each_side(desk: Desk) -> None:
    group = desks.drawn(desk).group

    earlier, later = explained.near(group, at=TEN - timedelta(seconds=1))
    assert (earlier, later != []) == ([], True)
    earlier, later = explained.near(group, at=TEN)
    assert ("opened" in {event.kind for event in earlier}, later) == (True, [])


@settings(max_examples=200)
@given(
    value=st.decimals("0", "10000000", places=6),
    cuts=st.lists(st.integers(1, 9_000_000), unique=True, max_size=4),
    ratios=st.lists(st.decimals("0", "1", places=4), min_size=5, max_size=5),
)
def test_slices_are_the_recognised_value_and_the_market_value(
    value: Decimal, cuts: list[int], ratios: list[Decimal]
) -> None:
    """R-GEN-30, R-GEN-31."""
    floors = [ZERO, *(Decimal(cut) for cut in sorted(cuts))]
    tiers = tuple(Tier(floor, ratio) for floor, ratio in zip(floors, ratios, strict=False))

    parts = valuation.slices(market_value=value, tiers=tiers)

    assert sum((one.counted for one in parts), ZERO) == valuation.recognised(market_value=value, tiers=tiers)
    assert sum((one.value for one in parts), ZERO) == value


def test_rows_after_the_moment_are_left_out(desk: Desk) -> None:
    """R-GEN-94: the balance of then, though more came later."""
    group = desks.drawn(desk).group
    gate.deposit(account_uid=desk.sub.pk, asset="BTC", amount=Decimal(5), actor=BUILDER, at=TEN + HOUR)
    wallet = LedgerAccount.objects.get(account=desk.sub, kind="spot", asset="BTC")

    assert [move.balance for move in explained.moves_of(wallet, until=TEN)] == [Decimal(25)]
    assert [move.change for move in explained.moves_of(wallet, until=TEN + HOUR)] == [Decimal(5), Decimal(25)]
    assert explained.explain(group, at=TEN).counted[0].amount == Decimal(25)
    assert ledger.problems() == []
