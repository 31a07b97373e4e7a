"""Pull frames from a tracking store, with one row for each pair of a pruned run and its dense run."""

import logging
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from mlflow.utils.uri import is_local_uri
from tqdm import tqdm

from analysis.common import archives, arguments
from analysis.common.errors import StudyError, did_you_mean
from analysis.common.masking import without_secrets
from analysis.runs import checks, frames, moved_folders, schema
from analysis.runs.clocks import dated_ahead
from analysis.runs.frames import (
    ACCURACY_AFTER,
    ACCURACY_BEFORE,
    IN_TOP5,
    MOST_CLASSES,
    PARAM,
    RECALL_AFTER,
    RECALL_BEFORE,
    RUN_ID,
    Study,
)
from analysis.runs.retries import download_artifacts, list_artifacts
from analysis.runs.schema import Metric
from analysis.runs.stores import FINISHED, NO_NUMBER, NOTHING, Page, open_store

_METRIC = "metrics."
_ACCURACY = _METRIC + schema.TEST_ACCURACY
_DENSE_PARAMS = [schema.DATASET, schema.MODEL, schema.SEED]
_PAIR_PARAMS = [schema.DATASET, schema.MODEL, schema.PRUNER, schema.RATIO, schema.SEED]
_DEFAULT_ID = "0"  # of the experiment that MLflow makes in each store

logger = logging.getLogger(__name__)


def pull_runs(
    experiment: str | None = None, *, tracking_uri: str | None = None, ignore_params: Sequence[str] = ()
) -> pd.DataFrame:
    """Pull an experiment's pairs of a dense run and a pruned or quantized run.

    Parameters
    ----------
    experiment : str, optional
        Name of the experiment; by default MLflow's current one (MLFLOW_EXPERIMENT_NAME, MLFLOW_EXPERIMENT_ID,
        else "Default").
    tracking_uri : str, optional
        By default MLflow's current one.
    ignore_params : sequence of str
        Params that do not describe the experiment, such as an output path. They are dropped, so they do not distinguish
        cells.

    Returns
    -------
    DataFrame, one row per pair, sorted by dataset, model, pruner, ratio, seed
        Values are NaN if a run lacks the param, metric or class, and a column is missing if all runs lack it. A
        quantized dense network has its number format as pruner, such as `float16`, and ratio 1; a quantized control has
        the pruner `none float16`. If runs agree in every setting and seed, only the newest is included.
        `attrs["left_out"]` has sentences on the runs that were left out. The columns:

        - dataset, model, pruner, ratio (float), seed (int)
        - params.<name>: every other param, as text
        - accuracy_before, accuracy_after: test accuracy of the dense run, and of the other run of the pair
        - realized_ratio, model_bytes, latency_ms/one and latency_ms/batch (each with `_low` and `_high`), mp_overlap:
          metrics of the other run
        - recall_before/<class>, recall_after/<class>: recalls of both runs
        - support/<class>, both_right/<class>: number of test images, and share that both runs classify correctly
        - arithmetic, dense_run_id, run_id

    Raises
    ------
    StudyError
        If the store cannot be reached or read; if the experiment is unknown, deleted or has no pair; or if a param to
        ignore is required, or missing from all runs.

    Examples
    --------
    >>> from analysis import pull_runs
    >>> runs = pull_runs("small")
    >>> runs.groupby("pruner")["accuracy_after"].count().to_dict()
    {'mp': 1, 'none': 1}
    """
    arguments.check(experiment=experiment, tracking_uri=tracking_uri, ignore_params=ignore_params)
    return study(experiment, tracking_uri=tracking_uri, ignore_params=ignore_params).runs


runs = pull_runs  # the name of `pull_runs` before 0.2.0


