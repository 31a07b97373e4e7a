"""Counts of classes in place of predictions: confusion matrices, and reports of scikit-learn."""

import json

import numpy as np
import pandas as pd
import pytest

from analysis.audit import audit, power
from analysis.common.errors import StudyError
from analysis.statistics.losses import from_counts

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
def test_counts_are_audited_with_the_interval_of_independent_samples(tmp_path, write):
    result = audited(tmp_path, write)
    row = result.table.iloc[0]
    assert row["class"] == ("0" if write in (write_array, write_list) else "ant")
    assert (row["recall_before"], row["recall_after"], row["images"]) == (0.9, 0.75, 400)
    newcombe = from_counts([360], [300], [400]).interval()[:, 0]
    assert [row["loss_low"], row["loss_high"]] == pytest.approx(newcombe)
    assert result.damaged == [row["class"]]
    assert not {"f1_loss", "precision_after"} & {*result.table.columns}
    assert sum(note.startswith("Class counts do not show which images") for note in result.notes) == 1
    assert not any("copies" in note or "row k" in note for note in result.notes)


def test_equal_counts_do_not_show_that_networks_are_alike(tmp_path):
    """As predictions, they would be of one network, and intervals would be narrower."""
    table = audited(tmp_path, write_report, BEFORE).table
    assert not table["damaged"].any()
    assert (table["loss_high"] - table["loss_low"]).min() > 0.05


@pytest.mark.parametrize(
    ("after", "message"),
    [
        (BEFORE * 2, "has other classes or numbers of images than"),
        (-BEFORE, "class 'ant' has -360 images predicted as 'ant': give counts"),
        (
            BEFORE - [[0, 0, 0], [0, BEFORE[1, 1] + 1, 0], [0, 0, 0]],
            "class 'bee' has -1 images predicted as 'bee': give counts",
        ),
        (BEFORE - [[0, 0, 0], [0, 0, 0], [-20, 20, 0]], "class 'cat' has -5 images predicted as 'bee'"),
        (BEFORE - [[0, 0.5, -0.5], [0, 0, 0], [0, 0, 0]], "class 'ant' has 29.5 images .*whole numbers"),
        (BEFORE / BEFORE.sum(1, keepdims=True), "class 'ant' has 0.9 images .*not shares"),
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


def audited_tables(folder, before, after, *control, **options):
    """Audit files with the given texts."""
    sides = []
    for place, text in enumerate((before, after, *control)):
        path = folder / f"{place}.csv"
        path.write_text(text)
        sides.append([str(path)])
    return audit.audit(*sides, **options)


MATRIX = "label,ant,bee,cat\nant,90,5,5\nbee,10,85,5\ncat,0,20,180\n"


@pytest.mark.parametrize(
    ("table", "never"),
    [
        ("label,bee,cat\nant,60,40\nbee,80,20\ncat,10,190\n", "ant"),
        ("label,ant,cat\nant,80,20\nbee,60,40\ncat,10,190\n", "bee"),
        ("label,ant,bee\nant,80,20\nbee,20,80\ncat,110,90\n", "cat"),
        ("label,ant,bee\nant,80,20\nbee,20,80\ncat,110,90\n,,\n,,\n", "cat"),
    ],
)
def test_a_class_that_is_never_predicted_has_recall_0(tmp_path, table, never):
    result = audited_tables(tmp_path, MATRIX, table).table.set_index("class")
    assert result["images"].to_dict() == {"ant": 100, "bee": 100, "cat": 200}
    expected = {"ant": 0.8, "bee": 0.8, "cat": 0.95, never: 0}
    assert result["recall_after"].to_dict() == expected


def test_a_network_that_predicts_a_single_class_is_audited(tmp_path):
    result = audited_tables(tmp_path, "label,ant,bee\nant,90,10\nbee,10,90\n", "label,ant\nant,100\nbee,100\n")
    assert result.table.set_index("class")["recall_after"].to_dict() == {"ant": 1, "bee": 0}


def test_predictions_without_a_header_are_no_confusion_matrix(tmp_path):
    table = "0,1,2\n" + "".join(f"{image},{image % 3},{image % 3}\n" for image in range(1, 30))
    with pytest.raises(StudyError, match="no column label"):
        audited_tables(tmp_path, table, table)


@pytest.mark.parametrize(
    "table",
    [
        "label,ant,bee,All\nant,90,10,100\nbee,20,80,100\nAll,110,90,200\n",
        "label,ant,bee\nant,90,10\nbee,20,80\nAll,110,90\n",
    ],
)
def test_totals_of_a_confusion_matrix_are_refused(tmp_path, table):
    with pytest.raises(StudyError, match="counts of 'All' are the sums of the other counts: leave out the totals"):
        audited_tables(tmp_path, table, table)


def test_a_class_as_large_as_all_others_is_no_total(tmp_path):
    """The class cat is never predicted and has the sum of the rows, but its column of zeros is not a sum."""
    table = "label,ant,bee,cat\nant,90,10,0\nbee,20,80,0\ncat,110,90,0\n"
    result = audited_tables(tmp_path, table, table).table.set_index("class")
    assert result["recall_after"].to_dict() == {"ant": 0.9, "bee": 0.8, "cat": 0}


@pytest.mark.parametrize(
    "table",
    [
        ",class,support,correct\n0,ant,10,9\n1,bee,20,8\n",
        "support,recall,class\n20,0.4,bee\n10,0.9,ant\n",
        "name,support,right\nant,10,9.000000000000002\nbee,20,8\n",
    ],
)
def test_classes_are_read_from_the_column_class_and_otherwise_from_the_first(tmp_path, table):
    result = audited_tables(tmp_path, table, "class,support,correct\nbee,20,8\nant,10,9\n").table.set_index("class")
    assert result["recall_before"].to_dict() == {"ant": 0.9, "bee": 0.4} == result["recall_after"].to_dict()


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("support,recall,name\n10,0.9,ant\n20,0.4,bee\n", "no column class: rename the column of the class names"),
        ("class,support,correct\nant,10,8.5\nbee,20,8\n", "class 'ant' has 8.5 right of 10 images"),
    ],
)
def test_a_table_of_counts_without_class_names_or_with_fractions_is_refused(tmp_path, table, message):
    with pytest.raises(StudyError, match=message):
        audited_tables(tmp_path, table, table)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[[true, false], [false, true]]", "has truth values: give the number of images"),
        ("[[5, true], [0, 5]]", "has truth values: give the number of images"),
        ("[[0.75, 0.25], [0.25, 0.75]]", "class '0' has 0.75 images predicted as '0': give counts"),
        ("[[1e400, 1], [1, 5]]", "class '0' has inf images predicted as '0': give counts"),
        ("[[1" + 400 * "0" + ", 1], [1, 5]]", "a confusion matrix must have a row and a column for each class"),
        ('{"a": {"support": 1e400, "recall": 0}, "b": {"support": 5, "recall": 1}}', "class 'a' has nan right of inf"),
        ('[{"label": "a", "predicted": "a"}]', "if the file has predictions, give predictions as .csv, .jsonl or .npz"),
        ('{"label": ["a", "b"], "predicted": ["a", "a"]}', "or predictions as .csv, .jsonl or .npz"),
    ],
)
def test_json_that_has_no_counts_is_refused(tmp_path, content, message):
    path = tmp_path / "before.json"
    path.write_text(content)
    with pytest.raises(StudyError, match=message):
        audit.audit([str(path)], [str(path)])


