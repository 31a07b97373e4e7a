"""The artifact `class_characteristics.csv` and its export: read as written, or refused in one line."""

import pandas as pd
import pytest

from analysis.common.errors import StudyError
from analysis.runs import pull
from analysis.runs.characteristics import TABLE, pulled
from tests import made_up_levels, made_up_runs
from tests.damage import read_damaged

RUNS = made_up_levels.runs(seeds=2)
KNOWN = made_up_levels.characteristics(RUNS)
OF_ONE = KNOWN.iloc[:4].drop(columns="run_id")


def test_a_table_is_read_as_it_was_written():
    without_images = OF_ONE.assign(entropy=[1.5, 2.5, float("nan"), 3.0], **{"class": ["NA", "=b", "c", "d"]})
    pd.testing.assert_frame_equal(TABLE.parse(TABLE.as_csv(without_images), "it"), without_images, check_dtype=False)


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("entropy", 9.0, "an entropy is not between 0 and 8 bits"),
        ("entropy", "many", "entropy has type"),
        ("imbalance", -2.0, "an imbalance is not between -1 and 1"),
        ("imbalance", float("nan"), "an imbalance is not between -1 and 1"),
        ("training_images", -1, "negative"),
        ("index", 0, "a row occurs twice"),
    ],
)
def test_impossible_values_are_refused(column, value, reason):
    table = OF_ONE.astype({column: object})
    table.loc[2, column] = value
    with pytest.raises(StudyError, match=rf"^it: no characteristics of classes \(.*{reason}"):
        TABLE.parse(TABLE.as_csv(table), "it")


@pytest.mark.slow
@pytest.mark.attack
def test_damaged_class_characteristics_csv__is_read_or_refused_in_one_line(tmp_path):
    parts = [b"\x00", b'"', b",", b"\n", b"9" * 30, b"NaN", b"\xff", b"1e400"]
    taken = read_damaged(
        lambda path: TABLE.parse(path.read_bytes(), str(path)), tmp_path / "it", [TABLE.as_csv(OF_ONE)], parts, 300
    )
    assert 0 < taken < 300


def test_an_export_is_read_as_it_was_written(tmp_path):
    assert [str(path) for path in TABLE.export(KNOWN, tmp_path)] == ["class_characteristics.csv.gz"]
    pd.testing.assert_frame_equal(TABLE.read([tmp_path, tmp_path / "without"]), KNOWN, check_dtype=False)


@pytest.mark.attack
def test_damaged_export_of_class_characteristics__is_refused_in_one_line(tmp_path):
    TABLE.export(KNOWN, tmp_path)
    path = tmp_path / "class_characteristics.csv.gz"
    sound = path.read_bytes()
    for damaged in (sound[:-9], b"", b"no gzip", sound[:20] + b"\x00" + sound[21:]):
        path.write_bytes(damaged)
        with pytest.raises(StudyError, match=r"class_characteristics\.csv\.gz: "):
            TABLE.read([tmp_path])


def test_dense_runs_are_asked_for_their_artifact(monkeypatch):
    found = {"mnist lenet5 0": TABLE.as_csv(OF_ONE), "mnist lenet5 1": b"damaged"}
    asked = {}
    monkeypatch.setattr(pull, "artifacts_of", lambda run_ids, name, **_: asked.update({name: run_ids}) or found)
    pd.testing.assert_frame_equal(pulled(RUNS), KNOWN.iloc[:4], check_dtype=False)
    assert asked == {"class_characteristics.csv": ["mnist lenet5 0", "mnist lenet5 1"]}
    pulled(made_up_runs.runs("toy", "net", "mp", 10, [1.0]))
    assert asked == {"class_characteristics.csv": ["toy net 0"]}
