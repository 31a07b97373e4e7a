"""Foreign runs: what does not belong to a study, or contradicts itself, is left out and named, however it is read."""

import shutil
import sqlite3
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient
from pandas.testing import assert_frame_equal

from analysis.__main__ import cli
from analysis.runs import checks, exports, pull, retries, schema, stores
from tests import made_up_runs

CLASSES = ("bird", "cat", "dog")
IMAGES = (100, 200, 300)
# Right images of each class, of the dense and of the pruned networks.
BEFORE, AFTER, AGAIN = (90, 150, 270), (70, 120, 255), (88, 160, 261)
COMMON = {"dataset": "pets", "dataset_digest": "d1", "model": "net", "recipe": "plain"}
NOTHING: Mapping = {}
NO_NUMBER = sys.float_info.max  # as MLflow stores infinity


def measured(right: Sequence[int], images: Sequence[int] = IMAGES) -> dict[str, float]:
    metrics = {"test_accuracy": sum(right) / sum(images)}
    for name, count, number in zip(CLASSES, right, images, strict=True):
        metrics |= {f"recall/{name}": count / number, f"support/{name}": number}
    return metrics


UNKNOWN_SIZES = {f"support/{name}": None for name in CLASSES}
# Recalls of thirty classes. Three could be the same by coincidence.
WIDE = {"test_accuracy": 0.705}
for number in range(30):
    WIDE |= {f"recall/{number}": 0.56 + number / 100, f"support/{number}": 100}


class Experiment:
    """An experiment that is filled run by run, straight in the tables; each run ends a second after the one before."""

    def __init__(self, uri: str, name: str) -> None:
        self.name, self.uri = name, uri
        self.id = MlflowClient(uri).create_experiment(name)
        self.store = sqlite3.connect(uri.removeprefix("sqlite:///"))
        self.store.execute("PRAGMA synchronous = OFF")
        self.seed = 0
        self.ids: dict[str, str] = {}
        self.ended = 1_000

    def log(self, kind: str, params: Mapping, metrics: Mapping, tags: Mapping = NOTHING, stage: str = "active") -> str:
        run_id = uuid.uuid4().hex
        self.ended += 1_000
        self.store.execute(
            "INSERT INTO runs (run_uuid, name, source_type, source_name, user_id, status, start_time, end_time,"
            " lifecycle_stage, artifact_uri, experiment_id)"
            " VALUES (?, 'run', 'LOCAL', '', '', 'FINISHED', 0, ?, ?, 'none', ?)",
            (run_id, self.ended, stage, self.id),
        )
        for table, values in (("tags", {"kind": kind, **tags}), ("params", params)):
            rows = [(run_id, name, str(value)) for name, value in values.items() if value is not None]
            self.store.executemany(f"INSERT INTO {table} (run_uuid, key, value) VALUES (?, ?, ?)", rows)
        self.store.executemany(
            "INSERT INTO latest_metrics (run_uuid, key, value, timestamp, step, is_nan) VALUES (?, ?, ?, 1, 0, 0)",
            [(run_id, *metric) for metric in metrics.items() if metric[1] is not None],
        )
        return run_id

    def dense(self, params: Mapping = NOTHING, metrics: Mapping = NOTHING, tags: Mapping = NOTHING) -> str:
        """Log a dense run of the next seed."""
        self.seed += 1
        return self.log("dense", COMMON | {"seed": self.seed} | dict(params), measured(BEFORE) | dict(metrics), tags)

    def pruned(self, dense: str, params: Mapping = NOTHING, metrics: Mapping = NOTHING, tags: Mapping = NOTHING) -> str:
        """Log a pruned run of the same seed as the last dense run."""
        settings = COMMON | {"seed": self.seed, "pruner": "mp", "ratio": "2.0"} | dict(params)
        metrics = measured(AFTER) | {"both_right/bird": 0.7} | dict(metrics)
        cell = schema.cell({name: str(value) for name, value in settings.items() if value is not None})
        return self.log("pruned", settings, metrics, {"dense_run_id": dense, "cell": cell, **tags})

    def pair(self, params: Mapping = NOTHING, metrics: Mapping = NOTHING) -> str:
        """Log a pruned run of a dense run that has none of these params and metrics."""
        return self.pruned(self.dense(), params, metrics)

    def pair_of(self, params: Mapping = NOTHING, metrics: Mapping = NOTHING) -> str:
        """Log a pruned run and a dense run that both have these params and metrics."""
        return self.pruned(self.dense(params, metrics), params, metrics)

    def study(self) -> pull.Study:
        self.store.commit()
        return pull.study(self.name, tracking_uri=self.uri)


