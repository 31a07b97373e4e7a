"""Class counts in place of predictions: a confusion matrix, a classification report, or a table of recalls.

Counts do not show which images two networks both classify correctly. The audit assumes that, image by image, whether
one network is right does not depend on whether the other is right, so a loss has the interval of a difference between
two independent samples.
"""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from analysis.common import archives
from analysis.common.class_arrays import check_names
from analysis.common.errors import StudyError, first_line
from analysis.common.input_files import SizeLimit, opened
from analysis.common.printable import shortened
from analysis.common.text_tables import number, opened_table

_TEXTS = (".csv", ".tsv", ".txt")
_RIGHT = ("right", "correct", "recall")
# At most so many true classes of a confusion matrix may lack a column because no image is predicted as them.
_MOST_UNPREDICTED = 1_000
_CLASS = "class"
_ROUNDING = 1e-6  # a count may differ from a whole number by at most this
_MEANS = {"accuracy", "micro avg", "macro avg", "weighted avg", "samples avg"}
# Each side has a step. Image i of a class is sorted by the fractional part of i * step, and the side's network is taken
# to be right about the first images in this order. The order by an irrational step is nearly independent of the
# original order (step 0) and of the order by another irrational step.
_STEPS = {"before": 0.0, "after": (math.sqrt(5) - 1) / 2, "control": math.sqrt(2) - 1}
_PREDICTIONS = "predictions as .csv, .jsonl or .npz, with label and predicted"
NOTE = (
    "Class counts do not show which images both networks classify correctly. The networks are assumed to be right "
    "independently of each other, so intervals are wider than they would be from predictions."
)


class ClassCounts(NamedTuple):
    """Class names, numbers of images, and numbers of correctly classified images, each (classes,)."""

    names: np.ndarray
    support: np.ndarray
    right: np.ndarray


def read(path: Path, limit: SizeLimit) -> ClassCounts | None:
    """Read class counts; return None if the file has predictions.

    Parameters
    ----------
    path : Path
        One of:

        - a `classification_report(output_dict=True)` in JSON;
        - a table with the columns class (by default the first one), support, and one of right, correct and recall;
        - a confusion matrix as a table, with the names of the classes in its header and first column; a class that is
          never predicted needs no column;
        - a confusion matrix without names, in JSON or .npy.

        Rows of a matrix are the true classes.
    limit : SizeLimit

    Raises
    ------
    StudyError
        If the file is damaged, if its counts are impossible, or if it has the totals of a confusion matrix.
    """
    kind = path.suffix.lower()
    if kind == ".json":
        with opened(path) as file:
            limit.check(path, path.stat().st_size)
            try:
                content = json.loads(file.read())
            except (ValueError, RecursionError) as error:
                raise StudyError(f"{path}: not valid JSON ({first_line(error)})") from error
        return _of_report(path, content) if isinstance(content, dict) else _of_array(path, content)
    if kind == ".npy":
        values = archives.read_array(path, limit)
        return _of_array(path, values) if values.ndim == 2 else None
    return _of_table(path, limit) if kind in _TEXTS else None


