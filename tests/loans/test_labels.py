"""Labels that crowd each other are moved apart, and no further than that; the chart of a replay as numbers."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from loans import labels, replay_chart, stress_charts

D = Decimal
WANTED = st.lists(st.decimals("-50", "250", places=1), max_size=12)


def test_labels_that_have_room_stay_where_they_are() -> None:
    assert labels.spread([D(90), D(10), D(50)], gap=D(15), low=D(0), high=D(200)) == [D(90), D(10), D(50)]


def test_crowded_labels_stand_around_their_middle() -> None:
    """Two at 100 and 102 with a gap of 12: 95 and 107; a third far away is left alone."""
    assert labels.spread([D(100), D(102), D(180)], gap=D(12), low=D(0), high=D(200)) == [
        D(95),
        D(107),
        D(180),
    ]


def test_the_edges_hold() -> None:
    assert labels.spread([D(-5), D(0)], gap=D(12), low=D(0), high=D(200)) == [D(0), D(12)]
    assert labels.spread([D(199), D(200)], gap=D(12), low=D(0), high=D(200)) == [D(188), D(200)]


def test_more_than_fit_still_never_overlap() -> None:
    assert labels.spread([D(1)] * 4, gap=D(10), low=D(0), high=D(15)) == [D(0), D(10), D(20), D(30)]


@given(wanted=WANTED)
def test_no_two_overlap_and_their_order_stays(wanted: list[Decimal]) -> None:
    gap, low, high = D(15), D(0), D(200)

    found = labels.spread(wanted, gap=gap, low=low, high=high)

    placed = sorted(found)
    tiny = D("1e-20")
    assert all(second - first >= gap - tiny for first, second in zip(placed, placed[1:], strict=False))
    assert [one for _, one in sorted(zip(found, wanted, strict=True))] == sorted(wanted)
    assert all(place >= low for place in found)
    if (len(wanted) - 1) * gap <= high - low:
        assert all(place <= high + tiny for place in found)


def test_a_chart_goes_from_before_to_after_and_straight_where_prices_moved() -> None:
    """0.92 to 0.80, then 0.90 (a later step) to 0: from 1.0 at the top to 0 at the bottom of 200."""
    lines = ((D("0.91"), "liquidation"), (D("0.95"), "cut-off"))

    found = replay_chart.chart([(D("0.92"), D("0.8")), (D("0.9"), D(0))], lines, here=2)

    assert found.points == "0.0,16.0 210.0,40.0 210.0,20.0 420.0,200.0"
    assert [(dot.number, dot.x, dot.y, dot.is_here) for dot in found.dots] == [
        (0, D(0), D(16), False),
        (1, D(210), D(40), False),
        (2, D(420), D(200), True),
    ]
    assert [(mark.y, mark.label_y) for mark in found.marks] == [(D(18), D("21.5")), (D(10), D("6.5"))]


def test_an_ltv_without_a_number_stands_at_the_top() -> None:
    found = replay_chart.chart([(None, D(2))], ((D("0.91"), "liquidation"),), here=1)

    assert [dot.y for dot in found.dots] == [D(0), D(0)]


def test_a_course_of_a_stress_counts_what_happened_by_each_step() -> None:
    """R-FTR-27: two called in step 1, one in step 3; never is never."""
    called = stress_charts.Series("called", "", stress_charts.counted([1, 3, None, 1]))
    sold = stress_charts.Series("liquidated", "2 4", stress_charts.counted([3, None]))

    assert called.curve == [(1, 2), (3, 3)]
    assert stress_charts.rows([called, sold], steps=4) == [(1, [2, 0]), (2, [2, 0]), (3, [3, 1]), (4, [3, 1])]
    drawn = stress_charts.chart([called, sold], steps=4, told=str)
    assert drawn.lines[0].points == (
        "0.0,200.0 180.0,200.0 180.0,66.7 540.0,66.7 540.0,0.0 720.0,0.0 720.0,0.0"
    )
    assert [(line.label, line.last) for line in drawn.lines] == [("called", "3"), ("liquidated", "1")]
    assert drawn.marks == ((D(0), "3"), (D("66.7"), "2"), (D("133.3"), "1"), (D(200), "0"))


def test_sums_that_stay_at_nothing_are_named_all_the_same() -> None:
    """R-FTR-27: four series that all end at nothing."""
    flat = [stress_charts.Series(name, "", ()) for name in "abcd"]

    drawn = stress_charts.chart(flat, steps=10, told=str)

    assert [(line.label, line.last) for line in drawn.lines] == [(name, "0") for name in "abcd"]
    assert stress_charts.rows(flat, steps=600)[-1] == (600, [0, 0, 0, 0])
    assert len(stress_charts.rows(flat, steps=600)) == stress_charts.ROWS
