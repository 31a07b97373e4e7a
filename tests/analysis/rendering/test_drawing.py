"""What all figures share: the ends of an axis, a page with its title and note, and words at an edge."""

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from analysis.rendering import drawing


def test_an_axis_holds_all_values_and_a_twelfth_more():
    assert drawing.axis_limits(pd.Series(range(101)), 50) == pytest.approx((-8, 108))


def test_an_axis_leaves_out_a_long_tail():
    assert drawing.axis_limits(pd.Series([*range(101), 10_000]), 50) == pytest.approx((-8, 108))


def test_an_axis_holds_what_it_goes_through_however_far_it_is():
    low, high = drawing.axis_limits(pd.Series([2.0, 2.5, 3.0]), -20)
    assert low < -20
    assert high > 3


def test_an_axis_of_one_value_has_a_width():
    assert drawing.axis_limits(pd.Series([3.0, 3.0]), 3) == pytest.approx((2.9, 3.1))


def test_a_page_has_its_panels_title_and_note():
    figure, grid = drawing.page((2, 3), (4, 5), "a title " * 10, "costs $5 or $6", sharex=True)
    assert grid.shape == (2, 3)
    assert figure.get_size_inches().tolist() == [4, 5]
    # Forty letters a line.
    assert [len(line) for line in figure.get_suptitle().split("\n")] == [39, 39]
    assert figure.get_supxlabel() == "costs $5 or $6"
    figure.draw_without_rendering()


def test_panels_are_as_wide_as_their_ratios_say_and_stay_on_the_page():
    figure, ((left, right),) = drawing.page((1, 2), (6, 3), "a title", "a note", width_ratios=(1, 3))
    figure.draw_without_rendering()
    boxes = left.get_position(), right.get_position()
    assert boxes[1].width == pytest.approx(3 * boxes[0].width)
    assert boxes[0].x1 < boxes[1].x0 < boxes[1].x1 < 1


def test_ticks_that_the_final_size_adds_have_room():
    figure, grid = drawing.page((2, 2), (8, 6), "a title", "a note", sharex=True)
    for axes in grid.flat:
        axes.plot([0, 1], [-0.6, 1.35])  # a tick at -0.25 on the panels as they are drawn, and none as they are made
    figure.draw_without_rendering()
    renderer = FigureCanvasAgg(figure).get_renderer()
    for left, right in grid:
        assert right.get_tightbbox(renderer).x0 > left.bbox.x1


def test_words_stand_at_the_edges_that_have_some():
    _, ((axes,),) = drawing.page((1, 1), (4, 4), "", "")
    drawing.draw_edge(axes, 0.5, "above", "")
    drawing.draw_edge(axes, 0.7, "more above", "below")
    assert [(text.get_position(), text.get_text()) for text in axes.texts] == [
        ((0.5, 0.985), "above"),
        ((0.7, 0.985), "more above"),
        ((0.7, 0.015), "below"),
    ]
