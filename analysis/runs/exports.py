"""A study as a folder of small files, from which its report is made again without a tracking store."""

import gzip
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.runs import archives, files, frames, schema
from analysis.runs.errors import StudyError, did_you_mean
from analysis.runs.frames import RUN_ID
from analysis.runs.pull import Study

CONTENTS = "study.json"
RUNS, DENSE_RUNS = "runs.csv.gz", "dense_runs.csv.gz"
# In format 1 a param stands under its own name, without the prefix `params.`.
_FORMAT = 2
_ARRAYS = (RUN_ID, schema.LABEL, schema.PREDICTED)
# Number of runs whose predictions are in memory at once as int64, before they are compacted.
_AT_ONCE = 256

# The columns behind the params, in the order of the frames.
_MEASURED = (
    *(frames.ACCURACY_BEFORE, frames.ACCURACY_AFTER, schema.REALIZED_RATIO),
    *frames.BY_CLASS,
    *(schema.DENSE_RUN_ID, RUN_ID),
)


def write(study: Study, predictions: frames.ReadPredictions, folder: Path) -> list[Path]:
    """Write a study and the predictions of its networks.

    The same study gives the same bytes. `runs.csv.gz` and `dense_runs.csv.gz` are the frames, with exact floats and
    empty missing values. `predictions_<n>.npz` has the predictions for one data set: run_id, label, and predicted
    (images, runs), with the images sorted by label because equal neighbours take less space. `study.json` has the
    types and attributes of the frames and the SHA-256 of every file. Each file is written aside and then renamed.

    Parameters
    ----------
    study : Study
        As `pull.study` returns it.
    predictions : callable
        As `cells.cells` takes it.
    folder : Path
        Created if it does not exist; other files in it stay.

    Returns
    -------
    list of Path
        The files written, relative to `folder`.

    Raises
    ------
    StudyError
        Runs of one data set have different test labels, or the folder cannot be written to.
    """
    contents = {RUNS: _csv(study.runs), DENSE_RUNS: _csv(study.dense_runs)}
    contents |= {
        f"predictions_{number}.npz": _npz(arrays)
        for number, arrays in enumerate(_by_data_set(study, predictions), start=1)
    }
    described = {
        "format": _FORMAT,
        "frames": {name: _description(frame) for name, frame in zip((RUNS, DENSE_RUNS), study, strict=True)},
        "sha256": {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()},
    }
    with files.aside(folder) as scratch:
        for name, content in contents.items():
            (scratch / name).write_bytes(content)
        (scratch / CONTENTS).write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return files.written(scratch)


