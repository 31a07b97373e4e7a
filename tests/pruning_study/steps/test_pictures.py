import io
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from analysis.statistics.hypothesis_tests import change_interval
from pruning_study.steps import pictures
from pruning_study.steps.class_changes import class_changes
from pruning_study.training.evaluation import Predictions
from tests.text_boxes import hidden_texts


def confusion_table(classes):
    """Return a table in which three of four images of a class are right, and the fourth is of the next class."""
    counts = 3 * np.eye(classes, dtype=int) + np.roll(np.eye(classes, dtype=int), 1, axis=1)
    names = [f"class {index}" for index in range(classes)]
    return pd.DataFrame(counts, names, names)


class TestConfusion:
    def test_cells_are_shares_of_the_true_class(self):
        axes = pictures.confusion(confusion_table(3), "title").axes[0]
        assert axes.images[0].get_array().tolist() == [[0.75, 0.25, 0], [0, 0.75, 0.25], [0.25, 0, 0.75]]
        assert sorted(cell.get_text() for cell in axes.texts) == ["0.25"] * 3 + ["0.75"] * 3

    @pytest.mark.parametrize(("classes", "numbers"), [(20, 40), (21, 0)])
    def test_cells_of_many_classes_have_no_numbers(self, classes, numbers):
        assert len(pictures.confusion(confusion_table(classes), "title").axes[0].texts) == numbers


@pytest.mark.parametrize(("classes", "names", "label"), [(100, 100, "true class"), (101, 0, "true class, by number")])
def test_a_matrix_of_many_classes_has_no_names(classes, names, label):
    axes = pictures.confusion(confusion_table(classes), "title").axes[0]
    assert sum(tick.get_text().startswith("class ") for tick in axes.get_yticklabels()) == names
    assert axes.get_ylabel() == label


def test_the_change_of_confusion_says_where_lost_images_went():
    before, after = confusion_table(3), confusion_table(3)
    after.iloc[0] = [1, 1, 2]
    figure = pictures.pruned_confusion(after, after - before, "title")
    left, right = figure.axes[:2]
    assert left.images[0].get_array().tolist()[0] == [0.25, 0.25, 0.5]
    assert right.images[0].get_array().tolist() == [[-2, 0, 2], [0, 0, 0], [0, 0, 0]]
    assert sorted(cell.get_text() for cell in right.texts) == ["+2", "-2"]


NAMES = ["shirt", "bag", "$boot$"]


def predictions(recalls, images):
    """Return predictions of which the first of each class's images are right, a share of them."""
    label = np.repeat(range(len(recalls)), images)
    right = np.concatenate([np.arange(images) < recall * images for recall in recalls])
    predicted = np.where(right, label, (label + 1) % len(recalls))
    return Predictions(label, predicted, predicted[:, None], np.ones(len(label), np.float32))


def recall_change(before=(0.9, 0.8, 0.7), after=(0.7, 0.8, 0.9), images=10, names=NAMES, title="title"):
    changes = class_changes(names, [predictions(before, images)], [predictions(after, images)])
    return pictures.recall_change(changes, title)


class TestRecallChange:
    def test_classes_stand_in_the_order_of_their_loss_in_points(self):
        axes = recall_change().axes[0]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["$boot$  -20.0", "bag  0.0", "shirt  20.0"]
        assert axes.get_title() == "Loss of each class in points:\nno class shown to be worse"
        assert axes.get_xlabel() == "recall, 10 test images a class"

    def test_the_class_that_lost_most_is_coloured_and_white_if_its_loss_is_not_shown(self):
        marks = recall_change().axes[0].collections[-1]
        assert [to_hex(color) for color in marks.get_edgecolors()] == [pictures.BEFORE, pictures.BEFORE, pictures.LOSS]
        assert {to_hex(color) for color in marks.get_facecolors()} == {"#ffffff"}

    def test_of_many_classes_the_best_and_the_worst_are_drawn(self):
        """All are right before; class k of 120 loses k of 120 images."""
        names = [f"class {index}" for index in range(120)]
        axes = recall_change([1.0] * 120, 1 - np.arange(120) / 120, images=120, names=names).axes[0]
        drawn = [label.get_text().split("  ")[0] for label in axes.get_yticklabels()]
        assert drawn == [f"class {index}" for index in (*range(50), *range(70, 120))]
        assert axes.get_title().startswith("Loss of the 50 best and the 50 worst classes in points")

    def test_a_loss_beyond_the_noise_of_the_images_is_said(self):
        """Of 100 images 20 are lost and none is won: McNemar's exact p is 2^-19."""
        axes = recall_change(after=(0.7, 0.8, 0.7), images=100).axes[0]
        assert axes.get_title().endswith("\nshirt is worse (20.0 points)")

    def test_the_bars_are_the_intervals_of_the_losses(self):
        axes = recall_change().axes[0]
        low, high = change_interval(lost=2, won=0, images=10)
        (shirt,) = [segment for segment in axes.collections[0].get_segments() if segment[0][1] == 2]
        assert shirt[:, 0] == pytest.approx([0.9 + low, min(0.9 + max(high, 0), 1)])

    def test_balances_and_their_slope(self):
        """The balances are (R - .8) / .8: 1/8, 0 and -1/8, which change places."""
        axes = recall_change().axes[1]
        np.testing.assert_allclose(
            axes.collections[0].get_offsets(), [[0.125, -0.125], [0, 0], [-0.125, 0.125]], atol=1e-12
        )
        slope = axes.lines[1]
        np.testing.assert_allclose(slope.get_ydata(), -np.array(slope.get_xdata()))

    def test_a_slope_of_few_images_is_called_noise(self):
        axes = recall_change().axes[1]
        assert axes.lines[1].get_label() == "slope alpha = -1.00, which may be noise"
        assert "too small for 30 test images" in axes.get_title().replace("\n", " ")

    def test_a_slope_of_many_images_has_its_intervals(self):
        """The balances 1/3, 0, -1/3 are as they were, so that both slopes are 1 on any images."""
        axes = recall_change((0.8, 0.6, 0.4), (0.8, 0.6, 0.4), images=1000).axes[1]
        assert axes.lines[1].get_label().splitlines() == [
            "slope alpha = 1.00",
            "on new images 1.00 (1.00 to 1.00)",
            "raw slope there 1.00 (1.00 to 1.00)",
        ]

    def test_an_undefined_alpha_has_no_line(self):
        axes = recall_change(before=(0.8, 0.8, 0.8)).axes[1]
        assert len(axes.lines) == 1
        assert "undefined" in axes.get_title()

    def test_a_network_that_is_never_right_has_balances_of_0(self):
        offsets = recall_change(after=(0, 0, 0)).axes[1].collections[0].get_offsets()
        assert offsets[:, 1].tolist() == [0, 0, 0]

    @pytest.mark.parametrize("recall", [0.0, 0.5, 1.0])
    def test_names_of_classes_that_fare_alike_do_not_overlap(self, recall):
        """At the lower end of the panel, in its middle and at its upper end."""
        names = ["ankle boot", "ankle boots", "a class with a long name", "trouser", "bag"]
        after = [*[recall] * 4, 1 - recall]
        assert hidden_texts(recall_change([0.5] * 5, after, names=names)) == []

    def test_a_name_with_dollar_signs_is_drawn(self):
        recall_change().savefig(io.BytesIO())


