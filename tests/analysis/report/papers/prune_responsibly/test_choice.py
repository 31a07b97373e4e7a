"""The sections on fairness against sparsity, and their pictures, on networks whose recalls are known."""

import pytest
from matplotlib.collections import LineCollection

from analysis.rendering.page import Caption
from analysis.report.papers.prune_responsibly import choice, class_section
from analysis.report.report import report
from analysis.study.study import ReportOptions, StudyData
from tests import made_up_levels, made_up_runs
from tests.text_boxes import hidden_texts

SLOW = {"global-unstructured": 0.01, "l1-structured": 0.02, "none": 0.0}


def study(**options):
    pruners = ("global-unstructured", "l1-structured", "none")
    return StudyData(made_up_levels.runs(pruners=pruners, loss=SLOW, levels=6), **options)


def figures(section):
    return {block.name: block.figure for block in section.blocks if hasattr(block, "figure")}


@pytest.fixture(scope="module")
def made():
    return study()


@pytest.fixture(scope="module")
def section(made):
    return choice.section(made)


def test_the_section_names_the_recommended_level_and_shows_the_front(section):
    (said,) = (block for block in section.blocks if isinstance(block, Caption))
    assert said.label == "mnist, lenet5."
    assert "choose global-unstructured finetune at ratio 3.611." in said.text
    (front,) = (block for block in section.blocks if hasattr(block, "columns"))
    assert front["method"].unique().tolist() == ["global-unstructured finetune"]
    assert front["iteration"].tolist() == ["6", "5", "4", "3", "2", "1"]
    assert front["recommended"].tolist() == ["yes", *[""] * 5]
    assert list(section.tables) == ["pareto.csv"]


def test_the_page_says_that_test_images_chose_and_what_flatters(section):
    assert "measured on the same test images, so the value of the choice is biased" in section.blocks[0]


def test_fronts_are_marked_and_the_recommended_level_has_a_ring(section):
    picture = figures(section)["pareto"]
    first, *projections = picture.axes
    crosses = [line for line in first.lines if line.get_marker() == "x"]
    assert len(crosses) == 1
    (marked,) = crosses
    assert marked.get_xdata().tolist() == pytest.approx([0.8**-level for level in range(1, 7)])
    (ring,) = (drawn for drawn in first.collections if not isinstance(drawn, LineCollection))
    assert ring.get_offsets()[0].tolist() == pytest.approx([0.8**-6, 6 + 0.3 * (1 - 0.8**6)])
    assert [axes.get_xlabel() for axes in projections] == ["weights pruned", "weights pruned", "accuracy, %"]
    assert not hidden_texts(picture)


def test_curves_have_a_line_for_each_method_and_dense_networks_across(section):
    picture = figures(section)["unfairness"]
    accuracy, unfairness = picture.axes
    dashed = [line for line in unfairness.lines if list(line.get_ydata()) == pytest.approx([6, 6])]
    assert len(dashed) == 1
    assert len(accuracy.lines) == 4 + 2 + 1  # methods, their controls, the dense networks
    assert not hidden_texts(picture)


@pytest.mark.slow
def test_one_shot_pruning_has_the_section_only_where_it_is_asked_for():
    runs = made_up_runs.study(*(made_up_runs.runs("toy", "net", "mp", ratio, [1.0, 1.2]) for ratio in (2, 10)))
    assert choice.section(StudyData(runs)) is None
    assert class_section.class_curves(StudyData(runs)) is None
    assert "pareto.csv" not in report(StudyData(runs), ReportOptions()).tables
    asked = ReportOptions(min_accuracy=0.5, fairness_value=1.0)
    assert report(StudyData(runs), asked).tables["pareto.csv"]["recommended"].sum() == 1


def test_where_no_level_is_accurate_enough_the_section_says_so_and_draws_what_there_is():
    runs = made_up_levels.runs(loss={"global-unstructured": 0.3, "l1-structured": 0.4})
    section = choice.section(StudyData(runs))
    (said,) = (block for block in section.blocks if isinstance(block, Caption))
    assert said.text.startswith("No pruned level reaches an accuracy of 94.8 %")
    assert not any(hasattr(block, "columns") for block in section.blocks)
    assert set(figures(section)) == {"pareto", "unfairness"}
