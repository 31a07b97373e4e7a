"""A study in files: reading gives back what was written, and its report is that of the store."""

import itertools
import os
import re
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from pandas.testing import assert_frame_equal

from analysis.__main__ import cli
from analysis.common import csv_text
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.rendering import page
from analysis.report import report
from analysis.runs import exports, pull, schema
from analysis.study.study import ReportOptions, StudyData
from tests.blank_figures import leave_undrawn

EXPERIMENT = "two data sets"
ARTIFACTS = {"primary.json": {"b": b"{}", "a": b"\0"}, "trials.csv": {"c": b""}}
STORED = {"artifacts/b/primary.json", "artifacts/a/primary.json", "artifacts/c/trials.csv"}
# Of ten images, five of each class; which of them the seed's dense network has wrong, and its pruned ones too.
LABEL = np.array([0, 1] * 5)
WRONG_BEFORE, WRONG_AFTER = {0: [0, 1, 2], 1: [0, 1, 4]}, {"mp": [6, 8], "none": [3]}


def predicted(*wrong):
    return np.where(np.isin(np.arange(10), list(itertools.chain(*wrong))), 1 - LABEL, LABEL)


@pytest.fixture(scope="session")  # a name is free once in a store, and xdist may come back to a module
def store(session_store, tmp_path_factory):
    """Two seeds, pruned and not, of two data sets; of one, `mp` gradually too, and a failed run."""
    folder = tmp_path_factory.mktemp("store")
    client = MlflowClient(session_store)
    experiment = client.create_experiment(EXPERIMENT, artifact_location=folder.as_uri())

    def log(kind, wrong, status="FINISHED", **params):
        cell = {"cell": schema.cell({name: str(value) for name, value in params.items()})} if dense else {}
        run_id = client.create_run(experiment, tags={"kind": kind} | dense | cell).info.run_id
        guess = predicted(*wrong)
        names = ("cat", "T-shirt/top") if params["dataset"] == "pets" else ("0", "1")
        right = {name: (guess == LABEL)[number == LABEL].mean() for number, name in enumerate(names)}
        metrics = {f"recall/{name}": share for name, share in right.items()}
        metrics |= {f"support/{name}": 5 for name in names} | {"test_accuracy": (guess == LABEL).mean()}
        client.log_batch(
            run_id,
            metrics=[Metric(name, value, 0, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in params.items()],
        )
        np.savez(folder / "predictions.npz", label=LABEL, predicted=guess)
        client.log_artifact(run_id, str(folder / "predictions.npz"))
        client.set_terminated(run_id, status)
        return run_id

    for dataset, digest in (("pets", "d1"), ("digits", "d0")):
        for seed, wrong in WRONG_BEFORE.items():
            dense = {}
            common = {"dataset": dataset, "dataset_digest": digest, "model": "net", "seed": seed, "recipe": "none"}
            dense = {"dense_run_id": log("dense", [wrong], **common)}
            for pruner, more in WRONG_AFTER.items():
                ratio = 1 if pruner == "none" else 4
                # Only the pets' ones know of schedules.
                known = {"schedule": "one-shot"} if dataset == "pets" else {}
                log("pruned", [wrong, more], **common, pruner=pruner, ratio=ratio, **known)
            if dataset == "pets":
                log("pruned", [wrong], **common, pruner="mp", ratio=4, schedule="cubic", ramp=0.5)
                log("pruned", [wrong], "FAILED", **common, pruner="mp", ratio=8)
    return session_store


@pytest.fixture(scope="module")
def study(store):
    return pull.study(EXPERIMENT, tracking_uri=store)


@pytest.fixture(scope="module")
def written(store, study, tmp_path_factory):
    folder = tmp_path_factory.mktemp("frames")
    exports.write(study, partial(pull.predictions, tracking_uri=store), ARTIFACTS, folder)
    return folder


@pytest.fixture
def own(written, tmp_path):
    """A copy that a test may damage."""
    return Path(shutil.copytree(written, tmp_path, dirs_exist_ok=True))


def same(study, other):
    for frame, expected in zip(study[:2], other[:2], strict=True):
        assert_frame_equal(frame, expected, check_exact=True, check_column_type=True)
        assert frame.attrs == expected.attrs


def test_the_frames_come_back_as_they_were(study, written):
    assert study.runs["params.ramp"].isna().any()
    assert "1 pruned run" not in study.runs.attrs["left_out"][0]
    assert study.runs.attrs["left_out"][0].startswith("2 pruned runs left out, failed: ")
    same(exports.read([written])[0], study)


def test_the_predictions_come_back_as_they_were(store, study, written):
    run_ids = [*study.runs["run_id"], "of another", *study.dense_runs["dense_run_id"]]
    expected = pull.predictions(run_ids, tracking_uri=store)
    found = exports.read([written])[1](run_ids)
    assert list(found) == list(expected) == [run_id for run_id in run_ids if run_id != "of another"]
    for run_id, arrays in expected.items():
        assert found[run_id].keys() == arrays.keys()
        for name, array in arrays.items():
            assert found[run_id][name].dtype == array.dtype
            assert found[run_id][name].tolist() == array.tolist()


def test_what_was_written_is_the_same_bytes_again_and_needs_no_pickle(store, study, written, tmp_path):
    names = {
        str(path) for path in exports.write(study, partial(pull.predictions, tracking_uri=store), ARTIFACTS, tmp_path)
    }
    assert names == {"runs.parquet", *STORED, "predictions_1.npz", "predictions_2.npz"}
    assert all((tmp_path / name).read_bytes() == (written / name).read_bytes() for name in names)
    table = pd.read_parquet(written / "runs.parquet")
    assert {"run_id", "status", "end_time", "tags.kind", "params.ramp", "metrics.recall/cat"} <= {*table}
    assert table["status"].value_counts().to_dict() == {"FINISHED": 14, "FAILED": 2}
    assert exports.read_artifacts([written, tmp_path]) == ARTIFACTS
    with np.load(written / "predictions_1.npz", allow_pickle=False) as arrays:
        assert arrays["label"].tolist() == LABEL.tolist()
        assert arrays["predicted"].dtype == np.uint8
        # Images by label, the five of class 0 first; runs in columns.
        place = arrays["run_id"].tolist().index(study.dense_runs.query("dataset == 'digits'")["dense_run_id"].iloc[0])
        assert arrays["predicted"][:, place].tolist() == [1, 1, 0, 0, 0, 0, 1, 1, 1, 1]


@pytest.mark.parametrize(("highest", "dtype"), [(255, np.uint8), (256, np.uint16)])
def test_many_classes(study, highest, dtype, tmp_path):
    label = np.array([highest, 3, 0])

    def predictions(run_ids):
        return {run_id: {"label": label, "predicted": label[::-1]} for run_id in run_ids}

    exports.write(exports.select_dataset(study, "pets"), predictions, {}, tmp_path)
    with np.load(tmp_path / "predictions_1.npz") as arrays:
        assert arrays["predicted"].dtype == dtype
    found = exports.read([tmp_path])[1](study.runs["run_id"])
    assert {tuple(arrays["predicted"]) for arrays in found.values()} == {(0, 3, highest)}


def test_labels_among_the_top_five_are_kept_in_bits_where_every_run_has_them(study, tmp_path):
    label = np.array([2, 0, 1, 0, 2, 1, 0, 0, 1, 2])
    whole = exports.select_dataset(study, "pets")
    known = {run_id: place % 3 != label for place, run_id in enumerate(whole.runs["run_id"])}

    def predictions(run_ids):
        arrays = {"label": label, "predicted": label}
        return {run_id: arrays | {"in_top5": known[run_id]} for run_id in run_ids if run_id in known}

    exports.write(whole, predictions, {}, tmp_path / "whole")
    found = exports.read([tmp_path / "whole"])[1](list(known))
    assert {run_id: arrays["in_top5"].tolist() for run_id, arrays in found.items()} == {
        run_id: in_top5.tolist() for run_id, in_top5 in known.items()
    }
    with np.load(tmp_path / "whole" / "predictions_1.npz") as arrays:
        assert (arrays["in_top5"].shape, arrays["in_top5"].dtype) == ((2, len(known)), np.uint8)
    odd = next(iter(known))

    def incomplete(run_ids):
        found = predictions(run_ids)
        return found | {odd: {"label": label, "predicted": label}}

    exports.write(whole, incomplete, {}, tmp_path / "part")
    assert {*exports.read([tmp_path / "part"])[1]([odd])[odd]} == {"label", "predicted"}
    # Of two folders with the same run, the one that knows is believed.
    for folders in (("whole", "part"), ("part", "whole")):
        both = exports.read([tmp_path / name for name in folders])[1]([odd])[odd]
        assert both["in_top5"].tolist() == known[odd].tolist()


def test_runs_without_predictions_stay_without(store, study, tmp_path):
    missing = study.runs["run_id"][0]

    def predictions(run_ids):
        return pull.predictions([run_id for run_id in run_ids if run_id != missing], tracking_uri=store)

    exports.write(study, predictions, {}, tmp_path)
    assert missing not in exports.read([tmp_path])[1](list(study.runs["run_id"]))
    exports.write(study, lambda run_ids: {}, {}, tmp_path / "none")
    assert exports.read([tmp_path / "none"])[1](list(study.runs["run_id"])) == {}


@pytest.mark.attack
def test_other_test_labels_in_one_run_of_a_data_set__stop_its_export(store, study, tmp_path):
    odd = study.runs.query("dataset == 'pets'")["run_id"].iloc[0]

    def predictions(run_ids):
        found = pull.predictions(run_ids, tracking_uri=store)
        return found | {odd: {"label": 1 - LABEL, "predicted": LABEL}}

    with pytest.raises(StudyError, match=rf"{odd} .* labels .* d1"):
        exports.write(exports.select_dataset(study, "pets"), predictions, {}, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_data_sets_in_folders_of_their_own_are_the_whole_study_again(store, study, tmp_path):
    parts = [tmp_path / name for name in ("digits", "pets")]
    for part in parts:
        exports.write(
            exports.select_dataset(study, part.name),
            partial(pull.predictions, tracking_uri=store),
            {},
            tmp_path / part.name,
        )
    alone = exports.read(parts[:1])[0].runs
    assert set(alone["dataset"]) == {"digits"}
    assert not [name for name in alone if "cat" in name or name == "params.ramp"]
    assert alone.index.equals(pd.RangeIndex(4))
    joined, predictions = exports.read(parts)
    same(joined, study)
    assert len(predictions(list(joined.runs["run_id"]))) == len(study.runs)


def test_a_folder_twice_counts_once_and_of_runs_with_the_same_params_the_newest(study, written, tmp_path):
    again = exports.read([written, written])[0]
    same(again, study)
    is_dense = study.rows["tags.kind"] == "dense"
    later = study.rows["end_time"] + 1
    other = study.rows.assign(run_id="other " + study.rows["run_id"], end_time=later)
    exports.write(study._replace(rows=other[~is_dense]), lambda run_ids: {}, {}, tmp_path)
    joined = exports.read([written, tmp_path])[0].runs
    assert joined["run_id"].tolist() == ("other " + study.runs["run_id"]).tolist()
    assert joined.attrs["left_out"][-1].startswith("10 pruned runs left out, a newer run has the same settings")


@pytest.mark.attack
@pytest.mark.parametrize("name", ["runs.parquet", "predictions_2.npz"])
@pytest.mark.parametrize("fault", ["gone", "truncated", "empty"])
def test_a_file_of_an_export_that_is_missing_or_damaged__is_named(own, name, fault):
    path = own / name
    content = path.read_bytes()
    path.unlink()
    if fault != "gone":
        path.write_bytes(content[:-9] if fault == "truncated" else b"")
    if fault == "gone" and name == "predictions_2.npz":
        assert len(exports.read([own])[1](exports.read([own])[0].runs["run_id"])) == 4
        return
    expected = f"{own}: no {name} in it" if fault == "gone" else f"{path}: not what pruning-analysis export writes"
    with pytest.raises(StudyError, match=f"^{re.escape(expected)}"):
        StudyData.from_frames([own])


@pytest.mark.attack
@pytest.mark.parametrize(
    "change",
    [
        {"label": -LABEL},
        {"label": LABEL + 2**40},
        {"label": LABEL[:0]},
        {"label": LABEL[:-1]},
        {"label": LABEL / 2},
        {"predicted": np.zeros((2, 2, 2), int)},
        {"run_id": np.array("one")},
        {"in_top5": np.zeros((3, 3), np.uint8)},
        {"in_top5": np.zeros((2, 6))},
    ],
)
def test_predictions_of_an_export_that_are_no_classes_of_its_images__end_in_one_line(own, change):
    with np.load(own / "predictions_1.npz") as arrays:
        np.savez(own / "predictions_1.npz", **(dict(arrays) | change))
    with pytest.raises(StudyError, match="not what pruning-analysis export writes"):
        exports.read([own])


@pytest.mark.attack
def test_a_table_of_an_export_that_unpacks_to_more_than_the_limit__is_refused(own, monkeypatch):
    monkeypatch.setattr(exports, "_LARGEST_TABLE", SizeLimit(1e-6))
    with pytest.raises(StudyError, match=r"runs\.parquet: .* GiB of memory are needed, but the limit is 1e-06 GiB"):
        exports.read([own])


@pytest.mark.attack
def test_an_export_of_an_earlier_version__is_refused_in_one_line(own):
    (own / "runs.parquet").rename(own / "study.json")
    with pytest.raises(StudyError, match=r"exported before 0\.3\.0; export the study again, or read it with"):
        exports.read([own])


@pytest.mark.attack
def test_two_folders_with_different_values_of_a_run_or_an_artifact__are_refused(study, written, tmp_path):
    rows = study.rows.assign(**{"metrics.test_accuracy": 0.5})
    exports.write(study._replace(rows=rows), lambda run_ids: {}, {"trials.csv": {"c": b"x"}}, tmp_path)
    with pytest.raises(
        StudyError, match=r"two folders have run .*, and differ in metrics\.test_accuracy: leave one out"
    ):
        exports.read([written, tmp_path])
    with pytest.raises(StudyError, match=r"two folders have run c, and differ in trials\.csv: leave one out"):
        exports.read_artifacts([written, tmp_path])


@pytest.mark.attack
@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows.drop(columns="params.ratio"),
        lambda rows: rows.drop(columns="tags.kind"),
        lambda rows: rows.drop(columns=["status", "run_id"]),
        lambda rows: rows.assign(**{"params.seed": "1.5"}),
        lambda rows: rows.assign(run_id=None),
        lambda rows: rows.assign(**{"metrics.test_accuracy": "high"}),
        lambda rows: rows.iloc[:0],
    ],
)
def test_an_export_without_what_every_run_has__ends_in_one_line(own, change):
    change(pd.read_parquet(own / "runs.parquet")).to_parquet(own / "runs.parquet")
    result = CliRunner().invoke(cli, ["report", "--frames", str(own), "--output", str(own / "report")])
    assert result.exit_code in (1, 2)
    assert len(re.findall("^error: ", result.output, re.MULTILINE)) == 1
    assert "Traceback" not in result.output


