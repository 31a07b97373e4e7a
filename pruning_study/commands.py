"""Each command: make a run of kind `job`, find or make the runs that it needs, and say what to print."""

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis.runs import csv_text, schema
from analysis.runs.address import without_password
from analysis.runs.errors import StudyError
from analysis.runs.markdown_text import markdown_line
from analysis.runs.schema import text
from analysis.statistics.class_metrics import class_metrics
from analysis.statistics.intensification import at_chance, raw_slope
from pruning_study.config import PruneConfig, TrainConfig
from pruning_study.data.datasets import Dataset
from pruning_study.models import is_built_in
from pruning_study.pruning_table import LONGEST_TABLE, Ratio, pruning_table, shortened, what_is_shown
from pruning_study.steps import dense as dense_step
from pruning_study.steps import pictures, runs
from pruning_study.steps import pruned as pruned_step
from pruning_study.steps.class_changes import ClassChanges, class_changes
from pruning_study.steps.runs import FinishedRun, LoadedRun
from pruning_study.steps.settings import PruneSetting, TrainSetting, following
from pruning_study.text_tables import text_table
from pruning_study.tracking import sending
from pruning_study.tracking.connect import connect
from pruning_study.tracking.store import Store
from pruning_study.tracking.writer import Writer
from pruning_study.training.evaluation import Predictions

PrunedRuns = Mapping[float, FinishedRun]  # by ratio


class Trained(NamedTuple):
    """A dense run, its store, and the setting that it was made with."""

    store: Store
    setting: TrainSetting
    dense: LoadedRun


class Pruned(NamedTuple):
    """A dense run and the runs that were pruned from it, their store, and the setting that they were made with.

    `predictions` are those of the pruned networks for the test images, by ratio.
    """

    store: Store
    setting: PruneSetting
    dense: LoadedRun
    pruned: PrunedRuns
    predictions: Mapping[float, Predictions]


def train_each(configs: Sequence[TrainConfig], options: Mapping[str, str]) -> Iterator[str]:
    """Train a network of each seed, in a job of its own, and yield the lines to print; otherwise as `prune_each`."""
    for config in configs:
        yield _heading(config, configs) + train(config, {**options, schema.SEED: text(config.seed)})
        os.environ.pop("MLFLOW_RUN_ID", None)


def prune_each(configs: Sequence[PruneConfig], options: Mapping[str, str]) -> Iterator[str]:
    """Prune a network of each seed, in a job of its own, and yield the lines to print.

    Parameters
    ----------
    configs : sequence of PruneConfig
        They differ in the seed.
    options : mapping of str
        The options as typed; each job's params have the seed of the job.

    Yields
    ------
    str
        The lines of each seed and, after those of several, the mean over them.
    """
    if len(configs) > 1 and configs[0].dense_run_id:
        raise StudyError("a dense run has one seed: leave --dense-run-id out to prune several", option="--seed")
    made = []
    for config in configs:
        result = make_pruned(config, {**options, schema.SEED: text(config.seed)})
        # The run that `mlflow run` made is the job of the first seed.
        os.environ.pop("MLFLOW_RUN_ID", None)
        yield _heading(config, configs) + _pruned_lines(result)
        made.append(result)
    if len(configs) > 1:
        yield f"\nmean of {len(configs)} seeds\n\n" + _mean_lines(made)


def _heading(config: TrainConfig, configs: Sequence[TrainConfig]) -> str:
    return f"\nseed {config.seed}\n" if len(configs) > 1 else ""


def train(config: TrainConfig, options: Mapping[str, str]) -> str:
    """Train a dense model, or find it, and return the lines to print; parameters as of `make_dense`."""
    store, setting, dense = make_dense(config, options)
    return "\n".join(
        [
            "",
            _train_table(dense, setting.data),
            "",
            _how_found("dense run", dense),
            *_what_next(store, dense.run_id, config.model),
        ]
    )


def make_dense(config: TrainConfig, options: Mapping[str, str]) -> Trained:
    """Train a dense model, or find it, in a job of its own.

    Parameters
    ----------
    config : TrainConfig
    options : mapping of str
        The options as typed, for the job's params.
    """
    store = connect(config.experiment)
    sending.send_kept(store.uri)
    setting = TrainSetting(config)
    with store.job(f"train: {setting.name}", options) as job:
        dense = dense_step.train(store, job.run_id, setting)
        job.tags({schema.DENSE_RUN_ID: dense.run_id} | _found_tag([dense]))
        job.metrics(dense.metrics)
        accuracy = dense.metrics[schema.TEST_ACCURACY]
        job.note(f"Dense run {dense.run_id}: accuracy {accuracy:.3f}.")
        _copy_picture(store, job, dense.run_id, schema.CONFUSION_PICTURE)
    return Trained(store, setting, dense)


