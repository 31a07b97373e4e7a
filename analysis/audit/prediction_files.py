"""Files of predictions from any tool: arrays `label` and `predicted` in .npz, or a table with these columns."""

import array
import contextlib
import glob
import io
import itertools
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.audit import confidences, logit_files, prediction_columns
from analysis.audit.network_names import natural
from analysis.audit.prediction_columns import USUAL, ColumnNames, Columns
from analysis.common import archives, arrow_tables, csv_text, image_names
from analysis.common.class_arrays import check_names, classes, decoded, without_objects
from analysis.common.errors import StudyError, first_line
from analysis.common.files import is_there
from analysis.common.input_files import SizeLimit, opened
from analysis.common.printable import shortened
from analysis.common.text_tables import number, opened_table, without_empty_end
from analysis.runs import schema

_NAMES = (schema.LABEL, schema.PREDICTED)
# Strings that numpy and pandas write for a missing class
_MISSING = ("nan", "NaN", "<NA>")
# Arrays of an .npz file that may name its images.
_IMAGE_NAMES = ("ids", "id", "filenames", "filename", "file_names", "paths", "names", "image_ids", "image_names")
_LARGEST_TABLE = 2**26
_ROUNDING = 1e-3  # of a probability of 0, and of a sum of 1
# Longer numbers stay strings, because int64 holds 18 digits.
_WHOLE = re.compile(r"([+-]?[0-9]{1,18})(\.0*)?")


def named(patterns: Iterable[str]) -> list[Path]:
    """Return the files and folders that paths and globs match; ignore paths and globs without a match."""
    return [Path(path) for pattern in patterns for path in ([pattern] if is_there(pattern) else _matches(pattern))]


def find(patterns: Sequence[str], option: str) -> list[Path]:
    """Return the files that paths and globs match; files of a glob are sorted by name and number.

    Parameters
    ----------
    patterns : sequence of str
        Paths, or globs.
    option : str
        The command-line option of these patterns, for error messages.

    Raises
    ------
    StudyError
        If a file does not exist or is given twice, under one name or several.
    """
    paths: list[Path] = []
    for pattern in patterns:
        is_one = Path(pattern).is_file() or arrow_tables.is_saved_dataset(Path(pattern))
        matches = [pattern] if is_one else _matches(pattern)
        if not matches:
            raise StudyError(f"{pattern}: no such file", option=option)
        paths += map(Path, matches)
    first_paths: dict[Path, Path] = {}
    for path in paths:
        if (same_file := first_paths.setdefault(Path(os.path.realpath(path)), path)) is not path:
            also = f", as {same_file} too," if same_file != path else ""
            raise StudyError(f"{path} is given twice{also} but each file must be of a different seed", option=option)
    return paths


def _matches(pattern: str) -> list[str]:
    return sorted(glob.glob(pattern, recursive=True), key=natural)  # noqa: PTH207


class Predictions(NamedTuple):
    """Labels and predictions of the same images from several files, in the order of the first file.

    Attributes
    ----------
    label : (images,)
    predicted : (files, images)
    orders : dict of Path to (images,), integers
        For each file that lists the images in another order than the first file: the row of each image.
    image_names : list of str, optional
        The names of the images, if all files name them.
    notes : list of str
    """

    label: np.ndarray
    predicted: np.ndarray
    orders: dict[Path, np.ndarray]
    image_names: list[str] | None
    notes: list[str]


class _Content(NamedTuple):
    """Content of a file of predictions.

    Attributes
    ----------
    names : (classes,) text, or list of str
    name_index : (2, images), integers
        Indices in `names` of each image's label and predicted class.
    image_names : dict of str to sequence of str
        The columns that may name the images, by `image_names.column_key`.
    """

    names: Any
    name_index: np.ndarray
    image_names: Mapping[str, Sequence[str]]


