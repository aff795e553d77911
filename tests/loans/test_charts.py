"""The chart of a rate's history, as numbers: level until the next step, then straight to it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from loans.charts import Frame, Step, frame_of, marks_of, points_of

FIRST = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FRAME = Frame(FIRST, FIRST + 10 * DAY, Decimal("0.05"), Decimal("0.10"), 100, 50)


def step(day: int, rate: str) -> Step:
    return Step(FIRST + day * DAY, Decimal(rate))


def test_a_step_is_drawn_level_and_then_up() -> None:
    """R-GEN-53: 6 % until the fifth day, 8 % from then on."""
    assert points_of([step(0, "0.06"), step(5, "0.08")], FRAME) == "0.0,40.0 50.0,40.0 50.0,20.0 100.0,20.0"


def test_what_began_before_counts_from_the_edge_and_what_comes_after_is_left_out() -> None:
    steps = [step(-9, "0.07"), step(-3, "0.06"), step(5, "0.08"), step(10, "0.09")]

    assert points_of(steps, FRAME) == "0.0,40.0 50.0,40.0 50.0,20.0 100.0,20.0"
    assert points_of([step(10, "0.09")], FRAME) == ""
    assert points_of([], FRAME) == ""


def test_the_frame_has_whole_per_cents_at_its_edges() -> None:
    frame = frame_of(
        [step(0, "0.0612"), step(1, "0.0988")], since=FIRST, until=FIRST + DAY, width=100, height=50
    )

    assert (frame.low, frame.high) == (Decimal("0.06"), Decimal("0.10"))
    assert marks_of(frame) == [Decimal(text) for text in ("0.10", "0.09", "0.08", "0.07", "0.06")]


def test_a_rate_that_never_moved_still_has_a_height() -> None:
    frame = frame_of([step(0, "0.06")], since=FIRST, until=FIRST + DAY, width=100, height=50)

    assert frame.high - frame.low == Decimal("0.01")


days = st.lists(
    st.tuples(st.integers(-20, 20), st.decimals(min_value=0, max_value=1, places=12)),
    min_size=1,
    unique_by=lambda p: p[0],
)


@given(days=days)
def test_every_corner_is_on_the_sheet_and_the_line_never_goes_back(days: list[tuple[int, Decimal]]) -> None:
    """R-GEN-53"""
    steps = [Step(FIRST + day * DAY, rate) for day, rate in sorted(days)]
    frame = frame_of(steps, since=FIRST, until=FIRST + 10 * DAY, width=100, height=50)

    corners = [tuple(map(Decimal, point.split(","))) for point in points_of(steps, frame).split()]

    assert all(0 <= x <= 100 and 0 <= y <= 50 for x, y in corners)
    assert [x for x, _ in corners] == sorted(x for x, _ in corners)
    assert bool(corners) == (steps[0].starts_at < FIRST + 10 * DAY)
