"""Export a study as a folder of few files that mirrors the tracking store, and read it again without a store."""

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.common import archives, files
from analysis.common.errors import StudyError, did_you_mean, first_line
from analysis.common.input_files import SizeLimit, opened
from analysis.runs import checks, frames, pairs, schema, study_archives
from analysis.runs.frames import IN_TOP5, METRIC, PARAM, RUN_ID, TAG, Artifacts

RUNS, ARTIFACTS = "runs.parquet", "artifacts"
_BEFORE_0_3 = "study.json"  # the list of files in exports of earlier versions
_ARRAYS = (RUN_ID, schema.LABEL, schema.PREDICTED)
# Number of runs whose predictions are held in memory as int64 at a time, before they are compacted.
_AT_ONCE = 256
_LARGEST_TABLE = SizeLimit(4)


def write(study: frames.Study, predictions: frames.ReadPredictions, artifacts: Artifacts, folder: Path) -> list[Path]:
    """Write a study, the predictions of its networks, and artifacts of its runs.

    Files are written to a scratch folder and then moved. The same study gives the same bytes. The files are:

    - `runs.parquet`: a row for each run and the columns of `mlflow.search_runs`, as `frames.Study.rows` has them.
    - `predictions_<n>.npz`: the predictions for one data set, in the arrays run_id (runs,), label (images,) and
      predicted (images, runs). Images are sorted by label, because equal neighbours take less space. The array in_top5,
      (images, runs) in bits, eight images per byte, is added if it is known for every run.
    - `artifacts/<run_id>/<name>`: artifacts of runs.

    Parameters
    ----------
    study : Study
        As `pull.study` returns it.
    predictions : callable
        See `frames.ReadPredictions`.
    artifacts : mapping
        See `frames.Artifacts`.
    folder : Path
        Created if it does not exist. Predictions and artifacts of an earlier export are deleted; other files stay.

    Returns
    -------
    list of Path
        The files written, relative to `folder`.

    Raises
    ------
    StudyError
        If runs of one data set have different test labels, or if the folder cannot be written to.
    """
    earlier = [
        path.relative_to(folder).as_posix()
        for pattern in ("predictions_*.npz", f"{ARTIFACTS}/*/*")
        for path in (folder.glob(pattern) if (folder / RUNS).exists() else ())
    ]
    with files.aside(folder, obsolete=earlier) as scratch:
        # Archives compress this table as a whole, which takes less space.
        _write_table(pa.Table.from_pandas(_with_artifacts_runs(study.rows, artifacts)), scratch / RUNS)
        for name, contents in artifacts.items():
            for run_id, content in contents.items():
                (scratch / ARTIFACTS / run_id).mkdir(parents=True, exist_ok=True)
                (scratch / ARTIFACTS / run_id / name).write_bytes(content)
        for number, arrays in enumerate(_by_data_set(study, predictions), start=1):
            (scratch / f"predictions_{number}.npz").write_bytes(_npz(arrays))
        return files.written(scratch)


def _with_artifacts_runs(rows: pd.DataFrame, artifacts: Artifacts) -> pd.DataFrame:
    """Append a row for each further run with artifacts, a study or a search, the oldest first."""
    kinds = {
        run_id: schema.STUDY if name == schema.PRIMARY else schema.TUNING
        for name, contents in artifacts.items()
        for run_id in contents
    }
    further = pd.DataFrame(kinds.items(), columns=[RUN_ID, TAG + schema.KIND])
    return pd.concat([rows, further[~further[RUN_ID].isin(rows[RUN_ID])]], ignore_index=True)


def _write_table(table: pa.Table, path: Path) -> None:
    """Write a table without statistics and other metadata, which would take more space than the values."""
    table = table.replace_schema_metadata(None)
    pq.write_table(table, path, write_statistics=False, store_schema=False, compression="none")


