"""Files of predictions that anyone can write: .npz with arrays `label` and `predicted`, or CSV with such columns."""

import array
import csv
import glob
import io
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.audit.network_names import natural
from analysis.common import archives, csv_text
from analysis.common.class_arrays import check_names, classes
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit, opened
from analysis.common.overwriting import is_there
from analysis.common.printable import shortened
from analysis.runs import schema

_NAMES = (schema.LABEL, schema.PREDICTED)
_LARGEST_TABLE = 2**26
# Longer numbers stay text: 18 digits fit int64.
_WHOLE = re.compile(r"([+-]?[0-9]{1,18})(\.0*)?")


def named(patterns: Iterable[str]) -> list[Path]:
    """Return the files and folders that paths and globs name; what names none is left out."""
    return [Path(path) for pattern in patterns for path in ([pattern] if is_there(pattern) else _matches(pattern))]


def find(patterns: Sequence[str], option: str) -> list[Path]:
    """Return the files that paths and globs name, those of a glob sorted by name and number.

    Parameters
    ----------
    patterns : sequence of str
        Paths, or globs.
    option : str
        The command-line option that they were given to, for the error.

    Raises
    ------
    StudyError
        If a file does not exist or is given twice, under one name or several.
    """
    paths: list[Path] = []
    for pattern in patterns:
        matches = [pattern] if Path(pattern).is_file() else _matches(pattern)
        if not matches:
            raise StudyError(f"{pattern}: no such file", option=option)
        paths += map(Path, matches)
    first_paths: dict[Path, Path] = {}
    for path in paths:
        if (same_file := first_paths.setdefault(Path(os.path.realpath(path)), path)) is not path:
            also = f", as {same_file} too," if same_file != path else ""
            raise StudyError(f"{path} is given twice{also} and a file stands for a seed", option=option)
    return paths


def _matches(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern, recursive=True), key=natural)  # noqa: PTH207


