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


@pytest.mark.parametrize(("sharex", "by_column"), [(True, False), ("col", True)])
def test_a_narrow_page_has_its_panels_one_below_the_other(sharex, by_column):
    """They are as high as on a wide page, and share the axes that they share there."""
    wide, _ = drawing.page((2, 3), (12, 7), "a title", "a note", sharex=sharex, sharey="row")
    narrow, grid = drawing.page((2, 3), (12, 7), "a title", "a note " * 60, narrow=True, sharex=sharex, sharey="row")
    assert grid.shape == (6, 1)
    wide_columns = drawing.columns(grid, 2) if by_column else grid.reshape(2, 3).T
    wide_columns[0][0].set_xlim(3, 4)
    assert wide_columns[0][1].get_xlim() == (3, 4)
    assert (wide_columns[1][0].get_xlim() == (3, 4)) == (sharex is True)
    wide_columns[0][0].set_ylim(5, 6)
    assert wide_columns[2][0].get_ylim() == (5, 6) != wide_columns[0][1].get_ylim()
    for figure in (wide, narrow):
        figure.draw_without_rendering()
    assert narrow.get_figwidth() == drawing.NARROW
    heights = [figure.axes[0].bbox.height for figure in (wide, narrow)]
    assert heights[1] == pytest.approx(heights[0], rel=0.2)
    bottoms = [axes.get_position().y0 for axes in grid.flat]
    assert bottoms == sorted(bottoms, reverse=True)
    assert bottoms[-1] > 0


def test_the_panels_of_a_column_are_found_at_both_widths():
    for narrow in (False, True):
        _, grid = drawing.page((2, 2), (8, 6), "", "", narrow=narrow, sharex="col")
        first, second = drawing.columns(grid, 2)
        assert len(first) == len(second) == 2
        assert {*first, *second} == {*grid.flat}
        assert first[0].get_shared_x_axes().joined(first[0], first[1])
        assert not first[0].get_shared_x_axes().joined(first[0], second[0])
