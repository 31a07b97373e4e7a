"""Counts of classes in place of predictions: confusion matrices, and reports of scikit-learn."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis.audit import audit
from analysis.common.errors import StudyError

NAMES = ["ant", "bee", "cat"]
BEFORE = np.array([[360, 30, 10], [20, 370, 10], [5, 15, 180]])
AFTER = np.array([[300, 60, 40], [20, 370, 10], [10, 10, 180]])


def report(matrix):
    """Return what scikit-learn's `classification_report(output_dict=True)` returns."""
    support = matrix.sum(1)
    recall = matrix.diagonal() / support
    rows = {
        name: {"precision": 0.5, "recall": float(recall[place]), "f1-score": 0.5, "support": float(support[place])}
        for place, name in enumerate(NAMES)
    }
    mean = {"precision": 0.5, "recall": float(recall.mean()), "f1-score": 0.5, "support": float(support.sum())}
    return {**rows, "accuracy": float(matrix.trace() / matrix.sum()), "macro avg": mean, "weighted avg": mean}


def write_report(matrix, path):
    path.with_suffix(".json").write_text(json.dumps(report(matrix)))


def write_report_table(matrix, path):
    pd.DataFrame(report(matrix)).T.to_csv(path.with_suffix(".csv"))


def write_matrix(matrix, path):
    pd.DataFrame(matrix, NAMES, NAMES).to_csv(path.with_suffix(".csv"))


def write_counts(matrix, path):
    table = pd.DataFrame({"class": NAMES, "support": matrix.sum(1), "correct": matrix.diagonal()})
    table.to_csv(path.with_suffix(".csv"), index=False)


def write_array(matrix, path):
    np.save(path, matrix)


def write_list(matrix, path):
    path.with_suffix(".json").write_text(json.dumps(matrix.tolist()))


WRITERS = [write_report, write_report_table, write_matrix, write_counts, write_array, write_list]


def audited(folder, write, after=AFTER):
    for name, matrix in (("before", BEFORE), ("after", after)):
        write(matrix, folder / name)
    files = {path.stem: str(path) for path in folder.iterdir()}
    return audit.audit([files["before"]], [files["after"]])


@pytest.mark.parametrize("write", WRITERS)
def test_counts_are_audited_with_the_variance_of_independent_samples(tmp_path, write):
    result = audited(tmp_path, write)
    row = result.table.iloc[0]
    assert row["class"] == ("0" if write in (write_array, write_list) else "ant")
    assert (row["recall_before"], row["recall_after"], row["support"]) == (0.9, 0.75, 400)
    # Of two independent samples of 400: the root of (.9 * .1 + .75 * .25) / 400 is .0263.
    half = 1.96 * np.sqrt((0.9 * 0.1 + 0.75 * 0.25) / 400)
    assert (row["change_high"] - row["change_low"]) / 2 == pytest.approx(half, rel=0.03)
    assert result.damaged == [row["class"]]
    assert sum(note.startswith("Class counts do not show which images") for note in result.notes) == 1
    assert not any("copies" in note or "row k" in note for note in result.notes)


def test_equal_counts_do_not_show_that_networks_are_alike(tmp_path):
    """As predictions, they would be of one network, and intervals would have no width."""
    table = audited(tmp_path, write_report, BEFORE).table
    assert not table["damaged"].any()
    assert (table["change_high"] - table["change_low"]).min() > 0.05


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (BEFORE * 2, "has other classes or numbers of images than"),
        (-BEFORE, "class 'ant' has -360 right of -400 images"),
        (BEFORE - [[0, 0, 0], [0, BEFORE[1, 1] + 1, 0], [0, 0, 0]], "class 'bee' has -1 right of"),
        (np.zeros((3, 3), int), "give counts of two classes or more"),
    ],
)
def test_counts_that_do_not_fit_are_refused(tmp_path, after, message):
    with pytest.raises(StudyError, match=message):
        audited(tmp_path, write_matrix, after)


def test_counts_beside_predictions_are_refused(tmp_path):
    write_report(BEFORE, tmp_path / "before")
    (tmp_path / "after.csv").write_text("label,predicted\nant,ant\nbee,bee\n")
    with pytest.raises(
        StudyError, match=r"before.json contains class counts: give class counts of one network on each side"
    ):
        audit.audit([str(tmp_path / "before.json")], [str(tmp_path / "after.csv")])