def study(
    experiment: str | None = None, *, tracking_uri: str | None = None, ignore_params: Sequence[str] = ()
) -> Study:
    """Pull an experiment's pairs and dense runs together; parameters and errors are as for `pull_runs`."""
    with open_store(tracking_uri) as store:
        selected_id, name, other_experiments = _find(store.experiments(), experiment)
        run_rows = _read(store.pages(selected_id))
        is_dense = run_rows["kind"] == schema.DENSE
        pruned, dense = run_rows[~is_dense], run_rows[is_dense]
        elsewhere = set(pruned[schema.DENSE_RUN_ID].dropna()) - set(dense[RUN_ID])
        run_rows = _read(store.runs(sorted(elsewhere)))
        dense = pd.concat([dense, run_rows[run_rows["kind"] == schema.DENSE]])
    dense, pruned = map(frames.with_canonical_values, _drop_params(ignore_params, dense, pruned))

    left_out = dated_ahead(
        date for frame in (dense, pruned) for date in zip(frame[RUN_ID], frame["ended"], strict=True)
    )
    dense = frames.with_former_values(_drop_unfinished(dense, left_out))
    sound_dense = _drop_pruned(_drop_unsound(dense, _DENSE_PARAMS, left_out), left_out)
    dense_left_out = left_out.copy()
    pruned = _name_by_format(_drop_unfinished(pruned, left_out), left_out)
    pruned = frames.with_former_values(_drop_unsound(pruned, _PAIR_PARAMS, left_out))
    pruned = _drop_unpaired(pruned, sound_dense, set(dense[RUN_ID]), left_out)
    pairs = _pairs_frame(pruned, sound_dense)
    pairs = checks.sound_pairs(pairs, _dense_frame(sound_dense), left_out) if len(pairs) else pairs
    newest = _drop_older(_select_runs(pruned, pairs), left_out)
    if newest.empty:
        reasons = "; ".join(left_out) or "no run is tagged as pruned or quantized"
        raise StudyError(
            f"experiment {name!r} has no pruned run to compare with its dense run ({reasons}); "
            f"experiments in this store: {other_experiments}"
        )
    pairs = _select_runs(pairs, newest)
    dense_runs = _dense_frame(_drop_older(sound_dense, dense_left_out))
    pairs.attrs["left_out"] = [*left_out, *checks.notes(pairs, dense_runs)]
    dense_runs.attrs["left_out"] = dense_left_out
    return Study(pairs, dense_runs)


def experiment_id(experiment: str | None = None, *, tracking_uri: str | None = None) -> str:
    """Return the id of an experiment; parameters and errors are as for `pull_runs`."""
    with open_store(tracking_uri) as store:
        return _find(store.experiments(), experiment)[0]


def experiment_name(*, tracking_uri: str | None = None) -> str | None:
    """Return the name of MLflow's current experiment; None for the default one, which is current if none is named."""
    with open_store(tracking_uri) as store:
        selected_id, name, _ = _find(store.experiments(), None)
    return name if selected_id != _DEFAULT_ID else None


