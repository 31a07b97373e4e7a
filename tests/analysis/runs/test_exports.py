"""A study in files: reading gives back what was written, and its report is that of the store."""

import gzip
import hashlib
import itertools
import json
import os
from functools import partial

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
from analysis.runs import exports, frames, pull
from analysis.study.study import ReportOptions, StudyData
from tests.blank_figures import leave_undrawn
from tests.error_lines import refused

EXPERIMENT = "two data sets"
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
        run_id = client.create_run(experiment, tags={"kind": kind} | dense).info.run_id
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
    exports.write(study, partial(pull.predictions, tracking_uri=store), folder)
    return folder


@pytest.fixture
def own(written, tmp_path):
    """A copy that a test may damage."""
    for path in written.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def same(study, other):
    for frame, expected in zip(study, other, strict=True):
        assert_frame_equal(frame, expected, check_exact=True, check_column_type=True)
        assert frame.attrs == expected.attrs


def test_the_frames_come_back_as_they_were(study, written):
    assert study.runs["params.ramp"].isna().any()
    assert "1 pruned run" not in study.runs.attrs["left_out"][0]
    assert study.runs.attrs["left_out"][0].startswith("2 pruned runs left out, failed: ")
    same(exports.read([written])[0], study)


def test_the_first_format_is_read_with_the_columns_of_today(study, own):
    """In it params stood under their own names."""
    described = json.loads((own / "study.json").read_text())
    described["format"] = 1
    for name, frame in described["frames"].items():
        frame["dtypes"] = {column.removeprefix("params."): dtype for column, dtype in frame["dtypes"].items()}
        header, rest = gzip.decompress((own / name).read_bytes()).split(b"\n", 1)
        assert b",params.recipe," in header
        content = gzip.compress(header.replace(b"params.", b"") + b"\n" + rest)
        (own / name).write_bytes(content)
        described["sha256"][name] = hashlib.sha256(content).hexdigest()
    (own / "study.json").write_text(json.dumps(described))
    same(exports.read([own])[0], study)


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


def test_values_that_a_csv_does_not_tell_apart(study, tmp_path):
    """Text that reads as missing, as a number or as an escape; floats of 17 digits; names with separators."""
    texts = ["", "nan", "NA", "none", "null", '"', "\\", "\\a", " x ", "a,b", "1.0", "007", "true", "é", "a\nb", "a\rb"]
    numbers = [0.1 + 0.2, 1e-320, -0.0, np.inf, 1 / 3 * 1e-17, np.nan]
    settings = {"dataset": "d", "model": "net", "pruner": "mp", "ratio": 2.0}
    shares = dict.fromkeys(["accuracy_before", "accuracy_after", "recall_before/a", "recall_after/a"], 0.5)
    strange = pd.DataFrame(
        {**settings, "text": [*texts, None], "a, b/\n": 1.0, "seed": range(17), **shares, "number": (numbers * 3)[:17]}
    )
    strange["dense_run_id"] = strange["run_id"] = [str(place) for place in range(17)]
    strange.attrs = {"left_out": ["a “b”"]}
    exports.write(pull.Study(strange, study.dense_runs), lambda run_ids: {}, tmp_path)
    found = exports.read([tmp_path])[0].runs
    same([found], [strange])
    assert found["text"].isna().tolist() == [False] * 16 + [True]
    assert np.signbit(found["number"][2])


def test_what_was_written_is_the_same_bytes_again_and_needs_no_pickle(store, study, written, tmp_path):
    names = {str(path) for path in exports.write(study, partial(pull.predictions, tracking_uri=store), tmp_path)}
    assert names == {"runs.csv.gz", "dense_runs.csv.gz", "predictions_1.npz", "predictions_2.npz", "study.json"}
    assert all((tmp_path / name).read_bytes() == (written / name).read_bytes() for name in names)
    assert gzip.decompress((written / "runs.csv.gz").read_bytes()).decode().startswith("dataset,model,pruner,ratio,")
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

    exports.write(exports.select_dataset(study, "pets"), predictions, tmp_path)
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

    exports.write(whole, predictions, tmp_path / "whole")
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

    exports.write(whole, incomplete, tmp_path / "part")
    assert {*exports.read([tmp_path / "part"])[1]([odd])[odd]} == {"label", "predicted"}
    # Of two folders with the same run, the one that knows is believed.
    for folders in (("whole", "part"), ("part", "whole")):
        both = exports.read([tmp_path / name for name in folders])[1]([odd])[odd]
        assert both["in_top5"].tolist() == known[odd].tolist()


