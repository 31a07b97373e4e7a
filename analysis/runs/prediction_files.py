"""Files of predictions that anyone can write: .npz with arrays `label` and `predicted`, or CSV with such columns."""

import csv
import glob
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.runs import archives, schema
from analysis.runs.errors import StudyError

_NAMES = (schema.LABEL, schema.PREDICTED)
# Longer numbers stay text: 18 digits fit int64.
_WHOLE = re.compile(r"-?[0-9]{1,18}(\.0*)?")


def find(patterns: Sequence[str], option: str) -> list[Path]:
    """Return the files that paths and globs name, those of a glob sorted by name.

    Parameters
    ----------
    patterns : sequence of str
        Paths, or globs.
    option : str
        The command-line option that they were given to, for the error.

    Raises
    ------
    StudyError
        If a file does not exist or is named twice.
    """
    paths: list[Path] = []
    for pattern in patterns:
        found = [pattern] if Path(pattern).is_file() else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
        if not found:
            raise StudyError(f"{pattern}: no such file", option=option)
        paths += map(Path, found)
    if twice := next((path for path in paths if paths.count(path) > 1), None):
        raise StudyError(f"{twice} is given twice, and a file stands for a seed", option=option)
    return paths


def read(paths: Sequence[Path]) -> tuple[np.ndarray, np.ndarray]:
    """Read the predictions of several networks for the same images.

    Parameters
    ----------
    paths : sequence of Path

    Returns
    -------
    label : (images,)
    predicted : (files, images)
        Both are text, or integers if all of it is whole numbers: 10 then comes after 9, and 1.0 is 1. Integers become
        names if the `per_class.csv` of a run lies beside the first file.

    Raises
    ------
    StudyError
        If a file is damaged, or does not hold the images of the first one in the same order.
    """
    columns = [_read(path) for path in paths]
    for path, read in zip(paths, columns, strict=True):
        if read.shape != columns[0].shape:
            raise StudyError(
                f"{path} has {read.shape[1]:,} images and {paths[0]} has {columns[0].shape[1]:,}: "
                "give predictions for the same images"
            )
    labels, predicted = np.swapaxes(_as_numbers(np.stack(columns)), 0, 1)
    for path, label in zip(paths, labels, strict=True):
        if (differing := np.flatnonzero(label != labels[0])).size:
            names = [file_labels[differing[0]] for file_labels in (label, labels[0])]
            raise StudyError(
                f"{path}: image {differing[0] + 1:,} is labelled {names[0]} and in {paths[0]} {names[1]}: "
                "give predictions for the same images in the same order"
            )
    class_names = _class_names(paths[0].with_name(schema.PER_CLASS))
    if labels.dtype.kind == "i" and np.isin(np.array([labels, predicted]), range(len(class_names))).all():
        return class_names[labels[0]], class_names[predicted]
    return labels[0], predicted


def _class_names(path: Path) -> np.ndarray:
    """Return the names of the classes in the order of their index; none if there is no such table."""
    try:
        table = pd.read_csv(path, dtype={"class": str}, keep_default_na=False)
        classes = table.set_index("index")["class"].sort_index()
    except (OSError, ValueError, KeyError):
        return np.array([])
    return classes.to_numpy(str) if classes.index.equals(pd.RangeIndex(len(classes))) else np.array([])


def _read(path: Path) -> np.ndarray:
    """Return label and predicted class of each image as text, (2, images)."""
    columns = _read_npz(path) if path.suffix == ".npz" else _read_csv(path)
    if not columns.size:
        raise StudyError(f"{path}: no image in it")
    if (empty := np.flatnonzero((columns == "").any(0))).size:
        raise StudyError(f"{path}: image {empty[0] + 1:,} has no {' or no '.join(_NAMES)}: fill it in")
    return columns


def _read_npz(path: Path) -> np.ndarray:
    arrays = list(archives.read(path, _NAMES).values())
    shapes = [array.shape for array in arrays]
    if shapes[0] != shapes[1] or len(shapes[0]) != 1:
        raise StudyError(f"{path}: label has shape {shapes[0]}, predicted {shapes[1]}: give a class for each image")
    for place, (name, array) in enumerate(zip(_NAMES, arrays, strict=True)):
        if array.dtype.kind == "f":
            exact = (array == np.trunc(array)) & (np.abs(array) < 2 / np.finfo(array.dtype).eps)
            if not exact.all():
                raise StudyError(
                    f"{path}: {name} holds {array[~exact][0]}: give a class for each image, as text or whole numbers "
                    "(large ones of an integer type)"
                )
            arrays[place] = array.astype(np.int64)
    return np.array([array.astype(str) for array in arrays])


def _read_csv(path: Path) -> np.ndarray:
    rows = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header = [name.strip() for name in next(reader, [])]
            if missing := [name for name in _NAMES if name not in header]:
                raise StudyError(
                    f"{path}: no column {' and no column '.join(missing)}; the first line should be {','.join(_NAMES)} "
                    f"and is {','.join(header)[:60]!r}"
                )
            columns = [header.index(name) for name in _NAMES]
            for row in reader:
                if row and len(row) != len(header):
                    raise StudyError(
                        f"{path}, line {reader.line_num:,}: {len(row)} values for {len(header)} columns; quote a class "
                        "that has a comma in its name"
                    )
                if row:
                    rows.append([row[column].strip() for column in columns])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise StudyError(f"{path}: cannot be read as CSV ({error})") from error
    return np.array(rows, dtype=str).reshape(-1, 2).T


def _as_numbers(columns: np.ndarray) -> np.ndarray:
    """Return text as integers if all of it is whole numbers. (As floats, two large numbers could become one class.)"""
    texts, place = np.unique(columns, return_inverse=True)
    if not all(map(_WHOLE.fullmatch, texts)):
        return columns
    return np.array([int(text.partition(".")[0]) for text in texts])[place].reshape(columns.shape)
