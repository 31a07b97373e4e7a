"""Files of logits from any tool: .npz with arrays `logits`, `label` and, optionally, `class_names`."""

from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np

from analysis.common import archives
from analysis.common.class_arrays import classes
from analysis.common.errors import StudyError
from analysis.common.input_files import SizeLimit
from analysis.common.printable import shortened
from analysis.runs import schema

_LOGITS, _CLASS_NAMES = "logits", "class_names"


class Logits(NamedTuple):
    """The logits of one network.

    Attributes
    ----------
    path : Path
        The file that they were read from.
    values : (images, classes), float32 or float64
    label : (images,), integers
        Index of each image's class among the columns.
    class_names : list of str, optional
    """

    path: Path
    values: np.ndarray
    label: np.ndarray
    class_names: list[str] | None


def read(path: Path, limit: SizeLimit) -> Logits:
    """Read the logits of a network.

    Parameters
    ----------
    path : Path
    limit : SizeLimit
        Largest memory for the arrays.

    Raises
    ------
    StudyError
        If the file is damaged or too large, if its arrays have wrong types or shapes, or if a class name occurs twice.
    """
    arrays = archives.read(path, [_LOGITS, schema.LABEL], [_CLASS_NAMES], limit=limit)
    values, label, names = (arrays.get(name) for name in (_LOGITS, schema.LABEL, _CLASS_NAMES))
    if values is None or values.dtype.kind != "f" or values.ndim != 2 or not len(values):
        raise StudyError(f"{path}: logits must be floats, (images, classes): {_described(values)}")
    if label is None or label.dtype.kind not in "iu" or label.shape != values.shape[:1]:
        raise StudyError(
            f"{path}: label must be a whole number for each of {len(values):,} images: {_described(label)}"
        )
    if names is not None and (names.dtype.kind != "U" or names.shape != values.shape[1:]):
        raise StudyError(
            f"{path}: class_names must be a string for each of {values.shape[1]:,} classes: {_described(names)}"
        )
    if names is not None and (twice := [name for name, count in Counter(names.tolist()).items() if count > 1]):
        raise StudyError(f"{path}: class_names has {shortened(twice[0])} twice: give each class a different name")
    if (wrong := np.flatnonzero(~np.isfinite(values).all(1))).size:
        raise StudyError(f"{path}: the logits of image {wrong[0] + 1:,} contain NaN or infinite numbers")
    if (wrong := np.flatnonzero((label < 0) | (label >= values.shape[1]))).size:
        raise StudyError(
            f"{path}: image {wrong[0] + 1:,} has the label {label[wrong[0]]}, but the {values.shape[1]:,} columns of "
            "logits are numbered from 0"
        )
    precise = values.astype(np.promote_types(values.dtype, np.float32).newbyteorder("="))
    return Logits(path, precise, label.astype(np.int64), None if names is None else names.tolist())


def class_names(path: Path, columns: int, limit: SizeLimit) -> np.ndarray | None:
    """Read the names of the columns of logits or probabilities, (columns,) text; None if there are none.

    Raises
    ------
    StudyError
        If the file is damaged, too large, or has names that are no classes or not as many as columns.
    """
    names = archives.read(path, [], [_CLASS_NAMES], limit=limit).get(_CLASS_NAMES)
    if names is None:
        return None
    if names.shape != (columns,):
        raise StudyError(f"{path}: {names.size:,} class_names for {columns:,} columns: name every column")
    return classes(f"{path}: {_CLASS_NAMES}", names).astype(str)


def read_pair(before: Path, after: Path, limit: SizeLimit) -> tuple[Logits, Logits]:
    """Read the logits of two networks for the same images; parameters and errors as in `read`.

    Raises
    ------
    StudyError
        Also if the files differ in the number of images or classes, in a label, or in the name of a class.
    """
    first, second = (read(path, limit) for path in (before, after))
    if first.values.shape != second.values.shape:
        raise StudyError(
            f"{after}: logits have shape {second.values.shape}, but {first.values.shape} in {before}: give logits of "
            "the same images and classes"
        )
    if (differing := np.flatnonzero(first.label != second.label)).size:
        image = differing[0]
        raise StudyError(
            f"{after}: image {image + 1:,} is labelled {second.label[image]}, but {first.label[image]} in {before}: "
            "give logits for the same images in the same order"
        )
    check_names(first, second)
    return first, second


def check_names(first: Logits, second: Logits) -> None:
    """Raise a StudyError if two files name a class differently; a file without names fits any other."""
    for index, (first_name, second_name) in enumerate(
        zip(first.class_names or [], second.class_names or [], strict=False)
    ):
        if first_name != second_name:
            raise StudyError(
                f"{second.path}: class {index} is {shortened(second_name)}, but in {first.path} it is "
                f"{shortened(first_name)}: give logits of the same classes in the same order"
            )


def _described(array: np.ndarray | None) -> str:
    return "there are none" if array is None else f"they are {array.dtype} of shape {array.shape}"