def predictions(
    run_ids: Sequence[str],
    *,
    artifact: str = schema.PREDICTIONS,
    names: Sequence[str] = (schema.LABEL, schema.PREDICTED),
    tracking_uri: str | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """Read the predictions of runs for every test or validation image.

    Parameters
    ----------
    run_ids : sequence of str
        Dense and pruned runs, in any experiments of the store.
    artifact : str
        `predictions.npz`, or `val_predictions.npz` for the validation images.
    names : sequence of str
        Arrays to read from each artifact: label, predicted and top5, which are converted to int64, and confidence;
        `frames.IN_TOP5` is derived from label and top5, and missing if the artifact has no top5.
    tracking_uri : str, optional
        By default MLflow's current one.

    Returns
    -------
    dict, run id -> name -> array (images, ...)
        In the order of `run_ids`. Unknown runs and runs without the artifact are missing. Runs are also missing, with a
        warning for each, if the artifact is damaged, lacks an array, has no images, has arrays of unequal lengths, or
        has a class that is not an integer from 0 on.

    Raises
    ------
    StudyError
        If the store cannot be read.
    """
    arrays = {}
    with open_store(tracking_uri) as store, tempfile.TemporaryDirectory() as folder:
        folders = store.artifact_folders(run_ids)
        for run_id in tqdm(run_ids, desc="predictions", unit=" runs", leave=False, disable=None):
            if run_id in folders and (path := _artifact(folders[run_id], artifact, folder, tracking_uri)):
                try:
                    arrays[run_id] = _arrays(path, names)
                except StudyError as error:
                    logger.warning("%s of run %s left out, %s", artifact, run_id, error)
    return arrays


def files_of(run_id: str, names: Sequence[str], downloads: Path, *, tracking_uri: str | None = None) -> dict[str, Path]:
    """Return the existing artifacts of a run as local files, by name.

    Parameters
    ----------
    run_id : str
    names : sequence of str
    downloads : Path
        Folder for downloads from a server; it is created if it does not exist.
    tracking_uri : str, optional
        By default MLflow's current one.

    Raises
    ------
    StudyError
        If the store cannot be read.
    """
    with open_store(tracking_uri) as store:
        folders = store.artifact_folders([run_id])
        downloads.mkdir(parents=True, exist_ok=True)
        paths = {name: _artifact(folders[run_id], name, str(downloads), tracking_uri) for name in names if folders}
    return {name: path for name, path in paths.items() if path}


def dense_runs(run_ids: Sequence[str], *, tracking_uri: str | None = None) -> dict[str, str]:
    """Map the id of each known run to the id of its dense run; a dense run maps to itself.

    Raises
    ------
    StudyError
        If the store cannot be read.
    """
    with open_store(tracking_uri) as store:
        rows = [row for page in store.runs(run_ids) for row in page.runs.to_pylist()]
    return {row["run_id"]: row["dense_run_id"] or row["run_id"] for row in rows}


def artifacts(
    kind: str,
    names: Sequence[str],
    experiment: str | None = None,
    *,
    tracking_uri: str | None = None,
    finished: bool = True,
) -> dict[str, dict[str, bytes]]:
    """Read artifacts of all runs of one kind in an experiment.

    Parameters
    ----------
    kind : str
        Value of the tag `kind`.
    names : sequence of str
    experiment, tracking_uri : str, optional
        As in `pull_runs`.
    finished : bool
        Whether to ignore unfinished runs.

    Returns
    -------
    dict, run id -> name -> content
        Oldest run first. Runs that lack one of the artifacts are missing.

    Raises
    ------
    StudyError
        As in `pull_runs`, except that finding no run is no error.
    """
    contents_by_run = {}
    with open_store(tracking_uri) as store, tempfile.TemporaryDirectory() as folder:
        run_ids = store.of_kind(_find(store.experiments(), experiment)[0], kind, finished=finished)
        for run_id, where in store.artifact_folders(run_ids).items():
            paths = {name: _artifact(where, name, folder, tracking_uri) for name in names}
            contents = {name: path.read_bytes() for name, path in paths.items() if path}
            if len(contents) == len(names):
                contents_by_run[run_id] = contents
    return {run_id: contents_by_run[run_id] for run_id in run_ids if run_id in contents_by_run}


def tagged_artifacts(
    tag: str,
    name: str,
    experiment: str | None = None,
    *,
    elsewhere: Sequence[str] = (),
    tracking_uri: str | None = None,
) -> dict[str, bytes]:
    """Read an artifact of an experiment's finished runs that have a tag.

    Parameters
    ----------
    tag, name : str
        Names of the tag and of the artifact.
    experiment, tracking_uri : str, optional
        As in `pull_runs`.
    elsewhere : sequence of str
        Ids of further runs, perhaps of other experiments, whose artifact is also read if any run of the
        experiment has the tag.

    Returns
    -------
    dict, run id -> content
        Runs without the artifact are missing.

    Raises
    ------
    StudyError
        As in `pull_runs`, except that finding no run is no error.
    """
    with open_store(tracking_uri) as store:
        tagged = store.tagged(_find(store.experiments(), experiment)[0], tag).to_pylist()
        folders = {run[RUN_ID]: run["folder"] for run in tagged}
        if folders:
            folders |= store.artifact_folders([run_id for run_id in elsewhere if run_id not in folders])
        return _contents(folders, name, tracking_uri)


def artifacts_of(run_ids: Sequence[str], name: str, *, tracking_uri: str | None = None) -> dict[str, bytes]:
    """Read an artifact of runs in any experiment of the store.

    Parameters
    ----------
    run_ids : sequence of str
    name : str
    tracking_uri : str, optional
        By default MLflow's current one.

    Returns
    -------
    dict, run id -> content
        Runs without the artifact are missing.

    Raises
    ------
    StudyError
        If the store cannot be read.
    """
    with open_store(tracking_uri) as store:
        return _contents(store.artifact_folders(run_ids), name, tracking_uri)


def _contents(folders: Mapping[str, str], name: str, tracking_uri: str | None) -> dict[str, bytes]:
    """Read an artifact of each run that has it; `folders` maps run ids to artifact URIs."""
    contents = {}
    with tempfile.TemporaryDirectory() as downloads:
        for run_id, where in tqdm(folders.items(), desc=name, unit=" runs", leave=False, disable=None):
            if path := _artifact(where, name, downloads, tracking_uri):
                contents[run_id] = path.read_bytes()  # the next download replaces the file
    return contents


# Selection of runs: frames with a row for each run, and columns as in mlflow.search_runs.


def _drop_params(names: Sequence[str], dense: pd.DataFrame, pruned: pd.DataFrame) -> Iterator[pd.DataFrame]:
    logged_params = {frames.param(column) for frame in (dense, pruned) for column in _columns(frame, "", PARAM)}
    for name in names:
        if name in frames.BARE:
            raise StudyError(f"{name} is needed for every run, so it cannot be ignored", option="ignore_param")
        if name not in logged_params:
            hint = did_you_mean(name, sorted(logged_params), "leave the option out")
            raise StudyError(f"no run has a param {name!r}, {hint}", option="ignore_param")
    ignored = [PARAM + name for name in names]
    yield from (frame.drop(columns=ignored, errors="ignore") for frame in (dense, pruned))


def _drop_unfinished(run_rows: pd.DataFrame, left_out: list[str]) -> pd.DataFrame:
    for state in sorted(set(run_rows["state"]) - {FINISHED}):
        run_rows = _drop(run_rows, run_rows["state"] == state, state.lower(), left_out)
    return run_rows


def _name_by_format(run_rows: pd.DataFrame, left_out: list[str]) -> pd.DataFrame:
    """Fill in the pruner and the ratio of networks that were quantized but not pruned.

    Quantized dense networks have neither. Their pruner becomes the number format, and their ratio becomes 1. Quantized
    controls have the pruner `none`, which becomes `none` followed by the number format. `frames.NUMBER_FORMATS` lists
    these names.
    """
    is_quantized = run_rows["kind"] == schema.QUANTIZED
    if not is_quantized.any():
        return run_rows
    params = [PARAM + name for name in (schema.NUMBER_FORMAT, schema.PRUNER, schema.RATIO)]
    run_rows = run_rows.reindex(columns=list(dict.fromkeys([*run_rows.columns, *params])))
    formats = schema.BITS.keys() - {schema.FORMERLY[schema.NUMBER_FORMAT]}
    has_unknown_format = is_quantized & ~run_rows[params[0]].isin(formats)
    run_rows = _drop(
        run_rows, has_unknown_format, f"{schema.NUMBER_FORMAT} is none of {', '.join(sorted(formats))}", left_out
    )
    number_format, pruner, ratio = (run_rows[name] for name in params)
    is_quantized = run_rows["kind"] == schema.QUANTIZED
    of_dense = is_quantized & pruner.isna() & ratio.isna()
    of_control = is_quantized & (pruner == schema.CONTROL)
    pruner = pruner.mask(of_dense, number_format).mask(of_control, f"{schema.CONTROL} " + number_format)
    return run_rows.assign(**{params[1]: pruner, params[2]: ratio.mask(of_dense, "1.0")})


def _drop_unsound(run_rows: pd.DataFrame, required: list[str], left_out: list[str]) -> pd.DataFrame:
    """Keep the runs with usable params and recalls, and convert seed and ratio to numbers."""
    needed = [metric for metric in schema.METRICS if metric.needed]
    required_columns = [PARAM + name for name in required]
    required_columns += [_METRIC + metric.name for metric in needed if not metric.by_class]
    sound = run_rows.reindex(columns=list(dict.fromkeys([*run_rows.columns, *required_columns])))
    for column in required_columns:
        sound = _drop(sound, sound[column].isna(), f"no {column.replace('s.', ' ', 1)}", left_out)
    for name, is_one, meaning in _NUMBERS:
        if name in required:
            numbers = pd.to_numeric(sound[PARAM + name], errors="coerce").astype(float)
            sound = sound.assign(**{PARAM + name: numbers})
            sound = _drop(sound, ~is_one(numbers), f"{name} is no {meaning}", left_out)
    sound = _without_optional(_without_untested_classes(sound, left_out), left_out)

    recalls = _columns(sound, schema.RECALL)
    sound = _drop(sound, sound[recalls].isna().all(axis=1), f"no metric {schema.RECALL}<class>", left_out)
    shares = [column for metric in needed for column in _columns_of_metric(sound, metric)]
    for is_wrong, meaning in _FAULTS:
        wrong = is_wrong(sound[shares])
        metrics = checks.some(wrong.columns[wrong.any()].str.removeprefix(_METRIC))
        sound = _drop(sound, wrong.any(axis=1), f"{meaning} in {metrics}", left_out)
    return _drop(sound, sound[_ACCURACY] == 0, f"{schema.TEST_ACCURACY} is 0", left_out)


_NUMBERS: list[tuple[str, Callable[[pd.Series], pd.Series], str]] = [
    (schema.SEED, lambda seed: (seed % 1 == 0) & (seed.abs() < 2**53), "whole number below 2^53"),
    (schema.RATIO, lambda ratio: ratio.abs() < math.inf, "number"),
]

_FAULTS: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (lambda shares: shares.abs() >= NO_NUMBER, "no number"),
    (lambda shares: (shares < 0) | (shares > 1), "a value outside [0, 1]"),
]


