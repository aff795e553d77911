"""The LTV track: where things stand, and the sentence that says the same."""

from decimal import Decimal as D

import pytest
from django.test import RequestFactory
from django_cotton import render_component
from hypothesis import given
from hypothesis import strategies as st

from risk.levels import Band, Lines
from risk.pages.track import NextPrice, Track, track

LINES = Lines(D("0.72"), D("0.77"), D("0.91"), D("0.95"), D("0.02"))
SOL = NextPrice("SOL", D("146.526832451234"), D("200"))
ratios = st.decimals(0, D("1.5"), places=4)


def number(x: str) -> D:
    assert x.endswith("%")
    return D(x.removesuffix("%"))


@pytest.mark.parametrize(
    ("ltv", "x"),
    [
        ("0", "0%"),
        ("0.25", "6%"),
        ("0.5", "12%"),
        ("0.6", "29.6%"),
        ("0.72", "50.72%"),
        ("0.91", "84.16%"),
        ("1", "100%"),
    ],
)
def test_scale_squeezes_what_decides_nothing(ltv: str, x: str) -> None:
    """0 to 50 % takes 12 % of the width, the rest is linear."""
    assert track(D(ltv), LINES).now.x == x


def test_zones_and_marks_follow_the_groups_own_terms() -> None:
    """R-GEN-42: lines come from the signed terms."""
    shown = track(D("0.6"), Lines(D("0.60"), D("0.80"), D("0.90"), D("0.925"), D("0.02")))
    assert [zone.x for zone in shown.zones] == ["0%", "29.6%", "64.8%", "82.4%"]
    assert [zone.band for zone in shown.zones] == ["safe", "watch", "call", "liq"]
    assert sum(number(zone.width) for zone in shown.zones) == 100
    assert [(mark.figure, mark.word) for mark in shown.marks] == [
        ("60", "initial"),
        ("80", "call"),
        ("90", "liquidation"),
        ("92.5", "cut-off"),
    ]


@pytest.mark.parametrize(
    ("ltv", "band"),
    [
        ("0.7199", "safe"),
        ("0.72", "watch"),
        ("0.76996", "watch"),
        ("0.77", "call"),
        ("0.9099", "call"),
        ("0.91", "liq"),
        ("1.3", "liq"),
    ],
)
def test_a_value_on_a_line_belongs_to_the_worse_band(ltv: str, band: str) -> None:
    """R-GEN-41, R-GEN-44"""
    assert track(D(ltv), LINES).band == band


def test_the_exact_band_wins_over_a_rounded_ratio() -> None:
    """R-GEN-41"""
    shown = track(D("0.77"), LINES, band=Band.WATCH)
    assert shown.band == "watch"
    assert "watch." in shown.sentence


def test_without_collateral_or_over_full_it_stands_at_the_end() -> None:
    """R-GEN-40: debt and no collateral is infinite."""
    nothing, over = track(None, LINES), track(D("1.342"), LINES)
    assert (nothing.band, nothing.now.x, nothing.now.figure, nothing.now.is_beyond) == (
        "liq",
        "100%",
        "no collateral",
        True,
    )
    assert nothing.sentence.startswith("Loan to value without any recognised collateral, liquidation.")
    assert (over.now.x, over.now.figure, over.now.anchor, over.now.is_beyond) == (
        "100%",
        "134.20\u00a0%",
        "end",
        True,
    )
    assert not track(D(1), LINES).now.is_beyond


def test_full_sentence() -> None:
    shown = track(
        D("0.639304"), LINES, ticks=[D("0.602"), D("0.664"), D("0.639")], week_ago=D("0.648"), next_price=SOL
    )
    assert shown.sentence == (
        "Loan to value 63.93 percent, safe. "
        "Lines: initial 72, margin call 77, liquidation 91, cut-off 95. "
        "SOL at 146.53 calls you, 26.74 percent below today. "
        "Over 3 days between 60.20 and 66.40."
    )
    assert (shown.week_ago, len(shown.ticks)) == ("38.048%", 3)
    assert number(shown.ticks_x) + number(shown.ticks_width) == number(shown.ticks[1])


def test_sentence_says_before_and_after() -> None:
    shown = track(D("0.7897"), LINES, after=D("0.72"), next_price=SOL)
    assert "Loan to value 78.97 percent, margin call. Afterwards 72.00 percent, watch." in shown.sentence
    assert shown.distance is None
    assert shown.move is not None
    assert not shown.move.is_rise


