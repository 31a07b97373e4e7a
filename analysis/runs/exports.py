"""Export a study as a folder of small files, and read it again for reports without a tracking store."""

import gzip
import hashlib
import io
import json
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.common import archives, csv_text, files
from analysis.common.errors import StudyError, did_you_mean, first_line
from analysis.common.input_files import GIB, SizeLimit
from analysis.runs import batches, checks, frames, schema, study_archives
from analysis.runs.frames import IN_TOP5, RUN_ID

CONTENTS = "study.json"
RUNS, DENSE_RUNS = "runs.csv.gz", "dense_runs.csv.gz"
# In format 1 the column of a param lacks the prefix `params.`.
_FORMAT = 2
_ARRAYS = (RUN_ID, schema.LABEL, schema.PREDICTED)
# Number of runs whose predictions are held in memory as int64 at a time, before they are compacted.
_AT_ONCE = 256

_TAGS = (schema.ARITHMETIC, schema.DENSE_RUN_ID, RUN_ID)
# Before pandas 3, numbers lose their last bit without this option; pandas 3 has deprecated the option.
_EXACT: dict[str, Any] = {} if pd.__version__ >= "3" else {"float_precision": "round_trip"}
# The columns after the params, in the order of the frames.
_MEASURED = (
    *(frames.ACCURACY_BEFORE, frames.ACCURACY_AFTER, *frames.OPTIONAL_OF_PRUNED, *frames.OPTIONAL_OF_DENSE),
    *frames.BY_CLASS,
    *_TAGS,
)
_NUMBERS = _MEASURED[: -len(_TAGS)]
_IN_EVERY_FRAME = (schema.DATASET, schema.MODEL, schema.SEED, frames.ACCURACY_BEFORE, schema.DENSE_RUN_ID)
_NEEDED = {
    RUNS: (*_IN_EVERY_FRAME, schema.PRUNER, schema.RATIO, frames.ACCURACY_AFTER, RUN_ID),
    DENSE_RUNS: _IN_EVERY_FRAME,
}
LARGEST_TABLE = SizeLimit(4)
# A sentence of `checks.tell`, such as `2 pruned runs left out, failed: 1a2b…, 3c4d…`.
LEFT_OUT = re.compile(r"[\d,]+ .* left out, ")
_NUMBER = re.compile(r"\d[\d,]*")
_RUN_IDS = re.compile(r"\b[0-9a-f]{32}\b")


def write(study: frames.Study, predictions: frames.ReadPredictions, folder: Path) -> list[Path]:
    """Write a study and the predictions of its networks.

    Files are written to a scratch folder and then moved. The same study gives the same bytes. The files are:

    - `runs.csv.gz`, `dense_runs.csv.gz`: the frames, with exact floats and empty cells for missing values.
    - `predictions_<n>.npz`: the predictions for one data set, in the arrays run_id (runs,), label (images,) and
      predicted (images, runs). Images are sorted by label, because equal neighbours take less space. The array in_top5,
      (images, runs) in bits, eight images per byte, is added if it is known for every run.
    - `study.json`: the types and attributes of the frames, and the SHA-256 of every other file.

    Parameters
    ----------
    study : Study
        As `pull.study` returns it.
    predictions : callable
        See `frames.ReadPredictions`.
    folder : Path
        Created if it does not exist. Unchanged predictions of an earlier export are deleted; other files stay.

    Returns
    -------
    list of Path
        The files written, relative to `folder`.

    Raises
    ------
    StudyError
        If runs of one data set have different test labels, or if the folder cannot be written to.
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
    earlier = [path.name for path in folder.glob("predictions_*.npz")]
    with files.aside(folder, obsolete=earlier) as scratch:
        for name, content in contents.items():
            (scratch / name).write_bytes(content)
        (scratch / CONTENTS).write_text(json.dumps(described, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        return files.written(scratch)


def read(folders: Sequence[Path]) -> tuple[frames.Study, frames.ReadPredictions]:
    """Read folders written by `write` of this version or an older one.

    Several folders are read as if one experiment contained all their runs.

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
        If a file is missing, damaged or from another export; if two folders have different runs with the same params,
        different values for the same run, or networks of different seeds trained with different settings; or if no run
        can be compared with its dense run.
    """
    with study_archives.unpacked(folders) as unpacked:
        parts = [_read(folder) for folder in unpacked]
    batches.check_one_design({folder: study.dense_runs for folder, (study, _) in zip(folders, parts, strict=True)})
    stored_runs: dict[str, _StoredRun] = {}
    for _, predicted in parts:
        for run_id, stored_run in predicted.items():
            if run_id in stored_runs and not stored_runs[run_id].agrees(stored_run):
                raise _disagreement(run_id, f"the content of {schema.PREDICTIONS}")
            if run_id not in stored_runs or stored_runs[run_id].in_top5 is None:
                stored_runs[run_id] = stored_run

    def predictions(run_ids: Sequence[str]) -> dict[str, dict[str, np.ndarray]]:
        return {run_id: stored_runs[run_id].arrays for run_id in run_ids if run_id in stored_runs}

    studies = [study for study, _ in parts]
    runs, dense_runs = (_join(folders, part_frames) for part_frames in zip(*studies, strict=True))
    return _check(runs, dense_runs, _left_out_of_all(studies)), predictions


def _check(runs: pd.DataFrame, dense_runs: pd.DataFrame, left_out: list[str]) -> frames.Study:
    runs = checks.sound_pairs(runs, dense_runs, left_out)
    if runs.empty:
        raise StudyError(f"no pruned run can be compared with its dense run ({'; '.join(left_out)})", option="frames")
    runs.attrs = {"left_out": list(dict.fromkeys([*left_out, *checks.notes(runs, dense_runs)]))}
    return frames.Study(runs, dense_runs)


def _left_out_of_all(studies: Sequence[frames.Study]) -> list[str]:
    """Return the folders' sentences on runs left out, without those on runs that other folders seem to have."""
    own_ids = [{*study.runs[RUN_ID], *study.dense_runs[schema.DENSE_RUN_ID]} for study in studies]
    all_ids = set().union(*own_ids)
    sentences = [
        sentence
        for study, ids in zip(studies, own_ids, strict=True)
        for sentence in study.runs.attrs["left_out"]
        if not _is_supplied(sentence, all_ids - ids)
    ]
    return list(dict.fromkeys(sentences))