def test_runs_without_predictions_stay_without(store, study, tmp_path):
    missing = study.runs["run_id"][0]

    def predictions(run_ids):
        return pull.predictions([run_id for run_id in run_ids if run_id != missing], tracking_uri=store)

    exports.write(study, predictions, tmp_path)
    assert missing not in exports.read([tmp_path])[1](list(study.runs["run_id"]))
    exports.write(study, lambda run_ids: {}, tmp_path / "none")
    assert exports.read([tmp_path / "none"])[1](list(study.runs["run_id"])) == {}


@pytest.mark.attack
def test_other_test_labels_in_one_run_of_a_data_set__stop_its_export(store, study, tmp_path):
    odd = study.runs.query("dataset == 'pets'")["run_id"].iloc[0]

    def predictions(run_ids):
        found = pull.predictions(run_ids, tracking_uri=store)
        return found | {odd: {"label": 1 - LABEL, "predicted": LABEL}}

    with pytest.raises(StudyError, match=rf"{odd} .* labels .* d1"):
        exports.write(exports.select_dataset(study, "pets"), predictions, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_the_data_sets_in_folders_of_their_own_are_the_whole_study_again(store, study, tmp_path):
    parts = [tmp_path / name for name in ("digits", "pets")]
    for part in parts:
        exports.write(
            exports.select_dataset(study, part.name),
            partial(pull.predictions, tracking_uri=store),
            tmp_path / part.name,
        )
    alone = exports.read(parts[:1])[0].runs
    assert set(alone["dataset"]) == {"digits"}
    assert not [name for name in alone if "cat" in name or name == "params.ramp"]
    assert alone.index.equals(pd.RangeIndex(4))
    joined, predictions = exports.read(parts)
    same(joined, study)
    assert len(predictions(list(joined.runs["run_id"]))) == len(study.runs)


def test_runs_that_one_folder_left_out_and_another_has_are_not_told_as_missing(study, tmp_path):
    runs, dense_runs = study
    has_first_seed = runs["seed"] == runs["seed"].min()
    first, others = frames.rows(runs, has_first_seed), frames.rows(runs, ~has_first_seed)
    ids = sorted(others["run_id"])[:3]
    first.attrs["left_out"] = [
        f"4 pruned runs left out, still running: {', '.join(ids)} and 1 more",
        f"1,000 pruned runs left out, killed: {', '.join(ids)} and 997 more",  # the other folder has not so many
    ]
    others.attrs["left_out"] = [f"2 pruned runs left out, failed: {'0' * 32}, {first['run_id'].iloc[0]}"]
    folders = []
    for name, part in (("first", first), ("others", others)):
        folders.append(tmp_path / name)
        exports.write(frames.Study(part, dense_runs), lambda run_ids: {}, folders[-1])
    told = exports.read(folders)[0].runs.attrs["left_out"]
    assert others.attrs["left_out"][0] in told
    assert first.attrs["left_out"][1] in told
    assert not any("still running" in sentence for sentence in told)


def test_runs_that_never_knew_of_schedules_are_one_shot_beside_others(study, tmp_path):
    without = pull.Study(*(frame.drop(columns="params.schedule", errors="ignore") for frame in study))
    for name, part in (("pets", study), ("digits", without)):
        exports.write(exports.select_dataset(part, name), lambda run_ids: {}, tmp_path / name)
    joined = exports.read([tmp_path / "digits", tmp_path / "pets"])[0].runs
    assert joined.loc[joined["dataset"] == "digits", "params.schedule"].tolist() == ["one-shot"] * 4


def test_a_folder_twice_counts_once_and_other_runs_of_the_same_params_do_not_count(study, written, tmp_path):
    again = exports.read([written, written])[0]
    same(again, study)
    renamed = pull.Study(study.runs.assign(run_id="other " + study.runs["run_id"]), study.dense_runs)
    exports.write(renamed, lambda run_ids: {}, tmp_path)
    with refused("frames", "only one can be used"):
        exports.read([written, tmp_path])


@pytest.mark.attack
@pytest.mark.parametrize("name", ["runs.csv.gz", "dense_runs.csv.gz", "predictions_2.npz"])
@pytest.mark.parametrize("fault", ["gone", "truncated", "of another export"])
def test_a_file_of_an_export_that_is_missing_or_truncated_or_of_another_export__is_named(own, name, fault):
    path = own / name
    content = path.read_bytes()
    path.unlink()
    if fault != "gone":
        other = gzip.compress(gzip.decompress(content), 1, mtime=1) if name.endswith("gz") else content + b"x"
        path.write_bytes(content[:-9] if fault == "truncated" else other)
    expected = "missing" if fault == "gone" else "damaged"
    with pytest.raises(StudyError) as error:
        exports.read([own])
    assert str(error.value).startswith(f"{path}: {expected}")


@pytest.mark.attack
@pytest.mark.parametrize(
    "change",
    [
        lambda described: described.pop("sha256"),
        lambda described: described["frames"].pop("runs.csv.gz"),
        lambda described: described["frames"]["runs.csv.gz"]["dtypes"].update(dataset="int64"),
        lambda described: described["frames"]["runs.csv.gz"]["dtypes"].update(no="int64"),
        lambda described: described["frames"].update({"runs.csv.gz": []}),
        lambda described: described["sha256"].pop("dense_runs.csv.gz"),
    ],
)
def test_a_description_of_an_export_that_lacks_a_part__ends_in_one_line(own, change):
    described = json.loads((own / "study.json").read_text())
    change(described)
    (own / "study.json").write_text(json.dumps(described))
    with pytest.raises(StudyError, match=r"study.json: not what pruning-analysis export writes"):
        exports.read([own])


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
    described = json.loads((own / "study.json").read_text())
    described["sha256"]["predictions_1.npz"] = hashlib.sha256((own / "predictions_1.npz").read_bytes()).hexdigest()
    (own / "study.json").write_text(json.dumps(described))
    with pytest.raises(StudyError, match="not what pruning-analysis export writes"):
        exports.read([own])


@pytest.mark.attack
def test_a_table_of_an_export_that_unpacks_to_more_than_the_limit__is_refused(own, monkeypatch):
    monkeypatch.setattr(exports, "LARGEST_TABLE", SizeLimit(1e-6))
    with pytest.raises(StudyError, match=r"a table of runs: .* GiB of memory are needed, but the limit is 1e-06 GiB"):
        exports.read([own])


@pytest.mark.attack
def test_a_folder_of_something_else_in_place_of_an_export__is_refused(own, tmp_path):
    (own / "study.json").write_text('{"format": 3}')
    with pytest.raises(StudyError, match="format 3"):
        exports.read([own])
    (own / "study.json").write_text("[")
    with pytest.raises(StudyError, match="not what pruning-analysis export writes"):
        exports.read([own])
    (own / "study.json").unlink()
    with pytest.raises(StudyError, match=r"no study\.json"):
        exports.read([own])


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
            (["report", "--frames", "gone"], 2, "error: --frames: gone: no study.json in it"),
            (["report", "--frames", "gone", "--experiment", "x"], 2, "--frames takes the place of --experiment"),
            (["export", "--experiment", EXPERIMENT, "--dataset", "pet"], 2, "'pet'\ntip: did you mean pets?"),
            (["export", "--experiment", "none"], 1, "no experiment named 'none'"),
        ):
            result = self.run(*arguments)
            assert result.exit_code == exit_code
            assert said in result.output