def prune(config: PruneConfig, options: Mapping[str, str]) -> str:
    """Prune a dense model and return the lines to print; parameters as of `make_pruned`."""
    return _pruned_lines(make_pruned(config, options))


def _pruned_lines(result: Pruned) -> str:
    store, setting, dense, pruned, _ = result
    changes = _changes([result])
    return "\n".join(
        [
            "",
            pruning_table(_ratios(result, changes)) + _at_chance(dense, pruned, setting.data),
            "",
            what_is_shown(changes, prunes=setting.pruning.pruner.prunes),
            "",
            _how_found("dense run", dense),
            *(_how_found(f"pruned run t={ratio:g}", run) for ratio, run in pruned.items()),
            *_what_next(store, list(pruned.values())[-1].run_id, setting.config.model),
        ]
    )


def make_pruned(config: PruneConfig, options: Mapping[str, str]) -> Pruned:
    """Prune a dense model at one ratio or several, in a job of its own. Runs that exist are found, not made again.

    Parameters
    ----------
    config : PruneConfig
    options : mapping of str
        The options as typed, for the job's params.
    """
    store = connect(config.experiment)
    sending.send_kept(store.uri)
    given = store.get(config.dense_run_id) if config.dense_run_id else None
    setting = PruneSetting(following(config, given) if given else config)
    with store.job(f"prune: {setting.pruned_name(*config.ratio)}", options) as job:
        dense = runs.load(store, given, setting) if given else dense_step.train(store, job.run_id, setting)
        job.tags({schema.DENSE_RUN_ID: dense.run_id})
        pruned = {ratio: pruned_step.prune(store, job.run_id, setting, dense, ratio) for ratio in config.ratio}
        run_ids = [run.run_id for run in pruned.values()]
        job.tags({schema.PRUNED_RUN_IDS: ",".join(run_ids)} | _found_tag(pruned.values()))
        predictions = {
            ratio: runs.test_predictions(store, run_id, setting) for ratio, run_id in zip(pruned, run_ids, strict=True)
        }
        result = Pruned(store, setting, dense, pruned, predictions)
        job.note(_note(result))
        if len(run_ids) == 1:
            job.metrics(pruned[config.ratio[0]].metrics)
            _copy_picture(store, job, run_ids[0], schema.RECALL_PICTURE)
        else:
            table = summary(dense, pruned, setting.data.classes)
            csv_text.write(table, job.folder / schema.SUMMARY)
            job.table(table, schema.SUMMARY_TABLE)
            picture = pictures.over_ratios(_changes([result]), setting.pruned_name(*pruned))
            picture.savefig(job.folder / schema.SUMMARY_PICTURE)
    return result


def _note(result: Pruned) -> str:
    """Return what the sentences of the table say, as a Markdown list."""
    shown = what_is_shown(_changes([result]), prunes=result.setting.pruning.pruner.prunes)
    return "\n".join(f"- {markdown_line(line)}" for line in shown.splitlines())


def summary(dense: LoadedRun, pruned: PrunedRuns, classes: Sequence[str]) -> pd.DataFrame:
    """Return a row per ratio: accuracies, realised ratio, alpha, raw slope, recall of each class before and after."""
    names = schema.metric_names(classes)
    rows = []
    for ratio, run in pruned.items():
        row: dict[str, float | str] = {
            schema.RATIO: ratio,
            schema.REALIZED_RATIO: run.metrics[schema.REALIZED_RATIO],
            "accuracy_before": dense.metrics[schema.TEST_ACCURACY],
            "accuracy_after": run.metrics[schema.TEST_ACCURACY],
            schema.ALPHA: run.metrics.get(schema.ALPHA, np.nan),
            schema.RAW_SLOPE: _raw_slope(dense, run, names),
            "run_id": run.run_id,
        }
        row |= {f"recall_before/{name}": dense.metrics[schema.RECALL + name] for name in names}
        row |= {f"recall_after/{name}": run.metrics[schema.RECALL + name] for name in names}
        rows.append(row)
    return pd.DataFrame(rows)