def _drop_pruned(dense: pd.DataFrame, left_out: list[str]) -> pd.DataFrame:
    """Keep the dense runs whose params, metrics and tags do not show that they were pruned."""
    pruner, ratio, realized = (
        dense.reindex(columns=[column])[column]
        for column in (PARAM + schema.PRUNER, PARAM + schema.RATIO, _METRIC + schema.REALIZED_RATIO)
    )
    ratio = pd.to_numeric(ratio, errors="coerce")
    dense_ids = dense[schema.DENSE_RUN_ID]
    wrong = pruner.notna() & (pruner != schema.CONTROL)
    wrong |= (ratio > 1) | (realized > 1) | (dense_ids.notna() & (dense_ids != dense[RUN_ID]))
    reason = f"pruned according to {schema.PRUNER}, {schema.RATIO}, {schema.REALIZED_RATIO} or {schema.DENSE_RUN_ID}"
    return _drop(dense, wrong, reason, left_out)


def _without_untested_classes(run_rows: pd.DataFrame, left_out: list[str]) -> pd.DataFrame:
    """Remove the metrics of classes without test images, whose logged recall (0 or NaN) is meaningless."""
    supports = _columns(run_rows, schema.SUPPORT)
    untested = run_rows[supports] == 0
    columns = {}
    for column in untested.columns[untested.any()]:
        name = column.removeprefix(_METRIC + schema.SUPPORT)
        runs_without = untested[column]
        left_out.append(f"class {name} left out of {checks.counted(run_rows.loc[runs_without, 'kind'])}, no test image")
        for prefix in (schema.RECALL, schema.SUPPORT, schema.BOTH_RIGHT):
            if (metric := _METRIC + prefix + name) in run_rows:
                columns[metric] = run_rows[metric].mask(runs_without)
    return run_rows.assign(**columns)


