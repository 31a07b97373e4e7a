"""Runs whose alpha is known: two classes with recalls .9 and .7 before, .8 + .1 alpha and .8 - .1 alpha after."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.runs import exports, frames, pairs, schema
from analysis.study import settings


def runs(
    dataset: str, model: str, pruner: str, ratio: float, alphas: Sequence[float], *, classes: str = "ab", **params: str
) -> pd.DataFrame:
    """One cell, a run for each alpha, seeds counting from 0; columns as `analysis.runs.pull.pull_runs` gives them."""
    number = len(alphas)
    seeds = [str(seed) for seed in range(number)]
    first, second = classes
    after = np.asarray(alphas)
    return pd.DataFrame(
        {
            "dataset": dataset,
            "model": model,
            "pruner": pruner,
            "ratio": float(ratio),
            "seed": range(number),
            **{frames.column(name): value for name, value in params.items()},
            "accuracy_before": 0.8,
            "accuracy_after": 0.8,
            f"recall_before/{first}": np.full(number, 0.9),
            f"recall_before/{second}": np.full(number, 0.7),
            f"recall_after/{first}": 0.8 + 0.1 * after,
            f"recall_after/{second}": 0.8 - 0.1 * after,
            "dense_run_id": [f"{dataset} {model} {seed}" for seed in seeds],
            "run_id": [f"{dataset} {model} {pruner} {ratio:g} {seed} {' '.join(params.values())}" for seed in seeds],
        }
    )


def study(*cells: pd.DataFrame) -> pd.DataFrame:
    return with_controls(pd.concat(cells, ignore_index=True))


def with_controls(made: pd.DataFrame) -> pd.DataFrame:
    """Name each run's control, as `pruning_study` does: of the same dense network, trained alike and equally mitigated.

    Without a control of this mitigation it is the one without any.
    """
    is_control = made["pruner"] == "none"
    alike = [*settings.control_columns(made), *settings.network_columns(made)]
    names = pd.Series(index=made.index, dtype=object)
    mitigations = [*alike, *settings.mitigation_columns(made)]
    for of, columns in ((is_control, mitigations), (is_control & ~settings.is_mitigated(made), alike)):
        alike_runs = made.groupby(columns, dropna=False).ngroup()
        names = names.fillna(alike_runs.map(dict(zip(alike_runs[of], made.loc[of, "run_id"], strict=True))))
    is_open = ~is_control & ~settings.never_fine_tuned(made)
    return made.assign(control_run_id=names.where(is_open)) if (names.notna() & is_open).any() else made


def with_images(made: pd.DataFrame, images: int = 100) -> pd.DataFrame:
    """Recalls of so many images a class, right before and after for reasons of their own."""
    more = {f"support/{name}": float(images) for name in "ab"}
    more |= {f"both_right/{name}": made[f"recall_before/{name}"] * made[f"recall_after/{name}"] for name in "ab"}
    return made.assign(**more)


def predicted(*cells: pd.DataFrame) -> frames.ReadPredictions:
    """Reader of predictions with the recalls of some runs, of 100 images a class; the last images are wrong."""
    label = np.repeat([0, 1], 100)
    answers = {}
    for _, row in study(*cells).iterrows():
        for name, when in (("dense_run_id", "before"), ("run_id", "after")):
            right = np.rint(100 * np.array([row[f"recall_{when}/a"], row[f"recall_{when}/b"]]))
            is_right = np.tile(np.arange(100), 2) < right[label]
            answers[row[name]] = {schema.LABEL: label, schema.PREDICTED: np.where(is_right, label, 1 - label)}
    return lambda run_ids: {each: answers[each] for each in run_ids}


def rows(made: pd.DataFrame) -> pd.DataFrame:
    """The runs of some pairs, the dense ones first, with the columns of `mlflow.search_runs`."""
    own = ("dataset", "model", "seed", "params.dataset_digest", "params.image_shape")
    dense = made.drop_duplicates("dense_run_id")
    sides = [
        (dense, "dense_run_id", "accuracy_before", "recall_before/", [name for name in own if name in made]),
        (made, "run_id", "accuracy_after", "recall_after/", frames.params(made)),
    ]
    tables = []
    for runs, run_id, accuracy, recall, params in sides:
        tables.append(pd.DataFrame({"run_id": runs[run_id], "status": "FINISHED", "end_time": 0.0}))
        table = tables[-1].assign(**{"tags.kind": "dense" if run_id == "dense_run_id" else frames.kinds(runs)})
        if run_id == "run_id":
            table["tags.dense_run_id"] = runs["dense_run_id"]
            table["tags.cell"] = [
                schema.cell({frames.param(name): str(value) for name, value in row.items() if pd.notna(value)})
                for row in runs[frames.params(runs)].to_dict("records")
            ]
            if "control_run_id" in runs:
                table["tags.control_run_id"] = runs["control_run_id"]
        if "arithmetic" in runs:
            table["tags.arithmetic"] = runs["arithmetic"]
        texts = {f"params.{frames.param(name)}": runs[name].astype(str).where(runs[name].notna()) for name in params}
        measured = [name for name in runs if name.startswith(("support/", "both_right/")) or name == "realized_ratio"]
        metrics = {"test_accuracy": runs[accuracy], **{name: runs[name] for name in measured}}
        metrics |= {f"recall/{name}": runs[recall + name] for name in frames.class_names(runs, recall)}
        tables[-1] = table.assign(**texts, **{f"metrics.{name}": values for name, values in metrics.items()})
    return pd.concat(tables, ignore_index=True)


def whole(made: pd.DataFrame) -> frames.Study:
    """The study of some pairs."""
    return pairs.paired(rows(made), where="made up")


def dense(made: pd.DataFrame) -> pd.DataFrame:
    """The frame of the dense runs of some runs."""
    columns = ["dataset", "model", "seed", "accuracy_before", "dense_run_id"]
    return made.drop_duplicates("dense_run_id", ignore_index=True)[columns]


def export(folder: Path, *cells: pd.DataFrame) -> None:
    """Write the frames of cells of one data set below a study's folder, without predictions."""
    made = study(*cells)
    exports.write(whole(made), lambda run_ids: {}, {}, folder / "frames" / made["dataset"].iloc[0])
