"""Pull frames from a tracking store, with one row for each pair of a pruned run and its dense run."""

import logging
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from mlflow.utils.uri import is_local_uri
from tqdm import tqdm

from analysis.common import archives, arguments
from analysis.common.errors import StudyError
from analysis.runs import checks, moved_folders, pairs, schema, stores
from analysis.runs.frames import IN_TOP5, MOST_CLASSES, RUN_ID, TAG, Study
from analysis.runs.retries import download_artifacts, list_artifacts
from analysis.runs.stores import ARTIFACT_URI, START_TIME, open_store

_KIND, _DENSE_RUN_ID = TAG + schema.KIND, TAG + schema.DENSE_RUN_ID
_CONFIG_HASH, _SCHEMA = TAG + schema.CONFIG_HASH, TAG + schema.SCHEMA
# Columns of the reading that the runs of a study, and so its exports, do not have
_NOT_OF_RUNS = [_CONFIG_HASH, _SCHEMA, START_TIME, ARTIFACT_URI, TAG + schema.CORRUPTED, TAG + schema.MINIMIZE]
_DEFAULT_ID = "0"  # of the experiment that MLflow makes in each store

MADE_BEFORE = (
    "experiment {experiment!r} has runs made before 0.3.0 ({runs}): train anew in another experiment, or use the "
    "commit that the changelog names"
)

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
        If the store cannot be reached or read; if the experiment is unknown, deleted, has no pair or has runs made
        before 0.3.0; or if a param to ignore is required, or missing from all runs.

    Examples
    --------
    >>> from analysis import pull_runs
    >>> runs = pull_runs("small")
    >>> runs.groupby("pruner")["accuracy_after"].count().to_dict()
    {'mp': 1, 'none': 1}
    """
    arguments.check(experiment=experiment, tracking_uri=tracking_uri, ignore_params=ignore_params)
    return study(experiment, tracking_uri=tracking_uri, ignore_params=ignore_params).runs


def study(
    experiment: str | None = None, *, tracking_uri: str | None = None, ignore_params: Sequence[str] = ()
) -> Study:
    """Pull an experiment's pairs and dense runs together; parameters and errors are as for `pull_runs`."""
    return Experiment(experiment, tracking_uri=tracking_uri).study(ignore_params)


class Experiment:
    """An experiment of a tracking store: a source of runs and of their artifacts.

    Parameters
    ----------
    experiment, tracking_uri : str, optional
        As in `pull_runs`.

    Attributes
    ----------
    rows : DataFrame
        All runs of the experiment, and the dense runs elsewhere to which they refer, as `stores.read` returns them.

    Raises
    ------
    StudyError
        As in `pull_runs`, except that finding no pair is no error.
    """

    def __init__(self, experiment: str | None = None, *, tracking_uri: str | None = None) -> None:
        self._uri = tracking_uri
        with open_store(tracking_uri) as store:
            selected_id, self.name, self._others = _find(store.experiments(), experiment)
            rows = stores.read(store, selected_id)
            kind = rows[_KIND]
            made = kind.isin(schema.KINDS) & (kind != schema.DENSE)
            elsewhere = set(rows.loc[made, _DENSE_RUN_ID].dropna()) - set(rows.loc[kind == schema.DENSE, RUN_ID])
            others = stores.read(store, sorted(elsewhere))
        rows = pd.concat([rows, others[others[_KIND] == schema.DENSE]])
        self.rows = rows.sort_values(RUN_ID, ignore_index=True)

    def runs(self) -> pd.DataFrame:
        """Return the dense, pruned and quantized runs, a row for each, in the form of `mlflow.search_runs`."""
        runs = self.rows[self.rows[_KIND].isin(schema.KINDS)].reset_index(drop=True)
        is_hashed = runs[_CONFIG_HASH].notna() & (runs[pairs.STATUS] == pairs.FINISHED)
        if old := runs.loc[is_hashed & runs[_SCHEMA].isna(), RUN_ID].tolist():
            raise StudyError(MADE_BEFORE.format(experiment=self.name, runs=checks.some(old)))
        return runs.drop(columns=_NOT_OF_RUNS, errors="ignore")

    def study(self, ignore_params: Sequence[str] = ()) -> Study:
        """Pair the runs; errors are as for `pull_runs`."""
        try:
            return pairs.paired(self.runs(), ignore_params=ignore_params, where=f"experiment {self.name!r}")
        except StudyError as error:
            if error.option:
                raise
            raise StudyError(f"{error}; experiments in this store: {self._others}") from error

    def having(self, tag: str, *values: str, finished: bool = True) -> list[str]:
        """Return the ids of the runs that have a tag, or one of these values of it, the oldest first."""
        column = self.rows.reindex(columns=[TAG + tag])[TAG + tag]
        has = column.isin(values) if values else column.notna()
        status = self.rows[pairs.STATUS]
        has &= status == pairs.FINISHED if finished else status != "deleted"
        return self.rows[has].sort_values(START_TIME, kind="stable")[RUN_ID].tolist()

    def artifacts(self, name: str, run_ids: Iterable[str]) -> dict[str, bytes]:
        """Return an artifact's content by run id; runs without it are missing."""
        folders = dict(zip(self.rows[RUN_ID], self.rows[ARTIFACT_URI], strict=True))
        return _contents({run_id: folders[run_id] for run_id in run_ids if folders.get(run_id)}, name, self._uri)


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
    folders = _folders(run_ids, tracking_uri)
    with tempfile.TemporaryDirectory() as folder:
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
    folders = _folders([run_id], tracking_uri)
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
        run_rows = stores.read(store, run_ids, only_tags=[schema.KIND, schema.DENSE_RUN_ID])
    run_rows = run_rows[run_rows[_KIND].isin(schema.KINDS)]
    return dict(zip(run_rows[RUN_ID], run_rows[_DENSE_RUN_ID].fillna(run_rows[RUN_ID]), strict=True))


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
    return _contents(_folders(run_ids, tracking_uri), name, tracking_uri)


def _contents(folders: Mapping[str, str], name: str, tracking_uri: str | None) -> dict[str, bytes]:
    """Read an artifact of each run that has it; `folders` maps run ids to artifact URIs."""
    contents = {}
    with tempfile.TemporaryDirectory() as downloads:
        for run_id, where in tqdm(folders.items(), desc=name, unit=" runs", leave=False, disable=None):
            if path := _artifact(where, name, downloads, tracking_uri):
                contents[run_id] = path.read_bytes()  # the next download replaces the file
    return contents


# Reading from the store.


def _folders(run_ids: Sequence[str], tracking_uri: str | None) -> dict[str, str]:
    """Return the artifact URI of each given run that exists."""
    with open_store(tracking_uri) as store:
        rows = stores.read(store, run_ids, only_tags=[schema.KIND])
    return {run_id: uri for run_id, uri in zip(rows[RUN_ID], rows[ARTIFACT_URI], strict=True) if uri}


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