def _without_optional(run_rows: pd.DataFrame, left_out: list[str]) -> pd.DataFrame:
    """Remove impossible values of optional metrics, but keep their runs."""
    columns = {}
    for metric in schema.METRICS:
        for column in [] if metric.needed else _columns_of_metric(run_rows, metric):
            values = run_rows[column]
            wrong = (values < 0) | (values > metric.largest) | (values >= NO_NUMBER)
            if wrong.any():
                name = column.removeprefix(_METRIC)
                left_out.append(
                    f"{name} left out of {checks.counted(run_rows.loc[wrong, 'kind'])}, no number in its range"
                )
                columns[column] = values.mask(wrong)
    return run_rows.assign(**columns)


def _drop_unpaired(
    pruned: pd.DataFrame, dense: pd.DataFrame, finished_dense: set[str], left_out: list[str]
) -> pd.DataFrame:
    """Keep the pruned runs whose dense run was kept, has the same classes and images, and has not been replaced."""
    dense_ids = pruned[schema.DENSE_RUN_ID]
    pruned = _drop(pruned, dense_ids.isna(), f"no tag {schema.DENSE_RUN_ID}", left_out)
    is_orphan = ~pruned[schema.DENSE_RUN_ID].isin(finished_dense)
    pruned = _drop(pruned, is_orphan, "the dense run is gone or not finished", left_out)
    pruned = _drop(pruned, ~pruned[schema.DENSE_RUN_ID].isin(dense[RUN_ID]), "the dense run is left out", left_out)

    classes = _classes(pruned, dense)
    before, after = _metrics(dense, schema.RECALL, classes), _metrics(pruned, schema.RECALL, classes)
    differ = (np.isnan(before)[_dense_rows(pruned, dense)] != np.isnan(after)).any(axis=1)
    pruned = _drop(pruned, differ, "the classes are not those of the dense run", left_out)

    before, after = _metrics(dense, schema.SUPPORT, classes), _metrics(pruned, schema.SUPPORT, classes)
    with np.errstate(invalid="ignore"):
        differ = (np.abs(before[_dense_rows(pruned, dense)] - after) > 0).any(axis=1)
    pruned = _drop(pruned, differ, "the supports are not those of the dense run", left_out)
    before = dense["normalization"].to_numpy(str)[_dense_rows(pruned, dense)]
    after = pruned["normalization"].to_numpy(str)
    differ = (before != "") & (after != "") & (before != after)
    pruned = _drop(pruned, differ, "the normalization is not that of the dense run", left_out)
    paired_dense = dense[dense[RUN_ID].isin(pruned[schema.DENSE_RUN_ID].unique())]
    is_outdated = pruned[schema.DENSE_RUN_ID].isin(_replaced_ids(paired_dense))
    reason = "a newer dense run has the same settings and seed as their dense run, but other recalls"
    return _drop(pruned, is_outdated, reason, left_out)