def test_the_recall_of_the_control_is_a_mark_of_its_own():
    """Shirt falls from 90 % to 58, and to 60 in the control; losses are since the dense network."""
    dense, control, after = (predictions(each, 100) for each in ((0.9, 0.7, 0.8), (0.6, 0.7, 0.8), (0.58, 0.9, 0.8)))
    axes = pictures.recall_change(class_changes(NAMES, [dense], [after], [control]), "title").axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["bag  -20.0", "$boot$  0.0", "shirt  32.0"]
    marks = {each.get_label(): each for each in axes.collections}
    shirt = {name: marks[name].get_offsets()[2, 0] for name in marks if name.startswith("recall")}
    assert shirt == pytest.approx(
        {
            "recall before pruning": 0.9,
            "recall of the control": 0.6,
            "recall after, filled if shown to differ": 0.58,
        }
    )


def test_recalls_over_ratios_name_the_class_that_lost_most_and_those_that_were_weakest():
    before, recalls = predictions((0.9, 0.8, 0.7), 10), ((0.9, 0.8, 0.8), (0.5, 0.8, 0.8))
    changes = {2.0 + at: class_changes(NAMES, [before], [predictions(after, 10)]) for at, after in enumerate(recalls)}
    axes = pictures.over_ratios(changes, "title").axes[0]
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines if not line.get_label().startswith("_")}
    assert lines == {
        "recall of shirt, which lost most": pytest.approx([0.9, 0.9, 0.5]),
        "recall of bag": pytest.approx([0.8, 0.8, 0.8]),
        "recall of $boot$": pytest.approx([0.7, 0.8, 0.8]),
        "accuracy": pytest.approx([0.8, 2.5 / 3, 0.7]),
    }
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["before", "2", "3"]


def test_recalls_over_ratios_begin_with_those_before_and_of_the_control():
    """Shirt lost 30 points since the dense network, and boot 20."""
    dense, control, after = (predictions(each, 10) for each in ((0.9, 0.8, 0.9), (0.7, 0.8, 0.9), (0.6, 0.8, 0.7)))
    axes = pictures.over_ratios({2.0: class_changes(NAMES, [dense], [after], [control])}, "title").axes[0]
    lines = {line.get_label(): list(line.get_ydata()) for line in axes.lines if not line.get_label().startswith("_")}
    assert lines["recall of shirt, which lost most"] == pytest.approx([0.9, 0.7, 0.6])
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["before", "control", "2"]


HOSTILE = ["$\\frac{", "$x$", "a\x00b", "\ufffe", "_a", "猫", "<b>"]


@pytest.mark.attack
@pytest.mark.parametrize("title", [" ".join(HOSTILE), "x" * 5000], ids=["formulas", "long"])
@pytest.mark.filterwarnings("ignore:Glyph")
def test_a_class_or_title_with_formulas_or_control_characters__leaves_the_pictures_of_a_run_whole(title):
    names = [*HOSTILE, "x" * 5000]
    table = pd.DataFrame(3 * np.eye(8, dtype=int), names, names)
    recalls = np.linspace(0.5, 0.9, 8)
    for figure in (pictures.confusion(table, title), recall_change(recalls, recalls[::-1], names=names, title=title)):
        content = io.BytesIO()
        figure.savefig(content, format="svg")
        assert ET.fromstring(content.getvalue()).tag.endswith("svg")
