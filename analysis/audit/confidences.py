"""Confidence of networks in their predictions, from the probabilities, logits or confidences in prediction files."""

import array
import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from analysis.audit import logit_files
from analysis.audit.prediction_columns import probability_columns
from analysis.common import archives, arrow_tables
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.common.printable import shortened
from analysis.common.text_tables import number, opened_table, without_empty_end
from analysis.runs import schema

_PROBABILITIES, _LOGITS = "probabilities", "logits"
# Tolerances for a probability in float32, and for the sum of probabilities that were rounded to three digits.
_ROUNDING, _ROUNDED_SUM = 1e-5, 0.01
# For at least this share of the images, the largest value must be in the column of the predicted class. The share is
# low because a user may have moved the decision thresholds.
_FEWEST_FITTING = 0.5
_WHAT = "give probabilities from 0 to 1"
_AS_THEY_ARE: Mapping[Path, np.ndarray] = MappingProxyType({})


class Confidences(NamedTuple):
    """Confidences of several networks, (networks, images), or None if the files do not have them, and notes.

    There is at most one note, on the first file whose confidence is the largest probability, for want of a column.
    """

    values: np.ndarray | None
    notes: list[str]


class _Confidence(NamedTuple):
    """Confidences of one network, (images,), or None, and a note on them, which may be empty."""

    values: np.ndarray | None
    note: str = ""


def read(
    paths: Sequence[Path], predicted: np.ndarray, limit: SizeLimit, orders: Mapping[Path, np.ndarray] = _AS_THEY_ARE
) -> Confidences:
    """Read the confidence of networks in their predictions.

    An .npz file may have `probabilities` or `logits`, (images, classes), or the `confidence` of the predicted class,
    (images,); a table may have a column `confidence`, or a column of probabilities for each class. The confidence is
    the probability of the predicted class, whose column is known by its name or, in .npz files that do not name a
    column for every predicted class, by its number, unless most predictions contradict it. If the column is unknown,
    the confidence is the largest probability.

    Parameters
    ----------
    paths : sequence of Path
        A file for each network, from which its predictions were read.
    predicted : (networks, images)
        The class that each network predicts.
    limit : SizeLimit
        Largest memory for the arrays in a file.
    orders : mapping of Path to (images,)
        For each file that lists the images in another order than the first file: the row of each image.

    Raises
    ------
    StudyError
        If a value is missing, not a number, or not a probability, if an array has the wrong shape or does not fit the
        predicted classes, or if some files lack confidences that others have.
    """
    found = [_read(path, own, limit) for path, own in _in_file_order(paths, predicted, orders)]
    without = [path for path, own in zip(paths, found, strict=True) if own.values is None]
    if without and len(without) < len(paths):
        richer = next(path for path in paths if path not in without)
        raise StudyError(f"{without[0]} has no confidence, but {richer} does: save all files in the same way")
    values = [
        own.values[orders.get(path, slice(None))]
        for path, own in zip(paths, found, strict=True)
        if own.values is not None
    ]
    return Confidences(np.array(values) if values else None, [own.note for own in found if own.note][:1])


def check(
    paths: Sequence[Path], predicted: np.ndarray, limit: SizeLimit, orders: Mapping[Path, np.ndarray] = _AS_THEY_ARE
) -> None:
    """Check that probabilities and logits in .npz files fit the predicted classes; parameters are those of `read`.

    Arrays with only the largest values of each image are not checked, because their columns stand for no class.

    Raises
    ------
    StudyError
        If, for most images, the largest value is not in the column of the predicted class.
    """
    own = dict(_in_file_order(paths, predicted, orders))
    for path in (path for path in own if path.suffix.lower() == ".npz"):
        for name, values in archives.read(path, [], [_PROBABILITIES, _LOGITS], limit=limit).items():
            is_of_images = values.dtype.kind == "f" and values.ndim == 2 and len(values) == len(own[path])
            if is_of_images and not _are_descending(values):
                _check_fit(path, name, values, own[path])


def are_largest(values: np.ndarray) -> bool:
    """Return whether values, (images, columns), are only the largest probabilities of each image, in descending order.

    Examples
    --------
    >>> are_largest(np.array([[0.6, 0.3], [0.9, 0.05]])), are_largest(np.array([[0.6, 0.4], [0.9, 0.1]]))
    (True, False)
    """
    if not values.size:
        return False
    totals = values.sum(1, dtype=float)
    is_part = values.min() >= 0 and totals.min() < 1 - _ROUNDED_SUM and totals.max() <= 1 + _ROUNDED_SUM
    return bool(is_part and _are_descending(values))


