"""Metrics beside recall in an audit: the table, the line that names what moved most, and files."""

import numpy as np
import pandas as pd
import pytest

from analysis import audit_predictions
from analysis.audit import audit
from analysis.audit import result as audit_result
from analysis.common.errors import StudyError

LABEL = np.repeat([0, 1], 200)
AFTER = np.where(np.arange(400) < 40, 1, LABEL)


def write(path, predicted, **arrays):
    np.savez(path, label=LABEL, predicted=predicted, **arrays)
    return [str(path)]


def test_the_metric_that_moved_most_is_named():
    result = audit_predictions(LABEL, LABEL, AFTER, LABEL, class_names=["cat", "dog"])
    line = "The false positive rate of dog is 20.0 points above that of the control ("
    assert line in audit_result.summary(result).replace("\n", " ")
    assert line in audit_result.markdown(result)


def test_nothing_is_said_where_nothing_moved():
    result = audit_predictions(LABEL, AFTER, AFTER, AFTER)
    assert "metrics.csv" not in audit_result.summary(result)


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
