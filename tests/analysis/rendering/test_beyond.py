import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from analysis.rendering.panels import mark_beyond

ROWS = pd.DataFrame({"place": [0.0, 5.0, 5.01, 10.0], "value": [-3.0, 4.0, 2.5, 0.5], "color": "#0072b2"})


def marked(rows, **options):
    axes = Figure((8, 4)).subplots()
    axes.set(xlim=(0, 10), ylim=(0, 10))
    (axes.set_ylim if options.get("upright", True) else axes.set_xlim)(-1, 1)
    mark_beyond(axes, rows, **options)
    return axes


@pytest.mark.parametrize("upright", [True, False])
def test_each_value_beyond_an_axis_is_a_triangle_at_its_end(upright):
    low, high = marked(ROWS, upright=upright).collections
    step = 1 if upright else -1
    assert low.get_offsets().tolist() == [[0, 0]]
    assert high.get_offsets().tolist() == [[5, 1][::step], [5.01, 1][::step]]
    assert to_hex(high.get_facecolors()[0]) == "#0072b2"


def test_values_whose_texts_would_touch_have_one_and_long_texts_stand_upright():
    assert [text.get_text() for text in marked(ROWS).texts] == ["-3.00", "2.50 to 4.00"]
    counts = marked(ROWS, text=lambda values: str(len(values))).texts
    assert [(text.get_text(), text.get_rotation()) for text in counts] == [("1", 0), ("2", 0)]
    assert [text.get_rotation() for text in marked(ROWS).texts] == [90, 90]
    apart = ROWS.assign(place=[0, 5, 6, 10])
    assert [text.get_text() for text in marked(apart).texts] == ["-3.00", "4.00", "2.50"]


def test_without_values_beyond_the_axis_nothing_is_drawn():
    axes = marked(ROWS[3:])
    assert (len(axes.collections), len(axes.texts)) == (0, 0)
