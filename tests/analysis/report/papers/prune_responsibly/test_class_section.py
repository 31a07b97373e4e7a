"""The sections on each class and their pictures, on networks whose recalls and training images are known."""

import pandas as pd
import pytest
from matplotlib.colors import to_rgba

from analysis.rendering.page import Caption
from analysis.report.papers.prune_responsibly import class_section
from analysis.report.papers.prune_responsibly.class_figures import training_images
from analysis.report.report import report
from analysis.study.study import ReportOptions, StudyData
from tests import made_up_levels, made_up_runs
from tests.text_boxes import hidden_texts


def figures(section):
    return {block.name: block.figure for block in section.blocks if hasattr(block, "figure")}


@pytest.fixture(scope="module")
def made():
    runs = made_up_levels.runs(levels=6)
    return StudyData(runs, characteristics=made_up_levels.characteristics(runs))


def test_each_method_has_a_panel_with_a_line_for_each_class(made):
    picture = figures(class_section.class_curves(made))["class_curves"]
    panels = [axes for axes in picture.axes if axes.get_title()]
    named = [f"{name} {how}" for name in ("global-unstructured", "l1-structured") for how in ("finetune", "rewind")]
    assert [axes.get_title() for axes in panels] == named
    lines = panels[0].collections[0].get_segments()
    assert len(lines) == 4
    # .99 in one network, .985 in the other; at 20 % they lose .02.
    assert lines[0][:2].tolist() == [pytest.approx([1, 0.9875]), pytest.approx([1.25, 0.9675])]
    assert not hidden_texts(picture)


def test_a_method_begins_at_the_recalls_of_its_own_dense_networks():
    """Class 2 has recall .95 before pruning for one method, and .45 for the other, the lowest of all."""
    first, second = (
        made_up_levels.runs(pruners=(pruner,), treatments=("finetune",), seeds=1)
        for pruner in ("global-unstructured", "l1-structured")
    )
    second["dense_run_id"] += " of other images"
    second["recall_before/2"] -= 0.5
    picture = figures(class_section.class_curves(StudyData(made_up_runs.study(first, second))))["class_curves"]
    of_class_2 = [axes.collections[0] for axes in picture.axes if axes.get_title()]
    assert [lines.get_segments()[2][0].tolist() for lines in of_class_2] == [
        pytest.approx([1, 0.95]),
        pytest.approx([1, 0.45]),
    ]
    darkest = pytest.approx(to_rgba("#440154", 0.9), abs=3e-3)
    assert [tuple(lines.get_edgecolor()[2]) == darkest for lines in of_class_2] == [False, True]


def test_each_class_has_a_bar_of_its_training_images_in_the_colour_of_its_recall(made):
    section = class_section.training_images(made)
    picture = figures(section)["class_images"]
    axes = picture.axes[0]
    assert [bar.get_height() for bar in axes.patches] == [400, 300, 200, 100]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0", "1", "2", "3"]
    # Viridis from the highest recall to the lowest.
    colors = [bar.get_facecolor() for bar in axes.patches]
    assert (colors[0], colors[-1]) == (
        pytest.approx(to_rgba("#fde725"), abs=3e-3),
        pytest.approx(to_rgba("#440154"), abs=3e-3),
    )
    assert not hidden_texts(picture)
    table = section.tables["class_images.csv"]
    assert table["networks"].tolist() == [2] * 4
    assert table["recall_before"].tolist() == pytest.approx([0.9875, 0.9675, 0.9475, 0.9275])


def test_the_caption_ranks_the_classes_with_most_and_fewest_images(made):
    (said,) = (block for block in class_section.training_images(made).blocks if isinstance(block, Caption))
    assert "Class 0 has the most training images, 400; its recall is number 1 of 4, from the highest." in said.text
    assert "Class 3 has the fewest training images, 100; its recall is number 4 of 4, from the highest." in said.text
    assert "correlation of training images and recall is 1.00" in said.text


def test_balanced_classes_are_not_ranked(made):
    balanced = StudyData(made.runs, characteristics=made.characteristics.assign(training_images=250))
    (said,) = (block for block in class_section.training_images(balanced).blocks if isinstance(block, Caption))
    assert said.text == "All classes have the same number of training images."