@pytest.mark.parametrize("content", [b"", b"garbage", b"\x93NUMPY\x01\x00"])
def test_a_damaged_npy_file_is_refused_in_one_line(tmp_path, content):
    path = tmp_path / "before.npy"
    path.write_bytes(content)
    with pytest.raises(StudyError, match=r"before.npy: not a complete .npy file") as raised:
        audit.audit([str(path)], [str(path)])
    assert "\n" not in str(raised.value)


def test_an_npy_file_of_objects_is_refused(tmp_path):
    path = tmp_path / "before.npy"
    np.save(path, np.array([[1, "a"], [None, 3]], dtype=object), allow_pickle=True)
    with pytest.raises(StudyError, match=r"before.npy: not a complete .npy file"):
        audit.audit([str(path)], [str(path)])


def test_groups_are_refused_with_class_counts(tmp_path):
    (tmp_path / "groups.csv").write_text("group\n" + 200 * "day\nnight\n")
    with pytest.raises(StudyError, match=r"groups need the predictions of each image, but .*0.csv contains class"):
        audited_tables(tmp_path, MATRIX, MATRIX, groups=tmp_path / "groups.csv")


def test_the_file_before_as_control_is_the_network_before(tmp_path):
    write_matrix(BEFORE, tmp_path / "before")
    write_matrix(AFTER, tmp_path / "after")
    before, after = ([str(tmp_path / f"{name}.csv")] for name in ("before", "after"))
    result = audit.audit(before, after, before)
    assert "Nothing was retrained" in result.verdict
    assert (result.table["recall_control"] == result.table["recall_before"]).all()


def test_two_files_of_counts_in_the_control_are_refused(tmp_path):
    for name in ("before", "after", "first", "second"):
        write_matrix(BEFORE, tmp_path / name)
    before, after, *control = (str(tmp_path / f"{name}.csv") for name in ("before", "after", "first", "second"))
    with pytest.raises(StudyError, match="give class counts of one network on each side"):
        audit.audit([before], [after], control)


def test_power_refuses_class_counts(tmp_path):
    write_matrix(BEFORE, tmp_path / "before")
    write_matrix(AFTER, tmp_path / "after")
    sides = [str(tmp_path / "before.csv")], [str(tmp_path / "after.csv")]
    with pytest.raises(StudyError, match=r"contains class counts: give class counts .* of an audit, or give"):
        power.power(*sides)
