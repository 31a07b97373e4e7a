"""Metrics of an audit other than recall: by hand, and from files."""

import numpy as np
import pandas as pd
import pytest

from analysis import audit_predictions
from analysis.audit import audit
from analysis.audit import result as audit_result
from analysis.audit.metrics import metric_table
from analysis.common.errors import StudyError

LABEL = np.repeat([0, 1], 200)
AFTER = np.where(np.arange(400) < 40, 1, LABEL)


def write(path, predicted, **arrays):
    np.savez(path, label=LABEL, predicted=predicted, **arrays)
    return [str(path)]


# Eight images of two classes
OF_EIGHT = np.repeat([0, 1], 4)
EIGHT = {"before": np.array([[0, 0, 0, 1, 1, 1, 1, 1]]), "after": np.array([[0, 0, 1, 1, 0, 1, 1, 1]])}


def metrics_of(predicted, confidence=None, groups=None):
    """The metrics of the eight images, with the same confidences on all sides."""
    sureness = {} if confidence is None else {side: np.full((1, 8), confidence) for side in predicted}
    table = metric_table(["cat", "dog"], OF_EIGHT, predicted, sureness, groups)
    return table.set_index(list(table.columns[: table.columns.get_loc("before")]))


def test_metrics_of_eight_images():
    table = metrics_of(EIGHT | {"control": EIGHT["before"]})
    assert list(table) == ["before", "control", "after"]
    assert table["control"].tolist() == table["before"].tolist()
    assert table.loc["precision"][["before", "after"]].to_numpy() == pytest.approx(
        np.array([[1, 2 / 3], [4 / 5, 3 / 5]])
    )
    assert table.loc["false positive rate"][["before", "after"]].to_numpy().tolist() == [[0, 1 / 4], [1 / 4, 2 / 4]]


def test_metrics_of_several_networks_are_means():
    two = {side: np.concatenate([EIGHT[side], EIGHT["after"]]) for side in EIGHT}
    assert metrics_of(two).loc[("precision", "cat"), "before"] == pytest.approx((1 + 2 / 3) / 2)


def test_precision_is_that_of_scikit_learns_example():
    label, predicted = np.array([0, 1, 2, 0, 1, 2]), np.array([[0, 2, 1, 0, 0, 1]])
    table = metric_table(["0", "1", "2"], label, {"before": predicted, "after": predicted}, {})
    assert table["before"][:3].tolist() == pytest.approx([2 / 3, 0, 0])  # precision_score(..., average=None)


def test_precision_of_a_class_that_is_never_predicted_is_0_and_it_has_no_calibration_error():
    table = metrics_of(EIGHT | {"after": np.zeros((1, 8), int)}, 0.5)
    assert table.loc[("precision", "dog"), "after"] == 0
    assert np.isnan(table.loc[("calibration error", "dog"), "after"])


def test_calibration_error_by_hand():
    """The dogs before: four are right at .95, and a cat is taken for one at .55."""
    table = metrics_of(EIGHT, [0.95, 0.95, 0.35, 0.55, 0.95, 0.95, 0.95, 0.95])
    cat, dog = table.loc["calibration error", "before"]
    assert cat == pytest.approx((2 * 0.05 + 0.65) / 3)
    assert dog == pytest.approx((4 * 0.05 + 0.55) / 5)


def test_a_group_has_only_its_own_images():
    after = metrics_of(EIGHT, 1.0, (["light", "dark"], np.array([0, 0, 1, 1, 0, 0, 1, 1])))["after"]
    assert after["precision", "light", "cat"] == pytest.approx(2 / 3)
    assert after["false positive rate", "light", "cat"] == pytest.approx(1 / 2)
    assert after["false positive rate", "dark", "dog"] == 1
    assert after["calibration error", "light", ""] == pytest.approx(1 / 4)
    assert after["calibration error", "dark", ""] == pytest.approx(1 / 2)


def test_probabilities_in_files_give_calibration_errors(tmp_path):
    sides = [
        write(tmp_path / f"{side}.npz", own, probabilities=np.eye(2)[own] * 0.8 + 0.1)
        for side, own in (("before", LABEL), ("after", AFTER))
    ]
    result = audit.audit(*sides)
    audit_result.write(result, tmp_path / "audit")
    table = pd.read_csv(tmp_path / "audit" / "metrics.csv").set_index(["metric", "class"])
    assert table.loc[("calibration error", 0), ["before", "after"]].tolist() == pytest.approx([0.1, 0.1])
    assert table.loc[("calibration error", 1), "after"] == pytest.approx(abs(0.9 - 200 / 240))


def test_confidences_of_some_files_are_left_out_and_it_is_said(tmp_path):
    result = audit.audit(
        write(tmp_path / "before.npz", LABEL), write(tmp_path / "after.npz", AFTER, confidence=np.full(400, 0.9))
    )
    assert result.metrics["metric"].unique().tolist() == ["precision", "false positive rate"]
    assert any("calibration error is left out" in note and "before.npz" in note for note in result.notes)


def test_counts_of_classes_have_no_other_metrics(tmp_path):
    for side, matrix in (("before", [[90, 10], [10, 90]]), ("after", [[80, 20], [10, 90]])):
        pd.DataFrame(matrix, ["cat", "dog"], ["cat", "dog"]).to_csv(tmp_path / f"{side}.csv")
    result = audit.audit([str(tmp_path / "before.csv")], [str(tmp_path / "after.csv")])
    audit_result.write(result, tmp_path / "audit")
    assert not (tmp_path / "audit" / "metrics.csv").exists()
    assert not any("calibration" in note for note in result.notes)


def test_confidences_are_left_out_with_the_copies_of_a_network():
    after = np.array([AFTER, AFTER])
    before = np.array([LABEL, np.roll(LABEL, 3)])
    sides = {"before": np.full((2, 400), 0.9), "after": np.array([np.full(400, 0.8), np.full(400, 0.8)])}
    result = audit_predictions(LABEL, before, after, confidences=sides)
    assert (result.metrics["metric"] == "calibration error").sum() == 2


@pytest.mark.parametrize(
    ("confidences", "message"),
    [
        (np.ones((2, 400)), "confidences is of type ndarray: give a mapping"),
        ({"before": np.ones(400)}, "confidences has before: give them for before, after"),
        ({"before": np.ones(400), "after": np.ones(3)}, "confidences of after have shape"),
        ({"before": np.ones(400), "after": np.full(400, 90.0)}, "confidences of after are not from 0 to 1"),
    ],
)
def test_confidences_that_do_not_fit_are_refused(confidences, message):
    with pytest.raises(StudyError, match=message):
        audit_predictions(LABEL, LABEL, AFTER, confidences=confidences)