def test_classes_with_equally_many_images_are_counted_and_not_ranked(made):
    images = made.characteristics["class"].map({"0": 250, "1": 250, "2": 250, "3": 50})
    tied = StudyData(made.runs, characteristics=made.characteristics.assign(training_images=images))
    (said,) = (block for block in class_section.training_images(tied).blocks if isinstance(block, Caption))
    assert said.text.startswith("3 classes have the most training images, 250. Class 3 has the fewest training images")


def test_classes_are_not_ranked_by_the_means_of_networks_that_differ_in_training_images():
    """Every class is rare in one of four networks, so that all classes have the same mean, 325."""
    runs = made_up_levels.runs(pruners=("l1-structured",), treatments=("finetune",), seeds=4, levels=1)
    known = made_up_levels.characteristics(runs)
    is_rare = known["class"] == known["run_id"].str[-1]
    section = class_section.training_images(
        StudyData(runs, characteristics=known.assign(training_images=is_rare.map({True: 100, False: 400})))
    )
    (said,) = (block for block in section.blocks if isinstance(block, Caption))
    assert said.text == (
        "The networks differ in their training images: class 0 has between 100 and 400. The classes are therefore not "
        "ranked."
    )
    table = section.tables["class_images.csv"]
    columns = ["training_images", "fewest_images", "most_images"]
    assert table[columns].to_numpy().tolist() == [[325, 100, 400]] * 4
    picture = figures(section)["class_images"]
    ranges = [line.tolist() for line in picture.axes[0].collections[0].get_segments()]
    assert ranges == [[[place, 100], [place, 400]] for place in range(4)]
    assert not hidden_texts(picture)


def test_networks_that_are_pruned_once_or_never_have_their_images_counted_once_each():
    """The control and `mp` share the dense network of seed 0; that of seed 1 has a control alone."""
    runs = made_up_runs.study(
        made_up_runs.runs("toy", "net", "mp", 10, [1.0]), made_up_runs.runs("toy", "net", "none", 1, [1.0, 1.0])
    )
    images = {"toy net 0": (500, 300), "toy net 1": (300, 100)}
    rows = [(run, name, place, images[run][place], 0.1, 1.0) for run in images for place, name in enumerate("ab")]
    columns = ["run_id", "class", "index", "training_images", "imbalance", "entropy"]
    made = StudyData(runs, characteristics=pd.DataFrame(rows, columns=columns))
    table = class_section.training_images(made).tables["class_images.csv"]
    assert table["training_images"].tolist() == [400, 200]
    assert table["networks"].tolist() == [2, 2]


@pytest.mark.slow
def test_the_section_is_for_the_paper_alone_and_needs_to_know_the_images(made):
    assert class_section.training_images(StudyData(made.runs)) is None
    known = {"characteristics": made.characteristics}
    assert "class_images.csv" not in report(StudyData(made.runs, **known), ReportOptions()).tables
    assert "class_images.csv" in report(StudyData(made.runs, **known), ReportOptions(paper=True)).tables


@pytest.mark.parametrize(("count", "named"), [(10, True), (62, True), (1000, False)])
def test_names_of_classes_are_written_where_bars_have_room(count, named):
    names = [f"a class with a long name {place}" for place in range(count)]
    classes = pd.DataFrame(
        {"dataset": "d", "model": "m", "class": names, "training_images": range(count), "accuracy0": 0.9}
    )
    classes = classes.assign(fewest_images=classes["training_images"], most_images=classes["training_images"])
    classes.loc[0, "accuracy0"] = 0.5
    picture = training_images(classes)
    assert not hidden_texts(picture)
    written = [label.get_text() for label in picture.axes[0].get_xticklabels()]
    assert len(written) == (count if named else 0)


@pytest.mark.slow
def test_the_words_of_the_colour_bar_fit_however_many_methods_there_are():
    structured = (f"{norm}-structured" for norm in ("l1", "l2", "linf", "random"))
    pruners = ("global-unstructured", "l1-unstructured", "random-unstructured", *structured)
    runs = made_up_levels.runs(pruners=pruners, levels=2, loss=dict.fromkeys(pruners, 0.1))
    for name in runs.filter(regex="recall_before"):
        runs[name] = 0.955 + 0.6 * (runs[name] - 0.93)
    assert not hidden_texts(figures(class_section.class_curves(StudyData(runs)))["class_curves"])