def read(folders: Sequence[Path]) -> tuple[Study, frames.ReadPredictions]:
    """Read folders that `write`, of this version or an older one, has written.

    Several folders are read as if one experiment held all their runs.

    Parameters
    ----------
    folders : sequence of Path

    Returns
    -------
    Study
    callable
        Run ids -> run id -> `label` and `predicted`, int64, as `pull.predictions` returns them.

    Raises
    ------
    StudyError
        A file is missing, damaged or of another export, or two folders have different runs of the same params.
    """
    parts = [_read(folder) for folder in folders]
    known = {run_id: arrays for _, predicted in parts for run_id, arrays in predicted.items()}

    def predictions(run_ids: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
        return {
            run_id: {schema.LABEL: known[run_id][0], schema.PREDICTED: known[run_id][1].astype(np.int64)}
            for run_id in run_ids
            if run_id in known
        }

    return Study(*(_joined(frames) for frames in zip(*(study for study, _ in parts), strict=True))), predictions


def below(folder: Path) -> list[Path]:
    """Find the folders below this folder that `write` has written.

    Raises
    ------
    StudyError
        No such folder is there.
    """
    folders = sorted(path.parent for path in folder.rglob(CONTENTS))
    if not folders:
        raise StudyError(f"{folder}: nothing in it that pruning-analysis export has written")
    return folders


def select_dataset(study: Study, dataset: str) -> Study:
    """Return the runs of one data set, with the notes on the study.

    Raises
    ------
    StudyError
        The study has no pruned run of this data set.
    """
    names = list(dict.fromkeys(study.runs[schema.DATASET]))
    if dataset not in names:
        raise StudyError(f"no pruned run of {dataset!r}, {did_you_mean(dataset, names)}", option="--dataset")
    return Study(*(_select_dataset(frame, dataset) for frame in study))


def _select_dataset(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    kept = frame[frame[schema.DATASET] == dataset].dropna(axis=1, how="all").reset_index(drop=True)
    kept.attrs = frame.attrs
    return kept


def _joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join frames into the one that `pull.study` would give, except that classes stand in the order of the folders."""
    if len(parts) == 1:
        return parts[0]
    joined = frames.with_former_values(pd.concat(parts, ignore_index=True))
    leading = [name for name in frames.BARE if name in joined]
    params = [*leading, *sorted(name for name in frames.params(joined) if name not in leading)]
    measured = sorted((name for name in joined if name not in params), key=_place)
    run_id = measured[-1]
    joined = joined[[*params, *measured]].drop_duplicates(run_id).sort_values([*leading, run_id], ignore_index=True)
    # The frame is in memory column by column, and pandas would warn of every column that is added.
    joined = joined.copy()
    same = joined.loc[joined.duplicated(frames.identity(joined), keep=False), run_id].tolist()
    if same:
        raise StudyError(
            f"runs {same[0]} and {same[1]} have the same settings and seed, and only one can count: leave a folder out",
            option="--frames",
        )
    joined.attrs = {"left_out": list(dict.fromkeys(said for part in parts for said in part.attrs.get("left_out", [])))}
    return joined


def _place(column: str) -> int:
    """Return the place of a column among those that are measured; 0 for a param of format 1."""
    group = column[: column.find("/") + 1]
    return next((place for place, name in enumerate(_MEASURED, start=1) if name in (column, group)), 0)


# Frames as CSV: a missing text is empty, and the value "" is a backslash.


def _csv(frame: pd.DataFrame) -> bytes:
    texts = frame[_texts(frame.dtypes)]
    escaped = {name: text.mask((text == "") | text.str.startswith("\\"), "\\" + text) for name, text in texts.items()}
    return gzip.compress(frame.assign(**escaped).to_csv(index=False, lineterminator="\n").encode(), mtime=0)


def _description(frame: pd.DataFrame) -> dict[str, Any]:
    return {"dtypes": {name: str(dtype) for name, dtype in frame.dtypes.items()}, "attrs": frame.attrs}


def _frame(content: bytes, described: Mapping[str, Any], version: int) -> pd.DataFrame:
    dtypes = described["dtypes"]
    text = io.BytesIO(gzip.decompress(content))
    # Only an empty value is missing, and a text may hold a carriage return.
    frame = pd.read_csv(text, dtype=dtypes, keep_default_na=False, na_values=[""], lineterminator="\n")
    texts = {name: frame[name].str.removeprefix("\\") for name in _texts(dtypes)}
    frame = frame.assign(**texts)[list(dtypes)]
    if version == 1:
        frame = frame.rename(columns=lambda name: name if _place(name) else frames.column(name))
    frame.attrs = described["attrs"]
    return frame


def _texts(dtypes: Mapping[str, Any] | pd.Series) -> list[str]:
    return [name for name, dtype in dtypes.items() if dtype == "str"]


# Predictions for all test images by all networks of a data set.


def _by_data_set(study: Study, predictions: frames.ReadPredictions) -> Iterator[dict[str, np.ndarray]]:
    """Yield the arrays of each file, data sets in the order of their digests."""
    data_sets: dict[str, str] = {}
    for frame in study:
        named = frame[schema.DATASET]
        digest = frames.column(schema.DATASET_DIGEST)
        digests = frame[digest].fillna(named) if digest in frame else named
        for column in (schema.DENSE_RUN_ID, RUN_ID):
            if column in frame:
                data_sets |= dict(zip(frame[column], digests, strict=True))
    for data_set in sorted(set(data_sets.values())):
        run_ids = [run_id for run_id, other in data_sets.items() if other == data_set]
        label: np.ndarray | None = None
        predicted: dict[str, np.ndarray] = {}
        for start in range(0, len(run_ids), _AT_ONCE):
            for run_id, arrays in predictions(run_ids[start : start + _AT_ONCE]).items():
                label = arrays[schema.LABEL] if label is None else label
                if not np.array_equal(arrays[schema.LABEL], label):
                    raise StudyError(
                        f"runs {next(iter(predicted))} and {run_id} have other test labels and the same data set, "
                        f"{data_set}: give each a name or a {schema.DATASET_DIGEST} of its own"
                    )
                predicted[run_id] = _small(arrays[schema.PREDICTED])
        if label is not None:
            by_label = np.argsort(label, kind="stable")
            whole = np.stack(list(predicted.values()), axis=1)[by_label]
            yield dict(zip(_ARRAYS, (np.array(list(predicted)), _small(label), whole), strict=True))


def _small(classes: np.ndarray) -> np.ndarray:
    return classes.astype(np.min_scalar_type(classes.max()))


def _npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Return what `numpy.savez` writes, but without dates and compressed by LZMA, a quarter smaller."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            stored = io.BytesIO()
            np.lib.format.write_array(stored, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), stored.getvalue(), zipfile.ZIP_LZMA)
    return content.getvalue()


def _predicted(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the labels and the predictions of each run, by run id."""
    run_ids, label, by_label = archives.read(path, _ARRAYS).values()
    predicted = np.empty(by_label.shape[::-1], by_label.dtype)
    predicted[:, np.argsort(label, kind="stable")] = by_label.T
    label = label.astype(np.int64)
    return {run_id: (label, row) for run_id, row in zip(run_ids.tolist(), predicted, strict=True)}


# One folder.


def _read(folder: Path) -> tuple[Study, dict[str, tuple[np.ndarray, np.ndarray]]]:
    path = folder / CONTENTS
    if not path.is_file():
        raise StudyError(
            f"{folder}: no {CONTENTS} in it; pruning-analysis export makes such folders", option="--frames"
        )
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        version = described["format"]
        if version not in range(1, _FORMAT + 1):
            raise StudyError(f"{path}: has format {version}, and this version reads up to {_FORMAT}: export again")
        contents = {name: _content(folder / name, digest) for name, digest in described["sha256"].items()}
        runs, dense_runs = (_frame(contents[name], described["frames"][name], version) for name in (RUNS, DENSE_RUNS))
        predicted: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for name in contents.keys() - {RUNS, DENSE_RUNS}:
            predicted |= _predicted(folder / name)
    except (ValueError, KeyError, TypeError, AttributeError, OSError, EOFError, zlib.error) as error:
        raise StudyError(f"{path}: not what pruning-analysis export writes ({error!r}); export again") from error
    return Study(runs, dense_runs), predicted


def _content(path: Path, digest: str) -> bytes:
    if not path.is_file():
        raise StudyError(f"{path}: missing, and {CONTENTS} names it; restore it or export the study again")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise StudyError(
            f"{path}: damaged, or of another export than the {CONTENTS} beside it; restore it or export the study again"
        )
    return content
