"""The figure of what each class loses beyond the accuracy, on networks whose losses are known."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from analysis.report.mitigation.class_figures import by_class
from analysis.report.mitigation.networks import Cells
from analysis.runs.validation_counts import ValidationRecalls
from analysis.study.arrays import run_arrays
from tests import made_up_mitigations as made_up
from tests.text_boxes import hidden_texts


def figures(*cells, order="abc"):
    runs, counts = made_up.study(*cells)
    orders = {dataset: list(order) for dataset in runs["dataset"]}
    return by_class(Cells(run_arrays(runs), ValidationRecalls(counts)), orders)


def labels(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_each_dot_is_a_network_and_each_line_their_mean():
    (figure,) = figures(made_up.mitigated())
    (axes,) = figure.axes
    assert figure.get_suptitle().replace("\n", " ") == "What each class loses beyond the accuracy: net, mp, ratio 20"
    assert not hidden_texts(figure)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b", "c"]
    assert labels(figure) == ["control: same fine-tuning, not pruned", "no mitigation", "class offsets"]
    dots = [np.sort(np.asarray(marks.get_offsets())[:, 0].reshape(2, 3), axis=0) for marks in axes.collections[::2]]
    assert dots[0] == pytest.approx(np.array([[1, -1, -2], [3, 1, -2]]))
    assert dots[1] == pytest.approx(np.array([[7, -5, -5], [10, -2, -5]]))
    assert dots[2] == pytest.approx(np.array([[3, -2, -2], [4, -2, -1]]))
    means = [[line[0, 0] for line in lines.get_segments()] for lines in axes.collections[1::2]]
    assert means == [pytest.approx([2, 0, -2]), pytest.approx([8.5, -3.5, -5]), pytest.approx([3.5, -2, -1.5])]


def test_a_panel_for_each_data_set_and_a_figure_for_each_kind_of_pruning():
    cubic = {"schedule": "cubic"}
    drawn = figures(
        made_up.mitigated(),
        made_up.mitigated("beside"),
        made_up.cell("mp", 20, [(78, 87, 90)], params=cubic),
        made_up.cell("mp", 20, [(81, 87, 87)], params=cubic | made_up.OFFSETS),
        made_up.cell("mp", 50, [(70, 80, 90)]),
    )
    assert [[axes.get_title() for axes in figure.axes] for figure in drawn] == [["beside", "toy"], ["toy"]]
    assert " ".join(drawn[1].get_suptitle().split()).endswith("mp cubic, ratio 20")


def test_of_many_mitigations_the_two_that_leave_the_smallest_part_of_the_largest_excess_are_drawn():
    plain = made_up.cell("mp", 20, [(78, 87, 90)])
    powers = {"1": (81, 87, 87), "2": (84, 85, 86), "3": (83, 85, 87)}
    weighted = [
        made_up.cell("mp", 20, [right], params={"class_weights": "dense", "class_weight_power": power})
        for power, right in powers.items()
    ]
    (figure,) = figures(plain, *weighted)
    assert labels(figure) == ["no mitigation", "class weights (power 2)", "class weights (power 3)"]


def test_a_data_set_without_a_mitigation_has_no_panel_and_one_with_another_has_one():
    plain, distilled = [(78, 87, 90)], {"distill": "0.5"}
    (figure,) = figures(
        made_up.mitigated("offsets"),
        made_up.cell("mp", 20, plain, dataset="teacher"),
        made_up.cell("mp", 20, [(80, 87, 88)], params=distilled, dataset="teacher"),
        made_up.cell("mp", 20, plain, dataset="bare"),
    )
    assert [axes.get_title() for axes in figure.axes] == ["offsets", "teacher"]
    assert labels(figure)[1:] == ["no mitigation", "class offsets", "teacher"]


def test_a_mitigation_counts_by_the_part_that_it_leaves_in_its_own_data_sets():
    """Class weights leave 6.7 and 5.0 of 7.7 points. The teacher leaves 1.3 of 1.3."""
    much: dict[str, Any] = {"dataset": "much"}
    weights = {"class_weights": "dense"}
    (figure,) = figures(
        made_up.cell("mp", 20, [(74, 90, 81)], **much),
        made_up.cell("mp", 20, [(75, 90, 80)], params=weights | {"class_weight_power": "1"}, **much),
        made_up.cell("mp", 20, [(77, 89, 80)], params=weights | {"class_weight_power": "2"}, **much),
        made_up.cell("mp", 20, [(87, 89, 89)], dataset="little"),
        made_up.cell("mp", 20, [(87, 89, 89)], params={"distill": "0.5"}, dataset="little"),
    )
    assert [axes.get_title() for axes in figure.axes] == ["much"]


def test_networks_are_drawn_that_have_the_mitigations_and_their_absence():
    """The first network alone has both."""
    (figure,) = figures(
        made_up.cell("mp", 20, [(78, 87, 90), (60, 90, 90)]),
        made_up.cell("mp", 20, [(81, 87, 87), (90, 60, 90), (60, 90, 90)], params=made_up.OFFSETS),
        made_up.cell("mp", 20, [(80, 87, 88)], params={"distill": "0.5"}),
    )
    (axes,) = figure.axes
    assert [len(marks.get_offsets()) for marks in axes.collections[::2]] == [3, 3, 3]
    assert [max(marks.get_offsets()[:, 0]) for marks in axes.collections[::2]] == pytest.approx([7, 5, 4])


def test_every_figure_has_the_order_of_the_report_and_one_scale():
    drawn = figures(
        made_up.mitigated(),
        made_up.cell("mp", 50, [(50, 87, 90)]),
        made_up.cell("mp", 50, [(81, 87, 87)], params=made_up.OFFSETS),
        order="cab",
    )
    panels = [figure.axes[0] for figure in drawn]
    assert [[label.get_text() for label in axes.get_yticklabels()] for axes in panels] == [["c", "a", "b"]] * 2
    assert len({axes.get_xlim() for axes in panels}) == 1
    dots = np.asarray(panels[0].collections[2].get_offsets())  # of two networks without a mitigation
    assert np.sort(dots.reshape(2, 3, 2)[..., 0], axis=0) == pytest.approx(np.array([[-5, 7, -5], [-5, 10, -2]]))


def test_settings_of_equal_values_are_kinds_of_their_own():
    drawn = figures(
        *(made_up.cell("mp", 20, [(78, 87, 90)], params=each) for each in ({"epochs": "3"}, {"batch_size": "3"})),
        *(
            made_up.cell("mp", 20, [(81, 87, 87)], params=each | made_up.OFFSETS)
            for each in ({"epochs": "3"}, {"batch_size": "3"})
        ),
    )
    assert len(drawn) == 2


def test_of_many_classes_those_that_lose_most_in_all_that_is_drawn_are_shown():
    """Of 100 classes, each of which loses as much with the mitigation as another one loses without it."""
    runs, counts = made_up.mitigated()
    plain = (runs["pruner"] == "mp") & (runs["params.class_offsets"] == "none")
    runs = runs[runs["pruner"] == "mp"].drop(columns=[name for name in runs if "/" in name])
    names, losses = [f"class {number}" for number in range(100)], np.random.default_rng(0).normal(0.1, 0.05, (2, 100))
    for group, values in (("recall_before/", np.full((2, 100), 0.8)), ("recall_after/", 0.8 - losses)):
        rows = values[(~plain[runs.index]).to_numpy(int)]
        runs = runs.join(pd.DataFrame(rows, runs.index, [group + name for name in names]))
    runs = runs.assign(accuracy_before=0.8, accuracy_after=0.8 - losses.mean(1)[(~plain[runs.index]).to_numpy(int)])
    (figure,) = by_class(Cells(run_arrays(runs), ValidationRecalls(counts)), {"toy": names[::-1]})
    (axes,) = figure.axes
    assert axes.get_title() == "toy\n20 of 100 classes"
    shown = [label.get_text() for label in axes.get_yticklabels()]
    excess = losses - losses.mean(1, keepdims=True)
    assert shown == sorted((names[label] for label in np.argsort(-excess.mean(0))[:20]), key=names[::-1].index)
    assert not hidden_texts(figure)


def test_without_the_same_pruning_without_mitigation_there_is_no_figure():
    assert figures(made_up.cell("mp", 20, [(81, 87, 87)], params=made_up.OFFSETS)) == []


def test_words_are_seen_with_long_names_of_many_classes():
    runs, counts = made_up.mitigated()
    long = {"a": "a class with quite a long name", "b": "of another language: " * 2, "c": "$c_1$"}
    for before, after in long.items():
        runs.columns = [f"{name[:-1]}{after}" if name.endswith(f"/{before}") else name for name in runs]
    (figure,) = by_class(Cells(run_arrays(runs), ValidationRecalls(counts)), {"toy": list(long.values())})
    assert not hidden_texts(figure)
