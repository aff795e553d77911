"""Sums that only grow, as a drawing. R-FTR-27"""

from loans import curves


def test_a_sum_stands_until_the_step_that_changes_it() -> None:
    """R-FTR-27: 4 steps over 100, at most 200 over a height of 50"""
    points = curves.points_of([(2, 100), (4, 200)], steps=4, most=200, width=100, height=50)

    assert points == "0.0,50.0 50.0,50.0 50.0,25.0 100.0,25.0 100.0,0.0"


def test_nothing_sold_is_a_line_on_the_ground() -> None:
    """R-FTR-27"""
    assert curves.points_of([(1, 0)], steps=1, most=0, width=10, height=5) == "0.0,5.0 10.0,5.0 10.0,5.0"