def as_predictions(counts: Mapping[str, ClassCounts]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Return labels, (images,), and predictions of each side, (1, images), that have these counts.

    Parameters
    ----------
    counts : mapping of str to ClassCounts
        Counts of `before`, `after` and perhaps `control`, for the same test images. If one object is the counts of
        `before` and `control`, they are the same network.

    Examples
    --------
    Each network classifies two of the four images of class `a` correctly. Only one of these images is classified
    correctly by both networks, as expected by chance:

    >>> one = ClassCounts(np.array(["a", "b"]), np.array([4, 1]), np.array([2, 1]))
    >>> label, predicted = as_predictions({"before": one, "after": one})
    >>> (predicted["before"] == label)[0, :4].tolist(), (predicted["after"] == label)[0, :4].tolist()
    ([True, True, False, False], [True, False, True, False])
    """
    names, support, _ = counts["before"]
    place = np.concatenate([np.arange(images) for images in support])
    label = np.repeat(np.arange(len(names)), support)
    wrong = (label + 1 + place % max(len(names) - 1, 1)) % len(names)
    sides = {}
    for side, own in counts.items():
        is_before = side == "control" and own is counts["before"]
        step = _STEPS["before" if is_before else side]
        rank = np.concatenate([_ranks(images, step) for images in support])
        sides[side] = names[np.where(rank < own.right[label], label, wrong)][np.newaxis]
    return names[label], sides


def check_alike(counts: Mapping[Path, ClassCounts]) -> None:
    """Raise a StudyError if files differ in their classes or in the numbers of images."""
    (first_path, first), *others = counts.items()
    for path, own in others:
        if own.names.tolist() != first.names.tolist() or (own.support != first.support).any():
            raise StudyError(
                f"{path} has other classes or numbers of images than {first_path}: give counts from the same test set"
            )


def _ranks(images: int, step: float) -> np.ndarray:
    """Return the rank of each image of a class in the order by `step`, one of `_STEPS`, (images,)."""
    places = np.arange(images)
    return np.argsort(np.argsort(places * step % 1 if step else places, kind="stable"), kind="stable")


def _of_report(path: Path, content: Mapping[str, object]) -> ClassCounts | None:
    rows = {name: row for name, row in content.items() if name not in _MEANS}
    numbers = [(row.get("support"), row.get("recall")) for row in rows.values() if isinstance(row, Mapping)]
    if (
        len(numbers) < len(rows)
        or not rows
        or not all(isinstance(each, int | float) for row in numbers for each in row)
    ):
        raise StudyError(
            f"{path}: give classification_report(..., output_dict=True), with support and recall of each class, "
            f"or {_PREDICTIONS}"
        )
    support, recall = np.array(numbers, float).T
    return _checked(path, list(rows), support, _right(recall, support))


def _of_array(path: Path, content: Any) -> ClassCounts:
    """Return the counts of a confusion matrix without names."""
    try:
        matrix = np.array(content, float)
    except (TypeError, ValueError, OverflowError):
        matrix = np.empty(0)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise StudyError(
            f"{path}: a confusion matrix must have a row and a column for each class; if the file has predictions, "
            f"give {_PREDICTIONS}"
        )
    if any(isinstance(cell, bool | np.bool_) for row in content for cell in row):
        raise StudyError(f"{path}: the confusion matrix has truth values: give the number of images in each cell")
    names = [str(place) for place in range(len(matrix))]
    return _of_matrix(path, matrix, names, names)


def _of_matrix(path: Path, matrix: np.ndarray, true: Sequence[str], predicted: Sequence[str]) -> ClassCounts:
    """Return the counts of a confusion matrix, (true, predicted); any class that is predicted is also a true one."""
    if (wrong := np.argwhere(~np.isfinite(matrix) | (matrix < 0) | (matrix != np.rint(matrix)))).size:
        row, column = wrong[0]
        raise StudyError(
            f"{path}: class {shortened(true[row])} has {matrix[row, column]:g} images predicted as "
            f"{shortened(predicted[column])}: give counts, which must be whole numbers of 0 or more, and not shares"
        )
    has_column = true[-1] in predicted
    if _has_totals(matrix, has_column=has_column):
        hint = "" if has_column else "; if it is a class that is never predicted, add its column of zeros"
        raise StudyError(
            f"{path}: the counts of {shortened(true[-1])} are the sums of the other counts: leave out the totals{hint}"
        )
    place = {name: column for column, name in enumerate(predicted)}
    right = [matrix[row, place[name]] if name in place else 0 for row, name in enumerate(true)]
    return _checked(path, true, matrix.sum(1), np.array(right))


def _has_totals(matrix: np.ndarray, *, has_column: bool) -> bool:
    """Return whether a matrix of three rows or more ends with totals.

    They are a last row that is the sum of the others and, if there is a column of the same name, such a last column.
    """
    rows = matrix[:-1].sum(0)
    are_rows = len(matrix) > 2 and rows.any() and (matrix[-1] == rows).all()
    return bool(are_rows and (not has_column or (matrix[:, -1] == matrix[:, :-1].sum(1)).all()))


def _of_table(path: Path, limit: SizeLimit) -> ClassCounts | None:
    with opened_table(path, limit) as (header, rows):
        columns = [name.casefold() for name in header]
        right = next((name for name in _RIGHT if name in columns), None)
        if "support" in columns and right:
            return _of_columns(path, columns, right, [row for _, row in rows if any(row)])
        predicted = header[1:]
        if not predicted or header[0].isdigit():  # a table of predictions without a header
            return None
        most = len(predicted) + _MOST_UNPREDICTED
        lines = [row for _, row in itertools.islice(rows, most + 1) if any(row)]
    true, known = [row[0].strip() for row in lines], set(predicted)
    if len(lines) > most or [name for name in true if name in known] != predicted:
        return None
    matrix = np.array([[number(str(path), cell) for cell in row[1:]] for row in lines])
    return _of_matrix(path, matrix, true, predicted)


def _of_columns(path: Path, columns: Sequence[str], right: str, rows: Sequence[Sequence[str]]) -> ClassCounts:
    """Return the counts in a table with a row for each class, given its columns and the one of correct images."""
    place = columns.index(_CLASS) if _CLASS in columns else 0
    if columns[place] in ("support", right):
        raise StudyError(f"{path}: no column {_CLASS}: rename the column of the class names")
    lines = [row for row in rows if row[place].strip() not in _MEANS]
    support, value = (
        np.array([number(str(path), row[columns.index(name)]) for row in lines]) for name in ("support", right)
    )
    names = [row[place].strip() for row in lines]
    return _checked(path, names, support, _right(value, support) if right == "recall" else value)


def _right(recall: np.ndarray, support: np.ndarray) -> np.ndarray:
    """Return the numbers of correctly classified images; recalls in files are rounded."""
    with np.errstate(over="ignore", invalid="ignore"):  # `_checked` refuses infinite counts
        return np.rint(recall * support)


def _checked(path: Path, names: Sequence[str], support: np.ndarray, right: np.ndarray) -> ClassCounts:
    check_names(str(path), names)
    counts = np.rint([support, right])
    is_whole = np.isclose([support, right], counts, rtol=0, atol=_ROUNDING)
    wrong = (~np.isfinite(counts) | ~is_whole | (counts < 0)).any(0) | (counts[1] > counts[0])
    if wrong.any():
        place = int(np.argmax(wrong))
        raise StudyError(
            f"{path}: class {shortened(names[place])} has {right[place]:g} right of {support[place]:g} images: both "
            "must be whole numbers, and at most all images can be right"
        )
    has = support > 0
    if has.sum() < 2 or len(set(names)) < len(names):
        raise StudyError(f"{path}: give counts of two classes or more, each with a different name")
    order = np.argsort(np.array(names)[has], kind="stable")
    return ClassCounts(np.array(names)[has][order], *counts[:, has][:, order].astype(int))