def _found_tag(results: Iterable[FinishedRun]) -> dict[str, str]:
    found = [run.run_id for run in results if run.found]
    return {schema.FOUND_RUN_ID: ",".join(found)} if found else {}


def _copy_picture(store: Store, job: Writer, run_id: str, name: str) -> None:
    with store.artifact(run_id, name) as path:
        (job.folder / name).write_bytes(Path(path).read_bytes())


def _train_table(dense: FinishedRun, data: Dataset) -> str:
    recalls = [dense.metrics[schema.RECALL + name] for name in schema.metric_names(data.classes)]
    rows = [[name, f"{recall:.3f}"] for name, recall in zip(data.classes, recalls, strict=True)]
    order = np.argsort(recalls)
    return text_table(
        ["class", "recall"],
        shortened([rows[index] for index in order] if len(rows) > LONGEST_TABLE else rows),
        [["accuracy", f"{dense.metrics[schema.TEST_ACCURACY]:.3f}"]],
    )


def _changes(made: Sequence[Pruned]) -> dict[float, ClassChanges]:
    """Compare the networks of several seeds with what was pruned from them, at each ratio."""
    classes, before = made[0].setting.data.classes, [result.dense.dense.predictions for result in made]
    return {
        ratio: class_changes(classes, before, [result.predictions[ratio] for result in made])
        for ratio in made[0].pruned
    }


def _ratios(result: Pruned, changes: Mapping[float, ClassChanges]) -> dict[float, Ratio]:
    names = schema.metric_names(result.setting.data.classes)
    return {
        ratio: Ratio(
            changes[ratio],
            run.metrics[schema.REALIZED_RATIO],
            run.metrics.get(schema.ALPHA, np.nan),
            _raw_slope(result.dense, run, names),
        )
        for ratio, run in result.pruned.items()
    }


def _mean_lines(made: Sequence[Pruned]) -> str:
    """Return the table and the sentences of one seed, of means over several seeds."""
    changes = _changes(made)
    ratios = {
        ratio: Ratio(
            found,
            float(np.mean([result.pruned[ratio].metrics[schema.REALIZED_RATIO] for result in made])),
            found.slopes.alpha,
            found.slopes.raw_slope,
        )
        for ratio, found in changes.items()
    }
    shown = what_is_shown(changes, prunes=made[0].setting.pruning.pruner.prunes)
    return f"{pruning_table(ratios)}\n\n{shown}"


def _at_chance(dense: FinishedRun, pruned: PrunedRuns, data: Dataset) -> str:
    """Return a line that names the networks that guess, whose alpha means nothing."""
    networks = {"the dense network": dense.metrics, **{f"t={ratio:g}": run.metrics for ratio, run in pruned.items()}}
    accuracies = [metrics[schema.TEST_ACCURACY] for metrics in networks.values()]
    guesses = at_chance(accuracies, len(data.classes), np.bincount(data.test_labels))
    guessing = [name for name, at_random in zip(networks, guesses, strict=True) if at_random]
    return f"\nat chance, alpha means nothing: {', '.join(guessing)}" if guessing else ""


def _raw_slope(parent: LoadedRun, run: FinishedRun, names: Sequence[str]) -> float:
    """Return the raw slope from the dense network, computed anew for runs that were made before it was logged."""
    if schema.RAW_SLOPE in run.metrics:
        return run.metrics[schema.RAW_SLOPE]
    before = parent.dense.predictions
    recall = class_metrics(before.label, before.predicted, len(names)).recall
    after = [run.metrics[schema.RECALL + name] for name in names]
    return float(raw_slope(recall, after, before.accuracy, run.metrics[schema.TEST_ACCURACY]))


def _how_found(what: str, run: FinishedRun) -> str:
    return f"{what}: {run.run_id}" + (" (found, not run again; --force does)" if run.found else "")


def _what_next(store: Store, run_id: str, model: str) -> list[str]:
    own_model = "" if is_built_in(model) else f', model="{model}"'
    return [
        "",
        f'the model:      import pruning_study; model = pruning_study.load_model("{run_id}"{own_model})',
        f"                (from another folder: MLFLOW_TRACKING_URI={without_password(store.uri)})",
        f"the comparison: {store.how_to_look}",
    ]