def read(paths: Sequence[Path], limit: SizeLimit) -> tuple[np.ndarray, np.ndarray]:
    """Read the predictions of several networks for the same images.

    Parameters
    ----------
    paths : sequence of Path
    limit : SizeLimit
        Most memory that the classes in a file may take.

    Returns
    -------
    label : (images,)
    predicted : (files, images)
        Both are text, or integers if all of it is whole numbers: 10 then comes after 9, and 1.0 is 1. It stays text if
        two labels, such as 1 and 01, are the same number. Integers become names if the `per_class.csv` of a run lies
        beside the first file.

    Raises
    ------
    StudyError
        If a file is damaged or too large, does not hold the images of the first one in the same order, or writes a
        class otherwise than the labels, as 01 for 1.
    """
    names, name_indices = zip(*(_read(path, limit) for path in paths), strict=True)
    for path, name_index in zip(paths, name_indices, strict=True):
        if name_index.shape != name_indices[0].shape:
            raise StudyError(
                f"{path} has {name_index.shape[1]:,} images and {paths[0]} has {name_indices[0].shape[1]:,}: "
                "give predictions for the same images"
            )
    all_names = np.unique(np.concatenate(names))
    label_names = np.unique(
        np.concatenate([own[name_index[0]] for own, name_index in zip(names, name_indices, strict=True)])
    )
    classes = _as_numbers(all_names, label_names, dict(zip(paths, names, strict=True)))
    columns = [
        classes[np.searchsorted(all_names, own)][name_index]
        for own, name_index in zip(names, name_indices, strict=True)
    ]
    labels, predicted = np.swapaxes(columns, 0, 1)
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
        with opened(path) as file:
            table = csv_text.read(io.BytesIO(file.read(_LARGEST_TABLE)), dtype={"class": str}, keep_default_na=False)
        classes = table.set_index("index")["class"].sort_index()
    except (StudyError, OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return np.array([])
    return classes.to_numpy(str) if classes.index.equals(pd.RangeIndex(len(classes))) else np.array([])


def _read(path: Path, limit: SizeLimit) -> tuple[np.ndarray, np.ndarray]:
    """Return the names of the classes, and which of them is each image's label and predicted class, (2, images)."""
    names, name_index = _read_npz(path, limit) if path.suffix == ".npz" else _read_csv(path, limit)
    if not name_index.size:
        raise StudyError(f"{path}: no image in it")
    check_names(path, names)
    texts = np.array(names, dtype=str)
    if (empty := np.flatnonzero((texts == "")[name_index].any(0))).size:
        raise StudyError(f"{path}: image {empty[0] + 1:,} has no {' or no '.join(_NAMES)}: fill it in")
    limit.check(path, name_index.size * texts.dtype.itemsize)
    return texts, name_index


def _read_npz(path: Path, limit: SizeLimit) -> tuple[list[str], np.ndarray]:
    """Return what `_read` does."""
    arrays = archives.read(path, _NAMES, limit=limit)
    shapes = [array.shape for array in arrays.values()]
    if shapes[0] != shapes[1] or len(shapes[0]) != 1:
        raise StudyError(f"{path}: label has shape {shapes[0]}, predicted {shapes[1]}: give a class for each image")
    columns = [np.unique(classes(f"{path}: {name}", array), return_inverse=True) for name, array in arrays.items()]
    names, name_index = np.unique(np.concatenate([texts.astype(str) for texts, _ in columns]), return_inverse=True)
    count = len(columns[0][0])
    return names.tolist(), np.stack([name_index[:count][columns[0][1]], name_index[count:][columns[1][1]]])


def _read_csv(path: Path, limit: SizeLimit) -> tuple[list[str], np.ndarray]:
    """Return what `_read` does."""
    with opened(path) as file:
        limit.check(path, os.fstat(file.fileno()).st_size)
        try:
            with io.TextIOWrapper(file, "utf-8-sig", newline="") as lines:
                return _read_lines(path, lines)
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise StudyError(f"{path}: cannot be read as CSV ({error})") from error


def _read_lines(path: Path, lines: Iterable[str]) -> tuple[list[str], np.ndarray]:
    reader = csv.reader(lines, strict=True)
    first = next(reader, [])
    header = [name.strip() for name in first]
    if missing := [name for name in _NAMES if name not in header]:
        raise StudyError(
            f"{path}: no column {' and no column '.join(missing)}; the first line should be {','.join(_NAMES)} "
            f"and is {shortened(','.join(header)[:60])}"
        )
    if twice := [name for name in _NAMES if header.count(name) > 1]:
        raise StudyError(f"{path}: two columns have the name {twice[0]}; rename one of them")
    columns = [header.index(name) for name in _NAMES]
    index_of_name: dict[str, int] = {}
    name_index = array.array("q")
    for row in reader:
        if row and len(row) != len(header):
            raise StudyError(
                f"{path}, line {reader.line_num:,}: {len(row)} values for {len(header)} columns; quote a class "
                "that has a comma in its name"
            )
        if row == first:
            raise StudyError(f"{path}, line {reader.line_num:,}: the first line again; a file holds one table")
        if row:
            name_index.extend([index_of_name.setdefault(row[column].strip(), len(index_of_name)) for column in columns])
    return list(index_of_name), np.frombuffer(name_index, np.int64).reshape(-1, 2).T


def _as_numbers(names: np.ndarray, label_names: np.ndarray, names_of: Mapping[Path, np.ndarray]) -> np.ndarray:
    """Return text as integers if all of it is whole numbers, and no two labels are the same number.

    As floats, two large numbers could become one class.

    Parameters
    ----------
    names : (classes,), text
    label_names : text
        The names that are labels.
    names_of : mapping of Path to text
        The names in each file, for errors.
    """
    matches = [_WHOLE.fullmatch(name) for name in names]
    if not all(matches):
        return names
    digits = [match[1] for match in matches if match]
    numbers = np.array(list(map(int, digits)))
    _, number_index, spellings = np.unique(numbers, return_inverse=True, return_counts=True)
    if len(spellings) == len(set(digits)):
        return numbers
    for index in np.flatnonzero((spellings[number_index] > 1) & ~np.isin(names, label_names)):
        first, second = names[index], names[(numbers == numbers[index]) & (names != names[index])][0]
        path, second_path = (next(path for path, own in names_of.items() if name in own) for name in (first, second))
        raise StudyError(
            f"{path} has class {first} and {second_path} class {second}, which are the same number: write each class "
            "in one way"
        )
    return names