def _replaced_ids(dense: pd.DataFrame) -> list[str]:
    """Return ids of dense runs whose recalls differ from those of the newest run with the same settings and seed."""
    dense = dense.sort_values(["ended", RUN_ID])
    network = dense.groupby(frames.identity(dense), dropna=False).ngroup().to_numpy()
    if len(np.unique(network)) == len(dense):
        return []
    newest = pd.Series(range(len(dense)), network).groupby(level=0).last()[network]
    values = dense[[_ACCURACY, *_columns(dense, schema.RECALL)]].fillna(-1).to_numpy(float)
    return dense.loc[(values != values[newest]).any(axis=1), RUN_ID].tolist()


def _drop_older(run_rows: pd.DataFrame, left_out: list[str]) -> pd.DataFrame:
    run_rows = run_rows.sort_values(["ended", RUN_ID])
    older = run_rows.duplicated(frames.identity(run_rows), keep="last")
    return _drop(run_rows, older, "a newer run has the same settings and seed", left_out)


def _select_runs(run_rows: pd.DataFrame, kept_rows: pd.DataFrame) -> pd.DataFrame:
    """Select the runs of a frame that are in a second frame, which is a subset of it."""
    if len(run_rows) == len(kept_rows):
        return run_rows
    return frames.rows(run_rows, run_rows[RUN_ID].isin(kept_rows[RUN_ID].tolist()))


def _drop(run_rows: pd.DataFrame, wrong: Any, reason: str, left_out: list[str]) -> pd.DataFrame:
    wrong = np.asarray(wrong, dtype=bool)
    if not wrong.any():
        return run_rows
    checks.tell(run_rows[wrong], reason, left_out, run_rows.loc[wrong, "kind"])
    return run_rows[~wrong]


# Frames to return.


def _pairs_frame(pruned: pd.DataFrame, dense: pd.DataFrame) -> pd.DataFrame:
    classes = _classes(pruned, dense)
    before = _dense_rows(pruned, dense)
    support = _metrics(pruned, schema.SUPPORT, classes)
    support = np.where(np.isnan(support), _metrics(dense, schema.SUPPORT, classes)[before], support)
    metrics = {
        ACCURACY_BEFORE: dense[_ACCURACY].to_numpy()[before],
        ACCURACY_AFTER: pruned[_ACCURACY].to_numpy(),
        **_by_name("", frames.OPTIONAL_OF_PRUNED, _metrics(pruned, "", frames.OPTIONAL_OF_PRUNED)),
        **_by_name(RECALL_BEFORE, classes, _metrics(dense, schema.RECALL, classes)[before]),
        **_by_name(RECALL_AFTER, classes, _metrics(pruned, schema.RECALL, classes)),
        **_by_name(schema.SUPPORT, classes, support),
        **_by_name(schema.BOTH_RIGHT, classes, _metrics(pruned, schema.BOTH_RIGHT, classes)),
        schema.ARITHMETIC: pruned[schema.ARITHMETIC].array,
        schema.DENSE_RUN_ID: pruned[schema.DENSE_RUN_ID].array,
        RUN_ID: pruned[RUN_ID].array,
    }
    return _frame(pruned, _PAIR_PARAMS, metrics)


