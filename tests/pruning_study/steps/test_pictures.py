import io
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest

from pruning_study.steps import pictures


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


NAMES = ["shirt", "bag", "$boot$"]
BEFORE = pd.DataFrame({"class": NAMES, "recall": [0.9, 0.8, 0.7]})
AFTER = pd.DataFrame({"class": NAMES, "recall": [0.7, 0.8, 0.9]})


def recall_change(**changed):
    options = {"accuracy": (0.8, 0.8), "alpha": -1.0, "title": "title"} | changed
    return pictures.recall_change(BEFORE, AFTER, **options)


class TestRecallChange:
    def test_classes_stand_in_the_order_of_their_change_in_points(self):
        axes = recall_change().axes[0]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["$boot$  +20.0", "bag  +0.0", "shirt  -20.0"]

    def test_balances_and_their_slope(self):
        """The balances are (R - .8) / .8: 1/8, 0 and -1/8, which change places."""
        axes = recall_change().axes[1]
        np.testing.assert_allclose(
            axes.collections[0].get_offsets(), [[0.125, -0.125], [0, 0], [-0.125, 0.125]], atol=1e-12
        )
        slope = axes.lines[1]
        np.testing.assert_allclose(slope.get_ydata(), -np.array(slope.get_xdata()))

    def test_an_undefined_alpha_has_no_line(self):
        axes = recall_change(alpha=np.nan).axes[1]
        assert len(axes.lines) == 1
        assert "undefined" in axes.get_title()

    def test_a_network_that_is_never_right_has_balances_of_0(self):
        offsets = recall_change(accuracy=(0.8, 0.0), alpha=np.nan).axes[1].collections[0].get_offsets()
        assert offsets[:, 1].tolist() == [0, 0, 0]

    def test_a_name_with_dollar_signs_is_drawn(self):
        recall_change().savefig(io.BytesIO())


@pytest.mark.attack
@pytest.mark.parametrize("name", ["$\\frac{", "$x$", "a\x00b", "\ufffe", "_a", "x" * 5000, "猫", "<b>"], ids=ascii)
def test_a_class_or_title_with_formulas_or_control_characters__leaves_the_pictures_of_a_run_whole(name):
    names = [name, "b", "c"]
    table = pd.DataFrame(3 * np.eye(3, dtype=int), names, names)
    before, after = (
        pd.DataFrame({"class": names, "recall": recalls}) for recalls in ([0.9, 0.8, 0.7], [0.7, 0.8, 0.9])
    )
    drawn = (
        pictures.confusion(table, name),
        pictures.recall_change(before, after, accuracy=(0.8, 0.8), alpha=-1.0, title=name),
    )
    for figure in drawn:
        content = io.BytesIO()
        figure.savefig(content, format="svg")
        assert ET.fromstring(content.getvalue()).tag.endswith("svg")