def read(folders: Sequence[Path]) -> tuple[frames.Study, frames.ReadPredictions]:
    """Read folders written by `write`, as if one experiment contained all their runs.

    Parameters
    ----------
    folders : sequence of Path
        Folders, or their archives, made by `study_archives.packed`.

    Returns
    -------
    Study
    callable
        Function from run ids to the arrays of each run: `label` and `predicted`, int64, and, if known, `in_top5`.

    Raises
    ------
    StudyError
        If a file is missing or damaged, if two folders have different values for the same run, or if no run can be
        compared with its dense run.
    """
    with study_archives.unpacked(folders) as unpacked:
        parts = [_run_rows(folder) for folder in unpacked]
        parts = [part[part[TAG + schema.KIND].isin(schema.KINDS)] for part in parts]
        stored = [_stored_runs(folder) for folder in unpacked]
    runs: dict[str, _StoredRun] = {}
    for run_id, run in ((run_id, run) for part in stored for run_id, run in part.items()):
        if run_id in runs and not runs[run_id].agrees(run):
            raise _disagreement(run_id, f"the content of {schema.PREDICTIONS}")
        if run_id not in runs or runs[run_id].in_top5 is None:
            runs[run_id] = run

    def predictions(run_ids: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
        return {run_id: runs[run_id].arrays for run_id in run_ids if run_id in runs}

    rows = pd.concat(parts, ignore_index=True).drop_duplicates(ignore_index=True)
    if (twice := rows[RUN_ID].duplicated()).any():
        first, second = (row for _, row in rows[rows[RUN_ID] == rows.loc[twice, RUN_ID].iloc[0]].iloc[:2].iterrows())
        differing = [
            name for name in rows if first[name] != second[name] and pd.notna([first[name], second[name]]).any()
        ]
        raise _disagreement(first[RUN_ID], checks.some(differing))
    where = ", ".join(map(str, folders))
    try:
        return pairs.paired(rows, where=where), predictions
    except StudyError as error:
        raise StudyError(str(error), option="frames") from error


def read_artifacts(folders: Sequence[Path]) -> Artifacts:
    """Read the artifacts in exports (folders or archives).

    Raises
    ------
    StudyError
        If a file is missing or damaged, or if two folders have different contents of an artifact.
    """
    artifacts: dict[str, dict[str, bytes]] = {}
    with study_archives.unpacked(folders) as unpacked:
        for run_folder in (folder / ARTIFACTS / run_id for folder in unpacked for run_id in _run_rows(folder)[RUN_ID]):
            for path in sorted(run_folder.glob("*")):
                with opened(path) as file:
                    content = file.read()
                if artifacts.setdefault(path.name, {}).setdefault(run_folder.name, content) != content:
                    raise _disagreement(run_folder.name, path.name)
    return artifacts


def _disagreement(run_id: str, difference: str) -> StudyError:
    return StudyError(
        f"two folders have run {run_id}, and differ in {difference}: leave one out, or export both again",
        option="frames",
    )


def below(folder: Path) -> list[Path]:
    """Find the exports in a folder and its subfolders; an export is a folder that `write` made, or its archive.

    If `folder` is itself a file, only its path is returned, unchecked. Archives of anything else are left out, but
    damaged ones are returned, so that reading them raises an error.

    Raises
    ------
    StudyError
        If the folder does not exist, or contains no export.
    """
    if study_archives.is_file(folder):
        return [folder]
    if not folder.exists():
        raise StudyError(f"{folder} does not exist{_hint(folder)}")
    below_it = (path for path in folder.rglob(f"*{study_archives.SUFFIX}") if path.is_file())
    found = [path for path in below_it if study_archives.may_have(path, RUNS)]
    found = sorted([*(path.parent for path in folder.rglob(RUNS)), *found])
    if not found:
        raise StudyError(f"{folder}: contains nothing that pruning-analysis export has written")
    return found


def _hint(folder: Path) -> str:
    """Return a hint for errors if a missing folder exists as an archive, else an empty string."""
    archive = folder.with_name(folder.name + study_archives.SUFFIX)
    return f"; give {archive} instead" if not folder.exists() and archive.is_file() else ""


def select_dataset(study: frames.Study, dataset: str) -> frames.Study:
    """Select the runs of one data set, and keep the notes on the study.

    Raises
    ------
    StudyError
        If the study has no pruned run of this data set.
    """
    names = list(dict.fromkeys(study.runs[schema.DATASET]))
    if dataset not in names:
        raise StudyError(f"no pruned run of {dataset!r}, {did_you_mean(dataset, names)}", option="dataset")
    runs, dense_runs = (frames.rows(frame, frame[schema.DATASET] == dataset) for frame in study[:2])
    own = study.rows[PARAM + schema.DATASET]
    return frames.Study(runs, dense_runs, study.rows[own.isna() | (own == dataset)])  # unfinished runs have none


def _by_data_set(study: frames.Study, predictions: frames.ReadPredictions) -> Iterator[dict[str, np.ndarray]]:
    """Yield the arrays of each data set's file, in the order of the digests."""
    data_sets: dict[str, str] = {}
    for frame in study[:2]:
        dataset_names = frame[schema.DATASET]
        digest = frames.column(schema.DATASET_DIGEST)
        digests = frame[digest].fillna(dataset_names) if digest in frame else dataset_names
        for column in (schema.DENSE_RUN_ID, RUN_ID):
            if column in frame:
                data_sets |= dict(zip(frame[column], digests, strict=True))
    for data_set in sorted(set(data_sets.values())):
        run_ids = [run_id for run_id, digest_of_run in data_sets.items() if digest_of_run == data_set]
        label: np.ndarray | None = None
        predicted: dict[str, np.ndarray] = {}
        in_top5: list[np.ndarray] = []
        for start in range(0, len(run_ids), _AT_ONCE):
            for run_id, arrays in predictions(run_ids[start : start + _AT_ONCE]).items():
                label = arrays[schema.LABEL] if label is None else label
                if not np.array_equal(arrays[schema.LABEL], label):
                    raise StudyError(
                        f"runs {next(iter(predicted))} and {run_id} have different test labels but the same data set, "
                        f"{data_set}: give each data set its own name or {schema.DATASET_DIGEST}"
                    )
                predicted[run_id] = _small(arrays[schema.PREDICTED])
                in_top5 += [arrays[IN_TOP5]] if IN_TOP5 in arrays else []
        if label is not None:
            by_label = np.argsort(label, kind="stable")
            predicted_by_label = np.stack(list(predicted.values()), axis=1)[by_label]
            arrays_to_store = dict(
                zip(_ARRAYS, (np.array(list(predicted)), _small(label), predicted_by_label), strict=True)
            )
            if len(in_top5) == len(predicted):
                arrays_to_store[IN_TOP5] = np.packbits(np.stack(in_top5, axis=1)[by_label], axis=0)
            yield arrays_to_store


def _small(classes: np.ndarray) -> np.ndarray:
    return classes.astype(np.min_scalar_type(classes.max()))


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Write arrays as `numpy.savez` does, but without dates and with LZMA, which saves a quarter of the size."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), entry.getvalue(), zipfile.ZIP_LZMA)
    return content.getvalue()


class _StoredRun(NamedTuple):
    """The predictions of a run in their compact stored form.

    Attributes
    ----------
    label : (images,), int64
        One array shared by all runs of a file.
    predicted : (images,), integers
    in_top5 : (images / 8,), uint8, optional
        One bit per image.
    """

    label: np.ndarray
    predicted: np.ndarray
    in_top5: np.ndarray | None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        arrays = {schema.LABEL: self.label, schema.PREDICTED: self.predicted.astype(np.int64)}
        if self.in_top5 is not None:
            arrays[IN_TOP5] = np.unpackbits(self.in_top5, count=len(self.label)).astype(bool)
        return arrays

    def agrees(self, other: "_StoredRun") -> bool:
        """Return whether two folders have equal values for a run, ignoring values that one of them lacks."""
        pairs = zip(self, other, strict=True)
        return all(np.array_equal(own, its) for own, its in pairs if own is not None and its is not None)


def _predicted(path: Path) -> dict[str, _StoredRun]:
    """Read the predictions of each run, by run id."""
    arrays = archives.read(path, _ARRAYS, [IN_TOP5])
    run_ids, label, by_label = (arrays[name] for name in _ARRAYS)
    if (label.size, run_ids.size) != by_label.shape or not label.size or (label.ndim, run_ids.ndim) != (1, 1):
        raise ValueError(f"{path.name} has predictions of shape {by_label.shape}")
    for array in (label, by_label):
        if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= frames.MOST_CLASSES:
            raise ValueError(f"{path.name} contains values that are not class indices")
    order = np.argsort(label, kind="stable")
    predicted = np.empty(by_label.shape[::-1], by_label.dtype)
    predicted[:, order] = by_label.T
    in_top5 = _in_top5(path, arrays[IN_TOP5], order, run_ids.size) if IN_TOP5 in arrays else [None] * run_ids.size
    label = label.astype(np.int64)
    return {
        run_id: _StoredRun(label, *values) for run_id, *values in zip(run_ids.tolist(), predicted, in_top5, strict=True)
    }


def _in_top5(path: Path, bits: np.ndarray, order: np.ndarray, runs: int) -> np.ndarray:
    """Bring the bits to the order of the test images, one row per run and one bit per image."""
    if bits.shape != (-(-order.size // 8), runs) or bits.dtype != np.uint8:
        raise ValueError(f"{path.name} has {IN_TOP5} of shape {bits.shape}")
    in_top5 = np.empty((runs, order.size), bool)
    in_top5[:, order] = np.unpackbits(bits, axis=0, count=order.size).T
    return np.packbits(in_top5, axis=1)


# One folder.


def _run_rows(folder: Path) -> pd.DataFrame:
    """Read the table of runs, a column of which is text, or a number if it is a metric or the end of the run."""
    path = folder / RUNS
    if (folder / _BEFORE_0_3).is_file() and not path.is_file():
        raise StudyError(
            f"{folder}: exported before 0.3.0; export the study again, or read it with the commit that the "
            "changelog names",
            option="frames",
        )
    if not path.is_file():
        raise StudyError(
            f"{folder}: no {RUNS} in it; pruning-analysis export makes such folders and archives{_hint(folder)}",
            option="frames",
        )
    try:
        file = pq.ParquetFile(path)
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
        _LARGEST_TABLE.check(path, sum(group.total_byte_size for group in groups))
        table = file.read()
        table = table.cast(_types_of_runs(table.column_names))
        table.validate(full=True)  # of texts that are no UTF-8
        return table.to_pandas().fillna({pairs.END_TIME: 0})
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(path, error) from error


def _types_of_runs(names: Sequence[str]) -> pa.Schema:
    numbers = [name for name in names if name == pairs.END_TIME or name.startswith(METRIC)]
    if missing := {RUN_ID, pairs.STATUS, pairs.END_TIME, TAG + schema.KIND, TAG + schema.DENSE_RUN_ID} - {*names}:
        raise ValueError(f"no column {min(missing)}")
    return pa.schema({name: pa.float64() if name in numbers else pa.string() for name in names})


def _stored_runs(folder: Path) -> dict[str, _StoredRun]:
    predicted: dict[str, _StoredRun] = {}
    for path in sorted(folder.glob("predictions_*.npz")):
        try:
            predicted |= _predicted(path)
        except (ValueError, StudyError) as error:
            raise _damaged(path, error) from error
    return predicted


def _damaged(path: Path, error: Exception) -> StudyError:
    reason = f"{type(error).__name__}: {first_line(error)[:200]}"
    return StudyError(f"{path}: not what pruning-analysis export writes ({reason}); export again")