def _is_supplied(sentence: str, others: set[str]) -> bool:
    """Return whether other folders have all runs that a sentence names, and at least as many runs as it counts."""
    counted = LEFT_OUT.match(sentence)
    named = _RUN_IDS.findall(sentence)
    if not counted or not named:
        return False
    number = sum(int(digits.replace(",", "")) for digits in _NUMBER.findall(counted[0]))
    return len(others) >= number and others.issuperset(named)


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
    found = [path for path in below_it if study_archives.may_have(path, CONTENTS)]
    found = sorted([*(path.parent for path in folder.rglob(CONTENTS)), *found])
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
    return frames.Study(*(frames.rows(frame, frame[schema.DATASET] == dataset) for frame in study))


def _join(folders: Sequence[Path], parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join the folders' frames into one, in the form of `pull.study`, with classes in the order of the folders."""
    frame = frames.with_canonical_values(parts[0])
    if len(parts) > 1:
        frame = _concatenate(parts)
    run_id = frame.columns[-1]
    twin_ids = frame.loc[frame.duplicated(frames.identity(frame), keep=False), run_id].tolist()
    if twin_ids:
        folder_of = {name: folder for folder, part in zip(folders, parts, strict=True) for name in part[run_id]}
        first, second = (f"run {name} of {folder_of[name]}" for name in twin_ids[:2])
        raise StudyError(
            f"{first} and {second} have the same settings and seed, but only one can be used: leave one out",
            option="frames",
        )
    sentences = [line for part in parts for line in part.attrs["left_out"]]
    frame.attrs = {"left_out": list(dict.fromkeys(sentences))}
    return frame


def _concatenate(parts: Sequence[pd.DataFrame]) -> pd.DataFrame:
    rows = frames.with_canonical_values(frames.with_former_values(pd.concat(parts, ignore_index=True)))
    leading = [name for name in frames.BARE if name in rows]
    params = [*leading, *sorted(name for name in frames.params(rows) if name not in leading)]
    metrics = sorted((name for name in rows if name not in params), key=_column_group)
    run_id = metrics[-1]
    distinct_rows = rows[[*params, *metrics]].drop_duplicates()
    if (twice := distinct_rows[run_id].duplicated()).any():
        run = distinct_rows.loc[twice, run_id].iloc[0]
        first, second = (row for _, row in distinct_rows[distinct_rows[run_id] == run].iloc[:2].iterrows())
        differ = [
            frames.param(name)
            for name in distinct_rows
            if first[name] != second[name] and not (first.isna() & second.isna())[name]
        ]
        raise _disagreement(run, checks.some(differ))
    # The copy joins the columns in memory, because otherwise pandas would warn at each added column.
    return distinct_rows.sort_values([*leading, run_id], ignore_index=True).copy()


def _disagreement(run_id: str, difference: str) -> StudyError:
    return StudyError(
        f"two folders have run {run_id}, and differ in {difference}: leave one out, or export both again",
        option="frames",
    )


def _column_group(column: str) -> int:
    """Return the position of a measured column's group in `_MEASURED`, from 1; 0 for a param of format 1."""
    group = column[: column.find("/") + 1]
    return next((position for position, name in enumerate(_MEASURED, start=1) if name in (column, group)), 0)


# Frames as CSV: a missing string is an empty cell, an empty string is a backslash, and a further backslash precedes a
# formula or a string that begins with a backslash.


def _csv(frame: pd.DataFrame) -> bytes:
    texts = frame[_texts(frame.dtypes)]
    escaped = {name: text.mask(_needs_escape(text), "\\" + text) for name, text in texts.items()}
    return gzip.compress(frame.assign(**escaped).to_csv(index=False, lineterminator="\n").encode(), mtime=0)


def _needs_escape(text: pd.Series) -> pd.Series:
    formulas = [isinstance(value, str) and csv_text.is_formula(value) for value in text]
    return (text == "") | text.str.startswith("\\") | pd.Series(formulas, text.index, dtype=bool)


def _description(frame: pd.DataFrame) -> dict[str, Any]:
    dtypes = {name: str(dtype) for name, dtype in frame.dtypes.items()}
    return {"dtypes": dtypes | dict.fromkeys(_texts(frame.dtypes), "str"), "attrs": frame.attrs}


def _parse_frame(content: bytes, described: Mapping[str, Any], version: int) -> pd.DataFrame:
    dtypes = described["dtypes"]
    with gzip.open(io.BytesIO(content)) as file:
        text = io.BytesIO(file.read(int(LARGEST_TABLE.gib * GIB) + 1))
    LARGEST_TABLE.check("a table of runs", len(text.getbuffer()))
    # Only an empty cell is a missing value, and a string may contain a carriage return.
    frame = pd.read_csv(text, dtype=dtypes, keep_default_na=False, na_values=[""], lineterminator="\n", **_EXACT)
    texts = {name: frame[name].str.removeprefix("\\") for name in _texts(dtypes)}
    frame = frame.assign(**texts)[list(dtypes)]
    if version == 1:
        frame = frame.rename(columns=lambda name: name if _column_group(name) else frames.column(name))
    frame.attrs = {"left_out": [str(sentence) for sentence in described["attrs"].get("left_out", [])]}
    return frame


def _checked_types(frame: pd.DataFrame, required_columns: Sequence[str]) -> pd.DataFrame:
    """Raise a ValueError if a frame lacks a required value, or if a column has another type than in `pull.study`."""
    for name in required_columns:
        if name not in frame:
            raise ValueError(f"no column {name}")
    if incomplete := [name for name in required_columns if frame[name].isna().any()]:
        raise ValueError(f"a value of {incomplete[0]} is missing")
    for name in frame:
        is_number = name in (schema.RATIO, schema.SEED) or name.startswith(_NUMBERS)
        is_text = name in frames.params(frame) or name in _TAGS
        if (is_number or is_text) and is_number != pd.api.types.is_numeric_dtype(frame[name]):
            raise ValueError(f"{name} has type {frame[name].dtype}")
    if not pd.api.types.is_integer_dtype(frame[schema.SEED]):
        raise ValueError(f"{schema.SEED} has type {frame[schema.SEED].dtype}")
    return frame


def _texts(dtypes: Mapping[str, Any] | pd.Series) -> list[str]:
    return [name for name, dtype in dtypes.items() if dtype in ("str", "object")]  # object in pandas 2


def _by_data_set(study: frames.Study, predictions: frames.ReadPredictions) -> Iterator[dict[str, np.ndarray]]:
    """Yield the arrays of each data set's file, in the order of the digests."""
    data_sets: dict[str, str] = {}
    for frame in study:
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


def _read(folder: Path) -> tuple[frames.Study, dict[str, _StoredRun]]:
    path = folder / CONTENTS
    if not path.is_file():
        raise StudyError(
            f"{folder}: no {CONTENTS} in it; pruning-analysis export makes such folders and archives{_hint(folder)}",
            option="frames",
        )
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        version = described["format"]
        if version not in range(1, _FORMAT + 1):
            raise StudyError(f"{path}: has format {version}, but this version reads up to {_FORMAT}: export again")
        contents = {name: _content(folder, name, digest) for name, digest in described["sha256"].items()}
        runs, dense_runs = (
            _checked_types(_parse_frame(contents[name], described["frames"][name], version), required_columns)
            for name, required_columns in _NEEDED.items()
        )
        predicted: dict[str, _StoredRun] = {}
        for name in contents.keys() - {RUNS, DENSE_RUNS}:
            predicted |= _predicted(folder / name)
    except StudyError:
        raise
    # Given arbitrary bytes, pandas, gzip and the JSON decoder raise errors of more than a dozen types.
    except Exception as error:
        reason = f"{type(error).__name__}: {first_line(error)[:200]}"
        raise StudyError(f"{path}: not what pruning-analysis export writes ({reason}); export again") from error
    return frames.Study(runs, dense_runs), predicted


def _content(folder: Path, name: str, digest: str) -> bytes:
    path = folder / name
    if path.parent != folder:
        raise ValueError(f"{name} is not in the folder")
    if not path.is_file():
        raise StudyError(f"{path}: missing, although {CONTENTS} lists it; restore it or export the study again")
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise StudyError(
            f"{path}: damaged, or from another export than the {CONTENTS} beside it; restore it or export again"
        )
    return content
