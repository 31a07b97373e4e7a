"""A study in a folder of files, from which its report is made again without a tracking store."""

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

from analysis import cells, settings
from analysis.runs import archives, files, schema
from analysis.runs.errors import StudyError, did_you_mean
from analysis.runs.pull import Study

CONTENTS = "study.json"
RUNS, DENSE_RUNS = "runs.csv.gz", "dense_runs.csv.gz"
_FORMAT = 1
_RUN_ID = "run_id"
_ARRAYS = (_RUN_ID, schema.LABEL, schema.PREDICTED)
# How many runs' predictions are in memory as they were read, eight bytes a class.
_AT_ONCE = 256

# In the order of the frames, behind the params.
_MEASURED = (
    *("accuracy_before", "accuracy_after", schema.REALIZED_RATIO),
    *("recall_before/", "recall_after/", schema.SUPPORT, schema.BOTH_RIGHT),
    *(schema.DENSE_RUN_ID, _RUN_ID),
)


def write(study: Study, predictions: cells.Predictions, folder: Path) -> list[Path]:
    """Write a study and what its networks predicted, each file aside and then renamed.

    The same study gives the same bytes. `runs.csv.gz` and `dense_runs.csv.gz` are the frames, floats exact, a
    missing value empty; `predictions_<n>.npz` are the predictions on one data set: run_id, label, and predicted,
    (images, runs), the images sorted by label, for equals in a row take less space; `study.json` says the
    types and attributes of the frames and the SHA-256 of every file.

    Parameters
    ----------
    study : Study
        As `pull.study` returns it.
    predictions : callable
        As `cells.cells` takes it.
    folder : Path
        Made where it is not there; what else lies in it stays.

    Returns
    -------
    list of Path
        The files written, relative to `folder`.

    Raises
    ------
    StudyError
        Where runs of one data set have other test labels, or the folder cannot be written to.
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


def read(folders: Sequence[Path]) -> tuple[Study, cells.Predictions]:
    """Read what `write` has written; several folders as if one experiment held all their runs.

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
        Where a file is missing, damaged or of another export, or two folders have other runs of the same params.
    """
    parts = [_read(folder) for folder in folders]
    known = {run_id: arrays for _, of_folder in parts for run_id, arrays in of_folder.items()}

    def predictions(run_ids: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
        return {
            run_id: {schema.LABEL: known[run_id][0], schema.PREDICTED: known[run_id][1].astype(np.int64)}
            for run_id in run_ids
            if run_id in known
        }

    return Study(*(_joined(frames) for frames in zip(*(study for study, _ in parts), strict=True))), predictions


def below(folder: Path) -> list[Path]:
    """The folders that `write` has written anywhere below one.

    Raises
    ------
    StudyError
        Where there is none.
    """
    folders = sorted(path.parent for path in folder.rglob(CONTENTS))
    if not folders:
        raise StudyError(f"{folder}: nothing in it that pruning-analysis export has written")
    return folders


def of_dataset(study: Study, dataset: str) -> Study:
    """The runs of one data set; what was left out of the study is said of it too.

    Raises
    ------
    StudyError
        Where the study has no pruned run of it.
    """
    names = list(dict.fromkeys(study.runs[schema.DATASET]))
    if dataset not in names:
        raise StudyError(f"no pruned run of {dataset!r}, {did_you_mean(dataset, names)}", option="--dataset")
    return Study(*(_of_dataset(frame, dataset) for frame in study))


def _of_dataset(frame: pd.DataFrame, dataset: str) -> pd.DataFrame:
    kept = frame[frame[schema.DATASET] == dataset].dropna(axis=1, how="all").reset_index(drop=True)
    kept.attrs = frame.attrs
    return kept


def _joined(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """As `pull.study` would give them, but that the classes stand in the order of the folders."""
    if len(parts) == 1:
        return parts[0]
    joined = pd.concat(parts, ignore_index=True)
    # Where some folder varied what the others were never asked for, those are the papers' in it.
    joined = joined.fillna({name: value for name, value in schema.PAPERS.items() if name in joined})
    leading = [name for name in (*settings.CELL, schema.SEED) if name in joined]
    params = [*leading, *sorted(name for name in joined if name not in leading and not _group(name))]
    measured = sorted((name for name in joined if _group(name)), key=_group)
    run_id = measured[-1]
    joined = joined[[*params, *measured]].drop_duplicates(run_id).sort_values([*leading, run_id], ignore_index=True)
    # Column by column in memory, as here, pandas warns of every column that is added.
    joined = joined.copy()
    same = joined.loc[joined.duplicated(params, keep=False), run_id].tolist()
    if same:
        raise StudyError(
            f"runs {same[0]} and {same[1]} agree in every param, and only one can count: leave a folder out",
            option="--frames",
        )
    joined.attrs = {"left_out": list(dict.fromkeys(said for part in parts for said in part.attrs.get("left_out", [])))}
    return joined


def _group(column: str) -> int:
    """Place among what was measured; 0 of a param."""
    of_class = column[: column.find("/") + 1]
    return next((place for place, name in enumerate(_MEASURED, start=1) if name in (column, of_class)), 0)


# Frames as CSV. Of text, nothing is missing and "" is a value, which a backslash tells apart.


def _csv(frame: pd.DataFrame) -> bytes:
    texts = frame[_texts(frame.dtypes)]
    escaped = {name: text.mask((text == "") | text.str.startswith("\\"), "\\" + text) for name, text in texts.items()}
    return gzip.compress(frame.assign(**escaped).to_csv(index=False, lineterminator="\n").encode(), mtime=0)


def _description(frame: pd.DataFrame) -> dict[str, Any]:
    return {"dtypes": {name: str(dtype) for name, dtype in frame.dtypes.items()}, "attrs": frame.attrs}


def _frame(content: bytes, described: Mapping[str, Any]) -> pd.DataFrame:
    dtypes = described["dtypes"]
    text = io.BytesIO(gzip.decompress(content))
    # Of all that pandas would take for missing, only the empty value is; and a text may hold a carriage return.
    frame = pd.read_csv(text, dtype=dtypes, keep_default_na=False, na_values=[""], lineterminator="\n")
    texts = {name: frame[name].str.removeprefix("\\") for name in _texts(dtypes)}
    frame = frame.assign(**texts)[list(dtypes)]
    frame.attrs = described["attrs"]
    return frame


def _texts(dtypes: Mapping[str, Any] | pd.Series) -> list[str]:
    return [name for name, dtype in dtypes.items() if dtype == "str"]


# Predictions: of all test images by all networks of a data set.


def _by_data_set(study: Study, predictions: cells.Predictions) -> Iterator[dict[str, np.ndarray]]:
    """The arrays of each file, data sets in the order of their digests."""
    data_sets: dict[str, str] = {}
    for frame in study:
        named = frame[schema.DATASET]
        digests = frame[schema.DATASET_DIGEST].fillna(named) if schema.DATASET_DIGEST in frame else named
        for column in (schema.DENSE_RUN_ID, _RUN_ID):
            if column in frame:
                data_sets |= dict(zip(frame[column], digests, strict=True))
    for data_set in sorted(set(data_sets.values())):
        run_ids = [run_id for run_id, of_run in data_sets.items() if of_run == data_set]
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
    """As `numpy.savez`, but compressed by LZMA, which sees a quarter more of what neighbours share, and undated."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_LZMA) as archive:
        for name, array in arrays.items():
            stored = io.BytesIO()
            np.lib.format.write_array(stored, array, allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), stored.getvalue(), zipfile.ZIP_LZMA)
    return content.getvalue()


def _predicted(path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Run id -> labels and what the run predicted."""
    run_ids, label, by_label = archives.read(path, _ARRAYS).values()
    predicted = np.empty(by_label.shape[::-1], by_label.dtype)
    predicted[:, np.argsort(label, kind="stable")] = by_label.T
    label = label.astype(np.int64)
    return {run_id: (label, row) for run_id, row in zip(run_ids.tolist(), predicted, strict=True)}


# A folder.


def _read(folder: Path) -> tuple[Study, dict[str, tuple[np.ndarray, np.ndarray]]]:
    path = folder / CONTENTS
    if not path.is_file():
        raise StudyError(
            f"{folder}: no {CONTENTS} in it; pruning-analysis export makes such folders", option="--frames"
        )
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        if described["format"] != _FORMAT:
            raise StudyError(f"{path}: of format {described['format']}, and this version reads {_FORMAT}: export again")
        contents = {name: _content(folder / name, digest) for name, digest in described["sha256"].items()}
        runs, dense_runs = (_frame(contents[name], described["frames"][name]) for name in (RUNS, DENSE_RUNS))
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