def read(paths: Sequence[Path], limit: SizeLimit, columns: ColumnNames = USUAL) -> Predictions:
    """Read the predictions of several networks for the same images.

    Rows are matched by the names of the images if all files have them (`image_names.align`).

    Parameters
    ----------
    paths : sequence of Path
    limit : SizeLimit
        Largest memory for the classes in a file.
    columns : ColumnNames
        Names of columns in tables, and of arrays in .npz files other than those of runs.

    Returns
    -------
    Predictions
        Classes are strings, or integers if all of them are whole numbers: 10 then comes after 9, and 1.0 is 1. They
        stay strings if two labels, such as 1 and 01, are the same number. Integers are replaced by class names if the
        folder of the first file also has the `per_class.csv` of a run. If the classes of some file are names, the
        integers in each run's file are replaced by the names of that run's classes.

    Raises
    ------
    StudyError
        If a file is damaged or too large, does not have the images of the first one (in the same order, if images have
        no names), or spells a class differently from the labels, such as 01 for 1.
    """
    contents = {path: _read(path, limit, columns) for path in paths}
    if not all(_WHOLE.fullmatch(name) for content in contents.values() for name in content.names):
        contents = {path: _with_class_names(path, content) for path, content in contents.items()}
    for path, content in contents.items():
        if content.name_index.shape != (first := contents[paths[0]].name_index).shape:
            raise StudyError(
                f"{path} has {content.name_index.shape[1]:,} images and {paths[0]} has {first.shape[1]:,}: "
                "give predictions for the same images"
            )
    alignment = image_names.align(
        {path: image_names.NamedRows(names[index[0]], own) for path, (names, index, own) in contents.items()}
        if any(content.image_names for content in contents.values())
        else dict.fromkeys(paths, image_names.NO_NAMES)
    )
    all_names = np.unique(np.concatenate([content.names for content in contents.values()]))
    label_names = np.unique(np.concatenate([names[np.unique(index[0])] for names, index, _ in contents.values()]))
    classes = _as_numbers(all_names, label_names, {path: content.names for path, content in contents.items()})
    places = [
        np.searchsorted(all_names, names)[index[:, alignment.orders.get(path, slice(None))]]
        for path, (names, index, _) in ((path, contents[path]) for path in paths)
    ]
    labels, predicted = classes[np.stack(places, 1)]
    _check_labels(paths, labels, alignment)
    class_names = _class_names(paths[0].with_name(schema.PER_CLASS))
    if labels.dtype.kind == "i" and np.isin(np.array([labels, predicted]), range(len(class_names))).all():
        labels, predicted = class_names[labels], class_names[predicted]
    is_own = all(path.name == schema.PREDICTIONS for path in paths)  # files of runs, which are in test order
    return Predictions(labels[0], predicted, alignment.orders, alignment.names, [] if is_own else alignment.notes)


def _with_class_names(path: Path, content: _Content) -> _Content:
    """Replace class indices by class names if the file is that of a run."""
    class_names = _class_names(path.with_name(schema.PER_CLASS)) if path.name == schema.PREDICTIONS else np.array([])
    names = {str(index): unicodedata.normalize("NFC", name) for index, name in enumerate(class_names.tolist())}
    if not names.keys() >= set(content.names.tolist()):
        return content
    return content._replace(names=np.array([names[name] for name in content.names.tolist()]))


def _check_labels(paths: Sequence[Path], labels: np.ndarray, alignment: image_names.Alignment) -> None:
    """Raise a StudyError if a file has a label that differs from that in the first file."""
    for path, label in zip(paths, labels, strict=True):
        if (differing := np.flatnonzero(label != labels[0])).size:
            image = differing[0]
            name = str(image + 1) if alignment.names is None else alignment.names[image]
            raise StudyError(
                f"{path}: image {name} is labelled {label[image]}, but {labels[0][image]} in {paths[0]}: give "
                f"predictions for the same images{' in the same order' * (alignment.names is None)}"
            )