def _are_descending(values: np.ndarray) -> bool:
    return bool((values[:, 1:] <= values[:, :-1]).all())


def _in_file_order(
    paths: Sequence[Path], predicted: np.ndarray, orders: Mapping[Path, np.ndarray]
) -> Iterator[tuple[Path, np.ndarray]]:
    """Yield each file and its predictions, in the order of the file's rows."""
    for path, own in zip(paths, predicted, strict=True):
        yield path, own[np.argsort(orders[path])] if path in orders else own


def _read(path: Path, predicted: np.ndarray, limit: SizeLimit) -> _Confidence:
    if path.suffix.lower() == ".npz":
        return _of_npz(path, predicted, limit)
    if path.suffix.lower() in arrow_tables.SUFFIXES or path.is_dir():
        return _of_arrow(path, predicted, limit)
    return _Confidence(None) if path.suffix.lower() == ".npy" else _of_text(path, predicted, limit)


def _of_npz(path: Path, predicted: np.ndarray, limit: SizeLimit) -> _Confidence:
    images = len(predicted)
    arrays = archives.read(path, [], [_PROBABILITIES, _LOGITS, schema.CONFIDENCE], limit=limit)
    for name in (_PROBABILITIES, _LOGITS):
        if name in arrays:
            values = _table(path, name, arrays[name], images)
            fitting = _check_fit(path, name, values, predicted)
            probabilities = _probabilities(path, values) if name == _PROBABILITIES else _softmax(path, values)
            return _of_probabilities(
                path, probabilities, predicted, fitting, _named_columns(path, values, predicted, limit)
            )
    if schema.CONFIDENCE not in arrays:
        return _Confidence(None)
    values = arrays[schema.CONFIDENCE]
    if values.dtype.kind not in "fiu" or values.shape != (images,):
        raise StudyError(
            f"{path}: confidence must be a number for each of {images:,} images; it is {values.dtype} of shape "
            f"{values.shape}"
        )
    return _Confidence(_checked(path, values.astype(float)))


def _named_columns(path: Path, values: np.ndarray, predicted: np.ndarray, limit: SizeLimit) -> list[str]:
    """Return the class of each column of an .npz file; empty if unknown.

    If the file does not name a column for every predicted class, columns are taken for the classes 0, 1 and so on,
    unless most predictions contradict it.
    """
    with contextlib.suppress(StudyError):  # pickled names are not read
        names = logit_files.class_names(path, values.shape[1], limit)
        if names is not None and np.isin(predicted.astype(str), names).all():
            return list(names.tolist())
    is_numbered = np.mean(predicted.astype(str) == values.argmax(1).astype(str)) >= _FEWEST_FITTING
    return list(map(str, range(values.shape[1]))) if is_numbered else []


def _of_probabilities(
    path: Path, probabilities: np.ndarray, predicted: np.ndarray, fitting: float, classes: Sequence[str]
) -> _Confidence:
    """Return the confidences of a network.

    Parameters
    ----------
    path : Path
    probabilities : (images, classes)
    predicted : (images,)
    fitting : float
        Share of the images whose largest probability is that of the predicted class, as `_check_fit` returns it.
    classes : sequence of str
        The class of each column; empty if unknown.
    """
    names, name_index = np.unique(predicted.astype(str), return_inverse=True)
    if missing := [name for name in names.tolist() if name not in classes]:
        note = (
            f"{path} does not say which probability is that of the predicted class {shortened(missing[0])}, so the "
            "confidence is the largest probability, although some predictions are other classes."
        )
        return _Confidence(probabilities.max(1), note if fitting < 1 else "")
    columns = np.array([classes.index(name) for name in names.tolist()])[name_index]
    return _Confidence(probabilities[np.arange(len(columns)), columns])


def _table(path: Path, name: str, values: np.ndarray, images: int) -> np.ndarray:
    if values.dtype.kind != "f" or values.ndim != 2 or len(values) != images or values.shape[1] < 2:
        raise StudyError(
            f"{path}: {name} must be floats, ({images:,} images, classes); they are {values.dtype} "
            f"of shape {values.shape}"
        )
    return values.astype(float)


