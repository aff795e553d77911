"""What one look at a group means: the boundaries of calls, confirmations, blindness and graces."""

from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.levels import Band, Lines
from risk.readings import Bounds, Clocks, Reading, Waits, bounds, read
from risk.valuation import Holding, Owed, Tier, Worth
from tests import build

D = Decimal
NOON = build.NOON
LINES = Lines(D("0.72"), D("0.77"), D("0.91"), D("0.95"), D("0.02"))
WAITS = Waits(confirm=5, outage=600, outage_grace=1800)
FULL = (Tier(D(0), D(1)),)


def worth(ltv: str) -> Worth:
    return Worth(debt=D(ltv) * 100, collateral=D(100), market=D(100))


def look(
    ltv: str,
    *,
    after: float = 0,
    fresh: bool = True,
    best: str = "",
    newest: float | None = None,
    **clocks: object,
) -> Reading:
    """A reading `after` seconds past noon; `best` differs from the worst when some prices are old.

    `newest`: how many seconds past noon the newest price is from; from that very instant unless said.
    """
    return read(
        seen=Bounds(worst=worth(ltv), best=worth(best or ltv)),
        debts_fresh=fresh,
        newest_price_at=NOON + timedelta(seconds=after if newest is None else newest),
        lines=LINES,
        clocks=Clocks(**clocks),  # type: ignore[arg-type]
        waits=WAITS,
        at=NOON + timedelta(seconds=after),
    )


@pytest.mark.parametrize(
    ("ltv", "band"),
    [
        ("0", Band.SAFE),
        ("0.7199999999", Band.SAFE),
        ("0.72", Band.WATCH),
        ("0.7699999999", Band.WATCH),
        ("0.77", Band.CALL),
        ("0.9099999999", Band.CALL),
        ("0.91", Band.LIQ),
    ],
)
def test_a_line_is_reached_at_it(ltv: str, band: Band) -> None:
    """R-GEN-41, R-GEN-44"""
    assert look(ltv) == Reading(band=band, clocks=Clocks(breach_seen_at=NOON if band == Band.LIQ else None))


@pytest.mark.parametrize(("after", "sells"), [(0, False), (4.999999, False), (5, True), (60, True)])
def test_a_breach_must_still_hold_when_it_was_seen_long_enough_ago(after: float, sells: bool) -> None:
    """R-GEN-23"""
    reading = look("0.91", after=after, breach_seen_at=NOON)
    assert (reading.must_liquidate, reading.clocks.breach_seen_at) == (sells, NOON)


def test_one_reading_below_the_line_starts_the_wait_anew() -> None:
    """R-GEN-23"""
    assert look("0.9099999999", after=5, breach_seen_at=NOON).clocks.breach_seen_at is None


@pytest.mark.parametrize(("ltv", "at_once"), [("0.95", False), ("0.9500000001", True), ("2", True)])
def test_above_the_cutoff_and_not_at_it_one_reading_is_enough(ltv: str, at_once: bool) -> None:
    """R-GEN-23, R-GEN-41"""
    assert look(ltv).must_liquidate is at_once


@pytest.mark.parametrize(("after", "sells"), [(1799.999999, False), (1800, True)])
def test_a_grace_holds_until_its_last_moment(after: float, sells: bool) -> None:
    """R-GEN-24"""
    until = NOON + timedelta(seconds=1800)
    assert look("0.94", after=after, breach_seen_at=NOON, grace_until=until).must_liquidate is sells
    assert look("0.9500000001", after=after, grace_until=until).must_liquidate  # the cut-off ignores it


@pytest.mark.parametrize(("newest", "sells"), [(-30, False), (0, False), (0.001, True), (60, True)])
def test_one_tick_read_twice_is_one_reading(newest: float, sells: bool) -> None:
    """R-GEN-23: a wrong tick must not liquidate because the feed paused behind it; the cut-off needs one only"""
    assert look("0.94", after=60, newest=newest, breach_seen_at=NOON).must_liquidate is sells
    assert look("0.9500000001", after=60, newest=newest, breach_seen_at=NOON).must_liquidate


def test_an_old_debt_price_blinds_whatever_the_figures_say() -> None:
    """R-GEN-22: and a breach seen before is forgotten"""
    reading = look("3", after=60, fresh=False, breach_seen_at=NOON)
    assert reading == Reading(band=None, clocks=Clocks(blind_since=NOON + timedelta(seconds=60)))


