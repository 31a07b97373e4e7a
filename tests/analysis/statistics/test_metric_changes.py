"""Precision, false positive rate and calibration error, by hand, and their bounds, which are those of recalls."""

import numpy as np
import pytest

from analysis.statistics.class_table import class_table
from analysis.statistics.metric_changes import Answers, metric_table

LABEL = np.array([0, 0, 0, 0, 1, 1, 1, 1])
BEFORE = np.array([[0, 0, 0, 1, 1, 1, 1, 1]])
AFTER = np.array([[0, 0, 1, 1, 0, 1, 1, 1]])
ENDS = ["change", "low", "high"]


def test_metrics_of_eight_images():
    table = metric_table(["cat", "dog"], LABEL, {"before": Answers(BEFORE), "after": Answers(AFTER)})
    assert table[["metric", "class"]].agg(" ".join, axis=1).tolist() == [
        "precision cat",
        "precision dog",
        "false positive rate cat",
        "false positive rate dog",
    ]
    assert table["before"].tolist() == pytest.approx([1, 4 / 5, 0, 1 / 4])
    assert table["after"].tolist() == pytest.approx([2 / 3, 3 / 5, 1 / 4, 2 / 4])
    assert table["change"].tolist() == pytest.approx([-1 / 3, -1 / 5, 1 / 4, 1 / 4])


def test_precision_is_that_of_scikit_learns_example():
    label, predicted = np.array([0, 1, 2, 0, 1, 2]), np.array([[0, 2, 1, 0, 0, 1]])
    table = metric_table(["0", "1", "2"], label, {"before": Answers(predicted), "after": Answers(predicted)})
    assert table["before"][:3].tolist() == pytest.approx([2 / 3, 0, 0])  # precision_score(..., average=None)


def test_precision_of_a_class_that_is_never_predicted_is_0_and_it_has_no_calibration_error():
    sides = {"before": Answers(BEFORE, 0 * BEFORE + 0.5), "after": Answers(0 * AFTER, 0 * AFTER + 0.5)}
    table = metric_table(["cat", "dog"], LABEL, sides).set_index(["metric", "class"])
    assert table.loc[("precision", "dog"), "after"] == 0
    assert np.isnan(table.loc[("calibration error", "dog"), ["after", "change", "low", "high"]].astype(float)).all()


def test_calibration_error_by_hand():
    """The dogs before: four are right at .95, and a cat is taken for one at .55."""
    confidence = np.array([[0.95, 0.95, 0.35, 0.55, 0.95, 0.95, 0.95, 0.95]])
    table = metric_table(["cat", "dog"], LABEL, {side: Answers(BEFORE, confidence) for side in ("before", "after")})
    cat, dog = table[table["metric"] == "calibration error"]["before"]
    assert cat == pytest.approx((2 * 0.05 + 0.65) / 3)
    assert dog == pytest.approx((4 * 0.05 + 0.55) / 5)


def test_change_is_from_the_control_on():
    sides = {"before": Answers(AFTER), "after": Answers(AFTER), "control": Answers(BEFORE)}
    table = metric_table(["cat", "dog"], LABEL, sides)
    assert list(table.columns[2:6]) == ["before", "control", "after", "change"]
    assert table["change"].tolist() == pytest.approx([-1 / 3, -1 / 5, 1 / 4, 1 / 4])


def test_interval_of_one_network_is_over_the_images_that_changed():
    """Ten of 200 images change: the variance is (10 - 10^2 / 200) / (200 * 199)."""
    label = np.repeat([0, 1], 200)
    after = np.where(np.arange(400) < 10, 1, label)
    table = metric_table(["0", "1"], label, {"before": Answers(label[np.newaxis]), "after": Answers(after[np.newaxis])})
    row = table.set_index(["metric", "class"]).loc[("false positive rate", "1")]
    half = 1.959964 * (9.5 / (200 * 199)) ** 0.5
    assert row[ENDS].tolist() == pytest.approx([0.05, 0.05 - half, 0.05 + half])
    assert row["low_all"] < row["low"] < row["high"] < row["high_all"]


@pytest.mark.parametrize(("before", "paired"), [(3, True), (3, False), (5, True)])
def test_bounds_are_those_of_recall(before, paired):
    """The false positive rate of one of two classes is 1 minus the recall of the other."""
    draw, label = np.random.default_rng(0), np.repeat([0, 1], 60)
    sides = [np.where(draw.random((each, 120)) < 0.2, 1 - label, label) for each in (before, 3)]
    recalls = class_table(np.array(["0", "1"]), label, *(each == label for each in sides), paired=paired)
    table = metric_table(
        ["0", "1"], label, dict(zip(("before", "after"), map(Answers, sides), strict=True)), paired=paired
    )
    rates = table[table["metric"] == "false positive rate"]
    np.testing.assert_allclose(rates[ENDS], -recalls.loc[[1, 0], ["change", "change_high", "change_low"]])


def test_a_group_has_only_its_own_images():
    group = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    sides = {"before": Answers(BEFORE, 0 * BEFORE + 1.0), "after": Answers(AFTER, 0 * AFTER + 1.0)}
    table = metric_table(["cat", "dog"], LABEL, sides, (["light", "dark"], group))
    table = table.set_index(["metric", "group", "class"])["after"]
    assert table["precision", "light", "cat"] == pytest.approx(2 / 3)
    assert table["false positive rate", "light", "cat"] == pytest.approx(1 / 2)
    assert table["false positive rate", "dark", "dog"] == 1
    assert table["calibration error", "light", ""] == pytest.approx(1 / 4)
    assert table["calibration error", "dark", ""] == pytest.approx(1 / 2)