def _check_fit(path: Path, name: str, values: np.ndarray, predicted: np.ndarray) -> float:
    """Return the share of images whose largest value is in the column of the predicted class.

    Raise a StudyError if the share is small. The class of a column is not read from the file. A column is taken to
    belong to the class that is predicted most often for the images in which this column has the largest value.
    """
    classes, index = np.unique(predicted, return_inverse=True)
    columns = values.shape[1]
    if columns < len(classes):
        raise StudyError(
            f"{path}: {name} have {columns} columns, but {len(classes)} classes are predicted: give a column for each "
            "class"
        )
    counts = np.bincount(values.argmax(1) * len(classes) + index, minlength=columns * len(classes))
    fitting = counts.reshape(columns, -1).max(1).sum() / len(predicted)
    if fitting < _FEWEST_FITTING and _are_descending(values):
        raise StudyError(
            f"{path}: the {name} seem to be sorted by size, because each row begins with its largest value: give a "
            "column for each class"
        )
    if fitting < _FEWEST_FITTING:
        raise StudyError(
            f"{path}: the largest of the {name} is in the column of the predicted class for at most "
            f"{100 * fitting:.0f} % of the images: give a row for each image, in the order of the predictions"
        )
    return float(fitting)


def _probabilities(path: Path, values: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        impossible = ~((values >= -_ROUNDING) & (values <= 1 + _ROUNDING))
    if impossible.any():
        image, column = np.argwhere(impossible)[0]
        raise StudyError(f"{path}: image {image + 1:,} has the probability {values[image, column]:g}: {_WHAT}")
    total = values.sum(1)
    if (wrong := np.flatnonzero(np.abs(total - 1) > _ROUNDED_SUM)).size:
        raise StudyError(f"{path}: the probabilities of image {wrong[0] + 1:,} sum to {total[wrong[0]]:.4g}, not to 1")
    return np.clip(values, 0, 1)


def _softmax(path: Path, values: np.ndarray) -> np.ndarray:
    if (wrong := np.flatnonzero(~np.isfinite(values).all(1))).size:
        raise StudyError(f"{path}: the logits of image {wrong[0] + 1:,} contain NaN or infinite numbers")
    powers = np.exp(values - values.max(1, keepdims=True))
    return np.asarray(powers / powers.sum(1, keepdims=True))


def _checked(path: Path, values: np.ndarray) -> np.ndarray:
    if (missing := np.flatnonzero(np.isnan(values))).size:
        raise StudyError(f"{path}: image {missing[0] + 1:,} has no confidence: fill it in")
    if (wrong := np.flatnonzero((values < -_ROUNDING) | (values > 1 + _ROUNDING))).size:
        raise StudyError(f"{path}: image {wrong[0] + 1:,} has the confidence {values[wrong[0]]:g}: {_WHAT}")
    return np.clip(values, 0, 1)


def _of_arrow(path: Path, predicted: np.ndarray, limit: SizeLimit) -> _Confidence:
    _, arrays = arrow_tables.read(path, _telling, limit)
    try:
        columns = {name: values.astype(float) for name, values in arrays.items()}
    except (TypeError, ValueError) as error:
        raise StudyError(f"{path}: {' or '.join(arrays)} is not a number ({error}): {_WHAT}") from error
    return _of_columns(path, columns, predicted)


def _of_text(path: Path, predicted: np.ndarray, limit: SizeLimit) -> _Confidence:
    with opened_table(path, limit) as (header, rows):
        places = {name: header.index(name) for name in _telling(header)}
        if (count := header.count(schema.CONFIDENCE)) > 1:
            raise StudyError(f"{path}: {count} columns have the name {schema.CONFIDENCE}; rename all but one")
        columns: dict[str, array.array[float]] = {name: array.array("d") for name in places}
        for image, (_, row) in enumerate(without_empty_end(path, rows) if places else (), 1):
            for name, place in places.items():
                columns[name].append(number(f"{path}: image {image:,}", row[place], name))
    return _of_columns(path, {name: np.array(values) for name, values in columns.items()}, predicted)


def _telling(header: Sequence[str]) -> list[str]:
    """Return the names of the columns of probabilities or, failing those, of confidence."""
    probabilities = [header[place] for place in probability_columns(header).values()]
    return probabilities or [name for name in header if name == schema.CONFIDENCE][:1]


def _of_columns(path: Path, columns: Mapping[str, np.ndarray], predicted: np.ndarray) -> _Confidence:
    if schema.CONFIDENCE in columns:
        return _Confidence(_checked(path, columns[schema.CONFIDENCE]))
    if not columns:
        return _Confidence(None)
    values = np.column_stack([*columns.values()])
    fitting = _check_fit(path, _PROBABILITIES, values, predicted)
    return _of_probabilities(path, _probabilities(path, values), predicted, fitting, [*probability_columns([*columns])])