RATIOS = ("0.5", "0.0", "-2", "1e7", "1e308", "inf", "-inf", "nan", "two", "True", "1_0", "")
NOT_EXACT = ({"pruner": "up-signed"}, {"protocol": "released"}, {"pruner": "mine:score"})
PRUNED_CLAIMS: tuple[dict[str, Mapping], ...] = (
    {"params": {"pruner": "mp", "ratio": "10"}},
    {"metrics": {"realized_ratio": 10.0}},
    {"tags": {"dense_run_id": "another run"}},
)
SPELLINGS = (
    {"epsilon": "5e-4", "distill": "0", "iteration": "1.0", "prune_output_layer": "True", "epochs": "3e1"},
    {"epsilon": ".0005", "distill": "0.0", "iteration": "1", "prune_output_layer": "true", "epochs": "30"},
)
# Capitals, a space at the end, a Cyrillic e, a space of no width, and wide letters.


class Foreign(NamedTuple):
    """A run that is left out: how it is logged, with its dense run, and what is said of it."""

    log: Callable[[Experiment], str]
    reason: str


def with_swapped_classes(made: Experiment) -> str:
    """Bird and cat have as many images here: of 100 birds 40 were right, of 100 cats 95."""
    images = (100, 100, 300)
    swapped = measured((94, 38, 190), images) | {"both_right/bird": 0.93, "both_right/cat": 0.37}
    return made.pruned(made.dense(metrics=measured((40, 95, 200), images)), metrics=swapped)


def of_other_images(made: Experiment) -> str:
    images = (100, 200, 299)
    return made.pruned(made.dense(metrics=measured(BEFORE, images)), metrics=measured(AFTER, images))


FOREIGN = {
    "data set of another name": Foreign(
        lambda made: made.pair({"dataset": "fish"}), "the dataset is not that of the dense run"
    ),
    "data set of the same name with other content": Foreign(
        lambda made: made.pair({"dataset_digest": "d2"}), "the dataset_digest is not that of the dense run"
    ),
    "digest that the dense run alone has": Foreign(
        lambda made: made.pair({"dataset_digest": None}), "the dataset_digest is not that of the dense run"
    ),
    "another model": Foreign(lambda made: made.pair({"model": "other"}), "the model is not that of the dense run"),
    "newer than the sound run of its seed": Foreign(
        lambda made: made.pruned(made.dense({"seed": 1, "model": "other"}), {"seed": 1}),
        "the model is not that of the dense run",
    ),
    "another seed": Foreign(lambda made: made.pair({"seed": 1_000}), "the seed is not that of the dense run"),
    "hides that the test loss chose the dense run": Foreign(
        lambda made: made.pruned(made.dense({"protocol": "released"})), "the protocol is not that of the dense run"
    ),
    "another share of validation images": Foreign(
        lambda made: made.pruned(made.dense({"validation_fraction": "0.1"}), {"validation_fraction": "0.2"}),
        "the validation_fraction is not that of the dense run",
    ),
    "realized ratio of one, of ten": Foreign(
        lambda made: made.pair({"ratio": "10"}, {"realized_ratio": 1.0}), "realized_ratio contradicts the ratio"
    ),
    "realized ratio of five, of ten": Foreign(
        lambda made: made.pair({"ratio": "10"}, {"realized_ratio": 5.0}), "realized_ratio contradicts the ratio"
    ),
    "realized ratio of fifteen, of ten": Foreign(
        lambda made: made.pair({"ratio": "10"}, {"realized_ratio": 15.0}), "realized_ratio contradicts the ratio"
    ),
    "control that claims a ratio of ten": Foreign(
        lambda made: made.pair({"pruner": "none", "ratio": "10"}), "none prunes nothing, but its ratio is not 1"
    ),
    "accuracy of the dense run changed after the pruning": Foreign(
        lambda made: made.pruned(made.dense(metrics={"test_accuracy": 0.7})),
        "test_accuracy of the dense run contradicts the recalls and the supports",
    ),
    "accuracy that is not the mean of the recalls": Foreign(
        lambda made: made.pair(metrics={"test_accuracy": 0.9}),
        "test_accuracy contradicts the recalls and the supports",
    ),
    "accuracy above the recalls of classes of unknown size": Foreign(
        lambda made: made.pruned(made.dense(metrics=UNKNOWN_SIZES), metrics=UNKNOWN_SIZES | {"test_accuracy": 0.95}),
        "test_accuracy contradicts the recalls and the supports",
    ),
    "swapped names of classes": Foreign(
        with_swapped_classes, "both_right/<class> contradicts the recalls before and after"
    ),
    "other test images than the other seeds": Foreign(
        of_other_images, "most runs of the data set have other test images or classes"
    ),
    "pruned run in place of a dense run": Foreign(
        lambda made: made.pruned(made.ids["sound"], {"seed": 1, "ratio": "4"}), "the dense run is gone or not finished"
    ),
}