def _class_names(path: Path) -> np.ndarray:
    """Return the names of the classes in the order of their indices; empty if the table is missing or unusable."""
    try:
        with opened(path) as file:
            table = csv_text.read(io.BytesIO(file.read(_LARGEST_TABLE)), dtype={"class": str}, keep_default_na=False)
        classes = table.set_index("index")["class"].sort_index()
    except (StudyError, OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return np.array([])
    return classes.to_numpy(str) if classes.index.equals(pd.RangeIndex(len(classes))) else np.array([])


def _read(path: Path, limit: SizeLimit, columns: ColumnNames) -> _Content:
    if path.suffix.lower() == ".npz":
        content = _read_npz(path, limit, columns)
    elif path.suffix.lower() in arrow_tables.SUFFIXES or path.is_dir():
        content = _read_arrow(path, limit, columns)
    elif path.suffix.lower() == ".npy":
        content = _read_npy(path, limit, columns)
    else:
        content = _read_text(path, limit, columns)
    names, name_index, _ = content
    if not name_index.size:
        raise StudyError(f"{path}: no image in it")
    check_names(path, names)
    texts = np.array([unicodedata.normalize("NFC", name) for name in names], dtype=str)
    if (empty := np.flatnonzero((texts == "")[name_index].any(0))).size:
        raise StudyError(f"{path}: image {empty[0] + 1:,} has no {' or no '.join(_NAMES)} class: fill it in")
    if (missing := np.argwhere(np.isin(texts, _MISSING)[name_index])).size:
        row, image = missing[0]
        raise StudyError(
            f"{path}: image {image + 1:,} has the {('label', 'predicted class')[row]} {texts[name_index[row, image]]}, "
            "which tools write for a missing value: fill it in or remove the image, or if a class really has this "
            "name, rename the class"
        )
    _check_numbers(path, texts)
    limit.check(path, name_index.size * texts.dtype.itemsize)
    return content._replace(names=texts)


def _check_numbers(path: Path, names: np.ndarray) -> None:
    """Raise a StudyError if all names are numbers, and one of them is infinite or has a fraction."""
    try:
        numbers = names.astype(float)
    except ValueError:
        return
    if (wrong := names[~np.isfinite(numbers) | (numbers != np.rint(numbers))]).size:
        raise StudyError(
            f"{path}: a label or a predicted class is {shortened(str(wrong[0]))}: give whole numbers, or if "
            "these are names of classes, names that are no numbers"
        )


def _read_npz(path: Path, limit: SizeLimit, columns: ColumnNames) -> _Content:
    is_of_run = path.name == schema.PREDICTIONS and path.with_name(schema.PER_CLASS).is_file()
    header = archives.names(path)
    places = [
        prediction_columns.place(path, header, name, own, "array")
        for name, own in zip(_NAMES, USUAL if is_of_run else columns, strict=True)
    ]
    arrays = archives.read(path, [], [header[place] for place in places if place is not None], limit=limit)
    label, predicted = (None if place is None else _one_dimensional(arrays[header[place]]) for place in places)
    if label is not None and predicted is None:
        label, predicted = _most_probable_of_npz(path, label, limit)
    missing = [name for name, values in zip(_NAMES, (label, predicted), strict=True) if values is None]
    if label is None or predicted is None:
        raise StudyError(f"{path}: no array {', '.join(missing)} in it; the file needs {', '.join(_NAMES)}")
    names: dict[str, np.ndarray] = {}
    with contextlib.suppress(StudyError):  # pickled image names are not read, and rows are then matched by order
        names = archives.read(path, [], _IMAGE_NAMES, limit=limit)
    of_images = {name: _one_dimensional(values) for name, values in names.items()}
    return _of_arrays(path, label, predicted, of_images)


def _most_probable_of_npz(path: Path, label: np.ndarray, limit: SizeLimit) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the label and the class with the largest probability, or the largest logit, of each image.

    Both are named by `class_names`. Without probabilities and logits, the class is None.
    """
    scores = archives.read(path, [], ["probabilities", "logits"], limit=limit)
    for what, values in scores.items():
        if values.ndim == 2 and values.dtype.kind == "f":
            columns = values.shape[1]
            names = logit_files.class_names(path, columns, limit)
            where = f"the {columns:,} columns of {what}"
            own = classes(f"{path}: label", label)
            if names is None:
                names = np.arange(columns)
                where += ", which are numbered from 0 because class_names is missing"
                if own.dtype.kind in "iu" and own.size and 0 <= own.max() < columns - 1:
                    raise StudyError(
                        f"{path}: {columns:,} columns of {what}, but labels up to {own.max()}: name the columns in an "
                        "array class_names"
                    )
            are_columns = own.dtype.kind in "iu" and (own < columns).all()
            if are_columns and not (np.isin(own.astype(str), names.astype(str)) | (own < 0)).all():
                own = np.where(own < 0, own.astype(str), names[np.maximum(own, 0)])
            return own, _class_of_largest(path, own, names, values, where, are_logits=what == "logits")
    return label, None


def _one_dimensional(values: np.ndarray) -> np.ndarray:
    """Return values of shape (images,) from a single column or a one-hot array; other arrays stay unchanged."""
    if values.ndim == 2 and values.shape[1] == 1:
        return values[:, 0]
    is_one_hot = values.ndim == 2 and values.dtype.kind in "biuf" and ((values == 0) | (values == 1)).all()
    return values.argmax(1) if is_one_hot and (values.sum(1) == 1).all() else values


def _read_npy(path: Path, limit: SizeLimit, columns: ColumnNames) -> _Content:
    values = archives.read_array(path, limit)
    if values.ndim != 1 or values.dtype.names is None:
        raise StudyError(
            f"{path} has {values.dtype} values of shape {values.shape} without names: save label and predicted in one "
            "file, by np.savez('predictions.npz', label=label, predicted=predicted)"
        )
    return _of_columns(
        path, values.dtype.names, lambda names: {name: np.asarray(values[name]) for name in names}, columns
    )


def _read_arrow(path: Path, limit: SizeLimit, columns: ColumnNames) -> _Content:
    header, arrays = arrow_tables.read(path, lambda header: _wanted(path, header, columns), limit)
    return _of_columns(path, header, lambda names: {name: arrays[name] for name in names}, columns)


def _wanted(path: Path, header: Sequence[str], columns: ColumnNames) -> list[str]:
    """Return the names of the columns to read."""
    places = prediction_columns.find(path, header, columns)
    of_classes = [places.label, *(places.probabilities.values() if places.predicted is None else [places.predicted])]
    of_images = [place for place, name in enumerate(header) if image_names.column_key(name) is not None]
    return list(dict.fromkeys(header[place] for place in [*of_classes, *of_images]))


def _of_columns(
    path: Path,
    header: Sequence[str],
    arrays_of: Callable[[Sequence[str]], Mapping[str, np.ndarray]],
    columns: ColumnNames,
) -> _Content:
    places = prediction_columns.find(path, header, columns)
    arrays = arrays_of(_wanted(path, header, columns))
    if places.predicted is None:
        of_classes = {header[place]: arrays[header[place]] for place in places.probabilities.values()}
        label, names = arrays[header[places.label]], np.array([*places.probabilities])
        predicted = _class_of_largest(path, label, names, _scores(path, of_classes), _listed(of_classes))
    else:
        predicted = arrays[header[places.predicted]]
    return _of_arrays(path, arrays[header[places.label]], predicted, arrays)


def _scores(path: Path, columns: Mapping[str, np.ndarray]) -> np.ndarray:
    """Convert probabilities, which may be stored as text, to numbers, (images, classes)."""
    scores = []
    for name, values in columns.items():
        try:
            scores.append(values.astype(float))
        except (TypeError, ValueError) as error:
            raise StudyError(f"{path}: {name} is not a number for each image ({first_line(error)[:200]})") from error
    return np.column_stack(scores)


def _of_arrays(path: Path, label: np.ndarray, predicted: np.ndarray, others: Mapping[str, np.ndarray]) -> _Content:
    if label.shape != predicted.shape or label.ndim != 1:
        raise StudyError(
            f"{path}: label has shape {label.shape}, predicted {predicted.shape}: give a class for each image"
        )
    columns = [
        np.unique(classes(f"{path}: {name}", without_objects(values)), return_inverse=True)
        for name, values in zip(_NAMES, (label, predicted), strict=True)
    ]
    names, name_index = np.unique(np.concatenate([texts.astype(str) for texts, _ in columns]), return_inverse=True)
    count = len(columns[0][0])
    of_images = {
        key: decoded(f"{path}: {name}", without_objects(values)).astype(str).tolist()
        for name, values in others.items()
        if (key := image_names.column_key(name)) is not None and values.shape == label.shape
    }
    return _Content(
        names.tolist(), np.stack([name_index[:count][columns[0][1]], name_index[count:][columns[1][1]]]), of_images
    )


def _read_text(path: Path, limit: SizeLimit, columns: ColumnNames) -> _Content:
    with opened_table(path, limit) as (header, rows):
        places = prediction_columns.find(path, header, columns)
        keys = {key: place for place, name in enumerate(header) if (key := image_names.column_key(name)) is not None}
        if places.predicted is None:
            return _most_probable(path, header, places, keys, without_empty_end(path, rows))
        label, predicted = places.label, places.predicted
        index_of_name: defaultdict[str, int] = defaultdict(itertools.count().__next__)
        name_index = array.array("q")
        of_images: dict[str, list[str]] = {key: [] for key in keys}
        cells = [(place, of_images[key].append) for key, place in keys.items()]
        add = name_index.append
        for _, row in without_empty_end(path, rows):
            add(index_of_name[row[label]])
            add(index_of_name[row[predicted]])
            for place, append in cells:
                append(row[place].strip())
    names = [name.strip() for name in index_of_name]
    return _Content(names, np.frombuffer(name_index, np.int64).reshape(-1, 2).T, of_images)


def _class_of_largest(
    path: Path, label: np.ndarray, names: np.ndarray, scores: np.ndarray, where: str, *, are_logits: bool | None = None
) -> np.ndarray:
    """Return the class with the largest score of each image, (images,).

    Parameters
    ----------
    path : Path
    label : (images,)
    names : (classes,)
        The class of each column of scores.
    scores : (images, classes)
    where : str
        The columns, for errors.
    are_logits : bool, optional
        Whether scores may be negative; by default if they seem to be no probabilities.

    Raises
    ------
    StudyError
        If a label, unless it is negative, has no column, if a score is missing, infinite or an impossible probability,
        or if the scores are only the largest ones of each image, in descending order.
    """
    columns = {_as_key(name) for name in names.astype(str).tolist()} | {"", *_MISSING}
    labels = np.unique(classes(f"{path}: label", without_objects(label))).astype(str).tolist()
    if without := [name for name in labels if _as_key(name) not in columns and not name.startswith("-")]:
        raise StudyError(
            f"{path}: label {shortened(without[0])} has no column among {where}: give a column for each class, or name "
            "the predicted classes with --predicted-column"
        )
    if confidences.are_largest(scores):
        raise StudyError(
            f"{path}: {where} seem to be sorted by size, not by class, because each row begins with its largest value "
            "and does not sum to 1: name the predicted classes with --predicted-column"
        )
    if (missing := np.flatnonzero(np.isnan(scores).any(1))).size:
        raise StudyError(
            f"{path}: image {missing[0] + 1:,} lacks the probability of at least one class, so the largest is unknown: "
            "fill it in, or remove the image"
        )
    is_wrong = np.isposinf(scores)
    if not (_are_logits(scores) if are_logits is None else are_logits):
        is_wrong |= scores < -_ROUNDING
    if is_wrong.any():
        image, column = np.argwhere(is_wrong)[0]
        raise StudyError(
            f"{path}: image {image + 1:,} has the probability {scores[image, column]:g} of class "
            f"{shortened(str(names[column]))}: give probabilities from 0 to 1, or remove the image"
        )
    return np.asarray(names[scores.argmax(1)])


def _are_logits(scores: np.ndarray) -> bool:
    """Return whether scores are logits or logarithms: above 1 or all below 0, and rows do not sum to 1."""
    return bool(
        scores.size and (scores.max() > 1 or scores.max() <= 0) and abs(np.median(scores.sum(1)) - 1) > _ROUNDING
    )


def _listed(columns: Iterable[str]) -> str:
    return shortened(",".join(columns)[:60])


def _as_key(name: str) -> str:
    """Return the name of a class, written in one way if it is a whole number or has several spellings in Unicode."""
    return str(int(match[1])) if (match := _WHOLE.fullmatch(name)) else unicodedata.normalize("NFC", name)


def _most_probable(
    path: Path,
    header: Sequence[str],
    places: Columns,
    keys: Mapping[str, int],
    rows: Iterator[tuple[int, list[str]]],
) -> _Content:
    """Read a table of probabilities, and predict the class with the largest probability."""
    label, of_images, scores = [], {key: [] for key in keys}, []  # type: ignore[var-annotated]
    for line, row in rows:
        label.append(row[places.label].strip())
        scores.append([number(f"{path}, line {line:,}", row[place]) for place in places.probabilities.values()])
        for key, place in keys.items():
            of_images[key].append(row[place].strip())
    labels, names = np.array(label, str), np.array([*places.probabilities])
    where = _listed(header[place] for place in places.probabilities.values())
    predicted = _class_of_largest(path, labels, names, np.array(scores), where) if scores else np.array([], str)
    return _of_arrays(path, labels, predicted, {})._replace(image_names=of_images)


def _as_numbers(names: np.ndarray, label_names: np.ndarray, names_of: Mapping[Path, np.ndarray]) -> np.ndarray:
    """Return names as integers if all are whole numbers and no two labels are the same number, else unchanged.

    Floats are not used, because two large numbers could round to the same class.

    Parameters
    ----------
    names : (classes,), text
    label_names : text
        The names that occur as labels.
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
            "the same way"
        )
    return names