def _dense_frame(dense: pd.DataFrame) -> pd.DataFrame:
    classes = _classes(dense)
    metrics = {
        ACCURACY_BEFORE: dense[_ACCURACY].to_numpy(),
        **_by_name("", frames.OPTIONAL_OF_DENSE, _metrics(dense, "", frames.OPTIONAL_OF_DENSE)),
        **_by_name(RECALL_BEFORE, classes, _metrics(dense, schema.RECALL, classes)),
        **_by_name(schema.SUPPORT, classes, _metrics(dense, schema.SUPPORT, classes)),
        schema.ARITHMETIC: dense[schema.ARITHMETIC].array,
        schema.DENSE_RUN_ID: dense[RUN_ID].array,
    }
    return _frame(dense, _DENSE_PARAMS, metrics)


def _frame(run_rows: pd.DataFrame, leading: list[str], metrics: dict[str, Any]) -> pd.DataFrame:
    other_params = sorted(column for column in _columns(run_rows, "", PARAM) if frames.param(column) not in leading)
    params = {name: run_rows[PARAM + name].array for name in leading} | {
        column: run_rows[column].array for column in other_params
    }
    frame = pd.DataFrame(params | metrics)
    frame = frame.astype({schema.SEED: np.int64})
    frame = frame.dropna(axis=1, how="all") if len(frame) else frame
    return frame.sort_values([*leading, list(metrics)[-1]], ignore_index=True)


def _dense_rows(pruned: pd.DataFrame, dense: pd.DataFrame) -> np.ndarray:
    """Return the row of each pruned run's dense run, (pruned runs,)."""
    return pd.Index(dense[RUN_ID]).get_indexer(pruned[schema.DENSE_RUN_ID])


def _classes(*frames: pd.DataFrame) -> list[str]:
    start = len(_METRIC + schema.RECALL)
    names = {column[start:] for frame in frames for column in _columns(frame, schema.RECALL)}
    return sorted(names, key=lambda name: (0, int(name), name) if name.isdecimal() else (1, 0, name))


def _columns(run_rows: pd.DataFrame, prefix: str, group: str = _METRIC) -> list[str]:
    return [column for column in run_rows.columns if column.startswith(group + prefix)]


def _columns_of_metric(run_rows: pd.DataFrame, metric: Metric) -> list[str]:
    if metric.by_class:
        return _columns(run_rows, metric.name)
    return [_METRIC + metric.name] if _METRIC + metric.name in run_rows else []


def _metrics(run_rows: pd.DataFrame, prefix: str, names: Sequence[str]) -> np.ndarray:
    return run_rows.reindex(columns=[_METRIC + prefix + name for name in names]).to_numpy(float)


def _by_name(prefix: str, names: Sequence[str], values: np.ndarray) -> dict[str, np.ndarray]:
    return {prefix + name: values[:, index] for index, name in enumerate(names)}


# Reading from the store.


def _read(pages: Iterable[Page]) -> pd.DataFrame:
    tables = [NOTHING.runs]
    with tqdm(desc="pull", unit=" runs", leave=False, disable=None) as progress:
        for page in pages:
            tables.append(_wide(page))
            progress.update(len(page.runs))
    run_rows = pa.concat_tables(tables, promote_options="default").to_pandas()
    return run_rows.assign(
        **{name: run_rows[name].replace("", None) for name in (schema.DENSE_RUN_ID, schema.ARITHMETIC)}
    )


def _wide(page: Page) -> pa.Table:
    """Make a table with a row for each run, and a column for each param and metric."""
    columns = {name: page.runs[name] for name in page.runs.column_names}
    for prefix, values in ((PARAM, _mask_secrets(page.params)), (_METRIC, page.metrics)):
        columns |= {prefix + name: column for name, column in _columns_of(values, page.runs[RUN_ID]).items()}
    return pa.table(columns)


