"""What stands in panels, in numbers that the rows say."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.rendering import panels
from analysis.rendering.drawing import BELOW

ROWS = pd.DataFrame({"value": [1.0, -2.0, np.nan], "low": [0.5, np.nan, np.nan], "high": [1.5, np.nan, np.nan]})


def drawn(draw, *arguments, **options):
    axes = Figure().subplots()
    draw(axes, *arguments, **options)
    return axes


def marks(axes):
    return [each for each in axes.collections if isinstance(each, PathCollection)]


def segments(axes):
    (lines,) = [each for each in axes.collections if isinstance(each, LineCollection)]
    return [segment.tolist() for segment in lines.get_segments()]


@pytest.mark.parametrize("upright", [False, True])
def test_each_value_has_a_mark_and_its_interval_a_line(upright):
    axes = drawn(panels.intervals, ROWS.assign(words="n/a"), upright=upright)
    (points,), way = marks(axes), -1 if upright else 1
    assert points.get_offsets().tolist() == [[1, 0][::way], [-2, 1][::way]]
    assert segments(axes) == [[[0.5, 0][::way], [1.5, 0][::way]]]
    assert {to_hex(color) for color in points.get_facecolors()} == {BELOW}
    assert [text.get_text() for text in axes.texts] == ["n/a"]


def test_rows_may_have_places_colours_and_marks_and_be_in_a_legend():
    rows = ROWS.assign(place=[3, 4, 5], color="red", face="white", mark=["o", "D", "o"], label=["one", "other", "one"])
    axes = drawn(panels.intervals, rows)
    first, second = marks(axes)
    assert [first.get_offsets().tolist(), second.get_offsets().tolist()] == [[[1, 3]], [[-2, 4]]]
    assert (to_hex(first.get_facecolors()[0]), to_hex(first.get_edgecolors()[0])) == ("#ffffff", "#ff0000")
    assert axes.get_legend_handles_labels()[1] == ["one", "other"]


def test_a_triangle_at_the_end_stands_for_a_value_beyond_it():
    axes = drawn(panels.intervals, ROWS, limits=(-1, 2))
    *_, triangle = marks(axes)
    assert triangle.get_offsets().tolist() == [[0, 1]]  # at the left end, beside the second row
    assert axes.texts[-1].get_text() == "-2.00"
    assert axes.get_xlim() == (-1, 2)


def test_series_stand_side_by_side_in_their_colours():
    rows = pd.DataFrame({"of": ["b", "a", "c"], "place": [0, 0, 7], "value": [1.0, 2.0, 3.0]})
    shown = panels.side_by_side(rows, "of", {"a": "red", "b": "blue"}, apart=0.2)
    assert shown[["label", "color", "place"]].to_numpy().tolist() == [["a", "red", -0.1], ["b", "blue", 0.1]]


def test_a_line_and_its_band_are_of_the_rows_of_a_series():
    rows = pd.DataFrame({"of": ["a", "a", "b"], "x": [1, 2, 1], "y": [3, 4, 5], "low": [2, 3, 4], "high": [4, 5, 6]})
    axes = drawn(panels.lines, rows, "x", "y", by="of", colors={"a": "red", "_c": "blue"}, band=("low", "high"))
    (line,), (band,) = axes.lines, axes.collections
    assert (line.get_xydata().tolist(), line.get_color(), line.get_label()) == ([[1, 3], [2, 4]], "red", "a")
    assert (band.get_datalim(axes.transData).y0, band.get_datalim(axes.transData).y1) == (2, 5)


def test_the_first_name_is_on_top():
    axes = drawn(panels.name_rows, ["$a$", "b"])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["$a$", "b"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
