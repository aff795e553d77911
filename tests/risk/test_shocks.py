"""Scenarios as factors on today's prices: how they are read, and what each coin does in them. R-FTR-27"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk import shocks
from risk.shocks import KNOWN_DAYS, BadShock, Path

D = Decimal
START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
KINDS = {"BTC": "crypto", "ETH": "crypto", "SOL": "crypto", "USDT": "stable", "EUR": "fiat"}


def test_a_joint_shock_at_once() -> None:
    """R-FTR-27: named coins move as said, others by the common move, pegged coins and currencies stay"""
    path = shocks.joint(
        dict([shocks.read_move("BTC=-40%"), shocks.read_move("ETH=-50%")]), others=shocks.read_percent("-30%")
    )

    assert path.title == "BTC -40 %, ETH -50 %, every other coin -30 %, at once"
    assert shocks.spread(path, kinds=KINDS, follow={}) == {
        "BTC": (D("0.6"),),
        "ETH": (D("0.5"),),
        "SOL": (D("0.7"),),
        "USDT": (D(1),),
        "EUR": (D(1),),
    }


def test_a_shock_in_steps_arrives_at_its_end() -> None:
    """R-FTR-27: three equal parts; factors keep 12 decimals, rounded down"""
    path = shocks.joint({"BTC": D("-0.4")}, steps=3)

    assert path.columns["BTC"] == (D("0.866666666666"), D("0.733333333333"), D("0.6"))
    assert path.rest == (D(1),) * 3


@pytest.mark.parametrize(
    "text", ["BTC", "BTC=40", "BTC=-100%", "btc=-4%", "BTC=-4 percent", "BTC=9901%", "=-4%"]
)
def test_what_is_no_shock_is_refused(text: str) -> None:
    """R-FTR-27"""
    with pytest.raises(BadShock) as refused:
        shocks.read_move(text)
    assert refused.value.code == "bad_shock"


def test_a_scenario_in_which_nothing_moves_is_refused() -> None:
    """R-FTR-27"""
    with pytest.raises(BadShock):
        shocks.joint({})
    with pytest.raises(BadShock):
        shocks.joint({"BTC": D("-0.1")}, steps=0)
    with pytest.raises(BadShock):
        Path(title="uneven", columns={"BTC": (D(1),), "ETH": (D(1), D(1))})


def test_a_recorded_market_moves_each_coin_from_its_own_first_price() -> None:
    """R-FTR-27: the last known price stands; before its first price a coin has not moved"""
    closes = [
        (START, "BTC", D(50_000)),
        (START + MINUTE, "BTC", D(40_000)),
        (START + MINUTE, "ETH", D(3)),
        (START + 2 * MINUTE, "ETH", D(1)),
    ]

    path = shocks.recorded(closes, title="two coins")

    assert path.columns == {
        "BTC": (D(1), D("0.8"), D("0.8")),
        "ETH": (D(1), D(1), D("0.333333333333")),
    }


def test_a_small_file_becomes_no_huge_scenario() -> None:
    """R-FTR-27: a coin of one row has a factor for every step, so coins and steps are bounded together"""
    coins = [(START, f"C{number}", D(1)) for number in range(1_000)]
    course = [(START + number * MINUTE, "BTC", D(1)) for number in range(1, 600)]
    assert shocks.recorded([*coins, *course[:400]], title="large").steps == 401
    with pytest.raises(BadShock, match="500000 for all coins"):
        shocks.recorded([*coins, *course], title="too large")
    with pytest.raises(BadShock, match="20000 steps"):
        shocks.recorded(((START + number * MINUTE, "BTC", D(1)) for number in range(20_001)), title="long")


def test_a_coin_moves_once() -> None:
    """R-FTR-27: which of two moves is meant, nobody knows"""
    assert shocks.read_moves(["BTC=-40%", "", "ETH=-50%"]) == {"BTC": D("-0.4"), "ETH": D("-0.5")}
    with pytest.raises(BadShock, match="BTC has two moves"):
        shocks.read_moves(["BTC=-40%", "BTC=-4%"])


def test_a_coin_without_a_column_follows_the_median_of_the_coins_that_are_not_pegged() -> None:
    """R-FTR-27: of BTC 0.5 and ETH 0.7; USDC's own column is its own, and no other peg's"""
    path = Path(title="", columns={"BTC": (D("0.5"),), "ETH": (D("0.7"),), "USDC": (D("0.9"),)})
    kinds = KINDS | {"USDC": "stable", "WSTETH": "crypto"}

    found = shocks.spread(path, kinds=kinds, follow={"WSTETH": "ETH"})

    assert found["SOL"] == (D("0.6"),)
    assert found["USDC"] == (D("0.9"),)
    assert found["USDT"] == found["EUR"] == (D(1),)
    assert found["WSTETH"] == (D("0.7"),)


def test_a_chosen_proxy_goes_before_the_median_and_a_circle_ends() -> None:
    """R-FTR-27"""
    path = Path(title="", columns={"BTC": (D("0.5"),)}, rest=(D("0.8"),), follow={"SOL": "BTC", "ETH": "ETH"})

    found = shocks.spread(path, kinds=KINDS, follow={})

    assert found["SOL"] == (D("0.5"),)
    assert found["ETH"] == (D("0.8"),)


@pytest.mark.parametrize("day", KNOWN_DAYS, ids=lambda day: day.key)
def test_every_known_day_is_a_fall_that_can_be_asked_for(day: shocks.KnownDay) -> None:
    """R-FTR-27"""
    path = shocks.known(day.key)

    assert path.title == day.title
    assert all(own[0] < 1 for own in path.columns.values())
    assert shocks.path_of(path.told()) == path


def test_an_unknown_day_is_refused() -> None:
    """R-FTR-27"""
    with pytest.raises(BadShock):
        shocks.known("1929-10-24")


@given(
    moves=st.dictionaries(
        st.sampled_from(["BTC", "ETH", "SOL"]),
        st.decimals("-0.999", "5", places=6, allow_nan=False),
        min_size=1,
    ),
    steps=st.integers(1, 50),
)
def test_steps_go_straight_to_the_end_and_are_stored_as_they_are(moves: dict[str, D], steps: int) -> None:
    """R-FTR-27: the last step is the whole move, no step overshoots it, and what is stored is what was asked"""
    path = shocks.joint(moves, steps=steps)

    for coin, move in moves.items():
        own = path.columns[coin]
        assert own[-1] == 1 + move
        low, high = sorted((D(1), 1 + move))
        assert all(low - D("1e-12") <= each <= high for each in own)
        assert list(own) == sorted(own, reverse=move < 0)
    assert shocks.path_of(path.told()) == path
