"""Runs as the documented commands log them, with made-up predictions: an experiment of them takes a second."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from analysis.runs import schema
from pruning_study.options.config import IterateConfig, PruneConfig
from tests.plans import planned

CLASSES = "abcdefghij"
_IMAGES = {"predictions.npz": 400, "val_predictions.npz": 200}
_SEEDS = (0, 1, 2)
_FOLDER = {"dataset": "pics", "dataset_digest": "0" * 32, "image_shape": "3x32x32", "test_fraction": "0.2"}


class Experiment:
    """An experiment that runs are logged to.

    Parameters
    ----------
    uri : str
        Of the tracking store.
    name : str
    folder : Path
        Of the artifacts.
    """

    def __init__(self, uri: str, name: str, folder: Path) -> None:
        self.client = MlflowClient(uri)
        self.id = self.client.create_experiment(name, artifact_location=folder.as_uri())
        self.clock = 1_000

    def log(self, kind: str, params: Mapping[str, str], loss: float, **tags: str) -> str:
        """Log a run whose weakest class has lost about `loss`, the others less, and return its id."""
        self.clock += 1_000
        run = self.client.create_run(self.id, start_time=self.clock, tags={"kind": kind, **tags})
        folder = Path(run.info.artifact_uri.removeprefix("file://"))
        folder.mkdir(parents=True)
        dense = tags.get("dense_run_id", run.info.run_id)
        arrays = {name: _predictions(dense, run.info.run_id, images, loss) for name, images in _IMAGES.items()}
        for name, own in arrays.items():
            np.savez(folder / name, **own)
        before = _predictions(dense, dense, _IMAGES["predictions.npz"], 0)
        metrics = _metrics(arrays["predictions.npz"], before if kind != "dense" else None)
        if kind == "quantized":
            metrics |= {"model_bytes": 1000.0} | {f"latency_ms/{name}": 1.0 for name in ("one", "batch")}
        self.client.log_batch(
            run.info.run_id,
            metrics=[Metric(name, value, self.clock, 0) for name, value in metrics.items()],
            params=[Param(name, str(value)) for name, value in params.items()],
        )
        self.client.set_terminated(run.info.run_id, end_time=self.clock + 500)
        return run.info.run_id


def _predictions(dense: str, run: str, images: int, loss: float) -> dict[str, np.ndarray]:
    """Return what a network predicts: the dense one is right on .95 to .75 of a class, another on fewer of the same."""
    random, own = (np.random.default_rng(int(run_id, 16) % 2**32) for run_id in (dense, run))
    label = np.arange(images) % len(CLASSES)
    wrong = random.random(images) < 0.05 + 0.02 * label
    wrong |= own.random(images) < loss * label / (len(CLASSES) - 1)
    predicted = np.where(wrong, (label + 1) % len(CLASSES), label)
    top5 = (predicted[:, None] + np.arange(5)) % len(CLASSES)
    return {"label": label, "predicted": predicted, "top5": top5, "confidence": np.full(images, 0.5, np.float32)}


def _metrics(own: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray] | None) -> dict[str, float]:
    label, right = own["label"], own["label"] == own["predicted"]
    metrics = {"test_accuracy": right.mean()}
    for place, name in enumerate(CLASSES):
        of_class = label == place
        metrics |= {f"recall/{name}": right[of_class].mean(), f"support/{name}": of_class.sum()}
        if before is not None:
            both = right & (before["label"] == before["predicted"])
            metrics[f"both_right/{name}"] = both[of_class].mean()
    return {name: float(value) for name, value in metrics.items()}


@cache
def _setting(command: type, **options: Any) -> Any:
    return planned(command(**options))


def _log(experiment: Experiment, kind: str, params: Mapping[str, str], loss: float, **tags: str) -> str:
    return experiment.log(kind, params, loss, cell=schema.cell(params), class_names=json.dumps([*CLASSES]), **tags)


def _prune(
    experiment: Experiment,
    ratios: Sequence[float] = (2.0, 10.0),
    data: Mapping[str, str] = {},
    formats: Sequence[str] = (),
    **options: Any,
) -> None:
    setting = _setting(PruneConfig, ratio=",".join(map(str, ratios)), **options)
    for seed in _SEEDS:
        dense_params = {**setting.params, **data, "seed": str(seed)}
        dense = _log(experiment, "dense", dense_params, 0)
        for ratio in ratios:
            params = dict(setting.plan.at(ratio, dense_params).params)
            pruned = _log(experiment, "pruned", params, 0.02 * ratio, dense_run_id=dense, parent_run_id=dense)
            for name in formats:
                quantized = {**params, "number_format": name}
                _log(experiment, "quantized", quantized, 0.03 * ratio, dense_run_id=dense, parent_run_id=pruned)


def _iterate(experiment: Experiment, **options: Any) -> None:
    setting = _setting(IterateConfig, iterations=3, **options)
    for seed in _SEEDS:
        parent = dense = _log(experiment, "dense", dense_params := {**setting.params, "seed": str(seed)}, 0)
        for iteration in (1, 2):
            params = dict(setting.plan.level(iteration, dense_params).params)
            parent = _log(experiment, "pruned", params, 0.05 * iteration, dense_run_id=dense, parent_run_id=parent)


def _quantize(experiment: Experiment) -> None:
    setting = _setting(PruneConfig)
    for seed in _SEEDS:
        dense = _log(experiment, "dense", dense_params := {**setting.params, "seed": str(seed)}, 0)
        for name in ("float16", "dynamic-int8", "fixed-int8"):
            params = {**dense_params, "number_format": name}
            _log(experiment, "quantized", params, 0.01, dense_run_id=dense, parent_run_id=dense)


def _own(experiment: Experiment, seeds: Sequence[int] = _SEEDS, **more: str) -> None:
    """Log runs of somebody's own, who knows nothing of the options here."""
    for seed in seeds:
        params = {"dataset": "pets", "model": "net", "seed": str(seed), **more}
        dense = experiment.log("dense", params, 0)
        for pruner, ratio in (("mp", "2.0"), ("mp", "4.0"), ("none", "1.0")):
            pruned = {**params, "pruner": pruner, "ratio": ratio}
            experiment.log("pruned", pruned, 0.02 * float(ratio), dense_run_id=dense)


# A command, by what is typed; `of one's own` are runs that other programs log.
COMMANDS: dict[str, Callable[[Experiment], None]] = {
    "prune": _prune,
    "prune --pruner none": lambda experiment: _prune(experiment, (1.0,), pruner="none"),
    "prune --pruner up --ratio 2,4,10": lambda experiment: _prune(experiment, (2.0, 4.0, 10.0), pruner="up"),
    "prune --dataset FOLDER --image-size 32": lambda experiment: _prune(experiment, data=_FOLDER),
    "prune --class-offsets dense": lambda experiment: _prune(experiment, class_offsets="dense"),
    "prune --schedule rigl --start initialization": lambda experiment: _prune(
        experiment, schedule="rigl", start="initialization", fine_tune_epochs=0
    ),
    "prune --weight-bits 4": lambda experiment: _prune(experiment, weight_bits=4),
    "prune; quantize RUN_ID": lambda experiment: _prune(experiment, formats=("fixed-int8",)),
    "iterate --pruner l1-unstructured": lambda experiment: _iterate(experiment, pruner="l1-unstructured"),
    "iterate --weight-treatment rewind": lambda experiment: _iterate(experiment, weight_treatment="rewind"),
    "quantize": _quantize,
    "of one's own": _own,
    "of one's own, with a param": lambda experiment: _own(experiment, (0,), color="green"),
}