def _mask_secrets(params: pa.Table) -> pa.Table:
    """Mask secrets, such as a password in a URL, because frames and reports with the params may be published."""
    values = params["value"].combine_chunks().dictionary_encode()
    texts = values.dictionary.to_pylist()
    masked_texts = [without_secrets(text) if "@" in text or "=" in text else text for text in texts]
    if masked_texts == texts:
        return params
    return params.set_column(2, "value", pa.array(masked_texts).take(values.indices))


def _columns_of(values: pa.Table, run_ids: pa.ChunkedArray) -> dict[str, pa.Array]:
    """Make a column for each name, in the order of the runs, with null for runs that lack the value."""
    names = values["name"].combine_chunks().dictionary_encode()
    value_rows = np.full((len(names.dictionary), len(run_ids)), -1)
    runs = pc.index_in(values[RUN_ID], value_set=run_ids.combine_chunks())
    value_rows[names.indices.to_numpy(), runs.to_numpy()] = np.arange(len(values))
    all_values = values["value"].combine_chunks()
    return {
        name: all_values.take(pa.array(rows, mask=rows < 0))
        for name, rows in zip(names.dictionary.to_pylist(), value_rows, strict=True)
    }


def _find(experiments: list[tuple[str, str, str]], name: str | None) -> tuple[str, str, str]:
    """Return the id and name of the selected experiment, and the names of all active ones."""
    name = name or os.environ.get("MLFLOW_EXPERIMENT_NAME")
    default_id = os.environ.get("MLFLOW_EXPERIMENT_ID", _DEFAULT_ID)
    names = checks.some(sorted(f"{own_name!r}" for _, own_name, stage in experiments if stage == "active"), most=20)
    for experiment_id, experiment_name, stage in experiments:
        if experiment_name == name or (name is None and experiment_id == default_id):
            if stage != "active":
                raise StudyError(f"experiment {experiment_name!r} is deleted; experiments in this store: {names}")
            return experiment_id, experiment_name, names
    description = f"named {name!r}" if name else f"with id {default_id}"
    raise StudyError(f"no experiment {description}; experiments in this store: {names or 'none'}")


def _artifact(folder: str, name: str, downloads: str, tracking_uri: str | None) -> Path | None:
    """Find an artifact on this machine or download it; return None if the run has none."""
    if is_local_uri(folder, is_tracking_or_registry_uri=False):
        path = moved_folders.local_folder(folder, tracking_uri) / name
        return path if path.is_file() else None
    files = list_artifacts(artifact_uri=folder, tracking_uri=tracking_uri)
    if name not in [Path(file.path).name for file in files]:
        return None
    return Path(download_artifacts(artifact_uri=f"{folder}/{name}", dst_path=downloads, tracking_uri=tracking_uri))


def _arrays(path: Path, names: Sequence[str]) -> dict[str, np.ndarray]:
    derived = [schema.TOP5] if IN_TOP5 in names else []
    arrays = archives.read(path, [name for name in names if name != IN_TOP5], derived)
    for name, array in arrays.items():
        dimensions = 2 if name == schema.TOP5 else 1
        if array.ndim != dimensions or not array.size:
            raise StudyError(f"{name} has shape {array.shape}, but must be {dimensions}-dimensional and not empty")
        if name != schema.CONFIDENCE:
            if array.dtype.kind not in "iu":
                raise StudyError(f"{name} has type {array.dtype}, but must be integers")
            arrays[name] = array = array.astype(np.int64, copy=False)
            if array.min() < 0:
                raise StudyError(f"{name} contains {array.min()}, but classes must be at least 0")
            if array.max() >= MOST_CLASSES:
                raise StudyError(f"{name} contains {array.max()}, but classes must be below {MOST_CLASSES:,}")
    if len({len(array) for array in arrays.values()}) > 1:
        lengths = ", ".join(f"{len(array):,} {name}" for name, array in arrays.items())
        raise StudyError(f"arrays differ in length ({lengths})")
    if IN_TOP5 in names and schema.TOP5 in arrays:
        arrays[IN_TOP5] = (arrays[schema.TOP5] == arrays[schema.LABEL][:, np.newaxis]).any(1)
    return {name: array for name, array in arrays.items() if name in names}