def test_a_debt_coin_reaches_the_line_by_rising() -> None:
    """R-GEN-40: a debt in a coin grows with its price."""
    shown = track(D("0.6"), LINES, next_price=NextPrice("ETH", D("3300"), D("3000")))
    assert "ETH at 3,300.00 calls you, 10.00 percent above today." in shown.sentence


@pytest.mark.parametrize(
    ("ltv", "target", "verb"),
    [("0.6", "59.52%", "calls you"), ("0.74", "59.52%", "calls you"), ("0.80", "84.16%", "liquidates you")],
)
def test_distance_runs_to_the_next_line(ltv: str, target: str, verb: str) -> None:
    distance = track(D(ltv), LINES, next_price=SOL).distance
    assert distance is not None
    assert (distance.target, distance.verb) == (target, verb)


def test_beyond_the_last_line_there_is_no_distance() -> None:
    assert track(D("0.91"), LINES, next_price=SOL).distance is None


def test_two_pins_that_would_collide_share_one_label() -> None:
    left, right = track(D("0.30"), LINES, after=D("0.42")).move, track(D("0.93"), LINES, after=D("0.97")).move
    assert left is not None
    assert right is not None
    assert (left.joined_at, left.joined_anchor, left.is_rise) == ("0%", "start", True)
    assert (right.joined_at, right.joined_anchor) == ("100%", "end")


def test_lines_that_nearly_touch_turn_their_labels_away() -> None:
    shown = track(D("0.5"), Lines(D("0.65"), D("0.67"), D("0.85"), D("0.97"), D("0.02")))
    assert [mark.anchor for mark in shown.marks] == ["end", "start", "middle", "middle"]
    assert not shown.shows_full


@given(low=ratios, high=ratios)
def test_more_ltv_never_stands_further_left(low: D, high: D) -> None:
    low, high = min(low, high), max(low, high)
    assert 0 <= number(track(low, LINES).now.x) <= number(track(high, LINES).now.x) <= 100


@given(
    ltv=st.none() | ratios,
    after=st.none() | ratios,
    ticks=st.lists(ratios, max_size=30),
    week_ago=st.none() | ratios,
)
def test_every_position_is_on_the_track(
    ltv: D | None, after: D | None, ticks: list[D], week_ago: D | None
) -> None:
    shown = track(ltv, LINES, after=after, ticks=ticks, week_ago=week_ago, next_price=SOL)
    assert all(0 <= number(x) <= 100 for x in positions(shown))
    assert len(shown.ticks) == len(ticks)


def positions(shown: Track) -> list[str]:
    spots = [shown.now.x, shown.ticks_x, *shown.ticks, *(mark.x for mark in shown.marks)]
    spots += [shown.after.x] if shown.after else []
    spots += [shown.week_ago] if shown.week_ago else []
    return spots + ([shown.distance.label_x, shown.distance.target] if shown.distance else [])


@pytest.mark.parametrize("size", ["full", "mini"])
@pytest.mark.parametrize("ltv", [None, D("0"), D("0.7897"), D("1.342")])
def test_the_drawing_says_its_sentence_and_stays_in_percent(ltv: D | None, size: str) -> None:
    shown = track(ltv, LINES, ticks=[D("0.6")], week_ago=D("0.65"), next_price=SOL)
    request = RequestFactory().get("/")
    drawing = render_component(request, "track", {"track": shown, "mini": size == "mini", "legend": True})
    sentence = shown.its_sentence if size == "mini" else shown.sentence  # lists show everybody's groups
    assert f'role="img" aria-label="{sentence}"' in drawing
    assert f'class="bar-{shown.band}" x="0"' in drawing
    assert "None" not in drawing
    assert "style=" not in drawing
    assert ('class="now"' in drawing) == (size == "full")


@pytest.mark.parametrize(("band", "word"), [("SAFE", "SAFE"), ("LIQ", "LIQUIDATION"), ("call", "CALL")])
def test_the_chip_prints_its_word_beside_shape_and_colour(band: str, word: str) -> None:
    chip = render_component(RequestFactory().get("/"), "chip", {"band": band})
    assert f'data-band="{band.upper()}"' in chip
    assert f'href="#i-{band.lower()}"' in chip
    assert word in chip