class TestCommands:
    @pytest.fixture(autouse=True)
    def _here(self, monkeypatch, tmp_path):
        for name in [name for name in os.environ if name.startswith("MLFLOW_")]:
            monkeypatch.delenv(name)
        monkeypatch.chdir(tmp_path)

    def run(self, *arguments):
        return CliRunner().invoke(cli, [str(argument) for argument in arguments])

    @pytest.mark.slow
    def test_the_report_of_files_is_that_of_the_store(self, store, monkeypatch, tmp_path):
        leave_undrawn(monkeypatch)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
        for name, output in (("pets", "pets.zip"), ("digits", "digits")):
            result = self.run("export", "--experiment", EXPERIMENT, "--dataset", name, "--output", output)
            assert result.exit_code == 0, result.output
            written = [tmp_path / output] if name == "pets" else [*(tmp_path / output).glob("[!.]*")]
            size = sum(path.stat().st_size for path in written)
            pruned = {"pets": 4, "digits": 2}[name]  # and a control for each of two seeds
            counts = f"{pruned} pruned, 2 control and 2 dense runs"
            assert f"{counts} in {tmp_path / output}, {size:,} bytes" in result.output
        of_store = report.report(StudyData.from_store(EXPERIMENT), ReportOptions(paper=True))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///gone.db")
        result = self.run("report", "--frames", "digits", "--frames", "pets.zip", "--paper", "--output", "of files")
        assert result.exit_code == 0, result.output
        assert not (tmp_path / "gone.db").exists()
        assert (tmp_path / "of files" / "report.md").read_text() == page.markdown(of_store)
        assert {path.name for path in (tmp_path / "of files").glob("*.csv")} == of_store.tables.keys()
        assert len(of_store.tables) >= 15
        for name, table in of_store.tables.items():
            csv_text.write(table, tmp_path / name, missing=page.NOT_AVAILABLE)
            assert (tmp_path / "of files" / name).read_bytes() == (tmp_path / name).read_bytes()
        of_cells = pd.read_csv(tmp_path / "of files" / "cells.csv")
        assert of_cells["params.schedule"].tolist() == ["one-shot", "one-shot", "cubic", "one-shot", "one-shot"]
        # Ten images cannot tell these networks from chance.
        assert of_cells["n_at_chance"].tolist() == [2, 2, 2, 2, 2]
        assert "2 pruned runs left out, failed" in (tmp_path / "of files" / "report.md").read_text()

    def test_what_a_user_can_mend_is_one_line(self, store, monkeypatch):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
        for arguments, exit_code, said in (
            (["report", "--frames", "gone"], 2, "error: --frames: gone: no runs.parquet in it"),
            (["report", "--frames", "gone", "--experiment", "x"], 2, "--frames takes the place of --experiment"),
            (["export", "--experiment", EXPERIMENT, "--dataset", "pet"], 2, "'pet'\ntip: did you mean pets?"),
            (["export", "--experiment", "none"], 1, "no experiment named 'none'"),
        ):
            result = self.run(*arguments)
            assert result.exit_code == exit_code
            assert said in result.output