def of_half_the_data(made: Experiment) -> str:
    part = {"part": "first half"}
    before, after = (measured([count // 2 for count in right], (50, 100, 150)) for right in (BEFORE, AFTER))
    return made.pruned(made.dense(part, before), part, after)


def of_several_engines(made: Experiment) -> str:
    dense = made.dense(metrics={"test_loss": NO_NUMBER}, tags={"engine": "native"})
    return made.pruned(dense, metrics={"train_loss": NO_NUMBER}, tags={"engine": "torch"})


def after_a_deleted_level(made: Experiment) -> str:
    dense = made.dense()
    parent = made.log("pruned", COMMON | {"seed": made.seed}, measured(AFTER), {"dense_run_id": dense}, "deleted")
    return made.pruned(dense, {"ratio": "4", "iteration": "2"}, tags={"parent_run_id": parent})


SOUND: dict[str, Callable[[Experiment], str]] = {
    "digest that both lack": lambda made: made.pair_of({"dataset_digest": None}),
    "numbers of images that are not known": lambda made: made.pruned(
        made.dense(metrics=UNKNOWN_SIZES), metrics=UNKNOWN_SIZES
    ),
    "part of a data set that an unknown param names": of_half_the_data,
    "several engines and losses that are no number": of_several_engines,
    "deleted parent between it and its dense run": after_a_deleted_level,
    **{
        f"fewer pruned weights than asked by a pruner that is not exact: {how}": lambda made, how=how: made.pair(
            {"ratio": "10", **how}, {"realized_ratio": 5.0}
        )
        for how in NOT_EXACT
    },
}


def fill(made: Experiment) -> None:
    """Log sound runs, and one run of every foreign kind, each of a seed of its own."""
    ids = made.ids
    ids["sound"] = made.pair()
    for name, foreign_run in FOREIGN.items():
        ids[name] = foreign_run.log(made)
    for name, log in SOUND.items():
        ids[name] = log(made)
    for ratio in RATIOS:
        made.pair({"ratio": ratio})
    for place, claims in enumerate(PRUNED_CLAIMS):
        ids[f"no dense {place}"] = made.dense(**claims)
        made.pruned(ids[f"no dense {place}"])
    for place, spelled in enumerate(SPELLINGS):
        ids[f"spelled {place}"] = made.pair(spelled)


@pytest.fixture(scope="session")  # a name is free once in a store, and xdist may come back to a module
def foreign(session_store: str) -> Experiment:
    made = Experiment(session_store, "sound and foreign runs")
    fill(made)
    made.pulled = made.study()
    return made


def assert_kept(foreign: Experiment, name: str) -> None:
    """Assert that a run is in the study, and that no line speaks of it."""
    runs = foreign.pulled.runs
    assert foreign.ids[name] in set(runs["run_id"])
    assert not any(foreign.ids[name] in line for line in runs.attrs["left_out"])


@pytest.mark.attack
@pytest.mark.parametrize("name", FOREIGN)
def test_a_run_that_does_not_fit_its_dense_run_or_cannot_be_right__is_left_out_and_named(foreign, name):
    run_id, runs = foreign.ids[name], foreign.pulled.runs
    assert run_id not in set(runs["run_id"])
    (line,) = [line for line in runs.attrs["left_out"] if run_id in line]
    assert FOREIGN[name].reason in line


@pytest.mark.attack
@pytest.mark.parametrize("name", SOUND)
def test_a_run_that_only_looks_foreign__is_kept_without_a_word(foreign, name):
    assert_kept(foreign, name)


@pytest.mark.attack
def test_a_foreign_run_of_the_same_seed__does_not_take_the_place_of_a_sound_one(foreign):
    assert_kept(foreign, "sound")


@pytest.mark.attack
def test_a_ratio_below_one_or_absurd_or_infinite_or_no_number__leaves_the_run_out(foreign):
    runs = foreign.pulled.runs
    assert set(runs["ratio"]) == {2.0, 4.0, 10.0}
    lines = [line.partition(":")[0] for line in runs.attrs["left_out"]]
    reason = "ratio is below 1, although it is parameters before / parameters after pruning"
    assert f"3 pruned runs left out, {reason}" in lines
    assert "2 pruned runs left out, ratio is above 1,000,000" in lines
    assert "7 pruned runs left out, ratio is no number" in lines


@pytest.mark.attack
def test_a_run_that_calls_itself_dense_and_was_pruned__is_no_baseline(foreign):
    wrong = {foreign.ids[f"no dense {place}"] for place in range(len(PRUNED_CLAIMS))}
    for frame in foreign.pulled[:2]:
        assert not wrong & set(frame["dense_run_id"])
    (line,) = [line for line in foreign.pulled.runs.attrs["left_out"] if " dense runs left out" in line]
    assert line.startswith("3 dense runs left out, pruned according to pruner, ratio, realized_ratio or dense_run_id: ")


def test_seeds_that_prune_one_given_network_are_noted(session_store):
    made = Experiment(session_store, "given weights")
    for seed, weights in enumerate(("one", "one", "other", "one", None), start=1):
        params = {"dataset": "wide", "model": "net", "seed": seed, "weights_digest": weights}
        dense = made.log("dense", params, WIDE)
        after = WIDE | {"recall/0": 0.55, "recall/1": 0.58}
        made.log("pruned", params | {"pruner": "mp", "ratio": "2"}, after, {"dense_run_id": dense})
    notes = made.study().runs.attrs["left_out"]
    assert (
        "seeds 1, 2, 4 of net on wide prune the same given network, so intervals hold for new fine-tunings of it, not "
        "for other networks"
    ) in notes
    assert len([note for note in notes if "prune the same given network" in note]) == 1


def made_with(arithmetics: Sequence[str], **params: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a pruned run of each seed from 0 on, and their dense runs, made with these arithmetics."""
    pruned = made_up_runs.runs(
        "pics", "net", "mp", 2, [1.1 + 0.1 * seed for seed, _ in enumerate(arithmetics)], **params
    )
    pruned["dense_run_id"] += " ".join(params.values())
    added = {"arithmetic": arithmetics, **{f"params.{name}": value for name, value in params.items()}}
    return pruned.assign(**added), made_up_runs.dense(pruned).assign(**added)


def test_networks_of_one_cell_that_were_trained_with_different_arithmetic__are_counted():
    notes = checks.notes(*made_with(["2", "2", "torch", None]))
    assert (
        "means are over networks of net on pics whose arithmetic differs or is not recorded: 4 with arithmetic 2, "
        "2 with arithmetic not recorded, 2 with arithmetic torch"
    ) in notes


def test_a_dense_network_of_another_arithmetic_than_the_other_seeds__is_counted():
    runs, dense = made_with(["2", "2"])
    dense.loc[1, "arithmetic"] = "torch"
    assert "recorded: 1 with arithmetic 2, 1 with arithmetic torch" in "".join(checks.notes(runs, dense))


def test_cells_of_different_arithmetic_are_not_pooled():
    parts = made_with(["2", "2"], precision="float32"), made_with(["torch", "torch"], precision="bf16")
    notes = checks.notes(*(pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True)))
    assert not any("arithmetic" in note for note in notes)


@pytest.mark.attack
def test_one_value_of_a_setting_in_two_spellings__is_one_setting(foreign):
    run_ids = [foreign.ids[f"spelled {place}"] for place in range(len(SPELLINGS))]
    runs = foreign.pulled.runs
    values = runs.loc[runs["run_id"].isin(run_ids), [f"params.{name}" for name in SPELLINGS[0]]]
    assert values.to_numpy().tolist() == [["0.0005", "0.0", "1", "true", "30"]] * 2


# Every command, and every way of reading.


@pytest.mark.attack
def test_foreign_runs_that_are_read_through_the_api_of_mlflow__are_left_out_alike(foreign, monkeypatch):
    monkeypatch.setattr(stores, "_connect", lambda uri, _: stores.ApiReader(retries.client(uri)))
    for frame, expected in zip(foreign.study()[:2], foreign.pulled[:2], strict=True):
        assert_frame_equal(frame, expected)
        assert frame.attrs == expected.attrs


@pytest.fixture(scope="session")  # a name is free once in a store, and xdist may come back to a module
def three_seeds(session_store: str) -> Experiment:
    """Three sound runs and a foreign one, the oldest."""
    made = Experiment(session_store, "three sound seeds")
    made.ids["foreign"] = made.pair({"model": "other"})
    for _ in range(3):
        made.pair(metrics={"realized_ratio": 2.0})
    return made


@pytest.fixture(scope="module")
def written(three_seeds: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("frames")
    exports.write(three_seeds.study(), lambda run_ids: {}, {}, folder)
    return folder


@pytest.fixture
def exported(written: Path, tmp_path: Path) -> Path:
    """A folder with an export of the three seeds, which a test may damage."""
    return Path(shutil.copytree(written, tmp_path / "frames"))


@pytest.mark.attack
def test_a_foreign_run__is_named_by_every_command_and_in_every_export(three_seeds, exported, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", three_seeds.uri)
    said = f"1 pruned run left out, the model is not that of the dense run: {three_seeds.ids['foreign']}"
    compared = CliRunner().invoke(cli, ["compare", "--experiment", three_seeds.name])
    assert compared.exit_code == 0, compared.output
    assert compared.output.count(said) == 1
    assert exports.read([exported])[0].runs.attrs["left_out"] == [said]


def change_newest(folder: Path, **values: object) -> str:
    """Change the newest pruned run of an export, and return its id."""
    path = folder / "runs.parquet"
    rows = pd.read_parquet(path)
    newest = rows.loc[rows["tags.kind"] == "pruned", "end_time"].idxmax()
    for name, value in values.items():
        rows.loc[newest, name] = value
    rows.to_parquet(path)
    return str(rows["run_id"][newest])


@pytest.mark.attack
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"params.ratio": "0.5"}, "ratio is below 1"),
        ({"params.seed": "7"}, "the seed is not that of the dense run"),
        ({"metrics.test_accuracy": 1.9}, "a value outside [0, 1]"),
        ({"metrics.recall/cat": 0.1, "metrics.recall/dog": 0.1}, "contradicts the recalls"),
        ({"metrics.realized_ratio": 50.0}, "realized_ratio contradicts the ratio"),
        ({"metrics.recall/cat": None}, "the classes are not those of the dense run"),
    ],
)
def test_an_export_that_was_edited__is_checked_like_a_store(exported, change, reason):
    run_id = change_newest(exported, **change)
    runs = exports.read([exported])[0].runs
    assert run_id not in runs["run_id"].tolist()
    (line,) = [line for line in runs.attrs["left_out"] if run_id in line]
    assert reason in line
