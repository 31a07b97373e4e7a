"""Lines of methods: their order, how they look, and what stands in each column of panels."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

from analysis.rendering.drawing import NEUTRAL
from analysis.report import ratio_plot
from analysis.report.ratio_plot import Drawn, PlottedMethod
from analysis.study.study import StudyData
from tests import made_up_levels, made_up_runs
from tests.text_boxes import hidden_texts

SPREAD = np.linspace(-0.1, 0.1, 4)


def study(*ways, datasets=("toy",), **params):
    cells = [made_up_runs.runs(name, "net", *way, 1 + SPREAD, **params) for name in datasets for way in ways]
    return StudyData(made_up_runs.with_images(made_up_runs.study(*cells)))


def test_the_control_is_last_and_each_method_has_its_cells_by_ratio():
    made = study(("none", 1), ("up", 10), ("mp", 10), ("mp", 2))
    lines = ratio_plot.lines_of(made.cells, made)
    assert [method.label for method in lines] == ["mp", "up", "none"]
    assert lines[PlottedMethod("mp", "")]["ratio"].tolist() == [2, 10]


def test_few_methods_have_a_colour_and_a_mark_each_and_more_than_eight_share_them():
    def looks(pruners, settings):
        methods = {PlottedMethod(pruner, setting): None for pruner in pruners for setting in settings}
        styles, handles = ratio_plot.styles_of([methods])
        return [(each["color"], each["marker"]) for each in styles.values()], len(handles)

    few, named = looks("abcdefgh", [""])
    assert (len(set(few)), len({color for color, _ in few}), named) == (8, 8, 8)
    many, named = looks("abc", ["", "p", "q"])
    assert (len(set(many)), len({color for color, _ in many}), named) == (9, 3, 6)


def test_lines_without_intervals_are_lines_alone_and_the_control_is_drawn_across():
    made = study(("mp", 2), ("mp", 10), ("none", 1))
    cells = made.cells.assign(counted=[5.0, 7.0, 3.0])
    lines = ratio_plot.lines_of(cells, made)
    axes = Figure().subplots()
    ratio_plot.draw_lines(axes, lines, ratio_plot.styles_of([lines])[0], Drawn("counted"))
    pruned, control = axes.lines
    assert pruned.get_ydata().tolist() == [5, 7]
    assert pruned.get_xdata() == pytest.approx([2, 10], rel=0.01)
    assert (control.get_color(), list(control.get_ydata())) == (NEUTRAL, [3, 3])
    assert (len(axes.collections), len(axes.patches)) == (0, 0)


def test_each_data_set_has_a_column_at_most_four_a_figure_and_a_stripe_at_the_leading_ratio():
    made = study(("mp", 2), ("mp", 10), datasets="abcde")
    first, second = ratio_plot.groups(made.cells, made)
    assert [[place.name[0] for place in group] for group in (first, second)] == [list("abcd"), ["e"]]
    drawn = []
    rows = {"above": lambda axes, column: drawn.append(("above", column.leading)), "below": lambda axes, column: None}
    figure = ratio_plot.against_ratio(second, rows, made, "a title", "a note")
    assert drawn == [("above", 10.0)]
    assert [axes.get_ylabel() for axes in figure.axes] == ["above", "below"]
    assert [line.get_xdata() for axes in figure.axes for line in axes.lines] == [[10.0, 10.0]] * 2


def marks(axes):
    """Colour of every line with marks, and its values."""
    return {line.get_color(): line.get_ydata().tolist() for line in axes.lines if line.get_marker() in tuple("osD^")}


def accuracies(made, group):
    def draw(axes, column):
        ratio_plot.draw_lines(axes, column.lines, column.styles, Drawn("accuracy_after"))
        axes.set_ylim(0.5, 0.9)

    return ratio_plot.against_ratio(group, {"accuracy": draw}, made, "", "")


def test_more_than_eight_methods_have_a_panel_for_each_treatment_with_one_axis():
    """Five pruners and two treatments: the fewest panels of eight methods or fewer are two."""
    runs = made_up_levels.runs(pruners=("global-unstructured", "l1-structured", "none"))
    further = [runs[runs["pruner"] == "l1-structured"].assign(pruner=pruner) for pruner in ("mine", "ours", "yours")]
    for each in further:
        each["run_id"] = each["pruner"] + " " + each["run_id"]
    made = StudyData(pd.concat([runs, *further], ignore_index=True))
    pruners = ["global-unstructured", "l1-structured", "mine", "ours", "yours"]
    (group,) = ratio_plot.groups(made.cells, made)
    assert [place.name[2:] for place in group] == [("finetune",), ("rewind",)]
    for place in group:
        assert {method.setting for method in place.lines} == {place.name[2]}
        assert [method.pruner for method in place.lines] == [*pruners, "none"]
    figure = accuracies(made, group)
    assert len({axes.get_ylim() for axes in figure.axes}) == 1
    assert [list(marks(axes)) for axes in figure.axes] == [list(marks(figure.axes[0]))] * 2
    assert len(marks(figure.axes[0])) == 5
    assert hidden_texts(figure) == []


def test_few_methods_have_one_panel():
    made = StudyData(made_up_levels.runs(pruners=("global-unstructured", "l1-structured", "none")))
    ((place,),) = ratio_plot.groups(made.cells, made)
    assert (len(place.name), len(place.lines)) == (2, 6)


def test_values_beyond_an_axis_are_marked_at_its_ends_and_said():
    made = study(*(("mp", ratio) for ratio in (2, 4, 10, 50)), *(("up", ratio) for ratio in (2, 4, 10, 50)))
    values = {("mp", 2.0): 0.7, ("mp", 4.0): 0.91, ("mp", 10.0): 0.2, ("mp", 50.0): 1.5}
    values |= {("up", 2.0): 0.6, ("up", 4.0): 0.65, ("up", 10.0): 0.8, ("up", 50.0): 2.25}
    after = [values[cell["pruner"], cell["ratio"]] for cell in made.cells.to_dict("records")]
    cells = made.cells.assign(accuracy_after=after)
    (group,) = ratio_plot.groups(cells, made)
    figure = accuracies(made, group)
    (axes,) = figure.axes
    low, high = axes.get_ylim()
    # The axis is moved up a little, so that .91 stands in it.
    assert (low, high) == (0.5, pytest.approx(0.93))
    assert [text.get_text() for text in axes.texts] == ["0.20", "1.50 to 2.25"]
    ends = [points.get_offsets()[:, 1].tolist() for points in axes.collections if isinstance(points, PathCollection)]
    assert ends == [[0], [1, 1]]
    assert hidden_texts(figure) == []


def test_the_control_of_a_chain_is_drawn_along_the_iterations_where_the_pruned_networks_of_each_stand():
    made = StudyData(made_up_levels.runs(pruners=("global-unstructured", "l1-structured", "none")))
    lines = ratio_plot.lines_of(made.cells, made)
    drawn = Drawn("accuracy_after")
    axes = Figure().subplots()
    ratio_plot.draw_lines(axes, lines, ratio_plot.styles_of([lines])[0], drawn)
    *_, of_finetune, of_rewind = axes.lines
    assert of_finetune.get_xdata().tolist() == pytest.approx(sorted(set(made.cells["ratio"]) - {1.0}))
    assert of_rewind.get_ydata().tolist() == pytest.approx([0.9575] * 3)


@pytest.mark.parametrize("datasets", ["a", "ab"])
def test_labels_of_the_many_ratios_of_chains_do_not_touch(datasets):
    """At each iteration, techniques prune a little more or less."""
    ratios = [round(1.25**iteration * share, 3) for iteration in range(1, 15) for share in (0.98, 1, 1.02)]
    figure = without_lines(study(*(("mp", ratio) for ratio in ratios), datasets=datasets))
    figure.draw_without_rendering()
    for axes in figure.axes:
        boxes = [label.get_window_extent() for label in axes.get_xticklabels() if label.get_text()]
        assert len(boxes) >= 6
        assert all(left.x1 < right.x0 for left, right in pairwise(boxes))


def test_few_ratios_have_a_label_each():
    figure = without_lines(study(*(("mp", ratio) for ratio in (2, 4, 6, 8, 10, 20, 50))))
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["2", "4", "6", "8", "10", "20", "50"]


def without_lines(made):
    (group,) = ratio_plot.groups(made.cells, made)
    return ratio_plot.against_ratio(group, {"accuracy": lambda axes, column: None}, made, "", "")