@pytest.mark.parametrize(
    ("worst", "best", "sees"),
    [
        ("0.99", "0.91", Band.LIQ),  # over the line even at twice its price: it may be passed over
        ("0.99", "0.9099999999", None),
        ("0.80", "0.78", Band.CALL),
        ("0.80", "0.70", None),
        ("0.70", "0.10", Band.SAFE),
    ],
)
def test_an_old_collateral_price_blinds_only_when_it_decides_the_band(
    worst: str, best: str, sees: Band
) -> None:
    """R-GEN-22"""
    assert look(worst, best=best).band == sees


def test_at_once_needs_the_cutoff_even_at_twice_the_old_price() -> None:
    """R-GEN-22, R-GEN-23"""
    assert not look("2", best="0.95").must_liquidate
    assert look("2", best="0.9500000001").must_liquidate


@pytest.mark.parametrize(("blind_for", "grace"), [(600, None), (600.000001, 1800), (3600, 1800)])
def test_only_a_blindness_longer_than_the_outage_wait_gives_a_grace(
    blind_for: float, grace: int | None
) -> None:
    """R-GEN-24"""
    reading = look("0.92", after=blind_for, blind_since=NOON)
    until = None if grace is None else NOON + timedelta(seconds=blind_for + grace)
    assert reading.clocks == Clocks(breach_seen_at=NOON + timedelta(seconds=blind_for), grace_until=until)
    assert not reading.must_liquidate


def test_a_longer_grace_is_not_cut_short_and_blindness_keeps_its_start() -> None:
    """R-GEN-24"""
    far = NOON + timedelta(days=1)
    assert look("0.92", after=700, blind_since=NOON, grace_until=far).clocks.grace_until == far
    assert look("0.92", after=9, fresh=False, blind_since=NOON).clocks.blind_since == NOON


def held(asset: str, amount: str, price: str) -> Holding:
    return Holding(asset, D(amount), D(price), FULL, 8)


def test_the_bounds_are_nothing_and_twice_the_last_price() -> None:
    """R-GEN-22"""
    debts = [Owed("USDT", D(91), D(1))]
    seen = bounds(holdings=[held("BTC", "1", "80"), held("ETH", "1", "10")], debts=debts, stale=["ETH"])
    assert (seen.worst.collateral, seen.best and seen.best.collateral) == (D(80), D(100))


def test_a_coin_that_never_had_a_price_may_be_worth_anything() -> None:
    """R-GEN-22: so over the call line nothing is known, below the initial line nothing need be"""
    for owed, sees in (("91", None), ("50", Band.SAFE)):
        seen = bounds(holdings=[held("BTC", "1", "80")], debts=[Owed("USDT", D(owed), D(1))], stale=["NEW"])
        reading = read(
            seen=seen,
            debts_fresh=True,
            newest_price_at=NOON,
            lines=LINES,
            clocks=Clocks(),
            waits=WAITS,
            at=NOON,
        )
        assert (seen.best, reading.band) == (None, sees)


ltvs = st.decimals("0", "2", places=4, allow_nan=False)
seconds = st.integers(-1000, 10_000)


@given(worst=ltvs, best=ltvs, fresh=st.booleans(), breach=seconds, grace=seconds, blind=st.none() | seconds)
def test_nothing_is_sold_that_is_not_surely_over_the_line(
    worst: Decimal, best: Decimal, fresh: bool, breach: int, grace: int, blind: int | None
) -> None:
    """R-GEN-22, R-GEN-23, R-GEN-24, R-GEN-41: in one sentence each"""
    best, worst = sorted([worst, best])
    clocks = Clocks(
        breach_seen_at=NOON - timedelta(seconds=breach),
        blind_since=None if blind is None else NOON - timedelta(seconds=blind),
        grace_until=NOON + timedelta(seconds=grace),
    )
    seen = Bounds(worst=worth(str(worst)), best=worth(str(best)))
    reading = read(
        seen=seen, debts_fresh=fresh, newest_price_at=NOON, lines=LINES, clocks=clocks, waits=WAITS, at=NOON
    )
    sure = fresh and best >= D("0.91")
    confirmed = breach >= 5 and grace <= 0 and (blind is None or blind <= 600)
    assert reading.must_liquidate == (sure and (best > D("0.95") or confirmed))
